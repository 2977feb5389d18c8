/*
 * Stacks in the author's terms (sv_trace.h).
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_trace.h"
#include "tn_err.h"

#define TABLE	"tana-lines 1\ns get.ts\ns lib/a b.ts\n1\n10 0 3\n12 1 7\n13 1 7\n20\n22 0 1\n"

static const char *
rewritten(const struct sv_trace *t, const char *text, size_t room)
{
	static char memory[4096];
	struct tn_buf out;

	memset(memory, 0, sizeof(memory));
	tn_buf_init_fixed(&out, memory, room);
	sv_trace_rewrite(t, tn_str(text), &out);
	assert_false(out.failed);
	assert_true(out.len <= room);
	return memory;
}

static struct sv_trace *
tables(void)
{
	struct sv_trace *t = NULL;

	assert_int_equal(sv_trace_add(&t, tn_str("get.js"), tn_str(TABLE)), 0);
	assert_int_equal(sv_trace_add(&t, tn_str("post.js"),
	    tn_str("tana-lines 1\ns post.ts\n5 0 99999999\n")), 0);
	return t;
}

static void
a_stack_gets_the_author_s_lines(void **state)
{
	static const struct { const char *text, *expected; } cases[] = {
		{ "Error: x\n    at f (get.js:10) strict\n    at g (post.js:5)",
		    "Error: x\n    at f (get.ts:3) strict\n    at g (post.ts:99999999)" },
		{ "(get.js:11)(get.js:12)(get.js:13)(get.js:14)(get.js:19)",
		    "(get.ts:4)(lib/a b.ts:7)(lib/a b.ts:7)(lib/a b.ts:8)(lib/a b.ts:13)" },
		{ "(get.js:22) (get.js:99999999)", "(get.ts:1) (get.ts:99999978)" },
		{ "((get.js:10))", "((get.ts:3))" },
	};
	/* Before the first entry, without a source, of a file without a table, no place. */
	static const char *const same[] = { "", "text", "(", "()", "(get.js:0)", "(get.js:1)",
	    "(get.js:9)", "(get.js:20)", "(get.js:21)", "(post.js:4)", "(contract.js:10)",
	    "get.js:10", "(get.js:10",
	    "(get.js:)", "(get.js:-10)", "(get.js:10 )", "(get.js:1x)", "(get.js:100000000)",
	    "(get.js:4294967306)", "(get.js:99999999999999999999999999999)", "(get.jsx:10)",
	    "(xget.js:10)", "( get.js:10)", "(get.js10)", "(get.js" };
	struct sv_trace *t = tables();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(rewritten(t, cases[i].text, 4000), cases[i].expected);
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_string_equal(rewritten(t, same[i], 4000), same[i]);
	sv_trace_free(&t);
	assert_null(t);
	assert_string_equal(rewritten(NULL, cases[0].text, 4000), cases[0].text);
	sv_trace_free(&t);
}

static void
what_does_not_fit_is_left_out(void **state)
{
	const char *text = "ab (get.js:10) (get.js:12) cd";
	const char *whole = "ab (get.ts:3) (lib/a b.ts:7) cd";
	struct sv_trace *t = tables();
	size_t room;

	(void)state;
	for (room = 0; room <= strlen(whole) + 1; room++)
		if (strncmp(rewritten(t, text, room), whole, room) != 0)
			fail_msg("with %zu bytes: %s", room, rewritten(t, text, room));
	sv_trace_free(&t);
}

/* Many short places that become long ones: the text grows, the buffer does not. */
static void
a_text_that_grows_stays_within_the_buffer(void **state)
{
	struct sv_trace *t = NULL;
	char table[512], text[3000];
	size_t i;

	(void)state;
	strcpy(table, "tana-lines 1\ns ");
	memset(table + strlen(table), 'n', 255);
	table[15 + 255] = '\0';
	strcat(table, "\n1 0 1\n");
	assert_int_equal(sv_trace_add(&t, tn_str("a"), tn_str(table)), 0);
	for (i = 0; i + 5 < sizeof(text); i += 5)
		memcpy(text + i, "(a:1)", 6);
	assert_int_equal(strlen(rewritten(t, text, 4000)), 4000);
	sv_trace_free(&t);
}

