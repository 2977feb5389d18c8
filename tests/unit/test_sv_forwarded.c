/*
 * test_sv_forwarded.c - an address is believed only from who is trusted.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "sv_forwarded.h"

static struct sv_forwarded *
trusting(const char *a, const char *b, const char *c)
{
	char *v[] = { (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c };
	struct tn_list list = { v, a == NULL ? 0 : b == NULL ? 1 : c == NULL ? 2 : 3 };

	return sv_forwarded_new(&list, NULL);
}

static bool
trusts(const struct sv_forwarded *f, const char *text)
{
	struct sv_addr a;

	assert_true(sv_addr_parse(&a, tn_str(text)));
	return sv_forwarded_trusts(f, &a);
}

static void
test_networks(void **state)
{
	struct sv_forwarded *f = trusting("10.0.0.0/8", "192.0.2.7", "2001:db8::/33");

	(void)state;
	assert_true(trusts(f, "10.255.0.1"));
	assert_true(trusts(f, "::ffff:10.1.2.3"));
	assert_false(trusts(f, "11.0.0.0"));
	assert_true(trusts(f, "192.0.2.7"));
	assert_false(trusts(f, "192.0.2.6"));
	assert_true(trusts(f, "2001:db8:7fff::1"));
	assert_false(trusts(f, "2001:db8:8000::1"));
	assert_false(trusts(f, "::10.0.0.1"));
	sv_forwarded_free(&f);
	f = trusting("0.0.0.0/0", NULL, NULL);
	assert_true(trusts(f, "1.2.3.4"));
	assert_false(trusts(f, "2001:db8::1"));
	sv_forwarded_free(&f);
	f = trusting("10.0.0.128/25", "172.16.0.0/12", "::/0");
	assert_true(trusts(f, "172.31.255.255"));
	sv_forwarded_free(&f);
	assert_null(f);
	sv_forwarded_free(&f);
}

static void
test_mistakes(void **state)
{
	static const char *const bad[] = { "", "a", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x",
		"10.0.0.0/-1", "10.0.0", "::/129", "/8", "[::1]", "10.0.0.0/8/8",
		"10.0.0.0/99999999999999999999", "proxy.example" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tn_list list = { (char *[]){ (char *)(uintptr_t)bad[i] }, 1 };
		struct tn_buf err = { 0 };

		assert_null(sv_forwarded_new(&list, &err));
		assert_true(err.len > 0);
		tn_buf_fini(&err);
	}
}

static const char *
client(const struct sv_forwarded *f, const char *peer, const char *v1, const char *v2)
{
	static char text[SV_ADDR_TEXT];
	struct tn_str v[] = { tn_str(v1), tn_str(v2) };
	struct sv_addr a = { .local = true };

	if (strcmp(peer, "unix") != 0)
		assert_true(sv_addr_parse(&a, tn_str(peer)));
	sv_forwarded_client(f, &a, v, v1 == NULL ? 0 : v2 == NULL ? 1 : 2);
	sv_addr_print(&a, text);
	return text;
}

static void
test_clients(void **state)
{
	struct sv_forwarded *f = trusting("10.0.0.0/8", "::1", NULL);
	char big[200000];

	(void)state;
	/* a peer that is not trusted may say what it likes */
	assert_string_equal(client(f, "192.0.2.1", "1.2.3.4", NULL), "192.0.2.1");
	assert_string_equal(client(f, "10.0.0.1", NULL, NULL), "10.0.0.1");
	assert_string_equal(client(f, "10.0.0.1", "1.2.3.4", NULL), "1.2.3.4");
	assert_string_equal(client(f, "::1", "1.2.3.4", NULL), "1.2.3.4");
	/* the right-most that is not trusted; what stands before it anybody may have written */
	assert_string_equal(client(f, "10.0.0.1", "6.6.6.6, 1.2.3.4", NULL), "1.2.3.4");
	assert_string_equal(
	    client(f, "10.0.0.1", "6.6.6.6 ,1.2.3.4,\t10.0.0.2, 10.0.0.3", NULL), "1.2.3.4");
	/* several fields are one list */
	assert_string_equal(client(f, "10.0.0.1", "6.6.6.6, 1.2.3.4", "10.0.0.2"), "1.2.3.4");
	assert_string_equal(client(f, "10.0.0.1", "6.6.6.6", "1.2.3.4"), "1.2.3.4");
	/* all trusted: the first of them */
	assert_string_equal(client(f, "10.0.0.1", "10.0.0.3, 10.0.0.2", NULL), "10.0.0.3");
	/* nonsense ends the search at who wrote it */
	assert_string_equal(client(f, "10.0.0.1", "1.2.3.4, unknown", NULL), "10.0.0.1");
	assert_string_equal(client(f, "10.0.0.1", "1.2.3.4, , 10.0.0.2", NULL), "10.0.0.2");
	assert_string_equal(client(f, "10.0.0.1", "", NULL), "10.0.0.1");
	assert_string_equal(client(f, "10.0.0.1", ",", NULL), "10.0.0.1");
	assert_string_equal(client(f, "10.0.0.1", "1.2.3.4,", NULL), "10.0.0.1");
	/* the ways to write it */
	assert_string_equal(client(f, "10.0.0.1", "1.2.3.4:5678", NULL), "1.2.3.4");
	assert_string_equal(client(f, "10.0.0.1", "2001:DB8::1", NULL), "2001:db8::1");
	assert_string_equal(client(f, "10.0.0.1", "[2001:db8::1]", NULL), "2001:db8::1");
	assert_string_equal(client(f, "10.0.0.1", "[2001:db8::1]:80", NULL), "2001:db8::1");
	assert_string_equal(client(f, "10.0.0.1", "[2001:db8::1]80", NULL), "10.0.0.1");
	assert_string_equal(client(f, "10.0.0.1", "[2001:db8::1", NULL), "10.0.0.1");
	assert_string_equal(client(f, "10.0.0.1", "::ffff:1.2.3.4", NULL), "1.2.3.4");
	assert_string_equal(client(f, "unix", "1.2.3.4", NULL), "unix");
	memset(big, ',', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_string_equal(client(f, "10.0.0.1", big, NULL), "10.0.0.1");
	sv_forwarded_free(&f);
	f = trusting("unix", NULL, NULL);
	assert_string_equal(client(f, "unix", "1.2.3.4", NULL), "1.2.3.4");
	assert_string_equal(client(f, "10.0.0.1", "1.2.3.4", NULL), "10.0.0.1");
	sv_forwarded_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
