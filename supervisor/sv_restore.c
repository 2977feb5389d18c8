/*
 * sv_restore.c - put a backup in the place of contracts' data.
 *
 * Root does this in a directory that is the front's user's: nothing is followed
 * there, and nothing written to what was there before.
 */
#include "config.h"

#include "sv_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_lmdb_check.h"
#include "sv_pidfile.h"
#include "sv_user.h"
#include "tn_fd.h"
#include "tn_options.h"

#define CHUNK	65536u
#define NEW	"data.mdb.new"

static int
copy(int from, int to, uint64_t *bytes)
{
	static char chunk[CHUNK];
	ssize_t n, done, w;

	*bytes = 0;
	while ((n = read(from, chunk, sizeof(chunk))) > 0) {
		for (done = 0; done < n; done += w)
			if ((w = write(to, chunk + done, (size_t)(n - done))) < 0)
				return TN_ESYS;
		*bytes += (uint64_t)n;
	}
	return n == 0 && fsync(to) == 0 ? 0 : TN_ESYS;
}

/* state_dir/data, made if it is missing; -1 with errno. */
static int
open_data(const struct tn_options *o, const struct sv_user *user)
{
	int state, fd = -1;

	if ((state = open(o->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	if (mkdirat(state, "data", 0700) == 0 && user != NULL &&
	    fchownat(state, "data", user->uid, user->gid, AT_SYMLINK_NOFOLLOW) != 0)
		goto out;
	fd = openat(state, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
out:
	tn_fd_close(&state);
	return fd;
}

static int
replace(int data, const char *file, const struct sv_user *user, uint64_t *bytes)
{
	int from, to = -1, rc = TN_ESYS, error;

	if ((from = open(file, O_RDONLY | O_CLOEXEC)) < 0)
		return TN_ESYS;
	(void)unlinkat(data, NEW, 0);
	to = openat(data, NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to >= 0 && (user == NULL || fchown(to, user->uid, user->gid) == 0) &&
	    copy(from, to, bytes) == 0 && renameat(data, NEW, data, "data.mdb") == 0) {
		/* It tells of readers and writers, of which there are none. */
		(void)unlinkat(data, "lock.mdb", 0);
		(void)fsync(data);
		rc = 0;
	}
	error = errno;
	if (rc != 0)
		(void)unlinkat(data, NEW, 0);
	tn_fd_close(&from);
	tn_fd_close(&to);
	errno = error;
	return rc;
}

static enum tn_exit
restore_locked(const struct tn_options *o, const char *file, const struct sv_user *user,
    struct tn_buf *text)
{
	char why[SV_STORAGE_TEXT_MAX] = "";
	uint64_t bytes = 0;
	int data, rc;

	if (sv_lmdb_check(file, why) != 0) {
		tn_buf_printf(text, "not restored: %s", why);
		return TN_EXIT_FAILURE;
	}
	if ((data = open_data(o, user)) < 0) {
		tn_buf_printf(text, "not restored: %s/data: %s", o->state_dir, strerror(errno));
		return TN_EXIT_FAILURE;
	}
	rc = replace(data, file, user, &bytes);
	if (rc != 0)
		tn_buf_printf(text, "not restored: %s to %s/data: %s", file, o->state_dir,
		    strerror(errno));
	else
		tn_buf_printf(text, "restored: %llu bytes in %s/data", (unsigned long long)bytes,
		    o->state_dir);
	tn_fd_close(&data);
	return rc == 0 ? TN_EXIT_OK : TN_EXIT_FAILURE;
}

enum tn_exit
sv_restore(const struct tn_options *o, const char *file, struct tn_buf *text)
{
	struct sv_user user, worker_user;
	bool root = geteuid() == 0;
	struct sv_pidfile *pf = NULL;
	enum tn_exit code;
	bool stale;
	pid_t holder = 0;
	int rc;

	if (root && sv_user_pair(&user, &worker_user, o->user, o->worker_user, text) != 0)
		return TN_EXIT_CONFIG;
	if (sv_rundir_make(o->run_dir, text) != 0)
		return TN_EXIT_FAILURE;
	if ((rc = sv_pidfile_take(&pf, o->run_dir, &holder, &stale, text)) != 0) {
		if (rc != TN_EBUSY)
			return TN_EXIT_FAILURE;
		tn_buf_reset(text);
		tn_buf_printf(text, "not restored: a server runs (pid %d): it has the run_dir %s",
		    (int)holder, o->run_dir);
		return TN_EXIT_RUNNING;
	}
	code = restore_locked(o, file, root ? &user : NULL, text);
	sv_pidfile_release(&pf);
	return code;
}
