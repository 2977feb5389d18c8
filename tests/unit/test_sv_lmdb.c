/*
 * Storage: commits as payloads tell of them, what they do to a real database, and
 * databases that are full, cannot be written, or are none.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <lmdb.h>

#include "sv_lmdb.h"
#include "sv_lmdb_check.h"
#include "sv_stats.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_operation.h"
#include "tn_options.h"

static struct {
	struct event_base *base;
	struct tn_options *opt;
	struct sv_stats	 stats;
	struct sv_storage *st;
	char		 top[64], dir[96], file[128];
	/* of the last answer */
	int		 err;
	char		 text[SV_STORAGE_TEXT_MAX];
	uint64_t	 version;
	char		 value[16384];
	bool		 there;
	size_t		 n;
	char		 keys[4096];
	unsigned	 waiting;
	int		 copy;
} t;

static void
open_storage(void)
{
	t.st = sv_lmdb_open(t.base, t.dir, t.opt, &t.stats);
	assert_non_null(t.st);
}

static void
set_option(const char *name, const char *value)
{
	struct tn_buf err = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "%s=%s", name, value);
	assert_int_equal(tn_options_set(t.opt, text, &err), 0);
	tn_buf_fini(&err);
}

static int
setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.copy = -1;
	tn_log_open("test", STDERR_FILENO, TN_LOG_ERROR, TN_LOG_TEXT);
	strcpy(t.top, "/tmp/test_sv_lmdb.XXXXXX");
	if (mkdtemp(t.top) == NULL)
		return -1;
	snprintf(t.dir, sizeof(t.dir), "%s/data", t.top);
	snprintf(t.file, sizeof(t.file), "%s/data.mdb", t.dir);
	t.base = event_base_new();
	t.opt = tn_options_new();
	return t.base != NULL && t.opt != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	sv_storage_close(&t.st);
	tn_fd_close(&t.copy);
	tn_options_free(&t.opt);
	event_base_free(t.base);
	snprintf(command, sizeof(command), "rm -rf '%s'", t.top);
	return system(command);
}

/* -- commits in a few words: "r key version", "s key value" ... ----------- */

/* Words of a text, each a text of the payload; "-" is the empty one. */
static struct tn_str
words(struct tn_buf *b, const char *s)
{
	while (*s != '\0') {
		size_t n = strcspn(s, " ");

		if (n == 1 && *s == '-')
			tn_operation_put(b, TN_STR(""));
		else
			tn_operation_put(b, (struct tn_str){ s, n });
		s += n + (s[n] == ' ');
	}
	return (struct tn_str){ b->p, b->len };
}

static void
on_done(void *arg, struct sv_storage_commit *c)
{
	int *err = arg;

	*err = t.err = c->err;
	t.version = c->version;
	snprintf(t.text, sizeof(t.text), "%s", c->err != 0 ? c->text : "");
	t.waiting--;
	sv_storage_commit_free(&c);
}

/* Begin; *err is set when it is done. */
static void
begin(const char *contract, const char *what, int *err)
{
	char text[SV_STORAGE_TEXT_MAX] = "";
	struct tn_buf b = { 0 };
	struct sv_storage_commit *c;
	int rc;

	c = sv_storage_commit_parse(contract, words(&b, what), &rc, text);
	assert_int_equal(rc, 0);
	assert_non_null(c);
	tn_buf_fini(&b);		/* it has a copy */
	c->done = on_done;
	c->arg = err;
	*err = 1;
	t.waiting++;
	sv_storage_commit(t.st, &c);
	assert_null(c);
}

static void
finish(void)
{
	while (t.waiting > 0)
		assert_int_equal(event_base_loop(t.base, EVLOOP_ONCE), 0);
}

static int
commit(const char *contract, const char *what)
{
	int err;

	begin(contract, what, &err);
	finish();
	return err;
}

static void
on_got(void *arg, int err, const char *text, uint64_t version, const struct tn_str *value)
{
	(void)arg;
	t.err = err;
	snprintf(t.text, sizeof(t.text), "%s", text);
	t.version = version;
	t.there = value != NULL;
	if (value != NULL) {
		assert_true(value->len < sizeof(t.value));
		memcpy(t.value, value->p, value->len);
		t.value[value->len] = '\0';
	}
}

