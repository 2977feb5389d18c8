#include "config.h"

#include "wk_ready.h"

#include "wk_arena.h"
#include "wk_heap.h"
#include "wk_host.h"

/* The request that was taken, as long as its memory is there. */
static const struct wk_request *given;

static struct wk_ready *
ready(void)
{
	return &WK_ARENA->ready;
}

static void *
part(duk_context *ctx, const char *name)
{
	void *p;

	duk_get_prop_string(ctx, -1, name);
	p = duk_get_heapptr(ctx, -1);
	duk_pop(ctx);
	return p;
}

void
wk_ready_make(duk_context *ctx)
{
	static const char *const names[] = {
#define WK_READY_KEY(sym, name) name,
#include "ready.def"
	};
	struct wk_ready *r = ready();

	duk_push_string(ctx, "prepare");
	duk_call_prop(ctx, -2, 0);
	if (duk_is_object(ctx, -1)) {
		r->from = part(ctx, "from");
		r->state = part(ctx, "state");
		r->request = part(ctx, "request");
		r->notice = part(ctx, "notice");
		r->outcome = part(ctx, "outcome");
		r->get = part(ctx, "get");
		r->contract = part(ctx, "contract");
		r->response = part(ctx, "responseKey");
		/* What keeps them is that the prepared has them all, as names or in `keys`. */
		duk_push_bare_array(ctx);
		for (unsigned i = 0; i < WK_READY_KEYS; i++) {
			duk_push_string(ctx, names[i]);
			r->key[i] = duk_get_heapptr(ctx, -1);
			duk_put_prop_index(ctx, -2, i);
		}
		duk_put_prop_string(ctx, -2, "keys");
		r->is = true;
	}
	duk_pop(ctx);
}

/* [ value ] -> [ ] */
static void
put(duk_context *ctx, duk_idx_t object, enum wk_ready_key key)
{
	(void)duk_put_prop_heapptr(ctx, object, ready()->key[key]);
}

static void
put_text(duk_context *ctx, duk_idx_t object, enum wk_ready_key key, struct tn_str s)
{
	wk_host_push_text(ctx, s);
	put(ctx, object, key);
}

/* ... which is `usual` already. */
static void
put_other(duk_context *ctx, duk_idx_t object, enum wk_ready_key key, struct tn_str s,
    struct tn_str usual)
{
	if (!tn_str_eq(s, usual))
		put_text(ctx, object, key, s);
}

static bool
is_contract(duk_context *ctx, struct tn_str id)
{
	struct tn_str mine;

	duk_push_heapptr(ctx, ready()->contract);
	mine.p = duk_require_lstring(ctx, -1, &mine.len);
	duk_pop(ctx);
	return tn_str_eq(mine, id);
}

bool
wk_ready_take(duk_context *ctx, const struct wk_request *q)
{
	const struct wk_ready *r = ready();
	duk_idx_t from, state;

	given = NULL;
	if (!r->is || !is_contract(ctx, q->contract))
		return false;
	ready()->is = false;
	given = q;
	from = duk_push_heapptr(ctx, r->from);
	state = duk_push_heapptr(ctx, r->state);
	/* The rest is asked for: wk_ready_given_*. */
	put_other(ctx, from, WK_READY_FUNCTION, q->function, TN_STR("get"));
	put_other(ctx, state, WK_READY_METHOD, q->method, TN_STR("GET"));
	put_other(ctx, state, WK_READY_PATH, q->path, TN_STR("/"));
	put_other(ctx, state, WK_READY_SEARCH, q->query, TN_STR(""));
	if (q->has_body) {
		wk_host_push_bytes(ctx, q->body);
		duk_dup_top(ctx);
		put(ctx, from, WK_READY_BODY);
		put(ctx, state, WK_READY_BODY);
	}
	if (q->caller.len > 0)
		put_text(ctx, from, WK_READY_CALLER, q->caller);
	if (q->input.len > 0)
		put_text(ctx, from, WK_READY_INPUT, q->input);
	duk_pop_2(ctx);
	return true;
}

static const struct wk_request *
require_given(duk_context *ctx)
{
	if (given == NULL)
		(void)duk_generic_error(ctx, "the request's memory is gone");
	return given;
}

duk_ret_t
wk_ready_given_url(duk_context *ctx)
{
	wk_host_push_text(ctx, require_given(ctx)->url);
	return 1;
}

