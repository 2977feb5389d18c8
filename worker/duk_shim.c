/*
 * duk_shim.c - Duktape's source, compiled with our configuration, and the few
 * functions that need its insides.
 *
 * Duktape is somebody else's code: our warnings are not for it.
 */
#include "config.h"

#define DUK_COMPILING_DUKTAPE

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wclobbered"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wtype-limits"

#include "wk_duk.h"
#include "duktape_frozen.c"

#pragma GCC diagnostic pop

uintptr_t wk_duk_frozen_base, wk_duk_frozen_bytes;

void
wk_duk_freeze(const void *base, size_t bytes)
{
	wk_duk_frozen_base = (uintptr_t)base;
	wk_duk_frozen_bytes = bytes;
}

const char *
wk_duk_how(void)
{
	return "built in from source";
}

/*
 * Duktape counts this down at each allocation and collects at 0; then it sets it
 * anew, in proportion to the heap.
 */
#define GC_HELD		DUK_INT_MAX
#define GC_SOON		100000		/* far less than it would set for a warm heap */

void
wk_duk_gc_hold(duk_context *ctx)
{
	((duk_hthread *)ctx)->heap->ms_trigger_counter = GC_HELD;
}

void
wk_duk_gc_release(duk_context *ctx)
{
	duk_heap *heap = ((duk_hthread *)ctx)->heap;

	/* Not held: leave Duktape its own count. */
	if (heap->ms_trigger_counter > GC_HELD / 2)
		heap->ms_trigger_counter = GC_SOON;
}

void
wk_duk_patch(duk_context *ctx)
{
	(void)ctx;
}
