/*
 * Putting the arena back (wk_restore.h): exact, in each way, whatever was written.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tn_fd.h"
#include "wk_arena.h"
#include "wk_delta.h"
#include "wk_pagemap.h"
#include "wk_restore.h"

#define PAGE		4096u
#define ARENA		((size_t)36 << 20)
#define PAGES		(ARENA / PAGE)
#define IMAGE_PAGES	600u		/* of the base */
#define GENERATION	7u
#define IMAGES		6u

static int pagemap = -1;
static char *reference;		/* what the arena must be */
static uint32_t random_state = 1;

static uint32_t
chance(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

/* A base with a valid header, all of whose other bytes are by chance; mapped. */
static void
map_image(unsigned salt)
{
	int fd = tn_fd_memfd("test-base", ARENA);
	uint32_t *words;
	size_t i;

	assert_true(fd >= 0);
	assert_int_equal(wk_arena_map_shared(fd), 0);
	wk_arena_format(GENERATION);
	random_state = salt;
	/* The allocator's top says how much of the file is used. */
	assert_non_null(wk_alloc_get(&WK_ARENA->alloc, IMAGE_PAGES * PAGE - 2 * PAGE));
	words = (uint32_t *)(WK_ARENA_BASE + 2 * PAGE);
	for (i = 0; i < (IMAGE_PAGES - 4) * PAGE / 4; i++)
		words[i] = chance(1u << 24);
	assert_int_equal(wk_arena_map_base(fd), 0);
	assert_int_equal(wk_restore_base(), 0);
	free(reference);
	reference = malloc(ARENA);
	assert_non_null(reference);
	assert_int_equal(pread(fd, reference, ARENA, 0), (ssize_t)ARENA);
	close(fd);
}

/* (cmocka's own way to compare looks at each byte alone.) */
static void
assert_arena(const char *want)
{
	size_t page;

	for (page = 0; page < PAGES; page++)
		if (memcmp(WK_ARENA_BASE + page * PAGE, want + page * PAGE, PAGE) != 0)
			fail_msg("page %zu is not as it was", page);
}

static void
assert_restored(void)
{
	size_t first = 0;

	assert_int_equal(wk_restore(), 0);
	assert_int_equal(wk_restore_audit(&first), 0);
	assert_arena(reference);
}

static void
write_page(size_t page)
{
	WK_ARENA_BASE[page * PAGE + chance(PAGE)] ^= (char)(1 + chance(255));
}

static enum wk_restore_how way;

static int
setup(void **state)
{
	way = *(enum wk_restore_how *)*state;
	if (wk_arena_reserve(ARENA) != 0)
		return -1;
	if (pagemap < 0)
		pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return 0;
}

/* Not on this kernel: say so. */
static void
have(void)
{
	if (wk_restore_choose(pagemap, way) != way)
		skip();
}

static void
any_writes_are_undone(void **state)
{
	unsigned round, n;

	(void)state;
	have();
	map_image(1);
	for (round = 0; round < 12; round++) {
		for (n = chance(120); n > 0; n--)
			write_page(chance(PAGES));
		assert_restored();
	}
}

static void
writes_behind_the_image_are_zeros_again(void **state)
{
	unsigned n;

	(void)state;
	have();
	map_image(2);
	for (n = 0; n < 50; n++)
		write_page(IMAGE_PAGES + n);
	write_page(PAGES - 1);
	assert_restored();
	write_page(PAGES - 2);
	assert_restored();
}

static void
the_same_pages_cost_no_look_again(void **state)
{
	uint64_t scans, drops;
	unsigned i, n;

	(void)state;
	have();
	if (way == WK_RESTORE_DROP)
		skip();
	map_image(3);
	/* The first rounds learn; what the test itself reads faults too. */
	for (i = 0; i < 3; i++) {
		for (n = 0; n < 64; n++)
			write_page(3 * n);
		assert_restored();
	}
	scans = wk_restore_stats()->scans;
	drops = wk_restore_stats()->drops;
	for (i = 0; i < 200; i++) {
		for (n = 0; n < 64; n++)
			write_page(3 * n);
		assert_int_equal(wk_restore(), 0);
	}
	/* (Something else of the process may fault once in a while.) */
	assert_true(wk_restore_stats()->scans - scans < 20);
	assert_int_equal(wk_restore_stats()->drops, drops);
	assert_true(wk_restore_stats()->hot >= 64);
	assert_arena(reference);
}

static void
one_new_page_among_the_usual_ones_is_found(void **state)
{
	unsigned i, n;

	(void)state;
	have();
	map_image(4);
	for (i = 0; i < 12; i++) {
		for (n = 0; n < 30; n++)
			write_page(10 + n);
		write_page(100 + i);
		assert_restored();
	}
}

static void
more_pages_than_are_kept_are_undone_too(void **state)
{
	size_t page;

	(void)state;
	have();
	map_image(5);
	for (page = 0; page < WK_RESTORE_HOT_MAX + 100; page++)
		write_page(page);
	assert_restored();
	write_page(1);
	assert_restored();
}

static void
learning_anew_loses_nothing(void **state)
{
	unsigned i;

	(void)state;
	have();
	map_image(6);
	for (i = 0; i < 2500; i++) {
		write_page(chance(8));
		write_page(IMAGE_PAGES + chance(8));
		assert_int_equal(wk_restore(), 0);
		if (i % 500 == 0)
			assert_arena(reference);
	}
	assert_arena(reference);
}

static void
another_image_brings_its_own_bytes(void **state)
{
	unsigned i;

	(void)state;
	have();
	for (i = 0; i < 4; i++) {
		map_image(10 + i);
		write_page(50);
		write_page(51 + i);
		write_page(IMAGE_PAGES + 3);
		assert_restored();
	}
}

static void
pages_that_were_paged_out_are_undone(void **state)
{
	unsigned i;

	(void)state;
	have();
	map_image(20);
	for (i = 0; i < 64; i++)
		write_page(i);
	/* Where there is swap they go there; elsewhere nothing happens. */
	(void)madvise(WK_ARENA_BASE, 64 * PAGE, MADV_PAGEOUT);
	assert_restored();
	for (i = 0; i < 64; i++)
		write_page(i);
	(void)madvise(WK_ARENA_BASE, 64 * PAGE, MADV_PAGEOUT);
	assert_restored();
}

static void
the_audit_sees_one_page_that_was_left(void **state)
{
	size_t first = 0;
	unsigned where[] = { 33, IMAGE_PAGES + 9 }, i;

	(void)state;
	have();
	if (way == WK_RESTORE_DROP)
		skip();
	for (i = 0; i < 2; i++) {
		map_image(30 + i);
		assert_restored();
		write_page(where[i]);
		wk_restore_break();
		assert_int_equal(wk_restore(), 0);
		assert_int_equal(wk_restore_audit(&first), 1);
		assert_int_equal(first, where[i]);
		/* It is no part of the hot set, but the next look finds it. */
		write_page(where[i] + 1);
		assert_restored();
	}
}

/* ---- images with pages of their own ---- */

static struct image {
	char		*blob;
	char		*bytes;		/* what the arena must be */
} images[IMAGES];

/* As a builder makes them, from the base; `pages` that differ, by chance. */
static void
make_image(struct image *im, unsigned pages, bool behind_too)
{
	struct tn_buf b = { 0 };
	size_t bytes = chance(20) * PAGE;

	assert_int_equal(wk_restore_base(), 0);
	if (behind_too)
		assert_non_null(wk_alloc_get(&WK_ARENA->alloc, bytes + PAGE));
	while (pages-- > 0) {
		size_t page = 2 + chance((uint32_t)(wk_arena_used() / PAGE - 3));
		size_t at = chance(PAGE - 200);

		for (size_t n = 1 + chance(200); n > 0; n--)
			WK_ARENA_BASE[page * PAGE + at + n] = (char)chance(256);
	}
	assert_int_equal(wk_delta_encode(&b, GENERATION), 0);
	assert_int_equal(wk_delta_check(b.p, b.len, GENERATION), 0);
	im->blob = b.p;
	im->bytes = malloc(ARENA);
	assert_non_null(im->bytes);
	memcpy(im->bytes, WK_ARENA_BASE, ARENA);
}

static void
make_images(unsigned salt, unsigned pages)
{
	unsigned i;

	map_image(salt);
	for (i = 0; i < IMAGES; i++)
		make_image(&images[i], 1 + chance(pages), i % 3 != 0);
	assert_int_equal(wk_restore_base(), 0);
}

static void
free_images(void)
{
	assert_int_equal(wk_restore_base(), 0);
	for (unsigned i = 0; i < IMAGES; i++) {
		free(images[i].blob);
		free(images[i].bytes);
		images[i] = (struct image){ NULL, NULL };
	}
}

static const struct wk_delta *
delta_of(const struct image *im)
{
	return (const struct wk_delta *)(const void *)im->blob;
}

/* The arena is this image, says our own comparison and the audit. */
static void
assert_is(const struct image *im)
{
	size_t first = 0;

	assert_arena(im->bytes);
	assert_int_equal(wk_restore_audit(&first), 0);
}

/* What a request does: to the image's pages, behind them, anywhere. */
static void
misbehave(void)
{
	unsigned n;

	for (n = chance(40); n > 0; n--)
		write_page(chance(IMAGE_PAGES + 40));
	for (n = chance(3); n > 0; n--)
		write_page(chance(PAGES));
}

static void
switching_among_images_is_exact(void **state)
{
	unsigned round;
	const struct image *im;

	(void)state;
	have();
	for (unsigned salt = 0; salt < 2; salt++) {
		make_images(40 + salt, 80);
		im = &images[0];
		assert_int_equal(wk_restore_switch(delta_of(im), true), 0);
		assert_is(im);
		for (round = 0; round < 40; round++) {
			bool clean = true;

			switch (chance(4)) {
			case 0:		/* requests of this image */
				misbehave();
				assert_int_equal(wk_restore(), 0);
				assert_is(im);
				break;
			case 1:		/* one that is not put back before the next image comes */
				misbehave();
				clean = false;
				break;
			default:
				break;
			}
			im = &images[chance(IMAGES)];
			assert_int_equal(wk_restore_switch(delta_of(im), clean), 0);
			if (round % 3 != 0)
				assert_is(im);
		}
		free_images();
	}
}

/* The same image again, and from an image to the base. */
static void
base_is_an_image_too(void **state)
{
	(void)state;
	have();
	make_images(50, 40);
	for (unsigned round = 0; round < 10; round++) {
		const struct image *im = &images[chance(IMAGES)];

		assert_int_equal(wk_restore_switch(delta_of(im), true), 0);
		misbehave();
		assert_int_equal(wk_restore_switch(delta_of(im), false), 0);
		assert_is(im);
		misbehave();
		assert_int_equal(wk_restore_switch(NULL, false), 0);
		assert_arena(reference);
		misbehave();
		assert_int_equal(wk_restore(), 0);
		assert_arena(reference);
	}
	free_images();
}

/* Its bytes are gone, or another's, once it was left. */
static void
image_that_was_left_may_change(void **state)
{
	char *memory = malloc((size_t)1 << 20);
	const struct wk_delta *slot = (const struct wk_delta *)(const void *)memory;

	(void)state;
	assert_non_null(memory);
	have();
	make_images(60, 60);
	for (unsigned round = 0; round < 40; round++) {
		const struct image *im = &images[chance(IMAGES)];
		size_t bytes = sizeof(struct wk_delta);
		const struct wk_delta_entry *e = wk_delta_first(delta_of(im));

		for (uint32_t i = 0; i < delta_of(im)->entries; i++, e = wk_delta_next(e))
			bytes += wk_delta_stride(e);
		assert_true(bytes <= (size_t)1 << 20);
		assert_int_equal(wk_restore_leave(), 0);
		memset(memory, 0xee, (size_t)1 << 20);
		memcpy(memory, im->blob, bytes);
		assert_int_equal(wk_restore_switch(slot, false), 0);
		assert_is(im);
		misbehave();
		if (chance(2) == 0) {
			assert_int_equal(wk_restore(), 0);
			assert_is(im);
		}
	}
	free_images();
	free(memory);
}

/* One that has too many pages to be kept among others that have few. */
static void
large_image_takes_turns_with_small_ones(void **state)
{
	struct tn_buf b = { 0 };
	size_t page;

	(void)state;
	have();
	make_images(70, 30);
	free(images[0].blob);
	assert_non_null(wk_alloc_get(&WK_ARENA->alloc, (WK_RESTORE_OWN_MAX + 200) * PAGE));
	for (page = 2; page < WK_RESTORE_OWN_MAX + 100; page++)
		WK_ARENA_BASE[page * PAGE + 9] ^= 1;
	assert_int_equal(wk_delta_encode(&b, GENERATION), 0);
	images[0].blob = b.p;
	assert_true(delta_of(&images[0])->entries > WK_RESTORE_OWN_MAX);
	memcpy(images[0].bytes, WK_ARENA_BASE, ARENA);
	assert_int_equal(wk_restore_base(), 0);
	for (unsigned round = 0; round < 12; round++) {
		const struct image *im = &images[round % 2 == 0 ? 0 : chance(IMAGES)];
		bool left = chance(3) == 0;

		if (left)
			assert_int_equal(wk_restore_leave(), 0);
		assert_int_equal(wk_restore_switch(delta_of(im), !left), 0);
		assert_is(im);
		misbehave();
		assert_int_equal(wk_restore(), 0);
		assert_is(im);
	}
	free_images();
}

static void
image_survives_learning_anew_and_too_many_pages(void **state)
{
	const struct image *im = &images[1];

	(void)state;
	have();
	make_images(80, 50);
	assert_int_equal(wk_restore_switch(delta_of(im), true), 0);
	for (unsigned i = 0; i < 1100; i++) {
		write_page(chance(8));
		assert_int_equal(wk_restore(), 0);
	}
	assert_is(im);
	for (size_t page = 0; page < WK_RESTORE_HOT_MAX + 100; page++)
		write_page(page);
	assert_int_equal(wk_restore(), 0);
	assert_is(im);
	for (size_t page = 0; page < WK_RESTORE_HOT_MAX + 100; page++)
		write_page(page);
	im = &images[2];
	assert_int_equal(wk_restore_switch(delta_of(im), false), 0);
	assert_is(im);
	free_images();
}

/* The audit sees an image's own page that is not as it should be, and one of the former image. */
static void
the_audit_knows_the_images_pages(void **state)
{
	const struct wk_delta_entry *e;
	size_t first = 0, page;

	(void)state;
	have();
	make_images(90, 30);
	assert_int_equal(wk_restore_switch(delta_of(&images[1]), true), 0);
	e = wk_delta_first(delta_of(&images[1]));
	page = e->page;
	WK_ARENA_BASE[page * PAGE + PAGE - 1] ^= 1;
	assert_int_equal(wk_restore_audit(&first), 1);
	assert_int_equal(first, page);
	assert_int_equal(wk_restore(), 0);
	assert_is(&images[1]);
	/* As if switching had forgotten it. */
	memcpy(WK_ARENA_BASE + page * PAGE, reference + page * PAGE, PAGE);
	assert_int_equal(wk_restore_audit(&first), 1);
	assert_int_equal(first, page);
	free_images();
}

/* What one process has learned another begins with, and its arena is the base all the same. */
static void
a_child_begins_with_the_pages_that_were_learned(void **state)
{
	const unsigned pages = 100;
	struct rusage before, after;
	unsigned n;
	pid_t pid;
	int status;

	(void)state;
	have();
	map_image(17);
	for (n = 0; n < pages; n++)
		write_page(5 * n);
	assert_int_equal(wk_restore_learn(), 0);
	wk_arena_populate();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int mine = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		size_t first;

		if (wk_restore_choose(mine, way) != way)
			_exit(2);
		wk_restore_expect();
		if (wk_restore_audit(&first) != 0 || memcmp(WK_ARENA_BASE, reference, ARENA) != 0)
			_exit(3);
		(void)getrusage(RUSAGE_SELF, &before);
		for (n = 0; n < pages; n++)
			write_page(5 * n);
		(void)getrusage(RUSAGE_SELF, &after);
		if (way != WK_RESTORE_DROP && after.ru_minflt - before.ru_minflt > pages / 4)
			_exit(4);
		write_page(5 * pages + 1);
		if (wk_restore() != 0 || wk_restore_audit(&first) != 0 ||
		    memcmp(WK_ARENA_BASE, reference, ARENA) != 0)
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_arena(reference);
}

#define WAY(fn, how) { #fn " (" #how ")", fn, setup, NULL, &ways[WK_RESTORE_##how] }
#define CASE(fn) WAY(fn, SCAN), WAY(fn, PAGEMAP), WAY(fn, DROP)

int
main(void)
{
	static enum wk_restore_how ways[] = { WK_RESTORE_DROP, WK_RESTORE_PAGEMAP, WK_RESTORE_SCAN };
	const struct CMUnitTest tests[] = {
		CASE(any_writes_are_undone),
		CASE(writes_behind_the_image_are_zeros_again),
		CASE(the_same_pages_cost_no_look_again),
		CASE(one_new_page_among_the_usual_ones_is_found),
		CASE(more_pages_than_are_kept_are_undone_too),
		CASE(learning_anew_loses_nothing),
		CASE(another_image_brings_its_own_bytes),
		CASE(pages_that_were_paged_out_are_undone),
		CASE(the_audit_sees_one_page_that_was_left),
		CASE(switching_among_images_is_exact),
		CASE(base_is_an_image_too),
		CASE(image_that_was_left_may_change),
		CASE(large_image_takes_turns_with_small_ones),
		CASE(image_survives_learning_anew_and_too_many_pages),
		CASE(the_audit_knows_the_images_pages),
		CASE(a_child_begins_with_the_pages_that_were_learned),
	};
	int failed = cmocka_run_group_tests_name("wk_restore", tests, NULL, NULL);

	free(reference);
	return failed;
}
