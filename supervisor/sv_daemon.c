/*
 * sv_daemon.c - telling whoever started us how it went.
 */
#include "config.h"

#include "sv_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tn_fd.h"

static void wait_for_child(pid_t pid, int fd) __attribute__((noreturn));

static void
wait_for_child(pid_t pid, int fd)
{
	unsigned char code;
	ssize_t n;
	int status;

	while ((n = read(fd, &code, 1)) < 0 && errno == EINTR)
		;
	if (n == 1)
		_exit(code);
	/* It died without a word. */
	if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
		(void)fprintf(stderr,
		    "tana-edge: the server was killed by signal %d while it started\n",
		    WTERMSIG(status));
	else
		(void)fprintf(stderr, "tana-edge: the server ended while it started\n");
	_exit(TN_EXIT_FAILURE);
}

int
sv_daemon_detach(struct sv_daemon *d)
{
	int p[2], null;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) != 0)
		return TN_ESYS;
	(void)fflush(NULL);
	if ((pid = fork()) < 0) {
		tn_fd_close(&p[0]);
		tn_fd_close(&p[1]);
		return TN_ESYS;
	}
	if (pid > 0) {
		tn_fd_close(&p[1]);
		wait_for_child(pid, p[0]);
	}
	tn_fd_close(&p[0]);
	d->fd = p[1];
	d->detached = 1;
	(void)setsid();
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || chdir("/") != 0)
		return TN_ESYS;
	if (null > STDERR_FILENO)
		tn_fd_close(&null);
	return 0;
}

static void
tell(struct sv_daemon *d, enum tn_exit code)
{
	unsigned char byte = (unsigned char)code;
	ssize_t n;

	if (d->fd < 0)
		return;
	n = write(d->fd, &byte, 1);	/* SIGPIPE is ignored: a parent that left is no matter */
	(void)n;
	tn_fd_close(&d->fd);
}

void
sv_daemon_ready(struct sv_daemon *d, int log_fd)
{
	int null;

	sv_daemon_notify("READY=1\nMAINPID=%d\nSTATUS=Serving", (int)getpid());
	if (!d->detached)
		return;
	if (log_fd >= 0)
		(void)dup2(log_fd, STDERR_FILENO);
	else if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0) {
		(void)dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			tn_fd_close(&null);
	}
	tell(d, TN_EXIT_OK);
}

void
sv_daemon_failed(struct sv_daemon *d, enum tn_exit code)
{
	tell(d, code);
}

void
sv_daemon_reloading(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	sv_daemon_notify("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reading the configuration",
	    (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u);
}

void
sv_daemon_notify(const char *fmt, ...)
{
	char state[512];
	va_list ap;
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n;
	int fd;

	va_start(ap, fmt);
	(void)vsnprintf(state, sizeof(state), fmt, ap);
	va_end(ap);
	if (path == NULL || (*path != '/' && *path != '@') ||
	    (n = strlen(path)) >= sizeof(un.sun_path))
		return;
	memcpy(un.sun_path, path, n);
	if (*path == '@')
		un.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&un,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	tn_fd_close(&fd);
}
