/*
 * test_sv_http_check.c - requests that two servers could read differently are
 * refused, and what is accepted http-parser reads the same way.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_http_check.h"

static const struct sv_http_limits limits = { 1024, 256 };

#define H	"Host: a\r\n"
#define GET	"GET / HTTP/1.1\r\n"
#define POST	"POST / HTTP/1.1\r\n" H
#define L64	"1234567890123456789012345678901234567890123456789012345678901234"

struct row {
	const char	*name;
	enum tn_fault	 fault;
	const char	*text;
	size_t		 len;		/* 0: strlen */
};
#define ROW(fault, name, text) { name, TN_FAULT_##fault, text, sizeof(text) - 1 }

static const struct row rows[] = {
	/* the request line */
	ROW(NONE, "the simplest request", GET H "\r\n"),
	ROW(NONE, "one empty line before it", "\r\n" GET H "\r\n"),
	ROW(BAD_REQUEST, "two empty lines before it", "\r\n\r\n" GET H "\r\n"),
	ROW(BAD_REQUEST, "LF alone ends the request line", "GET / HTTP/1.1\n" H "\r\n"),
	ROW(BAD_REQUEST, "LF alone ends a field", GET "Host: a\n\r\n"),
	ROW(BAD_REQUEST, "LF alone ends the head", GET H "\n"),
	ROW(BAD_REQUEST, "CR alone in the request line", "GET /\r HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "CR CR LF", "GET / HTTP/1.1\r\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "no version (HTTP/0.9)", "GET /\r\n\r\n"),
	ROW(BAD_REQUEST, "no target", "GET HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "two blanks after the method", "GET  / HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "two blanks before the version", "GET /  HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "blank after the version", "GET / HTTP/1.1 \r\n" H "\r\n"),
	ROW(BAD_REQUEST, "blank before the method", " GET / HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "tab for a blank", "GET\t/ HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "blank in the target", "GET /a b HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "lower-case protocol", "GET / http/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "other protocol", "GET / RTSP/1.0\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "version without minor", "GET / HTTP/1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "version of two digits", "GET / HTTP/1.10\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "version with a leading zero", "GET / HTTP/01.1\r\n" H "\r\n"),
	ROW(HTTP_VERSION, "HTTP/3.7", "GET / HTTP/3.7\r\n" H "\r\n"),
	ROW(HTTP_VERSION, "HTTP/2.0's preface", "PRI * HTTP/2.0\r\n\r\n"),
	ROW(HTTP_VERSION, "HTTP/1.2", "GET / HTTP/1.2\r\n" H "\r\n"),
	ROW(HTTP_VERSION, "HTTP/0.9 spelt out", "GET / HTTP/0.9\r\n" H "\r\n"),
	ROW(NOT_IMPLEMENTED, "unknown method", "BREW / HTTP/1.1\r\n" H "\r\n"),
	ROW(NOT_IMPLEMENTED, "lower-case method", "get / HTTP/1.1\r\n" H "\r\n"),
	ROW(NOT_IMPLEMENTED, "CONNECT", "CONNECT a:443 HTTP/1.1\r\n" H "\r\n"),
	ROW(NOT_IMPLEMENTED, "TRACE", "TRACE / HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "method with a separator", "GE(T / HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "method of 33 bytes",
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "a method that http-parser knows", "M-SEARCH / HTTP/1.1\r\n" H "\r\n"),
	/* the target */
	ROW(BAD_REQUEST, "NUL in the target", "GET /\0 HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "byte above 127 in the target", "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "fragment", "GET /#a HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "backslash in the path", "GET /a\\b HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "what browsers leave unescaped in a query",
	    "GET /?a=|{}[]^\\ HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "a loose percent sign in a query", "GET /?100% HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "broken escape in the path", "GET /%4 HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "escape with other letters", "GET /%zz HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "escaped NUL", "GET /a%00b HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "a good escape", "GET /a%2Fb HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "segment ..", "GET /a/../b HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "segment .. at the end", "GET /a/.. HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "segment .", "GET /./a HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "segment .. escaped", "GET /a/%2e%2E/b HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "segment .. half escaped", "GET /a/.%2e HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "dots that are no such segment",
	    "GET /.well-known/a..b/... HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "dots in the query", "GET /?/../ HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "no slash at the beginning", "GET a HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "asterisk with OPTIONS", "OPTIONS * HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "asterisk with GET", "GET * HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "absolute form", "GET http://a/b?c HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "absolute form, host in another case", "GET HTTP://A/ HTTP/1.1\r\n" H "\r\n"),
	ROW(NONE, "absolute form without a path", "GET http://a?b HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "absolute form for another host", "GET http://b/ HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "absolute form with a user", "GET http://u@a/ HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "absolute form without a host", "GET http:/// HTTP/1.1\r\n" H "\r\n"),
	ROW(BAD_REQUEST, "absolute form of another scheme", "GET ftp://a/ HTTP/1.1\r\n" H "\r\n"),
	/* fields */
	ROW(BAD_REQUEST, "blank before the colon", GET H "A : b\r\n\r\n"),
	ROW(BAD_REQUEST, "tab before the colon", GET H "A\t: b\r\n\r\n"),
	ROW(BAD_REQUEST, "no colon", GET H "A\r\n\r\n"),
	ROW(BAD_REQUEST, "empty name", GET H ": b\r\n\r\n"),
	ROW(BAD_REQUEST, "folded field", GET H "A: b\r\n c\r\n\r\n"),
	ROW(BAD_REQUEST, "folded by a tab", GET H "A: b\r\n\tc\r\n\r\n"),
	ROW(BAD_REQUEST, "blank before the first field", GET " " H "\r\n"),
	ROW(BAD_REQUEST, "NUL in a name", GET H "A\0: b\r\n\r\n"),
	ROW(BAD_REQUEST, "NUL in a value", GET H "A: \0\r\n\r\n"),
	ROW(BAD_REQUEST, "CR in a value", GET H "A: b\rc\r\n\r\n"),
	ROW(BAD_REQUEST, "DEL in a value", GET H "A: \x7f\r\n\r\n"),
	ROW(BAD_REQUEST, "vertical tab before chunked",
	    POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n"),
	ROW(BAD_REQUEST, "byte above 127 in a name", GET H "\xc3\xa9: b\r\n\r\n"),
	ROW(BAD_REQUEST, "quote in a name", GET H "\"A\": b\r\n\r\n"),
	ROW(NONE, "UTF-8 in a value", GET H "A: \xc3\xa9\r\n\r\n"),
	ROW(BAD_REQUEST, "Latin-1 in a value", GET H "A: \xe9\r\n\r\n"),
	ROW(NONE, "empty value, tabs around a value", GET H "A:\r\nB: \t b c \t\r\n\r\n"),
	/* Host */
	ROW(BAD_REQUEST, "no Host", GET "\r\n"),
	ROW(BAD_REQUEST, "Host twice", GET H H "\r\n"),
	ROW(BAD_REQUEST, "Host twice, in another case", GET H "HOST: b\r\n\r\n"),
	ROW(BAD_REQUEST, "empty Host", GET "Host:\r\n\r\n"),
	ROW(BAD_REQUEST, "two hosts in Host", GET "Host: a, b\r\n\r\n"),
	ROW(BAD_REQUEST, "path in Host", GET "Host: a/b\r\n\r\n"),
	ROW(BAD_REQUEST, "user in Host", GET "Host: u@a\r\n\r\n"),
	ROW(BAD_REQUEST, "no number after the colon", GET "Host: a:\r\n\r\n"),
	ROW(BAD_REQUEST, "port beyond 65535", GET "Host: a:65536\r\n\r\n"),
	ROW(NONE, "port", GET "Host: a:65535\r\n\r\n"),
	ROW(NONE, "IPv6", GET "Host: [2001:db8::1]:80\r\n\r\n"),
	ROW(BAD_REQUEST, "no IPv6 in brackets", GET "Host: [a]\r\n\r\n"),
	ROW(BAD_REQUEST, "bracket not closed", GET "Host: [::1\r\n\r\n"),
	ROW(NONE, "HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n"),
	ROW(BAD_REQUEST, "HTTP/1.0 has at most one, too", "GET / HTTP/1.0\r\n" H H "\r\n"),
	/* length */
	ROW(NONE, "sized body", POST "Content-Length: 5\r\n\r\n"),
	ROW(BAD_REQUEST, "signed length", POST "Content-Length: +5\r\n\r\n"),
	ROW(BAD_REQUEST, "negative length", POST "Content-Length: -1\r\n\r\n"),
	ROW(BAD_REQUEST, "hexadecimal length", POST "Content-Length: 0x5\r\n\r\n"),
	ROW(BAD_REQUEST, "blank in the length", POST "Content-Length: 5 5\r\n\r\n"),
	ROW(BAD_REQUEST, "empty length", POST "Content-Length:\r\n\r\n"),
	ROW(BAD_REQUEST, "list of lengths", POST "Content-Length: 5, 5\r\n\r\n"),
	ROW(BAD_REQUEST, "length twice", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	ROW(BAD_REQUEST, "two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
	ROW(BAD_REQUEST, "length with a fraction", POST "Content-Length: 5.0\r\n\r\n"),
	/* transfer coding */
	ROW(NONE, "chunked", POST "Transfer-Encoding: chunked\r\n\r\n"),
	ROW(NONE, "chunked in another case", POST "transfer-encoding: CHUNKED\r\n\r\n"),
	ROW(BAD_REQUEST, "blank before its colon", POST "Transfer-Encoding : chunked\r\n\r\n"),
	ROW(BAD_REQUEST, "length and coding",
	    POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	ROW(BAD_REQUEST, "coding and length",
	    POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
	ROW(BAD_REQUEST, "length and an unknown coding",
	    POST "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\n"),
	ROW(BAD_REQUEST, "chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
	ROW(BAD_REQUEST, "two codings' fields",
	    POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"),
	ROW(BAD_REQUEST, "chunked not last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
	ROW(BAD_REQUEST, "empty coding", POST "Transfer-Encoding:\r\n\r\n"),
	ROW(BAD_REQUEST, "coding with a parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
	ROW(BAD_REQUEST, "quoted coding", POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
	ROW(BAD_REQUEST, "chunked with HTTP/1.0",
	    "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
	ROW(NOT_IMPLEMENTED, "gzip before chunked",
	    POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	ROW(NOT_IMPLEMENTED, "unknown coding", POST "Transfer-Encoding: xchunked\r\n\r\n"),
	ROW(NOT_IMPLEMENTED, "identity", POST "Transfer-Encoding: identity\r\n\r\n"),
	ROW(BAD_REQUEST, "what http-parser takes for it",
	    POST "Transfer-EncodingS: chunked\r\n\r\n"),
	ROW(NONE, "names that begin like others",
	    POST "Content-LengthS: 5\r\nHosts: b\r\nConnections: close\r\n\r\n"),
	/* expectations */
	ROW(NONE, "100-continue", POST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n"),
	ROW(EXPECTATION, "another expectation", POST "Expect: tea\r\nContent-Length: 5\r\n\r\n"),
	ROW(EXPECTATION, "two expectations",
	    POST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n"),
	ROW(NONE, "HTTP/1.0 cannot expect", "POST / HTTP/1.0\r\nExpect: tea\r\n\r\n"),
	/* what http-parser would stop at */
	ROW(NONE, "Upgrade",
	    POST "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n"),
	ROW(NONE, "Upgrade to HTTP/2",
	    GET H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
		  "HTTP2-Settings: AA\r\n\r\n"),
	/* junk */
	ROW(BAD_REQUEST, "TLS", "\x16\x03\x01\x02\r\n\r\n"),
	ROW(BAD_REQUEST, "nothing", "\r\n"),
};

/* -- http-parser, which has to agree ------------------------------------------- */

struct parsed {
	bool		head, complete;
	bool		chunked;
	uint64_t	length;
	unsigned	fields;
	char		body[256];
	size_t		body_len;
};

static int
on_field(http_parser *p, const char *at, size_t n)
{
	(void)at;
	(void)n;
	((struct parsed *)p->data)->fields++;
	return 0;
}

static int
on_head(http_parser *p)
{
	struct parsed *r = p->data;

	r->head = true;
	r->chunked = (p->flags & F_CHUNKED) != 0;
	r->length = p->content_length;
	p->upgrade = 0;
	return 0;
}

static int
on_body(http_parser *p, const char *at, size_t n)
{
	struct parsed *r = p->data;

	if (r->body_len + n > sizeof(r->body))
		return -1;
	memcpy(r->body + r->body_len, at, n);
	r->body_len += n;
	return 0;
}

static int
on_complete(http_parser *p)
{
	((struct parsed *)p->data)->complete = true;
	return 0;
}

static const http_parser_settings settings = {
	.on_header_field = on_field, .on_headers_complete = on_head, .on_body = on_body,
	.on_message_complete = on_complete
};

/* -- heads ------------------------------------------------------------------------ */

/* As the server does it: find the end, then check. */
static enum tn_fault
check(struct tn_str text, size_t step, struct sv_http_head *head)
{
	struct sv_http_scan scan = { 0 };
	enum tn_fault fault;
	size_t n, end = 0;

	memset(head, 0, sizeof(*head));
	for (n = step < text.len ? step : text.len;;
	     n = n + step < text.len ? n + step : text.len) {
		fault = sv_http_scan(&scan, (struct tn_str){ text.p, n }, &limits, &end);
		if (fault != TN_FAULT_NONE)
			return fault;
		if (end > 0)
			return sv_http_check_head((struct tn_str){ text.p, end }, &limits, head);
		if (n == text.len)
			return TN_FAULT_MAX;	/* it would wait for more */
	}
}

static void
test_heads(void **state)
{
	size_t i, step, bad = 0;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Whole, and byte by byte: where a packet ends means nothing. */
		for (step = 1; step <= rows[i].len; step += rows[i].len - 1) {
			struct sv_http_head head;
			enum tn_fault got =
			    check((struct tn_str){ rows[i].text, rows[i].len }, step, &head);

			/* "nothing" may wait */
			if (got == TN_FAULT_MAX && i == sizeof(rows) / sizeof(rows[0]) - 1)
				got = TN_FAULT_BAD_REQUEST;
			if (got != rows[i].fault) {
				print_error("%s: fault %d, not %d\n", rows[i].name, (int)got,
				    (int)rows[i].fault);
				bad++;
			}
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_parser_agrees(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sv_http_head head;
		struct parsed r = { 0 };
		http_parser p;

		if (rows[i].fault != TN_FAULT_NONE)
			continue;
		assert_int_equal(
		    check((struct tn_str){ rows[i].text, rows[i].len }, rows[i].len, &head), 0);
		http_parser_init(&p, HTTP_REQUEST);
		p.data = &r;
		assert_int_equal(
		    http_parser_execute(&p, &settings, rows[i].text, rows[i].len), rows[i].len);
		assert_true(r.head);
		assert_int_equal(r.fields, head.nheaders);
		assert_int_equal(r.chunked, head.chunked);
		if (head.sized)
			assert_int_equal(r.length, head.length);
		assert_int_equal(r.complete, !head.chunked && head.length == 0);
		assert_true(tn_str_is(head.method, http_method_str(p.method)));
	}
}

static void
test_head_facts(void **state)
{
	struct sv_http_head h;
	const char *text =
	    "POST http://A:80/b/c?d=e?f HTTP/1.1\r\nhost: a:80\r\nContent-Length: 0012\r\n"
	    "X-Request-Id: abc.DEF_1-2\r\nExpect: 100-continue\r\nConnection: x, Close\r\n\r\n";

	(void)state;
	assert_int_equal(check(tn_str(text), 1000, &h), 0);
	assert_true(tn_str_is(h.method, "POST"));
	assert_true(tn_str_is(h.target, "http://A:80/b/c?d=e?f"));
	assert_true(tn_str_is(h.host, "A:80"));
	assert_true(tn_str_is(h.path, "/b/c"));
	assert_true(tn_str_is(h.query, "d=e?f"));
	assert_true(tn_str_is(h.request_id, "abc.DEF_1-2"));
	assert_int_equal(h.length, 12);
	assert_int_equal(h.nheaders, 5);
	assert_true(h.sized && h.expect && !h.chunked && !h.keep_alive);
}

static void
test_keep_alive(void **state)
{
	static const struct { const char *text; bool keep; } t[] = {
		{ GET H "\r\n", true },
		{ GET H "Connection: close\r\n\r\n", false },
		{ GET H "Connection: keep-alive\r\nConnection: close\r\n\r\n", false },
		{ GET H "Connection: closed\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false },
	};
	struct sv_http_head h;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(check(tn_str(t[i].text), 1000, &h), 0);
		assert_int_equal(h.keep_alive, t[i].keep);
	}
}

static void
test_request_ids(void **state)
{
	static const struct {
		const char *fields, *id;
	} t[] = {
		{ "X-Request-Id: a\r\n", "a" },
		{ "X-Request-Id: a b\r\n", "" },
		{ "X-Request-Id: \xc3\xa9\r\n", "" },
		{ "X-Request-Id: a\r\nX-Request-Id: b\r\n", "" },
		{ "X-Request-Id: " L64 "\r\n", L64 },
		{ "X-Request-Id: " L64 "5\r\n", "" },
	};
	struct sv_http_head h;
	char text[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(text, sizeof(text), GET H "%s\r\n", t[i].fields);
		assert_int_equal(check(tn_str(text), 1000, &h), 0);
		assert_true(tn_str_is(h.request_id, t[i].id));
	}
}

static void
test_huge_length(void **state)
{
	static const char *const values[] = {
		"18446744073709551615", "18446744073709551616", "99999999999999999999999999999"
	};
	struct sv_http_head h;
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(text, sizeof(text), POST "Content-Length: %s\r\n\r\n", values[i]);
		assert_int_equal(check(tn_str(text), 1000, &h), 0);
		/* Never a small number by overflow. */
		assert_true(h.length > UINT64_MAX / 20);
	}
}

static void
test_limits(void **state)
{
	struct sv_http_head h;
	struct tn_buf b = { 0 };
	size_t i;

	(void)state;
	/* target: 256 bytes pass, 257 do not */
	for (i = 256; i <= 257; i++) {
		tn_buf_reset(&b);
		tn_buf_printf(&b, "GET /%0*d HTTP/1.1\r\n" H "\r\n", (int)i - 1, 1);
		assert_int_equal(check((struct tn_str){ b.p, b.len }, 4096, &h),
		    i == 256 ? TN_FAULT_NONE : TN_FAULT_TARGET_SIZE);
		assert_int_equal(check((struct tn_str){ b.p, b.len }, 1, &h),
		    i == 256 ? TN_FAULT_NONE : TN_FAULT_TARGET_SIZE);
	}
	/* a target without an end */
	tn_buf_reset(&b);
	tn_buf_printf(&b, "GET /%02000d", 1);
	assert_int_equal(check((struct tn_str){ b.p, b.len }, 4096, &h), TN_FAULT_TARGET_SIZE);
	assert_int_equal(check((struct tn_str){ b.p, b.len }, 1, &h), TN_FAULT_TARGET_SIZE);
	/* a method without an end */
	tn_buf_reset(&b);
	tn_buf_printf(&b, "%0200d", 1);
	assert_int_equal(check((struct tn_str){ b.p, b.len }, 1, &h), TN_FAULT_BAD_REQUEST);
	/* head: 1024 bytes pass, 1025 do not, nor does one without an end */
	for (i = 1024; i <= 1025; i++) {
		tn_buf_reset(&b);
		tn_buf_puts(&b, GET H);
		tn_buf_printf(&b, "A: %0*d\r\n\r\n", (int)(i - b.len) - 7, 1);
		assert_int_equal(b.len, i);
		assert_int_equal(check((struct tn_str){ b.p, b.len }, 4096, &h),
		    i == 1024 ? TN_FAULT_NONE : TN_FAULT_HEADER_SIZE);
		assert_int_equal(check((struct tn_str){ b.p, b.len }, 1, &h),
		    i == 1024 ? TN_FAULT_NONE : TN_FAULT_HEADER_SIZE);
	}
	assert_int_equal(check((struct tn_str){ b.p, b.len - 4 }, 1, &h), TN_FAULT_MAX);
	/* number of fields */
	for (i = SV_HTTP_HEADERS_MAX; i <= SV_HTTP_HEADERS_MAX + 1; i++) {
		size_t j;

		tn_buf_reset(&b);
		tn_buf_puts(&b, GET H);
		for (j = 1; j < i; j++)
			tn_buf_puts(&b, "A:\r\n");
		tn_buf_puts(&b, "\r\n");
		assert_int_equal(check((struct tn_str){ b.p, b.len }, 4096, &h),
		    i == SV_HTTP_HEADERS_MAX ? TN_FAULT_NONE : TN_FAULT_HEADER_SIZE);
	}
	tn_buf_fini(&b);
}

/* -- chunks ---------------------------------------------------------------------------- */

struct chunk_row {
	const char	*name;
	enum tn_fault	 fault;	/* MAX: waits for more */
	const char	*text;
	size_t		 len;
	const char	*body;
	size_t		 left;	/* bytes after its end */
};
#define CROW(fault, name, text, body, left) \
	{ name, TN_FAULT_##fault, text, sizeof(text) - 1, body, left }

static const struct chunk_row chunk_rows[] = {
	CROW(NONE, "one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", 0),
	CROW(NONE, "nothing", "0\r\n\r\n", "", 0),
	CROW(NONE, "two chunks, and the next request",
	    "3\r\nabc\r\n0000A\r\n0123456789\r\n0\r\n\r\nGET", "abc0123456789", 3),
	CROW(NONE, "extensions", "1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n", "x", 0),
	CROW(NONE, "trailers", "1\r\nx\r\n0\r\nA: b\r\nLong-Name-Of-More-Than-20-Bytes:\r\n\r\n!",
	    "x", 1),
	CROW(BAD_REQUEST, "LF alone after the size", "5\nhello\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "LF alone after the data", "5\r\nhello\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "CR alone after the size", "5\rhello", "", 0),
	CROW(BAD_REQUEST, "more data than said", "5\r\nhello!\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "no size", "\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "extension without a size", ";a\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "signed size", "+5\r\nhello\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "negative size", "-5\r\nhello\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "blank before the size", " 5\r\nhello\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "blank after the size", "5 \r\nhello\r\n0\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "no hexadecimal digit", "g\r\n", "", 0),
	CROW(BAD_REQUEST, "LF in an extension", "5;a\nb\r\nhello\r\n", "", 0),
	CROW(BAD_REQUEST, "NUL in an extension", "5;\0\r\nhello\r\n", "", 0),
	CROW(BAD_REQUEST, "seventeen digits", "00000000000000005\r\nhello\r\n", "", 0),
	CROW(BODY_SIZE, "the greatest size there is", "ffffffffffffffff\r\n", "", 0),
	CROW(BODY_SIZE, "one byte too many", "65\r\n", "", 0),
	CROW(BODY_SIZE, "sizes that add up to too much", "3\r\nabc\r\n62\r\n", "", 0),
	CROW(BODY_SIZE, "sizes that add up to an overflow", "3\r\nabc\r\nfffffffffffffffe\r\n", "",
	    0),
	CROW(BAD_REQUEST, "length in the trailers", "0\r\nContent-Length: 5\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "coding in the trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "",
	    0),
	CROW(BAD_REQUEST, "host in the trailers", "0\r\nhOST: b\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "blank before a trailer's colon", "0\r\nA : b\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "", 0),
	CROW(BAD_REQUEST, "LF alone ends a trailer", "0\r\nA: b\n\r\n", "", 0),
	CROW(BAD_REQUEST, "LF alone ends the trailers", "0\r\n\n", "", 0),
	CROW(BAD_REQUEST, "request in place of a trailer", "0\r\nGET / HTTP/1.1\r\n\r\n", "", 0),
	CROW(HEADER_SIZE, "trailers without an end",
	    "0\r\nA: 01234567890123456789012345678901234567890123456789\r\n\r\n", "", 0),
	CROW(MAX, "the end is missing", "1\r\nx\r\n0\r\n", "x", 0),
};

static enum tn_fault
check_chunks(const struct chunk_row *row, size_t step, struct parsed *r)
{
	static const char head[] = POST "Transfer-Encoding: chunked\r\n\r\n";
	struct sv_http_chunks k = { .body_max = 100, .trailer_max = 48 };
	enum tn_fault fault;
	size_t i, n, used, feed;
	http_parser p;

	memset(r, 0, sizeof(*r));
	http_parser_init(&p, HTTP_REQUEST);
	p.data = r;
	http_parser_execute(&p, &settings, head, sizeof(head) - 1);
	for (i = 0; i < row->len && !k.done; i += used) {
		n = row->len - i < step ? row->len - i : step;
		fault = sv_http_check_chunks(&k, (struct tn_str){ row->text + i, n }, &used, &feed);
		if (fault != TN_FAULT_NONE)
			return fault;
		assert_true(feed <= used && used <= n);
		assert_true(k.done || used == n);
		if (feed > 0)
			assert_int_equal(
			    http_parser_execute(&p, &settings, row->text + i, feed), feed);
		assert_false(r->complete);
	}
	if (!k.done)
		return TN_FAULT_MAX;
	assert_int_equal(http_parser_execute(&p, &settings, "\r\n", 2), 2);
	assert_true(r->complete);
	assert_int_equal(row->len - i, row->left);
	return TN_FAULT_NONE;
}

static void
test_chunks(void **state)
{
	size_t i, step, bad = 0;

	(void)state;
	for (i = 0; i < sizeof(chunk_rows) / sizeof(chunk_rows[0]); i++) {
		for (step = 1; step <= 64; step += 7) {
			const struct chunk_row *row = &chunk_rows[i];
			struct parsed r;
			enum tn_fault got = check_chunks(row, step, &r);

			if (got != row->fault ||
			    (got == TN_FAULT_NONE &&
				(r.body_len != strlen(row->body) ||
				    memcmp(r.body, row->body, r.body_len) != 0))) {
				print_error(
				    "%s: fault %d, not %d\n", row->name, (int)got, (int)row->fault);
				bad++;
			}
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_chunk_extensions_are_bounded(void **state)
{
	struct sv_http_chunks k = { .body_max = 1 << 20, .trailer_max = 48 };
	enum tn_fault fault = TN_FAULT_NONE;
	size_t used, feed, i;

	(void)state;
	/* One byte of data a chunk, and ever more extensions. */
	for (i = 0; i < 1000 && fault == TN_FAULT_NONE; i++)
		fault = sv_http_check_chunks(&k, TN_STR("1;0123456789\r\nx\r\n"), &used, &feed);
	assert_int_equal(fault, TN_FAULT_BAD_REQUEST);
	assert_true(i > 100);
}

static void
test_host_names(void **state)
{
	static const char *const good[] = { "a", "a.b-c_d", "1.2.3.4:80", "[::1]",
		"[::ffff:1.2.3.4]:1" };
	static const char *const bad[] = { "", ":80", "a b", "a:8a", "a:999999", "[::1", "[::1]x",
		"[::1]:", "[]", "a..b/", "a%20", "[fe80::1%1]" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(sv_http_host_ok(tn_str(good[i])));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(sv_http_host_ok(tn_str(bad[i])));
	assert_false(sv_http_host_ok((struct tn_str){ "[::1\0]", 6 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_parser_agrees),
		cmocka_unit_test(test_head_facts),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_request_ids),
		cmocka_unit_test(test_huge_length),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_chunk_extensions_are_bounded),
		cmocka_unit_test(test_host_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
