/*
 * sv_share.c - contracts' shares: a table by identifier, and the limits of each.
 */
#include "config.h"

#include "sv_share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sv_route.h"
#include "tn_options.h"

#define HASH_SIZE	4096u
#define COST_FIRST_US	100u	/* of a contract that nobody knows yet */
#define COST_SHIFT	3	/* a cost counts for an eighth of the mean */

struct sv_shares {
	struct sv_share	*hash[HASH_SIZE];
	size_t		 n;
	struct sv_limits all;		/* of contracts without limits of their own */
	struct sv_share	**own;		/* held: those that have some */
	size_t		 nown;
	struct sv_share	*reserved;	/* of these, who has workers reserved */
	struct sv_fair	 fair;
};

static const struct limit {
	const char	*name;
	size_t		 at;
	unsigned long	 min, max;
} limits[] = {
#define LIMIT(name, min, max) { #name, offsetof(struct sv_limits, name), min, max },
	SV_LIMITS(LIMIT)
#undef LIMIT
};

/* -- the option --------------------------------------------------------------- */

static const struct limit *
find_limit(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strlen(limits[i].name) == len && memcmp(limits[i].name, name, len) == 0)
			return &limits[i];
	return NULL;
}

/* "NAME=NUMBER", up to `end`. */
static int
parse_limit(const char *p, const char *end, struct sv_limits *out, struct tn_buf *err)
{
	const char *eq = memchr(p, '=', (size_t)(end - p));
	const struct limit *l;
	unsigned long v;
	char *after;

	if (eq == NULL || (l = find_limit(p, (size_t)(eq - p))) == NULL) {
		tn_buf_printf(err, "\"%.*s\" is none of", (int)(end - p), p);
#define LIMIT(name, min, max) tn_buf_puts(err, " " #name "=N");
		SV_LIMITS(LIMIT)
#undef LIMIT
		return TN_EINVAL;
	}
	errno = 0;
	v = strtoul(eq + 1, &after, 10);
	if (eq[1] < '0' || eq[1] > '9' || after != end || errno != 0 || v < l->min ||
	    v > l->max) {
		tn_buf_printf(err, "\"%.*s\": %s takes a number from %lu to %lu", (int)(end - p),
		    p, l->name, l->min, l->max);
		return TN_EINVAL;
	}
	*(unsigned *)(void *)((char *)out + l->at) = (unsigned)v;
	return 0;
}

/* "ID:NAME=NUMBER,..."; what is not named stays as it is in *out. */
static int
parse_item(const char *item, char id[SV_CONTRACT_MAX + 1], struct sv_limits *out,
    struct tn_buf *err)
{
	const char *p = strchr(item, ':'), *end;
	size_t n = p != NULL ? (size_t)(p - item) : strlen(item);
	int rc;

	if (!sv_route_id_ok((struct tn_str){ item, n })) {
		tn_buf_printf(err, "\"%s\": \"%.*s\" is no contract's identifier", item, (int)n,
		    item);
		return TN_EINVAL;
	}
	if (p == NULL) {
		tn_buf_printf(err, "\"%s\": a colon and limits must follow the identifier", item);
		return TN_EINVAL;
	}
	memcpy(id, item, n);
	id[n] = '\0';
	do {
		p++;
		end = p + strcspn(p, ",");
		if ((rc = parse_limit(p, end, out, err)) != 0)
			return rc;
		p = end;
	} while (*p == ',');
	return 0;
}

static struct sv_limits
limits_of_all(const struct tn_options *opt)
{
	return (struct sv_limits){ .workers_max = (unsigned)opt->contract_workers_max,
	    .queue_max = (unsigned)opt->contract_queue_max, .weight = 1 };
}

int
sv_shares_check(const struct tn_options *opt, uint64_t workers_max, struct tn_buf *err)
{
	const struct tn_list *list = &opt->contract_limits;
	char id[SV_CONTRACT_MAX + 1], other[SV_CONTRACT_MAX + 1];
	struct tn_buf why = { 0 }, none = { 0 };
	struct sv_limits l, m;
	uint64_t reserved = 0;
	size_t i, k;

	for (i = 0; i < list->n && why.len == 0; i++) {
		l = m = limits_of_all(opt);
		if (parse_item(list->v[i], id, &l, &why) != 0)
			break;
		if (l.workers_max > 0 && l.workers_reserved > l.workers_max)
			tn_buf_printf(&why, "\"%s\": more workers_reserved than workers_max",
			    list->v[i]);
		for (k = 0; k < i; k++)
			if (parse_item(list->v[k], other, &m, &none) == 0 && strcmp(id, other) == 0)
				tn_buf_printf(&why, "contract %s is named twice", id);
		reserved += l.workers_reserved;
	}
	if (why.len == 0 && reserved >= workers_max)
		tn_buf_printf(&why, "%llu workers are reserved: of %llu that there may be one at "
		    "least must be left for all", (unsigned long long)reserved,
		    (unsigned long long)workers_max);
	tn_buf_fini(&none);
	if (why.len > 0)
		tn_buf_printf(err, "contract_limits: %.*s", (int)why.len, why.p);
	i = why.len;
	tn_buf_fini(&why);
	return i > 0 ? TN_EINVAL : 0;
}

