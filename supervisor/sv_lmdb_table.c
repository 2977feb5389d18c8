/*
 * sv_lmdb_table.c - what stands in the database, entry by entry.
 */
#include "config.h"

#include "sv_lmdb_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FORMAT		1u

int
sv_lmdb_open_tables(struct sv_lmdb_tables *t, unsigned flags)
{
	static const char *const names[SV_LMDB_TABLES] = { "data", "contracts", "meta" };
	MDB_dbi *dbi[SV_LMDB_TABLES] = { &t->data, &t->contracts, &t->meta };
	unsigned create = flags & MDB_RDONLY ? 0 : MDB_CREATE;
	uint64_t format;
	MDB_txn *txn;
	unsigned i;
	int rc = mdb_txn_begin(t->env, NULL, flags & MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	for (i = 0; i < SV_LMDB_TABLES && rc == 0; i++)
		rc = mdb_dbi_open(txn, names[i], create, dbi[i]);
	if (rc == 0)
		rc = sv_lmdb_get_number(t, txn, "format", &format);
	if (rc == 0 && format == 0 && create != 0) {
		format = FORMAT;
		rc = sv_lmdb_put_number(t, txn, "format", FORMAT);
	}
	if (rc == 0 && format != FORMAT)
		rc = MDB_VERSION_MISMATCH;
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

MDB_val
sv_lmdb_val(const void *p, size_t n)
{
	return (MDB_val){ .mv_size = n, .mv_data = (void *)(uintptr_t)p };
}

MDB_val
sv_lmdb_key(char buf[SV_LMDB_KEY_BYTES], const char *contract, struct tn_str key)
{
	size_t n = strlen(contract) + 1;

	memcpy(buf, contract, n);
	if (key.len > 0)
		memcpy(buf + n, key.p, key.len);
	return sv_lmdb_val(buf, n + key.len);
}

bool
sv_lmdb_inner(const MDB_val *k, const char *contract, struct tn_str *key)
{
	size_t n = strlen(contract) + 1;

	if (k->mv_size < n || memcmp(k->mv_data, contract, n) != 0)
		return false;
	*key = (struct tn_str){ (const char *)k->mv_data + n, k->mv_size - n };
	return true;
}

int
sv_lmdb_split(const MDB_val *v, uint64_t *version, struct tn_str *value)
{
	if (v->mv_size < sizeof(*version) + SV_STORAGE_TAG)
		return MDB_CORRUPTED;
	memcpy(version, v->mv_data, sizeof(*version));
	*value = (struct tn_str){ (const char *)v->mv_data + sizeof(*version),
	    v->mv_size - sizeof(*version) };
	return 0;
}

int
sv_lmdb_get_record(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *contract,
    struct sv_lmdb_record *r)
{
	MDB_val k = sv_lmdb_val(contract, strlen(contract)), v;
	int rc = mdb_get(txn, t->contracts, &k, &v);

	*r = (struct sv_lmdb_record){ 0, 0, 0 };
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc == 0 && v.mv_size != sizeof(*r))
		return MDB_CORRUPTED;
	if (rc == 0)
		memcpy(r, v.mv_data, sizeof(*r));
	return rc;
}

int
sv_lmdb_put_record(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *contract,
    const struct sv_lmdb_record *r)
{
	MDB_val k = sv_lmdb_val(contract, strlen(contract)), v = sv_lmdb_val(r, sizeof(*r));
	int rc;

	if (r->keys > 0)
		return mdb_put(txn, t->contracts, &k, &v, 0);
	rc = mdb_del(txn, t->contracts, &k, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int
sv_lmdb_get_number(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *name, uint64_t *n)
{
	MDB_val k = sv_lmdb_val(name, strlen(name)), v;
	int rc = mdb_get(txn, t->meta, &k, &v);

	*n = 0;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc == 0 && v.mv_size != sizeof(*n))
		return MDB_CORRUPTED;
	if (rc == 0)
		memcpy(n, v.mv_data, sizeof(*n));
	return rc;
}

int
sv_lmdb_put_number(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *name, uint64_t n)
{
	MDB_val k = sv_lmdb_val(name, strlen(name)), v = sv_lmdb_val(&n, sizeof(n));

	return mdb_put(txn, t->meta, &k, &v, 0);
}

void
sv_lmdb_say(char text[SV_STORAGE_TEXT_MAX], const char *file, int rc)
{
	if (rc == MDB_MAP_FULL)
		snprintf(text, SV_STORAGE_TEXT_MAX, "Storage is full: %s has reached storage_size",
		    file);
	else if (rc == ENOSPC || rc == EDQUOT)
		snprintf(text, SV_STORAGE_TEXT_MAX, "Storage is full: %s: %s", file, strerror(rc));
	else
		snprintf(text, SV_STORAGE_TEXT_MAX, "Storage failed: %s: %s", file,
		    mdb_strerror(rc));
}
