/*
 * ChaCha20 against RFC 8439, and what requests see of it.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wk_random.h"

static void
counting_key(uint32_t key[8])
{
	uint8_t bytes[32];

	for (int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	memcpy(key, bytes, sizeof(bytes));
}

/* RFC 8439, 2.3.2 */
static void
test_block_of_rfc_8439_2_3_2(void **state)
{
	static const uint8_t want[64] = {
		0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4,
		0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e,
		0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2,
		0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e
	};
	static const uint8_t nonce_bytes[12] = { 0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0 };
	uint32_t key[8], nonce[3];
	uint8_t out[64];

	(void)state;
	counting_key(key);
	memcpy(nonce, nonce_bytes, sizeof(nonce));
	wk_random_block(out, key, 1, nonce);
	assert_memory_equal(out, want, sizeof(want));
}

/* RFC 8439, A.1, test vectors 1 and 2: the zero key, which also checks the stream's order. */
static void
test_stream_of_rfc_8439_a_1(void **state)
{
	static const uint8_t want[128] = {
		0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28,
		0xbd, 0xd2, 0x19, 0xb8, 0xa0, 0x8d, 0xed, 0x1a, 0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7,
		0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37,
		0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86,
		0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a, 0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d,
		0xcb, 0x0f, 0x29, 0xa0, 0x48, 0xe3, 0x65, 0x69, 0x12, 0xc6, 0x53, 0x3e, 0x32, 0xee, 0x7a, 0xed,
		0x29, 0xb7, 0x21, 0x76, 0x9c, 0xe6, 0x4e, 0x43, 0xd5, 0x71, 0x33, 0xb0, 0x74, 0xd8, 0x39, 0xd5,
		0x31, 0xed, 0x1f, 0x28, 0x51, 0x0a, 0xfb, 0x45, 0xac, 0xe1, 0x0a, 0x1f, 0x4b, 0x79, 0x4d, 0x6f
	};
	uint8_t out[128];

	(void)state;
	wk_random_seed("", 0);
	wk_random_bytes(out, sizeof(out));
	assert_memory_equal(out, want, sizeof(want));
	/* In pieces it is the same stream. */
	memset(out, 0, sizeof(out));
	wk_random_seed("", 0);
	for (size_t at = 0, n = 1; at < sizeof(out); at += n, n = n * 2 % 31 + 1) {
		if (n > sizeof(out) - at)
			n = sizeof(out) - at;
		wk_random_bytes(out + at, n);
	}
	assert_memory_equal(out, want, sizeof(want));
}

static void
test_another_seed_is_another_stream(void **state)
{
	uint8_t a[32], b[32], seed[32] = { 0 };

	(void)state;
	for (int i = 0; i < 32; i++) {
		memset(seed, 0, sizeof(seed));
		wk_random_seed(seed, sizeof(seed));
		wk_random_bytes(a, sizeof(a));
		seed[i] = 1;		/* every byte of it counts */
		wk_random_seed(seed, sizeof(seed));
		wk_random_bytes(b, sizeof(b));
		assert_memory_not_equal(a, b, sizeof(a));
	}
}

/* The rest of a block that the last request drew from must not be the next one's. */
static void
test_a_new_seed_leaves_nothing_of_the_old_stream(void **state)
{
	uint8_t a[100], b[100];

	(void)state;
	wk_random_seed("one", 3);
	wk_random_bytes(a, 7);
	wk_random_seed("two", 3);
	wk_random_bytes(a, sizeof(a));
	wk_random_seed("two", 3);
	wk_random_bytes(b, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
}

static void
test_a_seed_too_long_is_cut(void **state)
{
	uint8_t seed[64], a[16], b[16];

	(void)state;
	memset(seed, 3, sizeof(seed));
	wk_random_seed(seed, 64);
	wk_random_bytes(a, sizeof(a));
	wk_random_seed(seed, 32);
	wk_random_bytes(b, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
}

static void
test_doubles_fill_the_unit_interval(void **state)
{
	unsigned bucket[16] = { 0 };

	(void)state;
	wk_random_seed("doubles", 7);
	for (int i = 0; i < 16000; i++) {
		double v = wk_random_double();

		assert_true(v >= 0.0 && v < 1.0);
		bucket[(int)(v * 16)]++;
	}
	/* 1000 expected; the stream is fixed, so this is no gamble. */
	for (int i = 0; i < 16; i++)
		assert_in_range(bucket[i], 850, 1150);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block_of_rfc_8439_2_3_2),
		cmocka_unit_test(test_stream_of_rfc_8439_a_1),
		cmocka_unit_test(test_another_seed_is_another_stream),
		cmocka_unit_test(test_a_new_seed_leaves_nothing_of_the_old_stream),
		cmocka_unit_test(test_a_seed_too_long_is_cut),
		cmocka_unit_test(test_doubles_fill_the_unit_interval),
	};

	return cmocka_run_group_tests_name("wk_random", tests, NULL, NULL);
}
