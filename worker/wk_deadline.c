#include "config.h"

#include "wk_deadline.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "tn_err.h"

static struct tn_slots *slots;
static volatile uint64_t armed_id;
static volatile sig_atomic_t running;	/* within wk_deadline_run() */
static volatile sig_atomic_t inside;	/* ... and not held */
static volatile sig_atomic_t pending;
static sigjmp_buf way_out;

static bool
meant(void)
{
	if (slots == NULL)
		return true;
	return armed_id != 0 && atomic_load(&slots->timeout_id) == armed_id;
}

static void
on_signal(int sig)
{
	(void)sig;
	/* A late one, for a request that has ended: not for us. */
	if (!meant())
		return;
	pending = 1;
	if (inside) {
		inside = running = 0;
		siglongjmp(way_out, 1);
	}
}

int
wk_deadline_install(struct tn_slots *s)
{
	struct sigaction sa;

	slots = s;
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	/*
	 * NODEFER: after the jump nobody would unblock the signal (sigprocmask is
	 * not among the sandbox's calls).  No RESTART: a wait for a timer ends.
	 */
	sa.sa_flags = SA_NODEFER;
	(void)sigemptyset(&sa.sa_mask);
	if (sigaction(SIGALRM, &sa, NULL) != 0 || sigaction(SIGXCPU, &sa, NULL) != 0)
		return TN_ESYS;
	return 0;
}

void
wk_deadline_arm(uint64_t id)
{
	pending = 0;
	armed_id = id;
}

bool
wk_deadline_passed(void)
{
	/* The page is written before the signal is sent: it tells earlier. */
	return pending || (slots != NULL && meant());
}

int
wk_deadline_run(void (*fn)(void *arg), void *arg)
{
	if (sigsetjmp(way_out, 0) != 0)
		return TN_ETIMEOUT;
	running = inside = 1;
	if (wk_deadline_passed()) {
		inside = running = 0;
		return TN_ETIMEOUT;
	}
	fn(arg);
	inside = running = 0;
	return 0;
}

void
wk_deadline_hold(void)
{
	inside = 0;
}

void
wk_deadline_release(void)
{
	if (!running)
		return;
	inside = 1;
	if (pending) {
		inside = running = 0;
		siglongjmp(way_out, 1);
	}
}

bool
wk_deadline_pending(void)
{
	return pending != 0;
}
