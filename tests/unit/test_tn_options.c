/*
 * Options: every one of the table goes there and back, and every mistake is
 * named with its place.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_options.h"

static const char *const odd[] = {
	"plain",
	"",
	"two words",
	"quo\"te",
	"apo'strophe",
	"back\\slash",
	"end\\",
	"${HOME}",
	"$HOME ${NO_SUCH} $",
	"\\${HOME}",
	"\\\\${HOME}\\",
	"#no comment",
	"a // b",
	"/* c */",
	"tab\tnl\ncr\r",
	"\x01\x1b\x7f",
	"{a, b}",
	"a = b; c",
	"\xc3\xa9\xe2\x82\xac",
	"\xff\xfe",
	"*:80",
	"on",
	"0x10",
	"a\\\nb",
	"\\x41\\101\\n",
	"'\"'\"",
	"+=",
	"$\\{x}",
	"}",
	"(",
	")",
};
#define NODD (sizeof(odd) / sizeof(odd[0]))

static const struct {
	const char *id;
	char kind;
	int reload;
} table[] = {
#define RELOAD 1
#define RESTART 0
#define TN_OPT_STR(name, def, reload, unit, doc) { #name, 's', reload },
#define TN_OPT_LIST(name, def, reload, unit, doc) { #name, 'l', reload },
#define TN_OPT_INT(name, def, min, max, reload, unit, doc) { #name, 'i', reload },
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc) { #name, 'i', reload },
#define TN_OPT_SIZE(name, def, min, max, reload, doc) { #name, 'z', reload },
#define TN_OPT_BOOL(name, def, reload, doc) { #name, 'b', reload },
#define TN_OPT_ENUM(name, def, choices, reload, doc) { #name, 'e', reload },
#include "options.def"
};
#define NOPTIONS (sizeof(table) / sizeof(table[0]))

static struct tn_options *o;
static struct tn_buf err;

static int
each_setup(void **state)
{
	(void)state;
	o = tn_options_new();
	return o == NULL;
}

static int
each_teardown(void **state)
{
	(void)state;
	tn_options_free(&o);
	tn_buf_fini(&err);
	return 0;
}

static const char *
text_of(struct tn_buf *b)
{
	tn_buf_append(b, "", 1);
	assert_false(b->failed);
	b->len--;
	return b->p;
}

static bool
lists_equal(struct tn_list a, struct tn_list b)
{
	size_t i;

	if (a.n != b.n)
		return false;
	for (i = 0; i < a.n; i++)
		if (strcmp(a.v[i], b.v[i]) != 0)
			return false;
	return true;
}

/* Name of the first option that differs, by the struct's members; NULL: none. */
static const char *
difference(const struct tn_options *a, const struct tn_options *b)
{
#define TN_OPT_STR(name, def, reload, unit, doc) if (strcmp(a->name, b->name) != 0) return #name;
#define TN_OPT_LIST(name, def, reload, unit, doc) if (!lists_equal(a->name, b->name)) return #name;
#define TN_OPT_INT(name, def, min, max, reload, unit, doc) if (a->name != b->name) return #name;
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc) if (a->name != b->name) return #name;
#define TN_OPT_SIZE(name, def, min, max, reload, doc) if (a->name != b->name) return #name;
#define TN_OPT_BOOL(name, def, reload, doc) if (a->name != b->name) return #name;
#define TN_OPT_ENUM(name, def, choices, reload, doc) if (a->name != b->name) return #name;
#include "options.def"
	return NULL;
}

static void
set(const char *name, const char *value)
{
	char *s = malloc(strlen(name) + strlen(value) + 2);
	int rc;

	sprintf(s, "%s=%s", name, value);
	rc = tn_options_set(o, s, &err);
	if (rc != TN_OK)
		fail_msg("%s: %s", s, text_of(&err));
	free(s);
}

static int
parse(const char *text)
{
	return tn_options_parse(o, "test.conf", tn_str(text), &err);
}

/* The text is refused, with exactly this message. */
static void
refused(const char *text, const char *message)
{
	assert_int_equal(parse(text), TN_EINVAL);
	assert_string_equal(text_of(&err), message);
}

static void
set_refused(const char *assignment, const char *message)
{
	assert_int_equal(tn_options_set(o, assignment, &err), TN_EINVAL);
	assert_string_equal(text_of(&err), message);
}

/* Dump, read into fresh options, compare; dump again, compare. */
static void
assert_round_trip(const char *what)
{
	struct tn_options *p = tn_options_new();
	struct tn_buf one = { 0 }, two = { 0 };
	const char *name;

	tn_options_dump(o, &one);
	if (tn_options_parse(p, "dump", (struct tn_str){ one.p, one.len }, &err) != TN_OK)
		fail_msg("%s: %s", what, text_of(&err));
	if ((name = difference(o, p)) != NULL)
		fail_msg("%s: %s differs: %s", what, name, text_of(&one));
	tn_options_dump(p, &two);
	assert_string_equal(text_of(&one), text_of(&two));
	tn_buf_fini(&one);
	tn_buf_fini(&two);
	tn_options_free(&p);
}

