/*
 * sv_stats.c - what the front counts and times.
 */
#include "config.h"

#include "sv_stats.h"

#include <stdbool.h>
#include <string.h>

#include "tn_clock.h"
#include "tn_err.h"

/*
 * Bucket 4e + s holds the whole numbers from 2^(e + s/4) up to the next bucket's
 * first.  Buckets 1 to 3 would hold none: 1 goes to bucket 1, so that 0 has
 * bucket 0 for itself.  The last one holds all that is longer, too.
 */
static const uint64_t mantissa[4] = {	/* 2^(63 + s/4) */
	0x8000000000000000u, 0x9837f0518db8a96fu, 0xb504f333f9de6484u, 0xd744fccad69d6af4u
};

static unsigned
bucket_of(uint64_t us)
{
	unsigned e, s;

	if (us < 2)
		return (unsigned)us;
	if (us >> (SV_HISTOGRAM_BUCKETS / 4) != 0)
		return SV_HISTOGRAM_BUCKETS - 1;
	e = 63u - (unsigned)__builtin_clzll(us);
	us <<= 63 - e;
	for (s = 3; us < mantissa[s]; s--)
		;
	return 4 * e + s;
}

uint64_t
sv_histogram_last(unsigned bucket)
{
	unsigned e = bucket / 4, s = bucket % 4;

	if (bucket < 4)
		return bucket == 0 ? 0 : 1;
	return s == 3 ? (UINT64_C(2) << e) - 1 : (mantissa[s + 1] - 1) >> (63 - e);
}

void
sv_histogram_add(struct sv_histogram *h, uint64_t us)
{
	h->count++;
	h->sum_us += us;
	if (us > h->max_us)
		h->max_us = us;
	h->bucket[bucket_of(us)]++;
}

uint64_t
sv_histogram_quantile(const struct sv_histogram *h, double q)
{
	uint64_t rank, seen = 0, last;
	double want;
	unsigned i;

	if (h->count == 0)
		return 0;
	want = q * (double)h->count;
	rank = q >= 1 ? h->count : q > 0 ? (uint64_t)want : 0;
	if (rank < h->count && (rank == 0 || (double)rank < want))
		rank++;
	for (i = 0; i < SV_HISTOGRAM_BUCKETS - 1; i++) {
		seen += h->bucket[i];
		if (seen >= rank) {
			last = sv_histogram_last(i);
			return last < h->max_us ? last : h->max_us;
		}
	}
	return h->max_us;
}

void
sv_stats_init(struct sv_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->started_us = tn_clock_us();
}

void
sv_stats_answer(struct sv_stats *st, int status, const struct sv_request *rq)
{
	const struct sv_timings *t;
	unsigned n = 0;

#define TN_STATUS(name, class, doc)						\
	if (status / 100 == (class)) {						\
		st->name++;							\
		if (rq != NULL && rq->answers != NULL)				\
			rq->answers[n]++;					\
	}									\
	n++;
#include "metrics.def"
	if (rq == NULL)
		return;
	t = &rq->timings;
#define TN_PHASE(sym, name, doc) sv_histogram_add(&st->phase_##sym, t->sym);
#include "phases.def"
}

void
sv_stats_statuses(const struct sv_stats *st, uint64_t n[SV_STATUSES])
{
	unsigned i = 0;

#define TN_STATUS(name, class, doc) n[i++] = st->name;
#include "metrics.def"
}

unsigned
sv_stats_class(unsigned n)
{
	static const unsigned class_of[] = {
#define TN_STATUS(name, class, doc) class,
#include "metrics.def"
	};

	return class_of[n];
}

static void
pack_text(msgpack_packer *pk, const char *s)
{
	size_t n = strlen(s);

	msgpack_pack_str(pk, n);
	msgpack_pack_str_body(pk, s, n);
}

static void
pack_number(msgpack_packer *pk, const char *name, uint64_t value)
{
	pack_text(pk, name);
	msgpack_pack_uint64(pk, value);
}

