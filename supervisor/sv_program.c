/*
 * sv_program.c - where the programs are that the master starts.
 */
#include "config.h"

#include "sv_program.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tn_err.h"

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *
sv_program_find(const char *option, const char *value, const char *name, const char *dir,
    struct tn_buf *err)
{
	char self[PATH_MAX], *path, *slash;
	ssize_t n;

	if (*value != '\0') {
		if (is_program(value) && (path = realpath(value, NULL)) != NULL)
			return path;
		tn_buf_printf(err, "%s: %s: %s", option, value,
		    access(value, F_OK) != 0 ? strerror(errno) : "not a program");
		return NULL;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	if ((slash = strrchr(self, '/')) != NULL) {
		slash[1] = '\0';
		if (asprintf(&path, "%s%s", self, name) < 0)
			goto nomem;
		if (is_program(path))
			return path;
		free(path);
	}
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		goto nomem;
	if (is_program(path))
		return path;
	tn_buf_printf(
	    err, "%s: there is no program %s, neither in %s nor in %s", option, name, self, dir);
	free(path);
	return NULL;
nomem:
	tn_buf_puts(err, "out of memory");
	return NULL;
}

static bool
permits(const struct stat *st, const struct sv_user *u, mode_t bits)
{
	int i;

	if (st->st_uid == u->uid)
		return (st->st_mode >> 6 & bits) == bits;
	if (st->st_gid == u->gid)
		return (st->st_mode >> 3 & bits) == bits;
	for (i = 0; i < u->ngroups; i++)
		if (st->st_gid == u->groups[i])
			return (st->st_mode >> 3 & bits) == bits;
	return (st->st_mode & bits) == bits;
}

bool
sv_program_explain(const char *path, const struct sv_user *user, bool ancestors, struct tn_buf *err)
{
	char real[PATH_MAX], part[PATH_MAX], *p = part;
	struct stat st;

	if (realpath(path, real) == NULL || (user == NULL && access(real, R_OK) != 0)) {
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		return true;
	}
	if (user == NULL)
		return false;
	memcpy(part, real, sizeof(part));
	while (ancestors && (p = strchr(p + 1, '/')) != NULL) {
		*p = '\0';
		if (stat(part, &st) == 0 && !permits(&st, user, 1)) {
			tn_buf_printf(err, "user %s cannot reach %s: %s is closed to it",
			    user->name, real, part);
			return true;
		}
		*p = '/';
	}
	if (stat(real, &st) == 0 && !permits(&st, user, S_ISDIR(st.st_mode) ? 5 : 4)) {
		tn_buf_printf(err, "user %s may not read %s", user->name, real);
		return true;
	}
	return false;
}
