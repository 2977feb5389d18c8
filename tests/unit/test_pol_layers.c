/*
 * Layer by layer: what each one does alone, and that nothing starts when one
 * that is required cannot be had.
 */
#include "config.h"

#include "pol_layers.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pol_jail.h"
#include "pol_oracle.h"
#include "tn_err.h"

#define ARENA	((void *)(uintptr_t)ORACLE_ARENA)
#define PR_MDWE	65

static void
need(enum jail_kind kind, uint32_t layers)
{
	char text[TN_LAYERS_TEXT];
	const char *why = jail_impossible(kind);

	if (why != NULL)
		print_message("# skipped: %s\n", why);
	else if ((layers & ~pol_layers_supported()) != 0)
		print_message("# skipped: this build or kernel has no %s\n",
		    tn_layers_text(layers & ~pol_layers_supported(), text, sizeof(text)));
	else
		return;
	skip();
}

/* ---- the table ---- */

static void
each_layer_has_a_bit_and_a_name_of_its_own(void **state)
{
	const struct tn_layer_info *t;
	uint32_t seen = 0;
	size_t n;

	(void)state;
	t = tn_layers(&n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(__builtin_popcount(t[i].bit), 1);
		assert_int_equal(seen & t[i].bit, 0);
		seen |= t[i].bit;
		assert_true(t[i].name[0] != '\0' && t[i].doc[0] != '\0');
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(t[i].name, t[j].name);
		assert_string_equal(tn_layer_name(t[i].bit), t[i].name);
	}
	assert_int_equal(seen, TN_LAYER_ALL);
	assert_null(tn_layer_name(0));
	assert_null(tn_layer_name(0x80000000));
	assert_null(tn_layer_name(TN_LAYER_NNP | TN_LAYER_UID));
}

static void
set_of_layers_is_written_as_names(void **state)
{
	char text[TN_LAYERS_TEXT], small[12];

	(void)state;
	assert_string_equal(tn_layers_text(0, text, sizeof(text)), "none");
	assert_string_equal(tn_layers_text(0x80000000, text, sizeof(text)), "none");
	assert_string_equal(tn_layers_text(TN_LAYER_SECCOMP | TN_LAYER_PIDNS, text, sizeof(text)),
	    "pidns seccomp");
	/* All fit, and what does not fit is left out whole. */
	(void)tn_layers_text(TN_LAYER_ALL, text, sizeof(text));
	assert_string_equal(text + strlen(text) - 5, " mdwe");
	assert_string_equal(tn_layers_text(TN_LAYER_SECCOMP | TN_LAYER_PIDNS, small, sizeof(small)),
	    "pidns");
}

/* ---- single layers, without seccomp ---- */

/* Run fn in a child; 0: well, else the line that went wrong. */
static int
in_child(int (*fn)(void))
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int line = fn();

		_exit(line == 0 ? 0 : 1 + line % 250);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("killed by signal %d", WTERMSIG(status));
	if (status != 0)
		fail_msg("the check in line %d (modulo 250) failed", WEXITSTATUS(status) - 1);
	return status;
}

#define CHECK(...) do { if (!(__VA_ARGS__)) return __LINE__; } while (0)

static char err[POL_ERR_MAX];

static int
be_nobody(void)
{
	return geteuid() != 0 ? 0 : pol_user(JAIL_NOBODY, JAIL_NOBODY, err);
}

