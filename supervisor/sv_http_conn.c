/*
 * sv_http_conn.c - one connection: its requests, its answers.
 *
 * What is read goes, as long as all of it can be used at once, from one buffer
 * that all connections share into the request; only a connection with a piece
 * of a head, or with more than one request, has a buffer of its own.
 */
#include "config.h"

#include "sv_http_conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sv_http_reply.h"
#include "sv_route.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_log.h"
#include "tn_options.h"

#define KEEP_MAX	256u		/* connections whose memory is kept */
#define AHEAD_MAX	16384u		/* read while a request is in progress */
#define TOGETHER_MAX	2048u		/* a body that is cheaper copied than sent apart */
#define BODY_FIRST	65536u		/* room made for a body on its sender's word */
#define PREFLIGHT_MAX	1024u		/* Access-Control-Request-Headers that is echoed */

static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

static void on_read(evutil_socket_t fd, short what, void *arg);
static void on_write(evutil_socket_t fd, short what, void *arg);
static void refuse(struct sv_http_conn *c, enum tn_fault fault, const struct sv_http_head *head);
static void on_done(struct sv_request *rq, const struct sv_reply *reply, void *arg);

/* -- memory, events ------------------------------------------------------------ */

static void
release(struct sv_http_conn *c)
{
	struct sv_http *h = c->h;

	if (!c->dead || c->busy > 0)
		return;
#ifndef WITH_SANITIZERS			/* with them, use after free must show */
	if (h->nkept < KEEP_MAX) {
		TAILQ_INSERT_HEAD(&h->kept, c, link);
		h->nkept++;
		return;
	}
#endif
	(void)h;
	free(c);
}

static void
set_reading(struct sv_http_conn *c, enum sv_http_reading how)
{
	if (c->reading == how)
		return;
	if (c->reading != SV_HTTP_R_OFF)
		event_del(&c->ev_read);
	c->reading = how;
	if (how == SV_HTTP_R_OFF)
		return;
	/*
	 * End of file and unread bytes are there to stay; only edges tell of what
	 * comes after them.
	 */
	event_assign(&c->ev_read, c->h->base, c->fd,
	    how == SV_HTTP_R_ON ? EV_READ | EV_PERSIST : EV_READ | EV_ET | EV_PERSIST, on_read, c);
	if (event_add(&c->ev_read, NULL) != 0)
		c->reading = SV_HTTP_R_OFF;
}

void
sv_http_conn_close(struct sv_http_conn *c)
{
	if (c->dead)
		return;
	c->dead = true;
	set_reading(c, SV_HTTP_R_OFF);
	event_del(&c->ev_write);
	if (c->rq != NULL && c->state == SV_HTTP_S_WAIT)
		sv_dispatch_cancel(c->h->dispatch, &c->rq);
	sv_request_free(&c->rq);
	close(c->fd);
	tn_buf_fini(&c->in);
	tn_buf_fini(&c->out);
	sv_http_on_gone(c);
	release(c);
}

/* -- writing -------------------------------------------------------------------- */

/* Say goodbye: our side is closed, what the client still sends is read and dropped. */
static void
linger(struct sv_http_conn *c)
{
	if (c->eof || shutdown(c->fd, SHUT_WR) != 0) {
		sv_http_conn_close(c);
		return;
	}
	c->state = SV_HTTP_S_LINGER;
	if (c->busy == 0)
		tn_buf_fini(&c->in);	/* else who reads it does that */
	set_reading(c, SV_HTTP_R_ON);
	sv_http_wait_for(c, SV_HTTP_LINGER);
}

/* A request's time begins or goes on; or the connection is idle. */
static void
settle(struct sv_http_conn *c)
{
	enum sv_http_wait wait;

	if (c->state == SV_HTTP_S_BODY) {
		sv_http_wait_for(c, SV_HTTP_BODY);
		return;
	}
	if (c->state != SV_HTTP_S_HEAD)
		return;
	if (c->in.len > 0)
		wait = SV_HTTP_HEADER;
	else if (!c->h->draining)
		wait = SV_HTTP_IDLE;
	else if (!c->served)
		wait = SV_HTTP_FRESH;
	else {
		linger(c);
		return;
	}
	/* The time for a head does not begin anew with each of its bytes. */
	if (c->wait != wait)
		sv_http_wait_for(c, wait);
}

