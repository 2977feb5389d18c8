/*
 * Processes that are really shut in: what an honest worker does works, whatever
 * else is tried kills it, and the kernel says of them what it should.
 */
#include "config.h"

#include "pol_sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "pol_jail.h"
#include "pol_oracle.h"
#include "tn_err.h"

#define ARENA		((char *)(uintptr_t)ORACLE_ARENA)
#define SHADOW		((char *)(uintptr_t)ORACLE_SHADOW)
#define SURVIVED	42

/* Skip, with the reason, where there cannot be such a jail, or no filter in it. */
static void
need_jail(enum jail_kind kind, bool filter)
{
	const char *why = jail_impossible(kind);

	if (why == NULL && filter && (pol_layers_supported() & TN_LAYER_SECCOMP) == 0)
		why = "no seccomp: not in a build with sanitizers, or not in this kernel";
	if (why != NULL) {
		print_message("# skipped: %s\n", why);
		skip();
	}
}

static void
need(enum jail_kind kind)
{
	need_jail(kind, true);
}

/* The strictest one to be had here: for what does not depend on the kind. */
static enum jail_kind
any_kind(void)
{
	for (int k = 0; k < JAIL_USER; k++)
		if (jail_impossible((enum jail_kind)k) == NULL)
			return (enum jail_kind)k;
	return JAIL_USER;
}

static void
expect_clean_end(struct jail *j)
{
	int status = jail_end(j);

	if (status != 0 || j->sh->why[0] != '\0')
		fail_msg("the jail ended with status %#x: %s", (unsigned)status, j->sh->why);
	(void)munmap(j->sh, sizeof(*j->sh));
}

static int
make_channel(int pair[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
}

/* ---- an honest worker ---- */

static sigjmp_buf way_out;
static volatile sig_atomic_t signals;

static void
on_signal(int sig)
{
	(void)sig;
	signals++;
	siglongjmp(way_out, 1);
}

static int
send_descriptor(int channel, int fd)
{
	union {
		struct cmsghdr	h;
		char		room[CMSG_SPACE(sizeof(int))];
	} c = { .h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
	    .cmsg_type = SCM_RIGHTS } };
	char byte = 'i';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c,
	    .msg_controllen = sizeof(c) };

	memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
	return sendmsg(channel, &m, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

/* Is the arena's page anonymous, says the pagemap?  -1: no answer. */
static int
ask_pagemap(enum tn_restore how, const char *at)
{
	static uint64_t region[3];
	uint64_t page = (uintptr_t)at & ~(uint64_t)4095, walk[12] = {
		/* size, flags, start, end, -, where to, how many, -, inverted, mask, any of, say */
		sizeof(walk), 0, page, page + 4096, 0, (uintptr_t)region, 1, 0, 1 << 2, 1 << 2,
		1 << 3 | 1 << 4, 1 << 3
	};
	uint64_t entry;
	int n;

	if (how == TN_RESTORE_SCAN) {
		n = ioctl(JAIL_PAGEMAP, ORACLE_ASK, walk);
		/* Before Linux 6.7 it is allowed, but not there. */
		return n < 0 && errno == ENOTTY ? 1 : n;
	}
	if (pread(JAIL_PAGEMAP, &entry, sizeof(entry), (off_t)(page / 512)) != sizeof(entry))
		return -1;
	return (entry & UINT64_C(1) << 63) != 0 && (entry & UINT64_C(1) << 61) == 0;
}

/* What wk_restore.c does. */
static int
honest_restore(enum tn_restore how)
{
	volatile uint32_t *word = (uint32_t *)ARENA;
	struct rusage ru;

	*word = 0;
	if (*(volatile uint32_t *)SHADOW != JAIL_MAGIC)
		return 21;
	if (getrusage(RUSAGE_THREAD, &ru) != 0)
		return 22;
	if (ask_pagemap(how, ARENA) != 1)
		return 23;
	memcpy(ARENA, SHADOW, 4096);
	return *word == JAIL_MAGIC ? 0 : 24;
}

/* All that wk_worker.c does, each step with a number of its own if it fails. */
static int
honest(struct jail_inside *in, void *arg)
{
	volatile uint32_t *word = (uint32_t *)ARENA;
	enum tn_restore how = in->config.params.restore;
	struct timespec ts;
	int rc;

	(void)arg;
	/* As a worker that found none: it drops. */
	if (in->sh->pagemap_rc != 0)
		how = TN_RESTORE_DROP;
	for (int round = 0; round < 2; round++) {
		if (jail_hear(JAIL_CHANNEL) != 0)
			return 1;
		rc = how == TN_RESTORE_DROP ? 0 : honest_restore(how);
		if (rc != 0)
			return rc;
		if (*word != JAIL_MAGIC)
			return 4;
		/* The whole of it can be written, within the limits of memory. */
		for (size_t at = 0; at < ORACLE_ARENA_SIZE; at += (size_t)1 << 20)
			ARENA[at] = 1;
		ARENA[ORACLE_ARENA_SIZE - 1] = 1;
		if (madvise(ARENA, ORACLE_ARENA_SIZE, MADV_DONTNEED) != 0)
			return 5;
		if (*word != JAIL_MAGIC || ARENA[ORACLE_ARENA_SIZE - 1] != 0)
			return 6;
	}
	if (syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts) != 0 ||
	    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts) != 0)
		return 7;
	/* Signals end computations: the handler jumps, or returns. */
	while (signals < 2) {
		if (sigsetjmp(way_out, 0) != 0)
			continue;
		if (jail_say(JAIL_CHANNEL, 'g') != 0)
			return 8;
		for (;;)
			;
	}
	return jail_hear(JAIL_CHANNEL) == -1 ? 0 : 9;	/* the end of the channel */
}

static bool pagemap_expected;

static int
honest_body(struct jail_inside *in)
{
	struct sigaction sa;
	int channel[2], status;
	pid_t w;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_NODEFER;
	if (make_channel(channel) != 0 || jail_enter(in) != 0 ||
	    sigaction(SIGALRM, &sa, NULL) != 0)
		return 1;
	w = jail_worker(in, POL_WORKER, honest, NULL, channel);
	if (w < 0 || close(channel[1]) != 0)
		return 2;
	for (int round = 0; round < 2; round++)
		if (send_descriptor(channel[0], in->base) != 0)
			return 3;
	for (int round = 0; round < 2; round++)
		if (jail_hear(channel[0]) != 0 || kill(w, SIGALRM) != 0)
			return 4;
	(void)close(channel[0]);
	if (waitpid(w, &status, 0) != w)
		return 5;
	if (status != 0)
		jail_why(in->sh, "the worker ended with wait status %#x", (unsigned)status);
	if ((in->sh->pagemap_rc == 0) != pagemap_expected)
		jail_why(in->sh, "pagemap: %d", in->sh->pagemap_rc);
	return 0;
}

static void
honest_in(enum jail_kind kind)
{
	struct jail j;

	need_jail(kind, false);
	for (int how = TN_RESTORE_DROP; how <= TN_RESTORE_SCAN; how++) {
		/* Dropping is for where it must be. */
		pagemap_expected = how != TN_RESTORE_DROP &&
		    access("/proc/self/pagemap", R_OK) == 0 &&
		    (jail_layers(kind) & (TN_LAYER_LANDLOCK | TN_LAYER_MOUNTNS)) != 0;
		jail_begin_with(&j, kind, (enum tn_restore)how, honest_body);
		expect_clean_end(&j);
	}
}

