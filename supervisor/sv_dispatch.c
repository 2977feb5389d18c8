/*
 * sv_dispatch.c - from a request to a worker and back.
 */
#include "config.h"

#include "sv_dispatch.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_builds.h"
#include "sv_contract.h"
#include "sv_head.h"
#include "sv_image.h"
#include "sv_operation.h"
#include "sv_policy.h"
#include "sv_pool.h"
#include "sv_queue.h"
#include "sv_seed.h"
#include "sv_share.h"
#include "sv_stats.h"
#include "sv_trace.h"
#include "tn_clock.h"
#include "tn_log.h"
#include "tn_options.h"

#define TICK_MS		100	/* how exactly queue_timeout_ms is kept */
#define ATTEMPTS_MAX	3u	/* workers that a request may be handed to */
#define LOOK_MAX	64u	/* waiting requests looked at to see what workers they want */
#define CONSOLE_BURST	100u	/* records a second and contract */
#define FAULTS_BURST	100u	/* records a second and contract of requests that failed */
#define MESSAGE_LOG_MAX	2048u	/* bytes of a fault's message in the log */

struct sv_dispatch {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_stats	*stats;
	const struct sv_dispatch_ops *ops;
	void		*arg;
	struct sv_pool	*pool;
	struct sv_contracts *contracts;
	struct sv_operations *operations;
	struct sv_images images;
	struct sv_head	 head;
	struct sv_builds *builds;
	struct sv_shares *shares;		/* whose turn it is, of those that lack a worker only */
	struct sv_queue	 queue;
	unsigned	 nrunning;
	uint64_t	 handed_us;		/* when the last one was handed out */
	uint64_t	 next_id;
	bool		 pumping, again;
	struct event	*ev_tick;
	struct tn_log_limit log_limit, fault_limit;	/* of contracts that are gone */
	bool		 dropped;		/* records, of some contract: to be said */
};

static void pump(struct sv_dispatch *d);
static void on_room(void *arg);

/* May not each worker that has room serve it? */
static bool
particular(const struct sv_dispatch *d, const struct sv_version *v)
{
	return v->isolation == TN_ISO_PROCESS ||
	    d->opt->worker_tenancy == TN_TENANCY_CONTRACT;
}

/* -- with a worker ---------------------------------------------------------- */

static void
goes_out(struct sv_dispatch *d, struct sv_request *rq, uint64_t now)
{
	rq->attempts++;
	rq->answered_us = 0;
	rq->started_us = now > rq->received_us ? now : rq->received_us;	/* the turn's time */
	rq->timings.queue = rq->started_us - rq->received_us;
	rq->believed_us = rq->share->cost_us;
	sv_fair_serve(sv_shares_fair(d->shares), &rq->share->flow, rq->believed_us);
	d->nrunning++;
}

/* It comes back as it was: nothing of it is to be paid for, and no attempt was made. */
static void
comes_back(struct sv_dispatch *d, struct sv_request *rq)
{
	d->nrunning--;
	sv_fair_correct(sv_shares_fair(d->shares), &rq->share->flow, rq->believed_us, 0);
	rq->started_us = 0;
	rq->attempts--;
}

/* -- answering ------------------------------------------------------------ */

static void
log_fault(struct sv_dispatch *d, const struct sv_request *rq, const struct sv_version *v,
    const struct sv_reply *reply)
{
	const struct tn_fault_info *info = tn_fault_info(reply->fault);
	struct tn_log_record r;
	struct tn_str text = reply->message;
	char memory[2 * MESSAGE_LOG_MAX];	/* the author's names are longer, mostly */
	struct tn_buf traced;
	struct tn_log_limit *limit = v != NULL && v->contract != NULL ?
	    &v->contract->fault_limit : &d->fault_limit;
	uint64_t dropped = 0;

	limit->burst = FAULTS_BURST;
	if (text.len == 0)
		return;
	if (!tn_log_allow(limit, tn_clock_us(), &dropped)) {
		d->stats->log_dropped++;
		d->dropped = true;
		return;
	}
	if (text.len > MESSAGE_LOG_MAX)
		text.len = MESSAGE_LOG_MAX;
	tn_buf_init_fixed(&traced, memory, sizeof(memory));
	sv_trace_rewrite(v != NULL ? v->trace : NULL, text, &traced);
	tn_log_begin(&r, TN_LOG_WARN, "request failed");
	tn_log_str(&r, "contract", tn_str(rq->contract));
	tn_log_str(&r, "request_id", tn_str(rq->request_id));
	tn_log_str(&r, "fault", tn_str(info->code));
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_str(&r, "message", (struct tn_str){ traced.p, traced.len });
	tn_log_end(&r);
}

