/*
 * ctl_top.c - tana-ctl top.
 *
 * What the server answers to status, stats, contracts and workers is taken down, and
 * shown against what it was a moment ago: rates, and quantiles of what was added to
 * the histograms in between.  Drawn with a few sequences that every terminal of the
 * last decades has, line by line, cut to its size.
 */
#include "config.h"

#include "ctl_top.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ctl_show.h"
#include "tn_clock.h"
#include "tn_err.h"
#include "tn_rpc.h"
#include "tn_str.h"

#define CALL_MS		15000
#define TEXT_BYTES	64		/* of a name that are kept, the end included */
#define BUCKETS_MAX	256
#define ROWS_TEXT	10u		/* of each list, where there is no screen */
#define COLUMNS_MAX	512u

/* ---- what is taken down ---- */

static const char *const statuses[] = {
#define TN_STATUS(name, class, doc) #name,
#include "metrics.def"
};
static const char *const classes[] = {
#define TN_STATUS(name, class, doc) #class "xx",
#include "metrics.def"
};
#define NSTATUSES (sizeof(statuses) / sizeof(statuses[0]))

/* As in the answer to `workers`. */
static const char *const states[] = {
	"standby",
#define TN_WSTATE(sym, name, doc) name,
#include "states.def"
};
#define NSTATES (sizeof(states) / sizeof(states[0]))

struct buckets {
	unsigned	 n;
	struct {
		uint64_t last_us, count;
	} v[BUCKETS_MAX];
};

struct contract {
	char		 name[TEXT_BYTES];
	uint64_t	 requests, errors, image_bytes;
	double		 requests_s, errors_s;	/* < 0: not known yet */
};

struct worker {
	char		 state[TEXT_BYTES], contract[TEXT_BYTES];
	uint64_t	 pid, requests, private_bytes, shared_bytes;
};

struct sample {
	uint64_t	 at_us;
	char		 version[TEXT_BYTES], state[TEXT_BYTES], isolation[TEXT_BYTES];
	uint64_t	 uptime, generation;
	uint64_t	 requests, status[NSTATUSES];
	uint64_t	 queued, running, connections, images, images_bytes;
	uint64_t	 nstate[NSTATES];
	struct tn_buf	 ended;		/* "cause n", those that are not 0 */
	struct tn_buf	 silent;	/* "shard n: why", those that did not answer */
	struct buckets	 total, queue;
	struct contract	*contracts;	/* by name until they are shown */
	struct worker	*workers;	/* the largest first */
	size_t		 ncontracts, nworkers;
};

static void
sample_fini(struct sample *s)
{
	free(s->contracts);
	free(s->workers);
	tn_buf_fini(&s->ended);
	tn_buf_fini(&s->silent);
	memset(s, 0, sizeof(*s));
}

/* A text, made harmless to a terminal. */
static void
copy_text(char to[TEXT_BYTES], const msgpack_object *o)
{
	size_t i, n = 0;

	if (o != NULL && o->type == MSGPACK_OBJECT_STR)
		n = o->via.str.size < TEXT_BYTES - 1 ? o->via.str.size : TEXT_BYTES - 1;
	for (i = 0; i < n; i++)
		to[i] = o->via.str.ptr[i] >= ' ' && o->via.str.ptr[i] <= '~' ? o->via.str.ptr[i] :
		    '?';
	to[n] = '\0';
}

/* 0, or TN_EPROTO: there is no such number. */
static int
take(const msgpack_object *map, const char *key, uint64_t *to)
{
	int64_t n = ctl_number(map, key);

	*to = n >= 0 ? (uint64_t)n : 0;
	return n >= 0 ? 0 : TN_EPROTO;
}

