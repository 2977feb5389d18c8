/*
 * sv_invoke.h - a client program's `invoke` (methods.def) as a request, and the
 * reply as its result.  Pure but for new request ids.
 */
#ifndef SV_INVOKE_H
#define SV_INVOKE_H

#include <msgpack.h>

#include "sv_request.h"
#include "tn_err.h"
#include "tn_options.h"
#include "tn_str.h"

/* Bytes, as JSON. */
#define SV_INVOKE_INPUT_MAX	(256u << 10)
#define SV_INVOKE_CALLER_MAX	(16u << 10)
#define SV_INVOKE_BLOCK_MAX	(16u << 10)

/*
 * A request out of the array of parameters; the caller's to submit (done and
 * received_us are to be set) or to free.  *fault: it must not be submitted but
 * answered with this.  TN_EINVAL: err says in one line, without control
 * characters, which field is wrong and why.  TN_ENOMEM.
 */
int sv_invoke_parse(const msgpack_object *params, const struct tn_options *opt,
    struct sv_request **rq, enum tn_fault *fault, struct tn_buf *err);

/* Append o as JSON; NULL, or why it cannot be done (out is of no use then). */
const char *sv_invoke_json(const msgpack_object *o, size_t max, struct tn_buf *out);

/*
 * Pack the result: one map.  Returns the status, *fault the fault that it is
 * (0: the contract's reply, sent as it is), which is logged where it was not yet.
 */
int sv_invoke_pack(msgpack_packer *pk, const struct sv_request *rq, const struct sv_reply *reply,
    uint64_t reply_max, enum tn_fault *fault);

#endif
