/*
 * sv_queue.c - the requests that wait.
 */
#include "config.h"

#include "sv_queue.h"

#include "sv_share.h"
#include "tn_clock.h"

void
sv_queue_init(struct sv_queue *q, struct sv_shares *shares)
{
	*q = (struct sv_queue){ .shares = shares };
	TAILQ_INIT(&q->ages);
	TAILQ_INIT(&q->returned);
	TAILQ_INIT(&q->ready);
}

/*
 * A new one is among the youngest.  One that comes back is older than most, and would
 * be a long way from either end: they have a list of their own, which is short.
 */
static void
insert_by_age(struct sv_queue *q, struct sv_request *rq)
{
	struct sv_queue_list *list = rq->returned ? &q->returned : &q->ages;
	struct sv_request *other;

	TAILQ_FOREACH_REVERSE(other, list, sv_queue_list, age)
		if (other->received_us <= rq->received_us)
			break;
	if (other != NULL)
		TAILQ_INSERT_AFTER(list, other, rq, age);
	else
		TAILQ_INSERT_HEAD(list, rq, age);
}

struct sv_request *
sv_queue_oldest(const struct sv_queue *q)
{
	struct sv_request *a = TAILQ_FIRST(&q->ages), *b = TAILQ_FIRST(&q->returned);

	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	return a->received_us <= b->received_us ? a : b;
}

void
sv_queue_wait(struct sv_queue *q, struct sv_request_list *list, struct sv_request *rq, bool first)
{
	if (first)
		TAILQ_INSERT_HEAD(list, rq, link);
	else
		TAILQ_INSERT_TAIL(list, rq, link);
	rq->returned = rq->attempts > 0 || first;
	insert_by_age(q, rq);
	rq->list = list;
	q->nwaiting++;
	rq->share->nwaiting++;
}

void
sv_queue_ready(struct sv_queue *q, struct sv_request *rq, bool first, bool particular)
{
	struct sv_share *share = rq->share;

	if (first)
		TAILQ_INSERT_HEAD(&q->ready, rq, queue);
	else
		TAILQ_INSERT_TAIL(&q->ready, rq, queue);
	sv_queue_wait(q, &share->queue, rq, first);
	if (!share->is_aside)
		sv_fair_add(sv_shares_fair(q->shares), &share->flow);
	rq->particular = particular;
	q->nready++;
	q->nparticular += particular;
	/* Once: a worker may have had it meanwhile, and not begun it. */
	if (rq->queued_us == 0)
		rq->queued_us = tn_clock_us();
}

void
sv_queue_leave(struct sv_queue *q, struct sv_request *rq)
{
	struct sv_share *share = rq->share;

	TAILQ_REMOVE(rq->list, rq, link);
	TAILQ_REMOVE(rq->returned ? &q->returned : &q->ages, rq, age);
	q->nwaiting--;
	share->nwaiting--;
	if (rq->list == &share->queue) {
		TAILQ_REMOVE(&q->ready, rq, queue);
		q->nready--;
		q->nparticular -= rq->particular;
		if (TAILQ_EMPTY(&share->queue))
			sv_fair_remove(sv_shares_fair(q->shares), &share->flow);
	}
	rq->list = NULL;
}
