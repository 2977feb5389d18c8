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

#include "sv_memory.h"
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
#define RESTORE_MAX_US		10000000u /* more is a lie */
#define FILLED_US		5000000u /* the workers of a new generation are ready by then */
#define RESERVE_US		5000u	/* a reserve that was used is made up for then */
#define OLD_MAX			2	/* generations that finish what they have */
#define LOOKS_TICK		128u	/* workers whose memory is looked at in a tick */

/* The choices of `pool`. */
enum { POOL_STATIC, POOL_DYNAMIC, POOL_ONDEMAND };

/* Somebody waits for a number of workers to be replaced. */
struct recycle {
	TAILQ_ENTRY(recycle) link;
	void		(*done)(void *);
	void		*arg;
	unsigned	 remaining;
	unsigned	 n;
	uint64_t	 workers[];	/* their numbers */
};

/* Somebody waits for a new generation. */
struct rotation {
	TAILQ_ENTRY(rotation) link;
	sv_pool_rotated	*done;
	void		*arg;
};

struct sv_pool {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_stats	*stats;
	const struct sv_pool_ops *ops;
	void		*arg;
	struct sv_generation *current;	/* serves */
	struct sv_generation *coming;	/* warms up, is filled, gets its workers */
	struct sv_generation *old[OLD_MAX];	/* finish what they have */
	uint64_t	 coming_number;	/* asked of the master, 0: none */
	uint64_t	 coming_since_us, current_since_us;
	unsigned	 coming_workers; /* it takes over when so many are ready, 0: not filled yet */
	uint64_t	 filled_us;	/* when they were asked for */
	bool		 rotation_due;	/* a worker has crashed */
	uint64_t	 next_generation, next_worker;
	unsigned	 zygote_delay_ms;
	unsigned	 delay_ms;	/* respawn back-off */
	uint64_t	 not_before_us;
	uint64_t	 reserve_from_us;	/* nobody is forked for the reserve before */
	bool		 was_ready;
	bool		 balancing, again;
	struct event	*ev_tick, *ev_balance, *ev_zygote;
	struct tn_frame_decoder *decoder;
	TAILQ_HEAD(, sv_worker) all;
	struct sv_choice choice;	/* of those with room */
	struct sv_worker *look;			/* whose memory is looked at next, NULL: the first's */
	TAILQ_HEAD(, rotation) rotations;
	TAILQ_HEAD(, sv_builder) builders;
	TAILQ_HEAD(, recycle) recycles;
};

static void want_zygote(struct sv_pool *p);
static void take_over_if_ready(struct sv_pool *p);
static void end_if_unused(struct sv_pool *p, struct sv_generation *g);
static void take_over(struct sv_pool *p);
static void bury(struct sv_pool *p, struct sv_generation *g);
static struct sv_generation **old_slot(struct sv_pool *p);

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

/* Of the generation that serves. */
static bool
counts(const struct sv_pool *p, const struct sv_worker *w)
{
	return w->generation == p->current;
}

/* Returns how many processes there are, the dead that were not reaped included. */
static unsigned
count(struct sv_pool *p, struct sv_policy_in *in)
{
	struct sv_pool_demand demand = { 0 };
	struct sv_worker *w;
	uint64_t now = tn_clock_us();
	unsigned all = 0, brisk = 0;

	*in = (struct sv_policy_in){
	    .min = p->opt->pool == POOL_ONDEMAND ? 0 : (unsigned)p->opt->workers_min,
	    .max = p->opt->pool == POOL_STATIC ? (unsigned)p->opt->workers_min :
	    (unsigned)p->opt->workers_max,
	    .standby_min = p->opt->pool == POOL_ONDEMAND ? 0 : (unsigned)p->opt->workers_standby,
	    .one_shot = p->opt->isolation == TN_ISO_PROCESS };
	TAILQ_FOREACH(w, &p->all, link) {
		all++;
		if (!counts(p, w))
			continue;
		in->starting += starting(w);
		if (!alive(w))
			continue;
		if (w->standby) {
			in->standby++;
			continue;
		}
		in->idle += w->state == TN_WS_IDLE;
		brisk += sv_worker_brisk(w, now, SV_POLICY_GROW_US);
		if (w->one_shot && !in->one_shot)
			in->leaving++;
		else
			in->busy += w->state == TN_WS_BUSY;
		in->pending += w->retire_pending;
	}
	p->ops->demand(p->arg, &demand);
	in->queued = demand.queued;
	in->unused = demand.unused;
	/* As many as there are processors are at work: more would only share these. */
	in->head_wait_us = demand.since_us > 0 && now > demand.since_us && brisk < p->choice.nprocessors ?
	    now - demand.since_us : 0;
	return all;
}

