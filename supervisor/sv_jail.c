/*
 * sv_jail.c - a root of its own for the compile helper.
 */
#include "config.h"

#include "sv_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tn_err.h"

#define ROOT_OPTIONS	"size=64k,nr_inodes=512,mode=0755"
/* Room for a compiler that unpacks itself before it runs. */
#define TMP_OPTIONS	"size=96m,nr_inodes=1024,mode=0700"
#define NEEDS		"# needs: "
#define HEAD_BYTES	4096

/*
 * What programs take for granted; what a system does not have is left out.  A
 * symbolic link (/lib on most) stays one.
 */
static const char *const standard[] = {
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf",
	"/etc/ld.so.conf.d", "/etc/alternatives", "/dev/null", "/dev/zero", "/dev/urandom",
};
#define NSTANDARD (sizeof(standard) / sizeof(standard[0]))

/* Is path below dir, or dir itself? */
static bool
within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static int
add(struct sv_jail *j, const char *path, struct tn_buf *err)
{
	size_t i, n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	if (*path != '/' || n == 1 || strstr(path, "/..") != NULL || within(path, "/proc") ||
	    within(path, SV_JAIL_TMP)) {
		tn_buf_printf(err, "compiler: cannot show it %s", path);
		return TN_EINVAL;
	}
	for (i = 0; i < j->nbind; i++)
		if (within(path, j->bind[i]))
			return 0;
	if (j->nbind == SV_JAIL_BINDS) {
		tn_buf_printf(err, "compiler: it needs more than %d paths", SV_JAIL_BINDS);
		return TN_ELIMIT;
	}
	if ((j->bind[j->nbind] = strndup(path, n)) == NULL) {
		tn_buf_puts(err, "out of memory");
		return TN_ENOMEM;
	}
	j->nbind++;
	return 0;
}

static int
add_needs(struct sv_jail *j, const char *program, struct tn_buf *err)
{
	char head[HEAD_BYTES + 1], *line, *end;
	ssize_t n;
	int fd, rc = 0;

	if ((fd = open(program, O_RDONLY | O_CLOEXEC)) < 0) {
		tn_buf_printf(err, "compiler: %s: %s", program, strerror(errno));
		return TN_ESYS;
	}
	n = read(fd, head, HEAD_BYTES);
	(void)close(fd);
	if (n < 2 || memcmp(head, "#!", 2) != 0)
		return 0;
	head[n] = '\0';
	for (line = head; rc == 0 && line != NULL; line = end != NULL ? end + 1 : NULL) {
		if ((end = strchr(line, '\n')) != NULL)
			*end = '\0';
		if (strncmp(line, NEEDS, strlen(NEEDS)) == 0)
			rc = add(j, line + strlen(NEEDS), err);
	}
	return rc;
}

static int
by_length(const void *a, const void *b)
{
	size_t n = strlen(*(char *const *)a), m = strlen(*(char *const *)b);

	return n < m ? -1 : n > m;
}

/* What lies below another one comes with it; and the outer one must come first. */
static void
drop_inner(struct sv_jail *j)
{
	size_t i, k, n = 0;

	qsort(j->bind, j->nbind, sizeof(j->bind[0]), by_length);
	for (i = 0; i < j->nbind; i++) {
		for (k = 0; k < n && !within(j->bind[i], j->bind[k]); k++)
			;
		if (k < n)
			free(j->bind[i]);
		else
			j->bind[n++] = j->bind[i];
	}
	j->nbind = n;
}

int
sv_jail_init(struct sv_jail *j, const char *place, const char *program, const char *dir, uid_t uid,
    gid_t gid, struct tn_buf *err)
{
	size_t i;
	int rc = 0;

	memset(j, 0, sizeof(*j));
	(void)snprintf(j->tmp_options, sizeof(j->tmp_options), TMP_OPTIONS ",uid=%u,gid=%u",
	    (unsigned)uid, (unsigned)gid);
	if ((j->place = strdup(place)) == NULL)
		rc = TN_ENOMEM;
	for (i = 0; rc == 0 && i < NSTANDARD; i++)
		if (access(standard[i], F_OK) == 0)
			rc = add(j, standard[i], err);
	if (rc == 0)
		rc = add(j, program, err);
	if (rc == 0)
		rc = add_needs(j, program, err);
	if (rc == 0)
		rc = add(j, dir, err);
	if (rc != 0)
		sv_jail_fini(j);
	else
		drop_inner(j);
	return rc;
}

