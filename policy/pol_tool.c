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

#ifdef WITH_SANITIZERS	/* could not live with a filter, and look for leaks in /proc at the end */
static int
close_in(const char **lacks, char err[POL_ERR_MAX])
{
	(void)lacks;
	(void)err;
	return 0;
}
#else
static int
close_in(const char **lacks, char err[POL_ERR_MAX])
{
	const struct pol_params none = { .restore = TN_RESTORE_DROP };
	uint32_t supported = pol_layers_supported();
	struct pol_filter *f = NULL;
	int rc;

	if ((rc = pol_not_dumpable(err)) != 0)
		return rc;
	if ((supported & TN_LAYER_MDWE) != 0 && (rc = pol_mdwe(err)) != 0)
		return rc;
	if ((supported & TN_LAYER_LANDLOCK) != 0 && (rc = pol_landlock(-1, err)) != 0)
		return rc;
	if ((supported & TN_LAYER_SECCOMP) == 0) {
		*lacks = "the kernel has no seccomp filters";
		return 0;
	}
	if ((rc = pol_filter_compile(POL_FILTER_TOOL, &none, &f, err)) != 0)
		return rc;
	rc = pol_filter_install(f, err);
	pol_filter_free(&f);
	return rc;
}
#endif

int
pol_tool_enter(const char **lacks, char err[POL_ERR_MAX])
{
	int rc;

	*lacks = NULL;
	err[0] = '\0';
	if (close_range(FIRST_TO_CLOSE, ~0u, 0) != 0)
		return pol_err(err, "close_range");
	if ((rc = pol_no_new_privs(err)) != 0)
		return rc;
	return close_in(lacks, err);
}
