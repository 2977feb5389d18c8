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

static struct sv_image *
image_new(struct sv_images *is, struct sv_version *v, uint64_t generation, struct tn_str delta)
{
	struct sv_image *im = malloc(sizeof(*im) + delta.len);

	if (im == NULL)
		return NULL;
	*im = (struct sv_image){ .owner = is, .version = v, .number = is->next_number++,
	    .generation = generation, .bytes = delta.len };
	if (delta.len > 0)
		memcpy(im->p, delta.p, delta.len);
	is->bytes += im->bytes;
	is->count++;
	return im;
}

static void
use(struct sv_image *im)
{
	if (im->in_lru)
		TAILQ_REMOVE(&im->owner->lru, im, link);
	TAILQ_INSERT_TAIL(&im->owner->lru, im, link);
	im->in_lru = true;
}

int
sv_image_adopt(struct sv_images *is, struct sv_version *v, uint64_t generation,
    struct tn_str delta)
{
	struct sv_image *im = image_new(is, v, generation, delta);

	if (im == NULL)
		return TN_ENOMEM;
	sv_image_drop(&v->image);
	v->image = im;
	use(im);
	return 0;
}

int
sv_image_adopt_coming(struct sv_images *is, struct sv_version *v, uint64_t generation,
    struct tn_str delta)
{
	struct sv_image *im = image_new(is, v, generation, delta);

	if (im == NULL)
		return TN_ENOMEM;
	sv_image_drop(&v->coming);
	v->coming = im;
	return 0;
}

void
sv_image_arrive(struct sv_version *v)
{
	sv_image_drop(&v->image);
	v->image = v->coming;
	v->coming = NULL;
	if (v->image != NULL)
		use(v->image);
}

void
sv_image_touch(struct sv_image *im)
{
	if (TAILQ_NEXT(im, link) != NULL)
		use(im);
}

void
sv_image_drop(struct sv_image **imp)
{
	struct sv_image *im = *imp;

	if (im == NULL)
		return;
	*imp = NULL;
	if (im->in_lru)
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
		if (im->version->refs > 1u + im->version->filling || next == NULL)
			continue;
		is->evicted++;
		sv_image_drop(&im->version->image);
	}
}
