#include "config.h"

#include "wk_alloc.h"

#include <string.h>

/*
 * A block is its header and its bytes; a free block uses its bytes for the links
 * of its list and, in the last word, for its own address, so that the block
 * behind finds it.
 */
struct wk_block {
	size_t		 size;		/* of the bytes; multiple of 8; flags below */
	struct wk_block	*next;		/* from here on: free blocks only */
	struct wk_block	*prev;
};

#define BLOCK_FREE	1u		/* this block is free */
#define BLOCK_PREV_FREE	2u		/* the block before it is */
#define BLOCK_FLAGS	7u
#define BLOCK_HEADER	sizeof(size_t)
#define BLOCK_MIN	(3 * sizeof(void *))
#define SMALL_MAX	((size_t)1 << WK_ALLOC_FL_SHIFT)
/* The top moves by whole pages' worth, so that its sentinel does not move at each call. */
#define TOP_STEP	4096u

static size_t
block_size(const struct wk_block *b)
{
	return b->size & ~(size_t)BLOCK_FLAGS;
}

static char *
block_bytes(struct wk_block *b)
{
	return (char *)b + BLOCK_HEADER;
}

static struct wk_block *
block_of(void *p)
{
	return (struct wk_block *)((char *)p - BLOCK_HEADER);
}

static struct wk_block *
block_after(struct wk_block *b)
{
	return (struct wk_block *)(block_bytes(b) + block_size(b));
}

static struct wk_block *
block_before(struct wk_block *b)
{
	struct wk_block *before;

	memcpy(&before, (char *)b - sizeof(before), sizeof(before));
	return before;
}

static unsigned
log2_of(size_t v)
{
	return 63u - (unsigned)__builtin_clzl(v);
}

/* The list that a free block of this size belongs to. */
static void
size_class(size_t size, unsigned *fl, unsigned *sl)
{
	if (size < SMALL_MAX) {
		*fl = 0;
		*sl = (unsigned)(size / WK_ALLOC_ALIGN);
	} else {
		unsigned log = log2_of(size);

		*sl = (unsigned)(size >> (log - WK_ALLOC_SL_LOG2)) ^ WK_ALLOC_SL_COUNT;
		*fl = log - WK_ALLOC_FL_SHIFT + 1;
	}
}

static void
list_insert(struct wk_alloc *a, struct wk_block *b)
{
	unsigned fl, sl;
	struct wk_block *first, *after = block_after(b);

	size_class(block_size(b), &fl, &sl);
	first = a->list[fl][sl];
	b->next = first;
	b->prev = NULL;
	if (first != NULL)
		first->prev = b;
	a->list[fl][sl] = b;
	a->fl_map |= 1u << fl;
	a->sl_map[fl] |= 1u << sl;

	b->size |= BLOCK_FREE;
	after->size |= BLOCK_PREV_FREE;
	memcpy((char *)after - sizeof(b), &b, sizeof(b));
}

static void
list_remove(struct wk_alloc *a, struct wk_block *b)
{
	unsigned fl, sl;

	size_class(block_size(b), &fl, &sl);
	if (b->next != NULL)
		b->next->prev = b->prev;
	if (b->prev != NULL) {
		b->prev->next = b->next;
	} else if (a->list[fl][sl] == b) {
		/* (A block that was free when the nursery began is in no list.) */
		a->list[fl][sl] = b->next;
		if (b->next == NULL) {
			a->sl_map[fl] &= ~(1u << sl);
			if (a->sl_map[fl] == 0)
				a->fl_map &= ~(1u << fl);
		}
	}
	b->size &= ~(size_t)BLOCK_FREE;
	block_after(b)->size &= ~(size_t)BLOCK_PREV_FREE;
}

/* A free block of at least this size, or NULL; stays in its list. */
static struct wk_block *
list_find(const struct wk_alloc *a, size_t size)
{
	unsigned fl, sl;
	uint32_t map;

	/* Round up to the next list, all of whose blocks are large enough. */
	if (size >= SMALL_MAX)
		size += ((size_t)1 << (log2_of(size) - WK_ALLOC_SL_LOG2)) - 1;
	size_class(size, &fl, &sl);
	if (fl >= WK_ALLOC_FL_COUNT)
		return NULL;
	map = a->sl_map[fl] & (~0u << sl);
	if (map == 0) {
		uint32_t fl_map = fl + 1 < 32 ? a->fl_map & (~0u << (fl + 1)) : 0;

		if (fl_map == 0)
			return NULL;
		fl = (unsigned)__builtin_ctz(fl_map);
		map = a->sl_map[fl];
	}
	return a->list[fl][(unsigned)__builtin_ctz(map)];
}

