/*
 * sv_peers.h - the first shard asks the others: MessagePack-RPC over the streams that the
 * master made, with the methods of the control socket (commands.def).
 *
 * It asks itself in the same way, so that all are alike.  Another shard is believed in
 * nothing but what it says of itself: its answers are bounded, and it has a time for them.
 * Who is not there, or does not keep to that, "does not answer".
 */
#ifndef SV_PEERS_H
#define SV_PEERS_H

#include <msgpack.h>
#include <stdbool.h>

#include "tn_str.h"

struct event_base;
struct sv_peers;

#define SV_PEERS_ANSWER_MAX (7u << 20)	/* bytes that a shard may answer with */
#define SV_PEERS_SILENT	"does not answer"

struct sv_peers_answer {
	const char	*error;		/* SV_PEERS_SILENT, or why it was refused; NULL: none */
	bool		 silent;
	msgpack_object	 result;	/* nil with an error */
};

/* `answers` has one of each shard, in their order; borrowed until it returns. */
typedef void sv_peers_done(void *arg, const struct sv_peers_answer *answers, unsigned shards);
/* A shard has said something unasked. */
typedef void sv_peers_said(void *arg, struct tn_str what, const msgpack_object *params);

/* NULL: no memory. */
struct sv_peers *sv_peers_new(struct event_base *base, unsigned shards, sv_peers_said *said,
    void *arg);
void sv_peers_free(struct sv_peers **p);

unsigned sv_peers_count(const struct sv_peers *p);
/* A stream to a shard (*fd is taken), in place of the one before. */
void sv_peers_connect(struct sv_peers *p, unsigned shard, int *fd);

/*
 * Ask all of them; `params` is a packed array.  done is called once, later.  TN_ENOMEM;
 * TN_ELIMIT: too much is being asked already.
 */
int sv_peers_ask(struct sv_peers *p, struct tn_str method, struct tn_str params,
    unsigned timeout_ms, sv_peers_done *done, void *arg);
/* Tell one, without an answer. */
void sv_peers_tell(struct sv_peers *p, unsigned shard, const char *method, struct tn_str params);

#endif
