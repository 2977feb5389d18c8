/*
 * The worker's end of its socket: frames in pieces, frames that wait, descriptors.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_fd.h"
#include "wk_channel.h"
#include "wk_deadline.h"

#define QUEUE	((size_t)64 << 10)

static struct tn_slots slots;
static int front;

static int
setup(void **state)
{
	const struct timeval patience = { 60, 0 };
	int pair[2], mine;

	(void)state;
	memset(&slots, 0, sizeof(slots));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return -1;
	front = pair[0];
	mine = pair[1];
	/* Nothing here waits for ever. */
	if (setsockopt(mine, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
	    setsockopt(front, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0)
		return -1;
	wk_deadline_arm(0);
	if (wk_deadline_install(&slots) != 0)
		return -1;
	return wk_channel_open(mine, QUEUE);
}

static int
teardown(void **state)
{
	(void)state;
	wk_channel_close();
	tn_fd_close(&front);
	return 0;
}

static void
put(const struct tn_frame *f, const int *fds, int nfds)
{
	struct tn_buf b = { 0 };

	assert_int_equal(tn_frame_encode(&b, f), 0);
	assert_int_equal(tn_fd_send(front, b.p, b.len, fds, nfds), b.len);
	tn_buf_fini(&b);
}

static void
put_invoke(uint64_t id, size_t body, const int *fd)
{
	char *bytes = calloc(1, body + 1);
	struct tn_frame f = { .type = TN_FRAME_INVOKE };

	f.invoke.id = id;
	f.invoke.path = TN_STR("/");
	f.invoke.body = (struct tn_str){ bytes, body };
	put(&f, fd, fd != NULL ? 1 : 0);
	free(bytes);
}

static void
put_wake(uint64_t id)
{
	struct tn_frame f = { .type = TN_FRAME_WAKE };

	f.wake.id = id;
	put(&f, NULL, 0);
}

static void
put_operated(uint64_t id, uint64_t operation, struct tn_str payload)
{
	struct tn_frame f = { .type = TN_FRAME_OPERATED };

	f.operated.id = id;
	f.operated.operation = operation;
	f.operated.payload = payload;
	put(&f, NULL, 0);
}

/* For WAKE: its code; an answer would be one more than any code. */
static int
wait_for(uint64_t id)
{
	struct tn_frame f;
	int rc = wk_channel_wait(id, &f);

	return rc != 0 || f.type == TN_FRAME_WAKE ? rc : 1;
}

static void
assert_operated(uint64_t id, uint64_t operation, struct tn_str payload)
{
	struct tn_frame f;

	assert_int_equal(wk_channel_wait(id, &f), 0);
	assert_int_equal(f.type, TN_FRAME_OPERATED);
	assert_int_equal(f.operated.operation, operation);
	assert_true(tn_str_eq(f.operated.payload, payload));
}

static void
assert_invoke(uint64_t id)
{
	struct tn_frame f;

	assert_int_equal(wk_channel_next(&f), 0);
	assert_int_equal(f.type, TN_FRAME_INVOKE);
	assert_int_equal(f.invoke.id, id);
}

static void
test_frames_come_in_order_however_they_arrive(void **state)
{
	(void)state;
	for (uint64_t id = 1; id <= 40; id++)
		put_invoke(id, id * 37 % 3000, NULL);
	for (uint64_t id = 1; id <= 40; id++)
		assert_invoke(id);
}

/* The buffer is far shorter than all of this: its start must be used again. */
static void
test_the_buffer_does_not_fill_up(void **state)
{
	uint64_t sent = 0, seen = 0;

	(void)state;
	while (seen < 400) {
		while (sent < 400 && sent < seen + 3)
			put_invoke(++sent, 60000, NULL);
		assert_invoke(++seen);
	}
}

static void
test_what_a_frame_borrows_lives_until_the_next_call(void **state)
{
	struct tn_frame f;

	(void)state;
	put_invoke(1, 100, NULL);
	put_invoke(2, 100, NULL);
	assert_int_equal(wk_channel_next(&f), 0);
	assert_true(tn_str_is(f.invoke.path, "/"));
	assert_int_equal(f.invoke.body.len, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(f.invoke.body.p[i], 0);
}

static void
test_wake_passes_over_frames_that_keep_their_places(void **state)
{
	(void)state;
	put_invoke(1, 10, NULL);
	assert_invoke(1);
	put_invoke(2, 10, NULL);
	put_wake(77);			/* stale: goes */
	put_invoke(3, 5000, NULL);
	put_wake(1);
	put_invoke(4, 10, NULL);
	assert_int_equal(wait_for(1), 0);
	assert_invoke(2);
	assert_invoke(3);
	assert_invoke(4);
	put_wake(4);
	assert_int_equal(wait_for(4), 0);
}

static void
test_answers_and_wake_come_in_their_order(void **state)
{
	static char large[60000];

	(void)state;
	memset(large, 'x', sizeof(large));
	put_invoke(1, 10, NULL);
	assert_invoke(1);
	put_operated(1, 2, TN_STR("two"));
	put_invoke(2, 3000, NULL);
	put_operated(77, 1, TN_STR("of another request: goes"));
	put_operated(1, 1, TN_STR(""));
	put_wake(1);
	put_invoke(3, 10, NULL);
	assert_operated(1, 2, TN_STR("two"));
	assert_operated(1, 1, TN_STR(""));
	assert_int_equal(wait_for(1), 0);
	put_operated(1, 3, (struct tn_str){ large, 60000 });
	put_operated(1, 4, TN_STR("four"));
	assert_operated(1, 3, (struct tn_str){ large, 60000 });
	assert_invoke(2);
	/* What was behind the frames that waited has its turn, too. */
	assert_invoke(3);
	assert_operated(1, 4, TN_STR("four"));
	put_wake(3);
	assert_int_equal(wait_for(3), 0);
}

/* However long they are, and whatever waits before them. */
static void
test_answers_do_not_fill_the_buffer_up(void **state)
{
	static char large[60000];

	(void)state;
	put_invoke(1, 10, NULL);
	assert_invoke(1);
	put_invoke(2, 10, NULL);
	for (unsigned i = 1; i < 1000; i++) {
		memset(large, (int)i, sizeof(large));
		put_operated(1, i, (struct tn_str){ large, sizeof(large) });
		assert_operated(1, i, (struct tn_str){ large, sizeof(large) });
	}
	assert_invoke(2);
}

/* RETIRE is as short as WAKE. */
static void
test_wake_leaves_retire_for_later(void **state)
{
	struct tn_frame f = { .type = TN_FRAME_RETIRE };

	(void)state;
	put(&f, NULL, 0);
	put_wake(5);
	assert_int_equal(wait_for(5), 0);
	assert_int_equal(wk_channel_next(&f), 0);
	assert_int_equal(f.type, TN_FRAME_RETIRE);
}

static void
test_wake_ends_at_the_deadline(void **state)
{
	(void)state;
	wk_deadline_arm(8);
	atomic_store(&slots.timeout_id, 8);
	assert_int_equal(wait_for(8), TN_ETIMEOUT);
	/* Also when WAKE came in the same moment. */
	put_wake(8);
	assert_int_equal(wait_for(8), TN_ETIMEOUT);
}

static void
test_more_than_the_queue_holds_is_a_limit(void **state)
{
	(void)state;
	/* One whole frame always has room, and a queue of QUEUE bytes behind it. */
	for (uint64_t id = 0; id < (TN_FRAME_MAX + QUEUE) / 60000; id++) {
		put_invoke(id, 60000, NULL);
		if (id % 2 == 0)	/* as much as a socket takes without a reader */
			continue;
		put_wake(1000);
		assert_int_equal(wait_for(1000), 0);
	}
	put_invoke(999, 60000, NULL);
	assert_int_equal(wait_for(1001), TN_ELIMIT);
}

/* What anybody sends along is closed before this process could see it. */
static void
test_descriptors_are_not_received(void **state)
{
	int a = tn_fd_memfd("a", 1), fds[3] = { a, a, a }, next;

	(void)state;
	next = dup(a);
	(void)close(next);
	put_invoke(1, 10, NULL);
	put_invoke(2, 10, &a);
	for (uint64_t id = 3; id < 30; id++) {
		struct tn_frame f = { .type = TN_FRAME_INVOKE };

		f.invoke.id = id;
		put(&f, fds, 3);
	}
	for (uint64_t id = 1; id < 30; id++)
		assert_invoke(id);
	assert_int_equal(dup(a), next);		/* still the lowest that is free */
	(void)close(next);
	(void)close(a);
}

static void
test_the_end_of_the_front_is_told(void **state)
{
	struct tn_frame f;

	(void)state;
	put_invoke(1, 10, NULL);
	tn_fd_close(&front);
	assert_invoke(1);
	assert_int_equal(wk_channel_next(&f), TN_ECLOSED);
	assert_int_equal(wait_for(1), TN_ECLOSED);
	f = (struct tn_frame){ .type = TN_FRAME_READY };
	assert_int_equal(wk_channel_send(&f), TN_ECLOSED);	/* and no SIGPIPE */
}

static void
test_half_a_frame_is_no_frame(void **state)
{
	struct tn_frame f;

	(void)state;
	assert_int_equal(send(front, "\0\0\0\5\x92", 5, 0), 5);
	tn_fd_close(&front);
	assert_int_equal(wk_channel_next(&f), TN_ECLOSED);
}

static void
test_a_frame_too_long_is_told_and_not_half_sent(void **state)
{
	struct tn_frame f = { .type = TN_FRAME_REPLY }, got;
	size_t n = TN_FRAME_MAX;
	char *body = calloc(1, n), bytes[64];
	struct tn_frame_decoder *d = tn_frame_decoder_new(0);
	ssize_t len;
	size_t used;

	(void)state;
	f.reply.body = (struct tn_str){ body, n };
	assert_int_equal(wk_channel_send(&f), TN_ELIMIT);
	f.reply.body.len = 3;
	assert_int_equal(wk_channel_send(&f), 0);
	len = recv(front, bytes, sizeof(bytes), 0);
	assert_true(len > 0);
	assert_int_equal(tn_frame_decode(d, TN_DIR_TO_FRONT, bytes, (size_t)len, &got, &used), 0);
	assert_int_equal(used, len);
	assert_int_equal(got.reply.body.len, 3);
	tn_frame_decoder_free(&d);
	free(body);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_frames_come_in_order_however_they_arrive),
		T(test_the_buffer_does_not_fill_up),
		T(test_what_a_frame_borrows_lives_until_the_next_call),
		T(test_wake_passes_over_frames_that_keep_their_places),
		T(test_answers_and_wake_come_in_their_order),
		T(test_answers_do_not_fill_the_buffer_up),
		T(test_wake_leaves_retire_for_later),
		T(test_wake_ends_at_the_deadline),
		T(test_more_than_the_queue_holds_is_a_limit),
		T(test_descriptors_are_not_received),
		T(test_the_end_of_the_front_is_told),
		T(test_half_a_frame_is_no_frame),
		T(test_a_frame_too_long_is_told_and_not_half_sent),
	};

	return cmocka_run_group_tests_name("wk_channel", tests, NULL, NULL);
}
