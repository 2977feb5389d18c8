#include "config.h"

#include "pol_layers.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

#define VERSION_FLAG	1u	/* LANDLOCK_CREATE_RULESET_VERSION */

/*
 * linux/landlock.h as far as the kernel has come; the headers of the build may be
 * older.  What is handled and has no rule is denied.
 */
struct attributes {
	uint64_t	fs;
	uint64_t	net;		/* from version 4 */
	uint64_t	scoped;		/* from version 6 */
};
struct beneath {
	uint64_t	access;
	int32_t		fd;
} __attribute__((packed));

#define PATH_BENEATH	1

#define READ_FILE	(UINT64_C(1) << 2)
#define FS_1		((UINT64_C(1) << 13) - 1)	/* EXECUTE ... MAKE_SYM */
#define FS_2		(UINT64_C(1) << 13)		/* REFER */
#define FS_3		(UINT64_C(1) << 14)		/* TRUNCATE */
#define FS_5		(UINT64_C(1) << 15)		/* IOCTL_DEV */
#define NET_4		(UINT64_C(3))			/* BIND_TCP, CONNECT_TCP */
#define SCOPED_6	(UINT64_C(3))			/* ABSTRACT_UNIX_SOCKET, SIGNAL */

int
pol_landlock_version(void)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);

	return v > 0 ? (int)v : 0;
}

int
pol_landlock(int readable, char err[POL_ERR_MAX])
{
	const struct beneath rule = { .access = READ_FILE, .fd = readable };
	struct attributes a = { .fs = FS_1 };
	size_t bytes = sizeof(a.fs);
	int version, fd, rc = 0;

	version = pol_landlock_version();
	if (version == 0) {
		(void)snprintf(err, POL_ERR_MAX, "the kernel has none, or it is switched off");
		return TN_EUNAVAIL;
	}
	if (version >= 2)
		a.fs |= FS_2;
	if (version >= 3)
		a.fs |= FS_3;
	if (version >= 5)
		a.fs |= FS_5;
	if (version >= 4) {
		a.net = NET_4;
		bytes = 2 * sizeof(uint64_t);
	}
	if (version >= 6) {
		a.scoped = SCOPED_6;
		bytes = sizeof(a);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &a, bytes, 0);
	if (fd < 0)
		return pol_err(err, "landlock_create_ruleset");
	/* What cannot be allowed stays denied, which the process that wants it will see. */
	if (readable >= 0)
		(void)syscall(SYS_landlock_add_rule, fd, PATH_BENEATH, &rule, 0);
	if (syscall(SYS_landlock_restrict_self, fd, 0) != 0)
		rc = pol_err(err, "landlock_restrict_self");
	(void)close(fd);
	return rc;
}