static int
limits(void)
{
	struct pol_memory m;
	struct rlimit rl;
	int fd = memfd_create("x", 0), null = open("/dev/null", O_RDWR);

	CHECK(fd >= 0 && null >= 0 && dup2(null, 9) == 9);
	CHECK(be_nobody() == 0);
	CHECK(pol_memory_now(&m, err) == 0);
	CHECK(pol_limits_worker(&m, (uint64_t)128 << 20, 10, 0, err) == 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK(write(fd, "x", 1) == -1 && errno == EFBIG);
	CHECK(ftruncate(fd, 1) == -1 && errno == EFBIG);
	CHECK(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == -1 && errno == EAGAIN);
	CHECK(fcntl(null, F_DUPFD, 10) == -1);
	/* (A capable process could lock memory all the same.) */
	CHECK(getrlimit(RLIMIT_MEMLOCK, &rl) == 0 && rl.rlim_cur == 0 && rl.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_CORE, &rl) == 0 && rl.rlim_cur == 0 && rl.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_CPU, &rl) == 0 && rl.rlim_cur == RLIM_INFINITY);
	rl.rlim_cur = rl.rlim_max = 100;
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == -1 && errno == EPERM);
#ifndef WITH_SANITIZERS
	/* Within the head room, and beyond it. */
	void *p = mmap(NULL, (size_t)100 << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK(mmap(NULL, (size_t)100 << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED && errno == ENOMEM);
	/* Anew at the same place. */
	CHECK(mmap(p, (size_t)100 << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == p);
#endif
	return 0;
}

static void
limits_bound_memory_files_processes_and_descriptors(void **state)
{
	(void)state;
	(void)in_child(limits);
}

static int
lower_limits(void)
{
	struct pol_memory m;
	struct rlimit rl = { 3, 7 };

	CHECK(pol_memory_now(&m, err) == 0);
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	CHECK(pol_limits_worker(&m, (uint64_t)64 << 20, 5, 0, err) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur == 3 && rl.rlim_max == 5);
	return 0;
}

static void
limits_that_are_lower_already_stay(void **state)
{
	(void)state;
	(void)in_child(lower_limits);
}

static void
limit_of_cpu_time_ends_a_loop(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		struct pol_memory m;

		if (pol_memory_now(&m, err) != 0 ||
		    pol_limits_worker(&m, (uint64_t)64 << 20, 5, 1, err) != 0)
			_exit(1);
		/* Whoever catches the warning gets no further. */
		(void)signal(SIGXCPU, SIG_IGN);
		for (;;)
			;
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static int
memory_grows(void)
{
	struct pol_memory a, b;
	size_t more = (size_t)32 << 20;

	CHECK(pol_memory_now(&a, err) == 0);
	CHECK(mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	    MAP_FAILED);
	CHECK(pol_memory_now(&b, err) == 0);
	CHECK(a.total > a.data && a.data > 0);
	CHECK(b.total - a.total == more && b.data - a.data == more);
	return 0;
}

static void
memory_is_counted_in_bytes(void **state)
{
	(void)state;
	(void)in_child(memory_grows);
}

static pid_t sibling;

static int
landlocked(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(9),
	    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int tcp = socket(AF_INET, SOCK_STREAM, 0), fd = memfd_create("x", 0);
	int version = pol_landlock_version();

	CHECK(be_nobody() == 0 && pol_no_new_privs(err) == 0);
	CHECK(access("/", R_OK) == 0 && (fd = open("/", O_RDONLY)) >= 0);
	CHECK(pol_landlock(-1, err) == 0);
	CHECK(open("/", O_RDONLY) == -1 && errno == EACCES);
	CHECK(open("/dev/null", O_WRONLY) == -1 && errno == EACCES);
	CHECK(mkdir("/tmp/tana-landlocked", 0700) == -1 && errno == EACCES);
	if (version >= 4)
		CHECK(connect(tcp, (struct sockaddr *)&sin, sizeof(sin)) == -1 && errno == EACCES);
	if (version >= 6) {
		CHECK(kill(sibling, 0) == -1 && errno == EPERM);
		CHECK(kill(getppid(), 0) == -1 && errno == EPERM);
	}
	/* What a worker still needs. */
	fd = memfd_create("x", 0);
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	/* And a second time, as zygote and worker do. */
	CHECK(pol_landlock(-1, err) == 0);
	return 0;
}

static void
landlock_denies_files_tcp_and_signals(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	sibling = fork();
	if (sibling == 0) {
		(void)be_nobody();
		for (;;)
			(void)pause();
	}
	(void)in_child(landlocked);
	(void)kill(sibling, SIGKILL);
	(void)waitpid(sibling, NULL, 0);
}

static int
mdwe(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && pol_mdwe(err) == 0);
	CHECK(mprotect(p, 4096, PROT_READ | PROT_EXEC) == -1 && errno == EACCES);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0) == MAP_FAILED && errno == EACCES);
	/* A child cannot shake it off. */
	CHECK(prctl(PR_MDWE, 0, 0, 0, 0) == -1);
	return 0;
}

