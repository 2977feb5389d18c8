/*
 * A client program's call: what is wrong is named, what HTTP has an answer for is
 * left to that, and what a contract gets is all in the request.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sv_invoke.h"
#include "tn_err.h"
#include "tn_log.h"
#include "tn_rpc.h"

static struct tn_options *opt;

/* The array of parameters, of bytes in MessagePack. */
static const msgpack_object *
unpack(msgpack_unpacked *m, const char *bytes, size_t len)
{
	size_t off = 0;

	msgpack_unpacked_init(m);
	assert_int_equal(msgpack_unpack_next(m, bytes, len, &off), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(off, len);
	assert_int_equal(m->data.type, MSGPACK_OBJECT_ARRAY);
	return &m->data;
}

static int
parse(const char *bytes, size_t len, struct sv_request **rq, enum tn_fault *fault,
    struct tn_buf *err)
{
	msgpack_unpacked m;
	int rc = sv_invoke_parse(unpack(&m, bytes, len), opt, rq, fault, err);

	/* Nothing of the request may live in the message. */
	msgpack_unpacked_destroy(&m);
	return rc;
}

#define LIT(s)	s, sizeof(s) - 1
#define C	"\xa8" "contract" "\xa1" "c"

static void
wrong_calls_are_named(void **state)
{
	static const struct {
		const char	*bytes;
		size_t		 len;
		const char	*words;
	} cases[] = {
		{ LIT("\x90"), "one map" },
		{ LIT("\x91\x90"), "one map" },
		{ LIT("\x92\x80\x80"), "one map" },
		{ LIT("\x91\x80"), "contract is missing" },
		{ LIT("\x91\x81" "\xa8" "contract" "\xc0"), "contract is missing" },
		{ LIT("\x91\x81" "\xa8" "contract" "\x01"), "contract is not a text" },
		{ LIT("\x91\x81" "\xa8" "contract" "\xc4\x01" "c"), "contract is not a text" },
		{ LIT("\x91\x81" "\xc4\x08" "contract" "\xa1" "c"), "name is not a text" },
		{ LIT("\x91\x82" C C), "contract is given twice" },
		{ LIT("\x91\x82" C "\xa5" "paths" "\xa1/"), "unknown field \"paths\"" },
		{ LIT("\x91\x82" C "\xa7" "version" "\x01"), "unknown field \"version\"" },
		{ LIT("\x91\x82" C "\xa0\x01"), "unknown field \"\"" },
		{ LIT("\x91\x82" C "\xa2\x1b[\x01"), "unknown field \"\\u001b[\"" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa3" "put"), "function is none of" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa4" "get\0"), "function is none of" },
		{ LIT("\x91\x82" C "\xa6" "method" "\xa0"), "method" },
		{ LIT("\x91\x82" C "\xa6" "method" "\xa4" "GET "), "method" },
		{ LIT("\x91\x82" C "\xa4" "path" "\xa0"), "path does not begin" },
		{ LIT("\x91\x82" C "\xa4" "path" "\xa1" "a"), "path does not begin" },
		{ LIT("\x91\x82" C "\xa4" "path" "\xa2" "/\0"), "path has characters" },
		{ LIT("\x91\x82" C "\xa4" "path" "\xa2" "/ "), "path has characters" },
		{ LIT("\x91\x82" C "\xa4" "path" "\xa3" "/.."), "path has characters" },
		{ LIT("\x91\x82" C "\xa4" "path" "\xa4" "/%00"), "path has characters" },
		{ LIT("\x91\x82" C "\xa5" "query" "\xa1" "\n"), "query has characters" },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x01"), "headers is neither" },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x91\x91\xa1x"), "pair" },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x81\xa1:\xa1y"), "is no name" },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x81\xa1x\xa1\n"), "the value of x" },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x81\xa1x\xa1\xff"), "the value of x" },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x81\xa4Host\xa3" "a b"), "host" },
		{ LIT("\x91\x82" C "\xa4" "body" "\x80"), "body" },
		{ LIT("\x91\x82" C "\xa5" "block" "\xa0"), "block is not a map" },
		{ LIT("\x91\x82" C "\xa5" "block" "\x81\x01\x01"), "block has a map with a key" },
		{ LIT("\x91\x82" C "\xa6" "caller" "\xa1\xff"), "caller has a text" },
		{ LIT("\x91\x82" C "\xa6" "caller" "\xc4\x00"), "caller has bytes" },
		{ LIT("\x91\x82" C "\xa5" "input" "\x91\xcb\x7f\xf0\0\0\0\0\0\0"), "input has a number" },
	};
	enum tn_fault fault;
	struct sv_request *rq;
	struct tn_buf err = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tn_buf_reset(&err);
		if (parse(cases[i].bytes, cases[i].len, &rq, &fault, &err) != TN_EINVAL)
			fail_msg("case %zu (%s) is taken", i, cases[i].words);
		assert_null(rq);
		tn_buf_append(&err, "", 1);
		if (strstr(err.p, cases[i].words) == NULL)
			fail_msg("case %zu: \"%s\" is not in \"%s\"", i, cases[i].words, err.p);
		assert_null(strpbrk(err.p, "\n\r\x1b"));
	}
	tn_buf_fini(&err);
}

