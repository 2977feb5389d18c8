/*
 * sv_image.c - the heap images of contracts that are in memory.
 */
#include "config.h"

#include "sv_image.h"

#include <stdlib.h>
#include <string.h>

#include "sv_contract.h"
#include "tn_err.h"

void
sv_images_init(struct sv_images *is)
{
	*is = (struct sv_images){ .next_number = 1 };
	TAILQ_INIT(&is->lru);
}

int
sv_image_adopt(struct sv_images *is, struct sv_version *v, uint64_t generation,
    struct tn_str delta)
{
	struct sv_image *im = malloc(sizeof(*im) + delta.len);

	if (im == NULL)
		return TN_ENOMEM;
	sv_image_drop(v);
	*im = (struct sv_image){ .owner = is, .version = v, .number = is->next_number++,
	    .generation = generation, .bytes = delta.len };
	if (delta.len > 0)
		memcpy(im->p, delta.p, delta.len);
	TAILQ_INSERT_TAIL(&is->lru, im, link);
	is->bytes += im->bytes;
	is->count++;
	v->image = im;
	return 0;
}

void
sv_image_touch(struct sv_image *im)
{
	if (TAILQ_NEXT(im, link) == NULL)
		return;
	TAILQ_REMOVE(&im->owner->lru, im, link);
	TAILQ_INSERT_TAIL(&im->owner->lru, im, link);
}

void
sv_image_drop(struct sv_version *v)
{
	struct sv_image *im = v->image;

	if (im == NULL)
		return;
	v->image = NULL;
	TAILQ_REMOVE(&im->owner->lru, im, link);
	im->owner->bytes -= im->bytes;
	im->owner->count--;
	free(im);
}

void
sv_images_fit(struct sv_images *is, uint64_t max)
{
	struct sv_image *im, *next;

	for (im = TAILQ_FIRST(&is->lru); im != NULL && is->bytes > max; im = next) {
		next = TAILQ_NEXT(im, link);
		/* Requests hold it; or it is the newest, just built for somebody. */
		if (im->version->refs > 1 || next == NULL)
			continue;
		is->evicted++;
		sv_image_drop(im->version);
	}
}
