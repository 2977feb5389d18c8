/*
 * test_sv_openmetrics.c - what is exported, read back by a parser that forgives nothing.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_openmetrics.h"

#define FAMILIES	256
#define SAMPLES		4096
#define LABELS		4
#define TEXT		512

struct label { char name[64], value[TEXT]; };
struct sample {
	char		 name[128];
	struct label	 label[LABELS];
	unsigned	 nlabels, family;
	char		 value[64];
};
static struct {
	char		 name[128], type[32], unit[32], help[TEXT];
} family[FAMILIES];
static struct sample sample[SAMPLES];
static unsigned nfamilies, nsamples;

/* ---- the parser ---- */

static const char *p;

static void
want(const char *text)
{
	size_t n = strlen(text);

	if (strncmp(p, text, n) != 0)
		fail_msg("expected \"%s\" at \"%.40s\"", text, p);
	p += n;
}

static void
take_name(char *to, size_t size, bool colon)
{
	size_t n = 0;

	while (isalnum((unsigned char)*p) || *p == '_' || (colon && *p == ':')) {
		assert_true(n + 1 < size);
		to[n++] = *p++;
	}
	to[n] = '\0';
	assert_true(n > 0 && !isdigit((unsigned char)to[0]));
}

/* Escapes undone; ends at `end`. */
static void
take_escaped(char *to, char end)
{
	size_t n = 0;

	while (*p != end) {
		assert_true(*p != '\0' && *p != '\n' && *p != '"' && n + 1 < TEXT);
		if (*p == '\\') {
			p++;
			assert_true(*p == '\\' || *p == '"' || *p == 'n');
			to[n++] = *p == 'n' ? '\n' : *p;
			p++;
		} else
			to[n++] = *p++;
	}
	to[n] = '\0';
}

static void
take_line(char *to, size_t size)
{
	size_t n = strcspn(p, "\n");

	assert_true(n > 0 && n < size);
	memcpy(to, p, n);
	to[n] = '\0';
	p += n;
}

static void
take_metadata(void)
{
	char name[128];
	unsigned f = nfamilies;

	want("# TYPE ");
	assert_true(f < FAMILIES);
	take_name(family[f].name, sizeof(family[f].name), false);
	want(" ");
	take_line(family[f].type, sizeof(family[f].type));
	want("\n");
	family[f].unit[0] = '\0';
	if (strncmp(p, "# UNIT ", 7) == 0) {
		want("# UNIT ");
		take_name(name, sizeof(name), false);
		assert_string_equal(name, family[f].name);
		want(" ");
		take_line(family[f].unit, sizeof(family[f].unit));
		want("\n");
	}
	want("# HELP ");
	take_name(name, sizeof(name), false);
	assert_string_equal(name, family[f].name);
	want(" ");
	take_escaped(family[f].help, '\n');
	want("\n");
	nfamilies++;
}

static void
take_sample(void)
{
	struct sample *s = &sample[nsamples];
	char *end;

	assert_true(nsamples < SAMPLES && nfamilies > 0);
	memset(s, 0, sizeof(*s));
	s->family = nfamilies - 1;
	take_name(s->name, sizeof(s->name), false);
	if (*p == '{') {
		p++;
		do {
			struct label *l = &s->label[s->nlabels++];

			assert_true(s->nlabels <= LABELS);
			take_name(l->name, sizeof(l->name), false);
			want("=\"");
			take_escaped(l->value, '"');
			want("\"");
		} while (*p == ',' && p++);
		want("}");
	}
	want(" ");
	take_line(s->value, sizeof(s->value));
	(void)strtod(s->value, &end);
	assert_true(*end == '\0' && !isspace((unsigned char)s->value[0]));
	want("\n");
	nsamples++;
}

static bool
same_labels(const struct sample *a, const struct sample *b)
{
	unsigned i;

	if (a->nlabels != b->nlabels)
		return false;
	for (i = 0; i < a->nlabels; i++)
		if (strcmp(a->label[i].name, b->label[i].name) != 0 ||
		    strcmp(a->label[i].value, b->label[i].value) != 0)
			return false;
	return true;
}

static bool
ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

/* The part of a sample's name behind its family's. */
static const char *
suffix(const struct sample *s)
{
	const char *f = family[s->family].name;

	if (strncmp(s->name, f, strlen(f)) != 0)
		fail_msg("%s stands in family %s", s->name, f);
	return s->name + strlen(f);
}

