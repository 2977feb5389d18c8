/*
 * Who is in the pool, and which generation serves (sv_pool.h, sv_builds.h): reserves,
 * workers for one contract or one request only, and the change from one zygote to the
 * next.
 */
#include "config.h"

#include "sv_world.h"

/* The worker that was handed a frame. */
static struct proc *
holder(void)
{
	for (unsigned i = 0; i < count(TN_ROLE_WORKER); i++)
		if (has_frame(worker(i), TN_FRAME_INVOKE))
			return worker(i);
	return NULL;
}

static void
start(struct proc *p)
{
	assert_non_null(p);
	assert_true(tn_slot_move(p->slots, (unsigned)p->f.invoke.slot, p->f.invoke.id,
	    TN_SLOT_QUEUED, TN_SLOT_RUNNING));
}

static struct proc *
other(const struct proc *p)
{
	return p == worker(0) ? worker(1) : worker(0);
}

/* -- reserves ------------------------------------------------------------------ */

/* A server with so many workers and reserves, all ready. */
static void
serve_with(unsigned workers, unsigned reserves)
{
	t.opt->workers_min = workers;
	t.opt->workers_max = 8;
	t.opt->workers_standby = reserves;
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	assert_int_equal(count(TN_ROLE_WORKER), workers + reserves);
	for (unsigned i = 0; i < workers + reserves; i++)
		say_ready(worker(i));
	assert_int_equal(t.ready, 1);
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.workers_standby, reserves);
}

static void
a_reserve_is_given_nothing_while_others_have_room(void **state)
{
	struct result r = { 0 }, s = { 0 };

	(void)state;
	serve_with(1, 1);
	load("a");
	get(&r, "a");
	get(&s, "a");
	assert_non_null(holder());
	assert_null(holder());
	assert_int_equal(r.n + s.n, 0);
}

static void
a_reserve_takes_the_place_of_one_that_dies_at_once(void **state)
{
	struct result r = { 0 };
	struct proc *first, *reserve;

	(void)state;
	serve_with(1, 1);
	load("a");
	get(&r, "a");
	first = holder();
	assert_non_null(first);
	reserve = other(first);
	die(first, 9);
	/* It had not been started: the reserve has it, and another reserve is on its way. */
	take(reserve);
	reply(reserve, "from the reserve");
	assert_answered(&r, "from the reserve");
	RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
	say_ready(other(reserve));
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.workers_standby, 1);
	assert_int_equal(t.stats.workers_idle, 1);
}

/* -- a process for each request ---------------------------------------------------- */

