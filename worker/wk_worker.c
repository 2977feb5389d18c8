#include "config.h"

#include "wk_worker.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_frame.h"
#include "tn_operation.h"
#include "wk_arena.h"
#include "wk_channel.h"
#include "wk_deadline.h"
#include "wk_delta.h"
#include "wk_duk.h"
#include "wk_heap.h"
#include "wk_host.h"
#include "wk_random.h"
#include "wk_restore.h"

/* audit = sample: a look costs as much as some requests. */
#define AUDIT_SAMPLE	1024u

/* What a frame may hold beside the body: header section, URL, the contract's source. */
#define FRAME_MARGIN	((size_t)256 << 10)

/* Of the memory for images each has its part, as long as the longest that can come. */
#define IMAGE_BYTES	((size_t)TN_FRAME_MAX)

struct image {
	uint64_t		 number;	/* 0: none */
	struct wk_delta		*delta;
};

static struct {
	struct tn_zy_setup	 setup;
	struct tn_slots		*slots;
	struct image		 images[TN_IMAGES_MAX];
	const struct image	*image;		/* whose heap the arena is; NULL: none's */
	uint64_t		 running;	/* request whose console records these are */
	bool			 dirty;		/* the heap is not its image */
	struct tn_buf		 text;		/* the reply's converted texts */
	struct tn_buf		 payload;	/* an operation's */
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

/* Without the front there is nothing to live for. */
static int
send_operation(void *arg, uint64_t number, uint64_t kind, struct tn_str payload)
{
	struct tn_frame f = { .type = TN_FRAME_OPERATION };

	(void)arg;
	f.operation.id = wk.running;
	f.operation.operation = number;
	f.operation.kind = kind;
	f.operation.payload = payload;
	if (wk_channel_send(&f) != 0)
		_exit(0);
	return 0;
}

size_t
wk_worker_image_max(const struct tn_zy_setup *setup)
{
	size_t rest = setup->body_max + ((size_t)1 << 20);

	return rest < TN_FRAME_MAX ? TN_FRAME_MAX - rest : 0;
}

/* Behind a request that sleeps, as many as the front may send wait. */
static size_t
queue_bytes(const struct tn_zy_setup *setup)
{
	return (TN_DEPTH_MAX - 1) * (setup->body_max + FRAME_MARGIN + wk_worker_image_max(setup));
}

static size_t
text_bytes(const struct tn_zy_setup *setup)
{
	return setup->reply_max + 4 * WK_HEADERS_MAX;
}

uint64_t
wk_worker_memory(const struct tn_zy_setup *setup)
{
	return wk_channel_memory(queue_bytes(setup)) + text_bytes(setup) + TN_OPERATION_MAX +
	    TN_SLOTS_BYTES + TN_IMAGES_MAX * IMAGE_BYTES;
}

static void *
map_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int
wk_worker_prepare(const struct tn_zy_setup *setup, struct tn_slots *slots)
{
	char *text = map_memory(text_bytes(setup));
	char *images = map_memory(TN_IMAGES_MAX * IMAGE_BYTES);
	char *payload = map_memory(TN_OPERATION_MAX);
	int rc;

	wk.setup = *setup;
	wk.slots = slots;
	if (text == NULL || images == NULL || payload == NULL)
		return TN_ENOMEM;
	tn_buf_init_fixed(&wk.text, text, text_bytes(setup));
	tn_buf_init_fixed(&wk.payload, payload, TN_OPERATION_MAX);
	for (size_t i = 0; i < TN_IMAGES_MAX; i++)
		wk.images[i].delta = (struct wk_delta *)(void *)(images + i * IMAGE_BYTES);
	rc = wk_channel_open(WK_CHANNEL_FD, queue_bytes(setup));
	if (rc != 0)
		return rc;
	wk_channel_watch(slots);
	(void)wk_restore_choose(WK_PAGEMAP_FD, (enum wk_restore_how)setup->restore);
	wk_restore_expect();
	wk_host_set_sink(send_log, NULL);
	wk_host_set_operate(send_operation, NULL, &wk.payload);
	return wk_deadline_install(slots);
}

/*
 * An answer that comes first leaves the front's timer as it is: the next SLEEP sets it
 * anew, and a WAKE that was on its way then only comes too early.
 */
static int
wait_here(void *arg, uint64_t ms, struct tn_frame_operated *a)
{
	struct tn_frame f = { .type = TN_FRAME_SLEEP };
	int rc = 0;

	(void)arg;
	if (ms != WK_WAIT_FOREVER) {
		f.sleep.id = wk.running;
		f.sleep.ms = ms;
		rc = wk_channel_send(&f);
	}
	if (rc == 0)
		rc = wk_channel_wait(wk.running, &f);
	if (rc == 0 && f.type == TN_FRAME_OPERATED)
		*a = f.operated;
	return rc;
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

/*
 * Keep the image that came with a frame.  One that makes no sense is not kept, and
 * what was in its slot stays.
 */
static int
keep_image(const struct tn_frame_invoke *q)
{
	struct image *im = &wk.images[q->image_slot];

	if (q->delta.len > IMAGE_BYTES ||
	    wk_delta_check(q->delta.p, q->delta.len, wk.setup.generation) != 0)
		return TN_EPROTO;
	if (wk.image == im) {
		if (wk_restore_leave() != 0)
			_exit(WK_EXIT_HEAP);
		wk.image = NULL;
		wk.dirty = true;
	}
	memcpy(im->delta, q->delta.p, q->delta.len);
	im->number = q->image;
	return 0;
}

/* The contract's heap in its place; 0, or why not. */
static int
place_heap(const struct tn_frame_invoke *q, const char **why)
{
	const struct image *im = &wk.images[q->image_slot];

	if (q->image == 0 || im->number != q->image) {
		*why = "the image is not here";
		return TN_ENOENT;
	}
	if (wk.image != im) {
		if (wk_restore_switch(im->delta, !wk.dirty) != 0)
			_exit(WK_EXIT_HEAP);
		wk_duk_freeze(WK_ARENA_BASE, wk_arena_used());
		wk.image = im;
		wk.dirty = false;
	} else if (wk.dirty && q->isolation != TN_ISO_REUSE) {
		if (wk_restore() != 0)
			_exit(WK_EXIT_HEAP);
		wk.dirty = false;
	}
	if (wk_arena_verify(wk.setup.generation) != 0) {
		*why = "the image makes no sense";
		return TN_EVERSION;
	}
	return 0;
}

/* No contract's heap: the base's, or what comes in its place. */
static void
leave_images(void)
{
	if (wk_restore_base() != 0)
		_exit(WK_EXIT_HEAP);
	wk.image = NULL;
	wk.dirty = false;
}

/* Mode fresh: everything anew, and the contract from its source. */
static int
make_heap(const struct tn_frame_invoke *q, uint64_t *heap_us, uint64_t *compile_us,
    struct wk_trouble *t)
{
	uint64_t module_us;
	int rc;

	*compile_us = 0;
	leave_images();
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
	uint64_t start = tn_clock_us(), us;
	bool audited;
	size_t page = 0;

	switch (q->isolation) {
	case TN_ISO_REUSE:
		/* Left in the middle, or full: there is no image to go back to here. */
		if (broken || wk_heap_end() != 0)
			_exit(0);
		wk.dirty = true;
		break;
	case TN_ISO_PROCESS:
		_exit(0);
	case TN_ISO_FRESH:
		leave_images();
		break;
	default:
		if (wk_restore() != 0)
			_exit(WK_EXIT_HEAP);
		wk.dirty = false;
		break;
	}
	us = tn_clock_us() - start;
	audited = q->isolation == TN_ISO_SNAPSHOT && audit_due();
	if (audited)
		f.restored.differ = wk_restore_audit(&page);
	if (f.restored.differ == 0) {
		tn_slots_restored(wk.slots, us, audited);
		return;
	}
	f.restored.id = q->id;
	f.restored.page = page;
	send_or_exit(&f);
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
		.caller = q.caller, .input = q.input, .now = q.now
	};
	struct wk_result *r = &wk.result;
	uint64_t heap_us = tn_clock_us(), compile_us = 0;
	const char *why = "the image that came makes no sense";
	bool broken = false;
	int rc = 0;

	if (q.isolation > TN_ISO_FRESH || q.slot >= TN_DEPTH_MAX || q.image_slot >= TN_IMAGES_MAX)
		return WK_EXIT_PROTOCOL;
	/* Also when the frame turns out to be revoked: the front thinks that we have it now. */
	if (q.delta.len > 0)
		rc = keep_image(&q);
	if (!tn_slot_move(wk.slots, (unsigned)q.slot, q.id, TN_SLOT_QUEUED, TN_SLOT_RUNNING))
		return 0;
	if (rc == 0 && q.isolation != TN_ISO_FRESH)
		rc = place_heap(&q, &why);
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
		rc = wk_heap_request(&rq, wait_here, NULL, wk.setup.reply_max, &wk.text, r);
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
		case TN_FRAME_OPERATED:
			break;
		case TN_FRAME_RETIRE:	/* frames come in order: all before it are done */
			return 0;
		default:
			return WK_EXIT_PROTOCOL;
		}
	}
}
