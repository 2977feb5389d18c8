/*
 * UTF-8 outside, CESU-8 inside: what crosses, and what may not.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wk_text.h"

#define REPLACED	"\xef\xbf\xbd"

typedef size_t convert(char *to, struct tn_str s);

static void
check(convert *fn, const char *from, size_t len, const char *want)
{
	/* Exact buffers, so that a sanitizer sees a byte too many. */
	char *in = malloc(len + 1), *out;
	size_t n;

	memcpy(in, from, len);
	n = fn(NULL, (struct tn_str){ in, len });
	assert_int_equal(n, strlen(want));
	out = malloc(n + 1);
	assert_int_equal(fn(out, (struct tn_str){ in, len }), n);
	out[n] = '\0';
	assert_string_equal(out, want);
	free(in);
	free(out);
}

#define CHECK(fn, from, want) check((fn), (from), sizeof(from) - 1, (want))

static void
test_plain_text_is_the_same_on_both_sides(void **state)
{
	static const char *const same[] = { "", "a", "seven b", "eight by", "nine byte",
	    "gr\xc3\xbc\xc3\x9f" "e", "\xe2\x82\xac 5", "12345678\xe2\x82\xac", "\x7f", "\xef\xbf\xbf" };

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_true(wk_text_same(tn_str(same[i])));
		check(wk_text_in, same[i], strlen(same[i]), same[i]);
		check(wk_text_out, same[i], strlen(same[i]), same[i]);
	}
	assert_true(wk_text_same((struct tn_str){ "a\0b", 3 }));
}

