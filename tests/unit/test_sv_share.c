/* Contracts' shares (sv_share.h): what contract_limits may say, and whose limits are whose. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sv_share.h"
#include "tn_options.h"

static struct tn_options *opt;
static struct sv_shares *shares;

static int
setup(void **state)
{
	(void)state;
	opt = tn_options_new();
	shares = sv_shares_new(opt);
	return opt != NULL && shares != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	sv_shares_free(&shares);
	tn_options_free(&opt);
	return 0;
}

static void
set(const char *text)
{
	struct tn_buf err = { 0 };

	assert_int_equal(tn_options_set(opt, text, &err), 0);
	tn_buf_fini(&err);
}

/* The whole option anew, its items apart by spaces. */
static void
set_limits(const char *items)
{
	char text[256];
	int n;

	set("contract_limits=");
	for (; *items != '\0'; items += n + (items[n] == ' ')) {
		n = (int)strcspn(items, " ");
		(void)snprintf(text, sizeof(text), "contract_limits=%.*s", n, items);
		set(text);
	}
}

/* The option is refused, and what is said of it has these words. */
static void
assert_refused(const char *value, const char *words)
{
	struct tn_buf err = { 0 };
	char text[512];

	set_limits(value);
	assert_int_equal(sv_shares_check(opt, 100, &err), TN_EINVAL);
	(void)snprintf(text, sizeof(text), "%.*s", (int)err.len, err.p);
	if (strncmp(text, "contract_limits: ", 17) != 0 || strstr(text, words) == NULL)
		fail_msg("%s: %s", value, text);
	tn_buf_fini(&err);
}

static void
what_makes_no_sense_is_refused_with_a_reason(void **state)
{
	(void)state;
	assert_refused("shop", "a colon and limits must follow");
	assert_refused("Shop:weight=2", "no contract's identifier");
	assert_refused(":weight=2", "no contract's identifier");
	assert_refused("shop:", "is none of workers_max=N");
	assert_refused("shop:speed=2", "\"speed=2\" is none of");
	assert_refused("shop:weight", "\"weight\" is none of");
	assert_refused("shop:weight=", "a number from 1 to 1000");
	assert_refused("shop:weight=0", "a number from 1 to 1000");
	assert_refused("shop:weight=-1", "a number from 1 to 1000");
	assert_refused("shop:weight=2x", "a number from 1 to 1000");
	assert_refused("shop:queue_max=99999999999999999999", "a number from 1 to");
	assert_refused("shop:weight=2,", "\"\" is none of");
	assert_refused("shop:workers_max=2,workers_reserved=3", "more workers_reserved");
	assert_refused("a:workers_reserved=60 b:workers_reserved=40", "100 workers are reserved");
	assert_refused("a:weight=2 b:weight=3 a:weight=2", "contract a is named twice");
}

static void
limits_are_those_of_all_unless_a_contract_has_its_own(void **state)
{
	struct sv_share *a, *b;
	struct tn_buf err = { 0 };

	(void)state;
	a = sv_shares_get(shares, "a");
	b = sv_shares_get(shares, "b");
	set("contract_queue_max=7");
	set("contract_workers_max=3");
	set_limits("a:weight=5,workers_reserved=2 c:queue_max=9");
	assert_int_equal(sv_shares_check(opt, 100, &err), 0);
	assert_int_equal(sv_shares_reload(shares, opt), 0);
	assert_int_equal(a->limits.weight, 5);
	assert_int_equal(a->flow.weight, 5);
	assert_int_equal(a->limits.workers_reserved, 2);
	assert_int_equal(a->limits.workers_max, 3);
	assert_int_equal(a->limits.queue_max, 7);
	assert_int_equal(b->limits.weight, 1);
	assert_int_equal(b->limits.queue_max, 7);
	assert_int_equal(b->limits.workers_reserved, 0);
	set_limits("");
	set("contract_queue_max=8");
	assert_int_equal(sv_shares_reload(shares, opt), 0);
	assert_int_equal(a->limits.weight, 1);
	assert_int_equal(a->limits.queue_max, 8);
	assert_false(sv_shares_any_reserved(shares));
	sv_share_unref(shares, &a);
	sv_share_unref(shares, &b);
}

static void
workers_are_spoken_for_until_their_contract_has_them(void **state)
{
	struct sv_share *a, *b;

	(void)state;
	set_limits("a:workers_reserved=3 b:workers_reserved=1");
	assert_int_equal(sv_shares_reload(shares, opt), 0);
	a = sv_shares_get(shares, "a");
	b = sv_shares_get(shares, "b");
	assert_int_equal(sv_shares_spoken_for(shares, NULL), 4);
	assert_int_equal(sv_shares_spoken_for(shares, a), 1);
	a->nworkers = 2;
	assert_int_equal(sv_shares_spoken_for(shares, b), 1);
	a->nworkers = 5;
	assert_int_equal(sv_shares_spoken_for(shares, b), 0);
	assert_false(sv_share_keeps_workers(a));
	sv_share_unref(shares, &a);
	sv_share_unref(shares, &b);
}

static void
a_share_is_one_as_long_as_somebody_holds_it(void **state)
{
	struct sv_share *a = sv_shares_get(shares, "a"), *again = sv_shares_get(shares, "a");

	(void)state;
	assert_ptr_equal(a, again);
	sv_share_charge(shares, a, a->cost_us, 50000, 50000);
	assert_true(a->cost_us > 1000);
	sv_share_unref(shares, &again);
	assert_null(again);
	sv_share_unref(shares, &a);
	a = sv_shares_get(shares, "a");	/* nobody did: it has begun anew */
	assert_true(a->cost_us < 1000);
	sv_share_unref(shares, &a);
}

static void
a_cost_is_a_mean_that_forgets(void **state)
{
	struct sv_share *a = sv_shares_get(shares, "a");
	unsigned i;

	(void)state;
	for (i = 0; i < 100; i++)
		sv_share_charge(shares, a, a->cost_us, 5000, 5000);
	assert_in_range(a->cost_us, 4900, 5000);
	for (i = 0; i < 100; i++)
		sv_share_charge(shares, a, a->cost_us, 20, 20);
	assert_in_range(a->cost_us, 20, 40);
	sv_share_unref(shares, &a);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_makes_no_sense_is_refused_with_a_reason),
		TEST(limits_are_those_of_all_unless_a_contract_has_its_own),
		TEST(workers_are_spoken_for_until_their_contract_has_them),
		TEST(a_share_is_one_as_long_as_somebody_holds_it),
		TEST(a_cost_is_a_mean_that_forgets),
	};

	return cmocka_run_group_tests_name("sv_share", tests, NULL, NULL);
}
