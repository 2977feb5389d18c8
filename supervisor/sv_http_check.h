/*
 * sv_http_check.h - is this a request that every server reads the same way?
 *
 * Pure functions over bytes.  They run before http-parser, which accepts too
 * much (bare LF, folded lines, blanks before a colon, HTTP/3.7, no Host), and
 * refuse what two servers could read differently; after that http-parser has
 * to come to the same result.
 */
#ifndef SV_HTTP_CHECK_H
#define SV_HTTP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "tn_err.h"
#include "tn_str.h"

#define SV_HTTP_HEADERS_MAX	100u	/* header fields of a request */

struct sv_http_limits {
	size_t	header_max;		/* request line and header section */
	size_t	target_max;
};

/* Where the search for the head's end has come to. Zero-initialise for each head. */
struct sv_http_scan {
	size_t	pos;			/* looked at so far */
	size_t	line;			/* where the line at pos began */
};

/*
 * Find the end of the head at the beginning of `in`, which holds what was there
 * at the last call, and more.  *end: the head's length, 0: not complete yet.
 * Returns a fault or 0.
 */
enum tn_fault sv_http_scan(struct sv_http_scan *s, struct tn_str in,
    const struct sv_http_limits *limits, size_t *end);

/* What the server itself has to know of a head.  Texts borrow it. */
struct sv_http_head {
	struct tn_str	method;
	struct tn_str	target;		/* as sent */
	struct tn_str	host;		/* with port; empty only for HTTP/1.0 without Host */
	struct tn_str	path;		/* raw; starts with /, or is "*" */
	struct tn_str	query;		/* without the question mark */
	struct tn_str	request_id;	/* X-Request-Id, empty unless there is one, and valid */
	int		minor;		/* HTTP/1.minor */
	bool		keep_alive;	/* the client wants to go on */
	bool		expect;		/* it waits for 100 Continue */
	bool		chunked;
	bool		sized;		/* has a Content-Length */
	uint64_t	length;		/* its value; UINT64_MAX: too great a number */
	size_t		nheaders;
};

/*
 * Check a whole head, as sv_http_scan() found it.  With a fault, *out holds what
 * was understood before it, for the log and for whether it was HEAD.
 */
enum tn_fault sv_http_check_head(struct tn_str head, const struct sv_http_limits *limits,
    struct sv_http_head *out);

/* A chunked body on its way.  Zero-initialise, then set the limits. */
struct sv_http_chunks {
	uint64_t	body_max;
	size_t		trailer_max;
	int		state;
	uint64_t	left;		/* of the size being read, or of the chunk's data */
	uint64_t	total;		/* bytes of data announced so far */
	unsigned	digits;
	size_t		extra;		/* bytes of extensions so far, in all chunks */
	size_t		trailer;	/* bytes of trailers so far */
	unsigned	name;		/* length of the current trailer's name */
	char		word[20];	/* its beginning, in lower case */
	bool		done;
};

/*
 * Check the next bytes of a chunked body.  *used: how many belong to it (all,
 * until `done`); *feed: how many of them http-parser is to see.  Trailers are
 * checked and left out; at `done` http-parser is owed the last CRLF.
 */
enum tn_fault sv_http_check_chunks(struct sv_http_chunks *k, struct tn_str in, size_t *used,
    size_t *feed);

/* Does the name equal `lower` in whatever case? */
bool sv_http_name_is(struct tn_str name, const char *lower);
/* May this be sent or taken as a header's name, a header's value, a method? */
bool sv_http_name_ok(struct tn_str name);
bool sv_http_value_ok(struct tn_str value);
/* A connection's own affairs (Connection, TE ...), which a contract has no use for? */
bool sv_http_hop_by_hop(struct tn_str name);
/* Any method but CONNECT and TRACE that HTTP knows. */
bool sv_http_method_known(struct tn_str method);
/* A raw path (its beginning is not looked at) and a raw query, as every server reads them. */
bool sv_http_path_ok(struct tn_str path);
bool sv_http_query_ok(struct tn_str query);
/* NAME, NAME:PORT, ADDRESS:PORT, [ADDRESS]:PORT. */
bool sv_http_host_ok(struct tn_str host);
/* 1 to SV_REQUEST_ID_MAX of A-Z a-z 0-9 . _ - */
bool sv_http_request_id_ok(struct tn_str id);
/* A list of names, such as in Access-Control-Request-Headers. */
bool sv_http_names_ok(struct tn_str list);

#endif
