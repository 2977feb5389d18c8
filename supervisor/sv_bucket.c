/*
 * sv_bucket.c - how often something may be asked for.
 */
#include "config.h"

#include "sv_bucket.h"

#include "tn_clock.h"

bool
sv_bucket_allow(struct sv_bucket *b)
{
	uint64_t now = tn_clock_us(), n;

	if (b->spent == 0)
		b->since_us = now;
	n = (now - b->since_us) / b->every_us;
	if (n >= b->spent) {
		b->spent = 0;
		b->since_us = now;
	} else {
		b->spent -= (unsigned)n;
		b->since_us += n * b->every_us;
	}
	if (b->spent >= b->burst)
		return false;
	b->spent++;
	return true;
}
