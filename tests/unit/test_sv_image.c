/*
 * The images in memory (sv_image.h).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sv_contract.h"
#include "sv_image.h"

#define BYTES 65536u

static struct sv_images is;
static struct sv_version v[4];

static int
setup(void **state)
{
	(void)state;
	sv_images_init(&is);
	for (size_t i = 0; i < 4; i++)
		v[i] = (struct sv_version){ .refs = 1 };
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		sv_image_drop(&v[i].image);
	return 0;
}

static void
adopt(struct sv_version *ver)
{
	static char bytes[BYTES];

	assert_int_equal(sv_image_adopt(&is, ver, 7, (struct tn_str){ bytes, BYTES }), 0);
}

static void
an_image_is_a_copy_of_what_the_builder_sent(void **state)
{
	char sent[] = "abc\0def";

	(void)state;
	assert_int_equal(sv_image_adopt(&is, &v[0], 7, (struct tn_str){ sent, 7 }), 0);
	sent[0] = 'x';
	assert_int_equal(v[0].image->bytes, 7);
	assert_memory_equal(v[0].image->p, "abc\0def", 7);
	assert_int_equal(v[0].image->generation, 7);
	assert_int_equal(is.bytes, 7);
}

static void
a_new_image_takes_the_place_of_the_versions_old_one(void **state)
{
	(void)state;
	adopt(&v[0]);
	assert_int_equal(sv_image_adopt(&is, &v[0], 7, TN_STR("small")), 0);
	assert_int_equal(v[0].image->bytes, 5);
	assert_int_equal(is.bytes, 5);
	assert_int_equal(is.count, 1);
	assert_int_equal(is.evicted, 0);
}

static void
numbers_are_never_used_again(void **state)
{
	uint64_t first;

	(void)state;
	adopt(&v[0]);
	first = v[0].image->number;
	assert_true(first > 0);
	adopt(&v[0]);
	assert_true(v[0].image->number > first);
	assert_int_equal(is.count, 1);
	assert_int_equal(is.bytes, BYTES);
}

static void
the_least_recently_used_goes_first(void **state)
{
	(void)state;
	adopt(&v[0]);
	adopt(&v[1]);
	adopt(&v[2]);
	sv_image_touch(v[0].image);
	sv_images_fit(&is, 2 * BYTES);
	assert_non_null(v[0].image);
	assert_null(v[1].image);
	assert_non_null(v[2].image);
	assert_int_equal(is.evicted, 1);
	assert_int_equal(is.bytes, 2 * BYTES);
}

static void
an_image_in_use_is_not_dropped(void **state)
{
	(void)state;
	adopt(&v[0]);
	adopt(&v[1]);
	adopt(&v[2]);
	v[0].refs = 2;
	sv_images_fit(&is, BYTES);
	assert_non_null(v[0].image);
	assert_null(v[1].image);
}

static void
the_newest_stays_even_if_it_alone_is_too_large(void **state)
{
	(void)state;
	adopt(&v[0]);
	adopt(&v[1]);
	sv_images_fit(&is, 1);
	assert_null(v[0].image);
	assert_non_null(v[1].image);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_image_is_a_copy_of_what_the_builder_sent),
		CASE(a_new_image_takes_the_place_of_the_versions_old_one),
		CASE(numbers_are_never_used_again),
		CASE(the_least_recently_used_goes_first),
		CASE(an_image_in_use_is_not_dropped),
		CASE(the_newest_stays_even_if_it_alone_is_too_large),
	};

	return cmocka_run_group_tests_name("sv_image", tests, NULL, NULL);
}
