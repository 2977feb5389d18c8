/*
 * sv_fair.c - start-time fair queuing.
 */
#include "config.h"

#include "sv_fair.h"

#include <stdbool.h>
#include <stdlib.h>

#include "tn_err.h"

#define SCALE	1024u		/* of a cost, so that weights leave no remainder that matters */
#define COST_MAX (UINT64_C(1) << 40)	/* of one piece: twelve days, in microseconds */

void
sv_fair_init(struct sv_fair *f)
{
	*f = (struct sv_fair){ .heap = NULL };
}

void
sv_fair_fini(struct sv_fair *f)
{
	free(f->heap);
	sv_fair_init(f);
}

int
sv_fair_reserve(struct sv_fair *f, size_t n)
{
	struct sv_flow **heap;
	size_t room = f->room > 0 ? f->room : 64;

	if (n <= f->room)
		return 0;
	while (room < n)
		room *= 2;
	if ((heap = realloc(f->heap, room * sizeof(heap[0]))) == NULL)
		return TN_ENOMEM;
	f->heap = heap;
	f->room = room;
	return 0;
}

static bool
before(const struct sv_flow *a, const struct sv_flow *b)
{
	return a->tag < b->tag || (a->tag == b->tag && a->order < b->order);
}

static void
put(struct sv_fair *f, size_t place, struct sv_flow *flow)
{
	f->heap[place - 1] = flow;
	flow->place = place;
}

/* The flow's tag has changed, or it is new at its place: move it to where it belongs. */
static void
settle(struct sv_fair *f, struct sv_flow *flow)
{
	size_t at = flow->place, child;

	while (at > 1 && before(flow, f->heap[at / 2 - 1])) {
		put(f, at, f->heap[at / 2 - 1]);
		at /= 2;
	}
	while ((child = 2 * at) <= f->n) {
		if (child < f->n && before(f->heap[child], f->heap[child - 1]))
			child++;
		if (!before(f->heap[child - 1], flow))
			break;
		put(f, at, f->heap[child - 1]);
		at = child;
	}
	put(f, at, flow);
}

void
sv_fair_add(struct sv_fair *f, struct sv_flow *flow)
{
	if (flow->place != 0)
		return;
	if (flow->tag < f->now)
		flow->tag = f->now;
	flow->order = f->next_order++;
	put(f, ++f->n, flow);
	settle(f, flow);
}

void
sv_fair_remove(struct sv_fair *f, struct sv_flow *flow)
{
	size_t place = flow->place;
	struct sv_flow *last;

	if (place == 0)
		return;
	flow->place = 0;
	last = f->heap[--f->n];
	if (last == flow)
		return;
	put(f, place, last);
	settle(f, last);
}

struct sv_flow *
sv_fair_first(const struct sv_fair *f)
{
	return f->n > 0 ? f->heap[0] : NULL;
}

static uint64_t
span(const struct sv_flow *flow, uint64_t cost)
{
	return (cost < COST_MAX ? cost : COST_MAX) * SCALE / flow->weight;
}

void
sv_fair_serve(struct sv_fair *f, struct sv_flow *flow, uint64_t cost)
{
	if (flow->tag > f->now)
		f->now = flow->tag;
	else
		flow->tag = f->now;
	flow->tag += span(flow, cost);
	flow->order = f->next_order++;
	if (flow->place != 0)
		settle(f, flow);
}

void
sv_fair_correct(struct sv_fair *f, struct sv_flow *flow, uint64_t believed, uint64_t was)
{
	uint64_t less = span(flow, believed), more = span(flow, was);

	flow->tag += more;
	flow->tag = flow->tag > less ? flow->tag - less : 0;
	if (flow->place != 0)
		settle(f, flow);
}
