/*
 * sv_worker.c - one worker, as the front knows it.
 */
#include "config.h"

#include "sv_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_generation.h"
#include "sv_image.h"
#include "sv_share.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_operation.h"
#include "tn_options.h"

#define READ_CHUNK	65536u
#define IN_MARGIN	(1u << 20)	/* headers and logs beside the largest body */
#define LAST_TURNS	64u		/* reads of what the dead have left: a socket holds less */
/* An answer that was sent before the next frame was begun has come within it. */
#define PASSED_US	100000u
/* No bound that matters: how many frames may wait is SV_WORKER_OUT_MAX. */
#define OUT_MAX		((size_t)SV_WORKER_OUT_MAX * (TN_FRAME_MAX + 4))
#define OUT_KEPT	(1u << 18)	/* a longer buffer is given back when it is empty */
static void step(struct sv_worker *w, enum tn_wevent ev);

static void
enter(struct sv_worker *w)
{
	w->busy++;
}

static void
leave(struct sv_worker *w)
{
	if (--w->busy == 0 && w->condemned)
		sv_worker_free(&w);
}

static void
close_channel(struct sv_worker *w)
{
	w->closed = true;
	if (w->ev_read != NULL)
		event_free(w->ev_read);
	if (w->ev_write != NULL)
		event_free(w->ev_write);
	w->ev_read = w->ev_write = NULL;
	event_del(w->ev_flush);
	evtimer_del(w->ev_stall);
	evtimer_del(w->ev_sleep);
	tn_fd_close(&w->fd);
	tn_buf_fini(&w->out);
}

static bool
started(const struct sv_worker *w, unsigned i)
{
	uint64_t word = atomic_load(&w->slots->frame[w->slot_of[i]]);

	return word != tn_slot_word(w->frame[i]->id, TN_SLOT_QUEUED);
}

bool
sv_worker_runs(const struct sv_worker *w, const struct sv_share *share)
{
	unsigned i;

	for (i = 0; i < w->nframes; i++)
		if (w->frame[i]->share == share)
			return true;
	return false;
}

static void
add_frame(struct sv_worker *w, struct sv_request *rq, unsigned slot)
{
	rq->share->nworkers += !sv_worker_runs(w, rq->share);
	rq->worker = w;
	w->load_us += rq->believed_us;
	w->frame[w->nframes] = rq;
	w->slot_of[w->nframes] = slot;
	w->nframes++;
}

static void
forget_frame(struct sv_worker *w, unsigned i)
{
	struct sv_request *rq = w->frame[i];

	w->nframes--;
	memmove(&w->frame[i], &w->frame[i + 1], (w->nframes - i) * sizeof(w->frame[0]));
	memmove(&w->slot_of[i], &w->slot_of[i + 1], (w->nframes - i) * sizeof(w->slot_of[0]));
	w->load_us -= rq->believed_us;
	rq->worker = NULL;
	rq->share->nworkers -= !sv_worker_runs(w, rq->share);
}

static void
settle(struct sv_worker *w)
{
	uint64_t now = tn_clock_us();
	bool first = true;

	while (w->nframes > 0) {
		struct sv_request *rq = w->frame[0];
		/* Whatever it says of those behind: they come one after the other. */
		bool ran = first && started(w, 0);

		rq->occupied_us = ran ? now - w->head_since_us : 0;
		first = false;
		forget_frame(w, 0);
		w->ops->orphan(w->arg, w, rq, ran);
	}
}

/* Send what waits; what the socket has no room for goes on waiting. */
static int
flush_out(struct sv_worker *w)
{
	ssize_t n;

	while (w->out_at < w->out.len) {
		n = tn_fd_send(w->fd, w->out.p + w->out_at, w->out.len - w->out_at, NULL, 0);
		if (n == TN_EAGAIN)
			return event_add(w->ev_write, NULL) == 0 ? 0 : TN_ENOMEM;
		if (n < 0)
			return (int)n;
		w->out_at += (size_t)n;
		w->out_sent += (uint64_t)n;
		atomic_store_explicit(&w->slots->sent, w->out_sent, memory_order_release);
		while (w->nout > 0 && w->out_end[w->out_first] <= w->out_sent) {
			w->out_first = (w->out_first + 1) % SV_WORKER_OUT_MAX;
			w->nout--;
		}
	}
	w->out_at = 0;
	if (w->head_unsent) {		/* a long turn of ours is not its own slowness */
		w->head_unsent = false;
		w->head_since_us = tn_clock_us();
	}
	if (w->out.cap > OUT_KEPT)
		tn_buf_fini(&w->out);
	else
		tn_buf_reset(&w->out);
	w->out.max = OUT_MAX;
	return 0;
}

