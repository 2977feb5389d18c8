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
#include "sv_cover.h"
#include "sv_gossip.h"
#include "sv_inherit.h"
#include "sv_listen.h"
#include "sv_pidfile.h"
#include "sv_program.h"
#include "sv_proto.h"
#include "sv_shard.h"
#include "sv_shards.h"
#include "sv_text.h"
#include "sv_upgrade.h"
#include "sv_user.h"
#include "sv_zygote.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_layers.h"
#include "tn_log.h"

#define DRAIN_SLACK_MS	5000	/* fronts keep drain_timeout_ms themselves; then they hang */
#define RELOAD_US	(5u * 1000000u)	/* the first shard answers then, whoever is not done */
#define TERM_AGAIN_US	500000u	/* one kill(1) of a process and its group is one SIGTERM, not two */
#define BIND_TRIES	60	/* a dead master's front may live on for a moment */
#define BIND_PAUSE_US	50000u
#define TAKE_US	(5u * 1000000u)	/* a server that is ready takes over within it */

struct sv_master {
	const struct sv_config *cfg;
	struct tn_options *opt;
	struct sv_daemon *daemon;
	struct sv_shard_host host;	/* what shards are started with */
	struct sv_shard	 shard[SV_SHARDS_MAX];
	struct sv_pidfile *pidfile;
	struct sv_listeners listeners, metrics;
	struct sv_listener control, client;

	/* Another server takes over from us (sv_upgrade.h). */
	struct sv_upgrade up;
	char		*program;
	bool		 reread, reopened, stop_next;	/* meanwhile: it is told when it serves */
	/* We take over from another. */
	int		 before;	/* the channel to it; -1: none, or it has ended */
	bool		 waiting;	/* it still serves */

	bool		 reloading;	/* fronts have yet to say that they are done */
	int		 config_fds[2];	/* for the first shard, when the others are done; -1 */
	uint64_t	 reload_due_us;	/* ... or it is too late; 0: it has them */
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

#define FIRST(m) (&(m)->shard[0])
#define EACH_SHARD(s, m) for ((s) = (m)->shard; (s) < (m)->shard + (m)->host.shards; (s)++)

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

/* ---- shards ---- */

static bool
all_ready(struct sv_master *m)
{
	struct sv_shard *s;

	EACH_SHARD(s, m)
		if (!s->ready)
			return false;
	return true;
}

static bool
any_front(struct sv_master *m)
{
	struct sv_shard *s;

	EACH_SHARD(s, m)
		if (s->front.pid > 0)
			return true;
	return false;
}

static void
tell_all(struct sv_master *m, enum sv_msg_type type, uint64_t arg, const int *fds, int nfds)
{
	struct sv_shard *s;

	EACH_SHARD(s, m)
		sv_shard_tell(s, type, arg, 0, fds, nfds);
}

static void
on_started(void *arg, struct sv_shard *s)
{
	struct sv_master *m = arg;
	struct sv_shard *other;
	size_t i;

	for (i = 0; i < m->listeners.n; i++)
		if (sv_listener_is_for(&m->listeners.v[i], s->number, m->host.shards))
			sv_shard_tell(s, SV_MSG_LISTEN, i, 0, &m->listeners.v[i].fd, 1);
	for (i = 0; i < m->metrics.n && s->number == 0; i++)
		sv_shard_tell(s, SV_MSG_LISTEN_METRICS, i, 0, &m->metrics.v[i].fd, 1);
	sv_shard_tell(s, SV_MSG_LISTEN_END, 0, 0, NULL, 0);
	if (s->number != 0)
		sv_shard_introduce(FIRST(m), s);
	else
		EACH_SHARD(other, m)
			sv_shard_introduce(s, other);
}

/* Those of a shard that is not there are not to wait for it. */
static void
cover(struct sv_master *m)
{
	if (m->was_ready && !m->draining)
		sv_cover(&m->listeners, m->shard, m->host.shards);
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
	return m->host.log_fd >= 0 ? m->host.log_fd : STDERR_FILENO;
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
		m->host.log_fd = fd;
	}
	apply_log(m);
	return 0;
}

/* ---- the end of a front ---- */

/* All fronts are gone, in order.  Whoever waits for our end waits for the one before us too. */
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

static void config_taken(struct sv_master *m);

