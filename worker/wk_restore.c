#include "config.h"

#include "wk_restore.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "tn_err.h"
#include "wk_arena.h"
#include "wk_pagemap.h"

#define PAGE		((size_t)4096)
#define PAGES_MAX	(WK_ARENA_MAX / PAGE)
#define WORDS		(PAGES_MAX / 64)
#define RUNS_MAX	256u		/* the kernel's answer, a piece at a time */
/*
 * A fault costs as much as thirty copies of a page: to learn anew after so many
 * restores adds little, and frees from pages that one odd request has written.
 */
#define LEARN_EVERY	1024u

struct run {
	uint32_t	first, count;
};

static struct {
	enum wk_restore_how	how;
	int			pagemap_fd;
	bool			mapped;		/* image and shadow */
	bool			broken;		/* wk_restore_break() */
	size_t			pages;		/* of the arena */
	size_t			used;		/* pages of the image; behind them are zeros */
	uint64_t		faults;		/* when the last restore had ended */
	unsigned		since_learned;
	size_t			highest;	/* page above all that were ever hot */
	size_t			nruns;
	uint64_t		hot[WORDS];	/* a bit a page */
	struct run		run[WK_RESTORE_HOT_MAX]; /* the same, in order */
	struct wk_pagemap_run	found[RUNS_MAX];
	struct wk_restore_stats	stats;
} rs = { .pagemap_fd = -1 };

const char *
wk_restore_name(enum wk_restore_how how)
{
	static const char *const names[] = {
		[WK_RESTORE_DROP] = "drop", [WK_RESTORE_PAGEMAP] = "pagemap",
		[WK_RESTORE_SCAN] = "scan"
	};

	return names[how];
}

enum wk_restore_how
wk_restore_choose(int pagemap_fd, enum wk_restore_how best)
{
	rs.pagemap_fd = pagemap_fd;
	if (best >= WK_RESTORE_SCAN && pagemap_fd >= 0 && wk_pagemap_can_scan(pagemap_fd))
		rs.how = WK_RESTORE_SCAN;
	else if (best >= WK_RESTORE_PAGEMAP && pagemap_fd >= 0 && wk_pagemap_can_read(pagemap_fd))
		rs.how = WK_RESTORE_PAGEMAP;
	else
		rs.how = WK_RESTORE_DROP;
	return rs.how;
}

static bool
is_hot(size_t page)
{
	return (rs.hot[page / 64] & (uint64_t)1 << page % 64) != 0;
}

/* The bits as runs of neighbours. */
static void
list_runs(void)
{
	size_t word, page, n = 0;
	uint64_t bits;

	for (word = 0; word <= rs.highest / 64 && word < WORDS; word++)
		for (bits = rs.hot[word]; bits != 0; bits &= bits - 1) {
			page = word * 64 + (size_t)__builtin_ctzl(bits);
			if (n > 0 && rs.run[n - 1].first + rs.run[n - 1].count == page)
				rs.run[n - 1].count++;
			else
				rs.run[n++] = (struct run){ (uint32_t)page, 1 };
		}
	rs.nruns = n;
}

static void
forget(void)
{
	memset(rs.hot, 0, (rs.highest / 64 + 1) * sizeof(rs.hot[0]));
	rs.highest = rs.nruns = 0;
	rs.stats.hot = 0;
	rs.since_learned = 0;
}

/* Also for pages behind the image: reading the shadow of a hole would give the file a page. */
static void
put_back(size_t first, size_t count)
{
	size_t in_image = first >= rs.used ? 0 : first + count <= rs.used ? count : rs.used - first;
	char *to = WK_ARENA_BASE + first * PAGE;

	memcpy(to, WK_RESTORE_SHADOW + first * PAGE, in_image * PAGE);
	memset(to + in_image * PAGE, 0, (count - in_image) * PAGE);
	rs.stats.copied += count;
}

static uint64_t
fault_count(void)
{
	struct rusage ru;

	if (getrusage(RUSAGE_SELF, &ru) != 0)
		return rs.faults + 1;	/* unknown: look */
	return (uint64_t)ru.ru_minflt + (uint64_t)ru.ru_majflt;
}

