/*
 * sv_pool.c - the workers, and the zygote they come from.
 */
#include "config.h"

#include "sv_pool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "sv_policy.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define TICK_MS			1000
#define GROW_TICK_MS		10	/* while requests wait */
#define ZYGOTE_READY_US		60000000u
#define ZYGOTE_STEADY_US	30000000u /* one that lived so long was not a failure */
#define RETIRE_US		5000000u /* a retiring worker without frames goes by then */
#define HANGUP_US		1000000u /* one that closed its channel has ended by then */
#define REAP_US			5000000u /* one killed was reaped by then, or its zygote is deaf */
#define CONSOLE_BURST		100u	/* records a second and builder */
#define RESTORE_MAX_US		10000000u /* more is a lie */
#define AFFINITY_SCAN		16	/* how many with room are looked at for the image */

/* Somebody waits for a number of workers to be replaced. */
struct recycle {
	TAILQ_ENTRY(recycle) link;
	void		(*done)(void *);
	void		*arg;
	unsigned	 remaining;
	unsigned	 n;
	uint64_t	 workers[];	/* their numbers */
};

struct builder {
	TAILQ_ENTRY(builder) link;
	struct sv_worker *w;
	struct sv_stats	*stats;
	struct tn_frame	 frame;		/* its texts are the caller's, alive until done */
	sv_pool_built	*done;
	void		*arg;
	bool		 begun;		/* it has the contract: its death is that one's doing */
	bool		 answered;
	uint64_t	 answered_us;
	struct tn_log_limit log_limit;
	/* BUILT, kept until it is reaped */
	struct tn_frame_built built;
	char		*delta;
	char		 message[4096];
	struct tn_str	 exports[8];
	char		 names[8][16];
};

struct sv_pool {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_stats	*stats;
	const struct sv_pool_ops *ops;
	void		*arg;
	struct sv_generation *current;	/* ready */
	struct sv_generation *coming;	/* warming */
	uint64_t	 coming_number;	/* asked of the master, 0: none */
	uint64_t	 coming_since_us, current_since_us;
	uint64_t	 next_generation, next_worker;
	unsigned	 zygote_delay_ms;
	unsigned	 delay_ms;	/* respawn back-off */
	uint64_t	 not_before_us;
	bool		 was_ready;
	bool		 balancing, again;
	struct event	*ev_tick, *ev_balance, *ev_zygote;
	struct tn_frame_decoder *decoder;
	TAILQ_HEAD(, sv_worker) all;
	TAILQ_HEAD(, sv_worker) available;
	TAILQ_HEAD(, builder) builders;
	TAILQ_HEAD(, recycle) recycles;
};

static void want_zygote(struct sv_pool *p);

static bool
alive(const struct sv_worker *w)
{
	return (w->state == TN_WS_IDLE || w->state == TN_WS_BUSY) && !w->killed && !w->exited;
}

static bool
starting(const struct sv_worker *w)
{
	return w->state == TN_WS_SPAWNED || w->state == TN_WS_WARMING;
}

/* Returns how many processes there are, the dead that were not reaped included. */
static unsigned
count(struct sv_pool *p, struct sv_policy_in *in)
{
	struct sv_worker *w;
	uint64_t since = 0, now;
	unsigned all = 0;

	*in = (struct sv_policy_in){ .min = (unsigned)p->opt->workers_min,
	    .max = (unsigned)p->opt->workers_max,
	    .one_shot = p->opt->isolation == TN_ISO_PROCESS };
	TAILQ_FOREACH(w, &p->all, link) {
		all++;
		in->starting += starting(w);
		in->idle += alive(w) && w->state == TN_WS_IDLE;
		in->busy += alive(w) && w->state == TN_WS_BUSY;
		in->pending += alive(w) && w->retire_pending;
	}
	p->ops->queue(p->arg, &in->queued, &since);
	now = tn_clock_us();
	in->head_wait_us = since > 0 && now > since ? now - since : 0;
	return all;
}

