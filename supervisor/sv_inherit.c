/*
 * sv_inherit.c - the descriptors that this process was started with.
 */
#include "config.h"

#include "sv_inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sv_listen.h"
#include "tn_err.h"
#include "tn_fd.h"

#define UNIT_NAME_MAX 64

static struct inherited {
	int	fd;			/* -1: taken */
	char	word[16];
	char	name[UNIT_NAME_MAX];	/* systemd's, of its unit file */
	dev_t	dev;			/* unix: its path's */
	ino_t	ino;
} table[SV_INHERIT_MAX];
static size_t count;
static bool upgrade;

union any_address {
	struct sockaddr_storage	ss;
	struct sockaddr_in	in;
	struct sockaddr_in6	in6;
	struct sockaddr_un	un;
	struct sockaddr		sa;
};

/* The variable's first number; what follows it is *rest. */
static bool
meant_for_us(const char *text, const char **rest)
{
	char *end;
	long pid;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	pid = strtol(text, &end, 10);
	*rest = end;
	return errno == 0 && (*end == '\0' || *end == ' ') && pid == (long)getpid();
}

static bool
is_listening(int fd, struct tn_buf *err)
{
	socklen_t len = sizeof(int);
	int type = 0, listening = 0;
	struct stat st;

	if (fstat(fd, &st) != 0) {
		tn_buf_printf(err, "descriptor %d: %s", fd, strerror(errno));
		return false;
	}
	if (!S_ISSOCK(st.st_mode) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
	    type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening) {
		tn_buf_printf(err, "descriptor %d is not a listening stream socket", fd);
		return false;
	}
	return true;
}

static bool
is_named(const struct inherited *e, const char *word)
{
	return strcmp(e->word, word) == 0;
}

static bool
is_socket(const struct inherited *e)
{
	return is_named(e, SV_INHERIT_SOCKET) || is_named(e, SV_INHERIT_ACTIVATED);
}

/* The path that a Unix socket is bound to; NULL: it is none, or has none. */
static const char *
path_of(int fd, union any_address *u)
{
	socklen_t len = sizeof(*u) - 1;

	memset(u, 0, sizeof(*u));
	if (getsockname(fd, &u->sa, &len) != 0 || u->ss.ss_family != AF_UNIX ||
	    u->un.sun_path[0] == '\0')
		return NULL;
	return u->un.sun_path;
}

/* One more; TN_EINVAL if it is not what the word says. */
static int
add(const char *word, size_t wordlen, const char *name, size_t namelen, struct tn_buf *err)
{
	struct inherited *e = &table[count];
	int fd = SV_INHERIT_FD + (int)count, fl;
	union any_address u;
	const char *path;
	struct stat st;

	if (count == SV_INHERIT_MAX || wordlen >= sizeof(e->word)) {
		tn_buf_puts(err, "too many descriptors");
		return TN_EINVAL;
	}
	memset(e, 0, sizeof(*e));
	e->fd = fd;
	memcpy(e->word, word, wordlen);
	(void)snprintf(e->name, sizeof(e->name), "%.*s", (int)namelen, name);
	if ((fl = fcntl(fd, F_GETFD)) < 0 || fcntl(fd, F_SETFD, fl | FD_CLOEXEC) != 0) {
		tn_buf_printf(err, "descriptor %d (%s): %s", fd, e->word, strerror(errno));
		return TN_EINVAL;
	}
	if (is_socket(e)) {
		if (!is_listening(fd, err) || tn_fd_nonblock(fd) != 0)
			return TN_EINVAL;
		if ((path = path_of(fd, &u)) != NULL && lstat(path, &st) == 0) {
			e->dev = st.st_dev;
			e->ino = st.st_ino;
		}
	}
	count++;
	return 0;
}

/* " WORD WORD ..." */
static int
begin_upgrade(const char *words, struct tn_buf *err)
{
	size_t n;
	int rc;

	upgrade = true;
	while (*words == ' ') {
		n = strcspn(++words, " ");
		if ((rc = add(words, n, "", 0, err)) != 0)
			return rc;
		words += n;
	}
	return 0;
}