duk_ret_t
wk_ready_given_ip(duk_context *ctx)
{
	wk_host_push_text(ctx, require_given(ctx)->ip);
	return 1;
}

duk_ret_t
wk_ready_given_headers(duk_context *ctx)
{
	wk_host_push_texts(ctx, require_given(ctx)->headers);
	return 1;
}

/* undefined: there is none */
duk_ret_t
wk_ready_given_block(duk_context *ctx)
{
	struct tn_str block = require_given(ctx)->block;

	if (block.len == 0)
		return 0;
	wk_host_push_text(ctx, block);
	return 1;
}

void
wk_ready_keep(duk_context *ctx)
{
	if (given == NULL)
		return;
	duk_push_string(ctx, "keep");
	duk_call_prop(ctx, -2, 0);
	duk_pop(ctx);
	given = NULL;
}

static bool
is_due(duk_context *ctx)
{
	bool due;

	duk_push_heapptr(ctx, ready()->notice);
	duk_get_prop_heapptr(ctx, -1, ready()->key[WK_READY_DUE]);
	due = duk_to_boolean(ctx, -1) != 0;
	duk_pop_2(ctx);
	return due;
}

/* Could it be a promise, or has it a form of its own?  What is neither is to be JSON. */
static bool
is_plain(duk_context *ctx)
{
	bool plain;

	switch (duk_get_type(ctx, -1)) {
	case DUK_TYPE_NULL:
	case DUK_TYPE_BOOLEAN:
	case DUK_TYPE_NUMBER:
		return true;
	case DUK_TYPE_STRING:
		return !duk_is_symbol(ctx, -1);
	case DUK_TYPE_OBJECT:
		if (duk_is_function(ctx, -1))
			return false;
		plain = !duk_get_prop_heapptr(ctx, -1, ready()->response);
		duk_pop(ctx);
		return plain;
	default:
		return false;
	}
}

struct went {
	enum { NOT_PLAIN, PLAIN, THENABLE } how;
};

/* [ ] -> [ value then ]; what is thrown is the handler's, or a getter's. */
static duk_ret_t
call_get(duk_context *ctx, void *udata)
{
	struct went *w = udata;

	duk_push_heapptr(ctx, ready()->get);
	duk_push_undefined(ctx);
	duk_push_heapptr(ctx, ready()->request);
	duk_call_method(ctx, 1);
	w->how = NOT_PLAIN;
	/* What is due may have settled the outcome already. */
	if (is_due(ctx) || !is_plain(ctx)) {
		duk_push_undefined(ctx);
		return 2;
	}
	w->how = PLAIN;
	if (!duk_is_object(ctx, -1)) {
		duk_push_undefined(ctx);
		return 2;
	}
	(void)duk_get_prop_heapptr(ctx, -1, ready()->key[WK_READY_THEN]);
	if (duk_is_function(ctx, -1))
		w->how = THENABLE;
	return 2;
}

bool
wk_ready_run(duk_context *ctx, const struct wk_request *q)
{
	struct went w = { NOT_PLAIN };
	const char *tell;
	duk_idx_t n = 1;

	if (ready()->get == NULL || q->has_body || !tn_str_eq(q->function, TN_STR("get"))) {
		duk_push_string(ctx, "beginPrepared");
		duk_call_prop(ctx, -2, 0);
		return false;
	}
	if (duk_safe_call(ctx, call_get, &w, 0, 2) != DUK_EXEC_SUCCESS) {
		tell = "failed";
	} else if (w.how == THENABLE) {
		tell = "follow";
		n = 2;
	} else if (w.how == NOT_PLAIN) {
		tell = "returned";
	} else if (is_due(ctx)) {	/* by the getter of `then` */
		tell = "settle";
	} else {
		duk_pop(ctx);
		duk_push_heapptr(ctx, ready()->outcome);
		duk_push_true(ctx);
		put(ctx, -2, WK_READY_SETTLED);
		duk_pop(ctx);
		return true;
	}
	/* [ table value then ] -> [ table name value (then) ] */
	if (n == 1)
		duk_pop(ctx);
	duk_push_string(ctx, tell);
	duk_insert(ctx, -1 - n);
	duk_call_prop(ctx, -2 - n, n);
	return false;
}
