/*
 * Frames: every one of the table there and back, and every way of being
 * malformed refused, without memory and without reading beyond the end.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "tn_frame.h"

static struct tn_frame_decoder *decoder;
static unsigned allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

/* -- a frame of each type, filled by kind ---------------------------------------- */

static const struct tn_str texts[] = {
	{ "content-type", 12 }, { "", 0 }, { "a\0b\xff", 4 }, { "x", 1 },
	{ "0123456789012345678901234567890123456789", 40 },
};
static char long_text[70000];

/* Each call gives another value; sizes of every encoding occur. */
static unsigned turn;

static void
fill_u64(uint64_t *v)
{
	static const uint64_t values[] = { 0, 127, 128, 255, 256, 65535, 65536, UINT32_MAX,
	    (uint64_t)UINT32_MAX + 1, UINT64_MAX };

	*v = values[turn++ % 10];
}

static void
fill_f64(double *v)
{
	static const double values[] = { 0.0, 1764000000123.0, -1.5e300 };

	*v = values[turn++ % 3];
}

static void
fill_str(struct tn_str *v)
{
	static const size_t sizes[] = { 31, 32, 255, 256, 65535, 65536 };
	unsigned t = turn++;

	*v = t % 2 == 0 ? texts[t / 2 % 5] : (struct tn_str){ long_text, sizes[t / 2 % 6] };
}

static void
fill_strv(struct tn_strv *v)
{
	static struct tn_str many[TN_FRAME_LIST_MAX];
	static const size_t sizes[] = { 0, 5, 15, 16, TN_FRAME_LIST_MAX };
	size_t i;

	for (i = 0; i < TN_FRAME_LIST_MAX; i++)
		many[i] = texts[i % 5];
	*v = (struct tn_strv){ many, sizes[turn++ % 5] };
}
#define fill_bin fill_str

/* Small values only, so that frames can be tried at every byte. */
static void
small_u64(uint64_t *v)
{
	*v = turn++ % 2 == 0 ? 5 : 300;
}

static void
small_f64(double *v)
{
	*v = 2.5;
}

static void
small_str(struct tn_str *v)
{
	*v = texts[turn++ % 5];
}

static void
small_strv(struct tn_strv *v)
{
	*v = (struct tn_strv){ texts, 4 };
}
#define small_bin small_str

static void
make(struct tn_frame *f, enum tn_frame_type type, bool small)
{
	memset(f, 0, sizeof(*f));
	f->type = type;
#define FIELD(kind, name, doc) if (small) small_##kind(&m->name); else fill_##kind(&m->name);
	switch (type) {
#define TN_FRAME(SYM, num, sym, dir, doc)			\
	case TN_FRAME_##SYM: {					\
		struct tn_frame_##sym *m = &f->sym;		\
		TN_FRAME_##SYM##_FIELDS(FIELD)			\
		break;						\
	}
#include "frames.def"
	}
#undef FIELD
}

static void
same_u64(uint64_t a, uint64_t b)
{
	assert_true(a == b);
}

static void
same_f64(double a, double b)
{
	assert_memory_equal(&a, &b, sizeof(a));
}

static void
same_str(struct tn_str a, struct tn_str b)
{
	assert_true(tn_str_eq(a, b));
}

static void
same_strv(struct tn_strv a, struct tn_strv b)
{
	size_t i;

	assert_int_equal(a.n, b.n);
	for (i = 0; i < a.n; i++)
		same_str(a.v[i], b.v[i]);
}
#define same_bin same_str

static void
assert_same(const struct tn_frame *a, const struct tn_frame *b)
{
	assert_int_equal(a->type, b->type);
#define FIELD(kind, name, doc) same_##kind(m->name, n->name);
	switch (a->type) {
#define TN_FRAME(SYM, num, sym, dir, doc)					\
	case TN_FRAME_##SYM: {							\
		const struct tn_frame_##sym *m = &a->sym, *n = &b->sym;		\
		TN_FRAME_##SYM##_FIELDS(FIELD)					\
		break;								\
	}
#include "frames.def"
	}
#undef FIELD
}

