/*
 * fuzz_trace.c - a contract's table of lines, and a stack that a worker sends.
 *
 * Input: the table, a zero byte, the text; without a zero byte the table is the
 * text as well.  What is written never exceeds its buffer, and a smaller buffer
 * gets the beginning of the same.
 */
#include "config.h"

#include "fuzz.h"

#include <string.h>

#include "sv_trace.h"
#include "tn_err.h"

static size_t
rewritten(const struct sv_trace *t, struct tn_str text, char *memory, size_t room)
{
	struct tn_buf out;

	tn_buf_init_fixed(&out, memory, room);
	sv_trace_rewrite(t, text, &out);
	FUZZ_HOLDS(!out.failed && out.len <= room);
	return out.len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *zero = size > 0 ? memchr(p, '\0', size) : NULL;
	struct tn_str table = { p, zero != NULL ? (size_t)(zero - p) : size }, text = table;
	static char whole[4096], part[4096];
	struct sv_trace *t = NULL;
	size_t n, few;
	int rc;

	if (zero != NULL)
		text = (struct tn_str){ zero + 1, size - table.len - 1 };
	rc = sv_trace_add(&t, TN_STR("get.js"), table);
	FUZZ_HOLDS(rc == 0 || rc == TN_EINVAL || rc == TN_ELIMIT);
	FUZZ_HOLDS((t != NULL) == (rc == 0));
	n = rewritten(t, text, whole, sizeof(whole));
	if (t == NULL)
		FUZZ_HOLDS(n == (text.len < sizeof(whole) ? text.len : sizeof(whole)) &&
		    (n == 0 || memcmp(whole, text.p, n) == 0));
	few = rewritten(t, text, part, n / 2);
	FUZZ_HOLDS(few == n / 2 && memcmp(whole, part, few) == 0);
	sv_trace_free(&t);
	return 0;
}