static void
honest_worker_lives_as_roots_zygotes_child(void **state)
{
	(void)state;
	honest_in(JAIL_ROOT);
}

static void
honest_worker_lives_in_an_ordinary_users_namespaces(void **state)
{
	(void)state;
	honest_in(JAIL_USERNS);
}

static void
honest_worker_lives_without_namespaces(void **state)
{
	(void)state;
	honest_in(JAIL_USER);
}

/* ---- what the kernel says ---- */

static int
wait_for_the_end(struct jail_inside *in, void *arg)
{
	(void)in;
	(void)arg;
	(void)jail_hear(JAIL_CHANNEL);
	return 0;
}

static int
report_and_wait(struct jail_inside *in, void *arg)
{
	in->sh->result[0] = in->sh->pagemap_rc;
	return jail_say(JAIL_CHANNEL, 'r') != 0 ? 1 : wait_for_the_end(in, arg);
}

static int
quiet_body(struct jail_inside *in)
{
	int channel[2], status;
	pid_t w, b;

	if (make_channel(channel) != 0 || jail_enter(in) != 0)
		return 1;
	w = jail_worker(in, POL_WORKER, report_and_wait, NULL, channel);
	if (w < 0 || jail_hear(channel[0]) != 0)
		return 2;
	b = jail_worker(in, POL_BUILDER, wait_for_the_end, NULL, channel);
	if (b < 0 || jail_say(in->socket, 'r') != 0)
		return 3;
	(void)jail_hear(in->socket);	/* the test has seen enough */
	(void)kill(w, SIGKILL);
	(void)kill(b, SIGKILL);
	while (waitpid(-1, &status, 0) > 0)
		;
	return 0;
}

static int
careless_body(struct jail_inside *in)
{
	in->careless = true;
	return quiet_body(in);
}

static int
read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	f = fopen(path, "r");
	if (f == NULL)
		return -1;
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return 0;
}

/* Value of a line "Name:\tvalue" of a status file; points into a static. */
static const char *
field(const char *status, const char *name)
{
	static char value[256];
	size_t n = strlen(name);

	for (const char *p = status; *p != '\0'; p += strcspn(p, "\n"), p += *p == '\n') {
		if (strncmp(p, name, n) != 0 || p[n] != ':')
			continue;
		(void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(p + n + 1, "\n"), p + n + 1);
		return value + strspn(value, " \t");
	}
	return "(no such line)";
}

static size_t
children_of(pid_t parent, pid_t *out, size_t max)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		char text[4096];
		pid_t pid = (pid_t)atol(e->d_name);

		if (pid > 0 && read_proc(pid, "status", text, sizeof(text)) == 0 &&
		    atol(field(text, "PPid")) == parent && n < max)
			out[n++] = pid;
	}
	(void)closedir(d);
	return n;
}

static void
expect_zero_caps(const char *status, const char *which)
{
	const char *v = field(status, which);

	if (strspn(v, "0") != strlen(v) || *v == '\0')
		fail_msg("%s: %s", which, v);
}

/* Soft and hard limit, as /proc shows them. */
static void
expect_limit(const char *limits, const char *name, const char *value)
{
	char line[128];

	(void)snprintf(line, sizeof(line), "\n%-25s %-20s %-20s ", name, value, value);
	if (strstr(limits, line) == NULL)
		fail_msg("%s is not %s: %s", name, value, limits);
}

static void
check_status(pid_t pid, enum jail_kind kind, bool child)
{
	char status[4096], limits[4096], path[64], text[64];
	uid_t uid = geteuid() == 0 ? JAIL_NOBODY : geteuid();
	struct stat st;

	assert_int_equal(read_proc(pid, "status", status, sizeof(status)), 0);
	assert_string_equal(field(status, "Seccomp"), "2");
	assert_string_equal(field(status, "Seccomp_filters"), child ? "2" : "1");
	assert_string_equal(field(status, "NoNewPrivs"), "1");
	expect_zero_caps(status, "CapInh");
	expect_zero_caps(status, "CapPrm");
	expect_zero_caps(status, "CapEff");
	expect_zero_caps(status, "CapAmb");
	/* Without privilege the bounding set cannot be emptied. */
	if (kind != JAIL_USER)
		expect_zero_caps(status, "CapBnd");
	assert_int_not_equal(uid, 0);
	(void)snprintf(text, sizeof(text), "%lu\t%lu\t%lu\t%lu", (unsigned long)uid,
	    (unsigned long)uid, (unsigned long)uid, (unsigned long)uid);
	assert_string_equal(field(status, "Uid"), text);
	if (kind == JAIL_ROOT) {
		assert_string_equal(field(status, "Gid"), text);
		assert_null(strpbrk(field(status, "Groups"), "0123456789"));
	}
	/* Not dumpable: its files in /proc are root's, nobody else's debugger gets at it. */
	(void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);

	assert_int_equal(read_proc(pid, "limits", limits, sizeof(limits)), 0);
	expect_limit(limits, "Max core file size", "0");
	if (child) {
		expect_limit(limits, "Max file size", "0");
		expect_limit(limits, "Max processes", "0");
		expect_limit(limits, "Max open files", "5");
		expect_limit(limits, "Max locked memory", "0");
		expect_limit(limits, "Max cpu time", "30");
		assert_null(strstr(limits, "Max address space         unlimited"));
		assert_null(strstr(limits, "Max data size             unlimited"));
	}
}

/* Its descriptors: 0 to 3, and the pagemap's number, which is a worker's only. */
static void
check_descriptors(pid_t pid, bool *pagemap)
{
	char path[64], target[64];
	struct dirent *e;
	ssize_t n;
	DIR *d;
	unsigned seen = 0;

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			seen |= 1u << atoi(e->d_name);
	(void)closedir(d);
	assert_int_equal(seen, 0x1f);
	(void)snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)pid, JAIL_PAGEMAP);
	n = readlink(path, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = '\0';
	*pagemap = n > 8 && strcmp(target + n - 8, "/pagemap") == 0;
	/* (Without a mount above them the names begin there.) */
	if (!*pagemap && (n < 5 || strcmp(target + n - 5, "/null") != 0))
		fail_msg("descriptor %d is %s", JAIL_PAGEMAP, target);
}

/* Only root may look at these of a process that is not dumpable. */
static void
check_namespaces(pid_t pid)
{
	static const char *const names[] = { "pid", "net", "mnt", "ipc", "uts", "cgroup" };
	char path[64], mine[64], theirs[64], mounts[1024];
	struct dirent *e;
	ssize_t n;
	DIR *d;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		n = readlink(path, mine, sizeof(mine) - 1);
		assert_true(n > 0);
		mine[n] = '\0';
		(void)snprintf(path, sizeof(path), "/proc/%ld/ns/%s", (long)pid, names[i]);
		n = readlink(path, theirs, sizeof(theirs) - 1);
		assert_true(n > 0);
		theirs[n] = '\0';
		assert_string_not_equal(mine, theirs);
	}
	(void)snprintf(path, sizeof(path), "/proc/%ld/root/", (long)pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fail_msg("there is %s in the empty root", e->d_name);
	(void)closedir(d);
	(void)strncat(path, "x", sizeof(path) - strlen(path) - 1);
	assert_int_equal(mkdir(path, 0700), -1);
	assert_int_equal(errno, EROFS);
	/* One line, the only mount. */
	assert_int_equal(read_proc(pid, "mounts", mounts, sizeof(mounts)), 0);
	assert_memory_equal(mounts, "tana / tmpfs ro,", 16);
	assert_ptr_equal(strchr(mounts, '\n'), mounts + strlen(mounts) - 1);
}