static void
put_isolated(const char *id, const char *isolation)
{
	char path[256], text[128];
	int fd;

	put(id, "exports.get = 1;");
	snprintf(path, sizeof(path), "%s/%s/contract.json", t.dir, id);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	snprintf(text, sizeof(text), "{ \"isolation\": \"%s\" }", isolation);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
a_contract_may_ask_for_a_process_for_each_request(void **state)
{
	struct result r[3] = { 0 };
	struct proc *w, *used;
	unsigned i;

	(void)state;
	put_isolated("p", "process");
	serve_with(1, 1);
	load("a");
	load("p");
	/* One that has served somebody is not good enough. */
	get(&r[0], "a");
	used = holder();
	start(used);
	reply(used, "a");
	assert_answered(&r[0], "a");
	for (i = 1; i < 3; i++) {
		get(&r[i], "p");
		w = holder();
		start(w);
		assert_ptr_not_equal(w, used);
		assert_int_equal(w->f.invoke.isolation, TN_ISO_PROCESS);
		/* Another reserve is asked for. */
		RUN_UNTIL(count(TN_ROLE_WORKER) == 3);
		reply(w, "p");
		assert_answered(&r[i], "p");
		die(w, 0);
		say_ready(other(used));
	}
	assert_int_equal(t.stats.workers_crashed, 0);
}

static void
requests_that_want_processes_do_not_hold_up_others(void **state)
{
	struct result p[4] = { 0 }, a[2] = { 0 };
	struct proc *used, *w;
	unsigned i;

	(void)state;
	put_isolated("p", "process");
	serve_with(1, 1);
	load("a");
	load("p");
	get(&a[0], "a");
	used = holder();
	start(used);
	for (i = 0; i < 4; i++)
		get(&p[i], "p");
	w = holder();		/* the reserve has the first of them, the others wait */
	assert_ptr_not_equal(w, used);
	assert_null(holder());
	get(&a[1], "a");
	reply(used, "a");
	assert_true(has_frame(used, TN_FRAME_INVOKE));
	assert_true(tn_str_is(used->f.invoke.contract, "a"));
}

static void
a_contract_may_not_ask_for_less_than_the_server_gives(void **state)
{
	struct result r = { 0 };

	(void)state;
	put_isolated("w", "reuse");
	serve();
	get(&r, "w");
	assert_fault(&r, TN_FAULT_COMPILE);
	assert_int_equal(count(TN_ROLE_BUILDER), 0);
}

static void
but_for_what_isolation_allowed_names(void **state)
{
	struct result r = { 0 };
	struct tn_buf err = { 0 };

	(void)state;
	assert_int_equal(tn_options_set(t.opt, "isolation_allowed=reuse", &err), 0);
	put_isolated("w", "reuse");
	serve();
	load("w");
	get(&r, "w");
	take(worker(0));
	assert_int_equal(worker(0)->f.invoke.isolation, TN_ISO_REUSE);
}

static void
what_is_no_isolation_is_an_error_of_the_contract(void **state)
{
	struct result r = { 0 };

	(void)state;
	put_isolated("w", "airtight");
	serve();
	get(&r, "w");
	assert_fault(&r, TN_FAULT_COMPILE);
}

/* -- a worker for each contract ---------------------------------------------------- */

static void
with_tenancy_a_worker_serves_one_contract_only(void **state)
{
	struct result a = { 0 }, b = { 0 }, again = { 0 };
	struct proc *first, *second;

	(void)state;
	t.opt->worker_tenancy = TN_TENANCY_CONTRACT;
	serve_with(2, 0);
	load("a");
	load("b");
	get(&a, "a");
	first = holder();
	start(first);
	reply(first, "a");
	get(&b, "b");
	second = holder();
	assert_non_null(second);
	assert_ptr_not_equal(second, first);
	get(&again, "a");
	assert_ptr_equal(holder(), first);
}

static void
with_tenancy_the_longest_idle_makes_room_for_another_contract(void **state)
{
	struct result a = { 0 }, b = { 0 };
	struct proc *old;

	(void)state;
	t.opt->worker_tenancy = TN_TENANCY_CONTRACT;
	t.opt->workers_min = t.opt->workers_max = 1;
	serve();
	load("a");
	load("b");
	get(&a, "a");
	old = worker(0);
	take(old);
	reply(old, "a");
	get(&b, "b");
	assert_true(has_frame(old, TN_FRAME_RETIRE));
	die(old, 0);
	RUN_UNTIL(count(TN_ROLE_WORKER) == 1);
	say_ready(worker(0));
	take(worker(0));
	assert_true(tn_str_is(worker(0)->f.invoke.contract, "b"));
	reply(worker(0), "b");
	assert_answered(&b, "b");
}

/* -- contracts that kill workers -------------------------------------------------------- */

static void
a_contract_that_kills_workers_is_not_run_for_a_while_and_others_are(void **state)
{
	struct result r[3] = { 0 }, waiting = { 0 }, refused = { 0 }, b = { 0 }, probe = { 0 };
	unsigned i;

	(void)state;
	t.opt->breaker_deaths = 3;
	t.opt->breaker_pause_ms = 60000;
	serve_with(1, 1);
	load("a");
	load("b");
	for (i = 0; i < 3; i++) {
		struct proc *w;

		get(&r[i], "a");
		w = holder();
		start(w);
		if (i == 2)
			get(&waiting, "a");	/* when the third dies */
		die(w, SIGSEGV);
		assert_fault(&r[i], TN_FAULT_WORKER_DIED);
		RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
		say_ready(worker(1));
	}
	assert_fault(&waiting, TN_FAULT_QUARANTINED);
	get(&refused, "a");
	assert_fault(&refused, TN_FAULT_QUARANTINED);
	assert_true(refused.retry_after > 50 && refused.retry_after <= 61);
	assert_int_equal(t.stats.requests_quarantined, 2);
	get(&b, "b");
	start(holder());
	/* tana-ctl reset */
	sv_breaker_reset(&sv_contracts_known(sv_dispatch_contracts(t.d), "a")->breaker);
	get(&probe, "a");
	assert_int_equal(probe.n, 0);
}

static void
one_request_tells_whether_a_contract_is_well_again(void **state)
{
	struct result r = { 0 }, first = { 0 }, second = { 0 }, third = { 0 };
	struct proc *w;

	(void)state;
	t.opt->breaker_deaths = 1;
	t.opt->breaker_pause_ms = 1;
	serve_with(2, 0);
	load("a");
	get(&r, "a");
	w = holder();
	start(w);
	die(w, SIGSEGV);
	RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
	say_ready(worker(1));
	usleep(2000);
	get(&first, "a");
	get(&second, "a");
	assert_fault(&second, TN_FAULT_QUARANTINED);
	w = holder();
	start(w);
	reply(w, "well");
	assert_answered(&first, "well");
	get(&third, "a");
	assert_non_null(holder());
}

static void
a_probe_whose_client_leaves_lets_another_try(void **state)
{
	struct result r = { 0 }, gone = { 0 }, next = { 0 };
	struct proc *w;

	(void)state;
	t.opt->breaker_deaths = 1;
	t.opt->breaker_pause_ms = 1;
	serve();
	load("a");
	get(&r, "a");
	w = holder();
	start(w);
	die(w, SIGSEGV);
	usleep(2000);
	get(&gone, "a");		/* no worker has room yet */
	cancel(&gone);
	RUN_UNTIL(count(TN_ROLE_WORKER) == 1);
	say_ready(worker(0));
	get(&next, "a");
	assert_non_null(holder());
}

/* -- how many ------------------------------------------------------------------------------ */

static void
ondemand_has_no_workers_until_there_are_requests(void **state)
{
	struct result r = { 0 };

	(void)state;
	t.opt->pool = 2;
	t.opt->workers_standby = 1;
	t.opt->workers_idle_ms = 50;
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	assert_int_equal(t.ready, 1);
	assert_int_equal(count(TN_ROLE_WORKER), 0);
	get(&r, "a");
	build_next();
	RUN_UNTIL(count(TN_ROLE_WORKER) == 1);
	say_ready(worker(0));
	take(worker(0));
	reply(worker(0), "a");
	assert_answered(&r, "a");
	RUN_UNTIL(has_frame(worker(0), TN_FRAME_RETIRE));
}

static void
static_does_not_grow(void **state)
{
	struct result r[8] = { 0 };

	(void)state;
	t.opt->pool = 0;
	t.opt->workers_max = 8;
	serve();
	load("a");
	for (unsigned i = 0; i < 8; i++)
		get(&r[i], "a");
	for (unsigned i = 0; i < 10; i++)
		event_base_loop(t.base, EVLOOP_ONCE);
	assert_int_equal(count(TN_ROLE_WORKER), 1);
}

static void
a_worker_that_is_old_is_replaced(void **state)
{
	struct proc *old;

	(void)state;
	t.opt->worker_lifetime = 1;
	serve();
	old = worker(0);
	RUN_UNTIL(count(TN_ROLE_WORKER) == 2);
	assert_false(has_frame(old, TN_FRAME_RETIRE));
	say_ready(worker(1));
	assert_true(has_frame(old, TN_FRAME_RETIRE));
}

/* -- turns ------------------------------------------------------------------------- */

static void
contracts_take_turns(void **state)
{
	struct result a[3] = { 0 }, b = { 0 };
	unsigned i;

	(void)state;
	serve();
	load("a");
	load("b");
	for (i = 0; i < 3; i++)
		get(&a[i], "a");
	get(&b, "b");
	/* The first of "a" runs; then it is the turn of "b", which has had nothing yet. */
	take(worker(0));
	reply(worker(0), "a");
	take(worker(0));
	reply(worker(0), "b");
	assert_answered(&b, "b");
	assert_int_equal(a[1].n + a[2].n, 0);
}

/* -- generations ------------------------------------------------------------------- */

static unsigned rotated;
static char rotated_error[64];

static void
on_rotated(void *arg, const char *error)
{
	(void)arg;
	rotated++;
	snprintf(rotated_error, sizeof(rotated_error), "%s", error != NULL ? error : "");
}

static void
rotate(void)
{
	rotated = 0;
	assert_int_equal(sv_pool_rotate(t.pool, on_rotated, NULL), 0);
	turn();
	assert_true(t.wanted > 0);
	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
}

/* The first process of the latest generation in this role. */
static struct proc *
young(enum tn_zy_role role)
{
	unsigned i;

	for (i = 0; living(role, i) != NULL; i++)
		if (living(role, i)->generation == t.generation)
			return living(role, i);
	return NULL;
}

static void
fill_one(void)
{
	struct proc *b = young(TN_ROLE_BUILDER);

	assert_non_null(b);
	say_ready(b);
	build(b);
}

static void
a_new_generation_takes_over_with_its_images_and_workers_ready(void **state)
{
	struct result r = { 0 }, s = { 0 };
	struct proc *old, *new;

	(void)state;
	serve();
	load("a");
	load("b");
	old = worker(0);
	get(&r, "a");
	take(old);
	rotate();
	/* The old one serves on while the images are made, */
	fill_one();
	assert_null(young(TN_ROLE_WORKER));
	fill_one();
	/* and while the workers come. */
	new = young(TN_ROLE_WORKER);
	assert_non_null(new);
	assert_int_equal(rotated, 0);
	assert_int_equal(sv_pool_generation(t.pool)->number, t.generation_before);
	say_ready(new);
	assert_int_equal(rotated, 1);
	assert_string_equal(rotated_error, "");
	assert_int_equal(sv_pool_generation(t.pool)->number, t.generation);
	/* What runs in the old one ends there; what comes now is the new one's, without a build. */
	get(&s, "b");
	take(new);
	assert_int_equal(new->f.invoke.delta.len, IMAGE_BYTES);
	reply(new, "new");
	assert_answered(&s, "new");
	reply(old, "old");
	assert_answered(&r, "old");
	assert_true(has_frame(old, TN_FRAME_RETIRE));
	assert_int_equal(t.ends, 0);
	die(old, 0);
	assert_int_equal(t.ends, 1);
	zygote_before_ends();
	assert_int_equal(t.failed, 0);
	assert_int_equal(t.stats.generations, 2);
	assert_int_equal(t.stats.images_built, 4);
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 2);
}

