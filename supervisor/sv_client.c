/*
 * sv_client.c - the client socket: connections, calls, and the end.
 */
#include "config.h"

#include "sv_client.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_accept.h"
#include "sv_http_check.h"
#include "sv_invoke.h"
#include "sv_request.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_log.h"
#include "tn_options.h"
#include "tn_rpc.h"

#define READ_MAX	65536u		/* bytes read and not taken */
#define OUT_HIGH	(1u << 20)	/* unread answers: nothing more is read of the client */
#define OUT_LOW		(256u << 10)	/* until they are so few */
#define OUT_MAX		(64u << 20)	/* unread answers: the client is dropped */
#define OBJECTS_MAX	65536u
#define DEPTH_MAX	24u
#define MARGIN		65536u		/* a message beside its fields of variable size */
#define TICK_S		1		/* who is not read is looked after so often */
#define FRESH_US	1000000u	/* draining: calls are served for so long */
#define LINGER_US	3000000u	/* for the client to notice that we are done */
#define LOG_BURST	5u

#define TN_METHOD_ERROR(sym, code, doc) static const char code_##sym[] = code;
#include "methods.def"

struct conn {
	TAILQ_ENTRY(conn) link;
	struct sv_client *s;
	struct bufferevent *bev;
	struct tn_rpc_reader *reader;
	struct event	*ev_resume;
	TAILQ_HEAD(, call) calls;
	unsigned	 ncalls;
	unsigned	 busy;		/* functions at work with it; freed when 0 */
	bool		 dead;
	bool		 eof;		/* it says no more, but may listen */
	bool		 starved;	/* no whole message is left of what was read */
	bool		 closing;	/* the last word is said; what comes is thrown away */
	uint64_t	 closed_us;	/* our side is, since then; 0: not yet */
};

/* An invoke in progress. */
struct call {
	TAILQ_ENTRY(call) link;
	struct conn	*c;
	uint64_t	 id;
	bool		 notify;
	struct sv_request *rq;		/* the dispatcher's */
};

struct sv_client {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_dispatch *dispatch;
	struct sv_stats	*stats;
	struct sv_accept *accept;
	TAILQ_HEAD(, conn) conns;
	unsigned	 nconns;
	struct event	*ev_tick, *ev_drained;
	struct tn_log_limit troubles;
	bool		 draining;
	uint64_t	 drain_us;	/* since when */
	void		(*drained)(void *arg);
	void		*drained_arg;
};

typedef void handler(struct conn *c, const struct tn_rpc_call *call);

static void on_request_done(struct sv_request *rq, const struct sv_reply *reply, void *arg);
static void process(struct conn *c);

/* -- ends -------------------------------------------------------------------------- */

static void
check_drained(struct sv_client *s)
{
	if (s->drained != NULL && TAILQ_EMPTY(&s->conns))
		event_active(s->ev_drained, 0, 0);
}

static void
release(struct conn *c)
{
	if (!c->dead || c->busy > 0)
		return;
	bufferevent_free(c->bev);
	event_free(c->ev_resume);
	tn_rpc_reader_free(&c->reader);
	free(c);
}

static void
call_free(struct call *k)
{
	TAILQ_REMOVE(&k->c->calls, k, link);
	k->c->ncalls--;
	free(k);
}

static void
cancel_all(struct conn *c)
{
	struct call *k;

	while ((k = TAILQ_FIRST(&c->calls)) != NULL) {
		sv_dispatch_cancel(c->s->dispatch, &k->rq);
		call_free(k);
	}
}

/* The client is gone, or shall be: its calls go too. */
static void
drop(struct conn *c)
{
	struct sv_client *s = c->s;

	if (c->dead)
		return;
	c->dead = true;
	cancel_all(c);
	(void)bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	event_del(c->ev_resume);
	TAILQ_REMOVE(&s->conns, c, link);
	s->nconns--;
	s->stats->clients = s->nconns;
	check_drained(s);
	release(c);
}

static void
log_trouble(struct sv_client *s, const char *event, const char *why)
{
	struct tn_log_record r;
	uint64_t dropped = 0;

	if (!tn_log_allow(&s->troubles, tn_clock_us(), &dropped))
		return;
	tn_log_begin(&r, TN_LOG_WARN, event);
	tn_log_str(&r, "why", tn_str(why));
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_end(&r);
}

