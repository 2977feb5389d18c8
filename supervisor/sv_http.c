/*
 * sv_http.c - the HTTP/1.1 server: listening, time, and the end.
 */
#include "config.h"

#include "sv_http.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_http_conn.h"
#include "sv_http_reply.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_options.h"

#define ACCEPT_MAX	64	/* connections accepted before others get their turn */
#define REFUSED_MAX	64u	/* refused connections that get a proper goodbye at a time */
#define PAUSE_MS	100	/* no accepting for so long when it cannot work */
#define LINGER_MS	3000
#define PROBE_MS	1000
#define FRESH_MS	1000
#define LOG_BURST	5u

/* -- time -------------------------------------------------------------------- */

static uint64_t
wait_us(const struct sv_http *h, enum sv_http_wait wait)
{
	int64_t ms = 0;

	switch (wait) {
	case SV_HTTP_IDLE:
		ms = h->opt->idle_timeout_ms;
		break;
	case SV_HTTP_HEADER:
		ms = h->opt->header_timeout_ms;
		break;
	case SV_HTTP_BODY:
	case SV_HTTP_WRITE:
		ms = h->opt->body_timeout_ms;
		break;
	case SV_HTTP_LINGER:
		ms = LINGER_MS;
		break;
	case SV_HTTP_PROBE:
		ms = PROBE_MS;
		break;
	case SV_HTTP_FRESH:
		ms = FRESH_MS;
		break;
	case SV_HTTP_NEVER:
		break;
	}
	return (uint64_t)ms * 1000u;
}

static void
set_timer(struct sv_http *h, uint64_t now, uint64_t due)
{
	uint64_t us = due > now ? due - now : 1;
	struct timeval tv = { (time_t)(us / 1000000u), (suseconds_t)(us % 1000000u) };

	if (event_add(h->ev_timer, &tv) == 0)
		h->timer_us = due;
}

/*
 * In steady state this moves an entry from list to list and no more: the timer
 * is set already, for somebody who waits longer.
 */
void
sv_http_wait_for(struct sv_http_conn *c, enum sv_http_wait wait)
{
	struct sv_http *h = c->h;
	uint64_t due;

	if (c->wait != SV_HTTP_NEVER)
		TAILQ_REMOVE(&h->waits[c->wait], c, timer);
	c->wait = wait;
	if (wait == SV_HTTP_NEVER)
		return;
	TAILQ_INSERT_TAIL(&h->waits[wait], c, timer);
	c->since_us = tn_clock_us();
	due = c->since_us + wait_us(h, wait);
	if (h->timer_us == 0 || due < h->timer_us)
		set_timer(h, c->since_us, due);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sv_http *h = arg;
	struct sv_http_conn *c;
	uint64_t now = tn_clock_us(), due = UINT64_MAX;
	unsigned i;

	(void)fd;
	(void)what;
	h->timer_us = 1;	/* nobody needs to set it before the end of this */
	for (i = 0; i < SV_HTTP_WAITS; i++) {
		while ((c = TAILQ_FIRST(&h->waits[i])) != NULL &&
		    c->since_us + wait_us(h, i) <= now) {
			sv_http_wait_for(c, SV_HTTP_NEVER);
			sv_http_conn_on_timeout(c, i);
		}
	}
	for (i = 0; i < SV_HTTP_WAITS; i++)
		if ((c = TAILQ_FIRST(&h->waits[i])) != NULL && c->since_us + wait_us(h, i) < due)
			due = c->since_us + wait_us(h, i);
	h->timer_us = 0;
	if (due != UINT64_MAX)
		set_timer(h, now, due);
}

void
sv_http_resume_soon(struct sv_http_conn *c)
{
	struct sv_http *h = c->h;

	if (c->resuming)
		return;
	c->resuming = true;
	if (TAILQ_EMPTY(&h->resuming))
		event_active(h->ev_resume, 0, 0);
	TAILQ_INSERT_TAIL(&h->resuming, c, resume);
	h->nresuming++;
}

