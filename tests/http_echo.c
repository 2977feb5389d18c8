/*
 * http_echo.c - the HTTP server in front of a dispatcher of a few lines, which
 * answers by the contract's name.  For tests/e2e/test_http.py.
 *
 * http_echo [-o name=value]... [-u SOCKET] [-n DESCRIPTORS]
 * prints "port N" once it listens.  SIGTERM drains, then prints "drained";
 * SIGUSR1 lets the held requests go.
 *
 *	/echo		what the request was, as JSON
 *	/body		the request's body
 *	/hold		"held", when /release or SIGUSR1 comes
 *	/release	lets them go: "released N"
 *	/fault/NAME	that fault
 *	/big?N		N bytes
 *	/status/N	status N, body "text"
 *	/header?n&v...	headers as given, each percent-decoded, apart by &
 *	/option?o=v	sets an option
 *	/stats		counters
 *	any other	NOT_FOUND
 */
#include "config.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sv_http.h"
#include "sv_request.h"
#include "sv_stats.h"
#include "tn_err.h"
#include "tn_log.h"
#include "tn_options.h"
#include "tn_str.h"

struct sv_dispatch {
	struct event_base *base;
	struct tn_options *opt;
	struct sv_http	*http;
	struct sv_stats	 stats;
	struct sv_request_list held;
};

static unsigned
release(struct sv_dispatch *d)
{
	struct sv_request_list list = TAILQ_HEAD_INITIALIZER(list);
	struct sv_reply reply = { .status = 200, .body = TN_STR("held") };
	struct sv_request *rq;
	unsigned n = 0;

	TAILQ_CONCAT(&list, &d->held, link);
	while ((rq = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, rq, link);
		n++;
		rq->timings.total = 1000;
		rq->done(rq, &reply, rq->done_arg);
	}
	return n;
}

static void
put_json(struct tn_buf *b, const char *key, struct tn_str value)
{
	tn_buf_printf(b, "%s\"%s\":\"", b->len > 1 ? "," : "", key);
	tn_buf_json(b, value);
	tn_buf_puts(b, "\"");
}

static void
put_echo(struct tn_buf *b, const struct sv_request *rq)
{
	size_t i;

	tn_buf_puts(b, "{");
	put_json(b, "contract", tn_str(rq->contract));
	put_json(b, "method", rq->method);
	put_json(b, "url", rq->url);
	put_json(b, "path", rq->path);
	put_json(b, "query", rq->query);
	put_json(b, "ip", rq->ip);
	put_json(b, "id", tn_str(rq->request_id));
	put_json(b, "body", (struct tn_str){ rq->body.p, rq->body.len });
	tn_buf_puts(b, ",\"headers\":[");
	for (i = 0; i < rq->nheaders; i++) {
		tn_buf_puts(b, i > 0 ? ",\"" : "\"");
		tn_buf_json(b, rq->headers[i]);
		tn_buf_puts(b, "\"");
	}
	tn_buf_puts(b, "]}");
}

static void
put_stats(struct tn_buf *b, const struct sv_stats *st)
{
	tn_buf_puts(b, "{\"phases\":0");
#define TN_COUNTER(name, doc, ...) tn_buf_printf(b, ",\"%s\":%llu", #name, (unsigned long long)st->name);
#define TN_GAUGE(name, doc, ...) tn_buf_printf(b, ",\"%s\":%llu", #name, (unsigned long long)st->name);
#include "metrics.def"
	tn_buf_printf(b, ",\"timed\":%llu}", (unsigned long long)st->phase_total.count);
}

static int
hex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Up to max pieces, apart by &. */
static size_t
decode(struct tn_str s, struct tn_buf *b, struct tn_str *v, size_t max)
{
	size_t i, n = 0, start[64];

	if (tn_buf_reserve(b, s.len) == NULL)
		return 0;
	start[0] = 0;
	for (i = 0; i <= s.len; i++) {
		if (i == s.len || s.p[i] == '&') {
			v[n] = (struct tn_str){ b->p + start[n], b->len - start[n] };
			if (++n == max || n == 64)
				break;
			start[n] = b->len;
		} else if (s.p[i] == '%' && i + 2 < s.len) {
			tn_buf_append(
			    b, &(char){ (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])) }, 1);
			i += 2;
		} else {
			tn_buf_append(b, &s.p[i], 1);
		}
	}
	return n;
}

static void
set_option(struct sv_dispatch *d, const struct sv_request *rq, struct sv_reply *reply)
{
	struct tn_buf b = { 0 }, err = { 0 };
	struct tn_str v[1];

	decode(rq->query, &b, v, 1);
	tn_buf_append(&b, "", 1);
	if (tn_options_set(d->opt, b.p, &err) != 0)
		reply->status = 400;
	else
		sv_http_reload(d->http);
	tn_buf_fini(&b);
	tn_buf_fini(&err);
}

static enum tn_fault
fault_of(struct tn_str name)
{
	unsigned i;

	for (i = 1; i < TN_FAULT_MAX; i++)
		if (tn_str_is(name, tn_fault_info(i)->name))
			return (enum tn_fault)i;
	return TN_FAULT_INTERNAL;
}

