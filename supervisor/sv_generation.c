/*
 * sv_generation.c - one zygote, as the front knows it.
 */
#include "config.h"

#include "sv_generation.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"

#define BATCH	64	/* events taken in one turn, so that a zygote cannot flood us */
#define BURST	10u	/* complaints a second */

/* A command that found the socket full. */
struct queued_cmd {
	struct queued_cmd *next;
	struct tn_zy_cmd cmd;
	int		 fds[2], nfds;
};

static void
complain(struct sv_generation *g, const char *what)
{
	uint64_t dropped;

	if (tn_log_allow(&g->gossip, tn_clock_us(), &dropped))
		tn_log(TN_LOG_WARN, "zygote %llu: %s", (unsigned long long)g->number, what);
}

static void
on_event(struct sv_generation *g, const struct tn_zy_event *e, int *fds, int nfds)
{
	pid_t pid = -1;

	switch (e->type) {
	case TN_ZY_READY:
		if (g->ready)
			break;
		g->ready = true;
		g->layers = e->layers;
		g->restore = e->restore;
		g->warm_us = e->warm_us;
		g->image_bytes = e->image_bytes;
		g->ops->ready(g->arg, g);
		break;
	case TN_ZY_FAILED:
		memcpy(g->text, e->text, sizeof(g->text) - 1);
		break;
	case TN_ZY_SPAWNED:
		if (e->status == 0 && (nfds != 1 || (pid = tn_fd_pidfd_pid(fds[0])) <= 0))
			pid = 0;	/* died already; EXITED follows */
		g->ops->spawned(g->arg, e->worker, pid, &fds[0], e->status);
		break;
	case TN_ZY_EXITED:
		g->ops->exited(g->arg, e->worker, e->status);
		break;
	default:
		complain(g, "unknown event");
	}
}

static void
on_read(evutil_socket_t sock, short what, void *arg)
{
	struct sv_generation *g = arg;
	struct tn_zy_event e;
	int fds[2], nfds, i, batch;
	ssize_t n;

	(void)what;
	for (batch = 0; batch < BATCH; batch++) {
		fds[0] = fds[1] = -1;
		nfds = 1;
		memset(&e, 0, sizeof(e));
		n = tn_fd_recv(sock, &e, sizeof(e), fds, &nfds);
		if (n == TN_EAGAIN)
			return;
		/* No descriptor was left for its pidfd, perhaps, which can be done without. */
		if (n < 0 && n != TN_EPROTO) {
			g->ops->dead(g->arg, g, g->text);
			return;
		}
		if ((n == (ssize_t)sizeof(e) || n == TN_EPROTO) && e.magic == TN_ZY_MAGIC) {
			e.text[sizeof(e.text) - 1] = '\0';
			on_event(g, &e, fds, nfds);
		} else
			complain(g, "malformed event");
		for (i = 0; i < 2; i++)
			tn_fd_close(&fds[i]);
	}
}

static void
queued_free(struct queued_cmd *q)
{
	for (int i = 0; i < q->nfds; i++)
		tn_fd_close(&q->fds[i]);
	free(q);
}

static void
on_write(evutil_socket_t sock, short what, void *arg)
{
	struct sv_generation *g = arg;
	struct queued_cmd *q;
	ssize_t n;

	(void)what;
	while ((q = g->head) != NULL) {
		n = tn_fd_send(sock, &q->cmd, sizeof(q->cmd), q->fds, q->nfds);
		if (n == TN_EAGAIN) {
			event_add(g->ev_write, NULL);
			return;
		}
		g->head = q->next;
		if (g->head == NULL)
			g->tail = &g->head;
		queued_free(q);		/* an error shows as EOF on the reading side */
	}
}

static int
send_cmd(struct sv_generation *g, const struct tn_zy_cmd *cmd, const int *fds, int nfds)
{
	struct queued_cmd *q;
	ssize_t n;

	if (g->head == NULL) {
		n = tn_fd_send(g->fd, cmd, sizeof(*cmd), fds, nfds);
		if (n != TN_EAGAIN)
			return n < 0 ? (int)n : 0;
	}
	if ((q = calloc(1, sizeof(*q))) == NULL)
		return TN_ENOMEM;
	q->cmd = *cmd;
	for (q->nfds = 0; q->nfds < nfds; q->nfds++)
		if ((q->fds[q->nfds] = fcntl(fds[q->nfds], F_DUPFD_CLOEXEC, 0)) < 0) {
			queued_free(q);
			return TN_ESYS;
		}
	*g->tail = q;
	g->tail = &q->next;
	event_add(g->ev_write, NULL);
	return 0;
}

int
sv_generation_spawn(struct sv_generation *g, uint64_t worker, enum tn_zy_role role,
    const int fds[2])
{
	struct tn_zy_cmd cmd = { .magic = TN_ZY_MAGIC, .op = TN_ZY_SPAWN, .worker = worker,
	    .role = role };

	return send_cmd(g, &cmd, fds, 2);
}

int
sv_generation_end(struct sv_generation *g)
{
	struct tn_zy_cmd cmd = { .magic = TN_ZY_MAGIC, .op = TN_ZY_EXIT };

	if (g->ending)
		return 0;
	g->ending = true;
	return send_cmd(g, &cmd, NULL, 0);
}

int
sv_generation_signal(struct sv_generation *g, uint64_t worker, int sig)
{
	struct tn_zy_cmd cmd = { .magic = TN_ZY_MAGIC, .op = TN_ZY_SIGNAL, .worker = worker,
	    .signal = sig };

	return send_cmd(g, &cmd, NULL, 0);
}

struct sv_generation *
sv_generation_new(struct event_base *base, uint64_t number, int *fd, int *pidfd,
    const struct sv_generation_ops *ops, void *arg)
{
	struct sv_generation *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->number = number;
	g->fd = *fd;
	g->pidfd = *pidfd;
	*fd = *pidfd = -1;
	g->pid = tn_fd_pidfd_pid(g->pidfd);
	g->ops = ops;
	g->arg = arg;
	g->tail = &g->head;
	g->gossip.burst = BURST;
	g->ev = event_new(base, g->fd, EV_READ | EV_PERSIST, on_read, g);
	g->ev_write = event_new(base, g->fd, EV_WRITE, on_write, g);
	if (g->ev == NULL || g->ev_write == NULL || tn_fd_nonblock(g->fd) != 0 ||
	    event_add(g->ev, NULL) != 0)
		sv_generation_free(&g);
	return g;
}

void
sv_generation_free(struct sv_generation **gp)
{
	struct sv_generation *g = *gp;
	struct queued_cmd *q;

	if (g == NULL)
		return;
	*gp = NULL;
	if (g->ev != NULL)
		event_free(g->ev);
	if (g->ev_write != NULL)
		event_free(g->ev_write);
	while ((q = g->head) != NULL) {
		g->head = q->next;
		queued_free(q);
	}
	tn_fd_close(&g->fd);
	tn_fd_close(&g->pidfd);
	free(g);
}