static void
pack_phase(msgpack_packer *pk, const char *name, const struct sv_histogram *h)
{
	unsigned i, used = 0;

	pack_text(pk, name);
	msgpack_pack_map(pk, 7);
	pack_number(pk, "count", h->count);
	pack_number(pk, "sum_us", h->sum_us);
	pack_text(pk, "mean_us");
	msgpack_pack_double(pk, h->count > 0 ? (double)h->sum_us / (double)h->count : 0);
	pack_number(pk, "p50_us", sv_histogram_quantile(h, 0.5));
	pack_number(pk, "p99_us", sv_histogram_quantile(h, 0.99));
	pack_number(pk, "max_us", h->max_us);
	pack_text(pk, "buckets");
	for (i = 0; i < SV_HISTOGRAM_BUCKETS; i++)
		used += h->bucket[i] > 0;
	msgpack_pack_array(pk, used);
	for (i = 0; i < SV_HISTOGRAM_BUCKETS; i++)
		if (h->bucket[i] > 0) {
			msgpack_pack_array(pk, 2);
			msgpack_pack_uint64(pk, sv_histogram_last(i));
			msgpack_pack_uint64(pk, h->bucket[i]);
		}
}

/* Those of one name, by their label's values. */
#define PACK_MEMBERS(name, n, value) do {					\
	pack_text(pk, #name);							\
	msgpack_pack_map(pk, n);						\
	for (i = 0; i < (n); i++)						\
		pack_number(pk, value(i), st->name[i]);				\
} while (0)

void
sv_stats_pack(const struct sv_stats *st, msgpack_packer *pk)
{
	sv_stats_pack_with(st, pk, 0);
}

void
sv_stats_pack_with(const struct sv_stats *st, msgpack_packer *pk, size_t more)
{
	static const size_t nmetrics = 0
#define TN_COUNTER(name, doc, ...) + 1
#define TN_GAUGE(name, doc, ...) + 1
#define TN_COUNTERS(name, doc, label, n, value) + 1
#define TN_GAUGES(name, doc, label, n, value) + 1
#include "metrics.def"
	;
	static const size_t nphases = 0
#define TN_PHASE(sym, name, doc) + 1
#include "phases.def"
#define TN_TIME(name, doc) + 1
#include "metrics.def"
	;
	struct {
#define TN_COUNTER(name, doc, ...) uint64_t name;
#define TN_GAUGE(name, doc, ...) uint64_t name;
#include "metrics.def"
	} now = {
#define TN_COUNTER(name, doc, ...) .name = st->name,
#define TN_GAUGE(name, doc, ...) .name = st->name,
#include "metrics.def"
	};

	unsigned i;

	/* The one gauge that moves by itself. */
	now.uptime_seconds = (tn_clock_us() - st->started_us) / 1000000u;
	msgpack_pack_map(pk, nmetrics + 1 + more);
#define TN_COUNTER(name, doc, ...) pack_number(pk, #name, now.name);
#define TN_GAUGE(name, doc, ...) pack_number(pk, #name, now.name);
#define TN_COUNTERS(name, doc, label, n, value) PACK_MEMBERS(name, n, value);
#define TN_GAUGES(name, doc, label, n, value) PACK_MEMBERS(name, n, value);
#include "metrics.def"
	pack_text(pk, "phases");
	msgpack_pack_map(pk, nphases);
#define TN_PHASE(sym, name, doc) pack_phase(pk, name, &st->phase_##sym);
#include "phases.def"
#define TN_TIME(name, doc) pack_phase(pk, #name, &st->time_##name);
#include "metrics.def"
}

/* -- of several shards ------------------------------------------------------- */

static const msgpack_object *
find(const msgpack_object *map, const char *name)
{
	uint32_t i;

	if (map == NULL || map->type != MSGPACK_OBJECT_MAP)
		return NULL;
	for (i = 0; i < map->via.map.size; i++) {
		const msgpack_object *k = &map->via.map.ptr[i].key;

		if (k->type == MSGPACK_OBJECT_STR &&
		    tn_str_is((struct tn_str){ k->via.str.ptr, k->via.str.size }, name))
			return &map->via.map.ptr[i].val;
	}
	return NULL;
}

