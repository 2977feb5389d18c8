/*
 * sv_control.c - the control socket.
 */
#include "config.h"

#include "sv_control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_contract.h"
#include "sv_dispatch.h"
#include "sv_image.h"
#include "sv_memory.h"
#include "sv_pool.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_layers.h"
#include "tn_log.h"
#include "tn_options.h"
#include "tn_rpc.h"

#define CLIENTS_MAX	32u
#define PENDING_MAX	256u		/* calls that are answered later */
#define OUTPUT_MAX	(8u << 20)	/* a client that does not read is dropped */
#define BACKLOG_TURN	16		/* accepted in one turn */
#define PAUSE_MS	100		/* no accept() for so long after a failed one */

struct client {
	TAILQ_ENTRY(client) link;
	struct sv_control *ct;
	struct bufferevent *bev;
	struct tn_rpc_reader *reader;
};

/* A call that is answered later; its client may leave before. */
struct pending {
	TAILQ_ENTRY(pending) link;
	struct sv_control *ct;
	struct client	*client;
	uint64_t	 id;
	bool		 notify;
	bool		 reload;	/* waits for the master's reload */
	bool		 upgrade;	/* waits for the master's upgrade */
	unsigned	 count;
};

struct sv_control {
	struct event_base *base;
	int		 fd;
	struct event	*ev, *ev_pause;
	const struct tn_options *opt;
	struct sv_dispatch *dispatch;
	struct sv_stats	*stats;
	const struct sv_control_ops *ops;
	void		*arg;
	unsigned	 nclients, npending;
	TAILQ_HEAD(, client) clients;
	TAILQ_HEAD(, pending) pending;
};

typedef void handler(struct client *cl, const struct tn_rpc_call *c);

static void
client_free(struct client *cl)
{
	struct pending *p;

	TAILQ_FOREACH(p, &cl->ct->pending, link)
		if (p->client == cl)
			p->client = NULL;
	TAILQ_REMOVE(&cl->ct->clients, cl, link);
	cl->ct->nclients--;
	bufferevent_free(cl->bev);
	tn_rpc_reader_free(&cl->reader);
	free(cl);
}

/* A notification wants no answer. */
static void
client_send(struct client *cl, bool notify, struct tn_buf *out)
{
	if (!out->failed && !notify)
		bufferevent_write(cl->bev, out->p, out->len);
	tn_buf_fini(out);
}

static void
refuse(struct client *cl, const struct tn_rpc_call *c, const char *message)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_error(&pk, c->id, message);
	client_send(cl, c->notify, &out);
}

/* -- calls that are answered later ------------------------------------------- */

static struct pending *
pending_new(struct client *cl, const struct tn_rpc_call *c)
{
	struct pending *p;

	if (cl->ct->npending == PENDING_MAX) {
		refuse(cl, c, "too many calls are waiting for their answers");
		return NULL;
	}
	if ((p = calloc(1, sizeof(*p))) == NULL) {
		refuse(cl, c, "out of memory");
		return NULL;
	}
	cl->ct->npending++;
	p->ct = cl->ct;
	p->client = cl;
	p->id = c->id;
	p->notify = c->notify;
	TAILQ_INSERT_TAIL(&cl->ct->pending, p, link);
	return p;
}

/* Answer with { key: n }, or with the error. */
static void
pending_answer(struct pending *p, const char *error, const char *key, uint64_t n)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	TAILQ_REMOVE(&p->ct->pending, p, link);
	p->ct->npending--;
	if (p->client != NULL) {
		tn_rpc_packer(&pk, &out);
		if (error != NULL) {
			tn_rpc_pack_error(&pk, p->id, error);
		} else {
			tn_rpc_pack_result(&pk, p->id);
			msgpack_pack_map(&pk, 1);
			tn_rpc_pack_key(&pk, key);
			msgpack_pack_uint64(&pk, n);
		}
		client_send(p->client, p->notify, &out);
	}
	free(p);
}

static void
on_recycled(void *arg)
{
	struct pending *p = arg;

	pending_answer(p, NULL, "recycled", p->count);
}

static void
on_rotated(void *arg, const char *error)
{
	struct pending *p = arg;
	const struct sv_generation *g = sv_pool_generation(sv_dispatch_pool(p->ct->dispatch));

	pending_answer(p, error, "generation", g != NULL ? g->number : 0);
}

