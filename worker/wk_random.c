#include "config.h"

#include "wk_random.h"

#include <string.h>

static struct {
	uint32_t	key[8];
	uint64_t	counter;
	unsigned	left;		/* unused bytes at the end of block */
	uint8_t		block[64];
} rnd;

static uint32_t
rotate(uint32_t v, int n)
{
	return v << n | v >> (32 - n);
}

#define QUARTER(a, b, c, d) do {			\
	a += b; d ^= a; d = rotate(d, 16);		\
	c += d; b ^= c; b = rotate(b, 12);		\
	a += b; d ^= a; d = rotate(d, 8);		\
	c += d; b ^= c; b = rotate(b, 7);		\
} while (0)

void
wk_random_block(uint8_t out[64], const uint32_t key[8], uint32_t counter, const uint32_t nonce[3])
{
	uint32_t in[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }, x[16];

	memcpy(in + 4, key, 32);
	in[12] = counter;
	memcpy(in + 13, nonce, 12);
	memcpy(x, in, sizeof(x));
	for (int i = 0; i < 10; i++) {
		QUARTER(x[0], x[4], x[8], x[12]);
		QUARTER(x[1], x[5], x[9], x[13]);
		QUARTER(x[2], x[6], x[10], x[14]);
		QUARTER(x[3], x[7], x[11], x[15]);
		QUARTER(x[0], x[5], x[10], x[15]);
		QUARTER(x[1], x[6], x[11], x[12]);
		QUARTER(x[2], x[7], x[8], x[13]);
		QUARTER(x[3], x[4], x[9], x[14]);
	}
	for (int i = 0; i < 16; i++) {
		uint32_t v = x[i] + in[i];

		out[4 * i] = (uint8_t)v;
		out[4 * i + 1] = (uint8_t)(v >> 8);
		out[4 * i + 2] = (uint8_t)(v >> 16);
		out[4 * i + 3] = (uint8_t)(v >> 24);
	}
}

void
wk_random_seed(const void *seed, size_t bytes)
{
	memset(&rnd, 0, sizeof(rnd));
	memcpy(rnd.key, seed, bytes < sizeof(rnd.key) ? bytes : sizeof(rnd.key));
}

void
wk_random_bytes(void *p, size_t n)
{
	uint8_t *to = p;

	while (n > 0) {
		size_t some;

		if (rnd.left == 0) {
			uint32_t nonce[3] = { (uint32_t)(rnd.counter >> 32), 0, 0 };

			wk_random_block(rnd.block, rnd.key, (uint32_t)rnd.counter, nonce);
			rnd.counter++;
			rnd.left = sizeof(rnd.block);
		}
		some = n < rnd.left ? n : rnd.left;
		memcpy(to, rnd.block + sizeof(rnd.block) - rnd.left, some);
		/* What was given out cannot be read from here any more. */
		memset(rnd.block + sizeof(rnd.block) - rnd.left, 0, some);
		rnd.left -= (unsigned)some;
		to += some;
		n -= some;
	}
}

double
wk_random_double(void)
{
	uint64_t v;

	wk_random_bytes(&v, sizeof(v));
	return (double)(v >> 11) * 0x1p-53;
}
