#include "config.h"

#include "wk_host.h"

#include <stdio.h>

#include "tn_err.h"
#include "tn_operation.h"
#include "wk_arena.h"
#include "wk_deadline.h"
#include "wk_random.h"
#include "wk_ready.h"
#include "wk_text.h"

#define STASH_TABLE	"tana"
#define RANDOM_BYTES_MAX 65536

static wk_log_sink *log_sink;
static void *log_arg;
static double began;
static struct {
	wk_operate	*send;
	void		*arg;
	struct tn_buf	*payload;
	uint64_t	 last;		/* number of the last one */
	unsigned	 pending;
} operations;

void
wk_host_set_sink(wk_log_sink *sink, void *arg)
{
	log_sink = sink;
	log_arg = arg;
}

void
wk_host_begin(void)
{
	began = wk_duk_monotonic();
	operations.last = 0;
	operations.pending = 0;
}

void
wk_host_set_operate(wk_operate *fn, void *arg, struct tn_buf *payload)
{
	operations.send = fn;
	operations.arg = arg;
	operations.payload = payload;
}

unsigned
wk_host_operations(void)
{
	return operations.pending;
}

void
wk_host_operated(void)
{
	if (operations.pending > 0)
		operations.pending--;
}

void
wk_host_push_text(duk_context *ctx, struct tn_str text)
{
	size_t n;
	char *p;

	if (text.len == 0) {
		duk_push_lstring(ctx, "", 0);
		return;
	}
	if (wk_text_same(text)) {
		duk_push_lstring(ctx, text.p, text.len);
		return;
	}
	n = wk_text_in(NULL, text);
	p = duk_push_fixed_buffer(ctx, n);
	(void)wk_text_in(p, text);
	(void)duk_buffer_to_string(ctx, -1);
}

void
wk_host_push_bytes(duk_context *ctx, struct tn_str bytes)
{
	void *p = duk_push_fixed_buffer(ctx, bytes.len);

	if (bytes.len > 0)
		memcpy(p, bytes.p, bytes.len);
	duk_push_buffer_object(ctx, -1, 0, bytes.len, DUK_BUFOBJ_UINT8ARRAY);
	duk_remove(ctx, -2);
}

void
wk_host_push_texts(duk_context *ctx, struct tn_strv texts)
{
	/* An ordinary array would ask its prototype for setters, which a contract may have put there. */
	(void)duk_push_bare_array(ctx);
	for (size_t i = 0; i < texts.n; i++) {
		wk_host_push_text(ctx, texts.v[i]);
		duk_put_prop_index(ctx, -2, (duk_uarridx_t)i);
	}
}

static bool
append_text(struct tn_buf *b, struct tn_str text)
{
	size_t n = wk_text_out(NULL, text), at;
	unsigned char head[4] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16),
		(unsigned char)(n >> 8), (unsigned char)n };

	if (n > b->cap || b->len + sizeof(head) + n > b->cap)
		return false;
	tn_buf_append(b, head, sizeof(head));
	at = b->len;
	wk_text_append(b, text);
	return !b->failed && b->len == at + n;
}

