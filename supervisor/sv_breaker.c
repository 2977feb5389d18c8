/*
 * sv_breaker.c - a contract whose requests keep killing their workers.
 */
#include "config.h"

#include "sv_breaker.h"

bool
sv_breaker_refuses(const struct sv_breaker *b, uint64_t now_us, uint64_t *left_us)
{
	uint64_t passed = now_us - b->since_us;

	*left_us = b->state != SV_BREAKER_CLOSED && passed < b->pause_us ?
	    b->pause_us - passed : 0;
	return b->state == SV_BREAKER_PROBING || *left_us > 0;
}

bool
sv_breaker_allows(struct sv_breaker *b, uint64_t now_us, bool *probe)
{
	uint64_t left;

	*probe = false;
	if (sv_breaker_refuses(b, now_us, &left))
		return false;
	if (b->state == SV_BREAKER_OPEN) {
		b->state = SV_BREAKER_PROBING;
		*probe = true;
	}
	return true;
}

bool
sv_breaker_death(struct sv_breaker *b, const struct sv_breaker_limits *l, uint64_t now_us)
{
	switch (b->state) {
	case SV_BREAKER_OPEN:		/* one that ran already */
		return false;
	case SV_BREAKER_PROBING:
		b->pause_us *= 2;
		if (b->pause_us > SV_BREAKER_PAUSE_MAX_US)
			b->pause_us = SV_BREAKER_PAUSE_MAX_US;
		break;
	case SV_BREAKER_CLOSED:
		if (b->deaths == 0 || now_us - b->since_us > l->window_us) {
			b->deaths = 0;
			b->since_us = now_us;
		}
		if (l->deaths == 0 || ++b->deaths < l->deaths)
			return false;
		b->pause_us = l->pause_us;
		break;
	}
	b->state = SV_BREAKER_OPEN;
	b->since_us = now_us;
	b->deaths = 0;
	return true;
}

void
sv_breaker_over(struct sv_breaker *b, bool lived)
{
	if (b->state != SV_BREAKER_PROBING)
		return;
	if (lived)
		sv_breaker_reset(b);
	else
		b->state = SV_BREAKER_OPEN;	/* its pause is over: the next one tells */
}

void
sv_breaker_reset(struct sv_breaker *b)
{
	*b = (struct sv_breaker){ .state = SV_BREAKER_CLOSED };
}
