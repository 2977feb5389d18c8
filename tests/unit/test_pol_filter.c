/*
 * The filters, without a kernel: their text is what was agreed on, and their
 * programs decide as the policy says, for millions of calls.
 */
#include "config.h"

#include "pol_filter.h"

#include <limits.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "pol_oracle.h"
#include "pol_sim.h"

#if defined(__x86_64__)
#define ARCH		AUDIT_ARCH_X86_64
#define ARCH_NAME	"x86_64"
#elif defined(__aarch64__)
#define ARCH		AUDIT_ARCH_AARCH64
#define ARCH_NAME	"aarch64"
#else
#error "say what this architecture's filters look like"
#endif

#ifdef WITH_SANITIZERS
#define TUPLES		200000
#else
#define TUPLES		2000000
#endif

#define X32_BIT		0x40000000

#define PARAMS(way) {								\
	.channel_fd = ORACLE_CHANNEL,						\
	.arena = ORACLE_ARENA,							\
	.arena_size = ORACLE_ARENA_SIZE,					\
	.send_max = ORACLE_SEND_MAX,						\
	.restore = (way),							\
	.pagemap_fd = ORACLE_PAGEMAP,						\
	.proc_fd = ORACLE_PROC							\
}

/* The oracle's names for the ways, in its order. */
static const struct pol_params params[ORACLE_WAYS] = {
	[ORACLE_DROP] = PARAMS(TN_RESTORE_DROP),
	[ORACLE_READ] = PARAMS(TN_RESTORE_PAGEMAP),
	[ORACLE_SCAN] = PARAMS(TN_RESTORE_SCAN),
};
static const char *const way_names[ORACLE_WAYS] = {
	[ORACLE_DROP] = "drop",
	[ORACLE_READ] = "pagemap",
	[ORACLE_SCAN] = "scan",
};

/* The oracle's names for the filters, in the filters' order. */
static const enum oracle_filter oracle_of[POL_FILTERS] = {
	[POL_FILTER_ZYGOTE] = ORACLE_ZYGOTE,
	[POL_FILTER_WORKER] = ORACLE_WORKER,
	[POL_FILTER_BUILDER] = ORACLE_BUILDER,
	[POL_FILTER_TOOL] = ORACLE_TOOL,
};

static struct pol_filter *filters[ORACLE_WAYS][POL_FILTERS];

static int
compile_all(void **state)
{
	char err[POL_ERR_MAX];

	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		for (int k = 0; k < POL_FILTERS; k++)
			if (pol_filter_compile((enum pol_filter_kind)k, &params[w], &filters[w][k],
			    err) != 0) {
				print_error("%s: %s\n", pol_filter_name((enum pol_filter_kind)k), err);
				return -1;
			}
	return 0;
}

static int
free_all(void **state)
{
	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		for (int k = 0; k < POL_FILTERS; k++)
			pol_filter_free(&filters[w][k]);
	return 0;
}

/* ---- the text ---- */

static char *
slurp(int fd)
{
	off_t bytes = lseek(fd, 0, SEEK_END);
	char *p;

	assert_true(bytes >= 0);
	p = malloc((size_t)bytes + 1);
	assert_non_null(p);
	assert_int_equal(pread(fd, p, (size_t)bytes, 0), bytes);
	p[bytes] = '\0';
	return p;
}

