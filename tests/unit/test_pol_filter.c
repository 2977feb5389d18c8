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
#define TUPLES		300000
#else
#define TUPLES		1500000
#endif

#define X32_BIT		0x40000000

static const struct pol_params params = {
	.channel_fd = ORACLE_CHANNEL,
	.image_fd = ORACLE_IMAGE,
	.arena = ORACLE_ARENA,
	.arena_size = ORACLE_ARENA_SIZE,
	.send_max = ORACLE_SEND_MAX
};

/* The oracle's names for the filters, in the filters' order. */
static const enum oracle_filter oracle_of[POL_FILTERS] = {
	[POL_FILTER_ZYGOTE] = ORACLE_ZYGOTE,
	[POL_FILTER_WORKER] = ORACLE_WORKER,
	[POL_FILTER_BUILDER] = ORACLE_BUILDER,
};

static struct pol_filter *filters[POL_FILTERS];

static int
compile_all(void **state)
{
	char err[POL_ERR_MAX];

	(void)state;
	for (int k = 0; k < POL_FILTERS; k++)
		if (pol_filter_compile((enum pol_filter_kind)k, &params, &filters[k], err) != 0) {
			print_error("%s: %s\n", pol_filter_name((enum pol_filter_kind)k), err);
			return -1;
		}
	return 0;
}

