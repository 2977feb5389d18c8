#include "config.h"

#include "wk_heap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_operation.h"
#include "wk_arena.h"
#include "wk_deadline.h"
#include "wk_duk.h"
#include "wk_host.h"
#include "wk_ready.h"
#include "wk_runtime.h"
#include "wk_text.h"

static duk_context *
heap_ctx(void)
{
	return WK_ARENA->ctx;
}

static void *
heap_alloc(void *udata, duk_size_t size)
{
	return wk_alloc_get(udata, size);
}

static void *
heap_realloc(void *udata, void *p, duk_size_t size)
{
	return wk_alloc_resize(udata, p, size);
}

static void
heap_free(void *udata, void *p)
{
	wk_alloc_put(udata, p);
}

static void
heap_fatal(void *udata, const char *msg)
{
	(void)udata;
	(void)msg;
	_exit(WK_EXIT_FATAL);
}

/* ---- protected calls ---- */

static void
copy_text(char *to, size_t size, struct tn_str s)
{
	struct tn_buf b;

	tn_buf_init_fixed(&b, to, size - 1);
	/* Inside text never grows by more than its replacements; cut generously. */
	if (s.len > (size - 1) / 3 && wk_text_out(NULL, s) > size - 1) {
		s.len = (size - 1) / 3;
		while (s.len > 0 && ((unsigned char)s.p[s.len] & 0xc0) == 0x80)
			s.len--;
	}
	wk_text_append(&b, s);
	to[b.len] = '\0';
}

static void
copy_prop(duk_context *ctx, const char *key, char *to, size_t size)
{
	struct tn_str s;

	duk_get_prop_string(ctx, 0, key);
	if (!duk_is_undefined(ctx, -1)) {
		s.p = duk_safe_to_lstring(ctx, -1, &s.len);
		copy_text(to, size, s);
	}
	duk_pop(ctx);
}

/* [ error ] -> [ ]; fills *udata.  May throw itself: then what is filled stays. */
static duk_ret_t
describe(duk_context *ctx, void *udata)
{
	struct wk_trouble *t = udata;
	struct tn_str s;

	duk_dup(ctx, 0);
	s.p = duk_safe_to_lstring(ctx, -1, &s.len);
	copy_text(t->error, sizeof(t->error), s);
	copy_text(t->message, sizeof(t->message), s);
	if (duk_is_object(ctx, 0)) {
		duk_get_prop_string(ctx, 0, "lineNumber");
		if (duk_is_number(ctx, -1))
			t->line = (unsigned)duk_to_uint32(ctx, -1);
		duk_pop(ctx);
		copy_prop(ctx, "fileName", t->file, sizeof(t->file));
		copy_prop(ctx, "stack", t->message, sizeof(t->message));
	}
	return 0;
}

struct call {
	duk_safe_call_function	 fn;
	void			*arg;
	duk_idx_t		 values;	/* on the stack for it */
	struct wk_trouble	*trouble;
	int			 rc;
};

static void
call_inside(void *arg)
{
	struct call *c = arg;
	duk_context *ctx = heap_ctx();

	c->rc = duk_safe_call(ctx, c->fn, c->arg, c->values, 1);
	if (c->rc != DUK_EXEC_SUCCESS) {
		c->trouble->fault = TN_FAULT_THREW;
		(void)duk_safe_call(ctx, describe, c->trouble, 1, 1);
		duk_pop(ctx);
	}
}

static void
trouble_clear(struct wk_trouble *t)
{
	t->fault = TN_FAULT_NONE;
	t->line = 0;
	t->file[0] = t->error[0] = t->message[0] = '\0';
}

static void
trouble_set(struct wk_trouble *t, enum tn_fault fault, const char *message)
{
	t->fault = fault;
	(void)snprintf(t->message, sizeof(t->message), "%s", message);
	(void)snprintf(t->error, sizeof(t->error), "%s", message);
}

/*
 * Call fn in the heap with the topmost values of the stack: 0 and its result is there
 * instead; TN_ESCRIPT or TN_ETIMEOUT, *t says more and they are gone (TN_ETIMEOUT: the
 * whole stack is lost).
 */
