/*
 * sv_storage.c - what all backends have in common: commits, limits, texts.
 */
#include "config.h"

#include "sv_storage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tn_clock.h"
#include "tn_err.h"
#include "tn_operation.h"

void
sv_storage_close(struct sv_storage **stp)
{
	struct sv_storage *st = *stp;

	if (st == NULL)
		return;
	*stp = NULL;
	st->backend->close(st);
}

void
sv_storage_get(struct sv_storage *st, const char *contract, struct tn_str key,
    sv_storage_got *done, void *arg)
{
	st->backend->get(st, contract, key, done, arg);
}

void
sv_storage_list(struct sv_storage *st, const char *contract, bool values,
    sv_storage_listed *done, void *arg)
{
	st->backend->list(st, contract, values, done, arg);
}

void
sv_storage_commit(struct sv_storage *st, struct sv_storage_commit **cp)
{
	struct sv_storage_commit *c = *cp;

	*cp = NULL;
	c->begun_us = tn_clock_us();
	st->backend->commit(st, c);
}

void
sv_storage_stat(struct sv_storage *st, struct sv_storage_stat *s)
{
	memset(s, 0, sizeof(*s));
	st->backend->stat(st, s);
}

int
sv_storage_copy(struct sv_storage *st, sv_storage_copied *done, void *arg)
{
	return st->backend->copy(st, done, arg);
}

/* -- texts ---------------------------------------------------------------- */

void
sv_storage_say_conflict(struct sv_storage_commit *c, struct tn_str key)
{
	c->err = TN_EBUSY;
	snprintf(c->text, sizeof(c->text), "Conflict: %.*s changed since it was read",
	    (int)key.len, key.p);
}

void
sv_storage_say_total(struct sv_storage_commit *c, uint64_t bytes)
{
	c->err = TN_ELIMIT;
	snprintf(c->text, sizeof(c->text), "Storage limit exceeded: %" PRIu64 " bytes (max %u)",
	    bytes, SV_STORAGE_TOTAL_MAX);
}

void
sv_storage_say_keys(struct sv_storage_commit *c, uint64_t keys)
{
	c->err = TN_ELIMIT;
	snprintf(c->text, sizeof(c->text), "Too many keys: %" PRIu64 " (max %u)", keys,
	    SV_STORAGE_KEYS_MAX);
}

/* -- patterns ------------------------------------------------------------- */

/* (As in tana-data.js; by bytes it comes to the same, for * takes whole characters or fails.) */
bool
sv_storage_match(struct tn_str pattern, struct tn_str key)
{
	size_t p = 0, k = 0, star = SIZE_MAX, mark = 0;

	while (k < key.len) {
		if (p < pattern.len && pattern.p[p] == '*') {
			star = p++;
			mark = k;
		} else if (p < pattern.len && pattern.p[p] == key.p[k]) {
			p++;
			k++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			k = ++mark;
		} else
			return false;
	}
	while (p < pattern.len && pattern.p[p] == '*')
		p++;
	return p == pattern.len;
}

/* -- commits -------------------------------------------------------------- */

static int
by_bytes(const void *a, const void *b)
{
	const struct tn_str *s = a, *t = b;
	size_t n = s->len < t->len ? s->len : t->len;
	int c = n > 0 ? memcmp(s->p, t->p, n) : 0;

	return c != 0 ? c : (s->len > t->len) - (s->len < t->len);
}

static int
too_large(const char *what, size_t bytes, unsigned max, char text[SV_STORAGE_TEXT_MAX])
{
	snprintf(text, SV_STORAGE_TEXT_MAX, "%s too large: %zu bytes (max %u)", what, bytes, max);
	return TN_ELIMIT;
}

static int
take_key(struct tn_str *rest, struct tn_str *key, const char *what, char text[SV_STORAGE_TEXT_MAX])
{
	if (tn_operation_take(rest, key) != 0)
		return TN_EPROTO;
	return key->len > SV_STORAGE_KEY_MAX ?
	    too_large(what, key->len, SV_STORAGE_KEY_MAX, text) : 0;
}

