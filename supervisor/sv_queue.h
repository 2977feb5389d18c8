/*
 * sv_queue.h - the requests that wait: at their contract, at its image, or for a
 * worker; by age, and in turn.
 */
#ifndef SV_QUEUE_H
#define SV_QUEUE_H

#include <stdbool.h>

#include "sv_request.h"

struct sv_shares;

TAILQ_HEAD(sv_queue_list, sv_request);

struct sv_queue {
	struct sv_shares *shares;	/* borrowed: whose turn it is */
	struct sv_queue_list ages;	/* all that wait, the oldest first (by age) */
	struct sv_queue_list returned;	/* but those that a worker had meanwhile: these, likewise */
	struct sv_queue_list ready;	/* those that lack a worker only, as they came (by queue) */
	unsigned	 nwaiting;	/* in both */
	unsigned	 nready;	/* in ready */
	unsigned	 nparticular;	/* of these: not served by just any worker */
};

void sv_queue_init(struct sv_queue *q, struct sv_shares *shares);

/* rq, which holds its share, waits in this list; `first`: it is older than what is there. */
void sv_queue_wait(struct sv_queue *q, struct sv_request_list *list, struct sv_request *rq,
    bool first);
/* It waits for a worker, when it is its contract's turn; particular: not for just any. */
void sv_queue_ready(struct sv_queue *q, struct sv_request *rq, bool first, bool particular);
/* Who has waited longest, wherever; NULL: nobody waits. */
struct sv_request *sv_queue_oldest(const struct sv_queue *q);
/* Wherever it waits, it does so no more. */
void sv_queue_leave(struct sv_queue *q, struct sv_request *rq);

#endif