static void
mdwe_keeps_memory_from_becoming_executable(void **state)
{
	(void)state;
#ifdef WITH_SANITIZERS
	assert_int_equal(pol_mdwe(err), TN_EUNAVAIL);
	assert_int_equal(pol_layers_supported() & (TN_LAYER_MDWE | TN_LAYER_SECCOMP), 0);
#endif
	need(JAIL_USER, TN_LAYER_MDWE);
	(void)in_child(mdwe);
}

static int
no_way_back(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	CHECK(pol_caps_bound(err) == 0);
	CHECK(pol_user(JAIL_NOBODY, JAIL_NOBODY, err) == 0);
	CHECK(pol_caps_drop(err) == 0);
	CHECK(setresuid(0, 0, 0) == -1 && setgid(0) == -1 && setgroups(0, NULL) == -1);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		CHECK(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0);
	memset(data, 0, sizeof(data));
	data[0].permitted = data[0].effective = CAP_TO_MASK(CAP_KILL);
	CHECK(syscall(SYS_capset, &h, data) == -1 && errno == EPERM);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == -1);
	CHECK((prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) & (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED)) ==
	    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED));
	return 0;
}

static void
change_of_user_cannot_be_undone(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# skipped: needs root\n");
		skip();
	}
	(void)in_child(no_way_back);
}

static int
descriptors(void)
{
	static const int full[] = { 0, 1, 2, 3 }, keep[] = { 0, 1, 2, 5 }, unordered[] = { 2, 1 },
	    negative[] = { -1 };
	int null = open("/dev/null", O_RDWR);

	CHECK(null >= 0);
	for (int fd = 0; fd < 40; fd++)
		CHECK(fd == null || dup2(null, fd) == fd);
	CHECK(pol_fds(unordered, 2, 3, err) == TN_EINVAL);
	CHECK(pol_fds(negative, 1, 3, err) == TN_EINVAL);
	for (int fd = 0; fd < 40; fd++)
		CHECK(fd == null || dup2(null, fd) == fd || fd == 2);
	CHECK(pol_fds(full, 4, 4, err) == 0);
	for (int fd = 0; fd < 40; fd++)
		CHECK((fcntl(fd, F_GETFD) >= 0) == (fd <= 3));
	for (int fd = 0; fd < 40; fd++)
		CHECK(dup2(0, fd) == fd);
	/* 3 is free: a descriptor could come there, and 5 is behind the end. */
	CHECK(pol_fds(keep, 4, 6, err) == TN_EINVAL && strstr(err, "descriptor 3") != NULL);
	for (int fd = 0; fd < 40; fd++)
		CHECK((fcntl(fd, F_GETFD) >= 0) == (fd <= 2 || fd == 5));
	CHECK(pol_fds(keep, 4, 3, err) == TN_EINVAL && strstr(err, "descriptor 5") != NULL);
	CHECK(pol_fds(keep, 3, 2, err) == TN_EINVAL && strstr(err, "descriptor 2") != NULL);
	CHECK(pol_fds(keep, 3, 4, err) == TN_EINVAL && strstr(err, "descriptor 3") != NULL);
	CHECK(pol_fds(NULL, 0, 0, err) == 0);
	CHECK(fcntl(5, F_GETFD) == -1);
	return 0;
}

static void
descriptors_are_closed_but_for_those_named(void **state)
{
	(void)state;
	(void)in_child(descriptors);
}

static int
wrong_parent(void)
{
	CHECK(pol_die_with(getppid(), err) == 0);
	CHECK(pol_die_with(getpid(), err) == TN_ECLOSED);
	return 0;
}

static void
child_without_its_parent_does_not_start(void **state)
{
	(void)state;
	(void)in_child(wrong_parent);
}

