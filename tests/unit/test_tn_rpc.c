/*
 * MessagePack-RPC: requests in pieces of any size, hostile ones refused before
 * they cost anything, and a client that believes no server.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_rpc.h"

static struct tn_rpc_reader *reader;

static int
each_setup(void **state)
{
	(void)state;
	reader = tn_rpc_reader_new();
	return reader == NULL;
}

static int
each_teardown(void **state)
{
	(void)state;
	tn_rpc_reader_free(&reader);
	tn_rpc_reader_free(&reader);	/* accepts NULL */
	return 0;
}

static void
again(void)
{
	each_teardown(NULL);
	assert_int_equal(each_setup(NULL), 0);
}

/* What a call with bytes that stand for themselves gives; the reader is new. */
static int
first(const char *bytes, size_t len, struct tn_rpc_call *c)
{
	again();
	assert_int_equal(tn_rpc_reader_feed(reader, bytes, len), TN_OK);
	return tn_rpc_reader_call(reader, c);
}
#define FIRST(lit, c) first(lit, sizeof(lit) - 1, c)

static void
pack_request(struct tn_buf *b, uint64_t id, const char *method, size_t nparams)
{
	msgpack_packer pk;

	tn_rpc_packer(&pk, b);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_uint64(&pk, 0);
	msgpack_pack_uint64(&pk, id);
	tn_rpc_pack_key(&pk, method);
	msgpack_pack_array(&pk, nparams);
	while (nparams-- > 0) {
		msgpack_pack_map(&pk, 1);
		tn_rpc_pack_key(&pk, "contract");
		tn_rpc_pack_str(&pk, TN_STR("hel\0lo"));
	}
}

static void
assert_request(const struct tn_rpc_call *c, uint64_t id, const char *method, size_t nparams)
{
	const msgpack_object_map *m;

	assert_false(c->notify);
	assert_true(c->id == id);
	assert_true(tn_str_is(c->method, method));
	assert_int_equal(c->params->type, MSGPACK_OBJECT_ARRAY);
	assert_int_equal(c->params->via.array.size, nparams);
	while (nparams-- > 0) {
		m = &c->params->via.array.ptr[nparams].via.map;
		assert_int_equal(m->size, 1);
		assert_int_equal(m->ptr[0].val.via.str.size, 6);
		assert_memory_equal(m->ptr[0].val.via.str.ptr, "hel\0lo", 6);
	}
}

/* -- the server's side ------------------------------------------------------------- */

static void
a_request_split_at_any_byte_arrives_whole(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_rpc_call c;
	size_t n;

	(void)state;
	pack_request(&b, UINT64_MAX, "recycle", 3);
	for (n = 0; n <= b.len; n++) {
		char *head = malloc(n + 1), *tail = malloc(b.len - n + 1);

		again();
		memcpy(head, b.p, n);
		memcpy(tail, b.p + n, b.len - n);
		assert_int_equal(tn_rpc_reader_feed(reader, head, n), TN_OK);
		free(head);
		if (n < b.len)
			assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EAGAIN);
		assert_int_equal(tn_rpc_reader_feed(reader, tail, b.len - n), TN_OK);
		free(tail);
		assert_int_equal(tn_rpc_reader_call(reader, &c), TN_OK);
		assert_request(&c, UINT64_MAX, "recycle", 3);
		assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EAGAIN);
	}
	tn_buf_fini(&b);
}

static void
a_request_byte_by_byte_arrives_whole(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_rpc_call c;
	size_t n;

	(void)state;
	pack_request(&b, 7, "stats", 2);
	pack_request(&b, 8, "ping", 0);
	for (n = 0; n < b.len; n++) {
		assert_int_equal(tn_rpc_reader_feed(reader, b.p + n, 1), TN_OK);
		if (n == b.len - 1)
			break;
		switch (tn_rpc_reader_call(reader, &c)) {
		case TN_OK:
			assert_request(&c, 7, "stats", 2);
			break;
		case TN_EAGAIN:
			break;
		default:
			fail();
		}
	}
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_OK);
	assert_request(&c, 8, "ping", 0);
	tn_buf_fini(&b);
}

