/*
 * tn_rpc.h - MessagePack-RPC, both ends: [0, id, method, params] ->
 * [1, id, error, result]; [2, method, params] needs no answer.
 *
 * Messages are not length-prefixed: MessagePack delimits itself.  Both ends
 * bound what they accept.
 */
#ifndef TN_RPC_H
#define TN_RPC_H

#include <msgpack.h>

#include "tn_str.h"

#define TN_RPC_MAX (4u << 20)	/* bytes of one message, unless limits say otherwise */
#define TN_RPC_DEPTH_MAX 28u	/* msgpack-c gives up at 32; we before it */

struct tn_rpc_limits {
	size_t		bytes;		/* of one message */
	size_t		ahead;		/* that may be fed beyond them, before they are taken */
	unsigned	objects;	/* 24 bytes each, decoded, whatever they take on the wire */
	unsigned	depth;		/* TN_RPC_DEPTH_MAX at most */
	bool		bin_method;	/* a method's name may be bin: some libraries send that */
};

struct tn_rpc_call {
	uint64_t		id;
	bool			notify;
	struct tn_str		method;
	const msgpack_object	*params;	/* an array */
};

/* Incremental reader; feed bytes, then take messages until TN_EAGAIN. */
struct tn_rpc_reader;
struct tn_rpc_reader *tn_rpc_reader_new(void);	/* of TN_RPC_MAX, and 16 deep */
struct tn_rpc_reader *tn_rpc_reader_new_limits(const struct tn_rpc_limits *limits);
void tn_rpc_reader_free(struct tn_rpc_reader **r);
int tn_rpc_reader_feed(struct tn_rpc_reader *r, const void *p, size_t n);	/* TN_ELIMIT */
/*
 * Next request; borrows the reader until it is fed or called again.  TN_EAGAIN;
 * TN_EPROTO, TN_ELIMIT: hopeless, drop the peer.
 */
int tn_rpc_reader_call(struct tn_rpc_reader *r, struct tn_rpc_call *c);
/*
 * The same at the other end: next answer or notification.  What is neither, or has an
 * error that is no text, is TN_EPROTO.
 */
struct tn_rpc_answer {
	bool			notify;
	uint64_t		id;		/* of an answer */
	bool			refused;
	struct tn_str		text;		/* the error; or a notification's method */
	const msgpack_object	*result;	/* or a notification's params, an array */
};
int tn_rpc_reader_answer(struct tn_rpc_reader *r, struct tn_rpc_answer *a);
/* The call that was taken last is done with; frees what it took. */
void tn_rpc_reader_release(struct tn_rpc_reader *r);
/* After TN_EPROTO or TN_ELIMIT: the id of the call that it was, if so much could be read. */
bool tn_rpc_reader_broken_id(const struct tn_rpc_reader *r, uint64_t *id);

/* A packer that appends to a tn_buf. */
void tn_rpc_packer(msgpack_packer *pk, struct tn_buf *out);
void tn_rpc_pack_str(msgpack_packer *pk, struct tn_str s);
void tn_rpc_pack_key(msgpack_packer *pk, const char *key);
/* Begin an answer: after it, pack one object, the result. */
void tn_rpc_pack_result(msgpack_packer *pk, uint64_t id);
void tn_rpc_pack_error(msgpack_packer *pk, uint64_t id, const char *message);
/* The same with the error [code, message]. */
void tn_rpc_pack_error_code(msgpack_packer *pk, uint64_t id, const char *code,
    struct tn_str message);
/* Begin a call: after it, pack one array, the params. */
void tn_rpc_pack_call(msgpack_packer *pk, uint64_t id, struct tn_str method);
/* Begin a notification: after it, pack nparams objects. */
void tn_rpc_pack_notification(msgpack_packer *pk, const char *method, size_t nparams);

/*
 * Blocking client for tana-ctl: connect to a Unix socket, call, read the
 * answer. `result` borrows the client until the next call.  On an error from
 * the server TN_ESCRIPT... err has its message. timeout_ms 0: none.
 * Connecting: TN_ENOENT (no socket), TN_ECLOSED (nobody listens), TN_EDENIED.
 * Every failure leaves one line in err.
 */
struct tn_rpc_client;
int tn_rpc_connect(struct tn_rpc_client **c, const char *path, struct tn_buf *err);
int tn_rpc_call(struct tn_rpc_client *c, const char *method, const char *const *params,
    size_t nparams, int timeout_ms, const msgpack_object **result, struct tn_buf *err);
/* The same with parameters that are no texts: `params` is one packed array. */
int tn_rpc_call_packed(struct tn_rpc_client *c, const char *method, struct tn_str params,
    int timeout_ms, const msgpack_object **result, struct tn_buf *err);
/*
 * Wait for what the server says unasked; method and params (an array) borrow the
 * client.  TN_ECLOSED: it has ended.
 */
int tn_rpc_notification(struct tn_rpc_client *c, int timeout_ms, struct tn_str *method,
    const msgpack_object **params, struct tn_buf *err);
void tn_rpc_client_free(struct tn_rpc_client **c);

#endif