static const char *
get(const char *contract, const char *key)
{
	sv_storage_get(t.st, contract, tn_str(key), on_got, NULL);
	return t.err == 0 && t.there ? t.value : NULL;
}

static void
on_listed(void *arg, int err, const char *text, uint64_t members,
    const struct sv_storage_item *items, size_t n)
{
	size_t at = 0;

	(void)arg;
	t.err = err;
	snprintf(t.text, sizeof(t.text), "%s", text);
	t.version = members;
	t.n = n;
	t.keys[0] = '\0';
	for (size_t i = 0; i < n && at < sizeof(t.keys); i++)
		at += (size_t)snprintf(t.keys + at, sizeof(t.keys) - at, "%s%.*s=%.*s",
		    i > 0 ? " " : "", (int)items[i].key.len, items[i].key.p,
		    (int)items[i].value.len, items[i].value.p);
}

static const char *
entries(const char *contract)
{
	sv_storage_list(t.st, contract, true, on_listed, NULL);
	return t.err == 0 ? t.keys : t.text;
}

/* -- payloads ------------------------------------------------------------- */

static int
parsed(struct tn_str payload, char text[SV_STORAGE_TEXT_MAX])
{
	struct sv_storage_commit *c;
	int rc;

	text[0] = '\0';
	c = sv_storage_commit_parse("c", payload, &rc, text);
	assert_true((c != NULL) == (rc == 0));
	sv_storage_commit_free(&c);
	return rc;
}

static void
a_commit_is_what_the_payload_says(void **state)
{
	struct tn_buf b = { 0 };
	char text[SV_STORAGE_TEXT_MAX];
	struct sv_storage_commit *c;
	int rc;

	(void)state;
	c = sv_storage_commit_parse("c",
	    words(&b, "r a 7 m a* 9 3 ab aa a m * 0 0 c s k jvalue d gone s - s"), &rc, text);
	assert_int_equal(rc, 0);
	assert_string_equal(c->contract, "c");
	assert_int_equal(c->nreads, 1);
	assert_true(tn_str_is(c->reads[0].key, "a") && c->reads[0].version == 7);
	assert_int_equal(c->nmatches, 2);
	assert_true(tn_str_is(c->matches[0].pattern, "a*") && c->matches[0].members == 9);
	assert_int_equal(c->matches[0].nkeys, 3);	/* in order now */
	assert_true(tn_str_is(c->matches[0].keys[0], "a"));
	assert_true(tn_str_is(c->matches[0].keys[1], "aa"));
	assert_true(tn_str_is(c->matches[0].keys[2], "ab"));
	assert_int_equal(c->matches[1].nkeys, 0);
	assert_true(c->clear);
	assert_int_equal(c->nwrites, 3);
	assert_true(tn_str_is(c->writes[0].key, "k") && tn_str_is(c->writes[0].value, "jvalue"));
	assert_true(tn_str_is(c->writes[1].key, "gone") && c->writes[1].gone);
	assert_true(c->writes[2].key.len == 0 && tn_str_is(c->writes[2].value, "s"));
	sv_storage_commit_free(&c);
	tn_buf_fini(&b);
}

static void
malformed_payloads_are_refused(void **state)
{
	static const char *const bad[] = { "x", "rr", "-", "r", "r a", "r a x", "r a -1", "m",
		"m a",
		"m a 1", "m a 1 1", "m a 1 99999999999 b", "m a 1 2 b", "s", "s a", "s a -", "d",
		"s a sv c", "d a c" };
	char text[SV_STORAGE_TEXT_MAX];
	struct tn_buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tn_buf_reset(&b);
		assert_int_equal(parsed(words(&b, bad[i]), text), TN_EPROTO);
	}
	assert_int_equal(parsed(TN_STR("\0\0\0\1"), text), TN_EPROTO);
	assert_int_equal(parsed(TN_STR(""), text), 0);
	/* Cut anywhere it is malformed, or a shorter commit. */
	tn_buf_reset(&b);
	(void)words(&b, "r a 7 m a* 9 2 ab aa c s k jvalue d gone");
	for (size_t n = 0; n < b.len; n++) {
		char *exact = malloc(n + 1);

		memcpy(exact, b.p, n);
		(void)parsed((struct tn_str){ exact, n }, text);
		free(exact);
	}
	tn_buf_fini(&b);
}