void
sv_pool_touch(struct sv_pool *p, struct sv_worker *w)
{
	bool room = w->role == TN_ROLE_WORKER && sv_worker_room(w, (unsigned)p->opt->worker_depth);

	if (w->is_available)
		TAILQ_REMOVE(&p->available, w, available);
	w->is_available = room;
	if (!room)
		return;
	if (w->state == TN_WS_IDLE)		/* the last to be used has the warmest cache */
		TAILQ_INSERT_HEAD(&p->available, w, available);
	else
		TAILQ_INSERT_TAIL(&p->available, w, available);
}

void
sv_pool_unavailable(struct sv_pool *p, struct sv_worker *w)
{
	if (w->is_available)
		TAILQ_REMOVE(&p->available, w, available);
	w->is_available = false;
}

struct sv_worker *
sv_pool_pick(struct sv_pool *p, uint64_t image)
{
	struct sv_worker *w, *first = TAILQ_FIRST(&p->available), *keeper = NULL;
	unsigned n = 0;

	TAILQ_FOREACH(w, &p->available, available) {
		/* A busy one that knows the image is no better than an idle one. */
		if (w->state != TN_WS_IDLE && w->state != first->state)
			break;
		if (w->image == image)
			return w;
		if (keeper == NULL && sv_kept_find(&w->kept, image) >= 0)
			keeper = w;
		if (++n == AFFINITY_SCAN)
			break;
	}
	return keeper != NULL ? keeper : first;
}

static void
on_worker_reply(void *arg, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_reply *f)
{
	struct sv_pool *p = arg;

	if (w->max_requests > 0 && w->requests >= w->max_requests && !w->retire_pending &&
	    alive(w)) {
		w->retire_pending = true;
		w->retire_reason = TN_RETIRE_REQUESTS;
		sv_pool_balance(p);
	}
	p->ops->reply(p->arg, w, rq, f);
}

static void
on_worker_log(void *arg, struct sv_worker *w, const struct sv_request *rq,
    const struct tn_frame_log *f)
{
	struct sv_pool *p = arg;

	p->ops->log(p->arg, w, rq, f);
}

static void
on_worker_operation(void *arg, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_operation *f)
{
	struct sv_pool *p = arg;

	p->ops->operation(p->arg, w, rq, f);
}

static void
on_worker_orphan(void *arg, struct sv_worker *w, struct sv_request *rq, bool started)
{
	struct sv_pool *p = arg;

	p->ops->orphan(p->arg, w, rq, started);
}

static void
on_worker_restored(void *arg, struct sv_worker *w, const struct tn_frame_restored *f)
{
	struct sv_pool *p = arg;
	struct tn_log_record r;

	sv_histogram_add(&p->stats->time_restore,
	    f->restore_us < RESTORE_MAX_US ? f->restore_us : RESTORE_MAX_US);
	if (f->differ == 0 || w->killed)
		return;
	/* Its next request would see something of this one: it gets none. */
	p->stats->audits_failed++;
	tn_log_begin(&r, TN_LOG_ERROR, "audit: the heap differs from its image");
	tn_log_i64(&r, "pid", w->pid);
	tn_log_str(&r, "contract", tn_str(w->contract));
	tn_log_u64(&r, "request", f->id);
	tn_log_u64(&r, "pages", f->differ);
	tn_log_u64(&r, "first_page", f->page);
	tn_log_end(&r);
	sv_pool_unavailable(p, w);
	sv_worker_kill(w);
}