void
sv_pool_touch(struct sv_pool *p, struct sv_worker *w)
{
	sv_choice_remove(&p->choice, w);
	/* What a reserve was handed it has left. */
	if (w->nframes > 0)
		w->standby = false;
	if (w->role == TN_ROLE_WORKER && counts(p, w) &&
	    sv_worker_room(w, (unsigned)p->opt->worker_depth))
		sv_choice_add(&p->choice, w);
}

void
sv_pool_unavailable(struct sv_pool *p, struct sv_worker *w)
{
	sv_choice_remove(&p->choice, w);
}

bool
sv_pool_has_room(const struct sv_pool *p, bool unused)
{
	return sv_choice_has_room(&p->choice, unused);
}

bool
sv_pool_may_watch(const struct sv_pool *p)
{
	return !p->choice.one_processor;
}

struct sv_worker *
sv_pool_pick(struct sv_pool *p, const struct sv_choice_want *want)
{
	return sv_choice_pick(&p->choice, want);
}

bool
sv_pool_serves(const struct sv_pool *p, const char *contract)
{
	const struct sv_worker *w;

	TAILQ_FOREACH(w, &p->all, link)
		if (counts(p, w) && alive(w) && strcmp(w->contract, contract) == 0)
			return true;
	return false;
}

/* What the worker says in its page of its restores since we looked last. */
static void
count_restores(struct sv_pool *p, struct sv_worker *w)
{
	uint32_t words[TN_RESTORES_KEPT];
	unsigned n, i;

	if (w->role != TN_ROLE_WORKER)
		return;
	n = tn_slots_restores(w->slots, &w->restores, words);
	for (i = 0; i < n; i++) {
		uint32_t us = words[i] >> 1;

		sv_histogram_add(&p->stats->time_restore,
		    us < RESTORE_MAX_US ? us : RESTORE_MAX_US);
		p->stats->audits += words[i] & 1;
	}
}

