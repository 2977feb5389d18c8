#include "config.h"

#include "wk_rehearsal.h"

#include <stdlib.h>

#include "tn_err.h"
#include "wk_arena.h"
#include "wk_duk.h"
#include "wk_heap.h"
#include "wk_restore.h"

#define REPLY_MAX	4096u

static int
never_wait(void *arg, uint64_t ms, struct tn_frame_operated *answer)
{
	(void)arg;
	(void)ms;
	(void)answer;
	return TN_ETIMEOUT;
}

/* As a builder does, then as a worker does. */
static void
play(void)
{
	static struct tn_str source[] = {
		TN_STR("get.js"),
		TN_STR("exports.get = function (req) { return { path: req.path, query: req.query }; };")
	};
	static struct tn_str headers[] = { TN_STR("host"), TN_STR("localhost") };
	static struct wk_trouble trouble;
	static struct wk_result result;
	const struct wk_request q = {
		.contract = TN_STR("rehearsal"), .function = TN_STR("get"), .method = TN_STR("GET"),
		.url = TN_STR("http://localhost/a?b=c"), .path = TN_STR("/a"),
		.query = TN_STR("b=c"), .headers = { headers, 2 }, .ip = TN_STR("127.0.0.1")
	};
	struct tn_buf text = { .max = REPLY_MAX };
	uint64_t compile_us, module_us;

	if (wk_heap_load(q.contract, TN_STR(""), (struct tn_strv){ source, 2 }, &compile_us,
	    &module_us, &trouble) == 0) {
		wk_heap_settle(WK_SETTLE_AS_IS);
		wk_alloc_nursery(&WK_ARENA->alloc);
		wk_duk_freeze(WK_ARENA_BASE, wk_arena_used());
		wk_heap_collect(false);
		(void)wk_heap_request(&q, never_wait, NULL, REPLY_MAX, &text, &result);
	}
	tn_buf_fini(&text);
}

int
wk_rehearse(void)
{
	int rc = wk_restore_base();

	if (rc != 0)
		return rc;
	play();
	rc = wk_restore_learn();
	wk_arena_populate();
	wk_duk_freeze(WK_ARENA_BASE, wk_arena_used());
	return rc;
}