static void
sizes_are_checked_here_too(void **state)
{
	static char large[20000];
	struct { const char *before; size_t bytes; const char *after, *text; } cases[] = {
		{ "s", 257, "sv", "Key too large: 257 bytes (max 256)" },
		{ "d", 300, "", "Key too large: 300 bytes (max 256)" },
		{ "r", 257, "1", "Key too large: 257 bytes (max 256)" },
		{ "m", 257, "1 0", "Pattern too large: 257 bytes (max 256)" },
		{ "s k", 10242, "", "Value too large: 10241 bytes (max 10240)" },
		{ "s", 256, "sv", "" },
		{ "s k", 10241, "", "" },
	};
	char text[SV_STORAGE_TEXT_MAX];
	struct tn_buf b = { 0 };

	(void)state;
	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tn_buf_reset(&b);
		(void)words(&b, cases[i].before);
		tn_operation_put(&b, (struct tn_str){ large, cases[i].bytes });
		(void)words(&b, cases[i].after);
		assert_int_equal(parsed((struct tn_str){ b.p, b.len }, text),
		    cases[i].text[0] != '\0' ? TN_ELIMIT : 0);
		assert_string_equal(text, cases[i].text);
	}
	tn_buf_fini(&b);
}

static void
patterns_match(void **state)
{
	static const struct { const char *pattern, *key; bool is; } cases[] = {
		{ "", "", true }, { "", "a", false }, { "*", "", true }, { "*", "abc", true },
		{ "a*", "abc", true }, { "a*", "ba", false }, { "*c", "abc", true },
		{ "a*c", "abc", true },
		{ "a*c", "abcd", false }, { "a*b*c", "aXbYbZc", true }, { "**a**", "bab", true },
		{ "a", "ab", false }, { "ab", "a", false }, { "?", "a", false },
		{ "*aab", "aaaab", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_true(sv_storage_match(tn_str(cases[i].pattern), tn_str(cases[i].key)) ==
		    cases[i].is);
}

/* -- a database ----------------------------------------------------------- */

static void
what_is_committed_is_read(void **state)
{
	uint64_t first;

	(void)state;
	open_storage();
	assert_null(get("c", "a"));
	assert_int_equal(t.err, 0);
	assert_true(t.version == 0);
	assert_string_equal(entries("c"), "");
	assert_int_equal(commit("c", "s b s2 s a s1 s - s0"), 0);
	first = t.version;
	assert_true(first > 0);
	assert_string_equal(get("c", "a"), "s1");
	assert_true(t.version == first);
	assert_string_equal(entries("c"), "=s0 a=s1 b=s2");
	assert_true(t.version == first);
	assert_int_equal(commit("c", "s a s3"), 0);
	assert_true(t.version == first + 1);
	assert_string_equal(entries("c"), "=s0 a=s3 b=s2");
	assert_true(t.version == first);		/* the keys are the same */
	assert_int_equal(commit("c", "d a d nothing"), 0);
	assert_string_equal(entries("c"), "=s0 b=s2");
	assert_true(t.version == first + 2);
	assert_int_equal(commit("c", "c s z s9"), 0);
	assert_string_equal(entries("c"), "z=s9");
}

/* Names that begin alike are not each other's. */
static void
contracts_are_apart(void **state)
{
	(void)state;
	open_storage();
	assert_int_equal(commit("ab", "s k s1"), 0);
	assert_int_equal(commit("a", "s k s2 s b s3"), 0);
	assert_int_equal(commit("abc", "s k s4"), 0);
	assert_string_equal(entries("ab"), "k=s1");
	assert_string_equal(entries("a"), "b=s3 k=s2");
	assert_int_equal(commit("a", "c"), 0);
	assert_string_equal(entries("a"), "");
	assert_string_equal(entries("ab"), "k=s1");
	assert_string_equal(entries("abc"), "k=s4");
}

static void
conflicts(void **state)
{
	uint64_t version, members;
	char what[128];

	(void)state;
	open_storage();
	assert_int_equal(commit("c", "s a s1 s b s1"), 0);
	(void)get("c", "a");
	version = t.version;
	(void)entries("c");
	members = t.version;
	snprintf(what, sizeof(what), "r a %llu r none 0 s a s2", (unsigned long long)version);
	assert_int_equal(commit("c", what), 0);
	assert_int_equal(commit("c", what), TN_EBUSY);
	assert_string_equal(t.text, "Conflict: a changed since it was read");
	assert_string_equal(get("c", "a"), "s2");
	assert_int_equal(commit("c", "r b 0 s x s1"), TN_EBUSY);
	assert_string_equal(t.text, "Conflict: b changed since it was read");
	assert_int_equal(commit("c", "r b 999 c"), TN_EBUSY);
	/* The keys are still the same, whatever the list says; then they are not. */
	snprintf(what, sizeof(what), "m * %llu 0 s a s3", (unsigned long long)members);
	assert_int_equal(commit("c", what), 0);
	assert_int_equal(commit("c", "s c s1"), 0);
	snprintf(what, sizeof(what), "m * %llu 2 b a s a s4", (unsigned long long)members);
	assert_int_equal(commit("c", what), TN_EBUSY);
	assert_string_equal(t.text, "Conflict: c changed since it was read");
	snprintf(what, sizeof(what), "m b* %llu 1 b s a s4", (unsigned long long)members);
	assert_int_equal(commit("c", what), 0);
	assert_int_equal(commit("c", "m * 0 4 a aa b c s a s5"), TN_EBUSY);
	assert_string_equal(t.text, "Conflict: aa changed since it was read");
	assert_int_equal(commit("c", "m * 0 4 a b c d s a s5"), TN_EBUSY);
	assert_string_equal(t.text, "Conflict: d changed since it was read");
	assert_int_equal(commit("c", "m * 0 3 a b c s a s5"), 0);
	assert_string_equal(entries("c"), "a=s5 b=s1 c=s1");
	assert_int_equal(t.stats.commit_conflicts, 6);
}

/* They all wait while the first is on its way to the disk. */
static void
a_batch_is_as_if_they_came_one_by_one(void **state)
{
	enum { N = 200 };
	int err[N];
	char what[64];
	uint64_t version;
	unsigned done = 0;

	(void)state;
	open_storage();
	assert_int_equal(commit("c", "s n s0"), 0);
	version = t.version;
	for (int i = 0; i < N; i++) {
		/* Each third wants the first version: one of them can have it. */
		if (i % 3 == 0)
			snprintf(what, sizeof(what), "r n %llu s n s%d",
			    (unsigned long long)version, i);
		else
			snprintf(what, sizeof(what), "s k%d s%d", i, i);
		begin("c", what, &err[i]);
	}
	finish();
	for (int i = 0; i < N; i++) {
		if (i % 3 == 0)
			assert_int_equal(err[i], i == 0 ? 0 : TN_EBUSY);
		else
			assert_int_equal(err[i], 0);
		done += err[i] == 0;
	}
	assert_string_equal(get("c", "n"), "s0");
	assert_string_equal(get("c", "k199"), "s199");
	assert_int_equal(t.stats.commits, done + 1);
	assert_int_equal(t.stats.commit_conflicts, N - done);
	assert_true(t.stats.commit_batches < N / 4);
	assert_int_equal(t.stats.storage_syncs, t.stats.commit_batches);
	assert_int_equal(t.stats.time_commit.count, N + 1);
}

static void
totals_are_checked_where_all_is_known(void **state)
{
	static char value[10240];
	char text[SV_STORAGE_TEXT_MAX], key[16];
	struct sv_storage_commit *c;
	struct tn_buf b = { 0 };
	int rc, err;

	(void)state;
	open_storage();
	memset(value, 'v', sizeof(value));
	value[0] = 's';
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "%04d", i);
		tn_operation_put(&b, TN_STR("s"));
		tn_operation_put(&b, tn_str(key));
		/* 10236 bytes, and the letter */
		tn_operation_put(&b, (struct tn_str){ value, 10237 });
	}
	c = sv_storage_commit_parse("c", (struct tn_str){ b.p, b.len }, &rc, text);
	assert_non_null(c);
	c->done = on_done;
	c->arg = &err;
	t.waiting++;
	sv_storage_commit(t.st, &c);
	finish();
	assert_int_equal(err, 0);
	assert_int_equal(commit("c", "s x s"), TN_ELIMIT);
	assert_string_equal(t.text, "Storage limit exceeded: 102401 bytes (max 102400)");
	assert_int_equal(commit("c", "s - s"), 0);	/* not a byte */
	assert_int_equal(commit("c", "s x s d 0001"), 0);
	assert_int_equal(commit("other", "s x s"), 0);
	assert_null(get("c", "0001"));
	tn_buf_reset(&b);
	for (int i = 0; i < 1001; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		tn_operation_put(&b, TN_STR("s"));
		tn_operation_put(&b, tn_str(key));
		tn_operation_put(&b, TN_STR("s"));
	}
	c = sv_storage_commit_parse("many", (struct tn_str){ b.p, b.len }, &rc, text);
	c->done = on_done;
	c->arg = &err;
	t.waiting++;
	sv_storage_commit(t.st, &c);
	finish();
	assert_int_equal(err, TN_ELIMIT);
	assert_string_equal(t.text, "Too many keys: 1001 (max 1000)");
	assert_string_equal(entries("many"), "");
	tn_buf_fini(&b);
}