static void
on_worker_reply(void *arg, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_reply *f)
{
	struct sv_pool *p = arg;

	count_restores(p, w);
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
on_worker_revoked(void *arg, struct sv_worker *w, struct sv_request *rq)
{
	struct sv_pool *p = arg;

	p->stats->requests_revoked++;
	p->ops->revoked(p->arg, w, rq);
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

	if (f->differ == 0 || w->killed)
		return;
	/* Its next request would see something of this one: it gets none. */
	p->stats->audits++;
	p->stats->audits_failed++;
	tn_log_begin(&r, TN_LOG_ERROR, "audit: the heap differs from its image");
	tn_log_i64(&r, "pid", w->pid);
	tn_log_str(&r, "contract", tn_str(w->contract));
	if (f->id == w->answered)
		tn_log_str(&r, "request_id", tn_str(w->answered_id));
	tn_log_u64(&r, "pages", f->differ);
	tn_log_u64(&r, "first_page", f->page);
	tn_log_end(&r);
	sv_pool_unavailable(p, w);
	w->cause = TN_WC_AUDIT;
	sv_worker_kill(w);
}

/* Count the end of a worker, and log it if nobody had asked for it. */
static void
account(struct sv_pool *p, struct sv_worker *w)
{
	struct tn_log_record r;
	int st = w->exit_status;
	bool clean = WIFEXITED(st) && WEXITSTATUS(st) == 0;
	enum tn_wcause cause = sv_worker_cause(w);

	count_restores(p, w);
	p->stats->workers_ended[cause]++;
	if (w->killed)
		p->stats->workers_killed++;
	else if (!clean)
		p->stats->workers_crashed++;
	/* Perhaps it has felt for the layout of memory, which all workers of a zygote share. */
	if (!w->killed && WIFSIGNALED(st) && counts(p, w))
		p->rotation_due = true;
	if (clean && !w->killed)
		return;
	tn_log_begin(&r, TN_LOG_WARN, w->role == TN_ROLE_BUILDER ? "builder died" : "worker died");
	tn_log_i64(&r, "pid", w->pid);
	tn_log_u64(&r, "generation", w->generation->number);
	tn_log_u64(&r, "requests", w->requests);
	tn_log_str(&r, "contract", tn_str(w->contract));
	tn_log_str(&r, "by", tn_str(w->killed ? "us" : "itself"));
	tn_log_str(&r, "cause", tn_str(tn_wcause_name(cause)));
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
say_ready_once(struct sv_pool *p)
{
	struct sv_policy_in in;

	if (p->was_ready)
		return;
	count(p, &in);
	if (in.idle + in.busy >= in.min) {
		p->was_ready = true;
		p->ops->ready(p->arg);
	}
}

/* A new one is ready: where it is needed, or in reserve, as the policy says. */
static void
worker_ready(struct sv_pool *p, struct sv_worker *w)
{
	if (w->generation == p->coming) {
		take_over_if_ready(p);
		return;
	}
	if (!counts(p, w)) {		/* asked for before the present one took over */
		sv_worker_retire(w, TN_RETIRE_GENERATION);
		return;
	}
	p->delay_ms = 0;
	sv_pool_balance(p);
	say_ready_once(p);
}

static void
on_worker_state(void *arg, struct sv_worker *w, enum tn_wstate old)
{
	struct sv_pool *p = arg;
	enum tn_wstate now = w->state;

	p->choice.nbusy += (now == TN_WS_BUSY) - (old == TN_WS_BUSY);
	if (now == TN_WS_IDLE && (old == TN_WS_SPAWNED || old == TN_WS_WARMING)) {
		w->standby = true;
		sv_pool_touch(p, w);
		worker_ready(p, w);
	} else
		sv_pool_touch(p, w);
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
		struct sv_generation *g = w->generation;

		/* Reaped: forget it. */
		account(p, w);
		if (p->look == w)
			p->look = TAILQ_NEXT(w, link);
		TAILQ_REMOVE(&p->all, w, link);
		tell_recyclers(p, w);
		sv_worker_free(&w);
		end_if_unused(p, g);
	} else if (w->is_available)
		p->ops->room(p->arg);
	if (now == TN_WS_DEAD || now == TN_WS_DRAINING)
		sv_pool_balance(p);
}

static const struct sv_worker_ops worker_ops = {
	.state = on_worker_state, .reply = on_worker_reply, .log = on_worker_log,
	.restored = on_worker_restored, .operation = on_worker_operation,
	.revoked = on_worker_revoked, .orphan = on_worker_orphan,
};

int
sv_pool_build(struct sv_pool *p, uint64_t generation, struct tn_frame *build,
    sv_builder_built *done, void *arg)
{
	struct sv_generation *g = p->current;
	struct sv_builder *b;

	if ((g == NULL || g->number != generation) && (g = p->coming) != NULL &&
	    (!g->ready || g->number != generation))
		g = NULL;
	if (g == NULL)
		return TN_EAGAIN;
	b = sv_builder_new(p->base, p->opt, p->stats, g, p->next_worker, p->decoder, build, done,
	    arg);
	if (b == NULL)
		return TN_ENOMEM;
	p->next_worker++;
	TAILQ_INSERT_TAIL(&p->builders, b, link);
	return 0;
}

/* It has ended, and frees itself when it hears of it. */
static void
builder_exited(struct sv_pool *p, struct sv_builder *b, int status)
{
	struct sv_generation *g = b->w->generation;

	if (WIFSIGNALED(status) && !b->w->killed)
		p->rotation_due = true;
	TAILQ_REMOVE(&p->builders, b, link);
	sv_worker_on_exited(b->w, status);
	end_if_unused(p, g);
}

static bool
spawn(struct sv_pool *p, struct sv_generation *g)
{
	struct sv_worker *w = sv_worker_new(p->base, p->opt, g, p->next_worker,
	    TN_ROLE_WORKER, p->decoder, &worker_ops, p);

	if (w == NULL) {
		tn_log(TN_LOG_ERROR, "no memory or descriptors for another worker");
		return false;
	}
	p->next_worker++;
	p->stats->workers_started++;
	if (p->opt->worker_lifetime > 0)
		w->ends_us = w->born_us + (uint64_t)p->opt->worker_lifetime * 1000000 +
		    arc4random_uniform((uint32_t)p->opt->worker_lifetime * 100u + 1) * 1000ull;
	if (p->opt->max_requests > 0)
		w->max_requests = (uint64_t)p->opt->max_requests +
		    arc4random_uniform((uint32_t)p->opt->max_requests_jitter + 1);
	TAILQ_INSERT_TAIL(&p->all, w, link);
	return true;
}

/* The reserve that has waited longest takes part. */
static void
promote(struct sv_pool *p)
{
	struct sv_worker *w = TAILQ_FIRST(&p->choice.standby);

	if (w == NULL)
		return;
	sv_choice_remove(&p->choice, w);
	w->standby = false;
	sv_pool_touch(p, w);
}

static void
retire_pending(struct sv_pool *p, unsigned n)
{
	struct sv_worker *w, *next;

	for (w = TAILQ_FIRST(&p->all); w != NULL && n > 0; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!counts(p, w) || !w->retire_pending || !alive(w))
			continue;
		n--;
		p->stats->workers_retired++;
		sv_worker_retire(w, w->retire_reason);
	}
}

