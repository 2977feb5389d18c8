/*
 * pol_rules.c - what a zygote and its children may ask of the kernel.
 *
 * Filters stack: a child is bound by the zygote's filter too, so that each rule of
 * a child stands, as narrow or wider, in the zygote's.  The tool (tana-worker --check
 * and --run) is no child of one.
 */
#include "config.h"

#include "pol_rules.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define Z	POL_IN_(POL_FILTER_ZYGOTE)
#define W	POL_IN_(POL_FILTER_WORKER)
#define B	POL_IN_(POL_FILTER_BUILDER)
#define T	POL_IN_(POL_FILTER_TOOL)

/* Only where workers restore their arena in this way. */
#define SCAN	POL_IF_(TN_RESTORE_SCAN)
#define PAGEMAP	POL_IF_(TN_RESTORE_PAGEMAP)

/* PAGEMAP_SCAN of linux/fs.h, Linux 6.7; its argument has 12 words. */
#define ASK_PAGEMAP	_IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 12 * sizeof(uint64_t))

/* What glibc's fork() asks for. */
#define FORK_FLAGS	(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)

#define CALL(name)		#name, SCMP_SYS(name)
#define TESTS(...)								\
	sizeof((const struct pol_test[]){ __VA_ARGS__ }) / sizeof(struct pol_test),	\
	{ __VA_ARGS__ }
#define ANY			0, { { 0, POL_EQ, POL_CONSTANT, 0 } }
#define EQ(arg, v)		{ arg, POL_EQ, POL_CONSTANT, (uint64_t)(v) }
#define LE(arg, v)		{ arg, POL_LE, POL_CONSTANT, (uint64_t)(v) }
#define NONE_OF(arg, v)		{ arg, POL_NONE_OF, POL_CONSTANT, (uint64_t)(v) }
#define IS(arg, param)		{ arg, POL_EQ, POL_##param, 0 }
#define UP_TO(arg, param)	{ arg, POL_LE, POL_##param, 0 }

