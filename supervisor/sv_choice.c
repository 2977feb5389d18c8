/*
 * sv_choice.c - which worker gets a request.
 */
#include "config.h"

#include "sv_choice.h"

#include <sched.h>
#include <string.h>

#include "sv_share.h"
#include "tn_options.h"

#define AFFINITY_SCAN		16	/* how many with room are looked at for the image */
/*
 * Where as many workers run as there are processors beside the front's, to wake another
 * one takes longer than to wait so long for one that is awake.
 */
#define AWAKE_US		200u

static unsigned
processors(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

void
sv_choice_init(struct sv_choice *c, const struct tn_options *opt)
{
	unsigned n = processors();

	/* One is the front's, if there is more than one. */
	*c = (struct sv_choice){ .opt = opt, .nprocessors = n > 1 ? n - 1 : 1,
	    .one_processor = n == 1 };
	TAILQ_INIT(&c->available);
	TAILQ_INIT(&c->standby);
}

void
sv_choice_remove(struct sv_choice *c, struct sv_worker *w)
{
	if (!w->is_available)
		return;
	if (w->standby)
		TAILQ_REMOVE(&c->standby, w, available);
	else
		TAILQ_REMOVE(&c->available, w, available);
	w->is_available = false;
}

void
sv_choice_add(struct sv_choice *c, struct sv_worker *w)
{
	w->is_available = true;
	if (w->standby)
		TAILQ_INSERT_TAIL(&c->standby, w, available);
	else if (w->state == TN_WS_IDLE)	/* the last to be used has the warmest cache */
		TAILQ_INSERT_HEAD(&c->available, w, available);
	else
		TAILQ_INSERT_TAIL(&c->available, w, available);
}

bool
sv_choice_has_room(const struct sv_choice *c, bool unused)
{
	return !TAILQ_EMPTY(&c->available) || (unused && !TAILQ_EMPTY(&c->standby));
}

/* Is it one of those that another contract has for itself? */
static bool
kept_by_another(const struct sv_worker *w, const struct sv_share *share)
{
	unsigned i;

	for (i = 0; i < w->nframes; i++)
		if (w->frame[i]->share != share && sv_share_keeps_workers(w->frame[i]->share))
			return true;
	return false;
}

/* More idle ones than others have a right to? */
static bool
may_take_idle(const struct sv_choice *c, const struct sv_choice_want *want)
{
	const struct sv_worker *w;
	unsigned n = 0;

	if (want->capped)
		return false;
	if (want->spoken_for == 0)
		return true;
	TAILQ_FOREACH(w, &c->available, available) {
		if (w->state != TN_WS_IDLE)
			break;			/* the idle ones come first */
		if (++n > want->spoken_for)
			return true;
	}
	return false;
}

/* One that has served nobody. */
static struct sv_worker *
pick_unused(struct sv_choice *c, const struct sv_choice_want *want)
{
	struct sv_worker *w = TAILQ_FIRST(&c->standby);

	if (want->capped)
		return NULL;
	if (w != NULL)
		return w;
	if (!may_take_idle(c, want))
		return NULL;
	TAILQ_FOREACH(w, &c->available, available)
		if (w->state == TN_WS_IDLE && sv_worker_unused(w))
			return w;
	return NULL;
}

/* Would a request behind what it has be begun within `within` us? */
static bool
soon(const struct sv_worker *w, const struct sv_choice_want *want, uint64_t within)
{
	return w->load_us + want->cost_us <= within && !sv_worker_stalled(w, want->now_us) &&
	    (!want->capped || sv_worker_runs(w, want->share)) &&
	    !(want->guarded && kept_by_another(w, want->share));
}

/* One that serves this contract and no other. */
static struct sv_worker *
pick_tenant(struct sv_choice *c, const struct sv_choice_want *want)
{
	struct sv_worker *w;

	TAILQ_FOREACH(w, &c->available, available)
		if (strcmp(w->contract, want->contract) == 0 &&
		    (w->state == TN_WS_IDLE ? may_take_idle(c, want) :
		    soon(w, want, (uint64_t)c->opt->worker_stall_us)))
			return w;
	return pick_unused(c, want);
}

/* The idle one that has the image, or was used last. */
static struct sv_worker *
pick_idle(struct sv_choice *c, const struct sv_choice_want *want)
{
	struct sv_worker *w, *first = TAILQ_FIRST(&c->available), *keeper = NULL;
	unsigned n = 0;

	if (first == NULL || first->state != TN_WS_IDLE || !may_take_idle(c, want))
		return NULL;
	TAILQ_FOREACH(w, &c->available, available) {
		if (w->state != TN_WS_IDLE || n++ == AFFINITY_SCAN)
			break;
		if (w->image == want->image)
			return w;
		if (keeper == NULL && sv_kept_find(&w->kept, want->image) >= 0)
			keeper = w;
	}
	return keeper != NULL ? keeper : first;
}

/* The busy one that has least to do; of equals, one that has the image. */
static struct sv_worker *
pick_busy(struct sv_choice *c, const struct sv_choice_want *want, uint64_t within)
{
	struct sv_worker *w, *best = NULL;
	unsigned n = 0;

	TAILQ_FOREACH_REVERSE(w, &c->available, sv_choice_list, available) {
		if (w->state == TN_WS_IDLE || n == AFFINITY_SCAN)
			break;
		if (!soon(w, want, within))
			continue;
		n++;
		if (best == NULL || w->load_us < best->load_us ||
		    (w->load_us == best->load_us && w->image == want->image &&
		    best->image != want->image))
			best = w;
	}
	return best;
}

struct sv_worker *
sv_choice_pick(struct sv_choice *c, const struct sv_choice_want *want)
{
	struct sv_worker *w = NULL;

	if (want->isolation == TN_ISO_PROCESS)
		return pick_unused(c, want);
	if (c->opt->worker_tenancy == TN_TENANCY_CONTRACT)
		return pick_tenant(c, want);
	if (c->nbusy >= c->nprocessors)
		w = pick_busy(c, want, AWAKE_US);
	if (w == NULL)
		w = pick_idle(c, want);
	if (w == NULL)
		w = pick_busy(c, want, (uint64_t)c->opt->worker_stall_us);
	return w;
}
