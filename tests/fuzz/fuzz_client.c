/*
 * fuzz_client.c - a client program that may send anything, in any pieces, and calls
 * that are answered at once, later, in another order, or given up.
 *
 * Input: a byte for the size of the pieces in which the rest arrives.  It goes
 * through a real connection of the client socket; what comes back must be whole
 * messages, one answer a call at most, and when the client has closed its side and
 * all is answered the connection must end, with no request left behind.
 */
#include "config.h"

#include "fuzz.h"

#include <event2/event.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sv_client.h"
#include "sv_request.h"
#include "sv_stats.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"
#include "tn_rpc.h"

#define TURNS_MAX	5000

struct sv_dispatch {
	struct event_base *base;
	struct tn_options *opt;
	struct sv_client *client;
	struct sv_stats	 stats;
	struct sockaddr_un address;
	socklen_t	 address_len;
	struct sv_request_list held;
	int		 log;
	unsigned	 requests, done, cancelled;
};

static struct sv_dispatch d = { .held = TAILQ_HEAD_INITIALIZER(d.held) };

/* What the connection has said: the same for the same calls, in whatever order. */
struct said {
	uint64_t	sum;
	unsigned	answers, notices;
	bool		timing;		/* something depends on who was first */
};

/* The contract sends back what it got. */
static void
answer(struct sv_request *rq)
{
	struct sv_reply reply = { .status = 200, .headers = { rq->headers, rq->nheaders },
		.body = { rq->body.p, rq->body.len } };

	d.done++;
	rq->done(rq, &reply, rq->done_arg);
}

void
sv_dispatch_submit(struct sv_dispatch *dp, struct sv_request **rqp)
{
	struct sv_request *rq = *rqp;

	*rqp = NULL;
	dp->requests++;
	if (rq->path.len % 3 == 0)
		answer(rq);
	else if (rq->path.len % 3 == 1)
		TAILQ_INSERT_TAIL(&dp->held, rq, link);
	else
		TAILQ_INSERT_HEAD(&dp->held, rq, link);
}

void
sv_dispatch_cancel(struct sv_dispatch *dp, struct sv_request **rqp)
{
	TAILQ_REMOVE(&dp->held, *rqp, link);
	dp->cancelled++;
	sv_request_free(rqp);
}

static void
turn(void)
{
	struct sv_request *rq;

	event_base_loop(d.base, EVLOOP_NONBLOCK);
	if ((rq = TAILQ_FIRST(&d.held)) != NULL) {
		TAILQ_REMOVE(&d.held, rq, link);
		answer(rq);
	}
}

