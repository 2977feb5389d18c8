#include "config.h"

#include "tn_rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_err.h"

#define KEEP_BYTES	65536u		/* a bigger buffer is given back when it is empty */

static const struct tn_rpc_limits standard = {
	.bytes = TN_RPC_MAX, .objects = 512u << 10, .depth = 16
};

/*
 * Walks over the bytes of one message ahead of msgpack-c, which would wait for
 * a string of 4 GB and allocate for an array of as many items on their claim.
 */
struct walk {
	size_t		at;			/* so far all is well formed */
	unsigned	depth;
	unsigned	objects;
	uint64_t	left[TN_RPC_DEPTH_MAX];	/* items still to come, per level */
};

struct tn_rpc_reader {
	struct tn_rpc_limits limits;
	struct tn_buf	buf;
	struct walk	walk;
	size_t		done;			/* bytes of the message lent out */
	bool		broken;
	msgpack_unpacked msg;
};

struct tn_rpc_client {
	int			 fd;
	uint64_t		 id;
	struct tn_rpc_reader	*in;
};

static uint64_t
be(const unsigned char *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/*
 * The item at p: how many bytes it takes (without its children) and how many
 * items follow inside it.  Extension types are not for us.
 */
static int
item(const unsigned char *p, size_t n, uint64_t *bytes, uint64_t *items)
{
	/* Of 0xc0 to 0xdf: what follows the tag. */
	static const struct {
		unsigned char	plain;		/* payload bytes */
		unsigned char	len;		/* bytes of a length */
		unsigned char	per;		/* items per unit of it, 0: bytes */
		bool		bad;
	} tags[32] = {
		[0x01] = { .bad = true },
		[0x04] = { .len = 1 }, [0x05] = { .len = 2 }, [0x06] = { .len = 4 },
		[0x07] = { .bad = true }, [0x08] = { .bad = true }, [0x09] = { .bad = true },
		[0x0a] = { .plain = 4 }, [0x0b] = { .plain = 8 },
		[0x0c] = { .plain = 1 }, [0x0d] = { .plain = 2 },
		[0x0e] = { .plain = 4 }, [0x0f] = { .plain = 8 },
		[0x10] = { .plain = 1 }, [0x11] = { .plain = 2 },
		[0x12] = { .plain = 4 }, [0x13] = { .plain = 8 },
		[0x14] = { .bad = true }, [0x15] = { .bad = true }, [0x16] = { .bad = true },
		[0x17] = { .bad = true }, [0x18] = { .bad = true },
		[0x19] = { .len = 1 }, [0x1a] = { .len = 2 }, [0x1b] = { .len = 4 },
		[0x1c] = { .len = 2, .per = 1 }, [0x1d] = { .len = 4, .per = 1 },
		[0x1e] = { .len = 2, .per = 2 }, [0x1f] = { .len = 4, .per = 2 },
	};
	unsigned char t;
	uint64_t len;

	*items = 0;
	*bytes = 1;
	if (n == 0)
		return TN_EAGAIN;
	t = *p;
	if (t < 0x80 || t >= 0xe0)
		return TN_OK;
	if (t < 0x90) {
		*items = 2 * (uint64_t)(t & 0x0f);
		return TN_OK;
	}
	if (t < 0xa0) {
		*items = t & 0x0f;
		return TN_OK;
	}
	if (t < 0xc0) {
		*bytes += t & 0x1f;
		return TN_OK;
	}
	t -= 0xc0;
	if (tags[t].bad)
		return TN_EPROTO;
	*bytes += tags[t].plain;
	if (tags[t].len == 0)
		return TN_OK;
	if (n - 1 < tags[t].len)
		return TN_EAGAIN;
	len = be(p + 1, tags[t].len);
	*bytes += tags[t].len;
	if (tags[t].per == 0)
		*bytes += len;
	else
		*items = len * tags[t].per;
	return TN_OK;
}

/* On to the end of the message; TN_EAGAIN when it is not there yet. */
static int
walk_on(struct walk *w, const struct tn_rpc_limits *l, const char *p, size_t n)
{
	uint64_t bytes, items;
	int rc;

	do {
		if (n == w->at)
			return TN_EAGAIN;
		/* A message is an array; a lone 0xc3 is not worth a look. */
		rc = item((const unsigned char *)p + w->at, n - w->at, &bytes, &items);
		if (rc != TN_OK)
			return rc;
		if (w->objects == 0 && items == 0)
			return TN_EPROTO;
		if (w->at + bytes > l->bytes || items > l->objects || w->objects == l->objects)
			return TN_ELIMIT;
		if (bytes > n - w->at)
			return TN_EAGAIN;
		w->at += bytes;
		w->objects++;
		if (w->depth > 0)
			w->left[w->depth - 1]--;
		if (items > 0) {
			if (w->depth == l->depth)
				return TN_ELIMIT;
			w->left[w->depth++] = items;
		}
		while (w->depth > 0 && w->left[w->depth - 1] == 0)
			w->depth--;
	} while (w->depth > 0);
	return TN_OK;
}

struct tn_rpc_reader *
tn_rpc_reader_new(void)
{
	return tn_rpc_reader_new_limits(&standard);
}

struct tn_rpc_reader *
tn_rpc_reader_new_limits(const struct tn_rpc_limits *limits)
{
	struct tn_rpc_reader *r;

	if (limits->depth > TN_RPC_DEPTH_MAX)
		tn_panic("a depth of %u", limits->depth);
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->limits = *limits;
	r->buf.max = limits->bytes + limits->ahead;
	msgpack_unpacked_init(&r->msg);
	return r;
}

void
tn_rpc_reader_free(struct tn_rpc_reader **r)
{
	if (*r == NULL)
		return;
	msgpack_unpacked_destroy(&(*r)->msg);
	tn_buf_fini(&(*r)->buf);
	free(*r);
	*r = NULL;
}

/* The message that was lent out is done with. */
static void
give_back(struct tn_rpc_reader *r)
{
	if (r->done == 0)
		return;
	msgpack_unpacked_destroy(&r->msg);
	msgpack_unpacked_init(&r->msg);
	tn_buf_consume(&r->buf, r->done);
	r->done = 0;
	if (r->buf.len == 0 && r->buf.cap > KEEP_BYTES) {
		size_t max = r->buf.max;

		tn_buf_fini(&r->buf);
		r->buf.max = max;
	}
}

void
tn_rpc_reader_release(struct tn_rpc_reader *r)
{
	give_back(r);
}

/* After a failure the buffer still begins with the message that caused it. */
bool
tn_rpc_reader_broken_id(const struct tn_rpc_reader *r, uint64_t *id)
{
	const unsigned char *p = (const unsigned char *)r->buf.p;
	uint64_t bytes, items;

	if (!r->broken || r->buf.len < 3 || p[0] != 0x94 || p[1] != 0x00)
		return false;
	if (p[2] < 0x80) {
		*id = p[2];
		return true;
	}
	if (p[2] < 0xcc || p[2] > 0xcf || item(p + 2, r->buf.len - 2, &bytes, &items) != TN_OK ||
	    bytes > r->buf.len - 2)
		return false;
	*id = be(p + 3, (unsigned)bytes - 1);
	return true;
}

int
tn_rpc_reader_feed(struct tn_rpc_reader *r, const void *p, size_t n)
{
	give_back(r);
	if (r->broken)
		return TN_EPROTO;
	tn_buf_append(&r->buf, p, n);
	if (!r->buf.failed)
		return TN_OK;
	r->broken = true;
	return TN_ELIMIT;
}

/* The next message, whatever it is; an array with an item at least. */
static int
next_message(struct tn_rpc_reader *r, const msgpack_object **o)
{
	size_t off = 0;
	int rc;

	give_back(r);
	if (r->broken)
		return TN_EPROTO;
	if ((rc = walk_on(&r->walk, &r->limits, r->buf.p, r->buf.len)) == TN_EAGAIN)
		return rc;
	if (rc == TN_OK && msgpack_unpack_next(&r->msg, r->buf.p, r->walk.at, &off) !=
	    MSGPACK_UNPACK_SUCCESS)
		rc = TN_EPROTO;
	if (rc == TN_OK && (off != r->walk.at || r->msg.data.type != MSGPACK_OBJECT_ARRAY))
		rc = TN_EPROTO;
	if (rc != TN_OK) {
		r->broken = true;
		return rc;
	}
	r->done = r->walk.at;
	r->walk = (struct walk){ 0 };
	*o = &r->msg.data;
	return TN_OK;
}

static bool
is_u64(const msgpack_object *o, uint64_t v)
{
	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 == v;
}

int
tn_rpc_reader_call(struct tn_rpc_reader *r, struct tn_rpc_call *c)
{
	const msgpack_object *o, *v, *method, *params;
	int rc;

	if ((rc = next_message(r, &o)) != TN_OK)
		return rc;
	v = o->via.array.ptr;
	*c = (struct tn_rpc_call){ 0 };
	if (o->via.array.size == 4 && is_u64(&v[0], 0) &&
	    v[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
		c->id = v[1].via.u64;
		method = &v[2];
		params = &v[3];
	} else if (o->via.array.size == 3 && is_u64(&v[0], 2)) {
		c->notify = true;
		method = &v[1];
		params = &v[2];
	} else {
		r->broken = true;
		return TN_EPROTO;
	}
	if ((method->type != MSGPACK_OBJECT_STR &&
	    !(r->limits.bin_method && method->type == MSGPACK_OBJECT_BIN)) || params->type != MSGPACK_OBJECT_ARRAY) {
		r->broken = true;
		return TN_EPROTO;
	}
	c->method = (struct tn_str){ method->via.str.ptr, method->via.str.size };
	c->params = params;
	return TN_OK;
}

int
tn_rpc_reader_answer(struct tn_rpc_reader *r, struct tn_rpc_answer *a)
{
	const msgpack_object *o, *v, *text = NULL;
	int rc;

	if ((rc = next_message(r, &o)) != TN_OK)
		return rc;
	v = o->via.array.ptr;
	*a = (struct tn_rpc_answer){ 0 };
	if (o->via.array.size == 4 && is_u64(&v[0], 1) &&
	    v[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
		a->id = v[1].via.u64;
		a->refused = v[2].type != MSGPACK_OBJECT_NIL;
		text = a->refused ? &v[2] : NULL;
		a->result = &v[3];
	} else if (o->via.array.size == 3 && is_u64(&v[0], 2) &&
	    v[2].type == MSGPACK_OBJECT_ARRAY) {
		a->notify = true;
		text = &v[1];
		a->result = &v[2];
	} else
		rc = TN_EPROTO;
	if (text != NULL && text->type != MSGPACK_OBJECT_STR)
		rc = TN_EPROTO;
	else if (text != NULL)
		a->text = (struct tn_str){ text->via.str.ptr, text->via.str.size };
	r->broken = rc != TN_OK;
	return rc;
}

/* -- writing ----------------------------------------------------------------- */

static int
append(void *data, const char *p, size_t n)
{
	struct tn_buf *b = data;

	tn_buf_append(b, p, n);
	return b->failed ? -1 : 0;
}

void
tn_rpc_packer(msgpack_packer *pk, struct tn_buf *out)
{
	msgpack_packer_init(pk, out, append);
}

void
tn_rpc_pack_str(msgpack_packer *pk, struct tn_str s)
{
	msgpack_pack_str(pk, s.len);
	if (s.len > 0)
		msgpack_pack_str_body(pk, s.p, s.len);
}

void
tn_rpc_pack_key(msgpack_packer *pk, const char *key)
{
	tn_rpc_pack_str(pk, tn_str(key));
}

void
tn_rpc_pack_result(msgpack_packer *pk, uint64_t id)
{
	msgpack_pack_array(pk, 4);
	msgpack_pack_uint64(pk, 1);
	msgpack_pack_uint64(pk, id);
	msgpack_pack_nil(pk);
}

void
tn_rpc_pack_error(msgpack_packer *pk, uint64_t id, const char *message)
{
	msgpack_pack_array(pk, 4);
	msgpack_pack_uint64(pk, 1);
	msgpack_pack_uint64(pk, id);
	tn_rpc_pack_str(pk, tn_str(message));
	msgpack_pack_nil(pk);
}

void
tn_rpc_pack_error_code(msgpack_packer *pk, uint64_t id, const char *code, struct tn_str message)
{
	msgpack_pack_array(pk, 4);
	msgpack_pack_uint64(pk, 1);
	msgpack_pack_uint64(pk, id);
	msgpack_pack_array(pk, 2);
	tn_rpc_pack_key(pk, code);
	tn_rpc_pack_str(pk, message);
	msgpack_pack_nil(pk);
}

void
tn_rpc_pack_call(msgpack_packer *pk, uint64_t id, struct tn_str method)
{
	msgpack_pack_array(pk, 4);
	msgpack_pack_uint64(pk, 0);
	msgpack_pack_uint64(pk, id);
	tn_rpc_pack_str(pk, method);
}

void
tn_rpc_pack_notification(msgpack_packer *pk, const char *method, size_t nparams)
{
	msgpack_pack_array(pk, 3);
	msgpack_pack_uint64(pk, 2);
	tn_rpc_pack_key(pk, method);
	msgpack_pack_array(pk, nparams);
}

/* -- the blocking client ----------------------------------------------------- */

static int
connect_error(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return TN_ENOENT;
	case ECONNREFUSED:
		return TN_ECLOSED;
	case EACCES:
	case EPERM:
		return TN_EDENIED;
	default:
		return TN_ESYS;
	}
}

int
tn_rpc_connect(struct tn_rpc_client **client, const char *path, struct tn_buf *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct tn_rpc_client *c;
	int rc;

	*client = NULL;
	if (strlen(path) >= sizeof(sa.sun_path)) {
		tn_buf_printf(err, "%s: a socket's path has %zu bytes at most", path,
		    sizeof(sa.sun_path) - 1);
		return TN_EINVAL;
	}
	memcpy(sa.sun_path, path, strlen(path));
	if ((c = calloc(1, sizeof(*c))) == NULL || (c->in = tn_rpc_reader_new()) == NULL) {
		free(c);
		tn_buf_puts(err, tn_strerror(TN_ENOMEM));
		return TN_ENOMEM;
	}
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1 || connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) == -1) {
		rc = connect_error(errno);
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		tn_rpc_client_free(&c);
		return rc;
	}
	*client = c;
	return TN_OK;
}

