/*
 * sv_restore.h - put a backup (tana-ctl backup) in the place of contracts' data.
 */
#ifndef SV_RESTORE_H
#define SV_RESTORE_H

#include "tn_err.h"
#include "tn_str.h"

struct tn_options;

/*
 * While no server runs.  The exit status, and a line in `text`: what was done, or
 * why not; then the data is as it was.
 */
enum tn_exit sv_restore(const struct tn_options *o, const char *file, struct tn_buf *text);

#endif