static int
take_buckets(const msgpack_object *stats, const char *phase, struct buckets *b)
{
	const msgpack_object *o = ctl_get(ctl_get(ctl_get(stats, "phases"), phase), "buckets");
	const msgpack_object *pair;
	uint32_t i;

	if (o == NULL || o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > BUCKETS_MAX)
		return TN_EPROTO;
	b->n = o->via.array.size;
	for (i = 0; i < b->n; i++) {
		pair = &o->via.array.ptr[i];
		if (pair->type != MSGPACK_OBJECT_ARRAY || pair->via.array.size != 2 ||
		    pair->via.array.ptr[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
		    pair->via.array.ptr[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
			return TN_EPROTO;
		b->v[i].last_us = pair->via.array.ptr[0].via.u64;
		b->v[i].count = pair->via.array.ptr[1].via.u64;
	}
	return 0;
}

static void
take_ended(const msgpack_object *stats, struct tn_buf *to)
{
	const msgpack_object *o = ctl_get(stats, "workers_ended");
	char name[TEXT_BYTES];
	uint32_t i;

	for (i = 0; o != NULL && o->type == MSGPACK_OBJECT_MAP && i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];

		if (kv->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER || kv->val.via.u64 == 0)
			continue;
		copy_text(name, &kv->key);
		tn_buf_printf(to, "%s%s %" PRIu64, to->len > 0 ? "   " : "", name, kv->val.via.u64);
	}
}

/* A row that tells of a shard that did not answer, and of nothing else. */
static bool
is_silent(const msgpack_object *row)
{
	return ctl_get(row, "shard") != NULL && ctl_get(row, "error") != NULL;
}

static void
take_silent(struct sample *s, const msgpack_object *shards)
{
	char why[TEXT_BYTES];
	uint32_t i;

	for (i = 0; shards != NULL && shards->type == MSGPACK_OBJECT_ARRAY &&
	    i < shards->via.array.size; i++) {
		const msgpack_object *row = &shards->via.array.ptr[i];

		if (!is_silent(row))
			continue;
		copy_text(why, ctl_get(row, "error"));
		tn_buf_printf(&s->silent, "%sshard %" PRId64 " %s", s->silent.len > 0 ? ", " : "",
		    ctl_number(row, "shard"), why);
	}
}

static int
take_status(struct sample *s, const msgpack_object *o)
{
	copy_text(s->version, ctl_get(o, "version"));
	copy_text(s->state, ctl_get(o, "state"));
	copy_text(s->isolation, ctl_get(o, "isolation"));
	take_silent(s, ctl_get(o, "shards"));
	return take(o, "generation", &s->generation);
}

static int
take_stats(struct sample *s, const msgpack_object *o)
{
	size_t i;
	int rc = 0;

	s->at_us = tn_clock_us();
	rc |= take(o, "uptime_seconds", &s->uptime);
	rc |= take(o, "requests", &s->requests);
	for (i = 0; i < NSTATUSES; i++)
		rc |= take(o, statuses[i], &s->status[i]);
	rc |= take(o, "requests_queued", &s->queued);
	rc |= take(o, "requests_running", &s->running);
	rc |= take(o, "connections", &s->connections);
	rc |= take(o, "images", &s->images);
	rc |= take(o, "images_bytes", &s->images_bytes);
	rc |= take_buckets(o, "total", &s->total);
	rc |= take_buckets(o, "queue", &s->queue);
	take_ended(o, &s->ended);
	return rc != 0 ? TN_EPROTO : 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct contract *)a)->name, ((const struct contract *)b)->name);
}

static int
take_contracts(struct sample *s, const msgpack_object *o)
{
	uint32_t i;
	int rc = 0;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return TN_EPROTO;
	if ((s->contracts = calloc(o->via.array.size + 1, sizeof(s->contracts[0]))) == NULL)
		return TN_ENOMEM;
	for (i = 0; i < o->via.array.size; i++) {
		const msgpack_object *m = &o->via.array.ptr[i];
		struct contract *c = &s->contracts[s->ncontracts];

		if (is_silent(m))
			continue;
		s->ncontracts++;
		copy_text(c->name, ctl_get(m, "contract"));
		rc |= take(m, "requests", &c->requests);
		rc |= take(m, "requests_5xx", &c->errors);
		rc |= take(m, "image_bytes", &c->image_bytes);
	}
	qsort(s->contracts, s->ncontracts, sizeof(s->contracts[0]), by_name);
	return rc != 0 ? TN_EPROTO : 0;
}

