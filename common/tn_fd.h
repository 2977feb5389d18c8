/*
 * tn_fd.h - descriptors: passing them, closing them, moving them.
 */
#ifndef TN_FD_H
#define TN_FD_H

#include <stddef.h>
#include <sys/types.h>

#define TN_FD_PASS_MAX 8

/*
 * Send bytes and up to TN_FD_PASS_MAX descriptors (still the caller's) in one
 * message, with MSG_NOSIGNAL.  Returns bytes sent, or TN_EAGAIN, TN_ECLOSED,
 * TN_ESYS (errno says more).
 */
ssize_t tn_fd_send(int sock, const void *p, size_t len, const int *fds, int nfds);

/*
 * Receive into p; descriptors that came are put in fds (close-on-exec, the
 * caller's to close), *nfds in: room, out: how many.  More than there is room
 * for are closed and TN_EPROTO is returned, so is a truncated message (which one
 * looks like, too, when this process has no free descriptor number left; p has what
 * there was room for).
 * Returns bytes, 0 never (EOF is TN_ECLOSED), TN_EAGAIN, TN_ESYS.
 */
ssize_t tn_fd_recv(int sock, void *p, size_t len, int *fds, int *nfds);

int tn_fd_nonblock(int fd);
int tn_fd_cloexec(int fd, int on);
/* close() and set to -1; accepts -1. */
void tn_fd_close(int *fd);
/*
 * memfd with the name (shown in /proc/PID/maps), of `bytes` bytes, sealing allowed,
 * CLOEXEC; or TN_ESYS.
 */
int tn_fd_memfd(const char *name, size_t bytes);
/* Host pid behind a pidfd, from /proc/self/fdinfo; -1 when gone. */
pid_t tn_fd_pidfd_pid(int pidfd);

#endif
