#include "config.h"

#include "pol_oracle.h"

#include <sys/syscall.h>

/* Numbers of the kernel's interface, spelled out so that no header can lie twice. */
#define CMSG_CLOEXEC	0x40000000u
#define NOSIGNAL	0x4000u
#define READ_WRITE	3u
#define EXEC		4u
#define PRIVATE_FIXED	0x12u
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
	case SYS_recvmsg:
		return a[0] == ORACLE_CHANNEL && a[2] == CMSG_CLOEXEC;
	case SYS_sendto:
		return a[0] == ORACLE_CHANNEL && a[2] <= ORACLE_SEND_MAX && a[3] == NOSIGNAL &&
		    a[4] == 0 && a[5] == 0;
	default:
		return common(c);
	}
}

static bool
worker(const struct oracle_call *c)
{
	const uint64_t *a = c->args;

	switch (c->nr) {
	case SYS_mmap:
		return a[0] == ORACLE_ARENA && a[1] == ORACLE_ARENA_SIZE && a[2] == READ_WRITE &&
		    a[3] == PRIVATE_FIXED && a[4] == ORACLE_IMAGE && a[5] == 0;
	case SYS_madvise:
		return a[0] == ORACLE_ARENA && a[1] == ORACLE_ARENA_SIZE && a[2] == DONTNEED;
	case SYS_close:
		return a[0] == ORACLE_IMAGE;
	default:
		return builder(c);
	}
}

static bool
zygote(const struct oracle_call *c)
{
	const uint64_t *a = c->args;

	switch (c->nr) {
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
	case SYS_prctl:			/* PR_SET_PDEATHSIG */
		return a[0] == 1;
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
oracle_allows(enum oracle_filter f, const struct oracle_call *c)
{
	switch (f) {
	case ORACLE_ZYGOTE:
		return zygote(c);
	case ORACLE_WORKER:
		return worker(c);
	case ORACLE_BUILDER:
		return builder(c);
	}
	return false;
}

#define BUFFER	UINT64_C(0x7f0000001000)

#define FOR_ALL										\
	{ SYS_rt_sigreturn, { 0 } },							\
	{ SYS_exit_group, { 7 } },							\
	{ SYS_clock_gettime, { 0, BUFFER } },						\
	{ SYS_clock_gettime, { 1, BUFFER } },						\
	{ SYS_recvmsg, { ORACLE_CHANNEL, BUFFER, CMSG_CLOEXEC } },			\
	{ SYS_sendto, { ORACLE_CHANNEL, BUFFER, ORACLE_SEND_MAX, NOSIGNAL, 0, 0 } },	\
	{ SYS_sendto, { ORACLE_CHANNEL, BUFFER, 0, NOSIGNAL, 0, 0 } }
#define FOR_WORKERS									\
	{ SYS_mmap, { ORACLE_ARENA, ORACLE_ARENA_SIZE, READ_WRITE, PRIVATE_FIXED,	\
	    ORACLE_IMAGE, 0 } },							\
	{ SYS_madvise, { ORACLE_ARENA, ORACLE_ARENA_SIZE, DONTNEED } },			\
	{ SYS_close, { ORACLE_IMAGE } }

static const struct oracle_call builder_examples[] = { FOR_ALL };
static const struct oracle_call worker_examples[] = { FOR_ALL, FOR_WORKERS };
static const struct oracle_call zygote_examples[] = {
	FOR_ALL,
	FOR_WORKERS,
	{ SYS_recvmsg, { 9, BUFFER, CMSG_CLOEXEC } },
	{ SYS_sendmsg, { 3, BUFFER, NOSIGNAL } },
	{ SYS_clone, { CHILD_FLAGS, 0, 0, BUFFER, 0 } },
	{ SYS_pidfd_open, { 2, 0 } },
	{ SYS_kill, { 1, 9 } },
	{ SYS_kill, { SIGNED_MAX, 14 } },
	{ SYS_write, { 2, BUFFER, 100 } },
	{ SYS_dup3, { 7, 3, 0 } },
	{ SYS_close_range, { 5, 0xffffffff, 0 } },
	{ SYS_fcntl, { 4, 1 } },
	{ SYS_mmap, { 0, 8192, READ_WRITE, 0x22, 0xffffffff, 0 } },
	{ SYS_prctl, { 1, 9 } },
	{ SYS_prlimit64, { 0, 4, BUFFER, 0 } },
	{ SYS_seccomp, { 1, 0, BUFFER } },
	{ SYS_ppoll, { BUFFER, 1, 0, BUFFER, 8 } },
	{ SYS_set_robust_list, { BUFFER, 24 } },
	{ SYS_wait4, { UINT64_MAX, BUFFER, 1, 0 } },
	{ SYS_getpid, { 0 } },
	{ SYS_getppid, { 0 } },
	{ SYS_rt_sigaction, { 17, BUFFER, 0, 8 } },
	{ SYS_rt_sigprocmask, { 2, BUFFER, 0, 8 } },
#ifdef SYS_dup2
	{ SYS_dup2, { 7, 3 } },
#endif
	{ SYS_close, { 12 } },
	{ SYS_munmap, { BUFFER, 4096 } },
	{ SYS_madvise, { BUFFER, 4096, 4 } },
	{ SYS_brk, { 0 } },
	{ SYS_landlock_create_ruleset, { BUFFER, 24, 0 } },
	{ SYS_landlock_restrict_self, { 5, 0 } },
};

const struct oracle_call *
oracle_examples(enum oracle_filter f, size_t *n)
{
	switch (f) {
	case ORACLE_ZYGOTE:
		*n = sizeof(zygote_examples) / sizeof(zygote_examples[0]);
		return zygote_examples;
	case ORACLE_WORKER:
		*n = sizeof(worker_examples) / sizeof(worker_examples[0]);
		return worker_examples;
	case ORACLE_BUILDER:
		*n = sizeof(builder_examples) / sizeof(builder_examples[0]);
		return builder_examples;
	}
	*n = 0;
	return NULL;
}
