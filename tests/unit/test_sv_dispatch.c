/*
 * From a request to a worker and back (sv_dispatch.h), with the pool, the
 * generation and the workers' channels as they are: the test plays the HTTP side,
 * the master, the zygote and its workers, and turns the event loop by hand.
 */
#include "config.h"

#include "sv_world.h"

/* -- to a worker ----------------------------------------------------------------- */

static void
the_first_request_waits_for_its_image_and_for_a_worker(void **state)
{
	struct result r = { 0 };
	struct proc *w, *b;

	(void)state;
	get(&r, "a");
	give_zygote();
	turn();
	assert_int_equal(t.nprocs, 0);
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	assert_int_equal(count(TN_ROLE_WORKER), 1);
	assert_int_equal(count(TN_ROLE_BUILDER), 1);
	w = living(TN_ROLE_WORKER, 0);
	b = living(TN_ROLE_BUILDER, 0);
	assert_false(has_frame(b, TN_FRAME_BUILD));	/* not ready */
	say_ready(b);
	build(b);
	assert_false(has_frame(w, TN_FRAME_INVOKE));
	assert_int_equal(r.n, 0);
	say_ready(w);
	take(w);
	assert_true(tn_str_is(w->f.invoke.contract, "a"));
	assert_true(tn_str_is(w->f.invoke.function, "get"));
	assert_true(w->f.invoke.image > 0);
	assert_int_equal(w->f.invoke.delta.len, IMAGE_BYTES);
	assert_int_equal(w->f.invoke.seed.len, 32);
	reply(w, "hello");
	assert_answered(&r, "hello");
}

static void
an_unknown_contract_and_a_method_it_has_not_are_answered_without_a_worker(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct sv_request *rq;

	(void)state;
	serve();
	load("a");
	get(&r, "nobody");
	assert_fault(&r, TN_FAULT_NOT_FOUND);
	rq = sv_request_new();
	strcpy(rq->contract, "a");
	rq->method = TN_STR("POST");
	rq->done = on_done;
	rq->done_arg = &s;
	rq->received_us = tn_clock_us();
	sv_dispatch_submit(t.d, &rq);
	assert_fault(&s, TN_FAULT_METHOD);
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
}

static void
a_function_that_is_asked_for_answers_whatever_the_method(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct sv_request *rq;
	struct proc *w;
	unsigned i;

	(void)state;
	serve();
	load("a");
	for (i = 0; i < 2; i++) {
		rq = sv_request_new();
		strcpy(rq->contract, "a");
		rq->method = TN_STR("POST");
		rq->wanted = i == 0 ? "get" : "contract";
		rq->block = TN_STR("{}");
		rq->caller = TN_STR("\"anna\"");
		rq->input = TN_STR("[1]");
		rq->done = on_done;
		rq->done_arg = i == 0 ? &r : &s;
		rq->received_us = tn_clock_us();
		sv_dispatch_submit(t.d, &rq);
	}
	assert_fault(&s, TN_FAULT_METHOD);
	w = worker(0);
	take(w);
	assert_true(tn_str_is(w->f.invoke.function, "get"));
	assert_true(tn_str_is(w->f.invoke.method, "POST"));
	assert_true(tn_str_is(w->f.invoke.block, "{}"));
	assert_true(tn_str_is(w->f.invoke.caller, "\"anna\""));
	assert_true(tn_str_is(w->f.invoke.input, "[1]"));
	reply(w, "hello");
	assert_answered(&r, "hello");
	/* Who says nothing gets the server's own block, and names nobody. */
	get(&r, "a");
	take(w);
	assert_true(w->f.invoke.block.len > 2);
	assert_int_equal(w->f.invoke.caller.len + w->f.invoke.input.len, 0);
	reply(w, "");
}

static void
a_worker_that_has_the_image_is_preferred_and_not_sent_it_again(void **state)
{
	struct result a = { 0 }, b = { 0 }, c = { 0 };
	struct proc *has_a, *has_b;

	(void)state;
	t.opt->workers_min = t.opt->workers_max = 2;
	serve();
	load("a");
	load("b");
	get(&a, "a");
	get(&b, "b");
	has_a = worker(has_frame(worker(0), TN_FRAME_INVOKE) &&
	    tn_str_is(worker(0)->f.invoke.contract, "a") ? 0 : 1);
	has_b = has_a == worker(0) ? worker(1) : worker(0);
	if (has_a != worker(0))
		assert_true(has_frame(has_a, TN_FRAME_INVOKE));
	else
		assert_true(has_frame(has_b, TN_FRAME_INVOKE));
	reply(has_a, "");
	reply(has_b, "");		/* the last to be used: else it would be first */
	assert_int_equal(a.n + b.n, 2);
	get(&c, "a");
	assert_false(has_frame(has_b, TN_FRAME_INVOKE));
	take(has_a);
	assert_int_equal(has_a->f.invoke.delta.len, 0);
}

static void
a_worker_gets_no_more_frames_than_its_depth(void **state)
{
	struct result r[4] = { 0 };
	struct proc *w;

	(void)state;
	t.opt->worker_depth = 2;
	serve();
	load("a");
	for (size_t i = 0; i < 4; i++)
		get(&r[i], "a");
	w = worker(0);
	take(w);
	assert_true(has_frame(w, TN_FRAME_INVOKE));
	assert_false(has_frame(w, TN_FRAME_INVOKE));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(r[i].n, 0);
}

/* -- death ------------------------------------------------------------------------- */