/* A long text that trickles in must not count as many items. */
static void
a_long_text_in_small_pieces(void **state)
{
	static char text[1500000];
	struct tn_buf b = { 0 };
	struct tn_rpc_call c;
	msgpack_packer pk;
	size_t at, n;

	(void)state;
	memset(text, 't', sizeof(text));
	tn_rpc_packer(&pk, &b);
	msgpack_pack_array(&pk, 3);
	msgpack_pack_uint64(&pk, 2);
	tn_rpc_pack_str(&pk, (struct tn_str){ text, sizeof(text) });
	msgpack_pack_array(&pk, 0);
	for (at = 0; at < b.len; at += n) {
		n = b.len - at < 1000 ? b.len - at : at % 3 + 1;
		assert_int_equal(tn_rpc_reader_feed(reader, b.p + at, n), TN_OK);
		if (at + n < b.len)
			assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EAGAIN);
	}
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_OK);
	assert_true(c.notify);
	assert_int_equal(c.method.len, sizeof(text));
	tn_buf_fini(&b);
}

static void
several_requests_in_one_read(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_rpc_call c;
	uint64_t id;

	(void)state;
	for (id = 1; id <= 5; id++)
		pack_request(&b, id, "workers", id % 3);
	assert_int_equal(tn_rpc_reader_feed(reader, b.p, b.len), TN_OK);
	for (id = 1; id <= 5; id++) {
		assert_int_equal(tn_rpc_reader_call(reader, &c), TN_OK);
		assert_request(&c, id, "workers", id % 3);
	}
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EAGAIN);
	tn_buf_fini(&b);
}

static void
notifications_want_no_answer(void **state)
{
	struct tn_rpc_call c;

	(void)state;
	assert_int_equal(FIRST("\x93\x02\xa4ping\x90", &c), TN_OK);
	assert_true(c.notify);
	assert_true(tn_str_is(c.method, "ping"));
	assert_int_equal(c.params->via.array.size, 0);
}

static void
messages_that_are_no_request_are_refused(void **state)
{
	static const struct {
		size_t len;
		const char *bytes;
	} bad[] = {
#define BAD(lit) { sizeof(lit) - 1, lit }
		BAD("\xc0"),
		BAD("\x01"),
		BAD("\xa4ping"),
		BAD("\x90"),
		BAD("\x80"),
		BAD("\x91\x00"),
		BAD("\x81\x00\x01"),
		BAD("\x84\x00\x01\x02\x03\x04\x05\x06\x07"),
		BAD("\x93\x00\x01\xa4ping"),
		BAD("\x94\x02\x01\xa4ping\x90"),
		BAD("\x93\x02\xa4ping\x80"),
		BAD("\x94\x00\x01\xa4ping\x80"),
		BAD("\x94\x00\x01\xa4ping\xc0"),
		BAD("\x94\x00\x01\x05\x90"),
		BAD("\x94\x00\x01\xc4\x04ping\x90"),
		BAD("\x94\x00\xff\xa4ping\x90"),
		BAD("\x94\x00\xa1"
		    "1\xa4ping\x90"),
		BAD("\x94\x00\xcb\x3f\xf0\0\0\0\0\0\0\xa4ping\x90"),
		BAD("\x95\x00\x01\xa4ping\x90\xc0"),
		BAD("\x94\x01\x01\xc0\xc0"),
		BAD("\x94\xff\x01\xa4ping\x90"),
		BAD("GET / HTTP/1.1\r\n\r\n"),
	};
	struct tn_rpc_call c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (first(bad[i].bytes, bad[i].len, &c) != TN_EPROTO)
			fail_msg("no. %zu", i);
		/* There is no way back into step. */
		assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EPROTO);
		assert_int_equal(
		    tn_rpc_reader_feed(reader, "\x94\x00\x01\xa4ping\x90", 9), TN_EPROTO);
		assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EPROTO);
	}
}

static void
types_that_nobody_needs_are_refused(void **state)
{
	static const unsigned char tags[] = { 0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7,
		0xd8 };
	struct tn_rpc_call c;
	char text[64] = "\x94\x00\x01\xa4ping\x91";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(tags); i++) {
		text[9] = (char)tags[i];
		/* On sight, before the rest of it is there. */
		assert_int_equal(first(text, 10, &c), TN_EPROTO);
	}
}

