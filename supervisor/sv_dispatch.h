/*
 * sv_dispatch.h - from a request to a worker and back.
 *
 * A request waits in one of three places: at its contract while that is being
 * made ready, at its version while the image is built, in its contract's queue for a
 * worker (sv_share.h), until it is the contract's turn (sv_fair.h) and a worker has
 * room.  Then it is with a worker, until the reply or the worker's end, unless it is
 * taken back before it has begun.
 * (sv_request.h has submit and cancel, which the HTTP side calls.)
 */
#ifndef SV_DISPATCH_H
#define SV_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "sv_request.h"

struct event_base;
struct tn_options;
struct sv_contracts;
struct sv_lower;
struct sv_operations;
struct sv_pool;
struct sv_stats;

/* Called up. */
struct sv_dispatch_ops {
	/* workers_min workers are ready, for the first time. */
	void (*ready)(void *arg);
	/* There never was a usable zygote, and text says why. */
	void (*failed)(void *arg, const char *text);
	/* Ask the master. */
	void (*want_zygote)(void *arg, uint64_t number);
	void (*kill_zygote)(void *arg, uint64_t number);
};

/* dir_fd: the contracts directory (borrowed); lower: the compiler (borrowed). NULL: no memory. */
struct sv_dispatch *sv_dispatch_new(struct event_base *base, const struct tn_options *opt,
    struct sv_stats *stats, struct sv_lower *lower, int dir_fd,
    const struct sv_dispatch_ops *ops, void *arg);
void sv_dispatch_free(struct sv_dispatch **d);

/* Who answers what running requests ask for (borrowed); without, nothing can be asked. */
void sv_dispatch_set_operations(struct sv_dispatch *d, struct sv_operations *ops);

/* The options have changed. */
void sv_dispatch_reload(struct sv_dispatch *d);

/* Is there one request, which has just been handed out?  Then its answer may be watched for. */
bool sv_dispatch_watches(const struct sv_dispatch *d);

struct sv_pool *sv_dispatch_pool(struct sv_dispatch *d);
struct sv_contracts *sv_dispatch_contracts(struct sv_dispatch *d);

/* Bring the gauges in stats up to date (the pool's and the images' too). */
void sv_dispatch_gauges(struct sv_dispatch *d);

#endif
