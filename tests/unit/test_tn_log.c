/*
 * The log: one line a record whatever is in it, well formed in both formats,
 * never silently short, never blocking, and without memory.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tn_fd.h"
#include "tn_log.h"

#define ODD	"a\"b\\c\nd\xff\x1b[31m=e"

static int out = -1;
static char line[32768];
static unsigned allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

static void
start(enum tn_log_level level, enum tn_log_format format)
{
	assert_int_equal(ftruncate(out, 0), 0);
	assert_int_equal(lseek(out, 0, SEEK_SET), 0);
	tn_log_open("front", out, level, format);
}

/* What was written, as text. */
static const char *
written(void)
{
	ssize_t n = pread(out, line, sizeof(line) - 1, 0);

	assert_true(n >= 0);
	line[n] = '\0';
	return line;
}

static size_t
count(const char *text, char c)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == c;
	return n;
}

/* The one record, parsed. */
static json_t *
parsed(void)
{
	json_error_t e;
	json_t *o;

	assert_int_equal(count(written(), '\n'), 1);
	o = json_loads(line, JSON_REJECT_DUPLICATES, &e);
	if (o == NULL)
		fail_msg("not JSON: %s: %s", e.text, line);
	return o;
}

static const char *
member(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

static void
text_record_is_time_level_process_event_fields(void **state)
{
	struct tn_log_record r;
	char want[64];

	(void)state;
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log_begin(&r, TN_LOG_INFO, "request");
	tn_log_str(&r, "method", TN_STR("GET"));
	tn_log_u64(&r, "status", 200);
	tn_log_i64(&r, "delta", -5);
	tn_log_ms(&r, "duration", 1234567);
	tn_log_end(&r);
	snprintf(want, sizeof(want), " info front[%d]: request ", (int)getpid());
	assert_non_null(strstr(written(), want));
	assert_non_null(
	    strstr(line, ": request method=GET status=200 delta=-5 duration=1234.567ms\n"));
}

static void
json_record_is_one_object_with_numbers_as_numbers(void **state)
{
	struct tn_log_record r;
	json_t *o;

	(void)state;
	start(TN_LOG_INFO, TN_LOG_JSON);
	tn_log_begin(&r, TN_LOG_WARN, "request");
	tn_log_str(&r, "method", TN_STR("GET"));
	tn_log_u64(&r, "status", 200);
	tn_log_i64(&r, "delta", -5);
	tn_log_ms(&r, "duration", 1234567);
	tn_log_end(&r);
	o = parsed();
	assert_string_equal(member(o, "level"), "warn");
	assert_string_equal(member(o, "process"), "front");
	assert_string_equal(member(o, "event"), "request");
	assert_string_equal(member(o, "method"), "GET");
	assert_int_equal(json_integer_value(json_object_get(o, "pid")), getpid());
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 200);
	assert_int_equal(json_integer_value(json_object_get(o, "delta")), -5);
	assert_true(json_real_value(json_object_get(o, "duration")) == 1234.567);
	json_decref(o);
}

