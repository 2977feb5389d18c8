/*
 * wk_heap.h - a JavaScript heap in the arena: made, warmed, loaded, asked.
 *
 * There is one heap, the arena's; everything below works on it.  What fails
 * fills a struct wk_trouble, whose texts are the script's own words: hostile.
 */
#ifndef WK_HEAP_H
#define WK_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "tn_err.h"
#include "tn_frame.h"
#include "tn_str.h"

/* Exit status of a process whose heap met an error that it cannot report. */
#define WK_EXIT_FATAL		70

/* A reply's header section, names and values together, in bytes. */
#define WK_HEADERS_MAX		(64u << 10)

struct wk_trouble {
	enum tn_fault	fault;
	unsigned	line;		/* 0: unknown */
	char		file[256];
	char		error[2048];	/* "TypeError: ..." */
	char		message[8192];	/* with the stack, for the log */
};

struct wk_request {
	struct tn_str	contract;
	struct tn_str	function, method, url, path, query;
	struct tn_strv	headers;
	struct tn_str	body;
	bool		has_body;
	struct tn_str	ip;
	struct tn_str	meta;		/* JSON object or empty */
	struct tn_str	block;
	struct tn_str	caller, input;	/* JSON values or empty */
	double		now;
};

struct wk_result {
	enum tn_fault	fault;
	struct tn_str	message;
	unsigned	status;
	struct tn_str	headers[TN_FRAME_LIST_MAX];
	size_t		nheaders;	/* texts, two a header */
	struct tn_str	body;
	uint64_t	bootstrap_us, execution_us, result_us;
	struct wk_trouble trouble;	/* where `message` may point */
};

/*
 * Format the arena and make the heap with the runtime in it.  Also afterwards,
 * in mode fresh: what was there is forgotten.
 */
int wk_heap_create(uint64_t generation, struct wk_trouble *t);

/*
 * Compile and run the files of a contract ("name", "text", ...) at module level.
 * On TN_ETIMEOUT, and after trouble MEMORY, the heap is good for nothing.
 */
int wk_heap_load(struct tn_str contract, struct tn_str meta, struct tn_strv source,
    uint64_t *compile_us, uint64_t *module_us, struct wk_trouble *t);

/* What the loaded files export, of init, contract, get, post, fetch. */
#define WK_EXPORTS_MAX	8
struct wk_exports {
	char		names[WK_EXPORTS_MAX][16];
	size_t		n;
};
int wk_heap_exports(struct wk_exports *e, struct wk_trouble *t);

/*
 * Put the heap in the state that an image has.  Garbage is freed as it arises, but for
 * cycles; collecting those writes to nearly every page.  Compact gives every object's
 * tables their least size, too, which moves them all; a contract's image would then have
 * no page in common with the base.
 */
enum wk_settle { WK_SETTLE_AS_IS, WK_SETTLE_COLLECT, WK_SETTLE_COMPACT };
void wk_heap_settle(enum wk_settle how);

/* Voluntary garbage collection during requests: off except in mode reuse. */
void wk_heap_collect(bool on);

/*
 * Wait until `ms` have passed (WK_WAIT_FOREVER: no time ends it) or an operation is
 * answered, whichever is first.  0: a->operation is 0, or *a is the answer, which
 * borrows until the next call; TN_ETIMEOUT when the deadline came, another code to
 * give up (the result is then not filled in).
 */
#define WK_WAIT_FOREVER	UINT64_MAX
typedef int wk_wait(void *arg, uint64_t ms, struct tn_frame_operated *a);

/*
 * Run a request to its end.  0: *r is filled in, r->fault too; its texts are
 * valid until the next call (they stand in the arena or in `text`, a fixed
 * buffer for what must be converted).  Those of *q need to stay until `wait` is called,
 * or until the heap is put back.  TN_ETIMEOUT: r->fault is DEADLINE and the
 * heap is inconsistent.  Else: wait's code.  r->fault CONFLICT: the front wants the
 * request run again.
 */
int wk_heap_request(const struct wk_request *q, wk_wait *wait, void *arg, uint64_t reply_max,
    struct tn_buf *text, struct wk_result *r);

/*
 * Let go of the last request, whose texts may go then, and its result (mode reuse; a
 * heap that is put back need not).  Not 0: there is no room for them, and so for none.
 */
int wk_heap_end(void);

#endif
