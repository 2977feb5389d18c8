/*
 * The worker's state machine: every cell as states.def says, and what must hold
 * whatever states.def says.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>

#include <cmocka.h>

#include "tn_worker_state.h"

static const struct {
	enum tn_wstate	state;
	enum tn_wevent	event;
	enum tn_wstate	next;
	unsigned	actions;
} cells[] = {
#define TN_WCELL(from, on, to, does) { TN_WS_##from, TN_WEV_##on, TN_WS_##to, does },
#include "states.def"
};
#define NCELLS (sizeof(cells) / sizeof(cells[0]))

static const unsigned action_bits[] = {
#define TN_WACTION(sym, bit, doc) bit,
#include "states.def"
};

/* For each pair; `name` says which one when a check fails. */
#define EACH(s, e, step)							\
	for (unsigned s = 0; s < TN_WS_MAX; s++)				\
		for (unsigned e = 0; e < TN_WEV_MAX; e++)			\
			for (struct tn_wstep step = tn_worker_step(s, e), *once_ = &step;	\
			    once_ != NULL; once_ = NULL)

static void
holds(bool ok, unsigned s, unsigned e, const char *rule)
{
	if (!ok)
		fail_msg("(%s, %s): %s", tn_wstate_name(s), tn_wevent_name(e), rule);
}

static void
every_pair_has_exactly_one_cell(void **state)
{
	unsigned count[TN_WS_MAX][TN_WEV_MAX] = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < NCELLS; i++)
		count[cells[i].state][cells[i].event]++;
	for (unsigned s = 0; s < TN_WS_MAX; s++)
		for (unsigned e = 0; e < TN_WEV_MAX; e++)
			holds(count[s][e] == 1, s, e, "one cell");
	assert_int_equal(NCELLS, TN_WS_MAX * TN_WEV_MAX);
}

static void
every_step_is_its_cell(void **state)
{
	struct tn_wstep step;
	size_t i;

	(void)state;
	for (i = 0; i < NCELLS; i++) {
		step = tn_worker_step(cells[i].state, cells[i].event);
		holds(step.next == cells[i].next && step.actions == cells[i].actions,
		    cells[i].state, cells[i].event, "as in the table");
	}
}

static void
actions_are_known_single_bits(void **state)
{
	unsigned all = 0;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(action_bits) / sizeof(action_bits[0]); i++) {
		assert_int_equal(action_bits[i] & (action_bits[i] - 1), 0);
		assert_int_equal(all & action_bits[i], 0);
		all |= action_bits[i];
	}
	EACH(s, e, step)
		holds((step.actions & ~all) == 0, s, e, "known actions only");
}

static void
the_dead_stay_dead(void **state)
{
	(void)state;
	for (unsigned e = 0; e < TN_WEV_MAX; e++)
		holds(
		    tn_worker_step(TN_WS_DEAD, e).next == TN_WS_DEAD, TN_WS_DEAD, e, "stays dead");
}

static void
a_fault_kills_and_an_exit_ends_everywhere(void **state)
{
	struct tn_wstep step;

	(void)state;
	for (unsigned s = 0; s < TN_WS_DEAD; s++) {
		step = tn_worker_step(s, TN_WEV_FAULT);
		holds(step.next == TN_WS_DEAD && (step.actions & TN_WA_KILL) != 0, s, TN_WEV_FAULT,
		    "killed");
		step = tn_worker_step(s, TN_WEV_EXIT);
		holds(step.next == TN_WS_DEAD && (step.actions & TN_WA_KILL) == 0, s, TN_WEV_EXIT,
		    "nobody left to kill");
	}
}

static void
death_settles_the_frames_of_who_may_have_some(void **state)
{
	(void)state;
	EACH(s, e, step) {
		if ((s == TN_WS_BUSY || s == TN_WS_DRAINING) && step.next == TN_WS_DEAD)
			holds((step.actions & TN_WA_SETTLE) != 0, s, e, "frames are settled");
		if ((step.actions & TN_WA_SETTLE) != 0)
			holds(step.next == TN_WS_DEAD, s, e, "only the dead are settled");
	}
}

static void
who_dies_alive_is_killed(void **state)
{
	(void)state;
	EACH(s, e, step) {
		if (s != TN_WS_DEAD && e != TN_WEV_EXIT && step.next == TN_WS_DEAD)
			holds((step.actions & TN_WA_KILL) != 0, s, e, "killed");
		if ((step.actions & TN_WA_KILL) != 0)
			holds(step.next == TN_WS_DEAD, s, e, "killed means dead");
	}
}

/* The zygote's report may come after the front gave up: that process must not live on. */
static void
a_late_fork_of_a_dead_worker_is_killed(void **state)
{
	(void)state;
	assert_true((tn_worker_step(TN_WS_DEAD, TN_WEV_FORKED).actions & TN_WA_KILL) != 0);
}

static void
frames_go_to_ready_workers_only(void **state)
{
	struct tn_wstep step;
	bool ready;

	(void)state;
	for (unsigned s = 0; s < TN_WS_MAX; s++) {
		step = tn_worker_step(s, TN_WEV_ASSIGN);
		ready = s == TN_WS_IDLE || s == TN_WS_BUSY;
		holds(
		    ((step.actions & TN_WA_SEND) != 0) == ready, s, TN_WEV_ASSIGN, "sent if ready");
		holds(((step.actions & TN_WA_REFUSE) != 0) == !ready, s, TN_WEV_ASSIGN,
		    "else refused");
		holds(step.next == (ready ? TN_WS_BUSY : (enum tn_wstate)s), s, TN_WEV_ASSIGN,
		    "a refused frame changes nothing");
	}
	EACH(s, e, step_)
	holds((step_.actions & TN_WA_SEND) == 0 || e == TN_WEV_ASSIGN, s, e, "only on assign");
}

