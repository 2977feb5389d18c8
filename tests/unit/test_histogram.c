/*
 * The histogram of bench/paced: every duration is within 1 % of the middle of its bucket,
 * buckets follow each other without a gap, and quantiles are those of the values.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "histogram.h"

static void
buckets_follow_each_other(void **state)
{
	size_t last = 0, i;
	uint64_t v;

	(void)state;
	for (v = 0; v < 1u << 20; v++) {
		i = histogram_index(v);
		assert_true(i == last || i == last + 1);
		last = i;
	}
	assert_int_equal(histogram_index(HISTOGRAM_MAX), HISTOGRAM_BUCKETS - 1);
	assert_int_equal(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void
a_bucket_is_within_one_percent(void **state)
{
	uint64_t v, middle, off;

	(void)state;
	for (v = 1; v < HISTOGRAM_MAX; v += v / 997 + 1) {
		middle = histogram_middle(histogram_index(v));
		off = middle > v ? middle - v : v - middle;
		assert_true(off * 100 <= v);
	}
}

static void
quantiles_are_those_of_the_values(void **state)
{
	static struct histogram h;
	uint64_t v;

	(void)state;
	assert_int_equal(histogram_quantile(&h, 0.5), 0);
	for (v = 1; v <= 100; v++)
		histogram_add(&h, v);
	/* Below 128 each value has a bucket of its own. */
	assert_int_equal(histogram_quantile(&h, 0.5), 50);
	assert_int_equal(histogram_quantile(&h, 0.505), 51);
	assert_int_equal(histogram_quantile(&h, 0.99), 99);
	assert_int_equal(histogram_quantile(&h, 1), 100);
	assert_int_equal(histogram_quantile(&h, 0), 1);
	assert_int_equal(h.count, 100);
	assert_int_equal(h.sum, 5050);
	assert_int_equal(h.min, 1);
	histogram_add(&h, 1000000007);
	assert_int_equal(h.max, 1000000007);
	assert_int_equal(histogram_quantile(&h, 0.9999), 1000000007);
	assert_int_equal(histogram_quantile(&h, 0.5), 51);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_follow_each_other),
		cmocka_unit_test(a_bucket_is_within_one_percent),
		cmocka_unit_test(quantiles_are_those_of_the_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