static int
free_all(void **state)
{
	(void)state;
	for (int k = 0; k < POL_FILTERS; k++)
		pol_filter_free(&filters[k]);
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

static void
compare_text(enum pol_filter_kind kind)
{
	const struct scmp_version *v = seccomp_version();
	const char *source = getenv("TANA_SOURCE"), *build = getenv("TANA_BUILD");
	char path[PATH_MAX], err[POL_ERR_MAX], *now, *golden;
	FILE *f;
	int fd;

	/* The text's form is the library's. */
	if (v == NULL || v->major != 2 || v->minor != 5) {
		print_message("# libseccomp 2.5 wrote the golden texts, this is another one\n");
		skip();
	}
	fd = memfd_create("text", 0);
	assert_true(fd >= 0);
	if (pol_filter_text(kind, &params, fd, err) != 0)
		fail_msg("%s", err);
	now = slurp(fd);
	(void)close(fd);

	(void)snprintf(path, sizeof(path), "%s/tests/golden/seccomp.%s." ARCH_NAME ".pfc",
	    source != NULL ? source : ".", pol_filter_name(kind));
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

		(void)snprintf(actual, sizeof(actual), "%s/tests/unit/seccomp.%s." ARCH_NAME ".pfc",
		    build != NULL ? build : ".", pol_filter_name(kind));
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
text_of_the_zygotes_filter_is_the_golden_one(void **state)
{
	(void)state;
	compare_text(POL_FILTER_ZYGOTE);
}

static void
text_of_the_workers_filter_is_the_golden_one(void **state)
{
	(void)state;
	compare_text(POL_FILTER_WORKER);
}

static void
text_of_the_builders_filter_is_the_golden_one(void **state)
{
	(void)state;
	compare_text(POL_FILTER_BUILDER);
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
decide(enum pol_filter_kind kind, const struct oracle_call *c, uint32_t arch)
{
	struct seccomp_data d = { .nr = c->nr, .arch = arch };
	const struct sock_filter *code;
	uint32_t action;
	size_t n;

	memcpy(d.args, c->args, sizeof(d.args));
	code = pol_filter_code(filters[kind], &n);
	action = pol_sim(code, n, &d);
	if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_KILL_PROCESS)
		fail_msg("%s: call %d: action %#x", pol_filter_name(kind), c->nr, action);
	return action == SECCOMP_RET_ALLOW;
}

/* Let through by both, or by none; returns which. */
static bool
agree(enum pol_filter_kind kind, const struct oracle_call *c)
{
	bool is = decide(kind, c, ARCH), should = oracle_allows(oracle_of[kind], c);
	const uint64_t *a = c->args;

	if (is != should)
		fail_msg("%s: the filter %s call %d(%#llx, %#llx, %#llx, %#llx, %#llx, %#llx)",
		    pol_filter_name(kind), is ? "allows" : "refuses", c->nr,
		    (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2], (unsigned long long)a[3],
		    (unsigned long long)a[4], (unsigned long long)a[5]);
	return is;
}

/* Values that a comparison done wrongly takes for another. */
static uint64_t
near_miss(uint64_t v)
{
	static const uint64_t known[] = {
		0, 1, 2, 3, 4, 5, 7, ORACLE_ARENA, ORACLE_ARENA_SIZE, ORACLE_SEND_MAX,
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

static void
compare_decisions(enum pol_filter_kind kind)
{
	const struct oracle_call *examples;
	size_t n, allowed = 0, refused = 0;

	examples = oracle_examples(oracle_of[kind], &n);
	for (size_t i = 0; i < n; i++)
		if (!agree(kind, &examples[i]))
			fail_msg("example %zu is not allowed", i);

	/* One argument off, each way there is. */
	seed = 88172645463325252u + (unsigned)kind;
	for (size_t i = 0; i < n; i++)
		for (unsigned arg = 0; arg < 6; arg++)
			for (unsigned bit = 0; bit < 64; bit++) {
				struct oracle_call c = examples[i];

				c.args[arg] ^= UINT64_C(1) << bit;
				(void)agree(kind, &c);
			}

	/* Number and arguments by chance, mostly near to what is allowed. */
	for (size_t i = 0; i < TUPLES; i++) {
		struct oracle_call c = examples[rnd() % n];

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
		if (agree(kind, &c))
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
	compare_decisions(POL_FILTER_ZYGOTE);
}

static void
workers_filter_decides_as_the_oracle(void **state)
{
	(void)state;
	compare_decisions(POL_FILTER_WORKER);
}

static void
builders_filter_decides_as_the_oracle(void **state)
{
	(void)state;
	compare_decisions(POL_FILTER_BUILDER);
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
	for (int k = 0; k < POL_FILTERS; k++) {
		enum pol_filter_kind kind = (enum pol_filter_kind)k;

		examples = oracle_examples(oracle_of[k], &n);
		for (size_t i = 0; i < n; i++) {
			struct oracle_call c = examples[i];

			for (size_t a = 0; a < sizeof(others) / sizeof(others[0]); a++)
				if (decide(kind, &c, others[a]))
					fail_msg("%s: call %d of architecture %#x is allowed",
					    pol_filter_name(kind), c.nr, others[a]);
			c.nr |= X32_BIT;
			if (decide(kind, &c, ARCH))
				fail_msg("%s: x32 call %d is allowed", pol_filter_name(kind), c.nr);
		}
		for (int nr = 0; nr < 1024; nr++) {
			struct oracle_call c = { .nr = nr | X32_BIT };

			assert_false(decide(kind, &c, ARCH));
			c.nr = nr;
			assert_false(decide(kind, &c, AUDIT_ARCH_I386));
		}
		assert_false(decide(kind, &(struct oracle_call){ .nr = -1 }, ARCH));
	}
}

/* Filters stack: what the zygote's refuses, no child gets. */
static void
what_a_child_may_the_zygotes_filter_lets_through(void **state)
{
	const struct oracle_call *examples;
	size_t n;

	(void)state;
	for (int k = 0; k < POL_FILTERS; k++) {
		examples = oracle_examples(oracle_of[k], &n);
		for (size_t i = 0; k != POL_FILTER_ZYGOTE && i < n; i++)
			if (!decide(POL_FILTER_ZYGOTE, &examples[i], ARCH))
				fail_msg("%s's call %d is not in the zygote's filter",
				    pol_filter_name((enum pol_filter_kind)k), examples[i].nr);
	}
}

/* The parameters are in the program, not the test's constants. */
static void
filter_follows_its_parameters(void **state)
{
	const struct pol_params other = {
		.channel_fd = 17, .image_fd = 18, .arena = ORACLE_ARENA + (UINT64_C(1) << 32),
		.arena_size = UINT64_C(5) << 32, .send_max = 100
	};
	const struct oracle_call yes[] = {
		{ SCMP_SYS(recvmsg), { 17, 0, 0x40000000 } },
		{ SCMP_SYS(sendto), { 17, 0, 100, 0x4000, 0, 0 } },
		{ SCMP_SYS(close), { 18 } },
		{ SCMP_SYS(madvise), { other.arena, other.arena_size, 4 } },
		{ SCMP_SYS(mmap), { other.arena, other.arena_size, 3, 0x12, 18, 0 } },
	};
	const struct oracle_call no[] = {
		{ SCMP_SYS(recvmsg), { ORACLE_CHANNEL, 0, 0x40000000 } },
		{ SCMP_SYS(sendto), { 17, 0, 101, 0x4000, 0, 0 } },
		{ SCMP_SYS(close), { ORACLE_IMAGE } },
		{ SCMP_SYS(madvise), { ORACLE_ARENA, ORACLE_ARENA_SIZE, 4 } },
		{ SCMP_SYS(mmap), { ORACLE_ARENA, ORACLE_ARENA_SIZE, 3, 0x12, 4, 0 } },
	};
	struct pol_filter *was = filters[POL_FILTER_WORKER], *f = NULL;
	char err[POL_ERR_MAX];

	(void)state;
	assert_int_equal(pol_filter_compile(POL_FILTER_WORKER, &other, &f, err), 0);
	filters[POL_FILTER_WORKER] = f;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		assert_true(decide(POL_FILTER_WORKER, &yes[i], ARCH));
		assert_false(decide(POL_FILTER_WORKER, &no[i], ARCH));
	}
	filters[POL_FILTER_WORKER] = was;
	pol_filter_free(&f);
	assert_null(f);
	pol_filter_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_the_zygotes_filter_is_the_golden_one),
		cmocka_unit_test(text_of_the_workers_filter_is_the_golden_one),
		cmocka_unit_test(text_of_the_builders_filter_is_the_golden_one),
		cmocka_unit_test(zygotes_filter_decides_as_the_oracle),
		cmocka_unit_test(workers_filter_decides_as_the_oracle),
		cmocka_unit_test(builders_filter_decides_as_the_oracle),
		cmocka_unit_test(foreign_architectures_and_x32_are_refused),
		cmocka_unit_test(what_a_child_may_the_zygotes_filter_lets_through),
		cmocka_unit_test(filter_follows_its_parameters),
	};

	return cmocka_run_group_tests(tests, compile_all, free_all);
}