static void
every_other_type_may_be_a_parameter(void **state)
{
	static const char params[] =
	    "\x94\x00\x01\xa4ping\xdc\x00\x18"
	    "\x05\xff\xc0\xc2\xc3\xca\0\0\0\0"
	    "\xcb\0\0\0\0\0\0\0\0\xcc\x01\xcd\0\x01\xce\0\0\0\x01\xcf\0\0\0\0\0\0\0\x01"
	    "\xd0\x01\xd1\0\x01\xd2\0\0\0\x01\xd3\0\0\0\0\0\0\0\x01"
	    "\xd9\x01x\xda\0\x01x\xdb\0\0\0\x01x\xc4\x01x\xc5\0\x01x\xc6\0\0\0\x01x"
	    "\xdd\0\0\0\x01\xc0\xde\0\x01\x01\x02\xdf\0\0\0\x01\x01\x02";
	struct tn_rpc_call c;
	size_t n;

	(void)state;
	assert_int_equal(first(params, sizeof(params) - 1, &c), TN_OK);
	assert_int_equal(c.params->via.array.size, 24);
	assert_int_equal(c.params->via.array.ptr[23].type, MSGPACK_OBJECT_MAP);
	for (n = 0; n < sizeof(params) - 1; n++)
		assert_int_equal(first(params, n, &c), TN_EAGAIN);
}

/* Nothing is reserved, and nothing waited for, on a peer's claim. */
static void
hostile_lengths_are_refused_at_once(void **state)
{
	struct tn_rpc_call c;

	(void)state;
	assert_int_equal(FIRST("\x94\x00\x01\xdb\xff\xff\xff\xff", &c), TN_ELIMIT);
	assert_int_equal(FIRST("\x94\x00\x01\xdb\x00\x40\x00\x00", &c), TN_ELIMIT);
	assert_int_equal(FIRST("\x94\x00\x01\xc6\x7f\xff\xff\xff", &c), TN_ELIMIT);
	assert_int_equal(FIRST("\xdd\xff\xff\xff\xff", &c), TN_ELIMIT);
	assert_int_equal(FIRST("\x94\x00\x01\xa1x\xdd\x10\x00\x00\x00", &c), TN_ELIMIT);
	assert_int_equal(FIRST("\x94\x00\x01\xa1x\xdf\xff\xff\xff\xff", &c), TN_ELIMIT);
	assert_int_equal(FIRST("\x94\x00\x01\xa1x\xdf\x00\x08\x00\x00", &c), TN_ELIMIT);
	/* Legal: more may come. */
	assert_int_equal(FIRST("\x94\x00\x01\xdb\x00\x3f\x00\x00", &c), TN_EAGAIN);
	assert_int_equal(FIRST("\x94\x00\x01\xa1x\xdc\xff\xff", &c), TN_EAGAIN);
}

static void
hostile_nesting_is_refused(void **state)
{
	struct tn_rpc_call c;
	char text[100] = "\x94\x00\x01\xa1x";
	int depth;

	(void)state;
	memset(text + 5, '\x91', sizeof(text) - 5);
	assert_int_equal(first(text, sizeof(text), &c), TN_ELIMIT);
	/* What people send is far below. */
	for (depth = 1; depth < 15; depth++) {
		memset(text + 5, '\x91', sizeof(text) - 5);
		text[5 + depth] = '\x90';
		assert_int_equal(first(text, 5 + (size_t)depth + 1, &c), TN_OK);
	}
}

static void
many_small_items_are_refused(void **state)
{
	struct tn_rpc_call c;
	struct tn_buf b = { 0 };
	msgpack_packer pk;
	size_t i, k;

	(void)state;
	tn_rpc_packer(&pk, &b);
	tn_buf_append(&b, "\x94\x00\x01\xa1x\x9f", 6);
	for (i = 0; i < 15; i++) {
		msgpack_pack_array(&pk, 60000);
		for (k = 0; k < 60000; k++)
			tn_buf_append(&b, "\xc0", 1);
	}
	assert_true(b.len < TN_RPC_MAX);
	assert_int_equal(first(b.p, b.len, &c), TN_ELIMIT);
	tn_buf_fini(&b);
}

