/*
 * sv_front.c - the process that reads the network: HTTP, clients, control, dispatch.
 *
 * It has no privilege, and nothing that it could get by one: descriptors come
 * from the master, workers from the zygote.
 */
#include "config.h"

#include "sv_front.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_client.h"
#include "sv_contract.h"
#include "sv_control.h"
#include "sv_dispatch.h"
#include "sv_gather.h"
#include "sv_http.h"
#include "sv_lmdb.h"
#include "sv_lower.h"
#include "sv_metrics.h"
#include "sv_operation.h"
#include "sv_peers.h"
#include "sv_pool.h"
#include "sv_proto.h"
#include "sv_shards.h"
#include "sv_stats.h"
#include "sv_storage.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define LISTEN_MAX	1024	/* those of shards that are not there included */
#define CONFIG_MAX	(1u << 20)
#define TEXT_MAX	4096	/* of the master's explanations */
#define MASTER_WAIT_MS	5000	/* the master reads its socket within it, or is stuck */

struct listening {
	uint64_t	 number;	/* the master's */
	int		 fd;
};

static struct front {
	int		 master;
	unsigned	 shard, shards;	/* which one we are, of how many */
	struct event_base *base;
	struct event	*ev_master, *ev_drain;
	struct tn_options *opt;
	struct sv_stats	 stats;
	struct sv_lower	*lower;
	struct sv_storage *storage;
	struct sv_operations *operations;
	struct sv_dispatch *dispatch;
	struct sv_http	*http;
	struct sv_client *client;
	struct sv_metrics *metrics;
	struct sv_control *control;
	struct sv_peers	*peers;		/* of the first shard; it is one of them */
	struct sv_gather *gather;
	int		 contracts, control_fd, state_dir, client_fd;
	struct listening listen[LISTEN_MAX];
	int		 listen_metrics[LISTEN_MAX];
	unsigned	 nlisten, nlisten_metrics;
	bool		 held;		/* another server serves: accept nothing before SERVE */
	bool		 ready, draining, retiring;
	bool		 http_drained, client_drained;
	int		 status;
} front = { .master = -1, .shards = 1, .contracts = -1, .control_fd = -1, .state_dir = -1,
    .client_fd = -1 };

static void
finish(int status)
{
	front.status = status;
	event_base_loopbreak(front.base);
}

static void
tell_master(enum sv_msg_type type, uint64_t arg)
{
	struct sv_msg m = { .magic = SV_PROTO_MAGIC, .type = type, .arg = arg };
	struct pollfd pfd = { .fd = front.master, .events = POLLOUT };
	ssize_t n;

	while ((n = tn_fd_send(front.master, &m, sizeof(m), NULL, 0)) == TN_EAGAIN)
		if (poll(&pfd, 1, MASTER_WAIT_MS) == 0)
			tn_fatal(TN_EXIT_FAILURE, "the master does not read its socket");
	if (n < 0)
		tn_fatal(TN_EXIT_FAILURE, "the master is gone");
}

/* -- configuration ------------------------------------------------------------ */

/* Our part of what the file has (closed); NULL: it makes no sense, which is the master's bug. */
static struct tn_options *
read_options(int *fd)
{
	struct tn_options *o = tn_options_new();
	struct tn_buf err = { 0 };
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (o != NULL && fstat(*fd, &st) == 0 && st.st_size >= 0 && st.st_size <= CONFIG_MAX &&
	    (text = malloc((size_t)st.st_size + 1)) != NULL)
		n = pread(*fd, text, (size_t)st.st_size, 0);
	tn_fd_close(fd);
	if (n < 0 || tn_options_parse(o, "configuration", (struct tn_str){ text, (size_t)n },
	    &err) != 0) {
		tn_log(TN_LOG_ERROR, "the configuration from the master: %.*s", (int)err.len,
		    err.p != NULL ? err.p : "");
		tn_options_free(&o);
	}
	if (o != NULL)
		sv_shards_divide(o, front.shard, front.shards);
	tn_buf_fini(&err);
	free(text);
	return o;
}

static void
open_log(int fd)
{
	char name[16] = "front";

	if (front.shards > 1)
		(void)snprintf(name, sizeof(name), "front %u", front.shard);
	tn_log_open(name, strcmp(front.opt->log, "syslog") == 0 ? -1 : fd,
	    (enum tn_log_level)front.opt->log_level, (enum tn_log_format)front.opt->log_format);
}