static void
on_ended(void *arg, struct sv_shard *s, int status)
{
	struct sv_master *m = arg;
	struct tn_buf how = { 0 };
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	sv_child_describe(status, &how);
	s->reloading = 0;
	config_taken(m);
	if (m->draining) {
		if (code != 0) {
			tn_log(TN_LOG_ERROR, "%s did not end in order: %.*s", s->the_front,
			    bufint(&how), bufstr(&how));
			m->code = TN_EXIT_FAILURE;
		}
		if (!any_front(m))
			end(m);
	} else if (!m->was_ready) {
		complain(m, "the server cannot serve: %s ended while it started: %.*s%s",
		    s->the_front, bufint(&how), bufstr(&how),
		    strcmp(m->opt->log, "stderr") != 0 ? "; the log says more" : "");
		m->code = code == TN_EXIT_SANDBOX || code == TN_EXIT_CONFIG ? (enum tn_exit)code :
		    TN_EXIT_FAILURE;
		m->done = true;
	} else {
		tn_log(TN_LOG_ERROR, "%s ended: %.*s; requests in progress are lost",
		    s->the_front, bufint(&how), bufstr(&how));
		sv_shard_start_later(s);
		cover(m);
	}
	tn_buf_fini(&how);
}

static void on_next_death(struct sv_master *m, int status);

static void
reap(struct sv_master *m)
{
	struct sv_shard *s;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->up.pid) {
			on_next_death(m, status);
			continue;
		}
		EACH_SHARD(s, m)
			if (sv_shard_reaped(s, pid, status))
				break;
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
	if (!any_front(m)) {
		end(m);
		return;
	}
	m->drain_due_us = tn_clock_us() +
	    ((uint64_t)m->opt->drain_timeout_ms + DRAIN_SLACK_MS) * 1000u;
	tell_all(m, SV_MSG_DRAIN, 0, NULL, 0);
}

/*
 * The first shard, which has who asked for it, gets the configuration last: when it says
 * that the configuration holds, it does.
 */
static void
config_to_first(struct sv_master *m)
{
	m->reload_due_us = 0;
	if (m->config_fds[0] >= 0) {
		FIRST(m)->reloading += FIRST(m)->channel >= 0;
		sv_shard_tell(FIRST(m), SV_MSG_CONFIG, 0, 0, m->config_fds,
		    m->config_fds[1] >= 0 ? 2 : 1);
	}
	tn_fd_close(&m->config_fds[0]);
	tn_fd_close(&m->config_fds[1]);
	if (m->reloading && FIRST(m)->reloading == 0) {
		m->reloading = false;
		sv_daemon_notify("READY=1\nSTATUS=Serving");
	}
}

/* A shard has it, or is not there any more. */
static void
config_taken(struct sv_master *m)
{
	struct sv_shard *s;

	EACH_SHARD(s, m)
		if (s->reloading > 0)
			return;
	config_to_first(m);
}

static void
config_overdue(struct sv_master *m)
{
	struct sv_shard *s;

	EACH_SHARD(s, m)
		if (s->reloading > 0)
			tn_log(TN_LOG_WARN, "shard %u has not taken over the configuration yet",
			    s->number);
	config_to_first(m);
}

