/*
 * pol_ident.c - who the process is, and what that lets it do.
 */
#include "config.h"

#include "pol_layers.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

/*
 * uid 0 means nothing any more, and none of it can be taken back.  The change of
 * uid still clears capabilities: that fix-up is locked as it is.
 */
#define SECUREBITS								\
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |	\
	SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |			\
	SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

static int
read_caps(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3], char err[POL_ERR_MAX])
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	if (syscall(SYS_capget, &h, data) != 0)
		return pol_err(err, "capget");
	return 0;
}

int
pol_caps_bound(char err[POL_ERR_MAX])
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	int rc;

	rc = read_caps(data, err);
	if (rc != 0)
		return rc;
	/*
	 * Without this one the bounding set cannot be changed, and need not: what
	 * we do not have we cannot get, given no_new_privs.
	 */
	if ((data[CAP_TO_INDEX(CAP_SETPCAP)].effective & CAP_TO_MASK(CAP_SETPCAP)) == 0)
		return 0;
	/* Newer kernels know more of them than the headers. */
	for (unsigned long cap = 0;; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (has < 0)
			break;
		if (has > 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return pol_err(err, "dropping the bounding set");
	}
	if (prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) != 0)
		return pol_err(err, "locking securebits");
	return 0;
}

int
pol_user(uint32_t uid, uint32_t gid, char err[POL_ERR_MAX])
{
	uid_t u[3];
	gid_t g[3];

	if (uid == 0 || gid == 0 || uid == POL_STAY || gid == POL_STAY) {
		(void)snprintf(err, POL_ERR_MAX, "uid %lu and gid %lu are not an ordinary user's",
		    (unsigned long)uid, (unsigned long)gid);
		return TN_EINVAL;
	}
	if (setgroups(0, NULL) != 0)
		return pol_err(err, "setgroups");
	if (setresgid(gid, gid, gid) != 0)
		return pol_err(err, "setresgid");
	if (setresuid(uid, uid, uid) != 0)
		return pol_err(err, "setresuid");
	if (getresuid(&u[0], &u[1], &u[2]) != 0 || getresgid(&g[0], &g[1], &g[2]) != 0)
		return pol_err(err, "getresuid");
	for (int i = 0; i < 3; i++)
		if (u[i] != uid || g[i] != gid) {
			(void)snprintf(err, POL_ERR_MAX, "the user did not change");
			return TN_ESYS;
		}
	if (getgroups(0, NULL) != 0) {
		(void)snprintf(err, POL_ERR_MAX, "supplementary groups are left");
		return TN_ESYS;
	}
	return 0;
}

int
pol_caps_drop(char err[POL_ERR_MAX])
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	int rc;

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
		return pol_err(err, "clearing ambient capabilities");
	memset(data, 0, sizeof(data));
	if (syscall(SYS_capset, &h, data) != 0)
		return pol_err(err, "capset");
	rc = read_caps(data, err);
	if (rc != 0)
		return rc;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (data[i].effective != 0 || data[i].permitted != 0 || data[i].inheritable != 0) {
			(void)snprintf(err, POL_ERR_MAX, "capabilities are left");
			return TN_ESYS;
		}
	return 0;
}
