/*
 * Which request goes to which worker, and which is taken back (sv_dispatch.h,
 * sv_share.h, sv_pool.h): frames behind frames, shares, limits.
 */
#include "config.h"

#include "sv_world.h"

#include <sched.h>

#include "sv_share.h"

#define STALL_US	30000u		/* longer than any of the test's own turns takes */

static void
set(const char *text)
{
	struct tn_buf err = { 0 };

	assert_int_equal(tn_options_set(t.opt, text, &err), 0);
	tn_buf_fini(&err);
	sv_dispatch_reload(t.d);
}

/* Workers that are ready, of so many frames each. */
static void
serve_with(unsigned workers, unsigned depth)
{
	t.opt->workers_min = t.opt->workers_max = workers;
	t.opt->worker_depth = depth;
	t.opt->worker_stall_us = STALL_US;
	serve();
	load("a");
	load("b");
}

static void
wait_us(unsigned us)
{
	uint64_t end = tn_clock_us() + us;

	while (tn_clock_us() < end)
		turn();
}

/* The frames that p was given and has not looked at. */
static unsigned
given(struct proc *p)
{
	unsigned n = 0;

	while (has_frame(p, TN_FRAME_INVOKE))
		n++;
	return n;
}

/* p looks at its next frame and begins it; false: it was taken back. */
static bool
begin(struct proc *p)
{
	assert_true(has_frame(p, TN_FRAME_INVOKE));
	return tn_slot_move(p->slots, (unsigned)p->f.invoke.slot, p->f.invoke.id,
	    TN_SLOT_QUEUED, TN_SLOT_RUNNING);
}

/* The contract is known to take so long. */
static void
costs(const char *contract, uint64_t us)
{
	sv_contracts_known(sv_dispatch_contracts(t.d), contract)->share->cost_us = us;
}

/* -- frames behind frames ---------------------------------------------------------- */

static void
short_requests_queue_up_at_a_worker(void **state)
{
	struct result r[4] = { 0 };

	(void)state;
	serve_with(1, 3);
	costs("a", 20);
	for (unsigned i = 0; i < 4; i++)
		submit(&r[i], "a");
	assert_int_equal(given(worker(0)), 3);
	for (unsigned i = 0; i < 4; i++)
		cancel(&r[i]);
}

static void
nobody_waits_behind_one_that_is_known_to_take_long(void **state)
{
	struct result slow = { 0 }, quick = { 0 };
	struct proc *w;

	(void)state;
	serve_with(1, 8);
	costs("a", 10 * STALL_US);
	costs("b", 20);
	get(&slow, "a");
	get(&quick, "b");
	w = worker(0);
	take(w);
	assert_false(has_frame(w, TN_FRAME_INVOKE));
	reply(w, "slow");
	take(w);
	reply(w, "quick");
	assert_answered(&slow, "slow");
	assert_answered(&quick, "quick");
}

static void
who_takes_long_gets_an_idle_worker_though_others_never_stop_coming(void **state)
{
	struct result quick[8] = { 0 }, slow = { 0 };
	struct proc *w;
	unsigned i, n;

	(void)state;
	serve_with(1, 8);
	costs("a", 10 * STALL_US);
	costs("b", 20);
	submit(&quick[0], "b");
	get(&slow, "a");
	w = worker(0);
	for (n = 1; slow.n == 0; n++) {
		if (n < 8)
			submit(&quick[n], "b");
		assert_true(n < 16);
		take(w);
		reply(w, tn_str_is(w->f.invoke.contract, "a") ? "slow" : "quick");
	}
	assert_answered(&slow, "slow");
	/* It was its turn after what was there before it, and one more at most. */
	assert_true(n <= 4);
	for (i = 0; i < 8; i++)
		if (quick[i].rq != NULL)
			cancel(&quick[i]);
}

