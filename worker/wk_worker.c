#include "config.h"

#include "wk_worker.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_frame.h"
#include "wk_arena.h"
#include "wk_channel.h"
#include "wk_deadline.h"
#include "wk_duk.h"
#include "wk_heap.h"
#include "wk_host.h"
#include "wk_random.h"
#include "wk_restore.h"

/* audit = sample: a look costs as much as some requests. */
#define AUDIT_SAMPLE	1024u

/* What a frame may hold beside the body: header section, URL, the contract's source. */
#define FRAME_MARGIN	((size_t)256 << 10)

static struct {
	struct tn_zy_setup	 setup;
	struct tn_slots		*slots;
	uint64_t		 image;		/* which one is mapped; 0: the base */
	uint64_t		 running;	/* request whose console records these are */
	bool			 dirty;		/* the heap is not its image */
	struct tn_buf		 text;		/* the reply's converted texts */
	struct wk_result	 result;
} wk;

static void
send_log(void *arg, enum tn_log_level level, struct tn_str text)
{
	struct tn_frame f = { .type = TN_FRAME_LOG };

	(void)arg;
	f.log.id = wk.running;
	f.log.level = level;
	f.log.text = text;
	(void)wk_channel_send(&f);
}

/* Behind a request that sleeps, as many as the front may send wait. */
static size_t
queue_bytes(const struct tn_zy_setup *setup)
{
	return (TN_DEPTH_MAX - 1) * (setup->body_max + FRAME_MARGIN);
}

static size_t
text_bytes(const struct tn_zy_setup *setup)
{
	return setup->reply_max + 4 * WK_HEADERS_MAX;
}

uint64_t
wk_worker_memory(const struct tn_zy_setup *setup)
{
	return wk_channel_memory(queue_bytes(setup)) + text_bytes(setup) + TN_SLOTS_BYTES;
}

int
wk_worker_prepare(const struct tn_zy_setup *setup, struct tn_slots *slots)
{
	size_t bytes = text_bytes(setup);
	void *p;
	int rc;

	wk.setup = *setup;
	wk.slots = slots;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return TN_ENOMEM;
	tn_buf_init_fixed(&wk.text, p, bytes);
	rc = wk_channel_open(WK_CHANNEL_FD, queue_bytes(setup));
	if (rc != 0)
		return rc;
	(void)wk_restore_choose(WK_PAGEMAP_FD, (enum wk_restore_how)setup->restore);
	wk_host_set_sink(send_log, NULL);
	return wk_deadline_install(slots);
}

static int
wait_for_wake(void *arg, uint64_t ms)
{
	struct tn_frame f = { .type = TN_FRAME_SLEEP };
	int rc;

	(void)arg;
	f.sleep.id = wk.running;
	f.sleep.ms = ms;
	rc = wk_channel_send(&f);
	return rc != 0 ? rc : wk_channel_wake(wk.running);
}

/* Frames that must go out: without the front there is nothing to live for. */
static void
send_or_exit(const struct tn_frame *f)
{
	if (wk_channel_send(f) != 0)
		_exit(0);
}

static void
reply_fault(uint64_t id, enum tn_fault fault, const char *message)
{
	struct tn_frame f = { .type = TN_FRAME_REPLY };

	f.reply.id = id;
	f.reply.fault = fault;
	f.reply.message = tn_str(message);
	send_or_exit(&f);
}

static void
reply(uint64_t id, const struct wk_result *r, uint64_t heap_us, uint64_t compile_us)
{
	struct tn_frame f = { .type = TN_FRAME_REPLY };

	f.reply.id = id;
	f.reply.fault = r->fault;
	f.reply.message = r->message;
	f.reply.status = r->status;
	f.reply.headers = (struct tn_strv){ r->headers, r->nheaders };
	f.reply.body = r->body;
	f.reply.heap_us = heap_us;
	f.reply.compile_us = compile_us;
	f.reply.bootstrap_us = r->bootstrap_us;
	f.reply.execution_us = r->execution_us;
	f.reply.result_us = r->result_us;
	switch (wk_channel_send(&f)) {
	case 0:
		break;
	case TN_ELIMIT:
		reply_fault(id, TN_FAULT_REPLY_SIZE, "the reply does not fit in a frame");
		break;
	default:
		_exit(0);
	}
}

/* The contract's heap in its place; 0, or what to tell the front. */
static int
place_heap(const struct tn_frame_invoke *q, const char **why)
{
	if (q->image_follows) {
		int fd = wk_channel_take_fd();

		if (fd < 0)
			return TN_EPROTO;
		if (wk_arena_map_private(fd) != 0 || wk_restore_map(fd) != 0)
			_exit(WK_EXIT_HEAP);
		(void)close(fd);
		wk_duk_freeze(WK_ARENA_BASE, wk_arena_used());
		wk.image = q->image;
		wk.dirty = false;
	}
	if (q->isolation != TN_ISO_FRESH && (q->image == 0 || q->image != wk.image)) {
		*why = "the image is not here";
		return TN_ENOENT;
	}
	if (wk.dirty && q->isolation != TN_ISO_REUSE && q->isolation != TN_ISO_FRESH) {
		if (wk_restore() != 0)
			_exit(WK_EXIT_HEAP);
		wk.dirty = false;
	}
	if (q->isolation != TN_ISO_FRESH && wk_arena_verify(wk.setup.generation) != 0) {
		*why = "the image is of another generation";
		return TN_EVERSION;
	}
	return 0;
}

/* Mode fresh: everything anew, and the contract from its source. */
static int
make_heap(const struct tn_frame_invoke *q, uint64_t *heap_us, uint64_t *compile_us,
    struct wk_trouble *t)
{
	uint64_t module_us;
	int rc;

