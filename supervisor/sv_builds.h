/*
 * sv_builds.h - who has images made: what is wanted now first, then what a generation
 * that comes is to have when it takes over.
 */
#ifndef SV_BUILDS_H
#define SV_BUILDS_H

#include "tn_err.h"

struct event_base;
struct tn_options;
struct sv_builds;
struct sv_contracts;
struct sv_generation;
struct sv_images;
struct sv_pool;
struct sv_stats;
struct sv_version;

/* A wanted image is there (fault 0), or why not: what waits for it goes on. */
typedef void sv_builds_settled(void *arg, struct sv_version *v, enum tn_fault fault,
    const char *message);

/* All borrowed; NULL: no memory. */
struct sv_builds *sv_builds_new(struct event_base *base, const struct tn_options *opt,
    struct sv_stats *stats, struct sv_pool *pool, struct sv_contracts *contracts,
    struct sv_images *images, sv_builds_settled *settled, void *arg);
/* Builders that are at it end unheard: after sv_pool_free(), before sv_contracts_free(). */
void sv_builds_free(struct sv_builds **bs);

/* Have the version's image made, for the generation that serves or the next that does. */
void sv_builds_want(struct sv_builds *bs, struct sv_version *v);

/*
 * Make the images of a generation that is warm, of those versions that have one now, used
 * last first, as long as zygote_fill_ms and images_memory_max allow; then tell the pool.
 * NULL: it is lost.
 */
void sv_builds_fill(struct sv_builds *bs, const struct sv_generation *coming);

/* A generation has taken over: the images made for it are the versions', others are gone. */
void sv_builds_taken_over(struct sv_builds *bs);

#endif
