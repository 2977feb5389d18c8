/*
 * sv_builds.c - who has images made.
 */
#include "config.h"

#include "sv_builds.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_contract.h"
#include "sv_image.h"
#include "sv_pool.h"
#include "sv_seed.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_frame.h"
#include "tn_log.h"
#include "tn_options.h"

#define BUILDERS_MAX	2u	/* images built at a time */
#define LOST_MAX	3u	/* zygotes that may die while a version is built */
#define INVOKE_MARGIN	(1u << 20) /* an INVOKE beside its body and image: headers and such */

/* An image in the making; it holds its version. */
struct build {
	TAILQ_ENTRY(build) link;
	struct sv_builds *bs;
	struct sv_version *version;
	uint64_t	 id;
	uint64_t	 generation;
	bool		 fills;		/* nobody waits for it */
	char		 seed[SV_SEED_BYTES];
	/* its contract may be gone before it ends */
	char		 contract[SV_CONTRACT_MAX + 1];
};

struct sv_builds {
	const struct tn_options *opt;
	struct sv_stats	*stats;
	struct sv_pool	*pool;
	struct sv_contracts *contracts;
	struct sv_images *images;
	sv_builds_settled *settled;
	void		*arg;
	uint64_t	 next_id;
	TAILQ_HEAD(builds, build) wanted;	/* not begun */
	struct builds	 building;		/* with the pool */
	unsigned	 nbuilding;
	/* the generation that comes, 0: none */
	uint64_t	 coming;
	bool		 filled;		/* said so */
	struct sv_version **fill;		/* held; used last first */
	size_t		 nfill, next;
	struct event	*ev_fill;		/* zygote_fill_ms are over */
};

static void begin(struct sv_builds *bs);

static void
build_free(struct build *b)
{
	sv_version_unref(b->bs->contracts, &b->version);
	free(b);
}

static struct build *
build_new(struct sv_builds *bs, struct sv_version *v)
{
	const struct sv_request *rq;
	struct build *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->bs = bs;
	b->version = sv_version_ref(v);
	if (v->contract != NULL)
		strcpy(b->contract, v->contract->id);
	else if ((rq = TAILQ_FIRST(&v->waiting)) != NULL)
		strcpy(b->contract, rq->contract);
	return b;
}

void
sv_builds_want(struct sv_builds *bs, struct sv_version *v)
{
	struct build *b;

	if (v->building)
		return;
	if ((b = build_new(bs, v)) == NULL) {
		tn_log(TN_LOG_ERROR, "no memory to build an image");
		return;			/* who waits for it runs into queue_timeout_ms */
	}
	v->building = true;
	TAILQ_INSERT_TAIL(&bs->wanted, b, link);
	begin(bs);
}

/* ---- the end of a build ---- */

static unsigned
parse_exports(struct tn_strv names)
{
	unsigned bits = 0;
	size_t i;

	for (i = 0; i < names.n; i++) {
#define TAKE(name) if (tn_str_is(names.v[i], #name)) bits |= SV_EXPORT(name);
		SV_EXPORTS(TAKE)
#undef TAKE
	}
	return bits;
}

/* The longest image that a worker can be sent beside the largest request. */
static size_t
image_max(const struct tn_options *o)
{
	return TN_FRAME_MAX - (size_t)o->body_max - INVOKE_MARGIN;
}

static void hold_for_fill(struct sv_builds *bs, struct sv_version *v);

static enum tn_fault
adopt(struct sv_builds *bs, const struct build *b, struct tn_str delta, char *message, size_t size)
{
	int err;

	if (delta.len == 0) {
		snprintf(message, size, "its builder sent no image");
		return TN_FAULT_COMPILE;
	}
	if (delta.len > image_max(bs->opt)) {
		snprintf(message, size, "what its module level makes takes %zu bytes, "
		    "which is more than the %zu that fit in a frame", delta.len, image_max(bs->opt));
		return TN_FAULT_MEMORY;
	}
	err = b->generation == bs->coming ?
	    sv_image_adopt_coming(bs->images, b->version, b->generation, delta) :
	    sv_image_adopt(bs->images, b->version, b->generation, delta);
	if (err != 0) {
		snprintf(message, size, "no memory for its image");
		return TN_FAULT_INTERNAL;
	}
	hold_for_fill(bs, b->version);
	sv_images_fit(bs->images, bs->opt->images_memory_max);
	return TN_FAULT_NONE;
}

/* What came of it. */
static enum tn_fault
take(struct sv_builds *bs, const struct build *b, const struct tn_frame_built *f,
    unsigned *exports, char *message, size_t size)
{
	if (f->fault != 0) {
		snprintf(message, size, "%.*s", (int)f->message.len, f->message.p);
		return f->fault < TN_FAULT_MAX ? (enum tn_fault)f->fault : TN_FAULT_INTERNAL;
	}
	if ((*exports = parse_exports(f->exports)) == 0) {
		snprintf(message, size, "the contract exports none of init, contract, get, post, "
		    "fetch");
		return TN_FAULT_COMPILE;
	}
	if (b->version->isolation == TN_ISO_FRESH)
		return TN_FAULT_NONE;
	return adopt(bs, b, f->delta, message, size);
}