static void
on_contract_reloaded(void *arg, int err, enum tn_fault fault, const char *message)
{
	struct pending *p = arg;
	char text[4096];

	if (err != 0) {
		snprintf(text, sizeof(text), "%s: %s", tn_fault_info(fault)->code,
		    message != NULL && message[0] != '\0' ? message : tn_strerror(err));
		pending_answer(p, text, NULL, 0);
	} else
		pending_answer(p, NULL, "contracts", 1);
}

/* { contracts: n, restart: text } */
static void
answer_reloaded(struct pending *p, const char *restart)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	TAILQ_REMOVE(&p->ct->pending, p, link);
	p->ct->npending--;
	if (p->client != NULL) {
		tn_rpc_packer(&pk, &out);
		tn_rpc_pack_result(&pk, p->id);
		msgpack_pack_map(&pk, 2);
		tn_rpc_pack_key(&pk, "contracts");
		msgpack_pack_uint64(
		    &pk, sv_contracts_count(sv_dispatch_contracts(p->ct->dispatch)));
		tn_rpc_pack_key(&pk, "restart");
		tn_rpc_pack_str(&pk, tn_str(restart));
		client_send(p->client, p->notify, &out);
	}
	free(p);
}

void
sv_control_reloaded(struct sv_control *ct, const char *error, const char *restart)
{
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&ct->pending); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->reload && error != NULL)
			pending_answer(p, error, NULL, 0);
		else if (p->reload)
			answer_reloaded(p, restart);
	}
}

void
sv_control_upgraded(struct sv_control *ct, const char *error, uint64_t pid)
{
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&ct->pending); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->upgrade)
			pending_answer(p, error, "pid", pid);
	}
}

/* -- handlers ------------------------------------------------------------------ */

/* The call's only parameter as a text that fits into buf; false: there is none such. */
static bool
take_str(const msgpack_object *o, char *buf, size_t size)
{
	if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= size ||
	    memchr(o->via.str.ptr, '\0', o->via.str.size) != NULL)
		return false;
	memcpy(buf, o->via.str.ptr, o->via.str.size);
	buf[o->via.str.size] = '\0';
	return true;
}

static void
on_ping(struct client *cl, const struct tn_rpc_call *c)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	tn_rpc_pack_str(&pk, TN_STR("pong"));
	client_send(cl, c->notify, &out);
}

static void
pack_text(msgpack_packer *pk, const char *key, const char *value)
{
	tn_rpc_pack_key(pk, key);
	tn_rpc_pack_str(pk, tn_str(value));
}

static void
pack_number(msgpack_packer *pk, const char *key, uint64_t value)
{
	tn_rpc_pack_key(pk, key);
	msgpack_pack_uint64(pk, value);
}

static void
on_status(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_control *ct = cl->ct;
	const struct sv_generation *g = sv_pool_generation(sv_dispatch_pool(ct->dispatch));
	uint32_t layers = g != NULL ? g->layers : 0;
	const char *restore = g == NULL ? NULL : tn_options_choice("restore", (int)g->restore);
	const struct tn_layer_info *info;
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	size_t i, known, n = 0;

	sv_dispatch_gauges(ct->dispatch);
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_map(&pk, 12);
	pack_text(&pk, "version", PACKAGE_VERSION);
	pack_number(&pk, "pid", (uint64_t)getppid());
	pack_text(&pk, "state", ct->ops->state(ct->arg));
	pack_number(&pk, "uptime_seconds", (tn_clock_us() - ct->stats->started_us) / 1000000u);
	pack_number(&pk, "generation", g != NULL ? g->number : 0);
	pack_text(&pk, "isolation", tn_options_choice("isolation", ct->opt->isolation));
	pack_text(&pk, "restore", restore != NULL ? restore : "");
	pack_text(&pk, "sandbox", tn_options_choice("sandbox", ct->opt->sandbox));
#ifdef WK_DUK_SOURCE
	pack_text(&pk, "duktape", "source");
#else
	pack_text(&pk, "duktape", "system");
#endif
	pack_number(&pk, "workers", ct->stats->workers);
	pack_number(&pk, "contracts", ct->stats->contracts);
	tn_rpc_pack_key(&pk, "layers");
	info = tn_layers(&known);
	for (i = 0; i < known; i++)
		n += (layers & info[i].bit) != 0;
	msgpack_pack_array(&pk, n);
	for (i = 0; i < known; i++)
		if (layers & info[i].bit)
			tn_rpc_pack_str(&pk, tn_str(info[i].name));
	client_send(cl, c->notify, &out);
}