static const struct pol_rule table[] = {
	/*
	 * A worker.  recvfrom and sendto, not recvmsg and sendmsg: no descriptor can come
	 * in or be handed out.  Exact addresses: whatever only lies within the arena could
	 * run over its end.
	 */
	{ CALL(recvfrom), Z | W | B, TESTS(IS(0, CHANNEL_FD), EQ(3, 0), EQ(4, 0), EQ(5, 0)) },
	/* Of one descriptor, for as long as it takes, and no signal is let through by it. */
	{ CALL(ppoll), W | B, TESTS(EQ(1, 1), EQ(2, 0), EQ(3, 0)) },
	{ CALL(sendto), W | B, TESTS(IS(0, CHANNEL_FD), UP_TO(2, SEND_MAX), EQ(3, MSG_NOSIGNAL),
	    EQ(4, 0), EQ(5, 0)) },
	{ CALL(getrusage), Z | W | SCAN | PAGEMAP, TESTS(EQ(0, RUSAGE_THREAD)) },
	{ CALL(ioctl), Z | W | SCAN, TESTS(IS(0, PAGEMAP_FD), EQ(1, ASK_PAGEMAP)) },
	{ CALL(pread64), W | PAGEMAP, TESTS(IS(0, PAGEMAP_FD)) },
	{ CALL(madvise), W, TESTS(IS(0, ARENA), IS(1, ARENA_SIZE), EQ(2, MADV_DONTNEED)) },
	/* Where the clock can be read in user space this is not called. */
	{ CALL(clock_gettime), Z | W | B | T, TESTS(LE(0, 1)) },
	{ CALL(rt_sigreturn), Z | W | B | T, ANY },
	{ CALL(exit_group), Z | W | B | T, ANY },

	/* The zygote: its socket, its children, its log.  (sendto: for the children's.) */
	{ CALL(recvmsg), Z, TESTS(EQ(2, MSG_CMSG_CLOEXEC)) },
	{ CALL(sendto), Z, TESTS(EQ(3, MSG_NOSIGNAL), EQ(4, 0), EQ(5, 0)) },
	{ CALL(sendmsg), Z, TESTS(EQ(2, MSG_NOSIGNAL)) },
	{ CALL(ppoll), Z, ANY },
	{ CALL(clone), Z, TESTS(EQ(0, FORK_FLAGS)) },
	{ CALL(set_robust_list), Z, ANY },	/* glibc's fork(), in the child */
	{ CALL(pidfd_open), Z, TESTS(EQ(1, 0)) },
	{ CALL(wait4), Z, ANY },
	/* Never another's group, never all that the user has. */
	{ CALL(kill), Z, TESTS(LE(0, INT_MAX)) },
	{ CALL(write), Z | T, TESTS(EQ(0, 2)) },
	{ CALL(getpid), Z, ANY },
	{ CALL(getppid), Z, ANY },

	/* What a child prepares itself with, before its own filter. */
	{ CALL(rt_sigaction), Z, ANY },
	{ CALL(rt_sigprocmask), Z, ANY },
	{ CALL(dup2), Z, ANY },
	{ CALL(dup3), Z, TESTS(EQ(2, 0)) },	/* dup2() where there is no such call */
	{ CALL(close), Z, ANY },
	{ CALL(close_range), Z, TESTS(EQ(2, 0)) },
	{ CALL(fcntl), Z, TESTS(EQ(1, F_GETFD)) },
	{ CALL(mmap), Z | T, TESTS(NONE_OF(2, PROT_EXEC)) },
	{ CALL(munmap), Z | T, ANY },
	{ CALL(madvise), Z, ANY },
	{ CALL(brk), Z | T, ANY },
	{ CALL(prctl), Z, TESTS(EQ(0, PR_SET_PDEATHSIG)) },
	{ CALL(prctl), Z, TESTS(EQ(0, PR_SET_DUMPABLE), EQ(1, 0)) },
	/*
	 * Its pagemap: the files of a process that is not dumpable are root's.  The
	 * path is not for a filter to see: the empty root and Landlock bound it.
	 */
	{ CALL(prctl), Z | SCAN | PAGEMAP, TESTS(EQ(0, PR_SET_DUMPABLE), EQ(1, 1)) },
	{ CALL(openat), Z | SCAN | PAGEMAP, TESTS(IS(0, PROC_FD), EQ(2, O_RDONLY | O_CLOEXEC)) },
	/* (Also to find out that there is nothing to be scanned.) */
	{ CALL(pread64), Z | SCAN | PAGEMAP, TESTS(IS(0, PAGEMAP_FD)) },
	{ CALL(prlimit64), Z, TESTS(EQ(0, 0)) },	/* its own */
	{ CALL(landlock_create_ruleset), Z, ANY },
	{ CALL(landlock_restrict_self), Z, ANY },
	{ CALL(seccomp), Z, TESTS(EQ(0, SECCOMP_SET_MODE_FILTER), EQ(1, 0)) },

	/* The tool: what it says, its memory, waiting for a contract's timer. */
	{ CALL(write), T, TESTS(EQ(0, 1)) },
	{ CALL(mremap), T, ANY },
	{ CALL(clock_nanosleep), T, TESTS(EQ(0, CLOCK_REALTIME), EQ(1, 0)) },
};

const struct pol_rule *
pol_rules(size_t *n)
{
	*n = sizeof(table) / sizeof(table[0]);
	return table;
}

bool
pol_rule_holds(const struct pol_rule *r, enum pol_filter_kind kind, const struct pol_params *p)
{
	return r->nr >= 0 && (r->where & POL_IN_(kind)) != 0 &&
	    ((r->where & POL_IF_ANY) == 0 || (r->where & POL_IF_(p->restore)) != 0);
}

uint64_t
pol_test_value(const struct pol_test *t, const struct pol_params *p)
{
	switch (t->source) {
	case POL_CHANNEL_FD:
		return (uint64_t)p->channel_fd;
	case POL_ARENA:
		return p->arena;
	case POL_ARENA_SIZE:
		return p->arena_size;
	case POL_SEND_MAX:
		return p->send_max;
	case POL_PAGEMAP_FD:
		return (uint64_t)p->pagemap_fd;
	case POL_PROC_FD:
		return (uint64_t)p->proc_fd;
	case POL_CONSTANT:
		break;
	}
	return t->value;
}
