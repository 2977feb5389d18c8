/*
 * wk_worker.h - the process that runs contracts: one arena, one socket, one
 * request at a time.
 */
#ifndef WK_WORKER_H
#define WK_WORKER_H

#include <stddef.h>
#include <stdint.h>

#include "tn_slots.h"
#include "tn_zygote.h"

/* Exit statuses beside 0 (the front closed the channel, or retired us) and WK_EXIT_FATAL. */
#define WK_EXIT_PROTOCOL	71	/* the front sent what makes no sense */
#define WK_EXIT_HEAP		72	/* the heap could not be put back */
#define WK_EXIT_SETUP		73	/* before READY */
#define WK_EXIT_AUDIT		74	/* the heap was put back, and differs */

/*
 * The channel is WK_CHANNEL_FD.  Map what is needed, before the sandbox: 0 or a
 * code.
 */
int wk_worker_prepare(const struct tn_zy_setup *setup, struct tn_slots *slots);

/* Bytes that a worker or a builder maps, the arena not counted: an upper bound. */
uint64_t wk_worker_memory(const struct tn_zy_setup *setup);

/* The longest image, so that one fits in a frame beside the longest body. */
size_t wk_worker_image_max(const struct tn_zy_setup *setup);

/* Inside the sandbox: serve until the end; returns the exit status. */
int wk_worker_serve(void);

#endif
