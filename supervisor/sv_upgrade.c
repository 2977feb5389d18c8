/*
 * sv_upgrade.c - a program takes over from the server that runs.
 */
#include "config.h"

#include "sv_upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sv_inherit.h"
#include "tn_err.h"
#include "tn_fd.h"

#define MSG_MAGIC	0x74757031u

struct up_msg {
	uint32_t	magic;
	uint32_t	type;
	char		text[SV_UP_TEXT_MAX];
};

/* ---- the state machine ---- */

#define STEP(state, action) { SV_UP_##state, SV_UP_##action }

static const struct sv_up_step steps[SV_UP_STATES][SV_UP_EVENTS] = {
	[SV_UP_NONE] = {
		[SV_UP_ASKED] =		STEP(STARTING, START),
		[SV_UP_READY] =		STEP(NONE, NOTHING),
		[SV_UP_TAKEN] =		STEP(NONE, NOTHING),
		[SV_UP_ENDED] =		STEP(NONE, NOTHING),
		[SV_UP_OVERDUE] =	STEP(NONE, NOTHING),
		[SV_UP_STOPPED] =	STEP(NONE, NOTHING),
	},
	[SV_UP_STARTING] = {
		[SV_UP_ASKED] =		STEP(STARTING, REFUSE),
		[SV_UP_READY] =		STEP(HANDING, HAND),
		[SV_UP_TAKEN] =		STEP(KILLED, KILL),	/* nobody told it to */
		[SV_UP_ENDED] =		STEP(NONE, GO_ON),
		[SV_UP_OVERDUE] =	STEP(KILLED, KILL),
		[SV_UP_STOPPED] =	STEP(KILLED, KILL),
	},
	[SV_UP_HANDING] = {
		[SV_UP_ASKED] =		STEP(HANDING, REFUSE),
		[SV_UP_READY] =		STEP(KILLED, KILL),
		[SV_UP_TAKEN] =		STEP(DONE, RETIRE),
		[SV_UP_ENDED] =		STEP(NONE, GO_ON),
		[SV_UP_OVERDUE] =	STEP(KILLED, KILL),
		[SV_UP_STOPPED] =	STEP(HANDING, NOTHING),	/* it is told when it serves */
	},
	[SV_UP_KILLED] = {
		[SV_UP_ASKED] =		STEP(KILLED, REFUSE),
		[SV_UP_READY] =		STEP(KILLED, NOTHING),
		[SV_UP_TAKEN] =		STEP(KILLED, NOTHING),
		[SV_UP_ENDED] =		STEP(NONE, GO_ON),
		[SV_UP_OVERDUE] =	STEP(KILLED, NOTHING),
		[SV_UP_STOPPED] =	STEP(KILLED, NOTHING),
	},
	[SV_UP_DONE] = {
		[SV_UP_ASKED] =		STEP(DONE, REFUSE),
		[SV_UP_READY] =		STEP(DONE, NOTHING),
		[SV_UP_TAKEN] =		STEP(DONE, NOTHING),
		[SV_UP_ENDED] =		STEP(DONE, NOTHING),
		[SV_UP_OVERDUE] =	STEP(DONE, NOTHING),
		[SV_UP_STOPPED] =	STEP(DONE, NOTHING),
	},
};

struct sv_up_step
sv_up_next(enum sv_up_state state, enum sv_up_event event)
{
	return steps[state][event];
}

/* ---- messages ---- */

int
sv_up_send(int channel, enum sv_up_msg_type type, const char *text)
{
	struct up_msg m = { .magic = MSG_MAGIC, .type = (uint32_t)type };
	ssize_t n;

	if (channel < 0)
		return TN_ECLOSED;
	(void)snprintf(m.text, sizeof(m.text), "%s", text != NULL ? text : "");
	n = tn_fd_send(channel, &m, sizeof(m), NULL, 0);
	return n < 0 ? (int)n : 0;
}

int
sv_up_receive(int channel, struct tn_buf *text)
{
	struct up_msg m;
	int none = 0;
	ssize_t n = tn_fd_recv(channel, &m, sizeof(m), NULL, &none);

	if (n == TN_EAGAIN)
		return 0;
	if (n < 0)
		return n == TN_ECLOSED ? TN_ECLOSED : TN_EPROTO;
	if (n != (ssize_t)sizeof(m) || m.magic != MSG_MAGIC || m.type < SV_UP_MSG_READY ||
	    m.type > SV_UP_MSG_STOP)
		return TN_EPROTO;
	if (m.type == SV_UP_MSG_FAILED) {
		m.text[sizeof(m.text) - 1] = '\0';
		tn_buf_puts(text, m.text);
	}
	return (int)m.type;
}

