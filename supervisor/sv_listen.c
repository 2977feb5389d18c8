/*
 * sv_listen.c - the sockets that the master binds.
 */
#include "config.h"

#include "sv_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "sv_inherit.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"

#define BACKLOG	4096

static int
parse_unix(struct sv_address *a, const char *path, struct tn_buf *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;
	size_t n = strlen(path);

	if (n == 0) {
		tn_buf_puts(err, "unix: needs a path");
		return TN_EINVAL;
	}
	if (n >= sizeof(un->sun_path)) {
		tn_buf_printf(err, "unix:%s: a socket's path has %zu bytes at most", path,
		    sizeof(un->sun_path) - 1);
		return TN_EINVAL;
	}
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n + 1);
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

static int
parse_port(const char *text, in_port_t *port)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9' || strlen(text) > 5)
		return TN_EINVAL;
	n = strtoul(text, &end, 10);
	if (*end != '\0' || n > 65535)
		return TN_EINVAL;
	*port = htons((uint16_t)n);
	return 0;
}

int
sv_address_parse(struct sv_address *a, const char *text, struct tn_buf *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai;
	char host[128];
	const char *colon;
	size_t n;
	in_port_t port;

	memset(a, 0, sizeof(*a));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(a, text + 5, err);
	colon = strrchr(text, ':');
	if (colon == NULL || parse_port(colon + 1, &port) != 0) {
		tn_buf_printf(err,
		    "%s: expected ADDRESS:PORT, [ADDRESS]:PORT, *:PORT or unix:PATH, with a "
		    "port of 0 to 65535",
		    text);
		return TN_EINVAL;
	}
	n = (size_t)(colon - text);
	if (n == 1 && *text == '*') {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
		a->len = sizeof(*in6);
		a->both = true;
		return 0;
	}
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
		hints.ai_family = AF_INET6;
	} else
		hints.ai_family = AF_INET;
	if (n == 0 || n >= sizeof(host)) {
		tn_buf_printf(err, "%s: not an address", text);
		return TN_EINVAL;
	}
	memcpy(host, text, n);
	host[n] = '\0';
	if (getaddrinfo(host, NULL, &hints, &ai) != 0) {
		tn_buf_printf(err, "%s: '%s' is not an %s address (names are not looked up%s)",
		    text, host, hints.ai_family == AF_INET6 ? "IPv6" : "IPv4",
		    hints.ai_family == AF_INET && strchr(host, ':') != NULL ?
			"; an IPv6 address stands in brackets" :
			"");
		return TN_EINVAL;
	}
	memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
	a->len = ai->ai_addrlen;
	freeaddrinfo(ai);
	if (a->sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->sa)->sin6_port = port;
	else
		((struct sockaddr_in *)&a->sa)->sin_port = port;
	return 0;
}

void
sv_address_print(int fd, struct tn_buf *out)
{
	union {
		struct sockaddr_storage ss;
		struct sockaddr_un un;
		struct sockaddr sa;
	} u;
	socklen_t len = sizeof(u);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	memset(&u, 0, sizeof(u));
	if (getsockname(fd, &u.sa, &len) != 0)
		tn_buf_puts(out, "?");
	else if (u.ss.ss_family == AF_UNIX)
		tn_buf_printf(out, "unix:%.*s", (int)sizeof(u.un.sun_path), u.un.sun_path);
	else if (getnameinfo(&u.sa, len, host, sizeof(host), port, sizeof(port),
	    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		tn_buf_puts(out, "?");
	else if (u.ss.ss_family == AF_INET6)
		tn_buf_printf(out, "[%s]:%s", host, port);
	else
		tn_buf_printf(out, "%s:%s", host, port);
}

static const char *
explain_bind(const struct sockaddr_storage *sa, int error)
{
	switch (error) {
	case EADDRINUSE:
		return "the address is in use: another program listens there";
	case EADDRNOTAVAIL:
		return "this machine has no such address";
	case EACCES:
		return sa->ss_family == AF_UNIX ? "permission denied" :
		    "permission denied: a port this low needs root or CAP_NET_BIND_SERVICE";
	default:
		return strerror(error);
	}
}

/*
 * Another socket may be bound to the same address: by us, or by another process of our
 * user, so only where it is wanted.  The first one is bound without it, and so refused
 * where anybody listens.
 */
static int
let_share(int fd)
{
	const int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

/* another: the address has a socket of ours already.  l->silent: bind it, no more. */
static int
listen_tcp(struct sv_listener *l, const struct sv_address *a, const char *text, bool another,
    bool shards, struct tn_buf *err)
{
	const int on = 1, v6only = !a->both;
	struct sv_address any;
	int fd, error;

	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 && errno == EAFNOSUPPORT && a->both) {
		/* A kernel without IPv6: what is left of "all addresses". */
		struct sockaddr_in *in = (struct sockaddr_in *)&any.sa;

		memset(&any, 0, sizeof(any));
		in->sin_family = AF_INET;
		in->sin_port = ((const struct sockaddr_in6 *)&a->sa)->sin6_port;
		any.len = sizeof(*in);
		return listen_tcp(l, &any, text, another, shards, err);
	}
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (another && let_share(fd) != 0) ||
	    (a->sa.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) != 0)) {
		tn_buf_printf(err, "cannot make a socket for %s: %s", text, strerror(errno));
		tn_fd_close(&fd);
		return TN_ESYS;
	}
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) != 0 ||
	    (shards && !another && let_share(fd) != 0) ||
	    (!l->silent && listen(fd, BACKLOG) != 0)) {
		error = errno;
		tn_buf_printf(err, "cannot listen on %s: %s", text, explain_bind(&a->sa, error));
		tn_fd_close(&fd);
		return error == EADDRINUSE ? TN_EBUSY : TN_ESYS;
	}
	l->fd = fd;
	return 0;
}

