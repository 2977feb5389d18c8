/*
 * sv_gather.c - one answer out of those of all shards.
 */
#include "config.h"

#include "sv_gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_contract.h"
#include "sv_peers.h"
#include "sv_shards.h"
#include "tn_err.h"
#include "tn_rpc.h"

#define QUICK_MS	3000		/* what is answered from memory */
#define SLOW_MS		(10u * 60u * 1000u)	/* what waits for workers, or the compiler */
#define CONTRACTS_MAX	100000u		/* rows of all shards that are looked at */

/* What is merged; its methods are static here, and called with all answers. */
struct merge {
	const struct sv_peers_answer *a;
	unsigned	 n;
	const struct how *how;
	msgpack_packer	 pk;
	char		 error[1024];	/* in place of a result; empty: none */
};

struct how {
	const char	*method;
	unsigned	 timeout_ms;
	void		(*merge)(struct merge *m);
	const char	*key;		/* of the number in the result */
	const char	*not_mine;	/* a refusal that counts only if all say so */
};

/* -- maps -------------------------------------------------------------------- */

static struct tn_str
text_of(const msgpack_object *o)
{
	return o != NULL && o->type == MSGPACK_OBJECT_STR ?
	    (struct tn_str){ o->via.str.ptr, o->via.str.size } : TN_STR("");
}

static const msgpack_object *
find(const msgpack_object *map, const char *key)
{
	uint32_t i;

	if (map == NULL || map->type != MSGPACK_OBJECT_MAP)
		return NULL;
	for (i = 0; i < map->via.map.size; i++)
		if (map->via.map.ptr[i].key.type == MSGPACK_OBJECT_STR &&
		    tn_str_is(text_of(&map->via.map.ptr[i].key), key))
			return &map->via.map.ptr[i].val;
	return NULL;
}

static uint64_t
number(const msgpack_object *map, const char *key)
{
	const msgpack_object *o = find(map, key);

	return o != NULL && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? o->via.u64 : 0;
}

static void
pack_number(msgpack_packer *pk, const char *key, uint64_t n)
{
	tn_rpc_pack_key(pk, key);
	msgpack_pack_uint64(pk, n);
}

/* { shard, error } */
static void
pack_missing(struct merge *m, unsigned shard)
{
	msgpack_pack_map(&m->pk, 2);
	pack_number(&m->pk, "shard", shard);
	tn_rpc_pack_key(&m->pk, "error");
	tn_rpc_pack_key(&m->pk, m->a[shard].error != NULL ? m->a[shard].error :
	    "answers with what makes no sense");
}

static bool
is_map(const struct sv_peers_answer *a)
{
	return a->error == NULL && a->result.type == MSGPACK_OBJECT_MAP;
}

static bool
is_list(const struct sv_peers_answer *a)
{
	return a->error == NULL && a->result.type == MSGPACK_OBJECT_ARRAY;
}

/* The first shard that has answered with a map; its error if there is none. */
static const struct sv_peers_answer *
first_map(struct merge *m)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (is_map(&m->a[i]))
			return &m->a[i];
	(void)snprintf(m->error, sizeof(m->error), "shard 0: %s", m->a[0].error != NULL ?
	    m->a[0].error : "answers with what makes no sense");
	return NULL;
}

static uint64_t
sum(const struct merge *m, const char *key)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (is_map(&m->a[i]))
			n += number(&m->a[i].result, key);
	return n;
}

static bool
is_one_of(struct tn_str key, const char *const *names)
{
	for (; *names != NULL; names++)
		if (tn_str_is(key, *names))
			return true;
	return false;
}

/* The pairs of one shard's map, those that are named with the sum of all shards'. */
static void
pack_pairs(struct merge *m, const msgpack_object *map, const char *const *summed)
{
	uint32_t i;

	for (i = 0; i < map->via.map.size; i++) {
		const msgpack_object_kv *kv = &map->via.map.ptr[i];
		char key[64];

		msgpack_pack_object(&m->pk, kv->key);
		if (is_one_of(text_of(&kv->key), summed)) {
			(void)snprintf(key, sizeof(key), "%.*s", (int)kv->key.via.str.size,
			    kv->key.via.str.ptr);
			msgpack_pack_uint64(&m->pk, sum(m, key));
		} else
			msgpack_pack_object(&m->pk, kv->val);
	}
}

