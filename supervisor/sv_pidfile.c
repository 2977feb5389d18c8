/*
 * sv_pidfile.c - run_dir, and the lock in it that says whose it is.
 */
#include "config.h"

#include "sv_pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tn_err.h"
#include "tn_fd.h"

#define ATTEMPTS	20		/* against a file that is removed under our hands */

struct sv_pidfile {
	int	fd;
	char	path[];
};

int
sv_rundir_make(const char *path, struct tn_buf *err)
{
	struct stat st;

	if (mkdir(path, 0755) != 0 && errno != EEXIST) {
		tn_buf_printf(err, "run_dir: cannot make %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	if (stat(path, &st) != 0) {
		tn_buf_printf(err, "run_dir: %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	if (!S_ISDIR(st.st_mode)) {
		tn_buf_printf(err, "run_dir: %s is not a directory", path);
		return TN_ESYS;
	}
	if ((st.st_mode & S_IWOTH) != 0) {
		tn_buf_printf(err,
		    "run_dir: everybody can write to %s: a directory of the server's own is "
		    "needed",
		    path);
		return TN_EDENIED;
	}
	if (access(path, W_OK | X_OK) != 0) {
		tn_buf_printf(err, "run_dir: cannot write to %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	return 0;
}

static pid_t
read_pid(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *end;
	long pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	pid = strtol(text, &end, 10);
	return pid > 0 && pid <= 0x7fffffff && *end == '\n' ? (pid_t)pid : 0;
}

/* Is the descriptor's file still the one that has the name? */
static int
same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino;
}

int
sv_pidfile_take(struct sv_pidfile **out, const char *run_dir, pid_t *holder, bool *stale,
    struct tn_buf *err)
{
	struct sv_pidfile *pf;
	size_t bytes = strlen(run_dir) + sizeof("/" SV_PIDFILE_NAME);
	char text[32];
	int i, n;

	*holder = 0;
	*stale = false;
	if ((pf = malloc(sizeof(*pf) + bytes)) == NULL) {
		tn_buf_puts(err, "out of memory");
		return TN_ENOMEM;
	}
	(void)snprintf(pf->path, bytes, "%s/%s", run_dir, SV_PIDFILE_NAME);
	for (i = 0; i < ATTEMPTS; i++) {
		pf->fd = open(pf->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0644);
		if (pf->fd < 0) {
			tn_buf_printf(err, "cannot open %s: %s", pf->path, strerror(errno));
			break;
		}
		if (flock(pf->fd, LOCK_EX | LOCK_NB) != 0) {
			if (errno != EWOULDBLOCK) {
				tn_buf_printf(err, "cannot lock %s: %s", pf->path, strerror(errno));
				break;
			}
			*holder = read_pid(pf->fd);
			if (*holder == 0 && i + 1 < ATTEMPTS) {
				/* It has the lock and is about to write its pid. */
				tn_fd_close(&pf->fd);
				(void)usleep(10000);
				continue;
			}
			tn_buf_printf(err, "another server (pid %d) already runs with run_dir %s",
			    (int)*holder, run_dir);
			tn_fd_close(&pf->fd);
			free(pf);
			return TN_EBUSY;
		}
		if (!same_file(pf->fd, pf->path)) {	/* its owner removed it as it ended */
			tn_fd_close(&pf->fd);
			continue;
		}
		*stale = read_pid(pf->fd) != 0;
		n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
		if (ftruncate(pf->fd, 0) != 0 || pwrite(pf->fd, text, (size_t)n, 0) != n) {
			tn_buf_printf(err, "cannot write %s: %s", pf->path, strerror(errno));
			break;
		}
		(void)fchmod(pf->fd, 0644);
		*out = pf;
		return 0;
	}
	if (i == ATTEMPTS)
		tn_buf_printf(err, "cannot lock %s: it is removed again and again", pf->path);
	tn_fd_close(&pf->fd);
	free(pf);
	return TN_ESYS;
}

void
sv_pidfile_release(struct sv_pidfile **pfp)
{
	struct sv_pidfile *pf = *pfp;

	if (pf == NULL)
		return;
	*pfp = NULL;
	(void)unlink(pf->path);
	tn_fd_close(&pf->fd);
	free(pf);
}