static void
on_stats(struct client *cl, const struct tn_rpc_call *c)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	sv_dispatch_gauges(cl->ct->dispatch);
	cl->ct->stats->uptime_seconds = (tn_clock_us() - cl->ct->stats->started_us) / 1000000u;
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	sv_stats_pack(cl->ct->stats, &pk);
	client_send(cl, c->notify, &out);
}

struct walk {
	msgpack_packer	*pk;
	uint64_t	 now;
	unsigned	 n;
};

/* One asked for and not heard of has no pid yet; a dead one may lend its pid to another. */
static bool
listed(const struct sv_worker *w)
{
	return w->state != TN_WS_DEAD && w->pid > 0;
}

static void
count_worker(void *arg, const struct sv_worker *w)
{
	struct walk *k = arg;

	k->n += listed(w);
}

static void
pack_worker(void *arg, const struct sv_worker *w)
{
	struct walk *k = arg;
	uint64_t own, shared, images = 0;

	if (!listed(w))
		return;
	for (unsigned i = 0; i < TN_IMAGES_MAX; i++)
		images += w->kept.image[i] != 0;
	sv_memory_of(w->pid, &own, &shared);
	msgpack_pack_map(k->pk, 10);
	pack_number(k->pk, "pid", (uint64_t)w->pid);
	pack_number(k->pk, "generation", w->generation->number);
	pack_text(k->pk, "state", w->standby ? "standby" : tn_wstate_name(w->state));
	pack_text(k->pk, "contract", w->contract);
	pack_number(k->pk, "requests", w->requests);
	tn_rpc_pack_key(k->pk, "age");
	msgpack_pack_double(k->pk, (double)((k->now - w->born_us) / 1000u) / 1e3);
	pack_number(k->pk, "private_bytes", own);
	pack_number(k->pk, "shared_bytes", shared);
	pack_number(k->pk, "images", images);
	pack_number(k->pk, "frames", w->nframes);
}

static void
on_workers(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_pool *pool = sv_dispatch_pool(cl->ct->dispatch);
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	struct walk k = { &pk, tn_clock_us(), 0 };

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	sv_pool_each(pool, count_worker, &k);
	msgpack_pack_array(&pk, k.n);
	sv_pool_each(pool, pack_worker, &k);
	client_send(cl, c->notify, &out);
}

static const char *
contract_state(const struct sv_contract *c)
{
	if (c->current == NULL)
		return c->next != NULL ? "loading" : "failed";
	return c->next != NULL ? "updating" : c->failed_signature != 0 ? "update failed" :
	    "serving";
}

static void
count_contract(void *arg, const struct sv_contract *c)
{
	struct walk *k = arg;

	(void)c;
	k->n++;
}

static void
pack_contract(void *arg, const struct sv_contract *c)
{
	struct walk *k = arg;
	const struct sv_version *v = c->current;

	msgpack_pack_map(k->pk, 7);
	pack_text(k->pk, "contract", c->id);
	pack_text(k->pk, "state", contract_state(c));
	pack_number(k->pk, "version", v != NULL ? v->number : 0);
	pack_text(k->pk, "isolation",
	    v != NULL ? tn_options_choice("isolation", (int)v->isolation) : "");
	pack_text(k->pk, "allow", v != NULL ? v->allow : "");
	pack_number(k->pk, "requests", c->requests);
	pack_number(k->pk, "image_bytes", v != NULL && v->image != NULL ? v->image->bytes : 0);
}

static void
on_contracts(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_contracts *cs = sv_dispatch_contracts(cl->ct->dispatch);
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	struct walk k = { &pk, tn_clock_us(), 0 };

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	sv_contracts_each(cs, count_contract, &k);
	msgpack_pack_array(&pk, k.n);
	sv_contracts_each(cs, pack_contract, &k);
	client_send(cl, c->notify, &out);
}

