/*
 * fuzz_invoke.c - what a client program may write to the client socket.
 *
 * Input: messages.  What is taken as a call of a contract has to be a request
 * that HTTP could have brought, with JSON where a contract gets JSON, and an answer
 * to it must be one message.
 */
#include "config.h"

#include "fuzz.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#include "sv_http_check.h"
#include "sv_invoke.h"
#include "sv_route.h"
#include "tn_err.h"
#include "tn_log.h"
#include "tn_rpc.h"

static struct tn_options *opt;

static bool
inside(const struct tn_buf *b, struct tn_str s)
{
	return s.len == 0 || (s.p >= b->p && s.p + s.len <= b->p + b->len);
}

static void
check_json(const struct tn_buf *store, struct tn_str s, size_t max)
{
	json_error_t e;
	json_t *j;

	FUZZ_HOLDS(inside(store, s) && s.len <= max);
	if (s.len == 0)
		return;
	j = json_loadb(s.p, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
	/* What this library, but not JSON, has against it. */
	FUZZ_HOLDS(j != NULL || json_error_code(&e) == json_error_null_byte_in_key);
	json_decref(j);
}

static void
check_request(const struct sv_request *rq, enum tn_fault fault)
{
	struct tn_str lower;
	size_t i, k;

	FUZZ_HOLDS(inside(&rq->store, rq->method) && sv_http_name_ok(rq->method));
	FUZZ_HOLDS(inside(&rq->store, rq->path) && rq->path.len > 0 && rq->path.p[0] == '/');
	FUZZ_HOLDS(sv_http_path_ok(rq->path) && sv_http_query_ok(rq->query));
	FUZZ_HOLDS(inside(&rq->store, rq->query) && inside(&rq->store, rq->url));
	FUZZ_HOLDS(rq->url.len >= 8 + rq->path.len + rq->query.len);
	FUZZ_HOLDS(tn_str_is(rq->ip, "unix"));
	FUZZ_HOLDS(sv_http_request_id_ok(tn_str(rq->request_id)));
	FUZZ_HOLDS(rq->nheaders % 2 == 0 && rq->nheaders <= 2 * SV_HTTP_HEADERS_MAX);
	for (i = 0; i < rq->nheaders; i += 2) {
		lower = rq->headers[i];
		FUZZ_HOLDS(inside(&rq->store, lower) && sv_http_name_ok(lower));
		for (k = 0; k < lower.len; k++)
			FUZZ_HOLDS(!isupper((unsigned char)lower.p[k]));
		FUZZ_HOLDS(!sv_http_hop_by_hop(lower) && !tn_str_is(lower, "content-length"));
		FUZZ_HOLDS(sv_http_value_ok(rq->headers[i + 1]));
		FUZZ_HOLDS(inside(&rq->store, rq->headers[i + 1]));
	}
	check_json(&rq->store, rq->block, SV_INVOKE_BLOCK_MAX);
	check_json(&rq->store, rq->caller, SV_INVOKE_CALLER_MAX);
	check_json(&rq->store, rq->input, SV_INVOKE_INPUT_MAX);
	if (fault == TN_FAULT_NONE) {
		FUZZ_HOLDS(sv_route_id_ok(tn_str(rq->contract)));
		FUZZ_HOLDS(sv_http_method_known(rq->method));
		FUZZ_HOLDS(rq->body.len <= (size_t)opt->body_max);
	}
}

/* A contract that sends back what it got. */
static void
check_answer(const struct sv_request *rq, enum tn_fault fault)
{
	struct sv_reply reply = { .fault = fault, .status = 200,
		.headers = { rq->headers, rq->nheaders }, .body = { rq->body.p, rq->body.len } };
	struct tn_buf out = { 0 };
	msgpack_unpacked m;
	msgpack_packer pk;
	size_t off = 0;

	tn_rpc_packer(&pk, &out);
	FUZZ_HOLDS(sv_invoke_pack(&pk, rq, &reply, (uint64_t)opt->reply_max, &fault) >= 200);
	msgpack_unpacked_init(&m);
	FUZZ_HOLDS(msgpack_unpack_next(&m, out.p, out.len, &off) == MSGPACK_UNPACK_SUCCESS);
	FUZZ_HOLDS(off == out.len && m.data.type == MSGPACK_OBJECT_MAP);
	msgpack_unpacked_destroy(&m);
	tn_buf_fini(&out);
}

static void
take(const struct tn_rpc_call *c)
{
	struct tn_buf err = { 0 };
	struct sv_request *rq;
	enum tn_fault fault;
	size_t i;
	int rc = sv_invoke_parse(c->params, opt, &rq, &fault, &err);

	FUZZ_HOLDS(rc == TN_OK || rc == TN_EINVAL);
	FUZZ_HOLDS((rc == TN_OK) == (rq != NULL));
	FUZZ_HOLDS((rc == TN_EINVAL) == (err.len > 0));
	for (i = 0; i < err.len; i++)
		FUZZ_HOLDS((unsigned char)err.p[i] >= ' ');
	if (rc == TN_OK) {
		check_request(rq, fault);
		check_answer(rq, fault);
	}
	sv_request_free(&rq);
	tn_buf_fini(&err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tn_rpc_limits limits = { .bytes = 2u << 20, .ahead = 65536,
		.objects = 65536, .depth = 24, .bin_method = true };
	struct tn_rpc_reader *r = tn_rpc_reader_new_limits(&limits);
	struct tn_rpc_call c;
	uint64_t id;
	int rc;

	if (opt == NULL) {
		tn_log_open("fuzz", 2, TN_LOG_ERROR, TN_LOG_TEXT);
		opt = tn_options_new();
	}
	FUZZ_HOLDS(r != NULL && opt != NULL);
	if (tn_rpc_reader_feed(r, data, size) == TN_OK) {
		while ((rc = tn_rpc_reader_call(r, &c)) == TN_OK)
			take(&c);
		FUZZ_HOLDS(rc == TN_EAGAIN || rc == TN_EPROTO || rc == TN_ELIMIT);
		FUZZ_HOLDS(!tn_rpc_reader_broken_id(r, &id) || rc != TN_EAGAIN);
	}
	tn_rpc_reader_free(&r);
	return 0;
}
