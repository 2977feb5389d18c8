/*
 * pol_rules.h - the allow-lists of system calls, as data.
 */
#ifndef POL_RULES_H
#define POL_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pol_sandbox.h"

/* Each filter is a set of roles' rules. */
enum pol_filter_kind {
	POL_FILTER_ZYGOTE, POL_FILTER_WORKER, POL_FILTER_BUILDER,
	POL_FILTER_TOOL,	/* no zygote's child: its filter is the only one */
	POL_FILTERS
};

/* How an argument, all 64 bits of it, is compared. */
enum pol_op {
	POL_EQ,			/* == value */
	POL_LE,			/* <= value, unsigned */
	POL_NONE_OF		/* no bit of value is set */
};

/* Where the value comes from. */
enum pol_source {
	POL_CONSTANT,
	POL_CHANNEL_FD,
	POL_ARENA,
	POL_ARENA_SIZE,
	POL_SEND_MAX,
	POL_PAGEMAP_FD,
	POL_PROC_FD
};

struct pol_test {
	unsigned	arg;	/* 0 to 5 */
	enum pol_op	op;
	enum pol_source	source;
	uint64_t	value;	/* of POL_CONSTANT */
};

#define POL_TESTS_MAX	6	/* one an argument: libseccomp's terms */

#define POL_IN_(filter)	(1u << (filter))
#define POL_IF_(way)	(1u << (8 + (way)))	/* none: whatever the way */
#define POL_IF_ANY	0xff00u

/* A system call that is allowed when all tests hold; two rules for one call: either. */
struct pol_rule {
	const char	*name;
	int		 nr;	/* negative: this architecture has no such call */
	unsigned	 where;		/* POL_IN_ of the filters, and POL_IF_ of the ways to restore */
	size_t		 ntests;
	struct pol_test	 tests[POL_TESTS_MAX];
};

/* All rules, the frequent ones first. */
const struct pol_rule *pol_rules(size_t *n);

/* Is the rule in the filter, with these parameters? */
bool pol_rule_holds(const struct pol_rule *r, enum pol_filter_kind kind,
    const struct pol_params *p);
uint64_t pol_test_value(const struct pol_test *t, const struct pol_params *p);

#endif
