#include "config.h"

#include "wk_arena.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tn_err.h"

#ifndef F_ADD_SEALS
#define F_ADD_SEALS	1033
#define F_SEAL_SEAL	0x0001
#define F_SEAL_SHRINK	0x0002
#define F_SEAL_GROW	0x0004
#define F_SEAL_WRITE	0x0008
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define HEADER_BYTES	((sizeof(struct wk_arena_header) + 63) & ~(size_t)63)

static size_t arena_size;
static size_t base_used;

static int
reserve(char *where, size_t size)
{
	void *p = mmap(where, size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return TN_ESYS;
	if (p != where) {
		(void)munmap(p, size);
		errno = EEXIST;
		return TN_ESYS;
	}
	return 0;
}

int
wk_arena_reserve(size_t size)
{
	if (arena_size != 0)
		return arena_size == size ? 0 : TN_EINVAL;
	if (size == 0 || size > WK_ARENA_MAX || size % WK_ARENA_PAGE != 0)
		return TN_EINVAL;
	if (reserve(WK_ARENA_BASE, 2 * size) != 0)
		return TN_ESYS;
	if (reserve(WK_ARENA_SHADOW, size) != 0) {
		(void)munmap(WK_ARENA_BASE, 2 * size);
		return TN_ESYS;
	}
	arena_size = size;
	return 0;
}

size_t
wk_arena_size(void)
{
	return arena_size;
}

static int
map_fixed(int fd, int flags)
{
	if (mmap(WK_ARENA_BASE, arena_size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) !=
	    WK_ARENA_BASE)
		return TN_ESYS;
	return 0;
}

int
wk_arena_map_shared(int fd)
{
	return map_fixed(fd, MAP_SHARED);
}

int
wk_arena_map_base(int fd)
{
	if (map_fixed(fd, MAP_PRIVATE) != 0 ||
	    mmap(WK_ARENA_SHADOW, arena_size, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) !=
	    WK_ARENA_SHADOW)
		return TN_ESYS;
	base_used = wk_arena_used();
	return 0;
}

void
wk_arena_populate(void)
{
	(void)madvise(WK_ARENA_BASE, base_used, MADV_POPULATE_READ);
}

size_t
wk_arena_base_used(void)
{
	return base_used;
}

int
wk_arena_map_anonymous(void)
{
	return map_fixed(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

void
wk_arena_format(uint64_t generation)
{
	struct wk_arena_header *h = WK_ARENA;

	h->magic = WK_ARENA_MAGIC;
	h->version = WK_ARENA_VERSION;
	h->generation = generation;
	h->size = arena_size;
	h->ctx = NULL;
	h->table = NULL;
	h->ready.is = false;
	wk_alloc_init(&h->alloc, WK_ARENA_BASE + HEADER_BYTES, arena_size - HEADER_BYTES);
}

int
wk_arena_verify(uint64_t generation)
{
	const struct wk_arena_header *h = WK_ARENA;

	if (h->magic != WK_ARENA_MAGIC || h->version != WK_ARENA_VERSION ||
	    h->generation != generation || h->size != arena_size || h->ctx == NULL)
		return TN_EPROTO;
	return 0;
}

size_t
wk_arena_used(void)
{
	size_t used = (size_t)(wk_alloc_high_water(&WK_ARENA->alloc) - WK_ARENA_BASE);

	used = (used + WK_ARENA_PAGE - 1) & ~(WK_ARENA_PAGE - 1);
	return used < arena_size ? used : arena_size;
}

int
wk_arena_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0 ?
	    0 : TN_ESYS;
}

int
wk_arena_drop(void)
{
	return madvise(WK_ARENA_BASE, arena_size, MADV_DONTNEED) == 0 ? 0 : TN_ESYS;
}
