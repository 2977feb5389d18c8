/*
 * Which images a worker keeps (sv_kept.h).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sv_kept.h"

/* The image is sent, or is there already; its slot. */
static unsigned
run(struct sv_kept *k, uint64_t image)
{
	int slot = sv_kept_find(k, image);

	if (slot < 0)
		slot = (int)sv_kept_place(k);
	sv_kept_use(k, (unsigned)slot, image);
	return (unsigned)slot;
}

static void
nothing_is_kept_at_first_not_even_no_image(void **state)
{
	struct sv_kept k = { 0 };

	(void)state;
	assert_int_equal(sv_kept_find(&k, 1), -1);
	assert_int_equal(sv_kept_find(&k, 0), -1);
}

static void
empty_slots_are_used_first(void **state)
{
	struct sv_kept k = { 0 };
	uint64_t i, j;

	(void)state;
	for (i = 1; i <= TN_IMAGES_MAX; i++) {
		run(&k, i);
		for (j = 1; j <= i; j++)
			assert_true(sv_kept_find(&k, j) >= 0);
	}
}

static void
what_was_used_longest_ago_makes_room(void **state)
{
	struct sv_kept k = { 0 };
	unsigned slot;
	uint64_t i;

	(void)state;
	for (i = 1; i <= TN_IMAGES_MAX; i++)
		run(&k, i);
	slot = run(&k, 2);
	run(&k, 1);
	run(&k, 100);
	assert_int_equal(sv_kept_find(&k, 3), -1);
	assert_int_equal(sv_kept_find(&k, 2), (int)slot);
	for (i = 4; i <= TN_IMAGES_MAX; i++)
		run(&k, 100 + i);
	run(&k, 200);
	assert_int_equal(sv_kept_find(&k, 2), -1);
	assert_true(sv_kept_find(&k, 1) >= 0);
}

static void
what_runs_is_overwritten_last_even_when_all_is_forgotten(void **state)
{
	struct sv_kept k = { 0 };
	unsigned slot;
	uint64_t i;

	(void)state;
	for (i = 1; i <= TN_IMAGES_MAX; i++)
		run(&k, i);
	slot = run(&k, 1);
	sv_kept_forget(&k);
	for (i = 1; i <= TN_IMAGES_MAX; i++)
		assert_int_equal(sv_kept_find(&k, i), -1);
	for (i = 1; i < TN_IMAGES_MAX; i++)
		assert_int_not_equal(run(&k, i), slot);
	assert_int_equal(run(&k, i), slot);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_kept_at_first_not_even_no_image),
		cmocka_unit_test(empty_slots_are_used_first),
		cmocka_unit_test(what_was_used_longest_ago_makes_room),
		cmocka_unit_test(what_runs_is_overwritten_last_even_when_all_is_forgotten),
	};

	return cmocka_run_group_tests_name("sv_kept", tests, NULL, NULL);
}