static void
test_beyond_ffff_becomes_two_surrogates_and_back(void **state)
{
	(void)state;
	assert_false(wk_text_same(TN_STR("x\xf0\x9f\x98\x80")));
	CHECK(wk_text_in, "x\xf0\x9f\x98\x80y", "x\xed\xa0\xbd\xed\xb8\x80y");
	CHECK(wk_text_out, "x\xed\xa0\xbd\xed\xb8\x80y", "x\xf0\x9f\x98\x80y");
	/* The first and the last there are. */
	CHECK(wk_text_in, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80\xed\xaf\xbf\xed\xbf\xbf");
	CHECK(wk_text_out, "\xed\xa0\x80\xed\xb0\x80\xed\xaf\xbf\xed\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
}

static void
test_every_character_survives_the_round_trip(void **state)
{
	char utf8[8], inside[16], back[16];

	(void)state;
	for (uint32_t v = 1; v <= 0x10ffff; v += v < 0x3000 || v > 0x10f000 ? 1 : 37) {
		size_t n = 0, m, k;

		if (v >= 0xd800 && v <= 0xdfff)
			continue;
		if (v < 0x80) {
			utf8[n++] = (char)v;
		} else if (v < 0x800) {
			utf8[n++] = (char)(0xc0 | v >> 6);
			utf8[n++] = (char)(0x80 | (v & 0x3f));
		} else {
			if (v < 0x10000) {
				utf8[n++] = (char)(0xe0 | v >> 12);
			} else {
				utf8[n++] = (char)(0xf0 | v >> 18);
				utf8[n++] = (char)(0x80 | (v >> 12 & 0x3f));
			}
			utf8[n++] = (char)(0x80 | (v >> 6 & 0x3f));
			utf8[n++] = (char)(0x80 | (v & 0x3f));
		}
		m = wk_text_in(inside, (struct tn_str){ utf8, n });
		assert_int_equal(m, v > 0xffff ? 6 : n);
		assert_int_equal(wk_text_same((struct tn_str){ utf8, n }), v <= 0xffff);
		k = wk_text_out(back, (struct tn_str){ inside, m });
		assert_int_equal(k, n);
		assert_memory_equal(back, utf8, n);
	}
}

/* A lone surrogate is a string in JavaScript, and no text outside. */
static void
test_lone_surrogates_are_replaced_on_the_way_out(void **state)
{
	(void)state;
	CHECK(wk_text_out, "\xed\xa0\xbd", REPLACED);
	CHECK(wk_text_out, "\xed\xb8\x80", REPLACED);
	CHECK(wk_text_out, "a\xed\xa0\xbd" "b", "a" REPLACED "b");
	CHECK(wk_text_out, "\xed\xb8\x80\xed\xa0\xbd", REPLACED REPLACED);
	/* Two high ones, the second of a pair. */
	CHECK(wk_text_out, "\xed\xa0\xbd\xed\xa0\xbd\xed\xb8\x80", REPLACED "\xf0\x9f\x98\x80");
}

/*
 * Duktape keeps symbols and hidden keys as strings that begin with 0x80-0x82 or
 * 0xff: no text from outside may become one.
 */
static void
test_nothing_invalid_goes_in(void **state)
{
	static const char *const bad[] = { "\x80", "\x81tana\xff", "\x82hidden", "\xff" "hidden", "\xfe",
	    "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf",
	    "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xf0\x9f\x98", "\xc3", "a\xc3(" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tn_str s = tn_str(bad[i]);
		char out[64];
		size_t n;

		assert_false(wk_text_same(s));
		n = wk_text_in(out, s);
		assert_true(n <= sizeof(out));
		assert_true(wk_text_same((struct tn_str){ out, n }));
		assert_non_null(memmem(out, n, REPLACED, 3));
	}
}

/* As the WHATWG decoder does it: one replacement for the longest prefix of a character. */
static void
test_each_broken_character_is_replaced_once(void **state)
{
	(void)state;
	CHECK(wk_text_in, "a\xe2\x82", "a" REPLACED);
	CHECK(wk_text_in, "a\xe2\x82z", "a" REPLACED "z");
	CHECK(wk_text_in, "\xf0\x9f\x98z", REPLACED "z");
	CHECK(wk_text_in, "\xc0\x80", REPLACED REPLACED);
	CHECK(wk_text_in, "\xe0\x80\x80", REPLACED REPLACED REPLACED);
	CHECK(wk_text_in, "\xf4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED);
	CHECK(wk_text_in, "\xc3\xc3\xbc", REPLACED "\xc3\xbc");
	/* Encoded surrogates from outside: not a back door to a pair. */
	CHECK(wk_text_in, "\xed\xa0\xbd\xed\xb8\x80", REPLACED REPLACED);
	CHECK(wk_text_out, "\xff\x82x", REPLACED REPLACED "x");
}

static void
test_random_bytes_come_out_valid(void **state)
{
	uint64_t s = 99;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char in[24], mid[24 * 3], out[24 * 9];
		size_t len, n, m;

		s = s * 6364136223846793005u + 1442695040888963407u;
		len = (s >> 33) % sizeof(in);
		for (size_t i = 0; i < len; i++) {
			s = s * 6364136223846793005u + 1442695040888963407u;
			/* Lead and continuation bytes, mostly. */
			in[i] = (char)((s >> 62) == 0 ? (s >> 33) : 0x80 | (s >> 33));
		}
		n = wk_text_in(NULL, (struct tn_str){ in, len });
		assert_true(n <= sizeof(mid));
		assert_int_equal(wk_text_in(mid, (struct tn_str){ in, len }), n);
		m = wk_text_out(NULL, (struct tn_str){ mid, n });
		assert_true(m <= n);
		assert_int_equal(wk_text_out(out, (struct tn_str){ mid, n }), m);
		/* Valid now: in and out again changes nothing. */
		n = wk_text_in(mid, (struct tn_str){ out, m });
		assert_int_equal(wk_text_out(NULL, (struct tn_str){ mid, n }), m);
		assert_null(len > 0 && m == 0 ? in : NULL);
		/* Whatever bytes a heap may hold leave as valid text too. */
		n = wk_text_out(out, (struct tn_str){ in, len });
		m = wk_text_in(mid, (struct tn_str){ out, n });
		assert_int_equal(wk_text_out(NULL, (struct tn_str){ mid, m }), n);
	}
}

static void
test_append_converts_and_keeps_to_its_memory(void **state)
{
	char memory[10];
	struct tn_buf b;

	(void)state;
	tn_buf_init_fixed(&b, memory, sizeof(memory));
	wk_text_append(&b, TN_STR("ab"));
	wk_text_append(&b, TN_STR("\xed\xa0\xbd\xed\xb8\x80"));
	assert_false(b.failed);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.p, "ab\xf0\x9f\x98\x80", 6);
	wk_text_append(&b, TN_STR("\xe2\x82\xac\xe2\x82\xac"));
	assert_true(b.failed);
	assert_int_equal(b.len, 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_text_is_the_same_on_both_sides),
		cmocka_unit_test(test_beyond_ffff_becomes_two_surrogates_and_back),
		cmocka_unit_test(test_every_character_survives_the_round_trip),
		cmocka_unit_test(test_lone_surrogates_are_replaced_on_the_way_out),
		cmocka_unit_test(test_nothing_invalid_goes_in),
		cmocka_unit_test(test_each_broken_character_is_replaced_once),
		cmocka_unit_test(test_random_bytes_come_out_valid),
		cmocka_unit_test(test_append_converts_and_keeps_to_its_memory),
	};

	return cmocka_run_group_tests_name("wk_text", tests, NULL, NULL);
}
