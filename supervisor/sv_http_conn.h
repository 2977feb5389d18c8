/*
 * sv_http_conn.h - one connection; and what it shares with the others.
 *
 * Private to sv_http.c (listening, time, the end) and sv_http_conn.c (bytes).
 */
#ifndef SV_HTTP_CONN_H
#define SV_HTTP_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <http_parser.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "sv_forwarded.h"
#include "sv_http.h"
#include "sv_http_check.h"
#include "sv_request.h"
#include "tn_log.h"
#include "tn_str.h"

#define SV_HTTP_SCRATCH		65536u	/* bytes read at once */

/*
 * What a connection's time runs out for.  All in one queue wait equally long, so
 * that the oldest is the first, and nothing has to be sorted.
 */
enum sv_http_wait {
	SV_HTTP_IDLE,		/* for a request */
	SV_HTTP_HEADER,		/* for the rest of its head */
	SV_HTTP_BODY,		/* for more of its body */
	SV_HTTP_WRITE,		/* for the client to read on */
	SV_HTTP_LINGER,		/* for the client to notice that we are done */
	SV_HTTP_PROBE,		/* for the next look whether it is still there */
	SV_HTTP_FRESH,		/* draining: for the first request of a new connection */
	SV_HTTP_WAITS,
	SV_HTTP_NEVER = SV_HTTP_WAITS
};

TAILQ_HEAD(sv_http_conns, sv_http_conn);

enum sv_http_state {
	SV_HTTP_S_HEAD,		/* reads, or waits for, a request's head */
	SV_HTTP_S_BODY,		/* reads its body */
	SV_HTTP_S_WAIT,		/* the dispatcher has it */
	SV_HTTP_S_WRITE,	/* the answer is being written */
	SV_HTTP_S_LINGER	/* all is said; what still comes is thrown away */
};

enum sv_http_verdict { SV_HTTP_DISPATCH, SV_HTTP_NOT_FOUND, SV_HTTP_OPTIONS };

enum sv_http_reading {
	SV_HTTP_R_OFF,
	SV_HTTP_R_ON,
	SV_HTTP_R_WATCH		/* nothing is read, but a reset is noticed */
};

struct sv_http_conn {
	TAILQ_ENTRY(sv_http_conn) link;		/* all, or the kept ones */
	TAILQ_ENTRY(sv_http_conn) timer;
	TAILQ_ENTRY(sv_http_conn) resume;
	struct sv_http	*h;
	int		 fd;
	struct event	 ev_read, ev_write;
	enum sv_http_state state;
	enum sv_http_reading reading;
	enum sv_http_wait wait;
	uint64_t	 since_us;	/* in that queue */
	unsigned	 busy;		/* calls in progress; its memory stays until 0 */
	bool		 dead;
	bool		 resuming;
	bool		 refused;	/* beyond connections_max */
	bool		 eof;		/* the client says no more; it may still listen */
	bool		 served;	/* at least one answer was sent */
	/* of the request in progress */
	bool		 closing;	/* its answer is the last one */
	bool		 linger;	/* and the client may still be sending */
	bool		 head_only;
	bool		 complete;	/* http-parser has seen its end */
	bool		 chunked;
	int		 minor;
	enum sv_http_verdict verdict;
	struct http_parser parser;
	struct sv_http_scan scan;
	struct sv_http_chunks chunks;
	uint64_t	 left;		/* bytes of a sized body still to come */
	struct sv_request *rq;
	struct sv_addr	 peer;
	char		 ip[SV_ADDR_TEXT];	/* the peer's, as text; empty: not asked for yet */
	struct tn_buf	 in;		/* read, not yet taken */
	struct tn_buf	 out;		/* the answer's rest, when the socket is full */
	size_t		 out_sent;
};

struct sv_http_listener {
	TAILQ_ENTRY(sv_http_listener) link;
	struct sv_http	*h;
	int		 fd;
	struct event	*ev;
};

struct sv_http {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_dispatch *dispatch;
	struct sv_stats	*stats;
	struct sv_forwarded *trusted;
	TAILQ_HEAD(, sv_http_listener) listeners;
	bool		 paused;	/* no accepting for a moment */
	int		 reserve;	/* a descriptor to refuse with when there is no other */
	struct sv_http_conns conns;
	unsigned	 nconns, nrefused;
	struct sv_http_conns kept;	/* memory for the next ones */
	unsigned	 nkept;
	struct sv_http_conns waits[SV_HTTP_WAITS];
	struct sv_http_conns resuming;
	unsigned	 nresuming;
	struct event	*ev_timer, *ev_resume, *ev_pause, *ev_drained;
	uint64_t	 timer_us;	/* when ev_timer comes, 0: not set */
	struct tn_log_limit refusals, troubles;
	bool		 draining;
	void		(*drained)(void *arg);
	void		*drained_arg;
	/* used within one call, by whoever is running */
	char		*scratch;
	struct tn_buf	 head;		/* of an answer */
	struct tn_str	 field[2 * SV_HTTP_HEADERS_MAX];
	size_t		 nfield;
	struct tn_str	 url;
	uint64_t	 parsed_length;
	bool		 parsed_chunked, parsed_head;
};

/* -- sv_http_conn.c -- */

/* Takes fd.  `refuse`: answer 503 and be done.  NULL: no memory, fd is closed. */
struct sv_http_conn *
sv_http_conn_new(struct sv_http *h, int fd, const struct sockaddr_storage *peer, bool refuse);
void sv_http_conn_close(struct sv_http_conn *c);
/* Its time in that queue is over; it is in none now. */
void sv_http_conn_on_timeout(struct sv_http_conn *c, enum sv_http_wait wait);
/* Go on with what was read ahead. */
void sv_http_conn_on_resume(struct sv_http_conn *c);
/* The server drains: close it if it is idle. */
void sv_http_conn_on_drain(struct sv_http_conn *c);

/* -- sv_http.c -- */

void sv_http_wait_for(struct sv_http_conn *c, enum sv_http_wait wait);	/* NEVER: nothing */
void sv_http_resume_soon(struct sv_http_conn *c);
void sv_http_on_gone(struct sv_http_conn *c);	/* off all lists; the memory is not freed */

#endif
