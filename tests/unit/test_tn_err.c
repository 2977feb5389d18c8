/*
 * Error codes, faults and the two ways to end.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tn_err.h"
#include "tn_log.h"

static const int codes[] = {
#define TN_ERR(sym, text) TN_##sym,
#include "errors.def"
};

static void
codes_count_down_from_minus_one(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		assert_int_equal(codes[i], -(int)i - 1);
}

static void
every_code_has_its_own_text(void **state)
{
	(void)state;
#define TN_ERR(sym, text) assert_string_equal(tn_strerror(TN_##sym), text);
#include "errors.def"
	assert_string_equal(tn_strerror(0), "no error");
}

static void
strange_codes_have_a_text_too(void **state)
{
	(void)state;
	assert_string_equal(tn_strerror(1), "unknown error");
	assert_string_equal(tn_strerror(-1000), "unknown error");
	assert_string_equal(tn_strerror(-2147483647 - 1), "unknown error");
}

static void
faults_say_what_the_table_says(void **state)
{
	const struct tn_fault_info *f;

	(void)state;
#define TN_FAULT(sym, http, text, msg)				\
	f = tn_fault_info(TN_FAULT_##sym);			\
	assert_string_equal(f->name, #sym);			\
	assert_int_equal(f->status, http);			\
	assert_string_equal(f->code, text);			\
	assert_string_equal(f->message, msg);
#include "errors.def"
}

static void
faults_are_errors_with_a_code_of_their_own(void **state)
{
	const struct tn_fault_info *f, *g;
	unsigned i, k;

	(void)state;
	for (i = 1; i < TN_FAULT_MAX; i++) {
		f = tn_fault_info(i);
		assert_true(f->status >= 400 && f->status <= 599);
		for (k = 1; k < i; k++) {
			g = tn_fault_info(k);
			assert_string_not_equal(f->code, g->code);
		}
	}
}

static void
a_lying_worker_gets_internal(void **state)
{
	(void)state;
	assert_string_equal(tn_fault_info(TN_FAULT_MAX)->name, "INTERNAL");
	assert_string_equal(tn_fault_info(0xffffffffu)->name, "INTERNAL");
}

/* Run fn in a child; its log is read into text. */
static int
in_child(void (*fn)(void), char *text, size_t size)
{
	struct rlimit none = { 0, 0 };
	size_t got = 0;
	int p[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		close(p[0]);
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		tn_log_open("test", p[1], TN_LOG_INFO, TN_LOG_TEXT);
		fn();
		_exit(99);
	}
	close(p[1]);
	while ((n = read(p[0], text + got, size - 1 - got)) > 0)
		got += (size_t)n;
	text[got] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
do_panic(void)
{
	tn_panic("count is %d", 7);
}

static void
do_fatal(void)
{
	tn_fatal(TN_EXIT_CONFIG, "no %s", "way");
}

static void
panic_logs_and_aborts(void **state)
{
	char text[512];
	int status = in_child(do_panic, text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(text, " error test["));
	assert_non_null(strstr(text, ": panic: count is 7\n"));
}

static void
fatal_logs_and_exits_with_its_code(void **state)
{
	char text[512];
	int status = in_child(do_fatal, text, sizeof(text));

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), TN_EXIT_CONFIG);
	assert_non_null(strstr(text, ": no way\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_count_down_from_minus_one),
		cmocka_unit_test(every_code_has_its_own_text),
		cmocka_unit_test(strange_codes_have_a_text_too),
		cmocka_unit_test(faults_say_what_the_table_says),
		cmocka_unit_test(faults_are_errors_with_a_code_of_their_own),
		cmocka_unit_test(a_lying_worker_gets_internal),
		cmocka_unit_test(panic_logs_and_aborts),
		cmocka_unit_test(fatal_logs_and_exits_with_its_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
