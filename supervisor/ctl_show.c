/*
 * ctl_show.c - what the server answers, as tables and as JSON.
 */
#include "config.h"

#include "ctl_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "tn_err.h"
#include "tn_str.h"

#define COLUMNS_MAX	16u	/* of a table */

const msgpack_object *
ctl_get(const msgpack_object *map, const char *key)
{
	uint32_t i;

	if (map == NULL || map->type != MSGPACK_OBJECT_MAP)
		return NULL;
	for (i = 0; i < map->via.map.size; i++) {
		const msgpack_object *k = &map->via.map.ptr[i].key;

		if (k->type == MSGPACK_OBJECT_STR &&
		    tn_str_is((struct tn_str){ k->via.str.ptr, k->via.str.size }, key))
			return &map->via.map.ptr[i].val;
	}
	return NULL;
}

int64_t
ctl_number(const msgpack_object *map, const char *key)
{
	const msgpack_object *o = ctl_get(map, key);

	return o != NULL && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX ?
	    (int64_t)o->via.u64 : -1;
}

/* ---- JSON ---- */

static json_t *
json_text(const char *p, size_t n)
{
	struct tn_buf b = { 0 };
	json_t *s = json_stringn(p, n);

	if (s != NULL)
		return s;
	/* Not UTF-8. */
	tn_buf_visible(&b, (struct tn_str){ p, n });
	s = b.failed ? NULL : json_stringn(b.p != NULL ? b.p : "", b.len);
	tn_buf_fini(&b);
	return s;
}

static json_t *to_json(const msgpack_object *o);

static json_t *
array_to_json(const msgpack_object_array *a)
{
	json_t *j = json_array();
	uint32_t i;

	for (i = 0; i < a->size; i++)
		if (json_array_append_new(j, to_json(&a->ptr[i])) != 0) {
			json_decref(j);
			return NULL;
		}
	return j;
}

static json_t *
map_to_json(const msgpack_object_map *m)
{
	json_t *j = json_object(), *key;
	uint32_t i;
	int rc;

	for (i = 0; i < m->size; i++) {
		const msgpack_object *k = &m->ptr[i].key;

		key = NULL;
		if (k->type == MSGPACK_OBJECT_STR)
			key = json_text(k->via.str.ptr, k->via.str.size);
		rc = -1;
		if (key != NULL)
			rc = json_object_set_new(j, json_string_value(key),
			    to_json(&m->ptr[i].val));
		json_decref(key);
		if (rc != 0) {
			json_decref(j);
			return NULL;
		}
	}
	return j;
}

/* The reader has bounded the depth. */
static json_t *
to_json(const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		return json_null();
	case MSGPACK_OBJECT_BOOLEAN:
		return json_boolean(o->via.boolean);
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		return o->via.u64 <= INT64_MAX ? json_integer((json_int_t)o->via.u64) :
		    json_real((double)o->via.u64);
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		return json_integer((json_int_t)o->via.i64);
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		return json_real(o->via.f64);
	case MSGPACK_OBJECT_STR:
		return json_text(o->via.str.ptr, o->via.str.size);
	case MSGPACK_OBJECT_ARRAY:
		return array_to_json(&o->via.array);
	case MSGPACK_OBJECT_MAP:
		return map_to_json(&o->via.map);
	default:
		return NULL;
	}
}