/* The answer is with the kernel. */
static void
answered(struct sv_http_conn *c)
{
	c->served = true;
	if (c->closing) {
		if (c->linger || c->in.len > 0)
			linger(c);
		else
			sv_http_conn_close(c);
		return;
	}
	c->state = SV_HTTP_S_HEAD;
	c->scan = (struct sv_http_scan){ 0 };
	sv_http_wait_for(c, SV_HTTP_NEVER);
	if (!c->eof)
		set_reading(c, SV_HTTP_R_ON);
	if (c->busy > 0)
		return;			/* who is at it goes on */
	if (c->in.len > 0 || c->eof)
		sv_http_resume_soon(c);
	else
		settle(c);
}

static void
send_answer(struct sv_http_conn *c, struct tn_str head, struct tn_str body)
{
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)head.p, head.len }, { (void *)(uintptr_t)body.p, body.len }
	};
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = body.len == 0 ? send(c->fd, head.p, head.len, MSG_NOSIGNAL) :
	    sendmsg(c->fd, &m, MSG_NOSIGNAL);
	size_t sent;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		sv_http_conn_close(c);
		return;
	}
	sent = n > 0 ? (size_t)n : 0;
	if (sent == head.len + body.len) {
		answered(c);
		return;
	}
	/* Bounded: reply_max and a head's maximum. */
	if (sent < head.len) {
		tn_buf_append(&c->out, head.p + sent, head.len - sent);
		sent = head.len;
	}
	tn_buf_append(&c->out, body.p + (sent - head.len), head.len + body.len - sent);
	c->out_sent = 0;
	c->state = SV_HTTP_S_WRITE;
	set_reading(c, SV_HTTP_R_OFF);
	if (c->out.failed || event_add(&c->ev_write, NULL) != 0)
		sv_http_conn_close(c);
	else
		sv_http_wait_for(c, SV_HTTP_WRITE);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct sv_http_conn *c = arg;
	ssize_t n = send(fd, c->out.p + c->out_sent, c->out.len - c->out_sent, MSG_NOSIGNAL);

	(void)what;
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			n = 0;
		else {
			sv_http_conn_close(c);
			return;
		}
	}
	c->out_sent += (size_t)n;
	if (c->out_sent == c->out.len) {
		tn_buf_fini(&c->out);
		answered(c);
	} else if (event_add(&c->ev_write, NULL) != 0) {
		sv_http_conn_close(c);
	} else if (n > 0) {
		sv_http_wait_for(c, SV_HTTP_WRITE);
	}
}