static int
protect_with(duk_safe_call_function fn, void *arg, duk_idx_t values, struct wk_trouble *t)
{
	struct call c = { .fn = fn, .arg = arg, .values = values, .trouble = t };

	trouble_clear(t);
	if (wk_deadline_run(call_inside, &c) != 0) {
		trouble_set(t, TN_FAULT_DEADLINE, "the deadline has passed");
		return TN_ETIMEOUT;
	}
	if (WK_ARENA->alloc.refused) {
		/* The script may have caught it and gone on: say it all the same. */
		bool threw = c.rc != DUK_EXEC_SUCCESS;

		(void)wk_alloc_refused(&WK_ARENA->alloc);
		if (threw)
			t->fault = TN_FAULT_MEMORY;
		else
			trouble_set(t, TN_FAULT_MEMORY, "memory was refused");
		if (!threw)
			duk_pop(heap_ctx());
		return TN_ESCRIPT;
	}
	return c.rc == DUK_EXEC_SUCCESS ? 0 : TN_ESCRIPT;
}

static int
protect(duk_safe_call_function fn, void *arg, struct wk_trouble *t)
{
	return protect_with(fn, arg, 0, t);
}

/* [ ... table ] and the method on top, ready for arguments and duk_call_method. */
static void
push_method(duk_context *ctx, const char *name)
{
	wk_host_push_table(ctx);
	if (!duk_get_prop_string(ctx, -1, name))
		(void)duk_error(ctx, DUK_ERR_TYPE_ERROR, "the runtime lacks %s()", name);
	duk_insert(ctx, -2);		/* [ function this ] */
}

/* ---- warming ---- */

static duk_ret_t
install(duk_context *ctx, void *udata)
{
	(void)udata;
	wk_duk_patch(ctx);
	wk_host_install(ctx);
	return 0;
}

static duk_ret_t
run_runtime_file(duk_context *ctx, void *udata)
{
	const struct wk_runtime_file *f = udata;

	wk_host_push_text(ctx, (struct tn_str){ f->text, f->len });
	duk_push_string(ctx, f->name);
	duk_compile(ctx, 0);
	duk_call(ctx, 0);
	return 1;
}

static duk_ret_t
finish_runtime(duk_context *ctx, void *udata)
{
	(void)udata;
	wk_host_push_table(ctx);
	duk_pop(ctx);
	wk_host_remove(ctx);
	return 0;
}

int
wk_heap_create(uint64_t generation, struct wk_trouble *t)
{
	const struct wk_runtime_file *files;
	duk_context *ctx;
	size_t n;
	int rc;

	trouble_clear(t);
	wk_duk_freeze(NULL, 0);
	wk_arena_format(generation);
	ctx = duk_create_heap(heap_alloc, heap_realloc, heap_free, &WK_ARENA->alloc, heap_fatal);
	if (ctx == NULL) {
		trouble_set(t, TN_FAULT_MEMORY, "cannot make a heap: memory_max is too small");
		return TN_ENOMEM;
	}
	WK_ARENA->ctx = ctx;
	rc = protect(install, NULL, t);
	if (rc != 0)
		return rc;
	duk_pop(ctx);
	files = wk_runtime_files(&n);
	for (size_t i = 0; i < n; i++) {
		struct wk_runtime_file f = files[i];

		rc = protect(run_runtime_file, &f, t);
		if (rc != 0)
			return rc;
		duk_pop(ctx);
	}
	rc = protect(finish_runtime, NULL, t);
	if (rc != 0)
		return rc;
	duk_pop(ctx);
	return 0;
}

void
wk_heap_settle(enum wk_settle how)
{
	duk_context *ctx = heap_ctx();

	duk_set_top(ctx, 0);
	if (how != WK_SETTLE_AS_IS) {
		/* Twice: finalizers run in the first. */
		duk_gc(ctx, 0);
		duk_gc(ctx, how == WK_SETTLE_COMPACT ? DUK_GC_COMPACT : 0);
	}
	wk_duk_gc_hold(ctx);
	(void)wk_alloc_refused(&WK_ARENA->alloc);
}

void
wk_heap_collect(bool on)
{
	if (on)
		wk_duk_gc_release(heap_ctx());
	else
		wk_duk_gc_hold(heap_ctx());
}

/* ---- a contract's files ---- */

struct load {
	struct tn_str	contract, meta, name, text;
};

