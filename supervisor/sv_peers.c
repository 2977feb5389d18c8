/*
 * sv_peers.c - the first shard asks the others.
 */
#include "config.h"

#include "sv_peers.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "sv_shards.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_rpc.h"

#define QUESTIONS_MAX	300u		/* under way: what control clients may have, and a few */
#define PARAMS_MAX	4096u		/* bytes */
#define UNREAD_MAX	(1u << 20)	/* who has so much to read still does not answer */

static const struct tn_rpc_limits limits = {
	.bytes = SV_PEERS_ANSWER_MAX + 64, .ahead = 16384, .objects = 1u << 20, .depth = 16
};

struct reply {
	bool		 waiting, silent;
	char		*error;
	struct tn_buf	 packed;
};

struct question {
	TAILQ_ENTRY(question) link;
	struct sv_peers	*p;
	uint64_t	 id;
	unsigned	 waiting;	/* replies that are to come */
	struct event	*ev;		/* its time is over, or all have come */
	sv_peers_done	*done;
	void		*arg;
	struct reply	 reply[];
};

struct peer {
	struct sv_peers	*p;
	unsigned	 shard;
	struct bufferevent *bev;	/* NULL: it is not there */
	bool		 late;		/* it owes an answer: nobody waits for it before it comes */
	struct tn_rpc_reader *reader;
};

struct sv_peers {
	struct event_base *base;
	unsigned	 shards, nquestions;
	uint64_t	 id;
	sv_peers_said	*said;
	void		*arg;
	TAILQ_HEAD(, question) questions;
	struct peer	 peer[];
};

/* -- questions --------------------------------------------------------------- */

static void
question_free(struct question *q)
{
	unsigned i;

	TAILQ_REMOVE(&q->p->questions, q, link);
	q->p->nquestions--;
	for (i = 0; i < q->p->shards; i++) {
		free(q->reply[i].error);
		tn_buf_fini(&q->reply[i].packed);
	}
	if (q->ev != NULL)
		event_free(q->ev);
	free(q);
}

static void
settle(struct question *q, unsigned shard, struct tn_str error, bool silent)
{
	struct reply *r = &q->reply[shard];

	if (!r->waiting)
		return;
	r->waiting = false;
	r->silent = silent;
	if (error.p != NULL)
		r->error = strndup(error.p, error.len);
	/* Told from the loop: whoever asks is not called back before he knows that he asked. */
	if (--q->waiting == 0)
		event_active(q->ev, 0, 0);
}

static void
settle_silent(struct question *q, unsigned shard)
{
	settle(q, shard, TN_STR(SV_PEERS_SILENT), true);
}

/* All have answered, or will not. */
static void
on_settled(evutil_socket_t fd, short what, void *arg)
{
	struct question *q = arg;
	struct sv_peers_answer a[SV_SHARDS_MAX];
	msgpack_unpacked u[SV_SHARDS_MAX];
	unsigned i, n = q->p->shards;
	size_t off;

	(void)fd;
	(void)what;
	memset(a, 0, sizeof(a));
	for (i = 0; i < n; i++) {
		q->p->peer[i].late |= q->reply[i].waiting;
		settle_silent(q, i);
		msgpack_unpacked_init(&u[i]);
		a[i] = (struct sv_peers_answer){ .error = q->reply[i].error,
		    .silent = q->reply[i].silent, .result = { .type = MSGPACK_OBJECT_NIL } };
		off = 0;
		if (a[i].error == NULL && (q->reply[i].packed.failed ||
		    msgpack_unpack_next(&u[i], q->reply[i].packed.p, q->reply[i].packed.len,
		    &off) != MSGPACK_UNPACK_SUCCESS)) {
			a[i].error = SV_PEERS_SILENT;
			a[i].silent = true;
		} else if (a[i].error == NULL)
			a[i].result = u[i].data;
	}
	q->done(q->arg, a, n);
	for (i = 0; i < n; i++)
		msgpack_unpacked_destroy(&u[i]);
	question_free(q);
}

static void
on_answer(struct peer *peer, const struct tn_rpc_answer *a)
{
	struct question *q;
	msgpack_packer pk;

	peer->late = false;
	TAILQ_FOREACH(q, &peer->p->questions, link)
		if (q->id == a->id)
			break;
	/* It may have come too late. */
	if (q == NULL || !q->reply[peer->shard].waiting)
		return;
	if (!a->refused) {
		tn_rpc_packer(&pk, &q->reply[peer->shard].packed);
		msgpack_pack_object(&pk, *a->result);
	}
	settle(q, peer->shard, a->refused ? a->text : (struct tn_str){ NULL, 0 }, false);
}

/* -- peers ------------------------------------------------------------------- */

static void
peer_close(struct peer *peer)
{
	struct question *q;

	if (peer->bev != NULL)
		bufferevent_free(peer->bev);
	peer->bev = NULL;
	peer->late = false;
	tn_rpc_reader_free(&peer->reader);
	TAILQ_FOREACH(q, &peer->p->questions, link)
		settle_silent(q, peer->shard);
}