/* -- the table ------------------------------------------------------------------ */

static struct sv_share **
find(struct sv_shares *s, const char *id)
{
	uint32_t h = 2166136261u;
	const char *p;
	struct sv_share **at;

	for (p = id; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	for (at = &s->hash[h % HASH_SIZE]; *at != NULL; at = &(*at)->hash_next)
		if (strcmp((*at)->id, id) == 0)
			break;
	return at;
}

struct sv_share *
sv_share_ref(struct sv_share *share)
{
	share->refs++;
	return share;
}

struct sv_share *
sv_shares_get(struct sv_shares *s, const char *id)
{
	struct sv_share **at = find(s, id), *share = *at;

	if (share != NULL)
		return sv_share_ref(share);
	if (strlen(id) > SV_CONTRACT_MAX || sv_fair_reserve(&s->fair, s->n + 1) != 0 ||
	    (share = calloc(1, sizeof(*share))) == NULL)
		return NULL;
	share->refs = 1;
	strcpy(share->id, id);
	share->limits = s->all;
	share->flow.weight = s->all.weight;
	share->cost_us = COST_FIRST_US;
	TAILQ_INIT(&share->queue);
	*at = share;
	s->n++;
	return share;
}

void
sv_share_unref(struct sv_shares *s, struct sv_share **sharep)
{
	struct sv_share *share = *sharep;

	*sharep = NULL;
	if (share == NULL || --share->refs > 0)
		return;
	*find(s, share->id) = share->hash_next;
	s->n--;
	free(share);
}

static void
apply(struct sv_share *share, const struct sv_limits *l)
{
	share->limits = *l;
	share->flow.weight = l->weight;
}

int
sv_shares_reload(struct sv_shares *s, const struct tn_options *opt)
{
	const struct tn_list *list = &opt->contract_limits;
	struct sv_share **own = calloc(list->n + 1, sizeof(own[0])), **before = s->own, *share;
	struct sv_limits all = limits_of_all(opt), l = all;
	struct tn_buf err = { 0 };
	char id[SV_CONTRACT_MAX + 1];
	size_t i, nbefore = s->nown;

	if (own == NULL)
		return TN_ENOMEM;
	for (i = 0; i < list->n; i++)
		if (parse_item(list->v[i], id, &l, &err) != 0 ||
		    (own[i] = sv_shares_get(s, id)) == NULL)
			break;
	tn_buf_fini(&err);
	if (i < list->n) {
		while (i > 0)
			sv_share_unref(s, &own[--i]);
		free(own);
		return TN_ENOMEM;
	}
	s->all = all;
	for (i = 0; i < HASH_SIZE; i++)
		for (share = s->hash[i]; share != NULL; share = share->hash_next)
			apply(share, &all);
	s->reserved = NULL;
	for (i = 0; i < list->n; i++) {
		l = all;
		(void)parse_item(list->v[i], id, &l, &err);
		apply(own[i], &l);
		if (l.workers_reserved == 0)
			continue;
		own[i]->reserved_next = s->reserved;
		s->reserved = own[i];
	}
	s->own = own;
	s->nown = list->n;
	for (i = 0; i < nbefore; i++)
		sv_share_unref(s, &before[i]);
	free(before);
	return 0;
}

struct sv_shares *
sv_shares_new(const struct tn_options *opt)
{
	struct sv_shares *s = calloc(1, sizeof(*s));

	if (s != NULL)
		sv_fair_init(&s->fair);
	if (s != NULL && sv_shares_reload(s, opt) != 0)
		sv_shares_free(&s);
	return s;
}

void
sv_shares_free(struct sv_shares **sp)
{
	struct sv_shares *s = *sp;
	size_t i;

	if (s == NULL)
		return;
	*sp = NULL;
	for (i = 0; i < s->nown; i++)
		sv_share_unref(s, &s->own[i]);
	free(s->own);
	sv_fair_fini(&s->fair);
	free(s);
}

struct sv_fair *
sv_shares_fair(struct sv_shares *s)
{
	return &s->fair;
}

bool
sv_shares_any_reserved(const struct sv_shares *s)
{
	return s->reserved != NULL;
}

unsigned
sv_shares_spoken_for(const struct sv_shares *s, const struct sv_share *but)
{
	const struct sv_share *share;
	unsigned n = 0;

	for (share = s->reserved; share != NULL; share = share->reserved_next)
		if (share != but && share->nworkers < share->limits.workers_reserved)
			n += share->limits.workers_reserved - share->nworkers;
	return n;
}

void
sv_share_charge(struct sv_shares *s, struct sv_share *share, uint64_t believed, uint64_t us,
    uint64_t took)
{
	sv_fair_correct(&s->fair, &share->flow, believed, us);
	if (took > share->cost_us)
		share->cost_us += (took - share->cost_us) >> COST_SHIFT;
	else
		share->cost_us -= (share->cost_us - took) >> COST_SHIFT;
}
