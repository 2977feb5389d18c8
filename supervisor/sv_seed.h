/*
 * sv_seed.h - fresh random bytes for each request and each build.
 */
#ifndef SV_SEED_H
#define SV_SEED_H

#define SV_SEED_BYTES	32u

/* Drawn from the kernel many at a time: a system call for each request would be felt. */
void sv_seed_draw(char seed[SV_SEED_BYTES]);

#endif