static void
a_frame_that_was_not_started_goes_to_another_worker(void **state)
{
	struct result r = { 0 };

	(void)state;
	t.opt->workers_min = t.opt->workers_max = 2;
	serve();
	load("a");
	get(&r, "a");
	die(has_frame(worker(0), TN_FRAME_INVOKE) ? worker(0) : worker(1), 9);
	assert_int_equal(r.n, 0);
	take(worker(0));
	reply(worker(0), "second");
	assert_answered(&r, "second");
	assert_int_equal(t.stats.requests_redispatched, 1);
}

static void
a_frame_that_was_started_is_not_tried_again(void **state)
{
	struct result r = { 0 };

	(void)state;
	t.opt->workers_min = t.opt->workers_max = 2;
	serve();
	load("a");
	get(&r, "a");
	if (has_frame(worker(0), TN_FRAME_INVOKE)) {
		atomic_store(&worker(0)->slots->frame[0], 0);	/* not queued: it may have begun */
		die(worker(0), 9);
	} else {
		take(worker(1));
		die(worker(1), 9);
	}
	assert_fault(&r, TN_FAULT_WORKER_DIED);
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	assert_int_equal(t.stats.requests_redispatched, 0);
}

static void
there_is_no_fourth_attempt(void **state)
{
	struct result r = { 0 };
	unsigned i;

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	for (i = 0; i < 3; i++) {
		assert_int_equal(r.n, 0);
		assert_true(has_frame(worker(0), TN_FRAME_INVOKE));
		die(worker(0), 9);
		RUN_UNTIL(count(TN_ROLE_WORKER) > 0);
		say_ready(worker(0));
	}
	assert_fault(&r, TN_FAULT_WORKER_DIED);
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	assert_int_equal(t.stats.requests_redispatched, 2);
}

static void
who_is_not_begun_in_time_by_any_worker_is_late(void **state)
{
	struct result r = { 0 };
	unsigned i;

	(void)state;
	t.opt->deadline_ms = 20;
	t.opt->deadline_grace_ms = 5;
	serve();
	load("a");
	get(&r, "a");
	/* Workers without a processor: not their fault, nor the contract's. */
	for (i = 0; i < 3; i++) {
		struct proc *w = worker(0);

		assert_int_equal(r.n, 0);
		assert_true(has_frame(w, TN_FRAME_INVOKE));
		RUN_UNTIL(w->kills > 0);
		die(w, 9);
		if (i < 2) {
			RUN_UNTIL(count(TN_ROLE_WORKER) > 0);
			say_ready(worker(0));
		}
	}
	assert_fault(&r, TN_FAULT_DEADLINE);
}

static void
dead_workers_that_nobody_has_noticed_are_no_attempts(void **state)
{
	struct result r = { 0 };
	unsigned i;

	(void)state;
	t.opt->workers_min = t.opt->workers_max = 4;
	serve();
	load("a");
	for (i = 0; i < 4; i++)
		shutdown(worker(i)->fd, SHUT_RDWR);
	submit(&r, "a");
	for (i = 0; i < 4; i++)
		die(worker(0), 9);
	assert_int_equal(r.n, 0);
	RUN_UNTIL(count(TN_ROLE_WORKER) > 0);
	say_ready(worker(0));
	take(worker(0));
	reply(worker(0), "at last");
	assert_answered(&r, "at last");
}

static void
last_words_are_heard(void **state)
{
	struct result r = { 0 };
	struct proc *w;

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	w = worker(0);
	take(w);
	say_reply(w, w->f.invoke.id, "goodbye");
	die(w, 9);
	assert_answered(&r, "goodbye");
}

static void
at_the_deadline_it_is_signalled_and_then_killed(void **state)
{
	struct result r = { 0 };
	struct proc *w;

	(void)state;
	t.opt->deadline_ms = 20;
	t.opt->deadline_grace_ms = 5;
	serve();
	load("a");
	get(&r, "a");
	w = worker(0);
	take(w);
	RUN_UNTIL(w->alarms > 0);
	assert_int_equal(atomic_load(&w->slots->timeout_id), w->f.invoke.id);
	RUN_UNTIL(w->kills > 0);
	assert_fault(&r, TN_FAULT_DEADLINE);
	assert_int_equal(w->alarms, 1);
	assert_int_equal(t.stats.deadlines, 1);
	die(w, 9);
	assert_int_equal(t.stats.workers_killed, 1);
}

static void
a_worker_that_obeys_the_deadline_lives_on(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct tn_frame f = { .type = TN_FRAME_REPLY };
	struct proc *w;

	(void)state;
	t.opt->deadline_ms = 20;
	t.opt->deadline_grace_ms = 60000;
	serve();
	load("a");
	get(&r, "a");
	w = worker(0);
	take(w);
	RUN_UNTIL(w->alarms > 0);
	t.opt->deadline_ms = 3600000;
	f.reply = (struct tn_frame_reply){ .id = w->f.invoke.id, .fault = TN_FAULT_DEADLINE,
	    .message = TN_STR("") , .body = TN_STR("") };
	say(w, &f);
	turn();
	assert_fault(&r, TN_FAULT_DEADLINE);
	assert_int_equal(atomic_load(&w->slots->timeout_id), 0);
	get(&s, "a");
	take(w);
	reply(w, "next");
	assert_answered(&s, "next");
	assert_int_equal(w->kills, 0);
}

static void
find_first(void *arg, const struct sv_worker *w)
{
	const struct sv_worker **found = arg;

	if (*found == NULL)
		*found = w;
}

