/*
 * sv_listen.h - the sockets that the master binds: HTTP and control.
 */
#ifndef SV_LISTEN_H
#define SV_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tn_options.h"
#include "tn_str.h"

struct sv_address {
	struct sockaddr_storage	sa;
	socklen_t		len;
	bool			both;	/* *:PORT: IPv6 and IPv4 */
};

/*
 * ADDRESS:PORT, [ADDRESS]:PORT, *:PORT or unix:PATH; addresses are numbers.
 * TN_EINVAL: err says why.
 */
int sv_address_parse(struct sv_address *a, const char *text, struct tn_buf *err);
/* The same the other way, as a socket is really bound (port 0 resolved). */
void sv_address_print(int fd, struct tn_buf *out);

struct sv_listener {
	int		 fd;
	char		*path;		/* unix: to remove at the end, if it is still ours */
	dev_t		 dev;
	ino_t		 ino;
	bool		 shared;	/* a server before us has it too: its path stays */
	bool		 activated;	/* systemd's: no path of ours */
};

struct sv_listeners {
	struct sv_listener *v;
	size_t		 n;
};

/*
 * Bind all of them, but for those that we were started with (sv_inherit.h).  A Unix
 * socket that nobody listens on any more is replaced; one that is alive is left alone
 * and an error.  On failure nothing is bound.
 */
int sv_listen_open(struct sv_listeners *ls, const struct tn_list *addresses, struct tn_buf *err);
/* One Unix socket with the given mode. */
int sv_listen_unix(struct sv_listener *l, const char *path, mode_t mode, struct tn_buf *err);

/* Is the socket still the one that its path leads to?  (Others have no path: true.) */
bool sv_listener_reachable(const struct sv_listener *l);
/* Close; whoever took it over keeps the path. */
void sv_listener_leave(struct sv_listener *l);
/* Close, and remove Unix sockets that are still ours. */
void sv_listener_close(struct sv_listener *l);
void sv_listen_close(struct sv_listeners *ls);

#endif
