/*
 * sv_seed.c - fresh random bytes for each request and each build.
 */
#include "config.h"

#include "sv_seed.h"

#include <stdlib.h>
#include <string.h>

#define SEEDS	64u		/* drawn at a time */

static char seeds[SEEDS][SV_SEED_BYTES];
static unsigned unused;

void
sv_seed_draw(char seed[SV_SEED_BYTES])
{
	if (unused == 0) {
		arc4random_buf(seeds, sizeof(seeds));
		unused = SEEDS;
	}
	unused--;
	memcpy(seed, seeds[unused], SV_SEED_BYTES);
	explicit_bzero(seeds[unused], SV_SEED_BYTES);
}