static void
after_a_deadline_the_next_one_comes_in_its_time(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct tn_frame f = { .type = TN_FRAME_REPLY };
	struct proc *w;

	(void)state;
	t.opt->deadline_ms = 20;
	t.opt->deadline_grace_ms = 3600000;
	serve();
	load("a");
	get(&r, "a");
	w = worker(0);
	take(w);
	RUN_UNTIL(w->alarms == 1);
	f.reply = (struct tn_frame_reply){ .id = w->f.invoke.id, .fault = TN_FAULT_DEADLINE,
	    .message = TN_STR("") };
	say(w, &f);
	turn();
	assert_fault(&r, TN_FAULT_DEADLINE);
	get(&s, "a");
	take(w);
	RUN_UNTIL(w->alarms == 2);
}

static void
an_answer_out_of_turn_gives_the_first_frame_no_more_time(void **state)
{
	struct result r = { 0 }, s = { 0 };
	const struct sv_worker *w = NULL;
	uint64_t since;
	struct proc *p;

	(void)state;
	t.opt->worker_depth = 2;
	serve();
	load("a");
	get(&r, "a");
	get(&s, "a");
	p = worker(0);
	take(p);
	assert_true(has_frame(p, TN_FRAME_INVOKE));
	sv_pool_each(t.pool, find_first, &w);
	since = w->head_since_us;
	while (tn_clock_us() == since)
		;
	reply(p, "out of turn");
	assert_answered(&s, "out of turn");
	assert_int_equal(r.n, 0);
	assert_int_equal(w->head_since_us, since);
}

/* -- waiting ----------------------------------------------------------------------- */

static void
beyond_queue_max_requests_are_refused(void **state)
{
	struct result r[3] = { 0 };

	(void)state;
	t.opt->queue_max = 2;
	for (size_t i = 0; i < 3; i++)
		get(&r[i], "a");
	assert_int_equal(r[0].n + r[1].n, 0);
	assert_fault(&r[2], TN_FAULT_OVERLOAD);
	assert_true(r[2].retry_after > 0);
	assert_int_equal(t.stats.requests_overload, 1);
}

static void
a_request_does_not_wait_beyond_queue_timeout(void **state)
{
	struct result r = { 0 }, s = { 0 };

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	take(worker(0));
	get(&s, "a");
	t.opt->queue_timeout_ms = 1;
	RUN_UNTIL(s.n > 0);
	assert_fault(&s, TN_FAULT_OVERLOAD);
	assert_true(s.retry_after > 0);
	assert_int_equal(r.n, 0);	/* that one runs */
}

static void
submit_next(struct result *r)
{
	submit(r->next, "a");
}

static void
who_is_told_that_it_waited_too_long_may_submit_another(void **state)
{
	struct result s = { 0 }, r = { .then = submit_next, .next = &s };

	(void)state;
	t.opt->queue_timeout_ms = 10000;
	get(&r, "a");
	r.rq->received_us -= 20000000;
	RUN_UNTIL(r.n > 0);
	assert_fault(&r, TN_FAULT_OVERLOAD);
	assert_int_equal(s.n, 0);
}

static void
what_comes_back_from_a_worker_hides_nobody_who_waits_for_longer(void **state)
{
	struct result old = { 0 }, young = { 0 };

	(void)state;
	serve();
	load("a");
	get(&old, "b");			/* waits for an image that does not come */
	get(&young, "a");
	assert_true(has_frame(worker(0), TN_FRAME_INVOKE));
	die(worker(0), 9);
	t.opt->queue_timeout_ms = 100000;
	old.rq->received_us -= 200000000;
	RUN_UNTIL(old.n > 0);
	assert_fault(&old, TN_FAULT_OVERLOAD);
	assert_int_equal(young.n, 0);
}

static void
cancelled_while_it_waits_for_its_image(void **state)
{
	struct result r = { 0 };

	(void)state;
	serve();
	get(&r, "a");
	cancel(&r);
	build_next();
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	assert_int_equal(r.n, 0);
}

static void
cancelled_while_it_waits_for_a_rebuild(void **state)
{
	struct result r = { 0 };

	(void)state;
	serve();
	load("a");
	zygote_dies();
	get(&r, "a");
	cancel(&r);
	RUN_UNTIL(t.wanted > 0);
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	say_ready(worker(0));
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	assert_int_equal(r.n, 0);
}

static void
cancelled_while_it_waits_for_a_worker(void **state)
{
	struct result r = { 0 }, s = { 0 };

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	get(&s, "a");
	cancel(&s);
	take(worker(0));
	reply(worker(0), "");
	assert_answered(&r, "");
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	assert_int_equal(s.n, 0);
}

static void
cancelled_while_a_worker_has_it(void **state)
{
	struct result r = { 0 }, s = { 0 };

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	take(worker(0));
	cancel(&r);
	reply(worker(0), "to nobody");
	assert_int_equal(r.n, 0);
	get(&s, "a");
	take(worker(0));
	reply(worker(0), "next");
	assert_answered(&s, "next");
	assert_int_equal(t.stats.requests_cancelled, 2);	/* load's, too */
}

static void
cancelled_while_a_worker_has_it_that_dies(void **state)
{
	struct result r = { 0 };

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	assert_true(has_frame(worker(0), TN_FRAME_INVOKE));
	cancel(&r);
	die(worker(0), 9);
	RUN_UNTIL(count(TN_ROLE_WORKER) > 0);
	say_ready(worker(0));
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));	/* nobody wants the answer */
	assert_int_equal(r.n, 0);
}

/* -- the pool ---------------------------------------------------------------------- */

