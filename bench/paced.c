/*
 * paced - HTTP requests at a constant rate, whatever becomes of the answers.
 *
 *	paced [OPTION...] --target NAME URL RATE CONNECTIONS [--body FILE] [--type TYPE] ...
 *
 * Request k of a target is due at k / RATE, and its latency counts from then: one that
 * waits because all connections are busy waits in the schedule, and that time counts.  A
 * client that asks again only when it was answered, as most do, leaves out just the
 * requests that a slow server would have kept waiting (coordinated omission).  What such
 * a client would have seen is reported beside it (from_sent).
 *
 * Several targets run at a time, each with a rate, connections and figures of its own.
 * Addresses other than loopback are refused: this is no weapon.  One JSON document is
 * printed at the end.
 */
#include "config.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <http_parser.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

#define SECOND UINT64_C(1000000000)
#define TARGETS_MAX 64
#define CONNECTIONS_MAX 20000
#define STEPS_MAX 100
#define SECONDS_MAX 3600
#define WINDOWS_MAX 100000
#define BODY_MAX (8u << 20)
#define BURST 64	/* requests sent before answers are looked at again */

enum failure { CONNECT, CLOSED, TIMEOUT, MALFORMED, FAILURES };
static const char *const failures[] = { "connect", "closed", "timeout", "malformed" };

struct target;

/* Idle: in its target's idle list, connected or not.  Busy: in its busy list. */
struct connection {
	TAILQ_ENTRY(connection)	link;
	struct target		*target;
	int			fd;		/* -1: not connected */
	bool			busy, connecting, complete, waits_for_write;
	size_t			written;	/* of the request */
	uint64_t		due, sent;
	http_parser		parser;
};
TAILQ_HEAD(connections, connection);

struct window {
	uint64_t		ok, refused, failed, ns_sum, ns_max;
};

struct target {
	const char		*name, *path;
	struct sockaddr_storage	address;
	socklen_t		address_len;
	char			authority[80];
	double			rate;
	unsigned		nconnections;
	const char		*body, *type;
	size_t			body_len;
	char			*request;
	size_t			request_len;
	/* The schedule: request n of a step that began at step_start. */
	unsigned		step;
	uint64_t		step_start, n, due;	/* due: UINT64_MAX after the last */
	uint64_t		idle_since;	/* a connection has been idle since then */
	struct connection	*connection;
	struct connections	idle, busy;	/* busy: the one sent first comes first */
	/* Figures, of requests that were due after the warm-up. */
	uint64_t		scheduled, sent, ok, ok_in_time, refused, given_up, unsent, reconnects;
	uint64_t		answers;	/* the warm-up's too: what the server has worked for */
	uint64_t		status[600], failed[FAILURES];
	struct histogram	from_due, from_sent, refused_from_due, refused_from_sent, lag;
	struct window		*window;
};

struct step {
	double			factor;
	uint64_t		ns;
};

static struct target *targets[TARGETS_MAX];
static unsigned ntargets, nsteps;
static struct step steps[STEPS_MAX + 1];
static uint64_t start, warm_end, end;		/* of the schedule; absolute */
static uint64_t timeout_ns = 10 * SECOND, give_up_ns, window_ns;
static size_t nwindows;
static int ep, timer;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* -- the schedule ---------------------------------------------------------- */

/* Sets t->due from t->step and t->n. */
static void
schedule(struct target *t)
{
	double rate, at;

	for (; t->step < nsteps; t->step_start += steps[t->step++].ns, t->n = 0) {
		rate = t->rate * steps[t->step].factor;
		/* From the step's start each time, so that errors do not add up. */
		at = rate > 0 ? (double)t->n / rate * 1e9 : 1e300;
		if (at < (double)steps[t->step].ns) {
			t->due = t->step_start + (uint64_t)at;
			return;
		}
	}
	t->due = UINT64_MAX;
}

static void
next(struct target *t)
{
	if (t->due >= warm_end)
		t->scheduled++;
	t->n++;
	schedule(t);
}

