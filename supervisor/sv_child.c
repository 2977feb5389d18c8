/*
 * sv_child.c - start a process of ours.
 *
 * Between clone and exec the child only makes system calls: what it needs was
 * looked up before.  What fails there is reported over a pipe that exec closes.
 */
#include "config.h"

#include "sv_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tn_err.h"
#include "tn_fd.h"

#define FD_HIGH	64		/* above all that the child is given */

#define STEPS(X)							\
	X(PARENT,   "the master ended meanwhile")			\
	X(SIGNALS,  "cannot put the signals back")			\
	X(DESCRIPTORS, "cannot arrange its descriptors")		\
	X(LIMITS,   "cannot set its resource limits")			\
	X(JAIL,     "cannot go into its root")				\
	X(USER,     "cannot change to its user")			\
	X(CAPS,     "cannot set its capabilities")			\
	X(NNP,      "cannot set no_new_privs")				\
	X(EXEC,     "cannot run the program")
enum step {
#define STEP(name, text) STEP_##name,
	STEPS(STEP)
#undef STEP
	STEP_MAX
};
static const char *const step_text[STEP_MAX] = {
#define STEP(name, text) [STEP_##name] = text,
	STEPS(STEP)
#undef STEP
};

struct report {
	int	step;
	int	error;
	char	detail[64];		/* instead of the step's own text */
};

static void fail_with(int fd, enum step step, const char *detail) __attribute__((noreturn));

static void
fail_with(int fd, enum step step, const char *detail)
{
	struct report r = { .step = step, .error = errno };
	ssize_t n;

	(void)snprintf(r.detail, sizeof(r.detail), "%s", detail);
	n = write(fd, &r, sizeof(r));

	(void)n;
	_exit(127);
}

static void fail(int fd, enum step step) __attribute__((noreturn));

static void
fail(int fd, enum step step)
{
	fail_with(fd, step, "");
}

static pid_t
clone_process(uint64_t flags, int *pidfd)
{
	struct clone_args args = { .flags = flags | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static int
set_caps(bool all_inheritable)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	int cap;

	memset(d, 0, sizeof(d));
	if (!all_inheritable)		/* ambient and permitted go with them */
		return (int)syscall(SYS_capset, &h, d);
	if (syscall(SYS_capget, &h, d) != 0)
		return -1;
	d[0].inheritable = d[0].permitted;
	d[1].inheritable = d[1].permitted;
	if (syscall(SYS_capset, &h, d) != 0)
		return -1;
	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
			return -1;
	return 0;
}

static int
reset_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	int sig;

	for (sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sigaction(sig, &sa, NULL) != 0 &&
		    errno != EINVAL)
			return -1;
	return 0;
}