static void
what_http_has_an_answer_for_is_answered_so(void **state)
{
	static const struct {
		const char	*bytes;
		size_t		 len;
		enum tn_fault	 fault;
	} cases[] = {
		{ LIT("\x91\x81" C), TN_FAULT_NONE },
		{ LIT("\x91\x81" "\xa8" "contract" "\xa0"), TN_FAULT_NOT_FOUND },
		{ LIT("\x91\x81" "\xa8" "contract" "\xa2" "c/"), TN_FAULT_NOT_FOUND },
		{ LIT("\x91\x81" "\xa8" "contract" "\xa2" "c\0"), TN_FAULT_NOT_FOUND },
		{ LIT("\x91\x82" C "\xa6" "method" "\xa3" "GOT"), TN_FAULT_NOT_IMPLEMENTED },
		{ LIT("\x91\x82" C "\xa6" "method" "\xa7" "CONNECT"), TN_FAULT_NOT_IMPLEMENTED },
		{ LIT("\x91\x82" C "\xa4" "body" "\xa9" "123456789"), TN_FAULT_BODY_SIZE },
		{ LIT("\x91\x82" C "\xa4" "body" "\xc4\x08" "12345678"), TN_FAULT_NONE },
		{ LIT("\x91\x82" C "\xa4" "path" "\xb0" "/23456789012345"  "6"), TN_FAULT_TARGET_SIZE },
		{ LIT("\x91\x82" C "\xa4" "path" "\xaf" "/23456789012345"), TN_FAULT_NONE },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x81\xa8" "12345678" "\xa5" "12345"),
		    TN_FAULT_HEADER_SIZE },
		{ LIT("\x91\x82" C "\xa7" "headers" "\x81\xa8" "12345678" "\xa4" "1234"),
		    TN_FAULT_NONE },
	};
	struct tn_options narrow = *opt, *was = opt;
	enum tn_fault fault;
	struct sv_request *rq;
	struct tn_buf err = { 0 };
	size_t i;

	(void)state;
	narrow.body_max = 8;
	narrow.target_max = 16;
	narrow.header_max = 16;
	opt = &narrow;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].bytes, cases[i].len, &rq, &fault, &err), TN_OK);
		assert_non_null(rq);
		if (fault != cases[i].fault)
			fail_msg("case %zu: %s", i, tn_fault_info(fault)->name);
		assert_true(strlen(rq->request_id) == 32);
		sv_request_free(&rq);
	}
	assert_int_equal(err.len, 0);
	opt = was;
}

#define EQ(s, lit) assert_true(tn_str_eq(s, TN_STR(lit)))

