/*
 * sv_image.h - the heap images of contracts that are in memory, least recently
 * used first, within images_memory_max.
 *
 * An image belongs to one version of a contract and to one zygote generation
 * (it holds pointers into that program's text).  Here it is a sealed memfd that
 * the front never maps: it only hands it to workers.
 */
#ifndef SV_IMAGE_H
#define SV_IMAGE_H

#include <stdint.h>
#include <sys/queue.h>

struct sv_images;
struct sv_version;

struct sv_image {
	TAILQ_ENTRY(sv_image) link;
	struct sv_images *owner;
	struct sv_version *version;	/* whose ->image this is */
	uint64_t	 number;	/* unique in this front's life, from 1 */
	uint64_t	 generation;
	uint64_t	 bytes;		/* memory that it takes */
	int		 memfd;
};

struct sv_images {
	TAILQ_HEAD(, sv_image) lru;	/* most recently used last */
	uint64_t	 bytes;
	uint64_t	 count;
	uint64_t	 next_number;
	uint64_t	 evicted;
};

void sv_images_init(struct sv_images *is);

/*
 * Seal the memfd (taken and nulled) and make it the version's image, dropping
 * what it had.  TN_ESYS when it cannot be sealed: somebody still maps it to write.
 */
int sv_image_adopt(struct sv_images *is, struct sv_version *v, int *memfd,
    uint64_t generation, uint64_t bytes);
/* It was used: last to go. */
void sv_image_touch(struct sv_image *im);
/* Let go of v's image, if any. */
void sv_image_drop(struct sv_version *v);
/* Drop images that no request waits for until all fit into max bytes. */
void sv_images_fit(struct sv_images *is, uint64_t max);

#endif
