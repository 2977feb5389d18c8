#include "config.h"

#include "wk_host.h"

#include <stdio.h>

#include "wk_deadline.h"
#include "wk_random.h"
#include "wk_text.h"

#define STASH_TABLE	"tana"
#define RANDOM_BYTES_MAX 65536

static wk_log_sink *log_sink;
static void *log_arg;
static double began;

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

static duk_ret_t
host_register(duk_context *ctx)
{
	duk_require_object(ctx, 0);
	duk_push_heap_stash(ctx);
	duk_dup(ctx, 0);
	duk_put_prop_string(ctx, -2, STASH_TABLE);
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
	duk_push_heap_stash(ctx);
	if (!duk_get_prop_string(ctx, -1, STASH_TABLE))
		(void)duk_error(ctx, DUK_ERR_ERROR, "the runtime has not registered itself");
	duk_remove(ctx, -2);
}
