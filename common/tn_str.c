#include "config.h"

#include "tn_str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAP	256u

void
tn_buf_init_fixed(struct tn_buf *b, void *memory, size_t bytes)
{
	*b = (struct tn_buf){ .p = memory, .cap = bytes, .fixed = true };
}

/*
 * Leaves b as it is on failure, apart from `failed`.  With `max` the capacity
 * stays at or below max, too: nobody appends by way of tn_buf_reserve() more
 * than he asked for.
 */
static bool
grow(struct tn_buf *b, size_t n)
{
	size_t need, cap;
	char *p;

	if (b->failed)
		return false;
	if (n > SIZE_MAX - b->len || (b->max != 0 && b->len + n > b->max)) {
		b->failed = true;
		return false;
	}
	need = b->len + n;
	if (need <= b->cap)
		return true;
	if (b->fixed) {
		b->failed = true;
		return false;
	}
	cap = b->cap < FIRST_CAP ? FIRST_CAP : b->cap;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (b->max != 0 && cap > b->max)
		cap = b->max;
	if ((p = realloc(b->p, cap)) == NULL) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

char *
tn_buf_reserve(struct tn_buf *b, size_t n)
{
	/* A pointer for a reserve of nothing, too: NULL means failure. */
	if (!grow(b, n) || (b->p == NULL && !grow(b, 1)))
		return NULL;
	return b->p + b->len;
}

void
tn_buf_append(struct tn_buf *b, const void *p, size_t n)
{
	if (n == 0 || !grow(b, n))
		return;
	memcpy(b->p + b->len, p, n);
	b->len += n;
}

void
tn_buf_puts(struct tn_buf *b, const char *s)
{
	tn_buf_append(b, s, strlen(s));
}

void
tn_buf_putstr(struct tn_buf *b, struct tn_str s)
{
	tn_buf_append(b, s.p, s.len);
}

void
tn_buf_printf(struct tn_buf *b, const char *fmt, ...)
{
	/*
	 * By way of the stack where it fits: vsnprintf wants a byte for its NUL
	 * that a full buffer need not have.
	 */
	char small[512];
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		return;
	}
	if ((size_t)n < sizeof(small)) {
		tn_buf_append(b, small, (size_t)n);
		return;
	}
	if ((p = tn_buf_reserve(b, (size_t)n + 1)) == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

size_t
tn_utf8(struct tn_str s, uint32_t *cp)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n, i;
	uint32_t c, least;

	if (s.len == 0)
		return 0;
	if (p[0] < 0x80) {
		*cp = p[0];
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
		c = p[0] & 0x1fu;
		least = 0x80;
	} else if ((p[0] & 0xf0) == 0xe0) {
		n = 3;
		c = p[0] & 0x0fu;
		least = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		c = p[0] & 0x07u;
		least = 0x10000;
	} else
		return 0;
	if (s.len < n)
		return 0;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*cp = c;
	return n;
}

/* The escape for c in a JSON string, or NULL when it stands for itself. */
static const char *
escape(uint32_t c, bool quotes, char text[8])
{
	switch (c) {
	case '"':
		return quotes ? "\\\"" : NULL;
	case '\\':
		return "\\\\";
	case '\b':
		return "\\b";
	case '\f':
		return "\\f";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	default:
		break;
	}
	/*
	 * DEL and C1 are harmless in JSON, but records are read on terminals,
	 * some of which take U+009B for ESC [; U+2028 and U+2029 end a line for
	 * some readers, the U+202A.. and U+2066.. groups turn text around.
	 */
	if (c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069)) {
		snprintf(text, 8, "\\u%04x", (unsigned)c);
		return text;
	}
	return NULL;
}

static void
put_escaped(struct tn_buf *b, struct tn_str s, bool quotes)
{
	struct tn_str rest = s;
	const char *run = s.p, *esc;
	char text[8];
	uint32_t c;
	size_t n;

	while (rest.len > 0 && !b->failed) {
		if ((n = tn_utf8(rest, &c)) == 0) {
			n = 1;
			esc = "\xef\xbf\xbd";
		} else
			esc = escape(c, quotes, text);
		if (esc != NULL) {
			tn_buf_append(b, run, (size_t)(rest.p - run));
			tn_buf_puts(b, esc);
			run = rest.p + n;
		}
		rest.p += n;
		rest.len -= n;
	}
	if (!b->failed && rest.p != run)
		tn_buf_append(b, run, (size_t)(rest.p - run));
}

void
tn_buf_json(struct tn_buf *b, struct tn_str s)
{
	put_escaped(b, s, true);
}

void
tn_buf_visible(struct tn_buf *b, struct tn_str s)
{
	put_escaped(b, s, false);
}

void
tn_buf_consume(struct tn_buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	if (n == 0)
		return;
	memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}

void
tn_buf_reset(struct tn_buf *b)
{
	b->len = 0;
	b->failed = false;
}

void
tn_buf_fini(struct tn_buf *b)
{
	if (!b->fixed)
		free(b->p);
	*b = (struct tn_buf){ 0 };
}
