/*
 * sv_accept.c - accept clients on a listening Unix socket.
 */
#include "config.h"

#include "sv_accept.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tn_fd.h"

#define BACKLOG_TURN	16	/* accepted in one turn */
#define BACKLOG_TURNS	64u	/* of the rest */
#define PAUSE_MS	100	/* no accept() for so long after a failed one */

struct sv_accept {
	int		 fd;
	struct event	*ev, *ev_pause;
	sv_accept_fn	*fn;
	void		*arg;
};

/* One turn; true: there may be more. */
static bool
take(struct sv_accept *a)
{
	struct timeval tv = { 0, PAUSE_MS * 1000 };
	int i, fd;

	for (i = 0; i < BACKLOG_TURN; i++) {
		fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			a->fn(a->arg, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			event_del(a->ev);
			evtimer_add(a->ev_pause, &tv);
		}
		return false;
	}
	return true;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)take(arg);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct sv_accept *a = arg;

	(void)fd;
	(void)what;
	event_add(a->ev, NULL);
}

struct sv_accept *
sv_accept_new(struct event_base *base, int *listen_fd, sv_accept_fn *fn, void *arg)
{
	struct sv_accept *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	*a = (struct sv_accept){ .fd = -1, .fn = fn, .arg = arg };
	tn_fd_nonblock(*listen_fd);
	a->ev = event_new(base, *listen_fd, EV_READ | EV_PERSIST, on_accept, a);
	a->ev_pause = evtimer_new(base, on_pause_over, a);
	if (a->ev == NULL || a->ev_pause == NULL || event_add(a->ev, NULL) != 0) {
		sv_accept_free(&a);
		return NULL;
	}
	a->fd = *listen_fd;
	*listen_fd = -1;
	return a;
}

void
sv_accept_rest(struct sv_accept *a)
{
	unsigned turns = 0;

	while (take(a) && ++turns < BACKLOG_TURNS)
		;
}

void
sv_accept_free(struct sv_accept **ap)
{
	struct sv_accept *a = *ap;

	if (a == NULL)
		return;
	*ap = NULL;
	if (a->ev != NULL)
		event_free(a->ev);
	if (a->ev_pause != NULL)
		event_free(a->ev_pause);
	tn_fd_close(&a->fd);
	free(a);
}
