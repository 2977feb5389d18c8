/*
 * sv_trace.h - stacks in the author's terms.
 *
 * An engine's stack names lines of compiled text: "(get.js:287)".  The compiler
 * leaves a table beside each compiled file (worker/toolchain/lines.js says what
 * is in it), which tells the line of which source that was: "(get.ts:4)".
 *
 * Tables come from the contracts directory or the compiler, stacks from
 * workers: none of it is believed, all of it is bounded.
 */
#ifndef SV_TRACE_H
#define SV_TRACE_H

#include "tn_str.h"

struct sv_trace;			/* the tables of one version's files */

#define SV_TRACE_SUFFIX	".lines"	/* get.js has its table in get.js.lines */

/*
 * Take a file's table, both borrowed; *t is made if it is NULL.  TN_EINVAL: it
 * is no table, TN_ELIMIT: too large, TN_ENOMEM; then nothing was added.
 */
int sv_trace_add(struct sv_trace **t, struct tn_str file, struct tn_str table);
void sv_trace_free(struct sv_trace **t);

/*
 * Append the text to a buffer of fixed size, with each "(FILE:LINE)" that a
 * table knows in the author's terms; what does not fit is left out.  t may be
 * NULL: then the text stays as it is.
 */
void sv_trace_rewrite(const struct sv_trace *t, struct tn_str text, struct tn_buf *out);

#endif