static int
root_body(struct jail_inside *in)
{
	int fd;

	if (pol_root_empty(in->sh->err) != 0) {
		jail_why(in->sh, "%s", in->sh->err);
		return 1;
	}
	if (open("/etc/passwd", O_RDONLY) != -1 || open("/proc/self/status", O_RDONLY) != -1 ||
	    open("/dev/null", O_RDONLY) != -1)
		return 2;
	if (mkdir("/x", 0700) != -1 || errno != EROFS || open("/x", O_CREAT | O_RDWR, 0600) != -1)
		return 3;
	/* Nothing above it. */
	fd = open("/../../..", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || openat(fd, "etc", O_RDONLY) != -1)
		return 4;
	return 0;
}

static void
root_in(enum jail_kind kind)
{
	struct jail j;
	int status;

	need(kind, 0);
	jail_begin(&j, kind, root_body);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("status %#x: %s", (unsigned)status, j.sh->why);
}

static void
root_of_roots_zygote_is_empty(void **state)
{
	(void)state;
	root_in(JAIL_ROOT);
}

static void
root_of_a_users_zygote_is_empty(void **state)
{
	(void)state;
	root_in(JAIL_USERNS);
}

/* ---- a zygote that cannot have a layer ---- */

/* Run a body and see that it was refused, with the layer's name in the reason. */
static void
refused(enum jail_kind kind, jail_body *body, const char *layer)
{
	char start[64];
	struct jail j;
	int status;

	jail_begin(&j, kind, body);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("status %#x: %s", (unsigned)status, j.sh->why);
	(void)snprintf(start, sizeof(start), "sandbox layer %s: ", layer);
	if (j.sh->rc >= 0)
		fail_msg("not refused: %s", layer);
	assert_int_equal(strncmp(j.sh->err, start, strlen(start)), 0);
	assert_true(strlen(j.sh->err) > strlen(start));
	assert_int_equal(j.sh->layers, 0);
	(void)munmap(j.sh, sizeof(*j.sh));
}

/* The same, allowed: returns the layers. */
static uint32_t
allowed(enum jail_kind kind, jail_body *body)
{
	uint32_t layers;
	struct jail j;
	int status;

	jail_begin(&j, kind, body);
	status = jail_end(&j);
	if (status != 0 || j.sh->rc != 0)
		fail_msg("status %#x: %s", (unsigned)status, j.sh->why);
	layers = j.sh->layers;
	(void)munmap(j.sh, sizeof(*j.sh));
	return layers;
}

/* ---- the pagemap ---- */

