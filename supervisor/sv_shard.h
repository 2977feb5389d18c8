/*
 * sv_shard.h - a shard, as the master has it: a front, and the zygotes and the compiler
 * that were started for it.
 *
 * What the front may ask for here is bounded for each shard.  What concerns the server
 * as a whole is the master's (sv_master.c), by way of sv_shard_ops.
 */
#ifndef SV_SHARD_H
#define SV_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sv_bucket.h"
#include "sv_proto.h"
#include "sv_user.h"
#include "sv_zygote.h"
#include "tn_log.h"
#include "tn_options.h"

#define SV_SHARD_ZYGOTES 4	/* one that serves, one that comes, two that go */
#define SV_SHARD_CHILDREN (2 + SV_SHARD_ZYGOTES)

struct sv_gossip;
struct sv_shard;

struct sv_shard_ops {
	/* The front was started: tell it what it needs (LISTEN ..., LISTEN_END). */
	void (*started)(void *arg, struct sv_shard *s);
	/* It is ready, for the first time since it was started. */
	void (*ready)(void *arg, struct sv_shard *s);
	/* It has ended, and all that served it is about to; status as of waitpid. */
	void (*ended)(void *arg, struct sv_shard *s, int status);
	/* It asks for what concerns the whole server. */
	void (*asks)(void *arg, struct sv_shard *s, const struct sv_msg *m);
	/* Something could not be done that the server may not be able to serve without. */
	void (*complain)(void *arg, const char *text);
};

/* What is the master's, and the same for all shards. */
struct sv_shard_host {
	const struct sv_shard_ops *ops;
	void		*arg;
	const struct tn_options *opt;	/* may change in place */
	unsigned	 shards;
	bool		 root;
	struct sv_user	 user, worker_user;
	struct sv_plan	 plan;
	char		*worker_program;
	int		 contracts_fd, state_fd, null_fd, self_fd;
	int		 control_fd, client_fd;	/* listening */
	int		 log_fd;	/* -1: standard error, or syslog */
};

struct sv_shard_child {
	pid_t		 pid;		/* 0: none */
	int		 pidfd;
	bool		 killed;	/* by us */
	struct sv_gossip *gossip;
	uint64_t	 generation;	/* zygote */
};

struct sv_shard {
	const struct sv_shard_host *host;
	unsigned	 number;	/* from 0 */
	/* in records: "front 1", "front 1", "shard 1 "; with one: "front", "the front", "" */
	char		 front_name[16], the_front[16], prefix[16];
	struct sv_shard_child front, compiler, zygote[SV_SHARD_ZYGOTES];
	int		 channel;	/* to the front; -1: none */
	bool		 ready;
	uint64_t	 since_us, due_us; /* due: start the front again then; 0: no */
	unsigned	 delay_ms;
	bool		 compiler_wanted;	/* as soon as the old one is reaped */
	unsigned	 reloading;	/* configurations that the front has yet to say it has */
	struct sv_bucket zygotes, compilers, reloads, upgrades;
	struct tn_log_limit gossip;	/* records that the front can make us write */
};

void sv_shard_init(struct sv_shard *s, const struct sv_shard_host *host, unsigned number);

/* Start the front; held: it gets ready, but accepts nothing before SERVE.  0 or TN_E..., err. */
int sv_shard_start(struct sv_shard *s, bool held, struct tn_buf *err);
/* The same; if it cannot be, later: after a delay that doubles with each crash. */
void sv_shard_restart(struct sv_shard *s, bool held);
void sv_shard_start_later(struct sv_shard *s);

/* Send the front a message; one that does not take any is ended. */
void sv_shard_tell(struct sv_shard *s, enum sv_msg_type type, uint64_t arg, int status,
    const int *fds, int nfds);
/* That something failed, and why. */
void sv_shard_tell_why(struct sv_shard *s, enum sv_msg_type type, int status,
    const struct tn_buf *why);

/* The way by which the first shard asks another one; when either is new. */
void sv_shard_introduce(struct sv_shard *first, struct sv_shard *s);

/* The front has said something: take a bounded number of messages. */
void sv_shard_read(struct sv_shard *s);
/* The front asks for what it must not: it has lost its mind, or somebody has got hold of it. */
void sv_shard_refuse(struct sv_shard *s, const char *what);

/* The i-th child, of all that can be; NULL: there are no more. */
struct sv_shard_child *sv_shard_child(struct sv_shard *s, size_t i);
void sv_shard_kill(struct sv_shard_child *c);
void sv_shard_forget(struct sv_shard_child *c);
/* Somebody was reaped; false: it was none of this shard's. */
bool sv_shard_reaped(struct sv_shard *s, pid_t pid, int status);

#endif
