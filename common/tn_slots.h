/*
 * tn_slots.h - the page that a worker shares with the front, and nobody else.
 *
 * One slot a frame says whether the worker has started it.  The front puts
 * (id, QUEUED); the worker takes it by compare-and-swap to (id, RUNNING) before
 * it runs a byte of the contract; the front may take it back by
 * compare-and-swap to (id, REVOKED), and then the worker skips the frame.
 * What the worker writes is hostile: the front reads each word once and
 * believes it only about this worker's own frames.
 */
#ifndef TN_SLOTS_H
#define TN_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TN_DEPTH_MAX	16u		/* frames outstanding per worker, at most */
#define TN_SLOTS_BYTES	4096u

enum tn_slot_state { TN_SLOT_FREE, TN_SLOT_QUEUED, TN_SLOT_RUNNING, TN_SLOT_REVOKED };

struct tn_slots {
	/* Request that the next SIGALRM is meant for; the handler compares. */
	_Atomic uint64_t	timeout_id;
	_Atomic uint64_t	frame[TN_DEPTH_MAX];	/* id << 2 | state */
};

static inline uint64_t
tn_slot_word(uint64_t id, enum tn_slot_state st)
{
	return id << 2 | (uint64_t)st;
}

static inline bool
tn_slot_move(struct tn_slots *s, unsigned slot, uint64_t id,
    enum tn_slot_state from, enum tn_slot_state to)
{
	uint64_t want = tn_slot_word(id, from);

	return atomic_compare_exchange_strong(&s->frame[slot % TN_DEPTH_MAX],
	    &want, tn_slot_word(id, to));
}

#endif
