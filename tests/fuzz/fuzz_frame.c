/*
 * fuzz_frame.c - what a worker may send to the front, and the other way round.
 *
 * Input: a byte for the direction, then the stream.  What is accepted must
 * survive being encoded and decoded again.
 */
#include "config.h"

#include "fuzz.h"

#include "tn_frame.h"

/* To make the decoder's lists end within easy reach, too. */
#define SMALL_LISTS	(8 * sizeof(struct tn_str))

static void
check_again(struct tn_frame_decoder *d, enum tn_frame_dir dir, const struct tn_frame *f)
{
	static struct tn_buf one, two;
	struct tn_frame g;
	size_t used;

	tn_buf_reset(&one);
	tn_buf_reset(&two);
	FUZZ_HOLDS(tn_frame_encode(&one, f) == TN_OK);
	FUZZ_HOLDS(tn_frame_decode(d, dir, one.p, one.len, &g, &used) == TN_OK);
	FUZZ_HOLDS(used == one.len && g.type == f->type);
	FUZZ_HOLDS(tn_frame_encode(&two, &g) == TN_OK);
	FUZZ_HOLDS(tn_str_eq((struct tn_str){ one.p, one.len }, (struct tn_str){ two.p, two.len }));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tn_frame_decoder *decoders[2], *other;
	enum tn_frame_dir dir;
	struct tn_frame f;
	size_t at, used;
	int rc;

	if (decoders[0] == NULL) {
		decoders[0] = tn_frame_decoder_new(0);
		decoders[1] = tn_frame_decoder_new(SMALL_LISTS);
		other = tn_frame_decoder_new(0);
		FUZZ_HOLDS(decoders[0] != NULL && decoders[1] != NULL && other != NULL);
	}
	if (size == 0)
		return 0;
	dir = (data[0] & 1) != 0 ? TN_DIR_TO_FRONT : TN_DIR_TO_WORKER;
	for (at = 1; at <= size; at += used) {
		rc = tn_frame_decode(
		    decoders[data[0] >> 1 & 1], dir, (const char *)data + at, size - at, &f, &used);
		if (rc != TN_OK) {
			FUZZ_HOLDS(rc == TN_EAGAIN || rc == TN_EPROTO || rc == TN_ELIMIT);
			FUZZ_HOLDS(rc != TN_EAGAIN || used > size - at);
			break;
		}
		FUZZ_HOLDS(used > 4 && used <= size - at);
		check_again(other, dir, &f);
	}
	return 0;
}
