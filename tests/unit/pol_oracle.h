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
#define ORACLE_IMAGE		4
#define ORACLE_ARENA		UINT64_C(0x200000000000)
#define ORACLE_ARENA_SIZE	(UINT64_C(64) << 20)
#define ORACLE_SEND_MAX		(UINT64_C(1) << 20)

enum oracle_filter { ORACLE_ZYGOTE, ORACLE_WORKER, ORACLE_BUILDER };

struct oracle_call {
	int		nr;
	uint64_t	args[6];
};

/* Is the call, in this machine's own architecture, let through? */
bool oracle_allows(enum oracle_filter f, const struct oracle_call *c);

/* At least one call that is let through for each number that ever is. */
const struct oracle_call *oracle_examples(enum oracle_filter f, size_t *n);

#endif
