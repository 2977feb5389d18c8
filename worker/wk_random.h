/*
 * wk_random.h - random numbers: the ChaCha20 stream (D. J. Bernstein; RFC 8439's
 * block function) under a key that comes with each request.
 *
 * The state stands outside the arena: a heap that is put back would otherwise
 * repeat itself.
 */
#ifndef WK_RANDOM_H
#define WK_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#define WK_RANDOM_SEED_BYTES	32u

/* Shorter seeds are padded with zeros, longer ones cut. */
void wk_random_seed(const void *seed, size_t bytes);
void wk_random_bytes(void *p, size_t n);
double wk_random_double(void);		/* [0, 1), 53 bits */

/* One block of key stream. */
void wk_random_block(uint8_t out[64], const uint32_t key[8], uint32_t counter,
    const uint32_t nonce[3]);

#endif
