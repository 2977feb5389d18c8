/*
 * sv_shard.c - a shard, as the master has it.
 */
#include "config.h"

#include "sv_shard.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sv_child.h"
#include "sv_compiler.h"
#include "sv_gossip.h"
#include "sv_policy.h"
#include "sv_program.h"
#include "sv_shards.h"
#include "sv_text.h"
#include "tn_clock.h"
#include "tn_err.h"
#include "tn_fd.h"

#define MESSAGES_TURN	16	/* of a front, in one turn of the loop */
#define FRONT_STABLE_US (10u * 1000000u) /* it lived so long: the next crash is a first one */
#define FDS_SPARE	1024u	/* the front's: control clients, its own */

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

/* As long as we are not too deep in records that the front makes us write. */
static void __attribute__((format(printf, 2, 3)))
warn(struct sv_shard *s, const char *fmt, ...)
{
	uint64_t dropped;
	char text[256];
	va_list ap;

	if (!tn_log_allow(&s->gossip, tn_clock_us(), &dropped))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_log(TN_LOG_WARN, "%s", text);
}

void
sv_shard_init(struct sv_shard *s, const struct sv_shard_host *host, unsigned number)
{
	struct sv_shard_child *c;
	size_t i;

	*s = (struct sv_shard){
		.host = host, .number = number, .channel = -1,
		/* A zygote takes its time to warm up, a compiler its time to fail. */
		.zygotes = { .burst = 16, .every_us = 1000000 },
		.compilers = { .burst = 32, .every_us = 500000 },
		.reloads = { .burst = 32, .every_us = 100000 },
		.upgrades = { .burst = 8, .every_us = 1000000 },
		.gossip = { .burst = 10 },
	};
	for (i = 0; (c = sv_shard_child(s, i)) != NULL; i++)
		c->pidfd = -1;
	strcpy(s->front_name, "front");
	strcpy(s->the_front, "the front");
	if (host->shards == 1)
		return;
	(void)snprintf(s->front_name, sizeof(s->front_name), "front %u", number);
	strcpy(s->the_front, s->front_name);
	(void)snprintf(s->prefix, sizeof(s->prefix), "shard %u ", number);
}

/* ---- children ---- */

struct sv_shard_child *
sv_shard_child(struct sv_shard *s, size_t i)
{
	return i == 0                ? &s->front :
	    i == 1                   ? &s->compiler :
	    i < SV_SHARD_CHILDREN    ? &s->zygote[i - 2] :
				       NULL;
}

void
sv_shard_kill(struct sv_shard_child *c)
{
	if (c->pid <= 0 || c->killed)
		return;
	c->killed = true;
	(void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
}

void
sv_shard_forget(struct sv_shard_child *c)
{
	sv_gossip_free(&c->gossip);
	tn_fd_close(&c->pidfd);
	*c = (struct sv_shard_child){ .pidfd = -1 };
}

/* ---- messages to the front ---- */

void
sv_shard_tell(struct sv_shard *s, enum sv_msg_type type, uint64_t arg, int status, const int *fds,
    int nfds)
{
	struct sv_msg msg = { .magic = SV_PROTO_MAGIC, .type = (uint32_t)type, .arg = arg,
	    .status = status };
	ssize_t n;

	if (s->channel < 0)
		return;
	n = tn_fd_send(s->channel, &msg, sizeof(msg), fds, nfds);
	if (n == (ssize_t)sizeof(msg) || n == TN_ECLOSED)
		return;			/* closed: its death is about to be reaped */
	/* We never wait for it.  So many unread messages mean that it hangs. */
	tn_log(TN_LOG_ERROR, "%s does not take our messages: %s; ending it", s->the_front,
	    n == TN_EAGAIN ? "its queue is full" : strerror(errno));
	sv_shard_kill(&s->front);
}

void
sv_shard_tell_why(struct sv_shard *s, enum sv_msg_type type, int status, const struct tn_buf *why)
{
	int fd = why->len > 0 ? sv_text_fd("text", why) : -1;

	sv_shard_tell(s, type, 0, status, &fd, fd >= 0 ? 1 : 0);
	tn_fd_close(&fd);
}

void
sv_shard_introduce(struct sv_shard *first, struct sv_shard *s)
{
	int pair[2];

	if (s == first || s->channel < 0 || first->channel < 0)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
		tn_log(TN_LOG_ERROR, "shard %u cannot be asked: socketpair: %s", s->number,
		    strerror(errno));
		return;
	}
	sv_shard_tell(first, SV_MSG_PEER, s->number, 0, &pair[0], 1);
	sv_shard_tell(s, SV_MSG_PEER, first->number, 0, &pair[1], 1);
	tn_fd_close(&pair[0]);
	tn_fd_close(&pair[1]);
}

