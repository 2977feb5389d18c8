/*
 * wk_deadline.h - leave JavaScript when its time is up, whatever it does.
 *
 * SIGALRM (from the zygote, on the front's word) says that the request named in
 * the slots page has had its time.  The handler leaves by siglongjmp out of
 * Duktape, out of native code too: a regular expression that back-tracks, a sort.
 * The heap is then inconsistent: put it back, or exit.
 *
 * Code that runs inside but touches state outside the arena (the channel, the
 * random generator) stands between _hold and _release; the jump waits for it.
 */
#ifndef WK_DEADLINE_H
#define WK_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "tn_slots.h"

/* `slots` may be NULL: then any SIGALRM or SIGXCPU means the running code. */
int wk_deadline_install(struct tn_slots *slots);

/* From here on the request (or build) `id` runs; 0: none. */
void wk_deadline_arm(uint64_t id);

/* Has the armed id's time come? */
bool wk_deadline_passed(void);

/* Call fn(arg), which may be left at any instruction: 0, or TN_ETIMEOUT. */
int wk_deadline_run(void (*fn)(void *arg), void *arg);

void wk_deadline_hold(void);
void wk_deadline_release(void);

/* For Duktape's own check: a signal came and the jump waits. */
bool wk_deadline_pending(void);

#endif