/* `shards`: of each the numbers and texts that are named, or its error. */
static void
pack_shards(struct merge *m, const char *const *names)
{
	const char *const *name;
	const msgpack_object *o;
	unsigned i;
	size_t n;

	tn_rpc_pack_key(&m->pk, "shards");
	msgpack_pack_array(&m->pk, m->n);
	for (i = 0; i < m->n; i++) {
		if (!is_map(&m->a[i])) {
			pack_missing(m, i);
			continue;
		}
		for (n = 1, name = names; *name != NULL; name++)
			n += find(&m->a[i].result, *name) != NULL;
		msgpack_pack_map(&m->pk, n);
		pack_number(&m->pk, "shard", i);
		for (name = names; *name != NULL; name++)
			if ((o = find(&m->a[i].result, *name)) != NULL) {
				tn_rpc_pack_key(&m->pk, *name);
				msgpack_pack_object(&m->pk, *o);
			}
	}
}

/* -- what shows something ------------------------------------------------------ */

static void
merge_status(struct merge *m)
{
	static const char *const summed[] = { "workers", NULL };
	static const char *const each[] = { "state", "uptime_seconds", "generation", "workers",
	    NULL };
	const struct sv_peers_answer *first = first_map(m);

	if (first == NULL)
		return;
	msgpack_pack_map(&m->pk, first->result.via.map.size + 1);
	pack_pairs(m, &first->result, summed);
	pack_shards(m, each);
}

/* (Of the file each tells the same.) */
static void
merge_storage(struct merge *m)
{
	static const char *const summed[] = { "commits", "commit_bytes", "conflicts", "batches",
	    "syncs", "reruns", NULL };
	static const char *const each[] = { "state", "commits", "conflicts", NULL };
	const struct sv_peers_answer *first = first_map(m);

	if (first == NULL)
		return;
	msgpack_pack_map(&m->pk, first->result.via.map.size + 1);
	pack_pairs(m, &first->result, summed);
	pack_shards(m, each);
}

static void
merge_stats(struct merge *m)
{
	static const char *const each[] = {
#define TN_GAUGE(name, doc, ...) #name,
#define TN_COUNTER(name, doc, ...) #name,
#include "metrics.def"
	    NULL
	};
	struct sv_stats *st, *one;
	unsigned i;

	if (first_map(m) == NULL)
		return;
	st = calloc(2, sizeof(*st));
	if (st == NULL) {
		(void)snprintf(m->error, sizeof(m->error), "out of memory");
		return;
	}
	one = st + 1;
	for (i = 0; i < m->n; i++)
		if (is_map(&m->a[i]) && sv_stats_unpack(one, &m->a[i].result) == 0)
			sv_stats_add(st, one);
	sv_stats_pack_with(st, &m->pk, 1);
	pack_shards(m, each);
	free(st);
}

/* The rows of all, one shard's after the other's. */
static void
merge_rows(struct merge *m)
{
	const msgpack_object_array *rows;
	size_t n = 0;
	unsigned i;
	uint32_t k, j;

	for (i = 0; i < m->n; i++)
		n += is_list(&m->a[i]) ? m->a[i].result.via.array.size : 1;
	msgpack_pack_array(&m->pk, n);
	for (i = 0; i < m->n; i++) {
		if (!is_list(&m->a[i])) {
			pack_missing(m, i);
			continue;
		}
		rows = &m->a[i].result.via.array;
		for (k = 0; k < rows->size; k++) {
			const msgpack_object *row = &rows->ptr[k];
			uint32_t pairs = row->type == MSGPACK_OBJECT_MAP ? row->via.map.size : 0;

			msgpack_pack_map(&m->pk, pairs + 1);
			pack_number(&m->pk, "shard", i);
			for (j = 0; j < pairs; j++) {
				msgpack_pack_object(&m->pk, row->via.map.ptr[j].key);
				msgpack_pack_object(&m->pk, row->via.map.ptr[j].val);
			}
		}
	}
}

