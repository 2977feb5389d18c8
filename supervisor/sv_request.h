/*
 * sv_request.h - one request on its way through the front, and its answer.
 *
 * The HTTP side, or the client socket's, makes it and owns it until it submits it; the dispatcher owns
 * it until it calls done, exactly once, unless it was cancelled.
 */
#ifndef SV_REQUEST_H
#define SV_REQUEST_H

#include <event2/util.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "tn_err.h"
#include "tn_str.h"

#define SV_CONTRACT_MAX		63	/* bytes of a contract identifier */
#define SV_REQUEST_ID_MAX	64

/* How many classes of status are counted. */
enum {
	SV_STATUSES = 0
#define TN_STATUS(name, class, doc) + 1
#include "metrics.def"
};

struct sv_timings {			/* microseconds, one a phase */
#define TN_PHASE(sym, name, doc) uint64_t sym;
#include "phases.def"
};

struct sv_reply {
	enum tn_fault	 fault;		/* 0: the contract's own answer */
	struct tn_str	 message;	/* for the log only */
	int		 status;
	struct tn_strv	 headers;	/* name, value, ...; not yet validated */
	struct tn_str	 body;
	struct tn_str	 allow;		/* fault METHOD: value for Allow */
	unsigned	 retry_after;	/* seconds, faults OVERLOAD and DRAINING */
};

struct sv_request;
/* The reply and all it borrows lives until the callback returns; rq stays the callee's to free. */
typedef void sv_request_done(struct sv_request *rq, const struct sv_reply *reply, void *arg);

TAILQ_HEAD(sv_request_list, sv_request);

/* What it has asked for while it runs, this time (sv_operation.h). */
struct sv_request_operations {
	LIST_HEAD(, sv_operation) pending;
	unsigned	 n, npending;
	uint64_t	 bytes;		/* asked and answered */
	bool		 committed;	/* something of it is done: it must not run again */
	bool		 again;		/* it was told to end, in order to run again */
};

struct sv_request {
	TAILQ_ENTRY(sv_request) link;	/* the dispatcher's */
	/* set by who makes it; all texts live in `store` */
	char		 contract[SV_CONTRACT_MAX + 1];
	char		 request_id[SV_REQUEST_ID_MAX + 1];
	struct tn_str	 method;	/* "GET"; HEAD stays HEAD */
	struct tn_str	 url;		/* absolute */
	struct tn_str	 path;		/* below the contract, starts with / */
	struct tn_str	 query;
	struct tn_str	 ip;
	struct tn_str	 block, caller, input;	/* JSON texts, or empty */
	const char	*wanted;	/* the export that shall answer; NULL: by the method */
	struct tn_str	*headers;	/* name, value, ...; names in lower case */
	size_t		 nheaders;	/* texts: twice the number of headers */
	struct tn_buf	 store;
	struct tn_buf	 body;
	sv_request_done	*done;
	void		*done_arg;
	uint64_t	 received_us;	/* tn_clock_us() at its last byte */
	/* the dispatcher's */
	TAILQ_ENTRY(sv_request) age;	/* all that wait, oldest first */
	TAILQ_ENTRY(sv_request) queue;	/* all that wait for a worker */
	struct sv_share	*share;		/* held: its contract's */
	struct sv_worker *worker;	/* who has it; NULL: it waits */
	uint64_t	 believed_us;	/* what it was thought to cost, when it was handed out */
	uint64_t	 occupied_us;	/* how long it has had the worker for itself */
	uint64_t	 answered_us;	/* when its worker's reply came; 0: it has not */
	uint64_t	 id;
	uint64_t	 queued_us;	/* since when it could run, if a worker had room */
	uint64_t	 started_us;
	unsigned	 attempts;
	struct sv_version *version;	/* held; NULL: its contract is being made ready */
	const char	*function;	/* the export that answers it */
	struct sv_request_list *list;	/* where it waits; NULL: with a worker */
	bool		 particular;	/* not just any worker may serve it */
	bool		 returned;	/* a worker had it before */
	bool		 cancelled;
	bool		 probe;		/* tells whether its contract is well again */
	unsigned	 reruns;
	struct sv_request_operations operations;
	uint64_t	*answers;	/* while done runs: its contract's, SV_STATUSES of them */
	struct sv_timings timings;
};

struct sv_request *sv_request_new(void);
void sv_request_free(struct sv_request **rq);

/* A new request id, terminated. */
void sv_request_new_id(char id[SV_REQUEST_ID_MAX + 1]);

/* Append to a store that has the room, so that nothing in it moves; what is there now. */
struct tn_str sv_request_keep(struct tn_buf *store, struct tn_str s);
struct tn_str sv_request_keep_lower(struct tn_buf *store, struct tn_str s);

/* Append url, path and query (p NULL: not even a question mark), which share their bytes. */
void sv_request_keep_url(struct sv_request *rq, struct tn_str host, struct tn_str path,
    struct tn_str query);

/* What the log says of each request that was answered; texts may be empty. */
struct sv_record {
	struct tn_str	 method, path, ip;
	const char	*contract, *request_id;
	int		 status;
	enum tn_fault	 fault;
	const struct sv_timings *timings;	/* NULL: refused before it took time */
};
struct tn_options;
void sv_request_log(const struct tn_options *opt, const struct sv_record *s);
/* Why a contract's reply became a fault; the request's own record follows. */
void sv_request_log_bad_reply(const struct sv_request *rq, const char *why);

/* Implemented by sv_dispatch.c. */
struct sv_dispatch;
/* Takes *rq and nulls it; `done` may be called before this returns. */
void sv_dispatch_submit(struct sv_dispatch *d, struct sv_request **rq);
/* The client left: done will not be called any more, rq is freed by the dispatcher. */
void sv_dispatch_cancel(struct sv_dispatch *d, struct sv_request **rq);

#endif
