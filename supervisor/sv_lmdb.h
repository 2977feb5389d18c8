/*
 * sv_lmdb.h - storage (sv_storage.h) in an embedded database: LMDB.
 *
 * One directory, PATH, with LMDB's two files.  The file is opened now; if that
 * fails the storage is there all the same, answers TN_EUNAVAIL, and tries again
 * now and then.
 */
#ifndef SV_LMDB_H
#define SV_LMDB_H

#include "sv_storage.h"

/* NULL: no memory, or no thread.  opt and stats are borrowed. */
struct sv_storage *sv_lmdb_open(struct event_base *base, const char *path,
    const struct tn_options *opt, struct sv_stats *stats);

#endif