/* -- there and back -------------------------------------------------------------- */

static void
defaults_are_the_tables(void **state)
{
	struct tn_buf b = { 0 };

	(void)state;
#define TN_OPT_STR(name, def, reload, unit, doc) assert_string_equal(o->name, def);
#define TN_OPT_INT(name, def, min, max, reload, unit, doc) assert_true(o->name == def);
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc) assert_true(o->name == def);
#define TN_OPT_BOOL(name, def, reload, doc) assert_int_equal(o->name, strcmp(def, "on") == 0);
#define TN_OPT_ENUM(name, def, choices, reload, doc) \
	assert_string_equal(tn_options_choice(#name, o->name), def);
#include "options.def"
	assert_int_equal(o->listen.n, 1);
	assert_string_equal(o->listen.v[0], "127.0.0.1:8180");
	assert_int_equal(o->trusted_proxies.n, 0);
	assert_true(o->memory_max == 64u << 20);
	assert_true(o->header_max == 16u << 10);
	tn_options_dump(o, &b);
	assert_non_null(strstr(text_of(&b), "\nmemory_max = 64m\n"));
	assert_non_null(strstr(b.p, "\ncors = on\n"));
	assert_non_null(strstr(b.p, "listen = {\"127.0.0.1:8180\"}\n"));
	tn_buf_fini(&b);
}

static void
defaults_are_within_their_own_rules(void **state)
{
	(void)state;
	assert_round_trip("defaults");
	if (tn_options_check(o, &err) != TN_OK)
		fail_msg("%s", text_of(&err));
}

static void
every_text_option_round_trips(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < NOPTIONS; i++) {
		if (table[i].kind != 's')
			continue;
		for (k = 0; k < NODD; k++) {
			set(table[i].id, odd[k]);
			assert_round_trip(odd[k]);
		}
	}
}

static void
every_list_option_round_trips(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < NOPTIONS; i++) {
		if (table[i].kind != 'l')
			continue;
		set(table[i].id, "");
		assert_round_trip("empty list");
		for (k = 0; k < NODD; k++) {
			if (odd[k][0] == '\0')
				continue;
			set(table[i].id, odd[k]);
			assert_round_trip(odd[k]);
		}
	}
	assert_int_equal(o->listen.n, NODD - 1);
	assert_string_equal(o->listen.v[NODD - 2], odd[NODD - 1]);
}