static void
on_recycled(void *arg)
{
	(void)arg;
	t.recycled++;
}

static void
a_recycled_worker_goes_only_when_its_replacement_is_ready(void **state)
{
	struct proc *old, *new;

	(void)state;
	serve();
	old = worker(0);
	assert_int_equal(sv_pool_recycle(t.pool, 0, NULL, TN_RETIRE_ASKED, on_recycled, NULL), 1);
	turn();
	assert_int_equal(count(TN_ROLE_WORKER), 2);
	assert_false(has_frame(old, TN_FRAME_RETIRE));
	new = worker(1);
	say_ready(new);
	assert_true(has_frame(old, TN_FRAME_RETIRE));
	assert_int_equal(old->f.retire.reason, TN_RETIRE_ASKED);
	assert_int_equal(t.recycled, 0);
	die(old, 0);
	assert_int_equal(t.recycled, 1);
	assert_false(has_frame(new, TN_FRAME_RETIRE));
	assert_int_equal(count(TN_ROLE_WORKER), 1);
	assert_int_equal(t.stats.workers_crashed, 0);
}

static void
max_requests_recycles(void **state)
{
	struct result r = { 0 };
	struct proc *old;

	(void)state;
	t.opt->max_requests = 1;
	t.opt->max_requests_jitter = 0;
	serve();
	load("a");
	get(&r, "a");
	old = worker(0);
	take(old);
	assert_int_equal(count(TN_ROLE_WORKER), 1);
	reply(old, "");
	assert_int_equal(count(TN_ROLE_WORKER), 2);
	say_ready(worker(1));
	assert_true(has_frame(old, TN_FRAME_RETIRE));
}

static void
the_pool_grows_with_the_queue_and_shrinks_when_idle(void **state)
{
	struct result r[3] = { 0 };
	unsigned i, retired;

	(void)state;
	t.opt->workers_max = 3;
	serve();
	load("a");
	for (i = 0; i < 3; i++)
		get(&r[i], "a");
	RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
	say_ready(worker(1));
	RUN_UNTIL(count(TN_ROLE_WORKER) == 3);
	say_ready(worker(2));
	for (i = 0; i < 3; i++) {
		take(worker(i));
		reply(worker(i), "");
		assert_answered(&r[i], "");
	}
	t.opt->workers_idle_ms = 1;
	RUN_UNTIL(t.stats.workers_retired == 2);
	for (i = retired = 0; i < 3; i++)
		retired += has_frame(worker(i), TN_FRAME_RETIRE);
	assert_int_equal(retired, 2);	/* workers_min stays */
}

static void
workers_that_answer_once_and_stay_do_not_pile_up(void **state)
{
	struct result r[4] = { 0 };
	unsigned i;

	(void)state;
	t.opt->isolation = TN_ISO_PROCESS;
	serve();
	load("a");
	for (i = 0; i < 4; i++) {
		struct proc *w = living(TN_ROLE_WORKER, i);

		if (w == NULL)
			break;
		if (i > 0)
			say_ready(w);
		get(&r[i], "a");
		take(w);
		reply(w, "");
		assert_answered(&r[i], "");
	}
	assert_int_equal(count(TN_ROLE_WORKER), 2);	/* twice workers_max */
	die(worker(0), 0);
	assert_int_equal(count(TN_ROLE_WORKER), 2);
}

static void
a_worker_that_does_not_read_is_not_fed_for_ever(void **state)
{
	struct result r = { 0 };
	struct tn_frame f = { .type = TN_FRAME_SLEEP };
	struct proc *w;
	unsigned i;

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	w = worker(0);
	take(w);
	f.sleep.id = w->f.invoke.id;
	for (i = 0; i < 5000 && w->kills == 0; i++) {
		say(w, &f);
		event_base_loop(t.base, EVLOOP_ONCE);
		turn();
	}
	assert_int_equal(w->kills, 1);
	die(w, 9);
	assert_fault(&r, TN_FAULT_WORKER_DIED);
}

static void
a_worker_whose_heap_was_not_put_back_gets_no_other_request(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct tn_frame f = { .type = TN_FRAME_RESTORED };
	struct proc *w;
	unsigned i;

	(void)state;
	serve();
	load("a");
	get(&r, "a");
	w = worker(0);
	take(w);
	reply(w, "");
	f.restored.id = w->f.invoke.id;
	f.restored.differ = 1;
	for (i = 0; i < 5; i++)
		say(w, &f);
	turn();
	get(&s, "a");
	assert_false(has_frame(w, TN_FRAME_INVOKE));
	assert_int_equal(w->kills, 1);
	assert_int_equal(t.stats.audits_failed, 1);
	die(w, 9);
	RUN_UNTIL(count(TN_ROLE_WORKER) > 0);
	say_ready(worker(0));
	take(worker(0));
}

/* How often a worker has put its heap back stands in its page; it is counted once. */
static void
restores_are_counted_whenever_somebody_looks_and_at_the_end(void **state)
{
	struct result r = { 0 };
	struct proc *w;
	unsigned i;

	(void)state;
	serve();
	load("a");
	w = worker(0);
	for (i = 0; i < 3; i++) {
		get(&r, "a");
		take(w);
		reply(w, "");
		turn();
		tn_slots_restored(w->slots, 7, i == 1);
	}
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.time_restore.count, 3);
	assert_int_equal(t.stats.audits, 1);
	tn_slots_restored(w->slots, UINT64_MAX, true);
	die(w, 9);
	RUN_UNTIL(t.stats.workers_crashed == 1);
	assert_int_equal(t.stats.time_restore.count, 4);
	assert_int_equal(t.stats.audits, 2);
}

