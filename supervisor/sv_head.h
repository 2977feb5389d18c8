/*
 * sv_head.h - the block that handlers see (tana/block), as long as no ledger is
 * connected: the first one of a chain of the server's own, made when the front
 * starts, with nothing behind it.
 */
#ifndef SV_HEAD_H
#define SV_HEAD_H

#include <stddef.h>

#define SV_HEAD_GAS_LIMIT	1000000u	/* a change costs 100 */
#define SV_HEAD_BYTES		512u	/* of its JSON, the contract's identifier included */

struct sv_head {
	double		timestamp;	/* ms since the epoch */
	char		hash[65];	/* 64 hexadecimal digits, by chance: they name the chain */
	/* Its JSON before and behind the contract's identifier: each request is told. */
	char		before[SV_HEAD_BYTES], behind[64];
	size_t		nbefore, nbehind;
};

void sv_head_init(struct sv_head *h);

/* The head as the contract sees it, a JSON object; its length. */
size_t sv_head_json(const struct sv_head *h, const char *contract, char out[SV_HEAD_BYTES]);

#endif
