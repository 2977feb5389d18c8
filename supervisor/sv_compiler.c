/*
 * sv_compiler.c - the master's side of the compile helper.
 */
#include "config.h"

#include "sv_compiler.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_child.h"
#include "sv_program.h"
#include "tn_err.h"
#include "tn_fd.h"

/*
 * It lives on between jobs; the front bounds each job's time.  The address space
 * cannot be bounded, JavaScript engines reserve what they never use.
 */
static const struct sv_child_limit limits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_CPU, 3600 },
	{ RLIMIT_FSIZE, 0 },
	{ RLIMIT_NOFILE, 512 },
	{ RLIMIT_MEMLOCK, 0 },
	{ RLIMIT_DATA, (rlim_t)4 << 30 },
};

int
sv_compiler_start(const char *program, const char *contracts, const struct sv_plan *p,
    const struct sv_user *worker, int null_fd, int log_fd, int *channel, pid_t *pid, int *pidfd,
    int *error, struct tn_buf *err)
{
	static const char *const extra[] = { "HOME=/nonexistent", "NODE_OPTIONS=--max-old-space-size=512",
	    NULL };
	char *dir = strdup(contracts), **env = sv_child_env(extra);
	char *argv[] = { (char[]){ "tana" }, (char[]){ "compile-server" }, (char[]){ "--contracts" }, dir,
	    NULL };
	int pair[2] = { -1, -1 }, rc = TN_ENOMEM;

	*error = ENOMEM;
	if (env == NULL || dir == NULL) {
		tn_buf_puts(err, "out of memory");
		goto out;
	}
	rc = TN_ESYS;
	if (worker != NULL && (sv_program_explain(program, worker, err) ||
	    sv_program_explain(contracts, worker, err))) {
		*error = EACCES;
		rc = TN_EDENIED;
		goto out;
	}
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
	sv_child_env_free(&env);
	free(dir);
	return rc;
}
