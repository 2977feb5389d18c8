/*
 * sv_kept.c - which images a worker keeps in its slots.
 */
#include "config.h"

#include "sv_kept.h"

int
sv_kept_find(const struct sv_kept *k, uint64_t image)
{
	unsigned i;

	for (i = 0; i < TN_IMAGES_MAX; i++)
		if (image != 0 && k->image[i] == image)
			return (int)i;
	return -1;
}

unsigned
sv_kept_place(const struct sv_kept *k)
{
	unsigned i, oldest = 0;

	for (i = 1; i < TN_IMAGES_MAX; i++)
		if (k->used[i] < k->used[oldest])
			oldest = i;
	return oldest;
}

void
sv_kept_use(struct sv_kept *k, unsigned slot, uint64_t image)
{
	k->image[slot] = image;
	k->used[slot] = ++k->turn;
}

void
sv_kept_forget(struct sv_kept *k)
{
	unsigned i;

	/* The turns stay: what its heap is made of now is the last to be overwritten. */
	for (i = 0; i < TN_IMAGES_MAX; i++)
		k->image[i] = 0;
}