/* Give back what block b, not free, has beyond `size`. */
static void
block_trim(struct wk_alloc *a, struct wk_block *b, size_t size)
{
	size_t have = block_size(b);
	struct wk_block *rest, *after;

	if (have < size + BLOCK_HEADER + BLOCK_MIN)
		return;
	b->size = size | (b->size & BLOCK_FLAGS);
	rest = block_after(b);
	rest->size = have - size - BLOCK_HEADER;
	after = block_after(rest);
	if (after->size & BLOCK_FREE) {
		list_remove(a, after);
		rest->size += BLOCK_HEADER + block_size(after);
	}
	list_insert(a, rest);
}

/*
 * Move the top so that the block before it is free and holds `size` bytes; NULL
 * if there is no room.  The block is in its list.
 */
static struct wk_block *
top_grow(struct wk_alloc *a, size_t size)
{
	struct wk_block *sentinel = (struct wk_block *)a->top, *b = sentinel;
	size_t have = 0, more, room;

	if (sentinel->size & BLOCK_PREV_FREE) {
		b = block_before(sentinel);
		have = BLOCK_HEADER + block_size(b);
		if (have >= size + BLOCK_HEADER)	/* list_find() rounds up and missed it */
			return b;
	}
	/* `have` counts the header that a new block has anyway. */
	more = size + BLOCK_HEADER - have;
	more = (more + TOP_STEP - 1) & ~(size_t)(TOP_STEP - 1);
	room = (size_t)(a->end - a->top) - 2 * BLOCK_HEADER;
	if (more > room) {
		more = room & ~(size_t)(WK_ALLOC_ALIGN - 1);
		if (have + more < size + BLOCK_HEADER)
			return NULL;
	}
	if (b != sentinel)
		list_remove(a, b);
	b->size = have + more - BLOCK_HEADER;	/* the block before b is not free */
	a->top += more;
	sentinel = (struct wk_block *)a->top;
	sentinel->size = 0;
	list_insert(a, b);
	return b;
}

void
wk_alloc_init(struct wk_alloc *a, void *memory, size_t bytes)
{
	memset(a, 0, sizeof(*a));
	a->base = memory;
	a->top = memory;
	a->end = (char *)memory + (bytes & ~(size_t)(WK_ALLOC_ALIGN - 1));
	((struct wk_block *)a->top)->size = 0;
}

static void *
refuse(struct wk_alloc *a, size_t size)
{
	if (a->refused_size != size) {
		a->refused_size = size;
		a->refused_tries = 0;
	}
	if (++a->refused_tries >= WK_ALLOC_TRIES)
		a->refused = 1;
	return NULL;
}

static void
granted(struct wk_alloc *a, size_t size)
{
	if (__builtin_expect(a->refused_tries != 0, 0) && a->refused_size == size)
		a->refused_tries = 0;
}

static size_t
round_size(const struct wk_alloc *a, size_t bytes)
{
	if (bytes > (size_t)(a->end - a->base))
		return 0;
	bytes = (bytes + WK_ALLOC_ALIGN - 1) & ~(size_t)(WK_ALLOC_ALIGN - 1);
	return bytes < BLOCK_MIN ? BLOCK_MIN : bytes;
}

void *
wk_alloc_get(struct wk_alloc *a, size_t bytes)
{
	size_t size;
	struct wk_block *b;

	if (bytes == 0)
		return NULL;
	size = round_size(a, bytes);
	if (size == 0)
		return refuse(a, bytes);
	b = list_find(a, size);
	if (b == NULL)
		b = top_grow(a, size);
	if (b == NULL)
		return refuse(a, size);
	granted(a, size);
	list_remove(a, b);
	block_trim(a, b, size);
	a->used += BLOCK_HEADER + block_size(b);
	a->blocks++;
	return block_bytes(b);
}

void
wk_alloc_put(struct wk_alloc *a, void *p)
{
	struct wk_block *b, *near;

	if (p == NULL)
		return;
	b = block_of(p);
	a->used -= BLOCK_HEADER + block_size(b);
	a->blocks--;
	if (b->size & BLOCK_PREV_FREE) {
		near = block_before(b);
		list_remove(a, near);
		near->size += BLOCK_HEADER + block_size(b);
		b = near;
	}
	near = block_after(b);
	if (near->size & BLOCK_FREE) {
		list_remove(a, near);
		b->size += BLOCK_HEADER + block_size(near);
	}
	list_insert(a, b);
}

