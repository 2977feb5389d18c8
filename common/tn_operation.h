/*
 * tn_operation.h - the operations of operations.def, and what their payloads are
 * made of: texts, each as a 4-byte big-endian length and its bytes.
 */
#ifndef TN_OPERATION_H
#define TN_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "tn_str.h"

enum tn_operation {
#define TN_OPERATION(SYM, num, sym, name, doc) TN_OPERATION_##SYM = num,
#include "operations.def"
};

/* How an operation came out; crosses the channel. */
enum tn_outcome {
	TN_OUTCOME_DONE,
	TN_OUTCOME_FAILED,
	/* The handler is to be left: its request runs again, on a fresh heap. */
	TN_OUTCOME_AGAIN
};

/* Bytes of a payload, at most. */
#define TN_OPERATION_MAX	((size_t)1 << 20)
/* Operations that a request may have without an answer; a worker that sends more is broken. */
#define TN_OPERATIONS_PENDING_MAX 64u

/* "data.get"; NULL: there is none of this number. */
const char *tn_operation_name(uint64_t number);

/* Append one text; out->failed tells. */
void tn_operation_put(struct tn_buf *out, struct tn_str text);
void tn_operation_put_u64(struct tn_buf *out, uint64_t n);

/*
 * The next text of a payload, which then begins behind it; *text borrows.  0;
 * TN_ENOENT: there is no more; TN_EPROTO: the rest makes no sense.
 */
int tn_operation_take(struct tn_str *payload, struct tn_str *text);
/* The same for a number: digits and nothing else, no more than 64 bits. */
int tn_operation_take_u64(struct tn_str *payload, uint64_t *n);

#endif