/* The text in a file of the master's (closed), or `otherwise`. */
static const char *
read_text(int *fd, char text[TEXT_MAX], const char *otherwise)
{
	ssize_t n = *fd >= 0 ? pread(*fd, text, TEXT_MAX - 1, 0) : 0;

	tn_fd_close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? text : otherwise;
}

static void
on_config(int *fd, int *restart_fd)
{
	struct tn_options *next = read_options(fd);
	struct tn_buf left = { 0 };
	char restart[TEXT_MAX];

	if (next == NULL) {
		sv_control_reloaded(front.control, "the configuration could not be taken over",
		    NULL);
		tell_master(SV_MSG_CONFIG_DONE, 0);
		return;
	}
	/* What needs a restart the master has left out already, and logged. */
	tn_options_reload(front.opt, next, &left);
	tn_options_free(&next);
	tn_buf_fini(&left);
	open_log(STDERR_FILENO);
	sv_http_reload(front.http);
	sv_dispatch_reload(front.dispatch);
	tn_log(TN_LOG_INFO, "configuration and contracts read again");
	sv_control_reloaded(front.control, NULL, read_text(restart_fd, restart, ""));
	tell_master(SV_MSG_CONFIG_DONE, 0);
}

/* -- the end --------------------------------------------------------------------- */

static void
drained(void)
{
	if (!front.http_drained || !front.client_drained)
		return;
	tn_log(TN_LOG_INFO, "all requests are finished");
	finish(TN_EXIT_OK);
}

/* Both may come twice, if a drain follows when the server was retired. */
static void
on_http_drained(void *arg)
{
	(void)arg;
	front.http_drained = true;
	drained();
}

static void
on_client_drained(void *arg)
{
	(void)arg;
	front.client_drained = true;
	drained();
}

static void drain(void);

static void
on_drain_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (front.retiring) {
		drain();
		return;
	}
	tn_log(TN_LOG_WARN, "requests are still in progress after drain_timeout_ms; "
	    "ending all the same");
	finish(TN_EXIT_OK);
}

static void
add_drain_timer(void)
{
	struct timeval tv = { front.opt->drain_timeout_ms / 1000,
	    front.opt->drain_timeout_ms % 1000 * 1000 };

	evtimer_add(front.ev_drain, &tv);
}

static void
drain(void)
{
	if (front.draining && !front.retiring)
		return;
	front.draining = true;
	front.retiring = false;
	if (!front.ready) {
		finish(TN_EXIT_OK);
		return;
	}
	tn_log(TN_LOG_INFO, "finishing what is in progress");
	add_drain_timer();
	sv_metrics_drain(front.metrics);
	sv_http_drain(front.http, on_http_drained, NULL);
	sv_client_drain(front.client, on_client_drained, NULL);
}

/* Another server accepts.  Idle clients may be about to send: they get one more answer. */
static void
retire(void)
{
	if (front.draining)
		return;
	if (!front.ready) {
		finish(TN_EXIT_OK);
		return;
	}
	front.draining = front.retiring = true;
	tn_log(TN_LOG_INFO, "another server has taken over; finishing what is in progress");
	add_drain_timer();
	sv_metrics_drain(front.metrics);
	sv_control_retire(front.control);
	sv_http_retire(front.http, on_http_drained, NULL);
	sv_client_retire(front.client, on_client_drained, NULL);
}

/* A shard is not there that should accept on it. */
static void
cover(uint64_t number, int *fd)
{
	if (!front.ready || front.draining || front.nlisten == LISTEN_MAX)
		return;
	if (sv_http_listen(front.http, *fd) != 0) {
		tn_log(TN_LOG_ERROR, "cannot listen for another shard: %s", strerror(errno));
		return;
	}
	front.listen[front.nlisten++] = (struct listening){ number, *fd };
	*fd = -1;
}

static void
uncover(uint64_t number)
{
	unsigned i;

	if (front.draining)
		return;
	for (i = 0; i < front.nlisten; i++)
		if (front.listen[i].number == number) {
			sv_http_unlisten(front.http, front.listen[i].fd);
			front.listen[i] = front.listen[--front.nlisten];
			return;
		}
}

/* -- what the dispatcher, the compiler's client and the control socket ask for ----- */