/* `way`: of the name too; NULL: for all of them the same. */
static void
compare_text(enum pol_filter_kind kind, enum oracle_way w, const char *way)
{
	const struct scmp_version *v = seccomp_version();
	const char *source = getenv("TANA_SOURCE"), *build = getenv("TANA_BUILD");
	char name[64], path[PATH_MAX], err[POL_ERR_MAX], *now, *golden;
	FILE *f;
	int fd;

	/* The text's form is the library's. */
	if (v == NULL || v->major != 2 || v->minor != 5) {
		print_message("# libseccomp 2.5 wrote the golden texts, this is another one\n");
		skip();
	}
	fd = memfd_create("text", 0);
	assert_true(fd >= 0);
	if (pol_filter_text(kind, &params[w], fd, err) != 0)
		fail_msg("%s", err);
	now = slurp(fd);
	(void)close(fd);

	(void)snprintf(name, sizeof(name), "seccomp.%s%s%s." ARCH_NAME ".pfc",
	    pol_filter_name(kind), way != NULL ? "." : "", way != NULL ? way : "");
	(void)snprintf(path, sizeof(path), "%s/tests/golden/%s", source != NULL ? source : ".",
	    name);
	f = fopen(path, "r");
	if (f == NULL && strcmp(ARCH_NAME, "x86_64") != 0) {
		free(now);
		print_message("# no golden text for " ARCH_NAME "\n");
		skip();
	}
	golden = f != NULL ? slurp(fileno(f)) : NULL;
	if (f != NULL)
		(void)fclose(f);
	if (golden == NULL || strcmp(now, golden) != 0) {
		char actual[PATH_MAX];

		(void)snprintf(actual, sizeof(actual), "%s/tests/unit/%s",
		    build != NULL ? build : ".", name);
		f = fopen(actual, "w");
		if (f != NULL) {
			(void)fputs(now, f);
			(void)fclose(f);
		}
		fail_msg("the policy has changed: diff -u %s %s; if it is meant, copy the second "
		    "over the first", path, actual);
	}
	free(now);
	free(golden);
}

static void
text_of_the_zygotes_filter_is_the_golden_one_with_scan(void **state)
{
	(void)state;
	compare_text(POL_FILTER_ZYGOTE, ORACLE_SCAN, way_names[ORACLE_SCAN]);
}

static void
text_of_the_zygotes_filter_is_the_golden_one_with_pagemap(void **state)
{
	(void)state;
	compare_text(POL_FILTER_ZYGOTE, ORACLE_READ, way_names[ORACLE_READ]);
}

static void
text_of_the_zygotes_filter_is_the_golden_one_with_drop(void **state)
{
	(void)state;
	compare_text(POL_FILTER_ZYGOTE, ORACLE_DROP, way_names[ORACLE_DROP]);
}

static void
text_of_the_workers_filter_is_the_golden_one_with_scan(void **state)
{
	(void)state;
	compare_text(POL_FILTER_WORKER, ORACLE_SCAN, way_names[ORACLE_SCAN]);
}

static void
text_of_the_workers_filter_is_the_golden_one_with_pagemap(void **state)
{
	(void)state;
	compare_text(POL_FILTER_WORKER, ORACLE_READ, way_names[ORACLE_READ]);
}

static void
text_of_the_workers_filter_is_the_golden_one_with_drop(void **state)
{
	(void)state;
	compare_text(POL_FILTER_WORKER, ORACLE_DROP, way_names[ORACLE_DROP]);
}

static void
text_of_the_builders_filter_is_always_the_golden_one(void **state)
{
	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		compare_text(POL_FILTER_BUILDER, (enum oracle_way)w, NULL);
}

static void
text_of_the_tools_filter_is_always_the_golden_one(void **state)
{
	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		compare_text(POL_FILTER_TOOL, (enum oracle_way)w, NULL);
}

/* ---- the program against the oracle ---- */

/* Pseudo-random, the same in each run: a failure can be repeated. */
static uint64_t seed;

static uint64_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool
decide(enum oracle_way w, enum pol_filter_kind kind, const struct oracle_call *c, uint32_t arch)
{
	struct seccomp_data d = { .nr = c->nr, .arch = arch };
	const struct sock_filter *code;
	uint32_t action;
	size_t n;

	memcpy(d.args, c->args, sizeof(d.args));
	code = pol_filter_code(filters[w][kind], &n);
	action = pol_sim(code, n, &d);
	if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_KILL_PROCESS)
		fail_msg("%s: call %d: action %#x", pol_filter_name(kind), c->nr, action);
	return action == SECCOMP_RET_ALLOW;
}

