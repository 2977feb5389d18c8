/*
 * sv_fair.h - whose turn it is: start-time fair queuing (Goyal, Vin, Cheng, 1996).
 *
 * Flows share what is given out one piece at a time, by weight and by what their
 * pieces cost.  A flow that waits has a tag, the virtual time at which its next
 * piece begins; the lowest is next.  A piece moves its flow's tag by its cost over
 * the flow's weight.  Costs are guessed when a piece is given out and corrected
 * when it is over, since nobody knows them before.
 *
 * A flow that did not wait for a while has saved nothing: it begins at the present.
 */
#ifndef SV_FAIR_H
#define SV_FAIR_H

#include <stddef.h>
#include <stdint.h>

#define SV_FAIR_WEIGHT_MAX	1000u

struct sv_flow {
	unsigned	 weight;	/* 1 to SV_FAIR_WEIGHT_MAX */
	uint64_t	 tag;		/* virtual time */
	uint64_t	 order;		/* of equal tags, who came first */
	size_t		 place;		/* in the heap, from 1; 0: it does not wait */
};

struct sv_fair {
	struct sv_flow	**heap;		/* lowest tag first */
	size_t		 n, room;
	uint64_t	 now;		/* virtual: the tag of the flow that was served last */
	uint64_t	 next_order;
};

void sv_fair_init(struct sv_fair *f);
void sv_fair_fini(struct sv_fair *f);

/* Make room for n flows that wait at a time: none can be refused afterwards. TN_ENOMEM. */
int sv_fair_reserve(struct sv_fair *f, size_t n);

/* The flow waits (room was made for it), or waits no more. */
void sv_fair_add(struct sv_fair *f, struct sv_flow *flow);
void sv_fair_remove(struct sv_fair *f, struct sv_flow *flow);

/* Whose turn it is; NULL: nobody waits. */
struct sv_flow *sv_fair_first(const struct sv_fair *f);

/* It is given a piece that is believed to cost so much (in any unit, the same for all). */
void sv_fair_serve(struct sv_fair *f, struct sv_flow *flow, uint64_t cost);
/* A piece has cost `was` instead of `believed`. */
void sv_fair_correct(struct sv_fair *f, struct sv_flow *flow, uint64_t believed, uint64_t was);

#endif