static int
begin_activated(const char *number, const char *names, struct tn_buf *err)
{
	char *end;
	unsigned long i, n;
	size_t len;
	int rc;

	n = number != NULL && *number >= '0' && *number <= '9' ? strtoul(number, &end, 10) : 0;
	if (n == 0 || *end != '\0' || n > SV_INHERIT_MAX) {
		tn_buf_printf(
		    err, "not a number of descriptors: '%s'", number != NULL ? number : "");
		return TN_EINVAL;
	}
	for (i = 0; i < n; i++) {
		len = names != NULL ? strcspn(names, ":") : 0;
		rc = add(SV_INHERIT_ACTIVATED, strlen(SV_INHERIT_ACTIVATED),
		    names != NULL ? names : "", len, err);
		if (rc != 0)
			return rc;
		if (names != NULL)
			names += len + (names[len] == ':');
	}
	return 0;
}

int
sv_inherit_begin(struct tn_buf *err)
{
	const char *rest;
	size_t before = err->len;
	int rc = 0;

	if (meant_for_us(getenv(SV_INHERIT_VAR), &rest)) {
		tn_buf_puts(err, SV_INHERIT_VAR ": ");
		rc = begin_upgrade(rest, err);
	} else if (meant_for_us(getenv("LISTEN_PID"), &rest)) {
		tn_buf_puts(err, "LISTEN_FDS: ");
		rc = begin_activated(getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"), err);
	}
	(void)unsetenv(SV_INHERIT_VAR);
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	if (rc == 0)
		err->len = before;
	return rc;
}

bool
sv_inherit_upgrade(void)
{
	return upgrade;
}

int
sv_inherit_take(const char *word)
{
	size_t i;
	int fd;

	for (i = 0; i < count; i++)
		if (table[i].fd >= 0 && is_named(&table[i], word)) {
			fd = table[i].fd;
			table[i].fd = -1;
			return fd;
		}
	return -1;
}

static bool
bound_to(int fd, const struct sv_address *a, bool any_port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
	socklen_t len = sizeof(union any_address), vlen = sizeof(int);
	union any_address u;
	int v6only = 0;

	memset(&u, 0, sizeof(u));
	if (getsockname(fd, &u.sa, &len) != 0)
		return false;
	switch (u.ss.ss_family) {
	case AF_UNIX:
		return a->sa.ss_family == AF_UNIX &&
		    strncmp(u.un.sun_path, un->sun_path, sizeof(un->sun_path)) == 0;
	case AF_INET:
		if (a->both)		/* of a kernel without IPv6 */
			return u.in.sin_addr.s_addr == INADDR_ANY &&
			    (u.in.sin_port == in6->sin6_port || (any_port && in6->sin6_port == 0));
		return a->sa.ss_family == AF_INET &&
		    u.in.sin_addr.s_addr == in->sin_addr.s_addr &&
		    (u.in.sin_port == in->sin_port || (any_port && in->sin_port == 0));
	case AF_INET6:
		return a->sa.ss_family == AF_INET6 &&
		    getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &vlen) == 0 &&
		    (v6only != 0) == !a->both &&
		    memcmp(&u.in6.sin6_addr, &in6->sin6_addr, sizeof(in6->sin6_addr)) == 0 &&
		    (u.in6.sin6_port == in6->sin6_port || (any_port && in6->sin6_port == 0));
	default:
		return false;
	}
}

int
sv_inherit_socket(const struct sv_address *a, bool *activated)
{
	size_t i;
	int fd;

	for (i = 0; i < count; i++)
		if (table[i].fd >= 0 && is_socket(&table[i]) && bound_to(table[i].fd, a, upgrade)) {
			fd = table[i].fd;
			table[i].fd = -1;
			*activated = is_named(&table[i], SV_INHERIT_ACTIVATED);
			return fd;
		}
	return -1;
}

size_t
sv_inherit_unwanted(struct tn_buf *names)
{
	size_t i, n = 0;

	/* After an upgrade it is the new configuration that does not want them any more. */
	for (i = 0; i < count && !upgrade; i++)
		if (table[i].fd >= 0) {
			tn_buf_puts(names, n++ > 0 ? ", " : "");
			sv_address_print(table[i].fd, names);
			if (table[i].name[0] != '\0')
				tn_buf_printf(names, " (%s)", table[i].name);
		}
	return n;
}

void
sv_inherit_end(bool ours)
{
	union any_address u;
	const char *path;
	struct stat st;
	size_t i;

	for (i = 0; i < count; i++) {
		struct inherited *e = &table[i];

		if (e->fd >= 0 && ours && is_named(e, SV_INHERIT_SOCKET) &&
		    (path = path_of(e->fd, &u)) != NULL && lstat(path, &st) == 0 &&
		    st.st_dev == e->dev && st.st_ino == e->ino)
			(void)unlink(path);
		tn_fd_close(&e->fd);
	}
	count = 0;
}
