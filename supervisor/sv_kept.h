/*
 * sv_kept.h - which images a worker keeps in its slots, as the front believes.
 *
 * The front says with each INVOKE where the worker has the image, and what it sends
 * it takes the place of the one that was used longest ago.  A worker takes its frames
 * in their order, so this is right for the next one as soon as one is sent.
 */
#ifndef SV_KEPT_H
#define SV_KEPT_H

#include <stdint.h>

#include "tn_frame.h"

struct sv_kept {
	uint64_t	 image[TN_IMAGES_MAX];	/* its number, 0: none */
	uint64_t	 used[TN_IMAGES_MAX];	/* the turn of its last use */
	uint64_t	 turn;
};

/* The image's slot, or -1. */
int sv_kept_find(const struct sv_kept *k, uint64_t image);
/* The slot for another one: empty, or of the image that was used longest ago. */
unsigned sv_kept_place(const struct sv_kept *k);
/* The image is in the slot, and is used now. */
void sv_kept_use(struct sv_kept *k, unsigned slot, uint64_t image);
/* The worker may have none of them after all. */
void sv_kept_forget(struct sv_kept *k);

#endif
