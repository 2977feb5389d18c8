/*
 * wk_host.h - __host: what the runtime's JavaScript can ask of C (see HACKING).
 */
#ifndef WK_HOST_H
#define WK_HOST_H

#include "tn_log.h"
#include "tn_str.h"
#include "wk_duk.h"

/* Longest text of one log record in bytes; longer ones are cut. */
#define WK_LOG_TEXT_MAX		(16u << 10)

/* Where console records go; called with UTF-8 text, deadline held. */
typedef void wk_log_sink(void *arg, enum tn_log_level level, struct tn_str text);
void wk_host_set_sink(wk_log_sink *sink, void *arg);

/*
 * Who sends operations, and where their payloads are made (a fixed buffer); without
 * one there are none to be had.  Called with the deadline held; the operation's
 * number is 1 or more.  0, or TN_ELIMIT: too long.
 */
typedef int wk_operate(void *arg, uint64_t number, uint64_t kind, struct tn_str payload);
void wk_host_set_operate(wk_operate *fn, void *arg, struct tn_buf *payload);
/* How many of this request's operations have no answer yet; one less of them. */
unsigned wk_host_operations(void);
void wk_host_operated(void);

/* A request begins: monotonic() counts from here, and operations from 1. */
void wk_host_begin(void);

/* Define the global __host / delete it again (may throw). */
void wk_host_install(duk_context *ctx);
void wk_host_remove(duk_context *ctx);

/* Push what the runtime registered; throws if it has not. */
void wk_host_push_table(duk_context *ctx);

/* Push text from outside as a string (may throw: memory). */
void wk_host_push_text(duk_context *ctx, struct tn_str text);
/* Push a list of texts as an array of strings. */
void wk_host_push_texts(duk_context *ctx, struct tn_strv texts);
/* Push bytes as a Uint8Array of their own. */
void wk_host_push_bytes(duk_context *ctx, struct tn_str bytes);

#endif
