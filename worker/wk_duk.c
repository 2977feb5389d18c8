#include "config.h"

#include "wk_duk.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "tn_clock.h"
#include "wk_deadline.h"

/* Room that must be left: a signal's frame, the handler, one deep libc call. */
#define STACK_SPARE	(256u << 10)
#define STACK_MAX	(64u << 20)

unsigned wk_duk_hash_seed = 0x7a61u;
static uintptr_t stack_limit;

const char *
wk_duk_version(void)
{
	static char text[16];

	(void)snprintf(text, sizeof(text), "%ld.%ld.%ld", (long)DUK_VERSION / 10000,
	    (long)DUK_VERSION / 100 % 100, (long)DUK_VERSION % 100);
	return text;
}

void
wk_duk_set_hash_seed(unsigned seed)
{
	wk_duk_hash_seed = seed;
}

void
wk_duk_learn_stack(void)
{
	struct rlimit rl;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t size = 8u << 20;

	if (getrlimit(RLIMIT_STACK, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY)
		size = rl.rlim_cur;
	if (size > STACK_MAX)
		size = STACK_MAX;
	/* main's caller, the environment and the arguments stand above us: they count too. */
	if (size < 2 * STACK_SPARE)
		stack_limit = here - size / 2;
	else
		stack_limit = here - (size - STACK_SPARE);
}

int
wk_duk_stack_low(void)
{
	return (uintptr_t)__builtin_frame_address(0) < stack_limit;
}

int
wk_duk_timed_out(void *udata)
{
	(void)udata;
	return wk_deadline_pending();
}

double
wk_duk_now(void)
{
	return tn_clock_wall_ms();
}

double
wk_duk_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}
