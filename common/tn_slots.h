/*
 * tn_slots.h - the page that a worker shares with the front, and nobody else.
 *
 * One slot a frame says whether the worker has started it.  The front puts
 * (id, QUEUED); the worker takes it by compare-and-swap to (id, RUNNING) before
 * it runs a byte of the contract; the front may take it back by
 * compare-and-swap to (id, REVOKED), and then the worker skips the frame.
 *
 * Behind them a ring of what the worker did after its latest answers: how long it
 * took to put the heap back, and whether it was compared with its image.  A frame
 * for that would cost more than the restore itself.  The front looks when an answer
 * comes, and so often enough to miss none: TN_DEPTH_MAX answers at most are on their
 * way, and a restore more.
 *
 * What the worker writes is hostile: the front reads each word once and
 * believes it only about this worker's own frames and restores.
 */
#ifndef TN_SLOTS_H
#define TN_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TN_DEPTH_MAX	16u		/* frames outstanding per worker, at most */
#define TN_RESTORES_KEPT 32u		/* a power of two, more than TN_DEPTH_MAX */
#define TN_SLOTS_BYTES	4096u

enum tn_slot_state { TN_SLOT_FREE, TN_SLOT_QUEUED, TN_SLOT_RUNNING, TN_SLOT_REVOKED };

struct tn_slots {
	/* Request that the next SIGALRM is meant for; the handler compares. */
	_Atomic uint64_t	timeout_id;
	_Atomic uint64_t	frame[TN_DEPTH_MAX];	/* id << 2 | state */
	/* For so many us the worker may watch before it sleeps, until more than it has had was sent. */
	_Atomic uint32_t	spin_us;
	_Atomic uint64_t	sent;			/* bytes, ever */
	/* A cache line that the front does not write to; how many there were, and the last. */
	_Alignas(64) _Atomic uint64_t restores;
	_Atomic uint32_t	restored[TN_RESTORES_KEPT];	/* us << 1 | audited */
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

/* The worker has put its heap back. */
static inline void
tn_slots_restored(struct tn_slots *s, uint64_t us, bool audited)
{
	uint64_t n = atomic_load_explicit(&s->restores, memory_order_relaxed);
	uint32_t word = us < INT32_MAX ? (uint32_t)us : INT32_MAX;

	atomic_store_explicit(&s->restored[n % TN_RESTORES_KEPT], word << 1 | audited,
	    memory_order_relaxed);
	atomic_store_explicit(&s->restores, n + 1, memory_order_release);
}

/*
 * The words of the restores since *seen, oldest first, into `words`; how many.  If
 * that cannot be, the last ones: whatever the page says, no more than these.
 */
static inline unsigned
tn_slots_restores(struct tn_slots *s, uint64_t *seen, uint32_t words[static TN_RESTORES_KEPT])
{
	uint64_t now = atomic_load_explicit(&s->restores, memory_order_acquire);
	uint64_t n = now - *seen;

	if (n > TN_RESTORES_KEPT)
		n = TN_RESTORES_KEPT;
	for (unsigned i = 0; i < n; i++)
		words[i] = atomic_load_explicit(&s->restored[(now - n + i) % TN_RESTORES_KEPT],
		    memory_order_relaxed);
	*seen = now;
	return (unsigned)n;
}

#endif