static void
it_is_there_after_it_was_closed(void **state)
{
	struct sv_storage_stat st;
	uint64_t version;

	(void)state;
	for (int always = 1; always >= 0; always--) {
		set_option("storage_durability", always ? "always" : "interval");
		set_option("storage_interval_ms", "20");
		open_storage();
		assert_int_equal(commit("c", always ? "s a s1" : "r b 0 s b s2"), 0);
		version = t.version;
		sv_storage_close(&t.st);
	}
	open_storage();
	assert_string_equal(entries("c"), "a=s1 b=s2");
	sv_storage_stat(t.st, &st);
	assert_string_equal(st.error, "");
	assert_string_equal(st.path, t.file);
	assert_true(st.contracts == 1 && st.keys == 2 && st.bytes == 4 && st.sequence == version);
	assert_true(st.size > 0 && st.size_max == (uint64_t)1 << 30);
}

/* Durability "interval": answered before, and synced without being asked again. */
static void
an_interval_syncs_by_itself(void **state)
{
	(void)state;
	set_option("storage_durability", "interval");
	set_option("storage_interval_ms", "50");
	open_storage();
	assert_int_equal(commit("c", "s a s1"), 0);
	assert_int_equal(t.stats.storage_syncs, 0);
	(void)usleep(300000);
	assert_int_equal(commit("c", "s a s2"), 0);	/* brings the counters along */
	assert_int_equal(t.stats.storage_syncs, 1);
}

