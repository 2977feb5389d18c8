#include "config.h"

#include "pol_layers.h"

#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

/* One inode: the root itself. */
#define TMPFS_OPTIONS	"size=4k,nr_inodes=1,mode=0555"
#define MOUNT_FLAGS	(MS_NOSUID | MS_NODEV | MS_NOEXEC)

int
pol_root_empty(char err[POL_ERR_MAX])
{
	/* Somewhere to stand on for a moment; every system has it. */
	static const char *const place = "/proc";
	struct stat st;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return pol_err(err, "making all mounts private");
	if (mount("tana", place, "tmpfs", MOUNT_FLAGS, TMPFS_OPTIONS) != 0)
		return pol_err(err, "mounting an empty root");
	if (chdir(place) != 0)
		return pol_err(err, "entering the empty root");
	/* The old root comes to lie on the new one, and goes with everything below it. */
	if (syscall(SYS_pivot_root, ".", ".") != 0)
		return pol_err(err, "pivot_root");
	if (umount2(".", MNT_DETACH) != 0)
		return pol_err(err, "unmounting the old root");
	if (chdir("/") != 0)
		return pol_err(err, "chdir to the empty root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MOUNT_FLAGS, TMPFS_OPTIONS) != 0)
		return pol_err(err, "making the empty root read-only");
	if (stat("/proc", &st) == 0) {
		(void)snprintf(err, POL_ERR_MAX, "the new root is not empty");
		return TN_ESYS;
	}
	return 0;
}
