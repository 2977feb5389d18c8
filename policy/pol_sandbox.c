/*
 * pol_sandbox.c - the layers in their order.
 */
#include "config.h"

#include "pol_sandbox.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pol_filter.h"
#include "pol_layers.h"
#include "tn_err.h"

/* What the master says about its clone, and we have no layer of ours for. */
#define GIVEN	(TN_LAYER_USERNS | TN_LAYER_PIDNS | TN_LAYER_NETNS | TN_LAYER_IPCNS)

static struct {
	uint32_t		 layers;	/* in force in the zygote */
	struct pol_params	 params;
	struct pol_memory	 memory;
	struct pol_filter	*filters[POL_FILTERS];
} pol;

uint32_t
pol_layers_supported(void)
{
	uint32_t layers = TN_LAYER_ALL;

	if (pol_landlock_version() == 0)
		layers &= ~(uint32_t)TN_LAYER_LANDLOCK;
#ifdef WITH_SANITIZERS
	layers &= ~(uint32_t)(TN_LAYER_SECCOMP | TN_LAYER_MDWE);
#else
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
		layers &= ~(uint32_t)TN_LAYER_SECCOMP;
	/* PR_GET_MDWE */
	if (prctl(66, 0, 0, 0, 0) < 0)
		layers &= ~(uint32_t)TN_LAYER_MDWE;
#endif
	return layers;
}

static int
filter(enum pol_filter_kind kind, char err[POL_ERR_MAX])
{
#ifdef WITH_SANITIZERS
	(void)kind;
	(void)snprintf(err, POL_ERR_MAX, "not in a build with sanitizers");
	return TN_EUNAVAIL;
#else
	if (pol.filters[kind] == NULL) {
		(void)snprintf(err, POL_ERR_MAX, "the filter was not compiled");
		return TN_EUNAVAIL;
	}
	return pol_filter_install(pol.filters[kind], err);
#endif
}

/* The name of the lowest layer of a set. */
static const char *
name_of(uint32_t layers)
{
	const char *name = tn_layer_name(layers & -layers);

	return name != NULL ? name : "of an unknown bit";
}

/*
 * The progress through the steps of one process.  The first error that matters
 * stays, and nothing more is done after it.
 */
struct progress {
	uint32_t	 required;
	uint32_t	 layers;	/* all of whose steps went well, so far */
	uint32_t	 lost;		/* that failed, and are not required */
	int		 rc;
	char		*err;
	char		 why[POL_ERR_MAX];	/* of the last step */
};

static bool
going(const struct progress *g)
{
	return g->rc == 0;
}

/* A step's result: `layer` is in force, or not; 0: always required. */
static void
step(struct progress *g, uint32_t layer, const char *what, int rc)
{
	if (rc == 0) {
		g->layers |= layer;
		return;
	}
	g->lost |= layer;
	if (layer != 0 && (g->required & layer) == 0)
		return;
	g->rc = rc;
	(void)snprintf(g->err, POL_ERR_MAX, "sandbox layer %s: %.150s",
	    layer != 0 ? name_of(layer) : what, g->why);
}

/* All steps are done: is something missing that was not tried? */
static int
conclude(struct progress *g, uint32_t *layers)
{
	uint32_t missing;

	g->layers &= ~g->lost;
	missing = g->required & ~g->layers;
	if (going(g) && missing != 0) {
		g->rc = TN_EUNAVAIL;
		(void)snprintf(g->err, POL_ERR_MAX, "sandbox layer %s: required, but not there",
		    name_of(missing));
	}
	if (!going(g))
		return g->rc;
	*layers = g->layers;
	return 0;
}

