/*
 * tn_frame.h - encode and decode the frames of frames.def.
 *
 * The decoder trusts nothing: wrong types, wrong counts, lengths beyond the
 * limits and trailing bytes are TN_EPROTO.  Decoded texts borrow the given
 * bytes; lists borrow the decoder.
 */
#ifndef TN_FRAME_H
#define TN_FRAME_H

#include <stdint.h>

#include "tn_err.h"
#include "tn_str.h"

#include "frames.def"			/* TN_FRAMES_VERSION and the field lists */

/* Longest frame in bytes, both ways, length prefix not counted. */
#define TN_FRAME_MAX		(16u << 20)
/* Longest list in a frame, in texts. */
#define TN_FRAME_LIST_MAX	512u

enum tn_frame_type {
#define TN_FRAME(SYM, num, sym, dir, doc) TN_FRAME_##SYM = num,
#include "frames.def"
};

enum tn_frame_dir { TN_DIR_TO_WORKER, TN_DIR_TO_FRONT };

typedef uint64_t	tn_field_u64;
typedef double		tn_field_f64;
typedef struct tn_str	tn_field_str;
typedef struct tn_str	tn_field_bin;
typedef struct tn_strv	tn_field_strv;

#define TN_FRAME_MEMBER(kind, name, doc) tn_field_##kind name;
#define TN_FRAME(SYM, num, sym, dir, doc)	\
	struct tn_frame_##sym { TN_FRAME_##SYM##_FIELDS(TN_FRAME_MEMBER) };
#include "frames.def"

struct tn_frame {
	enum tn_frame_type	type;
	union {
#define TN_FRAME(SYM, num, sym, dir, doc) struct tn_frame_##sym sym;
#include "frames.def"
	};
};

/*
 * Append the encoded frame, length prefix included, to out.
 * 0, TN_ELIMIT when longer than TN_FRAME_MAX, TN_ENOMEM when out failed (then
 * out is as it was before).
 */
int tn_frame_encode(struct tn_buf *out, const struct tn_frame *f);

struct tn_frame_decoder;
/* `memory_bytes` bytes (0: a default) are allocated here, once: decoding never allocates. */
struct tn_frame_decoder *tn_frame_decoder_new(size_t memory_bytes);
void tn_frame_decoder_free(struct tn_frame_decoder **d);

/*
 * Decode the first frame in bytes[0..len).  0: *f is set and *used is the bytes
 * it took.  TN_EAGAIN: more bytes are needed (*used is how many in all, 4 while
 * the prefix is short).  TN_EPROTO/TN_ELIMIT: hopeless, drop the peer.
 * `dir` is the only direction that is accepted.
 */
int tn_frame_decode(struct tn_frame_decoder *d, enum tn_frame_dir dir,
    const char *bytes, size_t len, struct tn_frame *f, size_t *used);

const char *tn_frame_name(unsigned type);	/* "invoke"; "?" if unknown */

#endif