static duk_ret_t
compile_file(duk_context *ctx, void *udata)
{
	static const char head[] = "function (exports, require, module) {";
	static const char tail[] = "\n}";
	const struct load *l = udata;
	size_t n = wk_text_in(NULL, l->text);
	char *p;

	/* Compiled where they lie: as strings they would be interned for nothing. */
	p = duk_push_fixed_buffer(ctx, sizeof(head) - 1 + n + sizeof(tail) - 1);
	memcpy(p, head, sizeof(head) - 1);
	(void)wk_text_in(p + sizeof(head) - 1, l->text);
	memcpy(p + sizeof(head) - 1 + n, tail, sizeof(tail) - 1);
	/*
	 * The compiler reads to the function's end and looks no further: a brace too
	 * many would cut the file off in silence.  So it must be a program by itself too.
	 */
	wk_host_push_text(ctx, l->name);
	duk_compile_lstring_filename(ctx, 0, p + sizeof(head) - 1, n);
	duk_pop(ctx);
	wk_host_push_text(ctx, l->name);
	duk_compile_lstring_filename(ctx, DUK_COMPILE_FUNCTION, p,
	    sizeof(head) - 1 + n + sizeof(tail) - 1);
	return 1;
}

static void
push_json(duk_context *ctx, struct tn_str json)
{
	if (json.len == 0) {
		duk_push_null(ctx);
		return;
	}
	wk_host_push_text(ctx, json);
	duk_json_decode(ctx, -1);
}

static duk_ret_t
load_file(duk_context *ctx, void *udata)
{
	const struct load *l = udata;

	/* The compiled function is below this call's own stack: it was stashed. */
	push_method(ctx, "load");
	wk_host_push_text(ctx, l->contract);
	push_json(ctx, l->meta);
	wk_host_push_text(ctx, l->name);
	duk_push_heap_stash(ctx);
	duk_get_prop_string(ctx, -1, "compiled");
	duk_del_prop_string(ctx, -2, "compiled");
	duk_remove(ctx, -2);
	duk_call_method(ctx, 4);
	return 1;
}

static duk_ret_t
stash_compiled(duk_context *ctx, void *udata)
{
	duk_ret_t n = compile_file(ctx, udata);

	(void)n;
	duk_push_heap_stash(ctx);
	duk_dup(ctx, -2);
	duk_put_prop_string(ctx, -2, "compiled");
	return 0;
}

/* Duktape's syntax errors name the line in their text only; make "file:line: text" of it. */
static void
place_syntax_error(struct wk_trouble *t, struct tn_str name)
{
	unsigned line = 0;
	char *at = strstr(t->error, " (line ");

	if (at != NULL && sscanf(at, " (line %u", &line) == 1)
		t->line = line;
	(void)snprintf(t->file, sizeof(t->file), "%.*s", (int)(name.len < 255 ? name.len : 255),
	    name.p);
	if (at != NULL) {
		char *end = strchr(at, ')');

		/* "(line 3)" and "(line 3, end of input)" */
		if (end != NULL && strstr(at, ", end of input") != NULL)
			(void)snprintf(at, sizeof(t->error) - (size_t)(at - t->error), " at the end of the file");
		else
			*at = '\0';
	}
	(void)snprintf(t->message, sizeof(t->message), "%s:%u: %s", t->file, t->line, t->error);
}

int
wk_heap_load(struct tn_str contract, struct tn_str meta, struct tn_strv source,
    uint64_t *compile_us, uint64_t *module_us, struct wk_trouble *t)
{
	duk_context *ctx = heap_ctx();

	*compile_us = *module_us = 0;
	trouble_clear(t);
	if (source.n % 2 != 0) {
		trouble_set(t, TN_FAULT_INTERNAL, "odd number of texts");
		return TN_EPROTO;
	}
	for (size_t i = 0; i < source.n; i += 2) {
		struct load l = { contract, meta, source.v[i], source.v[i + 1] };
		uint64_t start = tn_clock_us(), compiled;
		int rc;

		rc = protect(stash_compiled, &l, t);
		compiled = tn_clock_us();
		*compile_us += compiled - start;
		if (rc != 0) {
			if (t->fault == TN_FAULT_THREW) {
				t->fault = TN_FAULT_COMPILE;
				place_syntax_error(t, l.name);
			}
			return rc;
		}
		duk_pop(ctx);
		rc = protect(load_file, &l, t);
		*module_us += tn_clock_us() - compiled;
		if (rc != 0) {
			if (t->fault == TN_FAULT_THREW)
				t->fault = TN_FAULT_COMPILE;
			return rc;
		}
		duk_pop(ctx);
	}
	return 0;
}

