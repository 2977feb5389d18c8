/*
 * sv_choice.h - the workers that have room, and which of them gets a request.
 */
#ifndef SV_CHOICE_H
#define SV_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "sv_worker.h"

struct tn_options;

TAILQ_HEAD(sv_choice_list, sv_worker);

struct sv_choice {
	const struct tn_options *opt;
	struct sv_choice_list available;	/* the idle ones first */
	struct sv_choice_list standby;	/* the one that has waited longest first */
	unsigned	 nbusy;		/* workers at work */
	unsigned	 nprocessors;	/* that they may run on */
	bool		 one_processor;	/* which is the front's, too */
};

/* What a request asks of its worker. */
struct sv_choice_want {
	const char	*contract;
	enum tn_isolation isolation;
	uint64_t	image;		/* best one that has it at hand; 0: none */
	uint64_t	cost_us;	/* what it is believed to cost */
	const struct sv_share *share;	/* its contract's */
	uint64_t	now_us;
	bool		capped;		/* no more workers than run that now */
	bool		guarded;	/* some contract has workers reserved */
	unsigned	spoken_for;	/* idle workers that are for others */
};

void sv_choice_init(struct sv_choice *c, const struct tn_options *opt);

/* w has room, or not; it is put where its state says. */
void sv_choice_add(struct sv_choice *c, struct sv_worker *w);
void sv_choice_remove(struct sv_choice *c, struct sv_worker *w);

/* Might sv_choice_pick() find one?  unused: for requests that want a worker which has served nobody. */
bool sv_choice_has_room(const struct sv_choice *c, bool unused);

/*
 * A worker with room that may serve this; NULL: none.  An idle one; or one that will
 * soon have done what it has: what that is believed to cost decides, together with how
 * long it has been at its first request.
 */
struct sv_worker *sv_choice_pick(struct sv_choice *c, const struct sv_choice_want *want);

#endif