/* Until the socket is ready, or the deadline (0: none) has passed. */
static int
wait_for(int fd, short events, uint64_t deadline_us)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	uint64_t now;
	int ms = -1, n;

	for (;;) {
		if (deadline_us != 0) {
			now = tn_clock_us();
			ms = now >= deadline_us ? 0 : (int)((deadline_us - now + 999) / 1000);
		}
		n = poll(&pfd, 1, ms);
		if (n > 0)
			return TN_OK;
		if (n == 0)
			return TN_ETIMEOUT;
		if (errno != EINTR)
			return TN_ESYS;
	}
}

static int
send_all(int fd, const struct tn_buf *b, uint64_t deadline_us)
{
	size_t at = 0;
	ssize_t n;
	int rc;

	while (at < b->len) {
		n = send(fd, b->p + at, b->len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0)
			at += (size_t)n;
		else if (errno == EAGAIN) {
			if ((rc = wait_for(fd, POLLOUT, deadline_us)) != TN_OK)
				return rc;
		} else if (errno == EPIPE || errno == ECONNRESET)
			return TN_ECLOSED;
		else if (errno != EINTR)
			return TN_ESYS;
	}
	return TN_OK;
}

static int
receive(struct tn_rpc_client *c, uint64_t deadline_us)
{
	char part[16384];
	ssize_t n;
	int rc;

	for (;;) {
		if ((rc = wait_for(c->fd, POLLIN, deadline_us)) != TN_OK)
			return rc;
		n = recv(c->fd, part, sizeof(part), MSG_DONTWAIT);
		if (n > 0)
			return tn_rpc_reader_feed(c->in, part, (size_t)n);
		if (n == 0 || errno == ECONNRESET)
			return TN_ECLOSED;
		if (errno != EINTR && errno != EAGAIN)
			return TN_ESYS;
	}
}

