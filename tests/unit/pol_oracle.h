/*
 * pol_oracle.h - the policy said a second time, by hand, without the tables and
 * the library that the filters come from.
 */
#ifndef POL_ORACLE_H
#define POL_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the filters under test are made with. */
#define ORACLE_CHANNEL		3
#define ORACLE_PAGEMAP		4
#define ORACLE_PROC		9
#define ORACLE_ARENA		UINT64_C(0x200000000000)
#define ORACLE_ARENA_SIZE	(UINT64_C(64) << 20)
#define ORACLE_SEND_MAX		(UINT64_C(1) << 20)
#define ORACLE_ASK		UINT64_C(0xc0606610)	/* PAGEMAP_SCAN */

/* What no filter knows of: where the base heap is mapped a second time. */
#define ORACLE_SHADOW		UINT64_C(0x280000000000)

enum oracle_filter { ORACLE_ZYGOTE, ORACLE_WORKER, ORACLE_BUILDER, ORACLE_TOOL };
/* How workers put their arena back. */
enum oracle_way { ORACLE_DROP, ORACLE_READ, ORACLE_SCAN, ORACLE_WAYS };

struct oracle_call {
	int		nr;
	uint64_t	args[6];
};

/* Is the call, in this machine's own architecture, let through? */
bool oracle_allows(enum oracle_filter f, enum oracle_way w, const struct oracle_call *c);

/*
 * At least one call that is let through for each number that ever is.  Valid until
 * the next call.
 */
const struct oracle_call *oracle_examples(enum oracle_filter f, enum oracle_way w, size_t *n);

#endif
