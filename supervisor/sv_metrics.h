/*
 * sv_metrics.h - GET /metrics on sockets of its own (option metrics_listen).
 *
 * A connection here is of its own making, but the bytes on it are not: the head is
 * checked by sv_http_check and answered by sv_http_reply, which are pure and serve
 * sv_http, too.  The rest of sv_http (bodies, the dispatcher, pipelines, waits) has no
 * place here; and libevent's evhttp would be a second HTTP parser, more lenient than
 * ours, in the process that holds everybody's requests, without a limit of connections
 * (in the version that there is).  One request a connection needs neither.
 *
 * Whoever scrapes cannot disturb the serving: there are few connections at a time (others
 * wait to be accepted), each for a few seconds in all, and the text is made at most ten
 * times a second.
 */
#ifndef SV_METRICS_H
#define SV_METRICS_H

struct event_base;
struct sv_dispatch;
struct sv_gather;
struct sv_metrics;
struct sv_stats;
struct tn_options;

/* All are borrowed.  NULL: no memory. */
struct sv_metrics *sv_metrics_new(struct event_base *base, const struct tn_options *opt,
    struct sv_dispatch *dispatch, struct sv_stats *stats);

/* The first of several shards: all of them are asked (borrowed; until sv_metrics_free()). */
void sv_metrics_set_gather(struct sv_metrics *m, struct sv_gather *gather);

/* Answer on a listening socket.  It is ours then; not on failure. */
int sv_metrics_listen(struct sv_metrics *m, int fd);

/* Close the listening sockets; who is connected still gets an answer. */
void sv_metrics_drain(struct sv_metrics *m);

void sv_metrics_free(struct sv_metrics **m);

#endif
