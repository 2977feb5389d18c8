/*
 * sv_user.h - the users that the master gives its children.
 */
#ifndef SV_USER_H
#define SV_USER_H

#include <sys/types.h>

#include "tn_str.h"

#define SV_USER_GROUPS_MAX 64

struct sv_user {
	char	name[64];
	uid_t	uid;
	gid_t	gid;
	gid_t	groups[SV_USER_GROUPS_MAX];	/* supplementary ones, gid included */
	int	ngroups;
};

/*
 * Look the user up, by name or number.  `option` names the option in err.
 * TN_ENOENT: no such user; TN_EDENIED: it is root.
 */
int sv_user_find(struct sv_user *u, const char *option, const char *name, struct tn_buf *err);

/*
 * Started as root: both users must exist, neither may be root, and they must
 * differ.  TN_EINVAL, or as sv_user_find.
 */
int sv_user_pair(struct sv_user *front, struct sv_user *worker, const char *user,
    const char *worker_user, struct tn_buf *err);

/*
 * Become it for good, with its groups or without any, and check that it is so.
 * Allocates nothing.  0 or -1 with errno.
 */
int sv_user_become(const struct sv_user *u, int with_groups);

#endif
