/*
 * Descriptors: passed whole or not at all, and never leaked.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_fd.h"

static int
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
pair(int type, int sv[2])
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv), 0);
}

static void
unpair(int sv[2])
{
	tn_fd_close(&sv[0]);
	tn_fd_close(&sv[1]);
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	    x.st_ino == y.st_ino;
}

static void
bytes_and_descriptors_arrive_together(void **state)
{
	int sv[2], fds[TN_FD_PASS_MAX], got[TN_FD_PASS_MAX], n = TN_FD_PASS_MAX, i;
	char text[8];

	(void)state;
	pair(SOCK_SEQPACKET, sv);
	for (i = 0; i < TN_FD_PASS_MAX; i++)
		assert_true((fds[i] = tn_fd_memfd("passed", (size_t)i)) >= 0);
	assert_int_equal(tn_fd_send(sv[0], "hello", 5, fds, TN_FD_PASS_MAX), 5);
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), got, &n), 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(n, TN_FD_PASS_MAX);
	for (i = 0; i < TN_FD_PASS_MAX; i++) {
		assert_true(same_file(fds[i], got[i]));
		assert_int_equal(fcntl(got[i], F_GETFD), FD_CLOEXEC);
		tn_fd_close(&fds[i]);
		tn_fd_close(&got[i]);
	}
	unpair(sv);
}

static void
without_descriptors_it_is_plain_bytes(void **state)
{
	int sv[2], got[2], n = 2;
	char text[8];

	(void)state;
	pair(SOCK_STREAM, sv);
	assert_int_equal(tn_fd_send(sv[0], "abc", 3, NULL, 0), 3);
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), got, &n), 3);
	assert_int_equal(n, 0);
	assert_int_equal(tn_fd_send(sv[0], "abc", 3, NULL, 0), 3);
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), NULL, NULL), 3);
	unpair(sv);
}

/* Two sends on a stream, the second with a descriptor: it must not come with the first's bytes. */
static void
on_a_stream_descriptors_stay_with_their_bytes(void **state)
{
	int sv[2], got[2], n = 2, fd;
	char text[64];

	(void)state;
	pair(SOCK_STREAM, sv);
	fd = tn_fd_memfd("x", 0);
	assert_int_equal(tn_fd_send(sv[0], "first", 5, NULL, 0), 5);
	assert_int_equal(tn_fd_send(sv[0], "second", 6, &fd, 1), 6);
	assert_true(tn_fd_recv(sv[1], text, 5, got, &n) == 5);
	assert_int_equal(n, 0);
	n = 2;
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), got, &n), 6);
	assert_int_equal(n, 1);
	tn_fd_close(&got[0]);
	tn_fd_close(&fd);
	unpair(sv);
}

static void
more_descriptors_than_room_are_closed_and_refused(void **state)
{
	int sv[2], fds[3], got[2] = { -1, -1 }, room, n, before, i;
	char text[8];

	(void)state;
	pair(SOCK_SEQPACKET, sv);
	for (i = 0; i < 3; i++)
		fds[i] = tn_fd_memfd("x", 0);
	before = open_fds();
	for (room = 0; room < 3; room++) {
		n = room;
		assert_int_equal(tn_fd_send(sv[0], "x", 1, fds, 3), 1);
		assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), got, &n), TN_EPROTO);
		assert_int_equal(n, 0);
		assert_int_equal(open_fds(), before);
	}
	assert_int_equal(tn_fd_send(sv[0], "x", 1, fds, 3), 1);
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), NULL, NULL), TN_EPROTO);
	assert_int_equal(open_fds(), before);
	for (i = 0; i < 3; i++)
		tn_fd_close(&fds[i]);
	unpair(sv);
}

/* A peer that does not use our function can send up to 253. */
static void
a_flood_of_descriptors_is_closed_and_refused(void **state)
{
	enum { FLOOD = 40 };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FLOOD)];
	} c;
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c,
	    .msg_controllen = sizeof(c) };
	int sv[2], fds[FLOOD], got[TN_FD_PASS_MAX], n = TN_FD_PASS_MAX, before, i;
	struct cmsghdr *h;
	char text[8];

	(void)state;
	pair(SOCK_SEQPACKET, sv);
	memset(&c, 0, sizeof(c));
	for (i = 0; i < FLOOD; i++)
		fds[i] = sv[0];
	h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(h), fds, sizeof(fds));
	before = open_fds();
	assert_int_equal(sendmsg(sv[0], &m, 0), 1);
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), got, &n), TN_EPROTO);
	assert_int_equal(n, 0);
	assert_int_equal(open_fds(), before);
	unpair(sv);
}

static void
a_message_longer_than_the_buffer_is_refused(void **state)
{
	int sv[2], fd, got[1], n = 1, before;
	char text[4];

	(void)state;
	pair(SOCK_SEQPACKET, sv);
	fd = tn_fd_memfd("x", 0);
	before = open_fds();
	assert_int_equal(tn_fd_send(sv[0], "12345", 5, &fd, 1), 5);
	assert_int_equal(tn_fd_recv(sv[1], text, sizeof(text), got, &n), TN_EPROTO);
	assert_int_equal(n, 0);
	assert_int_equal(open_fds(), before);
	tn_fd_close(&fd);
	unpair(sv);
}

