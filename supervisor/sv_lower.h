/*
 * sv_lower.h - the front's end of the compiler: TypeScript in, ES5 out.
 *
 * The compiler is a process that the master starts when it is first needed; it
 * parses foreign code and may die or hang, which fails the job at hand only.
 */
#ifndef SV_LOWER_H
#define SV_LOWER_H

#include <stddef.h>

#include "tn_str.h"

struct event_base;
struct tn_options;
struct sv_stats;
struct sv_lower;

/*
 * 0: files has name, text, name, text ... (borrowed); behind a file its table of
 * lines, perhaps (sv_trace.h).  Else err says in one line why.
 */
typedef void sv_lower_done(void *arg, int err, const struct tn_str *files, size_t n,
    const char *message);

/* `want`/`kill` ask the master to start or kill the compiler. */
struct sv_lower *sv_lower_new(struct event_base *base, const struct tn_options *opt,
    struct sv_stats *stats, void (*want)(void *), void (*kill)(void *), void *arg);
void sv_lower_free(struct sv_lower **l);

/* Lower the named files of the contract's directory. */
void sv_lower_submit(struct sv_lower *l, const char *contract, const char *const *files,
    size_t nfiles, sv_lower_done *done, void *arg);

/* From the master: the socket (taken), or -1 with errno; and its end. */
void sv_lower_on_started(struct sv_lower *l, int fd, int err);
void sv_lower_on_dead(struct sv_lower *l);

#endif