static void
status_in(enum jail_kind kind, jail_body *body)
{
	struct jail j;
	pid_t children[8];
	size_t n, pagemaps = 0;
	bool has;

	need(kind);
	jail_begin(&j, kind, body);
	if (jail_hear(j.socket) != 0)
		fail_msg("no jail: %s", j.sh->why);
	n = children_of(j.sh->zygote, children, 8);
	assert_int_equal(n, 2);
	/* They enter on their own: done when they wait for the channel. */
	for (size_t i = 0; i < n; i++)
		for (int tries = 0; tries < 2000; tries++) {
			char text[4096];

			assert_int_equal(read_proc(children[i], "status", text, sizeof(text)), 0);
			if (strcmp(field(text, "Seccomp_filters"), "2") == 0)
				break;
			(void)poll(NULL, 0, 5);
		}
	check_status(j.sh->zygote, kind, false);
	if (geteuid() == 0 && kind != JAIL_USER)
		check_namespaces(j.sh->zygote);
	for (size_t i = 0; i < n; i++) {
		check_status(children[i], kind, true);
		if (geteuid() == 0 && kind != JAIL_USER)
			check_namespaces(children[i]);
		if (geteuid() == 0) {
			check_descriptors(children[i], &has);
			pagemaps += has;
		}
	}
	/* The builder has none. */
	if (geteuid() == 0)
		assert_int_equal(pagemaps, j.sh->result[0] == 0 ? 1 : 0);
	assert_int_equal(j.sh->layers, jail_layers(kind));
	assert_int_equal(j.sh->worker_layers, jail_layers(kind));
	assert_int_equal(jail_say(j.socket, 'e'), 0);
	expect_clean_end(&j);
}

static void
kernel_confirms_the_layers_that_root_gives(void **state)
{
	(void)state;
	status_in(JAIL_ROOT, quiet_body);
}

static void
kernel_confirms_the_layers_of_a_users_namespaces(void **state)
{
	(void)state;
	status_in(JAIL_USERNS, quiet_body);
}

static void
kernel_confirms_the_layers_without_namespaces(void **state)
{
	(void)state;
	status_in(JAIL_USER, quiet_body);
}

/* Whatever a child did before, it is not dumpable once it is in. */
static void
kernel_confirms_the_layers_of_workers_that_left_themselves_dumpable(void **state)
{
	(void)state;
	status_in(any_kind(), careless_body);
}

/* ---- all system calls ---- */

#ifdef __x86_64__

#define SWEEP_MAX	600	/* beyond the highest number that there is */
#define X32_BIT		0x40000000

enum abi { ABI_X86_64, ABI_X32, ABI_I386 };
struct sweep {
	enum abi	abi;
	int		nr;
	const struct oracle_call *call;	/* NULL: arguments are 0 */
};

static long
call_x86_64(long nr, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3];
	register uint64_t r8 __asm__("r8") = a[4];
	register uint64_t r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10),
	    "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}

static long
call_i386(long nr)
{
	long ret;

	/* Below the red zone: the compiler may keep something there. */
	__asm__ volatile("sub $128, %%rsp; push %%rbp; xor %%ebp, %%ebp; int $0x80; pop %%rbp;"
	    "add $128, %%rsp" : "=a"(ret) : "a"(nr), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L)
	    : "r8", "r9", "r10", "r11", "cc", "memory");
	return ret;
}

