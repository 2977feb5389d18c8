#include "config.h"

#include "pol_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

struct pol_filter {
	size_t			n;
	struct sock_filter	code[];
};

const char *
pol_filter_name(enum pol_filter_kind kind)
{
	static const char *const names[POL_FILTERS] = {
		[POL_FILTER_ZYGOTE] = "zygote",
		[POL_FILTER_WORKER] = "worker",
		[POL_FILTER_BUILDER] = "builder",
		[POL_FILTER_TOOL] = "tool",
	};

	return names[kind];
}

/* libseccomp's functions return -errno. */
static int
failed(char err[POL_ERR_MAX], const char *what, int rc)
{
	errno = -rc;
	return pol_err(err, what);
}

static struct scmp_arg_cmp
comparison(const struct pol_test *t, const struct pol_params *p)
{
	struct scmp_arg_cmp c = { .arg = t->arg, .datum_a = pol_test_value(t, p) };

	switch (t->op) {
	case POL_EQ:
		c.op = SCMP_CMP_EQ;
		break;
	case POL_LE:
		c.op = SCMP_CMP_LE;
		break;
	case POL_NONE_OF:
		c.op = SCMP_CMP_MASKED_EQ;	/* (arg & datum_a) == datum_b */
		break;
	}
	return c;
}

static int
add_rules(scmp_filter_ctx ctx, enum pol_filter_kind kind, const struct pol_params *p,
    char err[POL_ERR_MAX])
{
	const struct pol_rule *rules;
	uint8_t priority = UINT8_MAX;
	size_t n;

	rules = pol_rules(&n);
	for (size_t i = 0; i < n; i++) {
		const struct pol_rule *r = &rules[i];
		struct scmp_arg_cmp tests[POL_TESTS_MAX];
		int rc;

		if (!pol_rule_holds(r, kind, p))
			continue;
		for (size_t j = 0; j < r->ntests; j++)
			tests[j] = comparison(&r->tests[j], p);
		/* _exact: as it stands here, or not at all. */
		rc = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, r->nr,
		    (unsigned)r->ntests, tests);
		/* The table's order is the order of the comparisons. */
		if (rc == 0)
			rc = seccomp_syscall_priority(ctx, r->nr, priority--);
		if (rc != 0)
			return failed(err, r->name, rc);
	}
	return 0;
}

static int
context(enum pol_filter_kind kind, const struct pol_params *p, scmp_filter_ctx *out,
    char err[POL_ERR_MAX])
{
	scmp_filter_ctx ctx;
	int rc;

	/* KILL_PROCESS, not an errno: whoever probes gets one try. */
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (ctx == NULL) {
		(void)snprintf(err, POL_ERR_MAX, "libseccomp refuses to start a filter");
		return TN_EUNAVAIL;
	}
	/* i386 and x32 calls have other numbers. */
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	rc = rc != 0 ? failed(err, "seccomp_attr_set", rc) : add_rules(ctx, kind, p, err);
	if (rc != 0) {
		seccomp_release(ctx);
		return rc;
	}
	*out = ctx;
	return 0;
}

/* libseccomp 2.5 exports to a descriptor only. */
static int
read_program(int fd, struct pol_filter **out, char err[POL_ERR_MAX])
{
	struct pol_filter *f;
	off_t bytes = lseek(fd, 0, SEEK_END);
	size_t n = bytes > 0 ? (size_t)bytes / sizeof(struct sock_filter) : 0;

	if (n == 0 || n > BPF_MAXINSNS || (size_t)bytes % sizeof(struct sock_filter) != 0) {
		(void)snprintf(err, POL_ERR_MAX, "a filter of %lld bytes", (long long)bytes);
		return TN_ELIMIT;
	}
	f = malloc(sizeof(*f) + (size_t)bytes);
	if (f == NULL)
		return pol_err(err, "memory for a filter");
	f->n = n;
	if (pread(fd, f->code, (size_t)bytes, 0) != (ssize_t)bytes) {
		free(f);
		return pol_err(err, "reading a filter");
	}
	*out = f;
	return 0;
}

int
pol_filter_compile(enum pol_filter_kind kind, const struct pol_params *p, struct pol_filter **out,
    char err[POL_ERR_MAX])
{
	scmp_filter_ctx ctx;
	int fd, rc;

	rc = context(kind, p, &ctx, err);
	if (rc != 0)
		return rc;
	fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0) {
		rc = pol_err(err, "memfd_create");
	} else {
		rc = seccomp_export_bpf(ctx, fd);
		rc = rc != 0 ? failed(err, "seccomp_export_bpf", rc) : read_program(fd, out, err);
		(void)close(fd);
	}
	seccomp_release(ctx);
	return rc;
}

void
pol_filter_free(struct pol_filter **f)
{
	free(*f);
	*f = NULL;
}

const struct sock_filter *
pol_filter_code(const struct pol_filter *f, size_t *n)
{
	*n = f->n;
	return f->code;
}

int
pol_filter_install(const struct pol_filter *f, char err[POL_ERR_MAX])
{
	struct sock_fprog prog = {
		.len = (unsigned short)f->n,
		.filter = (struct sock_filter *)(uintptr_t)f->code
	};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) != 0)
		return pol_err(err, "seccomp");
	return 0;
}

int
pol_filter_text(enum pol_filter_kind kind, const struct pol_params *p, int fd,
    char err[POL_ERR_MAX])
{
	scmp_filter_ctx ctx;
	int rc;

	rc = context(kind, p, &ctx, err);
	if (rc != 0)
		return rc;
	rc = seccomp_export_pfc(ctx, fd);
	seccomp_release(ctx);
	return rc != 0 ? failed(err, "seccomp_export_pfc", rc) : 0;
}
