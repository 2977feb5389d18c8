/*
 * fuzz_http.c - what somebody may send to the HTTP server.
 *
 * Input: a byte for the size of the pieces in which the rest arrives.  It goes
 * through a real connection of the server; the dispatcher answers at once.  The
 * checker and http-parser must agree, pieces must not matter, what comes back
 * must be answers, and the connection must end with the client's end.
 */
#include "config.h"

#include "fuzz.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <http_parser.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_http_conn.h"
#include "sv_request.h"
#include "sv_stats.h"
#include "tn_log.h"
#include "tn_options.h"

#define TURNS_MAX	100

struct sv_dispatch {
	struct event_base *base;
	struct tn_options *opt;
	struct sv_http	*http;
	struct sv_stats	 stats;
	int		 log;
	uint64_t	 seen;		/* stands for all requests of a connection */
	unsigned	 requests;
};

static struct sv_dispatch d;

static void
see(struct tn_str s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		d.seen = d.seen * 31 + (unsigned char)s.p[i];
	d.seen = d.seen * 31 + s.len;
}

/* What the request says is what the contract, as hostile, answers. */
void
sv_dispatch_submit(struct sv_dispatch *dp, struct sv_request **rqp)
{
	struct sv_request *rq = *rqp;
	struct tn_str field[] = { TN_STR("x-body"), { rq->body.p, rq->body.len }, rq->query,
		rq->path };
	struct sv_reply reply = { .status = 200, .headers = { field, 4 }, .body = rq->url };
	size_t i;

	*rqp = NULL;
	dp->requests++;
	see(rq->method);
	see(rq->url);
	see(rq->path);
	see(rq->query);
	see(rq->ip);
	see(tn_str(rq->contract));
	see(field[1]);
	for (i = 0; i < rq->nheaders; i++) {
		FUZZ_HOLDS(rq->headers[i].p >= rq->store.p &&
		    rq->headers[i].p + rq->headers[i].len <= rq->store.p + rq->store.len);
		see(rq->headers[i]);
	}
	FUZZ_HOLDS(rq->path.p[0] == '/' || tn_str_is(rq->path, "*"));
	FUZZ_HOLDS(rq->body.len <= dp->opt->body_max);
	rq->done(rq, &reply, rq->done_arg);
}

void
sv_dispatch_cancel(struct sv_dispatch *dp, struct sv_request **rqp)
{
	(void)dp;
	(void)rqp;
	FUZZ_HOLDS(!"there is nothing to cancel");
}

static void
begin(void)
{
	static const char *const options[] = { "header_max=1k", "target_max=128", "body_max=64",
		"domain=d.e", "trusted_proxies=127.0.0.1", "log_requests=off" };
	struct tn_buf err = { 0 };
	size_t i;

	d.opt = tn_options_new();
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		FUZZ_HOLDS(tn_options_set(d.opt, options[i], &err) == 0);
	tn_buf_fini(&err);
	d.log = memfd_create("log", MFD_CLOEXEC);
	tn_log_open("fuzz", d.log, TN_LOG_ERROR, TN_LOG_TEXT);
	sv_stats_init(&d.stats);
	d.base = event_base_new();
	FUZZ_HOLDS(d.base != NULL);
	d.http = sv_http_new(d.base, d.opt, &d, &d.stats);
	FUZZ_HOLDS(d.http != NULL);
}

static int
on_message(http_parser *p)
{
	++*(unsigned *)p->data;
	return 0;
}

/* Answers, and nothing else; as many as there were requests. */
static void
check_answers(const struct tn_buf *out, unsigned requests)
{
	static const http_parser_settings settings = { .on_message_complete = on_message };
	unsigned answers = 0;
	http_parser p;

	http_parser_init(&p, HTTP_RESPONSE);
	p.data = &answers;
	FUZZ_HOLDS(http_parser_execute(&p, &settings, out->p, out->len) == out->len);
	FUZZ_HOLDS(HTTP_PARSER_ERRNO(&p) == HPE_OK);
	FUZZ_HOLDS(answers == requests);
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

static uint64_t
talk(const uint8_t *data, size_t size, size_t piece, bool check)
{
	struct sockaddr_storage sa = { 0 };
	struct sockaddr_in *sin = (struct sockaddr_in *)&sa;
	struct tn_buf out = { 0 };
	uint64_t before = d.stats.requests;
	struct stat st;
	int pair[2], turn;
	size_t at, n;

	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	FUZZ_HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	d.seen = 0;
	FUZZ_HOLDS(sv_http_conn_new(d.http, pair[0], &sa, false) != NULL);
	for (at = 0; at < size; at += n) {
		n = size - at < piece ? size - at : piece;
		if (send(pair[1], data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;			/* it has been closed */
		event_base_loop(d.base, EVLOOP_NONBLOCK);
		drain(pair[1], &out);
	}
	shutdown(pair[1], SHUT_WR);
	for (turn = 0; turn < TURNS_MAX && d.stats.connections > 0; turn++) {
		event_base_loop(d.base, EVLOOP_NONBLOCK);
		drain(pair[1], &out);
	}
	FUZZ_HOLDS(d.stats.connections == 0);
	drain(pair[1], &out);
	close(pair[1]);
	if (check)
		check_answers(&out, (unsigned)(d.stats.requests - before));
	tn_buf_fini(&out);
	/* Checker and parser did not differ, nor was there any other error. */
	FUZZ_HOLDS(fstat(d.log, &st) == 0 && st.st_size == 0);
	return d.seen;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole;
	bool check;

	if (size < 2)
		return 0;
	if (d.base == NULL)
		begin();
	/* Who reads an answer to HEAD, or after 100, has to know it; the reader here does not. */
	check = memmem(data, size, "HEAD", 4) == NULL && memmem(data, size, "100", 3) == NULL;
	whole = talk(data + 1, size - 1, size, check);
	FUZZ_HOLDS(talk(data + 1, size - 1, (size_t)data[0] % 16 + 1, check) == whole);
	return 0;
}