static duk_ret_t
get_exports(duk_context *ctx, void *udata)
{
	struct wk_exports *e = udata;
	duk_size_t n;

	push_method(ctx, "exports");
	duk_call_method(ctx, 0);
	n = duk_get_length(ctx, -1);
	e->n = 0;
	for (duk_size_t i = 0; i < n && e->n < WK_EXPORTS_MAX; i++) {
		struct tn_str s;

		duk_get_prop_index(ctx, -1, (duk_uarridx_t)i);
		s.p = duk_to_lstring(ctx, -1, &s.len);
		if (s.len < sizeof(e->names[0])) {
			memcpy(e->names[e->n], s.p, s.len);
			e->names[e->n++][s.len] = '\0';
		}
		duk_pop(ctx);
	}
	wk_host_push_table(ctx);
	wk_ready_make(ctx);
	return 0;
}

int
wk_heap_exports(struct wk_exports *e, struct wk_trouble *t)
{
	int rc = protect(get_exports, e, t);

	if (rc == 0)
		duk_pop(heap_ctx());
	else if (t->fault == TN_FAULT_THREW)
		t->fault = TN_FAULT_COMPILE;
	return rc;
}

/* ---- a request ---- */

struct step {
	const struct wk_request	*q;
	uint64_t		 set_up_us;	/* when the request object was there */
	bool			 settled;
	bool			 plain;		/* the value is on the stack, to be JSON */
	double			 timeout;
	const struct tn_frame_operated *answer;
};

static void
put_text(duk_context *ctx, const char *key, struct tn_str s)
{
	wk_host_push_text(ctx, s);
	duk_put_prop_string(ctx, -2, key);
}

static void
push_request(duk_context *ctx, const struct wk_request *q)
{
	duk_push_object(ctx);
	put_text(ctx, "function", q->function);
	put_text(ctx, "method", q->method);
	put_text(ctx, "url", q->url);
	put_text(ctx, "path", q->path);
	put_text(ctx, "query", q->query);
	wk_host_push_texts(ctx, q->headers);
	duk_put_prop_string(ctx, -2, "headers");
	if (q->has_body)
		wk_host_push_bytes(ctx, q->body);
	else
		duk_push_null(ctx);
	duk_put_prop_string(ctx, -2, "body");
	put_text(ctx, "ip", q->ip);

	duk_push_object(ctx);
	put_text(ctx, "id", q->contract);
	push_json(ctx, q->meta);
	for (int i = 0; i < 2; i++) {
		const char *key = i == 0 ? "owner" : "name";

		if (duk_is_object(ctx, -1))
			duk_get_prop_string(ctx, -1, key);
		else
			duk_push_undefined(ctx);
		if (!duk_is_string(ctx, -1)) {
			duk_pop(ctx);
			duk_push_null(ctx);
		}
		duk_put_prop_string(ctx, -3, key);
	}
	duk_pop(ctx);
	duk_put_prop_string(ctx, -2, "contract");

	/* As text: few handlers look at it. */
	if (q->block.len > 0)
		put_text(ctx, "block", q->block);
	if (q->caller.len > 0)
		put_text(ctx, "caller", q->caller);
	if (q->input.len > 0)
		put_text(ctx, "input", q->input);
	duk_push_number(ctx, q->now);
	duk_put_prop_string(ctx, -2, "now");
}

static void
drain(duk_context *ctx, struct step *s)
{
	push_method(ctx, "drain");
	duk_call_method(ctx, 0);
	s->settled = duk_to_boolean(ctx, -1) != 0;
	duk_pop(ctx);
	s->timeout = -1;
	if (!s->settled) {
		push_method(ctx, "timeout");
		duk_call_method(ctx, 0);
		s->timeout = duk_to_number(ctx, -1);
		duk_pop(ctx);
	}
}

