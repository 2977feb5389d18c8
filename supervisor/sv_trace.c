/*
 * sv_trace.c - stacks in the author's terms.
 */
#include "config.h"

#include "sv_trace.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tn_err.h"

#define HEADER		"tana-lines 1"
#define FILES_MAX	8u
#define SOURCES_MAX	4096u
#define ENTRIES_MAX	(1u << 18)
#define NAME_BYTES_MAX	255u
#define LINE_MAX_NUMBER	99999999u
#define NO_SOURCE	UINT32_MAX

/* From a line of the compiled text on, up to the next entry. */
struct entry {
	uint32_t	 from;		/* from 1; rising */
	uint32_t	 source;	/* or NO_SOURCE */
	uint32_t	 line;		/* of the source, for `from` */
};

struct table {
	char		*file;
	char		*names;		/* of the sources, each terminated */
	const char	**source;
	uint32_t	 nsource;
	struct entry	*entry;
	size_t		 nentry;
};

struct sv_trace {
	unsigned	 n;
	struct table	 table[FILES_MAX];
};

static void
table_fini(struct table *t)
{
	free(t->file);
	free(t->names);
	free(t->source);
	free(t->entry);
}

/* The next line of the text, which is moved on; false at its end. */
static bool
next_line(struct tn_str *text, struct tn_str *line)
{
	const char *end;

	if (text->len == 0)
		return false;
	end = memchr(text->p, '\n', text->len);
	line->p = text->p;
	line->len = end != NULL ? (size_t)(end - text->p) : text->len;
	text->p += line->len + (end != NULL);
	text->len -= line->len + (end != NULL);
	return true;
}

/* A number that ends at a space or the end of s, which is moved behind it. */
static bool
number(struct tn_str *s, uint32_t *n)
{
	size_t i;

	*n = 0;
	for (i = 0; i < s->len && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		*n = *n * 10 + (uint32_t)(s->p[i] - '0');
		if (*n > LINE_MAX_NUMBER)
			return false;
	}
	if (i == 0 || (i < s->len && s->p[i] != ' '))
		return false;
	if (i < s->len)
		i++;
	s->p += i;
	s->len -= i;
	return true;
}