/* Closing finishes what is under way, and says so. */
static void
closing_answers_what_waits(void **state)
{
	int err[50];

	(void)state;
	open_storage();
	for (int i = 0; i < 50; i++)
		begin("c", "s a s1", &err[i]);
	sv_storage_close(&t.st);
	assert_int_equal(t.waiting, 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(err[i], 0);
}

static void
a_full_database_says_so_and_lives(void **state)
{
	static char value[10000];
	struct sv_storage_stat st;
	char text[SV_STORAGE_TEXT_MAX], want[SV_STORAGE_TEXT_MAX], contract[16], key[16];
	struct sv_storage_commit *c;
	struct tn_buf b = { 0 };
	int rc, err[64], full = 0;

	(void)state;
	set_option("storage_size", "1m");
	open_storage();
	memset(value, 's', sizeof(value));
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		tn_operation_put(&b, TN_STR("s"));
		tn_operation_put(&b, tn_str(key));
		tn_operation_put(&b, (struct tn_str){ value, sizeof(value) });
	}
	/* All at once: they share their transactions, and do not share their fate. */
	for (int i = 0; i < 16; i++) {
		snprintf(contract, sizeof(contract), "c%d", i);
		c = sv_storage_commit_parse(contract, (struct tn_str){ b.p, b.len }, &rc, text);
		assert_non_null(c);
		c->done = on_done;
		c->arg = &err[i];
		t.waiting++;
		sv_storage_commit(t.st, &c);
	}
	finish();
	for (int i = 0; i < 16; i++) {
		snprintf(contract, sizeof(contract), "c%d", i);
		assert_true(err[i] == 0 || err[i] == TN_EUNAVAIL);
		full += err[i] != 0;
		(void)entries(contract);
		assert_int_equal(t.err, 0);
		assert_int_equal(t.n, err[i] == 0 ? 10 : 0);
	}
	assert_true(full > 0 && full < 16);
	snprintf(want, sizeof(want), "Storage is full: %s has reached storage_size", t.file);
	sv_storage_stat(t.st, &st);
	assert_string_equal(st.error, want);
	tn_buf_fini(&b);
}

/* -- what is no database -------------------------------------------------- */

