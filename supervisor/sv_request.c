/*
 * sv_request.c - one request on its way through the front.
 *
 * Requests come and go by the tens of thousands a second, so that a number of
 * them is kept with their buffers.  The front is one thread.
 */
#include "config.h"

#include "sv_request.h"

#include <stdlib.h>

#define KEEP_MAX	256u
#define KEEP_BYTES	16384u		/* a bigger buffer is given back */

static struct sv_request_list kept = TAILQ_HEAD_INITIALIZER(kept);
static unsigned nkept;

struct sv_request *
sv_request_new(void)
{
	struct sv_request *rq = TAILQ_FIRST(&kept);
	struct tn_buf store, body;

	if (rq == NULL)
		return calloc(1, sizeof(*rq));
	TAILQ_REMOVE(&kept, rq, link);
	nkept--;
	store = rq->store;
	body = rq->body;
	memset(rq, 0, sizeof(*rq));
	rq->store = store;
	rq->body = body;
	return rq;
}

static bool
worth_keeping(const struct sv_request *rq)
{
#ifdef WITH_SANITIZERS			/* use after free must show */
	(void)rq;
	return false;
#else
	return nkept < KEEP_MAX && rq->store.cap <= KEEP_BYTES && rq->body.cap <= KEEP_BYTES;
#endif
}

/* `headers` lives in store, as all texts do. */
void
sv_request_free(struct sv_request **rqp)
{
	struct sv_request *rq = *rqp;

	if (rq == NULL)
		return;
	*rqp = NULL;
	if (!worth_keeping(rq)) {
		tn_buf_fini(&rq->store);
		tn_buf_fini(&rq->body);
		free(rq);
		return;
	}
	tn_buf_reset(&rq->store);
	tn_buf_reset(&rq->body);
	rq->store.max = rq->body.max = 0;
	TAILQ_INSERT_HEAD(&kept, rq, link);
	nkept++;
}