/* Log and count the death of a worker that nobody had asked to die. */
static void
account(struct sv_pool *p, struct sv_worker *w)
{
	struct tn_log_record r;
	int st = w->exit_status;
	bool clean = WIFEXITED(st) && WEXITSTATUS(st) == 0;

	if (w->killed)
		p->stats->workers_killed++;
	else if (!clean)
		p->stats->workers_crashed++;
	if (clean && !w->killed)
		return;
	tn_log_begin(&r, TN_LOG_WARN, w->role == TN_ROLE_BUILDER ? "builder died" : "worker died");
	tn_log_i64(&r, "pid", w->pid);
	tn_log_u64(&r, "generation", w->generation->number);
	tn_log_u64(&r, "requests", w->requests);
	tn_log_str(&r, "contract", tn_str(w->contract));
	tn_log_str(&r, "by", tn_str(w->killed ? "us" : "itself"));
	if (WIFSIGNALED(st))
		tn_log_i64(&r, "signal", WTERMSIG(st));
	else
		tn_log_i64(&r, "status", WEXITSTATUS(st));
	tn_log_end(&r);
}

static void
tell_recyclers(struct sv_pool *p, const struct sv_worker *w)
{
	struct recycle *rc, *next;
	unsigned i;

	if (!w->recycled)
		return;
	for (rc = TAILQ_FIRST(&p->recycles); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		for (i = 0; i < rc->n && rc->workers[i] != w->number; i++)
			;
		if (i == rc->n || --rc->remaining > 0)
			continue;
		TAILQ_REMOVE(&p->recycles, rc, link);
		rc->done(rc->arg);
		free(rc);
	}
}

static void
balance_at(struct sv_pool *p, uint64_t us)
{
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };

	evtimer_add(p->ev_balance, &tv);
}

/* Nothing is started before the back-off is over. */
static void
back_off(struct sv_pool *p)
{
	p->delay_ms = sv_policy_backoff(p->delay_ms);
	p->not_before_us = tn_clock_us() + p->delay_ms * 1000ull;
}

static void
worker_ready(struct sv_pool *p)
{
	struct sv_worker *w;
	struct sv_policy_in in;

	p->delay_ms = 0;
	/* A replacement serves: one that was to be replaced can go, the oldest first. */
	TAILQ_FOREACH(w, &p->all, link)
		if (w->retire_pending && alive(w)) {
			p->stats->workers_retired++;
			sv_worker_retire(w, w->retire_reason);
			break;
		}
	if (p->was_ready)
		return;
	count(p, &in);
	if (in.idle + in.busy >= in.min) {
		p->was_ready = true;
		p->ops->ready(p->arg);
	}
}

static void
on_worker_state(void *arg, struct sv_worker *w, enum tn_wstate old)
{
	struct sv_pool *p = arg;
	enum tn_wstate now = w->state;

	sv_pool_touch(p, w);
	if (now == TN_WS_IDLE && (old == TN_WS_SPAWNED || old == TN_WS_WARMING))
		worker_ready(p);
	if (now == TN_WS_DEAD && old != TN_WS_DEAD) {
		if ((old == TN_WS_SPAWNED || old == TN_WS_WARMING) && !w->generation->ready)
			;		/* its zygote died: that has a back-off of its own */
		else if (old == TN_WS_SPAWNED || old == TN_WS_WARMING) {
			back_off(p);
			tn_log(TN_LOG_ERROR,
			    "worker %d died before it was ready; the next in %u ms",
			    (int)w->pid, p->delay_ms);
		}
	}
	if (now == TN_WS_DEAD && w->exited && old == TN_WS_DEAD) {
		/* Reaped: forget it. */
		account(p, w);
		TAILQ_REMOVE(&p->all, w, link);
		tell_recyclers(p, w);
		sv_worker_free(&w);
	} else if (w->is_available)
		p->ops->room(p->arg);
	if (now == TN_WS_DEAD || now == TN_WS_DRAINING)
		sv_pool_balance(p);
}

static const struct sv_worker_ops worker_ops = {
	.state = on_worker_state, .reply = on_worker_reply, .log = on_worker_log,
	.restored = on_worker_restored, .operation = on_worker_operation,
	.orphan = on_worker_orphan,
};

/* Builders: the same channel, other callbacks. */

static void
builder_free(struct builder *b)
{
	free(b->delta);
	free(b);
}

