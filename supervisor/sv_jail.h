/*
 * sv_jail.h - a root of its own for the compile helper: of the machine it sees
 * the system's programs and libraries, what its program says it needs, and the
 * contracts, all read-only; and a small directory in memory that ends with it.
 *
 * Directories above those are ours and open: a program below a home that is
 * closed to the helper's user is within its reach all the same.
 */
#ifndef SV_JAIL_H
#define SV_JAIL_H

#include <sys/types.h>

#include "tn_str.h"

#define SV_JAIL_BINDS	32
#define SV_JAIL_TMP "/.tmp" /* where it can write; not /tmp, which contracts may lie below */

struct sv_jail {
	char	*place;			/* a directory to stand on for a moment */
	char	*bind[SV_JAIL_BINDS];	/* what is shown, at its own path */
	size_t	 nbind;
	char	 tmp_options[96];
};

/*
 * The jail of a program: besides itself what it names in its first lines, a
 * path each, as `# needs: PATH`; and `dir`.  `uid`, `gid`: the writable directory's owner.  0 or
 * TN_E..., err says what is wrong.
 */
int sv_jail_init(struct sv_jail *j, const char *place, const char *program, const char *dir,
    uid_t uid, gid_t gid, struct tn_buf *err);
void sv_jail_fini(struct sv_jail *j);

/*
 * In the child, which has a mount namespace of its own and the right to mount:
 * go in.  NULL, or what failed, with errno.
 */
const char *sv_jail_enter(const struct sv_jail *j);

#endif
