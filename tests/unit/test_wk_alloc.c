/*
 * The arena's allocator: against a model, to exhaustion, and put back.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wk_alloc.h"

#define MEMORY	((size_t)1 << 20)
#define LIVE	600

struct heap {
	struct wk_alloc	 alloc;		/* with its blocks, as in the arena */
	char		 memory[MEMORY] __attribute__((aligned(16)));
};

struct piece {
	unsigned char	*p;
	size_t		 size;
	unsigned char	 fill;
};

static struct heap *heap;

static int
setup(void **state)
{
	(void)state;
	heap = malloc(sizeof(*heap));
	if (heap == NULL)
		return -1;
	/* Never handed out and never initialised: must not matter. */
	memset(heap, 0xa5, sizeof(*heap));
	wk_alloc_init(&heap->alloc, heap->memory, sizeof(heap->memory));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free(heap);
	heap = NULL;
	return 0;
}

/* xorshift64*: the same numbers on every machine. */
static uint64_t
next(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1du;
}

/* Mostly small, as a heap of objects and strings; now and then large. */
static size_t
some_size(uint64_t *s)
{
	uint64_t r = next(s);

	switch (r % 16) {
	case 0:
		return 1 + (r >> 8) % 60000;
	case 1: case 2: case 3:
		return 1 + (r >> 8) % 3000;
	default:
		return 1 + (r >> 8) % 150;
	}
}

static void
assert_filled(const struct piece *x)
{
	for (size_t i = 0; i < x->size; i++)
		if (x->p[i] != x->fill)
			fail_msg("byte %zu of %zu is %u, not %u", i, x->size, x->p[i], x->fill);
}

static void
assert_whole(void)
{
	const char *what = wk_alloc_check(&heap->alloc);

	if (what != NULL)
		fail_msg("inconsistent: %s", what);
}

static void
assert_apart(const struct piece *x, const struct piece *all, size_t n)
{
	assert_int_equal((uintptr_t)x->p % WK_ALLOC_ALIGN, 0);
	assert_true((char *)x->p >= heap->memory);
	assert_true((char *)x->p + x->size <= heap->memory + MEMORY);
	assert_true(wk_alloc_size(x->p) >= x->size);
	for (size_t i = 0; i < n; i++)
		if (&all[i] != x)
			assert_true(x->p + x->size <= all[i].p || all[i].p + all[i].size <= x->p);
}

static void
run_model(uint64_t seed, int steps)
{
	static struct piece live[LIVE];
	size_t n = 0, used;
	int refused = 0;

	for (int step = 0; step < steps; step++) {
		uint64_t r = next(&seed);
		size_t i = n > 0 ? (r >> 32) % n : 0;

		/* Waves of growth and shrinking, so that coalescing has something to do. */
		if (n == 0 || (n < LIVE && r % 100 < (step / 1000 % 2 == 0 ? 50u : 25u))) {
			struct piece x = { .size = some_size(&seed), .fill = (unsigned char)r };

			x.p = wk_alloc_get(&heap->alloc, x.size);
			if (x.p == NULL) {
				refused++;
				continue;
			}
			memset(x.p, x.fill, x.size);
			live[n++] = x;
			assert_apart(&live[n - 1], live, n);
		} else if (r % 100 < 75) {
			size_t size = some_size(&seed), kept = size < live[i].size ? size : live[i].size;
			unsigned char *p = wk_alloc_resize(&heap->alloc, live[i].p, size);

			if (p == NULL) {
				refused++;
				assert_filled(&live[i]);	/* the old one is as it was */
				continue;
			}
			live[i].p = p;
			live[i].size = kept;
			assert_filled(&live[i]);
			live[i].size = size;
			memset(p, live[i].fill, size);
			assert_apart(&live[i], live, n);
		} else {
			assert_filled(&live[i]);
			wk_alloc_put(&heap->alloc, live[i].p);
			live[i] = live[--n];
		}
		if (step % 64 == 0)
			assert_whole();
		assert_int_equal(heap->alloc.blocks, n);
	}
	for (size_t i = 0; i < n; i++)
		assert_filled(&live[i]);
	used = 0;
	for (size_t i = 0; i < n; i++)
		used += wk_alloc_size(live[i].p) + sizeof(size_t);
	assert_int_equal(heap->alloc.used, used);
	while (n > 0)
		wk_alloc_put(&heap->alloc, live[--n].p);
	assert_whole();
	assert_int_equal(heap->alloc.used, 0);
	assert_int_equal(heap->alloc.blocks, 0);
	assert_true(refused < steps / 2);
}

static void
test_blocks_keep_their_bytes_and_never_overlap(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++)
		run_model(seed * 0x9e3779b97f4a7c15u, 12000);
}

