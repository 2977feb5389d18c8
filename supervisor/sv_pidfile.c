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

static struct sv_pidfile *
pidfile_new(const char *run_dir, struct tn_buf *err)
{
	size_t bytes = strlen(run_dir) + sizeof("/" SV_PIDFILE_NEXT);
	struct sv_pidfile *pf = malloc(sizeof(*pf) + bytes);

	if (pf == NULL) {
		tn_buf_puts(err, "out of memory");
		return NULL;
	}
	(void)snprintf(pf->path, bytes, "%s/%s", run_dir, SV_PIDFILE_NAME);
	pf->fd = -1;
	return pf;
}

/* The next file's path; `path` has room for it. */
#define NEXT_MAX	4096
static void
next_path(const struct sv_pidfile *pf, char path[NEXT_MAX])
{
	(void)snprintf(path, NEXT_MAX, "%s%s", pf->path,
	    SV_PIDFILE_NEXT + sizeof(SV_PIDFILE_NAME) - 1);
}

static int
write_pid(int fd, const char *path, struct tn_buf *err)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
		tn_buf_printf(err, "cannot write %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	(void)fchmod(fd, 0644);
	return 0;
}

int
sv_pidfile_take(struct sv_pidfile **out, const char *run_dir, pid_t *holder, bool *stale,
    struct tn_buf *err)
{
	struct sv_pidfile *pf;
	int i;

	*holder = 0;
	*stale = false;
	if ((pf = pidfile_new(run_dir, err)) == NULL)
		return TN_ENOMEM;
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
		if (write_pid(pf->fd, pf->path, err) != 0)
			break;
		*out = pf;
		return 0;
	}
	if (i == ATTEMPTS)
		tn_buf_printf(err, "cannot lock %s: it is removed again and again", pf->path);
	tn_fd_close(&pf->fd);
	free(pf);
	return TN_ESYS;
}

int
sv_pidfile_next(const struct sv_pidfile *pf, int *fd, struct tn_buf *err)
{
	char path[NEXT_MAX];

	next_path(pf, path);
	(void)unlink(path);		/* of an upgrade that was killed */
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0644);
	if (*fd < 0 || flock(*fd, LOCK_EX | LOCK_NB) != 0) {
		tn_buf_printf(err, "cannot make %s: %s", path, strerror(errno));
		tn_fd_close(fd);
		return TN_ESYS;
	}
	return 0;
}

int
sv_pidfile_adopt(struct sv_pidfile **out, const char *run_dir, int *fd, struct tn_buf *err)
{
	struct sv_pidfile *pf = pidfile_new(run_dir, err);
	char path[NEXT_MAX];

	if (pf == NULL)
		return TN_ENOMEM;
	next_path(pf, path);
	if (!same_file(*fd, path)) {
		tn_buf_printf(err,
		    "run_dir: %s is not the directory of the server that is to be taken over: "
		    "another run_dir needs a restart",
		    run_dir);
		free(pf);
		return TN_EINVAL;
	}
	pf->fd = *fd;
	*fd = -1;
	*out = pf;
	return 0;
}

int
sv_pidfile_commit(struct sv_pidfile *pf, struct tn_buf *err)
{
	char path[NEXT_MAX];
	int rc;

	next_path(pf, path);
	if ((rc = write_pid(pf->fd, path, err)) != 0)
		return rc;
	if (rename(path, pf->path) != 0) {
		tn_buf_printf(err, "cannot rename %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	return 0;
}

int
sv_pidfile_reclaim(struct sv_pidfile *pf, int *next_fd, struct tn_buf *err)
{
	char path[NEXT_MAX];
	int rc = 0;

	next_path(pf, path);
	if (same_file(*next_fd, path))
		(void)unlink(path);
	else if (same_file(*next_fd, pf->path)) {
		/* It died right after it had committed; the lock is the descriptor's, ours too. */
		tn_fd_close(&pf->fd);
		pf->fd = *next_fd;
		*next_fd = -1;
		rc = write_pid(pf->fd, pf->path, err);
	}
	tn_fd_close(next_fd);
	return rc;
}

int
sv_pidfile_fd(const struct sv_pidfile *pf)
{
	return pf->fd;
}

void
sv_pidfile_release(struct sv_pidfile **pfp)
{
	struct sv_pidfile *pf = *pfp;

	if (pf == NULL)
		return;
	*pfp = NULL;
	if (same_file(pf->fd, pf->path))
		(void)unlink(pf->path);
	tn_fd_close(&pf->fd);
	free(pf);
}