bool
sv_pool_full(struct sv_pool *p)
{
	struct sv_policy_in in;

	count(p, &in);
	return in.idle + in.busy + in.leaving + in.standby + in.starting >= in.max;
}

/*
 * Requests wait for workers that have served nobody, and there may not be more: those
 * that have been idle longest make room.
 */
static void
make_room(struct sv_pool *p, const struct sv_policy_in *in)
{
	unsigned coming = in->standby + in->starting;
	unsigned n = in->unused > coming ? in->unused - coming : 0;
	struct sv_worker *w, *oldest;

	if (in->idle + in->busy + in->leaving + coming < in->max)
		return;
	for (; n > 0; n--) {
		oldest = NULL;
		TAILQ_FOREACH(w, &p->all, link)
			if (counts(p, w) && alive(w) && !w->standby && w->state == TN_WS_IDLE &&
			    !sv_worker_unused(w) &&
			    (oldest == NULL || w->idle_since_us < oldest->idle_since_us))
				oldest = w;
		if (oldest == NULL)
			return;
		p->stats->workers_retired++;
		sv_worker_retire(oldest, TN_RETIRE_TENANT);
	}
}

static void
balance(struct sv_pool *p)
{
	struct sv_policy_in in;
	struct sv_policy_out out;
	uint64_t now;
	unsigned all = count(p, &in), most = 2 * (in.max + in.standby_min), i, n;

	out = sv_policy_size(&in);
	for (i = 0; i < out.promote; i++)
		promote(p);
	now = tn_clock_us();
	/* Who waits for them goes first; a fork for the reserve would be in the way. */
	if (out.promote > 0) {
		p->reserve_from_us = now + RESERVE_US;
		p->ops->room(p->arg);
	}
	n = now < p->reserve_from_us && in.unused == 0 ? out.urgent : out.spawn;
	if (n < out.spawn)
		balance_at(p, p->reserve_from_us - now);
	retire_pending(p, out.retire);
	make_room(p, &in);
	if (n > 0 && now < p->not_before_us) {
		balance_at(p, p->not_before_us - now);
		return;
	}
	/* Replacements come first; but the replaced may not pile up if they do not go. */
	for (; n > 0 && all < most; n--, all++)
		if (!spawn(p, p->current)) {
			back_off(p);
			balance_at(p, p->delay_ms * 1000ull);
			return;
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

void
sv_pool_queued(struct sv_pool *p)
{
	if (!evtimer_pending(p->ev_balance, NULL))
		sv_pool_balance(p);
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
		w->cause = TN_WC_START;
		sv_worker_kill(w);
	} else if (!w->killed && w->state == TN_WS_DEAD && now - w->dead_us > HANGUP_US)
		sv_worker_kill(w);
	else if (w->killed && now - w->killed_us > REAP_US) {
		tn_log(TN_LOG_ERROR, "worker %d was killed and is not reaped", (int)w->pid);
		p->ops->kill_zygote(p->arg, w->generation->number);
	}
	return w->killed || w->state == TN_WS_DEAD;
}

/* A generation is due when it is old, or a worker of it has crashed. */
static void
rotate_if_due(struct sv_pool *p, uint64_t now)
{
	uint64_t age = now - p->current_since_us;

	if (p->current == NULL || p->coming_number != 0 || old_slot(p) == NULL ||
	    evtimer_pending(p->ev_zygote, NULL))
		return;
	if ((p->opt->zygote_lifetime > 0 && age >= (uint64_t)p->opt->zygote_lifetime * 1000000) ||
	    (p->rotation_due && age >= (uint64_t)p->opt->zygote_lifetime_min * 1000000) ||
	    !TAILQ_EMPTY(&p->rotations))
		want_zygote(p);
}

/* Some workers' memory, the next ones in the next tick; who has grown too much is replaced. */
static void
look_at_memory(struct sv_pool *p)
{
	struct sv_worker *w = p->look;
	unsigned n;

	for (n = 0; n < LOOKS_TICK; n++) {
		if (w == NULL && (n > 0 || (w = TAILQ_FIRST(&p->all)) == NULL))
			break;
		if (w->pid > 0 && !w->exited)
			sv_memory_of(w->pid, &w->private_bytes, &w->shared_bytes);
		if (p->opt->worker_private_max > 0 && w->state == TN_WS_IDLE && alive(w) &&
		    w->private_bytes > p->opt->worker_private_max && !w->retire_pending) {
			w->retire_pending = true;
			w->retire_reason = TN_RETIRE_MEMORY;
		}
		w = TAILQ_NEXT(w, link);
	}
	p->look = w;
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sv_pool *p = arg;
	struct sv_worker *w, *next;
	struct sv_builder *b;
	struct sv_policy_in in;
	uint64_t now = tn_clock_us();
	unsigned surplus;

	(void)fd;
	(void)what;
	if (p->coming_workers > 0 && now - p->filled_us > FILLED_US) {
		tn_log(TN_LOG_WARN, "generation %llu takes over before all its workers are ready",
		    (unsigned long long)p->coming_number);
		take_over(p);
	} else if (p->coming_number != 0 && (p->coming == NULL || !p->coming->ready) &&
	    now - p->coming_since_us > ZYGOTE_READY_US) {
		tn_log(TN_LOG_ERROR, "zygote %llu is not ready after %u s",
		    (unsigned long long)p->coming_number, ZYGOTE_READY_US / 1000000u);
		p->coming_since_us = now;
		p->ops->kill_zygote(p->arg, p->coming_number);
	}
	rotate_if_due(p, now);
	look_at_memory(p);
	count(p, &in);
	surplus = sv_policy_surplus(&in);
	for (w = TAILQ_FIRST(&p->all); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (overdue(p, w, now))
			continue;
		if (w->ends_us != 0 && now > w->ends_us && alive(w) && !w->retire_pending) {
			w->retire_pending = true;
			w->retire_reason = TN_RETIRE_AGE;
		}
		if (w->state == TN_WS_DRAINING && w->nframes == 0 &&
		    now - w->idle_since_us > RETIRE_US) {
			tn_log(TN_LOG_WARN, "worker %d does not retire", (int)w->pid);
			w->cause = TN_WC_STUCK;
			sv_worker_kill(w);
		} else if (surplus > 0 && counts(p, w) && w->state == TN_WS_IDLE &&
		    !w->standby && !w->retire_pending &&
		    now - w->idle_since_us > (uint64_t)p->opt->workers_idle_ms * 1000) {
			surplus--;
			p->stats->workers_retired++;
			sv_worker_retire(w, TN_RETIRE_IDLE);
		}
	}
	/* What a contract's module level made of its builder cannot be relied upon to end. */
	TAILQ_FOREACH(b, &p->builders, link)
		if (!overdue(p, b->w, now) && b->answered_us != 0 &&
		    now - b->answered_us > RETIRE_US) {
			tn_log(TN_LOG_WARN, "builder %d does not end", (int)b->w->pid);
			sv_worker_kill(b->w);
		}
	sv_pool_balance(p);
}

static struct sv_worker *
find(struct sv_pool *p, uint64_t number, struct sv_builder **bp)
{
	struct sv_worker *w;
	struct sv_builder *b;

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
	struct sv_builder *b;
	struct sv_worker *w = find(p, number, &b);

	if (w == NULL)
		return;
	if (status != 0) {
		tn_log(TN_LOG_ERROR, "the zygote cannot fork: %s", strerror(status));
		back_off(p);
		w->cause = TN_WC_START;
		if (b != NULL)
			builder_exited(p, b, 127 << 8);
		else
			sv_worker_on_exited(w, 127 << 8);
		return;
	}
	sv_worker_on_spawned(w, pid, pidfd);
}

static void
on_exited(void *arg, uint64_t number, int status)
{
	struct sv_pool *p = arg;
	struct sv_builder *b;
	struct sv_worker *w = find(p, number, &b);

	if (w == NULL)
		return;
	if (b != NULL)
		builder_exited(p, b, status);
	else
		sv_worker_on_exited(w, status);
}

/* ---- generations: one warms up and is filled, one serves, others finish ---- */

static struct sv_generation **
old_slot(struct sv_pool *p)
{
	for (unsigned i = 0; i < OLD_MAX; i++)
		if (p->old[i] == NULL)
			return &p->old[i];
	return NULL;
}

static bool
in_use(struct sv_pool *p, const struct sv_generation *g)
{
	struct sv_worker *w;
	struct sv_builder *b;

	TAILQ_FOREACH(w, &p->all, link)
		if (w->generation == g)
			return true;
	TAILQ_FOREACH(b, &p->builders, link)
		if (b->w->generation == g)
			return true;
	return false;
}

/* An old one without processes is told to end. */
static void
end_if_unused(struct sv_pool *p, struct sv_generation *g)
{
	for (unsigned i = 0; i < OLD_MAX; i++)
		if (p->old[i] == g && g != NULL && !in_use(p, g))
			(void)sv_generation_end(g);
}

static void
tell_rotations(struct sv_pool *p, const char *error)
{
	struct rotation *r;
	TAILQ_HEAD(, rotation) list = TAILQ_HEAD_INITIALIZER(list);

	TAILQ_CONCAT(&list, &p->rotations, link);
	while ((r = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, r, link);
		r->done(r->arg, error);
		free(r);
	}
}

/* The one before finishes what it has; who is starting there goes when it is ready. */
static void
leave_generation(struct sv_pool *p, struct sv_generation *g)
{
	struct sv_worker *w, *next;

	*old_slot(p) = g;		/* there is one: see rotate_if_due() */
	for (w = TAILQ_FIRST(&p->all); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->generation != g || !alive(w))
			continue;
		p->stats->workers_retired++;
		sv_worker_retire(w, TN_RETIRE_GENERATION);
	}
	end_if_unused(p, g);
}