static bool
name_ok(struct tn_str s)
{
	size_t i;

	if (s.len == 0 || s.len > NAME_BYTES_MAX)
		return false;
	for (i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

/* The sources, each "s NAME"; text is moved behind them. */
static int
read_sources(struct table *t, struct tn_str *text)
{
	struct tn_str rest = *text, line;
	size_t bytes = 0;
	char *p;

	while (next_line(&rest, &line) && line.len >= 2 && memcmp(line.p, "s ", 2) == 0) {
		if (++t->nsource > SOURCES_MAX)
			return TN_ELIMIT;
		bytes += line.len - 1;
	}
	if (t->nsource == 0)
		return 0;
	t->source = calloc(t->nsource, sizeof(*t->source));
	t->names = p = malloc(bytes);
	if (t->source == NULL || t->names == NULL)
		return TN_ENOMEM;
	for (uint32_t i = 0; i < t->nsource; i++) {
		(void)next_line(text, &line);
		line.p += 2;
		line.len -= 2;
		if (!name_ok(line))
			return TN_EINVAL;
		t->source[i] = p;
		memcpy(p, line.p, line.len);
		p[line.len] = '\0';
		p += line.len + 1;
	}
	return 0;
}

static int
read_entries(struct table *t, struct tn_str text)
{
	struct tn_str rest = text, line;
	struct entry *e;
	size_t n = 0;

	while (next_line(&rest, &line))
		n++;
	if (n > ENTRIES_MAX)
		return TN_ELIMIT;
	if (n == 0)
		return 0;
	if ((t->entry = calloc(n, sizeof(*t->entry))) == NULL)
		return TN_ENOMEM;
	while (next_line(&text, &line)) {
		e = &t->entry[t->nentry];
		e->source = NO_SOURCE;
		if (!number(&line, &e->from) || e->from == 0 ||
		    (t->nentry > 0 && e->from <= e[-1].from))
			return TN_EINVAL;
		if (line.len > 0 && (!number(&line, &e->source) || e->source >= t->nsource ||
		    !number(&line, &e->line) || e->line == 0 || line.len > 0))
			return TN_EINVAL;
		t->nentry++;
	}
	return 0;
}

int
sv_trace_add(struct sv_trace **tp, struct tn_str file, struct tn_str text)
{
	struct table t = { .nsource = 0 };
	struct tn_str line;
	int rc;

	if (!name_ok(file) || !next_line(&text, &line) || !tn_str_is(line, HEADER))
		return TN_EINVAL;
	if (*tp != NULL && (*tp)->n == FILES_MAX)
		return TN_ELIMIT;
	if ((rc = read_sources(&t, &text)) == 0)
		rc = read_entries(&t, text);
	if (rc == 0 && ((t.file = strndup(file.p, file.len)) == NULL ||
	    (*tp == NULL && (*tp = calloc(1, sizeof(**tp))) == NULL)))
		rc = TN_ENOMEM;
	if (rc != 0) {
		table_fini(&t);
		return rc;
	}
	(*tp)->table[(*tp)->n++] = t;
	return 0;
}

void
sv_trace_free(struct sv_trace **tp)
{
	struct sv_trace *t = *tp;

	if (t == NULL)
		return;
	*tp = NULL;
	while (t->n > 0)
		table_fini(&t->table[--t->n]);
	free(t);
}

/* The entry that holds for a line; NULL: none, or one without a source. */
static const struct entry *
find(const struct table *t, uint32_t line)
{
	size_t low = 0, high = t->nentry, mid;	/* what is sought lies below high */

	while (low < high) {
		mid = low + (high - low) / 2;
		if (t->entry[mid].from <= line)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && t->entry[low - 1].source != NO_SOURCE ? &t->entry[low - 1] : NULL;
}

/* "(FILE:LINE)" at the beginning of s: its length, and the place; 0: nothing we know. */
static size_t
match(const struct sv_trace *t, struct tn_str s, const char **name, uint32_t *line)
{
	unsigned i;

	for (i = 0; i < t->n; i++) {
		const struct table *table = &t->table[i];
		size_t n = strlen(table->file), at = n + 2;
		const struct entry *e;
		uint32_t given = 0;

		if (s.len < n + 4 || s.p[0] != '(' || s.p[n + 1] != ':' ||
		    memcmp(s.p + 1, table->file, n) != 0)
			continue;
		for (; at < s.len && s.p[at] >= '0' && s.p[at] <= '9'; at++) {
			given = given * 10 + (uint32_t)(s.p[at] - '0');
			if (given > LINE_MAX_NUMBER)
				return 0;
		}
		if (at == n + 2 || at == s.len || s.p[at] != ')' ||
		    (e = find(table, given)) == NULL)
			return 0;
		*name = table->source[e->source];
		*line = e->line + (given - e->from);
		return at + 1;
	}
	return 0;
}

/* As much as there is room for. */
static void
put(struct tn_buf *out, const char *p, size_t n)
{
	size_t room = out->cap - out->len;

	tn_buf_append(out, p, n < room ? n : room);
}

void
sv_trace_rewrite(const struct sv_trace *t, struct tn_str text, struct tn_buf *out)
{
	char place[NAME_BYTES_MAX + 16];
	const char *name;
	uint32_t line;
	size_t n;

	while (text.len > 0 && out->len < out->cap) {
		const char *paren = t != NULL ? memchr(text.p, '(', text.len) : NULL;
		size_t plain = paren != NULL ? (size_t)(paren - text.p) : text.len;

		put(out, text.p, plain);
		text.p += plain;
		text.len -= plain;
		if (text.len == 0)
			break;
		if ((n = match(t, text, &name, &line)) > 0) {
			int len = snprintf(place, sizeof(place), "(%s:%u)", name, line);

			put(out, place, (size_t)len);
		} else {
			n = 1;
			put(out, text.p, n);
		}
		text.p += n;
		text.len -= n;
	}
}
