/*
 * sv_master.c - the master.
 *
 * One thread, one loop around ppoll(): signals are blocked but for it, their
 * handlers set flags, and the flags are looked at in a stated order.
 */
#include "config.h"

#include "sv_master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_child.h"
#include "sv_compiler.h"
#include "sv_gossip.h"
#include "sv_inherit.h"
#include "sv_listen.h"
#include "sv_pidfile.h"
#include "sv_policy.h"
#include "sv_program.h"
#include "sv_proto.h"
#include "sv_upgrade.h"
#include "sv_user.h"
#include "sv_zygote.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_layers.h"
#include "tn_log.h"

#define ZYGOTES_MAX	4	/* one that serves, one that comes, two that go */
#define MESSAGES_TURN	16	/* of the front, in one turn of the loop */
#define FRONT_STABLE_US (10u * 1000000u) /* it lived so long: the next crash is a first one */
#define DRAIN_SLACK_MS	5000	/* the front keeps drain_timeout_ms itself; then it hangs */
#define TERM_AGAIN_US	500000u	/* one kill(1) of a process and its group is one SIGTERM, not two */
#define BIND_TRIES	60	/* a dead master's front may live on for a moment */
#define BIND_PAUSE_US	50000u
#define TAKE_US	(5u * 1000000u)	/* a server that is ready takes over within it */
#define FDS_SPARE	1024u	/* the front's: control clients, its own */

/* A request of the front may be made `burst` times at once, then every `every_us`. */
struct bucket {
	unsigned	burst;
	uint64_t	every_us;
	unsigned	spent;
	uint64_t	since_us;
};

struct child {
	pid_t		 pid;		/* 0: none */
	int		 pidfd;
	bool		 killed;	/* by us */
	struct sv_gossip *gossip;
	uint64_t	 generation;	/* zygote */
};

struct sv_master {
	const struct sv_config *cfg;
	struct tn_options *opt;
	struct sv_daemon *daemon;
	bool		 root;
	struct sv_user	 user, worker_user;
	struct sv_plan	 plan;
	struct sv_pidfile *pidfile;
	struct sv_listeners listeners, metrics;
	struct sv_listener control, client;
	int		 contracts_fd, state_fd, null_fd, log_fd, self_fd;
	char		*worker_program;

	struct child	 front;
	int		 channel;	/* to the front */
	bool		 front_ready;
	uint64_t	 front_since_us, front_due_us;	/* due: start it again then; 0: no */
	unsigned	 front_delay_ms;

	struct child	 zygote[ZYGOTES_MAX];
	struct child	 compiler;
	bool		 compiler_wanted;	/* as soon as the old one is reaped */
	struct bucket	 zygotes, compilers, reloads, upgrades;
	struct tn_log_limit gossip;	/* records that the front can make us write */

	/* Another server takes over from us (sv_upgrade.h). */
	struct sv_upgrade up;
	char		*program;
	bool		 reread, reopened, stop_next;	/* meanwhile: it is told when it serves */
	/* We take over from another. */
	int		 before;	/* the channel to it; -1: none, or it has ended */
	bool		 waiting;	/* it still serves */

	bool		 reloading;	/* the front has yet to say that it is done */
	bool		 was_ready, draining, retiring, done;
	uint64_t	 drain_due_us, term_us;	/* term: the first SIGTERM's time */
	enum tn_exit	 code;
};

static volatile sig_atomic_t got_term, got_hup, got_usr1, got_usr2, got_chld;

static void
on_signal(int sig)
{
	switch (sig) {
	case SIGTERM:
	case SIGINT:
		got_term = 1;
		break;
	case SIGHUP:
		got_hup = 1;
		break;
	case SIGUSR1:
		got_usr1 = 1;
		break;
	case SIGUSR2:
		got_usr2 = 1;
		break;
	case SIGCHLD:
		got_chld = 1;
		break;
	}
}

static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
#define NSIGNALS (sizeof(signals) / sizeof(signals[0]))

/* ---- saying what is wrong ---- */

/* It does not serve (yet): whoever started us hears it too, wherever the log goes. */
static void __attribute__((format(printf, 2, 3)))
complain(const struct sv_master *m, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_log(TN_LOG_ERROR, "%s", text);
	if (!m->was_ready && strcmp(m->opt->log, "stderr") != 0)
		(void)fprintf(stderr, "tana-edge: %s\n", text);
	if (m->waiting)
		(void)sv_up_send(m->before, SV_UP_MSG_FAILED, text);
}

static int
bufint(const struct tn_buf *b)
{
	return b->p != NULL ? (int)b->len : 0;
}

static const char *
bufstr(const struct tn_buf *b)
{
	return b->p != NULL ? b->p : "";
}

static bool
allow(struct bucket *b)
{
	uint64_t now = tn_clock_us(), n;

	if (b->spent == 0)
		b->since_us = now;
	n = (now - b->since_us) / b->every_us;
	if (n >= b->spent) {
		b->spent = 0;
		b->since_us = now;
	} else {
		b->spent -= (unsigned)n;
		b->since_us += n * b->every_us;
	}
	if (b->spent >= b->burst)
		return false;
	b->spent++;
	return true;
}

/* ---- log ---- */

