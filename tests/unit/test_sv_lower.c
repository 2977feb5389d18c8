/*
 * The front's end of the compiler (sv_lower.h); the test plays the master and the
 * compiler, which may say anything.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_lower.h"
#include "sv_stats.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define TURNS_MAX	100u

struct job {
	unsigned	 n;		/* times that it was told */
	int		 err;
	char		 text[64];	/* first file's text, or the message */
	struct job	*then;		/* is submitted meanwhile */
};

static struct {
	struct tn_options *opt;
	struct event_base *base;
	struct sv_stats	 stats;
	struct sv_lower	*lower;
	unsigned	 wanted, killed;
	int		 fd;		/* the compiler's end */
	json_int_t	 id;		/* of the last job that was read */
} t;

static void
want(void *arg)
{
	(void)arg;
	t.wanted++;
}

static void
kill_it(void *arg)
{
	(void)arg;
	t.killed++;
}

static void submit(struct job *j);

static void
on_done(void *arg, int err, const struct tn_str *files, size_t n, const char *message)
{
	struct job *j = arg;

	j->n++;
	j->err = err;
	if (err == 0) {
		assert_int_equal(n, 2);
		assert_true(tn_str_is(files[0], "get.js"));
		snprintf(j->text, sizeof(j->text), "%.*s", (int)files[1].len, files[1].p);
	} else
		snprintf(j->text, sizeof(j->text), "%s", message);
	if (j->then != NULL)
		submit(j->then);
}

static void
submit(struct job *j)
{
	static const char *const files[] = { "get.ts" };

	sv_lower_submit(t.lower, "c", files, 1, on_done, j);
}

static void
turn(void)
{
	for (unsigned i = 0; i < 4; i++)
		event_base_loop(t.base, EVLOOP_NONBLOCK);
}