static void
assert_unusable(const char *why)
{
	struct sv_storage_stat st;
	char want[SV_STORAGE_TEXT_MAX];

	snprintf(want, sizeof(want), "Storage failed: %s: ", t.file);
	open_storage();
	(void)get("c", "a");
	assert_int_equal(t.err, TN_EUNAVAIL);
	assert_memory_equal(t.text, want, strlen(want));
	if (why != NULL)
		assert_string_equal(t.text + strlen(want), why);
	(void)entries("c");
	assert_int_equal(t.err, TN_EUNAVAIL);
	assert_int_equal(commit("c", "s a s1"), TN_EUNAVAIL);
	assert_memory_equal(t.text, want, strlen(want));
	sv_storage_stat(t.st, &st);
	assert_string_equal(st.error, t.text);
	sv_storage_close(&t.st);
}

static void
write_file(const char *text, size_t n)
{
	FILE *f = fopen(t.file, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void
a_file_that_is_no_database(void **state)
{
	char text[SV_STORAGE_TEXT_MAX], noise[20000];

	(void)state;
	assert_int_equal(mkdir(t.dir, 0700), 0);
	write_file("hello", 5);
	assert_unusable(NULL);
	arc4random_buf(noise, sizeof(noise));
	write_file(noise, sizeof(noise));
	assert_unusable(NULL);
	assert_int_equal(sv_lmdb_check(t.file, text), TN_EUNAVAIL);
	assert_non_null(strstr(text, t.file));
	memset(noise, 0, sizeof(noise));
	write_file(noise, sizeof(noise));
	assert_unusable(NULL);
}

/* Somebody was killed while the file was made. */
static void
a_file_that_was_begun(void **state)
{
	char text[SV_STORAGE_TEXT_MAX];
	MDB_env *env;

	(void)state;
	assert_int_equal(mkdir(t.dir, 0700), 0);
	write_file("", 0);
	open_storage();
	assert_int_equal(commit("c", "s a s1"), 0);
	sv_storage_close(&t.st);
	assert_int_equal(unlink(t.file), 0);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, t.dir, 0, 0600), 0);
	mdb_env_close(env);
	/* In its place it is one to go on with; as a backup it is none. */
	assert_int_equal(sv_lmdb_check(t.file, text), TN_EUNAVAIL);
	open_storage();
	assert_int_equal(commit("c", "s a s1"), 0);
	assert_string_equal(get("c", "a"), "s1");
	sv_storage_close(&t.st);
	assert_int_equal(sv_lmdb_check(t.file, text), 0);
}

/* Pages that are free again, and some at the end that were never written. */
static void
what_was_large_and_is_small_is_whole(void **state)
{
	char what[32], text[SV_STORAGE_TEXT_MAX], contract[16];

	(void)state;
	open_storage();
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 30; i++) {
			int *err = &t.err;

			snprintf(contract, sizeof(contract), "c%d", i);
			snprintf(what, sizeof(what), round % 2 == 0 ? "s k%d sv" : "c", round);
			begin(contract, what, err);
			if (i % 7 == 0)
				finish();
		}
		finish();
		assert_int_equal(sv_lmdb_check(t.file, text), 0);
	}
}

static void
make_some_data(void)
{
	char what[64];
	int err;

	open_storage();
	for (int i = 0; i < 400; i++) {
		snprintf(what, sizeof(what), "s key%d sSomeValueOfSomeLength%d", i, i);
		begin("c", what, &err);
	}
	finish();
	assert_int_equal(t.err, 0);
	sv_storage_close(&t.st);
}

static void
a_file_that_was_cut(void **state)
{
	char text[SV_STORAGE_TEXT_MAX];
	struct stat st;

	(void)state;
	make_some_data();
	assert_int_equal(sv_lmdb_check(t.file, text), 0);
	assert_int_equal(stat(t.file, &st), 0);
	assert_int_equal(truncate(t.file, st.st_size / 2), 0);
	assert_unusable("it is cut short");
}

#define PAGE	4096u

/* Put something in a page's place: noise, zeroes, ones, another page. */
static void
spoil(char *page, const char *other, unsigned kind)
{
	switch (kind) {
	case 0:
		arc4random_buf(page, PAGE);
		break;
	case 1:
	case 2:
		memset(page, kind == 1 ? 0 : 0xff, PAGE);
		break;
	case 3:
		memcpy(page, other, PAGE);
		break;
	default:			/* the head stays as it was */
		arc4random_buf(page + 16, PAGE - 16);
	}
}

