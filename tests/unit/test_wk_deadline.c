/*
 * The deadline's signal: when it jumps, when it waits, and when it is not meant.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tn_err.h"
#include "wk_deadline.h"

static struct tn_slots slots;
static volatile int steps;	/* raise() is not known to come back here */

static int
setup(void **state)
{
	(void)state;
	memset(&slots, 0, sizeof(slots));
	steps = 0;
	wk_deadline_arm(0);
	return wk_deadline_install(&slots);
}

static void
count(void *arg)
{
	(void)arg;
	steps++;
}

static void
step_and_signal(void *arg)
{
	atomic_store(&slots.timeout_id, *(uint64_t *)arg);
	steps++;
	(void)raise(SIGALRM);
	steps++;
}

static void
test_code_that_ends_in_time_is_not_disturbed(void **state)
{
	(void)state;
	wk_deadline_arm(5);
	assert_int_equal(wk_deadline_run(count, NULL), 0);
	assert_int_equal(steps, 1);
	assert_false(wk_deadline_passed());
}

static void
test_the_signal_leaves_at_once(void **state)
{
	uint64_t id = 5;

	(void)state;
	wk_deadline_arm(5);
	assert_int_equal(wk_deadline_run(step_and_signal, &id), TN_ETIMEOUT);
	assert_int_equal(steps, 1);
	assert_true(wk_deadline_passed());
}

/* The mask is not restored by the jump: the signal must be receivable all the same. */
static void
test_it_leaves_time_after_time(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 1000; id++) {
		wk_deadline_arm(id);
		assert_false(wk_deadline_passed());
		assert_int_equal(wk_deadline_run(step_and_signal, &id), TN_ETIMEOUT);
		assert_int_equal(steps, id);
	}
}

static void
test_a_signal_for_another_request_is_not_meant(void **state)
{
	uint64_t id = 4;

	(void)state;
	wk_deadline_arm(5);
	assert_int_equal(wk_deadline_run(step_and_signal, &id), 0);
	assert_int_equal(steps, 2);
	assert_false(wk_deadline_passed());
	/* Nor is one while nothing runs, even with 0 in the page. */
	wk_deadline_arm(0);
	atomic_store(&slots.timeout_id, 0);
	(void)raise(SIGALRM);
	assert_false(wk_deadline_passed());
}

/* The page is written before the signal is sent: whoever looks there is not late. */
static void
test_a_deadline_before_the_run_prevents_it(void **state)
{
	(void)state;
	wk_deadline_arm(6);
	atomic_store(&slots.timeout_id, 6);
	assert_true(wk_deadline_passed());
	assert_int_equal(wk_deadline_run(count, NULL), TN_ETIMEOUT);
	assert_int_equal(steps, 0);
}

static void
hold_and_signal(void *arg)
{
	atomic_store(&slots.timeout_id, *(uint64_t *)arg);
	wk_deadline_hold();
	(void)raise(SIGALRM);
	steps++;			/* done in spite of it */
	assert_true(wk_deadline_pending());
	wk_deadline_release();
	steps += 100;
}

static void
test_what_is_held_is_finished_first(void **state)
{
	uint64_t id = 9;

	(void)state;
	wk_deadline_arm(9);
	assert_int_equal(wk_deadline_run(hold_and_signal, &id), TN_ETIMEOUT);
	assert_int_equal(steps, 1);
}

static void
hold_and_go_on(void *arg)
{
	(void)arg;
	wk_deadline_hold();
	wk_deadline_release();
	steps++;
}

static void
test_holding_without_a_signal_changes_nothing(void **state)
{
	(void)state;
	wk_deadline_arm(9);
	assert_int_equal(wk_deadline_run(hold_and_go_on, NULL), 0);
	assert_int_equal(steps, 1);
	/* Outside of a run there is nowhere to jump to. */
	wk_deadline_hold();
	atomic_store(&slots.timeout_id, 9);
	(void)raise(SIGALRM);
	wk_deadline_release();
	assert_true(wk_deadline_passed());
}

static void
test_the_next_request_starts_afresh(void **state)
{
	uint64_t id = 20;

	(void)state;
	wk_deadline_arm(20);
	assert_int_equal(wk_deadline_run(step_and_signal, &id), TN_ETIMEOUT);
	wk_deadline_arm(21);
	assert_false(wk_deadline_pending());
	assert_int_equal(wk_deadline_run(count, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_code_that_ends_in_time_is_not_disturbed, setup),
		cmocka_unit_test_setup(test_the_signal_leaves_at_once, setup),
		cmocka_unit_test_setup(test_it_leaves_time_after_time, setup),
		cmocka_unit_test_setup(test_a_signal_for_another_request_is_not_meant, setup),
		cmocka_unit_test_setup(test_a_deadline_before_the_run_prevents_it, setup),
		cmocka_unit_test_setup(test_what_is_held_is_finished_first, setup),
		cmocka_unit_test_setup(test_holding_without_a_signal_changes_nothing, setup),
		cmocka_unit_test_setup(test_the_next_request_starts_afresh, setup),
	};

	return cmocka_run_group_tests_name("wk_deadline", tests, NULL, NULL);
}
