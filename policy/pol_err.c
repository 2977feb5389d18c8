#include "config.h"

#include "pol_err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tn_err.h"

int
pol_err(char err[POL_ERR_MAX], const char *what)
{
	int e = errno;

	(void)snprintf(err, POL_ERR_MAX, "%s: %s (errno %d)", what, strerror(e), e);
	return e == ENOSYS || e == EOPNOTSUPP ? TN_EUNAVAIL : TN_ESYS;
}
