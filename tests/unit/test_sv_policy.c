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
	assert_int_equal(out.retire, 0);
	in.starting = 4;
	out = sv_policy_size(&in);
	assert_int_equal(out.spawn, 0);
	assert_int_equal(out.retire, 0);
	/* One is ready: it takes part, and one of those goes. */
	in.starting = 3;
	in.standby = 1;
	out = sv_policy_size(&in);
	assert_int_equal(out.promote, 1);
	assert_int_equal(out.retire, 1);
	in.starting = in.standby = 0;
	in.idle = 8;
	out = sv_policy_size(&in);
	assert_int_equal(out.spawn, 0);
	assert_int_equal(out.retire, 4);
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
	assert_int_equal(out.retire, 3);
}

static void
a_reserve_takes_the_place_of_who_died_and_is_made_up_for(void **state)
{
	struct sv_policy_in in = calm;
	struct sv_policy_out out;

	(void)state;
	in.standby_min = 2;
	in.idle = 4;
	assert_int_equal(sv_policy_size(&in).spawn, 2);
	in.standby = 2;
	out = sv_policy_size(&in);
	assert_int_equal(out.promote, 0);
	assert_int_equal(out.spawn, 0);
	in.idle = 3;
	out = sv_policy_size(&in);
	assert_int_equal(out.promote, 1);
	assert_int_equal(out.spawn, 1);
	in.idle = 0;
	out = sv_policy_size(&in);
	assert_int_equal(out.promote, 2);
	assert_int_equal(out.spawn, 4);
}

static void
who_is_ready_and_no_reserve_takes_part(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.standby_min = 1;
	in.idle = 4;
	in.standby = 3;
	assert_int_equal(sv_policy_size(&in).promote, 2);
	in.unused = 3;		/* they are waited for as they are */
	assert_int_equal(sv_policy_size(&in).promote, 0);
}

static void
requests_for_unused_workers_raise_the_reserve_within_max(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.standby_min = 1;
	in.idle = 4;
	in.queued = in.unused = 10;
	assert_int_equal(sv_policy_size(&in).spawn, 10);
	in.unused = in.queued = 1000;
	assert_int_equal(sv_policy_size(&in).spawn, in.max - 4 + 1);
	in.busy = in.max;
	in.idle = 0;
	assert_int_equal(sv_policy_size(&in).spawn, 1);
	/* Those that serve them now are processes, too. */
	in = calm;
	in.standby_min = 1;
	in.idle = 4;
	in.leaving = 90;
	in.queued = in.unused = 1000;
	assert_int_equal(sv_policy_size(&in).spawn, in.max - 4 - 90 + 1);
	/* Who takes part is no reserve, however many there are. */
	in.leaving = in.busy = 0;
	in.idle = 50;
	in.unused = in.queued = 1;
	assert_int_equal(sv_policy_size(&in).spawn, 1);
	in.leaving = 200;
	assert_int_equal(sv_policy_size(&in).spawn, 0);
	/* It is not the pool that they wait for. */
	in = calm;
	in.idle = 4;
	in.standby_min = 1;
	in.standby = 1;
	in.queued = in.unused = 1;
	in.head_wait_us = SV_POLICY_GROW_US;
	assert_int_equal(sv_policy_size(&in).promote, 0);
	assert_int_equal(sv_policy_size(&in).spawn, 0);
}

static void
the_pool_grows_while_only_a_reserve_is_starting(void **state)
{
	struct sv_policy_in in = calm;

	(void)state;
	in.standby_min = 1;
	in.busy = 4;
	in.starting = 1;
	in.queued = 20;
	in.head_wait_us = SV_POLICY_GROW_US;
	assert_true(sv_policy_size(&in).spawn > 0);
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
		cmocka_unit_test(a_reserve_takes_the_place_of_who_died_and_is_made_up_for),
		cmocka_unit_test(who_is_ready_and_no_reserve_takes_part),
		cmocka_unit_test(requests_for_unused_workers_raise_the_reserve_within_max),
		cmocka_unit_test(the_pool_grows_while_only_a_reserve_is_starting),
		cmocka_unit_test(one_shot_keeps_spares_behind_the_busy),
		cmocka_unit_test(delay_doubles_up_to_a_minute),
		cmocka_unit_test(surplus_is_the_idle_above_min),
	};

	return cmocka_run_group_tests_name("sv_policy", tests, NULL, NULL);
}
