/*
 * tn_zygote.h - messages between the front (or the master, first message only)
 * and a zygote, over one SOCK_SEQPACKET socket: fixed structs, one a packet.
 *
 * Descriptor numbers in a fresh zygote: 0-2 /dev/null, /dev/null and the log
 * pipe (or stderr), 3 the socket.
 */
#ifndef TN_ZYGOTE_H
#define TN_ZYGOTE_H

#include <stdint.h>

#include "tn_layers.h"

#define TN_ZYGOTE_FD	3
#define TN_ZY_MAGIC	0x7a793035u	/* changes with the structs below */

/*
 * How a worker makes its heap the image again, from the slowest to the fastest:
 * drop all private pages; read /proc/self/pagemap; PAGEMAP_SCAN.  (The choices of
 * the option `restore`.)
 */
enum tn_restore { TN_RESTORE_DROP, TN_RESTORE_PAGEMAP, TN_RESTORE_SCAN };

/* After which restores the heap is compared with its image. (The choices of `audit`.) */
enum tn_audit { TN_AUDIT_OFF, TN_AUDIT_SAMPLE, TN_AUDIT_ALWAYS };

/* Whom a worker may serve. (The choices of `worker_tenancy`.) */
enum tn_tenancy { TN_TENANCY_SHARED, TN_TENANCY_CONTRACT };

/* How a request gets its heap. (The choices of `isolation`.) */
enum tn_isolation { TN_ISO_SNAPSHOT, TN_ISO_PROCESS, TN_ISO_REUSE, TN_ISO_FRESH };

/* master -> zygote, the first packet. */
struct tn_zy_setup {
	uint32_t	magic;
	uint32_t	isolation;	/* enum tn_isolation: the server's */
	uint64_t	generation;
	uint64_t	memory_max;	/* bytes of the arena */
	uint64_t	body_max;	/* bytes of a request body */
	uint64_t	reply_max;	/* bytes of a response body */
	uint32_t	uid, gid;	/* to change to; (uint32_t)-1: stay */
	uint32_t	layers_present;	/* what the master's clone gave already: TN_LAYER_ */
	uint32_t	layers_required;/* fail without these; 0: no sandbox at all */
	uint32_t	cpu_seconds;	/* RLIMIT_CPU of a worker, 0: none */
	uint32_t	restore;	/* enum tn_restore: the best that may be used */
	uint32_t	audit;		/* enum tn_audit */
	uint32_t	pad;
};

enum tn_zy_op { TN_ZY_SPAWN = 1, TN_ZY_SIGNAL, TN_ZY_EXIT };
enum tn_zy_role { TN_ROLE_WORKER = 0, TN_ROLE_BUILDER = 1 };

/*
 * front -> zygote.
 * SPAWN comes with two descriptors: the worker's or builder's end of its channel
 * (SOCK_STREAM), and the slots memfd.
 * SIGNAL: `signal` is SIGALRM (deadline), SIGTERM or SIGKILL.
 * EXIT: exit after the last worker (EOF on the socket: kill them all, exit).
 */
struct tn_zy_cmd {
	uint32_t	magic;
	uint32_t	op;
	uint64_t	worker;		/* the front's number for it */
	uint32_t	role;
	int32_t		signal;
};

enum tn_zy_event_type { TN_ZY_READY = 1, TN_ZY_FAILED, TN_ZY_SPAWNED, TN_ZY_EXITED };

/*
 * zygote -> front.
 * READY: warm; layers, restore, warm_us and image_bytes are set.
 * FAILED: text says which layer or step; the zygote exits.
 * SPAWNED: a pidfd comes with it (pid here is the namespace's; the host's is
 *   in /proc/self/fdinfo/PIDFD of the receiver); status != 0: fork failed, errno.
 * EXITED: status as of waitpid.
 */
struct tn_zy_event {
	uint32_t	magic;
	uint32_t	type;
	uint64_t	worker;
	int32_t		pid;
	int32_t		status;
	uint32_t	layers;
	uint32_t	restore;	/* enum tn_restore: what the workers use */
	uint64_t	warm_us;
	uint64_t	image_bytes;	/* base image's high-water mark */
	char		text[200];
};

#endif
