#include "config.h"

#include "pol_layers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

/* A stack grows on its own; an unlimited one is given so much. */
#define STACK_MAX	((uint64_t)64 << 20)

int
pol_memory_now(struct pol_memory *m, char err[POL_ERR_MAX])
{
	unsigned long v[6];
	char text[128], *p = text, *end;
	long page = sysconf(_SC_PAGESIZE);
	ssize_t n;
	int fd;

	fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return pol_err(err, "/proc/self/statm");
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* size resident shared text lib data: pages */
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++, p = end) {
		v[i] = strtoul(p, &end, 10);
		if (end == p) {
			(void)snprintf(err, POL_ERR_MAX, "/proc/self/statm makes no sense");
			return TN_ESYS;
		}
	}
	m->total = (uint64_t)v[0] * (uint64_t)page;
	m->data = (uint64_t)v[5] * (uint64_t)page;
	return 0;
}

static int
limit(int what, const char *name, uint64_t value, char err[POL_ERR_MAX])
{
	struct rlimit old, rl = { .rlim_cur = value, .rlim_max = value };

	if (getrlimit(what, &old) != 0)
		return pol_err(err, name);
	/* Lower ones stay. */
	if (old.rlim_max < rl.rlim_max)
		rl.rlim_max = old.rlim_max;
	if (old.rlim_cur < rl.rlim_cur)
		rl.rlim_cur = old.rlim_cur;
	if (setrlimit(what, &rl) != 0)
		return pol_err(err, name);
	return 0;
}

int
pol_limits_zygote(char err[POL_ERR_MAX])
{
	int rc = limit(RLIMIT_CORE, "RLIMIT_CORE", 0, err);

	return rc != 0 ? rc : limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0, err);
}

int
pol_limits_worker(const struct pol_memory *base, uint64_t more, int nofile, uint32_t cpu_seconds,
    char err[POL_ERR_MAX])
{
	int rc;

	rc = limit(RLIMIT_CORE, "RLIMIT_CORE", 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_NPROC, "RLIMIT_NPROC", 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", (uint64_t)nofile, err);
	if (rc == 0 && cpu_seconds > 0)
		rc = limit(RLIMIT_CPU, "RLIMIT_CPU", cpu_seconds, err);
#ifdef WITH_SANITIZERS
	(void)base;		/* terabytes of shadow memory */
	(void)more;
#else
	if (rc == 0) {
		struct rlimit stack;

		if (getrlimit(RLIMIT_STACK, &stack) != 0)
			return pol_err(err, "RLIMIT_STACK");
		more += stack.rlim_cur < STACK_MAX ? stack.rlim_cur : STACK_MAX;
		rc = limit(RLIMIT_AS, "RLIMIT_AS", base->total + more, err);
		if (rc == 0)
			rc = limit(RLIMIT_DATA, "RLIMIT_DATA", base->data + more, err);
	}
#endif
	return rc;
}