/* -- contracts: each once, whichever shards know it ------------------------------- */

struct row {
	const msgpack_object *map;
	struct tn_str	 id;
};

static int
by_id(const void *pa, const void *pb)
{
	const struct row *a = pa, *b = pb;
	size_t n = a->id.len < b->id.len ? a->id.len : b->id.len;
	int c = n > 0 ? memcmp(a->id.p, b->id.p, n) : 0;

	return c != 0 ? c : a->id.len < b->id.len ? -1 : a->id.len > b->id.len;
}

/* All rows, those of one contract side by side; NULL: no memory. */
static struct row *
sorted_rows(const struct sv_peers_answer *a, unsigned shards, size_t *n)
{
	size_t all = 0;
	struct row *rows;
	uint32_t k;
	unsigned i;

	for (i = 0; i < shards; i++)
		all += is_list(&a[i]) ? a[i].result.via.array.size : 0;
	if (all > CONTRACTS_MAX)
		all = CONTRACTS_MAX;
	if ((rows = calloc(all + 1, sizeof(*rows))) == NULL)
		return NULL;
	*n = 0;
	for (i = 0; i < shards; i++)
		for (k = 0; is_list(&a[i]) && k < a[i].result.via.array.size && *n < all; k++) {
			const msgpack_object *map = &a[i].result.via.array.ptr[k];

			rows[*n] = (struct row){ map, text_of(find(map, "contract")) };
			*n += rows[*n].id.len > 0 && rows[*n].id.len <= SV_CONTRACT_MAX;
		}
	qsort(rows, *n, sizeof(*rows), by_id);
	return rows;
}

static uint64_t
sum_rows(const struct row *rows, size_t n, const char *key)
{
	uint64_t all = 0;
	size_t i;

	for (i = 0; i < n; i++)
		all += number(rows[i].map, key);
	return all;
}

/* The gravest: that of the shard where something is the matter. */
static struct tn_str
state_of(const struct row *rows, size_t n)
{
	static const char *const gravest_first[] = { "quarantined", "failed", "update failed",
	    "updating", "loading", "serving" };
	size_t i, k;

	for (k = 0; k < sizeof(gravest_first) / sizeof(gravest_first[0]); k++)
		for (i = 0; i < n; i++)
			if (tn_str_is(text_of(find(rows[i].map, "state")), gravest_first[k]))
				return tn_str(gravest_first[k]);
	return text_of(find(rows[0].map, "state"));
}

static void
pack_contract(struct merge *m, const struct row *rows, size_t n)
{
	static const char *const summed[] = { "requests", "image_bytes",
#define TN_STATUS(name, class, doc) #name,
#include "metrics.def"
	    NULL };
	const msgpack_object_map *map = &rows[0].map->via.map;
	uint32_t i;

	msgpack_pack_map(&m->pk, map->size);
	for (i = 0; i < map->size; i++) {
		struct tn_str key = text_of(&map->ptr[i].key);
		char name[64];

		msgpack_pack_object(&m->pk, map->ptr[i].key);
		(void)snprintf(name, sizeof(name), "%.*s", (int)key.len, key.p);
		if (is_one_of(key, summed))
			msgpack_pack_uint64(&m->pk, sum_rows(rows, n, name));
		else if (tn_str_is(key, "state"))
			tn_rpc_pack_str(&m->pk, state_of(rows, n));
		else
			msgpack_pack_object(&m->pk, map->ptr[i].val);
	}
}

static size_t
same_id(const struct row *rows, size_t n)
{
	size_t k = 1;

	while (k < n && by_id(&rows[0], &rows[k]) == 0)
		k++;
	return k;
}

static void
merge_contracts(struct merge *m)
{
	size_t n, i, out = 0;
	struct row *rows = sorted_rows(m->a, m->n, &n);
	unsigned k;

	if (rows == NULL) {
		(void)snprintf(m->error, sizeof(m->error), "out of memory");
		return;
	}
	for (i = 0; i < n; i += same_id(rows + i, n - i))
		out++;
	for (k = 0; k < m->n; k++)
		out += !is_list(&m->a[k]);
	msgpack_pack_array(&m->pk, out);
	for (i = 0; i < n; i += same_id(rows + i, n - i))
		pack_contract(m, rows + i, same_id(rows + i, n - i));
	for (k = 0; k < m->n; k++)
		if (!is_list(&m->a[k]))
			pack_missing(m, k);
	free(rows);
}