static void
test_all_memory_can_be_had_again_after_exhaustion(void **state)
{
	static void *all[MEMORY / 32];
	size_t n = 0, first = 0;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (n = 0; (all[n] = wk_alloc_get(&heap->alloc, 100)) != NULL; n++)
			memset(all[n], (int)n, 100);
		assert_whole();
		/* (The top's steps cost some the first time.) */
		if (round == 0)
			first = n;
		assert_true(n >= first);
		assert_true(n * 112 > MEMORY - 3 * 4096);
		/* Every other one, then the rest: each must merge with both its neighbours. */
		for (size_t i = 0; i < n; i += 2)
			wk_alloc_put(&heap->alloc, all[i]);
		assert_whole();
		for (size_t i = 1; i < n; i += 2)
			wk_alloc_put(&heap->alloc, all[i]);
		assert_whole();
		assert_int_equal(heap->alloc.used, 0);
	}
	/* One block again. */
	assert_non_null(wk_alloc_get(&heap->alloc, MEMORY - 3 * 4096));
	assert_whole();
}

static void
test_sizes_beyond_all_bounds_are_refused(void **state)
{
	static const size_t sizes[] = { MEMORY, MEMORY + 1, MEMORY * 2, (size_t)1 << 32,
	    SIZE_MAX / 2, SIZE_MAX - 8, SIZE_MAX - 7, SIZE_MAX };
	void *p = wk_alloc_get(&heap->alloc, 10);

	(void)state;
	memcpy(p, "0123456789", 10);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_null(wk_alloc_get(&heap->alloc, sizes[i]));
		assert_null(wk_alloc_resize(&heap->alloc, p, sizes[i]));
	}
	assert_memory_equal(p, "0123456789", 10);
	assert_int_equal(heap->alloc.blocks, 1);
	assert_whole();
}

static void
test_null_and_zero_are_as_malloc_has_them(void **state)
{
	void *p;

	(void)state;
	assert_null(wk_alloc_get(&heap->alloc, 0));
	wk_alloc_put(&heap->alloc, NULL);
	p = wk_alloc_resize(&heap->alloc, NULL, 20);
	assert_non_null(p);
	assert_null(wk_alloc_resize(&heap->alloc, p, 0));
	assert_int_equal(heap->alloc.blocks, 0);
	assert_whole();
}

static void
test_the_last_block_grows_in_place(void **state)
{
	char *p, *q;

	(void)state;
	(void)wk_alloc_get(&heap->alloc, 50);
	p = wk_alloc_get(&heap->alloc, 5000);
	memset(p, 7, 5000);
	for (size_t size = 5008; size < MEMORY / 2; size += size / 3) {
		q = wk_alloc_resize(&heap->alloc, p, size);
		assert_ptr_equal(q, p);
		assert_whole();
	}
	for (int i = 0; i < 5000; i++)
		assert_int_equal(p[i], 7);
}

static void
test_memory_above_top_stays_untouched(void **state)
{
	const char *high;

	(void)state;
	for (int i = 0; i < 50; i++)
		memset(wk_alloc_get(&heap->alloc, 500), 0, 500);
	high = wk_alloc_high_water(&heap->alloc);
	for (const char *p = high; p < heap->memory + MEMORY; p++)
		if ((unsigned char)*p != 0xa5)
			fail_msg("byte %td above the high-water mark was written", p - high);
}

/* Duktape tries eleven times: only then was memory refused for good. */
static void
test_a_refusal_counts_when_it_is_final(void **state)
{
	void *p;

	(void)state;
	for (unsigned i = 1; i < WK_ALLOC_TRIES; i++)
		assert_null(wk_alloc_get(&heap->alloc, MEMORY - 16));
	p = wk_alloc_get(&heap->alloc, 16);
	assert_false(wk_alloc_refused(&heap->alloc));
	for (unsigned i = 0; i < WK_ALLOC_TRIES; i++)
		assert_null(wk_alloc_resize(&heap->alloc, p, MEMORY * 4));
	assert_true(wk_alloc_refused(&heap->alloc));
	assert_false(wk_alloc_refused(&heap->alloc));	/* told once */
	/* Refused, then granted (garbage was found): that is no refusal. */
	for (int round = 0; round < 5; round++) {
		void *all = wk_alloc_get(&heap->alloc, MEMORY / 2), *more;

		for (unsigned i = 1; i < WK_ALLOC_TRIES - 1; i++)
			assert_null(wk_alloc_get(&heap->alloc, MEMORY / 2 + 4096));
		wk_alloc_put(&heap->alloc, all);
		more = wk_alloc_get(&heap->alloc, MEMORY / 2 + 4096);
		assert_non_null(more);
		wk_alloc_put(&heap->alloc, more);
	}
	assert_false(wk_alloc_refused(&heap->alloc));
}

