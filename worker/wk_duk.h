/*
 * wk_duk.h - Duktape, and what its public interface lacks.
 *
 * Two files implement this: duk_shim.c compiles Duktape's source with
 * duk_config_tana.h; wk_duk_system.c stands on the system's library, which has
 * no check of the native stack, no check of the time, no choice of the hash
 * seed, and whose voluntary garbage collection cannot be held off.
 */
#ifndef WK_DUK_H
#define WK_DUK_H

#include <stdbool.h>
#include <stddef.h>

#include "duk_config_tana.h"
#include "duktape.h"

/* "2.7.0", and how it came into the program. */
const char *wk_duk_version(void);
const char *wk_duk_how(void);

/* Before a heap is made; `seed` makes collisions of strings hard to guess. */
void wk_duk_set_hash_seed(unsigned seed);

/*
 * Learn how far the calling process's stack may grow.  Call in main's thread at
 * start-up; children inherit it.
 */
void wk_duk_learn_stack(void);

/* No voluntary garbage collection in this heap; when memory runs out it happens all the same. */
void wk_duk_gc_hold(duk_context *ctx);
void wk_duk_gc_release(duk_context *ctx);

/*
 * What stands in these bytes is an image's: it will not be freed for want of
 * references, so that nobody counts them and calling a function of the image writes
 * to none of its pages.  (Garbage is still found by marking.)  0 bytes: nothing is.
 * The system's library counts all the same.
 */
void wk_duk_freeze(const void *base, size_t bytes);

/* After duk_create_heap: what must be replaced in the heap itself. */
void wk_duk_patch(duk_context *ctx);

/* Used by Duktape itself: see duk_config_tana.h. */
int wk_duk_timed_out(void *udata);
int wk_duk_stack_low(void);
double wk_duk_now(void);
double wk_duk_monotonic(void);

#endif