/* -- what does something ---------------------------------------------------------- */

/* What went wrong, if it counts: the same everywhere, or with its shard. */
static bool
failed(struct merge *m)
{
	const char *mine = m->how->not_mine, *e;
	unsigned i, done = 0, refused = 0;
	size_t len = 0;
	bool same = true;

	for (i = 0; i < m->n; i++) {
		e = m->a[i].error;
		if (e == NULL) {
			done++;
			continue;
		}
		same = same && !m->a[i].silent && m->a[0].error != NULL &&
		    strcmp(e, m->a[0].error) == 0;
		if (mine != NULL && !m->a[i].silent && strcmp(e, mine) == 0)
			refused++;
	}
	if (done + refused == m->n && done > 0)
		return false;
	if (done == 0 && same) {
		(void)snprintf(m->error, sizeof(m->error), "%s", m->a[0].error);
		return true;
	}
	for (i = 0; i < m->n; i++) {
		e = m->a[i].error;
		if (e == NULL || (mine != NULL && !m->a[i].silent && strcmp(e, mine) == 0))
			continue;
		len += (size_t)snprintf(m->error + len, sizeof(m->error) - len, "%sshard %u%s %s",
		    len > 0 ? "; " : "", i, m->a[i].silent ? "" : ":", e);
		if (len >= sizeof(m->error))
			break;
	}
	return true;
}

static void
merge_count(struct merge *m)
{
	if (failed(m))
		return;
	msgpack_pack_map(&m->pk, 1);
	pack_number(&m->pk, m->how->key, sum(m, m->how->key));
}

static void
merge_greatest(struct merge *m)
{
	uint64_t n, most = 0;
	unsigned i;

	if (failed(m))
		return;
	for (i = 0; i < m->n; i++)
		if ((n = number(&m->a[i].result, m->how->key)) > most)
			most = n;
	msgpack_pack_map(&m->pk, 1);
	pack_number(&m->pk, m->how->key, most);
}

static void
merge_true(struct merge *m)
{
	if (!failed(m))
		msgpack_pack_true(&m->pk);
}

/*
 * Methods that stand in commands.def and not here are the first shard's (ping, backup,
 * tail), or the master's (reload of everything, upgrade, drain, stop).
 */
static const struct how hows[] = {
	{ "status", QUICK_MS, merge_status, NULL, NULL },
	{ "stats", QUICK_MS, merge_stats, NULL, NULL },
	{ "workers", QUICK_MS, merge_rows, NULL, NULL },
	{ "contracts", QUICK_MS, merge_contracts, NULL, NULL },
	{ "storage", QUICK_MS, merge_storage, NULL, NULL },
	{ "recycle", SLOW_MS, merge_count, "recycled", "no worker has this pid" },
	{ "reset", QUICK_MS, merge_true, NULL, "no such contract was asked for" },
	{ "rotate", SLOW_MS, merge_greatest, "generation", NULL },
	{ "reload", SLOW_MS, merge_greatest, "contracts", NULL },
};

static const struct how *
how_to(struct tn_str method)
{
	size_t i;

	for (i = 0; i < sizeof(hows) / sizeof(hows[0]); i++)
		if (tn_str_is(method, hows[i].method))
			return &hows[i];
	return NULL;
}

bool
sv_gather_wants(struct tn_str method, const msgpack_object *params)
{
	/* Without a contract it is the configuration, which the master reads. */
	if (tn_str_is(method, "reload") && params->via.array.size == 0)
		return false;
	return how_to(method) != NULL;
}

/* -- asking -------------------------------------------------------------------- */

/* What was answered for a contract. */
struct counted {
	char		 id[SV_CONTRACT_MAX + 1];
	uint64_t	 answers[SV_STATUSES];
};

/* Each once, by id. */
struct tally {
	struct counted	*v;
	size_t		 n;
};

