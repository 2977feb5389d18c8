/*
 * pol_sandbox.h - shut a zygote, and then each of its children, in.
 *
 * Contract code is taken to own the worker it runs in.  Every layer matters and
 * none suffices; what a layer is stands in common/layers.def, the allow-lists in
 * pol_rules.c.
 *
 * Failure is closed: a required layer that cannot be had is an error, and so is,
 * required or not, a change of user or a cleaning of descriptors that failed.
 * After an error the process must end: it may be half way in.
 *
 * No threads.  The state (the compiled filters, the memory of the zygote) is one
 * a process, and children inherit it over fork().
 */
#ifndef POL_SANDBOX_H
#define POL_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tn_layers.h"
#include "tn_zygote.h"

#define POL_ERR_MAX	200
#define POL_STAY	UINT32_MAX	/* as uid or gid: no change */

/* What the filters compare with. */
struct pol_params {
	int		channel_fd;	/* recvfrom and sendto work on it only */
	uint64_t	arena;		/* address and length of what may be dropped */
	uint64_t	arena_size;
	uint64_t	send_max;	/* bytes in one sendto */
	int		pagemap_fd;	/* a worker's own /proc/self/pagemap; its last descriptor */
	/* How workers put the arena back; the rest of this is for all ways but to drop. */
	enum tn_restore	restore;
	int		proc_fd;	/* the zygote's: /proc, O_PATH */
};

struct pol_config {
	uint32_t	present;	/* TN_LAYER_: namespaces that the process was born into */
	uint32_t	required;	/* TN_LAYER_: else fail; 0: no sandbox, only the uid */
	uint32_t	uid, gid;	/* both, or both POL_STAY */
	struct pol_params params;
};

enum pol_role { POL_WORKER, POL_BUILDER };

struct pol_worker_config {
	uint32_t	 required;	/* TN_LAYER_: as pol_config's */
	enum pol_role	 role;
	pid_t		 parent;	/* the zygote's getpid() before the fork */
	const int	*keep;		/* descriptors to leave open, ascending; the channel's too */
	size_t		 nkeep;
	uint64_t	 memory;	/* bytes mapped since pol_zygote_enter() at most, but the arena */
	uint32_t	 cpu_seconds;	/* of the process's whole life; 0: no limit */
};

/*
 * What this build and this kernel can do.  The namespaces and the uid, which are
 * up to the master, are always in it; SECCOMP and MDWE are not in a build with
 * sanitizers, which could not live with them.
 */
uint32_t pol_layers_supported(void);

/*
 * In the zygote, warmed up: empty root (MOUNTNS is present), user, capabilities,
 * no_new_privs, not dumpable, MDWE, Landlock, a filter of its own.  Afterwards
 * it can: fork(), pidfd_open, kill, waitpid, ppoll, sendmsg with MSG_NOSIGNAL,
 * recvmsg with MSG_CMSG_CLOEXEC, log to descriptor 2, and what its children
 * prepare themselves with (pol_rules.c).  Nothing can be opened but files below
 * proc_fd, nothing executed.
 *
 * 0 and *layers, what is in force; or a negative code and in err what failed.
 */
int pol_zygote_enter(const struct pol_config *c, uint32_t *layers, char err[POL_ERR_MAX]);

/*
 * In each child, before the next one: a worker's own pagemap becomes pagemap_fd,
 * and it is not dumpable afterwards.  0; or TN_EUNAVAIL: it is not to be had, or
 * not for this role, and pagemap_fd is a copy of descriptor 0, so that the numbers
 * behind it stay; or a negative code and why: the process must end.
 */
int pol_worker_pagemap(enum pol_role role, char err[POL_ERR_MAX]);

/*
 * In each child, when all its memory is there: death with its parent, descriptors,
 * Landlock, limits, and last the role's own filter, after which the only calls are
 * those of the role's table in pol_rules.c.  All numbers up to params.pagemap_fd
 * must be kept, and none behind: then no process can have another descriptor.
 * Results as pol_zygote_enter's.
 */
int pol_worker_enter(const struct pol_worker_config *c, uint32_t *layers, char err[POL_ERR_MAX]);

/*
 * In tana-worker as a tool, when all its files are read and its heap is warm: no
 * descriptors but 0 to 2, Landlock, and the tool's filter.  What the kernel has not
 * got is left out, and *lacks says so, else NULL.  A negative code: it has it, and it
 * failed; err says what.  A build with sanitizers closes the descriptors only.
 */
int pol_tool_enter(const char **lacks, char err[POL_ERR_MAX]);

#endif
