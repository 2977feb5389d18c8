/*
 * test_sv_stats.c - histograms keep their promise, every metric is reported, and
 * requests are used again without what they held.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "sv_request.h"
#include "sv_stats.h"
#include "tn_err.h"

static void
test_error_below_19_percent(void **state)
{
	uint64_t us;

	(void)state;
	for (us = 1; us < UINT64_C(3) << 30; us += us / 50 + 1) {
		struct sv_histogram h = { 0 };
		uint64_t bound;

		/* Of two values the greater one must not cap the lesser one's bucket. */
		sv_histogram_add(&h, us);
		sv_histogram_add(&h, UINT64_C(1) << 40);
		bound = sv_histogram_quantile(&h, 0.5);
		assert_true(bound >= us);
		assert_true((double)(bound - us) <= 0.19 * (double)us);
	}
}

static void
test_quantiles(void **state)
{
	struct sv_histogram h = { 0 };
	uint64_t i;

	(void)state;
	assert_int_equal(sv_histogram_quantile(&h, 0.5), 0);
	for (i = 0; i < 99; i++)
		sv_histogram_add(&h, 1);
	sv_histogram_add(&h, 1000);
	assert_int_equal(sv_histogram_quantile(&h, 0), 1);
	assert_int_equal(sv_histogram_quantile(&h, 0.5), 1);
	assert_int_equal(sv_histogram_quantile(&h, 0.99), 1);
	assert_int_equal(sv_histogram_quantile(&h, 0.991), 1000);
	assert_int_equal(sv_histogram_quantile(&h, 1), 1000);
	assert_int_equal(h.count, 100);
	assert_int_equal(h.sum_us, 1099);
	assert_int_equal(h.max_us, 1000);
}

static void
test_extremes(void **state)
{
	struct sv_histogram h = { 0 };

	(void)state;
	sv_histogram_add(&h, 0);
	assert_int_equal(sv_histogram_quantile(&h, 1), 0);
	sv_histogram_add(&h, UINT64_MAX);
	assert_int_equal(sv_histogram_quantile(&h, 0.5), 0);
	assert_true(sv_histogram_quantile(&h, 1) == UINT64_MAX);
}

static void
test_status_classes(void **state)
{
	struct sv_request rq = { .timings = { .queue = 5, .total = 7 } };
	uint64_t contract[SV_STATUSES] = { 0 }, all[SV_STATUSES];
	struct sv_stats st;
	unsigned i;

	(void)state;
	sv_stats_init(&st);
	rq.answers = contract;
	sv_stats_answer(&st, 204, &rq);
	sv_stats_answer(&st, 304, &rq);
	sv_stats_answer(&st, 404, NULL);
	sv_stats_answer(&st, 502, &rq);
	rq.answers = NULL;			/* a contract that is gone */
	sv_stats_answer(&st, 503, &rq);
	sv_stats_statuses(&st, all);
	for (i = 0; i < SV_STATUSES; i++) {
		assert_int_equal(sv_stats_class(i), i + 2);
		assert_int_equal(all[i], i + 2 == 5 ? 2 : 1);
		assert_int_equal(contract[i], i + 2 == 4 ? 0 : 1);
	}
	assert_int_equal(st.requests_2xx, 1);
	assert_int_equal(st.requests_3xx, 1);
	assert_int_equal(st.requests_4xx, 1);
	assert_int_equal(st.requests_5xx, 2);
	assert_int_equal(st.phase_total.count, 4);
	assert_int_equal(st.phase_queue.sum_us, 20);
}

static const msgpack_object *
find(const msgpack_object *map, const char *key)
{
	uint32_t i;

	assert_int_equal(map->type, MSGPACK_OBJECT_MAP);
	for (i = 0; i < map->via.map.size; i++) {
		const msgpack_object_kv *kv = &map->via.map.ptr[i];

		if (kv->key.via.str.size == strlen(key) &&
		    memcmp(kv->key.via.str.ptr, key, strlen(key)) == 0)
			return &kv->val;
	}
	fail_msg("no %s", key);
	return NULL;
}

