/*
 * sv_operation.c - what handlers ask for while they run.
 */
#include "config.h"

#include "sv_operation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sv_contract.h"
#include "sv_stats.h"
#include "sv_storage.h"
#include "sv_worker.h"
#include "tn_err.h"
#include "tn_log.h"
#include "tn_operation.h"
#include "tn_options.h"

/* Bytes of commits that wait for the disk; some of them are of requests that are over. */
#define COMMITS_MAX	((size_t)64 << 20)

struct sv_operations {
	size_t		 commits;	/* bytes of those that have no answer yet */
	const struct tn_options *opt;
	struct sv_stats	*stats;
	struct sv_storage *storage;
};

/* One that has no answer yet. */
struct sv_operation {
	LIST_ENTRY(sv_operation) link;	/* of its request */
	struct sv_operations *ops;
	struct sv_request *rq;		/* NULL: it is over */
	struct sv_worker *w;		/* which runs it */
	uint64_t	 number;
	size_t		 bytes;		/* of a commit */
};

/* Answers are made here, one at a time; the front has one thread. */
static struct tn_buf answer = { .max = TN_OPERATION_MAX };

static struct sv_operation *
operation_new(struct sv_operations *ops, struct sv_worker *w, struct sv_request *rq,
    uint64_t number)
{
	struct sv_operation *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	*o = (struct sv_operation){ .ops = ops, .rq = rq, .w = w, .number = number };
	LIST_INSERT_HEAD(&rq->operations.pending, o, link);
	rq->operations.npending++;
	return o;
}

static void
operation_free(struct sv_operation *o)
{
	if (o->rq != NULL) {
		LIST_REMOVE(o, link);
		o->rq->operations.npending--;
	}
	free(o);
}

/* -- answers -------------------------------------------------------------- */

static void
send_answer(struct sv_worker *w, const struct sv_request *rq, uint64_t number,
    enum tn_outcome outcome)
{
	struct tn_frame f = { .type = TN_FRAME_OPERATED };

	f.operated.id = rq->id;
	f.operated.operation = number;
	f.operated.outcome = outcome;
	f.operated.payload = (struct tn_str){ answer.p, answer.len };
	sv_worker_answer(w, &f);
}

static void
send_failure(struct sv_worker *w, const struct sv_request *rq, uint64_t number, const char *text)
{
	tn_buf_reset(&answer);
	tn_operation_put(&answer, tn_str(text));
	send_answer(w, rq, number, TN_OUTCOME_FAILED);
}

/*
 * What is in `answer`, if there was memory for it, and if the request may have so
 * much.  Whether a commit is done is always said: its answer is a number.
 */
static void
finish(struct sv_operation *o, bool always)
{
	const struct tn_options *opt = o->ops->opt;
	char text[160];

	o->rq->operations.bytes += answer.len;
	if (answer.failed)
		send_failure(o->w, o->rq, o->number, "the server has no memory for the answer");
	else if (!always && o->rq->operations.bytes > opt->operations_bytes_max) {
		o->ops->stats->operations_refused++;
		snprintf(text, sizeof(text), "Operations too large: more than %" PRIu64
		    " bytes in one request (operations_bytes_max)", opt->operations_bytes_max);
		send_failure(o->w, o->rq, o->number, text);
	} else
		send_answer(o->w, o->rq, o->number, TN_OUTCOME_DONE);
	operation_free(o);
}

static void
fail(struct sv_operation *o, const char *text)
{
	send_failure(o->w, o->rq, o->number, text);
	operation_free(o);
}

/* -- data ----------------------------------------------------------------- */

static void
on_got(void *arg, int err, const char *text, uint64_t version, const struct tn_str *value)
{
	struct sv_operation *o = arg;

	if (o->rq == NULL)
		operation_free(o);
	else if (err != 0)
		fail(o, text);
	else {
		tn_buf_reset(&answer);
		tn_operation_put_u64(&answer, version);
		if (value != NULL)
			tn_operation_put(&answer, *value);
		finish(o, false);
	}
}

static void
ask_get(struct sv_operation *o, struct tn_str payload)
{
	struct tn_str key;
	char text[80];

	if (tn_operation_take(&payload, &key) != 0 || payload.len > 0)
		fail(o, "malformed operation");
	else if (key.len > SV_STORAGE_KEY_MAX) {
		snprintf(text, sizeof(text), "Key too large: %zu bytes (max %u)", key.len,
		    SV_STORAGE_KEY_MAX);
		fail(o, text);
	} else
		sv_storage_get(o->ops->storage, o->rq->contract, key, on_got, o);
}

static void
put_list(uint64_t members, const struct sv_storage_item *items, size_t n, bool values)
{
	size_t i;

	tn_buf_reset(&answer);
	tn_operation_put_u64(&answer, members);
	for (i = 0; i < n; i++) {
		tn_operation_put(&answer, items[i].key);
		tn_operation_put_u64(&answer, items[i].version);
		if (values)
			tn_operation_put(&answer, items[i].value);
	}
}

static void
on_listed(struct sv_operation *o, int err, const char *text, uint64_t members,
    const struct sv_storage_item *items, size_t n, bool values)
{
	if (o->rq == NULL)
		operation_free(o);
	else if (err != 0)
		fail(o, text);
	else {
		put_list(members, items, n, values);
		finish(o, false);
	}
}

static void
on_keys(void *arg, int err, const char *text, uint64_t members,
    const struct sv_storage_item *items, size_t n)
{
	on_listed(arg, err, text, members, items, n, false);
}

static void
on_entries(void *arg, int err, const char *text, uint64_t members,
    const struct sv_storage_item *items, size_t n)
{
	on_listed(arg, err, text, members, items, n, true);
}

