#include "config.h"

#include "wk_text.h"

#include <stdint.h>
#include <string.h>

#define REPLACEMENT	0xfffdu

/*
 * One character of valid UTF-8 (surrogates included) from s[*at]; moves *at
 * behind it.  Invalid: REPLACEMENT, behind the longest prefix that could have
 * been one (as WHATWG's decoder has it), *ok false.
 */
static uint32_t
decode(struct tn_str s, size_t *at, bool *ok)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char c = p[(*at)++], low = 0x80, high = 0xbf;
	uint32_t v;
	int more;

	*ok = true;
	if (c < 0x80)
		return c;
	if (c >= 0xc2 && c <= 0xdf) {
		more = 1;
		v = c & 0x1fu;
	} else if (c >= 0xe0 && c <= 0xef) {
		more = 2;
		v = c & 0xfu;
		if (c == 0xe0)
			low = 0xa0;
	} else if (c >= 0xf0 && c <= 0xf4) {
		more = 3;
		v = c & 7u;
		if (c == 0xf0)
			low = 0x90;
		else if (c == 0xf4)
			high = 0x8f;
	} else {
		*ok = false;
		return REPLACEMENT;
	}
	while (more-- > 0) {
		if (*at >= s.len || p[*at] < low || p[*at] > high) {
			*ok = false;
			return REPLACEMENT;
		}
		v = v << 6 | (p[(*at)++] & 0x3fu);
		low = 0x80;
		high = 0xbf;
	}
	return v;
}

static size_t
encode(char *to, uint32_t v)
{
	if (v < 0x80) {
		if (to != NULL)
			to[0] = (char)v;
		return 1;
	}
	if (v < 0x800) {
		if (to != NULL) {
			to[0] = (char)(0xc0 | v >> 6);
			to[1] = (char)(0x80 | (v & 0x3f));
		}
		return 2;
	}
	if (v < 0x10000) {
		if (to != NULL) {
			to[0] = (char)(0xe0 | v >> 12);
			to[1] = (char)(0x80 | (v >> 6 & 0x3f));
			to[2] = (char)(0x80 | (v & 0x3f));
		}
		return 3;
	}
	if (to != NULL) {
		to[0] = (char)(0xf0 | v >> 18);
		to[1] = (char)(0x80 | (v >> 12 & 0x3f));
		to[2] = (char)(0x80 | (v >> 6 & 0x3f));
		to[3] = (char)(0x80 | (v & 0x3f));
	}
	return 4;
}

static bool
is_surrogate(uint32_t v)
{
	return v >= 0xd800 && v <= 0xdfff;
}

/* Length of the ASCII run at s[at]. */
static size_t
ascii_run(struct tn_str s, size_t at)
{
	size_t i = at;

	for (; i + 8 <= s.len; i += 8) {
		uint64_t w;

		memcpy(&w, s.p + i, 8);
		if (w & 0x8080808080808080u)
			break;
	}
	while (i < s.len && !((unsigned char)s.p[i] & 0x80))
		i++;
	return i - at;
}

bool
wk_text_same(struct tn_str s)
{
	size_t at = ascii_run(s, 0);
	bool ok;

	while (at < s.len) {
		uint32_t v = decode(s, &at, &ok);

		if (!ok || v > 0xffff || is_surrogate(v))
			return false;
		at += ascii_run(s, at);
	}
	return true;
}

size_t
wk_text_in(char *to, struct tn_str s)
{
	size_t at = 0, n = 0;

	while (at < s.len) {
		size_t run = ascii_run(s, at);
		uint32_t v;
		bool ok;

		if (run > 0) {
			if (to != NULL)
				memcpy(to + n, s.p + at, run);
			at += run;
			n += run;
			continue;
		}
		v = decode(s, &at, &ok);
		if (is_surrogate(v))
			v = REPLACEMENT;
		if (v > 0xffff) {
			v -= 0x10000;
			n += encode(to != NULL ? to + n : NULL, 0xd800 + (v >> 10));
			v = 0xdc00 + (v & 0x3ff);
		}
		n += encode(to != NULL ? to + n : NULL, v);
	}
	return n;
}

size_t
wk_text_out(char *to, struct tn_str s)
{
	size_t at = 0, n = 0;

	while (at < s.len) {
		size_t run = ascii_run(s, at);
		uint32_t v;
		bool ok;

		if (run > 0) {
			if (to != NULL)
				memcpy(to + n, s.p + at, run);
			at += run;
			n += run;
			continue;
		}
		v = decode(s, &at, &ok);
		if (v >= 0xd800 && v <= 0xdbff && at < s.len) {
			size_t next = at;
			uint32_t low = decode(s, &next, &ok);

			if (ok && low >= 0xdc00 && low <= 0xdfff) {
				v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
				at = next;
			}
		}
		if (is_surrogate(v))
			v = REPLACEMENT;
		n += encode(to != NULL ? to + n : NULL, v);
	}
	return n;
}

void
wk_text_append(struct tn_buf *b, struct tn_str s)
{
	char *to;
	size_t n;

	if (ascii_run(s, 0) == s.len) {
		tn_buf_append(b, s.p, s.len);
		return;
	}
	n = wk_text_out(NULL, s);
	to = tn_buf_reserve(b, n);
	if (to == NULL)
		return;
	(void)wk_text_out(to, s);
	b->len += n;
}