static void
begin(void)
{
	static const char *const options[] = { "header_max=1k", "target_max=128", "body_max=64",
		"client_calls_max=3", "log_requests=off" };
	struct tn_buf err = { 0 };
	size_t i;
	int fd;

	d.opt = tn_options_new();
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		FUZZ_HOLDS(tn_options_set(d.opt, options[i], &err) == 0);
	tn_buf_fini(&err);
	d.log = memfd_create("log", MFD_CLOEXEC);
	tn_log_open("fuzz", d.log, TN_LOG_ERROR, TN_LOG_TEXT);
	sv_stats_init(&d.stats);
	d.base = event_base_new();
	FUZZ_HOLDS(d.base != NULL);
	d.client = sv_client_new(d.base, d.opt, &d, &d.stats);
	FUZZ_HOLDS(d.client != NULL);
	/* The kernel finds a name that is in no directory. */
	d.address.sun_family = AF_UNIX;
	d.address_len = sizeof(d.address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_HOLDS(bind(fd, (struct sockaddr *)&d.address, offsetof(struct sockaddr_un, sun_path)) == 0);
	FUZZ_HOLDS(getsockname(fd, (struct sockaddr *)&d.address, &d.address_len) == 0);
	FUZZ_HOLDS(listen(fd, 8) == 0);
	FUZZ_HOLDS(sv_client_listen(d.client, &fd) == 0);
}

static bool
is_str(const msgpack_object *o, const char *s)
{
	return o->type == MSGPACK_OBJECT_STR &&
	    tn_str_is((struct tn_str){ o->via.str.ptr, o->via.str.size }, s);
}

static void
check_code(const msgpack_object *error, struct said *s)
{
	FUZZ_HOLDS(error->type == MSGPACK_OBJECT_ARRAY && error->via.array.size == 2);
	FUZZ_HOLDS(error->via.array.ptr[0].type == MSGPACK_OBJECT_STR);
	FUZZ_HOLDS(error->via.array.ptr[1].type == MSGPACK_OBJECT_STR);
	error = error->via.array.ptr;
	s->timing |= is_str(error, "cancelled") || is_str(error, "id_in_use") ||
	    is_str(error, "malformed") || is_str(error, "too_large");
	s->sum += error->via.str.size * 7919u;
}

static void
check_message(const msgpack_object *m, struct said *s)
{
	const msgpack_object *v = m->via.array.ptr;

	FUZZ_HOLDS(m->type == MSGPACK_OBJECT_ARRAY && m->via.array.size >= 3);
	FUZZ_HOLDS(v[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER);
	if (m->via.array.size == 3) {
		FUZZ_HOLDS(v[0].via.u64 == 2 && is_str(&v[1], "error"));
		FUZZ_HOLDS(v[2].type == MSGPACK_OBJECT_ARRAY && v[2].via.array.size == 1);
		check_code(&v[2].via.array.ptr[0], s);
		s->notices++;
		return;
	}
	FUZZ_HOLDS(m->via.array.size == 4 && v[0].via.u64 == 1);
	FUZZ_HOLDS(v[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER);
	s->answers++;
	s->sum += v[1].via.u64 * 31 + (uint64_t)v[3].type;
	if (v[2].type != MSGPACK_OBJECT_NIL)
		check_code(&v[2], s);
	else {
		FUZZ_HOLDS(v[3].type == MSGPACK_OBJECT_MAP || v[3].type == MSGPACK_OBJECT_STR ||
		    v[3].type == MSGPACK_OBJECT_BOOLEAN);
		s->timing |= v[3].type == MSGPACK_OBJECT_BOOLEAN;	/* cancel's */
	}
}

static void
drain(int fd, struct tn_buf *out)
{
	char *p;
	ssize_t n;

	do {
		p = tn_buf_reserve(out, 4096);
		FUZZ_HOLDS(p != NULL);
		n = recv(fd, p, 4096, MSG_DONTWAIT);
		if (n > 0)
			out->len += (size_t)n;
	} while (n > 0);
}

static struct said
talk(const uint8_t *data, size_t size, size_t piece)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), i;
	struct tn_buf out = { 0 };
	struct said s = { 0 };
	msgpack_unpacked m;
	struct stat st;
	size_t at, n;

	d.requests = d.done = d.cancelled = 0;
	FUZZ_HOLDS(connect(fd, (struct sockaddr *)&d.address, d.address_len) == 0);
	FUZZ_HOLDS(tn_fd_nonblock(fd) == 0);
	for (i = 0; i < TURNS_MAX && d.stats.clients == 0; i++)
		turn();
	for (at = 0; at < size; at += n) {
		n = size - at < piece ? size - at : piece;
		if (send(fd, data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;			/* it has been closed, or is not read */
		turn();
		drain(fd, &out);
	}
	s.timing = at < size;
	shutdown(fd, SHUT_WR);
	for (i = 0; i < TURNS_MAX && d.stats.clients > 0; i++) {
		turn();
		drain(fd, &out);
	}
	FUZZ_HOLDS(d.stats.clients == 0);
	FUZZ_HOLDS(TAILQ_EMPTY(&d.held) && d.requests == d.done + d.cancelled);
	drain(fd, &out);
	close(fd);
	msgpack_unpacked_init(&m);
	for (at = 0; at < out.len;) {
		FUZZ_HOLDS(msgpack_unpack_next(&m, out.p, out.len, &at) == MSGPACK_UNPACK_SUCCESS);
		check_message(&m.data, &s);
	}
	msgpack_unpacked_destroy(&m);
	FUZZ_HOLDS(s.notices <= 1);
	tn_buf_fini(&out);
	FUZZ_HOLDS(fstat(d.log, &st) == 0 && st.st_size == 0);
	return s;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct said whole, pieces;

	if (size < 2)
		return 0;
	if (d.base == NULL)
		begin();
	whole = talk(data + 1, size - 1, size);
	pieces = talk(data + 1, size - 1, (size_t)data[0] % 64 + 1);
	if (!whole.timing && !pieces.timing)
		FUZZ_HOLDS(whole.sum == pieces.sum && whole.answers == pieces.answers);
	return 0;
}
