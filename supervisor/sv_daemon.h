/*
 * sv_daemon.h - telling whoever started us how it went: the waiting parent of -d,
 * and systemd; and what is needed to be started once more.
 */
#ifndef SV_DAEMON_H
#define SV_DAEMON_H

#include "tn_err.h"

struct sv_daemon {
	int	fd;		/* to the waiting parent; -1: none */
	int	detached;	/* -d was given */
	char *const *argv;	/* main()'s; NULL: no upgrade */
};

#define SV_DAEMON_NONE	((struct sv_daemon){ -1, 0, NULL })

/*
 * Go on in a child with a session of its own.  The parent stays in here until the
 * child says how it went, and exits with that.  0 or TN_ESYS, in the child or when
 * there is none.
 */
int sv_daemon_detach(struct sv_daemon *d);
/*
 * The server serves: the parent exits 0.  log_fd, or /dev/null, becomes standard error of
 * a server that was detached.
 */
void sv_daemon_ready(struct sv_daemon *d, int log_fd);
/* It will not: the parent exits with the code. */
void sv_daemon_failed(struct sv_daemon *d, enum tn_exit code);

/*
 * sd_notify(3)'s protocol, for a unit of Type=notify: lines NAME=VALUE; nothing without
 * NOTIFY_SOCKET.  It is a datagram, and not worth the libraries that libsystemd brings into
 * a process with privilege.
 */
void sv_daemon_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A reload begins; "READY=1" ends it. */
void sv_daemon_reloading(void);

#endif