/* What a shard has said last. */
struct shard {
	struct sv_stats	 stats;
	struct tally	 contracts;
};

struct metrics {
	struct sv_gather *g;
	struct sv_stats	 st;
	sv_gather_metrics_done *done;
	void		*arg;
};

struct sv_gather {
	struct sv_peers	*peers;
	struct shard	 gone;		/* of fronts that are not there any more, all together */
	struct shard	 shard[];
};

struct call {
	const struct how *how;
	sv_gather_done	*done;
	void		*arg;
};

static void
on_answers(void *arg, const struct sv_peers_answer *answers, unsigned n)
{
	struct call *c = arg;
	struct merge m = { .a = answers, .n = n, .how = c->how };
	struct tn_buf out = { 0 };

	tn_rpc_packer(&m.pk, &out);
	c->how->merge(&m);
	if (m.error[0] == '\0' && out.failed)
		(void)snprintf(m.error, sizeof(m.error), "out of memory");
	c->done(c->arg, m.error[0] != '\0' ? m.error : NULL, &out);
	tn_buf_fini(&out);
	free(c);
}

int
sv_gather_ask(struct sv_gather *g, struct tn_str method, const msgpack_object *params,
    sv_gather_done *done, void *arg)
{
	struct call *c = calloc(1, sizeof(*c));
	struct tn_buf packed = { 0 };
	msgpack_packer pk;
	int rc;

	if (c == NULL)
		return TN_ENOMEM;
	*c = (struct call){ how_to(method), done, arg };
	tn_rpc_packer(&pk, &packed);
	msgpack_pack_object(&pk, *params);
	rc = packed.failed ? TN_ENOMEM : sv_peers_ask(g->peers, method,
	    (struct tn_str){ packed.p, packed.len }, c->how->timeout_ms, on_answers, c);
	tn_buf_fini(&packed);
	if (rc != 0)
		free(c);
	return rc;
}

/* -- what was counted, and by whom ------------------------------------------------ */

static int
by_name(const void *pa, const void *pb)
{
	const struct counted *a = pa, *b = pb;

	return strcmp(a->id, b->id);
}

static void
tally_free(struct tally *t)
{
	free(t->v);
	*t = (struct tally){ NULL, 0 };
}

/* Add b's to a's.  Without memory a stays as it was: TN_ENOMEM. */
static int
tally_add(struct tally *a, const struct tally *b)
{
	struct counted *v;
	size_t i, n = 0;
	unsigned k;

	if (b->n == 0)
		return 0;
	if ((v = reallocarray(a->v, a->n + b->n, sizeof(*v))) == NULL)
		return TN_ENOMEM;
	memcpy(v + a->n, b->v, b->n * sizeof(*v));
	qsort(v, a->n + b->n, sizeof(*v), by_name);
	for (i = 0; i < a->n + b->n; i++) {
		if (n == 0 || by_name(&v[n - 1], &v[i]) != 0) {
			v[n++] = v[i];
			continue;
		}
		for (k = 0; k < SV_STATUSES; k++)
			v[n - 1].answers[k] += v[i].answers[k];
	}
	*a = (struct tally){ v, n };
	return 0;
}

/* One shard's, out of its answer to `contracts`, in place of what is there. */
static void
tally_take(struct tally *t, const struct sv_peers_answer *a)
{
	struct tally now = { NULL, 0 };
	struct row *rows;
	struct counted *c;
	unsigned status;
	size_t n, i;

	if (!is_list(a) || (rows = sorted_rows(a, 1, &n)) == NULL)
		return;
	if ((now.v = calloc(n + 1, sizeof(*now.v))) != NULL) {
		for (i = 0; i < n; i++) {
			c = &now.v[now.n++];
			(void)snprintf(c->id, sizeof(c->id), "%.*s", (int)rows[i].id.len,
			    rows[i].id.p);
			status = 0;
#define TN_STATUS(name, class, doc) c->answers[status++] = number(rows[i].map, #name);
#include "metrics.def"
		}
		tally_free(t);
		*t = now;
	}
	free(rows);
}

/* -- metrics ------------------------------------------------------------------- */