static const struct {
	enum tn_frame_type	type;
	enum tn_frame_dir	dir;
	const char		*name;
	unsigned		fields;
} frames[] = {
#define COUNT(kind, name, doc) + 1
#define TN_FRAME(SYM, num, sym, dir, doc) \
	{ TN_FRAME_##SYM, TN_DIR_##dir, #sym, TN_FRAME_##SYM##_FIELDS(COUNT) },
#include "frames.def"
#undef COUNT
};
#define NFRAMES (sizeof(frames) / sizeof(frames[0]))

/* Decode a copy of exactly len bytes, so that a sanitizer sees a byte too many read. */
static int
decode_exact(enum tn_frame_dir dir, const char *p, size_t len, struct tn_frame *f, size_t *used)
{
	char *exact = malloc(len > 0 ? len : 1);
	int rc;

	memcpy(exact, p, len);
	rc = tn_frame_decode(decoder, dir, exact, len, f, used);
	free(exact);
	return rc;
}

/* A message out of any MessagePack: as a frame, prefix included. */
struct made {
	struct tn_buf	b;
	msgpack_packer	pk;
};

static int
made_write(void *data, const char *p, size_t n)
{
	tn_buf_append(data, p, n);
	return 0;
}

static void
made_begin(struct made *m, size_t items, unsigned number)
{
	*m = (struct made){ 0 };
	tn_buf_append(&m->b, "\0\0\0\0", 4);
	msgpack_packer_init(&m->pk, &m->b, made_write);
	msgpack_pack_array(&m->pk, items);
	msgpack_pack_unsigned_int(&m->pk, number);
}

static void
set_length(struct tn_buf *b, size_t n)
{
	b->p[0] = (char)(n >> 24);
	b->p[1] = (char)(n >> 16);
	b->p[2] = (char)(n >> 8);
	b->p[3] = (char)n;
}

static int
made_decode(struct made *m, enum tn_frame_dir dir, struct tn_frame *f)
{
	size_t used;
	int rc;

	set_length(&m->b, m->b.len - 4);
	rc = decode_exact(dir, m->b.p, m->b.len, f, &used);
	tn_buf_fini(&m->b);
	return rc;
}

/* -- tests ----------------------------------------------------------------------- */

static void
every_frame_comes_back_as_it_was(void **state)
{
	struct tn_frame f, g;
	struct tn_buf b = { 0 };
	unsigned round;
	size_t i, used;

	(void)state;
	memset(long_text, 'l', sizeof(long_text));
	for (round = 0; round < 30; round++) {
		for (i = 0; i < NFRAMES; i++) {
			turn = round;
			make(&f, frames[i].type, false);
			tn_buf_reset(&b);
			assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
			assert_int_equal(
			    tn_frame_decode(decoder, frames[i].dir, b.p, b.len, &g, &used), TN_OK);
			assert_int_equal(used, b.len);
			assert_same(&f, &g);
		}
	}
	tn_buf_fini(&b);
}

/* The wire is MessagePack: another implementation reads it. */
static void
a_frame_is_an_array_that_msgpack_reads(void **state)
{
	msgpack_unpacked u;
	struct tn_buf b = { 0 };
	struct tn_frame f;
	size_t i, off = 0, n;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, true);
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		n = (size_t)(unsigned char)b.p[2] << 8 | (unsigned char)b.p[3];
		assert_int_equal(n, b.len - 4);
		msgpack_unpacked_init(&u);
		off = 0;
		assert_int_equal(msgpack_unpack_next(&u, b.p + 4, n, &off), MSGPACK_UNPACK_SUCCESS);
		assert_int_equal(off, n);
		assert_int_equal(u.data.type, MSGPACK_OBJECT_ARRAY);
		assert_int_equal(u.data.via.array.size, 1 + frames[i].fields);
		assert_int_equal(u.data.via.array.ptr[0].via.u64, frames[i].type);
		msgpack_unpacked_destroy(&u);
	}
	tn_buf_fini(&b);
}

static void
frames_follow_each_other_in_one_buffer(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_frame f, g;
	size_t i, at = 0, used;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		turn = 0;
		make(&f, frames[i].type, true);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
	}
	for (i = 0; i < NFRAMES; i++) {
		turn = 0;
		make(&f, frames[i].type, true);
		assert_int_equal(
		    tn_frame_decode(decoder, frames[i].dir, b.p + at, b.len - at, &g, &used),
		    TN_OK);
		assert_same(&f, &g);
		at += used;
	}
	assert_int_equal(at, b.len);
	tn_buf_fini(&b);
}