static void
settle(struct sv_builds *bs, struct build *b, enum tn_fault fault, const char *message,
    unsigned exports)
{
	struct sv_version *v = b->version;

	v->building = false;
	if (fault == TN_FAULT_NONE)
		bs->stats->images_built++;
	else
		bs->stats->images_failed++;
	sv_contracts_built(bs->contracts, v, fault, message, exports);
	bs->settled(bs->arg, v, fault, message);
}

static bool
is_of(const struct sv_generation *g, const struct build *b)
{
	return g != NULL && g->number == b->generation;
}

static void
on_built(void *arg, const struct tn_frame_built *f, enum tn_fault fault, const char *text)
{
	struct build *b = arg;
	struct sv_builds *bs = b->bs;
	bool serves = is_of(sv_pool_generation(bs->pool), b);
	bool comes = is_of(sv_pool_coming(bs->pool), b);
	char message[4096] = "";
	unsigned exports = 0;

	bs->nbuilding--;
	TAILQ_REMOVE(&bs->building, b, link);
	if (!serves && !comes) {
		/* Its generation died, maybe of this, or another has taken over. */
		if (f == NULL && fault == TN_FAULT_COMPILE)
			b->version->lost++;
		if (b->fills) {
			build_free(b);
		} else {
			TAILQ_INSERT_TAIL(&bs->wanted, b, link);
		}
		begin(bs);
		return;
	}
	b->version->lost = 0;
	if (f != NULL)
		fault = take(bs, b, f, &exports, message, sizeof(message));
	else
		snprintf(message, sizeof(message), "%s", text);
	/* One for the generation that comes is tried again when it is asked for. */
	if (!b->fills)
		settle(bs, b, fault, message, exports);
	else if (fault == TN_FAULT_NONE)
		bs->stats->images_built++;
	build_free(b);
	begin(bs);
}

static void
fail(struct build *b, enum tn_fault fault, const char *what, const char *why)
{
	char message[160];

	snprintf(message, sizeof(message), "%s: %s", what, why);
	settle(b->bs, b, fault, message, 0);
	build_free(b);
}

/* ---- its beginning ---- */

/* What was built when a zygote died is built alone: should one die again, it was of that. */
static bool
may_begin(const struct sv_builds *bs, const struct sv_version *v)
{
	const struct build *other = TAILQ_FIRST(&bs->building);

	if (other == NULL)
		return true;
	return bs->nbuilding < BUILDERS_MAX && v->lost == 0 && other->version->lost == 0;
}

/* 0, or it was not begun. */
static int
ask(struct sv_builds *bs, struct build *b, uint64_t generation)
{
	struct tn_frame f = { .type = TN_FRAME_BUILD };
	int err;

	b->id = bs->next_id++;
	b->generation = generation;
	sv_seed_draw(b->seed);
	f.build = (struct tn_frame_build){
		.id = b->id,
		.contract = tn_str(b->contract),
		.meta = tn_str(b->version->meta),
		.source = { b->version->source, b->version->nsource },
		.now = tn_clock_wall_ms(),
		.seed = { b->seed, sizeof(b->seed) },
	};
	bs->nbuilding++;
	TAILQ_INSERT_TAIL(&bs->building, b, link);
	err = sv_pool_build(bs->pool, generation, &f, on_built, b);
	if (err != 0) {
		bs->nbuilding--;
		TAILQ_REMOVE(&bs->building, b, link);
	}
	return err;
}

static void
begin_wanted(struct sv_builds *bs)
{
	const struct sv_generation *g;
	struct build *b;

	while ((g = sv_pool_generation(bs->pool)) != NULL &&
	    (b = TAILQ_FIRST(&bs->wanted)) != NULL && may_begin(bs, b->version)) {
		TAILQ_REMOVE(&bs->wanted, b, link);
		/* Nobody but us wants it any more. */
		if (b->version->contract == NULL && TAILQ_EMPTY(&b->version->waiting)) {
			b->version->building = false;
			build_free(b);
		} else if (b->version->lost >= LOST_MAX)
			fail(b, TN_FAULT_COMPILE, "not built any more", "a zygote died each time");
		else if (ask(bs, b, g->number) != 0)
			fail(b, TN_FAULT_INTERNAL, "no builder", "no memory");
	}
}

/* ---- filling ---- */

/* Its time is over, or memory: those of the generation that serves must stay. */
static bool
fill_over(const struct sv_builds *bs)
{
	return bs->images->bytes >= bs->opt->images_memory_max ||
	    !evtimer_pending(bs->ev_fill, NULL);
}