static uint64_t
number(const msgpack_object *map, const char *name)
{
	const msgpack_object *o = find(map, name);

	return o != NULL && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? o->via.u64 : 0;
}

static void
unpack_histogram(struct sv_histogram *h, const msgpack_object *o)
{
	const msgpack_object *list = find(o, "buckets"), *pair;
	uint32_t i;

	h->count = number(o, "count");
	h->sum_us = number(o, "sum_us");
	h->max_us = number(o, "max_us");
	for (i = 0; list != NULL && list->type == MSGPACK_OBJECT_ARRAY && i < list->via.array.size;
	    i++) {
		pair = &list->via.array.ptr[i];
		if (pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size == 2 &&
		    pair->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
		    pair->via.array.ptr[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER)
			h->bucket[bucket_of(pair->via.array.ptr[0].via.u64)] +=
			    pair->via.array.ptr[1].via.u64;
	}
}

int
sv_stats_unpack(struct sv_stats *st, const msgpack_object *o)
{
	const msgpack_object *phases = find(o, "phases");
	uint64_t up, now = tn_clock_us();
	unsigned i;

	memset(st, 0, sizeof(*st));
	if (phases == NULL)
		return TN_EPROTO;
#define UNPACK_MEMBERS(name, n, value) do {					\
	const msgpack_object *m_ = find(o, #name);				\
	for (i = 0; i < (n); i++)						\
		st->name[i] = number(m_, value(i));				\
} while (0)
#define TN_COUNTER(name, doc, ...) st->name = number(o, #name);
#define TN_GAUGE(name, doc, ...) st->name = number(o, #name);
#define TN_COUNTERS(name, doc, label, n, value) UNPACK_MEMBERS(name, n, value);
#define TN_GAUGES(name, doc, label, n, value) UNPACK_MEMBERS(name, n, value);
#define TN_TIME(name, doc) unpack_histogram(&st->time_##name, find(phases, #name));
#include "metrics.def"
#define TN_PHASE(sym, name, doc) unpack_histogram(&st->phase_##sym, find(phases, name));
#include "phases.def"
	up = st->uptime_seconds;
	st->started_us = up < now / 1000000u ? now - up * 1000000u : 0;
	return 0;
}

static void
add_histogram(struct sv_histogram *h, const struct sv_histogram *other)
{
	unsigned i;

	h->count += other->count;
	h->sum_us += other->sum_us;
	if (other->max_us > h->max_us)
		h->max_us = other->max_us;
	for (i = 0; i < SV_HISTOGRAM_BUCKETS; i++)
		h->bucket[i] += other->bucket[i];
}

void
sv_stats_add(struct sv_stats *st, const struct sv_stats *other)
{
	uint64_t contracts = other->contracts > st->contracts ? other->contracts : st->contracts;
	unsigned i;

#define ADD_MEMBERS(name, n) for (i = 0; i < (n); i++) st->name[i] += other->name[i];
#define TN_COUNTER(name, doc, ...) st->name += other->name;
#define TN_GAUGE(name, doc, ...) st->name += other->name;
#define TN_COUNTERS(name, doc, label, n, value) ADD_MEMBERS(name, n)
#define TN_GAUGES(name, doc, label, n, value) ADD_MEMBERS(name, n)
#define TN_TIME(name, doc) add_histogram(&st->time_##name, &other->time_##name);
#include "metrics.def"
#define TN_PHASE(sym, name, doc) add_histogram(&st->phase_##sym, &other->phase_##sym);
#include "phases.def"
	st->contracts = contracts;
	/* Of several the oldest: so old is the server. */
	if (st->started_us == 0 || (other->started_us != 0 && other->started_us < st->started_us))
		st->started_us = other->started_us;
}

void
sv_stats_clear_gauges(struct sv_stats *st)
{
#define TN_GAUGE(name, doc, ...) st->name = 0;
#define TN_GAUGES(name, doc, label, n, value) memset(st->name, 0, sizeof(st->name));
#include "metrics.def"
	st->started_us = 0;
}