static void
a_frame_cut_at_any_byte_asks_for_the_rest(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_frame f, g;
	size_t i, n, used;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, true);
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		for (n = 0; n < b.len; n++) {
			assert_int_equal(decode_exact(frames[i].dir, b.p, n, &g, &used), TN_EAGAIN);
			assert_int_equal(used, n < 4 ? 4 : b.len);
		}
	}
	tn_buf_fini(&b);
}

/* The prefix says that this is all there is. */
static void
a_payload_cut_at_any_byte_is_refused(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_frame f, g;
	size_t i, n, used;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, true);
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		for (n = 4; n < b.len; n++) {
			set_length(&b, n - 4);
			assert_int_equal(decode_exact(frames[i].dir, b.p, n, &g, &used), TN_EPROTO);
		}
	}
	tn_buf_fini(&b);
}

static void
trailing_bytes_are_refused(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_frame f, g;
	size_t i, used;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, true);
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		tn_buf_append(&b, "\xc0", 1);
		set_length(&b, b.len - 4);
		assert_int_equal(decode_exact(frames[i].dir, b.p, b.len, &g, &used), TN_EPROTO);
	}
	tn_buf_fini(&b);
}

static void
a_frame_in_the_wrong_direction_is_refused(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_frame f, g;
	size_t i, used;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, true);
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		assert_int_equal(decode_exact(frames[i].dir == TN_DIR_TO_WORKER ? TN_DIR_TO_FRONT :
		    TN_DIR_TO_WORKER, b.p, b.len, &g, &used), TN_EPROTO);
	}
	tn_buf_fini(&b);
}

static void
unknown_numbers_are_refused(void **state)
{
	unsigned numbers[] = { 0, 99, 127, 128, 70000 };
	struct tn_frame f;
	struct made m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		made_begin(&m, 2, numbers[i]);
		msgpack_pack_unsigned_int(&m.pk, 1);
		assert_int_equal(made_decode(&m, TN_DIR_TO_FRONT, &f), TN_EPROTO);
	}
}

/* A field less, a field more, in the count and in the bytes. */
static void
wrong_counts_are_refused(void **state)
{
	static const int counts[] = { -1, 1 };
	struct tn_buf b = { 0 };
	struct tn_frame f, g;
	size_t i, k, used;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, true);
		for (k = 0; k < 2; k++) {
			tn_buf_reset(&b);
			assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
			/* Where the count stands: fixarray, or the low byte of array16. */
			used = frames[i].fields + 1 < 16 ? 4 : 6;
			b.p[used] = (char)((unsigned char)b.p[used] + counts[k]);
			assert_int_equal(
			    decode_exact(frames[i].dir, b.p, b.len, &g, &used), TN_EPROTO);
		}
	}
	tn_buf_fini(&b);
}

