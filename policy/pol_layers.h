/*
 * pol_layers.h - one function a layer, for pol_zygote.c and pol_worker.c.
 *
 * Each returns 0, or a negative code with the reason in err; none decides whether
 * a failure matters.
 */
#ifndef POL_LAYERS_H
#define POL_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "pol_sandbox.h"

/* pol_root.c: an empty, read-only tmpfs instead of all mounts.  Needs a mount namespace. */
int pol_root_empty(char err[POL_ERR_MAX]);

/*
 * pol_ident.c.  _bound, while privileged: empty bounding set, locked securebits;
 * then _user; then _drop, which leaves no capability and looks.
 */
int pol_caps_bound(char err[POL_ERR_MAX]);
int pol_user(uint32_t uid, uint32_t gid, char err[POL_ERR_MAX]);
int pol_caps_drop(char err[POL_ERR_MAX]);

/* pol_kernel.c */
int pol_no_new_privs(char err[POL_ERR_MAX]);
int pol_not_dumpable(char err[POL_ERR_MAX]);
int pol_mdwe(char err[POL_ERR_MAX]);
int pol_die_with(pid_t parent, char err[POL_ERR_MAX]);

/*
 * pol_landlock.c: deny all that the kernel's version knows, but to read files
 * beneath `readable` (-1: nothing; no error when that cannot be had).  Needs
 * no_new_privs.
 */
int pol_landlock(int readable, char err[POL_ERR_MAX]);
int pol_landlock_version(void);		/* 0: none */

/* pol_limits.c */
struct pol_memory {
	uint64_t	total;		/* bytes mapped */
	uint64_t	data;		/* of these, private and writable */
};
int pol_memory_now(struct pol_memory *m, char err[POL_ERR_MAX]);	/* reads /proc */
int pol_limits_zygote(char err[POL_ERR_MAX]);
/* `more`: bytes that may be mapped beyond `base`. */
int pol_limits_worker(const struct pol_memory *base, uint64_t more, int nofile,
    uint32_t cpu_seconds, char err[POL_ERR_MAX]);

/*
 * pol_pagemap.c: the process's own pagemap as descriptor `as`, through /proc's
 * descriptor (-1: not wanted), and not dumpable any more.  As pol_worker_pagemap().
 */
int pol_pagemap(int proc_fd, int as, char err[POL_ERR_MAX]);

/*
 * pol_fds.c: close all but `keep`, ascending; then all below `end` must be open and
 * none else, so that a limit of `end` descriptors leaves room for no new one.
 */
int pol_fds(const int *keep, size_t nkeep, int end, char err[POL_ERR_MAX]);

#endif