static void
a_builder_has_nothing_to_put_back(void **state)
{
	struct result r = { 0 };
	struct tn_frame f = { .type = TN_FRAME_RESTORED, .restored = { .id = 1, .differ = 1 } };
	struct proc *b;

	(void)state;
	serve();
	get(&r, "a");
	b = living(TN_ROLE_BUILDER, 0);
	say_ready(b);
	say(b, &f);
	turn();
	assert_int_equal(b->kills, 1);
	die(b, 9);
	assert_fault(&r, TN_FAULT_COMPILE);
	assert_int_equal(t.stats.audits_failed, 0);
}

static void
nobody_can_cut_off_the_page_that_the_front_reads(void **state)
{
	(void)state;
	serve();
	assert_int_not_equal(ftruncate(worker(0)->slots_fd, 0), 0);
}

/* -- images ------------------------------------------------------------------------ */

static void
an_evicted_image_is_built_again(void **state)
{
	struct result r = { 0 };

	(void)state;
	t.opt->images_memory_max = IMAGE_BYTES + IMAGE_BYTES / 2;
	serve();
	load("a");
	load("b");			/* no room for both */
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 1);
	assert_int_equal(t.stats.images_evicted, 1);
	get(&r, "a");
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	build_next();
	take(worker(0));
	assert_int_equal(worker(0)->f.invoke.delta.len, IMAGE_BYTES);
	reply(worker(0), "again");
	assert_answered(&r, "again");
	assert_int_equal(t.stats.images_built, 3);
}

static void
a_new_generation_drops_the_images_and_builds_them_again(void **state)
{
	struct result r = { 0 };
	uint64_t before;

	(void)state;
	serve();
	load("a");
	before = t.generation;
	zygote_dies();
	assert_int_equal(t.killed, before);
	get(&r, "a");
	RUN_UNTIL(t.wanted > 0);
	assert_int_equal(t.wanted, before + 1);
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 0);
	say_ready(worker(0));
	assert_false(has_frame(worker(0), TN_FRAME_INVOKE));
	build_next();
	take(worker(0));
	assert_int_equal(worker(0)->f.invoke.delta.len, IMAGE_BYTES);
	reply(worker(0), "new");
	assert_answered(&r, "new");
	assert_int_equal(t.failed, 0);
}

/* The contract is asked for and answers; was its image sent? */
static bool
sends_image(const char *contract)
{
	struct result r = { 0 };

	get(&r, contract);
	if (count(TN_ROLE_BUILDER) > 0)
		build_next();
	take(worker(0));
	reply(worker(0), "");
	assert_answered(&r, "");
	return worker(0)->f.invoke.delta.len > 0;
}

static void
contracts_that_alternate_are_sent_to_a_worker_once(void **state)
{
	unsigned i;

	(void)state;
	serve();
	assert_true(sends_image("a"));
	assert_true(sends_image("b"));
	for (i = 0; i < 5; i++) {
		assert_false(sends_image("a"));
		assert_false(sends_image("b"));
	}
}

static void
the_image_that_was_used_longest_ago_makes_room(void **state)
{
	char id[2] = "a";
	unsigned i;

	(void)state;
	serve();
	for (i = 0; i <= TN_IMAGES_MAX; i++) {
		id[0] = (char)('a' + i);
		put(id, "exports.get = 1;");
		assert_true(sends_image(id));
		if (i > 0)
			assert_false(sends_image("a"));	/* used all the time */
	}
	assert_true(sends_image("b"));
	assert_false(sends_image("a"));
	assert_false(sends_image("d"));
	assert_true(sends_image("c"));
}

static void
frames_that_wait_in_a_worker_have_their_images_when_their_turn_comes(void **state)
{
	struct result r[TN_IMAGES_MAX + 2] = { 0 };
	char id[2] = "a";
	unsigned i;

	(void)state;
	t.opt->worker_depth = TN_DEPTH_MAX;
	serve();
	for (i = 0; i < TN_IMAGES_MAX + 2; i++) {
		id[0] = (char)('a' + i);
		put(id, "exports.get = 1;");
		load(id);
	}
	for (i = 0; i < TN_IMAGES_MAX + 2; i++) {
		id[0] = (char)('a' + i);
		get(&r[i], id);
	}
	for (i = 0; i < TN_IMAGES_MAX + 2; i++) {
		take(worker(0));		/* keep() looks */
		assert_int_equal(worker(0)->f.invoke.contract.p[0], 'a' + (int)i);
		reply(worker(0), "");
		assert_answered(&r[i], "");
	}
}

static void
a_new_version_has_a_new_image_while_the_old_one_still_runs(void **state)
{
	struct result old = { 0 }, new = { 0 };
	uint64_t before;

	(void)state;
	t.opt->worker_depth = 2;
	serve();
	load("a");
	get(&old, "a");
	take(worker(0));
	before = worker(0)->f.invoke.image;
	put("a", "exports.get = 'changed';");
	sv_contracts_reload(sv_dispatch_contracts(t.d));
	build_next();
	get(&new, "a");
	reply(worker(0), "old");
	assert_answered(&old, "old");
	take(worker(0));
	assert_true(worker(0)->f.invoke.image > before);
	assert_int_equal(worker(0)->f.invoke.delta.len, IMAGE_BYTES);
	reply(worker(0), "new");
	assert_answered(&new, "new");
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 1);
}