/* Fields of READY, WAKE, LOG and BUILT of every type that MessagePack has. */
static const struct {
	const char	*what;
	size_t		 len;
	const char	*bytes;
	char		 is;		/* u, f, s, b, a: acceptable as such */
} values[] = {
	{ "nil", 1, "\xc0", 0 }, { "never used", 1, "\xc1", 0 }, { "false", 1, "\xc2", 0 },
	{ "true", 1, "\xc3", 0 }, { "fixint", 1, "\x07", 'u' }, { "negative fixint", 1, "\xff", 0 },
	{ "uint8", 2, "\xcc\x07", 'u' }, { "uint16", 3, "\xcd\x00\x07", 'u' },
	{ "uint32", 5, "\xce\x00\x00\x00\x07", 'u' },
	{ "uint64", 9, "\xcf\x00\x00\x00\x00\x00\x00\x00\x07", 'u' },
	{ "int8", 2, "\xd0\x07", 0 }, { "int16", 3, "\xd1\x00\x07", 0 },
	{ "int32", 5, "\xd2\x00\x00\x00\x07", 0 },
	{ "int64", 9, "\xd3\x00\x00\x00\x00\x00\x00\x00\x07", 0 },
	{ "float32", 5, "\xca\x40\x00\x00\x00", 0 },
	{ "float64", 9, "\xcb\x40\x00\x00\x00\x00\x00\x00\x00", 'f' },
	{ "fixstr", 2, "\xa1x", 's' }, { "str8", 3, "\xd9\x01x", 's' },
	{ "str16", 4, "\xda\x00\x01x", 's' }, { "str32", 6, "\xdb\x00\x00\x00\x01x", 's' },
	{ "bin8", 3, "\xc4\x01x", 'b' }, { "bin16", 4, "\xc5\x00\x01x", 'b' },
	{ "bin32", 6, "\xc6\x00\x00\x00\x01x", 'b' },
	{ "fixarray", 3, "\x91\xa1x", 'a' }, { "array16", 5, "\xdc\x00\x01\xa1x", 'a' },
	{ "array32", 7, "\xdd\x00\x00\x00\x01\xa1x", 'a' },
	{ "array of numbers", 2, "\x91\x07", 0 }, { "nested array", 3, "\x91\x91\xa0", 0 },
	{ "fixmap", 3, "\x81\xa1x", 0 }, { "map16", 3, "\xde\x00\x00", 0 },
	{ "map32", 5, "\xdf\x00\x00\x00\x00", 0 },
	{ "fixext1", 3, "\xd4\x01x", 0 }, { "ext8", 4, "\xc7\x01\x01x", 0 },
	{ "fixext16", 18, "\xd8\x01xxxxxxxxxxxxxxxx", 0 },
};
#define NVALUES (sizeof(values) / sizeof(values[0]))

static const char kinds[][24] = {
/* The first letter, and 'a' for strv. */
#define KIND(kind, name, doc) sizeof(#kind) == sizeof("strv") ? 'a' : #kind[0],
#define TN_FRAME(SYM, num, sym, dir, doc) { TN_FRAME_##SYM##_FIELDS(KIND) },
#include "frames.def"
#undef KIND
};

/* Each field of each frame in turn gets each type. */
static void
a_field_takes_its_type_and_no_other(void **state)
{
	static const char *const good[128] = { ['u'] = "\x07", ['f'] = "\xcb\0\0\0\0\0\0\0\0",
	    ['s'] = "\xa0", ['b'] = "\xc4\0", ['a'] = "\x90" };
	static const size_t good_len[128] = {
		['u'] = 1, ['f'] = 9, ['s'] = 1, ['b'] = 2, ['a'] = 1
	};
	struct tn_frame f;
	struct made m;
	size_t i, k, v;
	int rc;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		for (unsigned odd = 0; odd < frames[i].fields; odd++) {
			for (v = 0; v < NVALUES; v++) {
				made_begin(&m, 1 + frames[i].fields, frames[i].type);
				for (k = 0; k < frames[i].fields; k++) {
					unsigned char kind = (unsigned char)kinds[i][k];

					if (k == odd)
						tn_buf_append(&m.b, values[v].bytes, values[v].len);
					else
						tn_buf_append(&m.b, good[kind], good_len[kind]);
				}
				rc = made_decode(&m, frames[i].dir, &f);
				if (rc != (values[v].is == kinds[i][odd] ? TN_OK : TN_EPROTO))
					fail_msg("%s, field %u, %s: %d", frames[i].name, odd,
					    values[v].what, rc);
			}
		}
	}
}

/* What a frame is and which one must be of the right type, too. */
static void
the_frame_itself_must_be_an_array_with_a_number(void **state)
{
	struct tn_frame f;
	struct tn_buf b = { 0 };
	size_t v, used;

	(void)state;
	for (v = 0; v < NVALUES; v++) {
		tn_buf_reset(&b);
		tn_buf_append(&b, "\0\0\0\0", 4);
		tn_buf_append(&b, values[v].bytes, values[v].len);
		set_length(&b, b.len - 4);
		assert_int_equal(decode_exact(TN_DIR_TO_FRONT, b.p, b.len, &f, &used), TN_EPROTO);
		tn_buf_reset(&b);
		tn_buf_append(&b, "\0\0\0\0\x92", 5);
		tn_buf_append(&b, values[v].bytes, values[v].len);
		tn_buf_append(&b, "\x01", 1);
		set_length(&b, b.len - 4);
		/* 7 is RETIRE, of one number, but TO_WORKER. */
		assert_int_equal(decode_exact(TN_DIR_TO_FRONT, b.p, b.len, &f, &used), TN_EPROTO);
		assert_int_equal(decode_exact(TN_DIR_TO_WORKER, b.p, b.len, &f, &used),
		    values[v].is == 'u' ? TN_OK : TN_EPROTO);
	}
	tn_buf_fini(&b);
}