static void
on_recycle(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_pool *pool = sv_dispatch_pool(cl->ct->dispatch);
	const msgpack_object_map *m;
	char contract[SV_CONTRACT_MAX + 1] = "";
	struct pending *p;
	uint64_t pid = 0;
	bool all = false;
	size_t i;

	if (c->params->via.array.size != 1 ||
	    c->params->via.array.ptr[0].type != MSGPACK_OBJECT_MAP) {
		refuse(cl, c, "recycle takes one map: pid, contract or all");
		return;
	}
	m = &c->params->via.array.ptr[0].via.map;
	for (i = 0; i < m->size; i++) {
		const msgpack_object *v = &m->ptr[i].val;
		char key[16];

		if (!take_str(&m->ptr[i].key, key, sizeof(key)))
			key[0] = '\0';
		if (strcmp(key, "pid") == 0 && v->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
		    v->via.u64 > 0 && v->via.u64 <= INT32_MAX) {
			pid = v->via.u64;
		} else if (strcmp(key, "all") == 0 && v->type == MSGPACK_OBJECT_BOOLEAN) {
			all = v->via.boolean;
		} else if (strcmp(key, "contract") != 0 ||
		    !take_str(v, contract, sizeof(contract)) || contract[0] == '\0') {
			refuse(cl, c, "recycle: pid is a number, contract a text, all a boolean");
			return;
		}
	}
	if ((pid != 0) + (contract[0] != '\0') + all != 1) {
		refuse(cl, c, "recycle: one of pid, contract, all");
		return;
	}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	/* It may be answered before this returns: the count is read at the end only. */
	p->count = sv_pool_recycle(pool, (pid_t)pid, contract[0] != '\0' ? contract : NULL,
	    TN_RETIRE_ASKED, on_recycled, p);
	if (p->count > 0)
		return;
	if (pid != 0)
		pending_answer(p, "no worker has this pid", NULL, 0);
	else
		pending_answer(p, NULL, "recycled", 0);
}

static void
on_reload(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_control *ct = cl->ct;
	const msgpack_object_array *a = &c->params->via.array;
	char id[SV_CONTRACT_MAX + 1];
	struct pending *p;
	int err;

	if (a->size > 1 || (a->size == 1 && !take_str(&a->ptr[0], id, sizeof(id)))) {
		refuse(cl, c, "reload takes nothing, or a contract's identifier");
		return;
	}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	if (a->size == 0) {
		p->reload = true;
		ct->ops->reload(ct->arg);
		return;
	}
	err = sv_contracts_reload_one(sv_dispatch_contracts(ct->dispatch), id,
	    on_contract_reloaded, p);
	if (err == TN_ENOENT)
		pending_answer(p, "no such contract", NULL, 0);
	else if (err != 0)
		pending_answer(p, err == TN_EBUSY ? "it is being reloaded already" :
		    tn_strerror(err), NULL, 0);
}

static void
on_rotate(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_pool *pool = sv_dispatch_pool(cl->ct->dispatch);
	struct pending *p = pending_new(cl, c);

	if (p == NULL)
		return;
	switch (sv_pool_rotate(pool, on_rotated, p)) {
	case 0:
		break;
	case TN_EAGAIN:
		pending_answer(p, "no zygote serves now; the next one is on its way", NULL, 0);
		break;
	default:
		pending_answer(p, "out of memory", NULL, 0);
	}
}

static void
on_upgrade(struct client *cl, const struct tn_rpc_call *c)
{
	struct pending *p;

	TAILQ_FOREACH(p, &cl->ct->pending, link)
		if (p->upgrade) {
			refuse(cl, c, "an upgrade is under way already");
			return;
		}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	p->upgrade = true;
	cl->ct->ops->upgrade(cl->ct->arg);
}

static void
on_drain(struct client *cl, const struct tn_rpc_call *c)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_true(&pk);
	client_send(cl, c->notify, &out);
	cl->ct->ops->drain(cl->ct->arg);
}

/* The same; the client watches the server's end itself. */
static void
on_stop(struct client *cl, const struct tn_rpc_call *c)
{
	on_drain(cl, c);
}

static void
handle(struct client *cl, const struct tn_rpc_call *c)
{
	static const struct {
		const char	*name;
		handler		*fn;
	} table[] = {
#define TN_COMMAND(sym, name, args, doc) { name, on_##sym },
#include "commands.def"
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (tn_str_is(c->method, table[i].name)) {
			table[i].fn(cl, c);
			return;
		}
	refuse(cl, c, "no such method");
}

/* -- clients ---------------------------------------------------------------------- */

static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct client *cl = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct tn_rpc_call c;
	char chunk[16384];
	int n, err = 0;

	while ((n = evbuffer_remove(in, chunk, sizeof(chunk))) > 0) {
		if (tn_rpc_reader_feed(cl->reader, chunk, (size_t)n) != 0) {
			client_free(cl);
			return;
		}
		while ((err = tn_rpc_reader_call(cl->reader, &c)) == 0) {
			handle(cl, &c);
			if (evbuffer_get_length(bufferevent_get_output(bev)) > OUTPUT_MAX) {
				client_free(cl);
				return;
			}
		}
		if (err != TN_EAGAIN) {
			tn_log(TN_LOG_WARN, "control socket: malformed message");
			client_free(cl);
			return;
		}
	}
}

