/*
 * sv_program.h - where the programs are that the master starts.
 */
#ifndef SV_PROGRAM_H
#define SV_PROGRAM_H

#include "sv_user.h"

/*
 * The option's value if it has one, else `name` beside this program, else in `dir`.
 * Returns an absolute path (the caller's), or NULL: err names what was looked for.
 */
char *sv_program_find(const char *option, const char *value, const char *name, const char *dir,
    struct tn_buf *err);

/*
 * Why the user (NULL: we ourselves) cannot read `path`: append it to err and
 * return true; false when nothing stands in the way.  Without `ancestors` the directories
 * above it do not matter.  A guess from owners and modes, for messages only.
 */
bool sv_program_explain(const char *path, const struct sv_user *user, bool ancestors,
    struct tn_buf *err);

#endif