static void
an_empty_frame_is_refused(void **state)
{
	struct tn_frame f;
	size_t used;

	(void)state;
	assert_int_equal(decode_exact(TN_DIR_TO_FRONT, "\0\0\0\0", 4, &f, &used), TN_EPROTO);
}

static void
hostile_lengths_are_refused_at_the_prefix(void **state)
{
	struct tn_frame f;
	size_t used;

	(void)state;
	assert_int_equal(
	    decode_exact(TN_DIR_TO_FRONT, "\xff\xff\xff\xff", 4, &f, &used), TN_ELIMIT);
	assert_int_equal(
	    decode_exact(TN_DIR_TO_FRONT, "\x01\x00\x00\x01", 4, &f, &used), TN_ELIMIT);
	/* TN_FRAME_MAX itself may come. */
	assert_int_equal(
	    decode_exact(TN_DIR_TO_FRONT, "\x01\x00\x00\x00", 4, &f, &used), TN_EAGAIN);
	assert_int_equal(used, 4 + TN_FRAME_MAX);
}

static void
hostile_lengths_inside_are_refused(void **state)
{
	static const struct {
		size_t len;
		const char *bytes;
	} liars[] = {
		{ 5, "\xdb\xff\xff\xff\xff" }, { 5, "\xdb\x7f\xff\xff\xff" }, { 3, "\xda\xff\xff" },
		{ 2, "\xd9\xff" }, { 1, "\xbf" }, { 5, "\xdb\x00\x00\x00\x01" },
	};
	static const char *const lists[] = { "\xdd\xff\xff\xff\xff", "\xdd\x80\x00\x00\x00",
	    "\xdc\xff\xff", "\x9f" };
	static const size_t list_len[] = { 5, 5, 3, 1 };
	struct tn_frame f;
	struct made m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(liars) / sizeof(liars[0]); i++) {
		made_begin(&m, 4, TN_FRAME_LOG);
		tn_buf_append(&m.b, "\x01\x01", 2);
		tn_buf_append(&m.b, liars[i].bytes, liars[i].len);
		assert_int_equal(made_decode(&m, TN_DIR_TO_FRONT, &f), TN_EPROTO);
	}
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		made_begin(&m, 8, TN_FRAME_BUILT);
		tn_buf_append(&m.b, "\x01\xa0\x00", 3);
		tn_buf_append(&m.b, lists[i], list_len[i]);
		assert_int_equal(made_decode(&m, TN_DIR_TO_FRONT, &f), TN_EPROTO);
	}
}

static void
lists_beyond_the_limit_are_refused(void **state)
{
	struct tn_frame f;
	struct made m;
	size_t n, i;

	(void)state;
	for (n = TN_FRAME_LIST_MAX; n <= TN_FRAME_LIST_MAX + 1; n++) {
		made_begin(&m, 8, TN_FRAME_BUILT);
		tn_buf_append(&m.b, "\x01\xa0\x00", 3);
		msgpack_pack_array(&m.pk, n);
		for (i = 0; i < n; i++)
			tn_buf_append(&m.b, "\xa0", 1);
		tn_buf_append(&m.b, "\xc4\x00\x01\x01", 4);
		assert_int_equal(made_decode(&m, TN_DIR_TO_FRONT, &f),
		    n <= TN_FRAME_LIST_MAX ? TN_OK : TN_ELIMIT);
	}
}

