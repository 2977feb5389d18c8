/*
 * wk_duk_system.c - the interface of wk_duk.h on the system's Duktape.
 *
 * Lost: the checks of native stack and time (the deadline's signal still works),
 * the hash seed, holding off the garbage collector; and it is slower.
 */
#include "config.h"

#include "wk_duk.h"

#include "wk_random.h"

const char *
wk_duk_how(void)
{
	return "system library: no check of the native stack, no hash seed, "
	    "garbage is collected during requests";
}

void
wk_duk_gc_hold(duk_context *ctx)
{
	(void)ctx;
}

void
wk_duk_gc_release(duk_context *ctx)
{
	(void)ctx;
}

static duk_ret_t
math_random(duk_context *ctx)
{
	duk_push_number(ctx, wk_random_double());
	return 1;
}

void
wk_duk_patch(duk_context *ctx)
{
	/* The library's generator has its state in the heap, which is put back. */
	duk_get_global_string(ctx, "Math");
	duk_push_string(ctx, "random");
	duk_push_c_function(ctx, math_random, 0);
	duk_def_prop(ctx, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_FORCE |
	    DUK_DEFPROP_SET_WRITABLE | DUK_DEFPROP_CLEAR_ENUMERABLE | DUK_DEFPROP_SET_CONFIGURABLE);
	duk_pop(ctx);
}

void
wk_duk_freeze(const void *base, size_t bytes)
{
	(void)base;
	(void)bytes;
}