/* Does this kernel run 32-bit calls at all?  One without faults. */
static bool
has_i386(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(call_i386(20 /* getpid */) == getpid() ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

/* rt_sigreturn takes its frame from the stack: one of zeros. */
static void
call_sigreturn(void)
{
	static char frame[4096] __attribute__((aligned(64)));

	__asm__ volatile("mov %0, %%rsp; syscall" :: "r"(frame + 1024), "a"(SYS_rt_sigreturn)
	    : "rcx", "r11", "memory");
}

static int
sweep_worker(struct jail_inside *in, void *arg)
{
	static const uint64_t zeros[6];
	const struct sweep *s = arg;

	(void)in;
	switch (s->abi) {
	case ABI_X86_64:
		if (s->nr == SYS_rt_sigreturn)
			call_sigreturn();
		(void)call_x86_64(s->nr, s->call != NULL ? s->call->args : zeros);
		break;
	case ABI_X32:
		(void)call_x86_64(s->nr | X32_BIT, s->call != NULL ? s->call->args : zeros);
		break;
	case ABI_I386:
		(void)call_i386(s->nr);
		break;
	}
	return SURVIVED;
}

static const enum oracle_way ways[] = {
	[TN_RESTORE_DROP] = ORACLE_DROP,
	[TN_RESTORE_PAGEMAP] = ORACLE_READ,
	[TN_RESTORE_SCAN] = ORACLE_SCAN,
};

static const struct oracle_call *
example_of(enum oracle_filter f, enum tn_restore how, int nr)
{
	const struct oracle_call *e;
	size_t n;

	e = oracle_examples(f, ways[how], &n);
	for (size_t i = 0; i < n; i++)
		if (e[i].nr == nr)
			return &e[i];
	return NULL;
}

static const int odd_numbers[] = { 1023, 1024, 4095, 0x10000, 0x3fffffff, 0x7ffffffe, INT32_MAX,
    -1, -2, INT32_MIN };
#define NODD	(sizeof(odd_numbers) / sizeof(odd_numbers[0]))

static int
sweep_one(struct jail_inside *in, enum pol_role role, struct sweep *s, const int channel[2])
{
	int status;
	pid_t pid = jail_worker(in, role, sweep_worker, s, channel);

	if (pid < 0 || waitpid(pid, &status, 0) != pid || in->sh->worker_rc != 0) {
		jail_why(in->sh, "call %d: no worker", s->nr);
		return -1;
	}
	return status;
}

/* result[(abi * (SWEEP_MAX + NODD)) + i]: the wait status for each number. */
static int
sweep(struct jail_inside *in, enum pol_role role)
{
	struct sweep s = { .abi = ABI_X86_64 };
	enum oracle_filter f = role == POL_BUILDER ? ORACLE_BUILDER : ORACLE_WORKER;
	enum tn_restore how = in->config.params.restore;
	int channel[2], *result = in->sh->result;

	if (make_channel(channel) != 0 || jail_enter(in) != 0)
		return 1;
	/* Nobody at the other end: receiving and sending return at once. */
	(void)close(channel[0]);
	for (int abi = 0; abi <= ABI_I386; abi++) {
		s.abi = (enum abi)abi;
		for (int i = 0; i < SWEEP_MAX + (int)NODD; i++) {
			s.nr = i < SWEEP_MAX ? i : odd_numbers[i - SWEEP_MAX];
			s.call = example_of(f, how, s.nr);
			*result = sweep_one(in, role, &s, channel);
			if (*result++ == -1)
				return 2;
		}
		if (role == POL_BUILDER || how != TN_RESTORE_SCAN)
			break;
	}
	return 0;
}

static int
sweep_body_worker(struct jail_inside *in)
{
	return sweep(in, POL_WORKER);
}

static int
sweep_body_builder(struct jail_inside *in)
{
	return sweep(in, POL_BUILDER);
}

static bool
killed_by(int status, int sig)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

static void
check_sweep(const int *result, enum abi abi, enum oracle_filter f, enum tn_restore how)
{
	static const char *const names[] = { "x86-64", "x32", "i386" };
	bool has32 = has_i386();

	for (int i = 0; i < SWEEP_MAX + (int)NODD; i++) {
		int nr = i < SWEEP_MAX ? i : odd_numbers[i - SWEEP_MAX];
		int status = result[i];

		/* uretprobe and uprobe: newer kernels decide on them before any filter. */
		if (abi == ABI_X86_64 && (nr == 335 || nr == 336))
			continue;
		if (abi == ABI_X86_64 && example_of(f, how, nr) != NULL) {
			bool fine;

			switch (nr) {
			case SYS_exit_group:
				fine = WIFEXITED(status) && WEXITSTATUS(status) == 7;
				break;
			case SYS_rt_sigreturn:
				fine = killed_by(status, SIGSEGV);
				break;
			default:
				fine = WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED;
			}
			if (!fine)
				fail_msg("call %d is on the list, but ended with status %#x", nr,
				    (unsigned)status);
		} else if (!killed_by(status, abi == ABI_I386 && !has32 ? SIGSEGV : SIGSYS))
			fail_msg("%s call %d is not on the list, but ended with status %#x",
			    names[abi], nr, (unsigned)status);
	}
}

static void
workers_survive_the_listed_calls_only_in_all_three_abis(void **state)
{
	struct jail j;
	enum jail_kind kind = any_kind();
	int status;

	(void)state;
	need(kind);
	jail_begin(&j, kind, sweep_body_worker);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("the sweep ended with status %#x: %s", (unsigned)status, j.sh->why);
	for (int abi = 0, at = 0; abi <= ABI_I386; abi++, at += SWEEP_MAX + (int)NODD)
		check_sweep(j.sh->result + at, (enum abi)abi, ORACLE_WORKER, TN_RESTORE_SCAN);
	(void)munmap(j.sh, sizeof(*j.sh));
}

static void
workers_that_restore_otherwise_survive_their_calls_only(void **state)
{
	struct jail j;
	enum jail_kind kind = any_kind();
	int status;

	(void)state;
	need(kind);
	for (int how = TN_RESTORE_DROP; how < TN_RESTORE_SCAN; how++) {
		jail_begin_with(&j, kind, (enum tn_restore)how, sweep_body_worker);
		status = jail_end(&j);
		if (status != 0)
			fail_msg("the sweep ended with status %#x: %s", (unsigned)status, j.sh->why);
		check_sweep(j.sh->result, ABI_X86_64, ORACLE_WORKER, (enum tn_restore)how);
		(void)munmap(j.sh, sizeof(*j.sh));
	}
}

static void
builders_survive_the_listed_calls_only(void **state)
{
	struct jail j;
	enum jail_kind kind = any_kind();
	int status;

	(void)state;
	need(kind);
	jail_begin(&j, kind, sweep_body_builder);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("the sweep ended with status %#x: %s", (unsigned)status, j.sh->why);
	check_sweep(j.sh->result, ABI_X86_64, ORACLE_BUILDER, TN_RESTORE_SCAN);
	(void)munmap(j.sh, sizeof(*j.sh));
}

#endif /* __x86_64__ */

/* ---- attacks ---- */

static pid_t victim;		/* a sibling */
static char page[4096];
static struct sockaddr_un nowhere = { .sun_family = AF_UNIX, .sun_path = "x" };

static long
smuggle(void)
{
	return send_descriptor(JAIL_CHANNEL, 0);
}

static long
receive_with(int fd, int flags)
{
	struct iovec iov = { page, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(fd, &m, flags);
}

static long
peek_at_sibling(void)
{
	struct iovec here = { page, 8 }, there = { ARENA, 8 };

	return process_vm_readv(victim, &here, 1, &there, 1, 0);
}

static long
poke_at_sibling(void)
{
	struct iovec here = { page, 8 }, there = { ARENA, 8 };

	return process_vm_writev(victim, &here, 1, &there, 1, 0);
}

static long
catch_sigsys(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_IGN;
	return sigaction(SIGSYS, &sa, NULL);
}

static long
open_the_filter(void)
{
	struct { uint16_t n; void *p; } prog = { 0, NULL };

	return syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 8 /* NEW_LISTENER */, &prog);
}

static long
map_shadow(char *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	return (long)mmap(at, size, prot, flags, fd, offset);
}

#define SYS(...)	syscall(__VA_ARGS__)

/* name, what is tried: each alone, in a fresh worker; all end with SIGSYS. */
#define ATTACKS(X)								\
	X(open_file, SYS(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY))	\
	X(open_memory, SYS(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR))	\
	X(openat2, SYS(SYS_openat2, AT_FDCWD, "/", page, 24))			\
	X(stat, SYS(SYS_newfstatat, AT_FDCWD, "/", page, 0))			\
	X(statx, SYS(SYS_statx, AT_FDCWD, "/", 0, 0, page))			\
	X(read_channel, read(JAIL_CHANNEL, page, 1))				\
	X(write_channel, write(JAIL_CHANNEL, page, 1))				\
	X(write_log, write(2, page, 1))						\
	X(writev_log, SYS(SYS_writev, 2, page, 1))				\
	X(pread_next, pread(JAIL_NEXT, page, 1, 0))				\
	X(pwrite_next, pwrite(JAIL_NEXT, page, 1, 0))				\
	X(truncate_next, ftruncate(JAIL_NEXT, 0))				\
	X(seal_next, fcntl(JAIL_NEXT, F_ADD_SEALS, F_SEAL_GROW))		\
	X(dup_channel, dup(JAIL_CHANNEL))					\
	X(dup3_channel, dup3(JAIL_CHANNEL, JAIL_NEXT, 0))			\
	X(close_channel, close(JAIL_CHANNEL))					\
	X(close_next, close(JAIL_NEXT))						\
	X(close_stderr, close(2))						\
	X(close_all, (long)close_range(0, ~0u, 0))				\
	X(unblock_channel, fcntl(JAIL_CHANNEL, F_SETFL, O_NONBLOCK))		\
	X(ioctl_channel, ioctl(JAIL_CHANNEL, FIONREAD, page))			\
	X(getdents, SYS(SYS_getdents64, 0, page, sizeof(page)))			\
	X(memfd, memfd_create("x", 0))						\
	X(pipe, SYS(SYS_pipe2, page, 0))					\
	X(socket_unix, socket(AF_UNIX, SOCK_STREAM, 0))				\
	X(socket_inet, socket(AF_INET, SOCK_STREAM, 0))				\
	X(socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)(void *)page))	\
	X(connect, connect(JAIL_CHANNEL, (void *)&nowhere, sizeof(nowhere)))	\
	X(bind, bind(JAIL_CHANNEL, (void *)&nowhere, sizeof(nowhere)))		\
	X(listen, listen(JAIL_CHANNEL, 1))					\
	X(shutdown, shutdown(JAIL_CHANNEL, SHUT_RDWR))				\
	X(getpeername, SYS(SYS_getpeername, JAIL_CHANNEL, page, page + 128))	\
	X(getsockopt, SYS(SYS_getsockopt, JAIL_CHANNEL, SOL_SOCKET, SO_PEERCRED, page,	\
	    page + 128))							\
	X(setsockopt, setsockopt(JAIL_CHANNEL, SOL_SOCKET, SO_SNDBUF, page, 4))	\
	X(smuggle_descriptor, smuggle())					\
	X(sendmmsg, SYS(SYS_sendmmsg, JAIL_CHANNEL, page, 1, MSG_NOSIGNAL))	\
	X(send_elsewhere, sendto(JAIL_CHANNEL, page, 1, MSG_NOSIGNAL, (void *)&nowhere, \
	    sizeof(nowhere)))							\
	X(send_out_of_band, sendto(JAIL_CHANNEL, page, 1, MSG_NOSIGNAL | MSG_OOB, NULL, 0)) \
	X(send_with_signal, sendto(JAIL_CHANNEL, page, 1, 0, NULL, 0))		\
	X(send_by_next, sendto(JAIL_NEXT, page, 1, MSG_NOSIGNAL, NULL, 0))	\
	X(send_too_much, sendto(JAIL_CHANNEL, page, ORACLE_SEND_MAX + 1, MSG_NOSIGNAL, NULL, 0)) \
	X(send_wrapped, sendto(JAIL_CHANNEL, page, (size_t)1 << 32, MSG_NOSIGNAL, NULL, 0)) \
	X(receive_from_stdin, recv(0, page, 1, 0))				\
	X(receive_peek, recv(JAIL_CHANNEL, page, 1, MSG_PEEK))			\
	X(receive_waiting, recv(JAIL_CHANNEL, page, 1, MSG_WAITALL))		\
	X(receive_with_address, SYS(SYS_recvfrom, JAIL_CHANNEL, page, 1, 0, page + 64, page)) \
	X(receive_descriptor, receive_with(JAIL_CHANNEL, MSG_CMSG_CLOEXEC))	\
	X(receive_message, receive_with(JAIL_CHANNEL, 0))			\
	X(recvmmsg, SYS(SYS_recvmmsg, JAIL_CHANNEL, page, 1, 0, NULL))		\
	X(execve, SYS(SYS_execve, "/bin/sh", NULL, NULL))			\
	X(execveat_next, SYS(SYS_execveat, JAIL_NEXT, "", NULL, NULL, AT_EMPTY_PATH)) \
	X(fork, SYS(SYS_clone, SIGCHLD, 0, 0, 0, 0))				\
	X(thread, SYS(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, page, 0, 0, 0)) \
	X(clone3, SYS(SYS_clone3, page, 88))					\
	X(unshare, unshare(CLONE_NEWUSER))					\
	X(setns, setns(JAIL_NEXT, 0))						\
	X(exit_thread, SYS(SYS_exit, 0))					\
	X(ptrace_sibling, ptrace(PTRACE_ATTACH, victim, NULL, NULL))		\
	X(ptrace_me, ptrace(PTRACE_TRACEME, 0, NULL, NULL))			\
	X(peek_sibling, peek_at_sibling())					\
	X(poke_sibling, poke_at_sibling())					\
	X(kill_sibling, kill(victim, SIGKILL))					\
	X(kill_parent, kill(getppid(), SIGKILL))				\
	X(kill_all, kill(-1, SIGKILL))						\
	X(tgkill_sibling, SYS(SYS_tgkill, victim, victim, SIGKILL))		\
	X(pidfd_open, SYS(SYS_pidfd_open, victim, 0))				\
	X(pidfd_getfd, SYS(SYS_pidfd_getfd, JAIL_NEXT, 3, 0))			\
	X(pidfd_signal, SYS(SYS_pidfd_send_signal, JAIL_NEXT, SIGKILL, NULL, 0)) \
	X(limit_sibling, prlimit(victim, RLIMIT_CPU, NULL, (void *)page))	\
	X(lift_limits, SYS(SYS_prlimit64, 0, RLIMIT_NOFILE, page, NULL))	\
	X(schedule_sibling, SYS(SYS_sched_setscheduler, victim, 0, page))	\
	X(niceness, SYS(SYS_setpriority, 0, 0, -20))				\
	X(memory_executable, SYS(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC)) \
	X(arena_executable, mprotect(ARENA, ORACLE_ARENA_SIZE, PROT_READ | PROT_EXEC)) \
	X(pkey_mprotect, SYS(SYS_pkey_mprotect, ARENA, 4096, PROT_EXEC, -1))	\
	X(map_executable, (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC,		\
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))				\
	X(map_memory, (long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) \
	X(map_base_again, (long)mmap(ARENA, ORACLE_ARENA_SIZE,			\
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_shadow_again, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))			\
	X(map_next_executable, (long)mmap(ARENA, ORACLE_ARENA_SIZE,		\
	    PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_next_shared, (long)mmap(ARENA, ORACLE_ARENA_SIZE,		\
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_next_in_the_middle, (long)mmap(ARENA + ORACLE_ARENA_SIZE / 2, ORACLE_ARENA_SIZE, \
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_next_short, (long)mmap(ARENA, 4096,				\
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_shadow_writable, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_shadow_executable, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))	\
	X(map_shadow_shared, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ, MAP_SHARED | MAP_FIXED, JAIL_NEXT, 0))			\
	X(map_shadow_anonymous, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0))		\
	X(map_shadow_elsewhere, map_shadow(SHADOW + ORACLE_ARENA_SIZE, ORACLE_ARENA_SIZE, \
	    PROT_READ, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))			\
	X(map_shadow_on_the_arena, map_shadow(ARENA, ORACLE_ARENA_SIZE,		\
	    PROT_READ, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))			\
	X(map_shadow_too_far, map_shadow(SHADOW, 2 * ORACLE_ARENA_SIZE,		\
	    PROT_READ, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))			\
	X(map_shadow_from_within, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 4096))		\
	X(map_pagemap, map_shadow(SHADOW, ORACLE_ARENA_SIZE,			\
	    PROT_READ, MAP_PRIVATE | MAP_FIXED, JAIL_PAGEMAP, 0))		\
	X(protect_shadow, mprotect(SHADOW, ORACLE_ARENA_SIZE, PROT_READ | PROT_WRITE)) \
	X(drop_shadow, madvise(SHADOW, ORACLE_ARENA_SIZE, MADV_DONTNEED))	\
	X(unmap_shadow, munmap(SHADOW, ORACLE_ARENA_SIZE))			\
	X(pagemap_other_request, ioctl(JAIL_PAGEMAP, FIONREAD, page))		\
	X(pagemap_next_request, ioctl(JAIL_PAGEMAP, ORACLE_ASK + 1, page))	\
	X(pagemap_larger_request, ioctl(JAIL_PAGEMAP, ORACLE_ASK + (8 << 16), page)) \
	X(pagemap_cloexec, ioctl(JAIL_PAGEMAP, FIOCLEX, page))			\
	X(scan_by_next, ioctl(JAIL_NEXT, ORACLE_ASK, page))			\
	X(scan_by_channel, ioctl(JAIL_CHANNEL, ORACLE_ASK, page))		\
	X(read_pagemap, read(JAIL_PAGEMAP, page, 8))				\
	X(pread_pagemap_in_mode_scan, pread(JAIL_PAGEMAP, page, 8, 0))		\
	X(preadv_pagemap, SYS(SYS_preadv, JAIL_PAGEMAP, page, 1, 0, 0))		\
	X(seek_pagemap, lseek(JAIL_PAGEMAP, 0, SEEK_SET))			\
	X(write_pagemap, pwrite(JAIL_PAGEMAP, page, 8, 0))			\
	X(close_pagemap, close(JAIL_PAGEMAP))					\
	X(replace_pagemap, dup2(JAIL_NEXT, JAIL_PAGEMAP))			\
	X(another_pagemap, SYS(SYS_openat, ORACLE_PROC, "self/pagemap", O_RDONLY | O_CLOEXEC)) \
	X(open_beneath_pagemap, SYS(SYS_openat, JAIL_PAGEMAP, "", O_RDONLY | O_CLOEXEC)) \
	X(usage_of_children, SYS(SYS_getrusage, RUSAGE_CHILDREN, page))		\
	X(usage_of_process, SYS(SYS_getrusage, RUSAGE_SELF, page))		\
	X(map_channel, (long)mmap(ARENA, ORACLE_ARENA_SIZE,			\
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, JAIL_CHANNEL, 0))	\
	X(unmap_arena, munmap(ARENA, ORACLE_ARENA_SIZE))			\
	X(move_arena, SYS(SYS_mremap, ARENA, 4096, 8192, MREMAP_MAYMOVE, 0))	\
	X(remap_pages, SYS(SYS_remap_file_pages, ARENA, 4096, 0, 1, 0))		\
	X(advise_elsewhere, madvise(page, 4096, MADV_DONTNEED))			\
	X(advise_otherwise, madvise(ARENA, ORACLE_ARENA_SIZE, MADV_HUGEPAGE))	\
	X(advise_sibling, SYS(SYS_process_madvise, JAIL_NEXT, page, 1, MADV_COLD, 0)) \
	X(break, SYS(SYS_brk, 0))						\
	X(lock_memory, mlock(page, 4096))					\
	X(shm, SYS(SYS_shmget, 0, 4096, 0600))					\
	X(userfaultfd, SYS(SYS_userfaultfd, 1))					\
	X(io_uring, SYS(SYS_io_uring_setup, 1, page))				\
	X(bpf, SYS(SYS_bpf, 0, page, 48))					\
	X(perf, SYS(SYS_perf_event_open, page, 0, -1, -1, 0))			\
	X(keyctl, SYS(SYS_keyctl, 0, 0))					\
	X(add_key, SYS(SYS_add_key, "user", "x", page, 1, -1))			\
	X(mount, SYS(SYS_mount, "none", "/", "tmpfs", 0, NULL))			\
	X(open_tree, SYS(SYS_open_tree, AT_FDCWD, "/", 1))			\
	X(chroot, SYS(SYS_chroot, "/"))						\
	X(setuid, SYS(SYS_setresuid, 0, 0, 0))					\
	X(capset, SYS(SYS_capset, page, page))					\
	X(dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))				\
	X(name, prctl(PR_SET_NAME, "tana-edge", 0, 0, 0))			\
	X(outlive_the_parent, prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))		\
	X(another_filter, open_the_filter())					\
	X(ignore_sigsys, catch_sigsys())					\
	X(block_signals, SYS(SYS_rt_sigprocmask, SIG_BLOCK, page, NULL, 8))	\
	X(signal_stack, SYS(SYS_sigaltstack, page, NULL))			\
	X(sleep, SYS(SYS_nanosleep, page, NULL))				\
	X(futex, SYS(SYS_futex, page, 0, 0, NULL, NULL, 0))			\
	X(poll_nothing, SYS(SYS_ppoll, NULL, 0, NULL, NULL, 0))			\
	X(poll_for_a_while, SYS(SYS_ppoll, page, 1, page, NULL, 8))		\
	X(poll_with_signals, SYS(SYS_ppoll, page, 1, NULL, page, 8))		\
	X(cpu_clock, SYS(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, page))	\
	X(clock_of_sibling, SYS(SYS_clock_gettime, ~victim << 3 | 2, page))	\
	X(set_clock, SYS(SYS_clock_settime, 0, page))				\
	X(timer, SYS(SYS_timer_create, 0, NULL, page))				\
	X(random, SYS(SYS_getrandom, page, 1, 0))				\
	X(getpid, SYS(SYS_getpid))						\
	X(getuid, SYS(SYS_getuid))						\
	X(uname, SYS(SYS_uname, page))						\
	X(sysinfo, SYS(SYS_sysinfo, page))					\
	X(personality, SYS(SYS_personality, 0x400000))				\
	X(syslog, SYS(SYS_syslog, 3, page, 16))					\
	X(reboot, SYS(SYS_reboot, 0, 0, 0, NULL))				\
	X(load_module, SYS(SYS_finit_module, JAIL_NEXT, "", 0))		\
	X(no_such_call, SYS(511))						\
	X(abort, (abort(), 0L))