static void
what_is_no_table_adds_nothing(void **state)
{
	static const char *const bad[] = {
		"", "\n", "tana-lines", "tana-lines 2\n", "tana-lines 1 \n", " tana-lines 1\n",
		"tana-lines 1\ns \n", "tana-lines 1\ns\n", "tana-lines 1\ns a\tb\n",
		"tana-lines 1\ns a\x7f\n",
		"tana-lines 1\ns a\r\n1 0 1\n", "tana-lines 1\n\n", "tana-lines 1\nx\n",
		"tana-lines 1\n0\n",
		"tana-lines 1\n1 0 1\n", "tana-lines 1\ns a\n1 1 1\n", "tana-lines 1\ns a\n1 0\n",
		"tana-lines 1\ns a\n1 0 0\n", "tana-lines 1\ns a\n1 0 1 1\n",
		"tana-lines 1\ns a\n1 0 1x\n",
		"tana-lines 1\ns a\n1  0 1\n", "tana-lines 1\ns a\n-1 0 1\n",
		"tana-lines 1\ns a\n2 0 1\n2 0 2\n",
		"tana-lines 1\ns a\n2 0 1\n1 0 2\n", "tana-lines 1\ns a\n100000000 0 1\n",
		"tana-lines 1\ns a\n4294967297 0 1\n", "tana-lines 1\ns a\n1 4294967296 1\n",
		"tana-lines 1\ns a\n1 0 1\ns b\n", "tana-lines 1\ns a\n1 0 1\n\n2 0 2\n",
	};
	struct sv_trace *t = NULL;
	char long_name[300] = "tana-lines 1\ns ";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (sv_trace_add(&t, tn_str("get.js"), tn_str(bad[i])) != TN_EINVAL || t != NULL)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(sv_trace_add(&t, (struct tn_str){ "a\0b", 3 }, tn_str(TABLE)), TN_EINVAL);
	assert_int_equal(sv_trace_add(&t, (struct tn_str){ TABLE, 0 }, tn_str(TABLE)), TN_EINVAL);
	assert_int_equal(sv_trace_add(&t, tn_str("a"),
	    (struct tn_str){ "tana-lines 1\ns a\0b\n", 19 }), TN_EINVAL);
	memset(long_name + strlen(long_name), 'n', 256);
	assert_int_equal(sv_trace_add(&t, tn_str("a"), tn_str(long_name)), TN_EINVAL);
	assert_null(t);
	/* After a good one, too: that stays. */
	t = tables();
	assert_int_equal(sv_trace_add(&t, tn_str("x.js"), tn_str(bad[4])), TN_EINVAL);
	assert_string_equal(rewritten(t, "(get.js:10)", 100), "(get.ts:3)");
	sv_trace_free(&t);
}

static void
a_table_cut_anywhere_is_refused_or_a_shorter_one(void **state)
{
	size_t n;

	(void)state;
	for (n = 0; n < strlen(TABLE); n++) {
		struct sv_trace *t = NULL;
		char *part = malloc(n + 1);	/* of just that size, for the sanitizer */
		int rc;

		assert_non_null(part);
		memcpy(part, TABLE, n);
		rc = sv_trace_add(&t, tn_str("get.js"), (struct tn_str){ part, n });
		free(part);
		assert_true(rc == TN_EINVAL || (rc == 0 && t != NULL));
		(void)rewritten(t, "(get.js:1) (get.js:12) (get.js:30)", 100);
		sv_trace_free(&t);
	}
}

static void
sizes_are_bounded(void **state)
{
	struct sv_trace *t = NULL;
	struct tn_buf b = { 0 };
	unsigned i;

	(void)state;
	tn_buf_puts(&b, "tana-lines 1\n");
	for (i = 0; i < 4097; i++)
		tn_buf_puts(&b, "s a\n");
	assert_int_equal(sv_trace_add(&t, tn_str("a"), (struct tn_str){ b.p, b.len }), TN_ELIMIT);
	b.len -= 4;
	assert_int_equal(sv_trace_add(&t, tn_str("a"), (struct tn_str){ b.p, b.len }), 0);
	sv_trace_free(&t);
	tn_buf_reset(&b);
	tn_buf_puts(&b, "tana-lines 1\n");
	for (i = 1; i <= (1u << 18); i++)
		tn_buf_printf(&b, "%u\n", i);
	assert_int_equal(sv_trace_add(&t, tn_str("a"), (struct tn_str){ b.p, b.len }), 0);
	sv_trace_free(&t);
	tn_buf_puts(&b, "262145\n");
	assert_int_equal(sv_trace_add(&t, tn_str("a"), (struct tn_str){ b.p, b.len }), TN_ELIMIT);
	assert_null(t);
	for (i = 0; i < 8; i++)
		assert_int_equal(sv_trace_add(&t, tn_str("a"), tn_str(TABLE)), 0);
	assert_int_equal(sv_trace_add(&t, tn_str("a"), tn_str(TABLE)), TN_ELIMIT);
	sv_trace_free(&t);
	tn_buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stack_gets_the_author_s_lines),
		cmocka_unit_test(what_does_not_fit_is_left_out),
		cmocka_unit_test(a_text_that_grows_stays_within_the_buffer),
		cmocka_unit_test(what_is_no_table_adds_nothing),
		cmocka_unit_test(a_table_cut_anywhere_is_refused_or_a_shorter_one),
		cmocka_unit_test(sizes_are_bounded),
	};

	return cmocka_run_group_tests_name("sv_trace", tests, NULL, NULL);
}