static void
reload(struct sv_master *m)
{
	struct tn_options *next;
	struct tn_buf text = { 0 }, why = { 0 };
	struct sv_shard *s;
	int nfds;

	if (m->reload_due_us != 0)	/* the one before is overtaken by this one */
		config_to_first(m);
	m->reread = true;
	sv_daemon_reloading();
	m->reloading = true;
	if (sv_config_load(m->cfg, &next, &text) != 0) {
		tn_buf_printf(&why, "the configuration stays as it was: %.*s", bufint(&text),
		    bufstr(&text));
		tn_log(TN_LOG_ERROR, "%.*s", bufint(&why), bufstr(&why));
		sv_shard_tell_why(FIRST(m), SV_MSG_CONFIG, EINVAL, &why);
		tn_buf_fini(&why);
		tn_buf_fini(&text);
		config_to_first(m);
		return;
	}
	(void)tn_options_reload(m->opt, next, &text);
	tn_options_free(&next);
	apply_log(m);
	tn_log(TN_LOG_INFO, "configuration read again");
	if (text.len > 0)
		tn_log(TN_LOG_WARN, "changed, but in force only after a restart: %.*s",
		    bufint(&text), bufstr(&text));
	m->config_fds[1] = text.len > 0 ? sv_text_fd("text", &text) : -1;
	tn_buf_fini(&text);
	if ((m->config_fds[0] = sv_text_options_fd(m->opt)) < 0) {
		tn_log(TN_LOG_ERROR, "cannot hand the configuration on: %s", strerror(errno));
		sv_shard_tell(FIRST(m), SV_MSG_CONFIG, 0, errno != 0 ? errno : EIO, NULL, 0);
		config_to_first(m);
		return;
	}
	nfds = m->config_fds[1] >= 0 ? 2 : 1;
	EACH_SHARD(s, m)
		if (s->number != 0 && s->channel >= 0) {
			s->reloading++;
			sv_shard_tell(s, SV_MSG_CONFIG, 0, 0, m->config_fds, nfds);
			m->reload_due_us = tn_clock_us() + RELOAD_US;
		}
	if (m->reload_due_us == 0)
		config_to_first(m);
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
	tn_fd_close(&m->host.log_fd);
	m->host.log_fd = fd;
	if (m->daemon->detached)
		(void)dup2(fd, STDERR_FILENO);
	tell_all(m, SV_MSG_LOG, 0, &fd, 1);
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
	sv_shard_tell_why(FIRST(m), SV_MSG_UPGRADE, ECANCELED, why);
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
	if (!any_front(m)) {
		end(m);
		return;
	}
	/* Idle connections, then requests: a time each. */
	m->drain_due_us = tn_clock_us() +
	    (2u * (uint64_t)m->opt->drain_timeout_ms + DRAIN_SLACK_MS) * 1000u;
	sv_shard_tell(FIRST(m), SV_MSG_UPGRADE, (uint64_t)pid, 0, NULL, 0);
	tell_all(m, SV_MSG_DRAIN, SV_DRAIN_RETIRE, NULL, 0);
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
		sv_shard_tell_why(FIRST(m), SV_MSG_UPGRADE, EALREADY, &text);
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
		sv_shard_tell_why(FIRST(m), SV_MSG_UPGRADE, EBUSY, &why);
		tn_buf_fini(&why);
	} else
		upgrade(m, SV_UP_ASKED);
}

/* ---- we take over from another server ---- */

static void
serve(struct sv_master *m)
{
	m->was_ready = true;
	sv_daemon_ready(m->daemon, m->host.log_fd);
	tn_log(TN_LOG_INFO, "serving, pid %d", (int)getpid());
}

static void
take_over(struct sv_master *m)
{
	struct tn_buf err = { 0 };
	struct sv_listener *l;
	size_t i;

	if (sv_listen_begin(&m->listeners, &err) != 0 ||
	    sv_pidfile_commit(m->pidfile, &err) != 0) {
		complain(m, "%.*s", bufint(&err), bufstr(&err));
		m->code = TN_EXIT_FAILURE;
		m->done = true;
		tn_buf_fini(&err);
		return;
	}
	m->waiting = false;
	for (i = 0; (l = socket_at(m, i)) != NULL; i++)
		l->shared = false;
	tell_all(m, SV_MSG_SERVE, 0, NULL, 0);
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
	if (type == SV_UP_MSG_TAKE && m->waiting && all_ready(m))
		take_over(m);
	if (type != TN_ECLOSED && type != TN_EPROTO)
		return;
	tn_fd_close(&m->before);
	if (m->waiting) {
		tn_log(TN_LOG_WARN, "the server before ended without a word; taking over alone");
		if (all_ready(m))
			take_over(m);
	} else
		tn_log(TN_LOG_INFO, "the server before has ended");
	if (m->draining && !any_front(m))
		m->done = true;
}

static void
on_ready(void *arg, struct sv_shard *s)
{
	struct sv_master *m = arg;

	if (m->was_ready) {
		tn_log(TN_LOG_INFO, "%sserving again", s->prefix);
		cover(m);
		return;
	}
	if (!all_ready(m))
		return;
	if (!m->waiting)
		serve(m);
	else if (m->before < 0)
		take_over(m);
	else
		(void)sv_up_send(m->before, SV_UP_MSG_READY, NULL);
}

