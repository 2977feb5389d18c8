/*
 * sv_policy.c - how many workers there should be.
 */
#include "config.h"

#include "sv_policy.h"

struct sv_policy_out
sv_policy_size(const struct sv_policy_in *in)
{
	struct sv_policy_out out = { 0 };
	unsigned ready = in->idle + in->busy - in->pending;
	unsigned have = ready + in->starting;
	unsigned want = in->min;

	if (in->one_shot) {
		/* A worker that is busy is as good as gone; keep min spares behind it, and one
		 * for each request that waits. */
		want = in->busy + (in->queued > in->min ? in->queued : in->min);
	} else if (in->queued > 0 && in->head_wait_us >= SV_POLICY_GROW_US && in->starting == 0) {
		unsigned more = have / 2 + 1;

		if (more > in->queued)
			more = in->queued;
		if (have + more > want)
			want = have + more;
	}
	if (want > in->max)
		want = in->max;
	if (want > have)
		out.spawn = want - have;
	out.retire_pending = in->pending > 0 && out.spawn == 0 && in->starting == 0;
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
	unsigned have = in->idle + in->busy + in->starting;
	unsigned over;

	if (in->one_shot || in->queued > 0 || have <= in->min)
		return 0;
	over = have - in->min;
	return over < in->idle ? over : in->idle;
}