static int
readable_proc(void)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), null = open("/dev/null", O_RDWR);

	CHECK(proc >= 0 && null >= 0);
	CHECK(be_nobody() == 0 && pol_no_new_privs(err) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
	CHECK(pol_landlock(proc, err) == 0);
	CHECK(openat(proc, "self/status", O_RDONLY) >= 0);
	CHECK(openat(proc, "self/comm", O_WRONLY) == -1 && errno == EACCES);
	CHECK(openat(proc, "self", O_RDONLY | O_DIRECTORY) == -1 && errno == EACCES);
	CHECK(openat(proc, "self/root/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
	CHECK(openat(proc, "/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
	CHECK(open("/dev/null", O_RDONLY) == -1 && errno == EACCES);
	/* A worker's own layer takes that too. */
	CHECK(pol_landlock(-1, err) == 0);
	CHECK(openat(proc, "self/status", O_RDONLY) == -1 && errno == EACCES);
	return 0;
}

static void
landlock_lets_files_of_proc_be_read_if_asked(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	(void)in_child(readable_proc);
}

static int
landlock_not_beneath(void)
{
	CHECK(be_nobody() == 0 && pol_no_new_privs(err) == 0);
	CHECK(pol_landlock(9999, err) == 0);
	CHECK(open("/", O_RDONLY) == -1 && errno == EACCES);
	return 0;
}

static void
landlock_denies_all_when_its_exception_cannot_be_had(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	(void)in_child(landlock_not_beneath);
}

static bool
is_null(int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat("/dev/null", &b) == 0 && a.st_rdev == b.st_rdev &&
	    S_ISCHR(a.st_mode);
}

static int
own_pagemap(void)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int null = open("/dev/null", O_RDWR);
	uint64_t entry = 0;
	static char mine[8192];

	CHECK(proc >= 0 && null >= 0 && dup2(null, 0) == 0 && dup2(null, 20) == 20);
	CHECK(be_nobody() == 0);	/* and so not dumpable */
	CHECK(pol_pagemap(proc, 20, err) == 0);
	*(volatile char *)mine = 1;
	CHECK(pread(20, &entry, 8, (off_t)((uintptr_t)mine / 4096 * 8)) == 8);
	CHECK((entry & UINT64_C(1) << 63) != 0);
#ifndef WITH_SANITIZERS
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
	/* Whatever is wrong with /proc, there is something else at that number. */
	CHECK(pol_pagemap(-1, 20, err) == TN_EUNAVAIL && is_null(20));
	CHECK(pol_pagemap(null, 21, err) == TN_EUNAVAIL && is_null(21));
	CHECK(pol_pagemap(9999, 0, err) == TN_EUNAVAIL && is_null(0));
#ifndef WITH_SANITIZERS
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
	/* No number for it at all. */
	CHECK(pol_pagemap(proc, 1 << 30, err) == TN_ESYS);
	return 0;
}

static void
need_pagemap(void)
{
	if (access("/proc/self/pagemap", R_OK) != 0) {
		print_message("# skipped: there is no /proc/self/pagemap\n");
		skip();
	}
}

static void
pagemap_is_the_processs_own_and_leaves_it_not_dumpable(void **state)
{
	(void)state;
	need_pagemap();
	(void)in_child(own_pagemap);
}

static int
with_broken(struct jail_inside *in, int nr, int64_t arg0, int e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || jail_break_call(nr, arg0, e) != 0) {
		jail_why(in->sh, "cannot break a call");
		return 1;
	}
	(void)jail_enter(in);
	return 0;
}

static int
without_landlock(struct jail_inside *in)
{
	return with_broken(in, SYS_landlock_create_ruleset, -1, ENOSYS);
}

static int
without_landlock_optional(struct jail_inside *in)
{
	in->config.required &= ~(uint32_t)TN_LAYER_LANDLOCK;
	return without_landlock(in);
}

static void
zygote_without_required_landlock_is_refused(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	refused(JAIL_USER, without_landlock, "landlock");
}

static void
zygote_without_optional_landlock_says_so(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	assert_int_equal(allowed(JAIL_USER, without_landlock_optional),
	    jail_layers(JAIL_USER) & ~(uint32_t)TN_LAYER_LANDLOCK);
}

static int
without_mdwe(struct jail_inside *in)
{
	return with_broken(in, SYS_prctl, PR_MDWE, EINVAL);
}

static void
zygote_without_required_mdwe_is_refused(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_MDWE);
	refused(JAIL_USER, without_mdwe, "mdwe");
}

static int
without_seccomp(struct jail_inside *in)
{
	return with_broken(in, SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, EPERM);
}

static void
zygote_without_required_seccomp_is_refused(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_SECCOMP);
	refused(JAIL_USER, without_seccomp, "seccomp");
}

#ifdef WITH_SANITIZERS
static int
seccomp_required(struct jail_inside *in)
{
	in->config.required |= TN_LAYER_SECCOMP;
	(void)jail_enter(in);
	return 0;
}

static void
zygote_with_sanitizers_is_refused_when_seccomp_is_required(void **state)
{
	(void)state;
	refused(JAIL_USER, seccomp_required, "seccomp");
}
#endif

static int
without_nnp(struct jail_inside *in)
{
	return with_broken(in, SYS_prctl, PR_SET_NO_NEW_PRIVS, EPERM);
}

static void
zygote_without_no_new_privs_is_refused(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_NNP);
	refused(JAIL_USER, without_nnp, "nnp");
}

static int
without_capset(struct jail_inside *in)
{
	return with_broken(in, SYS_capset, -1, EPERM);
}