/* It speaks for all at the control socket; the others have nobody to ask for. */
static void
on_asks(void *arg, struct sv_shard *s, const struct sv_msg *msg)
{
	static const char too_often[] = "asked too often; try again in a moment";
	struct tn_buf often = { .p = (char *)(uintptr_t)too_often, .len = sizeof(too_often) - 1 };
	struct sv_master *m = arg;

	if (msg->type == SV_MSG_CONFIG_DONE) {
		if (s->reloading > 0 && --s->reloading == 0)
			config_taken(m);
		return;
	}
	if (s->number != 0) {
		sv_shard_refuse(s, "what is the first shard's to ask for");
		return;
	}
	switch (msg->type) {
	case SV_MSG_WANT_RELOAD:
		if (sv_bucket_allow(&s->reloads))
			reload(m);
		else
			sv_shard_tell_why(s, SV_MSG_CONFIG, EAGAIN, &often);
		break;
	case SV_MSG_WANT_UPGRADE:
		if (sv_bucket_allow(&s->upgrades))
			ask_for_upgrade(m);
		else
			sv_shard_tell_why(s, SV_MSG_UPGRADE, EAGAIN, &often);
		break;
	case SV_MSG_WANT_DRAIN:
		drain(m, "tana-ctl");
		break;
	default:
		sv_shard_refuse(s, "an unknown message");
	}
}

static void
on_complaint(void *arg, const char *text)
{
	complain(arg, "%s", text);
}

static const struct sv_shard_ops shard_ops = {
	.started = on_started, .ready = on_ready, .ended = on_ended, .asks = on_asks,
	.complain = on_complaint,
};

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
	struct sv_shard *s;

	EACH_SHARD(s, m)
		if (s->due_us != 0 && now >= s->due_us && !m->draining)
			sv_shard_restart(s, m->waiting);
	if (m->reload_due_us != 0 && now >= m->reload_due_us)
		config_overdue(m);
	if (m->drain_due_us != 0 && now >= m->drain_due_us) {
		EACH_SHARD(s, m)
			if (s->front.pid > 0)
				tn_log(TN_LOG_ERROR, "%s does not end; ending it",
				    s->the_front);
		m->drain_due_us = 0;
		if (!any_front(m)) {
			tn_log(TN_LOG_ERROR, "the server before does not end");
			m->done = true;
		}
		EACH_SHARD(s, m)
			sv_shard_kill(&s->front);
	}
	if (m->up.due_us != 0 && now >= m->up.due_us)
		upgrade(m, SV_UP_OVERDUE);
}

static int
timeout_ms(struct sv_master *m)
{
	uint64_t due = UINT64_MAX, now = tn_clock_us();
	const uint64_t ours[] = { m->reload_due_us, m->drain_due_us, m->up.due_us };
	struct sv_shard *s;
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (ours[i] != 0 && ours[i] < due)
			due = ours[i];
	EACH_SHARD(s, m)
		if (s->due_us != 0 && !m->draining && s->due_us < due)
			due = s->due_us;
	return due == UINT64_MAX ? -1 : due <= now ? 0 : (int)((due - now) / 1000u + 1u);
}

/* Whom a descriptor that is waited for belongs to. */
struct watched {
	struct sv_shard	*shard;		/* its channel */
	struct sv_gossip **gossip;	/* or a child's standard error */
	void		(*read)(struct sv_master *m); /* or another server */
};

/* All that can say something. */
struct watch {
	struct pollfd	 p[2 + SV_SHARDS_MAX * (1 + SV_SHARD_CHILDREN)];
	struct watched	 of[2 + SV_SHARDS_MAX * (1 + SV_SHARD_CHILDREN)];
	nfds_t		 n;
};

static void
watch(struct watch *w, int fd, struct watched of)
{
	if (fd < 0)
		return;
	w->p[w->n] = (struct pollfd){ .fd = fd, .events = POLLIN };
	w->of[w->n++] = of;
}

static void
watch_shard(struct watch *w, struct sv_shard *s)
{
	struct sv_shard_child *c;
	size_t i;

	if (!s->front.killed)
		watch(w, s->channel, (struct watched){ .shard = s });
	for (i = 0; (c = sv_shard_child(s, i)) != NULL; i++)
		if (c->gossip != NULL)
			watch(w, sv_gossip_fd(c->gossip), (struct watched){ .gossip = &c->gossip });
}