static void
on_builder_state(void *arg, struct sv_worker *w, enum tn_wstate old)
{
	struct builder *b = arg;
	char text[160];

	if (w->state == TN_WS_IDLE && old != TN_WS_IDLE && w->build_id == 0 && !b->answered) {
		b->begun = true;
		if (sv_worker_build(w, &b->frame) != 0)
			sv_worker_kill(w);
		return;
	}
	if (!(w->state == TN_WS_DEAD && w->exited && old == TN_WS_DEAD))
		return;
	if (!b->begun)
		snprintf(text, sizeof(text), "its builder ended before it was ready");
	else if (w->deadline_stage > 0)
		snprintf(text, sizeof(text), "its module level did not end within deadline_ms");
	else if (w->killed)
		snprintf(text, sizeof(text), "its builder had to be killed");
	else if (WIFSIGNALED(w->exit_status))
		snprintf(text, sizeof(text), "its module level crashed the builder (signal %d)",
		    WTERMSIG(w->exit_status));
	else
		snprintf(text, sizeof(text), "the builder died");
	if (b->answered && WIFEXITED(w->exit_status) && WEXITSTATUS(w->exit_status) == 0)
		b->done(b->arg, &b->built, TN_FAULT_NONE, NULL);
	else
		b->done(b->arg, NULL, b->begun ? TN_FAULT_COMPILE : TN_FAULT_INTERNAL, text);
	sv_worker_free(&w);
	builder_free(b);
}

static void
on_builder_built(void *arg, struct sv_worker *w, const struct tn_frame_built *f)
{
	struct builder *b = arg;
	size_t i, n = f->message.len < sizeof(b->message) ? f->message.len : sizeof(b->message) - 1;

	(void)w;
	b->answered = true;
	b->answered_us = tn_clock_us();
	b->built = *f;
	if (n > 0)
		memcpy(b->message, f->message.p, n);
	b->built.message = (struct tn_str){ b->message, n };
	b->built.delta = TN_STR("");
	if (f->fault == 0 && f->delta.len > 0) {
		if ((b->delta = malloc(f->delta.len)) == NULL) {
			b->built.fault = TN_FAULT_INTERNAL;
			b->built.message = TN_STR("no memory for its image");
		} else {
			memcpy(b->delta, f->delta.p, f->delta.len);
			b->built.delta = (struct tn_str){ b->delta, f->delta.len };
		}
	}
	b->built.exports = (struct tn_strv){ b->exports, 0 };
	for (i = 0; i < f->exports.n && i < 8; i++) {
		struct tn_str e = f->exports.v[i];

		if (e.len >= sizeof(b->names[0]))
			continue;
		memcpy(b->names[i], e.p, e.len);
		b->exports[b->built.exports.n++] = (struct tn_str){ b->names[i], e.len };
	}
}

static void
on_builder_orphan(void *arg, struct sv_worker *w, struct sv_request *rq, bool started)
{
	(void)arg;
	(void)w;
	(void)rq;
	(void)started;
}

static void
on_builder_log(void *arg, struct sv_worker *w, const struct sv_request *rq,
    const struct tn_frame_log *f)
{
	struct builder *b = arg;
	struct tn_log_record r;
	uint64_t dropped = 0;

	(void)w;
	(void)rq;
	if (!tn_log_allow(&b->log_limit, tn_clock_us(), &dropped)) {
		b->stats->log_dropped++;
		return;
	}
	tn_log_begin(&r, TN_LOG_INFO, "console");
	tn_log_str(&r, "contract", b->frame.build.contract);
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_str(&r, "text", f->text);
	tn_log_end(&r);
}

static void
on_builder_reply(void *arg, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_reply *f)
{
	(void)arg;
	(void)w;
	(void)rq;
	(void)f;
}

static const struct sv_worker_ops builder_ops = {
	.state = on_builder_state, .reply = on_builder_reply, .log = on_builder_log,
	.built = on_builder_built, .orphan = on_builder_orphan,
};