static void
every_number_round_trips_at_its_bounds(void **state)
{
	char text[32];

	(void)state;
#define TN_OPT_INT(name, def, min, max, reload, unit, doc)		\
	snprintf(text, sizeof(text), "%lld", (long long)(min));	\
	set(#name, text);						\
	assert_true(o->name == (min));					\
	assert_round_trip(#name);					\
	snprintf(text, sizeof(text), "%lld", (long long)(max));	\
	set(#name, text);						\
	assert_true(o->name == (max));					\
	assert_round_trip(#name);
#include "options.def"
}

static void
every_size_round_trips_at_its_bounds_and_between(void **state)
{
	char text[32];
	uint64_t lo;

	(void)state;
#define TN_OPT_SIZE(name, def, min, max, reload, doc)				\
	set(#name, max);							\
	assert_round_trip(#name);						\
	set(#name, min);							\
	assert_round_trip(#name);						\
	lo = o->name;								\
	snprintf(text, sizeof(text), "%llu", (unsigned long long)lo + 1);	\
	set(#name, text);							\
	assert_true(o->name == lo + 1);						\
	assert_round_trip(#name);
#include "options.def"
}

static void
every_switch_and_choice_round_trips(void **state)
{
	const char *c;
	int i;

	(void)state;
#define TN_OPT_BOOL(name, def, reload, doc)		\
	set(#name, "on");				\
	assert_true(o->name);				\
	assert_round_trip(#name);			\
	set(#name, "off");				\
	assert_false(o->name);				\
	assert_round_trip(#name);
#define TN_OPT_ENUM(name, def, choices, reload, doc)			\
	for (i = 0; (c = tn_options_choice(#name, i)) != NULL; i++) {	\
		set(#name, c);						\
		assert_int_equal(o->name, i);				\
		assert_round_trip(c);					\
	}								\
	assert_true(i > 1);
#include "options.def"
}

/* -- values ------------------------------------------------------------------------ */

static void
numbers_out_of_range_are_refused_with_the_range(void **state)
{
	char text[128], want[256];

	(void)state;
#define TN_OPT_INT(name, def, min, max, reload, unit, doc)				\
	for (int up = 0; up < 2; up++) {						\
		snprintf(text, sizeof(text), "%s=%lld", #name,				\
		    up ? (long long)(max) + 1 : (long long)(min) - 1);			\
		snprintf(want, sizeof(want), "%s: \"%s\" is not a number from %lld to %lld",	\
		    #name, strchr(text, '=') + 1, (long long)(min), (long long)(max));	\
		set_refused(text, want);						\
	}										\
	assert_true(o->name == (def));
#include "options.def"
}

/* 0 is how it is kept, and not how it is written. */
static void
a_number_may_be_auto_where_the_table_says_so(void **state)
{
	char text[64], want[256];

	(void)state;
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc)				\
	snprintf(text, sizeof(text), "%d", max);					\
	set(#name, text);								\
	assert_true(o->name == (max));							\
	assert_round_trip(#name);							\
	set(#name, "auto");								\
	assert_true(o->name == 0);							\
	assert_round_trip(#name);							\
	snprintf(want, sizeof(want),							\
	    #name ": \"0\" is neither auto nor a number from %d to %d", min, max);	\
	set_refused(#name "=0", want);							\
	tn_buf_reset(&err);								\
	snprintf(text, sizeof(text), "\n" #name " = Auto\n");				\
	snprintf(want, sizeof(want),							\
	    "test.conf:2: " #name ": \"Auto\" is neither auto nor a number from %d to %d",	\
	    min, max);									\
	refused(text, want);								\
	assert_true(o->name == 0);
#include "options.def"
	set_refused("workers_min=auto", "workers_min: \"auto\" is not a number from 1 to 10000");
}

static void
sizes_out_of_range_are_refused_with_the_range(void **state)
{
	(void)state;
#define TN_OPT_SIZE(name, def, min, max, reload, doc)					\
	set_refused(#name "=18446744073709551615", #name ": \"18446744073709551615\" is not a "	\
	    "number of bytes (k, m, g) from " min " to " max);
#include "options.def"
	set_refused("memory_max=16777215",
	    "memory_max: \"16777215\" is not a number of bytes (k, m, g) from 16m to 1g");
}

static void
sizes_take_k_m_g_and_nothing_else(void **state)
{
	static const char *const bad[] = { "", "m", "1.5m", "-1m", "+64m", " 64m", "64 m", "64mb",
		"64mk", "0x4000000", "64t", "18446744073709551616", "17179869184g",
		"99999999999999999999m" };
	char text[64];
	size_t i;

	(void)state;
	set("images_memory_max", "1G");
	assert_true(o->images_memory_max == UINT64_C(1) << 30);
	set("images_memory_max", "20480k");
	assert_true(o->images_memory_max == 20u << 20);
	set("images_memory_max", "17M");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "images_memory_max=%s", bad[i]);
		assert_int_equal(tn_options_set(o, text, &err), TN_EINVAL);
		assert_true(o->images_memory_max == 17u << 20);
	}
}

static void
numbers_are_digits_and_nothing_else(void **state)
{
	static const char *const bad[] = { "", "x", "4x", "4.0", " 4", "4 ", "+4", "0x4", "1e1",
		"-", "--1", "99999999999999999999" };
	char text[64];
	size_t i;

	(void)state;
	set("workers_min", "007");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "workers_min=%s", bad[i]);
		assert_int_equal(tn_options_set(o, text, &err), TN_EINVAL);
		assert_int_equal(o->workers_min, 7);
	}
}

static void
switches_have_several_words(void **state)
{
	static const char *const yes[] = { "on", "yes", "true", "1", "On", "YES" };
	static const char *const no[] = { "off", "no", "false", "0", "OFF" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		o->cors = false;
		set("cors", yes[i]);
		assert_true(o->cors);
	}
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		o->cors = true;
		set("cors", no[i]);
		assert_false(o->cors);
	}
	set_refused("cors=maybe", "cors: \"maybe\" is neither on nor off");
	set_refused("cors=", "cors: \"\" is neither on nor off");
}

static void
choices_are_named_when_none_fits(void **state)
{
	(void)state;
	set_refused("isolation=Snapshot",
	    "isolation: \"Snapshot\" is none of snapshot, process, reuse, fresh");
	set_refused("log_level=", "log_level: \"\" is none of error, warn, info, debug");
	assert_null(tn_options_choice("isolation", 4));
	assert_null(tn_options_choice("isolation", -1));
	assert_null(tn_options_choice("listen", 0));
	assert_null(tn_options_choice("nothing", 0));
}

/* -- -o ---------------------------------------------------------------------------- */

static void
assignments_that_are_none_are_refused(void **state)
{
	(void)state;
	set_refused("workers_min", "\"workers_min\" is not of the form name=value");
	set_refused("worker=4", "no such option: worker");
	set_refused("=4", "no such option: ");
	set_refused("wor\x1bkers=4", "no such option: wor\\u001bkers");
	set_refused("workers_mi=4", "no such option: workers_mi");
	set_refused("workers_min =4", "no such option: workers_min ");
}

static void
the_value_is_all_after_the_first_sign(void **state)
{
	(void)state;
	set("contracts", "a=b=\"c\" ${HOME}");
	assert_string_equal(o->contracts, "a=b=\"c\" ${HOME}");
}

static void
a_list_replaces_the_default_and_then_appends(void **state)
{
	(void)state;
	set("listen", "a:1");
	assert_int_equal(o->listen.n, 1);
	set("listen", "b:2");
	assert_int_equal(o->listen.n, 2);
	assert_string_equal(o->listen.v[0], "a:1");
	assert_string_equal(o->listen.v[1], "b:2");
	set("listen", "");
	assert_int_equal(o->listen.n, 0);
	set("listen", "c:3");
	assert_int_equal(o->listen.n, 1);
}

static void
a_list_on_the_command_line_replaces_the_files(void **state)
{
	(void)state;
	assert_int_equal(parse("listen = {\"a:1\", \"b:2\"}\n"), TN_OK);
	assert_int_equal(o->listen.n, 2);
	set("listen", "c:3");
	set("listen", "d:4");
	assert_int_equal(o->listen.n, 2);
	assert_string_equal(o->listen.v[0], "c:3");
}

/* -- files ------------------------------------------------------------------------- */

static void
a_file_sets_what_it_names_and_nothing_else(void **state)
{
	struct tn_options *d = tn_options_new();

	(void)state;
	assert_int_equal(parse(
	    "# comment\n"
	    "workers_min = 7\n"
	    "workers_max=\"8\"\n"
	    "memory_max = 32m   # more\n"
	    "  cors=off\n"
	    "contracts = /srv/a-b_c.d:e@f\n"
	    "run_dir = 'it is ${HOME} \\n'\n"
	    "state_dir = \"a\\\"b\\\\c\\n\\x41\"\n"
	    "log_level = debug // more\n"
	    "listen = {127.0.0.1:1, \"[::1]:2\", 'unix:/x y'}\n"
	    "/* nothing\n workers_min = 9 */\n"), TN_OK);
	assert_int_equal(o->workers_min, 7);
	assert_int_equal(o->workers_max, 8);
	assert_true(o->memory_max == 32u << 20);
	assert_false(o->cors);
	assert_string_equal(o->contracts, "/srv/a-b_c.d:e@f");
	assert_string_equal(o->run_dir, "it is ${HOME} \\n");
	assert_string_equal(o->state_dir, "a\"b\\c\nA");
	assert_string_equal(tn_options_choice("log_level", o->log_level), "debug");
	assert_int_equal(o->listen.n, 3);
	assert_string_equal(o->listen.v[0], "127.0.0.1:1");
	assert_string_equal(o->listen.v[1], "[::1]:2");
	assert_string_equal(o->listen.v[2], "unix:/x y");
	assert_string_equal(o->user, d->user);
	assert_int_equal(o->deadline_ms, d->deadline_ms);
	tn_options_free(&d);
}

static void
lists_in_files(void **state)
{
	(void)state;
	assert_int_equal(parse("listen = a:1"), TN_OK);
	assert_int_equal(o->listen.n, 1);
	assert_int_equal(
	    parse("listen = {a:1,\n# not this: b:2,\nc:3, // nor this\nd:4,}\n"), TN_OK);
	assert_int_equal(o->listen.n, 3);
	assert_string_equal(o->listen.v[2], "d:4");
	assert_int_equal(parse("listen = {x:1}\nlisten += {y:2, z:3}\nlisten += w:4\n"), TN_OK);
	assert_int_equal(o->listen.n, 4);
	assert_string_equal(o->listen.v[3], "w:4");
	assert_int_equal(parse("listen = {}"), TN_OK);
	assert_int_equal(o->listen.n, 0);
}

static void
an_empty_file_is_fine(void **state)
{
	static const char *const empty[] = { "", "\n", "# only\n", "// only", "/**/", "#",
		"   \t\r\n" };
	struct tn_options *d = tn_options_new();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		assert_int_equal(parse(empty[i]), TN_OK);
		assert_null(difference(o, d));
	}
	tn_options_free(&d);
}

static void
mistakes_are_named_with_file_and_line(void **state)
{
	(void)state;
	refused("\n\nworker = 3\n", "test.conf:3: no such option 'worker'");
	refused("# c\n# c\n/* c\n c */\nworkers_min = 0 # c\n",
	    "test.conf:5: workers_min: \"0\" is not a number from 1 to 10000");
	refused("cors = on\nlisten = {a:1,\n# c\n\"\"}\n",
	    "test.conf:4: listen: an item of the list is empty");
	refused("memory_max = 1k\n",
	    "test.conf:1: memory_max: \"1k\" is not a number of bytes (k, m, g) from 16m to 1g");
	refused("\nisolation = none",
	    "test.conf:2: isolation: \"none\" is none of snapshot, process, reuse, fresh");
	refused("cors 3\n", "test.conf:1: missing equal sign after option 'cors'");
	refused("cors = {on}\n", "test.conf:1: unexpected token '{'");
	refused("cors += on\n", "test.conf:1: attempt to append to non-list option 'cors'");
	refused("user = \"a\nb\n\n", "test.conf:1: this quoted text has no end");
	refused("\nuser = 'a\nb\n\n", "test.conf:2: this quoted text has no end");
	refused("\n\n/* a\nb\n\n", "test.conf:3: this comment has no end");
	refused("user = a\nlisten = *:80\n", "test.conf:2: a text with * in it must be quoted");
	refused("user = ${HOME}\n", "test.conf:1: a text with ${ in it must be quoted");
	refused("listen = {a:1", "test.conf:1: premature end of file");
	refused("user =", "test.conf:1: premature end of file");
	refused("include(\"/etc/passwd\")\n", "test.conf:1: no such option 'include'");
	refused("__unknown = 1\n", "test.conf:1: no such option '__unknown'");
}

static void
a_byte_of_nul_is_refused(void **state)
{
	(void)state;
	assert_int_equal(
	    tn_options_parse(o, "f", TN_STR("cors = off\n\0user = x\n"), &err), TN_EINVAL);
	assert_string_equal(text_of(&err), "f:2: a NUL byte");
	assert_int_equal(tn_options_parse(o, "f", TN_STR("user = \"a\0b\"\n"), &err), TN_EINVAL);
	assert_int_equal(tn_options_parse(o, "f", TN_STR("user = \"a\\\0b\"\n"), &err), TN_EINVAL);
	assert_int_equal(tn_options_parse(o, "f", TN_STR("# \0 user = x\n"), &err), TN_EINVAL);
	assert_true(o->cors);
}

static void
the_environment_stays_outside(void **state)
{
	(void)state;
	assert_int_equal(setenv("TN_TEST", "secret", 1), 0);
	assert_int_equal(parse("user = \"${TN_TEST}\"\nworker_user = '${TN_TEST}'\n"
	    "domain = \"\\${TN_TEST}\"\ncontracts = \"\\\\${TN_TEST}\"\n"), TN_OK);
	assert_string_equal(o->user, "${TN_TEST}");
	assert_string_equal(o->worker_user, "${TN_TEST}");
	assert_string_equal(o->domain, "${TN_TEST}");
	assert_string_equal(o->contracts, "\\${TN_TEST}");
}

static void
a_refused_file_changes_nothing(void **state)
{
	struct tn_options *d = tn_options_new();

	(void)state;
	refused("cors = off\nuser = x\nlisten = {a:1}\nworkers_min = -1\n",
	    "test.conf:4: workers_min: \"-1\" is not a number from 1 to 10000");
	assert_null(difference(o, d));
	tn_options_free(&d);
}

/* The parser under it is not reentrant: an error must not spoil the next file. */
static void
a_good_file_after_a_bad_one(void **state)
{
	static const char *const bad[] = { "user = {", "user = \"", "= = =", "{{{{", "user = a b c",
		"'", "listen = {a, b", "user = \"\\", ")(" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i]), TN_EINVAL);
		assert_true(err.len > 0);
		assert_int_equal(parse("user = good\n"), TN_OK);
		assert_string_equal(o->user, "good");
		set("user", "x");
	}
}

static void
an_error_is_one_line(void **state)
{
	(void)state;
	assert_int_equal(parse("cors = \"a\nb\x1b\"\nworse = 1\n"), TN_EINVAL);
	assert_null(strchr(text_of(&err), '\n'));
	assert_null(strchr(err.p, '\x1b'));
}

static void
the_last_value_wins(void **state)
{
	(void)state;
	assert_int_equal(parse("user = a\nuser = b\nlisten = {a:1}\nlisten = {b:2}\n"), TN_OK);
	assert_string_equal(o->user, "b");
	assert_int_equal(o->listen.n, 1);
	assert_string_equal(o->listen.v[0], "b:2");
}

static void
files_that_cannot_be_read_are_named(void **state)
{
	char dir[] = "/tmp/tn-options-XXXXXX", path[64], want[128];
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/conf", dir);
	assert_int_equal(tn_options_read(o, path, &err), TN_ENOENT);
	snprintf(want, sizeof(want), "%s: No such file or directory", path);
	assert_string_equal(text_of(&err), want);
	assert_int_equal(tn_options_read(o, dir, &err), TN_ESYS);
	snprintf(want, sizeof(want), "%s: Is a directory", dir);
	assert_string_equal(text_of(&err), want);

	assert_non_null(f = fopen(path, "w"));
	fputs("cors = off\nnonsense = 1\n", f);
	fclose(f);
	assert_int_equal(tn_options_read(o, path, &err), TN_EINVAL);
	snprintf(want, sizeof(want), "%s:2: no such option 'nonsense'", path);
	assert_string_equal(text_of(&err), want);
	assert_true(o->cors);

	assert_non_null(f = fopen(path, "w"));
	for (int i = 0; i < 3000; i++)
		fputs("cors = off # a file longer than one read\n", f);
	fclose(f);
	assert_int_equal(tn_options_read(o, path, &err), TN_OK);
	assert_false(o->cors);

	/* Something endless by mistake. */
	assert_non_null(f = fopen(path, "w"));
	assert_int_equal(ftruncate(fileno(f), 64 << 20), 0);
	fclose(f);
	assert_int_equal(tn_options_read(o, path, &err), TN_ESYS);
	snprintf(want, sizeof(want), "%s: File too large", path);
	assert_string_equal(text_of(&err), want);

	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(tn_options_read(o, path, &err), TN_OK);	/* empty, and no hang */
	unlink(path);
	rmdir(dir);
}

/* -- checks ------------------------------------------------------------------------ */

static void
check_fails(const char *name, const char *value, const char *message)
{
	char text[600];

	each_teardown(NULL);
	each_setup(NULL);
	snprintf(text, sizeof(text), "%s=%s", name, value);
	assert_int_equal(tn_options_set(o, text, &err), TN_OK);
	assert_int_equal(tn_options_check(o, &err), TN_EINVAL);
	assert_string_equal(text_of(&err), message);
}

static void
check_passes(const char *name, const char *value)
{
	each_teardown(NULL);
	each_setup(NULL);
	set(name, value);
	if (tn_options_check(o, &err) != TN_OK)
		fail_msg("%s=%s: %s", name, value, text_of(&err));
}

static void
options_that_contradict_each_other(void **state)
{
	(void)state;
	check_fails("workers_min", "101", "workers_min: 101 is more than workers_max (100)");
	check_passes("workers_min", "100");
	check_fails("user", "nobody", "worker_user: must differ from user (nobody)");
	check_fails("target_max", "17k",
	    "target_max: 17408 bytes are more than header_max (16384), of which the "
	    "target is a part");
	check_passes("reply_max", "12m");
	check_passes("body_max", "8m");
}

static void
options_that_must_not_be_empty(void **state)
{
	(void)state;
	check_fails("listen", "", "listen: there must be one address at least");
	check_fails("contracts", "", "contracts: must not be empty");
	check_fails("run_dir", "", "run_dir: must not be empty");
	check_fails("state_dir", "", "state_dir: must not be empty");
	check_fails("user", "", "user: must not be empty");
	check_fails("worker_user", "", "worker_user: must not be empty");
	check_fails("log", "", "log: must not be empty");
	check_passes("domain", "");
	check_passes("trusted_proxies", "");
}

static void
listen_addresses_are_looked_at(void **state)
{
	static const char *const good[] = { "127.0.0.1:8180", "0.0.0.0:0", "*:80", "[::1]:65535",
		"[::]:1", "[fe80::1%eth0]:80", "unix:/run/x.sock", "unix:relative",
		"unix:@abstract" };
	static const char *const bad[] = { "80", ":80", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x", "127.0.0.1:+80",
		"localhost:80", "::1:80", "[::1]", "[::1]80", "[127.0.0.1]:80", "[]:80", "[:80",
		"unix:", "1.2.3:80", "**:80", "*", "http://1.2.3.4:80", "127.0.0.1:80 ",
		"unix:/123456789012345678901234567890123456789012345678901234567890123456789"
		"0123456789012345678901234567890123456789" };
	char want[400];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check_passes("listen", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want),
		    "listen: \"%s\" is none of ADDRESS:PORT, [ADDRESS]:PORT, *:PORT, "
		    "unix:PATH",
		    bad[i]);
		check_fails("listen", bad[i], want);
	}
}

static void
the_same_address_twice(void **state)
{
	(void)state;
	set("listen", "127.0.0.1:1");
	set("listen", "127.0.0.1:2");
	assert_int_equal(tn_options_check(o, &err), TN_OK);
	set("listen", "127.0.0.1:1");
	assert_int_equal(tn_options_check(o, &err), TN_EINVAL);
	assert_string_equal(text_of(&err), "listen: \"127.0.0.1:1\" is given twice");
	set("listen", "");
	set("listen", "127.0.0.1:0");
	set("listen", "127.0.0.1:0");
	assert_int_equal(tn_options_check(o, &err), TN_OK);
}

static void
proxies_are_addresses_or_networks(void **state)
{
	static const char *const good[] = { "10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32",
		"::1", "fd00::/8", "::/0", "::1/128", "unix" };
	static const char *const bad[] = { "10.0.0", "unix:", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1",
		"10.0.0.1/x", "::1/129", "[::1]", "proxy", "/8", "10.0.0.1/8/8", "10.0.0.1:80",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc" };
	char want[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check_passes("trusted_proxies", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want),
		    "trusted_proxies: \"%s\" is neither an address nor ADDRESS/BITS", bad[i]);
		check_fails("trusted_proxies", bad[i], want);
	}
}

static void
a_domain_is_a_domain_name(void **state)
{
	static const char *const good[] = { "example.org", "localhost", "a-b.c1.example",
		"EXAMPLE.org",
		"123456789012345678901234567890123456789012345678901234567890123.org" };
	static const char *const bad[] = { ".example.org", "example.org.", "a..b", "-a.b", "a-.b",
		"a.b-", "a b", "a_b", "a:80", "*.a", "\xc3\xa4.de",
		"1234567890123456789012345678901234567890123456789012345678901234.org" };
	char want[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check_passes("domain", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(want, sizeof(want), "domain: \"%s\" is not a domain name", bad[i]);
		check_fails("domain", bad[i], want);
	}
}

static void
a_log_needs_a_known_name_or_a_path(void **state)
{
	(void)state;
	check_passes("log", "syslog");
	check_passes("log", "/var/log/x");
	check_passes("log", "./x");
	check_fails(
	    "log", "sylog", "log: \"sylog\" is neither stderr nor syslog nor a path with a slash");
}

static void
run_dir_leaves_room_for_the_socket(void **state)
{
	char dir[120];

	(void)state;
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[94] = '\0';			/* and /control.sock: 107 */
	check_passes("run_dir", dir);
	dir[94] = 'd';
	dir[95] = '\0';
	check_fails(
	    "run_dir", dir, "run_dir: too long for the control socket in it (94 bytes at most)");
}

/* -- output and reload ------------------------------------------------------------- */

static void
help_and_manual_have_every_option_with_its_facts(void **state)
{
	struct tn_buf help = { 0 }, mdoc = { 0 };
	const char *p, *end;
	char text[128];

	(void)state;
	tn_options_help(&help);
	tn_options_mdoc(&mdoc);
	text_of(&help);
	text_of(&mdoc);
	for (size_t i = 0; i < NOPTIONS; i++) {
		snprintf(text, sizeof(text), "  %s=", table[i].id);
		assert_non_null(strstr(help.p, text));
		snprintf(text, sizeof(text), ".It Sy %s ", table[i].id);
		assert_non_null(strstr(mdoc.p, text));
	}
	assert_non_null(strstr(mdoc.p,
	    ".It Sy workers_min No = Ar \"workers\"\nWorkers kept ready.\n"
	    "Default: 4, from 1 to 10000;\nSIGHUP applies it.\n"));
	assert_non_null(strstr(mdoc.p, "from 16m to 1g;\nneeds a restart.\n"));
	assert_non_null(strstr(mdoc.p, "Default: 1, from 1 to 64, or auto;\nneeds a restart.\n"));
	assert_non_null(strstr(help.p,
	    "        Workers kept ready. (default 4, from 1 to 10000; SIGHUP applies it)"
	    "\n"));
	for (p = help.p; *p != '\0'; p = end + 1) {
		end = strchr(p, '\n');
		assert_non_null(end);
		assert_true(end - p < 80);
	}
	tn_buf_fini(&help);
	tn_buf_fini(&mdoc);
}

static void
reload_takes_what_it_may_and_names_the_rest(void **state)
{
	struct tn_options *next = tn_options_new();
	struct tn_buf left = { 0 };

	(void)state;
	assert_int_equal(
	    tn_options_parse(next, "f",
		TN_STR(
		    "workers_min = 9\nuser = other\nlisten = {a:1}\n"
		    "trusted_proxies = {10.0.0.1, 10.0.0.2}\ndomain = example.org\n"
		    "cors = off\nlog_level = debug\n"
		    "header_max = 2k\nisolation = fresh\n"),
		&err),
	    TN_OK);
	assert_int_equal(tn_options_reload(o, next, &left), TN_OK);
	assert_string_equal(text_of(&left), "listen user isolation");
	tn_options_free(&next);		/* what was taken over is a copy */
	assert_int_equal(o->workers_min, 9);
	assert_string_equal(o->user, "www-data");
	assert_string_equal(o->listen.v[0], "127.0.0.1:8180");
	assert_int_equal(o->trusted_proxies.n, 2);
	assert_string_equal(o->trusted_proxies.v[1], "10.0.0.2");
	assert_string_equal(o->domain, "example.org");
	assert_false(o->cors);
	assert_true(o->header_max == 2048);
	assert_string_equal(tn_options_choice("isolation", o->isolation), "snapshot");
	tn_buf_fini(&left);
}

/* Each option alone, as the table says. */
static void
reload_of_each_option_is_as_the_table_says(void **state)
{
	static const char *const other[128] = { ['s'] = "other", ['l'] = "other" };
	struct tn_options *next;
	struct tn_buf left = { 0 };
	const char *value;
	char text[128];

	(void)state;
	for (size_t i = 0; i < NOPTIONS; i++) {
		next = tn_options_new();
		value = other[(unsigned char)table[i].kind];
#define TN_OPT_INT(name, def, min, max, reload, unit, doc) \
	if (strcmp(table[i].id, #name) == 0) value = (def) == (max) ? #min : #max;
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc) \
	if (strcmp(table[i].id, #name) == 0) value = "auto";
#define TN_OPT_SIZE(name, def, min, max, reload, doc) \
	if (strcmp(table[i].id, #name) == 0) value = strcmp(def, max) == 0 ? min : max;
#define TN_OPT_BOOL(name, def, reload, doc) \
	if (strcmp(table[i].id, #name) == 0) value = strcmp(def, "on") == 0 ? "off" : "on";
#define TN_OPT_ENUM(name, def, choices, reload, doc) \
	if (strcmp(table[i].id, #name) == 0) value = tn_options_choice(#name, next->name == 0);
#include "options.def"
		snprintf(text, sizeof(text), "%s=%s", table[i].id, value);
		assert_int_equal(tn_options_set(next, text, &err), TN_OK);
		assert_string_equal(difference(o, next), table[i].id);
		tn_buf_reset(&left);
		assert_int_equal(tn_options_reload(o, next, &left), TN_OK);
		if (table[i].reload) {
			assert_int_equal(left.len, 0);
			assert_null(difference(o, next));
		} else {
			assert_string_equal(text_of(&left), table[i].id);
			assert_string_equal(difference(o, next), table[i].id);
		}
		tn_options_free(&next);
		tn_options_free(&o);
		o = tn_options_new();
	}
	tn_buf_fini(&left);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, each_setup, each_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults_are_the_tables),
		TEST(defaults_are_within_their_own_rules),
		TEST(every_text_option_round_trips),
		TEST(every_list_option_round_trips),
		TEST(every_number_round_trips_at_its_bounds),
		TEST(every_size_round_trips_at_its_bounds_and_between),
		TEST(every_switch_and_choice_round_trips),
		TEST(numbers_out_of_range_are_refused_with_the_range),
		TEST(a_number_may_be_auto_where_the_table_says_so),
		TEST(sizes_out_of_range_are_refused_with_the_range),
		TEST(sizes_take_k_m_g_and_nothing_else),
		TEST(numbers_are_digits_and_nothing_else),
		TEST(switches_have_several_words),
		TEST(choices_are_named_when_none_fits),
		TEST(assignments_that_are_none_are_refused),
		TEST(the_value_is_all_after_the_first_sign),
		TEST(a_list_replaces_the_default_and_then_appends),
		TEST(a_list_on_the_command_line_replaces_the_files),
		TEST(a_file_sets_what_it_names_and_nothing_else),
		TEST(lists_in_files),
		TEST(an_empty_file_is_fine),
		TEST(mistakes_are_named_with_file_and_line),
		TEST(a_byte_of_nul_is_refused),
		TEST(the_environment_stays_outside),
		TEST(a_refused_file_changes_nothing),
		TEST(a_good_file_after_a_bad_one),
		TEST(an_error_is_one_line),
		TEST(the_last_value_wins),
		TEST(files_that_cannot_be_read_are_named),
		TEST(options_that_contradict_each_other),
		TEST(options_that_must_not_be_empty),
		TEST(listen_addresses_are_looked_at),
		TEST(the_same_address_twice),
		TEST(proxies_are_addresses_or_networks),
		TEST(a_domain_is_a_domain_name),
		TEST(a_log_needs_a_known_name_or_a_path),
		TEST(run_dir_leaves_room_for_the_socket),
		TEST(help_and_manual_have_every_option_with_its_facts),
		TEST(reload_takes_what_it_may_and_names_the_rest),
		TEST(reload_of_each_option_is_as_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