/* The request by which its contract was tried again has an end: it has run, or it has not. */
static void
probe_over(struct sv_request *rq, bool lived)
{
	if (rq->probe && rq->version != NULL && rq->version->contract != NULL)
		sv_breaker_over(&rq->version->contract->breaker, lived);
	rq->probe = false;
}

/* The request's last moment here: answered, or dropped if its client has left. */
static void
answer(struct sv_dispatch *d, struct sv_request *rq, const struct sv_reply *reply)
{
	struct sv_version *v = rq->version;
	struct sv_contract *c;
	uint64_t now = rq->answered_us != 0 ? rq->answered_us : tn_clock_us();

	probe_over(rq, false);
	rq->version = NULL;
	if (rq->started_us == 0)
		rq->timings.queue = now - rq->received_us;
	rq->timings.total = now - rq->received_us;
	sv_share_unref(d->shares, &rq->share);
	if (rq->cancelled) {
		sv_request_free(&rq);
	} else {
		if (reply->fault != TN_FAULT_NONE)
			log_fault(d, rq, v, reply);
		c = sv_contracts_find(d->contracts, rq->contract);
		rq->answers = c != NULL ? c->answers : NULL;
		rq->done(rq, reply, rq->done_arg);
	}
	sv_version_unref(d->contracts, &v);
}

static void
answer_quarantined(struct sv_dispatch *d, struct sv_request *rq, uint64_t left_us)
{
	struct sv_reply reply = { .fault = TN_FAULT_QUARANTINED,
	    .retry_after = (unsigned)(left_us / 1000000 + 1) };

	d->stats->requests_quarantined++;
	answer(d, rq, &reply);
}

static void
answer_fault(struct sv_dispatch *d, struct sv_request *rq, enum tn_fault fault, const char *message)
{
	struct sv_reply reply = { .fault = fault, .message = tn_str(message) };

	if (fault == TN_FAULT_OVERLOAD || fault == TN_FAULT_DRAINING) {
		reply.retry_after = 1;
		d->stats->requests_overload++;
	}
	if (fault == TN_FAULT_METHOD && rq->version != NULL)
		reply.allow = tn_str(rq->version->allow);
	if (fault == TN_FAULT_DEADLINE)
		d->stats->deadlines++;
	answer(d, rq, &reply);
}

/* -- to a version, to the queue ------------------------------------------- */

