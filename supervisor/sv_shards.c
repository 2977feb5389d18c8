/*
 * sv_shards.c - how many shards there are, and what each has of the server's options.
 */
#include "config.h"

#include "sv_shards.h"

#include <sched.h>

#define PROCESSORS	4u	/* for a front and its workers */

unsigned
sv_shards_auto(unsigned processors)
{
	unsigned n = processors / PROCESSORS;

	return n < 1 ? 1 : n > SV_SHARDS_MAX ? SV_SHARDS_MAX : n;
}

/* Not those of the machine: a container or a service may have fewer. */
static unsigned
usable_processors(void)
{
	unsigned n = 1024;
	cpu_set_t *set;
	int count = 0;

	/* The kernel refuses a set that has no room for all that it knows of. */
	for (; n <= 1u << 20 && count == 0; n *= 2) {
		if ((set = CPU_ALLOC(n)) == NULL)
			break;
		if (sched_getaffinity(0, CPU_ALLOC_SIZE(n), set) == 0)
			count = CPU_COUNT_S(CPU_ALLOC_SIZE(n), set);
		CPU_FREE(set);
	}
	return count > 0 ? (unsigned)count : 1;
}

unsigned
sv_shards_count(const struct tn_options *o)
{
	return o->shards != 0 ? (unsigned)o->shards : sv_shards_auto(usable_processors());
}

uint64_t
sv_shards_part(uint64_t total, uint64_t least, unsigned n, unsigned shards)
{
	uint64_t part = total / shards + (n < total % shards);

	return total == 0 || part >= least ? part : least;
}

void
sv_shards_divide(struct tn_options *o, unsigned n, unsigned shards)
{
	if (shards <= 1)
		return;
#define SV_PART(name, least)								\
	o->name = (__typeof__(o->name))sv_shards_part((uint64_t)o->name, least, n, shards);
#include "parts.def"
}