static void
begin_fill(struct sv_builds *bs)
{
	struct sv_version *v;
	struct build *b;

	if (bs->coming == 0 || bs->filled)
		return;
	while (!fill_over(bs)) {
		/* Builders, and the processors, are for what is wanted now. */
		if (bs->nbuilding > 0)
			return;
		if (bs->next == bs->nfill)
			break;
		v = bs->fill[bs->next++];
		if (v->contract == NULL || v->image == NULL || v->coming != NULL || v->lost > 0 ||
		    (b = build_new(bs, v)) == NULL)
			continue;
		b->fills = true;
		if (ask(bs, b, bs->coming) == 0)
			return;
		build_free(b);
	}
	bs->filled = true;
	sv_pool_filled(bs->pool);
}

static void
begin(struct sv_builds *bs)
{
	begin_wanted(bs);
	begin_fill(bs);
}

/* An image made for the generation that serves, while another one comes: it will want one, too. */
static void
hold_for_fill(struct sv_builds *bs, struct sv_version *v)
{
	struct sv_version **grown;

	if (bs->coming == 0 || bs->filled || v->filling)
		return;
	grown = realloc(bs->fill, (bs->nfill + 1) * sizeof(*grown));
	if (grown == NULL)
		return;
	bs->fill = grown;
	bs->fill[bs->nfill++] = sv_version_ref(v);
	v->filling = true;
}

static void
forget_fill(struct sv_builds *bs, bool arrived)
{
	struct sv_version *v;

	/* The first was used last. */
	while (bs->nfill > 0) {
		v = bs->fill[--bs->nfill];
		v->filling = false;
		if (arrived)
			sv_image_arrive(v);
		else
			sv_image_drop(&v->coming);
		sv_version_unref(bs->contracts, &v);
	}
	free(bs->fill);
	bs->fill = NULL;
	bs->next = 0;
	bs->coming = 0;
	bs->filled = false;
	evtimer_del(bs->ev_fill);
}

void
sv_builds_fill(struct sv_builds *bs, const struct sv_generation *coming)
{
	struct timeval tv = { bs->opt->zygote_fill_ms / 1000,
	    bs->opt->zygote_fill_ms % 1000 * 1000 };
	struct sv_image *im;

	forget_fill(bs, false);
	if (coming == NULL)
		return;
	bs->coming = coming->number;
	bs->fill = calloc(bs->images->count + 1, sizeof(*bs->fill));
	if (bs->fill != NULL)
		TAILQ_FOREACH_REVERSE(im, &bs->images->lru, sv_image_list, link) {
			bs->fill[bs->nfill++] = sv_version_ref(im->version);
			im->version->filling = true;
		}
	evtimer_add(bs->ev_fill, &tv);
	begin(bs);
}

void
sv_builds_taken_over(struct sv_builds *bs)
{
	const struct sv_generation *g = sv_pool_generation(bs->pool);
	struct sv_image *im, *next;

	forget_fill(bs, g != NULL && g->number == bs->coming);
	for (im = TAILQ_FIRST(&bs->images->lru); im != NULL; im = next) {
		next = TAILQ_NEXT(im, link);
		if (g == NULL || im->generation != g->number)
			sv_image_drop(&im->version->image);
	}
	begin(bs);
}

static void
on_fill_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	begin(arg);
}

/* ---- the rest ---- */

struct sv_builds *
sv_builds_new(struct event_base *base, const struct tn_options *opt, struct sv_stats *stats,
    struct sv_pool *pool, struct sv_contracts *contracts, struct sv_images *images,
    sv_builds_settled *settled, void *arg)
{
	struct sv_builds *bs = calloc(1, sizeof(*bs));

	if (bs == NULL)
		return NULL;
	*bs = (struct sv_builds){ .opt = opt, .stats = stats, .pool = pool, .contracts = contracts,
	    .images = images, .settled = settled, .arg = arg, .next_id = 1 };
	TAILQ_INIT(&bs->wanted);
	TAILQ_INIT(&bs->building);
	bs->ev_fill = evtimer_new(base, on_fill_timer, bs);
	if (bs->ev_fill == NULL) {
		free(bs);
		return NULL;
	}
	return bs;
}

void
sv_builds_free(struct sv_builds **bsp)
{
	struct sv_builds *bs = *bsp;
	struct build *b;

	if (bs == NULL)
		return;
	*bsp = NULL;
	forget_fill(bs, false);
	TAILQ_CONCAT(&bs->wanted, &bs->building, link);
	while ((b = TAILQ_FIRST(&bs->wanted)) != NULL) {
		TAILQ_REMOVE(&bs->wanted, b, link);
		build_free(b);
	}
	event_free(bs->ev_fill);
	free(bs);
}
