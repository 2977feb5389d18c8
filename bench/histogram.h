/*
 * histogram.h - durations, in nanoseconds, in buckets whose width grows with the value:
 * 128 a power of two, so that a quantile is within 1 % of the true one.  Count, sum, least
 * and greatest are exact.  What is longer than HISTOGRAM_MAX counts as that.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BITS 7	/* of a value that its bucket keeps, besides the first */
#define HISTOGRAM_MAX ((UINT64_C(1) << 42) - 1)	/* 73 minutes */
#define HISTOGRAM_BUCKETS ((42 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
	uint64_t	count, sum, min, max;
	uint64_t	bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);

/* The value that a share q (0 to 1) of all does not exceed; 0 if there is none. */
uint64_t histogram_quantile(const struct histogram *h, double q);

/* The buckets' bounds, for tests: the bucket of a value, the middle of a bucket. */
size_t histogram_index(uint64_t ns);
uint64_t histogram_middle(size_t index);

#endif
