/*
 * sv_worker.h - one worker (or builder), as the front knows it: its channel, its
 * state, the frames it has.
 *
 * Nothing that comes over the channel is believed: an answer is taken only for
 * a frame that this worker was given, a frame only if its state allows it.
 */
#ifndef SV_WORKER_H
#define SV_WORKER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "sv_kept.h"
#include "sv_request.h"
#include "tn_frame.h"
#include "tn_operation.h"
#include "tn_slots.h"
#include "tn_worker_state.h"
#include "tn_zygote.h"

/* Frames that wait to be sent; an honest worker reads, and asks for no more at a time. */
#define SV_WORKER_OUT_MAX	(4 * TN_DEPTH_MAX + TN_OPERATIONS_PENDING_MAX)

struct sv_worker;
struct sv_generation;
struct sv_image;
struct tn_options;

/* Calls up; none frees the worker but by sv_worker_free, which defers safely. */
struct sv_worker_ops {
	void (*state)(void *arg, struct sv_worker *w, enum tn_wstate old);
	void (*reply)(void *arg, struct sv_worker *w, struct sv_request *rq,
	    const struct tn_frame_reply *f);
	void (*log)(void *arg, struct sv_worker *w, const struct sv_request *rq,
	    const struct tn_frame_log *f);
	/* of a builder only */
	void (*built)(void *arg, struct sv_worker *w, const struct tn_frame_built *f);
	/* of a worker only */
	void (*restored)(void *arg, struct sv_worker *w, const struct tn_frame_restored *f);
	/* The request that it runs asks for something. */
	void (*operation)(void *arg, struct sv_worker *w, struct sv_request *rq,
	    const struct tn_frame_operation *f);
	/*
	 * It was too slow with another request, so that this one was taken back: not a
	 * byte of it has run, nor will.
	 */
	void (*revoked)(void *arg, struct sv_worker *w, struct sv_request *rq);
	/* It died with this request unanswered; started: it had begun to run. */
	void (*orphan)(void *arg, struct sv_worker *w, struct sv_request *rq, bool started);
};

struct sv_worker {
	TAILQ_ENTRY(sv_worker) link;		/* the pool's list of all */
	TAILQ_ENTRY(sv_worker) available;	/* the pool's list of those with room */
	bool		 is_available;
	bool		 standby;		/* ready, in reserve */
	bool		 one_shot;		/* it has the only frame it will ever get */
	uint64_t	 number;		/* unique in this front's life */
	enum tn_zy_role	 role;
	struct sv_generation *generation;
	enum tn_wstate	 state;
	pid_t		 pid;			/* the host's; 0: not known (yet) */
	int		 pidfd;
	uint64_t	 born_us, idle_since_us;
	uint64_t	 ends_us;		/* to be recycled then; 0: never */
	uint64_t	 requests, max_requests;
	uint64_t	 private_bytes, shared_bytes; /* resident memory when last looked at */
	uint64_t	 image;			/* number of the image that it ran last */
	struct sv_kept	 kept;			/* that one and others */
	uint64_t	 restores;		/* how many of those in its page were counted */
	uint64_t	 answered;		/* number of the request that it answered last */
	char		 answered_id[SV_REQUEST_ID_MAX + 1];
	char		 contract[SV_CONTRACT_MAX + 1];
	bool		 exited;		/* the zygote has reaped it */
	bool		 closed;		/* its channel is gone */
	bool		 killed;		/* by us: not a crash */
	uint64_t	 killed_us;
	bool		 retire_pending;	/* retire when a replacement is ready */
	bool		 recycled;		/* somebody waits until it is replaced */
	uint64_t	 dead_us;		/* when its state became DEAD */
	enum tn_retire_reason retire_reason;
	bool		 retired;		/* for that reason: it was asked to end */
	enum tn_wcause	 cause;			/* why it was killed, if somebody said so */
	int		 exit_status;
	/* outstanding frames, oldest first */
	struct sv_request *frame[TN_DEPTH_MAX];
	unsigned	 nframes;
	uint64_t	 head_since_us;		/* frame[0] could run since */
	bool		 head_unsent;		/* ... or can when `out` is sent */
	uint64_t	 load_us;		/* what all of them are believed to cost */
	uint64_t	 passed;		/* id of the first, when it was said to be over */
	unsigned	 deadline_stage;	/* 0 armed, 1 signalled, 2 killed */
	uint64_t	 build_id;		/* builder: the build, 0 none */
	/* private to sv_worker.c */
	struct event_base *base;
	const struct tn_options *opt;
	const struct sv_worker_ops *ops;
	void		*arg;
	int		 fd;
	struct tn_slots	*slots;
	uint64_t	 slot_of[TN_DEPTH_MAX];
	struct event	*ev_read, *ev_write, *ev_flush, *ev_stall, *ev_deadline, *ev_sleep;
	uint64_t	 sleep_id;
	struct tn_buf	 in;
	struct tn_frame_decoder *decoder;	/* the pool's, shared */
	struct tn_buf	 out;			/* to be sent at the end of the loop's turn */
	size_t		 out_at;		/* from here on */
	uint64_t	 out_sent;		/* bytes, ever */
	uint64_t	 out_end[SV_WORKER_OUT_MAX]; /* the same, when the frames that wait are out */
	unsigned	 out_first, nout;
	bool		 flush_due;
	unsigned	 busy;			/* calls in progress; free waits for 0 */
	bool		 condemned;
};

