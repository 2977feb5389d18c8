/*
 * Whose turn it is (sv_fair.h): flows are served by a loop, as the dispatcher does,
 * and what each has had is compared with its right.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "sv_fair.h"

#define FLOWS	64u

static struct sv_fair fair;
static struct sv_flow flow[FLOWS];
static uint64_t had[FLOWS];		/* what its pieces have cost */

static int
setup(void **state)
{
	(void)state;
	sv_fair_init(&fair);
	assert_int_equal(sv_fair_reserve(&fair, FLOWS), 0);
	memset(had, 0, sizeof(had));
	for (unsigned i = 0; i < FLOWS; i++)
		flow[i] = (struct sv_flow){ .weight = 1 };
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	sv_fair_fini(&fair);
	return 0;
}

/* A piece for the first flow, which costs cost[i] and was believed to cost `believed`. */
static unsigned
give(const uint64_t cost[], uint64_t believed)
{
	struct sv_flow *first = sv_fair_first(&fair);
	unsigned i = (unsigned)(first - flow);

	assert_non_null(first);
	sv_fair_serve(&fair, first, believed);
	sv_fair_correct(&fair, first, believed, cost[i]);
	had[i] += cost[i];
	return i;
}

static void
flows_that_cost_the_same_take_turns(void **state)
{
	const uint64_t cost[] = { 10, 10, 10 };
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++)
		sv_fair_add(&fair, &flow[i]);
	for (i = 0; i < 9; i++)
		assert_int_equal(give(cost, 10), i % 3);
}

static void
the_time_is_shared_and_not_the_pieces(void **state)
{
	const uint64_t cost[] = { 5000, 20, 100 };
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++)
		sv_fair_add(&fair, &flow[i]);
	for (i = 0; i < 20000; i++)
		give(cost, 100);	/* nobody knows before what they cost */
	for (i = 0; i < 3; i++) {
		assert_true(had[i] + 5000 >= had[0]);
		assert_true(had[i] <= had[0] + 5000);
	}
}

static void
a_weight_counts(void **state)
{
	const uint64_t cost[] = { 50, 50 };
	unsigned i;

	(void)state;
	flow[1].weight = 3;
	for (i = 0; i < 2; i++)
		sv_fair_add(&fair, &flow[i]);
	for (i = 0; i < 4000; i++)
		give(cost, 50);
	assert_in_range(had[1], 3 * had[0] - 150, 3 * had[0] + 150);
}

static void
who_was_away_has_saved_nothing(void **state)
{
	const uint64_t cost[] = { 100, 100 };
	unsigned i, run = 0;

	(void)state;
	sv_fair_add(&fair, &flow[0]);
	for (i = 0; i < 1000; i++)
		give(cost, 100);
	sv_fair_add(&fair, &flow[1]);
	while (give(cost, 100) == 1)
		run++;
	assert_true(run <= 2);
}

static void
who_had_all_while_nobody_wanted_it_owes_nothing_for_it(void **state)
{
	const uint64_t cost[] = { 1000, 10 };
	unsigned i, run = 0;

	(void)state;
	sv_fair_add(&fair, &flow[0]);
	for (i = 0; i < 1000; i++)
		give(cost, 1000);
	sv_fair_add(&fair, &flow[1]);
	while (give(cost, 10) == 1)
		run++;
	/* It waits for what its last piece has cost, not for a thousand of them. */
	assert_true(run <= 101);
}

static void
a_piece_that_never_ran_costs_nothing(void **state)
{
	(void)state;
	sv_fair_add(&fair, &flow[0]);
	sv_fair_serve(&fair, &flow[0], 1000);
	sv_fair_correct(&fair, &flow[0], 1000, 0);
	sv_fair_add(&fair, &flow[1]);
	assert_true(flow[0].tag <= flow[1].tag);
}

static void
the_lowest_tag_is_first_whatever_comes_and_goes(void **state)
{
	unsigned i, k, n = 0, seed = 1;

	(void)state;
	for (i = 0; i < 20000; i++) {
		seed = seed * 1103515245u + 12345u;
		k = seed / 65536u % FLOWS;
		switch (seed / 7u % 4) {
		case 0:
			n += flow[k].place == 0;
			sv_fair_add(&fair, &flow[k]);
			break;
		case 1:
			n -= flow[k].place != 0;
			sv_fair_remove(&fair, &flow[k]);
			break;
		case 2:
			if (n > 0)
				sv_fair_serve(&fair, sv_fair_first(&fair), seed % 1000);
			break;
		default:
			sv_fair_correct(&fair, &flow[k], seed % 300, seed / 11 % 500);
		}
		assert_int_equal(fair.n, n);
		for (k = 0; k < FLOWS; k++)
			if (flow[k].place != 0) {
				assert_ptr_equal(fair.heap[flow[k].place - 1], &flow[k]);
				assert_true(flow[k].tag >= sv_fair_first(&fair)->tag);
			}
	}
	while (fair.n > 0)
		sv_fair_remove(&fair, sv_fair_first(&fair));
	assert_null(sv_fair_first(&fair));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(flows_that_cost_the_same_take_turns),
		TEST(the_time_is_shared_and_not_the_pieces),
		TEST(a_weight_counts),
		TEST(who_was_away_has_saved_nothing),
		TEST(who_had_all_while_nobody_wanted_it_owes_nothing_for_it),
		TEST(a_piece_that_never_ran_costs_nothing),
		TEST(the_lowest_tag_is_first_whatever_comes_and_goes),
	};

	return cmocka_run_group_tests_name("sv_fair", tests, NULL, NULL);
}