static void
take_from_resuming(struct sv_http_conn *c)
{
	if (!c->resuming)
		return;
	TAILQ_REMOVE(&c->h->resuming, c, resume);
	c->h->nresuming--;
	c->resuming = false;
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct sv_http *h = arg;
	struct sv_http_conn *c;
	unsigned n = h->nresuming;

	(void)fd;
	(void)what;
	/* Those that come back while this runs have to wait for the next turn. */
	while (n-- > 0 && (c = TAILQ_FIRST(&h->resuming)) != NULL) {
		take_from_resuming(c);
		sv_http_conn_on_resume(c);
	}
	if (!TAILQ_EMPTY(&h->resuming))
		event_active(h->ev_resume, 0, 0);
}

/* -- accepting ------------------------------------------------------------------ */

static void
set_accepting(struct sv_http *h, bool on)
{
	struct sv_http_listener *l;

	TAILQ_FOREACH(l, &h->listeners, link) {
		if (on)
			event_add(l->ev, NULL);
		else
			event_del(l->ev);
	}
	h->paused = !on;
}

/* Accepting fails, and would at once again: leave it for a moment. */
static void
pause_accepting(struct sv_http *h, const char *what, int err)
{
	struct timeval tv = { 0, PAUSE_MS * 1000 };
	struct tn_log_record r;
	uint64_t dropped = 0;

	if (tn_log_allow(&h->troubles, tn_clock_us(), &dropped)) {
		tn_log_begin(&r, TN_LOG_WARN, "connections have to wait");
		tn_log_str(&r, "what", tn_str(what));
		tn_log_str(&r, "error", tn_str(strerror(err)));
		if (dropped > 0)
			tn_log_u64(&r, "dropped", dropped);
		tn_log_end(&r);
	}
	if (!h->paused && event_add(h->ev_pause, &tv) == 0)
		set_accepting(h, false);
}

static void
open_reserve(struct sv_http *h)
{
	if (h->reserve == -1)
		h->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct sv_http *h = arg;

	(void)fd;
	(void)what;
	open_reserve(h);
	if (!h->draining)
		set_accepting(h, true);
}

static void
count_refused(struct sv_http *h, const char *why)
{
	struct tn_log_record r;
	uint64_t dropped = 0;

	h->stats->connections_refused++;
	if (!tn_log_allow(&h->refusals, tn_clock_us(), &dropped))
		return;
	tn_log_begin(&r, TN_LOG_WARN, "connection refused");
	tn_log_str(&r, "why", tn_str(why));
	tn_log_u64(&r, "connections", h->nconns);
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_end(&r);
}

/* 503 without a connection's memory; closes fd. */
static void
turn_away(struct sv_http *h, int fd)
{
	char id[SV_REQUEST_ID_MAX + 1];
	struct sv_http_answer a = {
		.minor = 1, .close = true, .cors = h->opt->cors, .request_id = id
	};

	sv_request_new_id(id);
	tn_buf_reset(&h->head);
	sv_http_reply_fault(&h->head, &a, TN_FAULT_OVERLOAD, NULL);
	(void)!send(fd, h->head.p, h->head.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(fd, SHUT_WR);
	/* What was sent already and not read would make the kernel answer with a reset. */
	(void)!recv(fd, h->scratch, SV_HTTP_SCRATCH, MSG_DONTWAIT);
	close(fd);
}

/* There is no descriptor left: use the one kept for this. */
static bool
accept_and_refuse(struct sv_http *h, int listener)
{
	int fd;

	if (h->reserve == -1)
		return false;
	tn_fd_close(&h->reserve);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		count_refused(h, "no descriptor left");
		turn_away(h, fd);
	}
	open_reserve(h);
	return fd >= 0 && h->reserve != -1;
}