static duk_ret_t
begin(duk_context *ctx, void *udata)
{
	struct step *s = udata;

	wk_host_push_table(ctx);
	if (wk_ready_take(ctx, s->q)) {
		s->set_up_us = tn_clock_us();
		s->plain = s->settled = wk_ready_run(ctx, s->q);
		if (s->plain)
			return 1;
	} else {
		push_method(ctx, "begin");
		push_request(ctx, s->q);
		s->set_up_us = tn_clock_us();
		duk_call_method(ctx, 1);
	}
	duk_pop(ctx);
	drain(ctx, s);
	return 0;
}

static duk_ret_t
fire(duk_context *ctx, void *udata)
{
	struct step *s = udata;

	push_method(ctx, "fire");
	duk_call_method(ctx, 0);
	duk_pop(ctx);
	drain(ctx, s);
	return 0;
}

/* The frame's memory goes: it takes the next frame. */
static duk_ret_t
keep(duk_context *ctx, void *udata)
{
	(void)udata;
	wk_host_push_table(ctx);
	wk_ready_keep(ctx);
	return 0;
}

/* Give an operation's answer to who waits for it. */
static duk_ret_t
answered(duk_context *ctx, void *udata)
{
	struct step *s = udata;
	struct tn_str rest = s->answer->payload, text;
	duk_uarridx_t n = 0;

	push_method(ctx, "answered");
	duk_push_number(ctx, (double)s->answer->operation);
	duk_push_boolean(ctx, s->answer->outcome == TN_OUTCOME_DONE);
	(void)duk_push_bare_array(ctx);
	while (tn_operation_take(&rest, &text) == 0) {
		wk_host_push_text(ctx, text);
		duk_put_prop_index(ctx, -2, n++);
	}
	duk_call_method(ctx, 3);
	duk_pop(ctx);
	drain(ctx, s);
	return 0;
}

struct taken {
	struct wk_result	*r;
	bool			 plain;		/* given the handler's value, to be JSON */
	bool			 fault;
	char			 fault_name[24];
	double			 status;
	bool			 body_is_text;
	uint64_t		 reply_max;
};

/*
 * Everything that the result borrows goes into a list that is ours alone, which
 * stays on the stack: what finish() gave may have getters, if the contract has
 * tampered with a prototype, and then nobody else holds what they returned.
 */
static void
hold(duk_context *ctx, duk_idx_t list)
{
	duk_put_prop_index(ctx, list, (duk_uarridx_t)duk_get_length(ctx, list));
}

static void
take_headers(duk_context *ctx, duk_idx_t list, struct wk_result *r)
{
	duk_size_t n = duk_get_length(ctx, -1);

	if (n % 2 != 0 || n > TN_FRAME_LIST_MAX)
		(void)duk_range_error(ctx, "too many headers");
	for (duk_size_t i = 0; i < n; i++) {
		duk_get_prop_index(ctx, -1, (duk_uarridx_t)i);
		r->headers[i].p = duk_require_lstring(ctx, -1, &r->headers[i].len);
		hold(ctx, list);
	}
	r->nheaders = n;
}

/* [ value ] -> [ text ], or undefined */
static duk_ret_t
encode(duk_context *ctx, void *udata)
{
	(void)udata;
	(void)duk_json_encode(ctx, -1);
	return 1;
}

/*
 * [ value ] -> [ text ], true: what most handlers return, without a call of the
 * runtime.  Or [ refusal ] as finish() would have it.
 */
static bool
take_plain(duk_context *ctx, struct taken *k)
{
	struct wk_result *r = k->r;
	bool threw = duk_safe_call(ctx, encode, NULL, 1, 1) != DUK_EXEC_SUCCESS;

	if (!threw && duk_is_string(ctx, -1)) {
		k->status = 200;
		r->headers[0] = TN_STR("content-type");
		r->headers[1] = TN_STR("application/json");
		r->nheaders = 2;
		k->body_is_text = true;
		r->body.p = duk_get_lstring(ctx, -1, &r->body.len);
		return true;
	}
	push_method(ctx, "noText");
	duk_push_boolean(ctx, threw);
	duk_dup(ctx, -4);
	duk_call_method(ctx, 2);
	return false;
}

