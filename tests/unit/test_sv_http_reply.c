/*
 * test_sv_http_reply.c - what a contract wants sent cannot break out of its place.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_http_reply.h"

static const struct sv_http_answer plain = {
	.minor = 1, .cors = true, .reply_max = 1000, .request_id = "id-1"
};

static struct tn_buf out;
static struct tn_str body;
static const char *why;

static int
teardown(void **state)
{
	(void)state;
	tn_buf_fini(&out);
	out = (struct tn_buf){ 0 };
	return 0;
}

static enum tn_fault
reply(const struct sv_http_answer *a, int status, const struct tn_str *fields, size_t n)
{
	struct sv_reply r = {
		.status = status, .headers = { fields, n }, .body = TN_STR("text")
	};
	enum tn_fault fault;

	tn_buf_reset(&out);
	fault = sv_http_reply(&out, a, &r, &body, &why);
	tn_buf_append(&out, "", 1);
	return fault;
}

/* How often is the line there? */
static unsigned
lines(const char *line)
{
	char text[200];
	const char *p = out.p;
	unsigned n = 0;

	snprintf(text, sizeof(text), "\r\n%s\r\n", line);
	for (; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

static void
test_plain(void **state)
{
	static const struct tn_str f[] = {
		TN_STR("Content-Type"), TN_STR("text/plain"), TN_STR("Set-Cookie"), TN_STR("a=1"),
		TN_STR("Set-Cookie"), TN_STR("b=2")
	};

	(void)state;
	assert_int_equal(reply(&plain, 200, f, 6), 0);
	assert_memory_equal(out.p, "HTTP/1.1 200 OK\r\n", 17);
	assert_string_equal(out.p + out.len - 5, "\r\n\r\n");
	assert_int_equal(lines("Content-Type: text/plain"), 1);
	assert_int_equal(lines("Content-Length: 4"), 1);
	assert_int_equal(lines("X-Request-Id: id-1"), 1);
	assert_int_equal(lines("Access-Control-Allow-Origin: *"), 1);
	assert_int_equal(lines("Set-Cookie: a=1"), 1);
	assert_int_equal(lines("Set-Cookie: b=2"), 1);
	assert_null(strstr(out.p, "Connection"));
	assert_true(tn_str_is(body, "text"));
}

static void
test_framing_is_not_the_contracts(void **state)
{
	static const char *const names[] = {
		"Content-Length",
		"content-length",
		"Transfer-Encoding",
		"Connection",
		"Keep-Alive",
		"Upgrade",
		"Trailer",
		"TE",
		"Proxy-Connection",
		"Date",
		"X-Request-Id",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct tn_str f[] = { tn_str(names[i]), TN_STR("sentinel") };

		assert_int_equal(reply(&plain, 200, f, 2), 0);
		assert_null(strstr(out.p, "sentinel"));
	}
}

static void
test_hostile_fields(void **state)
{
	static const struct tn_str bad[][2] = {
		{ TN_STR("A"), TN_STR("b\r\nSet-Cookie: x=y") },
		{ TN_STR("A"), TN_STR("b\nc") },
		{ TN_STR("A"), TN_STR("b\rc") },
		{ TN_STR("A"), TN_STR("b\0c") },
		{ TN_STR("A"), TN_STR("\x1b[2J") },
		{ TN_STR("A"), TN_STR("\xff") },
		{ TN_STR("A\r\nB"), TN_STR("c") },
		{ TN_STR("A: b"), TN_STR("c") },
		{ TN_STR("A "), TN_STR("c") },
		{ TN_STR(""), TN_STR("c") },
		{ TN_STR("\xc3\xa9"), TN_STR("c") },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(reply(&plain, 200, bad[i], 2), TN_FAULT_RESULT);
		assert_int_equal(out.len, 1);
		assert_non_null(why);
	}
	/* a name without a value, even of one that is dropped */
	assert_int_equal(reply(&plain, 200, bad[0], 1), TN_FAULT_RESULT);
}

static void
test_too_many_fields(void **state)
{
	static struct tn_str f[520], big[2];
	char *p = malloc(70000);
	size_t i;

	(void)state;
	for (i = 0; i < 520; i++)
		f[i] = TN_STR("a");
	assert_int_equal(reply(&plain, 200, f, 512), 0);
	assert_int_equal(reply(&plain, 200, f, 514), TN_FAULT_RESULT);
	big[0] = TN_STR("a");
	big[1] = (struct tn_str){ memset(p, 'x', 70000), 70000 };
	assert_int_equal(reply(&plain, 200, big, 2), TN_FAULT_RESULT);
	free(p);
}

static void
test_status(void **state)
{
	static const int bad[] = { -1, 0, 99, 100, 101, 103, 199, 600, 999, 65536 + 200 };
	static const int empty[] = { 204, 205, 304 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(reply(&plain, bad[i], NULL, 0), TN_FAULT_RESULT);
	for (i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		assert_int_equal(reply(&plain, empty[i], NULL, 0), 0);
		assert_int_equal(body.len, 0);
		assert_int_equal(strstr(out.p, "Content-Length") != NULL, empty[i] == 205);
	}
	assert_int_equal(lines("Content-Length: 0"), 0);
	assert_int_equal(reply(&plain, 599, NULL, 0), 0);
	assert_memory_equal(out.p, "HTTP/1.1 599 \r\n", 15);
}

static void
test_head_has_the_length_but_no_body(void **state)
{
	struct sv_http_answer a = plain;

	(void)state;
	a.head = true;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	assert_int_equal(lines("Content-Length: 4"), 1);
	assert_int_equal(body.len, 0);
}

static void
test_cors(void **state)
{
	static const struct tn_str f[] = { TN_STR("ACCESS-Control-Allow-Origin"),
		TN_STR("https://a") };
	struct sv_http_answer a = plain;

	(void)state;
	assert_int_equal(reply(&a, 200, f, 2), 0);
	assert_null(strstr(out.p, "Allow-Origin: *"));
	a.cors = false;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	assert_null(strstr(out.p, "Allow-Origin"));
}

static void
test_connection(void **state)
{
	struct sv_http_answer a = plain;

	(void)state;
	a.close = true;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	assert_int_equal(lines("Connection: close"), 1);
	a.close = false;
	a.minor = 0;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	assert_int_equal(lines("Connection: keep-alive"), 1);
}

static void
test_reply_max(void **state)
{
	struct sv_http_answer a = plain;

	(void)state;
	a.reply_max = 4;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	a.reply_max = 3;
	assert_int_equal(reply(&a, 200, NULL, 0), TN_FAULT_REPLY_SIZE);
}

static void
test_server_timing(void **state)
{
	struct sv_timings t = { .queue = 12, .execution = 1234567, .total = 1300001 };
	struct sv_http_answer a = plain;

	(void)state;
	a.timings = &t;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	assert_null(strstr(out.p, "Server-Timing"));
	a.server_timing = true;
	assert_int_equal(reply(&a, 200, NULL, 0), 0);
	assert_int_equal(lines("Server-Timing: queue;dur=0.012, heap;dur=0.000, compile;dur=0.000, "
	    "bootstrap;dur=0.000, exec;dur=1234.567, result;dur=0.000, total;dur=1300.001"), 1);
}

static void
test_every_fault(void **state)
{
	struct sv_reply r = {
		.allow = TN_STR("GET"), .retry_after = 7, .message = TN_STR("secret")
	};
	unsigned f;

	(void)state;
	for (f = 1; f < TN_FAULT_MAX; f++) {
		const struct tn_fault_info *info = tn_fault_info(f);
		const char *p;
		char text[300];

		tn_buf_reset(&out);
		sv_http_reply_fault(&out, &plain, (enum tn_fault)f, &r);
		tn_buf_append(&out, "", 1);
		snprintf(text, sizeof(text), "HTTP/1.1 %d ", info->status);
		assert_memory_equal(out.p, text, strlen(text));
		assert_non_null(p = strstr(out.p, "\r\n\r\n"));
		snprintf(text, sizeof(text),
		    "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"requestId\":\"id-1\"}}\n",
		    info->code, info->message);
		assert_string_equal(p + 4, text);
		snprintf(text, sizeof(text), "Content-Length: %zu", strlen(p + 4));
		assert_int_equal(lines(text), 1);
		assert_int_equal(lines("Content-Type: application/json"), 1);
		assert_int_equal(lines("Allow: GET"), info->status == 405);
		assert_int_equal(lines("Retry-After: 7"), info->status == 503);
		assert_null(strstr(out.p, "secret"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_plain, teardown),
		cmocka_unit_test_teardown(test_framing_is_not_the_contracts, teardown),
		cmocka_unit_test_teardown(test_hostile_fields, teardown),
		cmocka_unit_test_teardown(test_too_many_fields, teardown),
		cmocka_unit_test_teardown(test_status, teardown),
		cmocka_unit_test_teardown(test_head_has_the_length_but_no_body, teardown),
		cmocka_unit_test_teardown(test_cors, teardown),
		cmocka_unit_test_teardown(test_connection, teardown),
		cmocka_unit_test_teardown(test_reply_max, teardown),
		cmocka_unit_test_teardown(test_server_timing, teardown),
		cmocka_unit_test_teardown(test_every_fault, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