static void
what_was_used_last_is_filled_first(void **state)
{
	struct result r = { 0 };
	struct proc *b;

	(void)state;
	serve();
	load("a");
	load("b");
	get(&r, "a");
	take(worker(0));
	reply(worker(0), "");
	rotate();
	b = young(TN_ROLE_BUILDER);
	say_ready(b);
	assert_true(has_frame(b, TN_FRAME_BUILD));
	assert_true(tn_str_is(b->f.build.contract, "a"));
}

static void
filling_has_its_time(void **state)
{
	(void)state;
	t.opt->zygote_fill_ms = 50;
	serve();
	load("a");
	load("b");
	rotate();
	assert_non_null(young(TN_ROLE_BUILDER));	/* it takes for ever */
	RUN_UNTIL(young(TN_ROLE_WORKER) != NULL);
	say_ready(young(TN_ROLE_WORKER));
	assert_int_equal(rotated, 1);
	/* What it was making is the version's all the same. */
	fill_one();
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 1);
}

static void
images_of_the_old_generation_stay_when_there_is_no_room_for_both(void **state)
{
	struct result r = { 0 };

	(void)state;
	t.opt->images_memory_max = 2 * IMAGE_BYTES;
	serve();
	load("a");
	load("b");
	rotate();
	assert_null(young(TN_ROLE_BUILDER));
	assert_int_equal(t.stats.images_evicted, 0);
	/* Until it has taken over the old one has all it needs. */
	get(&r, "a");
	take(worker(0));
	reply(worker(0), "old");
	assert_answered(&r, "old");
}