static void
a_message_longer_than_the_limit_is_refused(void **state)
{
	static char part[65536];
	struct tn_rpc_call c;
	size_t fed = 9;
	int rc = TN_OK;

	(void)state;
	/* Each claim is honest, the sum is too much. */
	assert_int_equal(FIRST("\x94\x00\x01\xa1x\x92\xc5\xff\xff", &c), TN_EAGAIN);
	again();
	assert_int_equal(tn_rpc_reader_feed(reader, "\x94\x00\x01\xdb\x00\x3f\x00\x00", 8), TN_OK);
	while (fed < (8u << 20) && (rc = tn_rpc_reader_feed(reader, part, sizeof(part))) == TN_OK)
		fed += sizeof(part);
	assert_int_equal(rc, TN_ELIMIT);
	assert_true(fed <= TN_RPC_MAX);
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EPROTO);
}

/* The client socket's reader: other limits, and the id of what broke it. */
static void
a_reader_keeps_the_limits_it_is_given(void **state)
{
	static const struct tn_rpc_limits limits = { .bytes = 40, .ahead = 100, .objects = 12,
		.depth = 4, .bin_method = true };
	static const struct {
		const char	*bytes;
		size_t		 len;
		int		 rc;
		bool		 has_id;
		uint64_t	 id;
	} cases[] = {
		{ "\x94\x00\x01\xa1x\x90", 6, TN_OK, false, 0 },
		{ "\x94\x00\x01\xc4\x01x\x90", 7, TN_OK, false, 0 },
		{ "\x94\x00\x07\xa1x\x91\xd9\x40", 8, TN_ELIMIT, true, 7 },
		{ "\x94\x00\xcc\xc8\xa1x\x91\xd9\x40", 9, TN_ELIMIT, true, 200 },
		{ "\x94\x00\xcd\x01\x00\xa1x\x91\xd9\x40", 10, TN_ELIMIT, true, 256 },
		{ "\x94\x00\xcf\x01\0\0\0\0\0\0\x02\xa1x\x9f", 14, TN_ELIMIT, true,
		    0x0100000000000002 },
		{ "\x94\x00\x09\xa1x\x91\x91\x91\x90", 9, TN_OK, false, 0 },
		{ "\x94\x00\x09\xa1x\x91\x91\x91\x91\xc0", 10, TN_ELIMIT, true, 9 },
		{ "\x94\x00\x05\x01\x90", 5, TN_EPROTO, true, 5 },
		{ "\x94\x00\xff\xa1x\x90", 6, TN_EPROTO, false, 0 },
		{ "\x94\x00\xcd\x01\xc1", 5, TN_EAGAIN, false, 0 },
		{ "\x93\x02\xa1x\x91\xd9\x40", 7, TN_ELIMIT, false, 0 },
	};
	struct tn_rpc_call c;
	uint64_t id;
	size_t i;
	bool has;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tn_rpc_reader_free(&reader);
		reader = tn_rpc_reader_new_limits(&limits);
		assert_non_null(reader);
		assert_int_equal(tn_rpc_reader_feed(reader, cases[i].bytes, cases[i].len), TN_OK);
		rc = tn_rpc_reader_call(reader, &c);
		if (rc != cases[i].rc)
			fail_msg("case %zu: %s", i, tn_strerror(rc));
		id = 0;
		has = tn_rpc_reader_broken_id(reader, &id);
		if (has != cases[i].has_id || id != cases[i].id)
			fail_msg("case %zu: id %llu", i, (unsigned long long)id);
	}
	/* Nobody but who asks for it takes bytes for a name. */
	assert_int_equal(FIRST("\x94\x00\x01\xc4\x01x\x90", &c), TN_EPROTO);
}

static void
what_was_taken_can_be_given_back(void **state)
{
	static char text[200000];
	struct tn_rpc_call c;

	(void)state;
	memcpy(text, "\x94\x00\x01\xa1x\x91\xdb\x00\x03\x00\x00", 11);
	assert_int_equal(tn_rpc_reader_feed(reader, text, 11 + 0x30000), TN_OK);
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_OK);
	tn_rpc_reader_release(reader);
	tn_rpc_reader_release(reader);
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_EAGAIN);
	assert_int_equal(tn_rpc_reader_feed(reader, "\x94\x00\x02\xa1y\x90", 6), TN_OK);
	assert_int_equal(tn_rpc_reader_call(reader, &c), TN_OK);
	assert_int_equal(c.id, 2);
	/* The bound is as it was, too. */
	assert_int_equal(tn_rpc_reader_feed(reader, text, sizeof(text)), TN_OK);
}

