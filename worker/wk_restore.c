#include "config.h"

#include "wk_restore.h"

#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

#include "tn_err.h"
#include "wk_arena.h"
#include "wk_delta.h"
#include "wk_pagemap.h"

#define PAGE		WK_ARENA_PAGE
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
	bool			broken;		/* wk_restore_break() */
	const struct wk_delta	*image;		/* NULL: the base */
	uint64_t		faults;		/* when the last restore had ended */
	unsigned		since_learned;
	size_t			highest;	/* page above all that were ever hot */
	size_t			nruns;
	uint64_t		hot[WORDS];	/* a bit a page */
	struct run		run[WK_RESTORE_HOT_MAX]; /* the same, in order */
	uint32_t		own[PAGES_MAX];	/* offset of a page's entry in the image, 0: none */
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

static void
make_hot(size_t page)
{
	rs.hot[page / 64] |= (uint64_t)1 << page % 64;
	rs.stats.hot++;
	if (page > rs.highest)
		rs.highest = page;
}

static const struct wk_delta_entry *
own_entry(size_t page)
{
	uint32_t offset = rs.own[page];

	return offset == 0 ? NULL :
	    (const struct wk_delta_entry *)((const char *)rs.image + offset);
}

/* The image's page.  Behind the base, reading the shadow of a hole would give the file a page. */
static void
make_page(size_t page, char *to)
{
	const struct wk_delta_entry *e = own_entry(page);

	if (page * PAGE < wk_arena_base_used())
		memcpy(to, WK_ARENA_SHADOW + page * PAGE, PAGE);
	else
		memset(to, 0, PAGE);
	if (e != NULL)
		wk_delta_apply(e, to);
}

static void
put_back(size_t page)
{
	make_page(page, WK_ARENA_BASE + page * PAGE);
	rs.stats.copied++;
}

/* Behind the base, and not the image's own: zero. */
static bool
is_empty(size_t page)
{
	return page * PAGE >= wk_arena_base_used() && rs.own[page] == 0;
}

/* Empty neighbours at one go: a quarter less than page by page, once they outgrow the caches. */
static void
put_back_run(size_t page, size_t end)
{
	size_t n;

	while (page < end) {
		for (n = 0; page + n < end && is_empty(page + n); n++)
			;
		if (n > 0) {
			memset(WK_ARENA_BASE + page * PAGE, 0, n * PAGE);
			rs.stats.copied += n;
			page += n;
		} else
			put_back(page++);
	}
}

static void
put_back_hot(void)
{
	for (size_t i = 0; i < rs.nruns; i++)
		put_back_run(rs.run[i].first, (size_t)rs.run[i].first + rs.run[i].count);
}

/* Too many own pages to keep, or no way to know which others were written. */
static bool
always_drops(const struct wk_delta *image)
{
	return rs.how == WK_RESTORE_DROP || (image != NULL && image->entries > WK_RESTORE_OWN_MAX);
}

static uint64_t
fault_count(void)
{
	struct rusage ru;

	/*
	 * Where all is dropped the sandbox has no such call.  The process has one thread,
	 * and for a thread the kernel need not add up the process's times.
	 */
	if (rs.how == WK_RESTORE_DROP)
		return 0;
	if (getrusage(RUSAGE_THREAD, &ru) != 0)
		return rs.faults + 1;	/* unknown: look */
	return (uint64_t)ru.ru_minflt + (uint64_t)ru.ru_majflt;
}

static int
drop_all(void)
{
	const struct wk_delta_entry *e;
	uint32_t i;

	forget();
	rs.stats.drops++;
	if (wk_arena_drop() != 0)
		return TN_ESYS;
	if (rs.image != NULL)
		for (i = 0, e = wk_delta_first(rs.image); i < rs.image->entries;
		    i++, e = wk_delta_next(e)) {
			wk_delta_apply(e, WK_ARENA_BASE + e->page * PAGE);
			if (!always_drops(rs.image))
				make_hot(e->page);
		}
	list_runs();
	rs.faults = fault_count();
	return 0;
}

/* The process's own pages from `at` on, some of them, in rs.found. */
static int
own_pages(size_t at, size_t *n, size_t *next)
{
	const size_t pages = wk_arena_size() / PAGE;

	return rs.how == WK_RESTORE_SCAN ?
	    wk_pagemap_scan(rs.pagemap_fd, WK_ARENA_BASE, at, pages, rs.found, RUNS_MAX, n, next) :
	    wk_pagemap_read(rs.pagemap_fd, WK_ARENA_BASE, at, pages, rs.found, RUNS_MAX, n, next);
}

/* What was written and is not hot is put back, and hot from now on.  1: too much. */
static int
find(void)
{
	const size_t pages = wk_arena_size() / PAGE;
	size_t at = 0, n, i, page;
	bool news = false;

	rs.stats.scans++;
	while (at < pages) {
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
				put_back(page);
				make_hot(page);
				news = true;
			}
	}
	if (news)
		list_runs();
	return 0;
}

