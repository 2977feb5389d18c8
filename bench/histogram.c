#include "config.h"

#include "histogram.h"

#define SUB (1u << HISTOGRAM_BITS)

/* Values below SUB have a bucket each; then come SUB buckets for each power of two. */
size_t
histogram_index(uint64_t ns)
{
	unsigned shift;

	if (ns > HISTOGRAM_MAX)
		ns = HISTOGRAM_MAX;
	if (ns < SUB)
		return (size_t)ns;
	shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_BITS;
	return ((size_t)(shift + 1) << HISTOGRAM_BITS) + (size_t)((ns >> shift) - SUB);
}

uint64_t
histogram_middle(size_t index)
{
	unsigned shift;

	if (index < SUB)
		return index;
	shift = (unsigned)(index >> HISTOGRAM_BITS) - 1;
	return ((uint64_t)(SUB + (index & (SUB - 1))) << shift) + ((UINT64_C(1) << shift) >> 1);
}

void
histogram_add(struct histogram *h, uint64_t ns)
{
	h->bucket[histogram_index(ns)]++;
	h->sum += ns;
	if (h->count == 0 || ns < h->min)
		h->min = ns;
	if (ns > h->max)
		h->max = ns;
	h->count++;
}

uint64_t
histogram_quantile(const struct histogram *h, double q)
{
	uint64_t rank, seen = 0, value;
	size_t i;

	if (h->count == 0)
		return 0;
	/* The smallest rank that is at least q of all. */
	rank = (uint64_t)(q * (double)h->count);
	if ((double)rank < q * (double)h->count || rank == 0)
		rank++;
	if (rank >= h->count)
		return h->max;
	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= rank)
			break;
	}
	value = histogram_middle(i);
	return value < h->min ? h->min : value > h->max ? h->max : value;
}