static int
compile(const struct pol_params *p, char err[POL_ERR_MAX])
{
	for (int kind = 0; kind < POL_FILTER_TOOL; kind++) {
		int rc;

		pol_filter_free(&pol.filters[kind]);
		rc = pol_filter_compile((enum pol_filter_kind)kind, p, &pol.filters[kind], err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* A process namespace shows; so does the lie about one. */
static int
given(const struct pol_config *c, char err[POL_ERR_MAX])
{
	if ((c->present & TN_LAYER_PIDNS) != 0 && getpid() != 1) {
		(void)snprintf(err, POL_ERR_MAX, "process %ld is not the first of its namespace",
		    (long)getpid());
		return TN_EINVAL;
	}
	return 0;
}

int
pol_zygote_enter(const struct pol_config *c, uint32_t *layers, char err[POL_ERR_MAX])
{
	struct progress g = { .required = c->required, .err = err };
	struct pol_params *p = &pol.params;
	bool user = c->uid != POL_STAY || c->gid != POL_STAY;

	err[0] = '\0';
	*layers = 0;
	*p = c->params;
	if (c->required == 0) {
		if (user)
			step(&g, 0, "uid", pol_user(c->uid, c->gid, g.why));
		g.layers |= user ? TN_LAYER_UID : 0;
		return conclude(&g, layers);
	}

	/* While files can be opened. */
	step(&g, 0, "rlimits", pol_memory_now(&pol.memory, g.why));
	if (going(&g))
		step(&g, 0, "pidns", given(c, g.why));
	g.layers |= c->present & GIVEN;
	if (going(&g) && (c->present & TN_LAYER_MOUNTNS) != 0)
		step(&g, TN_LAYER_MOUNTNS, NULL, pol_root_empty(g.why));

	if (going(&g))
		step(&g, TN_LAYER_NOCAPS, NULL, pol_caps_bound(g.why));
	if (going(&g) && user) {
		step(&g, 0, "uid", pol_user(c->uid, c->gid, g.why));
		g.layers |= TN_LAYER_UID;
	}
	if (going(&g))
		step(&g, TN_LAYER_NOCAPS, NULL, pol_caps_drop(g.why));
	if (going(&g))
		step(&g, TN_LAYER_NNP, NULL, pol_no_new_privs(g.why));
	/* The change of user has reset it. */
	if (going(&g))
		step(&g, 0, "dumpable", pol_not_dumpable(g.why));
	if (going(&g))
		step(&g, TN_LAYER_MDWE, NULL, pol_mdwe(g.why));
	if (going(&g))
		step(&g, TN_LAYER_RLIMITS, NULL, pol_limits_zygote(g.why));
	if (going(&g))
		step(&g, TN_LAYER_LANDLOCK, NULL, pol_landlock(
		    p->restore != TN_RESTORE_DROP ? p->proc_fd : -1, g.why));
	/* A filter does not see paths: without both of these a zygote may open no file at all. */
	if ((g.layers & ~g.lost & (TN_LAYER_LANDLOCK | TN_LAYER_MOUNTNS)) == 0)
		p->restore = TN_RESTORE_DROP;
	if (going(&g) && (pol_layers_supported() & TN_LAYER_SECCOMP) != 0)
		step(&g, TN_LAYER_SECCOMP, NULL, compile(p, g.why));
	if (going(&g))
		step(&g, TN_LAYER_SECCOMP, NULL, filter(POL_FILTER_ZYGOTE, g.why));

	if (conclude(&g, layers) != 0)
		return g.rc;
	pol.layers = *layers;
	return 0;
}

int
pol_worker_pagemap(enum pol_role role, char err[POL_ERR_MAX])
{
	const struct pol_params *p = &pol.params;
	bool wanted = role == POL_WORKER && p->restore != TN_RESTORE_DROP;

	return pol_pagemap(wanted ? p->proc_fd : -1, p->pagemap_fd, err);
}

int
pol_worker_enter(const struct pol_worker_config *c, uint32_t *layers, char err[POL_ERR_MAX])
{
	struct progress g = { .required = c->required, .err = err, .layers = pol.layers };
	const struct pol_params *p = &pol.params;

	err[0] = '\0';
	*layers = 0;
	if (c->required == 0) {
		*layers = pol.layers;
		return 0;
	}
	g.layers &= ~(uint32_t)(TN_LAYER_RLIMITS | TN_LAYER_LANDLOCK | TN_LAYER_SECCOMP);

	step(&g, 0, "parent", pol_die_with(c->parent, g.why));
	/* Not again: it may have been for a moment, for its pagemap. */
	if (going(&g))
		step(&g, 0, "dumpable", pol_not_dumpable(g.why));
	if (going(&g))
		step(&g, 0, "descriptors", pol_fds(c->keep, c->nkeep, p->pagemap_fd + 1, g.why));
	/* Takes a descriptor for a moment, of which the limits leave none. */
	if (going(&g))
		step(&g, TN_LAYER_LANDLOCK, NULL, pol_landlock(-1, g.why));
	if (going(&g))
		step(&g, TN_LAYER_RLIMITS, NULL, pol_limits_worker(&pol.memory,
		    c->memory + p->arena_size, p->pagemap_fd + 1, c->cpu_seconds, g.why));
	if (going(&g))
		step(&g, TN_LAYER_SECCOMP, NULL,
		    filter(c->role == POL_BUILDER ? POL_FILTER_BUILDER : POL_FILTER_WORKER, g.why));
	return conclude(&g, layers);
}