static int
take_match(struct tn_str *rest, struct sv_storage_match *m, struct tn_str *keys, size_t room,
    char text[SV_STORAGE_TEXT_MAX])
{
	uint64_t n, i;
	int rc = take_key(rest, &m->pattern, "Pattern", text);

	if (rc == 0 && (tn_operation_take_u64(rest, &m->members) != 0 ||
	    tn_operation_take_u64(rest, &n) != 0 || n > room))
		rc = TN_EPROTO;
	if (rc != 0)
		return rc;
	for (i = 0; i < n; i++)
		if ((rc = take_key(rest, &keys[i], "Key", text)) != 0)
			return rc;
	m->keys = keys;
	m->nkeys = (size_t)n;
	qsort(keys, m->nkeys, sizeof(keys[0]), by_bytes);
	return 0;
}

/* The arrays have room for as much as the payload can hold. */
static int
parse(struct sv_storage_commit *c, struct tn_str rest, struct tn_str *keys, size_t room,
    char text[SV_STORAGE_TEXT_MAX])
{
	struct tn_str letter;
	size_t nkeys = 0;
	int rc;

	while ((rc = tn_operation_take(&rest, &letter)) == 0) {
		if (letter.len != 1)
			return TN_EPROTO;
		switch (letter.p[0]) {
		case 'r': {
			struct sv_storage_read *r = &c->reads[c->nreads++];

			if ((rc = take_key(&rest, &r->key, "Key", text)) != 0)
				return rc;
			if (tn_operation_take_u64(&rest, &r->version) != 0)
				return TN_EPROTO;
			break;
		}
		case 'm': {
			struct sv_storage_match *m = &c->matches[c->nmatches++];

			if ((rc = take_match(&rest, m, keys + nkeys, room - nkeys, text)) != 0)
				return rc;
			nkeys += m->nkeys;
			break;
		}
		case 'c':
			if (c->nwrites > 0)
				return TN_EPROTO;
			c->clear = true;
			break;
		case 's':
		case 'd': {
			struct sv_storage_write *w = &c->writes[c->nwrites++];

			w->gone = letter.p[0] == 'd';
			if ((rc = take_key(&rest, &w->key, "Key", text)) != 0)
				return rc;
			if (w->gone)
				break;
			if (tn_operation_take(&rest, &w->value) != 0 ||
			    w->value.len < SV_STORAGE_TAG)
				return TN_EPROTO;
			if (w->value.len - SV_STORAGE_TAG > SV_STORAGE_VALUE_MAX)
				return too_large("Value", w->value.len - SV_STORAGE_TAG,
				    SV_STORAGE_VALUE_MAX, text);
			break;
		}
		default:
			return TN_EPROTO;
		}
	}
	return rc == TN_ENOENT ? 0 : rc;
}

static int
count_texts(struct tn_str rest, size_t *n)
{
	struct tn_str text;
	int rc;

	for (*n = 0; (rc = tn_operation_take(&rest, &text)) == 0; ++*n)
		;
	return rc == TN_ENOENT ? 0 : rc;
}

struct sv_storage_commit *
sv_storage_commit_parse(const char *contract, struct tn_str payload, int *err,
    char text[SV_STORAGE_TEXT_MAX])
{
	struct sv_storage_commit *c;
	struct tn_str *keys;
	size_t texts;
	char *copy;

	if ((*err = count_texts(payload, &texts)) != 0)
		return NULL;
	*err = TN_ENOMEM;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	snprintf(c->contract, sizeof(c->contract), "%s", contract);
	/* The least that an item takes is 2 texts, 3 if it was read, 4 if it is a pattern. */
	c->memory = malloc((texts + 1) * sizeof(keys[0]) + payload.len);
	c->reads = calloc(texts / 3 + 1, sizeof(c->reads[0]));
	c->matches = calloc(texts / 4 + 1, sizeof(c->matches[0]));
	c->writes = calloc(texts / 2 + 1, sizeof(c->writes[0]));
	if (c->memory == NULL || c->reads == NULL || c->matches == NULL || c->writes == NULL) {
		sv_storage_commit_free(&c);
		return NULL;
	}
	keys = c->memory;
	copy = (char *)c->memory + (texts + 1) * sizeof(keys[0]);
	if (payload.len > 0)
		memcpy(copy, payload.p, payload.len);
	*err = parse(c, (struct tn_str){ copy, payload.len }, keys, texts, text);
	if (*err != 0)
		sv_storage_commit_free(&c);
	return c;
}

void
sv_storage_commit_free(struct sv_storage_commit **cp)
{
	struct sv_storage_commit *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	free(c->reads);
	free(c->matches);
	free(c->writes);
	free(c->memory);
	free(c);
}