/* All is said: when it is with the client, our side is closed, and its side read to its end. */
static void
finish(struct conn *c)
{
	if (!c->closing) {
		c->closing = true;
		cancel_all(c);
		bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
	}
	if (evbuffer_get_length(bufferevent_get_output(c->bev)) > 0 || c->closed_us != 0)
		return;
	if (c->eof || shutdown(bufferevent_getfd(c->bev), SHUT_WR) != 0) {
		drop(c);
		return;
	}
	c->closed_us = tn_clock_us();
	(void)bufferevent_enable(c->bev, EV_READ);
}

/* -- answers ------------------------------------------------------------------------ */

/* Takes what is in out; a notification wants no answer. */
static void
send_out(struct conn *c, bool notify, struct tn_buf *out)
{
	struct evbuffer *to = bufferevent_get_output(c->bev);
	bool failed = out->failed;

	if (!failed && !notify && !c->dead && !c->closing) {
		if (evbuffer_get_length(to) + out->len > OUT_MAX) {
			log_trouble(c->s, "client dropped", "it does not read its answers");
			drop(c);
		} else
			failed = bufferevent_write(c->bev, out->p, out->len) != 0;
	}
	if (failed && !notify)
		drop(c);	/* no memory: it would wait for ever */
	tn_buf_fini(out);
}

static void
refuse(struct conn *c, bool notify, uint64_t id, const char *code, struct tn_str message)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_error_code(&pk, id, code, message);
	send_out(c, notify, &out);
}

/* The last word, to nobody's call. */
static void
pack_notice(struct tn_buf *out, const char *code, const char *message)
{
	msgpack_packer pk;

	tn_rpc_packer(&pk, out);
	tn_rpc_pack_notification(&pk, "error", 1);
	msgpack_pack_array(&pk, 2);
	tn_rpc_pack_key(&pk, code);
	tn_rpc_pack_key(&pk, message);
}

/* What it sends cannot be understood any more. */
static void
give_up(struct conn *c, int err)
{
	const char *code = err == TN_ELIMIT ? code_TOO_LARGE : code_MALFORMED;
	const char *why = err == TN_ELIMIT ? "the message is beyond a limit (see hello)" :
	    "this is not MessagePack-RPC";
	struct tn_buf out = { 0 };
	uint64_t id;

	log_trouble(c->s, "client dropped", why);
	c->s->stats->requests++;
	sv_stats_answer(c->s->stats, 400, NULL);
	if (tn_rpc_reader_broken_id(c->reader, &id))
		refuse(c, false, id, code, tn_str(why));
	else {
		pack_notice(&out, code, why);
		send_out(c, false, &out);
	}
	if (!c->dead)
		finish(c);
}

static void
answer(struct conn *c, uint64_t id, bool notify, struct sv_request *rq,
    const struct sv_reply *reply)
{
	struct sv_client *s = c->s;
	struct tn_buf out = { 0 };
	enum tn_fault fault;
	msgpack_packer pk;
	int status;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, id);
	status = sv_invoke_pack(&pk, rq, reply, (uint64_t)s->opt->reply_max, &fault);
	sv_stats_answer(s->stats, status, rq);
	sv_request_log(s->opt, &(struct sv_record){ rq->method, rq->path, rq->ip, rq->contract,
	    rq->request_id, status, fault, &rq->timings });
	sv_request_free(&rq);
	send_out(c, notify, &out);
}

static void
on_request_done(struct sv_request *rq, const struct sv_reply *reply, void *arg)
{
	struct call *k = arg;
	struct conn *c = k->c;
	bool notify = k->notify;
	uint64_t id = k->id;

	call_free(k);
	c->busy++;
	answer(c, id, notify, rq, reply);
	c->busy--;
	/* More may be read now, or it was the last one.  Not here: the dispatcher is at work. */
	if (!c->dead && c->busy == 0)
		event_active(c->ev_resume, 0, 0);
	release(c);
}

/* -- methods -------------------------------------------------------------------------- */

static size_t
message_max(const struct tn_options *o)
{
	return (size_t)(o->body_max + o->header_max + o->target_max) + SV_INVOKE_INPUT_MAX +
	    SV_INVOKE_CALLER_MAX + SV_INVOKE_BLOCK_MAX + MARGIN;
}