/* -- what became of a request ------------------------------------------------- */

static struct window *
window_at(struct target *t, uint64_t now)
{
	size_t i;

	if (nwindows == 0 || now < warm_end)
		return NULL;
	i = (size_t)((now - warm_end) / window_ns);
	return i < nwindows ? &t->window[i] : NULL;
}

static void
set_idle(struct connection *c, uint64_t now)
{
	struct target *t = c->target;

	TAILQ_REMOVE(&t->busy, c, link);
	c->busy = false;
	if (TAILQ_EMPTY(&t->idle))
		t->idle_since = now;
	TAILQ_INSERT_TAIL(&t->idle, c, link);
}

static void
hang_up(struct connection *c)
{
	if (c->fd != -1)
		(void)close(c->fd);
	c->fd = -1;
	c->connecting = c->waits_for_write = false;
}

static void
fail(struct connection *c, enum failure why, uint64_t now)
{
	struct window *w = window_at(c->target, now);

	if (c->due >= warm_end)
		c->target->failed[why]++;
	if (w != NULL)
		w->failed++;
	hang_up(c);
	set_idle(c, now);
}

static void
answered(struct connection *c, uint64_t now)
{
	struct target *t = c->target;
	struct window *w = window_at(t, now);
	unsigned status = c->parser.status_code;
	bool ok = status >= 200 && status < 400;
	uint64_t latency = now - c->due;

	t->answers++;
	if (c->due >= warm_end) {
		t->status[status < 600 ? status : 0]++;
		if (ok) {
			t->ok++;
			t->ok_in_time += now < end;
			histogram_add(&t->from_due, latency);
			histogram_add(&t->from_sent, now - c->sent);
		} else if (status == 503) {
			t->refused++;
			histogram_add(&t->refused_from_due, latency);
			histogram_add(&t->refused_from_sent, now - c->sent);
		}
	}
	if (w != NULL && ok) {
		w->ok++;
		w->ns_sum += latency;
		if (latency > w->ns_max)
			w->ns_max = latency;
	} else if (w != NULL && status == 503)
		w->refused++;
	else if (w != NULL)
		w->failed++;
	if (!http_should_keep_alive(&c->parser))
		hang_up(c);
	set_idle(c, now);
}

/* -- connections -------------------------------------------------------------- */

static void
watch(struct connection *c, int op, bool write)
{
	struct epoll_event e = { .events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c };

	if (epoll_ctl(ep, op, c->fd, &e) != 0)
		err(1, "epoll_ctl");
	c->waits_for_write = write;
}

/* 0, or -1: it cannot even be begun. */
static int
dial(struct connection *c)
{
	struct target *t = c->target;
	int one = 1;

	c->fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		err(1, "socket, for target %s", t->name);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&t->address, t->address_len) != 0) {
		if (errno != EINPROGRESS) {
			hang_up(c);
			return -1;
		}
		c->connecting = true;
	}
	watch(c, EPOLL_CTL_ADD, c->connecting);
	return 0;
}

static void
write_more(struct connection *c, uint64_t now)
{
	struct target *t = c->target;
	ssize_t n;

	while (c->written < t->request_len) {
		n = send(c->fd, t->request + c->written, t->request_len - c->written, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN) {
			if (!c->waits_for_write)
				watch(c, EPOLL_CTL_MOD, true);
			return;
		}
		if (n == -1) {
			fail(c, CLOSED, now);
			return;
		}
		c->written += (size_t)n;
	}
	if (c->waits_for_write)
		watch(c, EPOLL_CTL_MOD, false);
}

