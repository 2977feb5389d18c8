/*
 * wk_arena.h - the one region that holds a JavaScript heap, every byte of it.
 *
 * It stands at a fixed address, so that the zygote's heap, the base, can be a file
 * (memfd) of the arena's whole length, sparse behind the used part, whose bytes
 * are the arena's.  Mapped MAP_PRIVATE, what is written goes to pages of the
 * process's own, and dropping those is the base again.
 *
 * A heap holds pointers into the program's text, hence is good only for processes
 * forked from the zygote that made it.
 */
#ifndef WK_ARENA_H
#define WK_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "wk_alloc.h"
#include "wk_ready.h"

#define WK_ARENA_BASE		((char *)0x200000000000)
/* Where the base is mapped a second time, to be read only: what the bytes were. */
#define WK_ARENA_SHADOW		((char *)0x280000000000)
#define WK_ARENA_PAGE		((size_t)4096)
#define WK_ARENA_MAGIC		0x616e6174u
#define WK_ARENA_VERSION	2u
#define WK_ARENA_MAX		((size_t)1 << 30)

/* What stands at the arena's start. */
struct wk_arena_header {
	uint32_t		 magic;
	uint32_t		 version;
	uint64_t		 generation;
	uint64_t		 size;
	void			*ctx;		/* duk_context */
	void			*table;		/* what the runtime registered */
	struct wk_ready		 ready;		/* what the next request finds made */
	struct wk_alloc		 alloc;
};

#define WK_ARENA		((struct wk_arena_header *)WK_ARENA_BASE)

/*
 * Reserve the address range, twice `size` bytes (a multiple of the page), once a
 * process.  The second half stays unmapped for ever: what runs over the end faults.
 */
int wk_arena_reserve(size_t size);
size_t wk_arena_size(void);

/* Map `fd`, of wk_arena_size() bytes, shared: writes go to the file. */
int wk_arena_map_shared(int fd);
/*
 * Map the base: in the arena, where writes stay private, and as the shadow.  0 or
 * TN_ESYS.
 */
int wk_arena_map_base(int fd);
/* Memory without a file, for tests and tools. */
int wk_arena_map_anonymous(void);

/* Write header and allocator anew; the former content is forgotten. */
void wk_arena_format(uint64_t generation);
/* Does the header look like this generation's? TN_EPROTO. */
int wk_arena_verify(uint64_t generation);

/* Bytes from the start that are used, rounded up to pages. */
size_t wk_arena_used(void);
/* The same of the base; behind them it is zeros, in the shadow not to be read. */
size_t wk_arena_base_used(void);

/*
 * Map the arena's base pages now rather than one by one when they are first read.  Who
 * has written to the arena before, and forks then, hands them on to its children: else
 * the kernel leaves it to them to fault for what a file has.  A hint, without effect
 * before Linux 5.14.
 */
void wk_arena_populate(void);

/* No more writes to the base, by anybody; map_shared mappings must be gone. */
int wk_arena_seal(int fd);
/* Forget all private pages: the arena is the base again. */
int wk_arena_drop(void);

#endif