/* Our own calendar against the C library's. */
static void
time_is_utc_to_the_millisecond(void **state)
{
	time_t before = time(NULL), after;
	struct tm tm = { 0 };
	int ms;

	(void)state;
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log(TN_LOG_INFO, "x");
	after = time(NULL);
	assert_int_equal(sscanf(written(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ info", &tm.tm_year,
			     &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms),
	    7);
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	/* time() may lag behind clock_gettime() by a tick. */
	assert_in_range(timegm(&tm), before, after + 1);
}

static void
values_from_outside_stay_inside_their_quotes(void **state)
{
	struct tn_log_record r;

	(void)state;
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log_begin(&r, TN_LOG_INFO, "e");
	tn_log_str(&r, "a", TN_STR(ODD));
	tn_log_str(&r, "empty", TN_STR(""));
	tn_log_str(&r, "nul", TN_STR("x\0y"));
	tn_log_str(&r, "space", TN_STR("x y=z"));
	tn_log_end(&r);
	assert_int_equal(count(written(), '\n'), 1);
	assert_non_null(strstr(line, " a=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\\u001b[31m=e\" empty=\"\" "
	    "nul=\"x\\u0000y\" space=\"x y=z\"\n"));
}

static void
json_values_read_back(void **state)
{
	struct tn_log_record r;
	json_t *o;

	(void)state;
	start(TN_LOG_INFO, TN_LOG_JSON);
	tn_log_begin(&r, TN_LOG_INFO, "e\"v");
	tn_log_str(&r, "a", TN_STR(ODD));
	tn_log_end(&r);
	o = parsed();
	assert_string_equal(member(o, "event"), "e\"v");
	assert_string_equal(member(o, "a"), "a\"b\\c\nd\xef\xbf\xbd\x1b[31m=e");
	json_decref(o);
}

static void
plain_message_is_one_line_too(void **state)
{
	(void)state;
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log(TN_LOG_ERROR, "no \"%s\"", "file\n2026 error front[1]: forged");
	assert_int_equal(count(written(), '\n'), 1);
	assert_non_null(strstr(line, " error front["));
	assert_non_null(strstr(line, ": no \"file\\n2026 error front[1]: forged\"\n"));
}

static void
levels_below_the_wanted_write_nothing(void **state)
{
	struct tn_log_record r;

	(void)state;
	start(TN_LOG_WARN, TN_LOG_TEXT);
	assert_true(tn_log_wants(TN_LOG_ERROR));
	assert_true(tn_log_wants(TN_LOG_WARN));
	assert_false(tn_log_wants(TN_LOG_INFO));
	tn_log(TN_LOG_INFO, "no");
	tn_log_begin(&r, TN_LOG_DEBUG, "no");
	tn_log_str(&r, "k", TN_STR("a b"));
	tn_log_u64(&r, "k", 1);
	tn_log_i64(&r, "k", 1);
	tn_log_ms(&r, "k", 1);
	tn_log_end(&r);
	assert_string_equal(written(), "");
	tn_log(TN_LOG_WARN, "yes");
	assert_non_null(strstr(written(), "yes"));
}

/*
 * Records of every length around the limit: each is one line of at most 8 KiB,
 * whole and unmarked, or cut and marked.
 */
static void
a_long_record_is_cut_and_says_so(void **state)
{
	static char big[9000];
	struct tn_log_record r;
	size_t n, cuts = 0;

	(void)state;
	memset(big, 'x', sizeof(big));
	for (n = 8000; n < 8200; n++) {
		start(TN_LOG_INFO, TN_LOG_TEXT);
		tn_log_begin(&r, TN_LOG_INFO, "e");
		tn_log_str(&r, "big", (struct tn_str){ big, n });
		tn_log_str(&r, "after", TN_STR("y z"));
		tn_log_u64(&r, "number", 12345);
		tn_log_end(&r);
		written();
		assert_true(strlen(line) <= 8192);
		assert_int_equal(count(line, '\n'), 1);
		if (strstr(line, " cut=yes\n") != NULL)
			cuts++;
		else
			assert_non_null(strstr(line, " after=\"y z\" number=12345\n"));
	}
	assert_in_range(cuts, 1, 199);
}

static void
a_cut_json_record_is_still_json(void **state)
{
	static char big[9000];
	struct tn_log_record r;
	size_t n, i, cuts = 0;
	json_t *o;

	(void)state;
	/* Escapes and long characters, so that the cut would like to fall inside one. */
	for (i = 0; i + 4 <= sizeof(big); i += 4)
		memcpy(big + i, i % 8 == 0 ? "\xf0\x9f\x98\x80" : "\n\"\\x", 4);
	for (n = 5600; n < 6100; n += 7) {
		start(TN_LOG_INFO, TN_LOG_JSON);
		tn_log_begin(&r, TN_LOG_INFO, "e");
		tn_log_str(&r, "big", (struct tn_str){ big, n });
		tn_log_u64(&r, "number", 12345);
		tn_log_ms(&r, "ms", 12345);
		tn_log_str(&r, "after", TN_STR("y"));
		tn_log_end(&r);
		o = parsed();
		assert_true(strlen(line) <= 8192);
		if (json_is_true(json_object_get(o, "cut")))
			cuts++;
		else
			assert_string_equal(member(o, "after"), "y");
		json_decref(o);
	}
	assert_in_range(cuts, 1, 71);
}

static void
a_long_event_and_a_long_message_are_cut_too(void **state)
{
	static char big[20000];
	struct tn_log_record r;
	json_t *o;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	start(TN_LOG_INFO, TN_LOG_JSON);
	tn_log_begin(&r, TN_LOG_INFO, big);
	tn_log_u64(&r, "k", 1);
	tn_log_end(&r);
	o = parsed();
	assert_true(json_is_true(json_object_get(o, "cut")));
	json_decref(o);
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log(TN_LOG_INFO, "%s", big);
	assert_non_null(strstr(written(), " cut=yes\n"));
}

/* A pipe that nobody reads must not stop the server, and the loss must show. */
static void
a_full_pipe_loses_records_and_counts_them(void **state)
{
	static char big[4096], text[1 << 20];
	struct tn_log_record r;
	int p[2], i;
	ssize_t n;
	size_t got = 0;

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(pipe(p), 0);
	assert_int_equal(tn_fd_nonblock(p[0]), 0);
	assert_int_equal(tn_fd_nonblock(p[1]), 0);
	tn_log_open("front", p[1], TN_LOG_INFO, TN_LOG_TEXT);
	while (write(p[1], big, sizeof(big)) > 0)
		;
	for (i = 0; i < 3; i++)
		tn_log(TN_LOG_INFO, "gone %d", i);
	while (read(p[0], text, sizeof(text)) > 0)
		;
	tn_log_begin(&r, TN_LOG_INFO, "kept");
	tn_log_end(&r);
	tn_log(TN_LOG_INFO, "second");
	while ((n = read(p[0], text + got, sizeof(text) - 1 - got)) > 0)
		got += (size_t)n;
	text[got] = '\0';
	assert_null(strstr(text, "gone"));
	assert_non_null(strstr(text, "log records lost lost=3\n"));
	assert_true(strstr(text, "lost=3") < strstr(text, ": kept\n"));
	assert_non_null(strstr(text, ": second\n"));
	assert_int_equal(count(text, '\n'), 3);
	tn_log_set_fd(out);
	close(p[0]);
	close(p[1]);
}

static void
the_file_can_be_changed_for_rotation(void **state)
{
	int other = tn_fd_memfd("other", 0);
	char text[256] = { 0 };

	(void)state;
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log(TN_LOG_INFO, "one");
	tn_log_set_fd(other);
	tn_log(TN_LOG_INFO, "two");
	tn_log_set_fd(out);
	assert_true(pread(other, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "front["));
	assert_non_null(strstr(text, ": two\n"));
	assert_null(strstr(text, "one"));
	assert_null(strstr(written(), "two"));
	close(other);
}

static void
a_record_allocates_nothing(void **state)
{
	static char big[9000];
	struct tn_log_record r;
	void *volatile p;
	int format;

	(void)state;
	memset(big, '\n', sizeof(big));
	for (format = TN_LOG_TEXT; format <= TN_LOG_JSON; format++) {
		start(TN_LOG_INFO, (enum tn_log_format)format);
		allocations = 0;
		tn_log(TN_LOG_INFO, "hello %d %s", 1, ODD);
		tn_log_begin(&r, TN_LOG_INFO, "e");
		tn_log_str(&r, "odd", TN_STR(ODD));
		tn_log_u64(&r, "n", UINT64_MAX);
		tn_log_i64(&r, "n2", INT64_MIN);
		tn_log_ms(&r, "t", UINT64_MAX);
		tn_log_str(&r, "big", (struct tn_str){ big, sizeof(big) });
		tn_log_end(&r);
		assert_int_equal(allocations, 0);
		assert_true(strlen(written()) > 1000);
	}
	/* The counter does count. */
	p = malloc(17);
	free(p);
	assert_int_equal(allocations, 1);
}

static void
errno_survives_a_record(void **state)
{
	int closed = dup(0);

	(void)state;
	close(closed);
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log_set_fd(closed);
	errno = EXDEV;
	tn_log(TN_LOG_INFO, "lost");
	assert_int_equal(errno, EXDEV);
	tn_log_set_fd(out);
	tn_log(TN_LOG_INFO, "flush the count");
}

static void
limiter_lets_burst_through_and_counts_the_rest(void **state)
{
	struct tn_log_limit l = { .burst = 3 };
	uint64_t now = 5000000, dropped = 99;
	int i, let = 0;

	(void)state;
	for (i = 0; i < 10; i++) {
		let += tn_log_allow(&l, now + (uint64_t)i, &dropped);
		assert_int_equal(dropped, 0);
	}
	assert_int_equal(let, 3);
	assert_false(tn_log_allow(&l, now + 999999, &dropped));
	assert_true(tn_log_allow(&l, now + 1000000, &dropped));
	assert_int_equal(dropped, 8);
	assert_true(tn_log_allow(&l, now + 1000001, &dropped));
	assert_int_equal(dropped, 0);
}

static void
limiters_do_not_share(void **state)
{
	struct tn_log_limit a = { .burst = 1 }, b = { .burst = 1 };
	uint64_t dropped;

	(void)state;
	assert_true(tn_log_allow(&a, 1000000, &dropped));
	assert_false(tn_log_allow(&a, 1000000, &dropped));
	assert_true(tn_log_allow(&b, 1000000, &dropped));
	assert_int_equal(dropped, 0);
}

static void
what_was_dropped_is_said_when_nothing_follows(void **state)
{
	struct tn_log_limit l = { .burst = 1 };
	uint64_t dropped = 0;

	(void)state;
	assert_false(tn_log_overdue(&l, 9000000, &dropped));
	assert_true(tn_log_allow(&l, 1000000, &dropped));
	assert_false(tn_log_overdue(&l, 9000000, &dropped));
	assert_false(tn_log_allow(&l, 1000000, &dropped));
	assert_false(tn_log_allow(&l, 1999999, &dropped));
	assert_false(tn_log_overdue(&l, 1999999, &dropped));
	assert_true(tn_log_overdue(&l, 2000000, &dropped));
	assert_int_equal(dropped, 2);
	/* Once, and not again with the next record. */
	assert_false(tn_log_overdue(&l, 9000000, &dropped));
	assert_true(tn_log_allow(&l, 9000000, &dropped));
	assert_int_equal(dropped, 0);
}

/* -- the tap ------------------------------------------------------------------- */

static char tapped[2][16384], tapped_contract[64];
static unsigned ntapped;

static void
on_tap(void *arg, const struct tn_log_line *l)
{
	assert_ptr_equal(arg, &ntapped);
	ntapped++;
	assert_true(l->log.len < sizeof(tapped[0]) && l->json.len < sizeof(tapped[0]));
	memcpy(tapped[0], l->log.p, l->log.len);
	tapped[0][l->log.len] = '\0';
	memcpy(tapped[1], l->json.p, l->json.len);
	tapped[1][l->json.len] = '\0';
	snprintf(tapped_contract, sizeof(tapped_contract), "%s", l->contract);
}

static void
the_tap_has_the_line_and_its_json(void **state)
{
	static const enum tn_log_format formats[] = { TN_LOG_TEXT, TN_LOG_JSON };
	struct tn_log_record r, before;
	json_t *j;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		start(TN_LOG_INFO, formats[i]);
		tn_log_begin(&before, TN_LOG_INFO, "begun before there was a tap");
		tn_log_set_tap(on_tap, &ntapped);
		ntapped = 0;
		tn_log_begin(&r, TN_LOG_WARN, "event");
		tn_log_str(&r, "contract", TN_STR("hello"));
		tn_log_str(&r, "text", TN_STR(ODD));
		tn_log_u64(&r, "n", 7);
		tn_log_i64(&r, "i", -7);
		tn_log_ms(&r, "d", 1500);
		tn_log_end(&r);
		assert_int_equal(ntapped, 1);
		assert_string_equal(tapped_contract, "hello");
		(void)written();
		line[strcspn(line, "\n")] = '\0';
		assert_string_equal(tapped[0], line);
		j = json_loads(tapped[1], 0, NULL);
		assert_non_null(j);
		assert_string_equal(json_string_value(json_object_get(j, "event")), "event");
		assert_string_equal(json_string_value(json_object_get(j, "level")), "warn");
		assert_string_equal(json_string_value(json_object_get(j, "contract")), "hello");
		assert_string_equal(json_string_value(json_object_get(j, "text")),
		    "a\"b\\c\nd\xef\xbf\xbd\x1b[31m=e");
		assert_int_equal(json_integer_value(json_object_get(j, "n")), 7);
		assert_int_equal(json_integer_value(json_object_get(j, "i")), -7);
		assert_true(json_real_value(json_object_get(j, "d")) == 1.5);
		assert_memory_equal(json_string_value(json_object_get(j, "time")), "20", 2);
		if (formats[i] == TN_LOG_TEXT)
			assert_memory_equal(json_string_value(json_object_get(j, "time")),
			    tapped[0], 24);
		else
			assert_string_equal(tapped[0], tapped[1]);
		json_decref(j);
		/* No contract of the record before; records that nobody wants are not tapped. */
		tn_log(TN_LOG_INFO, "plain");
		assert_int_equal(ntapped, 2);
		assert_string_equal(tapped_contract, "");
		tn_log(TN_LOG_DEBUG, "plain");
		assert_int_equal(ntapped, 2);
		tn_log_set_tap(NULL, NULL);
		tn_log(TN_LOG_INFO, "plain");
		assert_int_equal(ntapped, 2);
		tn_log_end(&before);
		assert_int_equal(ntapped, 2);
	}
}