/* Ask the generation for a process.  NULL: out of memory or descriptors. */
struct sv_worker *sv_worker_new(struct event_base *base, const struct tn_options *opt,
    struct sv_generation *g, uint64_t number, enum tn_zy_role role,
    struct tn_frame_decoder *decoder, const struct sv_worker_ops *ops, void *arg);
void sv_worker_free(struct sv_worker **w);

/* Has it served nobody yet, and has nobody's frame? */
bool sv_worker_unused(const struct sv_worker *w);

/* Has it room for one more frame? */
bool sv_worker_room(const struct sv_worker *w, unsigned depth);

/* Has it a request of this contract? */
bool sv_worker_runs(const struct sv_worker *w, const struct sv_share *share);

/* Has it been at its first frame for so long that whoever waits behind it is taken back? */
bool sv_worker_stalled(const struct sv_worker *w, uint64_t now_us);

/*
 * Is it at work, with nothing to wait for, and not for longer than so many us?  Then
 * what it lacks, if anything, is a processor.
 */
bool sv_worker_brisk(const struct sv_worker *w, uint64_t now_us, uint64_t us);

/*
 * Give it a request with an image, or NULL; f->invoke's id, slot and what it says of
 * the image are set here.  Not 0: rq is still the caller's: TN_ELIMIT and TN_ENOMEM say
 * that it cannot be sent to anybody, TN_ECLOSED and TN_EBUSY that this worker is of
 * no use (and killed, if need be).
 */
int sv_worker_invoke(struct sv_worker *w, struct sv_request *rq, struct tn_frame *f,
    const struct sv_image *im);
/*
 * Take a request back that it was given and has not begun.  False: it has begun, or
 * has not got it.
 */
bool sv_worker_revoke(struct sv_worker *w, struct sv_request *rq);
/* How long it may watch for the next frame before it sleeps. */
void sv_worker_spin(struct sv_worker *w, unsigned us);
/* Answer an operation of the request that it runs, which f->operated.id says. */
void sv_worker_answer(struct sv_worker *w, const struct tn_frame *f);
/* Builder: send BUILD. */
int sv_worker_build(struct sv_worker *w, struct tn_frame *f);
/* Finish and exit. */
void sv_worker_retire(struct sv_worker *w, enum tn_retire_reason why);
/* SIGKILL, once; nothing is called back before its end is reported. */
void sv_worker_kill(struct sv_worker *w);

/* Why it has ended, once exit_status is known. */
enum tn_wcause sv_worker_cause(const struct sv_worker *w);

/* What the zygote reports. */
void sv_worker_on_spawned(struct sv_worker *w, pid_t pid, int *pidfd);
void sv_worker_on_exited(struct sv_worker *w, int status);

#endif