static void
on_client_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		client_free(arg);
}

static void
on_accept(evutil_socket_t sock, short what, void *arg)
{
	struct sv_control *ct = arg;
	struct client *cl;
	int i, fd;

	(void)what;
	for (i = 0; i < BACKLOG_TURN; i++) {
		fd = accept4(sock, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				struct timeval tv = { 0, PAUSE_MS * 1000 };

				event_del(ct->ev);
				evtimer_add(ct->ev_pause, &tv);
			}
			return;
		}
		if (ct->nclients >= CLIENTS_MAX || (cl = calloc(1, sizeof(*cl))) == NULL) {
			close(fd);
			continue;
		}
		cl->ct = ct;
		cl->reader = tn_rpc_reader_new();
		cl->bev = bufferevent_socket_new(ct->base, fd, BEV_OPT_CLOSE_ON_FREE);
		if (cl->reader == NULL || cl->bev == NULL) {
			if (cl->bev != NULL)
				bufferevent_free(cl->bev);
			else
				close(fd);
			tn_rpc_reader_free(&cl->reader);
			free(cl);
			continue;
		}
		TAILQ_INSERT_TAIL(&ct->clients, cl, link);
		ct->nclients++;
		bufferevent_setcb(cl->bev, on_readable, NULL, on_client_event, cl);
		bufferevent_enable(cl->bev, EV_READ | EV_WRITE);
	}
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct sv_control *ct = arg;

	(void)fd;
	(void)what;
	if (ct->fd >= 0)
		event_add(ct->ev, NULL);
}

int
sv_control_open(struct sv_control *ct)
{
	return event_add(ct->ev, NULL);
}

void
sv_control_retire(struct sv_control *ct)
{
	event_del(ct->ev);
	tn_fd_close(&ct->fd);
}

void
sv_control_flush(struct sv_control *ct)
{
	struct client *cl;
	struct evbuffer *out;
	size_t n;

	TAILQ_FOREACH(cl, &ct->clients, link) {
		out = bufferevent_get_output(cl->bev);
		n = evbuffer_get_length(out);
		if (n > 0)
			(void)send(bufferevent_getfd(cl->bev), evbuffer_pullup(out, -1), n,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

struct sv_control *
sv_control_new(struct event_base *base, int *listen_fd, const struct tn_options *opt,
    struct sv_dispatch *dispatch, struct sv_stats *stats, const struct sv_control_ops *ops,
    void *arg)
{
	struct sv_control *ct = calloc(1, sizeof(*ct));

	if (ct == NULL)
		return NULL;
	*ct = (struct sv_control){ .base = base, .fd = *listen_fd, .opt = opt, .dispatch = dispatch,
	    .stats = stats, .ops = ops, .arg = arg };
	*listen_fd = -1;
	TAILQ_INIT(&ct->clients);
	TAILQ_INIT(&ct->pending);
	tn_fd_nonblock(ct->fd);
	ct->ev = event_new(base, ct->fd, EV_READ | EV_PERSIST, on_accept, ct);
	ct->ev_pause = evtimer_new(base, on_pause_over, ct);
	if (ct->ev == NULL || ct->ev_pause == NULL)
		sv_control_free(&ct);
	return ct;
}

void
sv_control_free(struct sv_control **ctp)
{
	struct sv_control *ct = *ctp;
	struct pending *p;

	if (ct == NULL)
		return;
	*ctp = NULL;
	while (!TAILQ_EMPTY(&ct->clients))
		client_free(TAILQ_FIRST(&ct->clients));
	while ((p = TAILQ_FIRST(&ct->pending)) != NULL) {
		TAILQ_REMOVE(&ct->pending, p, link);
		free(p);
	}
	if (ct->ev != NULL)
		event_free(ct->ev);
	if (ct->ev_pause != NULL)
		event_free(ct->ev_pause);
	tn_fd_close(&ct->fd);
	free(ct);
}
