/*
 * When a contract is run and when not (sv_breaker.h).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sv_breaker.h"

#define MS	1000u

static const struct sv_breaker_limits limits = { .deaths = 3, .window_us = 100 * MS,
    .pause_us = 50 * MS };

static bool
allowed(struct sv_breaker *b, uint64_t now, bool as_probe)
{
	bool probe;

	if (!sv_breaker_allows(b, now, &probe))
		return false;
	assert_int_equal(probe, as_probe);
	return true;
}

/* Three deaths at `now`. */
static void
open_it(struct sv_breaker *b, uint64_t now)
{
	assert_false(sv_breaker_death(b, &limits, now));
	assert_false(sv_breaker_death(b, &limits, now));
	assert_true(sv_breaker_death(b, &limits, now));
}

static void
so_many_deaths_within_the_window_open_it(void **state)
{
	struct sv_breaker b = { 0 };
	uint64_t left;

	(void)state;
	assert_true(allowed(&b, 0, false));
	open_it(&b, 7 * MS);
	assert_false(allowed(&b, 7 * MS, false));
	assert_true(sv_breaker_refuses(&b, 17 * MS, &left));
	assert_int_equal(left, 40 * MS);
}

static void
deaths_that_are_far_apart_do_not(void **state)
{
	struct sv_breaker b = { 0 };
	uint64_t now;

	(void)state;
	for (now = 0; now < 10000 * MS; now += 60 * MS)
		assert_false(sv_breaker_death(&b, &limits, now));
	assert_true(allowed(&b, now, false));
}

static void
without_a_number_it_never_opens(void **state)
{
	const struct sv_breaker_limits off = { .deaths = 0, .window_us = 1000 * MS };
	struct sv_breaker b = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_false(sv_breaker_death(&b, &off, i));
	assert_true(allowed(&b, 100, false));
}

static void
after_the_pause_one_request_tells(void **state)
{
	struct sv_breaker b = { 0 };
	uint64_t left;

	(void)state;
	open_it(&b, 0);
	assert_true(allowed(&b, 50 * MS, true));
	assert_false(allowed(&b, 50 * MS, false));	/* one */
	assert_true(sv_breaker_refuses(&b, 500 * MS, &left));
	sv_breaker_over(&b, true);
	assert_true(allowed(&b, 500 * MS, false));
	assert_int_equal(b.state, SV_BREAKER_CLOSED);
}

static void
a_probe_that_dies_doubles_the_pause_up_to_a_minute(void **state)
{
	struct sv_breaker b = { 0 };
	uint64_t now = 0, pause = 50 * MS;

	(void)state;
	open_it(&b, now);
	for (unsigned i = 0; i < 20; i++) {
		assert_false(allowed(&b, now + pause - 1, true));
		now += pause;
		assert_true(allowed(&b, now, true));
		assert_true(sv_breaker_death(&b, &limits, now));
		pause = pause * 2 < SV_BREAKER_PAUSE_MAX_US ? pause * 2 : SV_BREAKER_PAUSE_MAX_US;
	}
	assert_int_equal(pause, SV_BREAKER_PAUSE_MAX_US);
}

static void
a_probe_that_was_never_run_lets_another_try(void **state)
{
	struct sv_breaker b = { 0 };

	(void)state;
	open_it(&b, 0);
	assert_true(allowed(&b, 50 * MS, true));
	sv_breaker_over(&b, false);
	assert_true(allowed(&b, 51 * MS, true));
}

static void
deaths_of_those_that_ran_already_change_nothing(void **state)
{
	struct sv_breaker b = { 0 };

	(void)state;
	open_it(&b, 0);
	assert_false(sv_breaker_death(&b, &limits, 40 * MS));
	assert_true(allowed(&b, 50 * MS, true));
}

static void
a_reset_forgets_everything(void **state)
{
	struct sv_breaker b = { 0 };

	(void)state;
	open_it(&b, 0);
	sv_breaker_reset(&b);
	assert_true(allowed(&b, 1, false));
	open_it(&b, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_many_deaths_within_the_window_open_it),
		cmocka_unit_test(deaths_that_are_far_apart_do_not),
		cmocka_unit_test(without_a_number_it_never_opens),
		cmocka_unit_test(after_the_pause_one_request_tells),
		cmocka_unit_test(a_probe_that_dies_doubles_the_pause_up_to_a_minute),
		cmocka_unit_test(a_probe_that_was_never_run_lets_another_try),
		cmocka_unit_test(deaths_of_those_that_ran_already_change_nothing),
		cmocka_unit_test(a_reset_forgets_everything),
	};

	return cmocka_run_group_tests_name("sv_breaker", tests, NULL, NULL);
}