/*
 * At the end of the loop's turn: what has been handed out meanwhile goes in one call.
 * TN_ELIMIT, TN_ENOMEM: it could not be encoded, the worker is as it was.
 * TN_ECLOSED: the worker is of no use any more, killed if it does not read.
 */
static int
send_frame(struct sv_worker *w, const struct tn_frame *f)
{
	size_t before;
	int err;

	if (w->closed)
		return TN_ECLOSED;
	if (w->nout == SV_WORKER_OUT_MAX) {
		sv_worker_kill(w);
		return TN_ECLOSED;
	}
	if (w->out_at > OUT_KEPT) {
		tn_buf_consume(&w->out, w->out_at);
		w->out_at = 0;
	}
	before = w->out.len;
	if ((err = tn_frame_encode(&w->out, f)) != 0)
		return err;
	w->out_end[(w->out_first + w->nout) % SV_WORKER_OUT_MAX] =
	    w->out_sent + (before - w->out_at) + (w->out.len - before);
	w->nout++;
	if (!w->flush_due) {
		w->flush_due = true;
		event_active(w->ev_flush, EV_WRITE, 0);
	}
	return 0;
}

static void
step(struct sv_worker *w, enum tn_wevent ev)
{
	enum tn_wstate old = w->state;
	struct tn_wstep s = tn_worker_step(old, ev);

	enter(w);
	w->state = s.next;
	if (s.actions & TN_WA_REFUSE)
		tn_log(TN_LOG_WARN, "worker %d: %s while %s", (int)w->pid, tn_wevent_name(ev),
		    tn_wstate_name(old));
	if (s.actions & TN_WA_KILL)
		sv_worker_kill(w);
	if ((s.actions & TN_WA_SAY_RETIRE) && w->retire_reason != TN_RETIRE_MODE) {
		struct tn_frame f = { .type = TN_FRAME_RETIRE,
		    .retire = { .reason = w->retire_reason } };

		(void)send_frame(w, &f);	/* a dead one shows as EOF */
	}
	if (s.next == TN_WS_DEAD && old != TN_WS_DEAD) {
		w->dead_us = tn_clock_us();
		close_channel(w);
	}
	if (s.next == TN_WS_IDLE || ev == TN_WEV_LAST || ev == TN_WEV_RETIRE)
		w->idle_since_us = tn_clock_us();
	if (s.actions & TN_WA_SETTLE)
		settle(w);
	if (old != s.next || (s.actions & TN_WA_OFFER))
		w->ops->state(w->arg, w, old);
	leave(w);
}

static void
arm(struct sv_worker *w, uint64_t us)
{
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };

	evtimer_add(w->ev_deadline, &tv);
}

/* The running frame (or build) has had its time: signal, then kill. */
static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct sv_worker *w = arg;
	uint64_t limit, elapsed = tn_clock_us() - w->head_since_us;
	uint64_t id = w->nframes > 0 ? w->frame[0]->id : w->build_id;

	(void)fd;
	(void)what;
	if (w->deadline_stage == 2)
		return;
	if (id == 0 || w->state == TN_WS_DEAD)
		return;
	limit = (uint64_t)w->opt->deadline_ms * 1000;
	if (w->role == TN_ROLE_BUILDER)
		limit += 1000000;	/* comparing the heap with the base */
	if (w->deadline_stage == 1)
		limit += (uint64_t)w->opt->deadline_grace_ms * 1000;
	if (elapsed < limit) {
		arm(w, limit - elapsed);
		return;
	}
	if (w->deadline_stage == 0) {
		w->deadline_stage = 1;
		atomic_store(&w->slots->timeout_id, id);
		(void)sv_generation_signal(w->generation, w->number, SIGALRM);
		arm(w, (uint64_t)w->opt->deadline_grace_ms * 1000);
		return;
	}
	w->deadline_stage = 2;
	w->cause = TN_WC_DEADLINE;
	step(w, TN_WEV_FAULT);
}