static int
by_memory(const void *pa, const void *pb)
{
	const struct worker *a = pa, *b = pb;

	return a->private_bytes != b->private_bytes ?
	    (a->private_bytes < b->private_bytes ? 1 : -1) :
	    (a->pid > b->pid) - (a->pid < b->pid);
}

static int
take_workers(struct sample *s, const msgpack_object *o)
{
	uint32_t i;
	size_t k;
	int rc = 0;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return TN_EPROTO;
	if ((s->workers = calloc(o->via.array.size + 1, sizeof(s->workers[0]))) == NULL)
		return TN_ENOMEM;
	for (i = 0; i < o->via.array.size; i++) {
		const msgpack_object *m = &o->via.array.ptr[i];
		struct worker *w = &s->workers[s->nworkers];

		if (is_silent(m))
			continue;
		s->nworkers++;
		copy_text(w->state, ctl_get(m, "state"));
		copy_text(w->contract, ctl_get(m, "contract"));
		rc |= take(m, "pid", &w->pid);
		rc |= take(m, "requests", &w->requests);
		rc |= take(m, "private_bytes", &w->private_bytes);
		rc |= take(m, "shared_bytes", &w->shared_bytes);
		for (k = 0; k < NSTATES; k++)
			s->nstate[k] += strcmp(w->state, states[k]) == 0;
	}
	qsort(s->workers, s->nworkers, sizeof(s->workers[0]), by_memory);
	return rc != 0 ? TN_EPROTO : 0;
}

/* One answer after the other: each is gone with the next call. */
static int
sample_take(struct sample *s, struct tn_rpc_client *client, struct tn_buf *err)
{
	static const struct {
		const char *method;
		int (*take)(struct sample *s, const msgpack_object *o);
	} calls[] = {
		{ "status", take_status }, { "contracts", take_contracts },
		{ "workers", take_workers }, { "stats", take_stats },
	};
	const msgpack_object *o;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if ((rc = tn_rpc_call(client, calls[i].method, NULL, 0, CALL_MS, &o, err)) != 0)
			return rc;
		if ((rc = calls[i].take(s, o)) != 0) {
			tn_buf_printf(err, "the answer to %s makes no sense: %s", calls[i].method,
			    tn_strerror(rc));
			return rc;
		}
	}
	return 0;
}

/* ---- what was in between ---- */

/* Is it the same server, a little later?  Else nothing can be said of the interval. */
static bool
follows(const struct sample *now, const struct sample *before)
{
	return before->at_us != 0 && now->at_us > before->at_us && now->uptime >= before->uptime &&
	    now->requests >= before->requests;
}

static double
rate(uint64_t now, uint64_t before, double seconds)
{
	return now >= before ? (double)(now - before) / seconds : 0;
}

static uint64_t
count_before(const struct buckets *b, uint64_t last_us)
{
	unsigned i;

	for (i = 0; i < b->n; i++)
		if (b->v[i].last_us == last_us)
			return b->v[i].count;
	return 0;
}

/* Of what was added between the two, in ms; < 0: nothing. */
static double
quantile(const struct buckets *now, const struct buckets *before, double q)
{
	uint64_t all = 0, rank, seen = 0, then;
	unsigned i, pass;

	for (pass = 0; pass < 2; pass++) {
		rank = (uint64_t)(q * (double)all);
		if ((double)rank < q * (double)all || rank == 0)
			rank++;
		for (i = 0; i < now->n; i++) {
			then = count_before(before, now->v[i].last_us);
			if (now->v[i].count <= then)
				continue;
			if (pass == 0)
				all += now->v[i].count - then;
			else if ((seen += now->v[i].count - then) >= rank)
				return (double)now->v[i].last_us / 1e3;
		}
	}
	return -1;
}

static int
busiest_first(const void *pa, const void *pb)
{
	const struct contract *a = pa, *b = pb;

	if (a->requests_s > b->requests_s || a->requests_s < b->requests_s)
		return a->requests_s < b->requests_s ? 1 : -1;
	if (a->requests != b->requests)
		return a->requests < b->requests ? 1 : -1;
	return strcmp(a->name, b->name);
}