static void
a_worker_that_fails_is_sent_its_images_again(void **state)
{
	struct result r = { 0 };
	struct tn_frame f = { .type = TN_FRAME_REPLY };

	(void)state;
	serve();
	assert_true(sends_image("a"));
	assert_true(sends_image("b"));
	get(&r, "a");
	take(worker(0));
	f.reply = (struct tn_frame_reply){ .id = worker(0)->f.invoke.id,
	    .message = TN_STR("the image is not here"), .fault = TN_FAULT_INTERNAL };
	say(worker(0), &f);
	turn();
	assert_fault(&r, TN_FAULT_INTERNAL);
	assert_true(sends_image("b"));
	assert_true(sends_image("a"));
	assert_false(sends_image("b"));
}

static void
an_image_that_is_used_stays_in_memory(void **state)
{
	(void)state;
	t.opt->images_memory_max = 2 * IMAGE_BYTES;
	serve();
	put("c", "exports.get = 3;");
	load("a");
	load("b");
	sends_image("a");
	load("c");			/* in the place of b's */
	assert_int_equal(t.stats.images_built, 3);
	sends_image("a");
	assert_int_equal(t.stats.images_built, 3);
	sends_image("b");
	assert_int_equal(t.stats.images_built, 4);
}

static void
an_idle_worker_that_keeps_the_image_is_preferred(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct proc *first, *second;

	(void)state;
	t.opt->workers_min = t.opt->workers_max = 2;
	serve();
	put("c", "exports.get = 3;");
	load("a");
	load("b");
	load("c");
	get(&r, "a");
	get(&s, "c");
	first = worker(has_frame(worker(0), TN_FRAME_INVOKE) &&
	    worker(0)->f.invoke.contract.p[0] == 'a' ? 0 : 1);
	second = first == worker(0) ? worker(1) : worker(0);
	if (first != worker(0))
		assert_true(has_frame(first, TN_FRAME_INVOKE));
	else
		assert_true(has_frame(second, TN_FRAME_INVOKE));
	reply(second, "");
	reply(first, "");		/* the last to be used */
	r = (struct result){ 0 };
	get(&r, "b");
	assert_true(has_frame(first, TN_FRAME_INVOKE));
	reply(first, "");
	s = (struct result){ 0 };
	get(&s, "c");			/* so that the other is the last to be used */
	assert_true(has_frame(second, TN_FRAME_INVOKE));
	reply(second, "");
	r = (struct result){ 0 };
	get(&r, "a");			/* neither ran it last */
	assert_true(has_frame(first, TN_FRAME_INVOKE));
	assert_int_equal(first->f.invoke.delta.len, 0);
	reply(first, "kept");
	assert_answered(&r, "kept");
	/* One that ran it last is better still. */
	r = (struct result){ 0 };
	s = (struct result){ 0 };
	get(&r, "c");
	get(&s, "b");
	assert_true(has_frame(second, TN_FRAME_INVOKE));
	assert_true(has_frame(first, TN_FRAME_INVOKE));
	reply(second, "");
	r = (struct result){ 0 };
	get(&r, "b");
	assert_true(has_frame(second, TN_FRAME_INVOKE));
	reply(second, "");
	r = (struct result){ 0 };
	get(&r, "c");
	assert_true(has_frame(second, TN_FRAME_INVOKE));
	reply(first, "");
	reply(second, "");		/* the last to be used, and keeps b */
	r = (struct result){ 0 };
	get(&r, "b");
	assert_true(has_frame(first, TN_FRAME_INVOKE));
}

static void
an_image_that_fits_in_no_frame_is_refused_when_it_is_built(void **state)
{
	struct result r = { 0 };
	size_t most = TN_FRAME_MAX - (size_t)t.opt->body_max - (1u << 20);
	struct proc *b;

	(void)state;
	serve();
	get(&r, "a");
	b = living(TN_ROLE_BUILDER, 0);
	say_ready(b);
	build_of(b, most + 1);
	assert_fault(&r, TN_FAULT_MEMORY);
	assert_int_equal(t.stats.images_failed, 1);
	r = (struct result){ 0 };
	get(&r, "b");
	b = living(TN_ROLE_BUILDER, 0);
	say_ready(b);
	build_of(b, most);
	assert_int_equal(r.n, 0);
	assert_int_equal(t.stats.images_built, 1);
	assert_true(has_frame(worker(0), TN_FRAME_INVOKE));
	assert_int_equal(worker(0)->f.invoke.delta.len, most);
}

static void
a_builder_that_sends_no_image_has_built_nothing(void **state)
{
	struct result r = { 0 };
	struct proc *b;

	(void)state;
	serve();
	get(&r, "a");
	b = living(TN_ROLE_BUILDER, 0);
	say_ready(b);
	build_of(b, 0);
	assert_fault(&r, TN_FAULT_COMPILE);
}

/* The next generation, and its one worker. */
static void
next_generation(void)
{
	RUN_UNTIL(t.wanted > 0);
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
}

static void
a_contract_whose_build_kills_each_zygote_is_given_up(void **state)
{
	struct result r = { 0 }, s = { 0 };
	unsigned i;

	(void)state;
	serve();
	get(&r, "a");
	for (i = 0; i < 3; i++) {
		assert_int_equal(r.n, 0);
		assert_int_equal(count(TN_ROLE_BUILDER), 1);
		say_ready(living(TN_ROLE_BUILDER, 0));
		assert_true(has_frame(living(TN_ROLE_BUILDER, 0), TN_FRAME_BUILD));
		zygote_dies();
		next_generation();
	}
	assert_fault(&r, TN_FAULT_COMPILE);
	/* Nor does it get another chance while its files stay as they are. */
	sv_contracts_get(sv_dispatch_contracts(t.d), "a")->checked_us = 0;
	get(&s, "a");
	assert_fault(&s, TN_FAULT_COMPILE);
	assert_int_equal(count(TN_ROLE_BUILDER), 0);
	load("b");
	assert_int_equal(t.stats.images_built, 1);
}