static void
pack_limits(msgpack_packer *pk, const struct tn_options *o)
{
	static const size_t n = 0
#define TN_METHOD_LIMIT(sym, doc) + 1
#include "methods.def"
	;
	const struct {
#define TN_METHOD_LIMIT(sym, doc) uint64_t sym;
#include "methods.def"
	} l = {
		.message_max = message_max(o),
		.depth_max = DEPTH_MAX,
		.objects_max = OBJECTS_MAX,
		.calls_max = (uint64_t)o->client_calls_max,
		.unread_max = OUT_HIGH,
		.unread_drop = OUT_MAX,
		.body_max = (uint64_t)o->body_max,
		.header_max = (uint64_t)o->header_max,
		.headers_max = SV_HTTP_HEADERS_MAX,
		.target_max = (uint64_t)o->target_max,
		.input_max = SV_INVOKE_INPUT_MAX,
		.caller_max = SV_INVOKE_CALLER_MAX,
		.block_max = SV_INVOKE_BLOCK_MAX,
		.reply_max = (uint64_t)o->reply_max,
	};

	msgpack_pack_map(pk, n);
#define TN_METHOD_LIMIT(sym, doc)						\
	tn_rpc_pack_key(pk, #sym);						\
	msgpack_pack_uint64(pk, l.sym);
#include "methods.def"
}

/* MAJOR or MAJOR.MINOR, as a number or a text; false: it is neither. */
static bool
major_of(const msgpack_object *o, uint64_t *major)
{
	const char *p;
	uint32_t i, n;

	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
		*major = o->via.u64;
		return true;
	}
	if (o->type != MSGPACK_OBJECT_STR)
		return false;
	p = o->via.str.ptr;
	n = o->via.str.size;
	*major = 0;
	for (i = 0; i < n && i < 9 && p[i] >= '0' && p[i] <= '9'; i++)
		*major = *major * 10 + (uint64_t)(p[i] - '0');
	if (i == 0 || (i < n && p[i] != '.'))
		return false;
	if (i == n)
		return true;
	for (i++; i < n && p[i] >= '0' && p[i] <= '9'; i++)
		;
	return i == n && p[n - 1] != '.';
}

/* What a client says of itself; the error, or NULL. */
static const char *
check_hello(const msgpack_object_array *a, struct tn_str *client, uint64_t *major)
{
	const msgpack_object_map *m;
	const msgpack_object *v;
	struct tn_str key;
	uint32_t i;

	if (a->size == 0)
		return NULL;
	if (a->size != 1 || a->ptr[0].type != MSGPACK_OBJECT_MAP)
		return "hello takes one map, or nothing";
	m = &a->ptr[0].via.map;
	for (i = 0; i < m->size; i++) {
		if (m->ptr[i].key.type != MSGPACK_OBJECT_STR)
			return "a field's name is not a text";
		key = (struct tn_str){ m->ptr[i].key.via.str.ptr, m->ptr[i].key.via.str.size };
		v = &m->ptr[i].val;
		if (tn_str_is(key, "client")) {
			if (v->type != MSGPACK_OBJECT_STR)
				return "client is not a text (str)";
			*client = (struct tn_str){ v->via.str.ptr, v->via.str.size };
		} else if (tn_str_is(key, "version")) {
			if (!major_of(v, major))
				return "version is neither MAJOR.MINOR nor a number";
		}
		/* What a later minor version adds, this one does not know: it is no error. */
	}
	return NULL;
}

static void
on_hello(struct conn *c, const struct tn_rpc_call *call)
{
	static const size_t nmethods = 0
#define TN_METHOD(sym, name, params, result, doc) + 1
#include "methods.def"
	, nresults = 4;
	struct tn_str client = { NULL, 0 };
	uint64_t major = TN_CLIENT_MAJOR;
	struct tn_buf out = { 0 };
	struct tn_log_record r;
	msgpack_packer pk;
	const char *why;
	char text[96];

	if ((why = check_hello(&call->params->via.array, &client, &major)) != NULL) {
		refuse(c, call->notify, call->id, code_PARAMS, tn_str(why));
		return;
	}
	if (major != TN_CLIENT_MAJOR) {
		snprintf(text, sizeof(text), "this server speaks version %u.%u, not %llu",
		    TN_CLIENT_MAJOR, TN_CLIENT_MINOR, (unsigned long long)major);
		refuse(c, call->notify, call->id, code_VERSION, tn_str(text));
		return;
	}
	if (client.len > 0 && tn_log_wants(TN_LOG_DEBUG)) {
		tn_log_begin(&r, TN_LOG_DEBUG, "a client says hello");
		tn_log_str(&r, "client",
		    (struct tn_str){ client.p, client.len < 256 ? client.len : 256 });
		tn_log_end(&r);
	}
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, call->id);
	msgpack_pack_map(&pk, nresults);
	tn_rpc_pack_key(&pk, "server");
	tn_rpc_pack_key(&pk, "tana-edge " PACKAGE_VERSION);
	tn_rpc_pack_key(&pk, "version");
	snprintf(text, sizeof(text), "%u.%u", TN_CLIENT_MAJOR, TN_CLIENT_MINOR);
	tn_rpc_pack_key(&pk, text);
	tn_rpc_pack_key(&pk, "methods");
	msgpack_pack_array(&pk, nmethods);
