/*
 * sv_zygote.h - the master's side of a zygote: which namespaces it can have and
 * which layers it must have, and its start.
 */
#ifndef SV_ZYGOTE_H
#define SV_ZYGOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sv_user.h"
#include "tn_options.h"

enum sv_sandbox { SV_SANDBOX_FULL, SV_SANDBOX_AVAILABLE, SV_SANDBOX_OFF }; /* options.def's order */

struct sv_plan {
	uint64_t	namespaces;	/* CLONE_NEW... for clone */
	uint32_t	present;	/* TN_LAYER_ bits that come with them */
	uint32_t	required;	/* TN_LAYER_ bits without which a zygote must end */
};

/* What the kernel says of itself; replaced in tests. */
struct sv_system {
	bool	root;
	bool	landlock, mdwe;
	int	(*try)(uint64_t namespaces);	/* sv_child_try */
};
void sv_system_look(struct sv_system *s);

/*
 * Find the namespaces that can be had.  TN_EUNAVAIL: the mode wants more than
 * that, and err says what is missing and what can be done.
 */
int sv_plan_make(struct sv_plan *p, enum sv_sandbox mode, const struct sv_system *sys,
    struct tn_buf *err);

/*
 * Start one and send it its setup.  `worker`: the user it changes to, NULL: it
 * stays.  On success *channel is the front's end, *pidfd and *pid are the
 * caller's.  Else a TN_E code, *error an errno that is not 0, err the reason.
 */
int sv_zygote_start(const struct tn_options *o, const struct sv_plan *p,
    const struct sv_user *worker, const char *program, uint64_t generation, int null_fd, int log_fd,
    int *channel, pid_t *pid, int *pidfd, int *error, struct tn_buf *err);

#endif