/* The same for workers that read their pagemap, and for those that only drop. */
#define READER_ATTACKS(X)							\
	X(r_scan, ioctl(JAIL_PAGEMAP, ORACLE_ASK, page))			\
	X(r_pread_next, pread(JAIL_NEXT, page, 8, 0))				\
	X(r_pread_channel, pread(JAIL_CHANNEL, page, 8, 0))			\
	X(r_pread_null, pread(0, page, 8, 0))					\
	X(r_read, read(JAIL_PAGEMAP, page, 8))					\
	X(r_shadow_writable, map_shadow(SHADOW, ORACLE_ARENA_SIZE,		\
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))
#define DROPPER_ATTACKS(X)							\
	X(d_scan, ioctl(JAIL_PAGEMAP, ORACLE_ASK, page))			\
	X(d_pread, pread(JAIL_PAGEMAP, page, 8, 0))				\
	X(d_usage, SYS(SYS_getrusage, RUSAGE_THREAD, page))		\
	X(d_shadow, map_shadow(SHADOW, ORACLE_ARENA_SIZE, PROT_READ,		\
	    MAP_PRIVATE | MAP_FIXED, JAIL_NEXT, 0))

#define FUNCTION_OF(name, ...)							\
	static long								\
	attack_##name(void)							\
	{									\
		return (__VA_ARGS__);						\
	}