static void
zygote_that_keeps_capabilities_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, without_capset, "nocaps");
}

static int
without_rlimits(struct jail_inside *in)
{
	return with_broken(in, SYS_prlimit64, -1, EPERM);
}

static void
zygote_without_limits_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, without_rlimits, "rlimits");
}

static int
another_user(struct jail_inside *in)
{
	in->config.uid = in->config.gid = 65533;
	(void)jail_enter(in);
	return 0;
}

/* Required or not: never as the wrong user. */
static void
zygote_that_cannot_change_its_user_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, another_user, "uid");
}

static int
user_root(struct jail_inside *in)
{
	in->config.uid = 0;
	(void)jail_enter(in);
	return 0;
}

static int
user_without_group(struct jail_inside *in)
{
	in->config.gid = POL_STAY;
	(void)jail_enter(in);
	return 0;
}

static void
root_is_no_user_to_change_to(void **state)
{
	(void)state;
	need(JAIL_ROOT, 0);
	refused(JAIL_ROOT, user_root, "uid");
	refused(JAIL_ROOT, user_without_group, "uid");
}

static int
no_such_namespace(struct jail_inside *in)
{
	in->config.required |= TN_LAYER_NETNS;
	(void)jail_enter(in);
	return 0;
}

static void
zygote_without_a_required_namespace_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, no_such_namespace, "netns");
}

static int
no_such_bit(struct jail_inside *in)
{
	in->config.required |= 0x80000000u;
	(void)jail_enter(in);
	return 0;
}

static void
layer_that_nobody_knows_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, no_such_bit, "of an unknown bit");
}

static int
not_the_first(struct jail_inside *in)
{
	in->config.present |= TN_LAYER_PIDNS;
	(void)jail_enter(in);
	return 0;
}

static void
process_namespace_that_is_none_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, not_the_first, "pidns");
}

static int
no_mounts(struct jail_inside *in)
{
	in->config.present |= TN_LAYER_MOUNTNS;
	in->config.required |= TN_LAYER_MOUNTNS;
	(void)jail_enter(in);
	return 0;
}

static int
no_mounts_optional(struct jail_inside *in)
{
	in->config.present |= TN_LAYER_MOUNTNS;
	(void)jail_enter(in);
	return 0;
}

static void
zygote_without_its_empty_root_is_refused(void **state)
{
	(void)state;
	refused(JAIL_USER, no_mounts, "mountns");
	assert_int_equal(allowed(JAIL_USER, no_mounts_optional), jail_layers(JAIL_USER));
}

/* sandbox=off */
static int
nothing_required(struct jail_inside *in)
{
	in->config.required = 0;
	if (jail_enter(in) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0 ||
	    prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0 || open("/dev/null", O_RDONLY) < 0)
		return 1;
	return in->kind != JAIL_ROOT || (getuid() == JAIL_NOBODY && setuid(0) != 0) ? 0 : 2;
}

static void
without_required_layers_only_the_user_changes(void **state)
{
	(void)state;
	assert_int_equal(allowed(JAIL_USER, nothing_required), 0);
	need(JAIL_ROOT, 0);
	assert_int_equal(allowed(JAIL_ROOT, nothing_required), TN_LAYER_UID);
}

/* ---- a worker that cannot have a layer ---- */

enum has_pagemap { NONE, HAS, REFUSED };

struct worker_case {
	enum tn_restore	restore;
	enum has_pagemap pagemap;
	bool		unbounded;	/* a zygote with neither Landlock nor a root of its own */
	int		nr;		/* call to break; 0: none */
	int64_t		arg0;
	int		e;
	bool		orphan;		/* parent is somebody else */
	bool		next_open;	/* a descriptor more is kept */
	uint32_t	drop;		/* from the required layers */
	const char	*layer;		/* that the reason names; NULL: goes well */
};

static const struct worker_case *one;