static void
a_generation_that_dies_before_it_takes_over_changes_nothing(void **state)
{
	struct result r = { 0 };
	struct proc *old;

	(void)state;
	serve();
	load("a");
	old = worker(0);
	rotate();
	zygote_dies();
	assert_int_equal(rotated, 1);
	assert_string_not_equal(rotated_error, "");
	assert_int_equal(t.failed, 0);
	t.zygote = t.before;
	t.before = -1;
	sv_dispatch_gauges(t.d);
	assert_int_equal(t.stats.images, 1);
	get(&r, "a");
	take(old);
	reply(old, "old");
	assert_answered(&r, "old");
}

static void
if_the_serving_one_dies_the_coming_one_takes_over_as_it_is(void **state)
{
	struct result r = { 0 };

	(void)state;
	serve();
	load("a");
	load("b");
	rotate();
	fill_one();
	get(&r, "b");
	zygote_before_ends();
	assert_int_equal(sv_pool_generation(t.pool)->number, t.generation);
	RUN_UNTIL(young(TN_ROLE_WORKER) != NULL);
	say_ready(young(TN_ROLE_WORKER));
	/* "b", used last, was filled; "a" was being made. */
	take(young(TN_ROLE_WORKER));
	reply(young(TN_ROLE_WORKER), "new");
	assert_answered(&r, "new");
}

