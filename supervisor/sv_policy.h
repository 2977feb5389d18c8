/*
 * sv_policy.h - how many workers there should be: pure decisions, no mechanism.
 */
#ifndef SV_POLICY_H
#define SV_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* The queue's head waits so long before the pool grows, in microseconds. */
#define SV_POLICY_GROW_US	10000u
/* Delay of respawning after a death before READY: doubles from, up to. */
#define SV_POLICY_DELAY_MIN_MS	100u
#define SV_POLICY_DELAY_MAX_MS	60000u

struct sv_policy_in {
	unsigned	min, max;	/* workers_min, workers_max, as `pool` has them */
	unsigned	standby_min;	/* workers_standby */
	unsigned	starting;	/* asked for, not ready yet */
	unsigned	standby;	/* ready, and kept in reserve */
	unsigned	idle, busy;	/* ready, not retiring; to be replaced ones included */
	unsigned	leaving;	/* busy with the only request they will get; not in busy */
	unsigned	pending;	/* of idle and busy: to be replaced, then retired */
	unsigned	queued;		/* requests that wait for a worker */
	unsigned	unused;		/* workers wanted for them that have served nobody yet */
	uint64_t	head_wait_us;	/* how long the first of them has waited */
	bool		one_shot;	/* isolation = process: a worker answers once */
};

struct sv_policy_out {
	unsigned	promote;	/* of those in reserve, to take part from now on */
	unsigned	retire;		/* of the pending ones, that can go now */
	unsigned	spawn;		/* workers to ask for */
	unsigned	urgent;		/* of those, that are not for the reserve */
};

/*
 * Besides min to max workers that take part, standby_min are held in reserve: they
 * replace at once who dies or is to be replaced, and serve who wants a process that
 * has served nobody.  Every worker begins in reserve.
 */
struct sv_policy_out sv_policy_size(const struct sv_policy_in *in);

/* Next delay after a death before READY, given the last one (0: none). */
unsigned sv_policy_backoff(unsigned delay_ms);

/* How many of the idle workers above min may be retired. */
unsigned sv_policy_surplus(const struct sv_policy_in *in);

#endif