static duk_ret_t
host_log(duk_context *ctx)
{
	static char memory[WK_LOG_TEXT_MAX + 64];
	struct tn_str text;
	struct tn_buf out;
	int level = duk_to_int(ctx, 0);

	text.p = duk_to_lstring(ctx, 1, &text.len);
	if (level < TN_LOG_ERROR || level > TN_LOG_DEBUG)
		level = TN_LOG_INFO;
	/* Cut at a character; inside text may shrink on its way out, never grow by more than that. */
	if (text.len > WK_LOG_TEXT_MAX) {
		size_t n = WK_LOG_TEXT_MAX;

		while (n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
			n--;
		text.len = n;
	}
	wk_deadline_hold();
	if (log_sink != NULL) {
		tn_buf_init_fixed(&out, memory, sizeof(memory));
		wk_text_append(&out, text);
		if (out.failed)
			log_sink(log_arg, level, TN_STR("(a record of invalid text)"));
		else
			log_sink(log_arg, level, (struct tn_str){ out.p, out.len });
	}
	wk_deadline_release();
	return 0;
}

static duk_ret_t
host_random(duk_context *ctx)
{
	double v;

	wk_deadline_hold();
	v = wk_random_double();
	wk_deadline_release();
	duk_push_number(ctx, v);
	return 1;
}

static duk_ret_t
host_random_bytes(duk_context *ctx)
{
	double n = duk_require_number(ctx, 0);
	void *p;

	if (!(n >= 0 && n <= RANDOM_BYTES_MAX))
		return duk_range_error(ctx, "randomBytes: more than %d bytes", RANDOM_BYTES_MAX);
	p = duk_push_fixed_buffer(ctx, (size_t)n);
	wk_deadline_hold();
	wk_random_bytes(p, (size_t)n);
	wk_deadline_release();
	duk_push_buffer_object(ctx, -1, 0, (size_t)n, DUK_BUFOBJ_UINT8ARRAY);
	return 1;
}

static duk_ret_t
host_monotonic(duk_context *ctx)
{
	duk_push_number(ctx, wk_duk_monotonic() - began);
	return 1;
}

static duk_ret_t
host_hidden(duk_context *ctx)
{
	char key[32];

	/* A name that begins with this byte is a symbol that no reflection lists. */
	(void)snprintf(key, sizeof(key), "\xff%s", duk_require_string(ctx, 0));
	duk_push_string(ctx, key);
	return 1;
}

/* operate(kind, texts): send an operation; its number, or 0 if it is too long. */
static duk_ret_t
host_operate(duk_context *ctx)
{
	struct tn_buf *b = operations.payload;
	duk_uarridx_t i, n;
	bool fits = true;
	int rc = TN_ELIMIT;

	duk_require_object(ctx, 1);
	n = (duk_uarridx_t)duk_get_length(ctx, 1);
	if (operations.send == NULL)
		return duk_generic_error(ctx, "there is no server here to ask");
	if (operations.pending >= TN_OPERATIONS_PENDING_MAX)
		return duk_range_error(ctx, "operate: too many at a time");
	b->len = 0;
	b->failed = false;
	for (i = 0; i < n && fits; i++) {
		struct tn_str text;

		duk_get_prop_index(ctx, 1, i);
		text.p = duk_require_lstring(ctx, -1, &text.len);
		/* What is held is short: the copy of one text. */
		wk_deadline_hold();
		fits = append_text(b, text);
		wk_deadline_release();
		duk_pop(ctx);
	}
	if (fits) {
		wk_deadline_hold();
		rc = operations.send(operations.arg, operations.last + 1,
		    (uint64_t)duk_get_uint(ctx, 0), (struct tn_str){ b->p, b->len });
		if (rc == 0) {
			operations.last++;
			operations.pending++;
		}
		wk_deadline_release();
	}
	duk_push_number(ctx, rc == 0 ? (double)operations.last : 0);
	return 1;
}

/* bytes(text): its length outside, in UTF-8. */
static duk_ret_t
host_bytes(duk_context *ctx)
{
	struct tn_str text;

	text.p = duk_require_lstring(ctx, 0, &text.len);
	duk_push_number(ctx, (double)wk_text_out(NULL, text));
	return 1;
}

/* wellFormed(text): as it would come back from outside, where surrogates have partners. */
static duk_ret_t
host_well_formed(duk_context *ctx)
{
	struct tn_str text, out;
	char *p;

	text.p = duk_require_lstring(ctx, 0, &text.len);
	out.len = wk_text_out(NULL, text);
	out.p = p = duk_push_fixed_buffer(ctx, out.len);
	(void)wk_text_out(p, text);
	wk_host_push_text(ctx, out);
	return 1;
}

static duk_ret_t
host_register(duk_context *ctx)
{
	duk_require_object(ctx, 0);
	duk_push_heap_stash(ctx);
	duk_dup(ctx, 0);
	duk_put_prop_string(ctx, -2, STASH_TABLE);
	/* The stash keeps it; this is where it is. */
	WK_ARENA->table = duk_get_heapptr(ctx, 0);
	return 0;
}

void
wk_host_install(duk_context *ctx)
{
	static const duk_function_list_entry functions[] = {
		{ "log", host_log, 2 },
		{ "random", host_random, 0 },
		{ "randomBytes", host_random_bytes, 1 },
		{ "monotonic", host_monotonic, 0 },
		{ "hidden", host_hidden, 1 },
		{ "operate", host_operate, 2 },
		{ "bytes", host_bytes, 1 },
		{ "wellFormed", host_well_formed, 1 },
		{ "givenUrl", wk_ready_given_url, 0 },
		{ "givenIp", wk_ready_given_ip, 0 },
		{ "givenHeaders", wk_ready_given_headers, 0 },
		{ "givenBlock", wk_ready_given_block, 0 },
		{ "register", host_register, 1 },
		{ NULL, NULL, 0 }
	};

	duk_push_object(ctx);
	duk_put_function_list(ctx, -1, functions);
	duk_push_object(ctx);
	duk_push_string(ctx, PACKAGE_VERSION);
	duk_put_prop_string(ctx, -2, "tana");
	duk_push_string(ctx, wk_duk_version());
	duk_put_prop_string(ctx, -2, "duktape");
	duk_put_prop_string(ctx, -2, "version");
	/* Duktape's own key; an error without it has a stack that names our frames. */
	duk_push_string(ctx, "\x82" "Tracedata");
	duk_put_prop_string(ctx, -2, "traceKey");
	duk_put_global_string(ctx, "__host");
}

void
wk_host_remove(duk_context *ctx)
{
	duk_push_global_object(ctx);
	(void)duk_del_prop_string(ctx, -1, "__host");
	/* Finalizers, raw buffers as strings, the bytecode loader: not for contracts. */
	(void)duk_del_prop_string(ctx, -1, "Duktape");
	if (duk_get_prop_string(ctx, -1, "String")) {
		(void)duk_del_prop_string(ctx, -1, "fromBuffer");
		(void)duk_del_prop_string(ctx, -1, "fromBufferRaw");
	}
	duk_pop_2(ctx);
}

void
wk_host_push_table(duk_context *ctx)
{
	if (WK_ARENA->table == NULL)
		(void)duk_error(ctx, DUK_ERR_ERROR, "the runtime has not registered itself");
	(void)duk_push_heapptr(ctx, WK_ARENA->table);
}
