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
/* Remove the file and let go. */
void sv_pidfile_release(struct sv_pidfile **pf);

#endif
