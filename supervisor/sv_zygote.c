/*
 * sv_zygote.c - the master's side of a zygote.
 */
#include "config.h"

#include "sv_zygote.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sv_child.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_layers.h"
#include "tn_zygote.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE	66		/* Linux 6.3 */
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#define LANDLOCK_VERSION_FLAG	1u	/* LANDLOCK_CREATE_RULESET_VERSION */

/* What this build can have: a worker with AddressSanitizer cannot live with all of them. */
#ifdef WITH_SANITIZERS
#define BUILD_LAYERS	(~(uint32_t)(TN_LAYER_SECCOMP | TN_LAYER_MDWE))
#else
#define BUILD_LAYERS	(~(uint32_t)0)
#endif

/* A worker that has used so much is worn out; the deadline bounds each request. */
#define CPU_SECONDS	86400u

static const struct {
	uint64_t	flags;
	uint32_t	layer;
} namespaces[] = {
	{ CLONE_NEWPID, TN_LAYER_PIDNS },
	{ CLONE_NEWNET, TN_LAYER_NETNS },
	{ CLONE_NEWNS, TN_LAYER_MOUNTNS },
	{ CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP, TN_LAYER_IPCNS },
};
#define NNAMESPACES (sizeof(namespaces) / sizeof(namespaces[0]))

void
sv_system_look(struct sv_system *s)
{
	s->root = geteuid() == 0;
	s->landlock =
	    syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION_FLAG) > 0;
	s->mdwe = prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0;
	s->try = sv_child_try;
}

static void
find_namespaces(struct sv_plan *p, const struct sv_system *sys, int *error)
{
	uint64_t all = 0, base;
	size_t i;

	for (i = 0; i < NNAMESPACES; i++)
		all |= namespaces[i].flags;
	/* As root without a user namespace, if it can be: root may be less than it seems. */
	if (sys->root && (*error = sys->try(all)) == 0)
		p->namespaces = all;
	else if ((*error = sys->try(all | CLONE_NEWUSER)) == 0)
		p->namespaces = all | CLONE_NEWUSER;
	else {
		base = sys->try(CLONE_NEWUSER) == 0 ? CLONE_NEWUSER : 0;
		p->namespaces = base;
		for (i = 0; i < NNAMESPACES; i++)
			if (sys->try(p->namespaces | namespaces[i].flags) == 0)
				p->namespaces |= namespaces[i].flags;
	}
	if ((p->namespaces & CLONE_NEWUSER) != 0)
		p->present |= TN_LAYER_USERNS;
	for (i = 0; i < NNAMESPACES; i++)
		if ((p->namespaces & namespaces[i].flags) == namespaces[i].flags)
			p->present |= namespaces[i].layer;
}

int
sv_plan_make(
    struct sv_plan *p, enum sv_sandbox mode, const struct sv_system *sys, struct tn_buf *err)
{
	uint32_t wanted = 0;
	char names[TN_LAYERS_TEXT];
	int error = 0;
	size_t i;

	*p = (struct sv_plan){ 0, 0, 0 };
	if (mode == SV_SANDBOX_OFF)
		return 0;
	p->required =
	    (TN_LAYER_SECCOMP | TN_LAYER_RLIMITS | TN_LAYER_NNP | TN_LAYER_NOCAPS) & BUILD_LAYERS;
	if (sys->root)
		p->required |= TN_LAYER_UID;
	find_namespaces(p, sys, &error);
	if (mode == SV_SANDBOX_AVAILABLE)
		return 0;
	for (i = 0; i < NNAMESPACES; i++)
		wanted |= namespaces[i].layer;
	if (!sys->root)
		wanted |= TN_LAYER_USERNS;
	if ((p->present & wanted) != wanted) {
		tn_buf_printf(err, "sandbox = full: this system gives us no %s (%s); ",
		    tn_layers_text(wanted & ~p->present, names, sizeof(names)), strerror(error));
		if (!sys->root)
			tn_buf_puts(err, "allow user namespaces (sysctl user.max_user_namespaces, "
			    "kernel.unprivileged_userns_clone), start as root, or ");
		tn_buf_puts(err, "set sandbox = available to go on without");
		return TN_EUNAVAIL;
	}
	p->required |= p->present;
	if (sys->landlock)
		p->required |= TN_LAYER_LANDLOCK;
	if (sys->mdwe)
		p->required |= TN_LAYER_MDWE;
	p->required &= BUILD_LAYERS;
	return 0;
}

static int
send_setup(int fd, const struct tn_options *o, const struct sv_plan *p,
    const struct sv_user *worker, uint64_t generation)
{
	struct tn_zy_setup s = {
		.magic = TN_ZY_MAGIC,
		.isolation = (uint32_t)o->isolation,
		.generation = generation,
		.memory_max = o->memory_max,
		.body_max = o->body_max,
		.reply_max = o->reply_max,
		.uid = worker != NULL ? (uint32_t)worker->uid : (uint32_t)-1,
		.gid = worker != NULL ? (uint32_t)worker->gid : (uint32_t)-1,
		.layers_present = p->present,
		.layers_required = p->required,
		.cpu_seconds = CPU_SECONDS,
		.restore = (uint32_t)o->restore,
		.audit = (uint32_t)o->audit,
	};

	return tn_fd_send(fd, &s, sizeof(s), NULL, 0) == (ssize_t)sizeof(s) ? 0 : TN_ESYS;
}

int
sv_zygote_start(const struct tn_options *o, const struct sv_plan *p, const struct sv_user *worker,
    const char *program, uint64_t generation, int null_fd, int log_fd, int *channel, pid_t *pid,
    int *pidfd, int *error, struct tn_buf *err)
{
	static const struct sv_child_limit limits[] = { { RLIMIT_CORE, 0 } };
	char *argv[] = { (char[]){ "tana-worker" }, (char[]){ "--zygote" }, NULL };
	char **env = sv_child_env(NULL);
	int pair[2] = { -1, -1 }, rc = TN_ENOMEM;

	*error = ENOMEM;
	if (env == NULL) {
		tn_buf_puts(err, "out of memory");
		return rc;
	}
	rc = TN_ESYS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		*error = errno;
		tn_buf_printf(err, "zygote: socketpair: %s", strerror(errno));
		goto out;
	}
	/* Before it runs: the packet waits for it. */
	if (send_setup(pair[0], o, p, worker, generation) != 0) {
		*error = errno;
		tn_buf_printf(err, "zygote: cannot send its setup: %s", strerror(errno));
		goto out;
	}
	rc = sv_child_start(&(struct sv_child){
		.what = "zygote", .path = program, .exec_fd = -1, .argv = argv, .envp = env,
		.fds = { null_fd, null_fd, log_fd, pair[1] }, .nfds = 4,
		.namespaces = p->namespaces,
		.map_uid = worker != NULL ? worker->uid : (uid_t)-1,
		.map_gid = worker != NULL ? worker->gid : (gid_t)-1,
		.ambient = (p->namespaces & CLONE_NEWUSER) != 0,
		.limits = limits, .nlimits = 1,
	    }, pid, pidfd, error, err);
	if (rc == 0) {
		*channel = pair[0];
		pair[0] = -1;
	} else if (*error == 0)
		*error = EIO;
out:
	tn_fd_close(&pair[0]);
	tn_fd_close(&pair[1]);
	sv_child_env_free(&env);
	return rc;
}
