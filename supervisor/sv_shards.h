/*
 * sv_shards.h - how many shards there are, and what each has of the server's options.
 *
 * A shard is a front with all that serves it: zygotes, workers, images.  Shards share
 * nothing but the contracts' directory, their data and the Unix sockets; the kernel
 * spreads TCP connections among them (sv_listen.h).  They are numbered from 0; the
 * first one speaks for all at the control socket.
 */
#ifndef SV_SHARDS_H
#define SV_SHARDS_H

#include <stdint.h>

#include "tn_options.h"

#define SV_SHARDS_MAX	64u

/* What `shards = auto` comes to with so many processors. */
unsigned sv_shards_auto(unsigned processors);
/* By the option, and for auto by the processors that this process may use. */
unsigned sv_shards_count(const struct tn_options *o);

/*
 * The part of `total` that the n-th of so many has.  Parts add up to the total, unless
 * each must have `least` and that is more; nothing is divided into nothing.
 */
uint64_t sv_shards_part(uint64_t total, uint64_t least, unsigned n, unsigned shards);
/* Make *o, the server's, what the n-th shard has. */
void sv_shards_divide(struct tn_options *o, unsigned n, unsigned shards);

#endif