/* Let through by both, or by none; returns which. */
static bool
agree(enum oracle_way w, enum pol_filter_kind kind, const struct oracle_call *c)
{
	bool is = decide(w, kind, c, ARCH), should = oracle_allows(oracle_of[kind], w, c);
	const uint64_t *a = c->args;

	if (is != should)
		fail_msg("%s with %s: the filter %s call %d(%#llx, %#llx, %#llx, %#llx, %#llx, %#llx)",
		    pol_filter_name(kind), way_names[w], is ? "allows" : "refuses", c->nr,
		    (unsigned long long)a[0], (unsigned long long)a[1],
		    (unsigned long long)a[2], (unsigned long long)a[3],
		    (unsigned long long)a[4], (unsigned long long)a[5]);
	return is;
}

/* Values that a comparison done wrongly takes for another. */
static uint64_t
near_miss(uint64_t v)
{
	static const uint64_t known[] = {
		0, 1, 2, 3, 4, 5, 7, 9, ORACLE_ARENA, ORACLE_ARENA_SIZE, ORACLE_SEND_MAX,
		ORACLE_SHADOW, ORACLE_SHADOW + ORACLE_ARENA_SIZE, ORACLE_ASK, ORACLE_ASK + 1, 0x80000,
		ORACLE_ARENA + ORACLE_ARENA_SIZE, ORACLE_ARENA + ORACLE_ARENA_SIZE / 2, 0x12, 0x22,
		0x32, 0x4000, 0x40000000, 0x40004000, INT32_MAX, 0x80000000, UINT32_MAX,
		UINT64_C(1) << 32, UINT64_MAX, INT64_MAX, 0x01200011
	};

	switch (rnd() % 9) {
	case 0:
		return v + 1;
	case 1:
		return v - 1;
	case 2:
		return v ^ UINT64_C(1) << rnd() % 64;
	case 3:
		return v << 32;
	case 4:
		return v | rnd() << 32;
	case 5:
		return -v;
	case 6:
		return rnd();
	case 7:
		return rnd() >> rnd() % 64;
	default:
		return known[rnd() % (sizeof(known) / sizeof(known[0]))];
	}
}

/* What is allowed with one way is tried with the others too. */
static size_t
all_examples(enum oracle_filter f, struct oracle_call *out, size_t max)
{
	const struct oracle_call *e;
	size_t n, total = 0;

	for (int w = 0; w < ORACLE_WAYS; w++) {
		e = oracle_examples(f, (enum oracle_way)w, &n);
		assert_true(total + n <= max);
		memcpy(out + total, e, n * sizeof(*e));
		total += n;
	}
	return total;
}

static void
compare_decisions(enum pol_filter_kind kind, enum oracle_way w)
{
	static struct oracle_call all[200];
	const struct oracle_call *examples;
	size_t n, allowed = 0, refused = 0;

	examples = oracle_examples(oracle_of[kind], w, &n);
	for (size_t i = 0; i < n; i++)
		if (!agree(w, kind, &examples[i]))
			fail_msg("example %zu is not allowed", i);

	/* One argument off, each way there is. */
	seed = 88172645463325252u + (unsigned)kind + 16u * (unsigned)w;
	n = all_examples(oracle_of[kind], all, sizeof(all) / sizeof(all[0]));
	for (size_t i = 0; i < n; i++) {
		(void)agree(w, kind, &all[i]);
		for (unsigned arg = 0; arg < 6; arg++)
			for (unsigned bit = 0; bit < 64; bit++) {
				struct oracle_call c = all[i];

				c.args[arg] ^= UINT64_C(1) << bit;
				(void)agree(w, kind, &c);
			}
	}

	/* Number and arguments by chance, mostly near to what is allowed. */
	for (size_t i = 0; i < TUPLES; i++) {
		struct oracle_call c = all[rnd() % n];

		switch (rnd() % 8) {
		case 0:
			c.nr = (int)(rnd() % 600);
			break;
		case 1:
			c.nr = (int)rnd();
			break;
		case 2:
			c.nr = (int)near_miss((uint64_t)c.nr);
			break;
		default:
			break;
		}
		for (uint64_t k = rnd() % 4; k > 0; k--) {
			unsigned arg = (unsigned)(rnd() % 6);

			c.args[arg] = near_miss(c.args[arg]);
		}
		if (agree(w, kind, &c))
			allowed++;
		else
			refused++;
	}
	/* Else the comparison would have compared nothing. */
	assert_true(allowed > TUPLES / 10);
	assert_true(refused > TUPLES / 10);
}

