/*
 * pol_tool.c - the layers of tana-worker as a tool: it runs a contract's code too,
 * for the author who deploys it, and needs neither files nor descriptors for that.
 */
#include "config.h"

#include "pol_sandbox.h"

#include <unistd.h>

#include "pol_err.h"
#include "pol_filter.h"
#include "pol_layers.h"

#define FIRST_TO_CLOSE	3u

int
pol_tool_enter(const char **lacks, char err[POL_ERR_MAX])
{
	uint32_t supported = pol_layers_supported();
	int rc;

	*lacks = NULL;
	err[0] = '\0';
	if (close_range(FIRST_TO_CLOSE, ~0u, 0) != 0)
		return pol_err(err, "close_range");
	if ((rc = pol_no_new_privs(err)) != 0 || (rc = pol_not_dumpable(err)) != 0)
		return rc;
	if ((supported & TN_LAYER_MDWE) != 0 && (rc = pol_mdwe(err)) != 0)
		return rc;
	if ((supported & TN_LAYER_LANDLOCK) != 0 && (rc = pol_landlock(-1, err)) != 0)
		return rc;
#ifndef WITH_SANITIZERS			/* which could not live with a filter */
	const struct pol_params none = { .restore = TN_RESTORE_DROP };
	struct pol_filter *f = NULL;

	if ((supported & TN_LAYER_SECCOMP) == 0) {
		*lacks = "the kernel has no seccomp filters";
		return 0;
	}
	/* Its few pages stay until the process ends: nothing more is freed in here. */
	if ((rc = pol_filter_compile(POL_FILTER_TOOL, &none, &f, err)) != 0)
		return rc;
	rc = pol_filter_install(f, err);
	pol_filter_free(&f);
#endif
	return rc;
}