/*
 * Each page, one after the other.  It is found out, or whatever was in it does not
 * matter: then the file is as good as before.
 */
static void
spoiled_pages(void **state)
{
	static char whole[1 << 20], copy[1 << 20];
	char text[SV_STORAGE_TEXT_MAX];
	unsigned found = 0, fine = 0, pages;
	size_t bytes;
	FILE *f;

	(void)state;
	make_some_data();
	assert_non_null(f = fopen(t.file, "r"));
	bytes = fread(whole, 1, sizeof(whole), f);
	assert_int_equal(fclose(f), 0);
	assert_true(bytes > 8 * PAGE && bytes < sizeof(whole));
	pages = (unsigned)(bytes / PAGE);
	for (unsigned i = 0; i < 5 * pages; i++) {
		size_t at = i / 5 * PAGE;

		memcpy(copy, whole, bytes);
		spoil(copy + at, whole + (at + 3 * PAGE) % (pages * PAGE), i % 5);
		write_file(copy, bytes);
		if (sv_lmdb_check(t.file, text) != 0) {
			found++;
			continue;
		}
		fine++;
		open_storage();
		(void)entries("c");
		assert_int_equal(t.err, 0);
		assert_int_equal(commit("c", "c s new s1"), 0);
		sv_storage_close(&t.st);
		assert_int_equal(sv_lmdb_check(t.file, text), 0);
	}
	assert_true(found > 0 && fine > 0);
}

static void
a_directory_that_cannot_be(void **state)
{
	FILE *f;

	(void)state;
	assert_non_null(f = fopen(t.dir, "w"));
	assert_int_equal(fclose(f), 0);
	assert_unusable("Not a directory");
}

static void
a_directory_that_cannot_be_written(void **state)
{
	(void)state;
	if (geteuid() == 0)		/* root can: then as somebody who cannot */
		assert_int_equal(seteuid(65534), 0);
	open_storage();
	(void)get("c", "a");
	assert_int_equal(seteuid(getuid()), 0);
	if (getuid() == 0) {
		assert_int_equal(t.err, TN_EUNAVAIL);
		assert_non_null(strstr(t.text, "Permission denied"));
	} else
		assert_int_equal(t.err, 0);
}

/* -- copies --------------------------------------------------------------- */

static void
on_copied(void *arg, int fd, const char *text)
{
	(void)arg;
	t.copy = fd;
	snprintf(t.text, sizeof(t.text), "%s", text);
	t.waiting--;
}

static void
a_copy_is_a_database(void **state)
{
	char path[64], text[SV_STORAGE_TEXT_MAX];

	(void)state;
	open_storage();
	assert_int_equal(commit("c", "s a s1"), 0);
	t.waiting++;
	assert_int_equal(sv_storage_copy(t.st, on_copied, NULL), 0);
	assert_int_equal(sv_storage_copy(t.st, on_copied, NULL), TN_EBUSY);
	assert_int_equal(commit("c", "s a s2"), 0);	/* waits for the copy, too */
	assert_true(t.copy >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t.copy);
	assert_int_equal(sv_lmdb_check(path, text), 0);
	/* Closing takes care of one that is being made. */
	tn_fd_close(&t.copy);
	t.waiting++;
	assert_int_equal(sv_storage_copy(t.st, on_copied, NULL), 0);
	sv_storage_close(&t.st);
	assert_int_equal(t.waiting, 0);
	assert_true(t.copy >= 0);
}

/* -- several processes at once -------------------------------------------- */

enum { PROCESSES = 4, STEPS = 10, ROUNDS = 40, COMMITS = 15000 };

/* In a child: add 1 to a counter, so many times, as one of a crowd; its exit status. */
static int
count_up(int gate)
{
	uint64_t version;
	char what[96], byte;
	int conflicts = 0, n;

	if (read(gate, &byte, 1) != 0)	/* until all are there */
		return 2;
	t.base = event_base_new();	/* the parent's is not to be shared */
	open_storage();
	for (n = 0; n < STEPS;) {
		long now = get("c", "n") != NULL ? strtol(t.value + 1, NULL, 10) : 0;

		if (t.err != 0) {
			print_error("read: %s\n", t.text);
			return 3;
		}
		version = t.there ? t.version : 0;
		snprintf(what, sizeof(what), "r n %llu s n s%ld", (unsigned long long)version,
		    now + 1);
		switch (commit("c", what)) {
		case 0:
			n++;
			break;
		case TN_EBUSY:
			conflicts++;
			break;
		default:
			print_error("commit: %s\n", t.text);
			return 4;
		}
	}
	sv_storage_close(&t.st);
	/* Were there none at all, they have not met. */
	return conflicts > 0 ? 0 : 5;
}