void
sv_dispatch_submit(struct sv_dispatch *d, struct sv_request **rqp)
{
	struct sv_request *rq = *rqp;
	struct sv_reply reply = { .status = 200 };
	struct tn_str c = tn_str(rq->contract), header[64], type[2] = {
		TN_STR("content-type"), TN_STR("application/json")
	};
	struct tn_buf b = { 0 };

	*rqp = NULL;
	if (tn_str_is(c, "hold")) {
		TAILQ_INSERT_TAIL(&d->held, rq, link);
		return;
	}
	if (tn_str_is(c, "echo")) {
		put_echo(&b, rq);
		reply.headers = (struct tn_strv){ type, 2 };
	} else if (tn_str_is(c, "body")) {
		tn_buf_append(&b, rq->body.p, rq->body.len);
	} else if (tn_str_is(c, "release")) {
		tn_buf_printf(&b, "released %u", release(d));
	} else if (tn_str_is(c, "fault")) {
		reply.fault = fault_of((struct tn_str){ rq->path.p + 1, rq->path.len - 1 });
		reply.message = TN_STR("a secret");
		reply.allow = TN_STR("GET, HEAD");
		reply.retry_after = 7;
	} else if (tn_str_is(c, "big")) {
		size_t n = strtoul(rq->query.p, NULL, 10);

		if (tn_buf_reserve(&b, n) != NULL)
			memset(b.p, 'x', b.len = n);
	} else if (tn_str_is(c, "status")) {
		reply.status = atoi(rq->path.p + 1);
		tn_buf_puts(&b, "text");
	} else if (tn_str_is(c, "header")) {
		reply.headers.n = decode(rq->query, &b, header, 64);
		reply.headers.v = header;
		reply.body = TN_STR("text");
	} else if (tn_str_is(c, "option")) {
		set_option(d, rq, &reply);
	} else if (tn_str_is(c, "stats")) {
		put_stats(&b, &d->stats);
		reply.headers = (struct tn_strv){ type, 2 };
	} else {
		reply.fault = TN_FAULT_NOT_FOUND;
	}
	if (reply.body.len == 0)
		reply.body = (struct tn_str){ b.p, b.len };
	rq->timings.total = 1000;
	rq->done(rq, &reply, rq->done_arg);
	tn_buf_fini(&b);
}

void
sv_dispatch_cancel(struct sv_dispatch *d, struct sv_request **rqp)
{
	d->stats.requests_cancelled++;
	TAILQ_REMOVE(&d->held, *rqp, link);
	sv_request_free(rqp);
}

static void
on_drained(void *arg)
{
	struct sv_dispatch *d = arg;

	puts("drained");
	fflush(stdout);
	event_base_loopbreak(d->base);
}

static void
on_term(evutil_socket_t fd, short what, void *arg)
{
	struct sv_dispatch *d = arg;

	(void)fd;
	(void)what;
	sv_http_drain(d->http, on_drained, d);
}

static void
on_usr1(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	release(arg);
}

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static int
listen_on(const char *path)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(path != NULL ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;
	socklen_t len = sizeof(sin);

	if (path != NULL) {
		strncpy(sun.sun_path, path, sizeof(sun.sun_path) - 1);
		err = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	} else {
		err = bind(fd, (struct sockaddr *)&sin, sizeof(sin));
	}
	if (fd < 0 || err != 0 || listen(fd, 128) != 0)
		fail("listen");
	if (path == NULL && getsockname(fd, (struct sockaddr *)&sin, &len) == 0)
		printf("port %u\n", ntohs(sin.sin_port));
	return fd;
}

int
main(int argc, char **argv)
{
	struct sv_dispatch d = { .opt = tn_options_new() };
	struct tn_buf err = { 0 };
	struct event *term, *usr1;
	struct rlimit rl;
	const char *path = NULL;
	int c;

	TAILQ_INIT(&d.held);
	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt(argc, argv, "o:u:n:")) != -1) {
		switch (c) {
		case 'o':
			if (tn_options_set(d.opt, optarg, &err) != 0) {
				fprintf(stderr, "%.*s\n", (int)err.len, err.p);
				return 2;
			}
			break;
		case 'u':
			path = optarg;
			break;
		case 'n':
			rl.rlim_cur = rl.rlim_max = (rlim_t)atoi(optarg);
			if (setrlimit(RLIMIT_NOFILE, &rl) != 0)
				fail("setrlimit");
			break;
		default:
			return 2;
		}
	}
	tn_log_open("http_echo", STDERR_FILENO, (enum tn_log_level)d.opt->log_level,
	    (enum tn_log_format)d.opt->log_format);
	sv_stats_init(&d.stats);
	if ((d.base = event_base_new()) == NULL ||
	    (d.http = sv_http_new(d.base, d.opt, &d, &d.stats)) == NULL ||
	    sv_http_listen(d.http, listen_on(NULL)) != 0 ||
	    (path != NULL && sv_http_listen(d.http, listen_on(path)) != 0))
		fail("http_echo");
	term = evsignal_new(d.base, SIGTERM, on_term, &d);
	usr1 = evsignal_new(d.base, SIGUSR1, on_usr1, &d);
	if (term == NULL || usr1 == NULL || event_add(term, NULL) != 0 ||
	    event_add(usr1, NULL) != 0)
		fail("signals");
	fflush(stdout);
	event_base_dispatch(d.base);
	sv_http_free(&d.http);
	event_free(term);
	event_free(usr1);
	event_base_free(d.base);
	tn_options_free(&d.opt);
	tn_buf_fini(&err);
	return 0;
}
