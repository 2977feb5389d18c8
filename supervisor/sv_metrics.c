/*
 * sv_metrics.c - GET /metrics.
 *
 * A connection reads one head, is answered, and is closed by us: our side first, then,
 * when the client has closed its own, or its time is over, the rest.
 */
#include "config.h"

#include "sv_metrics.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_contract.h"
#include "sv_dispatch.h"
#include "sv_gather.h"
#include "sv_http_check.h"
#include "sv_http_reply.h"
#include "sv_openmetrics.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define CLIENTS_MAX	16u
#define CLIENT_S	10		/* for all of a connection's life */
#define TEXT_US		100000u		/* so long the text is as good as new */
#define PAUSE_MS	100		/* no accepting for so long when it cannot work */
#define DRAIN_CHUNK	4096u

static const struct sv_http_limits limits = { 8192, 1024 };

struct client {
	TAILQ_ENTRY(client) link;
	struct sv_metrics *m;
	struct bufferevent *bev;
	struct event	*ev_end;
	struct sv_http_scan scan;
	bool		 answered, eof;
	bool		 waiting;	/* for the other shards */
	int		 minor;		/* of its HTTP version, meanwhile */
};

struct listener {
	TAILQ_ENTRY(listener) link;
	int		 fd;
	struct event	*ev;
};

struct sv_metrics {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_dispatch *dispatch;
	struct sv_stats	*stats;
	struct sv_gather *gather;	/* NULL: there are no other shards */
	bool		 asking;
	struct event	*ev_pause;
	TAILQ_HEAD(, listener) listeners;
	TAILQ_HEAD(, client) clients;
	unsigned	 nclients;
	struct tn_buf	 text;
	uint64_t	 text_us;	/* when it was made, 0: never */
};

/* -- the text ---------------------------------------------------------------- */

struct pick {
	const struct sv_contract **v;
	size_t		 n, max;
};

static void
pick(void *arg, struct sv_contract *c)
{
	struct pick *p = arg;

	if (p->n < p->max)
		p->v[p->n++] = c;
}

static int
busiest_first(const void *pa, const void *pb)
{
	const struct sv_contract *a = *(const struct sv_contract *const *)pa;
	const struct sv_contract *b = *(const struct sv_contract *const *)pb;

	return a->requests != b->requests ? (a->requests < b->requests ? 1 : -1) :
	    strcmp(a->id, b->id);
}

static int
write_text(struct sv_metrics *m, const struct sv_stats *st,
    const struct sv_openmetrics_contract *list, size_t n)
{
	tn_buf_reset(&m->text);
	sv_openmetrics(&m->text, st, list, n);
	if (!m->text.failed) {
		m->text_us = tn_clock_us();
		return 0;
	}
	tn_buf_fini(&m->text);
	m->text_us = 0;
	return TN_ENOMEM;
}

static int
make_text(struct sv_metrics *m)
{
	struct sv_contracts *cs = sv_dispatch_contracts(m->dispatch);
	struct pick p = { .max = sv_contracts_count(cs) };
	struct sv_openmetrics_contract *list = NULL;
	size_t i, n = (size_t)m->opt->metrics_contracts_max;
	int rc = TN_ENOMEM;

	if (n > p.max)
		n = p.max;
	if ((p.v = calloc(p.max + 1, sizeof(p.v[0]))) == NULL ||
	    (list = calloc(n + 1, sizeof(list[0]))) == NULL)
		goto out;
	sv_contracts_each(cs, pick, &p);
	if (n < p.n)
		qsort(p.v, p.n, sizeof(p.v[0]), busiest_first);
	for (i = 0; i < n; i++) {
		list[i].id = p.v[i]->id;
		memcpy(list[i].answers, p.v[i]->answers, sizeof(list[i].answers));
	}
	sv_dispatch_gauges(m->dispatch);
	rc = write_text(m, m->stats, list, n);
out:
	free(p.v);
	free(list);
	return rc;
}

/* The text as it is now, or was a moment ago.  TN_EAGAIN: other shards must be asked. */
static int
fresh_text(struct sv_metrics *m)
{
	if (m->text_us != 0 && tn_clock_us() - m->text_us < TEXT_US)
		return 0;
	return m->gather != NULL ? TN_EAGAIN : make_text(m);
}

/* -- connections ---------------------------------------------------------------- */

static void
set_accepting(struct sv_metrics *m, bool on)
{
	struct listener *l;

	TAILQ_FOREACH(l, &m->listeners, link) {
		if (on)
			event_add(l->ev, NULL);
		else
			event_del(l->ev);
	}
}

static void
client_free(struct client *cl)
{
	struct sv_metrics *m = cl->m;

	TAILQ_REMOVE(&m->clients, cl, link);
	if (m->nclients-- == CLIENTS_MAX && !evtimer_pending(m->ev_pause, NULL))
		set_accepting(m, true);
	if (cl->ev_end != NULL)
		event_free(cl->ev_end);
	bufferevent_free(cl->bev);
	free(cl);
}

