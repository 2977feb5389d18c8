/*
 * sv_builder.c - one builder: a worker's channel, with other callbacks.
 */
#include "config.h"

#include "sv_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_log.h"

#define CONSOLE_BURST	100u	/* records a second and builder */

void
sv_builder_free(struct sv_builder **bp)
{
	struct sv_builder *b = *bp;

	if (b == NULL)
		return;
	*bp = NULL;
	sv_worker_free(&b->w);
	free(b->delta);
	free(b);
}

static void
on_state(void *arg, struct sv_worker *w, enum tn_wstate old)
{
	struct sv_builder *b = arg;
	char text[160];

	if (w->state == TN_WS_IDLE && old != TN_WS_IDLE && w->build_id == 0 &&
	    b->answered_us == 0) {
		b->begun = true;
		if (sv_worker_build(w, &b->frame) != 0)
			sv_worker_kill(w);
		return;
	}
	if (!(w->state == TN_WS_DEAD && w->exited && old == TN_WS_DEAD))
		return;
	if (!b->begun)
		snprintf(text, sizeof(text), "its builder ended before it was ready");
	else if (w->deadline_stage > 0)
		snprintf(text, sizeof(text), "its module level did not end within deadline_ms");
	else if (w->killed)
		snprintf(text, sizeof(text), "its builder had to be killed");
	else if (WIFSIGNALED(w->exit_status))
		snprintf(text, sizeof(text), "its module level crashed the builder (signal %d)",
		    WTERMSIG(w->exit_status));
	else
		snprintf(text, sizeof(text), "the builder died");
	if (b->answered_us != 0 && WIFEXITED(w->exit_status) && WEXITSTATUS(w->exit_status) == 0)
		b->done(b->arg, &b->built, TN_FAULT_NONE, NULL);
	else
		b->done(b->arg, NULL, b->begun ? TN_FAULT_COMPILE : TN_FAULT_INTERNAL, text);
	sv_builder_free(&b);
}

static void
on_built(void *arg, struct sv_worker *w, const struct tn_frame_built *f)
{
	struct sv_builder *b = arg;
	size_t i, n = f->message.len < sizeof(b->message) ? f->message.len : sizeof(b->message) - 1;

	(void)w;
		b->answered_us = tn_clock_us();
	b->built = *f;
	if (n > 0)
		memcpy(b->message, f->message.p, n);
	b->built.message = (struct tn_str){ b->message, n };
	b->built.delta = TN_STR("");
	if (f->fault == 0 && f->delta.len > 0) {
		if ((b->delta = malloc(f->delta.len)) == NULL) {
			b->built.fault = TN_FAULT_INTERNAL;
			b->built.message = TN_STR("no memory for its image");
		} else {
			memcpy(b->delta, f->delta.p, f->delta.len);
			b->built.delta = (struct tn_str){ b->delta, f->delta.len };
		}
	}
	b->built.exports = (struct tn_strv){ b->exports, 0 };
	for (i = 0; i < f->exports.n && i < 8; i++) {
		struct tn_str e = f->exports.v[i];

		if (e.len >= sizeof(b->names[0]))
			continue;
		memcpy(b->names[i], e.p, e.len);
		b->exports[b->built.exports.n++] = (struct tn_str){ b->names[i], e.len };
	}
}

static void
on_orphan(void *arg, struct sv_worker *w, struct sv_request *rq, bool started)
{
	(void)arg;
	(void)w;
	(void)rq;
	(void)started;
}

static void
on_log(void *arg, struct sv_worker *w, const struct sv_request *rq,
    const struct tn_frame_log *f)
{
	struct sv_builder *b = arg;
	struct tn_log_record r;
	uint64_t dropped = 0;

	(void)w;
	(void)rq;
	if (!tn_log_allow(&b->log_limit, tn_clock_us(), &dropped)) {
		b->stats->log_dropped++;
		return;
	}
	tn_log_begin(&r, TN_LOG_INFO, "console");
	tn_log_str(&r, "contract", b->frame.build.contract);
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_str(&r, "text", f->text);
	tn_log_end(&r);
}

static void
on_reply(void *arg, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_reply *f)
{
	(void)arg;
	(void)w;
	(void)rq;
	(void)f;
}

static const struct sv_worker_ops ops = {
	.state = on_state, .reply = on_reply, .log = on_log,
	.built = on_built, .orphan = on_orphan,
};

struct sv_builder *
sv_builder_new(struct event_base *base, const struct tn_options *opt, struct sv_stats *stats,
    struct sv_generation *g, uint64_t number, struct tn_frame_decoder *decoder,
    const struct tn_frame *build, sv_builder_built *done, void *arg)
{
	struct sv_builder *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->frame = *build;
	b->done = done;
	b->arg = arg;
	b->stats = stats;
	b->log_limit.burst = CONSOLE_BURST;
	b->w = sv_worker_new(base, opt, g, number, TN_ROLE_BUILDER, decoder, &ops, b);
	if (b->w == NULL) {
		free(b);
		return NULL;
	}
	snprintf(b->w->contract, sizeof(b->w->contract), "%.*s", (int)build->build.contract.len,
	    build->build.contract.p);
	return b;
}