/* May the request run again, as if nothing had happened?  Staging is nothing. */
static bool
may_run_again(const struct sv_operations *ops, const struct sv_request *rq)
{
	return !rq->cancelled && !rq->operations.committed &&
	    rq->version->isolation != TN_ISO_REUSE &&
	    rq->reruns < (unsigned)ops->opt->commit_retries;
}

static void
on_committed(void *arg, struct sv_storage_commit *c)
{
	struct sv_operation *o = arg;
	struct sv_request *rq = o->rq;

	o->ops->commits -= o->bytes;
	if (rq == NULL)
		operation_free(o);
	else if (c->err == 0) {
		rq->operations.committed = true;
		tn_buf_reset(&answer);
		tn_operation_put_u64(&answer, c->version);
		finish(o, true);
	} else if (c->err == TN_EBUSY && may_run_again(o->ops, rq)) {
		struct tn_log_record r;

		tn_log_begin(&r, TN_LOG_DEBUG, "request runs again");
		tn_log_str(&r, "contract", tn_str(rq->contract));
		tn_log_str(&r, "request_id", tn_str(rq->request_id));
		tn_log_str(&r, "reason", tn_str(c->text));
		tn_log_end(&r);
		rq->operations.again = true;
		tn_buf_reset(&answer);
		send_answer(o->w, rq, o->number, TN_OUTCOME_AGAIN);
		operation_free(o);
	} else
		fail(o, c->text);
	sv_storage_commit_free(&c);
}

static void
ask_commit(struct sv_operation *o, struct tn_str payload)
{
	char text[SV_STORAGE_TEXT_MAX] = "";
	struct sv_storage_commit *c;
	int err;

	if (o->ops->commits + payload.len > COMMITS_MAX) {
		o->ops->stats->operations_refused++;
		fail(o, "Storage is overloaded: too many commits wait for the disk");
		return;
	}
	c = sv_storage_commit_parse(o->rq->contract, payload, &err, text);
	if (c == NULL) {
		fail(o, err == TN_ELIMIT ? text : err == TN_ENOMEM ?
		    "the server has no memory for the commit" : "malformed operation");
		return;
	}
	o->bytes = payload.len;
	o->ops->commits += o->bytes;
	c->done = on_committed;
	c->arg = o;
	sv_storage_commit(o->ops->storage, &c);
}

/* -- all ------------------------------------------------------------------ */

/* NULL: it may ask. */
static const char *
refuse(const struct sv_operations *ops, const struct sv_request *rq, size_t bytes, char text[160])
{
	const struct tn_options *opt = ops->opt;

	if (rq->operations.n > (unsigned)opt->operations_max)
		snprintf(text, 160, "Too many operations: more than %" PRId64 " in one request "
		    "(operations_max)", opt->operations_max);
	else if (rq->operations.npending >= (unsigned)opt->operations_pending_max)
		snprintf(text, 160, "Too many operations: more than %" PRId64 " at a time "
		    "(operations_pending_max)", opt->operations_pending_max);
	else if (bytes > TN_OPERATION_MAX || rq->operations.bytes > opt->operations_bytes_max)
		snprintf(text, 160, "Operations too large: more than %" PRIu64 " bytes in one "
		    "request (operations_bytes_max)", opt->operations_bytes_max);
	else if (ops->storage == NULL)
		snprintf(text, 160, "there is no storage");
	else
		return NULL;
	return text;
}

void
sv_operations_ask(struct sv_operations *ops, struct sv_worker *w, struct sv_request *rq,
    const struct tn_frame_operation *f)
{
	struct sv_operation *o;
	const char *why;
	char text[160];

	if (ops == NULL) {
		send_failure(w, rq, f->operation, "there is no storage");
		return;
	}
	ops->stats->operations++;
	rq->operations.n++;
	rq->operations.bytes += f->payload.len;
	if ((why = refuse(ops, rq, f->payload.len, text)) != NULL) {
		ops->stats->operations_refused++;
		send_failure(w, rq, f->operation, why);
		return;
	}
	if ((o = operation_new(ops, w, rq, f->operation)) == NULL) {
		send_failure(w, rq, f->operation, "the server has no memory for it");
		return;
	}
	switch (f->kind) {
	case TN_OPERATION_DATA_GET:
		ask_get(o, f->payload);
		break;
	case TN_OPERATION_DATA_KEYS:
		sv_storage_list(ops->storage, rq->contract, false, on_keys, o);
		break;
	case TN_OPERATION_DATA_ENTRIES:
		sv_storage_list(ops->storage, rq->contract, true, on_entries, o);
		break;
	case TN_OPERATION_DATA_COMMIT:
		ask_commit(o, f->payload);
		break;
	default:
		fail(o, "unknown operation");
	}
}

bool
sv_operations_end(struct sv_request *rq)
{
	bool again = rq->operations.again;
	struct sv_operation *o;

	while ((o = LIST_FIRST(&rq->operations.pending)) != NULL) {
		LIST_REMOVE(o, link);
		o->rq = NULL;
		o->w = NULL;
	}
	rq->operations.again = rq->operations.committed = false;
	rq->operations.n = rq->operations.npending = 0;
	rq->operations.bytes = 0;
	return again;
}

struct sv_operations *
sv_operations_new(const struct tn_options *opt, struct sv_stats *stats,
    struct sv_storage *storage)
{
	struct sv_operations *ops = calloc(1, sizeof(*ops));

	if (ops != NULL)
		*ops = (struct sv_operations){ .opt = opt, .stats = stats, .storage = storage };
	return ops;
}

void
sv_operations_free(struct sv_operations **ops)
{
	free(*ops);
	*ops = NULL;
}
