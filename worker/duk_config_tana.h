/*
 * duk_config_tana.h - our configuration of Duktape, on top of the stock one.
 *
 * Included before duktape.h by whoever uses or compiles Duktape here.
 */
#ifndef DUK_CONFIG_TANA_H
#define DUK_CONFIG_TANA_H

#include "duk_config.h"		/* Duktape's own */

#ifdef WK_DUK_SOURCE

/* The answers come from wk_duk.c and wk_random.c; none keeps state in the heap. */
int wk_duk_timed_out(void *udata);
int wk_duk_stack_low(void);
double wk_duk_now(void);
double wk_duk_monotonic(void);
double wk_random_double(void);
extern unsigned wk_duk_hash_seed;

#undef DUK_USE_INTERRUPT_COUNTER
#define DUK_USE_INTERRUPT_COUNTER
#undef DUK_USE_EXEC_TIMEOUT_CHECK
#define DUK_USE_EXEC_TIMEOUT_CHECK(udata)	wk_duk_timed_out((udata))

/* A stack that runs out must be a RangeError in every native recursion. */
#undef DUK_USE_NATIVE_STACK_CHECK
#define DUK_USE_NATIVE_STACK_CHECK()		wk_duk_stack_low()

/* A restored heap would repeat its random numbers and its hashes. */
#undef DUK_USE_GET_RANDOM_DOUBLE
#define DUK_USE_GET_RANDOM_DOUBLE(udata)	wk_random_double()
#define DUK__FIXED_HASH_SEED			wk_duk_hash_seed

/* wk_duk_freeze(); used by the macros that mkfrozen.sh puts in. */
extern __UINTPTR_TYPE__ wk_duk_frozen_base, wk_duk_frozen_bytes;
#define WK_DUK_FROZEN(h)	((__UINTPTR_TYPE__)(h) - wk_duk_frozen_base < wk_duk_frozen_bytes)

/*
 * A string table that grows writes to every string, and so to nearly every page of
 * the image: it keeps its size.  That is half of what the runtime's strings alone
 * would give it: each new string writes to one of the table's pages, any of them, and
 * they are put back after each request; chains twice as long cost less.
 */
#undef DUK_USE_STRTAB_MINSIZE
#undef DUK_USE_STRTAB_MAXSIZE
#define DUK_USE_STRTAB_MINSIZE			4096
#define DUK_USE_STRTAB_MAXSIZE			4096

/*
 * JSON of objects that have nothing to run (no getter, no toJSON) from their tables of
 * properties; of others as ever.
 */
#undef DUK_USE_JSON_STRINGIFY_FASTPATH
#define DUK_USE_JSON_STRINGIFY_FASTPATH

/*
 * The clock without files; UTC without libc's time zone, whose lock a deadline's
 * longjmp could leave taken; no strptime and strftime with their locales.
 */
#undef DUK_USE_DATE_GET_NOW
#define DUK_USE_DATE_GET_NOW(ctx)		wk_duk_now()
#undef DUK_USE_GET_MONOTONIC_TIME
#define DUK_USE_GET_MONOTONIC_TIME(ctx)		wk_duk_monotonic()
#undef DUK_USE_GET_MONOTONIC_TIME_CLOCK_GETTIME
#undef DUK_USE_DATE_NOW_GETTIMEOFDAY
#undef DUK_USE_DATE_TZO_GMTIME_R
#undef DUK_USE_DATE_GET_LOCAL_TZOFFSET
#define DUK_USE_DATE_GET_LOCAL_TZOFFSET(d)	0
#undef DUK_USE_DATE_PRS_STRPTIME
#undef DUK_USE_DATE_PARSE_STRING
#undef DUK_USE_DATE_FMT_STRFTIME
#undef DUK_USE_DATE_FORMAT_STRING

#endif /* WK_DUK_SOURCE */
#endif