void *
wk_alloc_resize(struct wk_alloc *a, void *p, size_t bytes)
{
	struct wk_block *b, *after;
	size_t size, have, before;
	void *q;

	if (p == NULL)
		return wk_alloc_get(a, bytes);
	if (bytes == 0) {
		wk_alloc_put(a, p);
		return NULL;
	}
	size = round_size(a, bytes);
	if (size == 0)
		return refuse(a, bytes);
	b = block_of(p);
	have = before = block_size(b);
	after = block_after(b);
	if (have < size) {
		/* The last block grows into the unused memory; top_grow() makes it a neighbour. */
		const char *last = (char *)(after->size & BLOCK_FREE ? block_after(after) : after);
		size_t more = size - have;

		if (last == a->top)
			(void)top_grow(a, more > BLOCK_HEADER + BLOCK_MIN ? more - BLOCK_HEADER : BLOCK_MIN);
		after = block_after(b);
	}
	if (have < size && (after->size & BLOCK_FREE) &&
	    have + BLOCK_HEADER + block_size(after) >= size) {
		list_remove(a, after);
		b->size += BLOCK_HEADER + block_size(after);
		have = block_size(b);
	}
	if (have >= size) {
		granted(a, size);
		block_trim(a, b, size);
		a->used += block_size(b) - before;
		return p;
	}
	q = wk_alloc_get(a, bytes);
	if (q == NULL)
		return NULL;
	memcpy(q, p, before);
	wk_alloc_put(a, p);
	return q;
}

size_t
wk_alloc_size(const void *p)
{
	return block_size((const struct wk_block *)((const char *)p - BLOCK_HEADER));
}

void
wk_alloc_nursery(struct wk_alloc *a)
{
	struct wk_block *sentinel = (struct wk_block *)a->top, *b;

	/*
	 * Blocks that are free now keep their flag, so that neighbours still merge
	 * with them: make each a list of its own, or list_remove() would follow
	 * links into lists that are no more.
	 */
	for (unsigned fl = 0; fl < WK_ALLOC_FL_COUNT; fl++) {
		for (unsigned sl = 0; sl < WK_ALLOC_SL_COUNT; sl++) {
			struct wk_block *next;

			for (b = a->list[fl][sl]; b != NULL; b = next) {
				next = b->next;
				b->next = b->prev = NULL;
			}
		}
	}
	memset(a->sl_map, 0, sizeof(a->sl_map));
	memset(a->list, 0, sizeof(a->list));
	a->fl_map = 0;
	/* The one at the end is nursery already. */
	if (sentinel->size & BLOCK_PREV_FREE) {
		b = block_before(sentinel);
		list_insert(a, b);
	}
}

void
wk_alloc_scrub(struct wk_alloc *a, char *from)
{
	struct wk_block *b = (struct wk_block *)a->base;

	for (; (char *)b < a->top; b = block_after(b)) {
		char *start = (char *)(b + 1), *end = (char *)block_after(b) - sizeof(b);

		if (start < from)
			start = from;
		if ((b->size & BLOCK_FREE) != 0 && start < end)
			memset(start, 0, (size_t)(end - start));
	}
}

bool
wk_alloc_refused(struct wk_alloc *a)
{
	bool refused = a->refused != 0;

	a->refused = 0;
	a->refused_tries = 0;
	return refused;
}

const char *
wk_alloc_check(const struct wk_alloc *a)
{
	struct wk_block *b = (struct wk_block *)a->base;
	size_t used = 0, blocks = 0, free_blocks = 0, listed = 0;
	bool before_free = false;

	for (; (char *)b < a->top; b = block_after(b)) {
		if (block_size(b) < BLOCK_MIN || block_size(b) % WK_ALLOC_ALIGN != 0)
			return "size of a block";
		if (before_free != !!(b->size & BLOCK_PREV_FREE))
			return "flag of the block before";
		if (b->size & BLOCK_FREE) {
			if (before_free)
				return "free neighbours not merged";
			if (block_before(block_after(b)) != b)
				return "address at the end of a free block";
			free_blocks++;
		} else {
			used += BLOCK_HEADER + block_size(b);
			blocks++;
		}
		before_free = (b->size & BLOCK_FREE) != 0;
	}
	if ((char *)b != a->top || block_size(b) != 0 || (b->size & BLOCK_FREE))
		return "sentinel";
	if (before_free != !!(b->size & BLOCK_PREV_FREE))
		return "flag of the last block";
	if (used != a->used || blocks != a->blocks)
		return "count of used bytes or blocks";
	for (unsigned fl = 0; fl < WK_ALLOC_FL_COUNT; fl++) {
		for (unsigned sl = 0; sl < WK_ALLOC_SL_COUNT; sl++) {
			struct wk_block *prev = NULL;

			if ((a->list[fl][sl] != NULL) != !!(a->sl_map[fl] & 1u << sl))
				return "map of the lists";
			for (b = a->list[fl][sl]; b != NULL; prev = b, b = b->next) {
				unsigned want_fl, want_sl;

				size_class(block_size(b), &want_fl, &want_sl);
				if (want_fl != fl || want_sl != sl)
					return "block in the wrong list";
				if (!(b->size & BLOCK_FREE) || b->prev != prev)
					return "links of a list";
				listed++;
			}
		}
		if ((a->sl_map[fl] != 0) != !!(a->fl_map & 1u << fl))
			return "map of the maps";
	}
	return listed > free_blocks ? "more blocks listed than free" : NULL;
}