static void
only_workers_that_may_work_are_offered(void **state)
{
	(void)state;
	EACH(s, e, step)
		if ((step.actions & TN_WA_OFFER) != 0)
			holds(step.next == TN_WS_IDLE || step.next == TN_WS_BUSY, s, e, "offered");
}

static void
every_way_into_idle_offers_the_worker(void **state)
{
	(void)state;
	EACH(s, e, step)
		if (s != TN_WS_IDLE && step.next == TN_WS_IDLE)
			holds((step.actions & TN_WA_OFFER) != 0, s, e, "nobody idles unseen");
}

static void
retiring_is_said_once(void **state)
{
	(void)state;
	EACH(s, e, step) {
		bool first = e == TN_WEV_RETIRE && s != TN_WS_DRAINING && s != TN_WS_DEAD;

		holds(((step.actions & TN_WA_SAY_RETIRE) != 0) == first, s, e,
		    "said on the first retire");
		if (first)
			holds(step.next == TN_WS_DRAINING, s, e, "drains");
	}
}

/* A worker that speaks before it is ready, or twice, breaks the protocol. */
static void
gossip_out_of_turn_is_fatal_to_the_worker(void **state)
{
	static const struct {
		enum tn_wstate s;
		enum tn_wevent e;
	} turns[] = {
		{ TN_WS_SPAWNED, TN_WEV_REPLY }, { TN_WS_SPAWNED, TN_WEV_LAST },
		{ TN_WS_WARMING, TN_WEV_REPLY }, { TN_WS_WARMING, TN_WEV_LAST },
		{ TN_WS_IDLE, TN_WEV_REPLY }, { TN_WS_IDLE, TN_WEV_LAST },
		{ TN_WS_IDLE, TN_WEV_READY }, { TN_WS_BUSY, TN_WEV_READY },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(turns) / sizeof(turns[0]); i++)
		holds((tn_worker_step(turns[i].s, turns[i].e).actions &
			  (TN_WA_KILL | TN_WA_REFUSE)) == (TN_WA_KILL | TN_WA_REFUSE),
		    turns[i].s, turns[i].e, "refused and killed");
}

static void
nobody_goes_back(void **state)
{
	(void)state;
	EACH(s, e, step)
	holds((unsigned)step.next >= s || (s == TN_WS_BUSY && step.next == TN_WS_IDLE), s, e,
	    "forward, apart from busy to idle");
}

static void
every_state_can_be_reached(void **state)
{
	bool seen[TN_WS_MAX] = { [TN_WS_SPAWNED] = true };
	unsigned round;

	(void)state;
	for (round = 0; round < TN_WS_MAX; round++)
		EACH(s, e, step)
			if (seen[s])
				seen[step.next] = true;
	for (unsigned s = 0; s < TN_WS_MAX; s++)
		holds(seen[s], s, 0, "reachable");
}

static void
names_are_the_tables_and_never_null(void **state)
{
	(void)state;
#define TN_WSTATE(sym, name, doc) assert_string_equal(tn_wstate_name(TN_WS_##sym), name);
#define TN_WEVENT(sym, name, doc) assert_string_equal(tn_wevent_name(TN_WEV_##sym), name);
#include "states.def"
	assert_string_equal(tn_wstate_name(TN_WS_MAX), "?");
	assert_string_equal(tn_wevent_name(TN_WEV_MAX), "?");
	assert_string_equal(tn_retire_name(TN_RETIRE_REQUESTS), "requests");
	assert_string_equal(tn_retire_name(TN_RETIRE_AGE), "age");
	assert_string_equal(tn_retire_name(TN_RETIRE_MAX), "?");
	for (unsigned r = 0; r < TN_RETIRE_MAX; r++)
		assert_string_not_equal(tn_retire_name(r), "?");
	/* A worker of another build knows them by number; and a cause is a reason is a cause. */
	assert_int_equal(TN_RETIRE_GENERATION, 6);
#define TN_WRETIRE(sym, name, doc)						\
	assert_int_equal(TN_RETIRE_##sym, TN_WC_##sym);				\
	assert_string_equal(tn_wcause_name(TN_WC_##sym), name);
#define TN_WEND(sym, name, doc)							\
	assert_true((int)TN_WC_##sym >= (int)TN_RETIRE_MAX);			\
	assert_string_equal(tn_wcause_name(TN_WC_##sym), name);
#include "states.def"
	assert_string_equal(tn_wcause_name(TN_WC_MAX), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_has_exactly_one_cell),
		cmocka_unit_test(every_step_is_its_cell),
		cmocka_unit_test(actions_are_known_single_bits),
		cmocka_unit_test(the_dead_stay_dead),
		cmocka_unit_test(a_fault_kills_and_an_exit_ends_everywhere),
		cmocka_unit_test(death_settles_the_frames_of_who_may_have_some),
		cmocka_unit_test(who_dies_alive_is_killed),
		cmocka_unit_test(a_late_fork_of_a_dead_worker_is_killed),
		cmocka_unit_test(frames_go_to_ready_workers_only),
		cmocka_unit_test(only_workers_that_may_work_are_offered),
		cmocka_unit_test(every_way_into_idle_offers_the_worker),
		cmocka_unit_test(retiring_is_said_once),
		cmocka_unit_test(gossip_out_of_turn_is_fatal_to_the_worker),
		cmocka_unit_test(nobody_goes_back),
		cmocka_unit_test(every_state_can_be_reached),
		cmocka_unit_test(names_are_the_tables_and_never_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
