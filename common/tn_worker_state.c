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

static const char *const retire_names[TN_RETIRE_MAX] = {
	[TN_RETIRE_REQUESTS] = "requests",
	[TN_RETIRE_ASKED] = "asked",
	[TN_RETIRE_IDLE] = "idle",
	[TN_RETIRE_MODE] = "mode",
	[TN_RETIRE_RELOAD] = "reload",
	[TN_RETIRE_DRAIN] = "drain",
	[TN_RETIRE_MEMORY] = "memory",
	[TN_RETIRE_TENANT] = "tenant",
	[TN_RETIRE_GENERATION] = "generation",
	[TN_RETIRE_AGE] = "age",
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
	return (unsigned)r < TN_RETIRE_MAX ? retire_names[r] : "?";
}