/* A line between requests and answers; there is room for it or something is wrong. */
static bool
send_continue(struct sv_http_conn *c)
{
	if (send(c->fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(go_on) - 1)
		return true;
	sv_http_conn_close(c);
	return false;
}

/* -- answering -------------------------------------------------------------------- */

/* Takes rq. */
static void
answer(struct sv_http_conn *c, struct sv_request *rq, const struct sv_reply *reply)
{
	struct sv_http *h = c->h;
	struct sv_http_answer a = {
		.minor = c->minor, .head = c->head_only, .cors = h->opt->cors,
		.server_timing = h->opt->server_timing, .reply_max = h->opt->reply_max,
		.request_id = rq->request_id, .timings = &rq->timings
	};
	enum tn_fault fault = reply->fault;
	struct tn_str body = { "", 0 };
	const char *why;
	int status = reply->status;

	if (h->draining && !c->closing)
		c->closing = c->linger = true;
	a.close = c->closing;
	tn_buf_reset(&h->head);
	if (fault == TN_FAULT_NONE) {
		fault = sv_http_reply(&h->head, &a, reply, &body, &why);
		if (fault != TN_FAULT_NONE)
			sv_request_log_bad_reply(rq, why);
	}
	if (fault != TN_FAULT_NONE) {
		sv_http_reply_fault(&h->head, &a, fault, reply);
		status = tn_fault_info(fault)->status;
	}
	sv_stats_answer(h->stats, status, rq);
	sv_request_log(h->opt, &(struct sv_record){ rq->method, rq->path, rq->ip, rq->contract,
	    rq->request_id, status, fault, &rq->timings });
	if (body.len <= TOGETHER_MAX) {
		tn_buf_putstr(&h->head, body);
		body.len = 0;
	}
	if (h->head.failed)
		sv_http_conn_close(c);
	else
		send_answer(c, (struct tn_str){ h->head.p, h->head.len }, body);
	sv_request_free(&rq);		/* last: the reply may quote it */
}

static void
on_done(struct sv_request *rq, const struct sv_reply *reply, void *arg)
{
	struct sv_http_conn *c = arg;

	c->rq = NULL;
	answer(c, rq, reply);
}

/* Answer at once, although more may be on its way, and close. */
static void
refuse(struct sv_http_conn *c, enum tn_fault fault, const struct sv_http_head *head)
{
	static const struct sv_http_head unknown = { .minor = 1 };
	struct sv_http *h = c->h;
	char id[SV_REQUEST_ID_MAX + 1], ip[SV_ADDR_TEXT];
	const char *contract = "";
	struct sv_http_answer a = { .close = true, .cors = h->opt->cors, .request_id = id };
	struct tn_str method, path;
	int status = tn_fault_info(fault)->status;

	if (head == NULL)
		head = &unknown;
	method = head->method;
	path = head->path;
	if (c->rq != NULL) {
		memcpy(id, c->rq->request_id, sizeof(id));
		contract = c->rq->contract;
		method = c->rq->method;
		path = c->rq->path;
	} else if (head->request_id.len > 0) {
		memcpy(id, head->request_id.p, head->request_id.len);
		id[head->request_id.len] = '\0';
	} else {
		sv_request_new_id(id);
	}
	a.minor = head->minor;
	a.head = tn_str_is(method, "HEAD");
	c->closing = c->linger = true;
	tn_buf_reset(&h->head);
	sv_http_reply_fault(&h->head, &a, fault, NULL);
	/* Beyond connections_max it is a connection that is refused, not a request. */
	if (!c->refused) {
		h->stats->requests++;
		sv_stats_answer(h->stats, status, NULL);
		sv_request_log(h->opt, &(struct sv_record){ method, path,
		    { ip, sv_addr_print(&c->peer, ip) }, contract, id, status, fault, NULL });
	}
	sv_request_free(&c->rq);
	if (h->head.failed)
		sv_http_conn_close(c);
	else
		send_answer(c, (struct tn_str){ h->head.p, h->head.len }, TN_STR(""));
}

/* Ours to answer: what a browser asks before it asks. */
static void
answer_options(struct sv_http_conn *c, struct sv_request *rq)
{
	static const struct tn_str methods = { "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", 44 };
	struct tn_str field[10], asked = TN_STR("*");
	struct sv_reply reply = { .status = 204 };
	size_t i, n = 0;

	if (c->h->opt->cors) {
		for (i = 0; i < rq->nheaders; i += 2)
			if (tn_str_is(rq->headers[i], "access-control-request-headers") &&
			    rq->headers[i + 1].len <= PREFLIGHT_MAX &&
			    sv_http_names_ok(rq->headers[i + 1]))
				asked = rq->headers[i + 1];
		field[n++] = TN_STR("Access-Control-Allow-Methods");
		field[n++] = methods;
		field[n++] = TN_STR("Access-Control-Allow-Headers");
		field[n++] = asked;
		field[n++] = TN_STR("Access-Control-Max-Age");
		field[n++] = TN_STR("86400");
		field[n++] = TN_STR("Vary");
		field[n++] = TN_STR("Access-Control-Request-Headers");
	}
	field[n++] = TN_STR("Allow");
	field[n++] = methods;
	reply.headers = (struct tn_strv){ field, n };
	answer(c, rq, &reply);
}

/* -- http-parser --------------------------------------------------------------------- */

static int
on_url(http_parser *p, const char *at, size_t n)
{
	struct sv_http_conn *c = p->data;

	c->h->url = (struct tn_str){ at, n };
	return 0;
}

/* The parser gets a head whole, so that each of these comes whole. */
static int
on_field(http_parser *p, const char *at, size_t n)
{
	struct sv_http *h = ((struct sv_http_conn *)p->data)->h;

	if (h->nfield + 2 > 2 * SV_HTTP_HEADERS_MAX || h->nfield % 2 != 0)
		return -1;
	h->field[h->nfield++] = (struct tn_str){ at, n };
	return 0;
}

static int
on_value(http_parser *p, const char *at, size_t n)
{
	struct sv_http *h = ((struct sv_http_conn *)p->data)->h;

	if (h->nfield % 2 != 1)
		return -1;
	while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
		n--;
	h->field[h->nfield++] = (struct tn_str){ at, n };
	return 0;
}

static int
on_headers_complete(http_parser *p)
{
	struct sv_http *h = ((struct sv_http_conn *)p->data)->h;

	h->parsed_head = true;
	h->parsed_chunked = (p->flags & F_CHUNKED) != 0;
	h->parsed_length = p->content_length;
	p->upgrade = 0;			/* we do not: no byte is to be treated differently for it */
	return 0;
}

static int
on_body(http_parser *p, const char *at, size_t n)
{
	struct sv_http_conn *c = p->data;

	if (c->verdict != SV_HTTP_DISPATCH)
		return 0;
	tn_buf_append(&c->rq->body, at, n);
	return c->rq->body.failed ? -1 : 0;
}

static int
on_complete(http_parser *p)
{
	struct sv_http_conn *c = p->data;

	c->complete = true;
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url, .on_header_field = on_field, .on_header_value = on_value,
	.on_headers_complete = on_headers_complete, .on_body = on_body,
	.on_message_complete = on_complete
};

static bool
parse(struct sv_http_conn *c, struct tn_str s)
{
	return s.len == 0 || (http_parser_execute(&c->parser, &settings, s.p, s.len) == s.len &&
	    HTTP_PARSER_ERRNO(&c->parser) == HPE_OK);
}

/* Has http-parser read what the checker has read? */
static bool
parse_head(struct sv_http_conn *c, struct tn_str text, const struct sv_http_head *head)
{
	struct sv_http *h = c->h;

	h->nfield = 0;
	h->url = TN_STR("");
	h->parsed_head = false;
	http_parser_init(&c->parser, HTTP_REQUEST);
	c->parser.data = c;
	c->complete = false;
	return parse(c, text) && h->parsed_head && h->nfield == 2 * head->nheaders &&
	    c->parser.http_major == 1 && c->parser.http_minor == head->minor &&
	    tn_str_is(head->method, http_method_str(c->parser.method)) &&
	    tn_str_eq(h->url, head->target) && h->parsed_chunked == head->chunked &&
	    (!head->sized || h->parsed_length == head->length) &&
	    c->complete == (!head->chunked && head->length == 0);
}

/* They differ: who is right does not matter, a third one may side with either. */
static void
disagree(struct sv_http_conn *c, const struct sv_http_head *head)
{
	struct tn_log_record r;

	if (c->rq != NULL && c->rq->body.failed) {
		refuse(c, TN_FAULT_OVERLOAD, head);
		return;
	}
	tn_log_begin(&r, TN_LOG_ERROR, "checker and http-parser differ");
	tn_log_str(&r, "parser", tn_str(http_errno_name(HTTP_PARSER_ERRNO(&c->parser))));
	tn_log_end(&r);
	refuse(c, TN_FAULT_BAD_REQUEST, head);
}

/* -- the request ------------------------------------------------------------------------ */

static struct tn_str
keep_client(struct sv_http_conn *c, struct tn_buf *store)
{
	struct sv_http *h = c->h;
	struct tn_str value[SV_HTTP_HEADERS_MAX];
	struct sv_addr a = c->peer;
	char text[SV_ADDR_TEXT];
	size_t i, n = 0;

	if (sv_forwarded_trusts(h->trusted, &a)) {
		for (i = 0; i < h->nfield; i += 2)
			if (sv_http_name_is(h->field[i], "x-forwarded-for"))
				value[n++] = h->field[i + 1];
		sv_forwarded_client(h->trusted, &a, value, n);
		return sv_request_keep(store, (struct tn_str){ text, sv_addr_print(&a, text) });
	}
	if (c->ip[0] == '\0')
		(void)sv_addr_print(&c->peer, c->ip);
	return sv_request_keep(store, tn_str(c->ip));
}

/* Everything that the contract gets to see, in one piece of memory. */
static struct sv_request *
make_request(struct sv_http_conn *c, size_t head_len, const struct sv_http_head *head,
    const struct sv_route *route)
{
	struct sv_http *h = c->h;
	struct sv_request *rq = sv_request_new();
	struct tn_str host = head->host.len > 0 ? head->host : TN_STR("localhost");
	struct tn_buf *s;
	size_t i, n;

	if (rq == NULL)
		return NULL;
	s = &rq->store;
	n = h->nfield * sizeof(rq->headers[0]);
	if (tn_buf_reserve(s, n + 2 * head_len + host.len + SV_ADDR_TEXT + 32) == NULL) {
		sv_request_free(&rq);
		return NULL;
	}
	/* From here on nothing moves, and there is room for all of it. */
	rq->headers = (struct tn_str *)(void *)s->p;
	s->len = n;
	strcpy(rq->contract, route->contract);
	if (head->request_id.len > 0) {
		memcpy(rq->request_id, head->request_id.p, head->request_id.len);
		rq->request_id[head->request_id.len] = '\0';
	} else {
		sv_request_new_id(rq->request_id);
	}
	rq->method = sv_request_keep(s, head->method);
	sv_request_keep_url(rq, host, route->path, head->query);
	for (i = 0; i < h->nfield; i += 2) {
		if (sv_http_hop_by_hop(h->field[i]))
			continue;
		rq->headers[rq->nheaders++] = sv_request_keep_lower(s, h->field[i]);
		rq->headers[rq->nheaders++] = sv_request_keep(s, h->field[i + 1]);
	}
	rq->ip = keep_client(c, s);
	rq->done = on_done;
	rq->done_arg = c;
	return rq;
}

/* The request is here, to its last byte. */
static void
submit(struct sv_http_conn *c)
{
	struct sv_http *h = c->h;
	struct sv_request *rq = c->rq;
	struct sv_reply reply = { .fault = TN_FAULT_NOT_FOUND };

	h->stats->requests++;
	rq->received_us = tn_clock_us();
	sv_http_wait_for(c, SV_HTTP_NEVER);
	if (c->verdict == SV_HTTP_DISPATCH) {
		c->state = SV_HTTP_S_WAIT;
		sv_dispatch_submit(h->dispatch, &rq);
		return;
	}
	c->rq = NULL;
	if (c->verdict == SV_HTTP_OPTIONS)
		answer_options(c, rq);
	else
		answer(c, rq, &reply);
}

/* more: how many bytes that came with it follow. */
static void
take_head(struct sv_http_conn *c, struct tn_str text, size_t more)
{
	struct sv_http *h = c->h;
	struct sv_http_limits limits = { h->opt->header_max, h->opt->target_max };
	struct sv_http_head head;
	struct sv_route route = { 0 };
	enum tn_fault fault = sv_http_check_head(text, &limits, &head);

	if (fault == TN_FAULT_NONE && head.sized && head.length > h->opt->body_max)
		fault = TN_FAULT_BODY_SIZE;
	if (fault != TN_FAULT_NONE) {
		refuse(c, fault, &head);
		return;
	}
	if (!parse_head(c, text, &head)) {
		disagree(c, &head);
		return;
	}
	c->minor = head.minor;
	c->head_only = tn_str_is(head.method, "HEAD");
	c->closing = !head.keep_alive;
	c->verdict = SV_HTTP_DISPATCH;
	if (head.path.p[0] == '*') {
		c->verdict = SV_HTTP_OPTIONS;
		route.path = head.path;
	} else if (sv_route(head.host, head.path, tn_str(h->opt->domain), &route) != TN_FAULT_NONE)
		c->verdict = SV_HTTP_NOT_FOUND;
	else if (h->opt->cors && tn_str_is(head.method, "OPTIONS"))
		c->verdict = SV_HTTP_OPTIONS;
	c->rq = make_request(c, text.len, &head, &route);
	if (c->rq == NULL) {
		refuse(c, TN_FAULT_OVERLOAD, &head);
		return;
	}
	if (c->complete) {
		submit(c);
		return;
	}
	c->state = SV_HTTP_S_BODY;
	c->chunked = head.chunked;
	c->left = head.length;
	c->chunks = (struct sv_http_chunks){
		.body_max = h->opt->body_max, .trailer_max = h->opt->header_max
	};
	if (c->verdict == SV_HTTP_DISPATCH && head.length > 0)
		(void)tn_buf_reserve(
		    &c->rq->body, head.length < BODY_FIRST ? head.length : BODY_FIRST);
	if (head.expect && more == 0) {
		/* Whose answer is known need not send the body. */
		if (c->verdict == SV_HTTP_NOT_FOUND)
			refuse(c, TN_FAULT_NOT_FOUND, &head);
		else
			send_continue(c);
	}
}

/* Both return how many bytes they took; 0: more are needed. */
static size_t
take_head_bytes(struct sv_http_conn *c, struct tn_str in)
{
	struct sv_http_limits limits = { c->h->opt->header_max, c->h->opt->target_max };
	size_t end;
	enum tn_fault fault = sv_http_scan(&c->scan, in, &limits, &end);

	if (fault != TN_FAULT_NONE) {
		refuse(c, fault, NULL);
		return in.len;
	}
	if (end > 0)
		take_head(c, (struct tn_str){ in.p, end }, in.len - end);
	return end;
}

static size_t
take_body_bytes(struct sv_http_conn *c, struct tn_str in)
{
	enum tn_fault fault;
	size_t used, feed;
	bool done, same;

	if (c->chunked) {
		fault = sv_http_check_chunks(&c->chunks, in, &used, &feed);
		if (fault != TN_FAULT_NONE) {
			refuse(c, fault, NULL);
			return in.len;
		}
		done = c->chunks.done;
		same =
		    parse(c, (struct tn_str){ in.p, feed }) && (!done || parse(c, TN_STR("\r\n")));
	} else {
		used = in.len < c->left ? in.len : (size_t)c->left;
		c->left -= used;
		done = c->left == 0;
		same = parse(c, (struct tn_str){ in.p, used });
	}
	if (!same || c->complete != done)
		disagree(c, NULL);
	else if (done)
		submit(c);
	return used;
}

/* -- reading ----------------------------------------------------------------------------- */

static void
on_eof(struct sv_http_conn *c)
{
	switch (c->state) {
	case SV_HTTP_S_HEAD:
		if (c->in.len == 0) {
			sv_http_conn_close(c);
			break;
		}
		/* FALLTHROUGH */
	case SV_HTTP_S_BODY:
		refuse(c, TN_FAULT_BAD_REQUEST, NULL);
		break;
	case SV_HTTP_S_WAIT:
		/*
		 * It may have closed its sending side only, and wait for the answer.
		 * Whether it has closed both shows, with TCP, in what it says to a
		 * line that it can ignore.
		 */
		set_reading(c, SV_HTTP_R_WATCH);
		if (c->minor > 0 && !c->peer.local)
			sv_http_wait_for(c, SV_HTTP_PROBE);
		break;
	case SV_HTTP_S_WRITE:
		break;
	case SV_HTTP_S_LINGER:
		sv_http_conn_close(c);
		break;
	}
}

/* Use the bytes; what cannot be used now is kept in c->in (where they are already if `own`). */
static void
process(struct sv_http_conn *c, struct tn_str in, bool own)
{
	struct tn_str rest = in;
	size_t n = 1;

	c->busy++;
	while (!c->dead && rest.len > 0 && n > 0) {
		if (c->state == SV_HTTP_S_HEAD)
			n = take_head_bytes(c, rest);
		else if (c->state == SV_HTTP_S_BODY)
			n = take_body_bytes(c, rest);
		else
			break;
		rest = (struct tn_str){ rest.p + n, rest.len - n };
	}
	if (!c->dead) {
		/* Nobody will want it after the last answer. */
		if (c->state == SV_HTTP_S_LINGER)
			rest.len = 0;
		if (own)
			tn_buf_consume(&c->in, in.len - rest.len);
		else
			tn_buf_putstr(&c->in, rest);
		if (c->in.len == 0 && c->in.cap > 0)
			tn_buf_fini(&c->in);
		if (c->in.failed)
			sv_http_conn_close(c);
	}
	if (!c->dead) {
		if (c->eof && c->state != SV_HTTP_S_WRITE)
			on_eof(c);
		else
			settle(c);
	}
	c->busy--;
	release(c);
}

void
sv_http_conn_on_resume(struct sv_http_conn *c)
{
	process(c, (struct tn_str){ c->in.p, c->in.len }, true);
}

/* While a request is in progress: a little of what follows it, and whether it still makes sense. */
static void
read_ahead(struct sv_http_conn *c)
{
	struct pollfd p = { .fd = c->fd };
	char *room;
	ssize_t n;

	if (c->reading == SV_HTTP_R_WATCH) {
		if (poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)))
			sv_http_conn_close(c);
		return;
	}
	if (c->in.len >= AHEAD_MAX) {
		set_reading(c, SV_HTTP_R_WATCH);
		return;
	}
	room = tn_buf_reserve(&c->in, AHEAD_MAX);
	n = room != NULL ? recv(c->fd, room, AHEAD_MAX - c->in.len, 0) : -1;
	if (n > 0) {
		c->in.len += (size_t)n;
	} else if (n == 0) {
		c->eof = true;
		on_eof(c);
	} else if (room == NULL || (errno != EAGAIN && errno != EINTR)) {
		sv_http_conn_close(c);
	}
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct sv_http_conn *c = arg;
	struct sv_http *h = c->h;
	char *room = h->scratch;
	size_t size = SV_HTTP_SCRATCH;
	bool own = false;
	ssize_t n;

	(void)what;
	if (c->state == SV_HTTP_S_WAIT) {
		read_ahead(c);
		return;
	}
	if (c->in.len > 0 && c->state != SV_HTTP_S_LINGER) {
		own = true;
		size = AHEAD_MAX;
		if ((room = tn_buf_reserve(&c->in, size)) == NULL) {
			sv_http_conn_close(c);
			return;
		}
	}
	n = recv(fd, room, size, 0);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			sv_http_conn_close(c);
		return;
	}
	if (c->state == SV_HTTP_S_LINGER) {
		if (n == 0)
			sv_http_conn_close(c);
		return;
	}
	if (n == 0) {
		c->eof = true;
		set_reading(c, SV_HTTP_R_OFF);
	}
	if (own)
		c->in.len += (size_t)n;
	process(c, own ? (struct tn_str){ c->in.p, c->in.len } : (struct tn_str){ room, (size_t)n },
	    own);
}

