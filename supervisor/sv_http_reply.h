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

/* -- the same for who has no head to send (sv_client.c) -- */

/* 0: the reply can be sent; or the fault to answer instead, and *why (not hostile). */
enum tn_fault sv_http_reply_check(const struct sv_reply *reply, uint64_t reply_max,
    const char **why);
/* A field that the server says, or nobody: what a contract says there is left out. */
bool sv_http_reply_ours(struct tn_str name);
/* Answers with this status have no body. */
bool sv_http_reply_bodiless(int status);
/* The body of the answer for a fault, a JSON object; its length. */
#define SV_HTTP_FAULT_BYTES	512u
size_t sv_http_fault_body(char out[SV_HTTP_FAULT_BYTES], enum tn_fault fault,
    const char *request_id);
/* Seconds, for faults with status 503. reply may be NULL. */
unsigned sv_http_retry_after(const struct sv_reply *reply);

#endif
