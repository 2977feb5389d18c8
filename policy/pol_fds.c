#include "config.h"

#include "pol_layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pol_err.h"
#include "tn_err.h"

int
pol_fds(const int *keep, size_t nkeep, int end, char err[POL_ERR_MAX])
{
	unsigned from = 0;

	for (size_t i = 0; i < nkeep; i++) {
		if (keep[i] < 0 || (unsigned)keep[i] < from) {
			(void)snprintf(err, POL_ERR_MAX, "descriptors to keep are not in order");
			return TN_EINVAL;
		}
		if ((unsigned)keep[i] > from && close_range(from, (unsigned)keep[i] - 1, 0) != 0)
			return pol_err(err, "close_range");
		from = (unsigned)keep[i] + 1;
	}
	if (close_range(from, ~0u, 0) != 0)
		return pol_err(err, "close_range");
	for (int fd = 0; fd < end || fd < (int)from; fd++)
		if ((fcntl(fd, F_GETFD) >= 0) != (fd < end)) {
			(void)snprintf(err, POL_ERR_MAX, "descriptor %d is %s, but %d are to be open",
			    fd, fd < end ? "closed" : "open", end);
			return TN_EINVAL;
		}
	return 0;
}
