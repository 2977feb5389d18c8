/*
 * sv_cover.h - who accepts on the sockets of a shard that is not there.
 *
 * Those that connect to them would wait for it, perhaps for as long as the longest delay
 * before it is started again: the next one accepts them meanwhile.
 */
#ifndef SV_COVER_H
#define SV_COVER_H

#include "sv_listen.h"
#include "sv_shard.h"

/* Call it when a shard became ready, or has ended: tell those whom it concerns. */
void sv_cover(struct sv_listeners *ls, struct sv_shard *shard, unsigned shards);

#endif