static const char *
choose_function(const struct sv_version *v, struct tn_str method, const char *wanted)
{
#define TAKE(name)								\
	if (wanted != NULL && strcmp(wanted, #name) == 0)			\
		return v->exports & SV_EXPORT(name) ? #name : NULL;
	SV_EXPORTS(TAKE)
#undef TAKE
	if ((tn_str_is(method, "GET") || tn_str_is(method, "HEAD")) &&
	    (v->exports & SV_EXPORT(get)))
		return "get";
	if (tn_str_is(method, "POST") && (v->exports & SV_EXPORT(post)))
		return "post";
	return v->exports & SV_EXPORT(fetch) ? "fetch" : NULL;
}

static bool
image_usable(struct sv_dispatch *d, const struct sv_version *v)
{
	const struct sv_generation *g = sv_pool_generation(d->pool);

	return v->isolation == TN_ISO_FRESH ||
	    (v->image != NULL && g != NULL && v->image->generation == g->number);
}

/* rq has its version: wait for what it needs, a worker at best. */
static void
enqueue(struct sv_dispatch *d, struct sv_request *rq, bool first)
{
	if (image_usable(d, rq->version)) {
		sv_queue_ready(&d->queue, rq, first, particular(d, rq->version));
		return;
	}
	sv_queue_wait(&d->queue, &rq->version->waiting, rq, first);
	sv_builds_want(d->builds, rq->version);
}

static void
route(struct sv_dispatch *d, struct sv_contract *c, struct sv_request *rq)
{
	uint64_t left;

	if (c->current == NULL) {
		if (c->next != NULL)
			sv_queue_wait(&d->queue, &c->waiting, rq, false);
		else
			answer_fault(d, rq,
			    c->fault != TN_FAULT_NONE ? c->fault : TN_FAULT_INTERNAL,
			    c->message != NULL ? c->message : "");
		return;
	}
	rq->version = sv_version_ref(c->current);
	if (c->breaker.state != SV_BREAKER_CLOSED &&
	    sv_breaker_refuses(&c->breaker, tn_clock_us(), &left)) {
		answer_quarantined(d, rq, left);
		return;
	}
	rq->function = choose_function(rq->version, rq->method, rq->wanted);
	if (rq->function == NULL)
		answer_fault(d, rq, TN_FAULT_METHOD, "");
	else
		enqueue(d, rq, false);
}

void
sv_dispatch_submit(struct sv_dispatch *d, struct sv_request **rqp)
{
	struct sv_request *rq = *rqp;
	struct sv_contract *c;

	*rqp = NULL;
	rq->id = d->next_id++;
	if ((c = sv_contracts_get(d->contracts, rq->contract)) == NULL) {
		answer_fault(d, rq, TN_FAULT_NOT_FOUND, "");
		return;
	}
	rq->share = sv_share_ref(c->share);
	if (d->queue.nwaiting >= (unsigned)d->opt->queue_max)
		answer_fault(d, rq, TN_FAULT_OVERLOAD, "");
	else if (rq->share->nwaiting >= rq->share->limits.queue_max)
		answer_fault(d, rq, TN_FAULT_OVERLOAD, "");
	else {
		c->requests++;
		route(d, c, rq);
		pump(d);
	}
}

void
sv_dispatch_cancel(struct sv_dispatch *d, struct sv_request **rqp)
{
	struct sv_request *rq = *rqp;

	*rqp = NULL;
	d->stats->requests_cancelled++;
	rq->cancelled = true;
	if (rq->list != NULL)
		sv_queue_leave(&d->queue, rq);
	else if (rq->worker != NULL && sv_worker_revoke(rq->worker, rq))
		comes_back(d, rq);
	else
		return;			/* a worker is at it: it is dropped when that is done */
	probe_over(rq, false);
	sv_share_unref(d->shares, &rq->share);
	sv_version_unref(d->contracts, &rq->version);
	sv_request_free(&rq);
	on_room(d);			/* its contract has a worker less, perhaps */
}

/* -- to a worker ---------------------------------------------------------- */

/*
 * One request is with a worker, and nobody waits.  To wake an idle processor for it, and
 * another one for its answer, takes longer than all else.
 */
static bool
is_alone(const struct sv_dispatch *d)
{
	return d->nrunning == 1 && d->queue.nwaiting == 0 && sv_pool_may_watch(d->pool);
}

/* 0, or a negative code as of sv_worker_invoke(). */
static int
hand(struct sv_dispatch *d, struct sv_worker *w, struct sv_request *rq, uint64_t now)
{
	struct sv_version *v = rq->version;
	struct sv_image *im = v->isolation == TN_ISO_FRESH ? NULL : v->image;
	char seed[SV_SEED_BYTES], block[SV_HEAD_BYTES];
	struct tn_frame f = { .type = TN_FRAME_INVOKE };
	int err;

	/* Not the last one: a copy that was taken back may still be in this worker's channel. */
	rq->id = d->next_id++;
	sv_seed_draw(seed);
	f.invoke = (struct tn_frame_invoke){
		.isolation = (uint64_t)v->isolation,
		.contract = tn_str(rq->contract),
		.meta = tn_str(v->meta),
		.function = tn_str(rq->function),
		.method = rq->method,
		.url = rq->url,
		.path = rq->path,
		.query = rq->query,
		.headers = { rq->headers, rq->nheaders },
		.body = { rq->body.p, rq->body.len },
		.ip = rq->ip,
		.block = rq->block,
		.now = tn_clock_wall_ms(),
		.seed = { seed, sizeof(seed) },
		.caller = rq->caller,
		.input = rq->input,
	};
	if (rq->block.len == 0)
		f.invoke.block = (struct tn_str){
			block, sv_head_json(&d->head, rq->contract, block)
		};
	if (im == NULL)
		f.invoke.source = (struct tn_strv){ v->source, v->nsource };
	/* First: with room left, handing it the frame may hand it the next one too. */
	goes_out(d, rq, now);
	d->handed_us = rq->started_us;
	sv_worker_spin(w, is_alone(d) ? (unsigned)d->opt->spin_us : 0);
	err = sv_worker_invoke(w, rq, &f, im);
	if (err != 0) {
		comes_back(d, rq);
		return err;
	}
	if (im != NULL)
		sv_image_touch(im);
	strcpy(w->contract, rq->contract);
	sv_pool_touch(d->pool, w);
	return 0;
}

/* Those that wait while their contract was found to kill workers are not run either. */
static bool
quarantined(struct sv_dispatch *d, struct sv_request *rq, uint64_t now)
{
	struct sv_contract *c = rq->version->contract;
	uint64_t left;

	if (c == NULL || rq->probe || sv_breaker_allows(&c->breaker, now, &rq->probe))
		return false;
	(void)sv_breaker_refuses(&c->breaker, now, &left);
	sv_queue_leave(&d->queue, rq);
	answer_quarantined(d, rq, left);
	return true;
}

static bool
expired(const struct sv_dispatch *d, const struct sv_request *rq, uint64_t now)
{
	return rq->received_us + (uint64_t)d->opt->queue_timeout_ms * 1000 < now;
}

static void
expire(struct sv_dispatch *d, struct sv_request *rq)
{
	sv_queue_leave(&d->queue, rq);
	d->stats->requests_expired++;
	answer_fault(d, rq, TN_FAULT_OVERLOAD, "it waited for queue_timeout_ms");
}

static void
serve(struct sv_dispatch *d, struct sv_worker *w, struct sv_request *rq, uint64_t now)
{
	bool used_up = w->standby || rq->version->isolation == TN_ISO_PROCESS;
	int err;

	sv_queue_leave(&d->queue, rq);
	err = hand(d, w, rq, now);
	if (err == TN_ELIMIT) {
		answer_fault(d, rq, TN_FAULT_BODY_SIZE, "the request does not fit in a frame");
	} else if (err == TN_ENOMEM) {
		answer_fault(d, rq, TN_FAULT_OVERLOAD, "no memory for its frame");
	} else if (err != 0) {
		/* Its end shows on its channel. */
		sv_pool_unavailable(d->pool, w);
		enqueue(d, rq, true);
	} else if (used_up)
		sv_pool_balance(d->pool);	/* another one is due */
}

static struct sv_choice_want
want_of(struct sv_dispatch *d, const struct sv_request *rq, uint64_t now)
{
	const struct sv_share *share = rq->share;
	const struct sv_version *v = rq->version;
	struct sv_choice_want want = { .contract = rq->contract, .isolation = v->isolation,
	    .image = v->image != NULL ? v->image->number : 0, .cost_us = share->cost_us,
	    .share = share, .now_us = now, .guarded = sv_shares_any_reserved(d->shares),
	    .capped = share->limits.workers_max > 0 &&
	    share->nworkers >= share->limits.workers_max };

	if (want.guarded)
		want.spoken_for = sv_shares_spoken_for(d->shares, share);
	return want;
}

/*
 * The first request of each contract, in turn, until nobody has room.  What only some
 * workers may serve steps aside when these have none; anything else that finds nobody
 * ends the turn: were others let past, who needs a worker of its own for a while would
 * never see one idle.  False: nobody could be served.
 */
static bool
take_turns(struct sv_dispatch *d)
{
	struct sv_fair *fair = sv_shares_fair(d->shares);
	struct sv_share *share, *aside = NULL;
	struct sv_choice_want want;
	struct sv_request *rq;
	struct sv_worker *w;
	uint64_t now = tn_clock_us();
	bool served = false, held = false;

	while ((share = (struct sv_share *)sv_fair_first(fair)) != NULL &&
	    sv_pool_has_room(d->pool, d->queue.nparticular > 0)) {
		rq = TAILQ_FIRST(&share->queue);
		if (!image_usable(d, rq->version)) {	/* gone meanwhile */
			sv_queue_leave(&d->queue, rq);
			enqueue(d, rq, false);
			continue;
		}
		if (expired(d, rq, now)) {
			expire(d, rq);
			continue;
		}
		if (quarantined(d, rq, now))
			continue;
		want = want_of(d, rq, now);
		if (held && share->nworkers >= share->limits.workers_reserved)
			w = NULL;
		else
			w = sv_pool_pick(d->pool, &want);
		if (w != NULL) {
			serve(d, w, rq, now);
			served = true;
		} else if (rq->particular && now - rq->queued_us >= SV_POLICY_GROW_US &&
		    sv_pool_full(d->pool)) {
			break;		/* one must become idle, to be replaced by what it wants */
		} else if (want.capped || want.spoken_for > 0 || rq->particular) {
			/* As if the turn ended, but for those whom idle ones are kept for. */
			held = held || (!want.capped && !rq->particular);
			sv_fair_remove(fair, &share->flow);
			share->is_aside = true;
			share->aside_next = aside;
			aside = sv_share_ref(share);
		} else
			break;
	}
	while ((share = aside) != NULL) {
		aside = share->aside_next;
		share->is_aside = false;
		if (!TAILQ_EMPTY(&share->queue))
			sv_fair_add(fair, &share->flow);
		sv_share_unref(d->shares, &share);
	}
	return served;
}

/* Hand out what waits while somebody has room. */
static void
pump(struct sv_dispatch *d)
{
	if (d->pumping) {		/* workers call back while they are given frames */
		d->again = true;
		return;
	}
	d->pumping = true;
	do
		d->again = false;
	while (take_turns(d) || d->again);
	d->pumping = false;
	if (d->queue.nparticular > 0)
		sv_pool_balance(d->pool);
	else if (d->queue.nready > 0)
		sv_pool_queued(d->pool);
}

/* -- what the pool says ---------------------------------------------------- */

static void
on_room(void *arg)
{
	struct sv_dispatch *d = arg;

	if (d->queue.nready > 0)
		pump(d);
}

/*
 * Workers wanted that have served nobody yet.  Those that one contract has for itself
 * become more as others do, when a request has waited for a while.
 */
static unsigned
unused_wanted(const struct sv_dispatch *d)
{
	uint64_t now = tn_clock_us();
	const struct sv_request *rq;
	unsigned n = 0, looked = 0;

	if (d->opt->worker_tenancy != TN_TENANCY_CONTRACT)
		return d->queue.nparticular;
	TAILQ_FOREACH(rq, &d->queue.ready, queue) {
		if (++looked == LOOK_MAX)
			break;
		if (rq != TAILQ_FIRST(&rq->share->queue))
			continue;
		if (rq->version->isolation == TN_ISO_PROCESS ||
		    now - rq->queued_us >= SV_POLICY_GROW_US ||
		    !sv_pool_serves(d->pool, rq->contract))
			n++;
	}
	return n;
}

static void
on_demand(void *arg, struct sv_pool_demand *demand)
{
	const struct sv_dispatch *d = arg;
	const struct sv_request *rq = TAILQ_FIRST(&d->queue.ready);

	demand->queued = d->queue.nready;
	demand->since_us = rq != NULL ? rq->queued_us : 0;
	demand->unused = unused_wanted(d);
}

/* A worker's word on how long it took is good for no more than the time that passed. */
static uint64_t
clip(uint64_t us, uint64_t *left)
{
	if (us > *left)
		us = *left;
	*left -= us;
	return us;
}

static void
on_operation(void *arg, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_operation *f)
{
	struct sv_dispatch *d = arg;

	sv_operations_ask(d->operations, w, rq, f);
}

/* What it had read was changed by others: from the beginning, and no worker's fault. */
static void
run_again(struct sv_dispatch *d, struct sv_request *rq)
{
	d->stats->reruns++;
	rq->reruns++;
	rq->attempts--;
	rq->started_us = rq->answered_us = 0;
	enqueue(d, rq, true);
	pump(d);
}

static void
on_reply(void *arg, struct sv_worker *w, struct sv_request *rq, const struct tn_frame_reply *f)
{
	struct sv_dispatch *d = arg;
	struct sv_reply reply = { .message = f->message };
	uint64_t left = rq->answered_us - rq->started_us;

	(void)w;
	d->nrunning--;
	rq->timings.heap = clip(f->heap_us, &left);
	rq->timings.compile = clip(f->compile_us, &left);
	rq->timings.bootstrap = clip(f->bootstrap_us, &left);
	rq->timings.execution = clip(f->execution_us, &left);
	rq->timings.result = clip(f->result_us, &left);
	/*
	 * It pays for the time that it kept the worker, by our own clock.  What the next one
	 * may take is the worker's word, which leaves our own delays out: a lie about that
	 * shows as a worker that is slow.
	 */
	sv_share_charge(d->shares, rq->share, rq->believed_us, rq->occupied_us,
	    rq->answered_us - rq->started_us - left);
	if (sv_operations_end(rq) && !rq->cancelled) {
		run_again(d, rq);
		return;
	}
	probe_over(rq, true);
	if (f->fault != 0) {
		reply.fault = f->fault < TN_FAULT_MAX ? (enum tn_fault)f->fault : TN_FAULT_INTERNAL;
		if (reply.fault == TN_FAULT_METHOD)
			reply.allow = tn_str(rq->version->allow);
		if (reply.fault == TN_FAULT_DEADLINE)
			d->stats->deadlines++;
	} else {
		reply.status = f->status <= 999 ? (int)f->status : 0;
		reply.headers = f->headers;
		reply.body = f->body;
	}
	answer(d, rq, &reply);
	if (!w->is_available)	/* nobody was told of room, but its contract has a worker less */
		on_room(d);
}

static void
on_log(void *arg, struct sv_worker *w, const struct sv_request *rq, const struct tn_frame_log *f)
{
	struct sv_dispatch *d = arg;
	enum tn_log_level level = f->level <= TN_LOG_DEBUG ? (enum tn_log_level)f->level :
	    TN_LOG_INFO;
	struct tn_log_limit *limit = &d->log_limit;
	struct tn_log_record r;
	uint64_t dropped = 0;

	if (!tn_log_wants(level))
		return;
	if (rq != NULL && rq->version->contract != NULL)
		limit = &rq->version->contract->log_limit;
	limit->burst = CONSOLE_BURST;
	if (!tn_log_allow(limit, tn_clock_us(), &dropped)) {
		d->stats->log_dropped++;
		d->dropped = true;
		return;
	}
	tn_log_begin(&r, level, "console");
	tn_log_str(&r, "contract", tn_str(rq != NULL ? rq->contract : w->contract));
	if (rq != NULL)
		tn_log_str(&r, "request_id", tn_str(rq->request_id));
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_str(&r, "text", f->text);
	tn_log_end(&r);
}

/* A worker died of this request, or with it. */
static void
died(struct sv_dispatch *d, const struct sv_worker *w, struct sv_request *rq)
{
	struct sv_contract *c = rq->version->contract;
	const struct sv_breaker_limits limits = {
		.deaths = (unsigned)d->opt->breaker_deaths,
		.window_us = (uint64_t)d->opt->breaker_window_ms * 1000,
		.pause_us = (uint64_t)d->opt->breaker_pause_ms * 1000
	};
	struct tn_log_record r;

	/* A whole zygote's end is not the doing of who happened to run, and tells nothing. */
	if (c == NULL || !w->generation->ready)
		return;
	rq->probe = false;
	if (!sv_breaker_death(&c->breaker, &limits, tn_clock_us()))
		return;
	tn_log_begin(&r, TN_LOG_ERROR, "contract quarantined: its requests kill workers");
	tn_log_str(&r, "contract", tn_str(c->id));
	tn_log_ms(&r, "pause", c->breaker.pause_us);
	tn_log_end(&r);
}

static void
on_revoked(void *arg, struct sv_worker *w, struct sv_request *rq)
{
	struct sv_dispatch *d = arg;

	(void)w;
	comes_back(d, rq);
	if (rq->cancelled) {
		answer_fault(d, rq, TN_FAULT_INTERNAL, "");
		return;
	}
	enqueue(d, rq, true);
	pump(d);
}

static void
on_orphan(void *arg, struct sv_worker *w, struct sv_request *rq, bool started)
{
	struct sv_dispatch *d = arg;

	d->nrunning--;
	(void)sv_operations_end(rq);
	if (started) {
		sv_share_charge(d->shares, rq->share, rq->believed_us, rq->occupied_us,
		    rq->occupied_us);
		died(d, w, rq);
	} else
		sv_fair_correct(sv_shares_fair(d->shares), &rq->share->flow, rq->believed_us, 0);
	if (!rq->cancelled && !started && rq->attempts < ATTEMPTS_MAX) {
		d->stats->requests_redispatched++;
		rq->started_us = 0;
		enqueue(d, rq, true);
		pump(d);
	} else if (w->deadline_stage > 0)
		answer_fault(d, rq, TN_FAULT_DEADLINE, started ? "the worker had to be killed" :
		    "no worker came to begin it in time");
	else
		answer_fault(d, rq, TN_FAULT_WORKER_DIED, "the worker died");
	on_room(d);	/* its contract has a worker less */
}

static void
on_fill(void *arg, const struct sv_generation *coming)
{
	struct sv_dispatch *d = arg;

	sv_builds_fill(d->builds, coming);
}

static void
on_generation(void *arg)
{
	struct sv_dispatch *d = arg;
	struct sv_request *rq, *next;
	struct sv_request_list list = TAILQ_HEAD_INITIALIZER(list);

	sv_builds_taken_over(d->builds);
	for (rq = TAILQ_FIRST(&d->queue.ready); rq != NULL; rq = next) {
		next = TAILQ_NEXT(rq, queue);
		if (!image_usable(d, rq->version)) {
			sv_queue_leave(&d->queue, rq);
			TAILQ_INSERT_TAIL(&list, rq, link);
		}
	}
	/* A build that fails at once is answered, and whoever hears of it may cancel others. */
	while ((rq = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, rq, link);
		if (rq->cancelled)
			answer_fault(d, rq, TN_FAULT_INTERNAL, "");
		else
			enqueue(d, rq, false);
	}
	pump(d);
}

static void
on_ready(void *arg)
{
	struct sv_dispatch *d = arg;

	d->ops->ready(d->arg);
}

static void
on_failed(void *arg, const char *text)
{
	struct sv_dispatch *d = arg;

	d->ops->failed(d->arg, text);
}

static void
on_want_zygote(void *arg, uint64_t number)
{
	struct sv_dispatch *d = arg;

	d->ops->want_zygote(d->arg, number);
}

static void
on_kill_zygote(void *arg, uint64_t number)
{
	struct sv_dispatch *d = arg;

	d->ops->kill_zygote(d->arg, number);
}

static const struct sv_pool_ops pool_ops = {
	.room = on_room, .demand = on_demand, .reply = on_reply, .log = on_log,
	.operation = on_operation, .revoked = on_revoked, .orphan = on_orphan, .fill = on_fill,
	.generation = on_generation, .ready = on_ready, .failed = on_failed,
	.want_zygote = on_want_zygote, .kill_zygote = on_kill_zygote,
};

/* -- images ----------------------------------------------------------------- */

/* What waits for the image goes on, or hears why not. */
static void
drain_waiting(struct sv_dispatch *d, struct sv_version *v, enum tn_fault fault, const char *message)
{
	struct sv_request *rq;
	struct sv_request_list list = TAILQ_HEAD_INITIALIZER(list);

	/* One pass: those that have to wait again are not looked at again. */
	while ((rq = TAILQ_FIRST(&v->waiting)) != NULL) {
		sv_queue_leave(&d->queue, rq);
		TAILQ_INSERT_TAIL(&list, rq, link);
	}
	while ((rq = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, rq, link);
		if (fault != TN_FAULT_NONE)
			answer_fault(d, rq, fault, message);
		else
			enqueue(d, rq, false);
	}
}

static void
on_built(void *arg, struct sv_version *v, enum tn_fault fault, const char *message)
{
	struct sv_dispatch *d = arg;

	drain_waiting(d, v, fault, message);
	pump(d);
}

/* -- what the contracts say -------------------------------------------------- */

static void
on_build(void *arg, struct sv_version *v)
{
	struct sv_dispatch *d = arg;

	sv_builds_want(d->builds, v);
}

static void
on_settled(void *arg, struct sv_contract *c)
{
	struct sv_dispatch *d = arg;
	struct sv_request *rq;

	while ((rq = TAILQ_FIRST(&c->waiting)) != NULL) {
		sv_queue_leave(&d->queue, rq);
		route(d, c, rq);
	}
	pump(d);
}

/* -- time ---------------------------------------------------------------------- */

static void
say_dropped(struct sv_dispatch *d, struct tn_log_limit *limit, const char *what,
    const char *contract)
{
	struct tn_log_record r;
	uint64_t dropped;

	if (tn_log_overdue(limit, tn_clock_us(), &dropped)) {
		tn_log_begin(&r, TN_LOG_WARN, what);
		tn_log_str(&r, "contract", tn_str(contract));
		tn_log_u64(&r, "dropped", dropped);
		tn_log_end(&r);
	}
	d->dropped |= limit->dropped > 0;
}

static void
on_each_dropped(void *arg, struct sv_contract *c)
{
	say_dropped(arg, &c->log_limit, "console records dropped", c->id);
	say_dropped(arg, &c->fault_limit, "records of failed requests dropped", c->id);
}

/* A contract that falls silent after a flood: nothing follows that could say how much was left out. */
static void
say_all_dropped(struct sv_dispatch *d)
{
	d->dropped = false;
	say_dropped(d, &d->log_limit, "console records dropped", "");
	say_dropped(d, &d->fault_limit, "records of failed requests dropped", "");
	sv_contracts_each(d->contracts, on_each_dropped, d);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sv_dispatch *d = arg;
	struct sv_request *rq;
	/* Whoever is answered may submit another: that one is younger than `now`. */
	uint64_t now = tn_clock_us();

	(void)fd;
	(void)what;
	while ((rq = sv_queue_oldest(&d->queue)) != NULL && expired(d, rq, now))
		expire(d, rq);
	if (d->dropped)
		say_all_dropped(d);
}

/* -- the rest ------------------------------------------------------------------- */

struct sv_dispatch *
sv_dispatch_new(struct event_base *base, const struct tn_options *opt, struct sv_stats *stats,
    struct sv_lower *lower, int dir_fd, const struct sv_dispatch_ops *ops, void *arg)
{
	struct sv_dispatch *d = calloc(1, sizeof(*d));
	struct timeval tv = { 0, TICK_MS * 1000 };

	if (d == NULL)
		return NULL;
	*d = (struct sv_dispatch){ .base = base, .opt = opt, .stats = stats, .ops = ops, .arg = arg,
	    .next_id = 1 };
	sv_images_init(&d->images);
	sv_head_init(&d->head);
	d->pool = sv_pool_new(base, opt, stats, &pool_ops, d);
	d->shares = sv_shares_new(opt);
	sv_queue_init(&d->queue, d->shares);
	if (d->shares != NULL)
		d->contracts = sv_contracts_new(base, opt, dir_fd, lower, stats, d->shares,
		    on_build, on_settled, d);
	d->ev_tick = event_new(base, -1, EV_PERSIST, on_tick, d);
	if (d->pool != NULL && d->contracts != NULL)
		d->builds = sv_builds_new(base, opt, stats, d->pool, d->contracts, &d->images,
		    on_built, d);
	if (d->builds == NULL || d->ev_tick == NULL || event_add(d->ev_tick, &tv) != 0)
		sv_dispatch_free(&d);
	return d;
}

static void
free_frames(void *arg, const struct sv_worker *w)
{
	struct sv_dispatch *d = arg;
	struct sv_request *rq;
	unsigned i;

	for (i = 0; i < w->nframes; i++) {
		rq = w->frame[i];
		(void)sv_operations_end(rq);
		sv_share_unref(d->shares, &rq->share);
		sv_version_unref(d->contracts, &rq->version);
		sv_request_free(&rq);
	}
}

void
sv_dispatch_free(struct sv_dispatch **dp)
{
	struct sv_dispatch *d = *dp;
	struct sv_request *rq;

	if (d == NULL)
		return;
	*dp = NULL;
	while ((rq = sv_queue_oldest(&d->queue)) != NULL) {
		sv_queue_leave(&d->queue, rq);
		sv_share_unref(d->shares, &rq->share);
		sv_version_unref(d->contracts, &rq->version);
		sv_request_free(&rq);
	}
	if (d->pool != NULL)
		sv_pool_each(d->pool, free_frames, d);
	sv_pool_free(&d->pool);		/* builders end unheard */
	sv_builds_free(&d->builds);
	sv_contracts_free(&d->contracts);
	sv_shares_free(&d->shares);
	if (d->ev_tick != NULL)
		event_free(d->ev_tick);
	free(d);
}

void
sv_dispatch_set_operations(struct sv_dispatch *d, struct sv_operations *ops)
{
	d->operations = ops;
}

void
sv_dispatch_reload(struct sv_dispatch *d)
{
	if (sv_shares_reload(d->shares, d->opt) != 0)
		tn_log(TN_LOG_ERROR, "no memory for contracts' limits: they stay as they were");
	sv_contracts_reload(d->contracts);
	sv_pool_balance(d->pool);
	pump(d);
}

bool
sv_dispatch_watches(const struct sv_dispatch *d)
{
	return d->opt->spin_us > 0 && is_alone(d) &&
	    tn_clock_us() - d->handed_us < (uint64_t)d->opt->spin_us;
}

struct sv_pool *
sv_dispatch_pool(struct sv_dispatch *d)
{
	return d->pool;
}

struct sv_contracts *
sv_dispatch_contracts(struct sv_dispatch *d)
{
	return d->contracts;
}

void
sv_dispatch_gauges(struct sv_dispatch *d)
{
	sv_pool_gauges(d->pool);
	d->stats->requests_running = d->nrunning;
	d->stats->requests_queued = d->queue.nwaiting;
	d->stats->images = d->images.count;
	d->stats->images_bytes = d->images.bytes;
	d->stats->images_evicted = d->images.evicted;
	d->stats->contracts = sv_contracts_count(d->contracts);
}
