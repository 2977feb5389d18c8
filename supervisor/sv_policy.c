/*
 * sv_policy.c - how many workers there should be.
 */
#include "config.h"

#include "sv_policy.h"

static unsigned
excess(unsigned a, unsigned b)
{
	return a > b ? a - b : 0;
}

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Workers that are to take part, given those that do or will: `have`. */
static unsigned
wanted(const struct sv_policy_in *in, unsigned have, unsigned starting)
{
	unsigned want = in->min, more;

	if (in->one_shot) {
		/* A worker that is busy is as good as gone; keep min spares behind it, and one
		 * for each request that waits. */
		want = in->busy + (in->queued > in->min ? in->queued : in->min);
	} else if (in->queued > 0 && have == 0) {
		want = want > 0 ? want : 1;
	} else if (in->queued > in->unused && in->head_wait_us >= SV_POLICY_GROW_US &&
	    starting == 0) {
		more = least(have / 2 + 1, in->queued);
		if (have + more > want)
			want = have + more;
	}
	return least(want, in->max);
}

struct sv_policy_out
sv_policy_size(const struct sv_policy_in *in)
{
	struct sv_policy_out out = { 0 };
	unsigned ready = in->idle + in->busy - in->pending;
	/* In mode process those that take part are all unused. */
	unsigned reserve = !in->one_shot && in->unused > in->standby_min ? in->unused :
	    in->standby_min;
	unsigned starting = excess(in->starting, excess(reserve, in->standby));
	unsigned want = wanted(in, ready + starting, starting);
	unsigned all = ready + in->leaving + in->standby + in->starting;

	/* Who is more than a reserve takes part, too. */
	out.promote = excess(want, ready);
	if (excess(in->standby, reserve) > out.promote)
		out.promote = excess(in->standby, reserve);
	out.promote = least(out.promote, in->standby);
	out.spawn = least(excess(excess(want, ready) + reserve, in->standby + in->starting),
	    excess(in->max + in->standby_min, all));
	out.urgent = least(excess(excess(want, ready), in->standby + in->starting), out.spawn);
	/* Who is to be replaced goes when enough others are there, or none will come. */
	out.retire = out.spawn == 0 && in->starting == 0 ? in->pending :
	    least(in->pending, excess(ready + out.promote + in->pending, want));
	return out;
}

unsigned
sv_policy_backoff(unsigned delay_ms)
{
	if (delay_ms == 0)
		return SV_POLICY_DELAY_MIN_MS;
	return delay_ms >= SV_POLICY_DELAY_MAX_MS / 2 ? SV_POLICY_DELAY_MAX_MS : delay_ms * 2;
}

unsigned
sv_policy_surplus(const struct sv_policy_in *in)
{
	if (in->one_shot || in->queued > 0)
		return 0;
	return least(excess(in->idle + in->busy, in->min), in->idle);
}
