/*
 * The contracts directory as the front knows it (sv_contract.h), with a compiler
 * and a builder that the test plays.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_contract.h"
#include "sv_share.h"
#include "sv_lower.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

static struct {
	char		 dir[64];
	int		 fd;
	struct tn_options *opt;
	struct sv_contracts *cs;
	struct sv_shares *shares;
	struct sv_version *building;	/* last asked for */
	unsigned	 builds, settled;
	/* the compiler's one job */
	char		 lowered[256];	/* names of the files it was given */
	sv_lower_done	*done;
	void		*done_arg;
} t;

/* Stands in for the compiler's client: libsv's own is then not linked. */
void
sv_lower_submit(struct sv_lower *l, const char *contract, const char *const *files, size_t n,
    sv_lower_done *done, void *arg)
{
	(void)l;
	(void)contract;
	t.lowered[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		strcat(t.lowered, files[i]);
		strcat(t.lowered, " ");
	}
	t.done = done;
	t.done_arg = arg;
}

static void
on_build(void *arg, struct sv_version *v)
{
	(void)arg;
	t.building = v;
	t.builds++;
}

static void
on_settled(void *arg, struct sv_contract *c)
{
	(void)arg;
	(void)c;
	t.settled++;
}

/* Write a file of a contract, `age` seconds old. */
static void
put(const char *id, const char *name, const char *text, int age)
{
	char path[256];
	struct timespec ts[2];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", t.dir, id);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", t.dir, id, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	clock_gettime(CLOCK_REALTIME, &ts[0]);
	ts[0].tv_sec -= age;
	ts[1] = ts[0];
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
}

static struct sv_contract *
load(const char *id)
{
	struct sv_contract *c = sv_contracts_get(t.cs, id);

	if (c != NULL && t.building != NULL)
		sv_contracts_built(t.cs, t.building, TN_FAULT_NONE, "", SV_EXPORT(get));
	t.building = NULL;
	return c;
}

static int
setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	strcpy(t.dir, "/tmp/tana-contracts-XXXXXX");
	if (mkdtemp(t.dir) == NULL)
		return -1;
	t.fd = open(t.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t.opt = tn_options_new();
	t.shares = sv_shares_new(t.opt);
	t.cs = sv_contracts_new(NULL, t.opt, t.fd, NULL, NULL, t.shares, on_build, on_settled,
	    NULL);
	tn_log_open("test", open("/dev/null", O_WRONLY | O_CLOEXEC), TN_LOG_ERROR, TN_LOG_TEXT);
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	sv_contracts_free(&t.cs);
	sv_shares_free(&t.shares);
	tn_options_free(&t.opt);
	tn_fd_close(&t.fd);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", t.dir);
	return system(cmd);
}

