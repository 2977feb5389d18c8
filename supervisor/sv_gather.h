/*
 * sv_gather.h - one answer out of those of all shards.
 *
 * What a control client asks of the server is asked of each shard (sv_peers.h): numbers
 * are added, lists follow one another with `shard` in each row, errors name their shard.
 * A shard that does not answer is told of in the answer, not waited for.
 */
#ifndef SV_GATHER_H
#define SV_GATHER_H

#include "sv_openmetrics.h"
#include "sv_stats.h"
#include "tn_str.h"

struct sv_gather;
struct sv_peers;

struct sv_gather *sv_gather_new(struct sv_peers *peers);	/* borrowed; NULL: no memory */
void sv_gather_free(struct sv_gather **g);	/* before its peers */

/* Another front is this shard now: what is known of the one before is all that will be. */
void sv_gather_renewed(struct sv_gather *g, unsigned shard);

/* Is it asked of all?  Else the first shard answers for itself, or has the master do it. */
bool sv_gather_wants(struct tn_str method, const msgpack_object *params);
/* error NULL: `result` is one packed object. */
typedef void sv_gather_done(void *arg, const char *error, const struct tn_buf *result);
/* 0, and done is called, once, later; or TN_E... */
int sv_gather_ask(struct sv_gather *g, struct tn_str method, const msgpack_object *params,
    sv_gather_done *done, void *arg);

/*
 * For metrics, whose counters do not go back: what a front had counted that is not there
 * any more is still in it, as of the last time it was asked.  st NULL: no memory.
 */
typedef void sv_gather_metrics_done(void *arg, const struct sv_stats *st,
    const struct sv_openmetrics_contract *contracts, size_t n);
int sv_gather_metrics(struct sv_gather *g, sv_gather_metrics_done *done, void *arg);

#endif