static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct sv_http_listener *l = arg;
	struct sv_http *h = l->h;
	struct sockaddr_storage sa;
	socklen_t len;
	int i, fd, err;

	(void)what;
	for (i = 0; i < ACCEPT_MAX; i++) {
		len = sizeof(sa);
		memset(&sa, 0, sizeof(sa));
		fd = accept4(lfd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			err = errno;
			if (err == EAGAIN)
				return;
			if (err == EMFILE || err == ENFILE) {
				if (accept_and_refuse(h, lfd))
					continue;
			} else if (err != ENOBUFS && err != ENOMEM && err != EBADF &&
			    err != EINVAL) {
				continue;	/* that connection's trouble, not ours */
			}
			pause_accepting(h, "accept", err);
			return;
		}
		if (h->nconns < (unsigned)h->opt->connections_max) {
			h->stats->connections_accepted++;
			sv_http_conn_new(h, fd, &sa, false);
			continue;
		}
		count_refused(h, "connections_max");
		if (h->nrefused < REFUSED_MAX)
			sv_http_conn_new(h, fd, &sa, true);
		else
			turn_away(h, fd);
	}
}

int
sv_http_listen(struct sv_http *h, int fd)
{
	struct sv_http_listener *l = calloc(1, sizeof(*l));
	int one = 1;

	if (l == NULL)
		return TN_ENOMEM;
	/* Accepted sockets inherit it; on a Unix socket it fails, and is not needed. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	l->h = h;
	l->fd = fd;
	l->ev = event_new(h->base, fd, EV_READ | EV_PERSIST, on_accept, l);
	if (tn_fd_nonblock(fd) != 0 || l->ev == NULL || event_add(l->ev, NULL) != 0) {
		if (l->ev != NULL)
			event_free(l->ev);
		free(l);
		return TN_ESYS;
	}
	TAILQ_INSERT_TAIL(&h->listeners, l, link);
	return TN_OK;
}

static void
close_listener(struct sv_http_listener *l)
{
	TAILQ_REMOVE(&l->h->listeners, l, link);
	event_free(l->ev);
	close(l->fd);
	free(l);
}

void
sv_http_unlisten(struct sv_http *h, int fd)
{
	struct sv_http_listener *l;

	TAILQ_FOREACH(l, &h->listeners, link)
		if (l->fd == fd) {
			close_listener(l);
			return;
		}
}

static void
close_listeners(struct sv_http *h)
{
	while (!TAILQ_EMPTY(&h->listeners))
		close_listener(TAILQ_FIRST(&h->listeners));
}

/* -- beginning and end ------------------------------------------------------------ */

static void
check_drained(struct sv_http *h)
{
	if (h->drained != NULL && TAILQ_EMPTY(&h->conns))
		event_active(h->ev_drained, 0, 0);
}

void
sv_http_on_gone(struct sv_http_conn *c)
{
	struct sv_http *h = c->h;

	sv_http_wait_for(c, SV_HTTP_NEVER);
	take_from_resuming(c);
	TAILQ_REMOVE(&h->conns, c, link);
	if (c->refused)
		h->nrefused--;
	else
		h->nconns--;
	h->stats->connections = h->nconns;
	check_drained(h);
}

static void
on_drained(evutil_socket_t fd, short what, void *arg)
{
	struct sv_http *h = arg;
	void (*cb)(void *) = h->drained;

	(void)fd;
	(void)what;
	h->drained = NULL;
	if (cb != NULL)
		cb(h->drained_arg);	/* may free h */
}

void
sv_http_retire(struct sv_http *h, void (*cb)(void *arg), void *arg)
{
	struct sv_http_listener *l;

	h->drained = cb;
	h->drained_arg = arg;
	if (!h->draining) {
		/* Who is in the backlog has connected, as far as he knows. */
		if (!h->paused)
			TAILQ_FOREACH(l, &h->listeners, link)
				on_accept(l->fd, EV_READ, l);
		h->draining = true;
		close_listeners(h);
		event_del(h->ev_pause);
	}
	check_drained(h);
}

void
sv_http_drain(struct sv_http *h, void (*cb)(void *arg), void *arg)
{
	struct sv_http_conn *c, *next;

	sv_http_retire(h, cb, arg);
	for (c = TAILQ_FIRST(&h->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		sv_http_conn_on_drain(c);
	}
	check_drained(h);
}

void
sv_http_reload(struct sv_http *h)
{
	struct tn_buf err = { 0 };
	struct sv_forwarded *f = sv_forwarded_new(&h->opt->trusted_proxies, &err);

	if (f == NULL) {
		tn_log(
		    TN_LOG_ERROR, "%.*s; the proxies of before stay trusted", (int)err.len, err.p);
	} else {
		sv_forwarded_free(&h->trusted);
		h->trusted = f;
	}
	tn_buf_fini(&err);
	/* Somebody may have to wait less long now. */
	event_active(h->ev_timer, EV_TIMEOUT, 0);
}

struct sv_http *
sv_http_new(struct event_base *base, const struct tn_options *opt, struct sv_dispatch *d,
    struct sv_stats *stats)
{
	struct sv_http *h = calloc(1, sizeof(*h));
	struct tn_buf err = { 0 };
	unsigned i;

	if (h == NULL)
		return NULL;
	h->base = base;
	h->opt = opt;
	h->dispatch = d;
	h->stats = stats;
	h->reserve = -1;
	h->refusals.burst = h->troubles.burst = LOG_BURST;
	TAILQ_INIT(&h->listeners);
	TAILQ_INIT(&h->conns);
	TAILQ_INIT(&h->kept);
	TAILQ_INIT(&h->resuming);
	for (i = 0; i < SV_HTTP_WAITS; i++)
		TAILQ_INIT(&h->waits[i]);
	/* header_max is kept before the parser sees anything. */
	http_parser_set_max_header_size(0x7fffffff);
	open_reserve(h);
	h->trusted = sv_forwarded_new(&opt->trusted_proxies, &err);
	if (err.len > 0)
		tn_log(TN_LOG_ERROR, "%.*s", (int)err.len, err.p);
	tn_buf_fini(&err);
	h->scratch = malloc(SV_HTTP_SCRATCH);
	h->ev_timer = evtimer_new(base, on_timer, h);
	h->ev_resume = event_new(base, -1, 0, on_resume, h);
	h->ev_pause = evtimer_new(base, on_pause_over, h);
	h->ev_drained = event_new(base, -1, 0, on_drained, h);
	if (h->trusted == NULL || h->scratch == NULL || h->ev_timer == NULL ||
	    h->ev_resume == NULL || h->ev_pause == NULL || h->ev_drained == NULL)
		sv_http_free(&h);
	return h;
}

void
sv_http_free(struct sv_http **hp)
{
	struct sv_http *h = *hp;
	struct sv_http_conn *c;

	if (h == NULL)
		return;
	*hp = NULL;
	h->drained = NULL;
	close_listeners(h);
	while ((c = TAILQ_FIRST(&h->conns)) != NULL)
		sv_http_conn_close(c);
	while ((c = TAILQ_FIRST(&h->kept)) != NULL) {
		TAILQ_REMOVE(&h->kept, c, link);
		free(c);
	}
	if (h->ev_timer != NULL)
		event_free(h->ev_timer);
	if (h->ev_resume != NULL)
		event_free(h->ev_resume);
	if (h->ev_pause != NULL)
		event_free(h->ev_pause);
	if (h->ev_drained != NULL)
		event_free(h->ev_drained);
	sv_forwarded_free(&h->trusted);
	tn_fd_close(&h->reserve);
	tn_buf_fini(&h->head);
	free(h->scratch);
	free(h);
}
