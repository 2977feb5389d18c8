/*
 * sv_invoke.c - a client program's `invoke` as a request, and the reply as its
 * result.
 *
 * What HTTP has an answer for (a body too large, a contract that cannot be) is
 * answered as over HTTP; what could not have come over HTTP is a wrong parameter.
 */
#include "config.h"

#include "sv_invoke.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "sv_contract.h"
#include "sv_http_check.h"
#include "sv_http_reply.h"
#include "sv_route.h"
#include "tn_rpc.h"

#define EXACT_MAX	(UINT64_C(1) << 53)	/* whole numbers that a contract has exactly */
#define NAME_SHOWN	40u			/* bytes of a wrong name in an error */

enum field {
#define TN_METHOD_FIELD(method, sym, type, doc) FIELD_##method##_##sym,
#include "methods.def"
	FIELD_MAX
};

static const struct {
	const char	*method, *name;
} fields[] = {
#define TN_METHOD_FIELD(method, sym, type, doc) { #method, #sym },
#include "methods.def"
};

static const char *const functions[] = {
#define NAME(name) #name,
	SV_EXPORTS(NAME)
#undef NAME
};

/* The fields of the call, and what was understood of them. */
struct call {
	const msgpack_object *v[FIELD_MAX];	/* NULL: not given, or nil */
	struct tn_str	method, path, query, host, request_id;
	struct tn_str	field[2 * SV_HTTP_HEADERS_MAX];
	size_t		nfield;
	size_t		header_bytes;
	struct tn_buf	json[3];		/* block, caller, input */
};

static struct tn_str
str_of(const msgpack_object *o)
{
	return (struct tn_str){ o->via.str.ptr != NULL ? o->via.str.ptr : "", o->via.str.size };
}

static bool
is_str(const msgpack_object *o)
{
	return o->type == MSGPACK_OBJECT_STR;
}

static int __attribute__((format(printf, 2, 3)))
wrong(struct tn_buf *err, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_buf_visible(err, tn_str(text));
	return TN_EINVAL;
}

/* -- values as JSON ------------------------------------------------------------ */

static bool
is_utf8(struct tn_str s)
{
	uint32_t c;
	size_t n;

	for (; s.len > 0; s.p += n, s.len -= n)
		if ((n = tn_utf8(s, &c)) == 0)
			return false;
	return true;
}

static const char *
put_str(struct tn_buf *out, struct tn_str s)
{
	if (!is_utf8(s))
		return "has a text that is not UTF-8";
	tn_buf_puts(out, "\"");
	tn_buf_json(out, s);
	tn_buf_puts(out, "\"");
	return NULL;
}

static const char *put_value(struct tn_buf *out, const msgpack_object *o);

static const char *
put_map(struct tn_buf *out, const msgpack_object_map *m)
{
	const char *why;
	uint32_t i;

	for (i = 0; i < m->size; i++) {
		if (!is_str(&m->ptr[i].key))
			return "has a map with a key that is not a text";
		tn_buf_puts(out, i > 0 ? "," : "{");
		if ((why = put_str(out, str_of(&m->ptr[i].key))) != NULL)
			return why;
		tn_buf_puts(out, ":");
		if ((why = put_value(out, &m->ptr[i].val)) != NULL)
			return why;
	}
	tn_buf_puts(out, m->size > 0 ? "}" : "{}");
	return NULL;
}