ATTACKS(FUNCTION_OF)
READER_ATTACKS(FUNCTION_OF)
DROPPER_ATTACKS(FUNCTION_OF)

struct attack {
	const char	*name;
	long		(*try)(void);
};
struct attacks {
	const struct attack	*a;
	size_t			 n;
};

#define ATTACK_OF(name, ...)	{ #name, attack_##name },
#define LIST(list)								\
	{ (const struct attack[]){ list(ATTACK_OF) },				\
	    sizeof((const struct attack[]){ list(ATTACK_OF) }) / sizeof(struct attack) }

/* By how the worker restores. */
static const struct attacks worker_attacks[] = {
	[TN_RESTORE_DROP] = LIST(DROPPER_ATTACKS),
	[TN_RESTORE_PAGEMAP] = LIST(READER_ATTACKS),
	[TN_RESTORE_SCAN] = LIST(ATTACKS),
};

static int
attacker(struct jail_inside *in, void *arg)
{
	const struct attack *a = arg;

	(void)in;
	/* With a byte comes a descriptor, which it cannot take. */
	if (jail_hear(JAIL_CHANNEL) != 0)
		return 98;
	(void)a->try();
	return SURVIVED;
}

static int
attack_body(struct jail_inside *in)
{
	const struct attacks *list = &worker_attacks[in->config.params.restore];
	int channel[2], victims[2], status;
	size_t i;
	pid_t pid;

	if (make_channel(channel) != 0 || make_channel(victims) != 0 || jail_enter(in) != 0)
		return 1;
	victim = jail_worker(in, POL_WORKER, wait_for_the_end, NULL, victims);
	for (i = 0; i < list->n; i++) {
		struct attack a = list->a[i];

		pid = jail_worker(in, POL_WORKER, attacker, &a, channel);
		if (pid < 0 || send_descriptor(channel[0], in->base) != 0 ||
		    waitpid(pid, &in->sh->result[i], 0) != pid || in->sh->worker_rc != 0) {
			jail_why(in->sh, "%s: no worker", a.name);
			return 2;
		}
	}
	if (waitpid(victim, &status, WNOHANG) != 0) {
		jail_why(in->sh, "the sibling did not survive: wait status %#x", (unsigned)status);
		return 3;
	}
	(void)kill(victim, SIGKILL);
	(void)waitpid(victim, &status, 0);
	return 0;
}