int
sv_pool_build(struct sv_pool *p, struct tn_frame *build, sv_pool_built *done, void *arg)
{
	struct builder *b;

	if (p->current == NULL)
		return TN_EAGAIN;
	if ((b = calloc(1, sizeof(*b))) == NULL)
		return TN_ENOMEM;
	b->frame = *build;
	b->done = done;
	b->arg = arg;
	b->stats = p->stats;
	b->log_limit.burst = CONSOLE_BURST;
	b->w = sv_worker_new(p->base, p->opt, p->current, p->next_worker, TN_ROLE_BUILDER,
	    p->decoder, &builder_ops, b);
	if (b->w == NULL) {
		free(b);
		return TN_ENOMEM;
	}
	p->next_worker++;
	snprintf(b->w->contract, sizeof(b->w->contract), "%.*s", (int)build->build.contract.len,
	    build->build.contract.p);
	TAILQ_INSERT_TAIL(&p->builders, b, link);
	return 0;
}

static bool
spawn(struct sv_pool *p)
{
	struct sv_worker *w = sv_worker_new(p->base, p->opt, p->current, p->next_worker,
	    TN_ROLE_WORKER, p->decoder, &worker_ops, p);

	if (w == NULL) {
		tn_log(TN_LOG_ERROR, "no memory or descriptors for another worker");
		return false;
	}
	p->next_worker++;
	p->stats->workers_started++;
	if (p->opt->max_requests > 0)
		w->max_requests = (uint64_t)p->opt->max_requests +
		    arc4random_uniform((uint32_t)p->opt->max_requests_jitter + 1);
	TAILQ_INSERT_TAIL(&p->all, w, link);
	return true;
}

static void
balance(struct sv_pool *p)
{
	struct sv_policy_in in;
	struct sv_policy_out out;
	struct sv_worker *w;
	uint64_t now;
	unsigned all = count(p, &in), most = 2 * in.max;

	out = sv_policy_size(&in);
	if (out.spawn > 0) {
		now = tn_clock_us();
		if (now < p->not_before_us) {
			balance_at(p, p->not_before_us - now);
			return;
		}
		/* Replacements come first; but the replaced may not pile up if they do not go. */
		for (; out.spawn > 0 && all < most; out.spawn--, all++)
			if (!spawn(p)) {
				back_off(p);
				balance_at(p, p->delay_ms * 1000ull);
				return;
			}
	} else if (out.retire_pending)
		TAILQ_FOREACH(w, &p->all, link)
			if (w->retire_pending && alive(w)) {
				p->stats->workers_retired++;
				sv_worker_retire(w, w->retire_reason);
			}
	if (in.queued > 0 && !evtimer_pending(p->ev_balance, NULL))
		balance_at(p, GROW_TICK_MS * 1000);
}

void
sv_pool_balance(struct sv_pool *p)
{
	if (p->balancing) {		/* who is retired calls back */
		p->again = true;
		return;
	}
	p->balancing = true;
	do {
		p->again = false;
		if (p->current != NULL)
			balance(p);
	} while (p->again);
	p->balancing = false;
}

static void
on_balance(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sv_pool_balance(arg);
}

