/*
 * How many shards there are, and what each has.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "sv_shards.h"

static void
auto_is_a_quarter_of_the_processors(void **state)
{
	static const struct { unsigned processors, shards; } want[] = {
		{ 0, 1 }, { 1, 1 }, { 2, 1 }, { 4, 1 }, { 7, 1 }, { 8, 2 }, { 64, 16 },
		{ 255, 63 }, { 256, 64 }, { 100000, 64 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(sv_shards_auto(want[i].processors), want[i].shards);
}

static void
the_option_says_it_and_auto_looks_at_what_may_be_used(void **state)
{
	struct tn_options *o = tn_options_new();
	struct tn_buf err = { 0 };
	cpu_set_t before, one;
	int first;

	(void)state;
	assert_int_equal(sv_shards_count(o), 1);
	assert_int_equal(tn_options_set(o, "shards=64", &err), 0);
	assert_int_equal(sv_shards_count(o), SV_SHARDS_MAX);
	assert_int_equal(tn_options_set(o, "shards=auto", &err), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(sv_shards_count(o), sv_shards_auto((unsigned)CPU_COUNT(&before)));
	for (first = 0; !CPU_ISSET(first, &before); first++)
		;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(sv_shards_count(o), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	tn_options_free(&o);
}

static void
parts_add_up(void **state)
{
	static const uint64_t totals[] = { 0, 1, 2, 3, 63, 64, 65, 100, 4096, 1000000 };
	unsigned shards, n;
	uint64_t sum, part, last;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
		for (shards = 1; shards <= SV_SHARDS_MAX; shards++) {
			sum = 0;
			last = UINT64_MAX;
			for (n = 0; n < shards; n++) {
				part = sv_shards_part(totals[i], 1, n, shards);
				assert_true(part <= last && (n == 0 || last - part <= 1));
				assert_true(totals[i] == 0 || part > 0);
				sum += part;
				last = part;
			}
			assert_int_equal(sum, totals[i] == 0 || totals[i] >= shards ? totals[i] :
			    shards);
		}
	assert_int_equal(sv_shards_part(100, 30, 3, 4), 30);
	assert_int_equal(sv_shards_part(0, 30, 0, 4), 0);
}

/* What the server allows in all, it allows when it is divided, whatever the numbers are. */
static void
divided_options_keep_their_rules(void **state)
{
	struct tn_options *o;
	struct tn_buf err = { 0 };
	char text[64];
	unsigned shards, n, min, max;

	(void)state;
	for (shards = 1; shards <= SV_SHARDS_MAX; shards += 7)
		for (min = 1; min <= 130; min += 43)
			for (max = min; max <= 200; max += 13) {
				n = (min + max) % shards;
				o = tn_options_new();
				(void)snprintf(text, sizeof(text), "workers_max=%u", max);
				assert_int_equal(tn_options_set(o, text, &err), 0);
				(void)snprintf(text, sizeof(text), "workers_min=%u", min);
				assert_int_equal(tn_options_set(o, text, &err), 0);
				assert_int_equal(tn_options_check(o, &err), 0);
				sv_shards_divide(o, n, shards);
				if (tn_options_check(o, &err) != 0)
					fail_msg("%u shards: %.*s", shards, (int)err.len, err.p);
				tn_options_free(&o);
			}
}

static void
each_option_of_the_table_is_divided_and_no_other(void **state)
{
	struct tn_options *whole = tn_options_new(), *part = tn_options_new();
	struct tn_buf left = { 0 }, one = { 0 }, two = { 0 };

	(void)state;
	sv_shards_divide(part, 1, 2);
	assert_int_equal(part->workers_min, 2);
	assert_int_equal(part->workers_max, 50);
	assert_int_equal(part->workers_standby, 1);
	assert_true(part->images_memory_max == 256u << 20);
#define SV_PART(name, least)								\
	assert_true(part->name != whole->name || whole->name <= (__typeof__(whole->name))(least));	\
	whole->name = part->name;
#include "parts.def"
	tn_options_dump(whole, &one);
	tn_options_dump(part, &two);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.p, two.p, one.len);
	tn_buf_fini(&left);
	tn_buf_fini(&one);
	tn_buf_fini(&two);
	tn_options_free(&whole);
	tn_options_free(&part);
}

/* Whoever reads what `shards` does learns of all that it divides. */
static void
the_option_s_text_names_them(void **state)
{
	static const char doc[] = ""
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc) doc
#include "options.def"
	;

	(void)state;
#define SV_PART(name, least) assert_non_null(strstr(doc, #name));
#include "parts.def"
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(auto_is_a_quarter_of_the_processors),
		cmocka_unit_test(the_option_says_it_and_auto_looks_at_what_may_be_used),
		cmocka_unit_test(parts_add_up),
		cmocka_unit_test(divided_options_keep_their_rules),
		cmocka_unit_test(each_option_of_the_table_is_divided_and_no_other),
		cmocka_unit_test(the_option_s_text_names_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
