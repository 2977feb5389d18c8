/*
 * sv_pidfile.h - run_dir, and the lock in it that says whose it is.
 *
 * The lock is flock(2): it goes with the process that holds it, however that
 * ends; the file's text is for people and for tools.
 */
#ifndef SV_PIDFILE_H
#define SV_PIDFILE_H

#include <sys/types.h>

#include "tn_str.h"

#define SV_PIDFILE_NAME	"tana-edge.pid"

struct sv_pidfile;

/* Make the directory (0755, its parent must exist) or accept it as it is. TN_ESYS, TN_EDENIED. */
int sv_rundir_make(const char *path, struct tn_buf *err);

/*
 * Take the lock of the directory and write our pid.  TN_EBUSY: another server has
 * it, *holder is its pid (0: not known); TN_ESYS.  *stale: the last one did not end
 * in order.
 */
int sv_pidfile_take(struct sv_pidfile **pf, const char *run_dir, pid_t *holder, bool *stale,
    struct tn_buf *err);
/*
 * The lock changes hands without a moment in which nobody has it, and the file without
 * one in which it is empty.  The server before makes the next file, locked, beside
 * its own (*fd is the caller's); the next server, which inherits that descriptor, adopts
 * it, and at last commits: it writes its pid and gives the file the name.
 */
#define SV_PIDFILE_NEXT	SV_PIDFILE_NAME ".next"
int sv_pidfile_next(const struct sv_pidfile *pf, int *fd, struct tn_buf *err);
/* The descriptor is taken and nulled.  TN_EINVAL: it is no next file of this directory's. */
int sv_pidfile_adopt(struct sv_pidfile **pf, const char *run_dir, int *fd, struct tn_buf *err);
int sv_pidfile_commit(struct sv_pidfile *pf, struct tn_buf *err);
/* The next server is dead: the file is the caller's again, whatever was done with it. */
int sv_pidfile_reclaim(struct sv_pidfile *pf, int *next_fd, struct tn_buf *err);
/* The lock's descriptor, still pf's. */
int sv_pidfile_fd(const struct sv_pidfile *pf);

/* Remove the file, if it is ours, and let go. */
void sv_pidfile_release(struct sv_pidfile **pf);

#endif
