/*
 * wk_alloc.h - the allocator inside the arena.
 *
 * Two-level segregated fit (M. Masmano, I. Ripoll, A. Crespo, J. Real: "TLSF: a
 * new dynamic memory allocator for real-time systems", ECRTS 2004): constant
 * time, immediate coalescing.  All its state is in struct wk_alloc, which lives
 * in the arena with the blocks, so that putting the arena's bytes back puts the
 * allocator back.
 *
 * Memory above `top` has never been handed out; the allocator takes from it
 * only when no free block fits, so that an image's used bytes are [base, top).
 */
#ifndef WK_ALLOC_H
#define WK_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WK_ALLOC_ALIGN		8u
#define WK_ALLOC_SL_LOG2	5
#define WK_ALLOC_SL_COUNT	(1u << WK_ALLOC_SL_LOG2)
#define WK_ALLOC_FL_SHIFT	(WK_ALLOC_SL_LOG2 + 3)
#define WK_ALLOC_FL_COUNT	25u	/* blocks up to 4 GiB */

/*
 * A request that fails this often in a row has been refused for good: Duktape
 * tries once, then collects garbage and tries again ten times.
 */
#define WK_ALLOC_TRIES		11u

struct wk_block;

struct wk_alloc {
	char		*base;		/* first block */
	char		*top;		/* the sentinel, a used block of no bytes */
	char		*end;		/* end of what may be used */
	size_t		 used;		/* bytes in blocks handed out, headers included */
	size_t		 blocks;	/* blocks handed out */
	size_t		 refused_size;
	uint32_t	 refused_tries;
	uint32_t	 refused;	/* 1: memory was refused for good */
	uint32_t	 fl_map;
	uint32_t	 sl_map[WK_ALLOC_FL_COUNT];
	struct wk_block	*list[WK_ALLOC_FL_COUNT][WK_ALLOC_SL_COUNT];
};

/* Use [memory, memory + bytes), which must be 8-aligned and under 4 GiB. */
void wk_alloc_init(struct wk_alloc *a, void *memory, size_t bytes);

/* NULL when there is no room (or for 0 bytes).  Result is 8-aligned. */
void *wk_alloc_get(struct wk_alloc *a, size_t bytes);
void *wk_alloc_resize(struct wk_alloc *a, void *p, size_t bytes);
void wk_alloc_put(struct wk_alloc *a, void *p);

/* Bytes that a block can hold. */
size_t wk_alloc_size(const void *p);

/*
 * From here on serve from above top only: what is free below stays unused until
 * the arena is put back, so that a request writes to few of the image's pages.
 */
void wk_alloc_nursery(struct wk_alloc *a);

/* Zero what is free from `from` on, so that an image need not hold what was freed. */
void wk_alloc_scrub(struct wk_alloc *a, char *from);

/* Was memory refused for good since the last call? */
bool wk_alloc_refused(struct wk_alloc *a);

/* Address after the last byte that was ever used. */
static inline const char *
wk_alloc_high_water(const struct wk_alloc *a)
{
	return a->top + 2 * sizeof(size_t);
}

/* Walk everything; NULL, or what is inconsistent (for tests and audits). */
const char *wk_alloc_check(const struct wk_alloc *a);

#endif