static void
identifiers_are_host_labels(void **state)
{
	static const char *const good[] = { "a", "hello", "a-b", "0", "x1-2-3",
	    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0" };
	static const char *const bad[] = { "", "-a", "a-", "-", "A", "a.b", "a/b", "..", ".versions",
	    "a_b", "a b", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(sv_contract_id_ok(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(sv_contract_id_ok(bad[i]));
}

static void
an_unknown_contract_is_not_remembered(void **state)
{
	(void)state;
	assert_null(sv_contracts_get(t.cs, "nobody"));
	assert_int_equal(sv_contracts_count(t.cs), 0);
}

static void
plain_js_is_built_without_a_compiler(void **state)
{
	struct sv_contract *c;

	(void)state;
	put("a", "get.js", "exports.get = 1;", 0);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	assert_null(t.done);
	assert_int_equal(t.builds, 1);
	assert_int_equal(t.building->nsource, 2);
	assert_string_equal(t.building->source[0].p, "get.js");
	assert_string_equal(t.building->source[1].p, "exports.get = 1;");
	assert_null(c->current);
	load("a");
	assert_non_null(c->current);
	assert_string_equal(c->current->allow, "GET, HEAD");
}

static void
a_newer_ts_beats_its_js_an_older_one_does_not(void **state)
{
	(void)state;
	put("a", "get.js", "old", 100);
	put("a", "get.ts", "new", 50);
	put("a", "post.js", "new", 50);
	put("a", "post.ts", "old", 100);
	assert_non_null(sv_contracts_get(t.cs, "a"));
	assert_string_equal(t.lowered, "get.ts ");
	assert_int_equal(t.builds, 0);
	t.done(t.done_arg, 0, (struct tn_str[]){ TN_STR("get.ts"), TN_STR("lowered") }, 2, NULL);
	assert_int_equal(t.builds, 1);
	assert_int_equal(t.building->nsource, 4);
}

static void
skip_transpile_names_the_file_that_is_not_compiled(void **state)
{
	struct sv_contract *c;

	(void)state;
	t.opt->skip_transpile = true;
	put("a", "get.ts", "x", 0);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	assert_null(t.done);
	assert_int_equal(c->fault, TN_FAULT_NOT_COMPILED);
	assert_non_null(strstr(c->message, "a/get.ts"));
}

static void
a_compile_error_is_kept_for_the_client_s_log(void **state)
{
	struct sv_contract *c;

	(void)state;
	put("a", "get.ts", "x", 0);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	t.done(t.done_arg, TN_ESCRIPT, NULL, 0, "get.ts:1:2: no");
	assert_int_equal(c->fault, TN_FAULT_COMPILE);
	assert_string_equal(c->message, "get.ts:1:2: no");
	assert_int_equal(t.settled, 1);
}

static void
a_version_that_fails_leaves_the_current_one_serving(void **state)
{
	struct sv_contract *c;
	struct sv_version *first;

	(void)state;
	put("a", "get.js", "one", 10);
	c = load("a");
	first = c->current;
	put("a", "get.js", "three", 0);
	sv_contracts_reload(t.cs);
	assert_non_null(t.building);
	sv_contracts_built(t.cs, t.building, TN_FAULT_COMPILE, "broken", 0);
	assert_ptr_equal(c->current, first);
	assert_int_equal(c->fault, TN_FAULT_NONE);
	assert_null(c->next);
}

static void
a_new_version_takes_over_and_the_old_lives_while_held(void **state)
{
	struct sv_contract *c;
	struct sv_version *held;

	(void)state;
	put("a", "get.js", "one", 10);
	c = load("a");
	held = sv_version_ref(c->current);
	put("a", "get.js", "three", 0);
	sv_contracts_reload(t.cs);
	sv_contracts_built(t.cs, t.building, TN_FAULT_NONE, "", SV_EXPORT(post));
	assert_ptr_not_equal(c->current, held);
	assert_string_equal(c->current->allow, "POST");
	assert_string_equal(held->source[1].p, "one");
	sv_version_unref(t.cs, &held);
}

static void
an_unchanged_directory_is_not_loaded_again(void **state)
{
	(void)state;
	put("a", "get.js", "one", 10);
	load("a");
	sv_contracts_reload(t.cs);
	assert_null(t.building);
	assert_int_equal(t.builds, 1);
}

static void
a_directory_that_is_gone_is_forgotten_also_while_it_compiles(void **state)
{
	char path[256];

	(void)state;
	put("a", "get.js", "one", 10);
	put("b", "get.ts", "one", 10);
	load("a");
	assert_non_null(sv_contracts_get(t.cs, "b"));
	snprintf(path, sizeof(path), "rm -r '%s/a' '%s/b'", t.dir, t.dir);
	assert_int_equal(system(path), 0);
	sv_contracts_reload(t.cs);
	assert_null(sv_contracts_get(t.cs, "a"));
	t.done(t.done_arg, 0, (struct tn_str[]){ TN_STR("get.ts"), TN_STR("late") }, 2, NULL);
	if (t.building != NULL)
		sv_contracts_built(t.cs, t.building, TN_FAULT_NONE, "", SV_EXPORT(get));
	sv_contracts_reload(t.cs);
	assert_null(sv_contracts_get(t.cs, "b"));
}

static void
an_empty_directory_is_an_error_that_says_what_is_missing(void **state)
{
	char path[256];
	struct sv_contract *c;

	(void)state;
	snprintf(path, sizeof(path), "%s/a", t.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	assert_int_equal(c->fault, TN_FAULT_COMPILE);
	assert_non_null(strstr(c->message, "get, post, contract"));
}

static void
broken_metadata_is_reported_with_its_line(void **state)
{
	struct sv_contract *c;

	(void)state;
	put("a", "get.js", "one", 0);
	put("a", "contract.json", "{\n\"name\": oops\n}", 0);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	assert_int_equal(c->fault, TN_FAULT_COMPILE);
	assert_non_null(strstr(c->message, "contract.json:2:"));
}

static void
handlers_see_owner_name_and_version_and_no_more(void **state)
{
	(void)state;
	put("a", "get.js", "one", 0);
	put("a", "contract.json",
	    "{\"name\":\"N\",\"version\":\"1\",\"author\":\"me\",\"secret\":\"no\"}", 0);
	assert_non_null(sv_contracts_get(t.cs, "a"));
	assert_non_null(t.building);
	assert_non_null(strstr(t.building->meta, "\"owner\":\"me\""));
	assert_non_null(strstr(t.building->meta, "\"name\":\"N\""));
	assert_null(strstr(t.building->meta, "secret"));
}

static void
routes_reach_the_handlers_up_to_a_limit(void **state)
{
	char *long_route = malloc(20000);
	struct sv_contract *c;

	(void)state;
	put("a", "get.js", "one", 0);
	put("a", "contract.json", "{\"routes\":[\"/users/:id\"]}", 0);
	assert_non_null(sv_contracts_get(t.cs, "a"));
	assert_non_null(strstr(t.building->meta, "/users/:id"));
	memset(long_route, 'x', 20000);
	memcpy(long_route, "{\"routes\":[\"", 12);
	strcpy(long_route + 19990, "\"]}");
	put("b", "get.js", "one", 0);
	put("b", "contract.json", long_route, 0);
	assert_non_null(c = sv_contracts_get(t.cs, "b"));
	assert_int_equal(c->fault, TN_FAULT_COMPILE);
	assert_non_null(strstr(c->message, "max 16384"));
	free(long_route);
}

static void
a_file_that_is_a_symbolic_link_is_not_followed(void **state)
{
	char path[256];
	struct sv_contract *c;

	(void)state;
	put("b", "get.js", "another tenant's", 0);
	snprintf(path, sizeof(path), "%s/a", t.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	strcat(path, "/get.js");
	assert_int_equal(symlink("../b/get.js", path), 0);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	assert_int_equal(c->fault, TN_FAULT_COMPILE);
	assert_int_equal(t.builds, 0);
}

/* Let contracts/a be a link with that text, moved there as deploy does. */
static void
point(const char *text)
{
	char path[256], next[256];

	snprintf(path, sizeof(path), "%s/a", t.dir);
	snprintf(next, sizeof(next), "%s/.a.tmp", t.dir);
	assert_int_equal(symlink(text, next), 0);
	assert_int_equal(rename(next, path), 0);
}

static void
a_contract_may_be_a_link_to_its_version(void **state)
{
	(void)state;
	put(".versions", "x", "", 0);
	put(".versions/a", "x", "", 0);
	put(".versions/a/0123456789abcdef", "get.js", "one", 0);
	put(".versions/a/0123456789abcdef.12", "get.js", "two", 0);
	point(".versions/a/0123456789abcdef");
	assert_non_null(load("a"));
	assert_int_equal(t.builds, 1);
	point(".versions/a/0123456789abcdef.12");
	sv_contracts_reload(t.cs);
	assert_non_null(t.building);
	assert_memory_equal(t.building->source[1].p, "two", 3);
}

/* Each would show the files of another contract, or of nobody. */
static void
any_other_link_is_refused(void **state)
{
	static const char *const bad[] = {
		"b", "./b", "../x/b", "/etc", ".versions", ".versions/a", ".versions/b/0123456789abcdef",
		"./.versions/a/0123456789abcdef", ".versions//a/0123456789abcdef",
		".versions/a/0123456789abcdef/", ".versions/a/0123456789abcdef/../0123456789abcdef",
		".versions/a/0123456789abcde", ".versions/a/0123456789abcdef0",
		".versions/a/0123456789abcdeg", ".versions/a/0123456789abcdef.",
		".versions/a/0123456789abcdef.x", ".versions/a/0123456789abcdef.1/..",
		".versions/a/../b/0123456789abcdef", ".versions/a/fedcba9876543210",
		".versions/a/aaaaaaaaaaaaaaaa", ".versions/a/bbbbbbbbbbbbbbbb",
	};
	struct sv_contract *c;
	char path[256];
	size_t i;

	(void)state;
	put("b", "get.js", "another tenant's", 0);
	put(".versions", "x", "", 0);
	put(".versions/a", "x", "", 0);
	put(".versions/b", "x", "", 0);
	put(".versions/a/0123456789abcdef", "get.js", "one", 0);
	put(".versions/b/0123456789abcdef", "get.js", "another tenant's", 0);
	/* A version that is a link itself, and one that is a file. */
	snprintf(path, sizeof(path), "%s/.versions/a/aaaaaaaaaaaaaaaa", t.dir);
	assert_int_equal(symlink("../b/0123456789abcdef", path), 0);
	put(".versions/a", "bbbbbbbbbbbbbbbb", "", 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		point(bad[i]);
		sv_contracts_reload(t.cs);
		assert_non_null(c = sv_contracts_get(t.cs, "a"));
		if (c->fault != TN_FAULT_COMPILE || c->message == NULL || t.builds != 0)
			fail_msg("%s: fault %d, %u builds", bad[i], (int)c->fault, t.builds);
	}
	point(".versions/a/0123456789abcdef");
	sv_contracts_reload(t.cs);
	assert_int_equal(t.builds, 1);
}

static void
a_version_in_use_goes_on_when_its_link_breaks(void **state)
{
	struct sv_contract *c;
	char path[256];

	(void)state;
	put(".versions", "x", "", 0);
	put(".versions/a", "x", "", 0);
	put(".versions/a/0123456789abcdef", "get.js", "one", 0);
	point(".versions/a/0123456789abcdef");
	assert_non_null(load("a"));
	point("b");
	sv_contracts_reload(t.cs);
	assert_non_null(c = sv_contracts_get(t.cs, "a"));
	assert_non_null(c->current);
	snprintf(path, sizeof(path), "%s/a", t.dir);
	assert_int_equal(unlink(path), 0);
	sv_contracts_reload(t.cs);
	assert_null(sv_contracts_get(t.cs, "a"));
	assert_int_equal(sv_contracts_count(t.cs), 0);
}

static int reload_err;

static void
on_reloaded(void *arg, int err, enum tn_fault fault, const char *message)
{
	(void)arg;
	(void)fault;
	(void)message;
	reload_err = err;
}

static void
reload_of_one_answers_when_it_is_built(void **state)
{
	(void)state;
	reload_err = 99;
	assert_int_equal(sv_contracts_reload_one(t.cs, "a", on_reloaded, NULL), TN_ENOENT);
	put("a", "get.js", "one", 0);
	assert_int_equal(sv_contracts_reload_one(t.cs, "a", on_reloaded, NULL), 0);
	assert_int_equal(reload_err, 99);
	assert_int_equal(sv_contracts_reload_one(t.cs, "a", on_reloaded, NULL), TN_EBUSY);
	sv_contracts_built(t.cs, t.building, TN_FAULT_NONE, "", SV_EXPORT(get));
	assert_int_equal(reload_err, 0);
	put("a", "get.js", "three", 0);
	assert_int_equal(sv_contracts_reload_one(t.cs, "a", on_reloaded, NULL), 0);
	sv_contracts_built(t.cs, t.building, TN_FAULT_COMPILE, "broken", 0);
	assert_int_equal(reload_err, TN_ESCRIPT);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_are_host_labels),
		CASE(an_unknown_contract_is_not_remembered),
		CASE(plain_js_is_built_without_a_compiler),
		CASE(a_newer_ts_beats_its_js_an_older_one_does_not),
		CASE(skip_transpile_names_the_file_that_is_not_compiled),
		CASE(a_compile_error_is_kept_for_the_client_s_log),
		CASE(a_version_that_fails_leaves_the_current_one_serving),
		CASE(a_new_version_takes_over_and_the_old_lives_while_held),
		CASE(an_unchanged_directory_is_not_loaded_again),
		CASE(a_directory_that_is_gone_is_forgotten_also_while_it_compiles),
		CASE(an_empty_directory_is_an_error_that_says_what_is_missing),
		CASE(broken_metadata_is_reported_with_its_line),
		CASE(handlers_see_owner_name_and_version_and_no_more),
		CASE(routes_reach_the_handlers_up_to_a_limit),
		CASE(a_file_that_is_a_symbolic_link_is_not_followed),
		CASE(a_contract_may_be_a_link_to_its_version),
		CASE(any_other_link_is_refused),
		CASE(a_version_in_use_goes_on_when_its_link_breaks),
		CASE(reload_of_one_answers_when_it_is_built),
	};

	return cmocka_run_group_tests_name("sv_contract", tests, NULL, NULL);
}
