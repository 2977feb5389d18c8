/*
 * sv_lmdb_check.h - is a file a database of ours that can be read from end to end?
 *
 * LMDB trusts the file that it maps, so that noise in it may crash who reads it: it
 * is looked at by a process of its own.  That takes as long as to read it all.
 */
#ifndef SV_LMDB_CHECK_H
#define SV_LMDB_CHECK_H

#include "sv_storage.h"

/* 0, or TN_EUNAVAIL and text says what is wrong, and with which file. */
int sv_lmdb_check(const char *file, char text[SV_STORAGE_TEXT_MAX]);
/* The same for one in its place, `file` in `dir`, which may not be begun yet, or in use. */
int sv_lmdb_check_dir(const char *dir, const char *file, char text[SV_STORAGE_TEXT_MAX]);

#endif
