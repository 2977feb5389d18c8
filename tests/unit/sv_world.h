/*
 * sv_world.h - what the front's tests have in common: they play the HTTP side, the
 * master, the zygotes and their workers, over the real channels, and turn the event
 * loop by hand.
 */
#ifndef SV_WORLD_H
#define SV_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_contract.h"
#include "sv_dispatch.h"
#include "sv_pool.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_frame.h"
#include "tn_log.h"
#include "tn_options.h"
#include "tn_slots.h"
#include "tn_zygote.h"

#define PROCS_MAX	64u
#define TURNS_MAX	400u	/* of the loop, each at most the dispatcher's tick of 100 ms */
#define IMAGE_BYTES	65536u	/* what a builder of ours writes */

/* A process that the front has asked for. */
struct proc {
	uint64_t	 number;
	enum tn_zy_role	 role;
	uint64_t	 generation;
	int		 zygote;	/* whose child it is */
	int		 fd, slots_fd;
	struct tn_slots	*slots;
	bool		 gone;
	unsigned	 alarms, kills;
	struct tn_buf	 in;
	size_t		 used;
	struct tn_frame	 f;		/* its last frame */
	struct {			/* the images that it keeps */
		uint64_t number;
		char	 of;		/* first letter of its contract */
	} kept[TN_IMAGES_MAX];
};

/* What became of a request. */
struct result {
	unsigned	 n;
	enum tn_fault	 fault;
	int		 status;
	unsigned	 retry_after;
	char		 body[64];
	struct sv_request *rq;		/* until it is answered */
	void		(*then)(struct result *);
	struct result	*next;
};

struct world {
	char		 dir[64];
	int		 dir_fd;
	struct tn_options *opt;
	struct event_base *base;
	struct sv_stats	 stats;
	struct sv_dispatch *d;
	struct sv_pool	*pool;
	uint64_t	 wanted;	/* zygote asked for, 0: none */
	uint64_t	 killed;	/* zygote to be killed */
	uint64_t	 generation;
	unsigned	 ready, failed, recycled;
	int		 zygote;	/* our end */
	int		 before;	/* the same of the one before, while both live */
	uint64_t	 generation_before;
	unsigned	 ends;		/* zygotes told to end */
	struct proc	 proc[PROCS_MAX];
	unsigned	 nprocs;
	struct tn_frame_decoder *decoder;
};
extern struct world t;

#define RUN_UNTIL(what)							\
	do {								\
		unsigned left_ = TURNS_MAX;				\
									\
		turn();							\
		while (!(what)) {					\
			assert_true(left_-- > 0);			\
			event_base_loop(t.base, EVLOOP_ONCE);		\
			turn();						\
		}							\
	} while (0)

/* -- the contracts directory: one contract.js each -- */
void put(const char *id, const char *text);
void take_away(const char *id);

/* -- the master: the zygote that was asked for, beside the one that there is, if any -- */
void give_zygote(void);

/* -- the zygote, the latest one; turn() obeys what it is told -- */
void tell(enum tn_zy_event_type type, uint64_t worker, int status, int pidfd);
void turn(void);
void die(struct proc *p, int status);
void tell_spawned(const struct proc *p);
/* The one before ends, with what it has forked. */
void zygote_before_ends(void);
void zygote_dies(void);
/* The i-th process of a role that lives, from 0; NULL: there are not so many. */
struct proc *living(enum tn_zy_role role, unsigned i);
unsigned count(enum tn_zy_role role);
struct proc *worker(unsigned i);

/* -- workers and builders -- */
void say(struct proc *p, const struct tn_frame *f);
void say_ready(struct proc *p);
/* The next frame that p was sent, of this type, in p->f; false: there is none. */
bool has_frame(struct proc *p, enum tn_frame_type type);
/* p runs what it was given. */
void take(struct proc *p);
void say_reply(struct proc *p, uint64_t id, const char *body);
void reply(struct proc *p, const char *body);
void build_of(struct proc *p, size_t bytes);
void build(struct proc *p);
void build_next(void);

/* -- the HTTP side -- */
void on_done(struct sv_request *rq, const struct sv_reply *r, void *arg);
void submit(struct result *res, const char *contract);
void get(struct result *res, const char *contract);
void cancel(struct result *res);
void assert_answered(const struct result *res, const char *body);
void assert_fault(const struct result *res, enum tn_fault fault);

/* -- the whole: one worker, no reserve, nothing that ends by time -- */
int setup(void **state);
int teardown(void **state);
/* A zygote that is ready, and workers_min workers that are. */
void serve(void);
/* The contract's image is built. */
void load(const char *contract);

#endif
