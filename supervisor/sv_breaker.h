/*
 * sv_breaker.h - a contract whose requests keep killing their workers is not run for a
 * while: a circuit breaker (M. Nygard, "Release It!", 2007), pure, without a clock of
 * its own.
 *
 * Closed, it counts deaths; so many within the window open it.  Open, it refuses, until
 * its pause is over; then one request is let through to see.  If that one lives the
 * breaker is closed, if not the next pause is twice as long, up to a minute.
 */
#ifndef SV_BREAKER_H
#define SV_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define SV_BREAKER_PAUSE_MAX_US	60000000u

/* What the options say; deaths 0: it never opens. */
struct sv_breaker_limits {
	unsigned	deaths;
	uint64_t	window_us;
	uint64_t	pause_us;	/* the first */
};

enum sv_breaker_state { SV_BREAKER_CLOSED, SV_BREAKER_OPEN, SV_BREAKER_PROBING };

struct sv_breaker {			/* all zero: closed */
	enum sv_breaker_state state;
	unsigned	deaths;		/* since window_us began */
	uint64_t	since_us;	/* when the window, or the pause, began */
	uint64_t	pause_us;	/* this one's length */
};

/* May a request run?  *probe: it is the one that tells; sv_breaker_over() must follow. */
bool sv_breaker_allows(struct sv_breaker *b, uint64_t now_us, bool *probe);
/* Would one be refused?  Nothing is changed; *left_us: how long still. */
bool sv_breaker_refuses(const struct sv_breaker *b, uint64_t now_us, uint64_t *left_us);
/* A worker died of it.  True: the breaker is open since this one. */
bool sv_breaker_death(struct sv_breaker *b, const struct sv_breaker_limits *l, uint64_t now_us);
/* The probe is over: it lived, or it was never run (then another may try). */
void sv_breaker_over(struct sv_breaker *b, bool lived);
/* As if nothing had been. */
void sv_breaker_reset(struct sv_breaker *b);

#endif
