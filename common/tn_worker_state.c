#include "config.h"

#include "tn_worker_state.h"

#include "tn_err.h"

/* A cell given twice is a warning of the compiler (-Woverride-init). */
static const struct tn_wstep cells[TN_WS_MAX][TN_WEV_MAX] = {
#define TN_WCELL(state, event, to, does) \
	[TN_WS_##state][TN_WEV_##event] = { .next = TN_WS_##to, .actions = (does) },
#include "states.def"
};

static const char *const state_names[] = {
#define TN_WSTATE(sym, name, doc) name,
#include "states.def"
};

static const char *const event_names[] = {
#define TN_WEVENT(sym, name, doc) name,
#include "states.def"
};

static const char *const cause_names[] = {
#define TN_WRETIRE(sym, name, doc) [TN_WC_##sym] = name,
#define TN_WEND(sym, name, doc) [TN_WC_##sym] = name,
#include "states.def"
};

struct tn_wstep
tn_worker_step(enum tn_wstate state, enum tn_wevent event)
{
	if ((unsigned)state >= TN_WS_MAX || (unsigned)event >= TN_WEV_MAX)
		tn_panic("worker state machine: no cell (%d, %d)", (int)state, (int)event);
	return cells[state][event];
}

const char *
tn_wstate_name(enum tn_wstate state)
{
	return (unsigned)state < TN_WS_MAX ? state_names[state] : "?";
}

const char *
tn_wevent_name(enum tn_wevent event)
{
	return (unsigned)event < TN_WEV_MAX ? event_names[event] : "?";
}

const char *
tn_retire_name(enum tn_retire_reason r)
{
	return (unsigned)r < TN_RETIRE_MAX ? cause_names[r] : "?";
}

const char *
tn_wcause_name(enum tn_wcause c)
{
	return (unsigned)c < TN_WC_MAX ? cause_names[c] : "?";
}
