/*
 * sv_share.h - a contract's share of the workers: its queue, its limits, its turn.
 *
 * It is the contract's across all its versions, and lives as long as one of its
 * requests does, or the contract, or a limit of its own (option contract_limits).
 */
#ifndef SV_SHARE_H
#define SV_SHARE_H

#include <stdint.h>

#include "sv_fair.h"
#include "sv_request.h"

struct tn_options;
struct sv_shares;

/* LIMIT(name, lowest, highest): what contract_limits can say of a contract. */
#define SV_LIMITS(LIMIT)							\
	LIMIT(workers_max, 0, 10000)	/* that run it at a time; 0: all */	\
	LIMIT(workers_reserved, 0, 10000)	/* that nobody else takes */	\
	LIMIT(queue_max, 1, 1000000)	/* requests that may wait */		\
	LIMIT(weight, 1, SV_FAIR_WEIGHT_MAX)	/* its share, beside others' */

struct sv_limits {
#define SV_LIMIT_MEMBER(name, min, max) unsigned name;
	SV_LIMITS(SV_LIMIT_MEMBER)
#undef SV_LIMIT_MEMBER
};

struct sv_share {
	struct sv_flow	 flow;		/* first: the dispatcher finds the share by it */
	char		 id[SV_CONTRACT_MAX + 1];
	unsigned	 refs;
	struct sv_limits limits;
	struct sv_request_list queue;	/* those that lack a worker only */
	unsigned	 nwaiting;	/* these and those that wait for the contract or its image */
	unsigned	 nworkers;	/* that have a request of it (sv_worker.c counts) */
	uint64_t	 cost_us;	/* of a request: a mean that forgets */
	struct sv_share	*hash_next;
	struct sv_share	*reserved_next;	/* of those with workers_reserved */
	struct sv_share	*aside_next;	/* of those that wait for some worker in particular */
	bool		 is_aside;
};

/* NULL: no memory, or the option makes no sense (it was checked before). */
struct sv_shares *sv_shares_new(const struct tn_options *opt);
void sv_shares_free(struct sv_shares **s);

/* The options have changed. TN_ENOMEM: the limits stay as they were. */
int sv_shares_reload(struct sv_shares *s, const struct tn_options *opt);

/*
 * Is contract_limits in order, where there are up to workers_max workers?  TN_EINVAL: err
 * says what is wrong with which item.
 */
int sv_shares_check(const struct tn_options *opt, uint64_t workers_max, struct tn_buf *err);

/* The contract's share, held; NULL: no memory. */
struct sv_share *sv_shares_get(struct sv_shares *s, const char *id);
struct sv_share *sv_share_ref(struct sv_share *share);
void sv_share_unref(struct sv_shares *s, struct sv_share **share);

/* The flows that wait. */
struct sv_fair *sv_shares_fair(struct sv_shares *s);

/* Does any contract have workers reserved? */
bool sv_shares_any_reserved(const struct sv_shares *s);
/* Workers that must stay free for contracts other than this one. */
unsigned sv_shares_spoken_for(const struct sv_shares *s, const struct sv_share *but);

/* Are those that run it its own, so that nobody else's request may join them? */
static inline bool
sv_share_keeps_workers(const struct sv_share *share)
{
	return share->nworkers <= share->limits.workers_reserved;
}

/*
 * A request is over: it was believed to cost `believed`, is to pay `us`, and the next one
 * is expected to take what it took itself, `took`.
 */
void sv_share_charge(struct sv_shares *s, struct sv_share *share, uint64_t believed, uint64_t us,
    uint64_t took);

#endif