static void
errors_with_a_code_and_notifications_have_their_form(void **state)
{
	struct tn_buf b = { 0 };
	msgpack_packer pk;

	(void)state;
	tn_rpc_packer(&pk, &b);
	tn_rpc_pack_error_code(&pk, 5, "c", TN_STR("m"));
	assert_int_equal(b.len, 9);
	assert_memory_equal(b.p, "\x94\x01\x05\x92\xa1" "c" "\xa1" "m" "\xc0", 9);
	tn_buf_reset(&b);
	tn_rpc_pack_notification(&pk, "n", 1);
	assert_int_equal(b.len, 5);
	assert_memory_equal(b.p, "\x93\x02\xa1" "n" "\x91", 5);
	tn_buf_fini(&b);
}

/* Every byte of a request changed to every value: understood, refused or waited for. */
static void
no_single_byte_confuses_the_reader(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_rpc_call c;
	size_t at;
	int v, rc;

	(void)state;
	pack_request(&b, 300, "recycle", 2);
	for (at = 0; at < b.len; at++) {
		char was = b.p[at];

		for (v = 0; v < 256; v++) {
			b.p[at] = (char)v;
			rc = first(b.p, b.len, &c);
			assert_true(
			    rc == TN_OK || rc == TN_EAGAIN || rc == TN_EPROTO || rc == TN_ELIMIT);
			if (rc == TN_OK)
				assert_true(c.method.len < b.len);
		}
		b.p[at] = was;
	}
	tn_buf_fini(&b);
}

static void
answers_have_their_form(void **state)
{
	struct tn_buf b = { 0 };
	msgpack_packer pk;

	(void)state;
	tn_rpc_packer(&pk, &b);
	tn_rpc_pack_result(&pk, 5);
	tn_rpc_pack_key(&pk, "pong");
	assert_int_equal(b.len, 9);
	assert_memory_equal(b.p, "\x94\x01\x05\xc0\xa4pong", 9);
	tn_buf_reset(&b);
	tn_rpc_pack_error(&pk, 300, "no");
	assert_int_equal(b.len, 9);
	assert_memory_equal(b.p, "\x94\x01\xcd\x01\x2c\xa2no\xc0", 9);
	tn_buf_fini(&b);
}

/* -- the client -------------------------------------------------------------------- */

static char dir[] = "/tmp/tn-rpc-XXXXXX";
static struct sockaddr_un address = { .sun_family = AF_UNIX };

/*
 * A server that reads one request, writes `bytes` in pieces of `piece` (0: all at
 * once), then does so again for the next request, and waits for the client's end.
 */
