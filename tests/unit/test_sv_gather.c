/*
 * One answer out of those of several shards, some of which are not there, do not answer,
 * or answer with what makes no sense.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_gather.h"
#include "sv_peers.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_rpc.h"

enum { SHARDS = 3 };

static struct {
	struct event_base *base;
	struct sv_peers	*peers;
	struct sv_gather *gather;
	int		 fd[SHARDS];	/* their ends */
	struct tn_rpc_reader *in[SHARDS];
	unsigned	 said;
	/* the last answer */
	unsigned	 done;
	char		 error[1024];
	struct tn_buf	 result;
	msgpack_unpacked un;
	/* the last metrics */
	struct sv_stats	 st;
	char		 contracts[512];
} t;

static void
on_said(void *arg, struct tn_str what, const msgpack_object *params)
{
	(void)arg;
	assert_true(tn_str_is(what, "record"));
	assert_int_equal(params->via.array.size, 1);
	t.said++;
}

static void
join(unsigned shard)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	tn_fd_close(&t.fd[shard]);
	tn_rpc_reader_free(&t.in[shard]);
	t.fd[shard] = pair[1];
	t.in[shard] = tn_rpc_reader_new();
	sv_gather_renewed(t.gather, shard);
	sv_peers_connect(t.peers, shard, &pair[0]);
	assert_int_equal(pair[0], -1);
}

static int
setup(void **state)
{
	unsigned i;

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);		/* as the front does */
	memset(&t, 0, sizeof(t));
	tn_log_open("test", open("/dev/null", O_WRONLY | O_CLOEXEC), TN_LOG_ERROR, TN_LOG_TEXT);
	t.base = event_base_new();
	t.peers = sv_peers_new(t.base, SHARDS, on_said, NULL);
	t.gather = sv_gather_new(t.peers);
	msgpack_unpacked_init(&t.un);
	for (i = 0; i < SHARDS; i++) {
		t.fd[i] = -1;
		join(i);
	}
	return 0;
}

static int
teardown(void **state)
{
	unsigned i;

	(void)state;
	sv_gather_free(&t.gather);
	sv_peers_free(&t.peers);
	for (i = 0; i < SHARDS; i++) {
		tn_fd_close(&t.fd[i]);
		tn_rpc_reader_free(&t.in[i]);
	}
	event_base_free(t.base);
	tn_buf_fini(&t.result);
	msgpack_unpacked_destroy(&t.un);
	return 0;
}

