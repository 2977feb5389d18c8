/*
 * test_sv_route.c - which contract a request means.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "sv_route.h"

#define L63 "123456789012345678901234567890123456789012345678901234567890123"

struct row {
	const char *host, *path, *domain, *contract, *rest;	/* contract NULL: not found */
};

static const struct row rows[] = {
	{ "a", "/hello", "", "hello", "/" },
	{ "a", "/hello/", "", "hello", "/" },
	{ "a", "/hello/a/b", "", "hello", "/a/b" },
	{ "a", "/hello//b", "", "hello", "//b" },
	{ "a", "/0-a", "", "0-a", "/" },
	{ "a", "/" L63, "", L63, "/" },
	{ "a", "/" L63 "4", "", NULL, NULL },
	{ "a", "/", "", NULL, NULL },
	{ "a", "//hello", "", NULL, NULL },
	{ "a", "/Hello", "", NULL, NULL },
	{ "a", "/hello_x", "", NULL, NULL },
	{ "a", "/-hello", "", NULL, NULL },
	{ "a", "/hello-", "", NULL, NULL },
	{ "a", "/hel%6co", "", NULL, NULL },
	{ "a", "/hello.ts", "", NULL, NULL },
	{ "a", "/h\xc3\xa9", "", NULL, NULL },
	/* by host */
	{ "hello.tana.dev", "/a/b", "tana.dev", "hello", "/a/b" },
	{ "hello.tana.dev:8180", "/", "tana.dev", "hello", "/" },
	{ "HELLO.Tana.DEV", "/a", "tana.dev", "hello", "/a" },
	{ "hello.tana.dev.", "/a", "tana.dev", "hello", "/a" },
	{ L63 ".tana.dev", "/a", "tana.dev", L63, "/a" },
	{ L63 "4.tana.dev", "/a", "tana.dev", NULL, NULL },
	{ "a.b.tana.dev", "/hello", "tana.dev", NULL, NULL },
	{ "-a.tana.dev", "/hello", "tana.dev", NULL, NULL },
	{ "a_b.tana.dev", "/hello", "tana.dev", NULL, NULL },
	/* hosts that are not below the domain: by path */
	{ "tana.dev", "/hello/a", "tana.dev", "hello", "/a" },
	{ ".tana.dev", "/hello/a", "tana.dev", "hello", "/a" },
	{ "nottana.dev", "/hello/a", "tana.dev", "hello", "/a" },
	{ "hello.tana.dev.evil", "/other", "tana.dev", "other", "/" },
	{ "[::1]:80", "/hello", "tana.dev", "hello", "/" },
	{ "", "/hello", "tana.dev", "hello", "/" },
	{ "hello.tana.dev", "/other", "", "other", "/" },
};

static void
test_routes(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct sv_route r;
		enum tn_fault fault =
		    sv_route(tn_str(row->host), tn_str(row->path), tn_str(row->domain), &r);

		if (row->contract == NULL) {
			assert_int_equal(fault, TN_FAULT_NOT_FOUND);
			assert_string_equal(r.contract, "");
			continue;
		}
		assert_int_equal(fault, 0);
		assert_string_equal(r.contract, row->contract);
		assert_true(tn_str_is(r.path, row->rest));
	}
}

static void
test_nul_is_no_end_of_an_identifier(void **state)
{
	struct sv_route r;

	(void)state;
	assert_false(sv_route_id_ok((struct tn_str){ "a\0b", 3 }));
	assert_int_equal(sv_route(tn_str("a"), (struct tn_str){ "/a\0b", 4 }, tn_str(""), &r),
	    TN_FAULT_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_nul_is_no_end_of_an_identifier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