/* The master starts it. */
static void
start(void)
{
	int pair[2];

	tn_fd_close(&t.fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	t.fd = pair[1];
	assert_int_equal(tn_fd_nonblock(t.fd), 0);
	sv_lower_on_started(t.lower, pair[0], 0);
	turn();
}

/* It reads a job; false: there is none. */
static bool
has_job(void)
{
	char text[4096];
	uint32_t len;
	ssize_t n;
	json_t *root;

	turn();
	if (recv(t.fd, &len, sizeof(len), 0) != sizeof(len))
		return false;
	len = ntohl(len);
	assert_in_range(len, 1, sizeof(text));
	n = recv(t.fd, text, len, 0);
	assert_int_equal(n, len);
	assert_non_null(root = json_loadb(text, len, 0, NULL));
	assert_string_equal(json_string_value(json_object_get(root, "contract")), "c");
	t.id = json_integer_value(json_object_get(root, "id"));
	json_decref(root);
	return true;
}

static void
say(const char *text)
{
	uint32_t len = htonl((uint32_t)strlen(text));

	assert_int_equal(send(t.fd, &len, sizeof(len), MSG_NOSIGNAL), sizeof(len));
	assert_int_equal(send(t.fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

static void
answer(const char *code)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"id\":%d,\"files\":[{\"name\":\"get.js\","
	    "\"code\":\"%s\"}]}", (int)t.id, code);
	say(text);
}

static void
assert_lowered(const struct job *j, const char *code)
{
	assert_int_equal(j->n, 1);
	assert_int_equal(j->err, 0);
	assert_string_equal(j->text, code);
}

static int
setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.fd = -1;
	t.opt = tn_options_new();
	t.base = event_base_new();
	tn_log_open("test", open("/dev/null", O_WRONLY | O_CLOEXEC), TN_LOG_ERROR, TN_LOG_TEXT);
	t.lower = sv_lower_new(t.base, t.opt, &t.stats, want, kill_it, NULL);
	return t.lower != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	sv_lower_free(&t.lower);
	tn_fd_close(&t.fd);
	event_base_free(t.base);
	tn_options_free(&t.opt);
	return 0;
}

static void
one_compiler_does_one_job_after_the_other(void **state)
{
	struct job a = { 0 }, b = { 0 };

	(void)state;
	submit(&a);
	submit(&b);
	assert_int_equal(t.wanted, 1);
	start();
	assert_true(has_job());
	assert_false(has_job());
	answer("first");
	assert_lowered(&a, "first");
	assert_true(has_job());
	answer("second");
	assert_lowered(&b, "second");
	assert_int_equal(t.wanted, 1);
	assert_int_equal(t.killed, 0);
	assert_int_equal(t.stats.compiles, 2);
}

static void
an_error_is_of_its_job_alone(void **state)
{
	struct job a = { 0 }, b = { 0 };

	(void)state;
	submit(&a);
	submit(&b);
	start();
	assert_true(has_job());
	say("{\"id\":1,\"error\":\"get.ts:1:2: no\"}");
	assert_int_equal(a.err, TN_ESCRIPT);
	assert_string_equal(a.text, "get.ts:1:2: no");
	assert_true(has_job());
	answer("yes");
	assert_lowered(&b, "yes");
	assert_int_equal(t.killed, 0);
}

static void
who_hears_of_the_end_of_a_job_may_submit_another(void **state)
{
	struct job b = { 0 }, a = { .then = &b };

	(void)state;
	submit(&a);
	start();
	assert_true(has_job());
	answer("a");
	assert_lowered(&a, "a");
	assert_int_equal(b.n, 0);
	assert_true(has_job());
	answer("b");
	assert_lowered(&b, "b");
}

static void
who_hears_that_there_is_no_compiler_may_submit_another(void **state)
{
	struct job b = { 0 }, c = { 0 }, a = { .then = &c };

	(void)state;
	submit(&a);
	submit(&b);
	sv_lower_on_started(t.lower, -1, ENOENT);
	assert_int_equal(a.err, TN_EUNAVAIL);
	assert_int_equal(b.err, TN_EUNAVAIL);
	assert_int_equal(c.n, 0);
	assert_int_equal(t.wanted, 2);		/* for that one */
	start();
	assert_true(has_job());
	answer("c");
	assert_lowered(&c, "c");
}

/* And there is somebody who watches over the time that it may take. */
static void
who_submits_another_meanwhile_is_not_forgotten(void **state)
{
	struct job b = { 0 }, c = { 0 }, a = { .then = &c };
	unsigned i;

	(void)state;
	t.opt->compile_timeout_ms = 1;
	submit(&a);
	submit(&b);
	sv_lower_on_started(t.lower, -1, ENOENT);
	assert_int_equal(c.n, 0);
	for (i = 0; i < TURNS_MAX && c.n == 0; i++)
		event_base_loop(t.base, EVLOOP_ONCE);
	assert_int_equal(c.err, TN_ETIMEOUT);
}

static void
a_compiler_that_hangs_is_killed_and_the_next_job_has_another(void **state)
{
	struct job a = { 0 }, b = { 0 };
	unsigned i;

	(void)state;
	submit(&a);
	submit(&b);
	t.opt->compile_timeout_ms = 1;
	start();
	t.opt->compile_timeout_ms = 3600000;
	for (i = 0; i < TURNS_MAX && a.n == 0; i++)
		event_base_loop(t.base, EVLOOP_ONCE);
	assert_int_equal(a.err, TN_ETIMEOUT);
	assert_int_equal(t.killed, 1);
	assert_int_equal(t.wanted, 2);
	assert_int_equal(b.n, 0);
	start();
	assert_true(has_job());
	answer("b");
	assert_lowered(&b, "b");
}

static void
a_compiler_that_dies_fails_its_job_and_no_other(void **state)
{
	struct job a = { 0 }, b = { 0 };

	(void)state;
	submit(&a);
	submit(&b);
	start();
	assert_true(has_job());
	tn_fd_close(&t.fd);
	turn();
	assert_int_equal(a.err, TN_ECLOSED);
	assert_int_equal(b.n, 0);
	start();
	assert_true(has_job());
	answer("b");
	assert_lowered(&b, "b");
}

static void
what_the_master_says_too_late_changes_nothing(void **state)
{
	struct job a = { 0 };

	(void)state;
	submit(&a);
	start();
	assert_true(has_job());
	sv_lower_on_started(t.lower, -1, EAGAIN);	/* of an attempt before */
	assert_int_equal(a.n, 0);
	answer("a");
	assert_lowered(&a, "a");
	sv_lower_on_started(t.lower, open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	assert_int_equal(t.killed, 1);			/* nobody needs that one */
}

static void
an_answer_that_makes_no_sense_ends_the_compiler(void **state)
{
	static const char *const bad[] = {
		"", "x", "[]", "{}", "{\"id\":77,\"files\":[]}", "{\"id\":1}",
		"{\"id\":1,\"files\":[]}",
		"{\"id\":1,\"files\":{}}", "{\"id\":1,\"files\":[1]}",
		"{\"id\":1,\"files\":[{\"name\":\"get.js\"}]}",
		"{\"id\":1,\"files\":[{\"name\":1,\"code\":\"\"}]}",
		"{\"id\":1,\"files\":[{\"name\":\"get.js\\u0000\",\"code\":\"\"}]}",
		"{\"id\":1,\"files\":[{\"name\":\"get.js\",\"code\":\"\"},"
		    "{\"name\":\"get.js\",\"code\":\"\"}]}",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct job a = { 0 };

		submit(&a);
		start();
		assert_true(has_job());
		say(bad[i]);
		assert_int_equal(a.n, 1);
		assert_int_equal(a.err, TN_EPROTO);
		assert_int_equal(t.killed, 1);
		teardown(state);
		assert_int_equal(setup(state), 0);
	}
}

static void
an_answer_beyond_the_limit_is_not_collected(void **state)
{
	struct job a = { 0 };

	(void)state;
	submit(&a);
	start();
	assert_true(has_job());
	assert_int_equal(send(t.fd, "\xff\xff\xff\xff", 4, MSG_NOSIGNAL), 4);
	turn();
	assert_int_equal(a.err, TN_EPROTO);
	assert_int_equal(t.killed, 1);
}

static void
an_answer_that_nobody_asked_for_ends_the_compiler(void **state)
{
	struct job a = { 0 };

	(void)state;
	submit(&a);
	start();
	assert_true(has_job());
	answer("a");
	answer("again");
	assert_lowered(&a, "a");
	assert_int_equal(t.killed, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_compiler_does_one_job_after_the_other),
		TEST(an_error_is_of_its_job_alone),
		TEST(who_hears_of_the_end_of_a_job_may_submit_another),
		TEST(who_hears_that_there_is_no_compiler_may_submit_another),
		TEST(who_submits_another_meanwhile_is_not_forgotten),
		TEST(a_compiler_that_hangs_is_killed_and_the_next_job_has_another),
		TEST(a_compiler_that_dies_fails_its_job_and_no_other),
		TEST(what_the_master_says_too_late_changes_nothing),
		TEST(an_answer_that_makes_no_sense_ends_the_compiler),
		TEST(an_answer_beyond_the_limit_is_not_collected),
		TEST(an_answer_that_nobody_asked_for_ends_the_compiler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