/* Has the master gone?  Its end of the pipe says so, across pid namespaces too. */
static bool
orphaned(int go)
{
	struct pollfd p = { .fd = go };

	return poll(&p, 1, 0) < 0 || (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void run_child(const struct sv_child *c, int go, int out) __attribute__((noreturn));

static void
run_child(const struct sv_child *c, int go, int out)
{
	struct rlimit rl;
	sigset_t none;
	const char *failed;
	char byte;
	int fds[SV_CHILD_FDS], exec_fd = c->exec_fd, i;
	size_t k;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (read(go, &byte, 1) != 1)
		_exit(127);
	if (reset_signals() != 0)
		fail(out, STEP_SIGNALS);
	(void)setsid();
	(void)umask(077);

	/* All out of the way, then each to its place. */
	if ((out = fcntl(out, F_DUPFD_CLOEXEC, FD_HIGH)) < 0 ||
	    (go = fcntl(go, F_DUPFD_CLOEXEC, FD_HIGH)) < 0)
		_exit(127);
	if (exec_fd >= 0 && (exec_fd = fcntl(exec_fd, F_DUPFD_CLOEXEC, FD_HIGH)) < 0)
		fail(out, STEP_DESCRIPTORS);
	for (i = 0; i < c->nfds; i++)
		if ((fds[i] = fcntl(c->fds[i], F_DUPFD_CLOEXEC, FD_HIGH)) < 0)
			fail(out, STEP_DESCRIPTORS);
	for (i = 0; i < c->nfds; i++)
		if (dup2(fds[i], i) < 0)
			fail(out, STEP_DESCRIPTORS);
	if (syscall(SYS_close_range, (unsigned)c->nfds, ~0u, CLOSE_RANGE_CLOEXEC) != 0 ||
	    chdir("/") != 0)
		fail(out, STEP_DESCRIPTORS);

	for (k = 0; k < c->nlimits; k++) {
		rl.rlim_cur = rl.rlim_max = c->limits[k].value;
		if (setrlimit((__rlimit_resource_t)c->limits[k].resource, &rl) != 0)
			fail(out, STEP_LIMITS);
	}
	if (c->jail != NULL && (failed = sv_jail_enter(c->jail)) != NULL)
		fail_with(out, STEP_JAIL, failed);
	if (c->ambient && set_caps(true) != 0)
		fail(out, STEP_CAPS);
	if (c->user != NULL && sv_user_become(c->user, c->groups) != 0)
		fail(out, STEP_USER);
	if (c->no_caps && set_caps(false) != 0)
		fail(out, STEP_CAPS);
	if (c->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fail(out, STEP_NNP);
	/* A change of user has cleared it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (orphaned(go))
		fail(out, STEP_PARENT);
	(void)sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		fail(out, STEP_SIGNALS);
	if (exec_fd >= 0)
		(void)syscall(SYS_execveat, exec_fd, "", c->argv, c->envp, AT_EMPTY_PATH);
	else
		(void)execve(c->path, c->argv, c->envp);
	fail(out, STEP_EXEC);
}

static int
write_proc(pid_t pid, const char *file, const char *text)
{
	char path[64];
	ssize_t n;
	int fd, saved;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	if ((fd = open(path, O_WRONLY | O_CLOEXEC)) < 0)
		return -1;
	n = write(fd, text, strlen(text));
	saved = errno;
	(void)close(fd);
	errno = saved;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* Each id stands for itself: nobody is root inside who is not outside. */
static int
map_ids(pid_t pid, uid_t more_uid, gid_t more_gid)
{
	char text[96];
	int n;
	bool more = more_uid != (uid_t)-1 && more_uid != geteuid();

	if (!more && write_proc(pid, "setgroups", "deny") != 0 && errno != ENOENT)
		return -1;
	n = snprintf(text, sizeof(text), "%u %u 1\n", (unsigned)geteuid(), (unsigned)geteuid());
	if (more)
		(void)snprintf(text + n, sizeof(text) - (size_t)n, "%u %u 1\n", (unsigned)more_uid,
		    (unsigned)more_uid);
	if (write_proc(pid, "uid_map", text) != 0)
		return -1;
	n = snprintf(text, sizeof(text), "%u %u 1\n", (unsigned)getegid(), (unsigned)getegid());
	if (more)
		(void)snprintf(text + n, sizeof(text) - (size_t)n, "%u %u 1\n", (unsigned)more_gid,
		    (unsigned)more_gid);
	return write_proc(pid, "gid_map", text);
}

static void
reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int
sv_child_start(const struct sv_child *c, pid_t *pid, int *pidfd, int *error, struct tn_buf *err)
{
	struct report r;
	sigset_t all, old;
	int go[2] = { -1, -1 }, report[2] = { -1, -1 }, fd = -1, rc = TN_ESYS;
	ssize_t n;
	pid_t p;

	*error = 0;
	if (pipe2(go, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) {
		*error = errno;
		tn_buf_printf(err, "%s: pipe: %s", c->what, strerror(*error));
		goto out;
	}
	/* No handler of ours may run in the child. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	p = clone_process(c->namespaces, &fd);
	if (p == 0) {
		(void)close(go[1]);
		(void)close(report[0]);
		run_child(c, go[0], report[1]);
	}
	*error = errno;
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (p < 0) {
		fd = -1;
		tn_buf_printf(err, "%s: clone%s: %s", c->what,
		    c->namespaces != 0 ? " with namespaces" : "", strerror(*error));
		goto out;
	}
	*error = 0;
	tn_fd_close(&go[0]);
	tn_fd_close(&report[1]);
	if ((c->namespaces & CLONE_NEWUSER) != 0 && map_ids(p, c->map_uid, c->map_gid) != 0) {
		*error = errno;
		tn_buf_printf(err, "%s: cannot map the ids of its user namespace: %s", c->what,
		    strerror(*error));
		tn_fd_close(&go[1]);	/* it exits */
		reap(p);
		goto out;
	}
	n = write(go[1], "", 1);
	(void)n;
	while ((n = read(report[0], &r, sizeof(r))) < 0 && errno == EINTR)
		;
	if (n != 0) {
		if (n != (ssize_t)sizeof(r) || r.step < 0 || r.step >= STEP_MAX)
			r = (struct report){ .step = STEP_EXEC, .error = EIO };
		*error = r.error;
		r.detail[sizeof(r.detail) - 1] = '\0';
		tn_buf_printf(err, "%s: %s%s%s%s%s: %s", c->what,
		    r.detail[0] != '\0' ? r.detail : step_text[r.step],
		    r.step == STEP_EXEC ? " " : "", r.step == STEP_EXEC ? c->path : "",
		    r.step == STEP_USER && c->user != NULL ? " " : "",
		    r.step == STEP_USER && c->user != NULL ? c->user->name : "", strerror(r.error));
		reap(p);
		goto out;
	}
	*pid = p;
	*pidfd = fd;
	fd = -1;
	rc = 0;
out:
	tn_fd_close(&fd);
	tn_fd_close(&go[0]);
	tn_fd_close(&go[1]);
	tn_fd_close(&report[0]);
	tn_fd_close(&report[1]);
	return rc;
}

int
sv_child_try(uint64_t namespaces)
{
	int go[2], fd = -1, error = 0;
	char byte;
	pid_t p;

	if (pipe2(go, O_CLOEXEC) != 0)
		return errno;
	p = clone_process(namespaces, &fd);
	if (p == 0) {
		(void)close(go[1]);
		_exit(read(go[0], &byte, 1) == 1 ? 1 : 0);
	}
	if (p < 0)
		error = errno;
	else if ((namespaces & CLONE_NEWUSER) != 0 && map_ids(p, (uid_t)-1, (gid_t)-1) != 0)
		error = errno;
	(void)close(go[0]);
	(void)close(go[1]);
	if (p > 0) {
		(void)close(fd);
		reap(p);
	}
	return error;
}

char **
sv_child_env(const char *const *extra)
{
	static const char *const keep[] = { "PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ",
	    "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS" };
	const size_t nkeep = sizeof(keep) / sizeof(keep[0]);
	size_t i, n = 0, nextra = 0;
	const char *value;
	char **env;

	while (extra != NULL && extra[nextra] != NULL)
		nextra++;
	if ((env = calloc(nkeep + nextra + 1, sizeof(*env))) == NULL)
		return NULL;
	for (i = 0; i < nkeep; i++) {
		if ((value = getenv(keep[i])) == NULL)
			continue;
		if (asprintf(&env[n], "%s=%s", keep[i], value) < 0)
			goto fail;
		n++;
	}
	for (i = 0; i < nextra; i++) {
		if ((env[n] = strdup(extra[i])) == NULL)
			goto fail;
		n++;
	}
	return env;
fail:
	env[n] = NULL;
	sv_child_env_free(&env);
	return NULL;
}

void
sv_child_env_free(char ***env)
{
	char **e;

	if (*env == NULL)
		return;
	for (e = *env; *e != NULL; e++)
		free(*e);
	free(*env);
	*env = NULL;
}

void
sv_child_describe(int status, struct tn_buf *out)
{
	int sig;

	if (WIFSIGNALED(status)) {
		sig = WTERMSIG(status);
		tn_buf_printf(out, "killed by signal %d (%s)", sig, strsignal(sig));
	} else
		tn_buf_printf(out, "exit status %d", WEXITSTATUS(status));
}