static void
a_contract_that_served_and_then_kills_zygotes_is_given_up_until_a_reload(void **state)
{
	struct result r = { 0 }, s = { 0 }, u = { 0 };
	unsigned i;

	(void)state;
	serve();
	load("a");
	zygote_dies();
	get(&r, "a");
	for (i = 0; i < 3; i++) {
		next_generation();
		assert_int_equal(r.n, 0);
		assert_int_equal(count(TN_ROLE_BUILDER), 1);
		say_ready(living(TN_ROLE_BUILDER, 0));
		zygote_dies();
	}
	next_generation();
	assert_fault(&r, TN_FAULT_COMPILE);
	get(&s, "a");
	assert_fault(&s, TN_FAULT_COMPILE);
	assert_int_equal(count(TN_ROLE_BUILDER), 0);
	sv_contracts_reload(sv_dispatch_contracts(t.d));
	get(&u, "a");
	assert_int_equal(u.n, 0);
	build_next();
	say_ready(worker(0));
	take(worker(0));
}

static void
a_contract_that_was_not_begun_is_not_blamed_for_a_zygotes_death(void **state)
{
	struct result r = { 0 };
	unsigned i;

	(void)state;
	serve();
	get(&r, "a");
	for (i = 0; i < 4; i++) {
		assert_int_equal(count(TN_ROLE_BUILDER), 1);
		zygote_dies();
		next_generation();
	}
	build_next();
	assert_int_equal(r.n, 0);
	assert_int_equal(t.stats.images_built, 1);
}

static void
after_a_zygotes_death_images_are_built_one_by_one(void **state)
{
	struct result r = { 0 }, s = { 0 };

	(void)state;
	serve();
	get(&r, "a");
	get(&s, "b");
	assert_int_equal(count(TN_ROLE_BUILDER), 2);
	say_ready(living(TN_ROLE_BUILDER, 0));
	say_ready(living(TN_ROLE_BUILDER, 1));
	zygote_dies();
	next_generation();
	assert_int_equal(count(TN_ROLE_BUILDER), 1);
	say_ready(living(TN_ROLE_BUILDER, 0));
	zygote_dies();			/* of that one: the other is not to blame */
	next_generation();
	assert_int_equal(count(TN_ROLE_BUILDER), 1);
	build_next();
	assert_int_equal(count(TN_ROLE_BUILDER), 1);
	build_next();
	assert_int_equal(r.n + s.n, 0);
	assert_int_equal(t.stats.images_built, 2);
}

static void
who_waits_for_an_image_is_served_although_the_contract_is_removed(void **state)
{
	struct result r = { 0 }, s = { 0 };

	(void)state;
	serve();
	load("a");
	zygote_dies();
	get(&r, "a");
	take_away("a");
	sv_contracts_reload(sv_dispatch_contracts(t.d));
	get(&s, "a");
	assert_fault(&s, TN_FAULT_NOT_FOUND);
	next_generation();
	build_next();
	say_ready(worker(0));
	take(worker(0));
	reply(worker(0), "the last");
	assert_answered(&r, "the last");
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 0);	/* nobody holds it any more */
}

static void
a_rebuild_for_a_removed_contract_still_has_its_name(void **state)
{
	struct result r = { 0 };
	struct proc *b;

	(void)state;
	t.opt->images_memory_max = IMAGE_BYTES;
	serve();
	load("a");
	get(&r, "a");			/* with a worker: holds the version */
	take_away("a");
	sv_contracts_reload(sv_dispatch_contracts(t.d));
	zygote_dies();			/* it had not started: it waits for a new image */
	assert_int_equal(r.n, 0);
	next_generation();
	b = living(TN_ROLE_BUILDER, 0);
	assert_non_null(b);
	say_ready(b);
	assert_true(has_frame(b, TN_FRAME_BUILD));
	assert_true(tn_str_is(b->f.build.contract, "a"));
}

/* Its files have changed, and it is time to look. */
static void
change_and_submit(struct result *r)
{
	sv_contracts_get(sv_dispatch_contracts(t.d), "a")->checked_us = 0;
	put("a", "exports.get = 'changed';");
	submit(r->next, "a");
}

static void
who_hears_that_a_contract_failed_may_submit_another(void **state)
{
	struct result r[3] = { 0 };
	struct tn_frame f = { .type = TN_FRAME_BUILT };
	struct proc *b;

	(void)state;
	r[0].then = change_and_submit;
	r[0].next = &r[2];
	serve();
	get(&r[0], "a");
	get(&r[1], "a");
	b = living(TN_ROLE_BUILDER, 0);
	say_ready(b);
	assert_true(has_frame(b, TN_FRAME_BUILD));
	f.built = (struct tn_frame_built){ .id = b->f.build.id, .message = TN_STR("no"),
	    .fault = TN_FAULT_COMPILE };
	say(b, &f);
	die(b, 0);
	for (size_t i = 0; i < 3; i++)
		assert_fault(&r[i], TN_FAULT_COMPILE);
}

/* -- the zygote -------------------------------------------------------------------- */