static void
on_sleep(evutil_socket_t fd, short what, void *arg)
{
	struct sv_worker *w = arg;
	struct tn_frame f = { .type = TN_FRAME_WAKE, .wake = { .id = w->sleep_id } };

	(void)fd;
	(void)what;
	if (w->nframes > 0 && w->frame[0]->id == w->sleep_id && send_frame(w, &f) != 0)
		step(w, TN_WEV_EXIT);
}

/* The first frame is over. */
static void
head_changed(struct sv_worker *w, uint64_t now)
{
	w->head_since_us = now;
	w->head_unsent = w->nout > 0;
	/* Armed for the grace, it would come too late, or too early, for the next one. */
	if (w->deadline_stage != 0)
		arm(w, (uint64_t)w->opt->deadline_ms * 1000);
	w->deadline_stage = 0;
	atomic_store(&w->slots->timeout_id, 0);
	evtimer_del(w->ev_sleep);
}

static void
on_reply(struct sv_worker *w, const struct tn_frame_reply *f)
{
	uint64_t now = tn_clock_us();
	struct sv_request *rq;
	unsigned i;

	for (i = 0; i < w->nframes && w->frame[i]->id != f->id; i++)
		;
	if (i == w->nframes) {
		step(w, TN_WEV_FAULT);
		return;
	}
	rq = w->frame[i];
	rq->answered_us = now;
	rq->occupied_us = now - w->head_since_us;	/* out of turn, too: or it were free */
	forget_frame(w, i);
	w->requests++;
	w->answered = rq->id;
	strcpy(w->answered_id, rq->request_id);
	if (f->fault == TN_FAULT_INTERNAL) {	/* perhaps it has not what we believe */
		sv_kept_forget(&w->kept);
		w->image = 0;
	}
	if (i == 0)				/* else the first one's time goes on */
		head_changed(w, now);
	if (w->one_shot) {
		w->retire_reason = TN_RETIRE_MODE;	/* it exits by itself */
		w->retired = true;
		step(w, TN_WEV_RETIRE);
	}
	/* Offer the worker first: it computes while the answer is written. */
	step(w, w->nframes > 0 ? TN_WEV_REPLY : TN_WEV_LAST);
	w->ops->reply(w->arg, w, rq, f);
}