/* Sends the request that is due on the first idle connection, which there is. */
static void
ask(struct target *t, uint64_t now)
{
	struct connection *c = TAILQ_FIRST(&t->idle);

	TAILQ_REMOVE(&t->idle, c, link);
	TAILQ_INSERT_TAIL(&t->busy, c, link);
	c->busy = true;
	c->complete = false;
	c->written = 0;
	c->due = t->due;
	c->sent = now;
	http_parser_init(&c->parser, HTTP_RESPONSE);
	c->parser.data = c;
	if (t->due >= warm_end) {
		t->sent++;
		/* How late this program is by itself: no connection was missing. */
		if (t->idle_since <= t->due)
			histogram_add(&t->lag, now - t->due);
	}
	next(t);
	if (c->fd == -1) {
		if (c->due >= warm_end)
			t->reconnects++;
		if (dial(c) != 0)
			fail(c, CONNECT, now);
		else if (!c->connecting)
			write_more(c, now);
	} else
		write_more(c, now);
}

static int
on_complete(http_parser *p)
{
	((struct connection *)p->data)->complete = true;
	return 0;
}

static const http_parser_settings parsing = { .on_message_complete = on_complete };

static void
on_readable(struct connection *c, uint64_t now)
{
	static char buf[256 << 10];
	size_t used;
	ssize_t n;

	do
		n = recv(c->fd, buf, sizeof(buf), 0);
	while (n == -1 && errno == EINTR);
	if (n == -1 && errno == EAGAIN)
		return;
	if (!c->busy) {
		/* The server hangs up on a connection that is idle, or says what nobody asked. */
		hang_up(c);
		return;
	}
	used = n >= 0 ? http_parser_execute(&c->parser, &parsing, buf, (size_t)n) : 0;
	if (n >= 0 && c->complete && used == (size_t)n) {
		if (n == 0)
			hang_up(c);
		answered(c, now);
	} else if (n <= 0)
		fail(c, CLOSED, now);
	else if (c->complete || HTTP_PARSER_ERRNO(&c->parser) != HPE_OK)
		fail(c, MALFORMED, now);
}

static void
on_event(struct connection *c, uint32_t events, uint64_t now)
{
	int e = 0;
	socklen_t len = sizeof(e);

	if (c->fd == -1)
		return;
	if (c->connecting) {
		(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
		if (e != 0) {
			if (c->busy)
				fail(c, CONNECT, now);
			else
				hang_up(c);
			return;
		}
		c->connecting = false;
		if (c->busy)
			write_more(c, now);
		else
			watch(c, EPOLL_CTL_MOD, false);
		return;
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		on_readable(c, now);
	if (c->fd != -1 && c->busy && (events & EPOLLOUT) != 0)
		write_more(c, now);
}

/* -- the loop ------------------------------------------------------------------ */

/* What is due and can be sent; when to look again. */
static uint64_t
send_due(struct target *t, uint64_t now)
{
	unsigned i;

	for (i = 0; t->due <= now && t->due < end; i++) {
		if (give_up_ns != 0 && now - t->due > give_up_ns) {
			t->given_up += t->due >= warm_end;
			next(t);
			continue;
		}
		if (TAILQ_EMPTY(&t->idle))
			return UINT64_MAX; /* an answer wakes us */
		if (i >= BURST)
			return now;
		ask(t, now);
	}
	return t->due;
}

static uint64_t
time_out(struct target *t, uint64_t now)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&t->busy)) != NULL && now - c->sent >= timeout_ns)
		fail(c, TIMEOUT, now);
	return c != NULL ? c->sent + timeout_ns : UINT64_MAX;
}

/* One turn: waits for events until `wake`. */
static void
turn(uint64_t wake)
{
	struct epoll_event e[256];
	struct itimerspec at = { .it_value = { (time_t)(wake / SECOND), (long)(wake % SECOND) } };
	uint64_t now = now_ns();
	int i, n;

	/* Its resolution is finer than epoll_wait's; what it has counted needs no reading. */
	if (wake > now && timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) != 0)
		err(1, "timerfd_settime");
	n = epoll_wait(ep, e, sizeof(e) / sizeof(e[0]), wake > now ? -1 : 0);
	if (n == -1 && errno != EINTR)
		err(1, "epoll_wait");
	now = now_ns();
	for (i = 0; i < n; i++)
		if (e[i].data.ptr != NULL)
			on_event(e[i].data.ptr, e[i].events, now);
}

