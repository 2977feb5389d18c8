/*
 * The arena: the base, private pages, and what must not be written.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tn_err.h"
#include "wk_arena.h"

#define SIZE	((size_t)4 << 20)
#define GENERATION 77u

static int
memfd(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
	return fd;
}

/* A formatted arena with something in it, as a base that is mapped. */
static int
make_base(unsigned char fill, char **piece)
{
	int fd = memfd();

	assert_int_equal(wk_arena_map_shared(fd), 0);
	wk_arena_format(GENERATION);
	WK_ARENA->ctx = (void *)1;
	*piece = wk_alloc_get(&WK_ARENA->alloc, 100000);
	assert_non_null(*piece);
	memset(*piece, fill, 100000);
	assert_int_equal(wk_arena_map_base(fd), 0);
	return fd;
}

static int
setup(void **state)
{
	(void)state;
	return wk_arena_reserve(SIZE);
}

static void
test_only_one_size_a_process(void **state)
{
	(void)state;
	assert_int_equal(wk_arena_size(), SIZE);
	assert_int_equal(wk_arena_reserve(SIZE), 0);
	assert_int_equal(wk_arena_reserve(2 * SIZE), TN_EINVAL);
}

static void
test_drop_is_the_base_again_byte_for_byte(void **state)
{
	char *piece, *copy = malloc(SIZE);
	int fd = make_base(0x5a, &piece);

	(void)state;
	assert_non_null(copy);
	memcpy(copy, WK_ARENA_BASE, SIZE);
	for (int round = 0; round < 3; round++) {
		/* Scattered writes, allocator traffic, and pages the base never had. */
		for (size_t at = 64; at < SIZE; at += 5000)
			WK_ARENA_BASE[at] = (char)(WK_ARENA_BASE[at] + 1);
		memset(WK_ARENA_BASE, round, sizeof(struct wk_arena_header));
		memset(WK_ARENA_BASE + SIZE - 4096, 0xee, 4096);
		assert_int_not_equal(memcmp(copy, WK_ARENA_BASE, SIZE), 0);
		assert_int_equal(wk_arena_drop(), 0);
		assert_memory_equal(copy, WK_ARENA_BASE, SIZE);
		assert_null(wk_alloc_check(&WK_ARENA->alloc));
	}
	(void)close(fd);
	free(copy);
}

static void
test_private_writes_do_not_reach_the_base(void **state)
{
	char *piece, byte;
	int fd = make_base(0x11, &piece);

	(void)state;
	piece[50000] = 0x22;
	assert_int_equal(pread(fd, &byte, 1, piece + 50000 - WK_ARENA_BASE), 1);
	assert_int_equal(byte, 0x11);
	(void)close(fd);
}

static void
test_the_fd_may_go_after_mapping(void **state)
{
	char *piece;
	int fd = make_base(0x33, &piece);

	(void)state;
	(void)close(fd);
	piece[0] = 0;
	assert_int_equal(wk_arena_drop(), 0);
	assert_int_equal(piece[0], 0x33);
}

static void
test_verify_knows_its_generation(void **state)
{
	char *piece;
	int fd = make_base(1, &piece);
	struct wk_arena_header good = *WK_ARENA;

	(void)state;
	assert_int_equal(wk_arena_verify(GENERATION), 0);
	assert_int_equal(wk_arena_verify(GENERATION + 1), TN_EPROTO);
	WK_ARENA->magic++;
	assert_int_equal(wk_arena_verify(GENERATION), TN_EPROTO);
	*WK_ARENA = good;
	WK_ARENA->version++;
	assert_int_equal(wk_arena_verify(GENERATION), TN_EPROTO);
	*WK_ARENA = good;
	WK_ARENA->size--;
	assert_int_equal(wk_arena_verify(GENERATION), TN_EPROTO);
	*WK_ARENA = good;
	WK_ARENA->ctx = NULL;
	assert_int_equal(wk_arena_verify(GENERATION), TN_EPROTO);
	*WK_ARENA = good;
	assert_int_equal(wk_arena_verify(GENERATION), 0);
	(void)close(fd);
}

static void
test_an_empty_file_is_no_heap(void **state)
{
	int fd = memfd();

	(void)state;
	assert_int_equal(wk_arena_map_base(fd), 0);
	assert_int_equal(wk_arena_verify(0), TN_EPROTO);
	(void)close(fd);
}

static void
test_a_sealed_base_takes_no_write(void **state)
{
	char *piece;
	int fd = make_base(4, &piece);

	(void)state;
	assert_int_equal(wk_arena_seal(fd), 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	/* It can still be used as it is meant to be. */
	assert_int_equal(wk_arena_map_base(fd), 0);
	piece[1] = 5;
	assert_int_equal(wk_arena_drop(), 0);
	assert_int_equal(piece[1], 4);
	(void)close(fd);
}

static void
test_a_base_cannot_be_sealed_while_it_is_written(void **state)
{
	int fd = memfd();

	(void)state;
	assert_int_equal(wk_arena_map_shared(fd), 0);
	assert_int_equal(wk_arena_seal(fd), TN_ESYS);
	assert_int_equal(wk_arena_map_anonymous(), 0);
	assert_int_equal(wk_arena_seal(fd), 0);
	(void)close(fd);
}

static void
test_the_shadow_shows_the_base_whatever_is_written(void **state)
{
	char *piece;
	const char *shadow;
	int fd = make_base(0x66, &piece);
	size_t used = wk_arena_base_used();

	(void)state;
	assert_int_equal(used % 4096, 0);
	assert_true(used >= 100000 && used < 200000);
	shadow = WK_ARENA_SHADOW + (piece - WK_ARENA_BASE);
	piece[10] = 0x67;
	assert_int_equal(shadow[10], 0x66);
	assert_non_null(wk_alloc_get(&WK_ARENA->alloc, 500000));
	assert_true(wk_arena_used() > used);
	assert_int_equal(wk_arena_base_used(), used);
	assert_int_equal(wk_arena_drop(), 0);
	assert_memory_equal(WK_ARENA_BASE, WK_ARENA_SHADOW, used);
	(void)close(fd);
}

static void
test_the_shadow_cannot_be_written(void **state)
{
	char *piece;
	int fd = make_base(1, &piece), status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		*(volatile char *)WK_ARENA_SHADOW = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	(void)close(fd);
}

static void
test_what_runs_over_the_end_faults(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(wk_arena_map_anonymous(), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		WK_ARENA_BASE[SIZE - 1] = 1;
		*(volatile char *)(WK_ARENA_BASE + SIZE) = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_one_size_a_process),
		cmocka_unit_test(test_drop_is_the_base_again_byte_for_byte),
		cmocka_unit_test(test_private_writes_do_not_reach_the_base),
		cmocka_unit_test(test_the_fd_may_go_after_mapping),
		cmocka_unit_test(test_verify_knows_its_generation),
		cmocka_unit_test(test_an_empty_file_is_no_heap),
		cmocka_unit_test(test_a_sealed_base_takes_no_write),
		cmocka_unit_test(test_a_base_cannot_be_sealed_while_it_is_written),
		cmocka_unit_test(test_the_shadow_shows_the_base_whatever_is_written),
		cmocka_unit_test(test_the_shadow_cannot_be_written),
		cmocka_unit_test(test_what_runs_over_the_end_faults),
	};

	return cmocka_run_group_tests_name("wk_arena", tests, setup, NULL);
}
