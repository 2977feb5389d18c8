/*
 * sv_http_reply.h - the head of an answer.
 *
 * Pure but for the time of day.  What a contract wants sent is hostile: it can
 * neither end its header early nor say anything about the framing.
 */
#ifndef SV_HTTP_REPLY_H
#define SV_HTTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "sv_request.h"
#include "tn_err.h"
#include "tn_str.h"

/* What the answer depends on besides the contract's reply. */
struct sv_http_answer {
	int		 minor;		/* the request's HTTP/1.minor */
	bool		 head;		/* the request was HEAD: no body */
	bool		 close;		/* the connection ends with it */
	bool		 cors;		/* the options of that name */
	bool		 server_timing;
	uint64_t	 reply_max;
	const char	*request_id;
	const struct sv_timings *timings;	/* NULL: none */
};

/*
 * Append the head of a contract's reply to out.  *body: what follows it, of
 * reply->body or nothing.  0; or the fault to answer instead, *why says what is
 * wrong (not hostile), and out is as it was.
 */
enum tn_fault sv_http_reply(struct tn_buf *out, const struct sv_http_answer *a,
    const struct sv_reply *reply, struct tn_str *body, const char **why);

/* Append head and body of the answer for a fault; of *reply only allow and retry_after are used. */
void sv_http_reply_fault(struct tn_buf *out, const struct sv_http_answer *a, enum tn_fault fault,
    const struct sv_reply *reply);

#endif