/* All connections at once, before the schedule begins: connecting is not measured. */
static void
connect_all(void)
{
	uint64_t until = now_ns() + 10 * SECOND;
	struct target *t;
	struct connection *c;
	unsigned i, missing;

	for (i = 0; i < ntargets; i++) {
		t = targets[i];
		TAILQ_INIT(&t->idle);
		TAILQ_INIT(&t->busy);
		t->connection = calloc(t->nconnections, sizeof(*t->connection));
		if (t->connection == NULL)
			err(1, NULL);
		for (c = t->connection; c < t->connection + t->nconnections; c++) {
			c->target = t;
			TAILQ_INSERT_TAIL(&t->idle, c, link);
			if (dial(c) != 0)
				err(1, "target %s: cannot connect to %s", t->name, t->authority);
		}
	}
	do {
		missing = 0;
		for (i = 0; i < ntargets; i++)
			TAILQ_FOREACH(c, &targets[i]->idle, link) {
				if (c->fd == -1)
					errx(1, "target %s: cannot connect to %s", c->target->name,
					    c->target->authority);
				missing += c->connecting;
			}
		if (missing > 0) {
			if (now_ns() > until)
				errx(1, "%u connections were not accepted within 10 s", missing);
			turn(now_ns() + SECOND / 100);
		}
	} while (missing > 0);
}

static void
run(uint64_t warm)
{
	uint64_t now, wake, at;
	struct target *t;
	bool busy;
	unsigned i;

	connect_all();
	start = now_ns() + SECOND / 100;
	warm_end = start + warm;
	for (end = start, i = 0; i < nsteps; i++)
		end += steps[i].ns;
	for (i = 0; i < ntargets; i++) {
		/* Targets of one rate are not due at the same instant. */
		targets[i]->step_start = start + i * SECOND / 100000;
		schedule(targets[i]);
	}
	while ((now = now_ns()) < end) {
		wake = end;
		for (i = 0; i < ntargets; i++) {
			at = send_due(targets[i], now);
			wake = at < wake ? at : wake;
			at = time_out(targets[i], now);
			wake = at < wake ? at : wake;
		}
		turn(wake);
	}
	/* What was due and could not be sent has waited until now, and counts with that. */
	for (i = 0; i < ntargets; i++)
		for (t = targets[i]; t->due < end; next(t))
			if (t->due >= warm_end) {
				t->unsent++;
				histogram_add(&t->from_due, end - t->due);
			}
	for (busy = true; busy;) {
		busy = false;
		wake = UINT64_MAX;
		for (i = 0; i < ntargets; i++) {
			at = time_out(targets[i], now_ns());
			wake = at < wake ? at : wake;
			busy |= !TAILQ_EMPTY(&targets[i]->busy);
		}
		if (busy)
			turn(wake);
	}
}

/* -- the report ------------------------------------------------------------------ */

static void
print_histogram(const char *name, const struct histogram *h, const char *after)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = { { "p50", 0.5 }, { "p75", 0.75 }, { "p90", 0.9 }, { "p99", 0.99 },
		{ "p99_9", 0.999 }, { "p99_99", 0.9999 } };
	unsigned i;

	printf("\"%s\":{\"count\":%" PRIu64 ",\"mean\":%.6f,\"min\":%.6f,\"max\":%.6f", name,
	    h->count, h->count > 0 ? (double)h->sum / (double)h->count / 1e6 : 0,
	    (double)h->min / 1e6, (double)h->max / 1e6);
	for (i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		printf(",\"%s\":%.6f", quantiles[i].name,
		    (double)histogram_quantile(h, quantiles[i].q) / 1e6);
	printf("}%s", after);
}

