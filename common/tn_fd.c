#include "config.h"

#include "tn_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tn_err.h"

/* Linux 6.3; older headers and kernels do without. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

union control {
	struct cmsghdr	align;
	char		room[CMSG_SPACE(sizeof(int) * TN_FD_PASS_MAX)];
};

ssize_t
tn_fd_send(int sock, const void *p, size_t len, const int *fds, int nfds)
{
	union control c;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;
	ssize_t n;

	/* Without a byte to ride on, descriptors are lost or look like EOF. */
	if (len == 0 || nfds < 0 || nfds > TN_FD_PASS_MAX)
		return TN_EINVAL;
	if (nfds > 0) {
		memset(&c, 0, sizeof(c));
		m.msg_control = &c;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
		memcpy(CMSG_DATA(h), fds, sizeof(int) * (size_t)nfds);
	}
	while ((n = nfds > 0 ? sendmsg(sock, &m, MSG_NOSIGNAL) :
	    send(sock, p, len, MSG_NOSIGNAL)) == -1) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return TN_EAGAIN;
		if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
			return TN_ECLOSED;
		return TN_ESYS;
	}
	return n;
}

ssize_t
tn_fd_recv(int sock, void *p, size_t len, int *fds, int *nfds)
{
	/* Always room for all that may come: what does not fit, the kernel only flags. */
	union control c;
	struct iovec iov = { .iov_base = p, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c,
	    .msg_controllen = sizeof(c) };
	struct cmsghdr *h;
	int room, got = 0, fd;
	bool broken;
	size_t i, k;
	ssize_t n;

	room = nfds != NULL && fds != NULL ? *nfds : 0;
	if (nfds != NULL)
		*nfds = 0;
	if (len == 0)
		return TN_EINVAL;
	while ((n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC)) == -1) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return TN_EAGAIN;
		if (errno == ECONNRESET)
			return TN_ECLOSED;
		return TN_ESYS;
	}
	broken = (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	for (h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < k; i++) {
			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (got < room)
				fds[got++] = fd;
			else {
				close(fd);
				broken = true;
			}
		}
	}
	if (broken || n == 0) {
		while (got > 0)
			tn_fd_close(&fds[--got]);
		return broken ? TN_EPROTO : TN_ECLOSED;
	}
	if (nfds != NULL)
		*nfds = got;
	return n;
}

int
tn_fd_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl == -1 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) == -1)
		return TN_ESYS;
	return TN_OK;
}

int
tn_fd_cloexec(int fd, int on)
{
	int fl = fcntl(fd, F_GETFD);

	if (fl == -1 || fcntl(fd, F_SETFD, on ? fl | FD_CLOEXEC : fl & ~FD_CLOEXEC) == -1)
		return TN_ESYS;
	return TN_OK;
}

void
tn_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int
tn_fd_memfd(const char *name, size_t bytes)
{
	int fd, saved;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd == -1 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd == -1)
		return TN_ESYS;
	if (ftruncate(fd, (off_t)bytes) == -1) {
		saved = errno;
		close(fd);
		errno = saved;
		return TN_ESYS;
	}
	return fd;
}

pid_t
tn_fd_pidfd_pid(int pidfd)
{
	char path[40], text[1024];
	char *line;
	long pid;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	if (strncmp(text, "Pid:", 4) == 0)
		line = text;
	else if ((line = strstr(text, "\nPid:")) != NULL)
		line++;
	else
		return -1;
	/* -1: reaped; 0: not a process that this pid namespace can see. */
	pid = strtol(line + 4, NULL, 10);
	return pid > 0 ? (pid_t)pid : -1;
}