/* It should have got further long ago: it is killed, or its zygote is. */
static bool
overdue(struct sv_pool *p, struct sv_worker *w, uint64_t now)
{
	if (!w->killed && starting(w) &&
	    now - w->born_us > (uint64_t)p->opt->ready_timeout_ms * 1000) {
		tn_log(TN_LOG_ERROR, "worker %d is not ready after ready_timeout_ms", (int)w->pid);
		sv_worker_kill(w);
	} else if (!w->killed && w->state == TN_WS_DEAD && now - w->dead_us > HANGUP_US)
		sv_worker_kill(w);
	else if (w->killed && now - w->killed_us > REAP_US) {
		tn_log(TN_LOG_ERROR, "worker %d was killed and is not reaped", (int)w->pid);
		p->ops->kill_zygote(p->arg, w->generation->number);
	}
	return w->killed || w->state == TN_WS_DEAD;
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sv_pool *p = arg;
	struct sv_worker *w, *next;
	struct builder *b;
	struct sv_policy_in in;
	uint64_t now = tn_clock_us();
	unsigned surplus;

	(void)fd;
	(void)what;
	if (p->coming_number != 0 && now - p->coming_since_us > ZYGOTE_READY_US) {
		tn_log(TN_LOG_ERROR, "zygote %llu is not ready after %u s",
		    (unsigned long long)p->coming_number, ZYGOTE_READY_US / 1000000u);
		p->coming_since_us = now;
		p->ops->kill_zygote(p->arg, p->coming_number);
	}
	count(p, &in);
	surplus = sv_policy_surplus(&in);
	for (w = TAILQ_FIRST(&p->all); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (overdue(p, w, now))
			continue;
		if (w->state == TN_WS_DRAINING && w->nframes == 0 &&
		    now - w->idle_since_us > RETIRE_US) {
			tn_log(TN_LOG_WARN, "worker %d does not retire", (int)w->pid);
			sv_worker_kill(w);
		} else if (surplus > 0 && w->state == TN_WS_IDLE && !w->retire_pending &&
		    now - w->idle_since_us > (uint64_t)p->opt->workers_idle_ms * 1000) {
			surplus--;
			p->stats->workers_retired++;
			sv_worker_retire(w, TN_RETIRE_IDLE);
		}
	}
	/* What a contract's module level made of its builder cannot be relied upon to end. */
	TAILQ_FOREACH(b, &p->builders, link)
		if (!overdue(p, b->w, now) && b->answered &&
		    now - b->answered_us > RETIRE_US) {
			tn_log(TN_LOG_WARN, "builder %d does not end", (int)b->w->pid);
			sv_worker_kill(b->w);
		}
	sv_pool_balance(p);
}

static struct sv_worker *
find(struct sv_pool *p, uint64_t number, struct builder **bp)
{
	struct sv_worker *w;
	struct builder *b;

	*bp = NULL;
	TAILQ_FOREACH(w, &p->all, link)
		if (w->number == number)
			return w;
	TAILQ_FOREACH(b, &p->builders, link)
		if (b->w->number == number) {
			*bp = b;
			return b->w;
		}
	return NULL;
}

static void
on_spawned(void *arg, uint64_t number, pid_t pid, int *pidfd, int status)
{
	struct sv_pool *p = arg;
	struct builder *b;
	struct sv_worker *w = find(p, number, &b);

	if (w == NULL)
		return;
	if (status != 0) {
		tn_log(TN_LOG_ERROR, "the zygote cannot fork: %s", strerror(status));
		back_off(p);
		if (b != NULL)
			TAILQ_REMOVE(&p->builders, b, link);
		sv_worker_on_exited(w, 127 << 8);
		return;
	}
	sv_worker_on_spawned(w, pid, pidfd);
}

static void
on_exited(void *arg, uint64_t number, int status)
{
	struct sv_pool *p = arg;
	struct builder *b;
	struct sv_worker *w = find(p, number, &b);

	if (w == NULL)
		return;
	if (b != NULL)
		TAILQ_REMOVE(&p->builders, b, link);
	sv_worker_on_exited(w, status);
}

static void
on_generation_ready(void *arg, struct sv_generation *g)
{
	struct sv_pool *p = arg;
	struct tn_log_record r;

	tn_log_begin(&r, TN_LOG_INFO, "zygote ready");
	tn_log_u64(&r, "generation", g->number);
	tn_log_i64(&r, "pid", g->pid);
	tn_log_ms(&r, "warm", g->warm_us);
	tn_log_u64(&r, "image_bytes", g->image_bytes);
	tn_log_end(&r);
	p->current = g;
	p->current_since_us = tn_clock_us();
	p->coming = NULL;
	p->coming_number = 0;
	p->delay_ms = 0;		/* what could not be started was the last one's */
	p->not_before_us = 0;
	p->stats->generations++;
	p->ops->generation(p->arg);
	sv_pool_balance(p);
}

