/*
 * sv_stats.h - what the front counts (metrics.def) and times (phases.def).
 */
#ifndef SV_STATS_H
#define SV_STATS_H

#include <msgpack.h>
#include <stdint.h>

#include "sv_request.h"

/* A histogram of microseconds: 4 buckets per power of two, relative error < 19 %. */
#define SV_HISTOGRAM_BUCKETS 128
struct sv_histogram {
	uint64_t	count, sum_us, max_us;
	uint64_t	bucket[SV_HISTOGRAM_BUCKETS];
};
void sv_histogram_add(struct sv_histogram *h, uint64_t us);
/* Upper bound of the bucket that holds quantile q (0..1); 0 when empty. */
uint64_t sv_histogram_quantile(const struct sv_histogram *h, double q);

struct sv_stats {
#define TN_COUNTER(name, doc) uint64_t name;
#define TN_GAUGE(name, doc) uint64_t name;
#define TN_TIME(name, doc) struct sv_histogram time_##name;
#include "metrics.def"
#define TN_PHASE(sym, name, doc) struct sv_histogram phase_##sym;
#include "phases.def"
	uint64_t started_us;
};

void sv_stats_init(struct sv_stats *st);
/* Count an answered request: status class and all phases. */
void sv_stats_request(struct sv_stats *st, int status, const struct sv_timings *t);
/*
 * One map: every counter and gauge by name, and "phases": { name: {count, mean_us,
 * p50_us, p99_us, max_us} }, times (TN_TIME) after the phases.
 */
void sv_stats_pack(const struct sv_stats *st, msgpack_packer *pk);

#endif