static pid_t
serve(const char *const *answers, const size_t *lens, size_t n, size_t piece)
{
	int l = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	char in[65536];
	size_t i, at, k;
	pid_t pid;

	assert_true(l >= 0);
	unlink(address.sun_path);
	assert_int_equal(bind(l, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(l, 1), 0);
	if ((pid = fork()) != 0) {
		close(l);
		assert_int_not_equal(pid, -1);
		return pid;
	}
	if ((fd = accept(l, NULL, NULL)) == -1)
		_exit(1);
	for (i = 0; i < n; i++) {
		if (read(fd, in, sizeof(in)) <= 0)
			_exit(2);
		for (at = 0; at < lens[i]; at += k) {
			k = piece == 0 || lens[i] - at < piece ? lens[i] - at : piece;
			if (send(fd, answers[i] + at, k, MSG_NOSIGNAL) != (ssize_t)k)
				_exit(3);
		}
		if (lens[i] == 0)
			_exit(0);	/* hangs up instead */
	}
	while (read(fd, in, sizeof(in)) > 0)
		;
	_exit(0);
}

static void
reap(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static const char *
text_of(struct tn_buf *b)
{
	tn_buf_append(b, "", 1);
	b->len--;
	return b->p;
}

static struct tn_rpc_client *
client(void)
{
	struct tn_rpc_client *c;
	struct tn_buf err = { 0 };

	if (tn_rpc_connect(&c, address.sun_path, &err) != TN_OK)
		fail_msg("%s", text_of(&err));
	return c;
}

/* One call "ping" answered with these bytes. */
static int
call_answered(const char *bytes, size_t len, size_t piece, int timeout_ms, char *text, size_t size)
{
	struct tn_buf err = { 0 };
	const msgpack_object *r;
	struct tn_rpc_client *c;
	pid_t pid = serve(&bytes, &len, 1, piece);
	int rc;

	c = client();
	rc = tn_rpc_call(c, "ping", NULL, 0, timeout_ms, &r, &err);
	if (rc == TN_OK) {
		assert_int_equal(r->type, MSGPACK_OBJECT_STR);
		snprintf(text, size, "%.*s", (int)r->via.str.size, r->via.str.ptr);
	} else {
		assert_null(r);
		snprintf(text, size, "%s", text_of(&err));
	}
	tn_buf_fini(&err);
	tn_rpc_client_free(&c);
	assert_null(c);
	reap(pid);
	return rc;
}

static void
assert_answered(const char *bytes, size_t len, size_t piece, int want, const char *message)
{
	char text[300];

	assert_int_equal(call_answered(bytes, len, piece, 0, text, sizeof(text)), want);
	assert_string_equal(text, message);
}
#define ANSWERED(lit, want, message) assert_answered(lit, sizeof(lit) - 1, 0, want, message)

static void
the_client_reads_an_answer_in_any_pieces(void **state)
{
	(void)state;
	assert_answered("\x94\x01\x01\xc0\xa4pong", 9, 0, TN_OK, "pong");
	assert_answered("\x94\x01\x01\xc0\xa4pong", 9, 1, TN_OK, "pong");
}

static void
the_client_skips_what_is_not_for_it(void **state)
{
	(void)state;
	ANSWERED(
	    "\x93\x02\xa3log\x91\xa1x\x94\x01\x00\xc0\xa3old\x94\x01\x01\xc0\xa3new", TN_OK, "new");
}

static void
the_client_reports_the_servers_error(void **state)
{
	(void)state;
	ANSWERED("\x94\x01\x01\xa7no such\xc0", TN_ESCRIPT, "no such");
	/* A terminal reads it. */
	ANSWERED("\x94\x01\x01\xa3\x1b[m\xc0", TN_ESCRIPT, "\\u001b[m");
	ANSWERED("\x94\x01\x01\x05\xc0", TN_ESCRIPT, "the server reports an error without a text");
}

static void
the_client_refuses_nonsense(void **state)
{
	(void)state;
	ANSWERED("\xc0", TN_EPROTO, "ping: malformed message");
	ANSWERED("\x94\x01\x02\xc0\xc0", TN_EPROTO, "ping: malformed message");
	ANSWERED("\x94\x00\x01\xa4ping\x90", TN_EPROTO, "ping: malformed message");
	ANSWERED("HTTP/1.1 400 Bad Request\r\n\r\n", TN_EPROTO, "ping: malformed message");
	ANSWERED("\x94\x01\x01\xc0\xdd\xff\xff\xff\xff", TN_ELIMIT, "ping: limit exceeded");
}

static void
the_client_notices_that_the_server_has_gone(void **state)
{
	(void)state;
	assert_answered("", 0, 0, TN_ECLOSED, "ping: peer has closed the connection");
}

static void
the_client_waits_no_longer_than_asked(void **state)
{
	char text[300];

	(void)state;
	/* Half an answer, and then nothing. */
	assert_int_equal(
	    call_answered("\x94\x01\x01\xc0", 4, 0, 30, text, sizeof(text)), TN_ETIMEOUT);
	assert_string_equal(text, "ping: deadline passed");
}

static void
the_client_calls_more_than_once(void **state)
{
	static const char *const answers[] = { "\x94\x01\x01\xc0\xa3one", "\x94\x01\x02\xc0\xa3two",
	    "\x94\x01\x03\xa2no\xc0" };
	static const size_t lens[] = { 8, 8, 7 };
	static const char *const params[] = { "--all", "b" };
	struct tn_rpc_client *c;
	struct tn_buf err = { 0 };
	const msgpack_object *r;
	pid_t pid = serve(answers, lens, 3, 0);

	(void)state;
	c = client();
	assert_int_equal(tn_rpc_call(c, "recycle", params, 2, 0, &r, &err), TN_OK);
	assert_memory_equal(r->via.str.ptr, "one", 3);
	assert_int_equal(tn_rpc_call_packed(c, "recycle", TN_STR("\x91\x05"), 0, &r, &err), TN_OK);
	assert_memory_equal(r->via.str.ptr, "two", 3);
	assert_int_equal(tn_rpc_call(c, "recycle", NULL, 0, 0, &r, &err), TN_ESCRIPT);
	assert_string_equal(text_of(&err), "no");
	tn_buf_fini(&err);
	tn_rpc_client_free(&c);
	reap(pid);
}

/* Client against reader: what one writes the other understands. */
static void
the_client_sends_what_the_reader_reads(void **state)
{
	static const char *const params[] = { "--contract", "a b" };
	struct tn_rpc_client *cl;
	struct tn_buf err = { 0 };
	const msgpack_object *r;
	struct tn_rpc_call c;
	char in[4096];
	ssize_t n;
	pid_t pid;
	int l, fd;

	(void)state;
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	unlink(address.sun_path);
	assert_int_equal(bind(l, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(l, 1), 0);
	if ((pid = fork()) == 0) {
		close(l);
		if (tn_rpc_connect(&cl, address.sun_path, &err) != TN_OK)
			_exit(1);
		_exit(tn_rpc_call(cl, "recycle", params, 2, 0, &r, &err) == TN_ECLOSED ? 0 : 2);
	}
	assert_true((fd = accept(l, NULL, NULL)) >= 0);
	do {
		assert_true((n = read(fd, in, sizeof(in))) > 0);
		assert_int_equal(tn_rpc_reader_feed(reader, in, (size_t)n), TN_OK);
	} while (tn_rpc_reader_call(reader, &c) == TN_EAGAIN);
	assert_true(tn_str_is(c.method, "recycle"));
	assert_int_equal(c.params->via.array.size, 2);
	assert_int_equal(c.params->via.array.ptr[1].via.str.size, 3);
	assert_memory_equal(c.params->via.array.ptr[1].via.str.ptr, "a b", 3);
	close(fd);
	close(l);
	reap(pid);
}

static void
connecting_says_why_it_cannot(void **state)
{
	struct tn_rpc_client *c = (struct tn_rpc_client *)&address;
	struct tn_buf err = { 0 };
	char path[200], want[300];
	int l;

	(void)state;
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(tn_rpc_connect(&c, path, &err), TN_ENOENT);
	assert_null(c);
	snprintf(want, sizeof(want), "%s: No such file or directory", path);
	assert_string_equal(text_of(&err), want);

	/* A socket's file that a dead server left. */
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	unlink(address.sun_path);
	assert_int_equal(bind(l, (struct sockaddr *)&address, sizeof(address)), 0);
	close(l);
	tn_buf_reset(&err);
	assert_int_equal(tn_rpc_connect(&c, address.sun_path, &err), TN_ECLOSED);
	assert_non_null(strstr(text_of(&err), "Connection refused"));

	memset(path, 'p', 150);
	path[150] = '\0';
	tn_buf_reset(&err);
	assert_int_equal(tn_rpc_connect(&c, path, &err), TN_EINVAL);
	assert_non_null(strstr(text_of(&err), "a socket's path has 107 bytes at most"));
	tn_buf_fini(&err);
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(address.sun_path);
	return rmdir(dir);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, each_setup, each_teardown)

/* -- answers, as the one who has asked reads them -------------------------------------- */

static int
first_answer(const char *bytes, size_t len, struct tn_rpc_answer *a)
{
	again();
	assert_int_equal(tn_rpc_reader_feed(reader, bytes, len), TN_OK);
	return tn_rpc_reader_answer(reader, a);
}
#define ANSWER(lit, a) first_answer(lit, sizeof(lit) - 1, a)

static void
answers_are_results_errors_and_notifications(void **state)
{
	struct tn_buf b = { 0 };
	struct tn_rpc_answer a;
	msgpack_packer pk;
	size_t i;

	(void)state;
	tn_rpc_packer(&pk, &b);
	tn_rpc_pack_result(&pk, 7);
	msgpack_pack_uint64(&pk, 42);
	tn_rpc_pack_error(&pk, UINT64_MAX, "no");
	tn_rpc_pack_notification(&pk, "log", 1);
	tn_rpc_pack_str(&pk, TN_STR("line"));
	assert_false(b.failed);
	/* A byte at a time. */
	for (i = 0; i + 1 < b.len; i++) {
		assert_int_equal(tn_rpc_reader_feed(reader, b.p + i, 1), TN_OK);
		if (tn_rpc_reader_answer(reader, &a) != TN_EAGAIN)
			break;
	}
	assert_true(!a.notify && !a.refused && a.id == 7 && a.result->via.u64 == 42);
	assert_int_equal(tn_rpc_reader_feed(reader, b.p + i + 1, b.len - i - 1), TN_OK);
	assert_int_equal(tn_rpc_reader_answer(reader, &a), TN_OK);
	assert_true(!a.notify && a.refused && a.id == UINT64_MAX && tn_str_is(a.text, "no"));
	assert_int_equal(tn_rpc_reader_answer(reader, &a), TN_OK);
	assert_true(a.notify && tn_str_is(a.text, "log") && a.result->via.array.size == 1);
	assert_int_equal(tn_rpc_reader_answer(reader, &a), TN_EAGAIN);
	tn_buf_fini(&b);
}

static void
what_is_no_answer_is_refused_for_good(void **state)
{
	struct tn_rpc_answer a;

	(void)state;
	assert_int_equal(ANSWER("\x94\x01\x05\xc0\xc3", &a), TN_OK);
	assert_int_equal(ANSWER("\x94\x00\x05\xa1x\x90", &a), TN_EPROTO);	/* a call */
	assert_int_equal(tn_rpc_reader_feed(reader, "\x94", 1), TN_EPROTO);
	assert_int_equal(ANSWER("\x94\x01\xff\xc0\xc0", &a), TN_EPROTO);
	assert_int_equal(ANSWER("\x94\x01\x05\x07\xc0", &a), TN_EPROTO);
	assert_int_equal(ANSWER("\x93\x01\x05\xc0", &a), TN_EPROTO);
	assert_int_equal(ANSWER("\x93\x02\x05\x90", &a), TN_EPROTO);
	assert_int_equal(ANSWER("\x93\x02\xa1x\x80", &a), TN_EPROTO);
	assert_int_equal(ANSWER("\x94\x01\x05\xc0\xdd\xff\xff\xff\xff", &a), TN_ELIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_are_results_errors_and_notifications),
		TEST(what_is_no_answer_is_refused_for_good),
		TEST(a_request_split_at_any_byte_arrives_whole),
		TEST(a_request_byte_by_byte_arrives_whole),
		TEST(a_long_text_in_small_pieces),
		TEST(several_requests_in_one_read),
		TEST(notifications_want_no_answer),
		TEST(messages_that_are_no_request_are_refused),
		TEST(types_that_nobody_needs_are_refused),
		TEST(every_other_type_may_be_a_parameter),
		TEST(hostile_lengths_are_refused_at_once),
		TEST(hostile_nesting_is_refused),
		TEST(many_small_items_are_refused),
		TEST(a_message_longer_than_the_limit_is_refused),
		TEST(a_reader_keeps_the_limits_it_is_given),
		TEST(what_was_taken_can_be_given_back),
		TEST(errors_with_a_code_and_notifications_have_their_form),
		TEST(no_single_byte_confuses_the_reader),
		TEST(answers_have_their_form),
		TEST(the_client_reads_an_answer_in_any_pieces),
		TEST(the_client_skips_what_is_not_for_it),
		TEST(the_client_reports_the_servers_error),
		TEST(the_client_refuses_nonsense),
		TEST(the_client_notices_that_the_server_has_gone),
		TEST(the_client_waits_no_longer_than_asked),
		TEST(the_client_calls_more_than_once),
		TEST(the_client_sends_what_the_reader_reads),
		TEST(connecting_says_why_it_cannot),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
