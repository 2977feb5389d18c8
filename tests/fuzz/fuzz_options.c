/*
 * fuzz_options.c - a configuration file; not hostile, but written by hand.
 *
 * What is accepted must come back the same from its own dump; what is refused
 * must have changed nothing and must be named in one line.
 */
#include "config.h"

#include "fuzz.h"

#include <string.h>

#include "tn_err.h"
#include "tn_options.h"

static void
same_dumps(const struct tn_options *a, const struct tn_options *b)
{
	struct tn_buf one = { 0 }, two = { 0 };

	tn_options_dump(a, &one);
	tn_options_dump(b, &two);
	FUZZ_HOLDS(!one.failed && !two.failed);
	FUZZ_HOLDS(tn_str_eq((struct tn_str){ one.p, one.len }, (struct tn_str){ two.p, two.len }));
	tn_buf_fini(&one);
	tn_buf_fini(&two);
}

static void
one_line(const struct tn_buf *err)
{
	FUZZ_HOLDS(err->len > 0 && memchr(err->p, '\n', err->len) == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tn_options *o = tn_options_new(), *p = tn_options_new();
	struct tn_buf err = { 0 }, dump = { 0 };

	FUZZ_HOLDS(o != NULL && p != NULL);
	if (tn_options_parse(o, "input", (struct tn_str){ (const char *)data, size }, &err) ==
	    TN_OK) {
		tn_options_dump(o, &dump);
		FUZZ_HOLDS(tn_options_parse(p, "dump", (struct tn_str){ dump.p, dump.len }, &err) ==
		    TN_OK);
		if (tn_options_check(o, &err) != TN_OK)
			one_line(&err);
	} else
		one_line(&err);
	same_dumps(o, p);
	tn_buf_fini(&err);
	tn_buf_fini(&dump);
	tn_options_free(&o);
	tn_options_free(&p);
	return 0;
}