#define TN_METHOD(sym, name, params, result, doc) tn_rpc_pack_key(&pk, name);
#include "methods.def"
	tn_rpc_pack_key(&pk, "limits");
	pack_limits(&pk, c->s->opt);
	send_out(c, call->notify, &out);
}

static struct call *
find_call(struct conn *c, uint64_t id)
{
	struct call *k;

	TAILQ_FOREACH(k, &c->calls, link)
		if (k->id == id && !k->notify)
			return k;
	return NULL;
}

/* It was no request, but it counts, and is on record, as one that HTTP answers 400. */
static void
refuse_invoke(struct conn *c, const struct tn_rpc_call *call, int err, struct tn_str message)
{
	enum tn_fault fault = err == TN_EINVAL ? TN_FAULT_BAD_REQUEST : TN_FAULT_OVERLOAD;
	int status = tn_fault_info(fault)->status;
	char id[SV_REQUEST_ID_MAX + 1];

	sv_request_new_id(id);
	sv_stats_answer(c->s->stats, status, NULL);
	sv_request_log(c->s->opt, &(struct sv_record){ .ip = TN_STR("unix"), .contract = "",
	    .request_id = id, .status = status, .fault = fault });
	if (err == TN_EINVAL)
		refuse(c, call->notify, call->id, code_PARAMS, message);
	else
		refuse(c, call->notify, call->id, code_MEMORY, TN_STR("out of memory"));
}

static void
on_invoke(struct conn *c, const struct tn_rpc_call *call)
{
	struct sv_client *s = c->s;
	struct sv_reply reply = { .fault = TN_FAULT_NONE };
	struct tn_buf err = { 0 };
	struct sv_request *rq;
	struct call *k;
	int rc;

	if (!call->notify && find_call(c, call->id) != NULL) {
		refuse(c, false, call->id, code_ID, TN_STR("a call with this id waits already"));
		return;
	}
	s->stats->requests++;
	rc = sv_invoke_parse(call->params, s->opt, &rq, &reply.fault, &err);
	if (rc != TN_OK || (k = calloc(1, sizeof(*k))) == NULL) {
		refuse_invoke(c, call, rc != TN_OK ? rc : TN_ENOMEM,
		    (struct tn_str){ err.p, err.len });
		sv_request_free(&rq);
		tn_buf_fini(&err);
		return;
	}
	tn_buf_fini(&err);
	if (reply.fault == TN_FAULT_NONE && s->draining &&
	    tn_clock_us() - s->drain_us > FRESH_US)
		reply.fault = TN_FAULT_DRAINING;
	if (reply.fault != TN_FAULT_NONE) {
		free(k);
		answer(c, call->id, call->notify, rq, &reply);
		return;
	}
	*k = (struct call){ .c = c, .id = call->id, .notify = call->notify, .rq = rq };
	TAILQ_INSERT_TAIL(&c->calls, k, link);
	c->ncalls++;
	rq->received_us = tn_clock_us();
	rq->done = on_request_done;
	rq->done_arg = k;
	sv_dispatch_submit(s->dispatch, &rq);	/* k may be gone now */
}

static void
on_cancel(struct conn *c, const struct tn_rpc_call *call)
{
	const msgpack_object_array *a = &call->params->via.array;
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	struct call *k;
	uint64_t id;

	if (a->size != 1 || a->ptr[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER) {
		refuse(c, call->notify, call->id, code_PARAMS, TN_STR("cancel takes one id"));
		return;
	}
	k = find_call(c, a->ptr[0].via.u64);
	if (k != NULL) {
		id = k->id;
		sv_dispatch_cancel(c->s->dispatch, &k->rq);
		call_free(k);
		refuse(c, false, id, code_CANCELLED, TN_STR("cancelled by the client"));
	}
	if (c->dead)
		return;
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, call->id);
	if (k != NULL)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
	send_out(c, call->notify, &out);
}

