/*
 * sv_http.h - the HTTP/1.1 server.
 *
 * Takes requests apart, hands them to the dispatcher (sv_request.h), one at a
 * time per connection, and sends the answers.  For who connects by a Unix socket
 * the peer's address is "unix".
 */
#ifndef SV_HTTP_H
#define SV_HTTP_H

struct event_base;
struct tn_options;
struct sv_dispatch;
struct sv_stats;
struct sv_http;

/*
 * All are borrowed.  NULL: no memory, or trusted_proxies is wrong (logged; see
 * sv_forwarded_new()).
 */
struct sv_http *sv_http_new(struct event_base *base, const struct tn_options *opt,
    struct sv_dispatch *d, struct sv_stats *stats);

/* Answer on a listening socket, TCP or Unix.  It is ours then; not on failure. */
int sv_http_listen(struct sv_http *h, int fd);

/* Answer there no more; it is closed. */
void sv_http_unlisten(struct sv_http *h, int fd);

/* The options were changed in place. */
void sv_http_reload(struct sv_http *h);

/*
 * Stop listening, finish the requests that are in progress, close connections
 * that have none.  cb is called once, from the event loop, when none is left.
 */
void sv_http_drain(struct sv_http *h, void (*cb)(void *arg), void *arg);

/*
 * Stop listening, but leave idle connections for one more request, whose answer closes
 * them.  sv_http_drain() may follow; then its cb is called, and this one is not.
 */
void sv_http_retire(struct sv_http *h, void (*cb)(void *arg), void *arg);

/* Close everything; requests that are with the dispatcher are cancelled. */
void sv_http_free(struct sv_http **h);

#endif