/* The reader bounds the depth. */
static const char *
put_value(struct tn_buf *out, const msgpack_object *o)
{
	const char *why;
	uint32_t i;

	if (out->failed)
		return NULL;		/* too long, whatever comes */
	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		tn_buf_puts(out, "null");
		return NULL;
	case MSGPACK_OBJECT_BOOLEAN:
		tn_buf_puts(out, o->via.boolean ? "true" : "false");
		return NULL;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (o->via.u64 > EXACT_MAX)
			return "has a whole number beyond 2^53, which a contract would not have "
			    "exactly: send it as text";
		tn_buf_printf(out, "%" PRIu64, o->via.u64);
		return NULL;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		if (o->via.i64 < -(int64_t)EXACT_MAX)
			return "has a whole number beyond -2^53, which a contract would not have "
			    "exactly: send it as text";
		tn_buf_printf(out, "%" PRId64, o->via.i64);
		return NULL;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		if (!isfinite(o->via.f64))
			return "has a number that is infinite or none";
		tn_buf_printf(out, "%.17g", o->via.f64);
		return NULL;
	case MSGPACK_OBJECT_STR:
		return put_str(out, str_of(o));
	case MSGPACK_OBJECT_ARRAY:
		for (i = 0; i < o->via.array.size; i++) {
			tn_buf_puts(out, i > 0 ? "," : "[");
			if ((why = put_value(out, &o->via.array.ptr[i])) != NULL)
				return why;
		}
		tn_buf_puts(out, o->via.array.size > 0 ? "]" : "[]");
		return NULL;
	case MSGPACK_OBJECT_MAP:
		return put_map(out, &o->via.map);
	default:
		return "has bytes (bin), which JSON does not know";
	}
}

const char *
sv_invoke_json(const msgpack_object *o, size_t max, struct tn_buf *out)
{
	const char *why;

	out->max = max;
	if ((why = put_value(out, o)) == NULL && out->failed)
		why = "is too large";
	return why;
}

/* -- the fields ------------------------------------------------------------------ */

static int
collect(struct call *c, const msgpack_object *params, struct tn_buf *err)
{
	const msgpack_object_map *m;
	bool seen[FIELD_MAX] = { false };
	struct tn_str name;
	uint32_t i;
	size_t k;

	if (params->via.array.size != 1 ||
	    params->via.array.ptr[0].type != MSGPACK_OBJECT_MAP)
		return wrong(err, "invoke takes one map");
	m = &params->via.array.ptr[0].via.map;
	for (i = 0; i < m->size; i++) {
		if (!is_str(&m->ptr[i].key))
			return wrong(err, "a field's name is not a text");
		name = str_of(&m->ptr[i].key);
		for (k = 0; k < FIELD_MAX; k++)
			if (tn_str_is(name, fields[k].name) &&
			    tn_str_is(TN_STR("invoke"), fields[k].method))
				break;
		if (k == FIELD_MAX)
			return wrong(err, "unknown field \"%.*s\"",
			    (int)(name.len < NAME_SHOWN ? name.len : NAME_SHOWN), name.p);
		if (seen[k])
			return wrong(err, "%s is given twice", fields[k].name);
		seen[k] = true;
		/* No input and the input null are not the same. */
		if (m->ptr[i].val.type != MSGPACK_OBJECT_NIL || k == FIELD_invoke_input)
			c->v[k] = &m->ptr[i].val;
	}
	return TN_OK;
}

/* A text; what is not given is as it was. */
static int
take_str(const struct call *c, enum field k, struct tn_str *s, struct tn_buf *err)
{
	if (c->v[k] == NULL)
		return TN_OK;
	if (!is_str(c->v[k]))
		return wrong(err, "%s is not a text (str)", fields[k].name);
	*s = str_of(c->v[k]);
	return TN_OK;
}

/* Not well-formed: over HTTP, too, there is no such contract. */
static int
take_contract(struct call *c, struct sv_request *rq, enum tn_fault *fault, struct tn_buf *err)
{
	struct tn_str id = { NULL, 0 };

	if (c->v[FIELD_invoke_contract] == NULL)
		return wrong(err, "contract is missing");
	if (take_str(c, FIELD_invoke_contract, &id, err) != TN_OK)
		return TN_EINVAL;
	if (!sv_route_id_ok(id)) {
		*fault = TN_FAULT_NOT_FOUND;
		return TN_OK;
	}
	memcpy(rq->contract, id.p, id.len);
	rq->contract[id.len] = '\0';
	return TN_OK;
}

static int
take_function(struct call *c, struct sv_request *rq, struct tn_buf *err)
{
	struct tn_str name = { NULL, 0 };
	size_t i;

	if (c->v[FIELD_invoke_function] == NULL)
		return TN_OK;
	if (take_str(c, FIELD_invoke_function, &name, err) != TN_OK)
		return TN_EINVAL;
	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (tn_str_is(name, functions[i])) {
			rq->wanted = functions[i];
			return TN_OK;
		}
	return wrong(err, "function is none of init, contract, get, post, fetch");
}

