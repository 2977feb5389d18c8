/*
 * fuzz_commit.c - the payload of a commit, which comes from a worker.
 *
 * What is accepted keeps the limits, and says the same when it is written down and
 * read again.
 */
#include "config.h"

#include "fuzz.h"

#include <string.h>

#include "sv_storage.h"
#include "tn_err.h"
#include "tn_operation.h"

static void
write_down(struct tn_buf *b, const struct sv_storage_commit *c)
{
	size_t i, k;

	for (i = 0; i < c->nreads; i++) {
		tn_operation_put(b, TN_STR("r"));
		tn_operation_put(b, c->reads[i].key);
		tn_operation_put_u64(b, c->reads[i].version);
	}
	for (i = 0; i < c->nmatches; i++) {
		const struct sv_storage_match *m = &c->matches[i];

		tn_operation_put(b, TN_STR("m"));
		tn_operation_put(b, m->pattern);
		tn_operation_put_u64(b, m->members);
		tn_operation_put_u64(b, m->nkeys);
		for (k = 0; k < m->nkeys; k++)
			tn_operation_put(b, m->keys[k]);
	}
	if (c->clear)
		tn_operation_put(b, TN_STR("c"));
	for (i = 0; i < c->nwrites; i++) {
		tn_operation_put(b, c->writes[i].gone ? TN_STR("d") : TN_STR("s"));
		tn_operation_put(b, c->writes[i].key);
		if (!c->writes[i].gone)
			tn_operation_put(b, c->writes[i].value);
	}
}

static void
within_limits(const struct sv_storage_commit *c)
{
	size_t i, k;

	for (i = 0; i < c->nreads; i++)
		FUZZ_HOLDS(c->reads[i].key.len <= SV_STORAGE_KEY_MAX);
	for (i = 0; i < c->nmatches; i++)
		for (k = 0; k < c->matches[i].nkeys; k++) {
			FUZZ_HOLDS(c->matches[i].keys[k].len <= SV_STORAGE_KEY_MAX);
			(void)sv_storage_match(c->matches[i].pattern, c->matches[i].keys[k]);
		}
	for (i = 0; i < c->nwrites; i++) {
		FUZZ_HOLDS(c->writes[i].key.len <= SV_STORAGE_KEY_MAX);
		FUZZ_HOLDS(c->writes[i].gone ||
		    (c->writes[i].value.len >= SV_STORAGE_TAG &&
		    c->writes[i].value.len <= SV_STORAGE_TAG + SV_STORAGE_VALUE_MAX));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tn_buf one = { 0 }, two = { 0 };
	char text[SV_STORAGE_TEXT_MAX] = "";
	struct sv_storage_commit *c, *again;
	int rc;

	if (size > TN_OPERATION_MAX)
		return 0;
	c = sv_storage_commit_parse("c", (struct tn_str){ (const char *)data, size }, &rc, text);
	FUZZ_HOLDS((c != NULL) == (rc == 0));
	if (c == NULL) {
		FUZZ_HOLDS(rc == TN_EPROTO || rc == TN_ELIMIT);
		FUZZ_HOLDS((rc == TN_ELIMIT) == (text[0] != '\0'));
		return 0;
	}
	within_limits(c);
	write_down(&one, c);
	again = sv_storage_commit_parse("c", (struct tn_str){ one.p, one.len }, &rc, text);
	FUZZ_HOLDS(again != NULL);
	write_down(&two, again);
	FUZZ_HOLDS(tn_str_eq((struct tn_str){ one.p, one.len }, (struct tn_str){ two.p, two.len }));
	tn_buf_fini(&one);
	tn_buf_fini(&two);
	sv_storage_commit_free(&c);
	sv_storage_commit_free(&again);
	return 0;
}