static void
the_tap_has_cut_records_whole_enough(void **state)
{
	static char text[9000];
	struct tn_log_record r;
	json_t *j;

	(void)state;
	memset(text, '"', sizeof(text));
	start(TN_LOG_INFO, TN_LOG_TEXT);
	tn_log_set_tap(on_tap, &ntapped);
	tn_log_begin(&r, TN_LOG_INFO, "long");
	tn_log_str(&r, "text", (struct tn_str){ text, sizeof(text) });
	tn_log_u64(&r, "n", 7);
	tn_log_end(&r);
	tn_log_set_tap(NULL, NULL);
	j = json_loads(tapped[1], 0, NULL);
	assert_non_null(j);
	assert_true(json_is_true(json_object_get(j, "cut")));
	json_decref(j);
}

static int
setup(void **state)
{
	(void)state;
	out = tn_fd_memfd("log", 0);
	return out < 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_record_is_time_level_process_event_fields),
		cmocka_unit_test(json_record_is_one_object_with_numbers_as_numbers),
		cmocka_unit_test(time_is_utc_to_the_millisecond),
		cmocka_unit_test(values_from_outside_stay_inside_their_quotes),
		cmocka_unit_test(json_values_read_back),
		cmocka_unit_test(plain_message_is_one_line_too),
		cmocka_unit_test(levels_below_the_wanted_write_nothing),
		cmocka_unit_test(a_long_record_is_cut_and_says_so),
		cmocka_unit_test(a_cut_json_record_is_still_json),
		cmocka_unit_test(a_long_event_and_a_long_message_are_cut_too),
		cmocka_unit_test(a_full_pipe_loses_records_and_counts_them),
		cmocka_unit_test(the_file_can_be_changed_for_rotation),
		cmocka_unit_test(a_record_allocates_nothing),
		cmocka_unit_test(errno_survives_a_record),
		cmocka_unit_test(limiter_lets_burst_through_and_counts_the_rest),
		cmocka_unit_test(limiters_do_not_share),
		cmocka_unit_test(what_was_dropped_is_said_when_nothing_follows),
		cmocka_unit_test(the_tap_has_the_line_and_its_json),
		cmocka_unit_test(the_tap_has_cut_records_whole_enough),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
