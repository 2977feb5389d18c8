/*
 * sv_control.h - the control socket: MessagePack-RPC for tana-ctl and programs
 * like it (commands.def).  Who may connect is the socket's mode to say.
 */
#ifndef SV_CONTROL_H
#define SV_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include <msgpack.h>

#include "tn_str.h"

struct event_base;
struct sv_control;
struct sv_dispatch;
struct sv_gather;
struct sv_peers;
struct sv_stats;
struct sv_storage;
struct tn_options;

struct sv_control_ops {
	/* Ask the master for what SIGHUP does; sv_control_reloaded() answers. */
	void (*reload)(void *arg);
	/* Ask the master for what SIGUSR2 does; sv_control_upgraded() answers. */
	void (*upgrade)(void *arg);
	/* Ask the master for what SIGTERM does. */
	void (*drain)(void *arg);
	/* "starting", "serving", "draining" */
	const char *(*state)(void *arg);
};

/* listen_fd: listening, taken and nulled; nobody is accepted yet. NULL: no memory. */
struct sv_control *sv_control_new(struct event_base *base, int *listen_fd,
    const struct tn_options *opt, struct sv_dispatch *dispatch, struct sv_stats *stats,
    const struct sv_control_ops *ops, void *arg);
void sv_control_free(struct sv_control **ct);

/* What `storage` and `backup` are about (borrowed); without, they are refused. */
void sv_control_set_storage(struct sv_control *ct, struct sv_storage *storage);

/*
 * The first of several shards: what is asked of the server is asked of all (borrowed).
 * Who follows the log follows the others', too: what they say (sv_peers_said) comes here.
 */
void sv_control_set_shards(struct sv_control *ct, struct sv_peers *peers,
    struct sv_gather *gather);
void sv_control_said(struct sv_control *ct, struct tn_str what, const msgpack_object *params);
/* A shard is there (again): the first one may have to ask it for its log. */
void sv_control_greet(struct sv_control *ct, unsigned shard);
/*
 * A stream from the first shard, or of its own (*fd is taken): it is answered for this
 * shard alone.
 */
void sv_control_connect(struct sv_control *ct, int *fd);

/* Begin to accept clients; -1: no memory.  Accept no more: another server does. */
int sv_control_open(struct sv_control *ct);
void sv_control_retire(struct sv_control *ct);
/* The process is about to end: send what is still to be sent, without waiting. */
void sv_control_flush(struct sv_control *ct);

/*
 * The configuration was read again; error NULL: it holds now, but for the options named
 * in `restart` (apart by spaces; may be empty).
 */
void sv_control_reloaded(struct sv_control *ct, const char *error, const char *restart);
/* The server with this pid serves now, or error says why none does. */
void sv_control_upgraded(struct sv_control *ct, const char *error, uint64_t pid);

#endif
