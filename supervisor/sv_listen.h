/*
 * sv_listen.h - the sockets that the master binds: HTTP and control.
 *
 * With several shards (sv_shards.h) a TCP address has a socket for each, among which
 * the kernel spreads connections (SO_REUSEPORT).  An address that has more sockets than
 * there are shards keeps them, as closing one resets what waits in its queue; where
 * there are fewer (Unix sockets, systemd's: one), shards accept on the same one.
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
	unsigned	 nth, of;	/* which one of its address's sockets, from 0 */
	bool		 silent;	/* bound, but does not listen yet */
	int		 cover;		/* the shard that accepts in its own's place; -1: none */
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
/* The same, with a socket of its own for each of so many shards where that can be. */
int sv_listen_open_shards(struct sv_listeners *ls, const struct tn_list *addresses,
    unsigned shards, struct tn_buf *err);
/*
 * Sockets that are added to those of a server before us listen only then: what comes to
 * them would wait for us, and be reset if we do not take over.  TN_ESYS: err says why.
 */
int sv_listen_begin(struct sv_listeners *ls, struct tn_buf *err);
/* Does the n-th of so many shards accept on it? */
bool sv_listener_is_for(const struct sv_listener *l, unsigned n, unsigned shards);
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
