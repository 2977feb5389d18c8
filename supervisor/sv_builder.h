/*
 * sv_builder.h - one builder, as the front knows it: a process that makes one image
 * of one contract, and ends.
 */
#ifndef SV_BUILDER_H
#define SV_BUILDER_H

#include <stdint.h>
#include <sys/queue.h>

#include "sv_worker.h"
#include "tn_err.h"
#include "tn_log.h"

struct sv_stats;

/*
 * Called once, after it was reaped: f is its BUILT, or NULL when it died; then text says
 * how, and fault whose it is: the contract's (COMPILE) or ours.
 */
typedef void sv_builder_built(void *arg, const struct tn_frame_built *f, enum tn_fault fault,
    const char *text);

struct sv_builder {
	TAILQ_ENTRY(sv_builder) link;	/* the pool's */
	struct sv_worker *w;
	uint64_t	 answered_us;	/* 0: not yet */
	/* private */
	struct sv_stats	*stats;
	struct tn_frame	 frame;		/* its texts are the caller's, alive until done */
	sv_builder_built *done;
	void		*arg;
	bool		 begun;		/* it has the contract: its death is that one's doing */
	struct tn_log_limit log_limit;
	/* BUILT, kept until it is reaped */
	struct tn_frame_built built;
	char		*delta;
	char		 message[4096];
	struct tn_str	 exports[8];
	char		 names[8][16];
};

/*
 * Ask the generation for one, which is given `build` when it is ready.  It frees itself
 * after done was called, which is when sv_worker_on_exited() was told of its worker.
 * NULL: no memory or descriptors.
 */
struct sv_builder *sv_builder_new(struct event_base *base, const struct tn_options *opt,
    struct sv_stats *stats, struct sv_generation *g, uint64_t number,
    struct tn_frame_decoder *decoder, const struct tn_frame *build, sv_builder_built *done,
    void *arg);
/* Unheard: done is not called. */
void sv_builder_free(struct sv_builder **b);

#endif
