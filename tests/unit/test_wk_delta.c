/*
 * Images (wk_delta.h): what is encoded is what the arena has other than the base,
 * and no other bytes are taken for an image.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_fd.h"
#include "wk_arena.h"
#include "wk_delta.h"

#define PAGE		WK_ARENA_PAGE
#define ARENA		((size_t)2 << 20)
#define PAGES		(ARENA / PAGE)
#define BASE_PAGES	100u
#define GENERATION	7u

static char *base;		/* the model: all of the arena's bytes */
static uint32_t random_state = 1;

static uint32_t
chance(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

static int
setup(void **state)
{
	int fd = tn_fd_memfd("test-base", ARENA);

	(void)state;
	if (fd < 0 || wk_arena_reserve(ARENA) != 0 || wk_arena_map_shared(fd) != 0)
		return -1;
	wk_arena_format(GENERATION);
	if (wk_alloc_get(&WK_ARENA->alloc, (BASE_PAGES - 3) * PAGE) == NULL)
		return -1;
	for (size_t i = 2 * PAGE; i < (BASE_PAGES - 5) * PAGE; i++)
		WK_ARENA_BASE[i] = (char)chance(256);
	if (wk_arena_map_base(fd) != 0 || wk_arena_seal(fd) != 0)
		return -1;
	tn_fd_close(&fd);
	base = malloc(ARENA);
	if (base == NULL)
		return -1;
	memcpy(base, WK_ARENA_BASE, ARENA);
	return wk_arena_drop();
}

static int
teardown(void **state)
{
	(void)state;
	free(base);
	return 0;
}

/* Writes by chance: bytes, lines, whole pages, in the base and behind it. */
static void
scribble(unsigned times)
{
	while (times-- > 0) {
		size_t page = 2 + chance(BASE_PAGES + 30), at = chance(PAGE), n = 1;

		switch (chance(4)) {
		case 0:
			at = 0;
			n = PAGE;
			break;
		case 1:
			n = 1 + chance((uint32_t)(PAGE - at));
			break;
		default:
			break;
		}
		for (size_t i = 0; i < n; i++)
			WK_ARENA_BASE[page * PAGE + at + i] = (char)chance(256);
	}
}

/* The arena's allocator must say that these pages are used. */
static void
use_more(void)
{
	assert_non_null(wk_alloc_get(&WK_ARENA->alloc, 40 * PAGE));
	assert_true(wk_arena_used() > (BASE_PAGES + 32) * PAGE);
}

static struct tn_buf
encode(void)
{
	struct tn_buf b = { 0 };

	assert_int_equal(wk_delta_encode(&b, GENERATION), 0);
	assert_int_equal(wk_delta_check(b.p, b.len, GENERATION), 0);
	return b;
}

/* What an image makes of the model. */
static char *
image_of(const char *blob)
{
	const struct wk_delta *d = (const struct wk_delta *)(const void *)blob;
	const struct wk_delta_entry *e = wk_delta_first(d);
	char *copy = malloc(ARENA);

	assert_non_null(copy);
	memcpy(copy, base, ARENA);
	for (uint32_t i = 0; i < d->entries; i++, e = wk_delta_next(e))
		wk_delta_apply(e, copy + e->page * PAGE);
	return copy;
}

static void
image_and_base_are_the_arena_byte_for_byte(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct tn_buf b;
		char *is;

		random_state = round;
		use_more();
		scribble(1 + chance(60));
		b = encode();
		is = image_of(b.p);
		assert_memory_equal(is, WK_ARENA_BASE, ARENA);
		free(is);
		tn_buf_fini(&b);
		assert_int_equal(wk_arena_drop(), 0);
	}
}

static void
image_of_the_untouched_base_has_no_page(void **state)
{
	struct tn_buf b = encode();

	(void)state;
	assert_int_equal(b.len, sizeof(struct wk_delta));
	tn_buf_fini(&b);
}

static void
only_lines_that_differ_are_sent(void **state)
{
	const struct wk_delta_entry *e;
	struct tn_buf b;

	(void)state;
	/* The first and the last byte of a line, one written with what it was. */
	WK_ARENA_BASE[10 * PAGE + 64] ^= 1;
	WK_ARENA_BASE[10 * PAGE + 191] ^= 1;
	*(volatile char *)(WK_ARENA_BASE + 11 * PAGE) = base[11 * PAGE];
	WK_ARENA_BASE[12 * PAGE + 4095] ^= 1;
	b = encode();
	e = wk_delta_first((const struct wk_delta *)(const void *)b.p);
	assert_int_equal(e->page, 10);
	assert_int_equal(e->mask, 6);
	e = wk_delta_next(e);
	assert_int_equal(e->page, 12);
	assert_true(e->mask == (uint64_t)1 << 63);
	assert_int_equal(b.len, sizeof(struct wk_delta) + 2 * sizeof(*e) + 3 * WK_DELTA_LINE);
	tn_buf_fini(&b);
	assert_int_equal(wk_arena_drop(), 0);
}

