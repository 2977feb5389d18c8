#include "config.h"

#include "wk_pagemap.h"

#include <sys/ioctl.h>
#include <sys/types.h>
#include <unistd.h>

#include "tn_err.h"

#define PAGE		4096u

/* linux/fs.h of Linux 6.7; Debian 12's headers are older than its backported kernels. */
struct scan_arg {
	uint64_t	size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t	category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scan_region {
	uint64_t	start, end, categories;
};
#define SCAN		_IOWR('f', 16, struct scan_arg)
#define IS_FILE		(1u << 2)
#define IS_PRESENT	(1u << 3)
#define IS_SWAPPED	(1u << 4)
#define REGIONS_MAX	256u

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_FILE	((uint64_t)1 << 61)
#define ENTRY_SWAPPED	((uint64_t)1 << 62)
#define ENTRY_PRESENT	((uint64_t)1 << 63)
#define ENTRIES		512u

static struct scan_region regions[REGIONS_MAX];
static uint64_t entries[ENTRIES];

static int
scan(int fd, uintptr_t start, uintptr_t end, uint64_t max, uintptr_t *walked)
{
	struct scan_arg a = { .size = sizeof(a), .start = start, .end = end,
	    .vec = (uintptr_t)regions, .vec_len = max,
	    .category_inverted = IS_FILE, .category_mask = IS_FILE,
	    .category_anyof_mask = IS_PRESENT | IS_SWAPPED, .return_mask = IS_PRESENT };
	int n = ioctl(fd, SCAN, &a);

	*walked = a.walk_end;
	return n;
}

bool
wk_pagemap_can_scan(int fd)
{
	uintptr_t here = (uintptr_t)regions & ~(uintptr_t)(PAGE - 1), walked;

	((volatile struct scan_region *)regions)->start = 0;	/* ours now: there is one to be found */
	return scan(fd, here, here + PAGE, 1, &walked) == 1;
}

bool
wk_pagemap_can_read(int fd)
{
	struct wk_pagemap_run r;
	size_t n, next;

	/* Written just now, so it is ours and present. */
	((volatile struct scan_region *)regions)->start = 0;
	return wk_pagemap_read(fd, (char *)((uintptr_t)regions & ~(uintptr_t)(PAGE - 1)), 0, 1, &r, 1,
	    &n, &next) == 0 && n == 1;
}

int
wk_pagemap_scan(int fd, const char *base, size_t from, size_t to, struct wk_pagemap_run *runs,
    size_t max, size_t *n, size_t *next)
{
	uintptr_t b = (uintptr_t)base, walked;
	int found = scan(fd, b + from * PAGE, b + to * PAGE, max < REGIONS_MAX ? max : REGIONS_MAX,
	    &walked), i;

	if (found < 0)
		return TN_ESYS;
	for (i = 0; i < found; i++)
		runs[i] = (struct wk_pagemap_run){ (uint32_t)((regions[i].start - b) / PAGE),
		    (uint32_t)((regions[i].end - b) / PAGE) };
	*n = (size_t)found;
	*next = (walked - b) / PAGE;
	return *next > from ? 0 : TN_ESYS;
}

int
wk_pagemap_read(int fd, const char *base, size_t from, size_t to, struct wk_pagemap_run *runs,
    size_t max, size_t *n, size_t *next)
{
	size_t count = to - from < ENTRIES ? to - from : ENTRIES, i;
	uintptr_t at = (uintptr_t)base / PAGE + from;
	ssize_t got = pread(fd, entries, count * sizeof(entries[0]), (off_t)(at * sizeof(entries[0])));

	if (got <= 0 || got % (ssize_t)sizeof(entries[0]) != 0)
		return TN_ESYS;
	count = (size_t)got / sizeof(entries[0]);
	*n = 0;
	for (i = 0; i < count; i++) {
		uint32_t page = (uint32_t)(from + i);

		if (!(entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)) || (entries[i] & ENTRY_FILE))
			continue;
		if (*n > 0 && runs[*n - 1].end == page)
			runs[*n - 1].end = page + 1;
		else if (*n < max)
			runs[(*n)++] = (struct wk_pagemap_run){ page, page + 1 };
		else
			break;
	}
	*next = from + i;
	return 0;
}
