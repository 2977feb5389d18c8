/*
 * wk_restore.h - after a request, make the arena equal to its image again.
 *
 * Exact, whatever the request did, and cheap for what requests usually do.  A
 * page that was written is likely to be written again, so it stays the process's
 * own and is copied back from a second mapping of the image: the hot set.  Any
 * other page that was written must have faulted: if the process's fault counter
 * has not moved since the last restore, there is none.  Otherwise the kernel is
 * asked which pages of the arena are anonymous, that is, no longer the image's
 * (wk_pagemap.h); those are put back too and join the hot set.  When there are
 * too many, all private pages are dropped.
 *
 * Pages that are no longer written would be copied for ever: now and then the
 * hot set is forgotten, and what the next request writes is learned anew.
 */
#ifndef WK_RESTORE_H
#define WK_RESTORE_H

#include <stddef.h>
#include <stdint.h>

/* Where the image is mapped a second time, to be read only. */
#define WK_RESTORE_SHADOW	((char *)0x280000000000)

/* Pages that are kept, at most. */
#define WK_RESTORE_HOT_MAX	8192u

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
 * The image in the file was just mapped in the arena (wk_arena_map_private):
 * map it here too.  0 or TN_ESYS.
 */
int wk_restore_map(int fd);

/* Make the arena equal to the image that was mapped last.  0 or TN_ESYS. */
int wk_restore(void);

/*
 * Compare the arena with the image, without trust in what restore believes:
 * how many pages differ; *first is the first one's index.
 */
size_t wk_restore_audit(size_t *first);

/* For a test of the audit: the next restore leaves one page that was written as it is. */
void wk_restore_break(void);

const struct wk_restore_stats *wk_restore_stats(void);

#endif