static void
the_request_has_all_of_it(void **state)
{
	enum tn_fault fault;
	struct sv_request *rq;
	struct tn_buf err = { 0 };

	(void)state;
	assert_int_equal(parse(LIT("\x91\x8a" C
	    "\xa8" "function" "\xa8" "contract"
	    "\xa6" "method" "\xa3" "PUT"
	    "\xa4" "path" "\xa4" "/a/b"
	    "\xa5" "query" "\xa3" "x=1"
	    "\xa7" "headers" "\x96"
		"\x92\xa4" "HOST" "\xa1" "h"
		"\x92\xa3" "X-Y" "\xa1" "Z"
		"\x92\xa3" "x-y" "\xa0"
		"\x92\xae" "Content-Length" "\xa1" "7"
		"\x92\xa7" "upgrade" "\xa1" "a"
		"\x92\xac" "x-request-id" "\xa2" "me"
	    "\xa4" "body" "\xc4\x02\x00\xff"
	    "\xa6" "caller" "\xa1" "\""
	    "\xa5" "block" "\x81\xa6" "height" "\x07"
	    "\xa5" "input" "\xc0"), &rq, &fault, &err), TN_OK);
	assert_int_equal(fault, TN_FAULT_NONE);
	assert_string_equal(rq->contract, "c");
	assert_string_equal(rq->wanted, "contract");
	assert_string_equal(rq->request_id, "me");
	EQ(rq->method, "PUT");
	EQ(rq->url, "http://h/a/b?x=1");
	EQ(rq->path, "/a/b");
	EQ(rq->query, "x=1");
	EQ(rq->ip, "unix");
	assert_int_equal(rq->nheaders, 8);
	EQ(rq->headers[0], "host");
	EQ(rq->headers[2], "x-y");
	EQ(rq->headers[3], "Z");
	EQ(rq->headers[5], "");
	EQ(rq->headers[6], "x-request-id");
	assert_int_equal(rq->body.len, 2);
	assert_memory_equal(rq->body.p, "\x00\xff", 2);
	EQ(rq->caller, "\"\\\"\"");
	EQ(rq->block, "{\"height\":7}");
	EQ(rq->input, "null");
	sv_request_free(&rq);
}

static void
what_is_not_said_has_defaults(void **state)
{
	static const struct {
		const char	*bytes;
		size_t		 len;
		const char	*method;
	} cases[] = {
		{ LIT("\x91\x81" C), "GET" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa3" "get"), "GET" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa5" "fetch"), "GET" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa4" "post"), "POST" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa4" "init"), "POST" },
		{ LIT("\x91\x82" C "\xa8" "function" "\xa8" "contract"), "POST" },
		{ LIT("\x91\x83" C "\xa6" "method" "\xa4" "HEAD" "\xa8" "function" "\xa4" "post"), "HEAD" },
	};
	enum tn_fault fault;
	struct sv_request *rq;
	struct tn_buf err = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].bytes, cases[i].len, &rq, &fault, &err), TN_OK);
		assert_true(tn_str_is(rq->method, cases[i].method));
		EQ(rq->url, "http://localhost/");
		EQ(rq->path, "/");
		assert_int_equal(rq->nheaders + rq->query.len + rq->body.len, 0);
		assert_int_equal(rq->block.len + rq->caller.len + rq->input.len, 0);
		sv_request_free(&rq);
	}
}

