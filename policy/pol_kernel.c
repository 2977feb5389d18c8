/*
 * pol_kernel.c - the switches of prctl.
 */
#include "config.h"

#include "pol_layers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

/* Linux 6.3 */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE		65
#define PR_GET_MDWE		66
#endif
#ifndef PR_MDWE_REFUSE_EXEC_GAIN
#define PR_MDWE_REFUSE_EXEC_GAIN 1UL
#endif

int
pol_no_new_privs(char err[POL_ERR_MAX])
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return pol_err(err, "PR_SET_NO_NEW_PRIVS");
	return 0;
}

int
pol_not_dumpable(char err[POL_ERR_MAX])
{
#ifdef WITH_SANITIZERS
	(void)err;		/* the leak check at the end traces its own process */
#else
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return pol_err(err, "PR_SET_DUMPABLE");
#endif
	return 0;
}

int
pol_mdwe(char err[POL_ERR_MAX])
{
#ifdef WITH_SANITIZERS
	(void)snprintf(err, POL_ERR_MAX, "not in a build with sanitizers");
	return TN_EUNAVAIL;
#else
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0) {
		int rc = pol_err(err, "PR_SET_MDWE");

		return errno == EINVAL ? TN_EUNAVAIL : rc;
	}
	return 0;
#endif
}

int
pol_die_with(pid_t parent, char err[POL_ERR_MAX])
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return pol_err(err, "PR_SET_PDEATHSIG");
	/* It may have died before. */
	if (getppid() != parent) {
		(void)snprintf(err, POL_ERR_MAX, "the parent is gone");
		return TN_ECLOSED;
	}
	return 0;
}