/* Their rates; seconds 0: not known.  Returns them sorted, the caller's; NULL: no memory. */
static struct contract *
contracts_ranked(const struct sample *now, const struct sample *before, double seconds)
{
	struct contract *v = calloc(now->ncontracts + 1, sizeof(*v));
	const struct contract *b;
	size_t i;

	if (v == NULL)
		return NULL;
	for (i = 0; i < now->ncontracts; i++) {
		v[i] = now->contracts[i];
		v[i].requests_s = v[i].errors_s = -1;
		if (seconds <= 0)
			continue;
		b = before->ncontracts == 0 ? NULL : bsearch(&v[i], before->contracts,
		    before->ncontracts, sizeof(*b), by_name);
		v[i].requests_s = rate(v[i].requests, b != NULL ? b->requests : 0, seconds);
		v[i].errors_s = rate(v[i].errors, b != NULL ? b->errors : 0, seconds);
	}
	qsort(v, now->ncontracts, sizeof(v[0]), busiest_first);
	return v;
}

/* ---- drawing ---- */

struct page {
	struct tn_buf	 out, line;
	unsigned	 rows, columns;	/* 0: no screen, no bounds */
	unsigned	 used;
};

/* The line is done: cut, and put below the one before. */
static void
end_line(struct page *p)
{
	size_t n = p->line.len;

	if (p->rows > 0 && p->used == p->rows) {
		tn_buf_reset(&p->line);
		return;
	}
	if (p->columns > 0 && n > p->columns)
		n = p->columns;
	/* Cleared first: behind a line as long as the screen is wide its last letter would go. */
	if (p->rows > 0)
		tn_buf_puts(&p->out, p->used > 0 ? "\r\n\x1b[K" : "\x1b[K");
	tn_buf_append(&p->out, p->line.p != NULL ? p->line.p : "", n);
	if (p->rows == 0)
		tn_buf_puts(&p->out, "\n");
	tn_buf_reset(&p->line);
	p->used++;
}

/* A number, to the right, in `width`; negative: not known. */
static void
put_number(struct tn_buf *b, int width, int digits, double v)
{
	if (v < 0)
		tn_buf_printf(b, "%*s", width, "-");
	else
		tn_buf_printf(b, "%*.*f", width, digits, v);
}

static void
put_bytes(struct tn_buf *b, int width, uint64_t n)
{
	struct tn_buf text = { 0 };

	ctl_put_bytes(&text, (double)n);
	tn_buf_printf(b, "%*.*s", width, (int)text.len, text.p != NULL ? text.p : "");
	tn_buf_fini(&text);
}

