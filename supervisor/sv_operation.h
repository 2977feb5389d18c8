/*
 * sv_operation.h - what handlers ask for while they run (operations.def).
 *
 * The request that a worker runs says whose data it is, never the worker.  An
 * operation belongs to its request: when that leaves its worker, by an answer or by
 * the worker's end, what is still under way has nobody to be answered to.
 */
#ifndef SV_OPERATION_H
#define SV_OPERATION_H

#include <stdbool.h>

#include "sv_request.h"
#include "tn_frame.h"

struct sv_operations;
struct sv_stats;
struct sv_storage;
struct sv_worker;
struct tn_options;

/* All are borrowed.  storage may be NULL: then there is none.  NULL: no memory. */
struct sv_operations *sv_operations_new(const struct tn_options *opt, struct sv_stats *stats,
    struct sv_storage *storage);
/* Commits that are under way are not waited for: close the storage first. */
void sv_operations_free(struct sv_operations **ops);

/* The worker's running request asks; ops NULL: nothing can be asked. */
void sv_operations_ask(struct sv_operations *ops, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_operation *f);

/*
 * The request has left its worker: whatever it asked is forgotten.  True: it was
 * told to end there, in order to run again.
 */
bool sv_operations_end(struct sv_request *rq);

#endif