static void
the_ends_of_a_conversation(void **state)
{
	int sv[2], n = 0;
	char text[4096] = { 0 };
	ssize_t rc;

	(void)state;
	pair(SOCK_STREAM, sv);
	assert_int_equal(tn_fd_nonblock(sv[0]), TN_OK);
	assert_int_equal(tn_fd_recv(sv[0], text, sizeof(text), NULL, &n), TN_EAGAIN);
	while ((rc = tn_fd_send(sv[0], text, sizeof(text), NULL, 0)) > 0)
		;
	assert_int_equal(rc, TN_EAGAIN);
	tn_fd_close(&sv[1]);
	/* No SIGPIPE either. */
	assert_int_equal(tn_fd_send(sv[0], text, 1, NULL, 0), TN_ECLOSED);
	tn_fd_close(&sv[0]);

	pair(SOCK_SEQPACKET, sv);
	tn_fd_close(&sv[1]);
	assert_int_equal(tn_fd_recv(sv[0], text, sizeof(text), NULL, &n), TN_ECLOSED);
	tn_fd_close(&sv[0]);
	assert_int_equal(tn_fd_recv(-1, text, sizeof(text), NULL, &n), TN_ESYS);
	assert_int_equal(tn_fd_send(-1, text, 1, NULL, 0), TN_ESYS);
}

static void
nonsense_is_refused_before_the_kernel_sees_it(void **state)
{
	int fds[TN_FD_PASS_MAX + 1] = { 0 }, sv[2];

	(void)state;
	pair(SOCK_SEQPACKET, sv);
	/* An empty packet would look like the end. */
	assert_int_equal(tn_fd_send(sv[0], "", 0, NULL, 0), TN_EINVAL);
	assert_int_equal(tn_fd_send(sv[0], "x", 1, fds, TN_FD_PASS_MAX + 1), TN_EINVAL);
	assert_int_equal(tn_fd_send(sv[0], "x", 1, fds, -1), TN_EINVAL);
	unpair(sv);
}

static void
flags_are_set_and_cleared(void **state)
{
	int fd = tn_fd_memfd("x", 0);

	(void)state;
	assert_int_equal(tn_fd_cloexec(fd, 0), TN_OK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	assert_int_equal(tn_fd_cloexec(fd, 1), TN_OK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	tn_fd_close(&fd);
	assert_int_equal(tn_fd_cloexec(-1, 1), TN_ESYS);
	assert_int_equal(tn_fd_nonblock(-1), TN_ESYS);
}

static void
close_forgets_the_number_and_keeps_errno(void **state)
{
	int fd = tn_fd_memfd("x", 0), old = fd;

	(void)state;
	errno = EXDEV;
	tn_fd_close(&fd);
	assert_int_equal(fd, -1);
	tn_fd_close(&fd);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(fcntl(old, F_GETFD), -1);
}

static void
memfd_has_its_size_name_and_can_be_sealed(void **state)
{
	char link[64], path[64] = { 0 };
	struct stat st;
	int fd = tn_fd_memfd("tana-test", 123456);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 123456);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_true(readlink(link, path, sizeof(path) - 1) > 0);
	assert_non_null(strstr(path, "memfd:tana-test"));
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
	assert_int_equal(write(fd, "x", 1), -1);
	tn_fd_close(&fd);
}

static void
pidfd_tells_the_pid_until_it_is_reaped(void **state)
{
	int pidfd, hold[2];
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		close(hold[1]);
		_exit(read(hold[0], &c, 1) == 0 ? 0 : 1);
	}
	close(hold[0]);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(pidfd >= 0);
	assert_int_equal(tn_fd_pidfd_pid(pidfd), pid);
	close(hold[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(tn_fd_pidfd_pid(pidfd), -1);
	close(pidfd);
	assert_int_equal(tn_fd_pidfd_pid(-1), -1);
	/* Any other descriptor has no pid. */
	assert_int_equal(tn_fd_pidfd_pid(0), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_and_descriptors_arrive_together),
		cmocka_unit_test(without_descriptors_it_is_plain_bytes),
		cmocka_unit_test(on_a_stream_descriptors_stay_with_their_bytes),
		cmocka_unit_test(more_descriptors_than_room_are_closed_and_refused),
		cmocka_unit_test(a_flood_of_descriptors_is_closed_and_refused),
		cmocka_unit_test(a_message_longer_than_the_buffer_is_refused),
		cmocka_unit_test(the_ends_of_a_conversation),
		cmocka_unit_test(nonsense_is_refused_before_the_kernel_sees_it),
		cmocka_unit_test(flags_are_set_and_cleared),
		cmocka_unit_test(close_forgets_the_number_and_keeps_errno),
		cmocka_unit_test(memfd_has_its_size_name_and_can_be_sealed),
		cmocka_unit_test(pidfd_tells_the_pid_until_it_is_reaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