static int
worker_body(struct jail_inside *in)
{
	static const int keep[] = { 0, 1, 2, JAIL_CHANNEL, JAIL_PAGEMAP, JAIL_NEXT };
	struct pol_worker_config c = {
		.required = in->config.required & ~one->drop,
		.role = POL_WORKER,
		.parent = one->orphan ? 1 << 20 : getpid(),
		.keep = keep,
		.nkeep = one->next_open ? 6 : 5,
		.memory = 1 << 20
	};
	struct jail_shared *sh = in->sh;
	int status;
	pid_t pid;

	if (one->unbounded) {
		in->config.required &= ~one->drop;
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		    jail_break_call(SYS_landlock_create_ruleset, -1, ENOSYS) != 0)
			return 3;
	}
	if (jail_enter(in) != 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		/* The zygote's filter lets children install filters. */
		if (one->nr != 0 && jail_break_call(one->nr, one->arg0, one->e) != 0)
			_exit(JAIL_NOT_IN);
		if (dup2(2, JAIL_NEXT) < 0)
			_exit(JAIL_NOT_IN);
		sh->pagemap_rc = pol_worker_pagemap(POL_WORKER, sh->worker_err);
		sh->worker_rc = pol_worker_enter(&c, &sh->worker_layers, sh->worker_err);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		jail_why(sh, "the worker ended with status %#x", (unsigned)status);
		return 2;
	}
	return 0;
}

static void
worker_case(const struct worker_case *c)
{
	char start[64];
	struct jail j;
	int status;

	one = c;
	jail_begin_with(&j, JAIL_USER, c->restore, worker_body);
	status = jail_end(&j);
	if (status != 0)
		fail_msg("status %#x: %s", (unsigned)status, j.sh->why);
	assert_int_equal(j.sh->pagemap_rc,
	    c->pagemap == HAS ? 0 : c->pagemap == NONE ? TN_EUNAVAIL : TN_ESYS);
	if (c->layer == NULL) {
		assert_int_equal(j.sh->worker_rc, 0);
		assert_int_equal(j.sh->worker_layers, jail_layers(JAIL_USER) & ~c->drop);
	} else {
		(void)snprintf(start, sizeof(start), "sandbox layer %s: ", c->layer);
		assert_true(j.sh->worker_rc < 0);
		assert_int_equal(strncmp(j.sh->worker_err, start, strlen(start)), 0);
		assert_int_equal(j.sh->worker_layers, 0);
	}
	(void)munmap(j.sh, sizeof(*j.sh));
}

static void
worker_gets_all_the_layers_that_there_are(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .layer = NULL });
}

static void
worker_without_required_seccomp_is_refused(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_SECCOMP);
	worker_case(&(struct worker_case){ .nr = SYS_seccomp, .arg0 = 1, .e = EINVAL,
	    .layer = "seccomp" });
}

static void
worker_without_required_landlock_is_refused(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	worker_case(&(struct worker_case){ .nr = SYS_landlock_restrict_self, .arg0 = -1, .e = EPERM,
	    .layer = "landlock" });
	worker_case(&(struct worker_case){ .nr = SYS_landlock_restrict_self, .arg0 = -1, .e = EPERM,
	    .drop = TN_LAYER_LANDLOCK });
}

static void
worker_without_limits_is_refused(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .nr = SYS_prlimit64, .arg0 = -1, .e = EPERM,
	    .layer = "rlimits" });
}

static void
worker_whose_descriptors_stay_is_refused(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .nr = SYS_close_range, .arg0 = -1, .e = ENOSYS,
	    .layer = "descriptors" });
	worker_case(&(struct worker_case){ .next_open = true, .layer = "descriptors" });
}

static void
worker_of_another_parent_is_refused(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .orphan = true, .layer = "parent" });
}

static void
worker_gets_its_pagemap_unless_it_drops(void **state)
{
	(void)state;
	need(JAIL_USER, TN_LAYER_LANDLOCK);
	need_pagemap();
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_SCAN, .pagemap = HAS });
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_PAGEMAP, .pagemap = HAS });
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_DROP, .pagemap = NONE });
}

static void
worker_that_cannot_open_its_pagemap_starts_without(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_SCAN, .nr = SYS_openat, .arg0 = -1,
	    .e = EACCES, .pagemap = NONE });
}

