/*
 * sv_compiler.c - the master's side of the compile helper.
 */
#include "config.h"

#include "sv_compiler.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_child.h"
#include "sv_jail.h"
#include "sv_program.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_layers.h"

/*
 * It lives on between jobs; the front bounds each job's time.  The address space
 * cannot be bounded, JavaScript engines reserve what they never use.
 */
static const struct sv_child_limit limits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_CPU, 3600 },
	{ RLIMIT_FSIZE, (rlim_t)64 << 20 },	/* SWC unpacks itself */
	{ RLIMIT_NOFILE, 512 },
	{ RLIMIT_MEMLOCK, 0 },
#ifndef WITH_SANITIZERS		/* tests have compilers of their own, with its shadow memory */
	{ RLIMIT_DATA, (rlim_t)4 << 30 },
#endif
};

/* Without a root of its own: a directory to work in, the helper's alone. */
static char *
make_home(const char *run_dir, const struct sv_user *worker, struct tn_buf *err)
{
	char *home;

	if (asprintf(&home, "%s/compiler", run_dir) < 0) {
		tn_buf_puts(err, "out of memory");
		return NULL;
	}
	if ((mkdir(home, 0700) != 0 && errno != EEXIST) ||
	    (worker != NULL && lchown(home, worker->uid, worker->gid) != 0)) {
		tn_buf_printf(err, "compiler: %s: %s", home, strerror(errno));
		free(home);
		return NULL;
	}
	return home;
}

/* Its environment: it writes in HOME only. */
static char **
make_env(const char *home)
{
	char *vars[4] = { NULL, NULL, (char[]){ "NODE_OPTIONS=--max-old-space-size=512" }, NULL };
	char **env = NULL;

	if (asprintf(&vars[0], "HOME=%s", home) < 0)
		vars[0] = NULL;
	if (asprintf(&vars[1], "TMPDIR=%s", home) < 0)
		vars[1] = NULL;
	if (vars[0] != NULL && vars[1] != NULL)
		env = sv_child_env((const char *const *)vars);
	free(vars[0]);
	free(vars[1]);
	return env;
}

int
sv_compiler_start(const char *program, const char *contracts, const char *run_dir,
    const struct sv_plan *p, const struct sv_user *worker, int null_fd, int log_fd, int *channel,
    pid_t *pid, int *pidfd, int *error, struct tn_buf *err)
{
	bool jailed = (p->present & TN_LAYER_MOUNTNS) != 0;
	char *dir = strdup(contracts), *home = NULL, **env = NULL;
	char *argv[] = { (char[]){ "tana" }, (char[]){ "compile-server" },
		(char[]){ "--contracts" }, dir, NULL };
	struct sv_jail jail = { .nbind = 0 };
	int pair[2] = { -1, -1 }, rc = TN_EDENIED;

	*error = EACCES;
	if (dir == NULL || (worker != NULL && (sv_program_explain(program, worker, !jailed, err) ||
	    sv_program_explain(contracts, worker, !jailed, err))))
		goto out;
	rc = TN_ESYS;
	if (jailed) {
		*error = EINVAL;
		if (sv_jail_init(&jail, run_dir, program, contracts,
			worker != NULL ? worker->uid : geteuid(),
			worker != NULL ? worker->gid : getegid(), err) != 0)
			goto out;
		home = strdup(SV_JAIL_TMP);
	} else {
		errno = ENOMEM;
		home = make_home(run_dir, worker, err);
		*error = errno;
	}
	if (home == NULL || (env = make_env(home)) == NULL)
		goto out;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		*error = errno;
		tn_buf_printf(err, "compiler: socketpair: %s", strerror(errno));
		goto out;
	}
	rc = sv_child_start(&(struct sv_child){
		.what = "compiler", .path = program, .exec_fd = -1, .argv = argv, .envp = env,
		.fds = { null_fd, null_fd, log_fd, pair[1] }, .nfds = 4,
		.namespaces = p->namespaces,
		.map_uid = worker != NULL ? worker->uid : (uid_t)-1,
		.map_gid = worker != NULL ? worker->gid : (gid_t)-1,
		.jail = jailed ? &jail : NULL,
		.user = worker, .no_caps = true, .no_new_privs = true,
		.limits = limits, .nlimits = sizeof(limits) / sizeof(limits[0]),
	    }, pid, pidfd, error, err);
	if (rc == 0) {
		*channel = pair[0];
		pair[0] = -1;
	} else if (*error == 0)
		*error = EIO;
out:
	tn_fd_close(&pair[0]);
	tn_fd_close(&pair[1]);
	sv_jail_fini(&jail);
	sv_child_env_free(&env);
	free(home);
	free(dir);
	return rc;
}
