/*
 * The page that front and worker share: whoever takes a frame's slot first has it.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>

#include <cmocka.h>

#include "tn_slots.h"

#define ROUNDS	2000u

static struct tn_slots slots;
static pthread_barrier_t gate;

static void
the_page_holds_all_slots(void **state)
{
	(void)state;
	assert_true(sizeof(struct tn_slots) <= TN_SLOTS_BYTES);
	/* Between processes, so no lock behind it that only one of them has. */
	assert_true(atomic_is_lock_free(&slots.timeout_id));
	assert_true(atomic_is_lock_free(&slots.frame[0]));
	assert_true(atomic_is_lock_free(&slots.restored[0]));
	/* These numbers stand in tests/e2e too. */
	assert_int_equal(offsetof(struct tn_slots, frame), 8);
	assert_int_equal(offsetof(struct tn_slots, restores), 192);
	assert_int_equal(offsetof(struct tn_slots, restored), 200);
	assert_true(TN_RESTORES_KEPT > TN_DEPTH_MAX);
}

static void
a_word_keeps_request_and_state_apart(void **state)
{
	uint64_t id = (UINT64_C(1) << 62) - 1;

	(void)state;
	assert_true(tn_slot_word(id, TN_SLOT_REVOKED) >> 2 == id);
	assert_true((tn_slot_word(id, TN_SLOT_REVOKED) & 3) == TN_SLOT_REVOKED);
	assert_true(tn_slot_word(0, TN_SLOT_FREE) == 0);
}

static void
a_slot_moves_only_from_where_it_is(void **state)
{
	(void)state;
	atomic_store(&slots.frame[3], tn_slot_word(7, TN_SLOT_QUEUED));
	assert_false(tn_slot_move(&slots, 3, 7, TN_SLOT_RUNNING, TN_SLOT_FREE));
	assert_true(tn_slot_move(&slots, 3, 7, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
	assert_false(tn_slot_move(&slots, 3, 7, TN_SLOT_QUEUED, TN_SLOT_REVOKED));
	assert_true(atomic_load(&slots.frame[3]) == tn_slot_word(7, TN_SLOT_RUNNING));
}

static void
a_slot_of_another_request_does_not_move(void **state)
{
	(void)state;
	atomic_store(&slots.frame[0], tn_slot_word(8, TN_SLOT_QUEUED));
	assert_false(tn_slot_move(&slots, 0, 7, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
	assert_false(tn_slot_move(&slots, 1, 8, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
}

/* The number comes in a frame: it must not lead out of the page. */
static void
any_slot_number_stays_in_the_page(void **state)
{
	(void)state;
	atomic_store(&slots.frame[15], tn_slot_word(9, TN_SLOT_QUEUED));
	assert_true(tn_slot_move(&slots, UINT32_MAX, 9, TN_SLOT_QUEUED, TN_SLOT_RUNNING));
	assert_true(atomic_load(&slots.frame[15]) == tn_slot_word(9, TN_SLOT_RUNNING));
}

static void
restores_are_read_once_and_in_order(void **state)
{
	static struct tn_slots s;
	uint32_t words[TN_RESTORES_KEPT];
	uint64_t seen = 0;
	unsigned i, round;

	(void)state;
	assert_int_equal(tn_slots_restores(&s, &seen, words), 0);
	/* As many as can be on their way, so often that they go round the ring. */
	for (round = 0; round < 10; round++) {
		for (i = 0; i <= TN_DEPTH_MAX; i++)
			tn_slots_restored(&s, 100 * round + i, i % 2 != 0);
		assert_int_equal(tn_slots_restores(&s, &seen, words), TN_DEPTH_MAX + 1);
		for (i = 0; i <= TN_DEPTH_MAX; i++) {
			assert_int_equal(words[i] >> 1, 100 * round + i);
			assert_int_equal(words[i] & 1, i % 2);
		}
		assert_int_equal(tn_slots_restores(&s, &seen, words), 0);
	}
	tn_slots_restored(&s, UINT64_MAX, false);
	assert_int_equal(tn_slots_restores(&s, &seen, words), 1);
	assert_int_equal(words[0], (uint32_t)INT32_MAX << 1);
}

/* A worker writes what it likes: forwards, backwards, or so that it wraps round. */
static void
no_count_of_restores_leads_beyond_the_ring(void **state)
{
	static const uint64_t counts[] = { TN_RESTORES_KEPT + 1, UINT64_MAX, 3, 0, 1ull << 63 };
	static struct tn_slots s;
	uint32_t words[TN_RESTORES_KEPT + 1];
	uint64_t seen = 0;
	unsigned i;

	(void)state;
	words[TN_RESTORES_KEPT] = 12345;
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		atomic_store(&s.restores, counts[i]);
		assert_true(tn_slots_restores(&s, &seen, words) <= TN_RESTORES_KEPT);
		assert_int_equal(words[TN_RESTORES_KEPT], 12345);
		assert_int_equal(tn_slots_restores(&s, &seen, words), 0);
	}
}

static void *
worker(void *won)
{
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&gate);
		*(unsigned *)won += tn_slot_move(&slots, i, i, TN_SLOT_QUEUED, TN_SLOT_RUNNING);
		pthread_barrier_wait(&gate);
	}
	return NULL;
}

/* A request is either run by the worker or taken back by the front, never both. */
static void
one_of_worker_and_front_wins(void **state)
{
	unsigned i, mine = 0, theirs = 0;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_barrier_init(&gate, NULL, 2), 0);
	assert_int_equal(pthread_create(&t, NULL, worker, &theirs), 0);
	for (i = 0; i < ROUNDS; i++) {
		atomic_store(&slots.frame[i % TN_DEPTH_MAX], tn_slot_word(i, TN_SLOT_QUEUED));
		pthread_barrier_wait(&gate);
		mine += tn_slot_move(&slots, i, i, TN_SLOT_QUEUED, TN_SLOT_REVOKED);
		pthread_barrier_wait(&gate);
	}
	pthread_join(t, NULL);
	pthread_barrier_destroy(&gate);
	assert_int_equal(mine + theirs, ROUNDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_page_holds_all_slots),
		cmocka_unit_test(a_word_keeps_request_and_state_apart),
		cmocka_unit_test(a_slot_moves_only_from_where_it_is),
		cmocka_unit_test(a_slot_of_another_request_does_not_move),
		cmocka_unit_test(any_slot_number_stays_in_the_page),
		cmocka_unit_test(one_of_worker_and_front_wins),
		cmocka_unit_test(restores_are_read_once_and_in_order),
		cmocka_unit_test(no_count_of_restores_leads_beyond_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