/* Our answer out of o: TN_OK, TN_ESCRIPT; TN_EAGAIN: it is another's. */
static int
answer(const msgpack_object *o, uint64_t id, const msgpack_object **result, struct tn_buf *err)
{
	const msgpack_object *v = o->via.array.ptr;

	/* Notifications, and answers to calls that we gave up. */
	if (o->via.array.size == 3 && is_u64(&v[0], 2))
		return TN_EAGAIN;
	if (o->via.array.size != 4 || !is_u64(&v[0], 1) ||
	    v[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return TN_EPROTO;
	if (v[1].via.u64 != id)
		return v[1].via.u64 < id ? TN_EAGAIN : TN_EPROTO;
	if (v[2].type == MSGPACK_OBJECT_NIL) {
		*result = &v[3];
		return TN_OK;
	}
	if (v[2].type == MSGPACK_OBJECT_STR)
		tn_buf_visible(err, (struct tn_str){ v[2].via.str.ptr, v[2].via.str.size });
	else
		tn_buf_puts(err, "the server reports an error without a text");
	return TN_ESCRIPT;
}

int
tn_rpc_call_packed(struct tn_rpc_client *c, const char *method, struct tn_str params,
    int timeout_ms, const msgpack_object **result, struct tn_buf *err)
{
	uint64_t deadline = timeout_ms > 0 ? tn_clock_us() + (uint64_t)timeout_ms * 1000u : 0;
	struct tn_buf out = { .max = TN_RPC_MAX };
	const msgpack_object *o;
	msgpack_packer pk;
	int rc;

	*result = NULL;
	tn_rpc_packer(&pk, &out);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_uint64(&pk, 0);
	msgpack_pack_uint64(&pk, ++c->id);
	tn_rpc_pack_key(&pk, method);
	tn_buf_putstr(&out, params);
	rc = out.failed ? TN_ELIMIT : send_all(c->fd, &out, deadline);
	tn_buf_fini(&out);
	while (rc == TN_OK) {
		if ((rc = next_message(c->in, &o)) == TN_EAGAIN)
			rc = receive(c, deadline);
		else if (rc == TN_OK && (rc = answer(o, c->id, result, err)) != TN_EAGAIN)
			break;
		else if (rc == TN_EAGAIN)
			rc = TN_OK;
	}
	if (rc != TN_OK && rc != TN_ESCRIPT)
		tn_buf_printf(
		    err, "%s: %s", method, rc == TN_ESYS ? strerror(errno) : tn_strerror(rc));
	return rc;
}

int
tn_rpc_call(struct tn_rpc_client *c, const char *method, const char *const *params, size_t nparams,
    int timeout_ms, const msgpack_object **result, struct tn_buf *err)
{
	struct tn_buf packed = { .max = TN_RPC_MAX };
	msgpack_packer pk;
	size_t i;
	int rc;

	*result = NULL;
	tn_rpc_packer(&pk, &packed);
	msgpack_pack_array(&pk, nparams);
	for (i = 0; i < nparams; i++)
		tn_rpc_pack_key(&pk, params[i]);
	if (packed.failed) {
		rc = TN_ELIMIT;
		tn_buf_printf(err, "%s: %s", method, tn_strerror(rc));
	} else
		rc = tn_rpc_call_packed(
		    c, method, (struct tn_str){ packed.p, packed.len }, timeout_ms, result, err);
	tn_buf_fini(&packed);
	return rc;
}

int
tn_rpc_notification(struct tn_rpc_client *c, int timeout_ms, struct tn_str *method,
    const msgpack_object **params, struct tn_buf *err)
{
	uint64_t deadline = timeout_ms > 0 ? tn_clock_us() + (uint64_t)timeout_ms * 1000u : 0;
	const msgpack_object *o, *v;
	int rc;

	do {
		while ((rc = next_message(c->in, &o)) == TN_EAGAIN &&
		    (rc = receive(c, deadline)) == TN_OK)
			;
		/* A call that was given up may be answered still. */
	} while (rc == TN_OK && o->via.array.size == 4 && is_u64(&o->via.array.ptr[0], 1));
	if (rc == TN_OK) {
		v = o->via.array.ptr;
		if (o->via.array.size != 3 || !is_u64(&v[0], 2) ||
		    v[1].type != MSGPACK_OBJECT_STR || v[2].type != MSGPACK_OBJECT_ARRAY)
			rc = TN_EPROTO;
		else {
			*method = (struct tn_str){ v[1].via.str.ptr, v[1].via.str.size };
			*params = &v[2];
		}
	}
	if (rc != TN_OK)
		tn_buf_puts(err, rc == TN_ESYS ? strerror(errno) : tn_strerror(rc));
	return rc;
}

void
tn_rpc_client_free(struct tn_rpc_client **c)
{
	if (*c == NULL)
		return;
	if ((*c)->fd >= 0)
		close((*c)->fd);
	tn_rpc_reader_free(&(*c)->in);
	free(*c);
	*c = NULL;
}