/* ---- the process ---- */

static void run_program(const char *program, char *const *argv, const char *dir,
    const struct sv_handed *handed, size_t n) __attribute__((noreturn));

/* In the child; handed[0] is the channel. */
static void
run_program(const char *program, char *const *argv, const char *dir,
    const struct sv_handed *handed, size_t n)
{
	char text[SV_UP_TEXT_MAX], words[64 + SV_INHERIT_MAX * 16];
	struct sigaction sa = { .sa_handler = SIG_DFL };
	int high[SV_INHERIT_MAX], sig, len;
	sigset_t none;
	size_t i;

	for (sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &sa, NULL);
	/* All out of the way, then each to its place. */
	for (i = 0; i < n; i++)
		if ((high[i] = fcntl(handed[i].fd, F_DUPFD_CLOEXEC, SV_INHERIT_FD + (int)n)) < 0)
			_exit(127);
	len = snprintf(words, sizeof(words), "%d", (int)getpid());
	for (i = 0; i < n; i++) {
		if (dup2(high[i], SV_INHERIT_FD + (int)i) < 0)
			_exit(127);
		len += snprintf(words + len, sizeof(words) - (size_t)len, " %s", handed[i].word);
	}
	(void)syscall(SYS_close_range, SV_INHERIT_FD + (unsigned)n, ~0u, 0);
	if (setenv(SV_INHERIT_VAR, words, 1) != 0 || chdir(dir) != 0)
		(void)snprintf(text, sizeof(text), "cannot go to %s: %s", dir, strerror(errno));
	else {
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		(void)execv(program, argv);
		(void)snprintf(text, sizeof(text), "cannot run %s: %s", program, strerror(errno));
	}
	(void)sv_up_send(SV_INHERIT_FD, SV_UP_MSG_FAILED, text);
	_exit(127);
}

int
sv_upgrade_start(struct sv_upgrade *u, const char *program, char *const *argv,
    const char *dir, const struct sv_handed *handed, size_t n, struct tn_buf *err)
{
	struct sv_handed all[SV_INHERIT_MAX];
	int pair[2] = { -1, -1 };
	sigset_t every, old;
	pid_t pid;

	if (n + 1 > SV_INHERIT_MAX || dir == NULL) {
		tn_buf_puts(err, dir == NULL ? "the working directory is not known" :
		    "too many descriptors");
		return TN_EINVAL;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		tn_buf_printf(err, "socketpair: %s", strerror(errno));
		return TN_ESYS;
	}
	all[0] = (struct sv_handed){ SV_INHERIT_CHANNEL, pair[1] };
	memcpy(&all[1], handed, n * sizeof(*handed));
	(void)fflush(NULL);
	/* No handler of ours may run in the child. */
	(void)sigfillset(&every);
	(void)sigprocmask(SIG_SETMASK, &every, &old);
	if ((pid = fork()) == 0)
		run_program(program, argv, dir, all, n + 1);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0) {
		tn_buf_printf(err, "fork: %s", strerror(errno));
		tn_fd_close(&pair[0]);
		tn_fd_close(&pair[1]);
		return TN_ESYS;
	}
	tn_fd_close(&pair[1]);
	u->pid = pid;
	u->channel = pair[0];
	return 0;
}

void
sv_upgrade_kill(struct sv_upgrade *u)
{
	/* Not reaped yet: the number is its own. */
	if (u->pid > 0)
		(void)kill(u->pid, SIGKILL);
}

void
sv_upgrade_forget(struct sv_upgrade *u)
{
	u->pid = 0;
	u->due_us = 0;
	tn_buf_fini(&u->why);
}

char *
sv_upgrade_program(const char *argv0)
{
	char path[PATH_MAX], cwd[PATH_MAX];
	struct stat named, self;
	ssize_t n;

	if (argv0 != NULL && strchr(argv0, '/') != NULL && stat(argv0, &named) == 0 &&
	    stat("/proc/self/exe", &self) == 0 && named.st_dev == self.st_dev &&
	    named.st_ino == self.st_ino) {
		if (*argv0 == '/')
			return strdup(argv0);
		if (getcwd(cwd, sizeof(cwd)) != NULL &&
		    snprintf(path, sizeof(path), "%s/%s", cwd, argv0) < (int)sizeof(path))
			return strdup(path);
	}
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return strdup(path);
}
