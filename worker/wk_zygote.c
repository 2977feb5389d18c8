/*
 * wk_zygote.c - the warm process that workers and builders are forked from.
 *
 * It runs no contract, only the runtime's own files, and it is sandboxed too.
 * It may wait when it sends: the front never waits for it.
 */
#include "config.h"

#include "wk_zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_frame.h"
#include "tn_log.h"
#include "tn_slots.h"
#include "tn_zygote.h"
#include "pol_sandbox.h"
#include "wk_arena.h"
#include "wk_builder.h"
#include "wk_channel.h"
#include "wk_duk.h"
#include "wk_heap.h"
#include "wk_pagemap.h"
#include "wk_random.h"
#include "wk_rehearsal.h"
#include "wk_restore.h"
#include "wk_worker.h"

/* More than workers_max allows; in .bss, since the sandbox need not let us grow. */
#define CHILDREN_MAX	16384u
#define STACK_BYTES	((rlim_t)8 << 20)
#define FDS_MAX		2		/* channel, slots */

struct child {
	uint64_t	worker;		/* the front's number */
	pid_t		pid;
};

/* What the first child, which runs nothing, says of its sandbox. */
struct probe {
	uint32_t	layers;
	uint32_t	restore;	/* enum tn_restore */
	char		err[POL_ERR_MAX];	/* empty: well */
};

static struct {
	struct tn_zy_setup	setup;
	struct child		children[CHILDREN_MAX];
	size_t			nchildren;
	bool			ending;		/* EXIT came */
	int			proc_fd;	/* /proc, for the workers' pagemaps; -1: none */
} zy;

_Static_assert(TN_RESTORE_DROP == (int)WK_RESTORE_DROP &&
    TN_RESTORE_PAGEMAP == (int)WK_RESTORE_PAGEMAP && TN_RESTORE_SCAN == (int)WK_RESTORE_SCAN,
    "one list of ways to restore");

static volatile sig_atomic_t child_ended;

static int
send_event(struct tn_zy_event *e, int fd)
{
	e->magic = TN_ZY_MAGIC;
	return tn_fd_send(TN_ZYGOTE_FD, e, sizeof(*e), &fd, fd >= 0 ? 1 : 0) < 0 ? TN_ECLOSED : 0;
}

/* Before READY: tell the front why, and end. */
static void __attribute__((noreturn, format(printf, 2, 3)))
fail(enum tn_exit code, const char *fmt, ...)
{
	struct tn_zy_event e = { .type = TN_ZY_FAILED };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	tn_log(TN_LOG_ERROR, "%s", e.text);
	(void)send_event(&e, -1);
	_exit(code);
}

/* ---- start ---- */

static void
on_child(int sig)
{
	(void)sig;
	child_ended = 1;
}

/* What exec leaves to us: descriptors, signals, the session, the stack's limit. */
static void
begin(void)
{
	static const int defaults[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2,
	    SIGXCPU };
	struct sigaction sa;
	struct rlimit rl;
	sigset_t set;
	int flags;

	(void)close_range(TN_ZYGOTE_FD + 1, ~0u, 0);
	/* Sending may wait. */
	flags = fcntl(TN_ZYGOTE_FD, F_GETFL);
	if (flags < 0 || fcntl(TN_ZYGOTE_FD, F_SETFL, flags & ~O_NONBLOCK) != 0)
		tn_fatal(TN_EXIT_USAGE, "descriptor %d is not the server's socket: only tana-edge "
		    "starts a zygote", TN_ZYGOTE_FD);
	/* A terminal's ^C is for the master, which then ends us in order. */
	(void)setsid();

	memset(&sa, 0, sizeof(sa));
	(void)sigemptyset(&sa.sa_mask);
	sa.sa_handler = SIG_DFL;
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		(void)sigaction(defaults[i], &sa, NULL);
	sa.sa_handler = on_child;
	sa.sa_flags = SA_NOCLDSTOP;
	(void)sigaction(SIGCHLD, &sa, NULL);
	/* Delivered while ppoll() waits only. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);

	if (getrlimit(RLIMIT_STACK, &rl) == 0 && rl.rlim_cur < STACK_BYTES) {
		rl.rlim_cur = rl.rlim_max < STACK_BYTES ? rl.rlim_max : STACK_BYTES;
		(void)setrlimit(RLIMIT_STACK, &rl);
	}
	/* One write in the arena is to cost one page of it. */
	(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	/*
	 * Workers do not preempt whom they share a processor with when a frame wakes them:
	 * the front goes on handing out and answering, and they find more at a time.
	 */
	(void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ .sched_priority = 0 });
	wk_duk_learn_stack();
	(void)setenv("TZ", "UTC", 1);
	tzset();
}