static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct peer *peer = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct tn_rpc_answer a;
	char chunk[16384];
	int n, rc;

	while ((n = evbuffer_remove(in, chunk, sizeof(chunk))) > 0) {
		rc = tn_rpc_reader_feed(peer->reader, chunk, (size_t)n);
		while (rc == 0 && (rc = tn_rpc_reader_answer(peer->reader, &a)) == 0) {
			if (a.notify)
				peer->p->said(peer->p->arg, a.text, a.result);
			else
				on_answer(peer, &a);
		}
		if (rc != TN_EAGAIN) {
			tn_log(TN_LOG_ERROR, "shard %u answers with what makes no sense; it is "
			    "not asked any more", peer->shard);
			peer_close(peer);
			return;
		}
	}
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		peer_close(arg);
}

void
sv_peers_connect(struct sv_peers *p, unsigned shard, int *fd)
{
	struct peer *peer;

	if (shard >= p->shards)
		return;
	peer = &p->peer[shard];
	peer_close(peer);
	if ((peer->reader = tn_rpc_reader_new_limits(&limits)) == NULL ||
	    tn_fd_nonblock(*fd) != 0 ||
	    (peer->bev = bufferevent_socket_new(p->base, *fd, BEV_OPT_CLOSE_ON_FREE)) == NULL) {
		tn_log(TN_LOG_ERROR, "shard %u cannot be asked: out of memory", shard);
		tn_rpc_reader_free(&peer->reader);
		return;
	}
	*fd = -1;
	bufferevent_setcb(peer->bev, on_readable, NULL, on_event, peer);
	bufferevent_enable(peer->bev, EV_READ | EV_WRITE);
}

/* False: it is not there, or has not read what it was asked before. */
static bool
send_to(struct peer *peer, const struct tn_buf *out)
{
	return peer->bev != NULL && !out->failed &&
	    evbuffer_get_length(bufferevent_get_output(peer->bev)) <= UNREAD_MAX &&
	    bufferevent_write(peer->bev, out->p, out->len) == 0;
}

/* -- asking ------------------------------------------------------------------ */

int
sv_peers_ask(struct sv_peers *p, struct tn_str method, struct tn_str params,
    unsigned timeout_ms, sv_peers_done *done, void *arg)
{
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	struct tn_buf out = { 0 };
	struct question *q;
	msgpack_packer pk;
	unsigned i;

	if (p->nquestions == QUESTIONS_MAX || params.len > PARAMS_MAX)
		return TN_ELIMIT;
	if ((q = calloc(1, sizeof(*q) + p->shards * sizeof(q->reply[0]))) == NULL)
		return TN_ENOMEM;
	q->p = p;
	q->id = ++p->id;
	q->done = done;
	q->arg = arg;
	q->waiting = p->shards;
	p->nquestions++;
	TAILQ_INSERT_TAIL(&p->questions, q, link);
	if ((q->ev = evtimer_new(p->base, on_settled, q)) == NULL || evtimer_add(q->ev, &tv) != 0) {
		question_free(q);
		return TN_ENOMEM;
	}
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_call(&pk, q->id, method);
	tn_buf_putstr(&out, params);
	for (i = 0; i < p->shards; i++)
		q->reply[i].waiting = true;
	for (i = 0; i < p->shards; i++)
		if (p->peer[i].late || !send_to(&p->peer[i], &out))
			settle_silent(q, i);
	tn_buf_fini(&out);
	return 0;
}

void
sv_peers_tell(struct sv_peers *p, unsigned shard, const char *method, struct tn_str params)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	if (shard >= p->shards)
		return;
	tn_rpc_packer(&pk, &out);
	msgpack_pack_array(&pk, 3);
	msgpack_pack_uint64(&pk, 2);
	tn_rpc_pack_key(&pk, method);
	tn_buf_putstr(&out, params);
	(void)send_to(&p->peer[shard], &out);
	tn_buf_fini(&out);
}

unsigned
sv_peers_count(const struct sv_peers *p)
{
	return p->shards;
}

struct sv_peers *
sv_peers_new(struct event_base *base, unsigned shards, sv_peers_said *said, void *arg)
{
	struct sv_peers *p = calloc(1, sizeof(*p) + shards * sizeof(p->peer[0]));
	unsigned i;

	if (p == NULL)
		return NULL;
	*p = (struct sv_peers){ .base = base, .shards = shards, .said = said, .arg = arg };
	TAILQ_INIT(&p->questions);
	for (i = 0; i < shards; i++) {
		p->peer[i].p = p;
		p->peer[i].shard = i;
	}
	return p;
}

void
sv_peers_free(struct sv_peers **pp)
{
	struct sv_peers *p = *pp;
	unsigned i;

	if (p == NULL)
		return;
	*pp = NULL;
	for (i = 0; i < p->shards; i++)
		peer_close(&p->peer[i]);
	while (!TAILQ_EMPTY(&p->questions))
		question_free(TAILQ_FIRST(&p->questions));
	free(p);
}
