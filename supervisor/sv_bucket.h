/*
 * sv_bucket.h - how often something may be asked for: `burst` times at once, then once
 * every `every_us`.
 */
#ifndef SV_BUCKET_H
#define SV_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct sv_bucket {
	unsigned	burst;
	uint64_t	every_us;
	unsigned	spent;		/* zero at the beginning, both */
	uint64_t	since_us;
};

bool sv_bucket_allow(struct sv_bucket *b);

#endif