/* The next one, after a delay that grows from death to death. */
static void
want_zygote_later(struct sv_pool *p)
{
	unsigned ms = sv_policy_backoff(p->zygote_delay_ms);
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	p->zygote_delay_ms = ms;
	evtimer_add(p->ev_zygote, &tv);
}

/* The zygote is gone, so are its workers: pid 1 takes its namespace along. */
static void
on_generation_dead(void *arg, struct sv_generation *g, const char *text)
{
	struct sv_pool *p = arg;
	struct sv_worker *w;
	struct builder *b;
	char last[200];
	bool was_current = g == p->current;
	bool found;

	snprintf(last, sizeof(last), "%s", text);
	tn_log(TN_LOG_ERROR, "zygote %llu is gone%s%s", (unsigned long long)g->number,
	    last[0] != '\0' ? ": " : "", last);
	p->ops->kill_zygote(p->arg, g->number);
	if (was_current)
		p->current = NULL;
	if (g == p->coming) {
		p->coming = NULL;
		p->coming_number = 0;
	}
	g->ready = false;
	/* While one of them is buried the others must not be handed what it had. */
	TAILQ_FOREACH(w, &p->all, link)
		if (w->generation == g) {
			w->exited = true;
			sv_pool_unavailable(p, w);
		}
	do {
		found = false;
		TAILQ_FOREACH(w, &p->all, link)
			if (w->generation == g) {
				found = true;
				w->killed = true;
				sv_worker_on_exited(w, SIGKILL);
				break;
			}
	} while (found);
	do {
		found = false;
		TAILQ_FOREACH(b, &p->builders, link)
			if (b->w->generation == g) {
				found = true;
				TAILQ_REMOVE(&p->builders, b, link);
				sv_worker_on_exited(b->w, SIGKILL);
				break;
			}
	} while (found);
	sv_generation_free(&g);
	if (!p->was_ready && !was_current) {
		p->ops->failed(p->arg,
		    last[0] != '\0' ? last : "the zygote died while it warmed up");
		return;
	}
	if (was_current && tn_clock_us() - p->current_since_us > ZYGOTE_STEADY_US)
		p->zygote_delay_ms = 0;
	if (p->current == NULL && p->coming_number == 0)
		want_zygote_later(p);
}

static const struct sv_generation_ops generation_ops = {
	.ready = on_generation_ready, .spawned = on_spawned, .exited = on_exited,
	.dead = on_generation_dead,
};

static void
want_zygote(struct sv_pool *p)
{
	p->coming_number = p->next_generation++;
	p->coming_since_us = tn_clock_us();
	p->ops->want_zygote(p->arg, p->coming_number);
}

static void
on_zygote_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sv_pool *p = arg;

	(void)fd;
	(void)what;
	if (p->current == NULL && p->coming_number == 0)
		want_zygote(p);
}

void
sv_pool_start(struct sv_pool *p)
{
	struct timeval tv = { TICK_MS / 1000, TICK_MS % 1000 * 1000 };

	event_add(p->ev_tick, &tv);
	want_zygote(p);
}

void
sv_pool_on_zygote(struct sv_pool *p, uint64_t number, int *fd, int *pidfd, int status)
{
	char text[128];

	if (number != p->coming_number || p->coming != NULL)
		return;
	if (status == 0)
		p->coming = sv_generation_new(p->base, number, fd, pidfd, &generation_ops, p);
	if (p->coming != NULL)
		return;
	snprintf(text, sizeof(text), "the zygote cannot be started: %s",
	    strerror(status != 0 ? status : ENOMEM));
	tn_log(TN_LOG_ERROR, "%s", text);
	p->coming_number = 0;
	if (!p->was_ready)
		p->ops->failed(p->arg, text);
	else
		want_zygote_later(p);
}

void
sv_pool_on_zygote_dead(struct sv_pool *p, uint64_t number, int status)
{
	/* Its channel tells the same, after its last words; this is for the log. */
	(void)p;
	if (status != 0)
		tn_log(TN_LOG_WARN, "zygote %llu ended with status 0x%x",
		    (unsigned long long)number, (unsigned)status);
}

