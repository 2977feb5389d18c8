/*
 * sv_stats.h - what the front counts (metrics.def) and times (phases.def).
 */
#ifndef SV_STATS_H
#define SV_STATS_H

#include <msgpack.h>
#include <stdint.h>

#include "sv_request.h"
#include "tn_worker_state.h"

/* A histogram of microseconds: 4 buckets per power of two, relative error < 19 %. */
#define SV_HISTOGRAM_BUCKETS 128
struct sv_histogram {
	uint64_t	count, sum_us, max_us;
	uint64_t	bucket[SV_HISTOGRAM_BUCKETS];
};
void sv_histogram_add(struct sv_histogram *h, uint64_t us);
/* Upper bound of the bucket that holds quantile q (0..1); 0 when empty. */
uint64_t sv_histogram_quantile(const struct sv_histogram *h, double q);
/* The greatest value that goes to a bucket (what is longer goes to the last one, too). */
uint64_t sv_histogram_last(unsigned bucket);

struct sv_stats {
#define TN_COUNTER(name, doc, ...) uint64_t name;
#define TN_GAUGE(name, doc, ...) uint64_t name;
#define TN_COUNTERS(name, doc, label, n, value) uint64_t name[n];
#define TN_GAUGES(name, doc, label, n, value) uint64_t name[n];
#define TN_TIME(name, doc) struct sv_histogram time_##name;
#include "metrics.def"
#define TN_PHASE(sym, name, doc) struct sv_histogram phase_##sym;
#include "phases.def"
	uint64_t started_us;
};

void sv_stats_init(struct sv_stats *st);
/*
 * Count an answered request: status class, also for its contract, and all phases.
 * rq NULL: it was refused before it was a request that takes time.
 */
void sv_stats_answer(struct sv_stats *st, int status, const struct sv_request *rq);
/* The counters of all statuses, in the order of metrics.def. */
void sv_stats_statuses(const struct sv_stats *st, uint64_t n[SV_STATUSES]);
/* The n-th one's class, 2 to 5. */
unsigned sv_stats_class(unsigned n);
/*
 * One map: every counter and gauge by name, those with a label as { value: number }, and
 * "phases": { name: {count, sum_us, mean_us, p50_us, p99_us, max_us, buckets} }, times (TN_TIME)
 * after the phases; buckets: [greatest value in us, how many] of each that is not empty.
 */
void sv_stats_pack(const struct sv_stats *st, msgpack_packer *pk);
/* The same map, in which the caller then packs so many pairs more. */
void sv_stats_pack_with(const struct sv_stats *st, msgpack_packer *pk, size_t more);
/*
 * The other way, from another process: what is not known is left out, what is missing is
 * 0.  TN_EPROTO: it is no such map.
 */
int sv_stats_unpack(struct sv_stats *st, const msgpack_object *o);
/* Add those of another shard, as if one had counted all; contracts are the same for both. */
void sv_stats_add(struct sv_stats *st, const struct sv_stats *other);
/* Leave what only grows: somebody has counted that, and is not there any more. */
void sv_stats_clear_gauges(struct sv_stats *st);

#endif