static void
a_version_deployed_while_filling_is_filled_too(void **state)
{
	struct result r = { 0 };
	struct proc *b;

	(void)state;
	serve();
	load("a");
	rotate();
	get(&r, "b");			/* its builder is of the generation that serves */
	b = living(TN_ROLE_BUILDER, 0);
	if (b->generation == t.generation)
		b = living(TN_ROLE_BUILDER, 1);
	assert_non_null(b);
	assert_int_equal(b->generation, t.generation_before);
	say_ready(b);
	build(b);
	fill_one();
	b = young(TN_ROLE_BUILDER);
	assert_non_null(b);
	say_ready(b);
	assert_true(has_frame(b, TN_FRAME_BUILD));
	assert_true(tn_str_is(b->f.build.contract, "b"));
}

static void
a_crash_makes_a_new_generation_due_but_not_too_often(void **state)
{
	(void)state;
	t.opt->zygote_lifetime_min = 3600;
	serve();
	die(worker(0), SIGSEGV);
	for (unsigned i = 0; i < 15; i++)
		event_base_loop(t.base, EVLOOP_ONCE);
	assert_int_equal(t.wanted, 0);
	t.opt->zygote_lifetime_min = 1;
	RUN_UNTIL(t.wanted > 0);
}

static void
an_old_generation_is_replaced(void **state)
{
	(void)state;
	t.opt->zygote_lifetime = 1;
	serve();
	assert_int_equal(t.wanted, 0);
	RUN_UNTIL(t.wanted > 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_reserve_is_given_nothing_while_others_have_room),
		TEST(a_reserve_takes_the_place_of_one_that_dies_at_once),
		TEST(a_contract_may_ask_for_a_process_for_each_request),
		TEST(requests_that_want_processes_do_not_hold_up_others),
		TEST(a_contract_may_not_ask_for_less_than_the_server_gives),
		TEST(but_for_what_isolation_allowed_names),
		TEST(what_is_no_isolation_is_an_error_of_the_contract),
		TEST(with_tenancy_a_worker_serves_one_contract_only),
		TEST(with_tenancy_the_longest_idle_makes_room_for_another_contract),
		TEST(a_contract_that_kills_workers_is_not_run_for_a_while_and_others_are),
		TEST(one_request_tells_whether_a_contract_is_well_again),
		TEST(a_probe_whose_client_leaves_lets_another_try),
		TEST(ondemand_has_no_workers_until_there_are_requests),
		TEST(static_does_not_grow),
		TEST(a_worker_that_is_old_is_replaced),
		TEST(contracts_take_turns),
		TEST(a_new_generation_takes_over_with_its_images_and_workers_ready),
		TEST(what_was_used_last_is_filled_first),
		TEST(filling_has_its_time),
		TEST(images_of_the_old_generation_stay_when_there_is_no_room_for_both),
		TEST(a_generation_that_dies_before_it_takes_over_changes_nothing),
		TEST(if_the_serving_one_dies_the_coming_one_takes_over_as_it_is),
		TEST(a_version_deployed_while_filling_is_filled_too),
		TEST(a_crash_makes_a_new_generation_due_but_not_too_often),
		TEST(an_old_generation_is_replaced),
	};

	return cmocka_run_group_tests_name("sv_pool", tests, NULL, NULL);
}