static void
on_sleep_frame(struct sv_worker *w, const struct tn_frame_sleep *f)
{
	uint64_t ms = f->ms;
	struct timeval tv;

	if (w->nframes == 0 || f->id != w->frame[0]->id) {
		step(w, TN_WEV_FAULT);
		return;
	}
	/* Beyond the deadline it does not matter how long. */
	if (ms > (uint64_t)w->opt->deadline_ms + 1000)
		ms = (uint64_t)w->opt->deadline_ms + 1000;
	tv = (struct timeval){ (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };
	w->sleep_id = f->id;
	evtimer_add(w->ev_sleep, &tv);
}

static void
on_frame(struct sv_worker *w, const struct tn_frame *f)
{
	unsigned i;

	switch (f->type) {
	case TN_FRAME_READY:
		if (f->ready.version != TN_FRAMES_VERSION ||
		    f->ready.generation != w->generation->number) {
			tn_log(TN_LOG_ERROR, "worker %d is of version %llu, generation %llu",
			    (int)w->pid, (unsigned long long)f->ready.version,
			    (unsigned long long)f->ready.generation);
			step(w, TN_WEV_FAULT);
		} else
			step(w, TN_WEV_READY);
		break;
	case TN_FRAME_REPLY:
		on_reply(w, &f->reply);
		break;
	case TN_FRAME_LOG:
		for (i = 0; i < w->nframes && w->frame[i]->id != f->log.id; i++)
			;
		w->ops->log(w->arg, w, i < w->nframes ? w->frame[i] : NULL, &f->log);
		break;
	case TN_FRAME_SLEEP:
		on_sleep_frame(w, &f->sleep);
		break;
	case TN_FRAME_OPERATION:
		if (w->role != TN_ROLE_WORKER || w->nframes == 0 ||
		    f->operation.id != w->frame[0]->id) {
			step(w, TN_WEV_FAULT);
			break;
		}
		w->ops->operation(w->arg, w, w->frame[0], &f->operation);
		break;
	case TN_FRAME_BUILT:
		if (w->role != TN_ROLE_BUILDER || w->build_id == 0 || f->built.id != w->build_id) {
			step(w, TN_WEV_FAULT);
			break;
		}
		w->build_id = 0;
		w->ops->built(w->arg, w, &f->built);
		break;
	case TN_FRAME_RESTORED:
		if (w->role != TN_ROLE_WORKER) {
			step(w, TN_WEV_FAULT);
			break;
		}
		w->ops->restored(w->arg, w, &f->restored);
		break;
	default:
		step(w, TN_WEV_FAULT);
	}
}

/* What may have come and not be whole: an answer at most, or whatever a frame can have. */
static size_t
in_max(const struct sv_worker *w)
{
	return w->role == TN_ROLE_BUILDER ? TN_FRAME_MAX + IN_MARGIN :
	    (size_t)w->opt->reply_max + IN_MARGIN;
}

/* Read once; decode what is whole. False: the channel is at its end. */
static bool
read_channel(struct sv_worker *w)
{
	struct tn_frame f;
	size_t off = 0, used = 0, want = READ_CHUNK;
	ssize_t n;
	char *to;
	int err = TN_EAGAIN;

	if (w->in.len >= 4) {
		/* A long frame is on its way: ask for all the rest of it. */
		const unsigned char *p = (const unsigned char *)w->in.p;
		size_t whole = 4 + ((size_t)p[0] << 24 | (size_t)p[1] << 16 |
		    (size_t)p[2] << 8 | (size_t)p[3]);

		if (whole > w->in.len + want)
			want = whole - w->in.len;
	}
	if ((to = tn_buf_reserve(&w->in, want)) == NULL) {
		tn_log(TN_LOG_WARN, "worker %d sends a frame beyond the limit", (int)w->pid);
		step(w, TN_WEV_FAULT);
		return false;
	}
	n = recv(w->fd, to, want, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	w->in.len += (size_t)n;
	while (!w->closed && off < w->in.len) {
		err = tn_frame_decode(w->decoder, TN_DIR_TO_FRONT, w->in.p + off,
		    w->in.len - off, &f, &used);
		if (err != 0)
			break;
		off += used;
		on_frame(w, &f);
	}
	if (w->closed)
		return true;
	if (err != 0 && err != TN_EAGAIN) {
		tn_log(TN_LOG_WARN, "worker %d sends a malformed frame", (int)w->pid);
		step(w, TN_WEV_FAULT);
		return true;
	}
	tn_buf_consume(&w->in, off);
	if (w->in.len == 0 && w->in.cap > 4 * READ_CHUNK)
		tn_buf_fini(&w->in);		/* one large answer should not be kept for ever */
	w->in.max = in_max(w);
	return true;
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct sv_worker *w = arg;

	(void)fd;
	(void)what;
	enter(w);
	if (!read_channel(w) && !w->closed) {
		step(w, TN_WEV_EXIT);
		if (!w->closed)
			close_channel(w);
	}
	leave(w);
}

/* The socket has room again, or the turn ends. */
static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct sv_worker *w = arg;
	bool full;

	(void)fd;
	(void)what;
	w->flush_due = false;
	if (w->closed)
		return;
	enter(w);
	full = w->nout >= 2 * TN_DEPTH_MAX;
	/* A closed channel: what it said before is read first, then its end. */
	switch (flush_out(w)) {
	case 0:
	case TN_ECLOSED:
		break;
	default:
		sv_worker_kill(w);
		full = true;
	}
	if (full && w->role == TN_ROLE_WORKER && w->state != TN_WS_DEAD)
		w->ops->state(w->arg, w, w->state);	/* it has room again, or never will */
	leave(w);
}

static void
stall_after(struct sv_worker *w, uint64_t us)
{
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };

	evtimer_add(w->ev_stall, &tv);
}