int
ctl_show_json(FILE *out, const msgpack_object *o)
{
	json_t *j = to_json(o);
	int rc;

	if (j == NULL)
		return TN_EPROTO;
	rc = json_dumpf(j, out, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	json_decref(j);
	(void)fputc('\n', out);
	return rc == 0 ? 0 : TN_ENOMEM;
}

/* ---- cells ---- */

typedef void put_cell(struct tn_buf *b, const msgpack_object *o);

static void
put_plain(struct tn_buf *b, const msgpack_object *o)
{
	uint32_t i;

	switch (o->type) {
	case MSGPACK_OBJECT_STR:
		if (o->via.str.size == 0)
			tn_buf_puts(b, "-");
		tn_buf_visible(b, (struct tn_str){ o->via.str.ptr, o->via.str.size });
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		tn_buf_printf(b, "%" PRIu64, o->via.u64);
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		tn_buf_printf(b, "%" PRId64, o->via.i64);
		break;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		tn_buf_printf(b, "%.3f", o->via.f64);
		break;
	case MSGPACK_OBJECT_BOOLEAN:
		tn_buf_puts(b, o->via.boolean ? "yes" : "no");
		break;
	case MSGPACK_OBJECT_ARRAY:
		for (i = 0; i < o->via.array.size; i++) {
			if (i > 0)
				tn_buf_puts(b, " ");
			if (o->via.array.ptr[i].type != MSGPACK_OBJECT_ARRAY)
				put_plain(b, &o->via.array.ptr[i]);
		}
		if (i == 0)
			tn_buf_puts(b, "none");
		break;
	default:
		tn_buf_puts(b, "?");
	}
}

static double
as_double(const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		return (double)o->via.u64;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		return o->via.f64;
	default:
		return 0;
	}
}

void
ctl_put_bytes(struct tn_buf *b, double v)
{
	static const char units[] = " KMGT";
	size_t i;

	for (i = 0; v >= 1024 && i < sizeof(units) - 2; i++)
		v /= 1024;
	if (i == 0)
		tn_buf_printf(b, "%.0f", v);
	else
		tn_buf_printf(b, "%.1f%c", v, units[i]);
}

