/*
 * sv_lmdb_table.h - what stands in the database (sv_lmdb.h), entry by entry.
 *
 *	data		contract NUL key -> 8 bytes of version, value
 *	contracts	contract -> struct sv_lmdb_record
 *	meta		"format", "sequence" -> 8 bytes
 *
 * Integers are this machine's own, as everything is in LMDB's file.  Codes are
 * LMDB's: 0, MDB_..., or an errno.
 */
#ifndef SV_LMDB_TABLE_H
#define SV_LMDB_TABLE_H

#include <lmdb.h>

#include "sv_storage.h"

#define SV_LMDB_TABLES		3u
#define SV_LMDB_KEY_BYTES	(SV_CONTRACT_MAX + 1u + SV_STORAGE_KEY_MAX)
#define SV_LMDB_VALUE_BYTES	(sizeof(uint64_t) + SV_STORAGE_TAG + SV_STORAGE_VALUE_MAX)

struct sv_lmdb_tables {
	MDB_env		*env;
	MDB_dbi		 data, contracts, meta;
};

/* Of a contract; one without keys has none.  bytes: of all keys and values. */
struct sv_lmdb_record {
	uint64_t	 members, keys, bytes;
};

/* Open the tables; flags without MDB_RDONLY: make those that are not there. */
int sv_lmdb_open_tables(struct sv_lmdb_tables *t, unsigned flags);

MDB_val sv_lmdb_val(const void *p, size_t n);
/* The entry of a contract's key in `data`; with an empty key it comes before all others. */
MDB_val sv_lmdb_key(char buf[SV_LMDB_KEY_BYTES], const char *contract, struct tn_str key);
/* The key within, if it is one of the contract's; false: the walk has left it. */
bool sv_lmdb_inner(const MDB_val *k, const char *contract, struct tn_str *key);
/* 0; MDB_CORRUPTED: too short to be one of ours. */
int sv_lmdb_split(const MDB_val *v, uint64_t *version, struct tn_str *value);

/* All 0 if there is none. */
int sv_lmdb_get_record(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *contract,
    struct sv_lmdb_record *r);
int sv_lmdb_put_record(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *contract,
    const struct sv_lmdb_record *r);
/* Of `meta`; 0 if there is none. */
int sv_lmdb_get_number(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *name, uint64_t *n);
int sv_lmdb_put_number(const struct sv_lmdb_tables *t, MDB_txn *txn, const char *name, uint64_t n);

/* A code as a text for people, which names the file. */
void sv_lmdb_say(char text[SV_STORAGE_TEXT_MAX], const char *file, int rc);

#endif
