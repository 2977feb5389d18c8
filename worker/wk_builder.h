/*
 * wk_builder.h - the process that makes one contract's image: it compiles the
 * files and runs their module level, under the worker's sandbox and limits, in its
 * own copy of the base heap, and tells what is different then.
 */
#ifndef WK_BUILDER_H
#define WK_BUILDER_H

#include "tn_slots.h"
#include "tn_zygote.h"

/* Before the sandbox, with the base heap in the arena.  The channel is WK_CHANNEL_FD. */
int wk_builder_prepare(const struct tn_zy_setup *setup, struct tn_slots *slots);

/* Build what BUILD says, answer BUILT; returns the exit status. */
int wk_builder_serve(void);

#endif