/* What was free before stays as it is: a request writes to few of the image's pages. */
static void
test_the_nursery_serves_from_above_only(void **state)
{
	void *old[200], *p;
	char *top, *before;
	uint64_t seed = 42;

	(void)state;
	for (size_t i = 0; i < 200; i++)
		old[i] = wk_alloc_get(&heap->alloc, some_size(&seed) % 2000 + 1);
	for (size_t i = 0; i < 200; i += 3)
		wk_alloc_put(&heap->alloc, old[i]);
	wk_alloc_nursery(&heap->alloc);
	assert_whole();
	top = old[199];		/* nothing free lies between it and the nursery */
	before = malloc((size_t)(top - heap->memory));
	assert_non_null(before);
	memcpy(before, heap->memory, (size_t)(top - heap->memory));
	for (int i = 0; i < 300; i++) {
		p = wk_alloc_get(&heap->alloc, some_size(&seed) % 1000 + 1);
		assert_true((char *)p > top);
	}
	assert_whole();
	assert_memory_equal(before, heap->memory, (size_t)(top - heap->memory));
	free(before);
	/* Old blocks may be freed all the same, and merge with those set aside. */
	for (size_t i = 0; i < 200; i++)
		if (i % 3 != 0) {
			wk_alloc_put(&heap->alloc, old[i]);
			assert_whole();
		}
}

static void
test_scrubbing_leaves_zeros_and_all_that_is_used(void **state)
{
	unsigned char *live[200];
	char *from;
	uint64_t seed = 11;
	size_t size[200], zeros = 0;

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		size[i] = some_size(&seed) % 2000 + 1;
		live[i] = wk_alloc_get(&heap->alloc, size[i]);
		assert_non_null(live[i]);
		memset(live[i], 0x5b, size[i]);
	}
	for (size_t i = 0; i < 200; i += 3)
		wk_alloc_put(&heap->alloc, live[i]);
	from = (char *)live[100];
	wk_alloc_scrub(&heap->alloc, from);
	assert_whole();
	for (size_t i = 0; i < 200; i++)
		for (size_t at = 0; at < size[i]; at++) {
			if (i % 3 != 0)
				assert_int_equal(live[i][at], 0x5b);
			else if ((char *)live[i] < from && at >= 16 && at + 8 < size[i])
				assert_int_equal(live[i][at], 0x5b);
			else if ((char *)live[i] >= from && at >= 16 && at + 8 < size[i]) {
				assert_int_equal(live[i][at], 0);
				zeros++;
			}
		}
	assert_true(zeros > 1000);
	/* What was scrubbed can be had again. */
	for (int i = 0; i < 100; i++)
		assert_non_null(wk_alloc_get(&heap->alloc, some_size(&seed) % 500 + 1));
	assert_whole();
}

/* All state is in the bytes: the same bytes make the same choices. */
static void
test_putting_the_bytes_back_puts_the_allocator_back(void **state)
{
	struct heap *image = malloc(sizeof(*image));
	void *first[100], *p;
	uint64_t seed = 7, again;

	(void)state;
	assert_non_null(image);
	for (int i = 0; i < 300; i++) {
		p = wk_alloc_get(&heap->alloc, some_size(&seed) % 3000 + 1);
		if (i % 4 == 0)
			wk_alloc_put(&heap->alloc, p);
	}
	memcpy(image, heap, sizeof(*image));
	again = seed;
	for (int i = 0; i < 100; i++)
		first[i] = wk_alloc_get(&heap->alloc, some_size(&seed) % 500 + 1);
	memcpy(heap, image, sizeof(*image));
	assert_whole();
	for (int i = 0; i < 100; i++)
		assert_ptr_equal(wk_alloc_get(&heap->alloc, some_size(&again) % 500 + 1), first[i]);
	free(image);
}

static void
test_check_finds_a_broken_block(void **state)
{
	char *a = wk_alloc_get(&heap->alloc, 100), *b = wk_alloc_get(&heap->alloc, 100);

	(void)state;
	wk_alloc_put(&heap->alloc, b);
	assert_whole();
	memset(a, 0xff, 112);		/* runs over b's header */
	assert_non_null(wk_alloc_check(&heap->alloc));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_blocks_keep_their_bytes_and_never_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_memory_can_be_had_again_after_exhaustion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sizes_beyond_all_bounds_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null_and_zero_are_as_malloc_has_them, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_last_block_grows_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_above_top_stays_untouched, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refusal_counts_when_it_is_final, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_nursery_serves_from_above_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scrubbing_leaves_zeros_and_all_that_is_used, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_putting_the_bytes_back_puts_the_allocator_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_finds_a_broken_block, setup, teardown),
	};

	return cmocka_run_group_tests_name("wk_alloc", tests, NULL, NULL);
}