/* The file is made by one of them while the others want it, too. */
static void
processes_share_it_and_lose_no_update(void **state)
{
	int round, i, gate[2], status, met = 0;
	pid_t pid[PROCESSES];
	char want[32], command[192];

	(void)state;
	snprintf(want, sizeof(want), "s%d", PROCESSES * STEPS);
	for (round = 0; round < ROUNDS; round++) {
		assert_int_equal(pipe(gate), 0);
		for (i = 0; i < PROCESSES; i++)
			if ((pid[i] = fork()) == 0) {
				(void)close(gate[1]);
				_exit(count_up(gate[0]));
			}
		(void)close(gate[0]);
		(void)close(gate[1]);
		for (i = 0; i < PROCESSES; i++) {
			assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
			assert_true(WIFEXITED(status));
			met += WEXITSTATUS(status) == 0;
			assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 5);
		}
		open_storage();
		assert_string_equal(get("c", "n"), want);
		sv_storage_close(&t.st);
		snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
		assert_int_equal(system(command), 0);
	}
	assert_true(met > 0);
}

/* One that opens it reads it through; what others write meanwhile does not look like damage. */
static void
it_is_checked_while_another_process_writes(void **state)
{
	char text[SV_STORAGE_TEXT_MAX], what[64], contract[16];
	int gate[2], status, n, err;
	pid_t pid, gone = 0;
	bool bad;

	(void)state;
	set_option("storage_durability", "interval");
	open_storage();
	assert_int_equal(commit("c", "s a s1"), 0);
	sv_storage_close(&t.st);
	assert_int_equal(pipe(gate), 0);
	if ((pid = fork()) == 0) {
		(void)close(gate[0]);
		t.base = event_base_new();
		open_storage();
		(void)!write(gate[1], "x", 1);
		/*
		 * The file grows, and pages of it become free (to be used again when nobody
		 * reads them any more: hence an end).
		 */
		for (n = 0; n < COMMITS; n++) {
			snprintf(contract, sizeof(contract), "c%d", n / 100);
			snprintf(what, sizeof(what), "s k%d s%040d", n % 100, n);
			begin(contract, what, &err);
			finish();
			if (err != 0) {
				print_error("commit %d: %s\n", n, t.text);
				_exit(1);
			}
		}
		_exit(0);
	}
	(void)close(gate[1]);
	assert_int_equal(read(gate[0], what, 1), 1);
	(void)close(gate[0]);
	for (n = 0; n < 200 && (gone = waitpid(pid, &status, WNOHANG)) == 0; n++)
		if (sv_lmdb_check_dir(t.dir, t.file, text) != 0)
			break;
	bad = n < 200 && gone == 0;
	if (gone == 0) {
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	} else
		assert_int_equal(status, 0);
	if (bad)
		fail_msg("check %d: %s", n, text);
	assert_true(n >= 5);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_commit_is_what_the_payload_says),
		T(malformed_payloads_are_refused),
		T(sizes_are_checked_here_too),
		T(patterns_match),
		T(what_is_committed_is_read),
		T(contracts_are_apart),
		T(conflicts),
		T(a_batch_is_as_if_they_came_one_by_one),
		T(totals_are_checked_where_all_is_known),
		T(it_is_there_after_it_was_closed),
		T(an_interval_syncs_by_itself),
		T(closing_answers_what_waits),
		T(a_full_database_says_so_and_lives),
		T(a_file_that_is_no_database),
		T(a_file_that_was_begun),
		T(what_was_large_and_is_small_is_whole),
		T(a_file_that_was_cut),
		T(spoiled_pages),
		T(a_directory_that_cannot_be),
		T(a_directory_that_cannot_be_written),
		T(a_copy_is_a_database),
		T(processes_share_it_and_lose_no_update),
		T(it_is_checked_while_another_process_writes),
	};

	return cmocka_run_group_tests_name("sv_lmdb", tests, NULL, NULL);
}
