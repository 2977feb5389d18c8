/*
 * How many workers there should be (sv_policy.h).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sv_policy.h"

static const struct sv_policy_in calm = { .min = 4, .max = 100 };

static void
starts_min_workers(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	assert_int_equal(sv_policy_size(&in).spawn, 4);
	in.starting = 4;
	assert_int_equal(sv_policy_size(&in).spawn, 0);
	in.starting = 1;
	in.idle = 2;
	assert_int_equal(sv_policy_size(&in).spawn, 1);
}

static void
grows_only_when_the_queue_has_waited(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.busy = 4;
	in.queued = 20;
	in.head_wait_us = SV_POLICY_GROW_US - 1;
	assert_int_equal(sv_policy_size(&in).spawn, 0);
	in.head_wait_us = SV_POLICY_GROW_US;
	assert_true(sv_policy_size(&in).spawn > 0);
}

static void
does_not_grow_while_workers_are_starting(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.busy = 4;
	in.starting = 1;
	in.queued = 20;
	in.head_wait_us = 10 * SV_POLICY_GROW_US;
	assert_int_equal(sv_policy_size(&in).spawn, 0);
}

static void
never_asks_for_more_than_the_queue_needs(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.busy = 50;
	in.queued = 1;
	in.head_wait_us = SV_POLICY_GROW_US;
	assert_int_equal(sv_policy_size(&in).spawn, 1);
}

static void
never_exceeds_max(void **state)
{
	struct sv_policy_in in = calm;
	unsigned have;

	(void)state;
	in.queued = 1000;
	in.head_wait_us = SV_POLICY_GROW_US;
	for (have = 0; have <= in.max; have++) {
		in.busy = have;
		assert_true(have + sv_policy_size(&in).spawn <= in.max);
		in.one_shot = true;
		assert_true(have + sv_policy_size(&in).spawn <= in.max);
		in.one_shot = false;
	}
	/* A max that was lowered by a reload is no reason to underflow. */
	in.busy = in.max + 7;
	assert_int_equal(sv_policy_size(&in).spawn, 0);
}

static void
a_replacement_is_asked_for_before_the_pending_go(void **state)
{
	struct sv_policy_in in = calm;
	struct sv_policy_out out;

	(void)state;
	in.idle = 4;
	in.pending = 4;
	out = sv_policy_size(&in);
	assert_int_equal(out.spawn, 4);
	assert_false(out.retire_pending);
	in.starting = 4;
	out = sv_policy_size(&in);
	assert_int_equal(out.spawn, 0);
	assert_false(out.retire_pending);
	in.starting = 0;
	in.idle = 8;
	out = sv_policy_size(&in);
	assert_int_equal(out.spawn, 0);
	assert_true(out.retire_pending);
}

static void
pending_workers_above_min_need_no_replacement(void **state)
{
	struct sv_policy_in in = calm;
	struct sv_policy_out out;

	(void)state;
	in.idle = 10;
	in.pending = 3;
	out = sv_policy_size(&in);
	assert_int_equal(out.spawn, 0);
	assert_true(out.retire_pending);
}

static void
one_shot_keeps_spares_behind_the_busy(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.one_shot = true;
	in.busy = 4;
	assert_int_equal(sv_policy_size(&in).spawn, 4);
	in.queued = 9;
	assert_int_equal(sv_policy_size(&in).spawn, 9);
	in.idle = 4;
	in.queued = 0;
	assert_int_equal(sv_policy_size(&in).spawn, 0);
	assert_int_equal(sv_policy_surplus(&in), 0);
}

static void
delay_doubles_up_to_a_minute(void **state)
{
	unsigned ms = 0, i;

	(void)state;
	assert_int_equal(ms = sv_policy_backoff(ms), 100);
	assert_int_equal(ms = sv_policy_backoff(ms), 200);
	for (i = 0; i < 20; i++) {
		unsigned next = sv_policy_backoff(ms);

		assert_true(next >= ms && next <= SV_POLICY_DELAY_MAX_MS);
		ms = next;
	}
	assert_int_equal(ms, SV_POLICY_DELAY_MAX_MS);
}

static void
surplus_is_the_idle_above_min(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.idle = 3;
	in.busy = 3;
	assert_int_equal(sv_policy_surplus(&in), 2);
	in.busy = 20;
	assert_int_equal(sv_policy_surplus(&in), 3);
	in.queued = 1;
	assert_int_equal(sv_policy_surplus(&in), 0);
	in.queued = in.busy = 0;
	assert_int_equal(sv_policy_surplus(&in), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_min_workers),
		cmocka_unit_test(grows_only_when_the_queue_has_waited),
		cmocka_unit_test(does_not_grow_while_workers_are_starting),
		cmocka_unit_test(never_asks_for_more_than_the_queue_needs),
		cmocka_unit_test(never_exceeds_max),
		cmocka_unit_test(a_replacement_is_asked_for_before_the_pending_go),
		cmocka_unit_test(pending_workers_above_min_need_no_replacement),
		cmocka_unit_test(one_shot_keeps_spares_behind_the_busy),
		cmocka_unit_test(delay_doubles_up_to_a_minute),
		cmocka_unit_test(surplus_is_the_idle_above_min),
	};

	return cmocka_run_group_tests_name("sv_policy", tests, NULL, NULL);
}