/* What is there of the coming generation serves from now on. */
static void
take_over(struct sv_pool *p)
{
	struct sv_generation *before = p->current;
	struct sv_worker *w;
	struct tn_log_record r;

	p->current = p->coming;
	p->current_since_us = tn_clock_us();
	p->coming = NULL;
	p->coming_number = 0;
	p->coming_workers = 0;
	p->rotation_due = false;
	p->delay_ms = 0;		/* what could not be started was the last one's */
	p->not_before_us = 0;
	p->stats->generations++;
	tn_log_begin(&r, TN_LOG_INFO, "zygote takes over");
	tn_log_u64(&r, "generation", p->current->number);
	tn_log_i64(&r, "pid", p->current->pid);
	tn_log_ms(&r, "warm", p->current->warm_us);
	tn_log_u64(&r, "image_bytes", p->current->image_bytes);
	tn_log_end(&r);
	TAILQ_FOREACH(w, &p->all, link)
		sv_pool_touch(p, w);
	p->ops->generation(p->arg);
	sv_pool_balance(p);
	if (before != NULL)
		leave_generation(p, before);
	p->ops->room(p->arg);
	tell_rotations(p, NULL);
	say_ready_once(p);		/* there may be none to wait for */
}

static void
take_over_if_ready(struct sv_pool *p)
{
	struct sv_worker *w;
	unsigned n = 0;

	TAILQ_FOREACH(w, &p->all, link)
		n += w->generation == p->coming && alive(w);
	if (p->coming_workers > 0 && n >= p->coming_workers)
		take_over(p);
}

