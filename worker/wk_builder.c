#include "config.h"

#include "wk_builder.h"

#include <stdio.h>
#include <sys/mman.h>

#include "tn_err.h"
#include "tn_frame.h"
#include "wk_arena.h"
#include "wk_channel.h"
#include "wk_deadline.h"
#include "wk_delta.h"
#include "wk_heap.h"
#include "wk_host.h"
#include "wk_random.h"
#include "wk_worker.h"

/* To collect garbage takes five times as long as all the rest, and finds little in a small heap. */
#define WORTH_COLLECTING	((size_t)512 << 10)

static struct tn_zy_setup setup;
static struct tn_buf image;

static void
send_log(void *arg, enum tn_log_level level, struct tn_str text)
{
	struct tn_frame f = { .type = TN_FRAME_LOG };

	(void)arg;
	f.log.id = 0;
	f.log.level = level;
	f.log.text = text;
	(void)wk_channel_send(&f);
}

int
wk_builder_prepare(const struct tn_zy_setup *s, struct tn_slots *slots)
{
	size_t bytes = wk_worker_image_max(s);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc;

	if (p == MAP_FAILED)
		return TN_ENOMEM;
	setup = *s;
	tn_buf_init_fixed(&image, p, bytes);
	rc = wk_channel_open(WK_CHANNEL_FD, 4096);
	if (rc != 0)
		return rc;
	wk_host_set_sink(send_log, NULL);
	return wk_deadline_install(slots);
}

/* The heap as requests are to find it, and what it has other than the base. */
static int
make_image(struct wk_trouble *t)
{
	bool grown = wk_arena_used() - wk_arena_base_used() > WORTH_COLLECTING;

	wk_heap_settle(grown ? WK_SETTLE_COLLECT : WK_SETTLE_AS_IS);
	wk_alloc_scrub(&WK_ARENA->alloc, WK_ARENA_BASE + wk_arena_base_used());
	/* What requests allocate comes behind, so that they write to few of the image's pages. */
	wk_alloc_nursery(&WK_ARENA->alloc);
	if (wk_delta_encode(&image, setup.generation) == 0)
		return 0;
	t->fault = TN_FAULT_MEMORY;
	(void)snprintf(t->message, sizeof(t->message), "after the module level the contract's heap "
	    "differs from an empty one in more than %zu bytes", image.cap);
	return TN_ELIMIT;
}

static int
serve_build(const struct tn_frame_build *b)
{
	static struct wk_trouble trouble;
	struct tn_frame f = { .type = TN_FRAME_BUILT };
	struct tn_str names[WK_EXPORTS_MAX];
	struct wk_exports e = { .n = 0 };
	uint64_t compile_us, module_us;
	int rc;

	wk_random_seed(b->seed.p, b->seed.len);
	wk_host_begin();
	wk_deadline_arm(b->id);
	wk_heap_collect(true);
	rc = wk_heap_load(b->contract, b->meta, b->source, &compile_us, &module_us, &trouble);
	if (rc == 0)
		rc = wk_heap_exports(&e, &trouble);
	wk_deadline_arm(0);
	if (rc == 0)
		rc = make_image(&trouble);

	f.built.id = b->id;
	f.built.compile_us = compile_us;
	f.built.module_us = module_us;
	if (rc != 0) {
		f.built.fault = trouble.fault != TN_FAULT_NONE ? trouble.fault : TN_FAULT_COMPILE;
		f.built.message = tn_str(trouble.message);
	} else {
		for (size_t i = 0; i < e.n; i++)
			names[i] = tn_str(e.names[i]);
		f.built.exports = (struct tn_strv){ names, e.n };
		f.built.delta = (struct tn_str){ image.p, image.len };
	}
	(void)wk_channel_send(&f);
	return 0;
}

int
wk_builder_serve(void)
{
	struct tn_frame f = { .type = TN_FRAME_READY };
	int rc;

	f.ready.version = TN_FRAMES_VERSION;
	f.ready.generation = setup.generation;
	if (wk_channel_send(&f) != 0)
		return 0;
	rc = wk_channel_next(&f);
	if (rc == TN_ECLOSED || (rc == 0 && f.type == TN_FRAME_RETIRE))
		return 0;
	if (rc != 0 || f.type != TN_FRAME_BUILD)
		return WK_EXIT_PROTOCOL;
	return serve_build(&f.build);
}