static void
receive_setup(void)
{
	struct tn_zy_setup *s = &zy.setup;
	int none = 0;
	ssize_t n;

	do
		n = tn_fd_recv(TN_ZYGOTE_FD, s, sizeof(*s), NULL, &none);
	while (n == TN_EAGAIN);
	if (n == TN_ECLOSED)
		_exit(TN_EXIT_OK);
	if (n != (ssize_t)sizeof(*s) || s->magic != TN_ZY_MAGIC)
		fail(TN_EXIT_FAILURE, "the setup message is not one of this version's");
	s->memory_max &= ~(uint64_t)4095;
	if (s->isolation > TN_ISO_FRESH || s->restore > TN_RESTORE_SCAN ||
	    s->audit > TN_AUDIT_ALWAYS || s->memory_max < (1u << 20) ||
	    s->memory_max > WK_ARENA_MAX || s->body_max > TN_FRAME_MAX || s->reply_max > TN_FRAME_MAX)
		fail(TN_EXIT_FAILURE, "the setup message makes no sense");
}

/* The base heap, made in its file, which is then mapped as workers will have it. */
static void
warm(void)
{
	static struct wk_trouble trouble;
	uint8_t seed[WK_RANDOM_SEED_BYTES];
	unsigned hash_seed;
	int fd;

	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed) ||
	    getrandom(&hash_seed, sizeof(hash_seed), 0) != (ssize_t)sizeof(hash_seed))
		fail(TN_EXIT_FAILURE, "no random numbers: %s", strerror(errno));
	wk_random_seed(seed, sizeof(seed));
	wk_duk_set_hash_seed(hash_seed);
	if (wk_arena_reserve(zy.setup.memory_max) != 0)
		fail(TN_EXIT_FAILURE, "the arena's addresses cannot be had: %s", strerror(errno));
	fd = tn_fd_memfd("tana-base", zy.setup.memory_max);
	if (fd < 0 || wk_arena_map_shared(fd) != 0)
		fail(TN_EXIT_FAILURE, "no memory for the base heap: %s", strerror(errno));
	if (wk_heap_create(zy.setup.generation, &trouble) != 0)
		fail(TN_EXIT_FAILURE, "the runtime does not start: %s:%u: %s",
		    trouble.file[0] != '\0' ? trouble.file : "(heap)", trouble.line, trouble.error);
	wk_heap_settle(WK_SETTLE_COMPACT);
	/* What a contract adds comes behind, so that few of the base's pages change. */
	wk_alloc_nursery(&WK_ARENA->alloc);
	wk_duk_freeze(WK_ARENA_BASE, wk_arena_used());
	/* A file that somebody maps shared cannot be sealed: the private mapping takes its place. */
	if (wk_arena_map_base(fd) != 0 || wk_arena_seal(fd) != 0)
		fail(TN_EXIT_FAILURE, "the base heap cannot be sealed: %s", strerror(errno));
	tn_fd_close(&fd);
}

/*
 * The best way to restore that there is, no better than the setup's.  Whatever is
 * missing only makes it a slower one.
 */
static void
choose_restore(void)
{
	int low = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	/* Behind the numbers that a child arranges, so that it is closed with the rest. */
	zy.proc_fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, WK_PAGEMAP_FD + 1);
	tn_fd_close(&low);
	fd = zy.proc_fd < 0 ? -1 : openat(zy.proc_fd, "self/pagemap", O_RDONLY | O_CLOEXEC);
	zy.setup.restore = wk_restore_choose(fd, (enum wk_restore_how)zy.setup.restore);
	if (wk_rehearse() != 0)
		fail(TN_EXIT_FAILURE, "the base heap cannot be put back: %s", strerror(errno));
	tn_fd_close(&fd);
	if (zy.setup.restore == TN_RESTORE_DROP)
		tn_fd_close(&zy.proc_fd);
}