static void
listen_for_metrics(void)
{
	unsigned i;

	for (i = 0; i < front.nlisten_metrics; i++)
		if (sv_metrics_listen(front.metrics, front.listen_metrics[i]) != 0)
			tn_fatal(TN_EXIT_FAILURE, "cannot listen: %s", strerror(errno));
}

static void
serve(void)
{
	unsigned i;

	for (i = 0; i < front.nlisten; i++)
		if (sv_http_listen(front.http, front.listen[i].fd) != 0)
			tn_fatal(TN_EXIT_FAILURE, "cannot listen: %s", strerror(errno));
	if (sv_client_listen(front.client, &front.client_fd) != 0 ||
	    (front.held && front.shard == 0 && sv_control_open(front.control) != 0))
		tn_fatal(TN_EXIT_FAILURE, "out of memory");
	if (front.held)
		listen_for_metrics();
	front.held = false;
	front.ready = true;
	tn_log(TN_LOG_INFO, "serving");
}

static void
on_ready(void *arg)
{
	(void)arg;
	if (front.held)
		tn_log(TN_LOG_INFO, "ready to take over");
	else
		serve();
	tell_master(SV_MSG_READY, 0);
}

static void
on_failed(void *arg, const char *text)
{
	(void)arg;
	tn_log(TN_LOG_ERROR, "no worker can be had: %s", text);
	finish(TN_EXIT_SANDBOX);
}

static void
want_zygote(void *arg, uint64_t number)
{
	(void)arg;
	tell_master(SV_MSG_WANT_ZYGOTE, number);
}

static void
kill_zygote(void *arg, uint64_t number)
{
	(void)arg;
	tell_master(SV_MSG_KILL_ZYGOTE, number);
}

static const struct sv_dispatch_ops dispatch_ops = {
	.ready = on_ready, .failed = on_failed,
	.want_zygote = want_zygote, .kill_zygote = kill_zygote,
};

static void
want_compiler(void *arg)
{
	(void)arg;
	tell_master(SV_MSG_WANT_COMPILER, 0);
}

static void
kill_compiler(void *arg)
{
	(void)arg;
	tell_master(SV_MSG_KILL_COMPILER, 0);
}

static void
want_reload(void *arg)
{
	(void)arg;
	tell_master(SV_MSG_WANT_RELOAD, 0);
}

static void
want_upgrade(void *arg)
{
	(void)arg;
	tell_master(SV_MSG_WANT_UPGRADE, 0);
}

static void
want_drain(void *arg)
{
	(void)arg;
	tell_master(SV_MSG_WANT_DRAIN, 0);
}

static const char *
state(void *arg)
{
	(void)arg;
	return front.draining ? "draining" : front.ready ? "serving" : "starting";
}

static const struct sv_control_ops control_ops = {
	.reload = want_reload, .upgrade = want_upgrade, .drain = want_drain, .state = state,
};

/* -- other shards ------------------------------------------------------------------ */

static void
on_said(void *arg, struct tn_str what, const msgpack_object *params)
{
	(void)arg;
	sv_control_said(front.control, what, params);
}

/* The way to another shard is there (again): we ask there, or are asked. */
static void
meet(unsigned shard, int *fd)
{
	if (front.peers == NULL) {
		sv_control_connect(front.control, fd);
		return;
	}
	sv_gather_renewed(front.gather, shard);
	sv_peers_connect(front.peers, shard, fd);
	sv_control_greet(front.control, shard);
}

