/*
 * wk_ready.h - a heap's first request, prepared before it comes.
 *
 * When a contract has been loaded the runtime makes all that a request needs, and C
 * remembers where it stands; the request itself is then only written into objects
 * that are there.  It is good for one request: a heap that is put back has it again,
 * one that serves on asks the runtime's begin() (HACKING).
 *
 * The pointers are the heap's own and hold as long as the runtime's `prepared`.
 */
#ifndef WK_READY_H
#define WK_READY_H

#include <stdbool.h>
#include <stdint.h>

#include "wk_duk.h"

struct wk_request;

/* Kept in the arena's header, so that it comes and goes with the heap. */
enum wk_ready_key {
#define WK_READY_KEY(sym, name) WK_READY_##sym,
#include "ready.def"
	WK_READY_KEYS
};
struct wk_ready {
	bool	 is;		/* there is one, and no request has had it */
	void	*from;		/* the request as the runtime's begin() would get it */
	void	*state;		/* of the Request */
	void	*request;	/* the Request */
	void	*outcome;	/* .settled: what is thrown from now on is not the request's */
	void	*notice;	/* .due: the runtime has something to do */
	void	*contract;	/* its id, a string */
	void	*get;		/* the contract's handler, NULL: none */
	void	*response;	/* the key under which a Response has its state */
	void	*key[WK_READY_KEYS];
};

/* [ table ] -> [ table ]: prepare, if it can be done. */
void wk_ready_make(duk_context *ctx);

/*
 * [ table ] -> [ table ]: write the request into what was prepared, which it uses up.
 * false: nothing is, or not for this one.  *q and its texts must stay until
 * wk_ready_keep(), or until the heap is put back.
 */
bool wk_ready_take(duk_context *ctx, const struct wk_request *q);

/*
 * [ table ] -> [ table value ]: run the handler.  true: the value is its answer, to be
 * expressed in JSON.  false: the runtime has been told how it went; value is undefined.
 */
bool wk_ready_run(duk_context *ctx, const struct wk_request *q);

/* [ table ] -> [ table ]: have the heap know all of the request: *q goes. */
void wk_ready_keep(duk_context *ctx);

/* What few handlers look at is not in the heap until they do: of __host. */
duk_ret_t wk_ready_given_url(duk_context *ctx);
duk_ret_t wk_ready_given_ip(duk_context *ctx);
duk_ret_t wk_ready_given_headers(duk_context *ctx);
duk_ret_t wk_ready_given_block(duk_context *ctx);

#endif