/* -- from outside ---------------------------------------------------------------------------- */

void
sv_http_conn_on_timeout(struct sv_http_conn *c, enum sv_http_wait wait)
{
	struct linger reset = { 1, 0 };

	switch (wait) {
	case SV_HTTP_HEADER:
	case SV_HTTP_BODY:
		refuse(c, TN_FAULT_REQUEST_TIMEOUT, NULL);
		break;
	case SV_HTTP_WRITE:
		/* Or the kernel would go on offering it what it does not take. */
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		sv_http_conn_close(c);
		break;
	case SV_HTTP_PROBE:
		if (c->state == SV_HTTP_S_WAIT && send_continue(c))
			sv_http_wait_for(c, SV_HTTP_PROBE);
		break;
	default:
		sv_http_conn_close(c);
		break;
	}
}

void
sv_http_conn_on_drain(struct sv_http_conn *c)
{
	char byte;

	if (c->state != SV_HTTP_S_HEAD || c->in.len > 0)
		return;
	/* A request may have come that we have not been told of yet. */
	if (c->served && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		sv_http_conn_close(c);
	else
		sv_http_wait_for(c, SV_HTTP_FRESH);
}

struct sv_http_conn *
sv_http_conn_new(struct sv_http *h, int fd, const struct sockaddr_storage *peer, bool refused)
{
	struct sv_http_conn *c = TAILQ_FIRST(&h->kept);

	if (c != NULL) {
		TAILQ_REMOVE(&h->kept, c, link);
		h->nkept--;
	} else if ((c = malloc(sizeof(*c))) == NULL) {
		close(fd);
		return NULL;
	}
	memset(c, 0, sizeof(*c));
	c->h = h;
	c->fd = fd;
	c->state = SV_HTTP_S_HEAD;
	c->wait = SV_HTTP_NEVER;
	c->refused = refused;
	sv_addr_from(&c->peer, peer);
	event_assign(&c->ev_write, h->base, fd, EV_WRITE, on_write, c);
	TAILQ_INSERT_TAIL(&h->conns, c, link);
	if (refused)
		h->nrefused++;
	else
		h->nconns++;
	h->stats->connections = h->nconns;
	if (refused) {
		refuse(c, TN_FAULT_OVERLOAD, NULL);
		return NULL;
	}
	set_reading(c, SV_HTTP_R_ON);
	if (c->reading == SV_HTTP_R_OFF) {
		sv_http_conn_close(c);
		return NULL;
	}
	settle(c);
	return c;
}
