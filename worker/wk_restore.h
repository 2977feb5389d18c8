/*
 * wk_restore.h - after a request, make the arena equal to its image again; or equal
 * to another image.
 *
 * Exact, whatever the request did, and cheap for what requests usually do.  A
 * page that was written is likely to be written again, so it stays the process's
 * own and is made anew: the base's page copied from the shadow (wk_arena.h), the
 * image's lines (wk_delta.h) over it.  These pages are the hot set; an image's own
 * pages are always in it, since they were written.  Any other page that was written
 * must have faulted: if the process's fault counter has not moved since the last
 * restore, there is none.  Otherwise the kernel is asked which pages of the arena
 * are anonymous, that is, no longer the base's (wk_pagemap.h); those are put back
 * too and join the hot set.  When there are too many, all private pages are dropped
 * and the image's made anew.
 *
 * Pages that are no longer written would be copied for ever: now and then the
 * hot set is forgotten, and what the next request writes is learned anew.
 */
#ifndef WK_RESTORE_H
#define WK_RESTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages that are kept, at most. */
#define WK_RESTORE_HOT_MAX	8192u
/* An image with more own pages is made anew each time, after a drop. */
#define WK_RESTORE_OWN_MAX	(WK_RESTORE_HOT_MAX / 2)

struct wk_delta;

enum wk_restore_how {
	WK_RESTORE_DROP,	/* drop all private pages: each costs a fault in the next request */
	WK_RESTORE_PAGEMAP,	/* read /proc/self/pagemap (Linux before 6.7) */
	WK_RESTORE_SCAN		/* PAGEMAP_SCAN */
};
const char *wk_restore_name(enum wk_restore_how how);

struct wk_restore_stats {
	uint64_t	restores;
	uint64_t	scans;		/* restores that had to ask the kernel */
	uint64_t	drops;		/* restores that dropped all */
	uint64_t	copied;		/* pages */
	uint64_t	hot;		/* pages, now */
};

/*
 * The best way that works with this pagemap descriptor (-1: none), no better
 * than `best`; it is used from now on.  Once a process.
 */
enum wk_restore_how wk_restore_choose(int pagemap_fd, enum wk_restore_how best);

/*
 * From now on the image is this one (NULL: the base), which was checked and stays
 * where it is, unchanged, until the next call of this or of wk_restore_base(); and
 * the arena becomes equal to it.  clean: it was equal to the former one, nothing
 * ran since.  0 or TN_ESYS.
 */
int wk_restore_switch(const struct wk_delta *image, bool clean);

/*
 * Let go of the image, whose bytes may change afterwards; the arena is as it was,
 * and of no image until wk_restore_switch() (not clean).  0 or TN_ESYS.
 */
int wk_restore_leave(void);

/* Drop all private pages: the arena is the base, and so is the image. 0 or TN_ESYS. */
int wk_restore_base(void);

/* Make the arena equal to the image again.  0 or TN_ESYS. */
int wk_restore(void);

/*
 * For a zygote: what was written since wk_restore_base() will be written again by its
 * children.  The arena is the base again, without pages of the process's own.
 */
int wk_restore_learn(void);
/* In a child, after wk_restore_choose(): have those pages at once, not at the first request. */
void wk_restore_expect(void);

/*
 * Compare the arena with the image, without trust in what restore believes:
 * how many pages differ; *first is the first one's index.
 */
size_t wk_restore_audit(size_t *first);

/* For a test of the audit: the next restore leaves one page that was written as it is. */
void wk_restore_break(void);

const struct wk_restore_stats *wk_restore_stats(void);

#endif
