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

/* Why a worker is retired. */
enum tn_retire_reason {
#define TN_WRETIRE(sym, name, doc) TN_RETIRE_##sym,
#include "states.def"
	TN_RETIRE_MAX
};
const char *tn_retire_name(enum tn_retire_reason r);

/* Why one has ended: a reason to retire it (the same number) or something worse. */
enum tn_wcause {
#define TN_WRETIRE(sym, name, doc) TN_WC_##sym,
#define TN_WEND(sym, name, doc) TN_WC_##sym,
#include "states.def"
	TN_WC_MAX
};
const char *tn_wcause_name(enum tn_wcause c);

#endif