const struct sv_generation *
sv_pool_generation(const struct sv_pool *p)
{
	return p->current;
}

unsigned
sv_pool_recycle(struct sv_pool *p, pid_t pid, const char *contract, enum tn_retire_reason why,
    void (*done)(void *arg), void *arg)
{
	struct recycle *rc;
	struct sv_worker *w;
	unsigned n = 0;

	TAILQ_FOREACH(w, &p->all, link)
		n++;
	if ((rc = calloc(1, sizeof(*rc) + n * sizeof(rc->workers[0]))) == NULL)
		return 0;
	TAILQ_FOREACH(w, &p->all, link) {
		if (!alive(w) && !starting(w))
			continue;
		if ((pid != 0 && w->pid != pid) ||
		    (contract != NULL && strcmp(w->contract, contract) != 0))
			continue;
		w->retire_pending = w->recycled = true;
		w->retire_reason = why;
		rc->workers[rc->n++] = w->number;
	}
	if ((n = rc->n) == 0) {
		free(rc);
		return 0;
	}
	rc->remaining = n;
	rc->done = done;
	rc->arg = arg;
	TAILQ_INSERT_TAIL(&p->recycles, rc, link);
	sv_pool_balance(p);
	return n;
}

void
sv_pool_gauges(struct sv_pool *p)
{
	struct sv_policy_in in;

	count(p, &in);
	p->stats->workers = in.idle + in.busy + in.starting;
	p->stats->workers_idle = in.idle;
}

void
sv_pool_each(struct sv_pool *p, void (*fn)(void *arg, const struct sv_worker *w), void *arg)
{
	struct sv_worker *w;

	TAILQ_FOREACH(w, &p->all, link)
		fn(arg, w);
}

struct sv_pool *
sv_pool_new(struct event_base *base, const struct tn_options *opt, struct sv_stats *stats,
    const struct sv_pool_ops *ops, void *arg)
{
	struct sv_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->base = base;
	p->opt = opt;
	p->stats = stats;
	p->ops = ops;
	p->arg = arg;
	p->next_generation = p->next_worker = 1;
	TAILQ_INIT(&p->all);
	TAILQ_INIT(&p->available);
	TAILQ_INIT(&p->builders);
	TAILQ_INIT(&p->recycles);
	p->decoder = tn_frame_decoder_new(0);
	p->ev_tick = event_new(base, -1, EV_PERSIST, on_tick, p);
	p->ev_balance = evtimer_new(base, on_balance, p);
	p->ev_zygote = evtimer_new(base, on_zygote_timer, p);
	if (p->decoder == NULL || p->ev_tick == NULL || p->ev_balance == NULL ||
	    p->ev_zygote == NULL)
		sv_pool_free(&p);
	return p;
}

void
sv_pool_free(struct sv_pool **pp)
{
	struct sv_pool *p = *pp;
	struct sv_worker *w;
	struct builder *b;
	struct recycle *rc;

	if (p == NULL)
		return;
	*pp = NULL;
	while ((w = TAILQ_FIRST(&p->all)) != NULL) {
		TAILQ_REMOVE(&p->all, w, link);
		sv_worker_free(&w);
	}
	while ((b = TAILQ_FIRST(&p->builders)) != NULL) {
		TAILQ_REMOVE(&p->builders, b, link);
		sv_worker_free(&b->w);
		builder_free(b);
	}
	while ((rc = TAILQ_FIRST(&p->recycles)) != NULL) {
		TAILQ_REMOVE(&p->recycles, rc, link);
		free(rc);
	}
	sv_generation_free(&p->current);
	sv_generation_free(&p->coming);
	tn_frame_decoder_free(&p->decoder);
	if (p->ev_tick != NULL)
		event_free(p->ev_tick);
	if (p->ev_balance != NULL)
		event_free(p->ev_balance);
	if (p->ev_zygote != NULL)
		event_free(p->ev_zygote);
	free(p);
}
