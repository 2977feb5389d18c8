/*
 * tn_worker_state.h - a worker's state machine, a pure function of states.def.
 */
#ifndef TN_WORKER_STATE_H
#define TN_WORKER_STATE_H

enum tn_wstate {
#define TN_WSTATE(sym, name, doc) TN_WS_##sym,
#include "states.def"
	TN_WS_MAX
};
enum tn_wevent {
#define TN_WEVENT(sym, name, doc) TN_WEV_##sym,
#include "states.def"
	TN_WEV_MAX
};
enum tn_waction {
#define TN_WACTION(sym, bit, doc) TN_WA_##sym = bit,
#include "states.def"
};

struct tn_wstep {
	enum tn_wstate	next;
	unsigned	actions;	/* TN_WA_... */
};

struct tn_wstep tn_worker_step(enum tn_wstate state, enum tn_wevent event);
const char *tn_wstate_name(enum tn_wstate state);
const char *tn_wevent_name(enum tn_wevent event);

/* Why a worker is retired, for logs and counters. */
enum tn_retire_reason {
	TN_RETIRE_REQUESTS, TN_RETIRE_ASKED, TN_RETIRE_IDLE, TN_RETIRE_MODE,
	TN_RETIRE_RELOAD, TN_RETIRE_DRAIN, TN_RETIRE_MEMORY, TN_RETIRE_TENANT,
	TN_RETIRE_GENERATION, TN_RETIRE_AGE, TN_RETIRE_MAX
};
const char *tn_retire_name(enum tn_retire_reason r);

#endif
