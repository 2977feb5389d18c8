#include "config.h"

#include "wk_delta.h"

#include <string.h>

#include "tn_err.h"

#define PAGE		WK_ARENA_PAGE
#define LINES		(PAGE / WK_DELTA_LINE)

_Static_assert(LINES == 64, "a bit a line");
_Static_assert(sizeof(struct wk_delta) == 32 && sizeof(struct wk_delta_entry) == 16,
    "no holes: what is encoded is all that is sent");

static const char zeros[PAGE];

static uint64_t
differing_lines(const char *page, const char *base)
{
	uint64_t mask = 0;

	if (memcmp(page, base, PAGE) == 0)
		return 0;
	for (unsigned i = 0; i < LINES; i++)
		if (memcmp(page + i * WK_DELTA_LINE, base + i * WK_DELTA_LINE, WK_DELTA_LINE) != 0)
			mask |= (uint64_t)1 << i;
	return mask;
}

int
wk_delta_encode(struct tn_buf *out, uint64_t generation)
{
	const size_t base = wk_arena_base_used() / PAGE, used = wk_arena_used() / PAGE;
	struct wk_delta d = {
		.magic = WK_DELTA_MAGIC, .version = WK_DELTA_VERSION, .generation = generation,
		.arena = wk_arena_size(), .pages = (uint32_t)(base > used ? base : used)
	};
	size_t header = out->len;

	tn_buf_append(out, &d, sizeof(d));
	for (size_t page = 0; page < d.pages && !out->failed; page++) {
		const char *p = WK_ARENA_BASE + page * PAGE;
		struct wk_delta_entry e = { .page = (uint32_t)page };

		e.mask = differing_lines(p, page < base ? WK_ARENA_SHADOW + page * PAGE : zeros);
		if (e.mask == 0)
			continue;
		d.entries++;
		tn_buf_append(out, &e, sizeof(e));
		for (uint64_t m = e.mask; m != 0; m &= m - 1)
			tn_buf_append(out, p + (size_t)__builtin_ctzll(m) * WK_DELTA_LINE,
			    WK_DELTA_LINE);
	}
	if (out->failed)
		return TN_ELIMIT;
	memcpy(out->p + header, &d, sizeof(d));
	return 0;
}

int
wk_delta_check(const char *bytes, size_t len, uint64_t generation)
{
	struct wk_delta d;
	struct wk_delta_entry e;
	uint64_t lowest = 0;		/* that the next entry's page may be */

	if (len < sizeof(d))
		return TN_EPROTO;
	memcpy(&d, bytes, sizeof(d));
	bytes += sizeof(d);
	len -= sizeof(d);
	if (d.magic != WK_DELTA_MAGIC || d.version != WK_DELTA_VERSION ||
	    d.generation != generation || d.arena != wk_arena_size() || d.pages > d.arena / PAGE)
		return TN_EPROTO;
	for (uint32_t i = 0; i < d.entries; i++) {
		size_t stride;

		if (len < sizeof(e))
			return TN_EPROTO;
		memcpy(&e, bytes, sizeof(e));
		if (e.pad != 0 || e.mask == 0 || e.page < lowest || e.page >= d.pages)
			return TN_EPROTO;
		lowest = (uint64_t)e.page + 1;
		stride = wk_delta_stride(&e);
		if (len < stride)
			return TN_EPROTO;
		bytes += stride;
		len -= stride;
	}
	return len == 0 ? 0 : TN_EPROTO;
}

void
wk_delta_apply(const struct wk_delta_entry *e, char *page)
{
	const char *line = (const char *)(e + 1);

	if (e->mask == ~(uint64_t)0) {
		memcpy(page, line, PAGE);
		return;
	}
	for (uint64_t m = e->mask; m != 0; m &= m - 1, line += WK_DELTA_LINE)
		memcpy(page + (size_t)__builtin_ctzll(m) * WK_DELTA_LINE, line, WK_DELTA_LINE);
}