static void
draw_head(struct page *p, const struct sample *now, const struct sample *before, double seconds,
    const struct ctl_top_options *o)
{
	struct tn_buf *b = &p->line;
	uint64_t own = 0, shared = 0;
	size_t i;

	tn_buf_printf(b, "tana-edge %s  %s  %s  generation %" PRIu64 "  up ", now->version,
	    now->state, now->isolation, now->generation);
	ctl_put_seconds(b, (double)now->uptime);
	if (p->rows > 0)
		tn_buf_printf(b, "  (every %g s, q quits)", o->interval);
	end_line(p);
	tn_buf_printf(b, "%.*s", (int)now->silent.len, now->silent.p != NULL ? now->silent.p : "");
	end_line(p);

	tn_buf_puts(b, "requests/s");
	put_number(b, 11, 1, seconds > 0 ? rate(now->requests, before->requests, seconds) : -1);
	for (i = 0; i < NSTATUSES; i++) {
		tn_buf_printf(b, "   %s ", classes[i]);
		put_number(b, 0, 1,
		    seconds > 0 ? rate(now->status[i], before->status[i], seconds) : -1);
	}
	end_line(p);
	tn_buf_puts(b, "time ms      p50 ");
	put_number(b, 0, 3, seconds > 0 ? quantile(&now->total, &before->total, 0.5) : -1);
	tn_buf_puts(b, "   p99 ");
	put_number(b, 0, 3, seconds > 0 ? quantile(&now->total, &before->total, 0.99) : -1);
	tn_buf_puts(b, "   of it in the queue: p50 ");
	put_number(b, 0, 3, seconds > 0 ? quantile(&now->queue, &before->queue, 0.5) : -1);
	tn_buf_puts(b, "   p99 ");
	put_number(b, 0, 3, seconds > 0 ? quantile(&now->queue, &before->queue, 0.99) : -1);
	end_line(p);
	tn_buf_printf(b, "requests     queued %" PRIu64 "   running %" PRIu64
	    "   connections %" PRIu64, now->queued, now->running, now->connections);
	end_line(p);
	tn_buf_printf(b, "workers %4zu", now->nworkers);
	for (i = 0; i < NSTATES; i++)
		if (now->nstate[i] > 0)
			tn_buf_printf(b, "   %s %" PRIu64, states[i], now->nstate[i]);
	end_line(p);
	tn_buf_printf(b, "ended        %.*s", (int)now->ended.len,
	    now->ended.p != NULL ? now->ended.p : "");
	if (now->ended.len == 0)
		tn_buf_puts(b, "none");
	end_line(p);
	for (i = 0; i < now->nworkers; i++) {
		own += now->workers[i].private_bytes;
		shared += now->workers[i].shared_bytes;
	}
	tn_buf_puts(b, "memory       private ");
	put_bytes(b, 0, own);
	tn_buf_puts(b, "   shared ");
	put_bytes(b, 0, shared);
	tn_buf_printf(b, "   images %" PRIu64 ", ", now->images);
	put_bytes(b, 0, now->images_bytes);
	end_line(p);
	end_line(p);
}

/* How many rows each list gets: half of what is left, or what the other does not need. */
static void
share_rows(const struct page *p, const struct sample *now, size_t *contracts, size_t *workers)
{
	size_t left = ROWS_TEXT * 2, heads = 3;

	if (p->rows > 0)
		left = p->rows > p->used + heads ? p->rows - p->used - heads : 0;
	*workers = now->nworkers < left / 2 ? now->nworkers : left / 2;
	*contracts = now->ncontracts < left - *workers ? now->ncontracts : left - *workers;
	if (now->nworkers > *workers && left > *contracts)
		*workers = now->nworkers < left - *contracts ? now->nworkers : left - *contracts;
}

/* 0, or TN_ENOMEM. */
static int
draw(struct page *p, const struct sample *now, const struct sample *before,
    const struct ctl_top_options *o)
{
	double seconds = follows(now, before) ? (double)(now->at_us - before->at_us) / 1e6 : 0;
	struct contract *c = contracts_ranked(now, before, seconds);
	size_t i, ncontracts, nworkers;
	const struct worker *w;

	if (c == NULL)
		return TN_ENOMEM;
	p->used = 0;
	tn_buf_reset(&p->out);
	tn_buf_reset(&p->line);
	if (p->rows > 0)
		tn_buf_puts(&p->out, "\x1b[H");
	draw_head(p, now, before, seconds, o);
	share_rows(p, now, &ncontracts, &nworkers);
	tn_buf_printf(&p->line, "%-30s %10s %10s %12s %9s", "CONTRACT", "REQUESTS/s", "ERRORS/s",
	    "REQUESTS", "IMAGE");
	end_line(p);
	for (i = 0; i < ncontracts; i++) {
		tn_buf_printf(&p->line, "%-30s ", c[i].name);
		put_number(&p->line, 10, 1, c[i].requests_s);
		put_number(&p->line, 11, 1, c[i].errors_s);
		tn_buf_printf(&p->line, " %12" PRIu64 " ", c[i].requests);
		put_bytes(&p->line, 9, c[i].image_bytes);
		end_line(p);
	}
	end_line(p);
	tn_buf_printf(&p->line, "%10s  %-10s %-30s %9s %9s", "PID", "STATE", "CONTRACT", "PRIVATE",
	    "SHARED");
	end_line(p);
	for (i = 0; i < nworkers; i++) {
		w = &now->workers[i];
		tn_buf_printf(&p->line, "%10" PRIu64 "  %-10s %-30s ", w->pid, w->state,
		    w->contract[0] != '\0' ? w->contract : "-");
		put_bytes(&p->line, 9, w->private_bytes);
		tn_buf_puts(&p->line, " ");
		put_bytes(&p->line, 9, w->shared_bytes);
		end_line(p);
	}
	if (p->used < p->rows)
		tn_buf_puts(&p->out, "\r\n\x1b[J");
	free(c);
	return p->out.failed || p->line.failed ? TN_ENOMEM : 0;
}

