/*
 * sv_cover.c - who accepts on the sockets of a shard that is not there.
 */
#include "config.h"

#include "sv_cover.h"

/* Is a shard ready that accepts on the socket anyway?  *first: who should. */
static bool
is_served(const struct sv_listener *l, const struct sv_shard *shard, unsigned shards,
    unsigned *first)
{
	bool any = false;
	unsigned n;

	for (n = 0; n < shards; n++) {
		if (!sv_listener_is_for(l, n, shards))
			continue;
		if (shard[n].ready)
			return true;
		if (!any)
			*first = n;
		any = true;
	}
	return false;
}

/* The next one that is ready; -1: none is. */
static int
next_ready(const struct sv_shard *shard, unsigned shards, unsigned first)
{
	unsigned k, n;

	for (k = 1; k < shards; k++) {
		n = (first + k) % shards;
		if (shard[n].ready)
			return (int)n;
	}
	return -1;
}

void
sv_cover(struct sv_listeners *ls, struct sv_shard *shard, unsigned shards)
{
	struct sv_listener *l;
	unsigned first = 0;
	size_t i;

	for (i = 0; i < ls->n; i++) {
		l = &ls->v[i];
		/* Who has ended holds nothing, also if it is ready again. */
		if (l->cover >= 0 && !shard[l->cover].ready)
			l->cover = -1;
		if (is_served(l, shard, shards, &first)) {
			if (l->cover >= 0)
				sv_shard_tell(&shard[l->cover], SV_MSG_UNLISTEN, i, 0, NULL, 0);
			l->cover = -1;
		} else if (l->cover < 0) {
			l->cover = next_ready(shard, shards, first);
			if (l->cover >= 0)
				sv_shard_tell(&shard[l->cover], SV_MSG_LISTEN, i, 0, &l->fd, 1);
		}
	}
}
