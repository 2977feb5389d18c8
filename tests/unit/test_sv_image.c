/*
 * The images in memory (sv_image.h).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sv_contract.h"
#include "sv_image.h"
#include "tn_err.h"
#include "tn_fd.h"

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
		sv_image_drop(&v[i]);
	return 0;
}

static void
adopt(struct sv_version *ver)
{
	int fd = tn_fd_memfd("test", BYTES);

	assert_true(fd >= 0);
	assert_int_equal(sv_image_adopt(&is, ver, &fd, 1, BYTES), 0);
	assert_int_equal(fd, -1);
}

static void
an_adopted_image_cannot_be_written_any_more(void **state)
{
	(void)state;
	adopt(&v[0]);
	assert_int_equal(pwrite(v[0].image->memfd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(v[0].image->memfd, 0), -1);
	assert_ptr_equal(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, v[0].image->memfd, 0),
	    MAP_FAILED);
}

static void
an_image_that_somebody_still_writes_is_refused(void **state)
{
	int fd = tn_fd_memfd("test", BYTES);
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(sv_image_adopt(&is, &v[0], &fd, 1, BYTES), TN_ESYS);
	assert_null(v[0].image);
	assert_true(fd >= 0);
	munmap(p, BYTES);
	tn_fd_close(&fd);
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
		CASE(an_adopted_image_cannot_be_written_any_more),
		CASE(an_image_that_somebody_still_writes_is_refused),
		CASE(numbers_are_never_used_again),
		CASE(the_least_recently_used_goes_first),
		CASE(an_image_in_use_is_not_dropped),
		CASE(the_newest_stays_even_if_it_alone_is_too_large),
	};

	return cmocka_run_group_tests_name("sv_image", tests, NULL, NULL);
}
