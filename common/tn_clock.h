/*
 * tn_clock.h - time, in microseconds of CLOCK_MONOTONIC unless said otherwise.
 */
#ifndef TN_CLOCK_H
#define TN_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
tn_clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* Wall clock, milliseconds since the epoch. */
static inline double
tn_clock_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec * 1e3 + (double)(ts.tv_nsec / 1000000);
}

#endif