static int
take_target(struct call *c, const struct tn_options *opt, const struct sv_request *rq,
    enum tn_fault *fault, struct tn_buf *err)
{
	const char *f = rq->wanted;

	c->method = f != NULL && (strcmp(f, "init") == 0 || strcmp(f, "contract") == 0 ||
	    strcmp(f, "post") == 0) ? TN_STR("POST") : TN_STR("GET");
	c->path = TN_STR("/");
	if (take_str(c, FIELD_invoke_method, &c->method, err) != TN_OK ||
	    take_str(c, FIELD_invoke_path, &c->path, err) != TN_OK ||
	    take_str(c, FIELD_invoke_query, &c->query, err) != TN_OK)
		return TN_EINVAL;
	if (!sv_http_name_ok(c->method))
		return wrong(err, "method is not the name of one");
	if (c->path.len == 0 || c->path.p[0] != '/')
		return wrong(err, "path does not begin with /");
	if (!sv_http_path_ok(c->path))
		return wrong(err, "path has characters, escapes or segments that no path has");
	if (!sv_http_query_ok(c->query))
		return wrong(err, "query has characters that no query has");
	if (!sv_http_method_known(c->method))
		*fault = TN_FAULT_NOT_IMPLEMENTED;
	if (c->path.len + 1 + c->query.len > (size_t)opt->target_max)
		*fault = TN_FAULT_TARGET_SIZE;
	return TN_OK;
}

static int
take_header(struct call *c, const msgpack_object *name, const msgpack_object *value,
    enum tn_fault *fault, struct tn_buf *err)
{
	struct tn_str n, v;

	if (!is_str(name) || !is_str(value))
		return wrong(err, "headers: a name or a value is not a text (str)");
	n = str_of(name);
	v = str_of(value);
	if (!sv_http_name_ok(n))
		return wrong(err, "headers: \"%.*s\" is no name",
		    (int)(n.len < NAME_SHOWN ? n.len : NAME_SHOWN), n.p);
	if (!sv_http_value_ok(v))
		return wrong(err, "headers: the value of %.*s has control characters or is not UTF-8",
		    (int)(n.len < NAME_SHOWN ? n.len : NAME_SHOWN), n.p);
	if (sv_http_name_is(n, "host")) {
		if (!sv_http_host_ok(v))
			return wrong(err, "headers: host is none");
		c->host = v;
	}
	if (sv_http_name_is(n, "x-request-id") && sv_http_request_id_ok(v))
		c->request_id = v;
	c->header_bytes += n.len + v.len + 4;
	if (sv_http_hop_by_hop(n) || sv_http_name_is(n, "content-length"))
		return TN_OK;
	if (c->nfield == 2 * SV_HTTP_HEADERS_MAX) {
		*fault = TN_FAULT_HEADER_SIZE;
		return TN_OK;
	}
	c->field[c->nfield++] = n;
	c->field[c->nfield++] = v;
	return TN_OK;
}

static int
take_headers(struct call *c, const struct tn_options *opt, enum tn_fault *fault,
    struct tn_buf *err)
{
	const msgpack_object *o = c->v[FIELD_invoke_headers], *pair;
	uint32_t i;
	int rc = TN_OK;

	c->host = TN_STR("localhost");
	if (o == NULL)
		return TN_OK;
	if (o->type == MSGPACK_OBJECT_MAP) {
		for (i = 0; i < o->via.map.size && rc == TN_OK; i++)
			rc = take_header(c, &o->via.map.ptr[i].key, &o->via.map.ptr[i].val,
			    fault, err);
	} else if (o->type == MSGPACK_OBJECT_ARRAY) {
		for (i = 0; i < o->via.array.size && rc == TN_OK; i++) {
			pair = &o->via.array.ptr[i];
			if (pair->type != MSGPACK_OBJECT_ARRAY || pair->via.array.size != 2)
				return wrong(err, "headers: an item is not a pair [name, value]");
			rc = take_header(c, &pair->via.array.ptr[0], &pair->via.array.ptr[1],
			    fault, err);
		}
	} else
		return wrong(err, "headers is neither a map nor an array of pairs");
	if (c->header_bytes > (size_t)opt->header_max)
		*fault = TN_FAULT_HEADER_SIZE;
	return rc;
}