/* The path is taken.  Remove it if it is a socket that nobody listens on. */
static int
remove_stale(const struct sv_address *a, const char *path, struct tn_buf *err)
{
	struct stat st;
	int fd, error = 0;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : TN_ESYS;
	if (!S_ISSOCK(st.st_mode)) {
		tn_buf_printf(
		    err, "cannot listen on unix:%s: there is something else than a socket", path);
		return TN_EBUSY;
	}
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
		tn_buf_printf(err, "cannot make a socket: %s", strerror(errno));
		return TN_ESYS;
	}
	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0)
		error = errno;
	tn_fd_close(&fd);
	if (error != ECONNREFUSED) {
		tn_buf_printf(err, "cannot listen on unix:%s: %s", path,
		    error == 0 || error == EAGAIN || error == EPROTOTYPE ?
			"another program listens there" :
			strerror(error));
		return TN_EBUSY;
	}
	if (unlink(path) != 0 && errno != ENOENT) {
		tn_buf_printf(
		    err, "cannot replace the stale socket unix:%s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	return 0;
}

/* It is bound already; its path is ours, unless it is systemd's. */
static int
listen_inherited(struct sv_listener *l, const char *path, struct tn_buf *err)
{
	struct stat st;

	l->shared = sv_inherit_upgrade();
	if (l->activated)
		return 0;
	if (lstat(path, &st) != 0 || (l->path = strdup(path)) == NULL) {
		tn_buf_printf(err, "cannot take over unix:%s: %s", path, strerror(errno));
		tn_fd_close(&l->fd);
		return TN_ESYS;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int
sv_listen_unix(struct sv_listener *l, const char *path, mode_t mode, struct tn_buf *err)
{
	struct sv_address a;
	struct stat st;
	mode_t mask;
	int fd, error, rc;

	*l = (struct sv_listener){ .fd = -1, .of = 1, .cover = -1 };
	memset(&a, 0, sizeof(a));
	if ((rc = parse_unix(&a, path, err)) != 0)
		return rc;
	if ((l->fd = sv_inherit_socket(&a, &l->activated)) >= 0)
		return listen_inherited(l, path, err);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
		tn_buf_printf(err, "cannot make a socket: %s", strerror(errno));
		return TN_ESYS;
	}
	mask = umask(~mode & 0777);
	rc = bind(fd, (const struct sockaddr *)&a.sa, a.len);
	error = errno;
	if (rc != 0 && error == EADDRINUSE) {
		if ((rc = remove_stale(&a, path, err)) != 0) {
			(void)umask(mask);
			tn_fd_close(&fd);
			return rc;
		}
		rc = bind(fd, (const struct sockaddr *)&a.sa, a.len);
		error = errno;
	}
	(void)umask(mask);
	if (rc != 0 || listen(fd, BACKLOG) != 0 || lstat(path, &st) != 0) {
		if (rc == 0)
			error = errno;
		tn_buf_printf(
		    err, "cannot listen on unix:%s: %s", path, explain_bind(&a.sa, error));
		tn_fd_close(&fd);
		return TN_ESYS;
	}
	if ((l->path = strdup(path)) == NULL) {
		tn_buf_puts(err, "out of memory");
		tn_fd_close(&fd);
		(void)unlink(path);
		return TN_ENOMEM;
	}
	l->fd = fd;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

/* Room for one more, which counts once ls->n is raised. */
static struct sv_listener *
next_listener(struct sv_listeners *ls, struct tn_buf *err)
{
	struct sv_listener *v = reallocarray(ls->v, ls->n + 1, sizeof(*v));

	if (v == NULL) {
		tn_buf_puts(err, "out of memory");
		return NULL;
	}
	ls->v = v;
	v[ls->n] = (struct sv_listener){ .fd = -1, .cover = -1 };
	return &v[ls->n];
}

/* Where one really is (port 0): the others are to be there, too. */
static int
bound_address(const struct sv_listener *l, struct sv_address *a, struct tn_buf *err)
{
	a->len = sizeof(a->sa);
	if (getsockname(l->fd, (struct sockaddr *)&a->sa, &a->len) == 0)
		return 0;
	tn_buf_printf(err, "where a socket is bound cannot be found out: %s", strerror(errno));
	return TN_ESYS;
}

/* All sockets of the address that we were started with. */
static int
take_inherited(struct sv_listeners *ls, struct sv_address *a, struct tn_buf *err)
{
	struct sv_listener *l;
	size_t first = ls->n;
	int rc;

	for (;;) {
		if ((l = next_listener(ls, err)) == NULL)
			return TN_ENOMEM;
		if ((l->fd = sv_inherit_socket(a, &l->activated)) < 0)
			return 0;
		l->shared = sv_inherit_upgrade();
		if (ls->n++ == first && (rc = bound_address(l, a, err)) != 0)
			return rc;
	}
}

static int
open_tcp(struct sv_listeners *ls, struct sv_address *a, const char *text, unsigned shards,
    struct tn_buf *err)
{
	size_t first = ls->n, had;
	struct sv_listener *l;
	struct tn_buf why = { 0 };
	int rc;

	if ((rc = take_inherited(ls, a, err)) != 0)
		return rc;
	had = ls->n - first;
	if (had > 0 && shards > had) {
		/* What systemd bound is not for us to add to. */
		if (ls->v[first].activated)
			return 0;
		for (size_t i = first; i < ls->n; i++)
			(void)let_share(ls->v[i].fd);
	}
	while (ls->n - first < shards) {
		if ((l = next_listener(ls, err)) == NULL)
			return TN_ENOMEM;
		if (ls->n > first && (rc = bound_address(&ls->v[first], a, err)) != 0)
			return rc;
		l->silent = had > 0;
		if ((rc = listen_tcp(l, a, text, ls->n > first, shards > 1, &why)) != 0) {
			/* An upgrade does not fail for it: shards share what there is. */
			if (had > 0)
				tn_log(TN_LOG_WARN, "no socket of its own for each shard: %.*s",
				    (int)why.len, why.p != NULL ? why.p : "");
			else
				tn_buf_putstr(err, (struct tn_str){ why.p, why.len });
			tn_buf_fini(&why);
			return had > 0 ? 0 : rc;
		}
		ls->n++;
	}
	return 0;
}

static int
open_address(struct sv_listeners *ls, const char *text, unsigned shards, struct tn_buf *err)
{
	size_t first = ls->n, i;
	struct sv_listener *l;
	struct sv_address a;
	int rc;

	if ((rc = sv_address_parse(&a, text, err)) != 0)
		return rc;
	if (a.sa.ss_family != AF_UNIX)
		rc = open_tcp(ls, &a, text, shards, err);
	else if ((l = next_listener(ls, err)) == NULL)
		rc = TN_ENOMEM;
	else if ((rc = sv_listen_unix(l, text + 5, 0666, err)) == 0)
		ls->n++;
	for (i = first; i < ls->n; i++) {
		ls->v[i].nth = (unsigned)(i - first);
		ls->v[i].of = (unsigned)(ls->n - first);
	}
	return rc;
}

int
sv_listen_open_shards(struct sv_listeners *ls, const struct tn_list *addresses, unsigned shards,
    struct tn_buf *err)
{
	size_t i;
	int rc;

	*ls = (struct sv_listeners){ NULL, 0 };
	if (addresses->n == 0) {
		tn_buf_puts(err, "listen: no address is given");
		return TN_EINVAL;
	}
	for (i = 0; i < addresses->n; i++)
		if ((rc = open_address(ls, addresses->v[i], shards, err)) != 0) {
			sv_listen_close(ls);
			return rc;
		}
	return 0;
}

int
sv_listen_open(struct sv_listeners *ls, const struct tn_list *addresses, struct tn_buf *err)
{
	return sv_listen_open_shards(ls, addresses, 1, err);
}

int
sv_listen_begin(struct sv_listeners *ls, struct tn_buf *err)
{
	size_t i;

	for (i = 0; i < ls->n; i++) {
		if (!ls->v[i].silent)
			continue;
		if (listen(ls->v[i].fd, BACKLOG) != 0) {
			tn_buf_puts(err, "cannot listen on ");
			sv_address_print(ls->v[i].fd, err);
			tn_buf_printf(err, ": %s", strerror(errno));
			return TN_ESYS;
		}
		ls->v[i].silent = false;
	}
	return 0;
}

bool
sv_listener_is_for(const struct sv_listener *l, unsigned n, unsigned shards)
{
	return l->nth % shards == n || (l->of <= n && n % l->of == l->nth);
}

bool
sv_listener_reachable(const struct sv_listener *l)
{
	struct stat st;

	return l->path == NULL ||
	    (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino);
}

void
sv_listener_leave(struct sv_listener *l)
{
	free(l->path);
	l->path = NULL;
	tn_fd_close(&l->fd);
}

void
sv_listener_close(struct sv_listener *l)
{
	if (l->path != NULL && !l->shared && sv_listener_reachable(l))
		(void)unlink(l->path);
	sv_listener_leave(l);
}

void
sv_listen_close(struct sv_listeners *ls)
{
	size_t i;

	for (i = 0; i < ls->n; i++)
		sv_listener_close(&ls->v[i]);
	free(ls->v);
	*ls = (struct sv_listeners){ NULL, 0 };
}