/* A filter does not see paths. */
static void
zygote_that_nothing_bounds_opens_no_files(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_SCAN, .unbounded = true,
	    .drop = TN_LAYER_LANDLOCK, .pagemap = NONE });
}

#ifndef WITH_SANITIZERS
static void
worker_that_would_stay_dumpable_is_refused(void **state)
{
	(void)state;
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_SCAN, .nr = SYS_prctl,
	    .arg0 = PR_SET_DUMPABLE, .e = EPERM, .pagemap = REFUSED, .layer = "dumpable" });
	worker_case(&(struct worker_case){ .restore = TN_RESTORE_DROP, .nr = SYS_prctl,
	    .arg0 = PR_SET_DUMPABLE, .e = EPERM, .pagemap = REFUSED, .layer = "dumpable" });
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_layer_has_a_bit_and_a_name_of_its_own),
		cmocka_unit_test(set_of_layers_is_written_as_names),
		cmocka_unit_test(limits_bound_memory_files_processes_and_descriptors),
		cmocka_unit_test(limits_that_are_lower_already_stay),
		cmocka_unit_test(limit_of_cpu_time_ends_a_loop),
		cmocka_unit_test(memory_is_counted_in_bytes),
		cmocka_unit_test(landlock_denies_files_tcp_and_signals),
		cmocka_unit_test(landlock_lets_files_of_proc_be_read_if_asked),
		cmocka_unit_test(landlock_denies_all_when_its_exception_cannot_be_had),
		cmocka_unit_test(pagemap_is_the_processs_own_and_leaves_it_not_dumpable),
		cmocka_unit_test(mdwe_keeps_memory_from_becoming_executable),
		cmocka_unit_test(change_of_user_cannot_be_undone),
		cmocka_unit_test(descriptors_are_closed_but_for_those_named),
		cmocka_unit_test(child_without_its_parent_does_not_start),
		cmocka_unit_test(root_of_roots_zygote_is_empty),
		cmocka_unit_test(root_of_a_users_zygote_is_empty),
		cmocka_unit_test(zygote_without_required_landlock_is_refused),
		cmocka_unit_test(zygote_without_optional_landlock_says_so),
		cmocka_unit_test(zygote_without_required_mdwe_is_refused),
		cmocka_unit_test(zygote_without_required_seccomp_is_refused),
#ifdef WITH_SANITIZERS
		cmocka_unit_test(zygote_with_sanitizers_is_refused_when_seccomp_is_required),
#endif
		cmocka_unit_test(zygote_without_no_new_privs_is_refused),
		cmocka_unit_test(zygote_that_keeps_capabilities_is_refused),
		cmocka_unit_test(zygote_without_limits_is_refused),
		cmocka_unit_test(zygote_that_cannot_change_its_user_is_refused),
		cmocka_unit_test(root_is_no_user_to_change_to),
		cmocka_unit_test(zygote_without_a_required_namespace_is_refused),
		cmocka_unit_test(layer_that_nobody_knows_is_refused),
		cmocka_unit_test(process_namespace_that_is_none_is_refused),
		cmocka_unit_test(zygote_without_its_empty_root_is_refused),
		cmocka_unit_test(without_required_layers_only_the_user_changes),
		cmocka_unit_test(worker_gets_all_the_layers_that_there_are),
		cmocka_unit_test(worker_without_required_seccomp_is_refused),
		cmocka_unit_test(worker_without_required_landlock_is_refused),
		cmocka_unit_test(worker_without_limits_is_refused),
		cmocka_unit_test(worker_whose_descriptors_stay_is_refused),
		cmocka_unit_test(worker_of_another_parent_is_refused),
		cmocka_unit_test(worker_gets_its_pagemap_unless_it_drops),
		cmocka_unit_test(worker_that_cannot_open_its_pagemap_starts_without),
		cmocka_unit_test(zygote_that_nothing_bounds_opens_no_files),
#ifndef WITH_SANITIZERS
		cmocka_unit_test(worker_that_would_stay_dumpable_is_refused),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