static void
is_number(const msgpack_object *o)
{
	assert_int_equal(o->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
}

static void
test_every_metric_and_phase_is_packed(void **state)
{
	struct sv_request rq = { .timings = { .execution = 100 } };
	struct sv_stats st;
	msgpack_sbuffer sb;
	msgpack_packer pk;
	msgpack_unpacked un;
	const msgpack_object *phases, *p;

	(void)state;
	sv_stats_init(&st);
	st.started_us -= 3000000;
	st.deadlines = 42;
	sv_stats_answer(&st, 200, &rq);
	st.workers_ended[TN_WC_SANDBOX] = 7;
	st.workers_by_state[TN_WS_BUSY] = 3;
	msgpack_sbuffer_init(&sb);
	msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
	sv_stats_pack(&st, &pk);
	msgpack_unpacked_init(&un);
	assert_int_equal(msgpack_unpack_next(&un, sb.data, sb.size, NULL), MSGPACK_UNPACK_SUCCESS);
#define TN_COUNTER(name, doc, ...) is_number(find(&un.data, #name));
#define TN_GAUGE(name, doc, ...) is_number(find(&un.data, #name));
#include "metrics.def"
	assert_int_equal(find(&un.data, "deadlines")->via.u64, 42);
#define TN_COUNTERS(name, doc, label, n, value)					\
	assert_int_equal(find(&un.data, #name)->via.map.size, n);
#define TN_GAUGES(name, doc, label, n, value)					\
	assert_int_equal(find(&un.data, #name)->via.map.size, n);
#include "metrics.def"
	assert_int_equal(find(find(&un.data, "workers_ended"), "sandbox")->via.u64, 7);
	assert_int_equal(find(find(&un.data, "workers_by_state"), "busy")->via.u64, 3);
	assert_true(find(&un.data, "uptime_seconds")->via.u64 >= 3);
	phases = find(&un.data, "phases");
#define TN_PHASE(sym, name, doc) assert_int_equal(find(find(phases, name), "count")->via.u64, 1);
#include "phases.def"
	p = find(phases, "exec");
	assert_true(find(p, "mean_us")->via.f64 > 99 && find(p, "mean_us")->via.f64 < 101);
	assert_int_equal(find(p, "p50_us")->via.u64, 100);
	assert_int_equal(find(p, "p99_us")->via.u64, 100);
	assert_int_equal(find(p, "max_us")->via.u64, 100);
	p = find(p, "buckets");
	assert_int_equal(p->via.array.size, 1);
	p = &p->via.array.ptr[0];
	assert_int_equal(p->via.array.ptr[0].via.u64, 107);	/* 2^(6 + 3/4) */
	assert_int_equal(p->via.array.ptr[1].via.u64, 1);
	msgpack_unpacked_destroy(&un);
	msgpack_sbuffer_destroy(&sb);
}

static void
unpack(struct sv_stats *to, const struct sv_stats *from)
{
	msgpack_sbuffer sb;
	msgpack_packer pk;
	msgpack_unpacked un;

	msgpack_sbuffer_init(&sb);
	msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
	sv_stats_pack(from, &pk);
	msgpack_unpacked_init(&un);
	assert_int_equal(msgpack_unpack_next(&un, sb.data, sb.size, NULL), MSGPACK_UNPACK_SUCCESS);
	memset(to, 0x55, sizeof(*to));
	assert_int_equal(sv_stats_unpack(to, &un.data), 0);
	msgpack_unpacked_destroy(&un);
	msgpack_sbuffer_destroy(&sb);
}

/* All that can be counted, each a number of its own; times of all lengths. */
static void
count(struct sv_stats *st, unsigned *n)
{
	unsigned i;

#define TN_COUNTER(name, doc, ...) st->name += ++*n;
#define TN_GAUGE(name, doc, ...) st->name += ++*n;
#define TN_COUNTERS(name, doc, label, n_, value) for (i = 0; i < (n_); i++) st->name[i] += ++*n;
#define TN_GAUGES(name, doc, label, n_, value) for (i = 0; i < (n_); i++) st->name[i] += ++*n;
#define TIME(h) (sv_histogram_add(h, (uint64_t)*n << *n % 30), ++*n);
#define TN_TIME(name, doc) TIME(&st->time_##name)
#include "metrics.def"
#define TN_PHASE(sym, name, doc) TIME(&st->phase_##sym)
#include "phases.def"
}

/* Two shards, each sent as it is sent, are what one would have counted. */
static void
test_shards_add_up(void **state)
{
	static struct sv_stats one, two, all, sum, got;
	unsigned n = 0, k = 0, i;
	uint64_t contracts;

	(void)state;
	sv_stats_init(&one);
	sv_stats_init(&two);
	sv_stats_init(&all);
	for (i = 0; i < 100; i++) {
		count(i % 2 == 0 ? &one : &two, &n);
		count(&all, &k);
	}
	assert_true(one.contracts != two.contracts);
	contracts = one.contracts > two.contracts ? one.contracts : two.contracts;
	one.started_us -= 100 * 1000000u;
	memset(&sum, 0, sizeof(sum));
	unpack(&got, &two);
	sv_stats_add(&sum, &got);
	unpack(&got, &one);
	sv_stats_add(&sum, &got);
	assert_true(sum.started_us / 1000000u + 1 >= one.started_us / 1000000u &&
	    sum.started_us <= two.started_us - 98 * 1000000u);
	assert_int_equal(sum.contracts, contracts);
	/* It moves by itself, and is packed as it is then. */
	sum.uptime_seconds = all.uptime_seconds;
	sum.started_us = all.started_us;
	sum.contracts = all.contracts;
	assert_memory_equal(&sum, &all, sizeof(sum));
	sv_stats_clear_gauges(&sum);
	assert_int_equal(sum.requests, all.requests);
	assert_int_equal(sum.phase_total.count, 100);
	assert_int_equal(sum.workers + sum.connections + sum.workers_by_state[0], 0);
}

/* From another process: whatever it is, it is a number in its place, or nothing. */
static void
test_stats_that_make_no_sense(void **state)
{
	static const struct { const char *p; size_t n; int rc; } bad[] = {
#define BAD(lit, rc) { lit, sizeof(lit) - 1, rc }
		BAD("\xc0", TN_EPROTO),
		BAD("\x90", TN_EPROTO),
		BAD("\x80", TN_EPROTO),
		BAD("\x81\xa6phases\xc0", 0),
		BAD("\x82\xa6phases\x90\xa8requests\xff", 0),
		BAD("\x82\xa6phases\x80\xa8requests\xa1x", 0),
		BAD("\x82\xa6phases\x80\xa8requests\xcb\x40\x45\0\0\0\0\0\0", 0),
		BAD("\x82\xa6phases\x80\x01\x02", 0),
		BAD("\x82\xa6phases\x80\xadworkers_ended\x93\x01\x02\x03", 0),
		BAD("\x81\xa6phases\x81\xa5total\x81\xa7""buckets\x93\xc0\x91\x01\x92\xc0\x01", 0),
	};
	static struct sv_stats st, zero;
	msgpack_unpacked un;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		msgpack_unpacked_init(&un);
		assert_int_equal(msgpack_unpack_next(&un, bad[i].p, bad[i].n, NULL),
		    MSGPACK_UNPACK_SUCCESS);
		memset(&st, 0x55, sizeof(st));
		assert_int_equal(sv_stats_unpack(&st, &un.data), bad[i].rc);
		st.started_us = 0;
		assert_memory_equal(&st, &zero, sizeof(st));
		msgpack_unpacked_destroy(&un);
	}
	/* The longest time there is has a bucket, too. */
	msgpack_unpacked_init(&un);
	assert_int_equal(msgpack_unpack_next(&un, "\x81\xa6phases\x81\xa5total\x81\xa7""buckets\x91\x92"
	    "\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x02", 36, NULL), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(sv_stats_unpack(&st, &un.data), 0);
	assert_int_equal(st.phase_total.bucket[SV_HISTOGRAM_BUCKETS - 1], 2);
	msgpack_unpacked_destroy(&un);
}

static void
test_a_request_begins_empty(void **state)
{
	struct sv_request *rq = sv_request_new();
	int round;

	(void)state;
	for (round = 0; round < 2; round++) {
		assert_non_null(rq);
		assert_int_equal(rq->store.len, 0);
		assert_int_equal(rq->body.len, 0);
		assert_int_equal(rq->body.max, 0);
		assert_false(rq->body.failed);
		assert_int_equal(rq->contract[0], 0);
		assert_int_equal(rq->nheaders, 0);
		assert_int_equal(rq->timings.total, 0);
		assert_false(rq->cancelled);
		assert_null(rq->version);
		/* Leave traces. */
		tn_buf_puts(&rq->store, "secret");
		tn_buf_puts(&rq->body, "secret");
		rq->body.max = 3;
		tn_buf_puts(&rq->body, "too much");
		assert_true(rq->body.failed);
		strcpy(rq->contract, "a");
		rq->nheaders = 2;
		rq->timings.total = 1;
		rq->cancelled = true;
		rq->version = (void *)rq;
		sv_request_free(&rq);
		assert_null(rq);
		rq = sv_request_new();
	}
	sv_request_free(&rq);
	sv_request_free(&rq);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_below_19_percent),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_status_classes),
		cmocka_unit_test(test_every_metric_and_phase_is_packed),
		cmocka_unit_test(test_shards_add_up),
		cmocka_unit_test(test_stats_that_make_no_sense),
		cmocka_unit_test(test_a_request_begins_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
