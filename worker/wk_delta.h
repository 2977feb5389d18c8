/*
 * wk_delta.h - an image: what a contract's heap has other than the base heap.
 *
 * A blob of bytes, for processes forked from one zygote only: a header, then for
 * each page that differs, in ascending order, an entry and those of the page's 64
 * lines (of 64 bytes) that differ.  A page behind the base's used ones is taken to
 * be zeros in the base.
 *
 * Whoever built it ran a contract, hence a blob is hostile until wk_delta_check()
 * has accepted it.  (What the bytes mean to Duktape nobody can check: a contract
 * may spoil its own heap, as ever.)
 */
#ifndef WK_DELTA_H
#define WK_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "tn_str.h"
#include "wk_arena.h"

#define WK_DELTA_MAGIC		0x746c6564u
#define WK_DELTA_VERSION	1u
#define WK_DELTA_LINE		64u

struct wk_delta {
	uint32_t	magic;
	uint32_t	version;
	uint64_t	generation;
	uint64_t	arena;		/* bytes */
	uint32_t	pages;		/* of the arena that the image uses */
	uint32_t	entries;
};

struct wk_delta_entry {
	uint32_t	page;
	uint32_t	pad;		/* 0 */
	uint64_t	mask;		/* a bit a line, not 0; the lines follow */
};

/* Append what the arena has other than the base.  0; TN_ELIMIT: `out` has no room. */
int wk_delta_encode(struct tn_buf *out, uint64_t generation);

/* May these bytes be used as a blob in this process?  0 or TN_EPROTO; need not be aligned. */
int wk_delta_check(const char *bytes, size_t len, uint64_t generation);

/* Bytes from an entry to the next one. */
static inline size_t
wk_delta_stride(const struct wk_delta_entry *e)
{
	return sizeof(*e) + (size_t)__builtin_popcountll(e->mask) * WK_DELTA_LINE;
}

/* Walk a blob that was accepted, and is 8-aligned: `d->entries` times. */
static inline const struct wk_delta_entry *
wk_delta_first(const struct wk_delta *d)
{
	return (const struct wk_delta_entry *)(d + 1);
}

static inline const struct wk_delta_entry *
wk_delta_next(const struct wk_delta_entry *e)
{
	return (const struct wk_delta_entry *)((const char *)e + wk_delta_stride(e));
}

/* From the base's page to the image's. */
void wk_delta_apply(const struct wk_delta_entry *e, char *page);

#endif
