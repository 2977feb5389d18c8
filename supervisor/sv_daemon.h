/*
 * sv_daemon.h - telling whoever started us how it went: the waiting parent of -d,
 * and systemd.
 */
#ifndef SV_DAEMON_H
#define SV_DAEMON_H

#include "tn_err.h"

struct sv_daemon {
	int	fd;		/* to the waiting parent; -1: none */
	int	detached;	/* -d was given */
};

#define SV_DAEMON_NONE	((struct sv_daemon){ -1, 0 })

/*
 * Go on in a child with a session of its own.  The parent stays in here until the
 * child says how it went, and exits with that.  0 or TN_ESYS, in the child or when
 * there is none.
 */
int sv_daemon_detach(struct sv_daemon *d);
/* The server serves: the parent exits 0.  log_fd, or /dev/null, becomes standard error. */
void sv_daemon_ready(struct sv_daemon *d, int log_fd);
/* It will not: the parent exits with the code. */
void sv_daemon_failed(struct sv_daemon *d, enum tn_exit code);

/* sd_notify(3)'s protocol, for a unit of Type=notify; nothing without NOTIFY_SOCKET. */
void sv_daemon_notify(const char *state);

#endif
