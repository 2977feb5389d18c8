/*
 * sv_compiler.h - the master's side of the compile helper: a program that parses
 * foreign code, so it gets a user that owns nothing, no network, and of the file
 * system what it must read (sv_jail.h).
 */
#ifndef SV_COMPILER_H
#define SV_COMPILER_H

#include <sys/types.h>

#include "sv_user.h"
#include "sv_zygote.h"

/*
 * Start `PROGRAM compile-server --contracts DIR`.  `worker`: the user it runs as
 * (it shares it with workers, which cannot be reached from its namespaces; the
 * front's user it must not have), NULL: it stays.  On success *channel is the
 * front's end of a stream.  Else a TN_E code, *error an errno that is not 0, err
 * the reason.  Where no mount namespace can be had it works in RUN_DIR/compiler.
 */
int sv_compiler_start(const char *program, const char *contracts, const char *run_dir,
    const struct sv_plan *p, const struct sv_user *worker, int null_fd, int log_fd, int *channel,
    pid_t *pid, int *pidfd, int *error, struct tn_buf *err);

#endif
