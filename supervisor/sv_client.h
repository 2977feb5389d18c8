/*
 * sv_client.h - the client socket: programs of this machine that call contracts
 * (methods.def, tana-frames(7)).  Who may connect is the socket's mode to say.
 *
 * Calls of a client are in progress side by side and answered as they are done.
 * A client that does not read its answers, or that has too many calls waiting, is
 * not read until that is over; one that leaves takes its calls along.
 */
#ifndef SV_CLIENT_H
#define SV_CLIENT_H

struct event_base;
struct tn_options;
struct sv_client;
struct sv_dispatch;
struct sv_stats;

/* All are borrowed.  NULL: no memory. */
struct sv_client *sv_client_new(struct event_base *base, const struct tn_options *opt,
    struct sv_dispatch *d, struct sv_stats *stats);

/* Answer on a listening socket: taken and nulled, not on failure.  TN_ENOMEM. */
int sv_client_listen(struct sv_client *s, int *fd);

/*
 * Stop listening and tell the clients, who are served as before until they leave; when
 * all have, cb, from the event loop.  sv_client_drain() may follow; then its cb is called.
 */
void sv_client_retire(struct sv_client *s, void (*cb)(void *arg), void *arg);

/*
 * Stop listening, tell the clients, finish their calls; then cb, once, from the
 * event loop.
 */
void sv_client_drain(struct sv_client *s, void (*cb)(void *arg), void *arg);

void sv_client_free(struct sv_client **s);

#endif