static void
a_small_decoder_says_limit_and_does_not_overflow(void **state)
{
	struct tn_frame_decoder *d = tn_frame_decoder_new(3 * sizeof(struct tn_str));
	struct tn_frame f = { .type = TN_FRAME_BUILT }, g;
	struct tn_buf b = { 0 };
	size_t n, used;

	(void)state;
	assert_non_null(d);
	for (n = 0; n <= 4; n++) {
		f.built.exports = (struct tn_strv){ texts, n };
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		assert_int_equal(tn_frame_decode(d, TN_DIR_TO_FRONT, b.p, b.len, &g, &used),
		    n <= 3 ? TN_OK : TN_ELIMIT);
	}
	tn_buf_fini(&b);
	tn_frame_decoder_free(&d);
	assert_null(d);
	tn_frame_decoder_free(&d);
}

/* Every byte of a real frame changed to every value: never beyond the end. */
static void
no_single_byte_confuses_the_decoder(void **state)
{
	struct tn_frame f, g;
	struct tn_buf b = { 0 };
	size_t i, at, used;
	char *exact;
	int v, rc;

	(void)state;
	for (i = 0; i < NFRAMES; i++) {
		turn = 0;
		make(&f, frames[i].type, true);
		tn_buf_reset(&b);
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		exact = malloc(b.len);
		for (at = 4; at < b.len; at++) {
			memcpy(exact, b.p, b.len);
			for (v = 0; v < 256; v++) {
				exact[at] = (char)v;
				rc = tn_frame_decode(
				    decoder, frames[i].dir, exact, b.len, &g, &used);
				if (rc == TN_OK)
					assert_int_equal(used, b.len);
				else
					assert_true(rc == TN_EPROTO || rc == TN_ELIMIT);
			}
		}
		free(exact);
	}
	tn_buf_fini(&b);
}

static void
encoding_too_much_leaves_the_buffer_as_it_was(void **state)
{
	char *huge = calloc(1, TN_FRAME_MAX);
	struct tn_str many[TN_FRAME_LIST_MAX + 1] = { { "", 0 } };
	struct tn_frame f = { .type = TN_FRAME_REPLY }, g;
	struct tn_buf b = { 0 };
	size_t used;

	(void)state;
	tn_buf_puts(&b, "before");
	f.reply.body = (struct tn_str){ huge, TN_FRAME_MAX };
	assert_int_equal(tn_frame_encode(&b, &f), TN_ELIMIT);
	assert_int_equal(b.len, 6);
	assert_false(b.failed);
	assert_true(b.cap < TN_FRAME_MAX);	/* found out before it was copied */
	f.reply.body.len = 5;
	f.reply.headers = (struct tn_strv){ many, TN_FRAME_LIST_MAX + 1 };
	assert_int_equal(tn_frame_encode(&b, &f), TN_ELIMIT);
	assert_int_equal(b.len, 6);
	f.reply.headers.n = 0;
	/* The longest there is: bin32, and 14 bytes of the rest. */
	f.reply.body.len = TN_FRAME_MAX - 18;
	assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
	assert_true(b.len <= 6 + 4 + TN_FRAME_MAX);
	assert_int_equal(
	    tn_frame_decode(decoder, TN_DIR_TO_FRONT, b.p + 6, b.len - 6, &g, &used), TN_OK);
	assert_int_equal(g.reply.body.len, TN_FRAME_MAX - 18);
	tn_buf_fini(&b);
	free(huge);
}

static void
encoding_into_a_full_buffer_leaves_it_as_it_was(void **state)
{
	struct tn_frame f, g;
	struct tn_buf whole = { 0 }, b;
	size_t n, used;
	char *memory;

	(void)state;
	turn = 0;
	make(&f, TN_FRAME_REPLY, true);
	assert_int_equal(tn_frame_encode(&whole, &f), TN_OK);
	for (n = 0; n <= whole.len; n++) {
		memory = malloc(3 + n);
		tn_buf_init_fixed(&b, memory, 3 + n);
		tn_buf_puts(&b, "abc");
		assert_int_equal(tn_frame_encode(&b, &f), n < whole.len ? TN_ENOMEM : TN_OK);
		assert_false(b.failed);
		assert_int_equal(b.len, n < whole.len ? 3 : 3 + n);
		assert_memory_equal(b.p, "abc", 3);
		if (n == whole.len)
			assert_int_equal(
			    tn_frame_decode(decoder, TN_DIR_TO_FRONT, b.p + 3, n, &g, &used),
			    TN_OK);
		free(memory);
	}
	b = (struct tn_buf){ .failed = true };
	assert_int_equal(tn_frame_encode(&b, &f), TN_ENOMEM);
	assert_true(b.failed);
	f.type = (enum tn_frame_type)99;
	tn_buf_reset(&whole);
	assert_int_equal(tn_frame_encode(&whole, &f), TN_EINVAL);
	assert_int_equal(whole.len, 0);
	tn_buf_fini(&whole);
}