static void
on_ping(struct conn *c, const struct tn_rpc_call *call)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, call->id);
	tn_rpc_pack_str(&pk, TN_STR("pong"));
	send_out(c, call->notify, &out);
}

static const struct {
	const char	*name;
	handler		*fn;
} methods[] = {
#define TN_METHOD(sym, name, params, result, doc) { name, on_##sym },
#include "methods.def"
};

static void
handle(struct conn *c, const struct tn_rpc_call *call)
{
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (tn_str_is(call->method, methods[i].name)) {
			methods[i].fn(c, call);
			return;
		}
	refuse(c, call->notify, call->id, code_METHOD, TN_STR("no such method"));
}

/* -- reading ---------------------------------------------------------------------------- */

static bool
may_take(const struct conn *c)
{
	return !c->dead && !c->closing &&
	    c->ncalls < (unsigned)c->s->opt->client_calls_max &&
	    evbuffer_get_length(bufferevent_get_output(c->bev)) < OUT_HIGH;
}

/* The next call, out of what was read. */
static int
next_call(struct conn *c, struct tn_rpc_call *call)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	char chunk[16384];
	int n, err;

	while ((err = tn_rpc_reader_call(c->reader, call)) == TN_EAGAIN) {
		if ((n = evbuffer_remove(in, chunk, sizeof(chunk))) <= 0)
			break;
		if ((err = tn_rpc_reader_feed(c->reader, chunk, (size_t)n)) != TN_OK)
			break;
	}
	return err;
}

/* Take what is there while it may be taken; then read on, or not. */
static void
process(struct conn *c)
{
	struct tn_rpc_call call;
	int err = TN_OK;

	if (c->busy > 0)
		return;			/* who is at it goes on */
	c->busy++;
	while (may_take(c) && (err = next_call(c, &call)) == TN_OK)
		handle(c, &call);
	c->starved = err == TN_EAGAIN;
	if (!c->dead && !c->closing) {
		if (err != TN_OK && err != TN_EAGAIN)
			give_up(c, err);
		else if (c->starved && !c->eof)
			(void)bufferevent_enable(c->bev, EV_READ);
		else
			(void)bufferevent_disable(c->bev, EV_READ);
	}
	tn_rpc_reader_release(c->reader);
	/* Half a message is nobody's any more. */
	if (!c->dead && !c->closing && c->starved && c->ncalls == 0 &&
	    (c->eof || (c->s->draining && tn_clock_us() - c->s->drain_us > FRESH_US)))
		finish(c);
	c->busy--;
	release(c);
}

static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct conn *c = arg;

	if (c->closing)
		(void)evbuffer_drain(in, evbuffer_get_length(in));
	else
		process(c);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	process(arg);
}

/* The output is short again; or, at the end, empty. */
static void
on_writable(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->closing)
		finish(c);
	else
		process(c);
}

/* Has it closed both sides?  What it has asked for nobody will hear then. */
static bool
has_left(const struct conn *c)
{
	struct pollfd p = { .fd = bufferevent_getfd(c->bev), .events = 0 };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (what & BEV_EVENT_TIMEOUT && what & BEV_EVENT_WRITING)
		log_trouble(c->s, "client dropped", "it does not read its answers");
	if (!(what & BEV_EVENT_EOF) || c->closing || has_left(c)) {
		drop(c);
		return;
	}
	c->eof = true;
	process(c);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sv_client *s = arg;
	struct conn *c, *next;

	(void)fd;
	(void)what;
	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (!(bufferevent_get_enabled(c->bev) & EV_READ) && has_left(c))
			drop(c);
		else if (c->closed_us != 0 && tn_clock_us() - c->closed_us > LINGER_US)
			drop(c);
		else if (s->draining && !c->closing)
			process(c);
	}
}

/* -- connections ------------------------------------------------------------------------- */

