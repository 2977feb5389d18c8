#include "config.h"

#include "tn_frame.h"

#include <stdlib.h>

#include <msgpack.h>

/* How many strv fields the frame with most of them has. */
#define LISTS_MAX	2u

struct tn_frame_decoder {
	size_t		cap;		/* texts that all lists of a frame may have */
	size_t		used;
	struct tn_str	list[];
};

/* -- encoding ---------------------------------------------------------------- */

struct sink {
	struct tn_buf	*out;
	size_t		 end;		/* out->len may not go beyond */
	int		 error;
};

static int
sink_write(void *data, const char *p, size_t n)
{
	struct sink *s = data;

	if (s->error != TN_OK)
		return -1;
	if (n > s->end - s->out->len) {
		s->error = TN_ELIMIT;
		return -1;
	}
	tn_buf_append(s->out, p, n);
	if (s->out->failed) {
		s->error = TN_ENOMEM;
		return -1;
	}
	return 0;
}

static void
pack_u64(msgpack_packer *pk, uint64_t v)
{
	msgpack_pack_uint64(pk, v);
}

static void
pack_f64(msgpack_packer *pk, double v)
{
	msgpack_pack_double(pk, v);
}

static void
pack_str(msgpack_packer *pk, struct tn_str v)
{
	msgpack_pack_str(pk, v.len);
	if (v.len > 0)
		msgpack_pack_str_body(pk, v.p, v.len);
}

static void
pack_bin(msgpack_packer *pk, struct tn_str v)
{
	msgpack_pack_bin(pk, v.len);
	if (v.len > 0)
		msgpack_pack_bin_body(pk, v.p, v.len);
}

static void
pack_strv(msgpack_packer *pk, struct tn_strv v)
{
	struct sink *s = pk->data;
	size_t i;

	if (v.n > TN_FRAME_LIST_MAX) {
		s->error = TN_ELIMIT;
		return;
	}
	msgpack_pack_array(pk, v.n);
	for (i = 0; i < v.n && s->error == TN_OK; i++)
		pack_str(pk, v.v[i]);
}

/* The sink keeps the error: each call after the first failure does nothing. */
static int
encode(msgpack_packer *pk, const struct tn_frame *f)
{
#define COUNT(kind, name, doc) + 1
#define PACK(kind, name, doc) pack_##kind(pk, m->name);
	switch (f->type) {
#define TN_FRAME(SYM, num, sym, dir, doc)				\
	case TN_FRAME_##SYM: {						\
		const struct tn_frame_##sym *m = &f->sym;		\
									\
		msgpack_pack_array(pk, 1 TN_FRAME_##SYM##_FIELDS(COUNT)); \
		msgpack_pack_uint64(pk, num);				\
		TN_FRAME_##SYM##_FIELDS(PACK)				\
		return ((struct sink *)pk->data)->error;		\
	}
#include "frames.def"
	}
#undef PACK
#undef COUNT
	return TN_EINVAL;
}

int
tn_frame_encode(struct tn_buf *out, const struct tn_frame *f)
{
	struct sink s = { .out = out };
	msgpack_packer pk;
	size_t start = out->len, n;
	unsigned char *p;
	int rc;

	if (out->failed)
		return TN_ENOMEM;
	s.end = start > SIZE_MAX - 4 - TN_FRAME_MAX ? SIZE_MAX : start + 4 + TN_FRAME_MAX;
	sink_write(&s, "\0\0\0\0", 4);
	msgpack_packer_init(&pk, &s, sink_write);
	rc = s.error != TN_OK ? s.error : encode(&pk, f);
	if (rc != TN_OK) {
		out->len = start;
		out->failed = false;
		return rc;
	}
	n = out->len - start - 4;
	p = (unsigned char *)out->p + start;
	p[0] = (unsigned char)(n >> 24);
	p[1] = (unsigned char)(n >> 16);
	p[2] = (unsigned char)(n >> 8);
	p[3] = (unsigned char)n;
	return TN_OK;
}

/* -- decoding: a cursor over MessagePack, of which frames use five types ------ */

struct cursor {
	const unsigned char	*p;
	const unsigned char	*end;
	struct tn_frame_decoder	*d;
	int			 error;	/* after the first, nothing is taken */
};

static size_t
left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

/* A big-endian number of n bytes. */
static uint64_t
take_be(struct cursor *c, unsigned n)
{
	uint64_t v = 0;

	if (left(c) < n) {
		c->error = TN_EPROTO;
		c->p = c->end;
		return 0;
	}
	while (n-- > 0)
		v = v << 8 | *c->p++;
	return v;
}

static void
take_u64(struct cursor *c, uint64_t *v)
{
	uint64_t tag = take_be(c, 1);

	*v = 0;
	if (c->error != TN_OK)
		return;
	if (tag < 0x80)
		*v = tag;
	else if (tag >= 0xcc && tag <= 0xcf)
		*v = take_be(c, 1u << (tag - 0xcc));
	else
		c->error = TN_EPROTO;
}

static void
take_f64(struct cursor *c, double *v)
{
	uint64_t bits;

	*v = 0;
	if (c->error == TN_OK && take_be(c, 1) != 0xcb)
		c->error = TN_EPROTO;
	if (c->error != TN_OK)
		return;
	bits = take_be(c, 8);
	memcpy(v, &bits, sizeof(*v));
}