static void
on_done(void *arg, const char *error, const struct tn_buf *result)
{
	size_t off = 0;

	(void)arg;
	t.done++;
	snprintf(t.error, sizeof(t.error), "%s", error != NULL ? error : "");
	tn_buf_reset(&t.result);
	if (error != NULL)
		return;
	tn_buf_append(&t.result, result->p, result->len);
	msgpack_unpacked_destroy(&t.un);
	msgpack_unpacked_init(&t.un);
	assert_int_equal(msgpack_unpack_next(&t.un, t.result.p, t.result.len, &off),
	    MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(off, t.result.len);
}

static void
ask(const char *method)
{
	msgpack_object none = { .type = MSGPACK_OBJECT_ARRAY };

	assert_int_equal(sv_gather_ask(t.gather, tn_str(method), &none, on_done, NULL), 0);
	assert_int_equal(event_base_loop(t.base, EVLOOP_NONBLOCK), 0);
}

static void
finish(void)
{
	unsigned before = t.done;

	while (t.done == before)
		assert_int_equal(event_base_loop(t.base, EVLOOP_ONCE), 0);
}

/* The next call that a shard has got; false: none. */
static bool
asked(unsigned shard, uint64_t *id, const char *method)
{
	struct tn_rpc_call c;
	char part[4096];
	ssize_t n;

	while ((n = recv(t.fd[shard], part, sizeof(part), 0)) > 0)
		assert_int_equal(tn_rpc_reader_feed(t.in[shard], part, (size_t)n), 0);
	if (tn_rpc_reader_call(t.in[shard], &c) != 0)
		return false;
	assert_true(tn_str_is(c.method, method));
	*id = c.id;
	return true;
}

static void
say(unsigned shard, const struct tn_buf *b)
{
	assert_false(b->failed);
	assert_int_equal(send(t.fd[shard], b->p, b->len, MSG_NOSIGNAL), b->len);
}

static void
refuse(unsigned shard, const char *method, const char *error)
{
	struct tn_buf b = { 0 };
	msgpack_packer pk;
	uint64_t id;

	assert_true(asked(shard, &id, method));
	tn_rpc_packer(&pk, &b);
	tn_rpc_pack_error(&pk, id, error);
	say(shard, &b);
	tn_buf_fini(&b);
}

/* Bytes that stand for themselves. */
static void
answer(unsigned shard, const char *method, const char *result, size_t len)
{
	struct tn_buf b = { 0 };
	msgpack_packer pk;
	uint64_t id;

	assert_true(asked(shard, &id, method));
	tn_rpc_packer(&pk, &b);
	tn_rpc_pack_result(&pk, id);
	tn_buf_append(&b, result, len);
	say(shard, &b);
	tn_buf_fini(&b);
}
#define ANSWER(shard, method, lit) answer(shard, method, lit, sizeof(lit) - 1)

static const msgpack_object *
find(const msgpack_object *map, const char *key)
{
	uint32_t i;

	assert_int_equal(map->type, MSGPACK_OBJECT_MAP);
	for (i = 0; i < map->via.map.size; i++) {
		const msgpack_object *k = &map->via.map.ptr[i].key;

		if (k->type == MSGPACK_OBJECT_STR &&
		    tn_str_is((struct tn_str){ k->via.str.ptr, k->via.str.size }, key))
			return &map->via.map.ptr[i].val;
	}
	return NULL;
}

static uint64_t
number(const msgpack_object *map, const char *key)
{
	const msgpack_object *o = find(map, key);

	assert_non_null(o);
	assert_int_equal(o->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
	return o->via.u64;
}

static bool
text_is(const msgpack_object *map, const char *key, const char *want)
{
	const msgpack_object *o = find(map, key);

	return o != NULL && o->type == MSGPACK_OBJECT_STR &&
	    tn_str_is((struct tn_str){ o->via.str.ptr, o->via.str.size }, want);
}

/* -- doing something ------------------------------------------------------------- */

static void
counts_are_added(void **state)
{
	(void)state;
	ask("recycle");
	ANSWER(2, "recycle", "\x81\xa8recycled\x03");
	ANSWER(0, "recycle", "\x81\xa8recycled\x01");
	ANSWER(1, "recycle", "\x81\xa8recycled\x02");
	finish();
	assert_string_equal(t.error, "");
	assert_int_equal(number(&t.un.data, "recycled"), 6);
	ask("rotate");
	ANSWER(0, "rotate", "\x81\xaageneration\x02");
	ANSWER(1, "rotate", "\x81\xaageneration\x05");
	ANSWER(2, "rotate", "\x81\xaageneration\x03");
	finish();
	assert_int_equal(number(&t.un.data, "generation"), 5);
}

/* A worker is one shard's, and the others do not know it. */
static void
who_does_not_know_it_is_not_asked(void **state)
{
	(void)state;
	ask("recycle");
	refuse(0, "recycle", "no worker has this pid");
	ANSWER(1, "recycle", "\x81\xa8recycled\x01");
	refuse(2, "recycle", "no worker has this pid");
	finish();
	assert_string_equal(t.error, "");
	assert_int_equal(number(&t.un.data, "recycled"), 1);
	ask("recycle");
	refuse(0, "recycle", "no worker has this pid");
	refuse(1, "recycle", "no worker has this pid");
	refuse(2, "recycle", "no worker has this pid");
	finish();
	assert_string_equal(t.error, "no worker has this pid");
	ask("reset");
	refuse(0, "reset", "no such contract was asked for");
	refuse(1, "reset", "too tired");
	ANSWER(2, "reset", "\xc3");
	finish();
	assert_string_equal(t.error, "shard 1: too tired");
	ask("reload");
	ANSWER(0, "reload", "\x81\xa9" "contracts\x01");
	ANSWER(1, "reload", "\x81\xa9" "contracts\x01");
	refuse(2, "reload", "BUILD: line 7");
	finish();
	assert_string_equal(t.error, "shard 2: BUILD: line 7");
}

static void
what_all_say_is_said_once(void **state)
{
	unsigned i;

	(void)state;
	ask("rotate");
	for (i = 0; i < SHARDS; i++)
		refuse(i, "rotate", "out of memory");
	finish();
	assert_string_equal(t.error, "out of memory");
}

/* -- those that do not answer ------------------------------------------------------- */

static void
one_that_is_not_there(void **state)
{
	(void)state;
	tn_fd_close(&t.fd[1]);
	ask("reset");
	ANSWER(0, "reset", "\xc3");
	ANSWER(2, "reset", "\xc3");
	finish();
	assert_string_equal(t.error, "shard 1 does not answer");
	/* One that goes before it has answered. */
	join(1);
	ask("reset");
	ANSWER(0, "reset", "\xc3");
	ANSWER(2, "reset", "\xc3");
	tn_fd_close(&t.fd[1]);
	finish();
	assert_string_equal(t.error, "shard 1 does not answer");
	/* And one that is there again. */
	join(1);
	ask("reset");
	ANSWER(0, "reset", "\xc3");
	ANSWER(1, "reset", "\xc3");
	ANSWER(2, "reset", "\xc3");
	finish();
	assert_string_equal(t.error, "");
	assert_int_equal(t.un.data.type, MSGPACK_OBJECT_BOOLEAN);
}

static void
one_that_hangs_is_waited_for_once(void **state)
{
	unsigned i;
	uint64_t id;

	(void)state;
	for (i = 0; i < 2; i++) {
		ask("workers");
		ANSWER(0, "workers", "\x91\x81\xa3pid\x07");
		ANSWER(2, "workers", "\x90");
		finish();
		assert_int_equal(t.un.data.via.array.size, 2);
		assert_int_equal(number(&t.un.data.via.array.ptr[0], "pid"), 7);
		assert_int_equal(number(&t.un.data.via.array.ptr[0], "shard"), 0);
		assert_int_equal(number(&t.un.data.via.array.ptr[1], "shard"), 1);
		assert_true(text_is(&t.un.data.via.array.ptr[1], "error", "does not answer"));
	}
	/* It was not asked the second time; its answer to the first is nobody's any more. */
	ANSWER(1, "workers", "\x91\x81\xa3pid\x09");
	assert_false(asked(1, &id, "workers"));
	assert_int_equal(event_base_loop(t.base, EVLOOP_NONBLOCK), 0);
	ask("workers");
	ANSWER(0, "workers", "\x90");
	ANSWER(1, "workers", "\x91\x81\xa3pid\x0b");
	ANSWER(2, "workers", "\x90");
	finish();
	assert_int_equal(t.un.data.via.array.size, 1);
	assert_int_equal(number(&t.un.data.via.array.ptr[0], "pid"), 11);
}

/* It is not believed, and does no harm. */
static void
one_that_has_lost_its_mind(void **state)
{
	static const struct { const char *p; size_t n; } mad[] = {
#define MAD(lit) { lit, sizeof(lit) - 1 }
		MAD("\xc1"), MAD("GET / HTTP/1.1\r\n\r\n"), MAD("\x94\x00\x01\xa5" "drain\x90"),
		MAD("\x94\x01\x01\xc0\xdd\xff\xff\xff\xff"), MAD("\x93\x02\x01\x02"),
	};
	struct tn_buf b = { 0 };
	msgpack_packer pk;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(mad) / sizeof(mad[0]); i++) {
		join(1);
		ask("reset");
		ANSWER(0, "reset", "\xc3");
		ANSWER(2, "reset", "\xc3");
		b = (struct tn_buf){ .p = (char *)(uintptr_t)mad[i].p, .len = mad[i].n };
		say(1, &b);
		finish();
		assert_string_equal(t.error, "shard 1 does not answer");
		assert_int_equal(read(t.fd[1], t.contracts, 64) > 0, 1);	/* what it was asked */
		assert_int_equal(read(t.fd[1], t.contracts, 64), 0);	/* it is not listened to */
	}
	/* Well formed, and not what was asked for; answers to nobody; what it says unasked. */
	join(1);
	ask("status");
	b = (struct tn_buf){ 0 };
	tn_rpc_packer(&pk, &b);
	tn_rpc_pack_result(&pk, 4711);
	msgpack_pack_nil(&pk);
	tn_rpc_pack_notification(&pk, "record", 1);
	msgpack_pack_nil(&pk);
	say(1, &b);
	tn_buf_fini(&b);
	ANSWER(0, "status", "\x82\xa7workers\x02\xa5state\xa7serving");
	ANSWER(1, "status", "\xa6" "hello!");
	ANSWER(2, "status", "\x82\x01\x02\xa7workers\xa4many");
	finish();
	assert_int_equal(t.said, 1);
	assert_string_equal(t.error, "");
	assert_int_equal(number(&t.un.data, "workers"), 2);
	assert_true(text_is(&t.un.data, "state", "serving"));
	assert_true(text_is(&find(&t.un.data, "shards")->via.array.ptr[1], "error",
	    "answers with what makes no sense"));
}

static void
too_much_is_refused(void **state)
{
	msgpack_object none = { .type = MSGPACK_OBJECT_ARRAY };
	unsigned n = 0;
	int rc;

	(void)state;
	while ((rc = sv_gather_ask(t.gather, TN_STR("rotate"), &none, on_done, NULL)) == 0)
		assert_true(++n < 10000);
	assert_int_equal(rc, TN_ELIMIT);
	/* All are told when nobody is there any more. */
	tn_fd_close(&t.fd[0]);
	tn_fd_close(&t.fd[1]);
	tn_fd_close(&t.fd[2]);
	while (t.done < n)
		assert_int_equal(event_base_loop(t.base, EVLOOP_ONCE), 0);
	assert_string_equal(t.error, "shard 0 does not answer; shard 1 does not answer; "
	    "shard 2 does not answer");
}

/* -- showing something ---------------------------------------------------------------- */

static void
contracts_are_listed_once(void **state)
{
	const msgpack_object *row;

	(void)state;
	ask("contracts");
	ANSWER(0, "contracts", "\x92\x84\xa8" "contract\xa1" "b\xa5state\xa7serving\xa8requests\x05\xacrequests_2xx\x05"
	    "\x83\xa8" "contract\xa1" "a\xa5state\xa7loading\xa8requests\x00");
	ANSWER(1, "contracts", "\x92\x84\xa8" "contract\xa1" "b\xa5state\xabquarantined\xa8requests\x07\xacrequests_2xx\x04"
	    "\x80");
	refuse(2, "contracts", "no");
	finish();
	assert_int_equal(t.un.data.via.array.size, 3);
	row = &t.un.data.via.array.ptr[0];
	assert_true(text_is(row, "contract", "a") && text_is(row, "state", "loading"));
	row = &t.un.data.via.array.ptr[1];
	assert_true(text_is(row, "contract", "b"));
	assert_true(text_is(row, "state", "quarantined"));	/* the gravest */
	assert_int_equal(number(row, "requests"), 12);
	assert_int_equal(number(row, "requests_2xx"), 9);
	row = &t.un.data.via.array.ptr[2];
	assert_int_equal(number(row, "shard"), 2);
	assert_true(text_is(row, "error", "no"));
}

static void
answer_stats(unsigned shard, uint64_t requests)
{
	struct tn_buf b = { 0 };
	struct sv_stats st;
	msgpack_packer pk;

	sv_stats_init(&st);
	st.requests = requests;
	st.workers = 2;
	sv_histogram_add(&st.phase_total, requests);
	tn_rpc_packer(&pk, &b);
	sv_stats_pack(&st, &pk);
	answer(shard, "stats", b.p, b.len);
	tn_buf_fini(&b);
}

static void
stats_are_sums_and_of_each(void **state)
{
	const msgpack_object *shards;
	unsigned i;

	(void)state;
	ask("stats");
	for (i = 0; i < 2; i++)
		answer_stats(i, 100 * (i + 1));
	refuse(2, "stats", "no");
	finish();
	assert_int_equal(number(&t.un.data, "requests"), 300);
	assert_int_equal(number(&t.un.data, "workers"), 4);
	assert_int_equal(number(find(find(&t.un.data, "phases"), "total"), "count"), 2);
	assert_int_equal(number(find(find(&t.un.data, "phases"), "total"), "sum_us"), 300);
	shards = find(&t.un.data, "shards");
	assert_int_equal(shards->via.array.size, SHARDS);
	assert_int_equal(number(&shards->via.array.ptr[0], "requests"), 100);
	assert_int_equal(number(&shards->via.array.ptr[1], "requests"), 200);
	assert_true(text_is(&shards->via.array.ptr[2], "error", "no"));
}

/* -- metrics --------------------------------------------------------------------------- */

static void
on_metrics(void *arg, const struct sv_stats *st, const struct sv_openmetrics_contract *list,
    size_t n)
{
	size_t i, len = 0;

	(void)arg;
	assert_non_null(st);
	t.done++;
	t.st = *st;
	t.contracts[0] = '\0';
	for (i = 0; i < n; i++)
		len += (size_t)snprintf(t.contracts + len, sizeof(t.contracts) - len, "%s=%llu ",
		    list[i].id, (unsigned long long)list[i].answers[0]);
}

/* requests 0: it is not there. */
static void
scrape(const unsigned requests[SHARDS])
{
	char row[64];
	unsigned i, before = t.done;
	int n;

	assert_int_equal(sv_gather_metrics(t.gather, on_metrics, NULL), 0);
	assert_int_equal(event_base_loop(t.base, EVLOOP_NONBLOCK), 0);
	for (i = 0; i < SHARDS; i++)
		if (requests[i] > 0)
			answer_stats(i, requests[i]);
	/* Until it asks for the contracts, too. */
	for (i = 0; i < 10; i++)
		assert_int_equal(event_base_loop(t.base, EVLOOP_NONBLOCK), 0);
	for (i = 0; i < SHARDS; i++)
		if (requests[i] > 0) {
			n = snprintf(row, sizeof(row), "\x91\x82\xa8" "contract\xa1%c\xacrequests_2xx%c",
			    i < 2 ? 'a' : 'b', (int)requests[i]);
			answer(i, "contracts", row, (size_t)n);
		}
	while (t.done == before)
		assert_int_equal(event_base_loop(t.base, EVLOOP_ONCE), 0);
}

static void
counters_never_go_back(void **state)
{
	(void)state;
	scrape((unsigned[]){ 10, 20, 30 });
	assert_int_equal(t.st.requests, 60);
	assert_int_equal(t.st.workers, 6);
	assert_string_equal(t.contracts, "a=30 b=30 ");
	/* One is not there: what it has counted was counted, but its workers are not there. */
	tn_fd_close(&t.fd[1]);
	scrape((unsigned[]){ 11, 0, 30 });
	assert_int_equal(t.st.requests, 61);
	assert_int_equal(t.st.workers, 4);
	assert_int_equal(t.st.phase_total.count, 3);
	assert_string_equal(t.contracts, "a=31 b=30 ");
	/* It is back, and begins anew; then once more. */
	join(1);
	scrape((unsigned[]){ 11, 1, 31 });
	assert_int_equal(t.st.requests, 63);
	assert_int_equal(t.st.workers, 6);
	assert_string_equal(t.contracts, "a=32 b=31 ");
	join(1);
	scrape((unsigned[]){ 11, 2, 31 });
	assert_int_equal(t.st.requests, 65);
	assert_string_equal(t.contracts, "a=34 b=31 ");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(counts_are_added),
		T(who_does_not_know_it_is_not_asked),
		T(what_all_say_is_said_once),
		T(one_that_is_not_there),
		T(one_that_hangs_is_waited_for_once),
		T(one_that_has_lost_its_mind),
		T(too_much_is_refused),
		T(contracts_are_listed_once),
		T(stats_are_sums_and_of_each),
		T(counters_never_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