/* The first shard asks itself as it asks the others. */
static void
gather_shards(void)
{
	int pair[2];

	if (front.shards == 1 || front.shard != 0)
		return;
	if ((front.peers = sv_peers_new(front.base, front.shards, on_said, NULL)) == NULL ||
	    (front.gather = sv_gather_new(front.peers)) == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		tn_fatal(TN_EXIT_FAILURE, "cannot ask other shards: %s", strerror(errno));
	sv_peers_connect(front.peers, 0, &pair[0]);
	sv_control_connect(front.control, &pair[1]);
	sv_control_set_shards(front.control, front.peers, front.gather);
	sv_metrics_set_gather(front.metrics, front.gather);
}

/* -- the master ------------------------------------------------------------------- */

/* One message; false: the master is gone, or mad. */
static bool
receive(struct sv_msg *m, int *fds, int *nfds)
{
	ssize_t n;

	*nfds = TN_FD_PASS_MAX;
	memset(m, 0, sizeof(*m));
	n = tn_fd_recv(front.master, m, sizeof(*m), fds, nfds);
	if (n == TN_EAGAIN)
		return true;
	if (n == TN_EPROTO) {
		/* Who wants what came with it sees that it is not there. */
		tn_log(TN_LOG_ERROR, "no descriptor is left for what the master sends");
		n = (ssize_t)sizeof(*m);
	}
	return n == (ssize_t)sizeof(*m) && m->magic == SV_PROTO_MAGIC;
}

static void
on_message(const struct sv_msg *m, int *fds, int nfds)
{
	struct sv_pool *pool = sv_dispatch_pool(front.dispatch);
	char text[TEXT_MAX];

	switch (m->type) {
	case SV_MSG_ZYGOTE:
		sv_pool_on_zygote(pool, m->arg, &fds[0], &fds[1],
		    m->status == 0 && nfds != 2 ? EMFILE : m->status);
		break;
	case SV_MSG_ZYGOTE_DEAD:
		sv_pool_on_zygote_dead(pool, m->arg, m->status);
		break;
	case SV_MSG_COMPILER:
		sv_lower_on_started(front.lower, m->status == 0 ? fds[0] : -1,
		    m->status == 0 ? EMFILE : m->status);
		if (m->status == 0)
			fds[0] = -1;
		break;
	case SV_MSG_COMPILER_DEAD:
		sv_lower_on_dead(front.lower);
		break;
	case SV_MSG_CONFIG:
		if (m->status != 0 || nfds < 1)
			sv_control_reloaded(front.control, read_text(&fds[0], text,
			    "the configuration stays as it was; the log says why"), NULL);
		else
			on_config(&fds[0], &fds[1]);
		break;
	case SV_MSG_LOG:
		if (nfds == 1 && dup2(fds[0], STDERR_FILENO) < 0)
			tn_log(TN_LOG_ERROR, "the log could not be opened again: %s",
			    strerror(errno));
		break;
	case SV_MSG_DRAIN:
		if (m->arg == SV_DRAIN_RETIRE)
			retire();
		else
			drain();
		break;
	case SV_MSG_SERVE:
		if (front.held)
			serve();
		break;
	case SV_MSG_LISTEN:
		if (nfds == 1)
			cover(m->arg, &fds[0]);
		break;
	case SV_MSG_PEER:
		if (nfds == 1)
			meet((unsigned)m->arg, &fds[0]);
		break;
	case SV_MSG_UNLISTEN:
		uncover(m->arg);
		break;
	case SV_MSG_UPGRADE:
		sv_control_upgraded(front.control, m->status == 0 ? NULL :
		    read_text(&fds[0], text, "the log says why"), m->arg);
		break;
	default:
		tn_log(TN_LOG_WARN, "unknown message %u from the master", m->type);
	}
}

static void
on_master(evutil_socket_t sock, short what, void *arg)
{
	int fds[TN_FD_PASS_MAX + 1], nfds, i;
	struct sv_msg m;

	(void)sock;
	(void)what;
	(void)arg;
	do {
		for (i = 0; i <= TN_FD_PASS_MAX; i++)
			fds[i] = -1;
		if (!receive(&m, fds, &nfds)) {
			tn_log(TN_LOG_ERROR, "the master is gone");
			finish(TN_EXIT_FAILURE);
			return;
		}
		if (m.type != 0)
			on_message(&m, fds, nfds);
		for (i = 0; i <= TN_FD_PASS_MAX; i++)
			tn_fd_close(&fds[i]);
	} while (m.type != 0);
}

/* START, SHARD, LISTEN ..., LISTEN_END. */
static void
receive_start(void)
{
	int fds[TN_FD_PASS_MAX + 1], nfds, options_fd;
	struct sv_msg m = { 0 };

	if (!receive(&m, fds, &nfds) || m.type != SV_MSG_START || nfds != 5)
		tn_fatal(TN_EXIT_FAILURE, "the front is started by tana-edge only");
	front.contracts = fds[1];
	front.control_fd = fds[2];
	front.state_dir = fds[3];
	front.client_fd = fds[4];
	front.held = m.arg == 1;
	options_fd = fds[0];
	for (;;) {
		if (!receive(&m, fds, &nfds))
			tn_fatal(TN_EXIT_FAILURE, "the master is gone");
		if (m.type == SV_MSG_LISTEN_END)
			break;
		if (m.type == SV_MSG_SHARD && m.status > 1 && m.status <= (int)SV_SHARDS_MAX &&
		    m.arg < (uint64_t)m.status) {
			front.shard = (unsigned)m.arg;
			front.shards = (unsigned)m.status;
		} else if (m.type == SV_MSG_LISTEN && nfds == 1 && front.nlisten < LISTEN_MAX)
			front.listen[front.nlisten++] = (struct listening){ m.arg, fds[0] };
		else if (m.type == SV_MSG_LISTEN_METRICS && nfds == 1 &&
		    front.nlisten_metrics < LISTEN_MAX)
			front.listen_metrics[front.nlisten_metrics++] = fds[0];
		else
			tn_fatal(TN_EXIT_FAILURE, "unexpected message %u from the master", m.type);
	}
	if ((front.opt = read_options(&options_fd)) == NULL)
		exit(TN_EXIT_FAILURE);
	open_log(STDERR_FILENO);
}

/*
 * Contracts' data.  The master has made its directory, or seen that it is there; what
 * is wrong with it is for those to hear who use it.
 */
static void
open_storage(void)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/data", front.opt->state_dir);
	front.storage = sv_lmdb_open(front.base, path, front.opt, &front.stats);
	if (front.storage != NULL)
		front.operations = sv_operations_new(front.opt, &front.stats, front.storage);
}