/* What must hold of any text. */
static void
check_all(void)
{
	unsigned i, k, n;

	for (i = 0; i < nfamilies; i++) {
		assert_true(strncmp(family[i].name, "tana_edge_", 10) == 0);
		for (k = 0; k < i; k++)
			assert_string_not_equal(family[i].name, family[k].name);
		assert_true(strcmp(family[i].type, "counter") == 0 ||
		    strcmp(family[i].type, "gauge") == 0 ||
		    strcmp(family[i].type, "histogram") == 0);
		assert_false(ends_in(family[i].name, "_total"));
		assert_false(ends_in(family[i].name, "_bucket"));
		if (family[i].unit[0] != '\0') {
			assert_true(strcmp(family[i].unit, "seconds") == 0 ||
			    strcmp(family[i].unit, "bytes") == 0);
			assert_true(ends_in(family[i].name, family[i].unit));
			n = (unsigned)(strlen(family[i].name) - strlen(family[i].unit));
			assert_int_equal(family[i].name[n - 1], '_');
		}
		for (k = 0, n = 0; k < nsamples; k++)
			n += sample[k].family == i;
		assert_true(n > 0);
	}
	for (i = 0; i < nsamples; i++) {
		const char *type = family[sample[i].family].type, *s = suffix(&sample[i]);

		if (strcmp(type, "counter") == 0)
			assert_string_equal(s, "_total");
		else if (strcmp(type, "gauge") == 0)
			assert_string_equal(s, "");
		else
			assert_true(strcmp(s, "_bucket") == 0 || strcmp(s, "_count") == 0 ||
			    strcmp(s, "_sum") == 0);
		for (k = 0; k < i; k++)
			assert_false(strcmp(sample[i].name, sample[k].name) == 0 &&
			    same_labels(&sample[i], &sample[k]));
	}
}

/* Buckets grow in both, the last is +Inf, and as many as _count behind it. */
static void
check_histograms(void)
{
	double le = -1, n = -1, limit, count;
	unsigned i, inf = 0, histograms = 0;
	const struct label *l;

	for (i = 0; i < nsamples; i++) {
		if (!ends_in(sample[i].name, "_bucket"))
			continue;
		l = &sample[i].label[sample[i].nlabels - 1];
		assert_string_equal(l->name, "le");
		limit = strtod(l->value, NULL);
		count = strtod(sample[i].value, NULL);
		assert_true(limit > le && count >= n);
		le = limit;
		n = count;
		if (strcmp(l->value, "+Inf") != 0)
			continue;
		inf++;
		assert_true(i + 2 < nsamples);
		assert_true(ends_in(sample[i + 1].name, "_count"));
		assert_true(ends_in(sample[i + 2].name, "_sum"));
		assert_true(strtod(sample[i + 1].value, NULL) == count);
		assert_int_equal(sample[i + 1].nlabels, sample[i].nlabels - 1);
		le = n = -1;
	}
	for (i = 0; i < nsamples; i++)
		histograms += ends_in(sample[i].name, "_count");
	assert_true(inf > 0 && inf == histograms && le < 0);
}

static void
parse(const char *text)
{
	p = text;
	nfamilies = nsamples = 0;
	while (strncmp(p, "# EOF", 5) != 0) {
		assert_true(*p != '\0');
		if (*p == '#')
			take_metadata();
		else
			take_sample();
	}
	want("# EOF\n");
	assert_int_equal(*p, '\0');
	check_all();
	check_histograms();
}

static void
parse_stats(const struct sv_stats *st, const struct sv_openmetrics_contract *c, size_t n)
{
	struct tn_buf out = { 0 };

	sv_openmetrics(&out, st, c, n);
	assert_false(out.failed);
	tn_buf_append(&out, "", 1);
	parse(out.p);
	tn_buf_fini(&out);
}

/* The value of a sample with one label, or two; NULL: none. */
static const char *
value_of(const char *name, const char *first, const char *second)
{
	unsigned i;

	for (i = 0; i < nsamples; i++)
		if (strcmp(sample[i].name, name) == 0 &&
		    (first == NULL || strcmp(sample[i].label[0].value, first) == 0) &&
		    (second == NULL || strcmp(sample[i].label[1].value, second) == 0))
			return sample[i].value;
	fail_msg("no %s %s %s", name, first != NULL ? first : "", second != NULL ? second : "");
	return NULL;
}

/* ---- the tests ---- */

static struct sv_stats st;