static void
end_metrics(struct metrics *mt, const struct sv_openmetrics_contract *list, size_t n)
{
	mt->done(mt->arg, list != NULL ? &mt->st : NULL, list, n);
	free(mt);
}

static void
on_contracts(void *arg, const struct sv_peers_answer *answers, unsigned shards)
{
	struct metrics *mt = arg;
	struct sv_gather *g = mt->g;
	struct sv_openmetrics_contract *list = NULL;
	struct tally all = { NULL, 0 };
	unsigned i;
	size_t k;
	int rc = tally_add(&all, &g->gone.contracts);

	for (i = 0; i < shards && rc == 0; i++) {
		tally_take(&g->shard[i].contracts, &answers[i]);
		rc = tally_add(&all, &g->shard[i].contracts);
	}
	if (rc == 0)
		list = calloc(all.n + 1, sizeof(*list));
	for (k = 0; k < all.n && list != NULL; k++) {
		list[k].id = all.v[k].id;
		memcpy(list[k].answers, all.v[k].answers, sizeof(list[k].answers));
	}
	end_metrics(mt, list, all.n);
	free(list);
	tally_free(&all);
}

static void
on_stats(void *arg, const struct sv_peers_answer *answers, unsigned shards)
{
	struct metrics *mt = arg;
	struct sv_gather *g = mt->g;
	struct sv_stats *now = malloc(sizeof(*now)), *last;
	unsigned i;

	if (now == NULL) {
		end_metrics(mt, NULL, 0);
		return;
	}
	for (i = 0; i < shards; i++) {
		last = &g->shard[i].stats;
		if (is_map(&answers[i]) && sv_stats_unpack(now, &answers[i].result) == 0) {
			*last = *now;
			sv_stats_add(&mt->st, now);
			continue;
		}
		/* Not there for the moment: what it has counted was counted. */
		*now = *last;
		sv_stats_clear_gauges(now);
		sv_stats_add(&mt->st, now);
	}
	sv_stats_add(&mt->st, &g->gone.stats);
	free(now);
	if (sv_peers_ask(g->peers, TN_STR("contracts"), TN_STR("\x90"), QUICK_MS, on_contracts,
	    mt) != 0)
		end_metrics(mt, NULL, 0);
}

void
sv_gather_renewed(struct sv_gather *g, unsigned shard)
{
	struct shard *s;

	if (shard >= sv_peers_count(g->peers))
		return;
	s = &g->shard[shard];
	sv_stats_clear_gauges(&s->stats);
	sv_stats_add(&g->gone.stats, &s->stats);
	memset(&s->stats, 0, sizeof(s->stats));
	/* Names can be made up, by a shard that ends again and again: then they begin anew. */
	if (g->gone.contracts.n > CONTRACTS_MAX)
		tally_free(&g->gone.contracts);
	if (tally_add(&g->gone.contracts, &s->contracts) == 0)
		tally_free(&s->contracts);
}

int
sv_gather_metrics(struct sv_gather *g, sv_gather_metrics_done *done, void *arg)
{
	struct metrics *mt = calloc(1, sizeof(*mt));
	int rc;

	if (mt == NULL)
		return TN_ENOMEM;
	*mt = (struct metrics){ .g = g, .done = done, .arg = arg };
	if ((rc = sv_peers_ask(g->peers, TN_STR("stats"), TN_STR("\x90"), QUICK_MS, on_stats,
	    mt)) != 0)
		free(mt);
	return rc;
}

struct sv_gather *
sv_gather_new(struct sv_peers *peers)
{
	unsigned n = sv_peers_count(peers);
	struct sv_gather *g = calloc(1, sizeof(*g) + n * sizeof(g->shard[0]));

	if (g != NULL)
		g->peers = peers;
	return g;
}

void
sv_gather_free(struct sv_gather **gp)
{
	struct sv_gather *g = *gp;
	unsigned i;

	if (g == NULL)
		return;
	*gp = NULL;
	for (i = 0; i < sv_peers_count(g->peers); i++)
		tally_free(&g->shard[i].contracts);
	tally_free(&g->gone.contracts);
	free(g);
}