static void
values_become_json(void **state)
{
	static const struct {
		const char	*bytes;
		size_t		 len;
		const char	*json;		/* NULL: it cannot be */
	} cases[] = {
		{ LIT("\x91\xc0"), "null" },
		{ LIT("\x91\xc2"), "false" },
		{ LIT("\x91\xc3"), "true" },
		{ LIT("\x91\x00"), "0" },
		{ LIT("\x91\xff"), "-1" },
		{ LIT("\x91\xcf\x00\x20\0\0\0\0\0\0"), "9007199254740992" },
		{ LIT("\x91\xcf\x00\x20\0\0\0\0\0\x01"), NULL },
		{ LIT("\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), NULL },
		{ LIT("\x91\xd3\xff\xe0\0\0\0\0\0\0"), "-9007199254740992" },
		{ LIT("\x91\xd3\x80\0\0\0\0\0\0\0"), NULL },
		{ LIT("\x91\xcb\x3f\xf8\0\0\0\0\0\0"), "1.5" },
		{ LIT("\x91\xca\x3f\x80\0\0"), "1" },
		{ LIT("\x91\xca\x7f\xc0\0\0"), NULL },
		{ LIT("\x91\xcb\xff\xf0\0\0\0\0\0\0"), NULL },
		{ LIT("\x91\xa0"), "\"\"" },
		{ LIT("\x91\xa2\"\n"), "\"\\\"\\n\"" },
		{ LIT("\x91\xa1\0"), "\"\\u0000\"" },
		{ LIT("\x91\xa2\xc3\xa4"), "\"\xc3\xa4\"" },
		{ LIT("\x91\xa2\xc3\x28"), NULL },
		{ LIT("\x91\xa3\xed\xa0\x80"), NULL },
		{ LIT("\x91\xc4\x01x"), NULL },
		{ LIT("\x91\x90"), "[]" },
		{ LIT("\x91\x92\x01\x91\x02"), "[1,[2]]" },
		{ LIT("\x91\x80"), "{}" },
		{ LIT("\x91\x82\xa1" "a\x01\xa1" "b\x80"), "{\"a\":1,\"b\":{}}" },
		{ LIT("\x91\x81\xc0\x01"), NULL },
		{ LIT("\x91\x81\xa1\xff\x01"), NULL },
	};
	msgpack_unpacked m;
	struct tn_buf out = { 0 };
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const msgpack_object *o = unpack(&m, cases[i].bytes, cases[i].len);

		tn_buf_reset(&out);
		why = sv_invoke_json(&o->via.array.ptr[0], 64, &out);
		if ((why == NULL) != (cases[i].json != NULL))
			fail_msg("case %zu: %s", i, why != NULL ? why : "it is taken");
		if (why == NULL && !tn_str_is((struct tn_str){ out.p, out.len }, cases[i].json))
			fail_msg("case %zu: %.*s", i, (int)out.len, out.p);
		msgpack_unpacked_destroy(&m);
	}
	tn_buf_fini(&out);
}

static void
json_is_bounded(void **state)
{
	msgpack_unpacked m;
	const msgpack_object *o = unpack(&m, LIT("\x91\xa8" "12345678"));
	struct tn_buf out = { 0 };

	(void)state;
	assert_null(sv_invoke_json(&o->via.array.ptr[0], 10, &out));
	tn_buf_fini(&out);
	assert_string_equal(sv_invoke_json(&o->via.array.ptr[0], 9, &out), "is too large");
	tn_buf_fini(&out);
	msgpack_unpacked_destroy(&m);
}

/* -- the result ---------------------------------------------------------------------- */

static const msgpack_object *
get(const msgpack_object *map, const char *key)
{
	uint32_t i;

	for (i = 0; i < map->via.map.size; i++)
		if (tn_str_is((struct tn_str){ map->via.map.ptr[i].key.via.str.ptr,
		    map->via.map.ptr[i].key.via.str.size }, key))
			return &map->via.map.ptr[i].val;
	fail_msg("no %s", key);
	return NULL;
}

static struct tn_str
text(const msgpack_object *o)
{
	return (struct tn_str){ o->via.str.ptr, o->via.str.size };
}

struct result {
	struct tn_buf	 out;
	msgpack_unpacked m;
	enum tn_fault	 fault;
	int		 status;
	struct tn_str	 body;
	const msgpack_object_array *headers;
};

static void
pack(struct result *r, const struct sv_request *rq, const struct sv_reply *reply)
{
	msgpack_packer pk;
	size_t off = 0;

	*r = (struct result){ .fault = TN_FAULT_NONE };
	tn_rpc_packer(&pk, &r->out);
	r->status = sv_invoke_pack(&pk, rq, reply, 100, &r->fault);
	msgpack_unpacked_init(&r->m);
	assert_int_equal(msgpack_unpack_next(&r->m, r->out.p, r->out.len, &off),
	    MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(off, r->out.len);
	assert_int_equal(r->m.data.via.map.size, 5);
	assert_int_equal(get(&r->m.data, "status")->via.u64, (uint64_t)r->status);
	assert_int_equal(get(&r->m.data, "body")->type, MSGPACK_OBJECT_BIN);
	r->body = text(get(&r->m.data, "body"));
	r->headers = &get(&r->m.data, "headers")->via.array;
	assert_int_equal(get(get(&r->m.data, "timings"), "exec")->via.u64, rq->timings.execution);
	assert_true(tn_str_is(text(get(&r->m.data, "request_id")), rq->request_id));
}

static void
done(struct result *r)
{
	msgpack_unpacked_destroy(&r->m);
	tn_buf_fini(&r->out);
}

static struct sv_request *
request(const char *method)
{
	struct sv_request *rq = sv_request_new();

	assert_non_null(rq);
	strcpy(rq->request_id, "id-1");
	rq->method = tn_str(method);
	rq->timings.execution = 77;
	return rq;
}

static void
replies_are_sent_as_they_are_but_for_what_is_ours(void **state)
{
	struct tn_str h[] = { TN_STR("content-type"), TN_STR("a/b"), TN_STR("Connection"),
		TN_STR("close"), TN_STR("content-length"), TN_STR("1"), TN_STR("x"), TN_STR("y") };
	struct sv_reply reply = { .status = 201, .headers = { h, 8 }, .body = TN_STR("\0\xff") };
	struct sv_request *rq = request("GET"), *head = request("HEAD");
	struct result r;

	(void)state;
	pack(&r, rq, &reply);
	assert_int_equal(r.status, 201);
	assert_int_equal(r.fault, TN_FAULT_NONE);
	assert_true(tn_str_eq(r.body, reply.body));
	assert_int_equal(r.headers->size, 2);
	EQ(text(&r.headers->ptr[0].via.array.ptr[0]), "content-type");
	EQ(text(&r.headers->ptr[1].via.array.ptr[1]), "y");
	done(&r);
	pack(&r, head, &reply);
	assert_int_equal(r.body.len, 0);
	done(&r);
	reply.status = 304;
	pack(&r, rq, &reply);
	assert_int_equal(r.status, 304);
	assert_int_equal(r.body.len, 0);
	done(&r);
	sv_request_free(&rq);
	sv_request_free(&head);
}

static void
replies_that_cannot_be_sent_are_faults(void **state)
{
	struct tn_str bad[] = { TN_STR("x"), TN_STR("a\nb") };
	char large[101] = { 0 };
	const struct {
		struct sv_reply	 reply;
		enum tn_fault	 fault;
	} cases[] = {
		{ { .status = 100 }, TN_FAULT_RESULT },
		{ { .status = 600 }, TN_FAULT_RESULT },
		{ { .status = 200, .headers = { bad, 2 } }, TN_FAULT_RESULT },
		{ { .status = 200, .headers = { bad, 1 } }, TN_FAULT_RESULT },
		{ { .status = 200, .body = { large, 101 } }, TN_FAULT_REPLY_SIZE },
		{ { .status = 200, .body = { large, 100 } }, TN_FAULT_NONE },
	};
	struct sv_request *rq = request("GET");
	struct result r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pack(&r, rq, &cases[i].reply);
		assert_int_equal(r.fault, cases[i].fault);
		assert_int_equal(r.status, cases[i].fault != TN_FAULT_NONE ? 500 : 200);
		done(&r);
	}
	sv_request_free(&rq);
}

static void
every_fault_has_the_status_and_body_of_http(void **state)
{
	struct sv_request *rq = request("GET");
	struct result r;
	int f;

	(void)state;
	for (f = 1; f < TN_FAULT_MAX; f++) {
		const struct tn_fault_info *info = tn_fault_info((enum tn_fault)f);
		struct sv_reply reply = { .fault = (enum tn_fault)f, .allow = TN_STR("GET"),
			.retry_after = 7 };
		char want[512];

		pack(&r, rq, &reply);
		snprintf(want, sizeof(want),
		    "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"requestId\":\"id-1\"}}\n",
		    info->code, info->message);
		assert_int_equal(r.fault, f);
		assert_int_equal(r.status, info->status);
		assert_true(tn_str_is(r.body, want));
		assert_int_equal(r.headers->size,
		    info->status == 405 || info->status == 503 ? 2 : 1);
		if (info->status == 405)
			EQ(text(&r.headers->ptr[1].via.array.ptr[1]), "GET");
		if (info->status == 503)
			EQ(text(&r.headers->ptr[1].via.array.ptr[1]), "7");
		done(&r);
	}
	sv_request_free(&rq);
}

static int
setup(void **state)
{
	(void)state;
	tn_log_open("test", 2, TN_LOG_ERROR, TN_LOG_TEXT);
	opt = tn_options_new();
	return opt == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	tn_options_free(&opt);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_calls_are_named),
		cmocka_unit_test(what_http_has_an_answer_for_is_answered_so),
		cmocka_unit_test(the_request_has_all_of_it),
		cmocka_unit_test(what_is_not_said_has_defaults),
		cmocka_unit_test(values_become_json),
		cmocka_unit_test(json_is_bounded),
		cmocka_unit_test(replies_are_sent_as_they_are_but_for_what_is_ours),
		cmocka_unit_test(replies_that_cannot_be_sent_are_faults),
		cmocka_unit_test(every_fault_has_the_status_and_body_of_http),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
