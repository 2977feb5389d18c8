/*
 * sv_accept.h - accept clients on a listening Unix socket, in turns, and leave it
 * for a moment when that cannot work.
 */
#ifndef SV_ACCEPT_H
#define SV_ACCEPT_H

struct event_base;
struct sv_accept;

/* A new connection, not blocking; fd is the callee's. */
typedef void sv_accept_fn(void *arg, int fd);

/* listen_fd: taken and nulled, not on failure.  Begins at once.  NULL: no memory. */
struct sv_accept *sv_accept_new(struct event_base *base, int *listen_fd, sv_accept_fn *fn,
    void *arg);
/* Who is in the backlog, has connected as far as he knows. */
void sv_accept_rest(struct sv_accept *a);
void sv_accept_free(struct sv_accept **a);

#endif
