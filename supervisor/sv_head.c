/*
 * sv_head.c - the embedded chain's head.
 */
#include "config.h"

#include "sv_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv_request.h"
#include "tn_clock.h"

/* The longest that snprintf below can make of it. */
_Static_assert(SV_HEAD_BYTES > 64 + 64 + SV_CONTRACT_MAX + 20 + 10 + 160, "SV_HEAD_BYTES");

void
sv_head_init(struct sv_head *h)
{
	unsigned char random[32];
	size_t i;

	h->timestamp = tn_clock_wall_ms();
	arc4random_buf(random, sizeof(random));
	for (i = 0; i < sizeof(random); i++)
		snprintf(h->hash + 2 * i, 3, "%02x", random[i]);
	h->nbefore = (size_t)snprintf(h->before, sizeof(h->before),
	    "{\"height\":0,\"timestamp\":%.0f,\"hash\":\"%s\",\"previousHash\":\"%064d\","
	    "\"executor\":\"embedded\",\"contractId\":\"", h->timestamp, h->hash, 0);
	h->nbehind = (size_t)snprintf(h->behind, sizeof(h->behind),
	    "\",\"gasLimit\":%u,\"gasUsed\":0}", SV_HEAD_GAS_LIMIT);
}

size_t
sv_head_json(const struct sv_head *h, const char *contract, char out[SV_HEAD_BYTES])
{
	size_t n = strlen(contract);	/* an identifier needs no escape */

	memcpy(out, h->before, h->nbefore);
	memcpy(out + h->nbefore, contract, n);
	memcpy(out + h->nbefore + n, h->behind, h->nbehind);
	return h->nbefore + n + h->nbehind;
}