static void
attacks_in(enum jail_kind kind, enum tn_restore how)
{
	const struct attacks *list = &worker_attacks[how];
	struct jail j;
	int status, bad = 0;

	need(kind);
	jail_begin_with(&j, kind, how, attack_body);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("status %#x: %s", (unsigned)status, j.sh->why);
	for (size_t i = 0; i < list->n; i++)
		if (!WIFSIGNALED(j.sh->result[i]) || WTERMSIG(j.sh->result[i]) != SIGSYS) {
			print_error("%s ended with status %#x\n", list->a[i].name,
			    (unsigned)j.sh->result[i]);
			bad++;
		}
	assert_int_equal(bad, 0);
	(void)munmap(j.sh, sizeof(*j.sh));
}

static void
attacks_on_a_full_sandbox_are_fatal(void **state)
{
	(void)state;
	attacks_in(any_kind(), TN_RESTORE_SCAN);
}

static void
attacks_on_a_sandbox_without_namespaces_are_fatal(void **state)
{
	(void)state;
	attacks_in(JAIL_USER, TN_RESTORE_SCAN);
}

static void
attacks_with_what_another_way_to_restore_has_are_fatal(void **state)
{
	(void)state;
	attacks_in(any_kind(), TN_RESTORE_PAGEMAP);
	attacks_in(any_kind(), TN_RESTORE_DROP);
}

/* A zygote that was taken over: it can fork and signal, but reach nothing. */
#define ZYGOTE_ATTACKS(X)							\
	X(z_openat, SYS(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY))		\
	X(z_execve, SYS(SYS_execve, "/bin/sh", NULL, NULL))			\
	X(z_socket, socket(AF_UNIX, SOCK_STREAM, 0))				\
	X(z_connect, connect(3, (void *)&nowhere, sizeof(nowhere)))		\
	X(z_ptrace, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL))		\
	X(z_peek, peek_at_sibling())						\
	X(z_kill_all, kill(-1, SIGKILL))					\
	X(z_kill_group, kill(-getppid(), SIGKILL))				\
	X(z_limits_of_others, prlimit(getppid(), RLIMIT_CPU, NULL, (void *)page)) \
	X(z_exec_memory, (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC,		\
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))				\
	X(z_mprotect, mprotect(ARENA, 4096, PROT_READ | PROT_EXEC))		\
	X(z_memfd, memfd_create("x", 0))					\
	X(z_new_namespace, SYS(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0))	\
	X(z_clone3, SYS(SYS_clone3, page, 88))					\
	X(z_unshare, unshare(CLONE_NEWUSER))					\
	X(z_setuid, SYS(SYS_setresuid, 0, 0, 0))				\
	X(z_mount, SYS(SYS_mount, "none", "/", "tmpfs", 0, NULL))		\
	X(z_dumpable, prctl(PR_SET_DUMPABLE, 2, 0, 0, 0))			\
	X(z_open_proc_to_write, SYS(SYS_openat, ORACLE_PROC, "self/mem", O_RDWR | O_CLOEXEC)) \
	X(z_open_proc_to_keep, SYS(SYS_openat, ORACLE_PROC, "self/status", O_RDONLY)) \
	X(z_open_proc_as_path, SYS(SYS_openat, ORACLE_PROC, "self", O_PATH | O_CLOEXEC)) \
	X(z_open_otherwise, SYS(SYS_openat, AT_FDCWD, "/proc/self/pagemap",	\
	    O_RDONLY | O_CLOEXEC))						\
	X(z_openat2, SYS(SYS_openat2, ORACLE_PROC, "self/pagemap", page, 24))	\
	X(z_open, SYS(SYS_open, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC))	\
	X(z_read_pagemap, read(JAIL_PAGEMAP, page, 8))				\
	X(z_pread_next, pread(JAIL_NEXT, page, 8, 0))				\
	X(z_ioctl, ioctl(JAIL_PAGEMAP, FIONREAD, page))				\
	X(z_thp, prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0))				\
	X(z_usage_of_children, SYS(SYS_getrusage, RUSAGE_CHILDREN, page))	\
	X(z_io_uring, SYS(SYS_io_uring_setup, 1, page))				\
	X(z_bpf, SYS(SYS_bpf, 0, page, 48))					\
	X(z_keyctl, SYS(SYS_keyctl, 0, 0))

/* And where workers drop. */
#define DROPPING_ZYGOTE_ATTACKS(X)						\
	X(zd_dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))			\
	X(zd_open_proc, SYS(SYS_openat, ORACLE_PROC, "self/pagemap", O_RDONLY | O_CLOEXEC)) \
	X(zd_pread, pread(JAIL_PAGEMAP, page, 8, 0))				\
	X(zd_scan, ioctl(JAIL_PAGEMAP, ORACLE_ASK, page))			\
	X(zd_usage, SYS(SYS_getrusage, RUSAGE_THREAD, page))

ZYGOTE_ATTACKS(FUNCTION_OF)
DROPPING_ZYGOTE_ATTACKS(FUNCTION_OF)
static const struct attacks zygote_attacks[] = {
	[TN_RESTORE_DROP] = LIST(DROPPING_ZYGOTE_ATTACKS),
	[TN_RESTORE_SCAN] = LIST(ZYGOTE_ATTACKS),
};

