/*
 * Operations: their texts there and back, and payloads that make no sense.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_operation.h"

static void
test_texts_come_back_in_order(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_str rest, text;
	uint64_t n;

	(void)state;
	tn_operation_put(&b, TN_STR("one"));
	tn_operation_put(&b, TN_STR(""));
	tn_operation_put_u64(&b, 0);
	tn_operation_put_u64(&b, UINT64_MAX);
	tn_operation_put(&b, TN_STR("a\0b"));
	rest = (struct tn_str){ b.p, b.len };
	assert_int_equal(tn_operation_take(&rest, &text), 0);
	assert_true(tn_str_is(text, "one"));
	assert_int_equal(tn_operation_take(&rest, &text), 0);
	assert_int_equal(text.len, 0);
	assert_int_equal(tn_operation_take_u64(&rest, &n), 0);
	assert_true(n == 0);
	assert_int_equal(tn_operation_take_u64(&rest, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(tn_operation_take(&rest, &text), 0);
	assert_true(tn_str_eq(text, TN_STR("a\0b")));
	assert_int_equal(tn_operation_take(&rest, &text), TN_ENOENT);
	assert_int_equal(tn_operation_take_u64(&rest, &n), TN_ENOENT);
	tn_buf_fini(&b);
}

/* Cut at each byte: there is no text, or one less. */
static void
test_a_payload_cut_short_is_malformed(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_str rest, text;

	(void)state;
	tn_operation_put(&b, TN_STR("text"));
	for (size_t n = 1; n < b.len; n++) {
		char *exact = malloc(n);	/* a sanitizer sees what is read beyond */

		memcpy(exact, b.p, n);
		rest = (struct tn_str){ exact, n };
		assert_int_equal(tn_operation_take(&rest, &text), TN_EPROTO);
		free(exact);
	}
	rest = TN_STR("\xff\xff\xff\xff" "x");
	assert_int_equal(tn_operation_take(&rest, &text), TN_EPROTO);
	tn_buf_fini(&b);
}

static void
test_only_digits_are_a_number(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "0x1", "1e3", "a",
		"18446744073709551616", "99999999999999999999", "000000000000000000001" };
	struct tn_buf b = { 0 };
	struct tn_str rest;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tn_buf_reset(&b);
		tn_operation_put(&b, tn_str(bad[i]));
		rest = (struct tn_str){ b.p, b.len };
		assert_int_equal(tn_operation_take_u64(&rest, &n), TN_EPROTO);
	}
	tn_buf_fini(&b);
}

static void
test_a_text_beyond_the_limit_fails_the_buffer(void **state)
{
	char *p = calloc(1, TN_OPERATION_MAX + 1);
	struct tn_buf b = { 0 };

	(void)state;
	tn_operation_put(&b, (struct tn_str){ p, TN_OPERATION_MAX + 1 });
	assert_true(b.failed);
	tn_buf_fini(&b);
	free(p);
}

static void
test_each_operation_has_its_name(void **state)
{
	(void)state;
	assert_string_equal(tn_operation_name(TN_OPERATION_DATA_GET), "data.get");
	assert_string_equal(tn_operation_name(TN_OPERATION_DATA_COMMIT), "data.commit");
	assert_null(tn_operation_name(0));
	assert_null(tn_operation_name(UINT64_MAX));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_come_back_in_order),
		cmocka_unit_test(test_a_payload_cut_short_is_malformed),
		cmocka_unit_test(test_only_digits_are_a_number),
		cmocka_unit_test(test_a_text_beyond_the_limit_fails_the_buffer),
		cmocka_unit_test(test_each_operation_has_its_name),
	};

	return cmocka_run_group_tests_name("tn_operation", tests, NULL, NULL);
}
