/*
 * sv_lmdb_apply.h - check a commit against the database, and do it.
 */
#ifndef SV_LMDB_APPLY_H
#define SV_LMDB_APPLY_H

#include "sv_lmdb_table.h"

/*
 * Within a transaction.  0 and c->err 0: done, c->version and c->bytes are set.  Anything
 * else, c->err (with c->text) or a code of LMDB: if *wrote, abort the transaction; else it
 * is as it was (a conflict shows before anything is written).  For one thread at a time.
 */
int sv_lmdb_apply(const struct sv_lmdb_tables *t, MDB_txn *txn, struct sv_storage_commit *c,
    bool *wrote);

#endif