/* A worker's heap cannot grow any more once its sandbox has closed. */
static void
coding_allocates_nothing(void **state)
{
	static char memory[1 << 20];
	struct tn_frame f, g;
	struct tn_buf b;
	void *volatile p;
	size_t i, used;

	(void)state;
	allocations = 0;
	for (i = 0; i < NFRAMES; i++) {
		make(&f, frames[i].type, false);
		tn_buf_init_fixed(&b, memory, sizeof(memory));
		assert_int_equal(tn_frame_encode(&b, &f), TN_OK);
		assert_int_equal(
		    tn_frame_decode(decoder, frames[i].dir, b.p, b.len, &g, &used), TN_OK);
		assert_int_equal(tn_frame_decode(decoder, frames[i].dir, b.p, b.len - 1, &g, &used),
		    TN_EAGAIN);
	}
	assert_int_equal(allocations, 0);
	/* The counter does count. */
	p = malloc(17);
	free(p);
	assert_int_equal(allocations, 1);
}

static void
names_are_the_tables(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NFRAMES; i++)
		assert_string_equal(tn_frame_name(frames[i].type), frames[i].name);
	assert_string_equal(tn_frame_name(0), "?");
	assert_string_equal(tn_frame_name(99), "?");
}

/* Numbers are for ever: a frame that changes place is a new protocol. */
static void
numbers_stay_as_they_are(void **state)
{
	static const struct {
		const char *name;
		unsigned number;
	} fixed[] = {
		{ "ready", 1 }, { "invoke", 2 }, { "log", 3 }, { "reply", 4 }, { "sleep", 5 },
		{ "wake", 6 }, { "retire", 7 }, { "build", 8 }, { "built", 9 }, { "restored", 10 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		assert_string_equal(tn_frame_name(fixed[i].number), fixed[i].name);
}

static int
setup(void **state)
{
	(void)state;
	decoder = tn_frame_decoder_new(0);
	return decoder == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	tn_frame_decoder_free(&decoder);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_comes_back_as_it_was),
		cmocka_unit_test(a_frame_is_an_array_that_msgpack_reads),
		cmocka_unit_test(frames_follow_each_other_in_one_buffer),
		cmocka_unit_test(a_frame_cut_at_any_byte_asks_for_the_rest),
		cmocka_unit_test(a_payload_cut_at_any_byte_is_refused),
		cmocka_unit_test(trailing_bytes_are_refused),
		cmocka_unit_test(a_frame_in_the_wrong_direction_is_refused),
		cmocka_unit_test(unknown_numbers_are_refused),
		cmocka_unit_test(wrong_counts_are_refused),
		cmocka_unit_test(a_field_takes_its_type_and_no_other),
		cmocka_unit_test(the_frame_itself_must_be_an_array_with_a_number),
		cmocka_unit_test(an_empty_frame_is_refused),
		cmocka_unit_test(hostile_lengths_are_refused_at_the_prefix),
		cmocka_unit_test(hostile_lengths_inside_are_refused),
		cmocka_unit_test(lists_beyond_the_limit_are_refused),
		cmocka_unit_test(a_small_decoder_says_limit_and_does_not_overflow),
		cmocka_unit_test(no_single_byte_confuses_the_decoder),
		cmocka_unit_test(encoding_too_much_leaves_the_buffer_as_it_was),
		cmocka_unit_test(encoding_into_a_full_buffer_leaves_it_as_it_was),
		cmocka_unit_test(coding_allocates_nothing),
		cmocka_unit_test(names_are_the_tables),
		cmocka_unit_test(numbers_stay_as_they_are),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
