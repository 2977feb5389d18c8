/*
 * sv_pool.h - the workers, and the zygote they come from.
 *
 * Mechanism: asks the zygote for processes, keeps who has room, retires, replaces,
 * counts deaths.  How many there should be is sv_policy.h's to say.
 */
#ifndef SV_POOL_H
#define SV_POOL_H

#include "sv_generation.h"
#include "sv_stats.h"
#include "sv_worker.h"

struct sv_pool;

struct sv_pool_ops {
	/* Some worker has room. */
	void (*room)(void *arg);
	/* The dispatcher's queue: its length, and since when its head has waited (us, 0: empty). */
	void (*queue)(void *arg, unsigned *queued, uint64_t *head_since_us);
	void (*reply)(void *arg, struct sv_worker *w, struct sv_request *rq,
	    const struct tn_frame_reply *f);
	void (*log)(void *arg, struct sv_worker *w, const struct sv_request *rq,
	    const struct tn_frame_log *f);
	void (*operation)(void *arg, struct sv_worker *w, struct sv_request *rq,
	    const struct tn_frame_operation *f);
	void (*orphan)(void *arg, struct sv_worker *w, struct sv_request *rq, bool started);
	/* A generation is ready; images of earlier ones are worth nothing. */
	void (*generation)(void *arg);
	/* workers_min workers are ready, for the first time. */
	void (*ready)(void *arg);
	/* There never was a usable zygote, and text says why. */
	void (*failed)(void *arg, const char *text);
	/* Ask the master. */
	void (*want_zygote)(void *arg, uint64_t number);
	void (*kill_zygote)(void *arg, uint64_t number);
};

struct sv_pool *sv_pool_new(struct event_base *base, const struct tn_options *opt,
    struct sv_stats *stats, const struct sv_pool_ops *ops, void *arg);
void sv_pool_free(struct sv_pool **p);

/* Begin: ask for the first zygote. */
void sv_pool_start(struct sv_pool *p);
/* From the master: descriptors are taken; status != 0: errno. */
void sv_pool_on_zygote(struct sv_pool *p, uint64_t number, int *fd, int *pidfd, int status);
void sv_pool_on_zygote_dead(struct sv_pool *p, uint64_t number, int status);

/* The generation that serves; NULL: none yet, or just lost. */
const struct sv_generation *sv_pool_generation(const struct sv_pool *p);

/* A worker with room, one that has `image` at hand if there is one; NULL: none. */
struct sv_worker *sv_pool_pick(struct sv_pool *p, uint64_t image);
/* It was given a frame, or proved to be of no use: update who has room. */
void sv_pool_touch(struct sv_pool *p, struct sv_worker *w);
void sv_pool_unavailable(struct sv_pool *p, struct sv_worker *w);
/* The queue has grown: more workers may be due. */
void sv_pool_balance(struct sv_pool *p);

/*
 * A builder.  `done` is called once, after it was reaped: f is its BUILT or NULL when
 * it died; then text says how, and fault whose it is: the contract's (COMPILE) or ours.
 */
typedef void sv_pool_built(void *arg, const struct tn_frame_built *f, enum tn_fault fault,
    const char *text);
int sv_pool_build(struct sv_pool *p, struct tn_frame *build, sv_pool_built *done, void *arg);

/*
 * Replace workers: one by pid, those that last ran a contract, or all (both
 * NULL/0).  Returns how many; done is called when all of them are gone and their
 * replacements are ready (not when 0 is returned).
 */
unsigned sv_pool_recycle(struct sv_pool *p, pid_t pid, const char *contract,
    enum tn_retire_reason why, void (*done)(void *arg), void *arg);

/* Current gauges into stats. */
void sv_pool_gauges(struct sv_pool *p);
/* Walk over all workers. */
void sv_pool_each(struct sv_pool *p, void (*fn)(void *arg, const struct sv_worker *w), void *arg);

#endif
