/*
 * sv_generation.h - one zygote, as the front knows it: a channel over which
 * workers are asked for, signalled and heard of.
 */
#ifndef SV_GENERATION_H
#define SV_GENERATION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tn_log.h"
#include "tn_zygote.h"

struct event_base;
struct sv_generation;

struct sv_generation_ops {
	void (*ready)(void *arg, struct sv_generation *g);
	/* status 0: pid is the host's, pidfd the callee's to close; else errno of fork */
	void (*spawned)(void *arg, uint64_t worker, pid_t pid, int *pidfd, int status);
	void (*exited)(void *arg, uint64_t worker, int status);
	/* Gone, with all its workers; text: what it said last, or "". Free it. */
	void (*dead)(void *arg, struct sv_generation *g, const char *text);
};

struct sv_generation {
	uint64_t	 number;
	bool		 ready;
	bool		 ending;	/* told to */
	uint32_t	 layers;	/* TN_LAYER_ bits in force */
	uint32_t	 restore;	/* enum tn_restore: what its workers use */
	uint64_t	 warm_us;
	uint64_t	 image_bytes;
	pid_t		 pid;		/* the host's */
	char		 text[200];	/* its last FAILED */
	int		 fd, pidfd;
	struct event	*ev, *ev_write;
	struct queued_cmd *head, **tail;
	struct tn_log_limit gossip;
	const struct sv_generation_ops *ops;
	void		*arg;
};

/* Takes both descriptors. NULL: out of memory. */
struct sv_generation *sv_generation_new(struct event_base *base, uint64_t number, int *fd,
    int *pidfd, const struct sv_generation_ops *ops, void *arg);
void sv_generation_free(struct sv_generation **g);

/* fds: as tn_zygote.h says of SPAWN; still the caller's (duplicated if they must wait). */
int sv_generation_spawn(struct sv_generation *g, uint64_t worker, enum tn_zy_role role,
    const int fds[2]);
/* Exit after the last worker. */
int sv_generation_end(struct sv_generation *g);
int sv_generation_signal(struct sv_generation *g, uint64_t worker, int sig);

#endif