static void
what_waits_behind_a_slow_one_goes_to_another_worker(void **state)
{
	struct result r[3] = { 0 };
	struct proc *slow, *other;
	uint64_t id;

	(void)state;
	serve_with(2, 3);
	costs("a", 20);
	for (unsigned i = 0; i < 3; i++)
		submit(&r[i], "a");
	turn();
	slow = worker(0);
	if (!has_frame(slow, TN_FRAME_INVOKE)) {
		slow = worker(1);
		assert_true(has_frame(slow, TN_FRAME_INVOKE));
	}
	other = slow == worker(0) ? worker(1) : worker(0);
	assert_true(tn_slot_move(slow->slots, (unsigned)slow->f.invoke.slot,
	    slow->f.invoke.id, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
	id = slow->f.invoke.id;
	/* The other one serves what it has. */
	while (has_frame(other, TN_FRAME_INVOKE)) {
		assert_true(tn_slot_move(other->slots, (unsigned)other->f.invoke.slot,
		    other->f.invoke.id, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
		reply(other, "quick");
	}
	wait_us(2 * STALL_US);
	RUN_UNTIL(r[0].n + r[1].n + r[2].n == 2 ||
	    (has_frame(other, TN_FRAME_INVOKE) && (reply(other, "quick"), true)));
	while (has_frame(other, TN_FRAME_INVOKE))
		reply(other, "quick");
	assert_int_equal(r[0].n + r[1].n + r[2].n, 2);
	/* What was taken back it must not run. */
	while (has_frame(slow, TN_FRAME_INVOKE))
		assert_false(tn_slot_move(slow->slots, (unsigned)slow->f.invoke.slot,
		    slow->f.invoke.id, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
	say_reply(slow, id, "slow");
	turn();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(r[i].n, 1);
}

static void
what_is_taken_back_keeps_its_order_and_is_no_attempt(void **state)
{
	struct result r[4] = { 0 };
	struct proc *w;
	unsigned i, round;
	uint64_t head;

	(void)state;
	serve_with(1, 4);
	costs("a", 20);
	for (i = 0; i < 4; i++)
		submit(&r[i], "a");
	w = worker(0);
	/* More often than there are attempts. */
	for (round = 0; round < 3; round++) {
		unsigned before = t.stats.requests_revoked;

		assert_true(begin(w));
		head = w->f.invoke.id;
		RUN_UNTIL(t.stats.requests_revoked == before + 3 - round);
		for (i = 0; i < 3 - round; i++)
			assert_false(begin(w));
		costs("a", 20);
		say_reply(w, head, "done");
		turn();
		costs("a", 20);
		assert_int_equal(r[round].n, 1);
		assert_answered(&r[round], "done");
	}
	assert_true(begin(w));
	reply(w, "done");
	assert_answered(&r[3], "done");
}

static void
a_worker_that_merely_lacks_cpu_keeps_one_and_gets_more_when_it_has_done_it(void **state)
{
	struct result r[3] = { 0 };
	struct proc *w;
	uint64_t id;
	unsigned i;

	(void)state;
	serve_with(1, 3);
	costs("a", 20);
	for (i = 0; i < 3; i++)
		submit(&r[i], "a");
	w = worker(0);
	/* It has not looked at anything yet.  One stays with it, whatever the time. */
	RUN_UNTIL(t.stats.requests_revoked == 2);
	wait_us(4 * STALL_US);
	assert_int_equal(t.stats.requests_revoked, 2);
	assert_true(begin(w));
	id = w->f.invoke.id;
	assert_false(begin(w));
	assert_false(begin(w));
	assert_false(has_frame(w, TN_FRAME_INVOKE));	/* it is late: nobody's choice */
	costs("a", 20);
	say_reply(w, id, "done");
	turn();
	assert_answered(&r[0], "done");
	for (i = 1; i < 3; i++) {
		assert_true(begin(w));
		reply(w, "done");
		assert_answered(&r[i], "done");
	}
	assert_false(has_frame(w, TN_FRAME_INVOKE));
}

static void
one_that_has_begun_is_not_taken_back(void **state)
{
	struct result r[3] = { 0 };
	struct proc *w;
	uint64_t id[2];

	(void)state;
	serve_with(1, 3);
	costs("a", 20);
	for (unsigned i = 0; i < 3; i++)
		submit(&r[i], "a");
	w = worker(0);
	/* The first one is done and the second one begun, but nobody has heard of it yet. */
	for (unsigned i = 0; i < 2; i++) {
		assert_true(begin(w));
		id[i] = w->f.invoke.id;
	}
	RUN_UNTIL(t.stats.requests_revoked == 1);
	assert_false(begin(w));
	say_reply(w, id[0], "one");
	say_reply(w, id[1], "two");
	turn();
	assert_answered(&r[0], "one");
	assert_answered(&r[1], "two");
	assert_true(begin(w));
	reply(w, "three");
	assert_answered(&r[2], "three");
}

static void
whose_client_leaves_is_taken_from_a_worker_that_has_not_begun_it(void **state)
{
	struct result r[3] = { 0 };
	struct proc *w;

	(void)state;
	serve_with(1, 3);
	costs("a", 20);
	for (unsigned i = 0; i < 3; i++)
		submit(&r[i], "a");
	turn();
	cancel(&r[1]);
	w = worker(0);
	assert_true(begin(w));
	reply(w, "one");
	assert_false(begin(w));
	assert_true(begin(w));
	reply(w, "three");
	assert_answered(&r[0], "one");
	assert_answered(&r[2], "three");
	assert_int_equal(r[1].n, 0);
}

static void
the_only_request_of_a_worker_can_be_taken_from_it(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct proc *w;

	(void)state;
	serve_with(1, 3);
	get(&r, "a");
	cancel(&r);
	get(&s, "a");
	w = worker(0);
	assert_false(begin(w));
	assert_true(begin(w));
	reply(w, "two");
	assert_answered(&s, "two");
	assert_int_equal(r.n, 0);
}

static void
a_worker_watches_for_its_next_frame_only_while_it_has_the_only_one(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct proc *w;
	cpu_set_t cpus;
	unsigned spin;

	(void)state;
	serve_with(1, 3);
	set("spin_us=70");
	CPU_ZERO(&cpus);
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	spin = CPU_COUNT(&cpus) > 1 ? 70 : 0;	/* else it would keep the front from working */
	costs("a", 20);
	get(&r, "a");
	w = worker(0);
	assert_int_equal(atomic_load(&w->slots->spin_us), spin);
	wait_us(100);
	assert_false(sv_dispatch_watches(t.d));	/* for so long, and no longer */
	get(&s, "a");
	assert_int_equal(atomic_load(&w->slots->spin_us), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(begin(w));
		reply(w, "");
	}
	get(&r, "a");
	assert_int_equal(atomic_load(&w->slots->spin_us), spin);
	cancel(&r);
}

static void
who_watches_is_told_how_much_was_sent(void **state)
{
	struct result r = { 0 };
	struct proc *w;
	size_t had;

	(void)state;
	serve_with(1, 3);
	w = worker(0);
	get(&r, "a");
	assert_true(has_frame(w, TN_FRAME_INVOKE));
	had = w->in.len;
	assert_true(had > 0);
	assert_int_equal(atomic_load(&w->slots->sent), had);
	cancel(&r);
}

/* -- bounds -------------------------------------------------------------------------- */

static void
so_many_of_one_contract_wait_and_others_still_may(void **state)
{
	struct result a[4] = { 0 }, b = { 0 };

	(void)state;
	serve_with(1, 1);
	set("contract_queue_max=2");
	for (unsigned i = 0; i < 4; i++)
		get(&a[i], "a");
	get(&b, "b");
	assert_fault(&a[3], TN_FAULT_OVERLOAD);
	assert_int_equal(a[3].retry_after, 1);
	assert_int_equal(a[2].n + b.n, 0);
	for (unsigned i = 0; i < 3; i++)
		cancel(&a[i]);
	cancel(&b);
}

static void
who_has_waited_too_long_is_refused_instead_of_served(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct proc *w;

	(void)state;
	serve_with(1, 1);
	t.opt->queue_timeout_ms = 20;
	get(&r, "a");
	get(&s, "a");
	w = worker(0);
	assert_true(begin(w));
	/* Without the loop: nobody has looked at the clock before there is room. */
	while (tn_clock_us() < s.rq->received_us + 21000)
		;
	say_reply(w, w->f.invoke.id, "done");
	turn();
	assert_answered(&r, "done");
	assert_fault(&s, TN_FAULT_OVERLOAD);
	assert_int_equal(t.stats.requests_expired, 1);
	assert_false(has_frame(w, TN_FRAME_INVOKE));
}

/* -- shares ---------------------------------------------------------------------------- */

static void
a_contract_has_no_more_workers_than_it_may(void **state)
{
	struct result a[3] = { 0 }, b = { 0 };
	unsigned i, with_a = 0, with_b = 0;

	(void)state;
	serve_with(3, 1);
	set("contract_limits=a:workers_max=1");
	for (i = 0; i < 3; i++)
		get(&a[i], "a");
	get(&b, "b");
	for (i = 0; i < 3; i++)
		while (has_frame(worker(i), TN_FRAME_INVOKE)) {
			with_a += tn_str_is(worker(i)->f.invoke.contract, "a");
			with_b += tn_str_is(worker(i)->f.invoke.contract, "b");
		}
	assert_int_equal(with_a, 1);
	assert_int_equal(with_b, 1);
	for (i = 0; i < 3; i++)
		cancel(&a[i]);
	cancel(&b);
}

static void
frames_behind_its_own_are_no_more_workers(void **state)
{
	struct result a[3] = { 0 };
	unsigned i, n = 0;

	(void)state;
	serve_with(3, 8);
	set("contract_limits=a:workers_max=1");
	costs("a", 20);
	for (i = 0; i < 3; i++)
		submit(&a[i], "a");
	turn();
	for (i = 0; i < 3; i++) {
		unsigned here = given(worker(i));

		assert_true(here == 0 || here == 3);
		n += here;
	}
	assert_int_equal(n, 3);
	for (i = 0; i < 3; i++)
		cancel(&a[i]);
}

static void
reserved_workers_wait_for_their_contract(void **state)
{
	struct result a[2] = { 0 }, b[4] = { 0 };
	unsigned i, n;

	(void)state;
	serve_with(3, 8);
	set("contract_limits=a:workers_reserved=2");
	costs("b", 20);
	for (i = 0; i < 4; i++)
		submit(&b[i], "b");
	turn();
	for (i = n = 0; i < 3; i++)
		n += given(worker(i)) > 0;
	assert_int_equal(n, 1);
	/* They are there at once. */
	costs("a", 10 * STALL_US);
	for (i = 0; i < 2; i++)
		get(&a[i], "a");
	for (i = n = 0; i < 3; i++)
		while (has_frame(worker(i), TN_FRAME_INVOKE))
			n += tn_str_is(worker(i)->f.invoke.contract, "a");
	assert_int_equal(n, 2);
	for (i = 0; i < 2; i++)
		cancel(&a[i]);
	for (i = 0; i < 4; i++)
		cancel(&b[i]);
}

static void
nobody_joins_a_contract_at_its_reserved_worker(void **state)
{
	struct result a = { 0 }, b[3] = { 0 };
	unsigned i, n = 0;
	struct proc *w;

	(void)state;
	serve_with(2, 8);
	set("contract_limits=a:workers_reserved=1");
	costs("a", 20);
	costs("b", 20);
	get(&a, "a");
	for (i = 0; i < 3; i++)
		submit(&b[i], "b");
	turn();
	for (i = 0; i < 2; i++) {
		bool mixed[2] = { false, false };

		for (w = worker(i); has_frame(w, TN_FRAME_INVOKE); n++)
			mixed[tn_str_is(w->f.invoke.contract, "a")] = true;
		assert_false(mixed[0] && mixed[1]);
	}
	assert_int_equal(n, 4);
	cancel(&a);
	for (i = 0; i < 3; i++)
		cancel(&b[i]);
}

static void
a_flood_of_one_contract_does_not_delay_another(void **state)
{
	struct result a[40] = { 0 }, b = { 0 };
	struct proc *w;
	unsigned i, n;

	(void)state;
	serve_with(1, 1);
	for (i = 0; i < 40; i++)
		submit(&a[i], "a");
	turn();
	get(&b, "b");
	w = worker(0);
	for (n = 0; b.n == 0; n++) {
		take(w);
		reply(w, "");
	}
	assert_true(n <= 2);
	for (i = 0; i < 40; i++)
		if (a[i].rq != NULL)
			cancel(&a[i]);
}

static void
who_costs_more_gets_fewer_turns(void **state)
{
	struct result a[64] = { 0 }, b[64] = { 0 };
	struct proc *w;
	unsigned i, n, of_a = 0, of_b = 0;

	(void)state;
	serve_with(1, 1);
	for (i = 0; i < 64; i++) {
		submit(&a[i], "a");
		submit(&b[i], "b");
	}
	w = worker(0);
	for (n = 0; n < 30; n++) {
		assert_true(begin(w));
		if (tn_str_is(w->f.invoke.contract, "a")) {
			wait_us(5000);
			of_a++;
		} else {
			of_b++;
		}
		reply(w, "");
	}
	assert_true(of_a >= 1);
	assert_true(of_b > 3 * of_a);
	for (i = 0; i < 64; i++) {
		if (a[i].rq != NULL)
			cancel(&a[i]);
		if (b[i].rq != NULL)
			cancel(&b[i]);
	}
}

/* -- what a review has found ------------------------------------------------------- */

static void
nothing(void *arg, const char *error)
{
	(void)arg;
	(void)error;
}

static struct result left;

static void
the_other_leaves(struct result *r)
{
	(void)r;
	sv_dispatch_cancel(t.d, &left.rq);
}

static void
another_zygote(void)
{
	RUN_UNTIL(t.wanted > 0);
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	RUN_UNTIL(count(TN_ROLE_WORKER) == 1);
	say_ready(worker(0));
}

static void
an_old_copy_of_what_was_taken_back_is_not_run_for_the_new_one(void **state)
{
	struct result h = { 0 }, a = { 0 }, b = { 0 };
	struct proc *w;
	struct tn_frame f = { .type = TN_FRAME_SLEEP };

	(void)state;
	serve_with(1, 3);
	costs("a", 20);
	costs("b", 20);
	submit(&h, "a");
	submit(&a, "a");
	submit(&b, "b");
	w = worker(0);
	assert_true(begin(w));
	RUN_UNTIL(t.stats.requests_revoked == 2);
	costs("a", 20);
	say_reply(w, w->f.invoke.id, "h");
	turn();
	assert_answered(&h, "h");
	/* The worker reads on: what it finds, it runs if its slot says so. */
	while (has_frame(w, TN_FRAME_INVOKE)) {
		if (!tn_slot_move(w->slots, (unsigned)w->f.invoke.slot, w->f.invoke.id,
		    TN_SLOT_QUEUED, TN_SLOT_RUNNING))
			continue;
		f.sleep.id = w->f.invoke.id;
		f.sleep.ms = 1;
		say(w, &f);
		turn();
		assert_int_equal(w->kills, 0);
		reply(w, "x");
	}
	assert_answered(&a, "x");
	assert_answered(&b, "x");
}

static void
who_takes_long_gets_its_worker_though_others_are_reserved(void **state)
{
	struct result quick[400] = { 0 }, slow = { 0 };
	struct proc *w;
	unsigned i, n;

	(void)state;
	serve_with(2, 8);
	set("contract_limits=c:workers_reserved=1");
	costs("a", 10 * STALL_US);
	costs("b", 20);
	submit(&quick[0], "b");
	get(&slow, "a");
	for (n = 1; n < 300 && slow.n == 0; n++) {
		bool any = false;

		submit(&quick[n], "b");
		for (i = 0; i < 2 && !any; i++) {
			w = worker(i);
			if (has_frame(w, TN_FRAME_INVOKE)) {
				any = true;
				assert_true(tn_slot_move(w->slots, (unsigned)w->f.invoke.slot,
				    w->f.invoke.id, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
				reply(w, tn_str_is(w->f.invoke.contract, "a") ? "slow" : "quick");
			}
		}
		assert_true(any);
	}
	i = slow.n;
	if (slow.rq != NULL)
		cancel(&slow);
	for (n = 0; n < 400; n++)
		if (quick[n].rq != NULL)
			cancel(&quick[n]);
	assert_int_equal(i, 1);
}

static void
a_tenant_is_not_kept_out_by_one_that_never_pauses(void **state)
{
	struct result a[64] = { 0 }, b = { 0 };
	struct proc *w;
	unsigned i, n;
	bool retired = false;

	(void)state;
	t.opt->worker_tenancy = TN_TENANCY_CONTRACT;
	serve_with(1, 1);
	for (i = 0; i < 3; i++)
		submit(&a[i], "a");
	get(&b, "b");
	w = worker(0);
	for (n = 3; n < 60; n++) {
		submit(&a[n], "a");
		turn();
		if ((retired = t.stats.workers_retired > 0))
			break;
		assert_true(has_frame(w, TN_FRAME_INVOKE));
		wait_us(1000);
		reply(w, "x");
	}
	for (i = 0; i < 64; i++)
		if (a[i].rq != NULL)
			cancel(&a[i]);
	cancel(&b);
	assert_true(retired);
}

static void
who_hears_of_a_failed_build_may_cancel_others(void **state)
{
	struct result head = { 0 }, a = { 0 };
	struct rlimit old, none;
	struct tn_frame ready = { .type = TN_FRAME_READY };
	struct proc *w;
	int lowest;

	(void)state;
	t.opt->zygote_fill_ms = 0;	/* images are not made beforehand */
	serve_with(1, 1);
	w = worker(0);
	get(&head, "a");
	take(w);
	get(&a, "a");
	memset(&left, 0, sizeof(left));
	get(&left, "b");
	assert_int_equal(a.n + left.n, 0);
	a.then = the_other_leaves;	/* a client program that is dropped: all its calls */
	assert_int_equal(sv_pool_rotate(t.pool, nothing, NULL), 0);
	turn();
	assert_true(t.wanted > 0);
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
	turn();
	ready.ready.version = TN_FRAMES_VERSION;
	ready.ready.generation = worker(1)->generation;
	say(worker(1), &ready);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	lowest = dup(0);
	close(lowest);
	none = (struct rlimit){ (rlim_t)lowest, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	turn();
	if (a.rq != NULL)
		cancel(&a);
	if (left.rq != NULL)
		cancel(&left);
}

static void
a_capped_contract_goes_on_when_its_worker_was_of_the_generation_before(void **state)
{
	struct result r[2] = { 0 };
	struct proc *old, *young;

	(void)state;
	t.opt->zygote_fill_ms = 5000;
	serve_with(1, 1);
	set("contract_limits=a:workers_max=1");
	old = worker(0);
	get(&r[0], "a");
	take(old);
	assert_int_equal(sv_pool_rotate(t.pool, nothing, NULL), 0);
	turn();
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	for (unsigned i = 0; i < 2; i++) {	/* both images */
		RUN_UNTIL(count(TN_ROLE_BUILDER) == 1);
		say_ready(living(TN_ROLE_BUILDER, 0));
		build(living(TN_ROLE_BUILDER, 0));
	}
	RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
	young = worker(1);
	say_ready(young);
	assert_int_equal(sv_pool_generation(t.pool)->number, t.generation);
	get(&r[1], "a");
	assert_false(has_frame(young, TN_FRAME_INVOKE));	/* capped */
	reply(old, "one");
	assert_answered(&r[0], "one");
	wait_us(1500000);
	if (!has_frame(young, TN_FRAME_INVOKE)) {
		cancel(&r[1]);
		fail();
	}
	cancel(&r[1]);
}

static void
those_that_are_awake_come_first(void **state)
{
	cpu_set_t cpus;
	struct result r[6] = { 0 };
	unsigned i, n = 0;

	(void)state;
	t.opt->workers_min = t.opt->workers_max = 4;
	t.opt->worker_depth = 8;
	t.opt->worker_stall_us = STALL_US;
	serve();
	for (i = 0; i < 6; i++)
		submit(&r[i], "a");
	costs("a", 20);
	build_next();
	turn();
	for (i = 0; i < 4; i++)
		n += given(worker(i)) > 0;
	for (i = 0; i < 6; i++)
		cancel(&r[i]);
	/* As many as there are processors beside the front's. */
	CPU_ZERO(&cpus);
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	i = CPU_COUNT(&cpus) > 1 ? (unsigned)CPU_COUNT(&cpus) - 1 : 1;
	assert_int_equal(n, i < 4 ? i : 4);
}

static void
a_capped_contract_goes_on_when_its_process_was_used_up(void **state)
{
	struct result r[2] = { 0 };
	struct proc *w = NULL;
	unsigned i;

	(void)state;
	t.opt->isolation = TN_ISO_PROCESS;
	serve_with(3, 1);
	t.opt->workers_max = 8;
	set("contract_limits=a:workers_max=1");
	get(&r[0], "a");
	get(&r[1], "a");
	/* whoever is asked for is ready */
	for (i = 0; i < count(TN_ROLE_WORKER); i++)
		if (has_frame(worker(i), TN_FRAME_INVOKE))
			w = worker(i);
	assert_non_null(w);
	for (i = 3; i < count(TN_ROLE_WORKER); i++)
		say_ready(worker(i));
	i = count(TN_ROLE_WORKER);
	assert_true(tn_slot_move(w->slots, (unsigned)w->f.invoke.slot, w->f.invoke.id,
	    TN_SLOT_QUEUED, TN_SLOT_RUNNING));
	reply(w, "one");
	assert_answered(&r[0], "one");
	die(w, 0);
	wait_us(1500000);
	for (i = 0, w = NULL; i < count(TN_ROLE_WORKER); i++)
		if (worker(i)->slots != NULL && has_frame(worker(i), TN_FRAME_INVOKE))
			w = worker(i);
	if (r[1].rq != NULL)
		cancel(&r[1]);
	assert_non_null(w);
}

static void
clients_that_leave_do_not_cost_a_worker_its_life(void **state)
{
	struct result r = { 0 };
	struct proc *w;
	unsigned n;

	(void)state;
	serve_with(1, 8);
	costs("a", 20);
	w = worker(0);
	for (n = 0; n < 2000 && w->kills == 0; n++) {
		memset(&r, 0, sizeof(r));
		submit(&r, "a");
		sv_dispatch_cancel(t.d, &r.rq);
		turn();
	}
	assert_int_equal(w->kills, 0);
}

static void
a_probe_that_dies_with_its_zygote_is_tried_again(void **state)
{
	struct result r[3] = { 0 };

	(void)state;
	t.opt->breaker_deaths = 1;
	t.opt->breaker_pause_ms = 1;
	serve_with(1, 1);
	get(&r[0], "a");
	take(worker(0));
	die(worker(0), SIGSEGV);
	assert_fault(&r[0], TN_FAULT_WORKER_DIED);
	say_ready(worker(0));
	wait_us(5000);
	get(&r[1], "a");		/* the probe */
	take(worker(0));
	tn_fd_close(&t.zygote);	/* which shows before its workers' ends do */
	turn();
	for (unsigned i = 0; i < t.nprocs; i++)
		t.proc[i].gone = true;
	assert_fault(&r[1], TN_FAULT_WORKER_DIED);
	another_zygote();
	wait_us(5000);
	get(&r[2], "a");
	assert_int_equal(r[2].n, 0);	/* not QUARANTINED: tried again */
	cancel(&r[2]);
}

static void
what_a_worker_says_of_frames_behind_its_first_is_not_held_against_them(void **state)
{
	struct result a = { 0 }, b = { 0 };
	struct proc *w;

	(void)state;
	t.opt->breaker_deaths = 1;
	serve_with(1, 3);
	costs("a", 20);
	costs("b", 20);
	submit(&a, "a");
	submit(&b, "b");
	w = worker(0);
	assert_true(begin(w));
	assert_true(begin(w));		/* b's: which it cannot run yet */
	wait_us(10 * STALL_US);
	assert_int_equal(w->kills, 1);	/* for nobody else could be served by it */
	die(w, SIGSEGV);
	say_ready(worker(0));
	memset(&a, 0, sizeof(a));
	get(&a, "b");
	if (a.rq)
		cancel(&a);
	if (b.rq)
		cancel(&b);
	assert_int_equal(b.n, 0);
}

static void
answers_out_of_turn_are_paid_for(void **state)
{
	struct result r[40] = { 0 };
	struct sv_share *b;
	struct proc *w;
	uint64_t tag;
	unsigned i;

	(void)state;
	serve_with(1, 2);
	costs("a", 20);
	costs("b", 5000);
	b = sv_contracts_known(sv_dispatch_contracts(t.d), "b")->share;
	submit(&r[0], "a");
	w = worker(0);
	assert_true(begin(w));
	tag = b->flow.tag;
	for (i = 1; i < 40; i++) {
		submit(&r[i], "b");
		if (!has_frame(w, TN_FRAME_INVOKE))
			break;
		wait_us(500);
		reply(w, "");
	}
	/* By the time that passed: who answers so does not come first for ever. */
	assert_true(b->flow.tag > tag);
	for (i = 0; i < 40; i++)
		if (r[i].rq)
			cancel(&r[i]);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(short_requests_queue_up_at_a_worker),
		TEST(nobody_waits_behind_one_that_is_known_to_take_long),
		TEST(who_takes_long_gets_an_idle_worker_though_others_never_stop_coming),
		TEST(what_waits_behind_a_slow_one_goes_to_another_worker),
		TEST(what_is_taken_back_keeps_its_order_and_is_no_attempt),
		TEST(a_worker_that_merely_lacks_cpu_keeps_one_and_gets_more_when_it_has_done_it),
		TEST(one_that_has_begun_is_not_taken_back),
		TEST(whose_client_leaves_is_taken_from_a_worker_that_has_not_begun_it),
		TEST(the_only_request_of_a_worker_can_be_taken_from_it),
		TEST(a_worker_watches_for_its_next_frame_only_while_it_has_the_only_one),
		TEST(who_watches_is_told_how_much_was_sent),
		TEST(so_many_of_one_contract_wait_and_others_still_may),
		TEST(who_has_waited_too_long_is_refused_instead_of_served),
		TEST(a_contract_has_no_more_workers_than_it_may),
		TEST(frames_behind_its_own_are_no_more_workers),
		TEST(reserved_workers_wait_for_their_contract),
		TEST(nobody_joins_a_contract_at_its_reserved_worker),
		TEST(a_flood_of_one_contract_does_not_delay_another),
		TEST(who_costs_more_gets_fewer_turns),
		TEST(an_old_copy_of_what_was_taken_back_is_not_run_for_the_new_one),
		TEST(who_takes_long_gets_its_worker_though_others_are_reserved),
		TEST(a_tenant_is_not_kept_out_by_one_that_never_pauses),
		TEST(who_hears_of_a_failed_build_may_cancel_others),
		TEST(a_capped_contract_goes_on_when_its_worker_was_of_the_generation_before),
		TEST(those_that_are_awake_come_first),
		TEST(a_capped_contract_goes_on_when_its_process_was_used_up),
		TEST(clients_that_leave_do_not_cost_a_worker_its_life),
		TEST(a_probe_that_dies_with_its_zygote_is_tried_again),
		TEST(what_a_worker_says_of_frames_behind_its_first_is_not_held_against_them),
		TEST(answers_out_of_turn_are_paid_for),
	};

	return cmocka_run_group_tests_name("sv_turns", tests, NULL, NULL);
}