	*compile_us = 0;
	if (wk.dirty && wk_arena_drop() != 0)
		_exit(WK_EXIT_HEAP);
	wk.dirty = true;
	rc = wk_heap_create(wk.setup.generation, t);
	*heap_us = tn_clock_us() - *heap_us;
	if (rc != 0)
		return rc;
	rc = wk_heap_load(q->contract, q->meta, q->source, compile_us, &module_us, t);
	*compile_us += module_us;
	return rc;
}

/* Is it time to look whether the heap is what wk_restore() says it is? */
static bool
audit_due(void)
{
	static unsigned n;

	return wk.setup.audit == TN_AUDIT_ALWAYS ||
	    (wk.setup.audit == TN_AUDIT_SAMPLE && ++n % AUDIT_SAMPLE == 0);
}

static void
restore(const struct tn_frame_invoke *q, bool broken)
{
	struct tn_frame f = { .type = TN_FRAME_RESTORED };
	uint64_t start = tn_clock_us();
	size_t page = 0;

	switch (q->isolation) {
	case TN_ISO_REUSE:
		/* Left in the middle, or full: there is no image to go back to here. */
		if (broken)
			_exit(0);
		wk_heap_end();
		wk.dirty = true;
		break;
	case TN_ISO_PROCESS:
		_exit(0);
	case TN_ISO_FRESH:
		if (wk_arena_drop() != 0)
			_exit(WK_EXIT_HEAP);
		wk.dirty = false;
		break;
	default:
		if (wk_restore() != 0)
			_exit(WK_EXIT_HEAP);
		wk.dirty = false;
		break;
	}
	f.restored.id = q->id;
	f.restored.restore_us = tn_clock_us() - start;
	if (q->isolation == TN_ISO_SNAPSHOT && audit_due()) {
		f.restored.differ = wk_restore_audit(&page);
		f.restored.page = page;
	}
	send_or_exit(&f);
	if (f.restored.differ > 0)
		_exit(WK_EXIT_AUDIT);
}

/* 0, or the exit status. */
static int
serve_invoke(const struct tn_frame_invoke *frame)
{
	/* The frame's texts go when the request sleeps; what is needed afterwards is here. */
	struct tn_frame_invoke q = *frame;
	struct wk_request rq = {
		.contract = q.contract, .function = q.function, .method = q.method, .url = q.url,
		.path = q.path, .query = q.query, .headers = q.headers, .body = q.body,
		.has_body = q.body.len > 0, .ip = q.ip, .meta = q.meta, .block = q.block,
		.now = q.now
	};
	struct wk_result *r = &wk.result;
	uint64_t heap_us = tn_clock_us(), compile_us = 0;
	const char *why = NULL;
	bool broken = false;
	int rc;

	if (q.isolation > TN_ISO_FRESH || q.slot >= TN_DEPTH_MAX)
		return WK_EXIT_PROTOCOL;
	/* Also when the frame turns out to be revoked: the front thinks that we have it now. */
	rc = place_heap(&q, &why);
	if (rc == TN_EPROTO)
		return WK_EXIT_PROTOCOL;
	if (!tn_slot_move(wk.slots, (unsigned)q.slot, q.id, TN_SLOT_QUEUED, TN_SLOT_RUNNING))
		return 0;
	if (rc != 0) {
		reply_fault(q.id, TN_FAULT_INTERNAL, why);
		return 0;
	}
	wk_random_seed(q.seed.p, q.seed.len);
	wk.running = q.id;
	wk_deadline_arm(q.id);
	wk.text.len = 0;
	wk.text.failed = false;
	if (q.isolation == TN_ISO_FRESH) {
		r->bootstrap_us = r->execution_us = r->result_us = 0;
		rc = make_heap(&q, &heap_us, &compile_us, &r->trouble);
	} else {
		heap_us = tn_clock_us() - heap_us;
		rc = 0;
	}
	wk.dirty = true;
	if (rc != 0) {
		r->fault = r->trouble.fault;
		r->message = tn_str(r->trouble.message);
		r->status = 0;
		r->nheaders = 0;
		r->body = (struct tn_str){ NULL, 0 };
	} else {
		wk_heap_collect(q.isolation == TN_ISO_REUSE);
		rc = wk_heap_request(&rq, wait_for_wake, NULL, wk.setup.reply_max, &wk.text, r);
		if (rc != 0 && rc != TN_ETIMEOUT)
			return rc == TN_ECLOSED ? -1 : WK_EXIT_PROTOCOL;
	}
	wk_deadline_arm(0);
	broken = rc == TN_ETIMEOUT || r->fault == TN_FAULT_MEMORY || r->fault == TN_FAULT_DEADLINE;
	reply(q.id, r, heap_us, compile_us);
	wk.running = 0;
	restore(&q, broken);
	return 0;
}

int
wk_worker_serve(void)
{
	struct tn_frame f = { .type = TN_FRAME_READY };
	int rc;

	f.ready.version = TN_FRAMES_VERSION;
	f.ready.generation = wk.setup.generation;
	if (wk_channel_send(&f) != 0)
		return 0;
	for (;;) {
		rc = wk_channel_next(&f);
		if (rc == TN_ECLOSED)
			return 0;
		if (rc != 0)
			return WK_EXIT_PROTOCOL;
		switch (f.type) {
		case TN_FRAME_INVOKE:
			rc = serve_invoke(&f.invoke);
			if (rc != 0)
				return rc > 0 ? rc : 0;
			break;
		case TN_FRAME_WAKE:	/* for a request that is over */
			break;
		case TN_FRAME_RETIRE:	/* frames come in order: all before it are done */
			return 0;
		default:
			return WK_EXIT_PROTOCOL;
		}
	}
}