static void
test_every_entry_of_the_tables_is_there(void **state)
{
	unsigned i;

	(void)state;
	sv_stats_init(&st);
	st.deadlines = 42;
	st.images_bytes = UINT64_MAX;
	st.workers_ended[TN_WC_SANDBOX] = 7;
	st.workers_by_state[TN_WS_BUSY] = 3;
	parse_stats(&st, NULL, 0);
#define TN_COUNTER(name, doc, ...) value_of("tana_edge_" #name "_total", NULL, NULL);
#define TN_GAUGE(name, doc, ...) value_of("tana_edge_" #name, NULL, NULL);
#define TN_STATUS(name, class, doc) value_of("tana_edge_answers_total", "", #class "xx");
#define TN_COUNTERS(name, doc, label, n, value)					\
	for (i = 0; i < (n); i++)						\
		value_of("tana_edge_" #name "_total", value(i), NULL);
#define TN_GAUGES(name, doc, label, n, value)					\
	for (i = 0; i < (n); i++)						\
		value_of("tana_edge_" #name, value(i), NULL);
#define TN_TIME(name, doc) value_of("tana_edge_" #name "_seconds_count", NULL, NULL);
#include "metrics.def"
#define TN_PHASE(sym, name, doc) value_of("tana_edge_phase_seconds_count", name, NULL);
#include "phases.def"
	assert_string_equal(value_of("tana_edge_deadlines_total", NULL, NULL), "42");
	assert_string_equal(value_of("tana_edge_images_bytes", NULL, NULL), "18446744073709551615");
	assert_string_equal(value_of("tana_edge_workers_ended_total", "sandbox", NULL), "7");
	assert_string_equal(value_of("tana_edge_workers_by_state", "busy", NULL), "3");
}

static void
test_units_are_said(void **state)
{
	unsigned i, seconds = 0, bytes = 0;

	(void)state;
	sv_stats_init(&st);
	parse_stats(&st, NULL, 0);
	for (i = 0; i < nfamilies; i++) {
		/* Who has a unit in its name says so: the table was not forgotten. */
		seconds += strcmp(family[i].unit, "seconds") == 0;
		bytes += strcmp(family[i].unit, "bytes") == 0;
		assert_int_equal(ends_in(family[i].name, "_seconds"),
		    strcmp(family[i].unit, "seconds") == 0);
		assert_int_equal(ends_in(family[i].name, "_bytes"),
		    strcmp(family[i].unit, "bytes") == 0);
	}
	assert_true(seconds >= 3 && bytes >= 3);
}

static void
test_contracts_and_the_rest_are_all_answers(void **state)
{
	struct sv_openmetrics_contract c[] = {
		{ "a", { 5, 1, 0, 2 } }, { "b", { 3, 0, 0, 0 } },
	};

	(void)state;
	sv_stats_init(&st);
	st.requests_2xx = 10;
	st.requests_3xx = 1;
	st.requests_4xx = 4;
	st.requests_5xx = 2;
	parse_stats(&st, c, 2);
	assert_string_equal(value_of("tana_edge_answers_total", "a", "2xx"), "5");
	assert_string_equal(value_of("tana_edge_answers_total", "a", "5xx"), "2");
	assert_string_equal(value_of("tana_edge_answers_total", "b", "2xx"), "3");
	assert_string_equal(value_of("tana_edge_answers_total", "", "2xx"), "2");
	assert_string_equal(value_of("tana_edge_answers_total", "", "3xx"), "0");
	assert_string_equal(value_of("tana_edge_answers_total", "", "4xx"), "4");
	assert_string_equal(value_of("tana_edge_answers_total", "", "5xx"), "0");
}

static void
test_names_are_escaped(void **state)
{
	static const char evil[] = "a\"b\\c\nd} 1\n# EOF\n";
	struct sv_openmetrics_contract c = { evil, { 1 } };

	(void)state;
	sv_stats_init(&st);
	st.requests_2xx = 1;
	parse_stats(&st, &c, 1);
	assert_string_equal(value_of("tana_edge_answers_total", evil, "2xx"), "1");
}

/* Of each bucket: exactly those that are not greater. */
static void
test_buckets_are_exact(void **state)
{
	static const uint64_t edges[] = { 0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 1023, 1024, 65535,
		65536, 1000000, 33554431, 33554432, 67108863, 67108864, UINT64_C(1) << 40 };
	size_t n = sizeof(edges) / sizeof(edges[0]), i, k;
	struct sv_stats *s = &st;
	uint64_t sum = 0;
	char text[64];
	double le;
	unsigned below, buckets = 0;

	(void)state;
	sv_stats_init(s);
	for (i = 0; i < n; i++) {
		sv_histogram_add(&s->time_restore, edges[i]);
		sum += edges[i];
	}
	parse_stats(s, NULL, 0);
	for (k = 0; k < nsamples; k++) {
		if (strcmp(sample[k].name, "tana_edge_restore_seconds_bucket") != 0)
			continue;
		le = strtod(sample[k].label[0].value, NULL);
		for (i = 0, below = 0; i < n; i++)
			below += (double)edges[i] / 1e6 <= le;
		assert_int_equal(strtoul(sample[k].value, NULL, 10), below);
		buckets++;
	}
	assert_int_equal(buckets, 26);
	(void)snprintf(text, sizeof(text), "%llu.%06llu", (unsigned long long)sum / 1000000,
	    (unsigned long long)sum % 1000000);
	assert_string_equal(value_of("tana_edge_restore_seconds_sum", NULL, NULL), text);
	assert_string_equal(value_of("tana_edge_restore_seconds_bucket", "3e-06", NULL), "4");
	assert_string_equal(value_of("tana_edge_restore_seconds_bucket", "67.108863", NULL), "19");
}

static void
test_without_memory_it_says_so(void **state)
{
	struct tn_buf out = { .max = 100 };

	(void)state;
	sv_stats_init(&st);
	sv_openmetrics(&out, &st, NULL, 0);
	assert_true(out.failed);
	tn_buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_entry_of_the_tables_is_there),
		cmocka_unit_test(test_units_are_said),
		cmocka_unit_test(test_contracts_and_the_rest_are_all_answers),
		cmocka_unit_test(test_names_are_escaped),
		cmocka_unit_test(test_buckets_are_exact),
		cmocka_unit_test(test_without_memory_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