static void
image_that_does_not_fit_is_told(void **state)
{
	struct tn_buf whole, b = { 0 };
	char *room;

	(void)state;
	use_more();
	scribble(40);
	whole = encode();
	for (size_t bytes = 0; bytes < whole.len; bytes += 1 + bytes / 9) {
		room = malloc(bytes + 1);
		assert_non_null(room);
		tn_buf_init_fixed(&b, room, bytes);
		assert_int_equal(wk_delta_encode(&b, GENERATION), TN_ELIMIT);
		free(room);
	}
	tn_buf_fini(&whole);
	assert_int_equal(wk_arena_drop(), 0);
}

/* An image of a few pages, in memory of its exact length: sanitizers see what reads beyond. */
static char *
small_image(size_t *len)
{
	struct tn_buf b;
	char *p;

	random_state = 5;
	use_more();
	for (unsigned i = 0; i < 12; i++)
		WK_ARENA_BASE[(3 + 9 * i) * PAGE + chance(PAGE)] ^= 1;
	b = encode();
	p = malloc(b.len);
	assert_non_null(p);
	memcpy(p, b.p, b.len);
	*len = b.len;
	tn_buf_fini(&b);
	assert_int_equal(wk_arena_drop(), 0);
	return p;
}

static void
every_truncation_and_any_more_is_refused(void **state)
{
	size_t len;
	char *p = small_image(&len), *q;

	(void)state;
	for (size_t n = 0; n < len; n++) {
		q = malloc(n + 1);
		assert_non_null(q);
		memcpy(q, p, n);
		assert_int_equal(wk_delta_check(q, n, GENERATION), TN_EPROTO);
		free(q);
	}
	for (size_t more = 1; more < 100; more++) {
		q = calloc(1, len + more);
		assert_non_null(q);
		memcpy(q, p, len);
		assert_int_equal(wk_delta_check(q, len + more, GENERATION), TN_EPROTO);
		free(q);
	}
	free(p);
}

/* Accepted or not: if it is, what it does stays within the arena. */
static void
every_flipped_bit_is_refused_or_harmless(void **state)
{
	size_t len, accepted = 0, refused = 0;
	char *p = small_image(&len);

	(void)state;
	for (size_t bit = 0; bit < 8 * len; bit++) {
		p[bit / 8] ^= (char)(1 << bit % 8);
		if (wk_delta_check(p, len, GENERATION) == 0) {
			/* (A write outside of the copy is for the sanitizers, and malloc.) */
			free(image_of(p));
			accepted++;
		} else {
			refused++;
		}
		p[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_int_equal(wk_delta_check(p, len, GENERATION), 0);
	/* The lines' bytes are anybody's; nearly all of the rest is not. */
	assert_true(accepted >= 8 * 12 * WK_DELTA_LINE);
	assert_true(refused > 8 * (sizeof(struct wk_delta) - sizeof(uint32_t)));
	free(p);
}

static void
image_of_another_generation_arena_or_version_is_refused(void **state)
{
	size_t len;
	char *p = small_image(&len);
	struct wk_delta *d = (struct wk_delta *)(void *)p, good = *d;

	(void)state;
	assert_int_equal(wk_delta_check(p, len, GENERATION + 1), TN_EPROTO);
#define BAD(change)								\
	do {									\
		change;								\
		assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO); \
		*d = good;							\
	} while (0)
	BAD(d->magic++);
	BAD(d->version++);
	BAD(d->generation++);
	BAD(d->arena += PAGE);
	BAD(d->arena = UINT64_MAX);
	BAD(d->pages = PAGES + 1);
	BAD(d->pages = UINT32_MAX);
	BAD(d->pages = 0);
	BAD(d->entries++);
	BAD(d->entries--);
	BAD(d->entries = 0);
	BAD(d->entries = UINT32_MAX);
#undef BAD
	assert_int_equal(wk_delta_check(p, len, GENERATION), 0);
	free(p);
}

static void
pages_out_of_order_twice_or_outside_are_refused(void **state)
{
	size_t len;
	char *p = small_image(&len);
	struct wk_delta *d = (struct wk_delta *)(void *)p;
	struct wk_delta_entry *first = (struct wk_delta_entry *)(void *)(d + 1), good = *first;
	const struct wk_delta_entry *second = wk_delta_next(first);

	(void)state;
	first->page = second->page;
	assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO);
	first->page = second->page + 1;
	assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO);
	first->page = d->pages;
	assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO);
	first->page = UINT32_MAX;
	assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO);
	*first = good;
	first->mask = 0;
	assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO);
	*first = good;
	first->pad = 1;
	assert_int_equal(wk_delta_check(p, len, GENERATION), TN_EPROTO);
	*first = good;
	assert_int_equal(wk_delta_check(p, len, GENERATION), 0);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(image_and_base_are_the_arena_byte_for_byte),
		cmocka_unit_test(image_of_the_untouched_base_has_no_page),
		cmocka_unit_test(only_lines_that_differ_are_sent),
		cmocka_unit_test(image_that_does_not_fit_is_told),
		cmocka_unit_test(every_truncation_and_any_more_is_refused),
		cmocka_unit_test(every_flipped_bit_is_refused_or_harmless),
		cmocka_unit_test(image_of_another_generation_arena_or_version_is_refused),
		cmocka_unit_test(pages_out_of_order_twice_or_outside_are_refused),
	};

	return cmocka_run_group_tests_name("wk_delta", tests, setup, teardown);
}