/* Send it; fault NONE: *reply, whose texts are ours. */
static void
answer(struct client *cl, const struct sv_http_head *head, enum tn_fault fault,
    const struct sv_reply *reply)
{
	char id[17];
	struct sv_http_answer a = { .minor = head->minor, .close = true, .reply_max = UINT64_MAX,
	    .head = tn_str_is(head->method, "HEAD"), .request_id = id };
	struct tn_buf out = { 0 };
	struct tn_str body = { "", 0 };
	const char *why;

	(void)snprintf(id, sizeof(id), "%08x%08x", arc4random(), arc4random());
	if (fault == TN_FAULT_NONE)
		fault = sv_http_reply(&out, &a, reply, &body, &why);
	if (fault != TN_FAULT_NONE)
		sv_http_reply_fault(&out, &a, fault, NULL);
	cl->answered = true;
	if (out.failed || bufferevent_write(cl->bev, out.p, out.len) != 0 ||
	    bufferevent_write(cl->bev, body.p, body.len) != 0)
		client_free(cl);
	tn_buf_fini(&out);
}

static void
answer_text(struct client *cl, const struct sv_http_head *head, int status, const char *type,
    struct tn_str body)
{
	struct tn_str headers[] = { TN_STR("content-type"), tn_str(type), TN_STR("allow"),
	    TN_STR("GET") };
	struct sv_reply reply = { .status = status, .headers = { headers, status == 405 ? 4 : 2 },
	    .body = body };

	answer(cl, head, TN_FAULT_NONE, &reply);
}

static void
answer_metrics(struct client *cl, const struct sv_http_head *head, int rc)
{
	if (rc != 0)
		answer(cl, head, TN_FAULT_OVERLOAD, NULL);
	else
		answer_text(cl, head, 200, SV_OPENMETRICS_TYPE,
		    (struct tn_str){ cl->m->text.p, cl->m->text.len });
}

static uint64_t
answers_of(const struct sv_openmetrics_contract *c)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < SV_STATUSES; i++)
		n += c->answers[i];
	return n;
}

static int
most_answers_first(const void *pa, const void *pb)
{
	const struct sv_openmetrics_contract *a = pa, *b = pb;
	uint64_t na = answers_of(a), nb = answers_of(b);

	return na != nb ? (na < nb ? 1 : -1) : strcmp(a->id, b->id);
}

static void
on_gathered(void *arg, const struct sv_stats *st, const struct sv_openmetrics_contract *list,
    size_t n)
{
	struct sv_metrics *m = arg;
	struct sv_openmetrics_contract *busiest = NULL;
	size_t max = (size_t)m->opt->metrics_contracts_max;
	struct client *cl, *next;
	int rc = TN_ENOMEM;

	m->asking = false;
	if (st != NULL && (busiest = calloc(n + 1, sizeof(*busiest))) != NULL) {
		memcpy(busiest, list, n * sizeof(*busiest));
		if (n > max) {
			qsort(busiest, n, sizeof(*busiest), most_answers_first);
			n = max;
		}
		rc = write_text(m, st, busiest, n);
	}
	free(busiest);
	for (cl = TAILQ_FIRST(&m->clients); cl != NULL; cl = next) {
		struct sv_http_head head = { .minor = cl->minor };

		next = TAILQ_NEXT(cl, link);
		if (cl->waiting) {
			cl->waiting = false;
			answer_metrics(cl, &head, rc);
		}
	}
}

static void
ask_shards(struct client *cl, const struct sv_http_head *head)
{
	struct sv_metrics *m = cl->m;

	if (!m->asking && sv_gather_metrics(m->gather, on_gathered, m) != 0) {
		answer(cl, head, TN_FAULT_OVERLOAD, NULL);
		return;
	}
	m->asking = true;
	cl->waiting = true;
	cl->minor = head->minor;
}

static void
serve(struct client *cl, const struct sv_http_head *head)
{
	struct sv_metrics *m = cl->m;
	int rc;

	if (!tn_str_is(head->path, "/metrics"))
		answer_text(cl, head, 404, "text/plain; charset=utf-8",
		    TN_STR("There is only /metrics here.\n"));
	else if (!tn_str_is(head->method, "GET"))
		answer_text(cl, head, 405, "text/plain; charset=utf-8",
		    TN_STR("There is only GET here.\n"));
	else if ((rc = fresh_text(m)) == TN_EAGAIN)
		ask_shards(cl, head);
	else
		answer_metrics(cl, head, rc);
}

static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct client *cl = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct sv_http_head head = { .minor = 1 };
	struct tn_str text;
	enum tn_fault fault;
	size_t end;

	if (cl->answered || cl->waiting) {
		/* A body, or another request: there will be no answer to that. */
		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	text = (struct tn_str){ (const char *)evbuffer_pullup(in, -1), evbuffer_get_length(in) };
	if (text.len == 0)
		return;
	fault = sv_http_scan(&cl->scan, text, &limits, &end);
	if (fault == TN_FAULT_NONE && end == 0)
		return;
	if (fault == TN_FAULT_NONE)
		fault = sv_http_check_head((struct tn_str){ text.p, end }, &limits, &head);
	if (fault != TN_FAULT_NONE)
		answer(cl, &head, fault, NULL);
	else
		serve(cl, &head);
	/* cl may be gone; if not, what came behind the head is dropped when more comes. */
}