static int
take_body(struct call *c, const struct tn_options *opt, struct sv_request *rq,
    enum tn_fault *fault, struct tn_buf *err)
{
	const msgpack_object *o = c->v[FIELD_invoke_body];

	if (o == NULL)
		return TN_OK;
	if (!is_str(o) && o->type != MSGPACK_OBJECT_BIN)
		return wrong(err, "body is neither text (str) nor bytes (bin)");
	if (o->via.bin.size > (size_t)opt->body_max)
		*fault = TN_FAULT_BODY_SIZE;
	else
		tn_buf_append(&rq->body, o->via.bin.ptr, o->via.bin.size);
	return rq->body.failed ? TN_ENOMEM : TN_OK;
}

/* Those that a contract gets as JSON. */
static int
take_values(struct call *c, struct tn_buf *err)
{
	static const struct {
		enum field	field;
		size_t		max;
	} values[] = {
		{ FIELD_invoke_block, SV_INVOKE_BLOCK_MAX },
		{ FIELD_invoke_caller, SV_INVOKE_CALLER_MAX },
		{ FIELD_invoke_input, SV_INVOKE_INPUT_MAX },
	};
	const msgpack_object *o;
	const char *why;
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if ((o = c->v[values[i].field]) == NULL)
			continue;
		if (values[i].field == FIELD_invoke_block && o->type != MSGPACK_OBJECT_MAP)
			return wrong(err, "block is not a map");
		if ((why = sv_invoke_json(o, values[i].max, &c->json[i])) != NULL)
			return wrong(err, "%s %s", fields[values[i].field].name, why);
	}
	return TN_OK;
}

/* Everything into the request's own memory, where nothing moves any more. */
static int
build(const struct call *c, struct sv_request *rq)
{
	struct tn_buf *s = &rq->store;
	struct tn_str *const texts[3] = { &rq->block, &rq->caller, &rq->input };
	size_t i, n = c->nfield * sizeof(rq->headers[0]);
	size_t room = n + c->method.len + c->host.len + c->path.len + c->query.len + 32;

	for (i = 0; i < c->nfield; i++)
		room += c->field[i].len;
	for (i = 0; i < 3; i++)
		room += c->json[i].len;
	if (tn_buf_reserve(s, room) == NULL)
		return TN_ENOMEM;
	rq->headers = (struct tn_str *)(void *)s->p;
	s->len = n;
	if (c->request_id.len > 0) {
		memcpy(rq->request_id, c->request_id.p, c->request_id.len);
		rq->request_id[c->request_id.len] = '\0';
	} else {
		sv_request_new_id(rq->request_id);
	}
	rq->method = sv_request_keep(s, c->method);
	sv_request_keep_url(rq, c->host, c->path,
	    c->query.len > 0 ? c->query : (struct tn_str){ NULL, 0 });
	for (i = 0; i < c->nfield; i += 2) {
		rq->headers[rq->nheaders++] = sv_request_keep_lower(s, c->field[i]);
		rq->headers[rq->nheaders++] = sv_request_keep(s, c->field[i + 1]);
	}
	for (i = 0; i < 3; i++)
		*texts[i] = sv_request_keep(s, (struct tn_str){ c->json[i].p, c->json[i].len });
	rq->ip = sv_request_keep(s, TN_STR("unix"));
	return TN_OK;
}

int
sv_invoke_parse(const msgpack_object *params, const struct tn_options *opt,
    struct sv_request **rqp, enum tn_fault *fault, struct tn_buf *err)
{
	struct call c = { .nfield = 0 };
	struct sv_request *rq = sv_request_new();
	size_t i;
	int rc;