static int
zygote_attack_body(struct jail_inside *in)
{
	const struct attacks *list = &zygote_attacks[in->config.params.restore];
	int status;

	if (jail_enter(in) != 0)
		return 1;
	victim = getpid();
	for (size_t i = 0; i < list->n; i++) {
		pid_t pid = fork();	/* under the zygote's filter alone */

		if (pid == 0) {
			(void)list->a[i].try();
			_exit(SURVIVED);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 2;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			jail_why(in->sh, "%s ended with status %#x", list->a[i].name,
			    (unsigned)status);
	}
	return 0;
}

static void
attacks_from_the_zygote_are_fatal(void **state)
{
	struct jail j;

	(void)state;
	need(JAIL_USER);
	jail_begin_with(&j, JAIL_USER, TN_RESTORE_SCAN, zygote_attack_body);
	expect_clean_end(&j);
	jail_begin_with(&j, JAIL_USER, TN_RESTORE_DROP, zygote_attack_body);
	expect_clean_end(&j);
}

/* The filter does not see the path; what does must bound it. */
static int
zygote_open_body(struct jail_inside *in)
{
	static const char *const refused[] = {
		"/etc/passwd", "/proc/self/pagemap", "/dev/null", "/", "..", "../etc/passwd",
		"../../../etc/passwd", "self/root/etc/passwd", "self/cwd/etc/passwd",
		"1/root/etc/passwd", "self/fd/../root/etc/passwd", "self/mem", "1/mem", "1/environ"
	};
	int fd;

	if (jail_enter(in) != 0)
		return 1;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		fd = openat(ORACLE_PROC, refused[i], O_RDONLY | O_CLOEXEC);
		/* (The empty root is a directory with nothing in it; without Landlock it opens.) */
		if (fd >= 0 && ((in->sh->layers & TN_LAYER_LANDLOCK) != 0 ||
		    (strcmp(refused[i], "/") != 0 && strcmp(refused[i], "..") != 0)))
			jail_why(in->sh, "%s opens", refused[i]);
	}
	/* While it is not dumpable its own are not its own. */
	if (openat(ORACLE_PROC, "self/pagemap", O_RDONLY | O_CLOEXEC) >= 0)
		jail_why(in->sh, "self/pagemap opens");
	return 0;
}

static void
zygote_opens_nothing_outside_proc(void **state)
{
	struct jail j;

	(void)state;
	need(JAIL_USER);
	for (int k = 0; k < JAIL_KINDS; k++) {
		enum jail_kind kind = (enum jail_kind)k;

		/* Else the filter refuses: test_pol_layers.c. */
		if (jail_impossible(kind) != NULL ||
		    (jail_layers(kind) & (TN_LAYER_LANDLOCK | TN_LAYER_MOUNTNS)) == 0)
			continue;
		jail_begin(&j, kind, zygote_open_body);
		expect_clean_end(&j);
	}
}

/* A builder has nothing to map or to drop. */
static int
drop_arena(struct jail_inside *in, void *arg)
{
	(void)in;
	(void)arg;
	return madvise(ARENA, ORACLE_ARENA_SIZE, MADV_DONTNEED) == 0 ? SURVIVED : 1;
}

static int
builder_body(struct jail_inside *in)
{
	int channel[2];
	pid_t pid;

	if (make_channel(channel) != 0 || jail_enter(in) != 0)
		return 1;
	pid = jail_worker(in, POL_WORKER, drop_arena, NULL, channel);
	if (waitpid(pid, &in->sh->result[0], 0) != pid)
		return 2;
	pid = jail_worker(in, POL_BUILDER, drop_arena, NULL, channel);
	return waitpid(pid, &in->sh->result[1], 0) == pid ? 0 : 3;
}

static void
builder_may_less_than_a_worker(void **state)
{
	struct jail j;
	int status;

	(void)state;
	need(JAIL_USER);
	jail_begin(&j, JAIL_USER, builder_body);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("status %#x: %s", (unsigned)status, j.sh->why);
	assert_true(WIFEXITED(j.sh->result[0]));
	assert_int_equal(WEXITSTATUS(j.sh->result[0]), SURVIVED);
	assert_true(WIFSIGNALED(j.sh->result[1]));
	assert_int_equal(WTERMSIG(j.sh->result[1]), SIGSYS);
	(void)munmap(j.sh, sizeof(*j.sh));
}

/* The zygote dies, by whatever: no worker is left behind. */
static int
orphans_body(struct jail_inside *in)
{
	int channel[2];

	if (make_channel(channel) != 0 || jail_enter(in) != 0)
		return 1;
	if (jail_worker(in, POL_WORKER, wait_for_the_end, NULL, channel) < 0 ||
	    jail_say(in->socket, 'r') != 0)
		return 2;
	(void)jail_hear(in->socket);
	return 0;		/* and the worker is still there */
}

static void
workers_die_with_their_zygote(void **state)
{
	struct jail j;
	pid_t w[2];
	char text[4096];

	(void)state;
	need(JAIL_USER);
	jail_begin(&j, JAIL_USER, orphans_body);
	assert_int_equal(jail_hear(j.socket), 0);
	assert_int_equal(children_of(j.sh->zygote, w, 2), 1);
	for (;;) {
		assert_int_equal(read_proc(w[0], "status", text, sizeof(text)), 0);
		if (strcmp(field(text, "Seccomp_filters"), "2") == 0)
			break;
		(void)poll(NULL, 0, 5);
	}
	assert_int_equal(jail_say(j.socket, 'e'), 0);
	expect_clean_end(&j);
	/* Gone, or waiting for init to collect it. */
	while (read_proc(w[0], "status", text, sizeof(text)) == 0 && field(text, "State")[0] != 'Z')
		(void)poll(NULL, 0, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_worker_lives_as_roots_zygotes_child),
		cmocka_unit_test(honest_worker_lives_in_an_ordinary_users_namespaces),
		cmocka_unit_test(honest_worker_lives_without_namespaces),
		cmocka_unit_test(kernel_confirms_the_layers_that_root_gives),
		cmocka_unit_test(kernel_confirms_the_layers_of_a_users_namespaces),
		cmocka_unit_test(kernel_confirms_the_layers_without_namespaces),
		cmocka_unit_test(kernel_confirms_the_layers_of_workers_that_left_themselves_dumpable),
#ifdef __x86_64__
		cmocka_unit_test(workers_survive_the_listed_calls_only_in_all_three_abis),
		cmocka_unit_test(workers_that_restore_otherwise_survive_their_calls_only),
		cmocka_unit_test(builders_survive_the_listed_calls_only),
#endif
		cmocka_unit_test(attacks_on_a_full_sandbox_are_fatal),
		cmocka_unit_test(attacks_on_a_sandbox_without_namespaces_are_fatal),
		cmocka_unit_test(attacks_with_what_another_way_to_restore_has_are_fatal),
		cmocka_unit_test(attacks_from_the_zygote_are_fatal),
		cmocka_unit_test(zygote_opens_nothing_outside_proc),
		cmocka_unit_test(builder_may_less_than_a_worker),
		cmocka_unit_test(workers_die_with_their_zygote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