void
ctl_put_seconds(struct tn_buf *b, double d)
{
	uint64_t s = d >= 0 && d < 1e15 ? (uint64_t)d : 0;

	if (s >= 86400)
		tn_buf_printf(b, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		tn_buf_printf(b, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else if (s >= 60)
		tn_buf_printf(b, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else
		tn_buf_printf(b, "%" PRIu64 "s", s);
}

static void
put_bytes(struct tn_buf *b, const msgpack_object *o)
{
	ctl_put_bytes(b, as_double(o));
}

static void
put_seconds(struct tn_buf *b, const msgpack_object *o)
{
	ctl_put_seconds(b, as_double(o));
}

static void
put_us_as_ms(struct tn_buf *b, const msgpack_object *o)
{
	tn_buf_printf(b, "%.3f", as_double(o) / 1e3);
}

/* ---- tables ---- */

struct column {
	const char	*key;		/* NULL: the row's name */
	const char	*title;
	put_cell	*put;
	bool		 right;
};

struct row {
	struct tn_str	 name;
	const msgpack_object *map;
};

static void
format_cell(struct tn_buf *b, const struct column *c, const struct row *r)
{
	const msgpack_object *o;

	tn_buf_reset(b);
	if (c->key == NULL)
		tn_buf_visible(b, r->name);
	else if ((o = ctl_get(r->map, c->key)) == NULL) {
		/* Of a shard that is not there nothing is known but why. */
		if (strcmp(c->key, "state") == 0 && (o = ctl_get(r->map, "error")) != NULL)
			put_plain(b, o);
		else
			tn_buf_puts(b, "-");
	}
	else
		c->put(b, o);
}

static void
put_padded(FILE *out, const char *p, size_t len, size_t width, bool right, bool last)
{
	int pad = (int)(width > len ? width - len : 0);

	if (right)
		(void)fprintf(out, "%*s", pad, "");
	(void)fwrite(p, 1, len, out);
	if (!last)
		(void)fprintf(out, "%*s", (right ? 0 : pad) + 2, "");
}

/* (The width is in bytes: names and states are ASCII, or escaped to it.) */
static int
put_table(FILE *out, const struct column *cols, size_t ncols, const struct row *rows, size_t nrows)
{
	size_t width[COLUMNS_MAX], i, k;
	struct tn_buf b = { 0 };
	bool failed;

	if (ncols > COLUMNS_MAX)
		tn_panic("a table of %zu columns", ncols);
	for (i = 0; i < ncols; i++) {
		width[i] = strlen(cols[i].title);
		for (k = 0; k < nrows; k++) {
			format_cell(&b, &cols[i], &rows[k]);
			if (b.len > width[i])
				width[i] = b.len;
		}
	}
	for (i = 0; i < ncols; i++)
		put_padded(out, cols[i].title, strlen(cols[i].title), width[i], cols[i].right,
		    i + 1 == ncols);
	(void)fputc('\n', out);
	for (k = 0; k < nrows; k++) {
		for (i = 0; i < ncols; i++) {
			format_cell(&b, &cols[i], &rows[k]);
			put_padded(out, b.p != NULL ? b.p : "", b.len, width[i], cols[i].right,
			    i + 1 == ncols);
		}
		(void)fputc('\n', out);
	}
	failed = b.failed;
	tn_buf_fini(&b);
	return failed ? TN_ENOMEM : 0;
}

static struct row *
rows_new(size_t n)
{
	return calloc(n > 0 ? n : 1, sizeof(struct row));
}

/* What metrics.def says of a number by its name; NULL: nothing. */
static const struct metric {
	const char	*name, *unit;
	bool		 gauge;
} metrics[] = {
#define TN_COUNTER(name, doc, ...) { #name, "" #__VA_ARGS__, false },
#define TN_GAUGE(name, doc, ...) { #name, "" #__VA_ARGS__, true },
#include "metrics.def"
};

static const struct metric *
find_metric(struct tn_str name)
{
	size_t i;

	for (i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		if (tn_str_is(name, metrics[i].name))
			return &metrics[i];
	return NULL;
}

/* Which of a map's pairs. */
typedef bool choose_pair(struct tn_str name, const msgpack_object *value);

/* A list of maps: a table of its own. */
static bool
is_rows(const msgpack_object *o)
{
	return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size > 0 &&
	    o->via.array.ptr[0].type == MSGPACK_OBJECT_MAP;
}

static bool
is_plain(struct tn_str name, const msgpack_object *value)
{
	(void)name;
	return value->type != MSGPACK_OBJECT_MAP && !is_rows(value);
}

static bool
is_gauge(struct tn_str name, const msgpack_object *value)
{
	const struct metric *m = find_metric(name);

	return is_plain(name, value) && m != NULL && m->gauge;
}

static bool
is_no_gauge(struct tn_str name, const msgpack_object *value)
{
	return is_plain(name, value) && !is_gauge(name, value);
}

static bool
is_not_zero(struct tn_str name, const msgpack_object *value)
{
	return is_plain(name, value) && as_double(value) > 0;
}

static void
put_value(struct tn_buf *b, struct tn_str name, const msgpack_object *o)
{
	const struct metric *m = find_metric(name);

	if (m != NULL && strcmp(m->unit, "bytes") == 0)
		put_bytes(b, o);
	else if (m != NULL && strcmp(m->unit, "seconds") == 0)
		put_seconds(b, o);
	else
		put_plain(b, o);
}

static struct tn_str
key_of(const msgpack_object_kv *kv)
{
	return (struct tn_str){ kv->key.via.str.ptr, kv->key.via.str.size };
}

/* Keys and values, one a line, below a title, if there is one. */
static int
put_pairs(FILE *out, const char *title, const msgpack_object *o, choose_pair *choose, bool metric)
{
	struct tn_buf b = { 0 };
	const msgpack_object_kv *kv;
	size_t width = 0, n = 0;
	uint32_t i;
	bool failed;

	if (o->type != MSGPACK_OBJECT_MAP)
		return TN_EPROTO;
	if (title != NULL)
		(void)fprintf(out, "%s\n", title);
	for (i = 0; i < o->via.map.size; i++) {
		kv = &o->via.map.ptr[i];
		if (kv->key.type != MSGPACK_OBJECT_STR)
			return TN_EPROTO;
		if (choose(key_of(kv), &kv->val) && kv->key.via.str.size > width)
			width = kv->key.via.str.size;
	}
	for (i = 0; i < o->via.map.size; i++) {
		struct tn_str name;

		kv = &o->via.map.ptr[i];
		name = key_of(kv);
		if (!choose(name, &kv->val))
			continue;
		n++;
		tn_buf_reset(&b);
		tn_buf_visible(&b, name);
		put_padded(out, b.p != NULL ? b.p : "", b.len, width, false, false);
		tn_buf_reset(&b);
		if (metric)
			put_value(&b, name, &kv->val);
		else
			put_plain(&b, &kv->val);
		(void)fwrite(b.p != NULL ? b.p : "", 1, b.len, out);
		(void)fputc('\n', out);
	}
	if (n == 0 && title != NULL)
		(void)fputs("none\n", out);
	failed = b.failed;
	tn_buf_fini(&b);
	return failed ? TN_ENOMEM : 0;
}

static int put_rows(FILE *out, const msgpack_object *o, const struct column *cols, size_t ncols);

/* Where there are several: a row each, below the whole. */
static int
put_shards(FILE *out, const msgpack_object *o, const struct column *cols, size_t ncols)
{
	const msgpack_object *shards = ctl_get(o, "shards");

	if (shards == NULL || !is_rows(shards))
		return 0;
	(void)fputc('\n', out);
	return put_rows(out, shards, cols, ncols);
}

int
ctl_show_status(FILE *out, const msgpack_object *o)
{
	static const struct column cols[] = {
		{ "shard", "SHARD", put_plain, true },
		{ "state", "STATE", put_plain, false },
		{ "uptime_seconds", "UP", put_seconds, true },
		{ "generation", "GENERATION", put_plain, true },
		{ "workers", "WORKERS", put_plain, true },
	};
	int rc = put_pairs(out, NULL, o, is_plain, false);

	return rc != 0 ? rc : put_shards(out, o, cols, sizeof(cols) / sizeof(cols[0]));
}

/* Gauges, counters, and what has a label; of that what is not 0. */
static int
put_metrics(FILE *out, const msgpack_object *o)
{
	const msgpack_object *labelled;
	int rc;

	if ((rc = put_pairs(out, "NOW", o, is_gauge, true)) != 0)
		return rc;
	(void)fputc('\n', out);
	if ((rc = put_pairs(out, "SINCE THE START", o, is_no_gauge, true)) != 0)
		return rc;
#define SHOW(name)								\
	if ((labelled = ctl_get(o, name)) != NULL) {				\
		(void)fputc('\n', out);						\
		if ((rc = put_pairs(out, name, labelled, is_not_zero, false)) != 0)	\
			return rc;						\
	}
#define TN_GAUGES(name, doc, label, n, value) SHOW(#name)
#define TN_COUNTERS(name, doc, label, n, value) SHOW(#name)
#include "metrics.def"
#undef SHOW
	return 0;
}

int
ctl_show_storage(FILE *out, const msgpack_object *o)
{
	static const struct column cols[] = {
		{ "shard", "SHARD", put_plain, true },
		{ "state", "STATE", put_plain, false },
		{ "commits", "COMMITS", put_plain, true },
		{ "conflicts", "CONFLICTS", put_plain, true },
	};
	int rc = put_pairs(out, NULL, o, is_plain, false);

	return rc != 0 ? rc : put_shards(out, o, cols, sizeof(cols) / sizeof(cols[0]));
}

static int
put_shards_stats(FILE *out, const msgpack_object *o)
{
	static const struct column cols[] = {
		{ "shard", "SHARD", put_plain, true },
		{ "workers", "WORKERS", put_plain, true },
		{ "connections", "CONNECTIONS", put_plain, true },
		{ "connections_accepted", "ACCEPTED", put_plain, true },
		{ "requests", "REQUESTS", put_plain, true },
		{ "requests_5xx", "5xx", put_plain, true },
		{ "requests_queued", "QUEUED", put_plain, true },
		{ "error", "ERROR", put_plain, false },
	};

	return put_shards(out, o, cols, sizeof(cols) / sizeof(cols[0]));
}

int
ctl_show_stats(FILE *out, const msgpack_object *o)
{
	static const struct column cols[] = {
		{ NULL, "PHASE", NULL, false },
		{ "count", "COUNT", put_plain, true },
		{ "mean_us", "MEAN ms", put_us_as_ms, true },
		{ "p50_us", "P50 ms", put_us_as_ms, true },
		{ "p99_us", "P99 ms", put_us_as_ms, true },
		{ "max_us", "MAX ms", put_us_as_ms, true },
	};
	const msgpack_object *phases = ctl_get(o, "phases");
	struct row *rows;
	uint32_t i, n;
	int rc;

	if ((rc = put_metrics(out, o)) != 0)
		return rc;
	if (phases == NULL || phases->type != MSGPACK_OBJECT_MAP)
		return TN_EPROTO;
	n = phases->via.map.size;
	if ((rows = rows_new(n)) == NULL)
		return TN_ENOMEM;
	for (i = 0; i < n; i++) {
		const msgpack_object_kv *kv = &phases->via.map.ptr[i];

		if (kv->key.type == MSGPACK_OBJECT_STR)
			rows[i].name = (struct tn_str){ kv->key.via.str.ptr, kv->key.via.str.size };
		rows[i].map = &kv->val;
	}
	(void)fputc('\n', out);
	rc = put_table(out, cols, sizeof(cols) / sizeof(cols[0]), rows, n);
	free(rows);
	return rc != 0 ? rc : put_shards_stats(out, o);
}

/* An array of maps, a row each. */
static int
put_rows(FILE *out, const msgpack_object *o, const struct column *cols, size_t ncols)
{
	struct row *rows;
	uint32_t i, n;
	int rc;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return TN_EPROTO;
	n = o->via.array.size;
	if ((rows = rows_new(n)) == NULL)
		return TN_ENOMEM;
	for (i = 0; i < n; i++)
		rows[i].map = &o->via.array.ptr[i];
	rc = put_table(out, cols, ncols, rows, n);
	free(rows);
	return rc;
}

int
ctl_show_workers(FILE *out, const msgpack_object *o)
{
	static const struct column cols[] = {
		{ "shard", "SHARD", put_plain, true },
		{ "pid", "PID", put_plain, true },
		{ "generation", "GENERATION", put_plain, true },
		{ "state", "STATE", put_plain, false },
		{ "contract", "CONTRACT", put_plain, false },
		{ "requests", "REQUESTS", put_plain, true },
		{ "age", "AGE", put_seconds, true },
		{ "private_bytes", "PRIVATE", put_bytes, true },
		{ "shared_bytes", "SHARED", put_bytes, true },
		{ "images", "IMAGES", put_plain, true },
	};

	/* The first column only where it tells something. */
	size_t skip = o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size > 0 &&
	    ctl_get(&o->via.array.ptr[0], "shard") != NULL ? 0 : 1;

	return put_rows(out, o, cols + skip, sizeof(cols) / sizeof(cols[0]) - skip);
}

int
ctl_show_contracts(FILE *out, const msgpack_object *o)
{
	static const struct column cols[] = {
		{ "contract", "CONTRACT", put_plain, false },
		{ "state", "STATE", put_plain, false },
		{ "version", "VERSION", put_plain, true },
		{ "isolation", "ISOLATION", put_plain, false },
		{ "allow", "ALLOW", put_plain, false },
		{ "requests", "REQUESTS", put_plain, true },
		{ "image_bytes", "IMAGE", put_bytes, true },
	};

	return put_rows(out, o, cols, sizeof(cols) / sizeof(cols[0]));
}
