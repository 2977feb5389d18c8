/*
 * wk_channel.h - the worker's end of its socket to the front.
 *
 * All memory is mapped by _open, before the sandbox closes; afterwards it makes
 * no other system calls than ppoll(), recv(fd) and send(fd, MSG_NOSIGNAL),
 * none of which can pass a descriptor.
 */
#ifndef WK_CHANNEL_H
#define WK_CHANNEL_H

#include <stdint.h>

#include "tn_frame.h"
#include "tn_slots.h"

/* The channel's descriptor, and the process's own pagemap's (or /dev/null's): the last one. */
#define WK_CHANNEL_FD	3
#define WK_PAGEMAP_FD	4

/* Bytes in one call of sendto: the sandbox allows no more. */
#define WK_CHANNEL_SEND_MAX	((size_t)1 << 20)

/* `receive_bytes`: frames that may wait here, together; at least one whole one fits anyway. */
int wk_channel_open(int fd, size_t receive_bytes);
/* The page in which the front says how long to watch for it; without, nobody does. */
void wk_channel_watch(struct tn_slots *slots);
/* Close it and give all back; a worker just exits. */
void wk_channel_close(void);
/* Bytes that _open maps, an upper bound. */
size_t wk_channel_memory(size_t receive_bytes);

/*
 * The next frame, waiting for it.  What it borrows is valid until the next call
 * of this or of _wait.  TN_ECLOSED, TN_EPROTO, TN_ELIMIT, TN_ESYS: give up.
 */
int wk_channel_next(struct tn_frame *f);

/*
 * Wait for WAKE or OPERATED of request `id`, whichever comes first; other frames
 * keep their places, and those of the two for other requests go.  TN_ETIMEOUT:
 * the deadline came first.  Else as _next.
 */
int wk_channel_wait(uint64_t id, struct tn_frame *f);

/* Encode and send whole. TN_ECLOSED, TN_ELIMIT. */
int wk_channel_send(const struct tn_frame *f);

#endif