static void
print_target(const struct target *t, double seconds)
{
	const char *comma = "";
	size_t i;

	printf("{\"name\":\"%s\",\"rate\":%g,\"connections\":%u,\"scheduled\":%" PRIu64
	       ",\"sent\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"refused\":%" PRIu64
	       ",\"given_up\":%" PRIu64 ",\"unsent\":%" PRIu64 ",\"reconnects\":%" PRIu64
	       ",\"answers\":%" PRIu64 ",\"goodput\":%.3f,\"statuses\":{",
	    t->name, t->rate, t->nconnections, t->scheduled, t->sent, t->ok, t->refused,
	    t->given_up, t->unsent, t->reconnects, t->answers, (double)t->ok_in_time / seconds);
	for (i = 0; i < 600; i++)
		if (t->status[i] > 0) {
			printf("%s\"%zu\":%" PRIu64, comma, i, t->status[i]);
			comma = ",";
		}
	printf("},\"failed\":{");
	for (i = 0; i < FAILURES; i++)
		printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", failures[i], t->failed[i]);
	printf("},\"latency_ms\":{");
	print_histogram("from_due", &t->from_due, ",");
	print_histogram("from_sent", &t->from_sent, ",");
	print_histogram("refused_from_due", &t->refused_from_due, ",");
	print_histogram("refused_from_sent", &t->refused_from_sent, ",");
	print_histogram("lag", &t->lag, "},\"timeline\":[");
	for (i = 0; i < nwindows; i++)
		printf("%s{\"ok\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"failed\":%" PRIu64
		       ",\"mean_ms\":%.3f,\"max_ms\":%.3f}",
		    i > 0 ? "," : "", t->window[i].ok, t->window[i].refused, t->window[i].failed,
		    t->window[i].ok > 0 ?
			(double)t->window[i].ns_sum / (double)t->window[i].ok / 1e6 :
			0,
		    (double)t->window[i].ns_max / 1e6);
	printf("]}");
}

/* -- the command line -------------------------------------------------------------- */

static const char usage[] =
    "usage: paced [OPTION...] --target NAME URL RATE CONNECTIONS [--body FILE] [--type TYPE] ...\n"
    "	--seconds S	the schedule's length (10)\n"
    "	--steps F:S,...	instead: RATE times F for S seconds, and so on\n"
    "	--warm S	before it, at the first step's rate, and not counted (0)\n"
    "	--timeout S	a request without an answer for so long has failed (10)\n"
    "	--give-up MS	one that could not be sent for so long is not sent any more (0: never)\n"
    "	--timeline MS	what happened in each so many milliseconds\n"
    "	--target NAME URL RATE CONNECTIONS	GET URL (http://ADDRESS:PORT/PATH, loopback only),\n"
    "			RATE a second, on so many connections; may be given several times\n"
    "	--body FILE	the target before it: POST this instead\n"
    "	--type TYPE	of that body (text/plain)\n";

static double
number(const char *what, const char *text, double least, double most)
{
	char *rest;
	double v = strtod(text, &rest);

	if (rest == text || *rest != '\0' || !(v >= least && v <= most))
		errx(2, "%s: '%s' is not a number from %g to %g", what, text, least, most);
	return v;
}

static void
parse_steps(const char *arg)
{
	char text[2048], *save = NULL, *item, *colon;

	if ((size_t)snprintf(text, sizeof(text), "%s", arg) >= sizeof(text))
		errx(2, "--steps: too long");
	for (item = strtok_r(text, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save)) {
		colon = strchr(item, ':');
		if (colon == NULL)
			errx(2, "--steps: '%s' is not FACTOR:SECONDS", item);
		*colon = '\0';
		if (nsteps == STEPS_MAX)
			errx(2, "--steps: more than %d", STEPS_MAX);
		steps[nsteps].factor = number("--steps", item, 0, 1000);
		steps[nsteps++].ns =
		    (uint64_t)(number("--steps", colon + 1, 0.001, SECONDS_MAX) * 1e9);
	}
	if (nsteps == 0)
		errx(2, "--steps: '%s' has none", arg);
}