	*rqp = NULL;
	*fault = TN_FAULT_NONE;
	if (rq == NULL)
		return TN_ENOMEM;
	/* The gravest fault last: HTTP would have met it first. */
	if ((rc = collect(&c, params, err)) == TN_OK &&
	    (rc = take_contract(&c, rq, fault, err)) == TN_OK &&
	    (rc = take_function(&c, rq, err)) == TN_OK &&
	    (rc = take_values(&c, err)) == TN_OK &&
	    (rc = take_body(&c, opt, rq, fault, err)) == TN_OK &&
	    (rc = take_headers(&c, opt, fault, err)) == TN_OK &&
	    (rc = take_target(&c, opt, rq, fault, err)) == TN_OK)
		rc = build(&c, rq);
	for (i = 0; i < 3; i++)
		tn_buf_fini(&c.json[i]);
	if (rc != TN_OK)
		sv_request_free(&rq);
	*rqp = rq;
	return rc;
}

/* -- the result --------------------------------------------------------------------- */

static void
pack_pair(msgpack_packer *pk, struct tn_str name, struct tn_str value)
{
	msgpack_pack_array(pk, 2);
	tn_rpc_pack_str(pk, name);
	tn_rpc_pack_str(pk, value);
}

static void
pack_headers(msgpack_packer *pk, struct tn_strv h)
{
	size_t i, n = 0;

	for (i = 0; i < h.n; i += 2)
		n += !sv_http_reply_ours(h.v[i]);
	msgpack_pack_array(pk, n);
	for (i = 0; i < h.n; i += 2)
		if (!sv_http_reply_ours(h.v[i]))
			pack_pair(pk, h.v[i], h.v[i + 1]);
}

static void
pack_fault_headers(msgpack_packer *pk, int status, const struct sv_reply *reply)
{
	char seconds[16];

	msgpack_pack_array(pk, 1 + (status == 405 || status == 503));
	pack_pair(pk, TN_STR("content-type"), TN_STR("application/json"));
	if (status == 405)
		pack_pair(pk, TN_STR("allow"), reply->allow);
	if (status == 503) {
		snprintf(seconds, sizeof(seconds), "%u", sv_http_retry_after(reply));
		pack_pair(pk, TN_STR("retry-after"), tn_str(seconds));
	}
}

int
sv_invoke_pack(msgpack_packer *pk, const struct sv_request *rq, const struct sv_reply *reply,
    uint64_t reply_max, enum tn_fault *fault)
{
	static const size_t nphases = 0
#define TN_PHASE(sym, name, doc) + 1
#include "phases.def"
	;
	char text[SV_HTTP_FAULT_BYTES];
	struct tn_str body = reply->body;
	const char *why;
	int status = reply->status;

	*fault = reply->fault;
	if (*fault == TN_FAULT_NONE) {
		*fault = sv_http_reply_check(reply, reply_max, &why);
		if (*fault != TN_FAULT_NONE)
			sv_request_log_bad_reply(rq, why);
	}
	if (*fault != TN_FAULT_NONE) {
		status = tn_fault_info(*fault)->status;
		body = (struct tn_str){ text, sv_http_fault_body(text, *fault, rq->request_id) };
	}
	if (sv_http_reply_bodiless(status) || tn_str_is(rq->method, "HEAD"))
		body.len = 0;
	msgpack_pack_map(pk, 5);
	tn_rpc_pack_key(pk, "status");
	msgpack_pack_int(pk, status);
	tn_rpc_pack_key(pk, "headers");
	if (*fault == TN_FAULT_NONE)
		pack_headers(pk, reply->headers);
	else
		pack_fault_headers(pk, status, reply);
	tn_rpc_pack_key(pk, "body");
	msgpack_pack_bin(pk, body.len);
	if (body.len > 0)
		msgpack_pack_bin_body(pk, body.p, body.len);
	tn_rpc_pack_key(pk, "timings");
	msgpack_pack_map(pk, nphases);
#define TN_PHASE(sym, name, doc)						\
	tn_rpc_pack_key(pk, name);						\
	msgpack_pack_uint64(pk, rq->timings.sym);
#include "phases.def"
	tn_rpc_pack_key(pk, "request_id");
	tn_rpc_pack_key(pk, rq->request_id);
	return status;
}