/*
 * Is the first frame taking long?  Then those behind it need not wait for it.  The
 * first one stays, begun or not: a worker that merely lacks CPU keeps something to
 * show its life by, and is nobody's first choice meanwhile (sv_worker_stalled()).
 */
static void
on_stall(evutil_socket_t fd, short what, void *arg)
{
	struct sv_worker *w = arg;
	struct sv_request *taken[TN_DEPTH_MAX];
	uint64_t elapsed = tn_clock_us() - w->head_since_us;
	unsigned i, n = 0;
	bool passed = false;

	(void)fd;
	(void)what;
	if (w->nframes < 2 || w->closed || w->exited)
		return;
	if (elapsed < (uint64_t)w->opt->worker_stall_us) {
		stall_after(w, (uint64_t)w->opt->worker_stall_us - elapsed);
		return;
	}
	/* What it has said meanwhile is read first: in a turn that took long, that may be all. */
	if (w->head_unsent || recv(w->fd, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
		stall_after(w, (uint64_t)w->opt->worker_stall_us);
		return;
	}
	enter(w);
	for (i = w->nframes - 1; i > 0; i--) {
		if (!tn_slot_move(w->slots, (unsigned)w->slot_of[i], w->frame[i]->id,
		    TN_SLOT_QUEUED, TN_SLOT_REVOKED)) {
			passed = true;	/* the first one's answer is on the way */
			continue;
		}
		taken[n++] = w->frame[i];
		forget_frame(w, i);
	}
	if (passed && w->passed == w->frame[0]->id) {
		tn_log(TN_LOG_WARN, "worker %d says of frames that they run, and that others do",
		    (int)w->pid);
		w->passed = 0;
		step(w, TN_WEV_FAULT);
	} else if (passed) {
		w->passed = w->frame[0]->id;
		stall_after(w, PASSED_US);
	}
	/* The last one first: each goes back to the front of its queue. */
	for (i = 0; i < n; i++)
		w->ops->revoked(w->arg, w, taken[i]);
	leave(w);
}

struct sv_worker *
sv_worker_new(struct event_base *base, const struct tn_options *opt, struct sv_generation *g,
    uint64_t number, enum tn_zy_role role, struct tn_frame_decoder *decoder,
    const struct sv_worker_ops *ops, void *arg)
{
	struct sv_worker *w = calloc(1, sizeof(*w));
	int pair[2] = { -1, -1 }, slots = -1, fds[2];

	if (w == NULL)
		return NULL;
	*w = (struct sv_worker){ .number = number, .role = role, .generation = g,
	    .state = TN_WS_SPAWNED, .cause = TN_WC_MAX, .pidfd = -1, .born_us = tn_clock_us(), .base = base, .opt = opt,
	    .ops = ops, .arg = arg, .fd = -1, .decoder = decoder, .slots = MAP_FAILED };
	w->out.max = OUT_MAX;
	w->in.max = in_max(w);
	w->ev_deadline = evtimer_new(base, on_deadline, w);
	w->ev_sleep = evtimer_new(base, on_sleep, w);
	w->ev_stall = evtimer_new(base, on_stall, w);
	w->ev_flush = event_new(base, -1, 0, on_write, w);
	if (w->ev_deadline == NULL || w->ev_sleep == NULL || w->ev_stall == NULL ||
	    w->ev_flush == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
	    (slots = tn_fd_memfd("tana-slots", TN_SLOTS_BYTES)) < 0)
		goto fail;
	/* Whoever has it could cut it off under us, which would be our SIGBUS. */
	if (fcntl(slots, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		goto fail;
	w->slots = mmap(NULL, TN_SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, slots, 0);
	if (w->slots == MAP_FAILED)
		goto fail;
	w->fd = pair[0];
	pair[0] = -1;
	w->ev_read = event_new(base, w->fd, EV_READ | EV_PERSIST, on_read, w);
	w->ev_write = event_new(base, w->fd, EV_WRITE, on_write, w);
	fds[0] = pair[1];
	fds[1] = slots;
	if (w->ev_read == NULL || w->ev_write == NULL || tn_fd_nonblock(w->fd) != 0 ||
	    event_add(w->ev_read, NULL) != 0 ||
	    sv_generation_spawn(g, number, role, fds) != 0)
		goto fail;
	tn_fd_close(&pair[1]);
	tn_fd_close(&slots);
	return w;
fail:
	tn_fd_close(&pair[0]);
	tn_fd_close(&pair[1]);
	tn_fd_close(&slots);
	sv_worker_free(&w);
	return NULL;
}

void
sv_worker_free(struct sv_worker **wp)
{
	struct sv_worker *w = *wp;

	if (w == NULL)
		return;
	*wp = NULL;
	if (w->busy > 0) {
		w->condemned = true;
		return;
	}
	if (w->ev_flush != NULL && w->ev_stall != NULL && w->ev_sleep != NULL)
		close_channel(w);
	if (w->ev_flush != NULL)
		event_free(w->ev_flush);
	if (w->ev_stall != NULL)
		event_free(w->ev_stall);
	if (w->ev_deadline != NULL)
		event_free(w->ev_deadline);
	if (w->ev_sleep != NULL)
		event_free(w->ev_sleep);
	if (w->slots != MAP_FAILED)
		munmap(w->slots, TN_SLOTS_BYTES);
	tn_fd_close(&w->pidfd);
	tn_buf_fini(&w->in);
	free(w);
}

bool
sv_worker_unused(const struct sv_worker *w)
{
	return w->contract[0] == '\0' && w->nframes == 0;
}

bool
sv_worker_room(const struct sv_worker *w, unsigned depth)
{
	return (w->state == TN_WS_IDLE || (w->state == TN_WS_BUSY && w->nframes < depth)) &&
	    !w->one_shot && !w->closed && !w->killed && !w->exited &&
	    w->nout < 2 * TN_DEPTH_MAX;	/* it reads, or it has enough */
}

bool
sv_worker_brisk(const struct sv_worker *w, uint64_t now_us, uint64_t us)
{
	return w->nframes > 0 && now_us - w->head_since_us < us &&
	    w->frame[0]->operations.npending == 0 && !evtimer_pending(w->ev_sleep, NULL);
}

bool
sv_worker_stalled(const struct sv_worker *w, uint64_t now_us)
{
	return w->nframes > 0 && !w->head_unsent && now_us > w->head_since_us &&
	    now_us - w->head_since_us > (uint64_t)w->opt->worker_stall_us;
}

int
sv_worker_invoke(struct sv_worker *w, struct sv_request *rq, struct tn_frame *f,
    const struct sv_image *im)
{
	unsigned slot, i;
	bool used[TN_DEPTH_MAX] = { false };
	int kept = -1, err;

	for (i = 0; i < w->nframes; i++)
		used[w->slot_of[i]] = true;
	for (slot = 0; slot < TN_DEPTH_MAX && used[slot]; slot++)
		;
	if (slot == TN_DEPTH_MAX)
		return TN_EBUSY;
	f->invoke.id = rq->id;
	f->invoke.slot = slot;
	f->invoke.image = f->invoke.image_slot = 0;
	f->invoke.delta = TN_STR("");
	if (im != NULL) {
		f->invoke.image = im->number;
		if ((kept = sv_kept_find(&w->kept, im->number)) < 0) {
			kept = (int)sv_kept_place(&w->kept);
			f->invoke.delta = (struct tn_str){ im->p, im->bytes };
		}
		f->invoke.image_slot = (uint64_t)kept;
	}
	atomic_store(&w->slots->frame[slot], tn_slot_word(rq->id, TN_SLOT_QUEUED));
	if ((err = send_frame(w, f)) != 0)
		return err;
	if (im != NULL)
		sv_kept_use(&w->kept, (unsigned)kept, im->number);
	w->image = f->invoke.image;
	w->one_shot = f->invoke.isolation == TN_ISO_PROCESS;
	add_frame(w, rq, slot);
	if (w->nframes > 1 && !evtimer_pending(w->ev_stall, NULL))
		stall_after(w, (uint64_t)w->opt->worker_stall_us);
	if (w->nframes == 1) {
		w->head_since_us = tn_clock_us();
		w->head_unsent = true;
		w->deadline_stage = 0;
		if (!evtimer_pending(w->ev_deadline, NULL))
			arm(w, (uint64_t)w->opt->deadline_ms * 1000);
	}
	step(w, TN_WEV_ASSIGN);
	return 0;
}

bool
sv_worker_revoke(struct sv_worker *w, struct sv_request *rq)
{
	unsigned i;

	for (i = 0; i < w->nframes && w->frame[i] != rq; i++)
		;
	if (i == w->nframes || w->one_shot || w->closed || w->exited ||
	    !tn_slot_move(w->slots, (unsigned)w->slot_of[i], rq->id, TN_SLOT_QUEUED,
	    TN_SLOT_REVOKED))
		return false;
	forget_frame(w, i);
	if (i == 0)
		head_changed(w, tn_clock_us());
	step(w, w->nframes > 0 ? TN_WEV_REPLY : TN_WEV_LAST);
	return true;
}

void
sv_worker_spin(struct sv_worker *w, unsigned us)
{
	atomic_store_explicit(&w->slots->spin_us, us, memory_order_relaxed);
}

void
sv_worker_answer(struct sv_worker *w, const struct tn_frame *f)
{
	if (w->nframes == 0 || w->frame[0]->id != f->operated.id)
		return;
	switch (send_frame(w, f)) {
	case 0:
	case TN_ECLOSED:		/* its end shows on its channel */
		break;
	default:			/* it would wait for ever */
		sv_worker_kill(w);
	}
}

int
sv_worker_build(struct sv_worker *w, struct tn_frame *f)
{
	int err = send_frame(w, f);

	if (err != 0)
		return err;
	w->build_id = f->build.id;
	w->head_since_us = tn_clock_us();
	w->deadline_stage = 0;
	arm(w, (uint64_t)w->opt->deadline_ms * 1000);
	return 0;
}

void
sv_worker_retire(struct sv_worker *w, enum tn_retire_reason why)
{
	w->retire_reason = why;
	w->retired = true;
	w->retire_pending = false;
	step(w, TN_WEV_RETIRE);
}

void
sv_worker_kill(struct sv_worker *w)
{
	if (w->exited || w->killed)
		return;
	w->killed = true;
	w->killed_us = tn_clock_us();
	(void)sv_generation_signal(w->generation, w->number, SIGKILL);
}

enum tn_wcause
sv_worker_cause(const struct sv_worker *w)
{
	int st = w->exit_status;

	if (!w->killed && WIFEXITED(st) && WEXITSTATUS(st) == 0)
		return w->retired ? (enum tn_wcause)w->retire_reason : TN_WC_EXIT;
	if (w->cause != TN_WC_MAX)
		return w->cause;
	if (w->killed)
		return TN_WC_PROTOCOL;
	if (WIFSIGNALED(st))
		return WTERMSIG(st) == SIGSYS ? TN_WC_SANDBOX : TN_WC_SIGNAL;
	return TN_WC_EXIT;
}

void
sv_worker_on_spawned(struct sv_worker *w, pid_t pid, int *pidfd)
{
	w->pid = pid;
	tn_fd_close(&w->pidfd);			/* a zygote may say it twice */
	w->pidfd = *pidfd;
	*pidfd = -1;
	step(w, TN_WEV_FORKED);
}

void
sv_worker_on_exited(struct sv_worker *w, int status)
{
	unsigned turn;

	enter(w);
	w->exited = true;			/* gets nothing new, whatever it says now */
	w->exit_status = status;
	/* Its last words may still be in the channel; perhaps it only is said to be dead. */
	for (turn = 0; turn < LAST_TURNS && !w->closed; turn++)
		if (!read_channel(w) || w->closed ||
		    recv(w->fd, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
			break;
	step(w, TN_WEV_EXIT);
	if (!w->closed)
		close_channel(w);
	w->ops->state(w->arg, w, w->state);	/* reaped: it can be forgotten */
	leave(w);
}