/* The hot pages first, then what else was written since rs.faults were counted. */
static int
put_back_all(void)
{
	uint64_t faults = fault_count();

	put_back_hot();
	if (faults == rs.faults)
		return 0;
	if (find() != 0)
		return drop_all();
	rs.faults = fault_count();
	return 0;
}

/* The image's own pages into rs.own, or out of it. */
static void
index_image(const struct wk_delta *image, bool in)
{
	const struct wk_delta_entry *e;
	uint32_t i;

	if (image == NULL)
		return;
	for (i = 0, e = wk_delta_first(image); i < image->entries; i++, e = wk_delta_next(e))
		rs.own[e->page] = in ? (uint32_t)((const char *)e - (const char *)image) : 0;
}

/* From one image to another, all else being in order: their own pages alone. */
static void
exchange(const struct wk_delta *from, const struct wk_delta *to)
{
	const struct wk_delta_entry *e;
	uint32_t i;

	if (from != NULL)
		for (i = 0, e = wk_delta_first(from); i < from->entries; i++, e = wk_delta_next(e))
			if (rs.own[e->page] == 0)
				put_back(e->page);
	if (to != NULL)
		for (i = 0, e = wk_delta_first(to); i < to->entries; i++, e = wk_delta_next(e))
			put_back(e->page);
}

int
wk_restore_switch(const struct wk_delta *image, bool clean)
{
	const struct wk_delta *from = rs.image;
	const struct wk_delta_entry *e;
	bool drop = always_drops(from) || always_drops(image), news = false;
	uint64_t faults = clean ? 0 : fault_count();
	uint32_t i;

	index_image(from, false);
	rs.image = image;
	index_image(image, true);
	if (image != NULL) {
		for (i = 0, e = wk_delta_first(image); i < image->entries && !drop;
		    i++, e = wk_delta_next(e)) {
			if (rs.stats.hot == WK_RESTORE_HOT_MAX) {
				drop = true;
			} else if (!is_hot(e->page)) {
				make_hot(e->page);
				news = true;
			}
		}
	}
	if (drop)
		return drop_all();
	if (news)
		list_runs();
	if (clean) {
		exchange(from, image);
	} else {
		put_back_hot();
		if (faults != rs.faults && find() != 0)
			return drop_all();
	}
	rs.faults = fault_count();
	return 0;
}

int
wk_restore_leave(void)
{
	/* A large one's pages are in no list: only a drop gets rid of them. */
	if (always_drops(rs.image))
		return wk_restore_base();
	index_image(rs.image, false);
	rs.image = NULL;
	return 0;
}

int
wk_restore_base(void)
{
	index_image(rs.image, false);
	rs.image = NULL;
	return drop_all();
}

int
wk_restore(void)
{
	rs.stats.restores++;
	if (always_drops(rs.image) || ++rs.since_learned > LEARN_EVERY)
		return drop_all();
	return put_back_all();
}

int
wk_restore_learn(void)
{
	if (rs.how == WK_RESTORE_DROP || find() != 0)
		return wk_restore_base();
	return wk_arena_drop();		/* what is hot is remembered */
}

void
wk_restore_expect(void)
{
	if (rs.how == WK_RESTORE_DROP)
		forget();
	else
		put_back_hot();
	rs.faults = fault_count();
}

size_t
wk_restore_audit(size_t *first)
{
	static char want[PAGE];
	const size_t pages = wk_arena_size() / PAGE, base = wk_arena_base_used() / PAGE;
	size_t page, differ = 0, at = base, n, i;

	for (page = 0; page < pages; page++) {
		const char *p = WK_ARENA_BASE + page * PAGE;

		if (own_entry(page) != NULL) {
			make_page(page, want);
			if (memcmp(p, want, PAGE) == 0)
				continue;
		} else if (page >= base || memcmp(p, WK_ARENA_SHADOW + page * PAGE, PAGE) == 0) {
			continue;
		}
		if (differ++ == 0)
			*first = page;
	}
	if (rs.how == WK_RESTORE_DROP)
		return differ;
	/*
	 * Behind the base, reading a page that nobody has written would make one: look
	 * at the process's own only, whether they are known here or not.
	 */
	memset(want, 0, PAGE);
	while (at < pages) {
		if (own_pages(at, &n, &at) != 0)
			break;
		for (i = 0; i < n; i++)
			for (page = rs.found[i].first; page < rs.found[i].end; page++)
				if (own_entry(page) == NULL &&
				    memcmp(WK_ARENA_BASE + page * PAGE, want, PAGE) != 0 &&
				    (differ++ == 0 || page < *first))
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