/* All is with the kernel: close our side; a reset would take along what is on its way. */
static void
on_written(struct bufferevent *bev, void *arg)
{
	struct client *cl = arg;

	if (!cl->answered)
		return;
	evbuffer_drain(bufferevent_get_input(bev), evbuffer_get_length(bufferevent_get_input(bev)));
	if (cl->eof || shutdown(bufferevent_getfd(bev), SHUT_WR) != 0)
		client_free(cl);
}

static void
on_client_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *cl = arg;

	/* It may have closed its sending side only, and still wait for the answer. */
	if (!(what & BEV_EVENT_ERROR) && (cl->waiting || (cl->answered &&
	    evbuffer_get_length(bufferevent_get_output(bev)) > 0)))
		cl->eof = true;
	else
		client_free(cl);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct client *cl = arg;
	struct linger reset = { 1, 0 };

	(void)fd;
	(void)what;
	/* Or the kernel would go on offering it what it does not take. */
	if (evbuffer_get_length(bufferevent_get_output(cl->bev)) > 0)
		(void)setsockopt(bufferevent_getfd(cl->bev), SOL_SOCKET, SO_LINGER, &reset,
		    sizeof(reset));
	client_free(cl);
}

static void
client_new(struct sv_metrics *m, int fd)
{
	struct client *cl = calloc(1, sizeof(*cl));
	struct timeval tv = { CLIENT_S, 0 };

	if (cl == NULL || (cl->bev = bufferevent_socket_new(m->base, fd,
	    BEV_OPT_CLOSE_ON_FREE)) == NULL) {
		close(fd);
		free(cl);
		return;
	}
	cl->m = m;
	TAILQ_INSERT_TAIL(&m->clients, cl, link);
	m->nclients++;
	cl->ev_end = evtimer_new(m->base, on_end, cl);
	bufferevent_setcb(cl->bev, on_readable, on_written, on_client_event, cl);
	/* A head that is longer is refused before so much has come. */
	bufferevent_setwatermark(cl->bev, EV_READ, 0, limits.header_max + DRAIN_CHUNK);
	if (cl->ev_end == NULL || evtimer_add(cl->ev_end, &tv) != 0 ||
	    bufferevent_enable(cl->bev, EV_READ | EV_WRITE) != 0)
		client_free(cl);
}

static void
on_accept(evutil_socket_t sock, short what, void *arg)
{
	struct sv_metrics *m = arg;
	struct timeval tv = { 0, PAUSE_MS * 1000 };
	int fd;

	(void)what;
	while (m->nclients < CLIENTS_MAX) {
		fd = accept4(sock, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				set_accepting(m, false);
				evtimer_add(m->ev_pause, &tv);
			}
			return;
		}
		client_new(m, fd);
	}
	set_accepting(m, false);	/* until one has gone */
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct sv_metrics *m = arg;

	(void)fd;
	(void)what;
	if (m->nclients < CLIENTS_MAX)
		set_accepting(m, true);
}

/* -- beginning and end ------------------------------------------------------------ */

int
sv_metrics_listen(struct sv_metrics *m, int fd)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return TN_ENOMEM;
	l->fd = fd;
	l->ev = event_new(m->base, fd, EV_READ | EV_PERSIST, on_accept, m);
	if (tn_fd_nonblock(fd) != 0 || l->ev == NULL || event_add(l->ev, NULL) != 0) {
		if (l->ev != NULL)
			event_free(l->ev);
		free(l);
		return TN_ESYS;
	}
	TAILQ_INSERT_TAIL(&m->listeners, l, link);
	return 0;
}

void
sv_metrics_drain(struct sv_metrics *m)
{
	struct listener *l;

	while ((l = TAILQ_FIRST(&m->listeners)) != NULL) {
		TAILQ_REMOVE(&m->listeners, l, link);
		event_free(l->ev);
		close(l->fd);
		free(l);
	}
}

void
sv_metrics_set_gather(struct sv_metrics *m, struct sv_gather *gather)
{
	m->gather = gather;
}

struct sv_metrics *
sv_metrics_new(struct event_base *base, const struct tn_options *opt, struct sv_dispatch *dispatch,
    struct sv_stats *stats)
{
	struct sv_metrics *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	*m = (struct sv_metrics){ .base = base, .opt = opt, .dispatch = dispatch, .stats = stats };
	TAILQ_INIT(&m->listeners);
	TAILQ_INIT(&m->clients);
	if ((m->ev_pause = evtimer_new(base, on_pause_over, m)) == NULL)
		sv_metrics_free(&m);
	return m;
}

void
sv_metrics_free(struct sv_metrics **mp)
{
	struct sv_metrics *m = *mp;

	if (m == NULL)
		return;
	*mp = NULL;
	sv_metrics_drain(m);
	while (!TAILQ_EMPTY(&m->clients))
		client_free(TAILQ_FIRST(&m->clients));
	if (m->ev_pause != NULL)
		event_free(m->ev_pause);
	tn_buf_fini(&m->text);
	free(m);
}