static void
on_generation_ready(void *arg, struct sv_generation *g)
{
	struct sv_pool *p = arg;

	if (p->current == NULL)
		take_over(p);
	else
		p->ops->fill(p->arg, g);
}

void
sv_pool_filled(struct sv_pool *p)
{
	struct sv_policy_in in;
	unsigned n;

	if (p->coming == NULL || !p->coming->ready || p->coming_workers > 0)
		return;
	count(p, &in);
	n = in.idle + in.busy + in.standby;
	if (n < in.min + in.standby_min)
		n = in.min + in.standby_min;
	p->filled_us = tn_clock_us();
	while (p->coming_workers < n && spawn(p, p->coming))
		p->coming_workers++;
	if (p->coming_workers == 0)	/* as it is; the policy goes on trying */
		take_over(p);
}

const struct sv_generation *
sv_pool_coming(const struct sv_pool *p)
{
	return p->coming != NULL && p->coming->ready ? p->coming : NULL;
}

int
sv_pool_rotate(struct sv_pool *p, sv_pool_rotated *done, void *arg)
{
	struct rotation *r;

	if (p->current == NULL)
		return TN_EAGAIN;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return TN_ENOMEM;
	r->done = done;
	r->arg = arg;
	TAILQ_INSERT_TAIL(&p->rotations, r, link);
	rotate_if_due(p, tn_clock_us());
	return 0;
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
bury(struct sv_pool *p, struct sv_generation *g)
{
	struct sv_worker *w;
	struct sv_builder *b;
	bool found;
	unsigned i;

	if (g == p->current)
		p->current = NULL;
	if (g == p->coming) {
		p->coming = NULL;
		p->coming_number = 0;
		p->coming_workers = 0;
	}
	for (i = 0; i < OLD_MAX; i++)
		if (p->old[i] == g)
			p->old[i] = NULL;
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
				w->cause = TN_WC_ZYGOTE;
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
}

static void
on_generation_dead(void *arg, struct sv_generation *g, const char *text)
{
	struct sv_pool *p = arg;
	char last[200];
	uint64_t number = g->number;
	bool was_current = g == p->current, was_coming = g == p->coming;

	snprintf(last, sizeof(last), "%s", text);
	if (g->ending && last[0] == '\0')
		tn_log(TN_LOG_INFO, "zygote %llu has ended", (unsigned long long)number);
	else {
		tn_log(TN_LOG_ERROR, "zygote %llu is gone%s%s", (unsigned long long)number,
		    last[0] != '\0' ? ": " : "", last);
		p->ops->kill_zygote(p->arg, number);
	}
	bury(p, g);
	if (!was_current && !was_coming)
		return;
	if (was_coming) {
		p->ops->fill(p->arg, NULL);
		tell_rotations(p, last[0] != '\0' ? last : "the new zygote died");
	}
	if (!p->was_ready && !was_current) {
		p->ops->failed(p->arg,
		    last[0] != '\0' ? last : "the zygote died while it warmed up");
		return;
	}
	if (was_current && tn_clock_us() - p->current_since_us > ZYGOTE_STEADY_US)
		p->zygote_delay_ms = 0;
	/* Half filled is better than none. */
	if (p->current == NULL && p->coming != NULL && p->coming->ready)
		take_over(p);
	else if (p->coming_number == 0)
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
		want_zygote(p);		/* else it is not urgent: see rotate_if_due() */
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
	tell_rotations(p, text);
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
		if (!counts(p, w) || (!alive(w) && !starting(w)))
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
	struct sv_worker *w;
	struct sv_policy_in in;

	count(p, &in);
	p->stats->workers = in.idle + in.busy + in.starting + in.standby;
	p->stats->workers_idle = in.idle;
	p->stats->workers_standby = in.standby;
	p->stats->workers_private_bytes = p->stats->workers_shared_bytes = 0;
	memset(p->stats->workers_by_state, 0, sizeof(p->stats->workers_by_state));
	TAILQ_FOREACH(w, &p->all, link) {
		count_restores(p, w);
		p->stats->workers_by_state[w->state]++;
		p->stats->workers_private_bytes += w->private_bytes;
		p->stats->workers_shared_bytes += w->shared_bytes;
	}
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
	sv_choice_init(&p->choice, opt);
	TAILQ_INIT(&p->all);
	TAILQ_INIT(&p->rotations);
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
	struct sv_builder *b;
	struct recycle *rc;
	struct rotation *r;

	if (p == NULL)
		return;
	*pp = NULL;
	while ((w = TAILQ_FIRST(&p->all)) != NULL) {
		TAILQ_REMOVE(&p->all, w, link);
		sv_worker_free(&w);
	}
	while ((b = TAILQ_FIRST(&p->builders)) != NULL) {
		TAILQ_REMOVE(&p->builders, b, link);
		sv_builder_free(&b);
	}
	while ((rc = TAILQ_FIRST(&p->recycles)) != NULL) {
		TAILQ_REMOVE(&p->recycles, rc, link);
		free(rc);
	}
	while ((r = TAILQ_FIRST(&p->rotations)) != NULL) {
		TAILQ_REMOVE(&p->rotations, r, link);
		free(r);
	}
	sv_generation_free(&p->current);
	sv_generation_free(&p->coming);
	for (unsigned i = 0; i < OLD_MAX; i++)
		sv_generation_free(&p->old[i]);
	tn_frame_decoder_free(&p->decoder);
	if (p->ev_tick != NULL)
		event_free(p->ev_tick);
	if (p->ev_balance != NULL)
		event_free(p->ev_balance);
	if (p->ev_zygote != NULL)
		event_free(p->ev_zygote);
	free(p);
}
