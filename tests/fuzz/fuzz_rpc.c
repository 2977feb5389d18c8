/*
 * fuzz_rpc.c - what somebody may write to the control socket, or answer there (a shard
 * to the first one).
 *
 * Input: a byte for the size of the pieces in which the rest arrives.  Pieces
 * must not matter: the same calls come out as when all arrives at once.
 */
#include "config.h"

#include "fuzz.h"

#include "tn_err.h"
#include "tn_rpc.h"

/* Each object once, as a handler would: the sanitizer sees what is not there. */
static uint64_t
visit(const msgpack_object *o)
{
	uint64_t sum = (uint64_t)o->type;
	uint32_t i;

	switch (o->type) {
	case MSGPACK_OBJECT_STR:
	case MSGPACK_OBJECT_BIN:
		for (i = 0; i < o->via.str.size; i++)
			sum = sum * 31 + (unsigned char)o->via.str.ptr[i];
		break;
	case MSGPACK_OBJECT_ARRAY:
		for (i = 0; i < o->via.array.size; i++)
			sum = sum * 31 + visit(&o->via.array.ptr[i]);
		break;
	case MSGPACK_OBJECT_MAP:
		for (i = 0; i < o->via.map.size; i++)
			sum = sum * 31 + visit(&o->via.map.ptr[i].key) +
			    visit(&o->via.map.ptr[i].val);
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		sum += o->via.u64;
		break;
	default:
		break;
	}
	return sum;
}

static uint64_t
visit_text(struct tn_str s)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < s.len; i++)
		sum = sum * 31 + (unsigned char)s.p[i];
	return sum;
}

/* The next call or answer, as a number. */
static int
next(struct tn_rpc_reader *r, bool answers, uint64_t *sum)
{
	struct tn_rpc_answer a;
	struct tn_rpc_call c;
	int rc;

	if (answers && (rc = tn_rpc_reader_answer(r, &a)) == TN_OK)
		*sum = a.id + a.notify + 2 * a.refused + visit(a.result) + visit_text(a.text);
	else if (!answers && (rc = tn_rpc_reader_call(r, &c)) == TN_OK)
		*sum = c.id + c.notify + visit(c.params) + visit_text(c.method);
	return rc;
}

/* A number that stands for all that came out, and how it ended. */
static uint64_t
read_all(const uint8_t *p, size_t n, size_t piece, bool answers)
{
	struct tn_rpc_reader *r = tn_rpc_reader_new();
	uint64_t sum = 0, one;
	size_t at = 0, k;
	int rc = TN_EAGAIN;

	FUZZ_HOLDS(r != NULL);
	while (at < n && rc == TN_EAGAIN) {
		k = n - at < piece ? n - at : piece;
		FUZZ_HOLDS(tn_rpc_reader_feed(r, p + at, k) == TN_OK);
		at += k;
		while ((rc = next(r, answers, &one)) == TN_OK)
			sum = sum * 31 + one;
		FUZZ_HOLDS(rc == TN_EAGAIN || rc == TN_EPROTO || rc == TN_ELIMIT);
	}
	tn_rpc_reader_free(&r);
	return sum * 31 + (uint64_t)-rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole;
	int answers;

	if (size < 2)
		return 0;
	for (answers = 0; answers < 2; answers++) {
		whole = read_all(data + 1, size - 1, size, answers);
		FUZZ_HOLDS(read_all(data + 1, size - 1, (size_t)data[0] % 16 + 1, answers) == whole);
	}
	return 0;
}
