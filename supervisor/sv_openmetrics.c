/*
 * sv_openmetrics.c - what is counted, as an OpenMetrics 1.0 text.
 */
#include "config.h"

#include "sv_openmetrics.h"

#include <inttypes.h>

#include "tn_clock.h"

#define PREFIX		"tana_edge_"

/* A histogram has a bucket below each 2^e us of these: 3 us to 67 s. */
#define LE_FIRST	2u
#define LE_LAST		26u

void
sv_openmetrics_escape(struct tn_buf *out, struct tn_str s)
{
	size_t i, from = 0;
	const char *to;

	for (i = 0; i < s.len; i++) {
		to = s.p[i] == '\\' ? "\\\\" :
		    s.p[i] == '"' ? "\\\"" :
		    s.p[i] == '\n' ? "\\n" : NULL;
		if (to == NULL)
			continue;
		tn_buf_append(out, s.p + from, i - from);
		tn_buf_puts(out, to);
		from = i + 1;
	}
	tn_buf_append(out, s.p + from, s.len - from);
}

/* What comes before a family's samples; unit "": it has none. */
static void
put_family(struct tn_buf *out, const char *name, const char *type, const char *unit,
    const char *doc)
{
	tn_buf_printf(out, "# TYPE " PREFIX "%s %s\n", name, type);
	if (unit[0] != '\0')
		tn_buf_printf(out, "# UNIT " PREFIX "%s %s\n", name, unit);
	tn_buf_printf(out, "# HELP " PREFIX "%s ", name);
	sv_openmetrics_escape(out, tn_str(doc));
	tn_buf_append(out, "\n", 1);
}

static void
put_counter(struct tn_buf *out, const char *name, const char *unit, const char *doc, uint64_t n)
{
	put_family(out, name, "counter", unit, doc);
	tn_buf_printf(out, PREFIX "%s_total %" PRIu64 "\n", name, n);
}

static void
put_gauge(struct tn_buf *out, const char *name, const char *unit, const char *doc, uint64_t n)
{
	put_family(out, name, "gauge", unit, doc);
	tn_buf_printf(out, PREFIX "%s %" PRIu64 "\n", name, n);
}

/* suffix: "_total" or nothing. */
static void
put_member(struct tn_buf *out, const char *name, const char *suffix, const char *label,
    const char *value, uint64_t n)
{
	tn_buf_printf(out, PREFIX "%s%s{%s=\"", name, suffix, label);
	sv_openmetrics_escape(out, tn_str(value));
	tn_buf_printf(out, "\"} %" PRIu64 "\n", n);
}

/* labels: empty, or ending in a comma. */
static void
put_histogram(struct tn_buf *out, const char *name, const char *labels,
    const struct sv_histogram *h)
{
	uint64_t seen = 0;
	unsigned e, i = 0, len = (unsigned)strlen(labels);
	const char *open = len > 0 ? "{" : "", *close = len > 0 ? "}" : "";

	for (e = LE_FIRST; e <= LE_LAST; e++) {
		for (; i < 4 * e; i++)
			seen += h->bucket[i];
		tn_buf_printf(out, PREFIX "%s_bucket{%sle=\"%.9g\"} %" PRIu64 "\n", name, labels,
		    (double)sv_histogram_last(4 * e - 1) / 1e6, seen);
	}
	tn_buf_printf(out, PREFIX "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, h->count);
	if (len > 0)
		len--;			/* no comma behind the last one */
	tn_buf_printf(out, PREFIX "%s_count%s%.*s%s %" PRIu64 "\n", name, open, (int)len, labels,
	    close, h->count);
	tn_buf_printf(out, PREFIX "%s_sum%s%.*s%s %" PRIu64 ".%06" PRIu64 "\n", name, open,
	    (int)len, labels, close, h->sum_us / 1000000u, h->sum_us % 1000000u);
}

static void
put_answers(struct tn_buf *out, const char *id, const uint64_t *answers)
{
	unsigned i;

	for (i = 0; i < SV_STATUSES; i++) {
		tn_buf_puts(out, PREFIX "answers_total{contract=\"");
		sv_openmetrics_escape(out, tn_str(id));
		tn_buf_printf(out, "\",status=\"%uxx\"} %" PRIu64 "\n", sv_stats_class(i),
		    answers[i]);
	}
}

/* Each contract's, then those of all others, and of requests that asked for none. */
static void
put_contracts(struct tn_buf *out, const struct sv_stats *st,
    const struct sv_openmetrics_contract *contracts, size_t n)
{
	uint64_t rest[SV_STATUSES];
	unsigned i;
	size_t k;

	put_family(out, "answers", "counter", "",
	    "answers, by contract and class of status (contract \"\": all that are not listed)");
	sv_stats_statuses(st, rest);
	for (k = 0; k < n; k++) {
		for (i = 0; i < SV_STATUSES; i++)
			rest[i] -= contracts[k].answers[i] < rest[i] ? contracts[k].answers[i] :
			    rest[i];
		put_answers(out, contracts[k].id, contracts[k].answers);
	}
	put_answers(out, "", rest);
}

void
sv_openmetrics(struct tn_buf *out, const struct sv_stats *st,
    const struct sv_openmetrics_contract *contracts, size_t ncontracts)
{
	struct {
#define TN_GAUGE(name, doc, ...) uint64_t name;
#include "metrics.def"
	} now = {
#define TN_GAUGE(name, doc, ...) .name = st->name,
#include "metrics.def"
	};
	unsigned i;

	/* The one gauge that moves by itself. */
	now.uptime_seconds = (tn_clock_us() - st->started_us) / 1000000u;
#define TN_COUNTER(name, doc, ...) put_counter(out, #name, "" #__VA_ARGS__, doc, st->name);
#define TN_GAUGE(name, doc, ...) put_gauge(out, #name, "" #__VA_ARGS__, doc, now.name);
#define TN_STATUS(name, class, doc)		/* put_contracts() has them */
#define TN_COUNTERS(name, doc, label, n, value)					\
	put_family(out, #name, "counter", "", doc);				\
	for (i = 0; i < (n); i++)						\
		put_member(out, #name, "_total", #label, value(i), st->name[i]);
#define TN_GAUGES(name, doc, label, n, value)					\
	put_family(out, #name, "gauge", "", doc);				\
	for (i = 0; i < (n); i++)						\
		put_member(out, #name, "", #label, value(i), st->name[i]);
#define TN_TIME(name, doc)							\
	put_family(out, #name "_seconds", "histogram", "seconds", doc);		\
	put_histogram(out, #name "_seconds", "", &st->time_##name);
#include "metrics.def"
	put_contracts(out, st, contracts, ncontracts);
	put_family(out, "phase_seconds", "histogram", "seconds",
	    "the parts of a request's time; total is all of it");
#define TN_PHASE(sym, name, doc)						\
	put_histogram(out, "phase_seconds", "phase=\"" name "\",", &st->phase_##sym);
#include "phases.def"
	tn_buf_puts(out, "# EOF\n");
}