static void
zygotes_filter_decides_as_the_oracle(void **state)
{
	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		compare_decisions(POL_FILTER_ZYGOTE, (enum oracle_way)w);
}

static void
workers_filter_decides_as_the_oracle(void **state)
{
	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		compare_decisions(POL_FILTER_WORKER, (enum oracle_way)w);
}

static void
builders_filter_decides_as_the_oracle(void **state)
{
	(void)state;
	compare_decisions(POL_FILTER_BUILDER, ORACLE_SCAN);
}

static void
tools_filter_decides_as_the_oracle(void **state)
{
	(void)state;
	compare_decisions(POL_FILTER_TOOL, ORACLE_DROP);
}

/* All numbers, in every architecture but our own. */
static void
foreign_architectures_and_x32_are_refused(void **state)
{
	static const uint32_t others[] = {
		AUDIT_ARCH_I386, AUDIT_ARCH_ARM, AUDIT_ARCH_MIPS, AUDIT_ARCH_PPC64LE,
		AUDIT_ARCH_RISCV64, 0, UINT32_MAX, ARCH ^ 1u, ARCH ^ 0x40000000u, ARCH ^ 0x80000000u
	};
	const struct oracle_call *examples;
	size_t n;

	(void)state;
	for (int f = 0; f < ORACLE_WAYS * POL_FILTERS; f++) {
		enum oracle_way w = (enum oracle_way)(f / POL_FILTERS);
		enum pol_filter_kind kind = (enum pol_filter_kind)(f % POL_FILTERS);

		examples = oracle_examples(oracle_of[kind], w, &n);
		for (size_t i = 0; i < n; i++) {
			struct oracle_call c = examples[i];

			for (size_t a = 0; a < sizeof(others) / sizeof(others[0]); a++)
				if (decide(w, kind, &c, others[a]))
					fail_msg("%s: call %d of architecture %#x is allowed",
					    pol_filter_name(kind), c.nr, others[a]);
			c.nr |= X32_BIT;
			if (decide(w, kind, &c, ARCH))
				fail_msg("%s: x32 call %d is allowed", pol_filter_name(kind), c.nr);
		}
		for (int nr = 0; nr < 1024; nr++) {
			struct oracle_call c = { .nr = nr | X32_BIT };

			assert_false(decide(w, kind, &c, ARCH));
			c.nr = nr;
			assert_false(decide(w, kind, &c, AUDIT_ARCH_I386));
		}
		assert_false(decide(w, kind, &(struct oracle_call){ .nr = -1 }, ARCH));
	}
}

/* Filters stack: what the zygote's refuses, no child gets. */
static void
what_a_child_may_the_zygotes_filter_lets_through(void **state)
{
	const struct oracle_call *examples;
	size_t n;

	(void)state;
	for (int f = 0; f < ORACLE_WAYS * POL_FILTERS; f++) {
		enum oracle_way w = (enum oracle_way)(f / POL_FILTERS);
		enum pol_filter_kind kind = (enum pol_filter_kind)(f % POL_FILTERS);

		examples = oracle_examples(oracle_of[kind], w, &n);
		for (size_t i = 0; kind != POL_FILTER_ZYGOTE && kind != POL_FILTER_TOOL && i < n; i++)
			if (!decide(w, POL_FILTER_ZYGOTE, &examples[i], ARCH))
				fail_msg("%s's call %d is not in the zygote's filter with %s",
				    pol_filter_name(kind), examples[i].nr, way_names[w]);
	}
}

/* A way to restore brings its own calls and no other's; dropping, the fewest. */
static void
worker_that_drops_may_least(void **state)
{
	const struct oracle_call own[] = {
		{ SCMP_SYS(ioctl), { ORACLE_PAGEMAP, ORACLE_ASK } },
		{ SCMP_SYS(pread64), { ORACLE_PAGEMAP, 0, 8, 0 } },
		{ SCMP_SYS(getrusage), { 1 } },
	};
	static const bool may[ORACLE_WAYS][3] = {
		[ORACLE_DROP] = { false, false, false },
		[ORACLE_READ] = { false, true, true },
		[ORACLE_SCAN] = { true, false, true },
	};

	(void)state;
	for (int w = 0; w < ORACLE_WAYS; w++)
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(decide((enum oracle_way)w, POL_FILTER_WORKER, &own[i], ARCH),
			    may[w][i]);
			assert_false(decide((enum oracle_way)w, POL_FILTER_BUILDER, &own[i], ARCH));
		}
}

