/*
 * Texts and buffers: what fails stays failed, nothing is written beyond, and
 * whatever comes out as JSON or for a terminal is well formed.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tn_str.h"

#define REPLACED	"\xef\xbf\xbd"

static void
assert_buf(const struct tn_buf *b, const char *want)
{
	assert_false(b->failed);
	assert_int_equal(b->len, strlen(want));
	if (b->len > 0)
		assert_memory_equal(b->p, want, b->len);
}

static void
texts_compare_by_bytes_not_by_terminator(void **state)
{
	(void)state;
	assert_true(tn_str_is(TN_STR("abc"), "abc"));
	assert_false(tn_str_is(TN_STR("abc"), "ab"));
	assert_false(tn_str_is(TN_STR("ab\0c"), "ab"));
	assert_true(tn_str_eq(tn_str(NULL), TN_STR("")));
	assert_true(tn_str_eq((struct tn_str){ NULL, 0 }, (struct tn_str){ NULL, 0 }));
}

static void
buffer_grows_and_keeps_its_bytes(void **state)
{
	struct tn_buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 5000; i++)
		tn_buf_printf(&b, "%04zu", i);
	assert_false(b.failed);
	assert_int_equal(b.len, 20000);
	assert_memory_equal(b.p, "0000", 4);
	assert_memory_equal(b.p + 4 * 4321, "4321", 4);
	tn_buf_fini(&b);
	assert_null(b.p);
	assert_int_equal(b.len, 0);
}

static void
fixed_buffer_takes_its_size_and_not_a_byte_more(void **state)
{
	char *memory = malloc(8);	/* a sanitizer watches its end */
	struct tn_buf b;

	(void)state;
	tn_buf_init_fixed(&b, memory, 8);
	tn_buf_puts(&b, "1234567");
	tn_buf_printf(&b, "%d", 8);
	assert_buf(&b, "12345678");
	tn_buf_append(&b, "9", 1);
	assert_true(b.failed);
	assert_int_equal(b.len, 8);
	assert_ptr_equal(b.p, memory);
	tn_buf_fini(&b);		/* must not free what it does not own */
	free(memory);
}

static void
failure_is_sticky_until_reset(void **state)
{
	char memory[4];
	struct tn_buf b;

	(void)state;
	tn_buf_init_fixed(&b, memory, sizeof(memory));
	tn_buf_puts(&b, "abc");
	tn_buf_puts(&b, "de");
	tn_buf_puts(&b, "f");		/* would fit: but then a hole would go unseen */
	assert_true(b.failed);
	assert_int_equal(b.len, 3);
	assert_null(tn_buf_reserve(&b, 1));
	tn_buf_reset(&b);
	tn_buf_puts(&b, "gh");
	assert_buf(&b, "gh");
}

static void
max_bounds_length_and_capacity(void **state)
{
	struct tn_buf b = { .max = 1000 };
	char big[1001];

	(void)state;
	memset(big, 'x', sizeof(big));
	tn_buf_append(&b, big, 600);
	tn_buf_append(&b, big, 400);
	assert_false(b.failed);
	assert_true(b.cap <= 1000);
	tn_buf_append(&b, big, 1);
	assert_true(b.failed);
	assert_int_equal(b.len, 1000);
	tn_buf_fini(&b);
}

static void
sizes_that_overflow_fail(void **state)
{
	struct tn_buf b = { 0 };

	(void)state;
	tn_buf_puts(&b, "x");
	assert_null(tn_buf_reserve(&b, SIZE_MAX));
	assert_true(b.failed);
	assert_int_equal(b.len, 1);
	tn_buf_fini(&b);
}

static void
printf_longer_than_any_small_buffer(void **state)
{
	struct tn_buf b = { 0 };
	char big[3001];

	(void)state;
	memset(big, 'y', 3000);
	big[3000] = '\0';
	tn_buf_printf(&b, "<%s>", big);
	assert_false(b.failed);
	assert_int_equal(b.len, 3002);
	assert_int_equal(b.p[0], '<');
	assert_int_equal(b.p[3001], '>');
	tn_buf_fini(&b);
}

static void
consume_drops_the_front(void **state)
{
	struct tn_buf b = { 0 };

	(void)state;
	tn_buf_puts(&b, "abcdef");
	tn_buf_consume(&b, 0);
	assert_buf(&b, "abcdef");
	tn_buf_consume(&b, 2);
	assert_buf(&b, "cdef");
	tn_buf_consume(&b, 4);
	assert_buf(&b, "");
	tn_buf_fini(&b);
}

static void
reserve_of_nothing_is_not_a_failure(void **state)
{
	struct tn_buf b = { 0 };

	(void)state;
	assert_non_null(tn_buf_reserve(&b, 0));
	assert_false(b.failed);
	tn_buf_fini(&b);
}

static void
check_json(struct tn_str in, const char *want)
{
	char *exact = malloc(in.len > 0 ? in.len : 1);
	struct tn_buf b = { 0 };

	memcpy(exact, in.p, in.len);
	tn_buf_json(&b, (struct tn_str){ exact, in.len });
	assert_buf(&b, want);
	tn_buf_fini(&b);
	free(exact);
}

