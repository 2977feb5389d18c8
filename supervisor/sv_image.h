/*
 * sv_image.h - the heap images of contracts that are in memory, least recently
 * used first, within images_memory_max.
 *
 * An image belongs to one version of a contract and to one zygote generation: it is
 * how the contract's heap differs from the base heap of that one.  Here it is bytes
 * that a builder sent and workers are sent; the front never looks into them.
 */
#ifndef SV_IMAGE_H
#define SV_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "tn_str.h"

struct sv_images;
struct sv_version;

struct sv_image {
	TAILQ_ENTRY(sv_image) link;
	struct sv_images *owner;
	struct sv_version *version;	/* whose ->image or ->coming this is */
	bool		 in_lru;
	uint64_t	 number;	/* unique in this front's life, from 1 */
	uint64_t	 generation;
	size_t		 bytes;
	char		 p[];
};

struct sv_images {
	TAILQ_HEAD(sv_image_list, sv_image) lru; /* most recently used last */
	uint64_t	 bytes;
	uint64_t	 count;
	uint64_t	 next_number;
	uint64_t	 evicted;
};

void sv_images_init(struct sv_images *is);

/* Make a copy of delta the version's image, dropping what it had.  Or TN_ENOMEM. */
int sv_image_adopt(struct sv_images *is, struct sv_version *v, uint64_t generation,
    struct tn_str delta);
/* The same of the image that it will have when this generation takes over: nobody uses it yet. */
int sv_image_adopt_coming(struct sv_images *is, struct sv_version *v, uint64_t generation,
    struct tn_str delta);
/* The generation has taken over: what was coming is the image, used last of all; or there is none. */
void sv_image_arrive(struct sv_version *v);
/* It was used: last to go. */
void sv_image_touch(struct sv_image *im);
/* Let go of a version's image, if any. */
void sv_image_drop(struct sv_image **im);
/* Drop images that no request waits for until all fit into max bytes. */
void sv_images_fit(struct sv_images *is, uint64_t max);

#endif
