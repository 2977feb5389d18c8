/*
 * sv_user.c - the users that the master gives its children.
 */
#include "config.h"

#include "sv_user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tn_err.h"

int
sv_user_find(struct sv_user *u, const char *option, const char *name, struct tn_buf *err)
{
	struct passwd *pw;
	unsigned long number;
	char *end;

	memset(u, 0, sizeof(*u));
	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL && *name >= '0' && *name <= '9') {
		number = strtoul(name, &end, 10);
		if (*end == '\0' && number < (uid_t)-1)
			pw = getpwuid((uid_t)number);
	}
	if (pw == NULL) {
		tn_buf_printf(err, "%s: there is no user '%s'", option, name);
		return TN_ENOENT;
	}
	if (pw->pw_uid == 0 || pw->pw_gid == 0) {
		tn_buf_printf(err,
		    "%s: '%s' is root, or in root's group: an unprivileged user is needed", option,
		    name);
		return TN_EDENIED;
	}
	(void)snprintf(u->name, sizeof(u->name), "%s", pw->pw_name);
	u->uid = pw->pw_uid;
	u->gid = pw->pw_gid;
	u->ngroups = SV_USER_GROUPS_MAX;
	if (getgrouplist(pw->pw_name, pw->pw_gid, u->groups, &u->ngroups) < 0) {
		tn_buf_printf(
		    err, "%s: '%s' is in more than %d groups", option, name, SV_USER_GROUPS_MAX);
		return TN_ELIMIT;
	}
	return 0;
}

int
sv_user_pair(struct sv_user *front, struct sv_user *worker, const char *user,
    const char *worker_user, struct tn_buf *err)
{
	int rc;

	if ((rc = sv_user_find(front, "user", user, err)) != 0 ||
	    (rc = sv_user_find(worker, "worker_user", worker_user, err)) != 0)
		return rc;
	if (front->uid == worker->uid) {
		tn_buf_printf(err,
		    "user and worker_user are both '%s': contracts must not run as the user "
		    "of the process that reads the network",
		    front->name);
		return TN_EINVAL;
	}
	return 0;
}

int
sv_user_become(const struct sv_user *u, int with_groups)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (setgroups(with_groups ? (size_t)u->ngroups : 0, with_groups ? u->groups : NULL) != 0 ||
	    setresgid(u->gid, u->gid, u->gid) != 0 || setresuid(u->uid, u->uid, u->uid) != 0)
		return -1;
	if (getresuid(&r, &e, &s) != 0 || getresgid(&rg, &eg, &sg) != 0)
		return -1;
	if (r != u->uid || e != u->uid || s != u->uid || rg != u->gid || eg != u->gid ||
	    sg != u->gid || setuid(0) == 0) {
		errno = EPERM;
		return -1;
	}
	return 0;
}