static void
json_escapes_what_json_must(void **state)
{
	(void)state;
	check_json(TN_STR("plain"), "plain");
	check_json(TN_STR(""), "");
	check_json(TN_STR("a\"b\\c"), "a\\\"b\\\\c");
	check_json(TN_STR("\b\f\n\r\t"), "\\b\\f\\n\\r\\t");
	check_json(TN_STR("\0\x01\x1f"), "\\u0000\\u0001\\u001f");
	check_json(TN_STR("/"), "/");
}

static void
json_keeps_valid_utf8(void **state)
{
	(void)state;
	check_json(
	    TN_STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	check_json(TN_STR("\xef\xbf\xbf\xf4\x8f\xbf\xbf"), "\xef\xbf\xbf\xf4\x8f\xbf\xbf");
}

static void
json_hides_what_drives_terminals_or_turns_text_around(void **state)
{
	(void)state;
	check_json(TN_STR("\x1b[2J\x7f\xc2\x9b"), "\\u001b[2J\\u007f\\u009b");
	check_json(TN_STR("\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6"), "\\u2028\\u202e\\u2066");
}

static void
json_replaces_invalid_utf8(void **state)
{
	(void)state;
	check_json(TN_STR("a\xff" "b"), "a" REPLACED "b");
	check_json(TN_STR("\x80"), REPLACED);
	/* Overlong, surrogate, beyond the last plane. */
	check_json(TN_STR("\xc0\xaf"), REPLACED REPLACED);
	check_json(TN_STR("\xe0\x80\xaf"), REPLACED REPLACED REPLACED);
	check_json(TN_STR("\xed\xa0\x80"), REPLACED REPLACED REPLACED);
	check_json(TN_STR("\xf4\x90\x80\x80"), REPLACED REPLACED REPLACED REPLACED);
	check_json(TN_STR("\xf8\x88\x80\x80\x80"), REPLACED REPLACED REPLACED REPLACED REPLACED);
	/* Cut short: at the text's end, and by the next character. */
	check_json(TN_STR("\xe2\x82"), REPLACED REPLACED);
	check_json(TN_STR("\xf0\x9f\x98"), REPLACED REPLACED REPLACED);
	check_json(TN_STR("\xe2\x82x"), REPLACED REPLACED "x");
}

/* Every pair of bytes comes out as ASCII, as U+FFFD or as itself; never as half a character. */
static void
json_of_any_two_bytes_is_valid_utf8(void **state)
{
	char memory[64], in[2];
	struct tn_str rest;
	struct tn_buf b;
	uint32_t c;
	int i, k;
	size_t n;

	(void)state;
	for (i = 0; i < 256; i++) {
		for (k = 0; k < 256; k++) {
			in[0] = (char)i;
			in[1] = (char)k;
			tn_buf_init_fixed(&b, memory, sizeof(memory));
			tn_buf_json(&b, (struct tn_str){ in, 2 });
			assert_false(b.failed);
			rest = (struct tn_str){ b.p, b.len };
			while (rest.len > 0) {
				n = tn_utf8(rest, &c);
				assert_int_not_equal(n, 0);
				assert_true(c >= 0x20 && c != 0x7f);
				rest.p += n;
				rest.len -= n;
			}
		}
	}
}

static void
visible_text_keeps_quotes_and_shows_controls(void **state)
{
	struct tn_buf b = { 0 };

	(void)state;
	tn_buf_visible(&b, TN_STR("say \"x\"\n\x1b\\"));
	assert_buf(&b, "say \"x\"\\n\\u001b\\\\");
	tn_buf_fini(&b);
}

static void
utf8_reads_one_character(void **state)
{
	uint32_t c = 0;

	(void)state;
	assert_int_equal(tn_utf8(TN_STR("Ab"), &c), 1);
	assert_int_equal(c, 'A');
	assert_int_equal(tn_utf8(TN_STR("\xe2\x82\xacx"), &c), 3);
	assert_int_equal(c, 0x20ac);
	assert_int_equal(tn_utf8(TN_STR("\xf4\x8f\xbf\xbf"), &c), 4);
	assert_int_equal(c, 0x10ffff);
	assert_int_equal(tn_utf8(TN_STR(""), &c), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_compare_by_bytes_not_by_terminator),
		cmocka_unit_test(buffer_grows_and_keeps_its_bytes),
		cmocka_unit_test(fixed_buffer_takes_its_size_and_not_a_byte_more),
		cmocka_unit_test(failure_is_sticky_until_reset),
		cmocka_unit_test(max_bounds_length_and_capacity),
		cmocka_unit_test(sizes_that_overflow_fail),
		cmocka_unit_test(printf_longer_than_any_small_buffer),
		cmocka_unit_test(consume_drops_the_front),
		cmocka_unit_test(reserve_of_nothing_is_not_a_failure),
		cmocka_unit_test(json_escapes_what_json_must),
		cmocka_unit_test(json_keeps_valid_utf8),
		cmocka_unit_test(json_hides_what_drives_terminals_or_turns_text_around),
		cmocka_unit_test(json_replaces_invalid_utf8),
		cmocka_unit_test(json_of_any_two_bytes_is_valid_utf8),
		cmocka_unit_test(visible_text_keeps_quotes_and_shows_controls),
		cmocka_unit_test(utf8_reads_one_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
