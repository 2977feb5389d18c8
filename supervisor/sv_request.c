/*
 * sv_request.c - one request on its way through the front.
 *
 * Requests come and go by the tens of thousands a second, so that a number of
 * them is kept with their buffers.  The front is one thread.
 */
#include "config.h"

#include "sv_request.h"

#include <stdlib.h>

#include "tn_log.h"
#include "tn_options.h"

#define LOG_PATH_MAX	512u
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

void
sv_request_new_id(char id[SV_REQUEST_ID_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	static unsigned char random[1024];
	static size_t left;
	unsigned i;
	unsigned char c;

	/* getrandom() for each would cost more than all else that is done here. */
	if (left < 16) {
		arc4random_buf(random, sizeof(random));
		left = sizeof(random);
	}
	for (i = 0; i < 16; i++) {
		c = random[--left];
		id[2 * i] = digits[c >> 4];
		id[2 * i + 1] = digits[c & 15];
	}
	id[32] = '\0';
}

struct tn_str
sv_request_keep(struct tn_buf *store, struct tn_str s)
{
	char *p = store->p + store->len;

	tn_buf_putstr(store, s);
	return (struct tn_str){ p, s.len };
}

struct tn_str
sv_request_keep_lower(struct tn_buf *store, struct tn_str s)
{
	char *p = store->p + store->len;
	size_t i;

	tn_buf_putstr(store, s);
	for (i = 0; i < s.len; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] |= 0x20;
	return (struct tn_str){ p, s.len };
}

void
sv_request_keep_url(struct sv_request *rq, struct tn_str host, struct tn_str path,
    struct tn_str query)
{
	struct tn_buf *s = &rq->store;

	rq->url.p = s->p + s->len;
	tn_buf_puts(s, "http://");
	tn_buf_putstr(s, host);
	rq->path = sv_request_keep(s, path);
	if (query.p != NULL)
		tn_buf_puts(s, "?");
	rq->query = sv_request_keep(s, query);
	rq->url.len = (size_t)(s->p + s->len - rq->url.p);
}

void
sv_request_log(const struct tn_options *opt, const struct sv_record *s)
{
	struct tn_log_record r;

	if (!opt->log_requests || !tn_log_wants(TN_LOG_INFO))
		return;
	tn_log_begin(&r, TN_LOG_INFO, "request");
	if (s->method.len > 0)
		tn_log_str(&r, "method", s->method);
	if (s->contract[0] != '\0')
		tn_log_str(&r, "contract", tn_str(s->contract));
	tn_log_u64(&r, "status", (uint64_t)s->status);
	if (s->fault != TN_FAULT_NONE)
		tn_log_str(&r, "error", tn_str(tn_fault_info(s->fault)->code));
	if (s->timings != NULL) {
		tn_log_ms(&r, "duration", s->timings->total);
#define TN_PHASE(sym, name, doc)						\
		if (&s->timings->sym != &s->timings->total)			\
			tn_log_ms(&r, name, s->timings->sym);
#include "phases.def"
	}
	tn_log_str(&r, "request_id", tn_str(s->request_id));
	tn_log_str(&r, "ip", s->ip);
	if (s->path.len > 0)
		tn_log_str(&r, "path", (struct tn_str){ s->path.p,
		    s->path.len < LOG_PATH_MAX ? s->path.len : LOG_PATH_MAX });
	tn_log_end(&r);
}

void
sv_request_log_bad_reply(const struct sv_request *rq, const char *why)
{
	struct tn_log_record r;

	tn_log_begin(&r, TN_LOG_WARN, "the contract's reply cannot be sent");
	tn_log_str(&r, "contract", tn_str(rq->contract));
	tn_log_str(&r, "request_id", tn_str(rq->request_id));
	tn_log_str(&r, "why", tn_str(why));
	tn_log_end(&r);
}
