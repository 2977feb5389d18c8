/*
 * sv_pool.h - the workers, and the zygote they come from.
 *
 * Mechanism: asks the zygote for processes, keeps who has room, retires, replaces,
 * counts deaths.  How many there should be is sv_policy.h's to say.
 */
#ifndef SV_POOL_H
#define SV_POOL_H

#include "sv_builder.h"
#include "sv_choice.h"
#include "sv_generation.h"
#include "sv_stats.h"
#include "sv_worker.h"

struct sv_pool;

/* What the dispatcher waits for. */
struct sv_pool_demand {
	unsigned	queued;		/* requests that wait for a worker */
	unsigned	unused;		/* workers among those that must have served nobody yet */
	uint64_t	since_us;	/* since when the first has waited; 0: nothing waits */
};

struct sv_pool_ops {
	/* Some worker has room. */
	void (*room)(void *arg);
	void (*demand)(void *arg, struct sv_pool_demand *d);
	void (*reply)(void *arg, struct sv_worker *w, struct sv_request *rq,
	    const struct tn_frame_reply *f);
	void (*log)(void *arg, struct sv_worker *w, const struct sv_request *rq,
	    const struct tn_frame_log *f);
	void (*operation)(void *arg, struct sv_worker *w, struct sv_request *rq,
	    const struct tn_frame_operation *f);
	void (*revoked)(void *arg, struct sv_worker *w, struct sv_request *rq);
	void (*orphan)(void *arg, struct sv_worker *w, struct sv_request *rq, bool started);
	/*
	 * The next generation is warm, while another serves: make its images, then call
	 * sv_pool_filled().  It may take over at once, or be lost: then NULL comes.
	 */
	void (*fill)(void *arg, const struct sv_generation *coming);
	/* A generation has taken over; images of earlier ones are worth nothing. */
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

/* The one that is warm and will take over; NULL: none. */
const struct sv_generation *sv_pool_coming(const struct sv_pool *p);
/* Its images are made, as far as they will be: its workers come next, then it takes over. */
void sv_pool_filled(struct sv_pool *p);
/*
 * Make a new generation, or wait for the one that is being made; done is called once:
 * error NULL: it has taken over.  TN_ENOMEM; TN_EAGAIN: none serves that it could follow.
 */
typedef void sv_pool_rotated(void *arg, const char *error);
int sv_pool_rotate(struct sv_pool *p, sv_pool_rotated *done, void *arg);

/* What sv_choice.h says of those that serve. */
struct sv_worker *sv_pool_pick(struct sv_pool *p, const struct sv_choice_want *want);
bool sv_pool_has_room(const struct sv_pool *p, bool unused);
/* May somebody watch instead of sleeping, and not keep others from working? */
bool sv_pool_may_watch(const struct sv_pool *p);
/* Are there as many workers as there may be? */
bool sv_pool_full(struct sv_pool *p);
/* Is there a worker that has served this contract last, or will? */
bool sv_pool_serves(const struct sv_pool *p, const char *contract);
/* It was given a frame, or proved to be of no use: update who has room. */
void sv_pool_touch(struct sv_pool *p, struct sv_worker *w);
void sv_pool_unavailable(struct sv_pool *p, struct sv_worker *w);
/* More workers may be due, or fewer. */
void sv_pool_balance(struct sv_pool *p);
/* The same, if nobody looks soon anyway: requests wait. */
void sv_pool_queued(struct sv_pool *p);

/* Have an image made in this generation: the one that serves, or that comes. */
int sv_pool_build(struct sv_pool *p, uint64_t generation, struct tn_frame *build,
    sv_builder_built *done, void *arg);

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