static int
drop_all(void)
{
	forget();
	rs.stats.drops++;
	return wk_arena_drop();
}

/* The process's own pages from `at` on, some of them, in rs.found. */
static int
own_pages(size_t at, size_t *n, size_t *next)
{
	return rs.how == WK_RESTORE_SCAN ?
	    wk_pagemap_scan(rs.pagemap_fd, WK_ARENA_BASE, at, rs.pages, rs.found, RUNS_MAX, n, next) :
	    wk_pagemap_read(rs.pagemap_fd, WK_ARENA_BASE, at, rs.pages, rs.found, RUNS_MAX, n, next);
}

/* What was written and is not hot is put back, and hot from now on.  1: too much. */
static int
find(void)
{
	size_t at = 0, n, i, page;
	bool news = false;

	rs.stats.scans++;
	while (at < rs.pages) {
		if (own_pages(at, &n, &at) != 0)
			return 1;
		for (i = 0; i < n; i++)
			for (page = rs.found[i].first; page < rs.found[i].end; page++) {
				if (is_hot(page))
					continue;
				if (rs.stats.hot == WK_RESTORE_HOT_MAX)
					return 1;
				if (rs.broken) {
					rs.broken = false;
					continue;
				}
				put_back(page, 1);
				rs.hot[page / 64] |= (uint64_t)1 << page % 64;
				rs.stats.hot++;
				if (page > rs.highest)
					rs.highest = page;
				news = true;
			}
	}
	if (news)
		list_runs();
	return 0;
}

int
wk_restore_map(int fd)
{
	rs.pages = wk_arena_size() / PAGE;
	forget();
	rs.mapped = false;
	if (rs.how == WK_RESTORE_DROP)
		return 0;
	/* Private, since a write-sealed file cannot be mapped shared before Linux 6.7. */
	if (mmap(WK_RESTORE_SHADOW, wk_arena_size(), PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) !=
	    WK_RESTORE_SHADOW)
		return TN_ESYS;
	rs.used = wk_arena_used() / PAGE;
	rs.mapped = true;
	rs.faults = 0;
	return 0;
}

int
wk_restore(void)
{
	size_t i;
	uint64_t faults;

	rs.stats.restores++;
	if (!rs.mapped)
		return wk_arena_drop();
	if (++rs.since_learned > LEARN_EVERY)
		return drop_all();
	for (i = 0; i < rs.nruns; i++)
		put_back(rs.run[i].first, rs.run[i].count);
	/*
	 * Faults of the copying itself (a page that was swapped out) count too, at
	 * worst for a look that was not needed.
	 */
	faults = fault_count();
	if (faults == rs.faults)
		return 0;
	if (find() != 0)
		return drop_all();
	rs.faults = fault_count();
	return 0;
}

size_t
wk_restore_audit(size_t *first)
{
	static const char zeros[PAGE];
	size_t page, differ = 0, at = rs.used, n, i;

	if (!rs.mapped)
		return 0;
	for (page = 0; page < rs.used; page++)
		if (memcmp(WK_ARENA_BASE + page * PAGE, WK_RESTORE_SHADOW + page * PAGE, PAGE) != 0 &&
		    differ++ == 0)
			*first = page;
	/*
	 * Behind the image, reading a page that nobody has written would make one: look
	 * at the process's own only, whether they are known here or not.
	 */
	while (at < rs.pages) {
		if (own_pages(at, &n, &at) != 0)
			break;
		for (i = 0; i < n; i++)
			for (page = rs.found[i].first; page < rs.found[i].end; page++)
				if (memcmp(WK_ARENA_BASE + page * PAGE, zeros, PAGE) != 0 && differ++ == 0)
					*first = page;
	}
	return differ;
}

void
wk_restore_break(void)
{
	rs.broken = true;
}

const struct wk_restore_stats *
wk_restore_stats(void)
{
	return &rs.stats;
}
