/*
 * pol_rules.c - what a zygote and its children may ask of the kernel.
 *
 * Filters stack: a child is bound by the zygote's filter too, so that each rule of
 * a child stands, as narrow or wider, in the zygote's.
 */
#include "config.h"

#include "pol_rules.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define Z	(1u << POL_FILTER_ZYGOTE)
#define W	(1u << POL_FILTER_WORKER)
#define B	(1u << POL_FILTER_BUILDER)

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
	 * A worker.  sendto, not sendmsg: no descriptor can be handed out.  Exact
	 * addresses: whatever only lies within the arena could run over its end.
	 */
	{ CALL(recvmsg), W | B, TESTS(IS(0, CHANNEL_FD), EQ(2, MSG_CMSG_CLOEXEC)) },
	{ CALL(sendto), W | B, TESTS(IS(0, CHANNEL_FD), UP_TO(2, SEND_MAX), EQ(3, MSG_NOSIGNAL),
	    EQ(4, 0), EQ(5, 0)) },
	{ CALL(madvise), W, TESTS(IS(0, ARENA), IS(1, ARENA_SIZE), EQ(2, MADV_DONTNEED)) },
	{ CALL(mmap), W, TESTS(IS(0, ARENA), IS(1, ARENA_SIZE), EQ(2, PROT_READ | PROT_WRITE),
	    EQ(3, MAP_PRIVATE | MAP_FIXED), IS(4, IMAGE_FD), EQ(5, 0)) },
	{ CALL(close), W, TESTS(IS(0, IMAGE_FD)) },
	/* Where the clock can be read in user space this is not called. */
	{ CALL(clock_gettime), Z | W | B, TESTS(LE(0, 1)) },
	{ CALL(rt_sigreturn), Z | W | B, ANY },
	{ CALL(exit_group), Z | W | B, ANY },

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
	{ CALL(write), Z, TESTS(EQ(0, 2)) },
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
	{ CALL(mmap), Z, TESTS(NONE_OF(2, PROT_EXEC)) },
	{ CALL(munmap), Z, ANY },
	{ CALL(madvise), Z, ANY },
	{ CALL(brk), Z, ANY },
	{ CALL(prctl), Z, TESTS(EQ(0, PR_SET_PDEATHSIG)) },
	{ CALL(prlimit64), Z, TESTS(EQ(0, 0)) },	/* its own */
	{ CALL(landlock_create_ruleset), Z, ANY },
	{ CALL(landlock_restrict_self), Z, ANY },
	{ CALL(seccomp), Z, TESTS(EQ(0, SECCOMP_SET_MODE_FILTER), EQ(1, 0)) },
};

const struct pol_rule *
pol_rules(size_t *n)
{
	*n = sizeof(table) / sizeof(table[0]);
	return table;
}

uint64_t
pol_test_value(const struct pol_test *t, const struct pol_params *p)
{
	switch (t->source) {
	case POL_CHANNEL_FD:
		return (uint64_t)p->channel_fd;
	case POL_IMAGE_FD:
		return (uint64_t)p->image_fd;
	case POL_ARENA:
		return p->arena;
	case POL_ARENA_SIZE:
		return p->arena_size;
	case POL_SEND_MAX:
		return p->send_max;
	case POL_CONSTANT:
		break;
	}
	return t->value;
}