/* ---- children ---- */

/*
 * Why this child ends before it was ready: to the front, as a log record of the
 * worker's, since the child has no other way out any more.
 */
static void __attribute__((noreturn))
child_fail(const char *what)
{
	struct tn_frame f = { .type = TN_FRAME_LOG };

	f.log.level = TN_LOG_ERROR;
	f.log.text = tn_str(what);
	(void)wk_channel_send(&f);
	_exit(WK_EXIT_SETUP);
}

/* Signals as the zygote does not want them, its end, and descriptors. */
static struct tn_slots *
child_begin(enum tn_zy_role role, const int fds[FDS_MAX], pid_t zygote)
{
	char err[POL_ERR_MAX];
	struct sigaction sa;
	struct tn_slots *slots;
	sigset_t none;
	int rc;

	memset(&sa, 0, sizeof(sa));
	(void)sigemptyset(&sa.sa_mask);
	sa.sa_handler = SIG_DFL;
	(void)sigaction(SIGCHLD, &sa, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != zygote)
		return NULL;
	/*
	 * The channel takes the place of the zygote's socket: no child holds that, nor
	 * anybody else's channel, or their ends would not be seen.
	 */
	if (dup2(fds[0], WK_CHANNEL_FD) < 0)
		return NULL;
	slots = mmap(NULL, TN_SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	if (slots == MAP_FAILED)
		return NULL;
	rc = pol_worker_pagemap(role == TN_ROLE_BUILDER ? POL_BUILDER : POL_WORKER, err);
	if (rc == TN_EUNAVAIL)
		zy.setup.restore = TN_RESTORE_DROP;
	else if (rc != 0)
		return NULL;
	return close_range(WK_PAGEMAP_FD + 1, ~0u, 0) == 0 ? slots : NULL;
}

/*
 * The calls that a worker makes itself, so that a filter that is too tight shows
 * now: it would kill.  Returns what is wrong.
 */
static const char *
try_calls(void)
{
	struct rusage ru;

	if (wk_arena_drop() != 0)
		return "the arena cannot be put back";
	if (zy.setup.restore == TN_RESTORE_DROP)
		return "";
	if (getrusage(RUSAGE_THREAD, &ru) != 0)
		return "faults cannot be counted";
	if (!(zy.setup.restore == TN_RESTORE_SCAN ? wk_pagemap_can_scan(WK_PAGEMAP_FD) :
	    wk_pagemap_can_read(WK_PAGEMAP_FD)))
		return "the pagemap is of no use";
	return "";
}

static void __attribute__((noreturn))
child_main(enum tn_zy_role role, const int fds[FDS_MAX], pid_t zygote, bool probe)
{
	static const int keep[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, WK_CHANNEL_FD,
	    WK_PAGEMAP_FD };
	const struct pol_worker_config policy = {
		.required = zy.setup.layers_required,
		.role = role == TN_ROLE_BUILDER ? POL_BUILDER : POL_WORKER,
		.parent = zygote,
		.keep = keep,
		.nkeep = sizeof(keep) / sizeof(keep[0]),
		.memory = wk_worker_memory(&zy.setup),
		.cpu_seconds = zy.setup.cpu_seconds
	};
	struct tn_slots *slots = child_begin(role, fds, zygote);
	struct probe report = { .layers = 0 };
	int rc;

	if (slots == NULL)
		_exit(WK_EXIT_SETUP);
	rc = role == TN_ROLE_BUILDER ? wk_builder_prepare(&zy.setup, slots) :
	    wk_worker_prepare(&zy.setup, slots);
	if (rc != 0) {
		tn_log(TN_LOG_ERROR, "a worker cannot be prepared: %s: %s", tn_strerror(rc),
		    strerror(errno));
		_exit(WK_EXIT_SETUP);
	}
	/* The log is not for those who run contracts.  (Sanitizers must have their say.) */
#ifndef WITH_SANITIZERS
	if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
		_exit(WK_EXIT_SETUP);
#endif
	rc = pol_worker_enter(&policy, &report.layers, report.err);
	if (probe) {
		if (rc == 0)
			(void)snprintf(report.err, sizeof(report.err), "%s", try_calls());
		report.restore = zy.setup.restore;
		_exit(send(WK_CHANNEL_FD, &report, sizeof(report), MSG_NOSIGNAL) == sizeof(report) ? 0 :
		    WK_EXIT_SETUP);
	}
	if (rc != 0)
		child_fail(report.err);
	_exit(role == TN_ROLE_BUILDER ? wk_builder_serve() : wk_worker_serve());
}

/* ---- the sandbox ---- */

/* Both the zygote's and the workers' own. */
#define LAYERS_TWICE	(TN_LAYER_SECCOMP | TN_LAYER_LANDLOCK)

/*
 * Shut us in, then fork a worker that runs nothing: what cannot be had must show
 * now, not when the first request waits for it.  Returns the layers in force, and
 * how workers restore.
 */
static uint32_t
sandbox(uint32_t *restore)
{
	const struct pol_config policy = {
		.present = zy.setup.layers_present,
		.required = zy.setup.layers_required,
		.uid = zy.setup.uid,
		.gid = zy.setup.gid,
		.params = {
			.channel_fd = WK_CHANNEL_FD,
			.arena = (uintptr_t)WK_ARENA_BASE,
			.arena_size = wk_arena_size(),
			.send_max = WK_CHANNEL_SEND_MAX,
			.restore = (enum tn_restore)zy.setup.restore,
			.pagemap_fd = WK_PAGEMAP_FD,
			.proc_fd = zy.proc_fd
		}
	};
	struct probe report = { .layers = 0 };
	uint32_t ours = 0, all;
	char err[POL_ERR_MAX] = "", names[TN_LAYERS_TEXT];
	int pair[2], fds[FDS_MAX], none = 0, status;
	pid_t self, pid;
	ssize_t n;

	/* Neither can be made any more afterwards. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
	    (fds[1] = tn_fd_memfd("tana-slots", TN_SLOTS_BYTES)) < 0)
		fail(TN_EXIT_FAILURE, "no descriptors: %s", strerror(errno));
	fds[0] = pair[1];
	if (pol_zygote_enter(&policy, &ours, err) != 0)
		fail(TN_EXIT_SANDBOX, "zygote's sandbox: %s", err);
	/* The change of user has reset it.  Who died before shows as the socket's end. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);

	self = getpid();
	pid = fork();
	if (pid == 0)
		child_main(TN_ROLE_WORKER, fds, self, true);
	if (pid < 0)
		fail(TN_EXIT_FAILURE, "cannot fork: %s", strerror(errno));
	tn_fd_close(&fds[0]);
	tn_fd_close(&fds[1]);
	n = tn_fd_recv(pair[0], &report, sizeof(report), NULL, &none);
	tn_fd_close(&pair[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	report.err[sizeof(report.err) - 1] = '\0';
	if (n == (ssize_t)sizeof(report) && report.err[0] != '\0')
		fail(TN_EXIT_SANDBOX, "workers' sandbox: %s", report.err);
	if (n != (ssize_t)sizeof(report) || status != 0)
		fail(TN_EXIT_SANDBOX, "workers' sandbox: the first worker ended with %s %d",
		    WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));

	all = (ours | report.layers) & ~(LAYERS_TWICE & ~(ours & report.layers));
	if ((all & zy.setup.layers_required) != zy.setup.layers_required)
		fail(TN_EXIT_SANDBOX, "sandbox layers are required and missing: %s",
		    tn_layers_text(zy.setup.layers_required & ~all, names, sizeof(names)));
	*restore = report.restore;
	return all;
}

/* ---- commands ---- */

static struct child *
child_by_number(uint64_t worker)
{
	for (size_t i = 0; i < zy.nchildren; i++)
		if (zy.children[i].worker == worker)
			return &zy.children[i];
	return NULL;
}

static int
spawn(const struct tn_zy_cmd *cmd, const int fds[FDS_MAX], int nfds)
{
	struct tn_zy_event e = { .type = TN_ZY_SPAWNED, .worker = cmd->worker };
	pid_t self = getpid(), pid;
	int pidfd = -1, rc;

	if ((cmd->role != TN_ROLE_WORKER && cmd->role != TN_ROLE_BUILDER) || nfds != FDS_MAX)
		e.status = EINVAL;
	else if (child_by_number(cmd->worker) != NULL)
		e.status = EEXIST;
	else if (zy.ending)
		e.status = ESHUTDOWN;
	else if (zy.nchildren == CHILDREN_MAX)
		e.status = EAGAIN;
	if (e.status == 0) {
		pid = fork();
		if (pid == 0)
			child_main(cmd->role, fds, self, false);
		if (pid < 0) {
			e.status = errno;
		} else {
			zy.children[zy.nchildren++] = (struct child){ cmd->worker, pid };
			e.pid = pid;
			/* Not reaped yet, so the pid is still its own. */
			pidfd = pidfd_open(pid, 0);
		}
	}
	rc = send_event(&e, pidfd);
	if (rc != 0 && pidfd >= 0)	/* too many descriptors in flight? */
		rc = send_event(&e, -1);
	tn_fd_close(&pidfd);
	return rc;
}

static int
reap(void)
{
	pid_t pid;
	int status;

	child_ended = 0;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct tn_zy_event e = { .type = TN_ZY_EXITED, .pid = pid, .status = status };
		size_t i;

		for (i = 0; i < zy.nchildren && zy.children[i].pid != pid; i++)
			;
		if (i == zy.nchildren)	/* as pid 1 we inherit whatever has no parent */
			continue;
		e.worker = zy.children[i].worker;
		zy.children[i] = zy.children[--zy.nchildren];
		if (send_event(&e, -1) != 0)
			return TN_ECLOSED;
	}
	return 0;
}

static void
kill_all(void)
{
	for (size_t i = 0; i < zy.nchildren; i++)
		(void)kill(zy.children[i].pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static int
take_command(void)
{
	struct tn_zy_cmd cmd;
	int fds[FDS_MAX + 1], nfds = FDS_MAX + 1, rc = 0;	/* one too many is an answer */
	const struct child *c;
	ssize_t n;

	n = tn_fd_recv(TN_ZYGOTE_FD, &cmd, sizeof(cmd), fds, &nfds);
	if (n == TN_EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(cmd) || cmd.magic != TN_ZY_MAGIC)
		cmd.op = 0;
	switch (cmd.op) {
	case TN_ZY_SPAWN:
		rc = spawn(&cmd, fds, nfds);
		break;
	case TN_ZY_SIGNAL:
		/* Gone: EXITED is on its way. */
		c = child_by_number(cmd.worker);
		if (cmd.signal != SIGALRM && cmd.signal != SIGTERM && cmd.signal != SIGKILL)
			rc = TN_EPROTO;
		else if (c != NULL)
			(void)kill(c->pid, cmd.signal);
		break;
	case TN_ZY_EXIT:
		zy.ending = true;
		break;
	default:
		rc = TN_EPROTO;
	}
	for (int i = 0; i < nfds; i++)
		tn_fd_close(&fds[i]);
	return rc;
}

static int
serve(void)
{
	struct pollfd p = { .fd = TN_ZYGOTE_FD, .events = POLLIN };
	sigset_t none;
	int rc = 0;

	(void)sigemptyset(&none);
	while (!(zy.ending && zy.nchildren == 0)) {
		if (ppoll(&p, 1, NULL, &none) < 0) {
			if (errno != EINTR)
				rc = TN_ESYS;
			p.revents = 0;
		}
		if (rc == 0 && p.revents != 0)
			rc = take_command();
		if (rc == 0 && child_ended)
			rc = reap();
		if (rc != 0)
			break;
	}
	if (rc != 0 && rc != TN_ECLOSED)
		tn_log(TN_LOG_ERROR, "zygote: the front's socket: %s", tn_strerror(rc));
	kill_all();
	return rc == 0 || rc == TN_ECLOSED ? TN_EXIT_OK : TN_EXIT_FAILURE;
}

int
wk_zygote_main(void)
{
	struct tn_zy_event ready = { .type = TN_ZY_READY };
	uint64_t start;

	tn_log_open("zygote", STDERR_FILENO, TN_LOG_INFO, TN_LOG_TEXT);
	begin();
	receive_setup();
	start = tn_clock_us();
	warm();
	choose_restore();
	ready.warm_us = tn_clock_us() - start;
	ready.image_bytes = wk_arena_used();
	/* Nothing that waits in a buffer may be written once by each child. */
	(void)fflush(NULL);
	ready.layers = sandbox(&ready.restore);
	if (send_event(&ready, -1) != 0)
		return TN_EXIT_OK;
	return serve();
}