/* http://ADDRESS:PORT[/PATH] */
static void
parse_url(struct target *t, const char *url)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&t->address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&t->address;
	char host[64];
	const char *rest, *slash, *colon;
	size_t len;
	in_port_t port;
	bool loopback;

	if (strncmp(url, "http://", 7) != 0)
		errx(2, "target %s: '%s' does not begin with http://", t->name, url);
	rest = url + 7;
	slash = strchr(rest, '/');
	len = slash != NULL ? (size_t)(slash - rest) : strlen(rest);
	if (len == 0 || len >= sizeof(t->authority))
		errx(2, "target %s: '%s' has no ADDRESS:PORT", t->name, url);
	(void)snprintf(t->authority, sizeof(t->authority), "%.*s", (int)len, rest);
	t->path = slash != NULL ? slash : "/";
	if (strpbrk(t->path, " \t\r\n") != NULL)
		errx(2, "target %s: '%s' has a space", t->name, url);
	colon = strrchr(t->authority, ':');
	if (colon == NULL || (size_t)(colon - t->authority) >= sizeof(host))
		errx(2, "target %s: '%s' has no ADDRESS:PORT", t->name, url);
	port = htons((in_port_t)number("port", colon + 1, 1, 65535));
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - t->authority), t->authority);
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = port;
		t->address_len = sizeof(*in);
		loopback = (ntohl(in->sin_addr.s_addr) >> 24) == 127;
	} else if (strcmp(host, "[::1]") == 0) {
		in6->sin6_family = AF_INET6;
		in6->sin6_addr = in6addr_loopback;
		in6->sin6_port = port;
		t->address_len = sizeof(*in6);
		loopback = true;
	} else
		errx(2, "target %s: '%s' is not an IPv4 address or [::1]", t->name, host);
	if (!loopback)
		errx(2, "target %s: '%s' is not a loopback address", t->name, host);
}

static void
parse_target(char **argv)
{
	struct target *t = calloc(1, sizeof(*t));

	if (t == NULL)
		err(1, NULL);
	if (ntargets == TARGETS_MAX)
		errx(2, "--target: more than %d", TARGETS_MAX);
	t->name = argv[0];
	/* So that it needs no quoting in the report. */
	if (*t->name == '\0' || strlen(t->name) > 100 ||
	    strspn(t->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
		strlen(t->name))
		errx(2, "--target: '%s' is no name (letters, digits, . _ -)", t->name);
	parse_url(t, argv[1]);
	t->rate = number("RATE", argv[2], 0.001, 10e6);
	t->nconnections = (unsigned)number("CONNECTIONS", argv[3], 1, CONNECTIONS_MAX);
	targets[ntargets++] = t;
}

static void
read_body(struct target *t, const char *file)
{
	struct stat st;
	FILE *f = fopen(file, "rb");
	char *body;

	if (f == NULL || fstat(fileno(f), &st) != 0)
		err(2, "--body %s", file);
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)BODY_MAX)
		errx(2, "--body %s: no file of at most %u bytes", file, BODY_MAX);
	t->body_len = (size_t)st.st_size;
	body = malloc(t->body_len + 1);
	if (body == NULL || fread(body, 1, t->body_len, f) != t->body_len)
		err(2, "--body %s", file);
	(void)fclose(f);
	t->body = body;
}

static void
make_request(struct target *t)
{
	char head[4096];
	int n;

	if (t->body != NULL)
		n = snprintf(head, sizeof(head),
		    "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
		    t->path, t->authority, t->type != NULL ? t->type : "text/plain", t->body_len);
	else
		n = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", t->path,
		    t->authority);
	if (n < 0 || (size_t)n >= sizeof(head))
		errx(2, "target %s: its URL is too long", t->name);
	t->request_len = (size_t)n + t->body_len;
	t->request = malloc(t->request_len);
	if (t->request == NULL)
		err(1, NULL);
	memcpy(t->request, head, (size_t)n);
	if (t->body_len > 0)
		memcpy(t->request + n, t->body, t->body_len);
}

static struct target *
last_target(const char *option)
{
	if (ntargets == 0)
		errx(2, "%s: no --target before it", option);
	return targets[ntargets - 1];
}

