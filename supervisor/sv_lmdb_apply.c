/*
 * sv_lmdb_apply.c - check a commit against the database, and do it.
 */
#include "config.h"

#include "sv_lmdb_apply.h"

#include <string.h>

#include "tn_err.h"

/* A value in the making; longer ones are refused before they come here. */
static char scratch[SV_LMDB_VALUE_BYTES];

static bool
comes_before(struct tn_str a, struct tn_str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return c != 0 ? c < 0 : a.len < b.len;
}

/* 0, the key's version (0 if it is not there) and the bytes that count of it. */
static int
look_up(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *contract, struct tn_str key,
    uint64_t *version, uint64_t *bytes)
{
	char buf[SV_LMDB_KEY_BYTES];
	MDB_val k = sv_lmdb_key(buf, contract, key), v;
	struct tn_str value;
	int rc = mdb_get(txn, t->data, &k, &v);

	*version = *bytes = 0;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc == 0)
		rc = sv_lmdb_split(&v, version, &value);
	if (rc == 0)
		*bytes = key.len + value.len - SV_STORAGE_TAG;
	return rc;
}

/* c->err tells what was found out; the return is LMDB's. */
static int
check_match(const struct sv_lmdb_tables *t, MDB_txn *txn, struct sv_storage_commit *c,
    const struct sv_storage_match *m)
{
	char buf[SV_LMDB_KEY_BYTES];
	MDB_val k = sv_lmdb_key(buf, c->contract, TN_STR("")), v;
	MDB_cursor_op op = MDB_SET_RANGE;
	struct tn_str key;
	MDB_cursor *cursor;
	size_t i = 0;
	int rc;

	if ((rc = mdb_cursor_open(txn, t->data, &cursor)) != 0)
		return rc;
	while (c->err == 0 && (rc = mdb_cursor_get(cursor, &k, &v, op)) == 0 &&
	    sv_lmdb_inner(&k, c->contract, &key)) {
		op = MDB_NEXT;
		if (!sv_storage_match(m->pattern, key))
			continue;
		if (i < m->nkeys && tn_str_eq(m->keys[i], key))
			i++;
		else if (i < m->nkeys && comes_before(m->keys[i], key))
			sv_storage_say_conflict(c, m->keys[i]);	/* gone */
		else
			sv_storage_say_conflict(c, key);	/* new */
	}
	if (c->err == 0 && i < m->nkeys)
		sv_storage_say_conflict(c, m->keys[i]);
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
check(const struct sv_lmdb_tables *t, MDB_txn *txn, struct sv_storage_commit *c,
    const struct sv_lmdb_record *r)
{
	uint64_t version, bytes;
	size_t i;
	int rc;

	for (i = 0; i < c->nreads; i++) {
		if ((rc = look_up(t, txn, c->contract, c->reads[i].key, &version,
		    &bytes)) != 0)
			return rc;
		if (version != c->reads[i].version) {
			sv_storage_say_conflict(c, c->reads[i].key);
			return 0;
		}
	}
	for (i = 0; i < c->nmatches && c->err == 0; i++)
		if (c->matches[i].members != r->members &&
		    (rc = check_match(t, txn, c, &c->matches[i])) != 0)
			return rc;
	return 0;
}

static int
clear(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *contract)
{
	char buf[SV_LMDB_KEY_BYTES];
	MDB_val k = sv_lmdb_key(buf, contract, TN_STR("")), v;
	struct tn_str key;
	MDB_cursor *cursor;
	int rc;

	if ((rc = mdb_cursor_open(txn, t->data, &cursor)) != 0)
		return rc;
	/* From the beginning each time: no matter where a deletion leaves a cursor. */
	while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE)) == 0 &&
	    sv_lmdb_inner(&k, contract, &key) && (rc = mdb_cursor_del(cursor, 0)) == 0)
		k = sv_lmdb_key(buf, contract, TN_STR(""));
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
write_key(const struct sv_lmdb_tables *t, MDB_txn *txn, struct sv_storage_commit *c,
    const struct sv_storage_write *w, struct sv_lmdb_record *r, uint64_t sequence)
{
	char buf[SV_LMDB_KEY_BYTES];
	MDB_val k = sv_lmdb_key(buf, c->contract, w->key), v;
	uint64_t version, bytes;
	int rc = look_up(t, txn, c->contract, w->key, &version, &bytes);

	if (rc != 0 || (w->gone && version == 0))
		return rc;
	r->bytes -= bytes;
	if (w->gone) {
		r->keys--;
		r->members = sequence;
		return mdb_del(txn, t->data, &k, NULL);
	}
	if (version == 0) {
		r->keys++;
		r->members = sequence;
	}
	bytes = w->key.len + w->value.len - SV_STORAGE_TAG;
	r->bytes += bytes;
	c->bytes += bytes;
	memcpy(scratch, &sequence, sizeof(sequence));
	memcpy(scratch + sizeof(sequence), w->value.p, w->value.len);
	v = sv_lmdb_val(scratch, sizeof(sequence) + w->value.len);
	return mdb_put(txn, t->data, &k, &v, 0);
}

int
sv_lmdb_apply(const struct sv_lmdb_tables *t, MDB_txn *txn, struct sv_storage_commit *c,
    bool *wrote)
{
	struct sv_lmdb_record r;
	uint64_t sequence;
	size_t i;
	int rc;

	*wrote = false;
	c->err = 0;
	c->bytes = 0;
	if ((rc = sv_lmdb_get_record(t, txn, c->contract, &r)) != 0 ||
	    (rc = check(t, txn, c, &r)) != 0 || c->err != 0 ||
	    (rc = sv_lmdb_get_number(t, txn, "sequence", &sequence)) != 0)
		return rc;
	sequence++;
	*wrote = true;
	if (c->clear && r.keys > 0) {
		if ((rc = clear(t, txn, c->contract)) != 0)
			return rc;
		r = (struct sv_lmdb_record){ .members = sequence };
	}
	for (i = 0; i < c->nwrites; i++)
		if ((rc = write_key(t, txn, c, &c->writes[i], &r, sequence)) != 0)
			return rc;
	if (r.keys > SV_STORAGE_KEYS_MAX)
		sv_storage_say_keys(c, r.keys);
	else if (r.bytes > SV_STORAGE_TOTAL_MAX)
		sv_storage_say_total(c, r.bytes);
	if (c->err != 0)
		return 0;
	c->version = sequence;
	rc = sv_lmdb_put_record(t, txn, c->contract, &r);
	return rc != 0 ? rc : sv_lmdb_put_number(t, txn, "sequence", sequence);
}
