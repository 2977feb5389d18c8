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

/*
 * Is the file a database of ours that can be read from end to end?  0, or a TN_E
 * code and text says what is wrong.  It is looked at by a process of its own, which
 * what is in the file may crash.
 */
int sv_lmdb_check(const char *file, char text[SV_STORAGE_TEXT_MAX]);

#endif
