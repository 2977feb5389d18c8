#include "config.h"

#include "pol_layers.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

int
pol_pagemap(int proc_fd, int as, char err[POL_ERR_MAX])
{
	int fd = -1, from, rc;

	if (proc_fd >= 0 && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0)
		fd = openat(proc_fd, "self/pagemap", O_RDONLY | O_CLOEXEC);
	rc = pol_not_dumpable(err);
	if (rc != 0)
		return rc;
	from = fd >= 0 ? fd : STDIN_FILENO;
	if (from != as && dup2(from, as) < 0)
		return pol_err(err, "descriptor of the pagemap");
	if (fd < 0) {
		(void)snprintf(err, POL_ERR_MAX, "no pagemap");
		return TN_EUNAVAIL;
	}
	if (fd != as)
		(void)close(fd);
	return 0;
}