int
main(int argc, char **argv)
{
	uint64_t warm = 0, total = 0;
	double seconds = 10;
	struct rlimit files;
	struct rusage used;
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	unsigned i, wanted = 0;
	int a;

	for (a = 1; a < argc; a++) {
		const char *o = argv[a];
		int rest = argc - a - 1;

		if (strcmp(o, "--help") == 0) {
			(void)fputs(usage, stdout);
			return 0;
		}
		if (strcmp(o, "--target") == 0) {
			if (rest < 4)
				errx(2, "--target: NAME URL RATE CONNECTIONS must follow");
			parse_target(argv + a + 1);
			a += 4;
			continue;
		}
		if (rest < 1 && strncmp(o, "--", 2) == 0)
			errx(2, "%s: unknown, or its value is missing\n%s", o, usage);
		a++;
		if (strcmp(o, "--seconds") == 0)
			seconds = number(o, argv[a], 0.001, SECONDS_MAX);
		else if (strcmp(o, "--steps") == 0)
			parse_steps(argv[a]);
		else if (strcmp(o, "--warm") == 0)
			warm = (uint64_t)(number(o, argv[a], 0, SECONDS_MAX) * 1e9);
		else if (strcmp(o, "--timeout") == 0)
			timeout_ns = (uint64_t)(number(o, argv[a], 0.001, 600) * 1e9);
		else if (strcmp(o, "--give-up") == 0)
			give_up_ns = (uint64_t)(number(o, argv[a], 0, 600e3) * 1e6);
		else if (strcmp(o, "--timeline") == 0)
			window_ns = (uint64_t)(number(o, argv[a], 1, 3600e3) * 1e6);
		else if (strcmp(o, "--body") == 0)
			read_body(last_target(o), argv[a]);
		else if (strcmp(o, "--type") == 0) {
			if (strpbrk(argv[a], "\r\n") != NULL)
				errx(2, "--type: a line's end in it");
			last_target(o)->type = argv[a];
		} else
			errx(2, "'%s' is not understood\n%s", o, usage);
	}
	if (ntargets == 0)
		errx(2, "no --target\n%s", usage);
	if (nsteps == 0)
		steps[nsteps++] = (struct step){ 1, (uint64_t)(seconds * 1e9) };
	for (i = 0; i < nsteps; i++)
		total += steps[i].ns;
	if (warm > 0) {
		memmove(steps + 1, steps, nsteps * sizeof(steps[0]));
		steps[0].ns = warm;
		nsteps++;
	}
	if (total + warm > SECONDS_MAX * SECOND)
		errx(2, "the schedule is longer than %d seconds", SECONDS_MAX);
	if (window_ns > 0 && (nwindows = (size_t)(total / window_ns)) > WINDOWS_MAX)
		errx(2, "--timeline: more than %d intervals", WINDOWS_MAX);
	for (i = 0; i < ntargets; i++) {
		make_request(targets[i]);
		wanted += targets[i]->nconnections;
		targets[i]->window = calloc(nwindows + 1, sizeof(struct window));
		if (targets[i]->window == NULL)
			err(1, NULL);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
		if (files.rlim_max < wanted + 16)
			errx(1,
			    "%u connections need more descriptors than this process may have (%ju)",
			    wanted, (uintmax_t)files.rlim_max);
	}
	/* Timers are otherwise up to 50 us late, so that some of them can share a wake-up. */
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	ep = epoll_create1(EPOLL_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (ep == -1 || timer == -1 || epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e) != 0)
		err(1, "epoll, timerfd");
	run(warm);

	(void)getrusage(RUSAGE_SELF, &used);
	printf("{\"seconds\":%g,\"cpu_s\":%.3f,\"window_ms\":%g,\"targets\":[", (double)total / 1e9,
	    (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6,
	    (double)window_ns / 1e6);
	for (i = 0; i < ntargets; i++) {
		if (i > 0)
			printf(",");
		print_target(targets[i], (double)total / 1e9);
	}
	printf("]}\n");
	return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : 1;
}