static int
write_all(const struct tn_buf *b)
{
	size_t at = 0;
	ssize_t n;

	while (at < b->len) {
		n = write(STDOUT_FILENO, b->p + at, b->len - at);
		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			return TN_ESYS;
	}
	return 0;
}

/* ---- the terminal ---- */

static struct {
	volatile sig_atomic_t on;	/* it is ours */
	volatile sig_atomic_t resized;
	bool		 keys;		/* there is a keyboard */
	struct termios	 before, ours;
	sigset_t	 waiting;	/* the mask while we wait */
} tty;

/* The alternate screen, where there is one, without the cursor; and back. */
static const char enter_text[] = "\x1b[?1049h\x1b[?25l\x1b[2J";
static const char leave_text[] = "\x1b[?25h\x1b[?1049l";

/* Both may be called by a signal's handler. */
static void
enter(void)
{
	tty.on = 1;
	if (tty.keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &tty.ours);
	(void)!write(STDOUT_FILENO, enter_text, sizeof(enter_text) - 1);
}

static void
leave(void)
{
	if (!tty.on)
		return;
	(void)!write(STDOUT_FILENO, leave_text, sizeof(leave_text) - 1);
	if (tty.keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &tty.before);
	tty.on = 0;		/* last: who interrupts this does it all once more */
}

/* The end comes at once, whatever we wait for, and looks as if we had caught nothing. */
static void
on_deadly(int sig)
{
	leave();
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

/*
 * Stopped, the terminal is the shell's.  By the same signal, since without a shell that
 * could wake us up it stops nobody.
 */
static void
on_stop(int sig)
{
	struct sigaction sa = { .sa_handler = SIG_DFL }, ours;
	sigset_t set;
	int error = errno;

	leave();
	(void)sigaction(sig, &sa, &ours);
	(void)raise(sig);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, sig);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);	/* here we stop, and go on */
	(void)sigaction(sig, &ours, NULL);
	enter();
	tty.resized = 1;
	errno = error;
}

static void
on_resize(int sig)
{
	(void)sig;
	tty.resized = 1;
}

/* What changes the screen comes while we wait, and only then: else it could be missed. */
static void
catch_signals(void)
{
	static const int deadly[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct sigaction sa = { .sa_handler = on_deadly };
	sigset_t later;
	size_t i;

	(void)sigemptyset(&later);
	(void)sigaddset(&later, SIGTSTP);
	(void)sigaddset(&later, SIGWINCH);
	(void)sigprocmask(SIG_BLOCK, &later, &tty.waiting);
	(void)sigdelset(&tty.waiting, SIGTSTP);
	(void)sigdelset(&tty.waiting, SIGWINCH);

	for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		(void)sigaddset(&sa.sa_mask, deadly[i]);
	(void)sigaddset(&sa.sa_mask, SIGTSTP);
	for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		(void)sigaction(deadly[i], &sa, NULL);
	sa.sa_handler = on_stop;
	(void)sigaction(SIGTSTP, &sa, NULL);
	sa.sa_handler = on_resize;
	(void)sigaction(SIGWINCH, &sa, NULL);
}

static void
look_at_size(struct page *p)
{
	struct winsize ws;

	tty.resized = 0;
	p->rows = 24;
	p->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 && ws.ws_col > 0) {
		p->rows = ws.ws_row;
		p->columns = ws.ws_col < COLUMNS_MAX ? ws.ws_col : COLUMNS_MAX;
	}
}

