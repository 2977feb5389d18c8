/*
 * sv_upgrade.h - a program takes over from the server that runs, which is the same
 * program as it was before.
 *
 * The master that serves (the old one) starts the program as it is on the disk now,
 * with its own arguments, and hands it its listening sockets and the lock of run_dir
 * (sv_inherit.h).  The two then talk over a SOCK_SEQPACKET socket:
 *
 *	new	READY	its front and workers are ready; nothing is accepted yet
 *	old	TAKE	go on
 *	new	TAKEN	the pid file is the new one's, and it accepts
 *	old		accepts no more, finishes what it has, ends
 *	new	STOP	whoever is told to end has the one before it hurry, and ends after it
 *
 * Until TAKEN the old one can go back to what it was: the new one is killed, the pid
 * file written again.  If the old one dies before, the new one takes over on its own
 * as soon as it is ready.  The two may be of different versions: what stands here
 * never changes its meaning.
 */
#ifndef SV_UPGRADE_H
#define SV_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tn_str.h"

/* ---- the old one's state ---- */

enum sv_up_state {
	SV_UP_NONE,		/* no upgrade */
	SV_UP_STARTING,		/* the new one was started */
	SV_UP_HANDING,		/* it was told to take over */
	SV_UP_KILLED,		/* it was killed, and is to be reaped */
	SV_UP_DONE,		/* it has taken over */
	SV_UP_STATES
};

enum sv_up_event {
	SV_UP_ASKED,		/* somebody wants an upgrade */
	SV_UP_READY,		/* the new one's messages */
	SV_UP_TAKEN,
	SV_UP_ENDED,		/* it was reaped */
	SV_UP_OVERDUE,		/* its time is over */
	SV_UP_STOPPED,		/* the server is asked to end */
	SV_UP_EVENTS
};

enum sv_up_action {
	SV_UP_NOTHING,
	SV_UP_START,		/* the new one */
	SV_UP_REFUSE,		/* one is under way, or done */
	SV_UP_HAND,		/* tell it to take over */
	SV_UP_KILL,		/* it */
	SV_UP_GO_ON,		/* all is as it was; say why */
	SV_UP_RETIRE		/* finish what is in progress, then end */
};

struct sv_up_step {
	enum sv_up_state	next;
	enum sv_up_action	action;
};

struct sv_up_step sv_up_next(enum sv_up_state state, enum sv_up_event event);

/* ---- messages ---- */

#define SV_UP_TEXT_MAX	1000

enum sv_up_msg_type {
	SV_UP_MSG_READY = 1,	/* new -> old */
	SV_UP_MSG_TAKE,		/* old -> new */
	SV_UP_MSG_TAKEN,	/* new -> old */
	SV_UP_MSG_FAILED,	/* new -> old: the text says why it is about to end */
	SV_UP_MSG_STOP		/* new -> old: end soon */
};

/* text may be NULL.  0 or TN_E...: the other one is gone, mostly. */
int sv_up_send(int channel, enum sv_up_msg_type type, const char *text);
/*
 * The type; 0: nothing more now; TN_ECLOSED: the other one is gone; TN_EPROTO.
 * FAILED: its text is appended to `text`.
 */
int sv_up_receive(int channel, struct tn_buf *text);

/* ---- the new one's process ---- */

struct sv_handed {
	const char	*word;	/* sv_inherit.h */
	int		 fd;	/* the caller's */
};

struct sv_upgrade {
	enum sv_up_state state;
	pid_t		 pid;		/* 0: none, or reaped, or it has taken over */
	int		 channel, pidfile;	/* -1: none */
	uint64_t	 due_us;	/* 0: never */
	struct tn_buf	 why;		/* what it said before it ended */
};

#define SV_UPGRADE_NONE { .channel = -1, .pidfile = -1 }

/*
 * Run `program` with `argv` in directory `dir`, with u's channel and the n given
 * descriptors.  That it cannot be run comes as FAILED.
 */
int sv_upgrade_start(struct sv_upgrade *u, const char *program, char *const *argv,
    const char *dir, const struct sv_handed *handed, size_t n, struct tn_buf *err);
void sv_upgrade_kill(struct sv_upgrade *u);
/* It was reaped, or is on its own: forget it. */
void sv_upgrade_forget(struct sv_upgrade *u);

/*
 * The program's path, to be run again whatever the file then is: as it was named, if
 * that is a path (links are followed again then), else as the kernel names it.
 * NULL: no memory.
 */
char *sv_upgrade_program(const char *argv0);

#endif