/* The parameters are in the program, not the test's constants. */
static void
filter_follows_its_parameters(void **state)
{
	const struct pol_params other = {
		.channel_fd = 17, .arena = ORACLE_ARENA + (UINT64_C(1) << 32),
		.arena_size = UINT64_C(5) << 32, .send_max = 100, .restore = TN_RESTORE_SCAN,
		.pagemap_fd = 19, .proc_fd = 20
	};
	const struct {
		enum pol_filter_kind	kind;
		struct oracle_call	yes, no;
	} cases[] = {
		{ POL_FILTER_WORKER, { SCMP_SYS(recvfrom), { 17, 0, 1 } },
		    { SCMP_SYS(recvfrom), { ORACLE_CHANNEL, 0, 1 } } },
		{ POL_FILTER_WORKER, { SCMP_SYS(sendto), { 17, 0, 100, 0x4000, 0, 0 } },
		    { SCMP_SYS(sendto), { 17, 0, 101, 0x4000, 0, 0 } } },
		{ POL_FILTER_WORKER, { SCMP_SYS(madvise), { other.arena, other.arena_size, 4 } },
		    { SCMP_SYS(madvise), { ORACLE_ARENA, ORACLE_ARENA_SIZE, 4 } } },
		{ POL_FILTER_WORKER, { SCMP_SYS(ioctl), { 19, ORACLE_ASK } },
		    { SCMP_SYS(ioctl), { ORACLE_PAGEMAP, ORACLE_ASK } } },
		{ POL_FILTER_ZYGOTE, { SCMP_SYS(openat), { 20, 0, 0x80000 } },
		    { SCMP_SYS(openat), { ORACLE_PROC, 0, 0x80000 } } },
	};
	enum oracle_way w = ORACLE_SCAN;
	char err[POL_ERR_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum pol_filter_kind kind = cases[i].kind;
		struct pol_filter *was = filters[w][kind], *f = NULL;

		assert_int_equal(pol_filter_compile(kind, &other, &f, err), 0);
		filters[w][kind] = f;
		assert_true(decide(w, kind, &cases[i].yes, ARCH));
		assert_false(decide(w, kind, &cases[i].no, ARCH));
		filters[w][kind] = was;
		pol_filter_free(&f);
		assert_null(f);
		pol_filter_free(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_the_zygotes_filter_is_the_golden_one_with_scan),
		cmocka_unit_test(text_of_the_zygotes_filter_is_the_golden_one_with_pagemap),
		cmocka_unit_test(text_of_the_zygotes_filter_is_the_golden_one_with_drop),
		cmocka_unit_test(text_of_the_workers_filter_is_the_golden_one_with_scan),
		cmocka_unit_test(text_of_the_workers_filter_is_the_golden_one_with_pagemap),
		cmocka_unit_test(text_of_the_workers_filter_is_the_golden_one_with_drop),
		cmocka_unit_test(text_of_the_builders_filter_is_always_the_golden_one),
		cmocka_unit_test(text_of_the_tools_filter_is_always_the_golden_one),
		cmocka_unit_test(zygotes_filter_decides_as_the_oracle),
		cmocka_unit_test(workers_filter_decides_as_the_oracle),
		cmocka_unit_test(builders_filter_decides_as_the_oracle),
		cmocka_unit_test(tools_filter_decides_as_the_oracle),
		cmocka_unit_test(foreign_architectures_and_x32_are_refused),
		cmocka_unit_test(what_a_child_may_the_zygotes_filter_lets_through),
		cmocka_unit_test(worker_that_drops_may_least),
		cmocka_unit_test(filter_follows_its_parameters),
	};

	return cmocka_run_group_tests(tests, compile_all, free_all);
}