void
sv_jail_fini(struct sv_jail *j)
{
	size_t i;

	for (i = 0; i < j->nbind; i++)
		free(j->bind[i]);
	free(j->place);
	memset(j, 0, sizeof(*j));
}

/* Make all directories above the path (absolute; taken from where we stand). */
static int
make_parents(const char *path)
{
	char part[PATH_MAX];
	const char *p;

	for (p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		if ((size_t)(p - path) >= sizeof(part)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(part, path + 1, (size_t)(p - path - 1));
		part[p - path - 1] = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

/* A mount of the path, nowhere yet; read-only, for good. */
static int
clone_mount(const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID };
	int fd;

	if (strncmp(path, "/dev/", 5) != 0)
		attr.attr_set |= MOUNT_ATTR_NODEV;
	fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd >= 0 &&
	    mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Show it at its own path below where we stand. */
static int
show(const char *path, int mount)
{
	struct stat st;
	int fd;

	if (make_parents(path) != 0 || fstat(mount, &st) != 0)
		return -1;
	if (S_ISDIR(st.st_mode)) {
		if (mkdir(path + 1, 0755) != 0 && errno != EEXIST)
			return -1;
	} else {
		if ((fd = open(path + 1, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0)
			return -1;
		(void)close(fd);
	}
	return move_mount(mount, "", AT_FDCWD, path + 1, MOVE_MOUNT_F_EMPTY_PATH);
}

const char *
sv_jail_enter(const struct sv_jail *j)
{
	char target[SV_JAIL_BINDS][PATH_MAX];	/* of links */
	int mount_of[SV_JAIL_BINDS], proc;
	struct stat st;
	ssize_t n;
	size_t i;

	(void)umask(022);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return "cannot make its mounts private";
	/* All of it before anything is covered. */
	for (i = 0; i < j->nbind; i++) {
		target[i][0] = '\0';
		if (lstat(j->bind[i], &st) == 0 && S_ISLNK(st.st_mode) &&
		    strrchr(j->bind[i], '/') == j->bind[i] &&
		    (n = readlink(j->bind[i], target[i], sizeof(target[i]) - 1)) > 0)
			target[i][n] = '\0';
		else if ((mount_of[i] = clone_mount(j->bind[i])) < 0)
			return "cannot show it what it needs";
	}
	proc = open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (mount("tana", j->place, "tmpfs", MS_NOSUID | MS_NODEV, ROOT_OPTIONS) != 0 ||
	    chdir(j->place) != 0)
		return "cannot make its root";
	for (i = 0; i < j->nbind; i++)
		if (target[i][0] != '\0' ? symlink(target[i], j->bind[i] + 1) != 0 :
		    show(j->bind[i], mount_of[i]) != 0)
			return "cannot put what it needs into its root";
	/* Its own, of its own process namespace; where that is forbidden, the system's. */
	if (mkdir("proc", 0755) != 0 ||
	    (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0 &&
	    (proc < 0 || move_mount(proc, "", AT_FDCWD, "proc", MOVE_MOUNT_F_EMPTY_PATH) != 0)))
		return "cannot give it /proc";
	if (mkdir(&SV_JAIL_TMP[1], 0755) != 0 ||
	    mount("tana", &SV_JAIL_TMP[1], "tmpfs", MS_NOSUID | MS_NODEV, j->tmp_options) != 0)
		return "cannot give it " SV_JAIL_TMP;
	if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
	    chdir("/") != 0)
		return "cannot change to its root";
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, ROOT_OPTIONS) !=
	    0)
		return "cannot make its root read-only";
	return NULL;
}