static void
turn(struct sv_master *m, const sigset_t *unblocked)
{
	struct watch w = { .n = 0 };
	struct sv_shard *s;
	struct timespec ts;
	sigset_t blocked;
	int ms = timeout_ms(m), ready;
	nfds_t k;

	ts = (struct timespec){ ms / 1000, ms % 1000 * 1000000L };
	watch(&w, m->up.channel, (struct watched){ .read = read_next });
	watch(&w, m->before, (struct watched){ .read = read_before });
	EACH_SHARD(s, m)
		watch_shard(&w, s);
	ready = ppoll(w.p, w.n, ms >= 0 ? &ts : NULL, unblocked);
	if (ready < 0 && errno != EINTR)
		tn_panic("ppoll: %s", strerror(errno));
	/* It lets signals in only while it waits: nobody who talks on and on keeps them out. */
	(void)sigprocmask(SIG_SETMASK, unblocked, &blocked);
	(void)sigprocmask(SIG_SETMASK, &blocked, NULL);
	if (ready <= 0)
		return;
	/* What they said before what they ask for: the log then is in order. */
	for (k = 0; k < w.n; k++)
		if (w.p[k].revents != 0 && w.of[k].gossip != NULL &&
		    sv_gossip_read(*w.of[k].gossip) != 0)
			sv_gossip_free(w.of[k].gossip);
	for (k = 0; k < w.n; k++) {
		if (w.p[k].revents == 0)
			continue;
		/* Not any more, if what another one said has closed it. */
		if (w.of[k].shard != NULL && w.of[k].shard->channel == w.p[k].fd)
			sv_shard_read(w.of[k].shard);
		else if (w.of[k].read == read_next && m->up.channel == w.p[k].fd)
			read_next(m);
		else if (w.of[k].read == read_before && m->before == w.p[k].fd)
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
	int rc = open_dir("contracts", m->opt->contracts, &m->host.contracts_fd, err);

	if (rc == 0 && m->host.root &&
	    sv_program_explain(m->opt->contracts, &m->host.user, false, &why)) {
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

	if (!m->host.root || fstat(m->host.state_fd, &st) != 0 || st.st_uid != 0 ||
	    (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return;
	if (mkdirat(m->host.state_fd, "data", 0700) == 0 &&
	    fchownat(m->host.state_fd, "data", m->host.user.uid, m->host.user.gid,
	    AT_SYMLINK_NOFOLLOW) != 0)
		tn_log(TN_LOG_WARN, "state_dir: cannot give data to %s: %s", m->opt->user,
		    strerror(errno));
}

static int
open_state(struct sv_master *m, struct tn_buf *err)
{
	const char *path = m->opt->state_dir;
	int rc;

	if (mkdir(path, 0755) == 0) {
		if (m->host.root && lchown(path, m->host.user.uid, m->host.user.gid) != 0) {
			tn_buf_printf(err, "state_dir: %s: %s", path, strerror(errno));
			return TN_ESYS;
		}
	} else if (errno != EEXIST) {
		tn_buf_printf(err, "state_dir: cannot make %s: %s", path, strerror(errno));
		return TN_ESYS;
	}
	if ((rc = open_dir("state_dir", path, &m->host.state_fd, err)) == 0)
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
	if (rc == 0 && m->host.root && lchown(path, m->host.user.uid, m->host.user.gid) != 0) {
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		rc = TN_ESYS;
	}
	free(path);
	return rc;
}

/* After a master that was killed, its sockets are free when its front is dead too. */
static int
open_listeners(struct sv_listeners *ls, const struct tn_list *addresses, unsigned shards,
    bool stale, struct tn_buf *err)
{
	int i, rc;

	for (i = 0;; i++) {
		rc = sv_listen_open_shards(ls, addresses, shards, err);
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
	m->host.root = sys.root;
	if (m->host.root &&
	    sv_user_pair(&m->host.user, &m->host.worker_user, m->opt->user, m->opt->worker_user,
	    err) != 0)
		return TN_EXIT_CONFIG;
	if ((m->host.worker_program = sv_program_find("worker_program", m->opt->worker_program,
		 "tana-worker", TANA_LIBEXECDIR, err)) == NULL)
		return TN_EXIT_FAILURE;
	if (sv_rundir_make(m->opt->run_dir, err) != 0)
		return TN_EXIT_FAILURE;
	if ((rc = take_pidfile(m, &stale, err)) != 0)
		return rc;
	if (sv_plan_make(&m->host.plan, (enum sv_sandbox)m->opt->sandbox, &sys, err) != 0)
		return TN_EXIT_SANDBOX;
	if ((m->host.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 ||
	    (m->host.self_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC)) < 0) {
		tn_buf_printf(err, "/dev/null, /proc/self/exe: %s", strerror(errno));
		return TN_EXIT_FAILURE;
	}
	if (open_contracts(m, err) != 0 || open_state(m, err) != 0 ||
	    open_listeners(&m->listeners, &m->opt->listen, m->host.shards, stale, err) != 0 ||
	    (m->opt->metrics_listen.n > 0 &&
	    open_listeners(&m->metrics, &m->opt->metrics_listen, 1, stale, err) != 0) ||
	    open_control(m, err) != 0 || open_client(m, err) != 0)
		return TN_EXIT_FAILURE;
	if (check_activation(err) != 0)
		return TN_EXIT_CONFIG;
	m->host.control_fd = m->control.fd;
	m->host.client_fd = m->client.fd;
	for (i = 0; i < m->listeners.n; i++) {
		if (m->listeners.v[i].nth > 0)
			continue;
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

static int
start_shards(struct sv_master *m, struct tn_buf *err)
{
	struct sv_shard *s;
	int rc;

	if (m->host.shards > 1)
		tn_log(TN_LOG_INFO, "%u shards", m->host.shards);
	EACH_SHARD(s, m)
		if ((rc = sv_shard_start(s, m->waiting, err)) != 0)
			return rc;
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
		    tn_layers_text(m->host.plan.required, names, sizeof(names)));
	if (!m->host.root)
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

static void
end_shard(struct sv_shard *s)
{
	struct sv_shard_child *c;
	size_t i;

	for (i = 0; (c = sv_shard_child(s, i)) != NULL; i++) {
		while (c->pid > 0 && waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
		sv_shard_forget(c);
	}
	tn_fd_close(&s->channel);
}

/* Nothing of ours stays behind. */
static void
end_children(struct sv_master *m)
{
	struct tn_buf ignored = { 0 };
	struct sv_shard_child *c;
	struct sv_shard *s;
	size_t i;

	EACH_SHARD(s, m)
		for (i = 0; (c = sv_shard_child(s, i)) != NULL; i++)
			sv_shard_kill(c);
	EACH_SHARD(s, m)
		end_shard(s);
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
		.host = {
			.ops = &shard_ops, .opt = *opt, .shards = sv_shards_count(*opt),
			.contracts_fd = -1, .state_fd = -1, .null_fd = -1, .self_fd = -1,
			.control_fd = -1, .client_fd = -1, .log_fd = -1,
		},
		.config_fds = { -1, -1 },
		.up = SV_UPGRADE_NONE,
		.before = sv_inherit_take(SV_INHERIT_CHANNEL),
		.waiting = sv_inherit_upgrade(),
		.program = sv_upgrade_program(daemon->argv != NULL ? daemon->argv[0] : NULL),
	};
	struct tn_buf err = { 0 };
	struct sv_shard *s;
	sigset_t unblocked;
	int rc;

	*opt = NULL;
	m.host.arg = &m;
	EACH_SHARD(s, &m)
		sv_shard_init(s, &m.host, (unsigned)(s - m.shard));
	catch_signals(&unblocked);
	if (start_log(&m) != 0) {
		m.code = TN_EXIT_FAILURE;
		goto out;
	}
	tn_log(TN_LOG_INFO, "tana-edge %s starts, configuration %s", PACKAGE_VERSION,
	    cfg->path != NULL ? cfg->path : "of defaults and command line");
	if ((rc = prepare(&m, &err)) != 0 ||
	    (rc = start_shards(&m, &err) != 0 ? TN_EXIT_FAILURE : 0) != 0) {
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
	tn_fd_close(&m.host.contracts_fd);
	tn_fd_close(&m.host.state_fd);
	tn_fd_close(&m.host.null_fd);
	tn_fd_close(&m.host.self_fd);
	tn_fd_close(&m.before);
	tn_fd_close(&m.config_fds[0]);
	tn_fd_close(&m.config_fds[1]);
	free(m.host.worker_program);
	free(m.program);
	tn_options_free(&m.opt);
	tn_buf_fini(&err);
	if (!m.was_ready)
		sv_daemon_failed(daemon, m.code != TN_EXIT_OK ? m.code : TN_EXIT_FAILURE);
	/* The log is open to the last word. */
	if (m.host.log_fd >= 0) {
		tn_log_set_fd(STDERR_FILENO);
		tn_fd_close(&m.host.log_fd);
	}
	return m.code;
}
