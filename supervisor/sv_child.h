/*
 * sv_child.h - start a process of ours: the one place where the master clones.
 *
 * The child gets the given descriptors as 0..n-1 and no other, a session of its
 * own (a terminal's ^C is the master's alone), and dies with the master.
 */
#ifndef SV_CHILD_H
#define SV_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "sv_jail.h"
#include "sv_user.h"

#define SV_CHILD_FDS	5

struct sv_child_limit {
	int	resource;		/* RLIMIT_... */
	rlim_t	value;			/* soft and hard */
};

struct sv_child {
	const char	*what;		/* "zygote": for messages */
	const char	*path;		/* the program */
	int		 exec_fd;	/* an O_PATH descriptor of it; -1: run it by path */
	char *const	*argv, *const *envp;
	int		 fds[SV_CHILD_FDS];
	int		 nfds;		/* at least 3 */
	uint64_t	 namespaces;	/* CLONE_NEW... */
	/* ids that a new user namespace knows besides our own; (uid_t)-1: none */
	uid_t		 map_uid;
	gid_t		 map_gid;
	bool		 ambient;	/* keep the capabilities that a new user namespace gives */
	const struct sv_jail *jail;	/* to go into (with CLONE_NEWNS); NULL: none */
	const struct sv_user *user;	/* to change to; NULL: stay */
	bool		 groups;	/* with the user's supplementary groups */
	bool		 no_caps;	/* drop them all */
	bool		 no_new_privs;
	const struct sv_child_limit *limits;
	size_t		 nlimits;
};

/*
 * 0: it runs the program; *pid and *pidfd are the caller's.  Else a TN_E code,
 * *error is the errno, and err says what failed.
 */
int
sv_child_start(const struct sv_child *c, pid_t *pid, int *pidfd, int *error, struct tn_buf *err);

/* Can a process be cloned with these namespaces (and its ids be mapped)? 0 or errno. */
int sv_child_try(uint64_t namespaces);

/*
 * The environment of our children: what concerns language, libraries and
 * sanitizers, out of the given names; NULL-terminated, free() both levels by
 * sv_child_env_free.  `extra` are added as they are; NULL-terminated, may be NULL.
 */
char **sv_child_env(const char *const *extra);
void sv_child_env_free(char ***env);

/* "exit status 6 (...)", "killed by signal 9 (Killed)"; of waitpid's status. */
void sv_child_describe(int status, struct tn_buf *out);

#endif
