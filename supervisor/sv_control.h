/*
 * sv_control.h - the control socket: MessagePack-RPC for tana-ctl and programs
 * like it (commands.def).  Who may connect is the socket's mode to say.
 */
#ifndef SV_CONTROL_H
#define SV_CONTROL_H

#include <stdbool.h>

struct event_base;
struct sv_control;
struct sv_dispatch;
struct sv_stats;
struct sv_storage;
struct tn_options;

struct sv_control_ops {
	/* Ask the master for what SIGHUP does; sv_control_reloaded() answers. */
	void (*reload)(void *arg);
	/* Ask the master for what SIGTERM does. */
	void (*drain)(void *arg);
	/* "starting", "serving", "draining" */
	const char *(*state)(void *arg);
};

/* listen_fd: listening, taken and nulled, not on failure. NULL: no memory. */
struct sv_control *sv_control_new(struct event_base *base, int *listen_fd,
    const struct tn_options *opt, struct sv_dispatch *dispatch, struct sv_stats *stats,
    const struct sv_control_ops *ops, void *arg);
void sv_control_free(struct sv_control **ct);

/* What `storage` and `backup` are about (borrowed); without, they are refused. */
void sv_control_set_storage(struct sv_control *ct, struct sv_storage *storage);

/* The configuration was read again; error NULL: it holds now. */
void sv_control_reloaded(struct sv_control *ct, const char *error);

#endif
