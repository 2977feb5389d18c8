#include "config.h"

#include "pol_oracle.h"

#include <sys/syscall.h>

/* Numbers of the kernel's interface, spelled out so that no header can lie twice. */
#define CMSG_CLOEXEC	0x40000000u
#define NOSIGNAL	0x4000u
#define READ_WRITE	3u
#define EXEC		4u
#define DONTNEED	4u
#define CHILD_FLAGS	0x01200011u	/* CHILD_SETTID, CHILD_CLEARTID, SIGCHLD */
#define SIGNED_MAX	0x7fffffffu

static bool
common(const struct oracle_call *c)
{
	switch (c->nr) {
	case SYS_rt_sigreturn:
	case SYS_exit_group:
		return true;
	case SYS_clock_gettime:		/* REALTIME, MONOTONIC */
		return c->args[0] == 0 || c->args[0] == 1;
	default:
		return false;
	}
}

static bool
builder(const struct oracle_call *c)
{
	const uint64_t *a = c->args;

	switch (c->nr) {
	case SYS_recvfrom:
		return a[0] == ORACLE_CHANNEL && a[3] == 0 && a[4] == 0 && a[5] == 0;
	case SYS_ppoll:			/* one descriptor, no timeout, no mask */
		return a[1] == 1 && a[2] == 0 && a[3] == 0;
	case SYS_sendto:
		return a[0] == ORACLE_CHANNEL && a[2] <= ORACLE_SEND_MAX && a[3] == NOSIGNAL &&
		    a[4] == 0 && a[5] == 0;
	default:
		return common(c);
	}
}

static bool
worker(enum oracle_way w, const struct oracle_call *c)
{
	const uint64_t *a = c->args;

	switch (c->nr) {
	case SYS_madvise:
		return a[0] == ORACLE_ARENA && a[1] == ORACLE_ARENA_SIZE && a[2] == DONTNEED;
	case SYS_getrusage:		/* RUSAGE_THREAD */
		return w != ORACLE_DROP && a[0] == 1;
	case SYS_ioctl:
		return w == ORACLE_SCAN && a[0] == ORACLE_PAGEMAP && a[1] == ORACLE_ASK;
	case SYS_pread64:
		return w == ORACLE_READ && a[0] == ORACLE_PAGEMAP;
	default:
		return builder(c);
	}
}

static bool
tool(const struct oracle_call *c)
{
	const uint64_t *a = c->args;

	switch (c->nr) {
	case SYS_write:
		return a[0] == 1 || a[0] == 2;
	case SYS_mmap:
		return (a[2] & EXEC) == 0;
	case SYS_clock_nanosleep:	/* REALTIME, relative */
		return a[0] == 0 && a[1] == 0;
	case SYS_munmap:
	case SYS_mremap:
	case SYS_brk:
		return true;
	default:
		return common(c);
	}
}

static bool
zygote(enum oracle_way w, const struct oracle_call *c)
{
	const uint64_t *a = c->args;

	switch (c->nr) {
	case SYS_recvfrom:
		return builder(c);
	case SYS_recvmsg:
		return a[2] == CMSG_CLOEXEC;
	case SYS_sendmsg:
		return a[2] == NOSIGNAL;
	case SYS_sendto:
		return a[3] == NOSIGNAL && a[4] == 0 && a[5] == 0;
	case SYS_clone:
		return a[0] == CHILD_FLAGS;
	case SYS_pidfd_open:
		return a[1] == 0;
	case SYS_kill:
		return a[0] <= SIGNED_MAX;
	case SYS_write:
		return a[0] == 2;
	case SYS_dup3:
	case SYS_close_range:
		return a[2] == 0;
	case SYS_fcntl:			/* F_GETFD */
		return a[1] == 1;
	case SYS_mmap:
		return (a[2] & EXEC) == 0;
	case SYS_prctl:			/* PR_SET_PDEATHSIG; PR_SET_DUMPABLE: off; on */
		return a[0] == 1 || (a[0] == 4 && (a[1] == 0 || (w != ORACLE_DROP && a[1] == 1)));
	case SYS_openat:		/* O_RDONLY, O_CLOEXEC */
		return w != ORACLE_DROP && a[0] == ORACLE_PROC && a[2] == 0x80000;
	case SYS_pread64:
		return w != ORACLE_DROP && a[0] == ORACLE_PAGEMAP;
	case SYS_getrusage:
	case SYS_ioctl:
		return worker(w, c);
	case SYS_prlimit64:
		return a[0] == 0;
	case SYS_seccomp:		/* SECCOMP_SET_MODE_FILTER */
		return a[0] == 1 && a[1] == 0;
	case SYS_ppoll:
	case SYS_set_robust_list:
	case SYS_wait4:
	case SYS_getpid:
	case SYS_getppid:
	case SYS_rt_sigaction:
	case SYS_rt_sigprocmask:
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_close:
	case SYS_munmap:
	case SYS_madvise:
	case SYS_brk:
	case SYS_landlock_create_ruleset:
	case SYS_landlock_restrict_self:
		return true;
	default:
		return common(c);
	}
}

bool
oracle_allows(enum oracle_filter f, enum oracle_way w, const struct oracle_call *c)
{
	switch (f) {
	case ORACLE_ZYGOTE:
		return zygote(w, c);
	case ORACLE_WORKER:
		return worker(w, c);
	case ORACLE_BUILDER:
		return builder(c);
	case ORACLE_TOOL:
		return tool(c);
	}
	return false;
}

#define BUFFER	UINT64_C(0x7f0000001000)

/* In which filters, and with which ways to restore. */
#define Z	(1u << ORACLE_ZYGOTE)
#define W	(1u << ORACLE_WORKER)
#define B	(1u << ORACLE_BUILDER)
#define T	(1u << ORACLE_TOOL)
#define READ	(1u << ORACLE_READ)
#define SCAN	(1u << ORACLE_SCAN)
#define ALL	((1u << ORACLE_WAYS) - 1)