static void
set_signals(void)
{
	static const int ignored[] = { SIGPIPE, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
	size_t i;

	/* The terminal's signals reach the whole foreground group; they are for the master. */
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	/* The socket's end tells the same, but only a loop that still turns. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int
sv_front_main(int master_fd)
{
	int rc;

	front.master = master_fd;
	tn_log_open("front", STDERR_FILENO, TN_LOG_INFO, TN_LOG_TEXT);
	set_signals();
	receive_start();

	front.base = event_base_new();
	if (front.base == NULL)
		tn_fatal(TN_EXIT_FAILURE, "no event loop");
	sv_stats_init(&front.stats);
	front.lower = sv_lower_new(front.base, front.opt, &front.stats, want_compiler,
	    kill_compiler, NULL);
	open_storage();
	if (front.lower != NULL && front.operations != NULL)
		front.dispatch = sv_dispatch_new(front.base, front.opt, &front.stats, front.lower,
		    front.contracts, &dispatch_ops, NULL);
	if (front.dispatch != NULL)
		sv_dispatch_set_operations(front.dispatch, front.operations);
	if (front.dispatch != NULL)
		front.http = sv_http_new(front.base, front.opt, front.dispatch, &front.stats);
	if (front.http != NULL)
		front.client = sv_client_new(front.base, front.opt, front.dispatch, &front.stats);
	if (front.client != NULL)
		front.metrics = sv_metrics_new(front.base, front.opt, front.dispatch, &front.stats);
	if (front.metrics != NULL)
		front.control = sv_control_new(front.base, &front.control_fd, front.opt,
		    front.dispatch, &front.stats, &control_ops, NULL);
	if (front.control != NULL)
		sv_control_set_storage(front.control, front.storage);
	if (front.control != NULL)
		gather_shards();
	front.ev_master = event_new(front.base, front.master, EV_READ | EV_PERSIST, on_master,
	    NULL);
	front.ev_drain = evtimer_new(front.base, on_drain_timeout, NULL);
	if (front.control == NULL || front.ev_master == NULL || front.ev_drain == NULL ||
	    (!front.held && front.shard == 0 && sv_control_open(front.control) != 0))
		tn_fatal(TN_EXIT_FAILURE, "out of memory");
	tn_fd_nonblock(front.master);
	event_add(front.ev_master, NULL);
	/* From the beginning: what goes wrong before it serves can be seen there, too. */
	if (!front.held)
		listen_for_metrics();
	sv_pool_start(sv_dispatch_pool(front.dispatch));
	/* A turn at a time; without sleeping, while it pays to watch for the one answer. */
	do
		rc = event_base_loop(front.base,
		    sv_dispatch_watches(front.dispatch) ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
	while (rc >= 0 && !event_base_got_break(front.base));
	if (rc < 0)
		tn_fatal(TN_EXIT_FAILURE, "the event loop failed");
	sv_control_flush(front.control);
	sv_storage_close(&front.storage);
	return front.status;
}