static duk_ret_t
take_result(duk_context *ctx, void *udata)
{
	struct taken *k = udata;
	struct wk_result *r = k->r;
	duk_idx_t list;

	if (k->plain) {
		if (take_plain(ctx, k))
			return 1;
		list = duk_push_bare_array(ctx) - 1;
		duk_insert(ctx, -2);
	} else {
		list = duk_push_bare_array(ctx);
		push_method(ctx, "finish");
		duk_call_method(ctx, 0);
	}
	duk_require_object(ctx, -1);
	if (duk_get_prop_string(ctx, -1, "fault")) {
		(void)snprintf(k->fault_name, sizeof(k->fault_name), "%s", duk_to_string(ctx, -1));
		k->fault = true;
		if (duk_get_prop_string(ctx, -2, "message")) {
			r->message.p = duk_to_lstring(ctx, -1, &r->message.len);
			hold(ctx, list);
		}
		duk_set_top(ctx, list + 1);
		return 1;
	}
	duk_pop(ctx);
	duk_get_prop_string(ctx, -1, "status");
	k->status = duk_to_number(ctx, -1);
	duk_pop(ctx);
	if (duk_get_prop_string(ctx, -1, "headers"))
		take_headers(ctx, list, r);
	duk_pop(ctx);
	duk_get_prop_string(ctx, -1, "body");
	if (duk_is_string(ctx, -1)) {
		k->body_is_text = true;
		r->body.p = duk_get_lstring(ctx, -1, &r->body.len);
	} else if (duk_is_buffer_data(ctx, -1)) {
		r->body.p = duk_get_buffer_data(ctx, -1, &r->body.len);
	} else if (!duk_is_null_or_undefined(ctx, -1)) {
		return duk_type_error(ctx, "the body is neither text nor bytes");
	}
	hold(ctx, list);
	duk_set_top(ctx, list + 1);
	return 1;
}

static enum tn_fault
fault_by_name(const char *name)
{
	static const char *const names[] = {
		[TN_FAULT_NONE] = "",
#define TN_FAULT(sym, status, code, message) [TN_FAULT_##sym] = #sym,
#include "errors.def"
	};

	for (unsigned i = 1; i < TN_FAULT_MAX; i++)
		if (strcmp(names[i], name) == 0)
			return (enum tn_fault)i;
	return TN_FAULT_THREW;
}

static void
result_fault(struct wk_result *r, enum tn_fault fault, const char *message)
{
	trouble_set(&r->trouble, fault, message);
	r->fault = fault;
	r->message = tn_str(r->trouble.message);
	r->status = 0;
	r->nheaders = 0;
	r->body = (struct tn_str){ NULL, 0 };
}

/* Text for outside: as it stands, or converted in `out`. */
static struct tn_str
outside(struct tn_buf *out, struct tn_str s)
{
	size_t at = out->len;

	wk_text_append(out, s);
	if (out->failed)
		return (struct tn_str){ NULL, 0 };
	return (struct tn_str){ out->p + at, out->len - at };
}

static bool
is_ascii(struct tn_str s)
{
	uint64_t eight, any = 0;
	size_t i;

	for (i = 0; i + sizeof(eight) <= s.len; i += sizeof(eight)) {
		memcpy(&eight, s.p + i, sizeof(eight));
		any |= eight;
	}
	for (; i < s.len; i++)
		any |= (unsigned char)s.p[i];
	return (any & UINT64_C(0x8080808080808080)) == 0;
}

static void
convert_result(struct taken *k, struct tn_buf *text, struct wk_result *r)
{
	size_t bytes = 0;

	if (k->fault) {
		char *message = r->trouble.message;

		copy_text(message, sizeof(r->trouble.message), r->message);
		r->fault = fault_by_name(k->fault_name);
		r->message = tn_str(message);
		return;
	}
	if (!(k->status >= 200 && k->status <= 599) || k->status != floor(k->status)) {
		result_fault(r, TN_FAULT_RESULT, "the status is not a number from 200 to 599");
		return;
	}
	r->status = (unsigned)k->status;
	for (size_t i = 0; i < r->nheaders; i++) {
		bytes += r->headers[i].len;
		if (bytes > WK_HEADERS_MAX) {
			result_fault(r, TN_FAULT_RESULT, "the headers are too large");
			return;
		}
		if (!is_ascii(r->headers[i]))
			r->headers[i] = outside(text, r->headers[i]);
	}
	if (k->body_is_text && !is_ascii(r->body)) {
		if (wk_text_out(NULL, r->body) > k->reply_max)
			r->body.len = k->reply_max + 1;
		else
			r->body = outside(text, r->body);
	}
	if (r->body.len > k->reply_max)
		result_fault(r, TN_FAULT_REPLY_SIZE, "the body is larger than reply_max");
	else if (text->failed)
		result_fault(r, TN_FAULT_REPLY_SIZE, "the reply is too large");
}

