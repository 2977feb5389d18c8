/*
 * tn_str.h - borrowed text (pointer and length) and a growing buffer.
 */
#ifndef TN_STR_H
#define TN_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <stdint.h>

/* Borrowed bytes; not terminated. */
struct tn_str {
	const char	*p;
	size_t		 len;
};

#define TN_STR(lit)	((struct tn_str){ (lit), sizeof(lit) - 1 })

static inline struct tn_str
tn_str(const char *s)
{
	return (struct tn_str){ s, s != NULL ? strlen(s) : 0 };
}

static inline bool
tn_str_eq(struct tn_str a, struct tn_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool
tn_str_is(struct tn_str a, const char *s)
{
	return tn_str_eq(a, tn_str(s));
}

/* Length of the UTF-8 character at the start of s, and the character; 0: there is none. */
size_t tn_utf8(struct tn_str s, uint32_t *cp);

/*
 * A borrowed list of texts.  When decoded from a frame, v points into the
 * decoder's own array and lives until its next use.
 */
struct tn_strv {
	const struct tn_str	*v;
	size_t			 n;
};

/*
 * A buffer that grows.  Zero-initialised is empty.  A failed growth sets
 * `failed` and later appends do nothing, so that a caller checks once.
 * With `max` set it refuses to grow beyond max bytes; with `fixed` set it never
 * allocates (the worker appends into memory it had before its sandbox closed).
 */
struct tn_buf {
	char	*p;
	size_t	 len;
	size_t	 cap;
	size_t	 max;
	bool	 fixed;
	bool	 failed;
};

void tn_buf_init_fixed(struct tn_buf *b, void *memory, size_t bytes);
void tn_buf_append(struct tn_buf *b, const void *p, size_t n);
void tn_buf_puts(struct tn_buf *b, const char *s);
void tn_buf_putstr(struct tn_buf *b, struct tn_str s);
/* In a fixed buffer a text of 512 bytes or more needs a byte of room beyond it. */
void tn_buf_printf(struct tn_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Append s as the inside of a JSON string (no quotes); invalid UTF-8 becomes U+FFFD. */
void tn_buf_json(struct tn_buf *b, struct tn_str s);
/* The same for people: quotes stay as they are, control characters become visible. */
void tn_buf_visible(struct tn_buf *b, struct tn_str s);
/* Drop the first n bytes (n <= len). */
void tn_buf_consume(struct tn_buf *b, size_t n);
/* Make room for n more bytes; NULL on failure. Returns where to write. */
char *tn_buf_reserve(struct tn_buf *b, size_t n);
void tn_buf_reset(struct tn_buf *b);
void tn_buf_fini(struct tn_buf *b);

#endif