static void
turn_away(int fd)
{
	struct tn_buf out = { 0 };

	pack_notice(&out, code_CLIENTS, "clients_max others are connected");
	if (!out.failed)
		(void)!send(fd, out.p, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	tn_buf_fini(&out);
	close(fd);
}

static void
on_accept(void *arg, int fd)
{
	struct sv_client *s = arg;
	const struct tn_rpc_limits limits = { .bytes = message_max(s->opt), .ahead = READ_MAX,
	    .objects = OBJECTS_MAX, .depth = DEPTH_MAX, .bin_method = true };
	struct timeval tv = { s->opt->body_timeout_ms / 1000,
	    s->opt->body_timeout_ms % 1000 * 1000 };
	struct conn *c;

	if (s->nconns >= (unsigned)s->opt->clients_max) {
		s->stats->clients_refused++;
		log_trouble(s, "client refused", "clients_max");
		turn_away(fd);
		return;
	}
	if ((c = calloc(1, sizeof(*c))) == NULL) {
		close(fd);
		return;
	}
	c->s = s;
	TAILQ_INIT(&c->calls);
	c->reader = tn_rpc_reader_new_limits(&limits);
	c->ev_resume = event_new(s->base, -1, 0, on_resume, c);
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->reader == NULL || c->ev_resume == NULL || c->bev == NULL) {
		if (c->bev != NULL)
			bufferevent_free(c->bev);
		else
			close(fd);
		if (c->ev_resume != NULL)
			event_free(c->ev_resume);
		tn_rpc_reader_free(&c->reader);
		free(c);
		return;
	}
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	s->nconns++;
	s->stats->clients_accepted++;
	s->stats->clients = s->nconns;
	bufferevent_setcb(c->bev, on_readable, on_writable, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, READ_MAX);
	bufferevent_setwatermark(c->bev, EV_WRITE, OUT_LOW, 0);
	(void)bufferevent_set_timeouts(c->bev, NULL, &tv);
	(void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

int
sv_client_listen(struct sv_client *s, int *fd)
{
	s->accept = sv_accept_new(s->base, fd, on_accept, s);
	return s->accept != NULL ? TN_OK : TN_ENOMEM;
}

/* -- beginning and end ---------------------------------------------------------------------- */

static void
on_drained(evutil_socket_t fd, short what, void *arg)
{
	struct sv_client *s = arg;
	void (*cb)(void *) = s->drained;

	(void)fd;
	(void)what;
	s->drained = NULL;
	if (cb != NULL)
		cb(s->drained_arg);
}

void
sv_client_drain(struct sv_client *s, void (*cb)(void *arg), void *arg)
{
	if (s->draining)
		return;
	s->draining = true;
	s->drain_us = tn_clock_us();
	sv_client_retire(s, cb, arg);
}

void
sv_client_retire(struct sv_client *s, void (*cb)(void *arg), void *arg)
{
	struct conn *c, *next;
	struct tn_buf out;
	msgpack_packer pk;

	if (s->accept != NULL)
		sv_accept_rest(s->accept);
	sv_accept_free(&s->accept);
	s->drained = cb;
	s->drained_arg = arg;
	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		out = (struct tn_buf){ 0 };
		tn_rpc_packer(&pk, &out);
		tn_rpc_pack_notification(&pk, "draining", 0);
		send_out(c, false, &out);
	}
	check_drained(s);
}

struct sv_client *
sv_client_new(struct event_base *base, const struct tn_options *opt, struct sv_dispatch *d,
    struct sv_stats *stats)
{
	struct sv_client *s = calloc(1, sizeof(*s));
	struct timeval tv = { TICK_S, 0 };

	if (s == NULL)
		return NULL;
	*s = (struct sv_client){ .base = base, .opt = opt, .dispatch = d, .stats = stats,
	    .troubles = { .burst = LOG_BURST } };
	TAILQ_INIT(&s->conns);
	s->ev_tick = event_new(base, -1, EV_PERSIST, on_tick, s);
	s->ev_drained = event_new(base, -1, 0, on_drained, s);
	if (s->ev_tick == NULL || s->ev_drained == NULL || event_add(s->ev_tick, &tv) != 0)
		sv_client_free(&s);
	return s;
}

void
sv_client_free(struct sv_client **sp)
{
	struct sv_client *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	s->drained = NULL;
	sv_accept_free(&s->accept);
	while (!TAILQ_EMPTY(&s->conns))
		drop(TAILQ_FIRST(&s->conns));
	if (s->ev_tick != NULL)
		event_free(s->ev_tick);
	if (s->ev_drained != NULL)
		event_free(s->ev_drained);
	free(s);
}