static unsigned
open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static void
a_process_announced_twice_costs_no_descriptor(void **state)
{
	unsigned before, i;

	(void)state;
	serve();
	before = open_descriptors();
	for (i = 0; i < 10; i++) {
		tell_spawned(worker(0));
		turn();
	}
	assert_int_equal(open_descriptors(), before);
}

static void
without_a_descriptor_for_its_pidfd_a_worker_serves_all_the_same(void **state)
{
	struct result r = { 0 };
	struct rlimit old, none;
	int lowest;

	(void)state;
	serve();
	load("a");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tell_spawned(worker(0));
	lowest = dup(0);
	close(lowest);
	none = (struct rlimit){ (rlim_t)lowest, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	turn();
	assert_int_equal(t.killed, 0);
	get(&r, "a");
	take(worker(0));
	reply(worker(0), "still here");
	assert_answered(&r, "still here");
}

static void
a_zygote_that_dies_while_it_warms_up_is_the_end(void **state)
{
	(void)state;
	give_zygote();
	zygote_dies();
	assert_int_equal(t.failed, 1);
}

static void
a_zygote_that_dies_before_its_workers_are_ready_is_replaced(void **state)
{
	struct result r = { 0 };

	(void)state;
	get(&r, "a");
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	assert_int_equal(t.nprocs, 2);	/* a worker and a builder, neither ready */
	zygote_dies();
	assert_int_equal(t.failed, 0);
	next_generation();
	say_ready(worker(0));
	assert_int_equal(t.ready, 1);
	build_next();
	take(worker(0));
	reply(worker(0), "");
	assert_answered(&r, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_request_waits_for_its_image_and_for_a_worker),
		TEST(an_unknown_contract_and_a_method_it_has_not_are_answered_without_a_worker),
		TEST(a_function_that_is_asked_for_answers_whatever_the_method),
		TEST(a_worker_that_has_the_image_is_preferred_and_not_sent_it_again),
		TEST(a_worker_gets_no_more_frames_than_its_depth),
		TEST(a_frame_that_was_not_started_goes_to_another_worker),
		TEST(a_frame_that_was_started_is_not_tried_again),
		TEST(there_is_no_fourth_attempt),
		TEST(who_is_not_begun_in_time_by_any_worker_is_late),
		TEST(dead_workers_that_nobody_has_noticed_are_no_attempts),
		TEST(last_words_are_heard),
		TEST(at_the_deadline_it_is_signalled_and_then_killed),
		TEST(a_worker_that_obeys_the_deadline_lives_on),
		TEST(after_a_deadline_the_next_one_comes_in_its_time),
		TEST(an_answer_out_of_turn_gives_the_first_frame_no_more_time),
		TEST(beyond_queue_max_requests_are_refused),
		TEST(a_request_does_not_wait_beyond_queue_timeout),
		TEST(who_is_told_that_it_waited_too_long_may_submit_another),
		TEST(what_comes_back_from_a_worker_hides_nobody_who_waits_for_longer),
		TEST(cancelled_while_it_waits_for_its_image),
		TEST(cancelled_while_it_waits_for_a_rebuild),
		TEST(cancelled_while_it_waits_for_a_worker),
		TEST(cancelled_while_a_worker_has_it),
		TEST(cancelled_while_a_worker_has_it_that_dies),
		TEST(a_recycled_worker_goes_only_when_its_replacement_is_ready),
		TEST(max_requests_recycles),
		TEST(the_pool_grows_with_the_queue_and_shrinks_when_idle),
		TEST(workers_that_answer_once_and_stay_do_not_pile_up),
		TEST(a_worker_that_does_not_read_is_not_fed_for_ever),
		TEST(a_worker_whose_heap_was_not_put_back_gets_no_other_request),
		TEST(restores_are_counted_whenever_somebody_looks_and_at_the_end),
		TEST(a_builder_has_nothing_to_put_back),
		TEST(nobody_can_cut_off_the_page_that_the_front_reads),
		TEST(an_evicted_image_is_built_again),
		TEST(a_new_generation_drops_the_images_and_builds_them_again),
		TEST(contracts_that_alternate_are_sent_to_a_worker_once),
		TEST(the_image_that_was_used_longest_ago_makes_room),
		TEST(frames_that_wait_in_a_worker_have_their_images_when_their_turn_comes),
		TEST(a_new_version_has_a_new_image_while_the_old_one_still_runs),
		TEST(a_worker_that_fails_is_sent_its_images_again),
		TEST(an_image_that_is_used_stays_in_memory),
		TEST(an_idle_worker_that_keeps_the_image_is_preferred),
		TEST(an_image_that_fits_in_no_frame_is_refused_when_it_is_built),
		TEST(a_builder_that_sends_no_image_has_built_nothing),
		TEST(a_contract_whose_build_kills_each_zygote_is_given_up),
		TEST(a_contract_that_served_and_then_kills_zygotes_is_given_up_until_a_reload),
		TEST(a_contract_that_was_not_begun_is_not_blamed_for_a_zygotes_death),
		TEST(after_a_zygotes_death_images_are_built_one_by_one),
		TEST(who_waits_for_an_image_is_served_although_the_contract_is_removed),
		TEST(a_rebuild_for_a_removed_contract_still_has_its_name),
		TEST(who_hears_that_a_contract_failed_may_submit_another),
		TEST(a_process_announced_twice_costs_no_descriptor),
		TEST(without_a_descriptor_for_its_pidfd_a_worker_serves_all_the_same),
		TEST(a_zygote_that_dies_while_it_warms_up_is_the_end),
		TEST(a_zygote_that_dies_before_its_workers_are_ready_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