static const struct {
	unsigned		filters, ways;
	struct oracle_call	call;
} examples[] = {
	{ Z | W | B | T, ALL, { SYS_rt_sigreturn, { 0 } } },
	{ Z | W | B | T, ALL, { SYS_exit_group, { 7 } } },
	{ Z | W | B | T, ALL, { SYS_clock_gettime, { 0, BUFFER } } },
	{ Z | W | B | T, ALL, { SYS_clock_gettime, { 1, BUFFER } } },
	{ Z | W | B, ALL, { SYS_recvfrom, { ORACLE_CHANNEL, BUFFER, UINT64_C(32) << 20, 0,
	    0, 0 } } },
	{ Z | W | B, ALL, { SYS_sendto, { ORACLE_CHANNEL, BUFFER, ORACLE_SEND_MAX, NOSIGNAL,
	    0, 0 } } },
	{ Z | W | B, ALL, { SYS_sendto, { ORACLE_CHANNEL, BUFFER, 0, NOSIGNAL, 0, 0 } } },
	{ Z | W, ALL, { SYS_madvise, { ORACLE_ARENA, ORACLE_ARENA_SIZE, DONTNEED } } },
	{ Z | W, READ | SCAN, { SYS_getrusage, { 1, BUFFER } } },
	{ Z | W, SCAN, { SYS_ioctl, { ORACLE_PAGEMAP, ORACLE_ASK, BUFFER } } },
	{ Z | W, READ, { SYS_pread64, { ORACLE_PAGEMAP, BUFFER, 4096, 0x100000000 } } },
	{ Z, READ | SCAN, { SYS_pread64, { ORACLE_PAGEMAP, BUFFER, 8, 0 } } },
	{ Z, READ | SCAN, { SYS_openat, { ORACLE_PROC, BUFFER, 0x80000, 0 } } },
	{ Z, READ | SCAN, { SYS_prctl, { 4, 1 } } },
	{ Z, ALL, { SYS_prctl, { 4, 0 } } },
	{ Z, ALL, { SYS_prctl, { 1, 9 } } },
	{ Z, ALL, { SYS_recvmsg, { 9, BUFFER, CMSG_CLOEXEC } } },
	{ Z, ALL, { SYS_sendmsg, { 3, BUFFER, NOSIGNAL } } },
	{ Z, ALL, { SYS_clone, { CHILD_FLAGS, 0, 0, BUFFER, 0 } } },
	{ Z, ALL, { SYS_pidfd_open, { 2, 0 } } },
	{ Z, ALL, { SYS_kill, { 1, 9 } } },
	{ Z, ALL, { SYS_kill, { SIGNED_MAX, 14 } } },
	{ Z | T, ALL, { SYS_write, { 2, BUFFER, 100 } } },
	{ T, ALL, { SYS_write, { 1, BUFFER, 100 } } },
	{ T, ALL, { SYS_mremap, { BUFFER, 4096, 8192, 1 } } },
	{ T, ALL, { SYS_clock_nanosleep, { 0, 0, BUFFER, BUFFER } } },
	{ Z, ALL, { SYS_dup3, { 7, 3, 0 } } },
	{ Z, ALL, { SYS_close_range, { 5, 0xffffffff, 0 } } },
	{ Z, ALL, { SYS_fcntl, { 4, 1 } } },
	{ Z | T, ALL, { SYS_mmap, { 0, 8192, READ_WRITE, 0x22, 0xffffffff, 0 } } },
	{ Z, ALL, { SYS_prlimit64, { 0, 4, BUFFER, 0 } } },
	{ Z, ALL, { SYS_seccomp, { 1, 0, BUFFER } } },
	{ Z, ALL, { SYS_ppoll, { BUFFER, 1, 0, BUFFER, 8 } } },
	{ Z | W | B, ALL, { SYS_ppoll, { BUFFER, 1, 0, 0, 8 } } },
	{ Z, ALL, { SYS_set_robust_list, { BUFFER, 24 } } },
	{ Z, ALL, { SYS_wait4, { UINT64_MAX, BUFFER, 1, 0 } } },
	{ Z, ALL, { SYS_getpid, { 0 } } },
	{ Z, ALL, { SYS_getppid, { 0 } } },
	{ Z, ALL, { SYS_rt_sigaction, { 17, BUFFER, 0, 8 } } },
	{ Z, ALL, { SYS_rt_sigprocmask, { 2, BUFFER, 0, 8 } } },
#ifdef SYS_dup2
	{ Z, ALL, { SYS_dup2, { 7, 3 } } },
#endif
	{ Z, ALL, { SYS_close, { 12 } } },
	{ Z | T, ALL, { SYS_munmap, { BUFFER, 4096 } } },
	{ Z, ALL, { SYS_madvise, { BUFFER, 4096, 4 } } },
	{ Z | T, ALL, { SYS_brk, { 0 } } },
	{ Z, ALL, { SYS_landlock_create_ruleset, { BUFFER, 24, 0 } } },
	{ Z, ALL, { SYS_landlock_restrict_self, { 5, 0 } } },
};
#define NEXAMPLES	(sizeof(examples) / sizeof(examples[0]))

const struct oracle_call *
oracle_examples(enum oracle_filter f, enum oracle_way w, size_t *n)
{
	static struct oracle_call found[NEXAMPLES];

	*n = 0;
	for (size_t i = 0; i < NEXAMPLES; i++)
		if ((examples[i].filters & 1u << f) != 0 && (examples[i].ways & 1u << w) != 0)
			found[(*n)++] = examples[i].call;
	return found;
}