static void
result_trouble(struct wk_result *r)
{
	r->fault = r->trouble.fault != TN_FAULT_NONE ? r->trouble.fault : TN_FAULT_INTERNAL;
	r->message = tn_str(r->trouble.message);
	r->status = 0;
	r->nheaders = 0;
	r->body = (struct tn_str){ NULL, 0 };
}

/* How long to wait for what; 0: there is nothing to wait for, or not now. */
static uint64_t
patience(const struct step *s, unsigned operations)
{
	double ms = ceil(s->timeout);

	/* Negative, or whatever a tampered runtime says that is no time. */
	if (!(s->timeout >= 0))
		return operations > 0 ? WK_WAIT_FOREVER : 0;
	return ms < 86400000.0 ? (uint64_t)ms : 86400000u;
}

int
wk_heap_request(const struct wk_request *q, wk_wait *wait, void *arg, uint64_t reply_max,
    struct tn_buf *text, struct wk_result *r)
{
	struct step s = { .q = q };
	struct taken k = { .r = r, .reply_max = reply_max };
	uint64_t start = tn_clock_us(), ran;
	int rc;

	r->fault = TN_FAULT_NONE;
	r->message = r->body = (struct tn_str){ NULL, 0 };
	r->status = 0;
	r->nheaders = 0;
	r->bootstrap_us = r->execution_us = r->result_us = 0;
	wk_host_begin();

	rc = protect(begin, &s, &r->trouble);
	while (rc == 0 && !s.settled) {
		struct tn_frame_operated answer = { .operation = 0 };
		unsigned operations = wk_host_operations();
		uint64_t ms = patience(&s, operations);

		duk_pop(heap_ctx());
		if (!(s.timeout >= 0) && operations == 0) {
			result_fault(r, TN_FAULT_UNSETTLED,
			    "the promise is pending, and no timer is left");
			goto out;
		}
		/* With operations, for no time too: timers always due must not hide answers. */
		if (ms > 0 || operations > 0) {
			rc = protect(keep, NULL, &r->trouble);
			if (rc != 0)
				break;
			duk_pop(heap_ctx());
			rc = wait(arg, ms, &answer);
			if (rc == TN_ETIMEOUT) {
				/* The heap is whole, but the request is over. */
				result_fault(r, TN_FAULT_DEADLINE, "the deadline has passed");
				goto out;
			}
			if (rc != 0)
				return rc;
		}
		if (answer.operation == 0) {
			rc = protect(fire, &s, &r->trouble);
			continue;
		}
		wk_host_operated();
		if (answer.outcome == TN_OUTCOME_AGAIN) {
			result_fault(r, TN_FAULT_CONFLICT, "to be run again");
			goto out;
		}
		s.answer = &answer;
		rc = protect(answered, &s, &r->trouble);
	}
	ran = tn_clock_us();
	if (s.set_up_us == 0)
		s.set_up_us = ran;
	r->bootstrap_us = s.set_up_us - start;
	r->execution_us = ran - s.set_up_us;
	if (rc != 0) {
		result_trouble(r);
		return rc == TN_ETIMEOUT ? rc : 0;
	}
	if (!s.plain)
		duk_pop(heap_ctx());
	k.plain = s.plain;
	rc = protect_with(take_result, &k, s.plain ? 1 : 0, &r->trouble);
	if (rc != 0) {
		result_trouble(r);
		return rc == TN_ETIMEOUT ? rc : 0;
	}
	convert_result(&k, text, r);
	r->result_us = tn_clock_us() - ran;
	return 0;
out:
	ran = tn_clock_us();
	if (s.set_up_us == 0)
		s.set_up_us = ran;
	r->bootstrap_us = s.set_up_us - start;
	r->execution_us = ran - s.set_up_us;
	return 0;
}

int
wk_heap_end(void)
{
	struct wk_trouble t;
	duk_context *ctx = heap_ctx();
	int rc;

	duk_set_top(ctx, 0);
	rc = protect(keep, NULL, &t);
	duk_set_top(ctx, 0);
	return rc;
}