/* ---- the front ---- */

/*
 * Descriptors of the front: one a connection; per worker a channel, a slots page,
 * a pidfd and, while it is made, more.  The first shard has no less than any other.
 */
static rlim_t
front_descriptors(const struct sv_shard_host *h)
{
	const struct tn_options *o = h->opt;

	return (rlim_t)sv_shards_part((uint64_t)o->connections_max, 1, 0, h->shards) +
	    (rlim_t)sv_shards_part((uint64_t)o->clients_max, 1, 0, h->shards) +
	    6u * (rlim_t)sv_shards_part((uint64_t)o->workers_max, 1, 0, h->shards) + FDS_SPARE;
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
allowed_descriptors(const struct sv_shard *s)
{
	rlim_t want = front_descriptors(s->host), have = want;
	struct rlimit rl;

	if (s->host->root && have > system_descriptors())
		have = system_descriptors();
	else if (!s->host->root && getrlimit(RLIMIT_NOFILE, &rl) == 0 && have > rl.rlim_max)
		have = rl.rlim_max;
	if (have < want)
		tn_log(TN_LOG_WARN,
		    "%s may have %llu descriptors; connections_max and workers_max "
		    "ask for %llu (raise the limit: ulimit -n, LimitNOFILE=)", s->the_front,
		    (unsigned long long)have, (unsigned long long)want);
	return have;
}

/* What the front is told first. */
static void
tell_start(struct sv_shard *s, bool held, int options_fd)
{
	const struct sv_shard_host *h = s->host;
	int fds[5] = { options_fd, h->contracts_fd,
		s->number == 0 ? h->control_fd : h->null_fd, h->state_fd, h->client_fd };

	sv_shard_tell(s, SV_MSG_START, held, 0, fds, 5);
	if (h->shards > 1)
		sv_shard_tell(s, SV_MSG_SHARD, s->number, (int)h->shards, NULL, 0);
}

int
sv_shard_start(struct sv_shard *s, bool held, struct tn_buf *err)
{
	const struct sv_shard_host *h = s->host;
	struct sv_child_limit limits[] = { { RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, allowed_descriptors(s) } };
	char number[12];
	char *argv[] = { (char[]){ "tana-edge" }, (char[]){ SV_FRONT_ARG }, NULL, NULL };
	char **env = sv_child_env(NULL);
	int pair[2] = { -1, -1 }, said = -1, options = -1, error, rc = TN_ESYS;

	s->ready = false;
	s->due_us = 0;
	s->since_us = tn_clock_us();
	if (h->shards > 1) {		/* for who looks at processes */
		(void)snprintf(number, sizeof(number), "%u", s->number);
		argv[2] = number;
	}
	if (env == NULL || (options = sv_text_options_fd(h->opt)) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
	    tn_fd_nonblock(pair[0]) != 0) {
		tn_buf_printf(err, "%s: %s", s->front_name, strerror(errno));
		goto out;
	}
	/* What it says beside its log: the C library's and the sanitizers' last words. */
	if (strcmp(h->opt->log, "syslog") == 0 &&
	    (s->front.gossip = sv_gossip_new(s->front_name, &said)) == NULL) {
		tn_buf_printf(err, "%s: %s", s->front_name, strerror(errno));
		goto out;
	}
	rc = sv_child_start(&(struct sv_child){
		.what = s->front_name, .path = "tana-edge", .exec_fd = h->self_fd,
		.argv = argv, .envp = env,
		.fds = { h->null_fd, h->null_fd, said >= 0 ? said :
		    h->log_fd >= 0 ? h->log_fd : STDERR_FILENO, pair[1] },
		.nfds = SV_FRONT_FD + 1,
		.user = h->root ? &h->user : NULL, .groups = true,
		.no_caps = true, .no_new_privs = true,
		.limits = limits, .nlimits = sizeof(limits) / sizeof(limits[0]),
	    }, &s->front.pid, &s->front.pidfd, &error, err);
	if (rc != 0) {
		sv_shard_forget(&s->front);
		goto out;
	}
	s->channel = pair[0];
	pair[0] = -1;
	tell_start(s, held, options);
	h->ops->started(h->arg, s);
	tn_log(TN_LOG_INFO, "%s started, pid %d", s->front_name, (int)s->front.pid);
out:
	tn_fd_close(&said);
	tn_fd_close(&options);
	tn_fd_close(&pair[0]);
	tn_fd_close(&pair[1]);
	sv_child_env_free(&env);
	return rc;
}

void
sv_shard_start_later(struct sv_shard *s)
{
	s->delay_ms = sv_policy_backoff(s->delay_ms);
	s->due_us = tn_clock_us() + (uint64_t)s->delay_ms * 1000u;
	tn_log(TN_LOG_WARN, "%s is started again in %u ms", s->the_front, s->delay_ms);
}

void
sv_shard_restart(struct sv_shard *s, bool held)
{
	struct tn_buf err = { 0 };

	if (sv_shard_start(s, held, &err) != 0) {
		tn_log(TN_LOG_ERROR, "%.*s", bufint(&err), bufstr(&err));
		sv_shard_start_later(s);
	}
	tn_buf_fini(&err);
}

/* All that served the front ends with it: nobody holds the other ends any more. */
static void
kill_helpers(struct sv_shard *s)
{
	size_t i;

	for (i = 0; i < SV_SHARD_ZYGOTES; i++)
		sv_shard_kill(&s->zygote[i]);
	sv_shard_kill(&s->compiler);
	s->compiler_wanted = false;
}

static void
on_front_death(struct sv_shard *s, int status)
{
	if (s->ready && tn_clock_us() - s->since_us >= FRONT_STABLE_US)
		s->delay_ms = 0;
	sv_shard_forget(&s->front);
	tn_fd_close(&s->channel);
	kill_helpers(s);
	s->ready = false;
	s->host->ops->ended(s->host->arg, s, status);
}

void
sv_shard_refuse(struct sv_shard *s, const char *what)
{
	tn_log(TN_LOG_ERROR, "%s asks for what it must not (%s); ending it", s->the_front, what);
	sv_shard_kill(&s->front);
}

/* ---- zygotes ---- */

static struct sv_shard_child *
free_zygote(struct sv_shard *s)
{
	size_t i;

	for (i = 0; i < SV_SHARD_ZYGOTES; i++)
		if (s->zygote[i].pid <= 0)
			return &s->zygote[i];
	return NULL;
}

static struct sv_shard_child *
find_zygote(struct sv_shard *s, uint64_t generation)
{
	size_t i;

	for (i = 0; i < SV_SHARD_ZYGOTES; i++)
		if (s->zygote[i].pid > 0 && s->zygote[i].generation == generation)
			return &s->zygote[i];
	return NULL;
}

static void
want_zygote(struct sv_shard *s, uint64_t generation)
{
	const struct sv_shard_host *h = s->host;
	struct sv_shard_child *z = free_zygote(s);
	struct tn_buf err = { 0 };
	char who[64];
	int fds[2] = { -1, -1 }, said = -1, error = EAGAIN;

	if (find_zygote(s, generation) != NULL) {
		sv_shard_refuse(s, "a zygote that it has");
		return;
	}
	if (z == NULL || !sv_bucket_allow(&s->zygotes)) {
		warn(s, "%s asks for %s zygotes", s->the_front,
		    z == NULL ? "too many" : "too often for");
		sv_shard_tell(s, SV_MSG_ZYGOTE, generation, EAGAIN, NULL, 0);
		return;
	}
	(void)snprintf(who, sizeof(who), "%szygote %llu", s->prefix,
	    (unsigned long long)generation);
	if ((z->gossip = sv_gossip_new(who, &said)) == NULL) {
		error = errno;
		tn_buf_printf(&err, "%s: %s", who, strerror(error));
	} else if (sv_zygote_start(h->opt, &h->plan, h->root ? &h->worker_user : NULL,
		       h->worker_program, generation, h->null_fd, said, &fds[0], &z->pid, &z->pidfd,
		       &error, &err) == 0) {
		z->generation = generation;
		z->killed = false;
		fds[1] = z->pidfd;
		tn_log(TN_LOG_INFO, "%s started, pid %d", who, (int)z->pid);
		sv_shard_tell(s, SV_MSG_ZYGOTE, generation, 0, fds, 2);
	}
	if (z->pid <= 0) {
		tn_buf_append(&err, "", 1);
		h->ops->complain(h->arg, err.failed ? "out of memory" : err.p);
		sv_shard_forget(z);
		sv_shard_tell(s, SV_MSG_ZYGOTE, generation, error, NULL, 0);
	}
	tn_fd_close(&said);
	tn_fd_close(&fds[0]);
	tn_buf_fini(&err);
}

static void
on_zygote_death(struct sv_shard *s, struct sv_shard_child *z, int status)
{
	struct tn_buf how = { 0 };
	uint64_t generation = z->generation;

	sv_child_describe(status, &how);
	tn_log(z->killed || status == 0 ? TN_LOG_INFO : TN_LOG_WARN, "%szygote %llu ended: %.*s",
	    s->prefix, (unsigned long long)generation, bufint(&how), bufstr(&how));
	tn_buf_fini(&how);
	sv_shard_forget(z);
	sv_shard_tell(s, SV_MSG_ZYGOTE_DEAD, generation, status, NULL, 0);
}

/* ---- the compiler ---- */

static void
start_compiler(struct sv_shard *s)
{
	const struct sv_shard_host *h = s->host;
	struct sv_shard_child *c = &s->compiler;
	struct tn_buf err = { 0 };
	char *program, who[32];
	int fd = -1, said = -1, error = ENOENT;

	s->compiler_wanted = false;
	if (!sv_bucket_allow(&s->compilers)) {
		warn(s, "%s asks too often for the compiler", s->the_front);
		sv_shard_tell(s, SV_MSG_COMPILER, 0, EAGAIN, NULL, 0);
		return;
	}
	(void)snprintf(who, sizeof(who), "%scompiler", s->prefix);
	program = sv_program_find("compiler", h->opt->compiler, "tana", TANA_BINDIR, &err);
	if (program != NULL && (c->gossip = sv_gossip_new(who, &said)) == NULL) {
		error = errno;
		tn_buf_printf(&err, "compiler: %s", strerror(error));
	} else if (program != NULL &&
	    sv_compiler_start(program, h->opt->contracts, h->opt->run_dir, &h->plan,
		h->root ? &h->worker_user : NULL, h->null_fd, said, &fd, &c->pid, &c->pidfd, &error,
		&err) == 0) {
		c->killed = false;
		tn_log(TN_LOG_INFO, "%s started, pid %d", who, (int)c->pid);
		sv_shard_tell(s, SV_MSG_COMPILER, 0, 0, &fd, 1);
	}
	if (c->pid <= 0) {
		tn_log(TN_LOG_ERROR, "the compiler cannot be started: %.*s", bufint(&err),
		    bufstr(&err));
		sv_shard_forget(c);
		sv_shard_tell(s, SV_MSG_COMPILER, 0, error, NULL, 0);
	}
	tn_fd_close(&said);
	tn_fd_close(&fd);
	free(program);
	tn_buf_fini(&err);
}

static void
want_compiler(struct sv_shard *s)
{
	/* The front asks when it has none: an old one is done with, if perhaps not reaped. */
	if (s->compiler.pid > 0) {
		sv_shard_kill(&s->compiler);
		s->compiler_wanted = true;
	} else
		start_compiler(s);
}

/* The front is not told: the end of its socket says it, in order with the last answer. */
static void
on_compiler_death(struct sv_shard *s, int status)
{
	struct tn_buf how = { 0 };

	sv_child_describe(status, &how);
	tn_log(s->compiler.killed || status == 0 ? TN_LOG_INFO : TN_LOG_WARN,
	    "%s%scompiler ended: %.*s", s->host->shards == 1 ? "the " : "", s->prefix,
	    bufint(&how), bufstr(&how));
	tn_buf_fini(&how);
	sv_shard_forget(&s->compiler);
	if (s->compiler_wanted && s->channel >= 0)
		start_compiler(s);
}

bool
sv_shard_reaped(struct sv_shard *s, pid_t pid, int status)
{
	size_t i;

	if (pid == s->front.pid) {
		on_front_death(s, status);
		return true;
	}
	if (pid == s->compiler.pid) {
		on_compiler_death(s, status);
		return true;
	}
	for (i = 0; i < SV_SHARD_ZYGOTES; i++)
		if (pid == s->zygote[i].pid) {
			on_zygote_death(s, &s->zygote[i], status);
			return true;
		}
	return false;
}

/* ---- messages from the front ---- */

static void
on_message(struct sv_shard *s, const struct sv_msg *msg)
{
	struct sv_shard_child *z;

	switch (msg->type) {
	case SV_MSG_READY:
		if (s->ready) {
			sv_shard_refuse(s, "to be ready once more");
			return;
		}
		s->ready = true;
		s->host->ops->ready(s->host->arg, s);
		break;
	case SV_MSG_WANT_ZYGOTE:
		want_zygote(s, msg->arg);
		break;
	case SV_MSG_KILL_ZYGOTE:
		if ((z = find_zygote(s, msg->arg)) != NULL)
			sv_shard_kill(z);
		break;
	case SV_MSG_WANT_COMPILER:
		want_compiler(s);
		break;
	case SV_MSG_KILL_COMPILER:
		sv_shard_kill(&s->compiler);
		break;
	default:
		s->host->ops->asks(s->host->arg, s, msg);
	}
}

void
sv_shard_read(struct sv_shard *s)
{
	struct sv_msg msg;
	int i, none;
	ssize_t n;

	for (i = 0; i < MESSAGES_TURN && s->channel >= 0 && !s->front.killed; i++) {
		none = 0;		/* it has no descriptors to give us */
		n = tn_fd_recv(s->channel, &msg, sizeof(msg), NULL, &none);
		if (n == TN_EAGAIN)
			return;
		if (n != (ssize_t)sizeof(msg) || msg.magic != SV_PROTO_MAGIC) {
			if (n != TN_ECLOSED)
				tn_log(TN_LOG_ERROR, "%s sends a malformed message; ending it",
				    s->the_front);
			/* Closed: it is about to end; if not, it is of no use. */
			sv_shard_kill(&s->front);
			tn_fd_close(&s->channel);
			return;
		}
		on_message(s, &msg);
	}
}