static int
open_log_file(const struct tn_options *o)
{
	return open(o->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

static bool
logs_to_file(const struct tn_options *o)
{
	return strcmp(o->log, "stderr") != 0 && strcmp(o->log, "syslog") != 0;
}

/* Where the log goes if not to syslog. */
static int
log_target(const struct sv_master *m)
{
	return m->log_fd >= 0 ? m->log_fd : STDERR_FILENO;
}

static void
apply_log(const struct sv_master *m)
{
	tn_log_open("master", strcmp(m->opt->log, "syslog") == 0 ? -1 : log_target(m),
	    (enum tn_log_level)m->opt->log_level, (enum tn_log_format)m->opt->log_format);
}

static int
start_log(struct sv_master *m)
{
	int fd;

	if (logs_to_file(m->opt)) {
		if ((fd = open_log_file(m->opt)) < 0) {
			(void)fprintf(stderr, "tana-edge: log: cannot open %s: %s\n", m->opt->log,
			    strerror(errno));
			return TN_ESYS;
		}
		m->log_fd = fd;
	}
	apply_log(m);
	return 0;
}

/* ---- messages to the front ---- */

static void kill_child(struct child *c);

static void
tell_front(struct sv_master *m, enum sv_msg_type type, uint64_t arg, int status, const int *fds,
    int nfds)
{
	struct sv_msg msg = { .magic = SV_PROTO_MAGIC, .type = (uint32_t)type, .arg = arg,
	    .status = status };
	ssize_t n;

	if (m->channel < 0)
		return;
	n = tn_fd_send(m->channel, &msg, sizeof(msg), fds, nfds);
	if (n == (ssize_t)sizeof(msg) || n == TN_ECLOSED)
		return;			/* closed: its death is about to be reaped */
	/* We never wait for it.  So many unread messages mean that it hangs. */
	tn_log(TN_LOG_ERROR, "the front does not take our messages: %s; ending it",
	    n == TN_EAGAIN ? "its queue is full" : strerror(errno));
	kill_child(&m->front);
}

/* The options as a file in memory; -1 with errno. */
static int
config_fd(const struct tn_options *o)
{
	struct tn_buf text = { 0 };
	int fd = -1;

	tn_options_dump(o, &text);
	if (text.failed)
		errno = ENOMEM;
	else if ((fd = tn_fd_memfd("configuration", text.len)) >= 0 &&
	    pwrite(fd, text.p, text.len, 0) != (ssize_t)text.len)
		tn_fd_close(&fd);
	else if (fd < 0)
		fd = -1;
	tn_buf_fini(&text);
	return fd;
}

/* A text as a file in memory; -1: there is none, or no room for it. */
static int
text_fd(const struct tn_buf *text)
{
	size_t len = (size_t)bufint(text);
	int fd = len > 0 ? tn_fd_memfd("text", len) : -1;

	if (fd >= 0 && pwrite(fd, text->p, len, 0) == (ssize_t)len)
		return fd;
	if (fd >= 0)
		tn_fd_close(&fd);
	return -1;
}

/* Tell the front that something failed, and why. */
static void
tell_front_why(struct sv_master *m, enum sv_msg_type type, int status, const struct tn_buf *why)
{
	int fd = text_fd(why);

	tell_front(m, type, 0, status, &fd, fd >= 0 ? 1 : 0);
	tn_fd_close(&fd);
}

/* ---- children ---- */

static void
kill_child(struct child *c)
{
	if (c->pid <= 0 || c->killed)
		return;
	c->killed = true;
	(void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
}

static void
forget_child(struct child *c)
{
	sv_gossip_free(&c->gossip);
	tn_fd_close(&c->pidfd);
	*c = (struct child){ .pidfd = -1 };
}

/*
 * Descriptors of the front: one a connection; per worker a channel, a slots page,
 * a pidfd and, while it is made, more.
 */
static rlim_t
front_descriptors(const struct tn_options *o)
{
	return (rlim_t)o->connections_max + (rlim_t)o->clients_max +
	    6u * (rlim_t)o->workers_max + FDS_SPARE;
}

static rlim_t
system_descriptors(void)
{
	unsigned long n = 1048576;
	FILE *f = fopen("/proc/sys/fs/nr_open", "re");

	if (f != NULL) {
		if (fscanf(f, "%lu", &n) != 1)
			n = 1048576;
		(void)fclose(f);
	}
	return (rlim_t)n;
}

static rlim_t
allowed_descriptors(const struct sv_master *m)
{
	rlim_t want = front_descriptors(m->opt), have = want;
	struct rlimit rl;

	if (m->root && have > system_descriptors())
		have = system_descriptors();
	else if (!m->root && getrlimit(RLIMIT_NOFILE, &rl) == 0 && have > rl.rlim_max)
		have = rl.rlim_max;
	if (have < want)
		tn_log(TN_LOG_WARN,
		    "the front may have %llu descriptors; connections_max and workers_max "
		    "ask for %llu (raise the limit: ulimit -n, LimitNOFILE=)",
		    (unsigned long long)have, (unsigned long long)want);
	return have;
}

static int
start_front(struct sv_master *m, struct tn_buf *err)
{
	struct sv_child_limit limits[] = { { RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, allowed_descriptors(m) } };
	char *argv[] = { (char[]){ "tana-edge" }, (char[]){ SV_FRONT_ARG }, NULL };
	char **env = sv_child_env(NULL);
	int pair[2] = { -1, -1 }, said = -1, fds[5], error, rc = TN_ESYS;
	size_t i;

	m->front_ready = false;
	m->front_due_us = 0;
	m->front_since_us = tn_clock_us();
	fds[0] = -1;
	if (env == NULL || (fds[0] = config_fd(m->opt)) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
	    tn_fd_nonblock(pair[0]) != 0) {
		tn_buf_printf(err, "front: %s", strerror(errno));
		goto out;
	}
	/* What it says beside its log: the C library's and the sanitizers' last words. */
	if (strcmp(m->opt->log, "syslog") == 0 &&
	    (m->front.gossip = sv_gossip_new("front", &said)) == NULL) {
		tn_buf_printf(err, "front: %s", strerror(errno));
		goto out;
	}
	rc = sv_child_start(&(struct sv_child){
		.what = "front", .path = "tana-edge", .exec_fd = m->self_fd,
		.argv = argv, .envp = env,
		.fds = { m->null_fd, m->null_fd, said >= 0 ? said : log_target(m), pair[1] },
		.nfds = SV_FRONT_FD + 1,
		.user = m->root ? &m->user : NULL, .groups = true,
		.no_caps = true, .no_new_privs = true,
		.limits = limits, .nlimits = sizeof(limits) / sizeof(limits[0]),
	    }, &m->front.pid, &m->front.pidfd, &error, err);
	if (rc != 0) {
		forget_child(&m->front);
		goto out;
	}
	m->channel = pair[0];
	pair[0] = -1;
	fds[1] = m->contracts_fd;
	fds[2] = m->control.fd;
	fds[3] = m->state_fd;
	fds[4] = m->client.fd;
	tell_front(m, SV_MSG_START, m->waiting, 0, fds, 5);
	for (i = 0; i < m->listeners.n; i++)
		tell_front(m, SV_MSG_LISTEN, i, 0, &m->listeners.v[i].fd, 1);
	for (i = 0; i < m->metrics.n; i++)
		tell_front(m, SV_MSG_LISTEN_METRICS, i, 0, &m->metrics.v[i].fd, 1);
	tell_front(m, SV_MSG_LISTEN_END, 0, 0, NULL, 0);
	tn_log(TN_LOG_INFO, "front started, pid %d", (int)m->front.pid);
out:
	tn_fd_close(&said);
	tn_fd_close(&fds[0]);
	tn_fd_close(&pair[0]);
	tn_fd_close(&pair[1]);
	sv_child_env_free(&env);
	return rc;
}

/* Not now: after a delay that doubles with each crash. */
static void
front_later(struct sv_master *m)
{
	m->front_delay_ms = sv_policy_backoff(m->front_delay_ms);
	m->front_due_us = tn_clock_us() + (uint64_t)m->front_delay_ms * 1000u;
	tn_log(TN_LOG_WARN, "the front is started again in %u ms", m->front_delay_ms);
}

static void
restart_front(struct sv_master *m)
{
	struct tn_buf err = { 0 };

	if (start_front(m, &err) != 0) {
		tn_log(TN_LOG_ERROR, "%.*s", bufint(&err), bufstr(&err));
		front_later(m);
	}
	tn_buf_fini(&err);
}

/* All that served the front ends with it: nobody holds the other ends any more. */
static void
kill_helpers(struct sv_master *m)
{
	size_t i;

	for (i = 0; i < ZYGOTES_MAX; i++)
		kill_child(&m->zygote[i]);
	kill_child(&m->compiler);
	m->compiler_wanted = false;
}

/* The front is gone, in order.  Whoever waits for our end waits for the one before us too. */
static void
end(struct sv_master *m)
{
	if (m->before < 0) {
		m->done = true;
		return;
	}
	m->drain_due_us = tn_clock_us() +
	    ((uint64_t)m->opt->drain_timeout_ms + 2 * DRAIN_SLACK_MS) * 1000u;
}

static void
reload_done(struct sv_master *m)
{
	if (m->reloading)
		sv_daemon_notify("READY=1\nSTATUS=Serving");
	m->reloading = false;
}

static void
on_front_death(struct sv_master *m, int status)
{
	struct tn_buf how = { 0 };
	bool stable = m->front_ready && tn_clock_us() - m->front_since_us >= FRONT_STABLE_US;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	sv_child_describe(status, &how);
	forget_child(&m->front);
	tn_fd_close(&m->channel);
	kill_helpers(m);
	m->front_ready = false;
	reload_done(m);
	if (m->draining) {
		if (code != 0)
			tn_log(TN_LOG_ERROR, "the front did not end in order: %.*s", bufint(&how),
			    bufstr(&how));
		m->code = code == 0 ? TN_EXIT_OK : TN_EXIT_FAILURE;
		end(m);
	} else if (!m->was_ready) {
		complain(m, "the server cannot serve: the front ended while it started: %.*s%s",
		    bufint(&how), bufstr(&how),
		    strcmp(m->opt->log, "stderr") != 0 ? "; the log says more" : "");
		m->code = code == TN_EXIT_SANDBOX || code == TN_EXIT_CONFIG ? (enum tn_exit)code :
		    TN_EXIT_FAILURE;
		m->done = true;
	} else {
		tn_log(TN_LOG_ERROR, "the front ended: %.*s; requests in progress are lost",
		    bufint(&how), bufstr(&how));
		if (stable)
			m->front_delay_ms = 0;
		front_later(m);
	}
	tn_buf_fini(&how);
}

/* It asks for what it must not: it has lost its mind, or somebody has got hold of it. */
static void
refuse_front(struct sv_master *m, const char *what)
{
	tn_log(TN_LOG_ERROR, "the front asks for what it must not (%s); ending it", what);
	kill_child(&m->front);
}

static struct child *
free_zygote(struct sv_master *m)
{
	size_t i;

	for (i = 0; i < ZYGOTES_MAX; i++)
		if (m->zygote[i].pid <= 0)
			return &m->zygote[i];
	return NULL;
}

static struct child *
find_zygote(struct sv_master *m, uint64_t generation)
{
	size_t i;

	for (i = 0; i < ZYGOTES_MAX; i++)
		if (m->zygote[i].pid > 0 && m->zygote[i].generation == generation)
			return &m->zygote[i];
	return NULL;
}

static void
want_zygote(struct sv_master *m, uint64_t generation)
{
	struct child *z = free_zygote(m);
	struct tn_buf err = { 0 };
	char who[48];
	uint64_t dropped;
	int fds[2] = { -1, -1 }, said = -1, error = EAGAIN;

	if (find_zygote(m, generation) != NULL) {
		refuse_front(m, "a zygote that it has");
		return;
	}
	if (z == NULL || !allow(&m->zygotes)) {
		if (tn_log_allow(&m->gossip, tn_clock_us(), &dropped))
			tn_log(TN_LOG_WARN, "the front asks for %s zygotes",
			    z == NULL ? "too many" : "too often for");
		tell_front(m, SV_MSG_ZYGOTE, generation, EAGAIN, NULL, 0);
		return;
	}
	(void)snprintf(who, sizeof(who), "zygote %llu", (unsigned long long)generation);
	if ((z->gossip = sv_gossip_new(who, &said)) == NULL) {
		error = errno;
		tn_buf_printf(&err, "%s: %s", who, strerror(error));
	} else if (sv_zygote_start(m->opt, &m->plan, m->root ? &m->worker_user : NULL,
		       m->worker_program, generation, m->null_fd, said, &fds[0], &z->pid, &z->pidfd,
		       &error, &err) == 0) {
		z->generation = generation;
		z->killed = false;
		fds[1] = z->pidfd;
		tn_log(TN_LOG_INFO, "%s started, pid %d", who, (int)z->pid);
		tell_front(m, SV_MSG_ZYGOTE, generation, 0, fds, 2);
	}
	if (z->pid <= 0) {
		complain(m, "%.*s", bufint(&err), bufstr(&err));
		forget_child(z);
		tell_front(m, SV_MSG_ZYGOTE, generation, error, NULL, 0);
	}
	tn_fd_close(&said);
	tn_fd_close(&fds[0]);
	tn_buf_fini(&err);
}

static void
on_zygote_death(struct sv_master *m, struct child *z, int status)
{
	struct tn_buf how = { 0 };
	uint64_t generation = z->generation;

	sv_child_describe(status, &how);
	tn_log(z->killed || status == 0 ? TN_LOG_INFO : TN_LOG_WARN, "zygote %llu ended: %.*s",
	    (unsigned long long)generation, bufint(&how), bufstr(&how));
	tn_buf_fini(&how);
	forget_child(z);
	tell_front(m, SV_MSG_ZYGOTE_DEAD, generation, status, NULL, 0);
}

static void
start_compiler(struct sv_master *m)
{
	struct child *c = &m->compiler;
	struct tn_buf err = { 0 };
	char *program;
	uint64_t dropped;
	int fd = -1, said = -1, error = ENOENT;

	m->compiler_wanted = false;
	if (!allow(&m->compilers)) {
		if (tn_log_allow(&m->gossip, tn_clock_us(), &dropped))
			tn_log(TN_LOG_WARN, "the front asks too often for the compiler");
		tell_front(m, SV_MSG_COMPILER, 0, EAGAIN, NULL, 0);
		return;
	}
	program = sv_program_find("compiler", m->opt->compiler, "tana", TANA_BINDIR, &err);
	if (program != NULL && (c->gossip = sv_gossip_new("compiler", &said)) == NULL) {
		error = errno;
		tn_buf_printf(&err, "compiler: %s", strerror(error));
	} else if (program != NULL &&
	    sv_compiler_start(program, m->opt->contracts, m->opt->run_dir, &m->plan,
		m->root ? &m->worker_user : NULL, m->null_fd, said, &fd, &c->pid, &c->pidfd, &error,
		&err) == 0) {
		c->killed = false;
		tn_log(TN_LOG_INFO, "compiler started, pid %d", (int)c->pid);
		tell_front(m, SV_MSG_COMPILER, 0, 0, &fd, 1);
	}
	if (c->pid <= 0) {
		tn_log(TN_LOG_ERROR, "the compiler cannot be started: %.*s", bufint(&err),
		    bufstr(&err));
		forget_child(c);
		tell_front(m, SV_MSG_COMPILER, 0, error, NULL, 0);
	}
	tn_fd_close(&said);
	tn_fd_close(&fd);
	free(program);
	tn_buf_fini(&err);
}

static void
want_compiler(struct sv_master *m)
{
	/* The front asks when it has none: an old one is done with, if perhaps not reaped. */
	if (m->compiler.pid > 0) {
		kill_child(&m->compiler);
		m->compiler_wanted = true;
	} else
		start_compiler(m);
}

/* The front is not told: the end of its socket says it, in order with the last answer. */
static void
on_compiler_death(struct sv_master *m, int status)
{
	struct tn_buf how = { 0 };

	sv_child_describe(status, &how);
	tn_log(m->compiler.killed || status == 0 ? TN_LOG_INFO : TN_LOG_WARN,
	    "the compiler ended: %.*s", bufint(&how), bufstr(&how));
	tn_buf_fini(&how);
	forget_child(&m->compiler);
	if (m->compiler_wanted && m->channel >= 0)
		start_compiler(m);
}

static void on_next_death(struct sv_master *m, int status);

static void
reap(struct sv_master *m)
{
	int status;
	size_t i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->front.pid)
			on_front_death(m, status);
		else if (pid == m->compiler.pid)
			on_compiler_death(m, status);
		else if (pid == m->up.pid)
			on_next_death(m, status);
		else
			for (i = 0; i < ZYGOTES_MAX; i++)
				if (pid == m->zygote[i].pid)
					on_zygote_death(m, &m->zygote[i], status);
	}
}

/* ---- what is asked of us ---- */

static void upgrade(struct sv_master *m, enum sv_up_event event);

static void
drain(struct sv_master *m, const char *who)
{
	if (m->up.state == SV_UP_HANDING) {
		m->stop_next = true;	/* who serves in a moment cannot be told yet */
		return;
	}
	if (m->draining && !m->retiring)
		return;
	if (!m->retiring)
		sv_daemon_notify("STOPPING=1\nSTATUS=Finishing what is in progress");
	m->draining = true;
	m->retiring = false;
	upgrade(m, SV_UP_STOPPED);
	(void)sv_up_send(m->before, SV_UP_MSG_STOP, NULL);
	/* While anybody holds them open, clients would connect and wait. */
	sv_listen_close(&m->listeners);
	sv_listen_close(&m->metrics);
	tn_log(TN_LOG_INFO, "asked to end by %s; finishing what is in progress", who);
	if (m->front.pid <= 0) {
		end(m);
		return;
	}
	m->drain_due_us = tn_clock_us() +
	    ((uint64_t)m->opt->drain_timeout_ms + DRAIN_SLACK_MS) * 1000u;
	tell_front(m, SV_MSG_DRAIN, 0, 0, NULL, 0);
}

static void
reload(struct sv_master *m)
{
	struct tn_options *next;
	struct tn_buf text = { 0 }, why = { 0 };
	int fds[2];

	m->reread = true;
	sv_daemon_reloading();
	m->reloading = true;
	if (sv_config_load(m->cfg, &next, &text) != 0) {
		tn_buf_printf(&why, "the configuration stays as it was: %.*s", bufint(&text),
		    bufstr(&text));
		tn_log(TN_LOG_ERROR, "%.*s", bufint(&why), bufstr(&why));
		tell_front_why(m, SV_MSG_CONFIG, EINVAL, &why);
		tn_buf_fini(&why);
		tn_buf_fini(&text);
		reload_done(m);
		return;
	}
	(void)tn_options_reload(m->opt, next, &text);
	tn_options_free(&next);
	apply_log(m);
	tn_log(TN_LOG_INFO, "configuration read again");
	if (text.len > 0)
		tn_log(TN_LOG_WARN, "changed, but in force only after a restart: %.*s",
		    bufint(&text), bufstr(&text));
	fds[1] = text_fd(&text);
	tn_buf_fini(&text);
	if ((fds[0] = config_fd(m->opt)) < 0) {
		tn_log(TN_LOG_ERROR, "cannot hand the configuration on: %s", strerror(errno));
		tell_front(m, SV_MSG_CONFIG, 0, errno != 0 ? errno : EIO, NULL, 0);
		tn_fd_close(&fds[1]);
		reload_done(m);
		return;
	}
	tell_front(m, SV_MSG_CONFIG, 0, 0, fds, fds[1] >= 0 ? 2 : 1);
	tn_fd_close(&fds[0]);
	tn_fd_close(&fds[1]);
	if (m->channel < 0)
		reload_done(m);
}

static void
reopen_log(struct sv_master *m)
{
	int fd;

	m->reopened = true;
	if (!logs_to_file(m->opt))
		return;
	if ((fd = open_log_file(m->opt)) < 0) {
		tn_log(TN_LOG_ERROR, "log: cannot open %s again: %s; going on with the old file",
		    m->opt->log, strerror(errno));
		return;
	}
	tn_log_set_fd(fd);
	tn_fd_close(&m->log_fd);
	m->log_fd = fd;
	if (m->daemon->detached)
		(void)dup2(fd, STDERR_FILENO);
	tell_front(m, SV_MSG_LOG, 0, 0, &fd, 1);
	tn_log(TN_LOG_INFO, "log opened again");
}

/* ---- another server takes over from us ---- */

/* The i-th listening socket, of all that we have. */
static struct sv_listener *
socket_at(struct sv_master *m, size_t i)
{
	struct sv_listener *others[] = { &m->control, &m->client };

	if (i < m->listeners.n)
		return &m->listeners.v[i];
	i -= m->listeners.n;
	if (i < m->metrics.n)
		return &m->metrics.v[i];
	i -= m->metrics.n;
	return i < sizeof(others) / sizeof(others[0]) ? others[i] : NULL;
}

/* What the next server gets from us; sockets whose path leads elsewhere are no use to it. */
static size_t
to_hand_over(struct sv_master *m, struct sv_handed h[SV_INHERIT_MAX])
{
	const struct sv_listener *l;
	size_t i, n = 0;

	h[n++] = (struct sv_handed){ SV_INHERIT_PIDFILE, m->up.pidfile };
	h[n++] = (struct sv_handed){ SV_INHERIT_LOCK, sv_pidfile_fd(m->pidfile) };
	for (i = 0; (l = socket_at(m, i)) != NULL; i++)
		if (n + 1 < SV_INHERIT_MAX && sv_listener_reachable(l))
			h[n++] = (struct sv_handed){ l->activated ? SV_INHERIT_ACTIVATED :
				SV_INHERIT_SOCKET, l->fd };
	return n;
}

static int
start_next(struct sv_master *m, struct tn_buf *err)
{
	struct sv_handed handed[SV_INHERIT_MAX];
	int rc;

	m->reread = m->reopened = m->stop_next = false;
	if (m->program == NULL || m->daemon->argv == NULL) {
		tn_buf_puts(err, "it is not known how this server was started");
		return TN_EINVAL;
	}
	if ((rc = sv_pidfile_next(m->pidfile, &m->up.pidfile, err)) != 0)
		return rc;
	if ((rc = sv_upgrade_start(&m->up, m->program, m->daemon->argv, m->cfg->base, handed,
		 to_hand_over(m, handed), err)) != 0)
		return rc;
	m->up.due_us = tn_clock_us() + (uint64_t)m->opt->upgrade_timeout_ms * 1000u;
	tn_log(TN_LOG_INFO, "upgrade: %s started, pid %d", m->program, (int)m->up.pid);
	return 0;
}

/* The next server is dead, or never was: all is as it was. */
static void
go_on(struct sv_master *m, const struct tn_buf *why)
{
	struct tn_buf err = { 0 };

	tn_log(TN_LOG_ERROR, "upgrade: this server serves on: %.*s", bufint(why), bufstr(why));
	tell_front_why(m, SV_MSG_UPGRADE, ECANCELED, why);
	if (m->up.pidfile >= 0 && sv_pidfile_reclaim(m->pidfile, &m->up.pidfile, &err) != 0)
		tn_log(TN_LOG_ERROR, "%.*s", bufint(&err), bufstr(&err));
	tn_buf_fini(&err);
	tn_fd_close(&m->up.channel);
	sv_upgrade_forget(&m->up);
	if (m->stop_next)
		drain(m, "a signal");
}

/* The next server accepts now.  What it did not hear of meanwhile, it hears. */
static void
retire(struct sv_master *m)
{
	struct sv_listener *l;
	pid_t pid = m->up.pid;
	size_t i;

	tn_log(TN_LOG_INFO, "upgrade: pid %d serves; finishing what is in progress", (int)pid);
	sv_daemon_notify("MAINPID=%d", (int)pid);
	tn_fd_close(&m->up.pidfile);
	sv_pidfile_release(&m->pidfile);
	for (i = 0; (l = socket_at(m, i)) != NULL; i++)
		sv_listener_leave(l);
	sv_listen_close(&m->listeners);
	sv_listen_close(&m->metrics);
	if (m->reread)
		(void)kill(pid, SIGHUP);
	if (m->reopened)
		(void)kill(pid, SIGUSR1);
	if (m->stop_next)
		(void)kill(pid, SIGTERM);
	sv_upgrade_forget(&m->up);
	m->draining = m->retiring = true;
	if (m->front.pid <= 0) {
		end(m);
		return;
	}
	/* Idle connections, then requests: a time each. */
	m->drain_due_us = tn_clock_us() +
	    (2u * (uint64_t)m->opt->drain_timeout_ms + DRAIN_SLACK_MS) * 1000u;
	tell_front(m, SV_MSG_UPGRADE, (uint64_t)pid, 0, NULL, 0);
	tell_front(m, SV_MSG_DRAIN, SV_DRAIN_RETIRE, 0, NULL, 0);
}

static void
upgrade(struct sv_master *m, enum sv_up_event event)
{
	const bool told = m->up.state == SV_UP_HANDING;
	struct sv_up_step step = sv_up_next(m->up.state, event);
	struct tn_buf text = { 0 };

	m->up.state = step.next;
	switch (step.action) {
	case SV_UP_NOTHING:
		break;
	case SV_UP_START:
		if (start_next(m, &text) != 0) {
			m->up.state = SV_UP_NONE;
			go_on(m, &text);
		}
		break;
	case SV_UP_REFUSE:
		tn_buf_puts(&text, "an upgrade is under way already");
		tn_log(TN_LOG_WARN, "upgrade: refused: %.*s", bufint(&text), bufstr(&text));
		tell_front_why(m, SV_MSG_UPGRADE, EALREADY, &text);
		break;
	case SV_UP_HAND:
		m->up.due_us = tn_clock_us() + TAKE_US;
		(void)sv_up_send(m->up.channel, SV_UP_MSG_TAKE, NULL);
		break;
	case SV_UP_KILL:
		m->up.due_us = 0;
		if (m->up.why.len == 0)
			tn_buf_puts(&m->up.why, event == SV_UP_OVERDUE && told ?
			    "the new server was ready, but did not take over" :
			    event == SV_UP_OVERDUE ?
			    "the new server was not ready in time (upgrade_timeout_ms)" :
			    event == SV_UP_STOPPED ? "the server was asked to end" :
			    "the new server does not keep to the order of messages");
		sv_upgrade_kill(&m->up);
		break;
	case SV_UP_GO_ON:
		go_on(m, &m->up.why);
		break;
	case SV_UP_RETIRE:
		retire(m);
		break;
	}
	tn_buf_fini(&text);
}

static void
on_next_death(struct sv_master *m, int status)
{
	int type;

	/* Its last words. */
	while (m->up.channel >= 0 && (type = sv_up_receive(m->up.channel, &m->up.why)) > 0)
		if (type == SV_UP_MSG_TAKEN && m->up.state == SV_UP_HANDING)
			tn_log(TN_LOG_WARN, "upgrade: the new server took over, and died");
	if (m->up.why.len == 0) {
		tn_buf_puts(&m->up.why, "the new server ended before it was ready: ");
		sv_child_describe(status, &m->up.why);
	}
	upgrade(m, SV_UP_ENDED);
}

/* Something came from the next server. */
static void
read_next(struct sv_master *m)
{
	struct tn_buf ignored = { 0 };
	int type = sv_up_receive(m->up.channel,
	    m->up.state == SV_UP_DONE ? &ignored : &m->up.why);

	tn_buf_fini(&ignored);
	switch (type) {
	case SV_UP_MSG_READY:
		upgrade(m, SV_UP_READY);
		break;
	case SV_UP_MSG_TAKEN:
		upgrade(m, SV_UP_TAKEN);
		break;
	case SV_UP_MSG_STOP:
		if (m->retiring)
			drain(m, "the server that has taken over");
		break;
	case TN_ECLOSED:
	case TN_EPROTO:
		/* It is about to be reaped; if not, its time runs out. */
		tn_fd_close(&m->up.channel);
		break;
	default:
		break;
	}
}

static void
ask_for_upgrade(struct sv_master *m)
{
	struct tn_buf why = { 0 };

	if (m->draining || !m->was_ready) {
		tn_buf_puts(&why, m->draining ? "the server is about to end" :
		    "the server does not serve yet");
		tn_log(TN_LOG_WARN, "upgrade: refused: %.*s", bufint(&why), bufstr(&why));
		tell_front_why(m, SV_MSG_UPGRADE, EBUSY, &why);
		tn_buf_fini(&why);
	} else
		upgrade(m, SV_UP_ASKED);
}

/* ---- we take over from another server ---- */

static void
serve(struct sv_master *m)
{
	m->was_ready = true;
	sv_daemon_ready(m->daemon, m->log_fd);
	tn_log(TN_LOG_INFO, "serving, pid %d", (int)getpid());
}

static void
take_over(struct sv_master *m)
{
	struct tn_buf err = { 0 };
	struct sv_listener *l;
	size_t i;

	if (sv_pidfile_commit(m->pidfile, &err) != 0) {
		complain(m, "%.*s", bufint(&err), bufstr(&err));
		m->code = TN_EXIT_FAILURE;
		m->done = true;
		tn_buf_fini(&err);
		return;
	}
	m->waiting = false;
	for (i = 0; (l = socket_at(m, i)) != NULL; i++)
		l->shared = false;
	tell_front(m, SV_MSG_SERVE, 0, 0, NULL, 0);
	serve(m);
	(void)sv_up_send(m->before, SV_UP_MSG_TAKEN, NULL);
	sv_inherit_end(true);		/* the one before does not go back any more */
	tn_buf_fini(&err);
}

/* Something came from the server before us. */
static void
read_before(struct sv_master *m)
{
	struct tn_buf ignored = { 0 };
	int type = sv_up_receive(m->before, &ignored);

	tn_buf_fini(&ignored);
	if (type == SV_UP_MSG_TAKE && m->waiting && m->front_ready)
		take_over(m);
	if (type != TN_ECLOSED && type != TN_EPROTO)
		return;
	tn_fd_close(&m->before);
	if (m->waiting) {
		tn_log(TN_LOG_WARN, "the server before ended without a word; taking over alone");
		if (m->front_ready)
			take_over(m);
	} else
		tn_log(TN_LOG_INFO, "the server before has ended");
	if (m->draining && m->front.pid <= 0)
		m->done = true;
}

static void
on_ready(struct sv_master *m)
{
	if (m->front_ready) {
		refuse_front(m, "to be ready once more");
		return;
	}
	m->front_ready = true;
	if (m->waiting) {
		if (m->before < 0)
			take_over(m);
		else
			(void)sv_up_send(m->before, SV_UP_MSG_READY, NULL);
		return;
	}
	if (m->was_ready) {
		tn_log(TN_LOG_INFO, "serving again");
		return;
	}
	serve(m);
}

static void
on_front_message(struct sv_master *m, const struct sv_msg *msg)
{
	static const char too_often[] = "asked too often; try again in a moment";
	struct tn_buf often = { .p = (char *)(uintptr_t)too_often, .len = sizeof(too_often) - 1 };
	struct child *z;

	switch (msg->type) {
	case SV_MSG_READY:
		on_ready(m);
		break;
	case SV_MSG_WANT_ZYGOTE:
		want_zygote(m, msg->arg);
		break;
	case SV_MSG_KILL_ZYGOTE:
		if ((z = find_zygote(m, msg->arg)) != NULL)
			kill_child(z);
		break;
	case SV_MSG_WANT_COMPILER:
		want_compiler(m);
		break;
	case SV_MSG_KILL_COMPILER:
		kill_child(&m->compiler);
		break;
	case SV_MSG_WANT_RELOAD:
		if (allow(&m->reloads))
			reload(m);
		else
			tell_front_why(m, SV_MSG_CONFIG, EAGAIN, &often);
		break;
	case SV_MSG_CONFIG_DONE:
		reload_done(m);
		break;
	case SV_MSG_WANT_UPGRADE:
		if (allow(&m->upgrades))
			ask_for_upgrade(m);
		else
			tell_front_why(m, SV_MSG_UPGRADE, EAGAIN, &often);
		break;
	case SV_MSG_WANT_DRAIN:
		drain(m, "tana-ctl");
		break;
	default:
		refuse_front(m, "an unknown message");
	}
}

static void
read_front(struct sv_master *m)
{
	struct sv_msg msg;
	int i, none;
	ssize_t n;

	for (i = 0; i < MESSAGES_TURN && m->channel >= 0 && !m->front.killed; i++) {
		none = 0;		/* it has no descriptors to give us */
		n = tn_fd_recv(m->channel, &msg, sizeof(msg), NULL, &none);
		if (n == TN_EAGAIN)
			return;
		if (n != (ssize_t)sizeof(msg) || msg.magic != SV_PROTO_MAGIC) {
			if (n != TN_ECLOSED)
				tn_log(
				    TN_LOG_ERROR, "the front sends a malformed message; ending it");
			/* Closed: it is about to end; if not, it is of no use. */
			kill_child(&m->front);
			tn_fd_close(&m->channel);
			return;
		}
		on_front_message(m, &msg);
	}
}

/* ---- the loop ---- */

/* The end first, since it makes the rest needless; deaths last: what they start sees all. */
static void
handle_signals(struct sv_master *m)
{
	uint64_t now;

	if (got_term) {
		got_term = 0;
		now = tn_clock_us();
		if (m->term_us == 0) {
			m->term_us = now;
			drain(m, "a signal");
		} else if (m->retiring) {
			drain(m, "a signal");
		} else if (now - m->term_us > TERM_AGAIN_US) {
			tn_log(TN_LOG_WARN, "asked once more to end: ending at once");
			m->code = TN_EXIT_FAILURE;
			m->done = true;
		}
	}
	if (got_usr1) {
		got_usr1 = 0;
		reopen_log(m);
	}
	if (got_hup) {
		got_hup = 0;
		if (!m->draining)
			reload(m);
	}
	if (got_usr2) {
		got_usr2 = 0;
		ask_for_upgrade(m);
	}
	if (got_chld) {
		got_chld = 0;
		reap(m);
	}
}

static void
handle_time(struct sv_master *m)
{
	uint64_t now = tn_clock_us();

	if (m->front_due_us != 0 && now >= m->front_due_us && !m->draining)
		restart_front(m);
	if (m->drain_due_us != 0 && now >= m->drain_due_us) {
		tn_log(TN_LOG_ERROR, "the front does not end; ending it");
		m->drain_due_us = 0;
		kill_child(&m->front);
		if (m->front.pid <= 0)
			m->done = true;		/* it was the one before us that does not */
	}
	if (m->up.due_us != 0 && now >= m->up.due_us)
		upgrade(m, SV_UP_OVERDUE);
}

static int
timeout_ms(const struct sv_master *m)
{
	uint64_t due = 0, now = tn_clock_us();

	if (m->front_due_us != 0)
		due = m->front_due_us;
	if (m->drain_due_us != 0 && (due == 0 || m->drain_due_us < due))
		due = m->drain_due_us;
	if (m->up.due_us != 0 && (due == 0 || m->up.due_us < due))
		due = m->up.due_us;
	return due == 0 ? -1 : due <= now ? 0 : (int)((due - now) / 1000u + 1u);
}

/* The i-th child, of all that can be. */
static struct child *
child_at(struct sv_master *m, size_t i)
{
	return i == 0           ? &m->front :
	    i == 1              ? &m->compiler :
	    i < 2 + ZYGOTES_MAX ? &m->zygote[i - 2] :
				  NULL;
}

static void
turn(struct sv_master *m, const sigset_t *unblocked)
{
	struct pollfd p[5 + ZYGOTES_MAX];
	struct child *of[5 + ZYGOTES_MAX], *c;
	struct timespec ts;
	sigset_t blocked;
	int ms = timeout_ms(m), ready;
	nfds_t n = 0, k;
	size_t i;

	ts = (struct timespec){ ms / 1000, ms % 1000 * 1000000L };
	if (m->channel >= 0 && !m->front.killed) {
		of[n] = NULL;
		p[n++] = (struct pollfd){ .fd = m->channel, .events = POLLIN };
	}
	if (m->up.channel >= 0) {
		of[n] = NULL;
		p[n++] = (struct pollfd){ .fd = m->up.channel, .events = POLLIN };
	}
	if (m->before >= 0) {
		of[n] = NULL;
		p[n++] = (struct pollfd){ .fd = m->before, .events = POLLIN };
	}
	for (i = 0; (c = child_at(m, i)) != NULL; i++)
		if (c->gossip != NULL) {
			of[n] = c;
			p[n++] = (struct pollfd){ .fd = sv_gossip_fd(c->gossip), .events = POLLIN };
		}
	ready = ppoll(p, n, ms >= 0 ? &ts : NULL, unblocked);
	if (ready < 0 && errno != EINTR)
		tn_panic("ppoll: %s", strerror(errno));
	/* It lets signals in only while it waits: nobody who talks on and on keeps them out. */
	(void)sigprocmask(SIG_SETMASK, unblocked, &blocked);
	(void)sigprocmask(SIG_SETMASK, &blocked, NULL);
	if (ready <= 0)
		return;
	/* What they said before what they ask for: the log then is in order. */
	for (k = 0; k < n; k++)
		if (p[k].revents != 0 && of[k] != NULL && sv_gossip_read(of[k]->gossip) != 0)
			sv_gossip_free(&of[k]->gossip);
	for (k = 0; k < n; k++)
		if (p[k].revents != 0 && of[k] == NULL) {
			if (p[k].fd == m->channel)
				read_front(m);
			else if (p[k].fd == m->up.channel)
				read_next(m);
			else if (p[k].fd == m->before)
				read_before(m);
		}
}

/* ---- start and end ---- */

static int
open_dir(const char *option, const char *path, int *fd, struct tn_buf *err)
{
	if ((*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		tn_buf_printf(err, "%s: cannot open %s: %s", option, path, strerror(errno));
		return TN_ESYS;
	}
	return 0;
}

/* We can read whatever it is; the front, which gets the descriptor, must too. */
static int
open_contracts(struct sv_master *m, struct tn_buf *err)
{
	struct tn_buf why = { 0 };
	int rc = open_dir("contracts", m->opt->contracts, &m->contracts_fd, err);

	if (rc == 0 && m->root && sv_program_explain(m->opt->contracts, &m->user, false, &why)) {
		tn_buf_printf(err, "contracts: %.*s", bufint(&why), bufstr(&why));
		rc = TN_EDENIED;
	}
	tn_buf_fini(&why);
	return rc;
}

/*
 * The directory of contracts' data (sv_lmdb.h), for the front, where it cannot make it
 * itself.  Who may rename what stands in state_dir is root or it makes it itself: so
 * nothing else can have come in the new directory's place.  A failure shows where the
 * data is wanted; nobody else has to care.
 */
static void
make_data(const struct sv_master *m)
{
	struct stat st;

	if (!m->root || fstat(m->state_fd, &st) != 0 || st.st_uid != 0 ||
	    (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return;
	if (mkdirat(m->state_fd, "data", 0700) == 0 &&
	    fchownat(m->state_fd, "data", m->user.uid, m->user.gid, AT_SYMLINK_NOFOLLOW) != 0)
		tn_log(TN_LOG_WARN, "state_dir: cannot give data to %s: %s", m->opt->user,
		    strerror(errno));
}

static int
open_state(struct sv_master *m, struct tn_buf *err)
{
	const char *path = m->opt->state_dir;
	int rc;

	if (mkdir(path, 0755) == 0) {
		if (m->root && lchown(path, m->user.uid, m->user.gid) != 0) {
			tn_buf_printf(err, "state_dir: %s: %s", path, strerror(errno));
			return TN_ESYS;
		}
	} else if (errno != EEXIST) {
		tn_buf_printf(err, "state_dir: cannot make %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	if ((rc = open_dir("state_dir", path, &m->state_fd, err)) == 0)
		make_data(m);
	return rc;
}

static int
open_control(struct sv_master *m, struct tn_buf *err)
{
	char *path;
	int rc;

	if (asprintf(&path, "%s/control.sock", m->opt->run_dir) < 0)
		return TN_ENOMEM;
	rc = sv_listen_unix(&m->control, path, 0600, err);
	free(path);
	return rc;
}

/* For programs of the front's user and group. */
static int
open_client(struct sv_master *m, struct tn_buf *err)
{
	char *path;
	int rc;

	if (asprintf(&path, "%s/tana.sock", m->opt->run_dir) < 0)
		return TN_ENOMEM;
	rc = sv_listen_unix(&m->client, path, 0660, err);
	if (rc == 0 && m->root && lchown(path, m->user.uid, m->user.gid) != 0) {
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		rc = TN_ESYS;
	}
	free(path);
	return rc;
}

/* After a master that was killed, its sockets are free when its front is dead too. */
static int
open_listeners(struct sv_listeners *ls, const struct tn_list *addresses, bool stale,
    struct tn_buf *err)
{
	int i, rc;

	for (i = 0;; i++) {
		rc = sv_listen_open(ls, addresses, err);
		if (rc != TN_EBUSY || !stale || i == BIND_TRIES)
			return rc;
		tn_buf_reset(err);
		(void)usleep(BIND_PAUSE_US);
	}
}

/* The lock of run_dir: taken, or taken over. 0 or an exit code. */
static int
take_pidfile(struct sv_master *m, bool *stale, struct tn_buf *err)
{
	pid_t holder;
	int rc, fd;

	*stale = false;
	if (!m->waiting) {
		rc = sv_pidfile_take(&m->pidfile, m->opt->run_dir, &holder, stale, err);
		return rc == 0 ? 0 : rc == TN_EBUSY ? TN_EXIT_RUNNING : TN_EXIT_FAILURE;
	}
	fd = sv_inherit_take(SV_INHERIT_PIDFILE);
	rc = sv_pidfile_adopt(&m->pidfile, m->opt->run_dir, &fd, err);
	tn_fd_close(&fd);
	return rc == 0 ? 0 : TN_EXIT_FAILURE;
}

/* systemd passes what is not in the configuration: requests there would never be answered. */
static int
check_activation(struct tn_buf *err)
{
	struct tn_buf names = { 0 };
	int rc = 0;

	if (sv_inherit_unwanted(&names) > 0) {
		tn_buf_printf(err,
		    "listen: does not have what systemd passes: %.*s (*:PORT is for IPv6 and IPv4, "
		    "[::]:PORT for IPv6 alone)", bufint(&names), bufstr(&names));
		rc = TN_EINVAL;
	}
	tn_buf_fini(&names);
	return rc;
}

/* All that needs the privilege we were started with, or can be wrong. 0 or an exit code. */
static int
prepare(struct sv_master *m, struct tn_buf *err)
{
	struct sv_system sys;
	struct tn_buf where = { 0 };
	bool stale;
	size_t i;
	int rc;

	sv_system_look(&sys);
	m->root = sys.root;
	if (m->root &&
	    sv_user_pair(&m->user, &m->worker_user, m->opt->user, m->opt->worker_user, err) != 0)
		return TN_EXIT_CONFIG;
	if ((m->worker_program = sv_program_find("worker_program", m->opt->worker_program,
		 "tana-worker", TANA_LIBEXECDIR, err)) == NULL)
		return TN_EXIT_FAILURE;
	if (sv_rundir_make(m->opt->run_dir, err) != 0)
		return TN_EXIT_FAILURE;
	if ((rc = take_pidfile(m, &stale, err)) != 0)
		return rc;
	if (sv_plan_make(&m->plan, (enum sv_sandbox)m->opt->sandbox, &sys, err) != 0)
		return TN_EXIT_SANDBOX;
	if ((m->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 ||
	    (m->self_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC)) < 0) {
		tn_buf_printf(err, "/dev/null, /proc/self/exe: %s", strerror(errno));
		return TN_EXIT_FAILURE;
	}
	if (open_contracts(m, err) != 0 || open_state(m, err) != 0 ||
	    open_listeners(&m->listeners, &m->opt->listen, stale, err) != 0 ||
	    (m->opt->metrics_listen.n > 0 &&
	    open_listeners(&m->metrics, &m->opt->metrics_listen, stale, err) != 0) ||
	    open_control(m, err) != 0 || open_client(m, err) != 0)
		return TN_EXIT_FAILURE;
	if (check_activation(err) != 0)
		return TN_EXIT_CONFIG;
	for (i = 0; i < m->listeners.n; i++) {
		sv_address_print(m->listeners.v[i].fd, &where);
		tn_log(TN_LOG_INFO, "listening on %.*s", bufint(&where), bufstr(&where));
		tn_buf_reset(&where);
	}
	for (i = 0; i < m->metrics.n; i++) {
		sv_address_print(m->metrics.v[i].fd, &where);
		tn_log(TN_LOG_INFO, "metrics on %.*s", bufint(&where), bufstr(&where));
		tn_buf_reset(&where);
	}
	tn_buf_fini(&where);
	return 0;
}

static void
report_sandbox(const struct sv_master *m)
{
	char names[TN_LAYERS_TEXT];

	if (m->opt->sandbox == SV_SANDBOX_OFF)
		tn_log(TN_LOG_WARN, "sandbox = off: contracts run unconfined");
	else
		tn_log(TN_LOG_INFO, "required sandbox layers: %s",
		    tn_layers_text(m->plan.required, names, sizeof(names)));
	if (!m->root)
		tn_log(TN_LOG_INFO, "not started as root: all processes run as this user");
}

static void
catch_signals(sigset_t *old)
{
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t set;
	size_t i;

	(void)sigemptyset(&set);
	for (i = 0; i < NSIGNALS; i++) {
		(void)sigaddset(&set, signals[i]);
		(void)sigaction(signals[i], &sa, NULL);
	}
	(void)sigprocmask(SIG_BLOCK, &set, old);
	/* Whoever started us may have blocked some. */
	for (i = 0; i < NSIGNALS; i++)
		(void)sigdelset(old, signals[i]);
	sa.sa_handler = SIG_IGN;
	(void)sigaction(SIGPIPE, &sa, NULL);
}

/* Nothing of ours stays behind. */
static void
end_children(struct sv_master *m)
{
	struct tn_buf ignored = { 0 };
	struct child *c;
	size_t i;

	for (i = 0; (c = child_at(m, i)) != NULL; i++)
		kill_child(c);
	for (i = 0; (c = child_at(m, i)) != NULL; i++) {
		while (c->pid > 0 && waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
		forget_child(c);
	}
	tn_fd_close(&m->channel);
	if (m->up.pid > 0) {		/* it has not taken over */
		sv_upgrade_kill(&m->up);
		while (waitpid(m->up.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	tn_fd_close(&m->up.channel);
	if (m->up.pidfile >= 0)
		(void)sv_pidfile_reclaim(m->pidfile, &m->up.pidfile, &ignored);
	sv_upgrade_forget(&m->up);
	tn_buf_fini(&ignored);
}

enum tn_exit
sv_master_run(const struct sv_config *cfg, struct tn_options **opt, struct sv_daemon *daemon)
{
	struct sv_master m = {
		.cfg = cfg,
		.opt = *opt,
		.daemon = daemon,
		.control = { .fd = -1 },
		.client = { .fd = -1 },
		.contracts_fd = -1,
		.state_fd = -1,
		.null_fd = -1,
		.log_fd = -1,
		.self_fd = -1,
		.channel = -1,
		.up = SV_UPGRADE_NONE,
		.before = sv_inherit_take(SV_INHERIT_CHANNEL),
		.waiting = sv_inherit_upgrade(),
		.program = sv_upgrade_program(daemon->argv != NULL ? daemon->argv[0] : NULL),
		/* A zygote takes its time to warm up, a compiler its time to fail. */
		.zygotes = { .burst = 16, .every_us = 1000000 },
		.compilers = { .burst = 32, .every_us = 500000 },
		.reloads = { .burst = 32, .every_us = 100000 },
		.upgrades = { .burst = 8, .every_us = 1000000 },
		.gossip = { .burst = 10 },
	};
	struct tn_buf err = { 0 };
	struct child *c;
	sigset_t unblocked;
	size_t i;
	int rc;

	*opt = NULL;
	for (i = 0; (c = child_at(&m, i)) != NULL; i++)
		c->pidfd = -1;
	catch_signals(&unblocked);
	if (start_log(&m) != 0) {
		m.code = TN_EXIT_FAILURE;
		goto out;
	}
	tn_log(TN_LOG_INFO, "tana-edge %s starts, configuration %s", PACKAGE_VERSION,
	    cfg->path != NULL ? cfg->path : "of defaults and command line");
	if ((rc = prepare(&m, &err)) != 0 ||
	    (rc = start_front(&m, &err) != 0 ? TN_EXIT_FAILURE : 0) != 0) {
		complain(&m, "%.*s", bufint(&err), bufstr(&err));
		m.code = (enum tn_exit)rc;
		goto out;
	}
	report_sandbox(&m);
	while (!m.done) {
		turn(&m, &unblocked);
		handle_signals(&m);
		handle_time(&m);
	}
	tn_log(TN_LOG_INFO, "ended");
out:
	end_children(&m);
	sv_listen_close(&m.listeners);
	sv_listen_close(&m.metrics);
	sv_listener_close(&m.control);
	sv_listener_close(&m.client);
	sv_inherit_end(false);
	sv_pidfile_release(&m.pidfile);
	tn_fd_close(&m.contracts_fd);
	tn_fd_close(&m.state_fd);
	tn_fd_close(&m.null_fd);
	tn_fd_close(&m.self_fd);
	tn_fd_close(&m.before);
	free(m.worker_program);
	free(m.program);
	tn_options_free(&m.opt);
	tn_buf_fini(&err);
	if (!m.was_ready)
		sv_daemon_failed(daemon, m.code != TN_EXIT_OK ? m.code : TN_EXIT_FAILURE);
	/* The log is open to the last word. */
	if (m.log_fd >= 0) {
		tn_log_set_fd(STDERR_FILENO);
		tn_fd_close(&m.log_fd);
	}
	return m.code;
}