static void
take_bytes(struct cursor *c, uint64_t n, struct tn_str *v)
{
	if (c->error == TN_OK && n > left(c))
		c->error = TN_EPROTO;
	if (c->error != TN_OK)
		return;
	v->p = (const char *)c->p;
	v->len = (size_t)n;
	c->p += n;
}

static void
take_str(struct cursor *c, struct tn_str *v)
{
	uint64_t tag, n = 0;

	*v = TN_STR("");
	if (c->error != TN_OK)
		return;
	tag = take_be(c, 1);
	if ((tag & 0xe0) == 0xa0)
		n = tag & 0x1f;
	else if (tag >= 0xd9 && tag <= 0xdb)
		n = take_be(c, 1u << (tag - 0xd9));
	else
		c->error = TN_EPROTO;
	take_bytes(c, n, v);
}

static void
take_bin(struct cursor *c, struct tn_str *v)
{
	uint64_t tag, n = 0;

	*v = TN_STR("");
	if (c->error != TN_OK)
		return;
	tag = take_be(c, 1);
	if (tag >= 0xc4 && tag <= 0xc6)
		n = take_be(c, 1u << (tag - 0xc4));
	else
		c->error = TN_EPROTO;
	take_bytes(c, n, v);
}

static uint64_t
take_array(struct cursor *c)
{
	uint64_t tag;

	if (c->error != TN_OK)
		return 0;
	tag = take_be(c, 1);
	if ((tag & 0xf0) == 0x90)
		return tag & 0x0f;
	if (tag == 0xdc || tag == 0xdd)
		return take_be(c, tag == 0xdc ? 2 : 4);
	c->error = TN_EPROTO;
	return 0;
}

static void
take_strv(struct cursor *c, struct tn_strv *v)
{
	uint64_t n = take_array(c), i;

	*v = (struct tn_strv){ NULL, 0 };
	if (c->error != TN_OK)
		return;
	/* A text is a byte at least: the claim is checked before it costs anything. */
	if (n > left(c))
		c->error = TN_EPROTO;
	else if (n > TN_FRAME_LIST_MAX || n > c->d->cap - c->d->used)
		c->error = TN_ELIMIT;
	if (c->error != TN_OK || n == 0)
		return;
	v->v = &c->d->list[c->d->used];
	for (i = 0; i < n && c->error == TN_OK; i++)
		take_str(c, &c->d->list[c->d->used++]);
	v->n = (size_t)i;
}

static int
decode(struct cursor *c, enum tn_frame_dir dir, struct tn_frame *f)
{
	uint64_t count, number;

	count = take_array(c);
	take_u64(c, &number);
	if (c->error != TN_OK)
		return c->error;
#define COUNT(kind, name, doc) + 1
#define TAKE(kind, name, doc) take_##kind(c, &m->name);
	switch (number) {
#define TN_FRAME(SYM, num, sym, way, doc)				\
	case num: {							\
		struct tn_frame_##sym *m = &f->sym;			\
									\
		if (dir != TN_DIR_##way ||				\
		    count != 1 TN_FRAME_##SYM##_FIELDS(COUNT))		\
			return TN_EPROTO;				\
		f->type = TN_FRAME_##SYM;				\
		TN_FRAME_##SYM##_FIELDS(TAKE)				\
		break;							\
	}
#include "frames.def"
	default:
		return TN_EPROTO;
	}
#undef TAKE
#undef COUNT
	if (c->error == TN_OK && c->p != c->end)
		c->error = TN_EPROTO;
	return c->error;
}

struct tn_frame_decoder *
tn_frame_decoder_new(size_t memory_bytes)
{
	struct tn_frame_decoder *d;

	if (memory_bytes == 0)
		memory_bytes = LISTS_MAX * TN_FRAME_LIST_MAX * sizeof(d->list[0]);
	if ((d = malloc(sizeof(*d) + memory_bytes)) == NULL)
		return NULL;
	/* Touched now, so that it is there when the sandbox has closed. */
	memset(d, 0, sizeof(*d) + memory_bytes);
	d->cap = memory_bytes / sizeof(d->list[0]);
	return d;
}

void
tn_frame_decoder_free(struct tn_frame_decoder **d)
{
	free(*d);
	*d = NULL;
}

int
tn_frame_decode(struct tn_frame_decoder *d, enum tn_frame_dir dir, const char *bytes, size_t len,
    struct tn_frame *f, size_t *used)
{
	const unsigned char *p = (const unsigned char *)bytes;
	struct cursor c = { .d = d };
	size_t n;
	int rc;

	*used = 4;
	if (len < 4)
		return TN_EAGAIN;
	n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (n > TN_FRAME_MAX)
		return TN_ELIMIT;
	*used = 4 + n;
	if (len - 4 < n)
		return TN_EAGAIN;
	d->used = 0;
	c.p = p + 4;
	c.end = c.p + n;
	if ((rc = decode(&c, dir, f)) != TN_OK)
		*used = 0;
	return rc;
}

const char *
tn_frame_name(unsigned type)
{
	switch (type) {
#define TN_FRAME(SYM, num, sym, dir, doc)	\
	case num:				\
		return #sym;
#include "frames.def"
	default:
		return "?";
	}
}
