/*
 * sv_place.c - where a contract's files stand.
 */
#include "config.h"

#include "sv_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tn_err.h"

#define VERSIONS	".versions"
#define HASH_DIGITS	16u
#define HEX		"0123456789abcdef"
#define DIGITS		"0123456789"
/* ".versions/", an identifier, "/", a version; a link this long is not cut. */
#define LINK_MAX_BYTES	128u
#define ATTEMPTS	8	/* the link may move while it is followed */
#define FLAGS		(O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* HASH or HASH.N, as worker/toolchain/store.js names versions. */
static bool
version_ok(const char *s)
{
	size_t n;

	if (strspn(s, HEX) != HASH_DIGITS)
		return false;
	s += HASH_DIGITS;
	if (*s == '\0')
		return true;
	n = strspn(s + 1, DIGITS);
	return *s == '.' && n > 0 && s[1 + n] == '\0';
}

/* The version in a link's text; NULL when deploy did not write that. */
static const char *
version_of(const char *text, const char *id)
{
	size_t n = strlen(VERSIONS), idlen = strlen(id);

	if (strncmp(text, VERSIONS "/", n + 1) != 0)
		return NULL;
	text += n + 1;
	if (strncmp(text, id, idlen) != 0 || text[idlen] != '/')
		return NULL;
	text += idlen + 1;
	return version_ok(text) ? text : NULL;
}

/* One step at a time: not one of them may be a link. */
static int
open_version(int contracts_fd, const char *id, const char *version)
{
	int all, own, fd = -1, err = errno;

	if ((all = openat(contracts_fd, VERSIONS, FLAGS)) < 0)
		return -1;
	if ((own = openat(all, id, FLAGS)) >= 0) {
		fd = openat(own, version, FLAGS);
		err = errno;
		close(own);
	} else
		err = errno;
	close(all);
	errno = err;
	return fd;
}

static int
refuse(int rc, const char *what, const char **why)
{
	*why = what;
	return rc;
}

int
sv_place_open(int contracts_fd, const char *id, const char **why)
{
	char text[LINK_MAX_BYTES];
	const char *version;
	ssize_t n;
	int fd, i;

	*why = "";
	for (i = 0; i < ATTEMPTS; i++) {
		if ((fd = openat(contracts_fd, id, FLAGS)) >= 0)
			return fd;
		if (errno == ENOENT)
			return TN_ENOENT;
		if (errno != ENOTDIR && errno != ELOOP)
			return refuse(TN_ESYS, strerror(errno), why);
		n = readlinkat(contracts_fd, id, text, sizeof(text) - 1);
		if (n < 0) {
			if (errno == EINVAL || errno == ENOENT)
				return TN_ENOENT;	/* a plain file; or gone just now */
			return refuse(TN_ESYS, strerror(errno), why);
		}
		text[n] = '\0';
		if ((version = version_of(text, id)) == NULL)
			return refuse(TN_EDENIED, "a symbolic link that tana deploy did not make",
			    why);
		if ((fd = open_version(contracts_fd, id, version)) >= 0)
			return fd;
		if (errno != ENOENT)
			return refuse(TN_ESYS, strerror(errno), why);
		/* Removed as an old version, maybe: then the link is another one by now. */
	}
	return refuse(TN_EDENIED, "the version that its link names is not there", why);
}