static void
take_terminal(void)
{
	if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &tty.before) == 0) {
		tty.keys = true;
		tty.ours = tty.before;
		tty.ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tty.ours.c_cc[VMIN] = 0;
		tty.ours.c_cc[VTIME] = 0;
	}
	catch_signals();
	enter();
}

/* Wait until `due`, a key, or another size; true: to be quit. */
static bool
wait_until(uint64_t due)
{
	struct pollfd p = { .fd = tty.keys ? STDIN_FILENO : -1, .events = POLLIN };
	struct timespec ts;
	uint64_t now;
	ssize_t n;
	char c;

	while (!tty.resized && (now = tn_clock_us()) < due) {
		ts = (struct timespec){ (time_t)((due - now) / 1000000u),
			(long)((due - now) % 1000000u * 1000u) };
		if (ppoll(&p, 1, &ts, &tty.waiting) <= 0)
			continue;
		n = read(STDIN_FILENO, &c, 1);
		if (n == 1 && (c == 'q' || c == 'Q'))
			return true;
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return true;		/* the terminal is gone */
	}
	return false;
}

/* ---- the two ways ---- */

static int
show_once(struct tn_rpc_client *client, const struct ctl_top_options *o, struct sample *now,
    struct sample *before, struct tn_buf *err)
{
	struct page p = { 0 };
	struct timespec ts = { (time_t)o->interval,
		(long)((o->interval - (double)(time_t)o->interval) * 1e9) };
	int rc;

	if ((rc = sample_take(before, client, err)) == 0) {
		while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
			;
		rc = sample_take(now, client, err);
	}
	if (rc == 0 && ((rc = draw(&p, now, before, o)) != 0 || (rc = write_all(&p.out)) != 0))
		tn_buf_printf(err, "standard output: %s",
		    rc == TN_ESYS ? strerror(errno) : tn_strerror(rc));
	tn_buf_fini(&p.out);
	tn_buf_fini(&p.line);
	return rc;
}

static int
show_live(struct tn_rpc_client *client, const struct ctl_top_options *o, struct sample *now,
    struct sample *before, struct tn_buf *err)
{
	struct page p = { 0 };
	struct sample next = { 0 };
	uint64_t due = 0;
	int rc = 0;

	/* First, so that what goes wrong at once does not make the screen flicker. */
	if ((rc = sample_take(now, client, err)) != 0)
		return rc;
	due = tn_clock_us() + (uint64_t)(o->interval * 1e6);
	take_terminal();
	for (;;) {
		look_at_size(&p);
		if ((rc = draw(&p, now, before, o)) != 0 || (rc = write_all(&p.out)) != 0) {
			tn_buf_printf(err, "standard output: %s",
			    rc == TN_ESYS ? strerror(errno) : tn_strerror(rc));
			break;
		}
		if (wait_until(due))
			break;
		if (tty.resized)
			continue;
		due = tn_clock_us() + (uint64_t)(o->interval * 1e6);
		if ((rc = sample_take(&next, client, err)) != 0)
			break;
		sample_fini(before);
		*before = *now;
		*now = next;
		memset(&next, 0, sizeof(next));
	}
	leave();
	sample_fini(&next);
	tn_buf_fini(&p.out);
	tn_buf_fini(&p.line);
	return rc;
}

int
ctl_top(struct tn_rpc_client *client, const struct ctl_top_options *o)
{
	static struct sample now, before;
	struct tn_buf err = { 0 };
	int rc;

	rc = (o->once || !isatty(STDOUT_FILENO) ? show_once : show_live)(client, o, &now, &before,
	    &err);
	if (rc != 0)
		(void)fprintf(stderr, "tana-ctl: top: %.*s\n", (int)err.len,
		    err.p != NULL ? err.p : "");
	sample_fini(&now);
	sample_fini(&before);
	tn_buf_fini(&err);
	return rc == 0 ? TN_EXIT_OK :
	    rc == TN_ECLOSED || rc == TN_ETIMEOUT ? TN_EXIT_UNREACHABLE : TN_EXIT_FAILURE;
}
