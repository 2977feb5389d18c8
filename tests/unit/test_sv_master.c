/*
 * test_sv_master.c - the master with a front, zygotes and a compiler of ours.
 *
 * The master runs /proc/self/exe as the front, so this program is all of them:
 * `--front` obeys commands that the test sends through the listening socket and
 * answers with what it saw; `--zygote` and `compile-server` say what they are.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_config.h"
#include "sv_daemon.h"
#include "sv_master.h"
#include "sv_proto.h"
#include "sv_zygote.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_layers.h"
#include "tn_options.h"
#include "tn_zygote.h"

#define PATIENCE_MS	30000	/* only a failure waits so long */
#define STEP_US		5000

/* ---- what a process can say of itself ---- */

static void
put_status_line(struct tn_buf *b, const char *field)
{
	char line[512];
	FILE *f = fopen("/proc/self/status", "re");
	size_t n = strlen(field);

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, field, n) == 0 && line[n] == ':') {
			line[strcspn(line, "\n")] = '\0';
			for (char *p = line; *p != '\0'; p++)
				if (*p == '\t' || *p == ' ')
					*p = ',';
			tn_buf_printf(b, "%s ", line);
		}
	if (f != NULL)
		(void)fclose(f);
}

static void
describe_self(struct tn_buf *b)
{
	static const char *const ns[] = { "net", "pid", "mnt", "ipc", "uts", "user" };
	static const char *const fields[] = { "Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapInh",
		"CapAmb", "NoNewPrivs" };
	struct rlimit rl;
	char path[64], target[64];
	ssize_t n;
	size_t i;
	int fd, sig = 0;

	tn_buf_printf(b, "pid=%d ", (int)getpid());
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		put_status_line(b, fields[i]);
	for (i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", ns[i]);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		tn_buf_printf(b, "ns_%s=%s ", ns[i], target);
	}
	for (fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			tn_buf_printf(b, "fd%d ", fd);
	(void)getrlimit(RLIMIT_NOFILE, &rl);
	tn_buf_printf(b, "nofile=%llu ", (unsigned long long)rl.rlim_cur);
	(void)getrlimit(RLIMIT_FSIZE, &rl);
	tn_buf_printf(b, "fsize=%lld ", (long long)rl.rlim_cur);
	(void)prctl(PR_GET_PDEATHSIG, &sig);
	tn_buf_printf(b, "pdeathsig=%d home=%s sid=%s ", sig,
	    getenv("HOME") != NULL ? getenv("HOME") : "-", getsid(0) == getpid() ? "own" : "other");
}

/* ---- the fake zygote and compiler ---- */

static int
zygote_main(void)
{
	struct tn_zy_setup s;
	struct tn_buf b = { 0 };
	char byte;
	int i;

	describe_self(&b);
	if (recv(TN_ZYGOTE_FD, &s, sizeof(s), 0) == (ssize_t)sizeof(s))
		tn_buf_printf(&b,
		    "magic=%s generation=%llu memory=%llu body=%llu reply=%llu isolation=%u "
		    "uid=%u gid=%u present=%x required=%x ",
		    s.magic == TN_ZY_MAGIC ? "ok" : "bad", (unsigned long long)s.generation,
		    (unsigned long long)s.memory_max, (unsigned long long)s.body_max,
		    (unsigned long long)s.reply_max, s.isolation, s.uid, s.gid, s.layers_present,
		    s.layers_required);
	(void)fprintf(stderr, "words \033[31m and\tmore\n");
	for (i = 0; i < 500; i++)
		(void)fprintf(stderr, "flood %d\n", i);
	(void)send(TN_ZYGOTE_FD, b.p, b.len, 0);
	while (recv(TN_ZYGOTE_FD, &byte, 1, 0) > 0)
		;
	return 0;
}

static int
compiler_main(int argc, char **argv)
{
	struct tn_buf b = { 0 };
	char byte;

	describe_self(&b);
	tn_buf_printf(&b, "args=%s,%s ", argc > 2 ? argv[2] : "-", argc > 3 ? argv[3] : "-");
	/* What it sees and where it can write. */
	tn_buf_printf(&b, "passwd=%d etc=%d root=%d contracts=%d ", access("/etc/passwd", F_OK),
	    open("/etc/x", O_WRONLY | O_CREAT, 0600), open("/x", O_WRONLY | O_CREAT, 0600),
	    argc > 3 ? access(argv[3], R_OK | X_OK) : -2);
	if (argc > 3 && chdir(argv[3]) == 0)
		tn_buf_printf(&b, "write=%s ",
		    open("x", O_WRONLY | O_CREAT, 0600) < 0 && errno == EROFS ? "readonly" :
										"other");
	if (chdir(getenv("HOME")) == 0)
		tn_buf_printf(
		    &b, "home_write=%s ", open("x", O_WRONLY | O_CREAT, 0600) >= 0 ? "yes" : "no");
	(void)send(3, b.p, b.len, 0);
	while (recv(3, &byte, 1, 0) > 0)
		;
	return 0;
}

/* ---- the fake front ---- */

static struct {
	int			 listen, control;
	struct tn_options	*opt;
	bool			 drain_seen;
	int			 zygote_fd;
	int			 compiler_fd;
	unsigned		 shard;
	bool			 rest;	/* let another front accept */
} ff = { -1, -1, NULL, false, -1, -1, 0, false };

static void
ff_tell(unsigned type, uint64_t arg)
{
	struct sv_msg m = { .magic = SV_PROTO_MAGIC, .type = type, .arg = arg };

	if (tn_fd_send(SV_FRONT_FD, &m, sizeof(m), NULL, 0) != (ssize_t)sizeof(m))
		exit(90);
}

static struct tn_options *
ff_options(int fd)
{
	struct tn_options *o = tn_options_new();
	struct tn_buf err = { 0 };
	struct stat st;
	char *text;

	if (fstat(fd, &st) != 0 || (text = calloc(1, (size_t)st.st_size + 1)) == NULL ||
	    pread(fd, text, (size_t)st.st_size, 0) != st.st_size ||
	    tn_options_parse(
		o, "configuration", (struct tn_str){ text, (size_t)st.st_size }, &err) != 0)
		exit(91);
	free(text);
	return o;
}

static struct sv_msg
ff_receive(int *fds, int *nfds)
{
	struct sv_msg m = { 0 };

	*nfds = TN_FD_PASS_MAX;
	if (tn_fd_recv(SV_FRONT_FD, &m, sizeof(m), fds, nfds) != (ssize_t)sizeof(m) ||
	    m.magic != SV_PROTO_MAGIC)
		exit(92);
	return m;
}

/* Wait for a message of the type; what comes in between is dropped. */
static struct sv_msg
ff_wait(unsigned type, int *fds, int *nfds)
{
	struct sv_msg m;
	int i;

	for (;;) {
		m = ff_receive(fds, nfds);
		if (m.type == SV_MSG_DRAIN)
			ff.drain_seen = true;
		if (m.type == type)
			return m;
		for (i = 0; i < *nfds; i++)
			(void)close(fds[i]);
	}
}

static void
ff_drop(void)
{
	int fds[TN_FD_PASS_MAX], nfds, i;

	(void)ff_receive(fds, &nfds);
	for (i = 0; i < nfds; i++)
		(void)close(fds[i]);
}

static void
ff_read_all(int fd, struct tn_buf *b)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[4096];
	ssize_t n;

	/* One packet, or what one send of a stream brought. */
	if (poll(&p, 1, PATIENCE_MS) == 1 && (n = recv(fd, text, sizeof(text), 0)) > 0)
		tn_buf_append(b, text, (size_t)n);
	else
		tn_buf_puts(b, "nothing came ");
}

/* A file of the master's, closed. */
static void
ff_read_text(int fd, struct tn_buf *b)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	if (n > 0)
		tn_buf_append(b, text, (size_t)n);
	tn_buf_puts(b, " ");
	(void)close(fd);
}

static void
ff_command(const char *cmd, struct tn_buf *b)
{
	int fds[TN_FD_PASS_MAX], nfds;
	struct sv_msg m;
	unsigned long long n;
	struct stat a, c;
	unsigned shard;
	int at = 0;

	if (sscanf(cmd, "at %u %n", &shard, &at) == 1 && at > 0) {
		ff.rest = shard != ff.shard;
		if (!ff.rest)
			ff_command(cmd + at, b);
		else
			tn_buf_puts(b, "elsewhere ");
	} else if (strcmp(cmd, "info") == 0) {
		describe_self(b);
		tn_buf_printf(b, "ppid=%d domain=%s workers_max=%lld dumpable=%d ", (int)getppid(),
		    ff.opt->domain, (long long)ff.opt->workers_max, prctl(PR_GET_DUMPABLE));
	} else if (sscanf(cmd, "zygote %llu", &n) == 1) {
		ff_tell(SV_MSG_WANT_ZYGOTE, n);
		m = ff_wait(SV_MSG_ZYGOTE, fds, &nfds);
		tn_buf_printf(
		    b, "arg=%llu status=%d fds=%d ", (unsigned long long)m.arg, m.status, nfds);
		if (m.status == 0 && nfds == 2) {
			tn_buf_printf(b, "host_pid=%d ", (int)tn_fd_pidfd_pid(fds[1]));
			ff_read_all(fds[0], b);
			ff.zygote_fd = fds[0];
			(void)close(fds[1]);
		}
	} else if (sscanf(cmd, "kill-zygote %llu", &n) == 1) {
		ff_tell(SV_MSG_KILL_ZYGOTE, n);
		m = ff_wait(SV_MSG_ZYGOTE_DEAD, fds, &nfds);
		tn_buf_printf(b, "arg=%llu status=%d ", (unsigned long long)m.arg, m.status);
	} else if (strcmp(cmd, "compiler") == 0) {
		ff_tell(SV_MSG_WANT_COMPILER, 0);
		m = ff_wait(SV_MSG_COMPILER, fds, &nfds);
		tn_buf_printf(b, "status=%d ", m.status);
		if (m.status == 0 && nfds == 1) {
			ff_read_all(fds[0], b);
			ff.compiler_fd = fds[0];
		}
	} else if (strcmp(cmd, "compiler-gone") == 0) {
		char byte;

		tn_buf_printf(b, "read=%zd ", recv(ff.compiler_fd, &byte, 1, 0));
		ff.compiler_fd = -1;
	} else if (strcmp(cmd, "kill-compiler") == 0) {
		ff_tell(SV_MSG_KILL_COMPILER, 0);
		tn_buf_puts(b, "asked ");
	} else if (strcmp(cmd, "reload") == 0) {
		ff_tell(SV_MSG_WANT_RELOAD, 0);
		m = ff_wait(SV_MSG_CONFIG, fds, &nfds);
		tn_buf_printf(b, "status=%d fds=%d ", m.status, nfds);
		if (nfds == 1 && m.status != 0)		/* why */
			ff_read_text(fds[0], b);
		else if (nfds > 0) {
			if (nfds > 1)
				ff_read_text(fds[1], b);
			tn_options_free(&ff.opt);
			ff.opt = ff_options(fds[0]);
			(void)close(fds[0]);
			tn_buf_printf(b, "workers_max=%lld memory_max=%llu ",
			    (long long)ff.opt->workers_max, (unsigned long long)ff.opt->memory_max);
		}
	} else if (strcmp(cmd, "wait-log") == 0) {
		m = ff_wait(SV_MSG_LOG, fds, &nfds);
		tn_buf_printf(b, "fds=%d same=%d ", nfds, nfds == 1 && fstat(fds[0], &a) == 0 &&
		    stat(ff.opt->log, &c) == 0 && a.st_ino == c.st_ino);
		if (nfds == 1)
			(void)close(fds[0]);
	} else if (strcmp(cmd, "drain") == 0) {
		ff_tell(SV_MSG_WANT_DRAIN, 0);
		(void)ff_wait(SV_MSG_DRAIN, fds, &nfds);
		ff.drain_seen = true;
		tn_buf_puts(b, "draining ");
	} else if (strcmp(cmd, "bad-type") == 0) {
		ff_tell(4711, 0);
		tn_buf_puts(b, "sent ");
	} else if (strcmp(cmd, "ready-again") == 0) {
		ff_tell(SV_MSG_READY, 0);
		tn_buf_puts(b, "sent ");
	} else if (strcmp(cmd, "own-type") == 0) {
		ff_tell(SV_MSG_START, 0);
		tn_buf_puts(b, "sent ");
	} else if (strcmp(cmd, "short") == 0) {
		(void)send(SV_FRONT_FD, "x", 1, 0);
		tn_buf_puts(b, "sent ");
	} else if (strcmp(cmd, "crash") == 0) {
		(void)raise(SIGKILL);
	} else if (sscanf(cmd, "exit %llu", &n) == 1) {
		exit((int)n);
	} else
		tn_buf_printf(b, "unknown command %s ", cmd);
}

static void
ff_serve_one(void)
{
	struct tn_buf b = { 0 };
	char cmd[256];
	ssize_t n;
	int fd;

	if ((fd = accept4(ff.listen, NULL, NULL, SOCK_CLOEXEC)) < 0)
		return;
	if ((n = recv(fd, cmd, sizeof(cmd) - 1, 0)) > 0) {
		cmd[n] = '\0';
		ff_command(cmd, &b);
		tn_buf_puts(&b, "end");
		(void)send(fd, b.p, b.len, MSG_NOSIGNAL);
	}
	(void)close(fd);
	if (ff.rest)
		(void)usleep(2 * STEP_US);
	ff.rest = false;
	tn_buf_fini(&b);
}

static int
front_main(void)
{
	int fds[TN_FD_PASS_MAX], nfds;
	struct pollfd p[2];
	struct sv_msg m;

	m = ff_receive(fds, &nfds);
	if (m.type != SV_MSG_START || nfds != 5)
		return 93;
	ff.opt = ff_options(fds[0]);
	(void)close(fds[0]);
	(void)close(fds[1]);
	ff.control = fds[2];
	(void)close(fds[3]);
	(void)close(fds[4]);
	while ((m = ff_receive(fds, &nfds)).type == SV_MSG_SHARD)
		ff.shard = (unsigned)m.arg;
	for (; m.type == SV_MSG_LISTEN && nfds == 1; m = ff_receive(fds, &nfds))
		if (m.arg == 0)
			ff.listen = fds[0];
		else
			(void)close(fds[0]);
	if (m.type != SV_MSG_LISTEN_END)
		return 94;
	if (strcmp(ff.opt->domain, "dies-early") == 0)
		return 6;
	if (strcmp(ff.opt->domain, "crashes-early") == 0)
		(void)raise(SIGKILL);
	ff_tell(SV_MSG_READY, 0);
	for (;;) {
		p[0] = (struct pollfd){ .fd = ff.listen, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = SV_FRONT_FD, .events = ff.drain_seen ? 0 : POLLIN };
		if (poll(p, 2, -1) < 0)
			return 95;
		if (p[0].revents != 0)
			ff_serve_one();
		if ((p[1].revents & POLLHUP) != 0)
			return 96;
		/* LOG and CONFIG are left for the command of the first shard that waits for them. */
		if ((p[1].revents & POLLIN) != 0 &&
		    recv(SV_FRONT_FD, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT) > 0) {
			if (m.type == SV_MSG_DRAIN)
				ff.drain_seen = true;
			else {
				(void)usleep(STEP_US);
				if (m.type == SV_MSG_ZYGOTE_DEAD || ff.shard > 0)
					ff_drop();
			}
		}
		if (ff.drain_seen && strcmp(ff.opt->domain, "hangs") != 0)
			return 0;
	}
}

/* ---- the test's side ---- */

struct server {
	char	dir[64];
	char	log[96], config[96], sock[96];
	pid_t	pid;
	int	code;			/* wait_end()'s */
};

static bool
root(void)
{
	return geteuid() == 0;
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void
copy_self(const char *to)
{
	char block[65536];
	int in = open("/proc/self/exe", O_RDONLY),
	    out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, block, sizeof(block))) > 0)
		assert_int_equal(write(out, block, (size_t)n), n);
	(void)close(in);
	assert_int_equal(close(out), 0);
}

static int
setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));
	char path[128];

	assert_non_null(s);
	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/tana-master-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	assert_int_equal(chmod(s->dir, 0755), 0);
	(void)snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
	(void)snprintf(s->config, sizeof(s->config), "%s/config", s->dir);
	(void)snprintf(s->sock, sizeof(s->sock), "%s/http.sock", s->dir);
	(void)snprintf(path, sizeof(path), "%s/contracts", s->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/program", s->dir);
	copy_self(path);
	write_file(s->config, "workers_max = 50\n");
	s->pid = -1;
	*state = s;
	return 0;
}

static int
teardown(void **state)
{
	struct server *s = *state;
	char command[128];

	if (s->pid > 0) {
		(void)kill(s->pid, SIGKILL);
		(void)waitpid(s->pid, NULL, 0);
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", s->dir);
	assert_int_equal(system(command), 0);
	free(s);
	return 0;
}

static void add(struct sv_config *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct sv_config *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (sv_config_add(c, text) != 0)
		_exit(83);
}

/* Start a master in a process of its own; `more` are further "name=value", NULL-terminated. */
static void
start(struct server *s, const char *const *more)
{
	struct sv_daemon daemon = SV_DAEMON_NONE;
	struct tn_options *o = NULL;
	struct tn_buf err = { 0 };
	struct sv_config c;

	(void)fflush(NULL);
	if ((s->pid = fork()) != 0) {
		assert_true(s->pid > 0);
		return;
	}
	sv_config_init(&c);
	if (sv_config_file(&c, s->config, &err) != 0)
		_exit(80);
	add(&c, "listen=unix:%s", s->sock);
	add(&c, "contracts=%s/contracts", s->dir);
	add(&c, "run_dir=%s/run", s->dir);
	add(&c, "state_dir=%s/state", s->dir);
	add(&c, "worker_program=%s/program", s->dir);
	add(&c, "compiler=%s/program", s->dir);
	add(&c, "log=%s", s->log);
	add(&c, "log_level=%s", "debug");
	add(&c, "sandbox=%s", "available");
	while (more != NULL && *more != NULL)
		add(&c, "%s", *more++);
	if (sv_config_load(&c, &o, &err) != 0) {
		(void)fprintf(stderr, "%.*s\n", (int)err.len, err.p);
		_exit(81);
	}
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(82);
	_exit(sv_master_run(&c, &o, &daemon));
}

/* Say a command to the front; NULL-terminated answer (free it), or NULL when it went away. */
static char *
try_ask(struct server *s, const char *cmd)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char *text = NULL;
	size_t len = 0;
	ssize_t n;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", s->sock);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0 ||
	    send(fd, cmd, strlen(cmd), MSG_NOSIGNAL) < 0) {
		(void)close(fd);
		return NULL;
	}
	text = calloc(1, 65536);
	assert_non_null(text);
	while ((n = recv(fd, text + len, 65535 - len, 0)) > 0)
		len += (size_t)n;
	(void)close(fd);
	if (len < 3 || strcmp(text + len - 3, "end") != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static char *
ask(struct server *s, const char *cmd)
{
	char *text;
	int i;

	for (i = 0; i < PATIENCE_MS * 1000 / STEP_US; i++) {
		if ((text = try_ask(s, cmd)) != NULL)
			return text;
		(void)usleep(STEP_US);
	}
	fail_msg("no answer to '%s'", cmd);
	return NULL;
}

/* The same of one shard's front: who accepts is by chance. */
static char *
ask_at(struct server *s, unsigned shard, const char *what)
{
	char cmd[256], *text;
	int i;

	(void)snprintf(cmd, sizeof(cmd), "at %u %s", shard, what);
	for (i = 0; i < 1000; i++) {
		text = ask(s, cmd);
		if (strncmp(text, "elsewhere", 9) != 0)
			return text;
		free(text);
	}
	fail_msg("shard %u does not hear '%s'", shard, what);
	return NULL;
}

static bool
has(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool
has(const char *text, const char *fmt, ...)
{
	char want[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	if (strstr(text, want) != NULL)
		return true;
	print_error("no '%s' in: %s\n", want, text);
	return false;
}

static long
number(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	assert_non_null(p);
	return strtol(p + strlen(key), NULL, 10);
}

static int
wait_end(struct server *s)
{
	int status, i;

	for (i = 0; i < PATIENCE_MS * 1000 / STEP_US; i++) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			s->pid = -1;
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
		}
		(void)usleep(STEP_US);
	}
	fail_msg("the master does not end");
	return -1;
}

static char *
read_log(const struct server *s)
{
	char *text = calloc(1, 262144);
	int fd = open(s->log, O_RDONLY);
	ssize_t n;

	assert_non_null(text);
	n = fd >= 0 ? read(fd, text, 262143) : 0;
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		(void)close(fd);
	return text;
}

static void
wait_log(const struct server *s, const char *what)
{
	char *text;
	bool found;
	int i;

	for (i = 0; i < PATIENCE_MS * 1000 / STEP_US; i++) {
		text = read_log(s);
		found = strstr(text, what) != NULL;
		free(text);
		if (found)
			return;
		(void)usleep(STEP_US);
	}
	fail_msg("the log does not say '%s'", what);
}

static void
wait_gone(pid_t pid)
{
	int i;

	for (i = 0; i < PATIENCE_MS * 1000 / STEP_US; i++) {
		if (kill(pid, 0) != 0 && errno == ESRCH)
			return;
		(void)usleep(STEP_US);
	}
	fail_msg("process %d lives on", (int)pid);
}

/* ---- tests ---- */

static void
test_front_has_no_privilege(void **state)
{
	struct server *s = *state;
	struct passwd *pw = getpwnam("www-data");
	struct rlimit rl;
	char *info;

	start(s, (const char *const[]){ "connections_max=200", "workers_max=60", NULL });
	info = ask(s, "info");
	if (root()) {
		assert_non_null(pw);
		assert_true(
		    has(info, "Uid:,%u,%u,%u,%u ", pw->pw_uid, pw->pw_uid, pw->pw_uid, pw->pw_uid));
		assert_true(
		    has(info, "Gid:,%u,%u,%u,%u ", pw->pw_gid, pw->pw_gid, pw->pw_gid, pw->pw_gid));
	}
	assert_true(has(info, "CapPrm:,0000000000000000 "));
	assert_true(has(info, "CapEff:,0000000000000000 "));
	assert_true(has(info, "CapInh:,0000000000000000 "));
	assert_true(has(info, "CapAmb:,0000000000000000 "));
	assert_true(has(info, "NoNewPrivs:,1 "));
	assert_true(has(info, "pdeathsig=9 "));
	assert_true(has(info, "sid=own "));
	assert_true(has(info, "ppid=%d ", (int)s->pid));
	/* 0-3 from the start; 4 to 6 came as messages (listening, control), 7 is our connection. */
	assert_true(has(info, "fd0 fd1 fd2 fd3 "));
	assert_null(strstr(info, "fd9 "));
	/* 200 connections, 256 clients, 6 for each of 60 workers, 1024 to spare; or what an ordinary user may. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	assert_true(has(info, "nofile=%d ", !root() && rl.rlim_max < 1840 ? (int)rl.rlim_max : 1840));
	free(info);
}

static void
test_run_dir(void **state)
{
	struct server *s = *state;
	char path[128], text[32] = "";
	struct stat st;
	FILE *f;

	start(s, NULL);
	free(ask(s, "info"));
	(void)snprintf(path, sizeof(path), "%s/run/control.sock", s->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	(void)snprintf(path, sizeof(path), "%s/run/tana.sock", s->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0660);
	(void)snprintf(path, sizeof(path), "%s/run/tana-edge.pid", s->dir);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	(void)fclose(f);
	assert_int_equal(atol(text), s->pid);

	assert_int_equal(kill(s->pid, SIGTERM), 0);
	assert_int_equal(wait_end(s), 0);
	assert_int_equal(stat(path, &st), -1);
	(void)snprintf(path, sizeof(path), "%s/run/control.sock", s->dir);
	assert_int_equal(stat(path, &st), -1);
	(void)snprintf(path, sizeof(path), "%s/run/tana.sock", s->dir);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(stat(s->sock, &st), -1);
}

static void
test_second_start(void **state)
{
	struct server *s = *state, other = *s;
	char want[64], *info;

	start(s, NULL);
	info = ask(s, "info");
	(void)snprintf(other.sock, sizeof(other.sock), "%s/other.sock", s->dir);
	(void)snprintf(other.log, sizeof(other.log), "%s/other.log", s->dir);
	start(&other, NULL);
	assert_int_equal(wait_end(&other), TN_EXIT_RUNNING);
	(void)snprintf(want, sizeof(want), "another server (pid %d)", (int)s->pid);
	wait_log(&other, want);
	/* The first one is as it was. */
	free(info);
	info = ask(s, "info");
	assert_true(has(info, "ppid=%d ", (int)s->pid));
	free(info);
}

static void
test_start_after_kill(void **state)
{
	struct server *s = *state;
	char *info = NULL;
	pid_t front;

	start(s, NULL);
	info = ask(s, "info");
	front = (pid_t)number(info, "pid=");
	free(info);
	assert_int_equal(kill(s->pid, SIGKILL), 0);
	assert_int_equal(wait_end(s), -SIGKILL);
	/* Its front dies with it, and what it left lying about is no obstacle. */
	wait_gone(front);
	start(s, NULL);
	info = ask(s, "info");
	assert_true(has(info, "ppid=%d ", (int)s->pid));
	free(info);
}

static void
test_front_crash(void **state)
{
	struct server *s = *state;
	char *before, *after, *zygote;
	pid_t zygote_pid;

	start(s, NULL);
	before = ask(s, "info");
	zygote = ask(s, "zygote 1");
	zygote_pid = (pid_t)number(zygote, "host_pid=");
	assert_null(try_ask(s, "crash"));
	after = ask(s, "info");
	assert_int_not_equal(number(before, "pid="), number(after, "pid="));
	assert_true(has(after, "ppid=%d ", (int)s->pid));
	wait_gone(zygote_pid);
	wait_log(s, "the front ended: killed by signal 9");
	wait_log(s, "serving again");
	/* An exit of its own that nobody asked for is a crash too. */
	assert_null(try_ask(s, "exit 0"));
	free(ask(s, "info"));
	free(before);
	free(after);
	free(zygote);
	assert_int_equal(kill(s->pid, SIGTERM), 0);
	assert_int_equal(wait_end(s), 0);
}

static void
test_front_never_ready(void **state)
{
	struct server *s = *state;

	start(s, (const char *const[]){ "domain=dies-early", NULL });
	assert_int_equal(wait_end(s), TN_EXIT_SANDBOX);
	wait_log(s, "the front ended while it started: exit status 6");
	start(s, (const char *const[]){ "domain=crashes-early", NULL });
	assert_int_equal(wait_end(s), TN_EXIT_FAILURE);
}

static void
test_zygote(void **state)
{
	static const char *const all[] = { "net", "pid", "mnt", "ipc", "uts" };
	struct server *s = *state;
	struct passwd *pw = getpwnam("nobody");
	char *z, path[64], ns[64];
	struct sv_system sys;
	struct sv_plan plan;
	struct tn_buf err = { 0 };
	ssize_t n;
	size_t i;
	pid_t pid;

	start(s, (const char *const[]){ "memory_max=32m", "isolation=process", NULL });
	z = ask(s, "zygote 7");
	assert_true(has(z, "arg=7 status=0 fds=2 "));
	assert_true(has(
	    z, "magic=ok generation=7 memory=33554432 body=1048576 reply=8388608 isolation=1 "));
	assert_true(has(z, "fd0 fd1 fd2 fd3 "));
	assert_null(strstr(z, "fd4 "));
	if (root())
		assert_true(has(z, " uid=%u gid=%u ", pw->pw_uid, pw->pw_gid));
	else
		assert_true(has(z, " uid=4294967295 gid=4294967295 "));
	sv_system_look(&sys);
	assert_int_equal(sv_plan_make(&plan, SV_SANDBOX_AVAILABLE, &sys, &err), 0);
	assert_true(has(z, "present=%x required=%x ", plan.present, plan.required));
	if ((plan.present & TN_LAYER_PIDNS) != 0) {
		assert_true(has(z, " pid=1 "));
		for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
			(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", all[i]);
			n = readlink(path, ns, sizeof(ns) - 1);
			ns[n > 0 ? n : 0] = '\0';
			assert_null(strstr(z, ns));
		}
	}
	pid = (pid_t)number(z, "host_pid=");
	free(z);
	z = ask(s, "kill-zygote 7");
	assert_true(has(z, "arg=7 status=9 "));
	wait_gone(pid);
	free(z);
}

static void
test_zygote_gossip(void **state)
{
	struct server *s = *state;
	char *log, *p;
	size_t floods = 0;

	start(s, NULL);
	free(ask(s, "zygote 1"));
	free(ask(s, "kill-zygote 1"));
	wait_log(s, "a child says");
	log = read_log(s);
	/* A line is one record, its bytes are no terminal's commands. */
	assert_non_null(strstr(log, "child=\"zygote 1\""));
	assert_non_null(strstr(log, "words"));
	assert_null(strchr(log, '\033'));
	/* The flood is not. */
	for (p = log; (p = strstr(p, "flood ")) != NULL; p++)
		floods++;
	assert_in_range(floods, 1, 499);
	free(log);
}

static void
test_zygote_limits(void **state)
{
	struct server *s = *state;
	char *z, cmd[32];
	int i, refused = 0;

	start(s, NULL);
	/* More at a time than a server needs. */
	for (i = 1; i <= 4; i++) {
		(void)snprintf(cmd, sizeof(cmd), "zygote %d", i);
		z = ask(s, cmd);
		assert_true(has(z, "status=0 "));
		free(z);
	}
	z = ask(s, "zygote 5");
	assert_true(has(z, "arg=5 status=%d fds=0 ", EAGAIN));
	free(z);
	free(ask(s, "kill-zygote 4"));
	/* And more often. */
	for (i = 10; i < 2000 && refused == 0; i++) {
		(void)snprintf(cmd, sizeof(cmd), "zygote %d", i);
		z = ask(s, cmd);
		refused += strstr(z, "status=0 ") == NULL;
		if (strstr(z, "status=0 ") != NULL) {
			(void)snprintf(cmd, sizeof(cmd), "kill-zygote %d", i);
			free(ask(s, cmd));
		}
		free(z);
	}
	assert_int_equal(refused, 1);
}

static void
test_zygote_cannot_start(void **state)
{
	struct server *s = *state;
	char path[128], *z;

	start(s, NULL);
	free(ask(s, "info"));
	(void)snprintf(path, sizeof(path), "%s/program", s->dir);
	assert_int_equal(unlink(path), 0);
	z = ask(s, "zygote 1");
	assert_true(has(z, "arg=1 status=%d fds=0 ", ENOENT));
	free(z);
	wait_log(s, "zygote: cannot run the program");
}

static void
test_compiler(void **state)
{
	struct server *s = *state;
	struct passwd *pw = getpwnam("nobody");
	char *c, ns[64];
	struct sv_system sys;
	struct sv_plan plan;
	struct tn_buf err = { 0 };
	ssize_t n;

	start(s, NULL);
	c = ask(s, "compiler");
	assert_true(has(c, "status=0 "));
	assert_true(has(c, "args=--contracts,%s/contracts ", s->dir));
	if (root()) {
		assert_true(
		    has(c, "Uid:,%u,%u,%u,%u ", pw->pw_uid, pw->pw_uid, pw->pw_uid, pw->pw_uid));
		assert_true(has(c, "Groups:,, "));
	}
	assert_true(has(c, "CapPrm:,0000000000000000 "));
	assert_true(has(c, "CapEff:,0000000000000000 "));
	assert_true(has(c, "NoNewPrivs:,1 "));
	assert_true(has(c, "fsize=67108864 "));
	assert_true(has(c, "pdeathsig=9 "));
	assert_true(has(c, "home_write=yes "));
	assert_true(has(c, "fd0 fd1 fd2 fd3 "));
	assert_null(strstr(c, "fd4 "));
	sv_system_look(&sys);
	assert_int_equal(sv_plan_make(&plan, SV_SANDBOX_AVAILABLE, &sys, &err), 0);
	if ((plan.present & TN_LAYER_NETNS) != 0) {
		n = readlink("/proc/self/ns/net", ns, sizeof(ns) - 1);
		ns[n > 0 ? n : 0] = '\0';
		assert_null(strstr(c, ns));
	}
	if ((plan.present & TN_LAYER_MOUNTNS) != 0) {
		assert_true(has(c, "home=/.tmp "));
		assert_true(has(c, "passwd=-1 etc=-1 root=-1 contracts=0 write=readonly "));
	}
	free(c);
	/* At most one lives: the next one takes its place. */
	c = ask(s, "compiler");
	assert_true(has(c, "status=0 "));
	free(c);
	c = ask(s, "kill-compiler");
	free(c);
	c = ask(s, "compiler-gone");
	assert_true(has(c, "read=0 "));
	free(c);
	/* Killed and wanted again at once, as the front does after a timeout. */
	c = ask(s, "compiler");
	assert_true(has(c, "status=0 "));
	free(c);
	tn_buf_fini(&err);
}

static void
test_compiler_out_of_reach(void **state)
{
	struct server *s = *state;
	char path[128], *c;

	if (!root())
		skip();
	start(s, NULL);
	free(ask(s, "info"));
	(void)snprintf(path, sizeof(path), "%s/contracts", s->dir);
	assert_int_equal(chmod(path, 0700), 0);
	c = ask(s, "compiler");
	assert_true(has(c, "status=%d ", EACCES));
	free(c);
	wait_log(s, "user nobody may not read");
	/* What is above it does not matter: the helper has directories of its own there. */
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(chmod(s->dir, 0700), 0);
	c = ask(s, "compiler");
	assert_true(has(c, "status=0 "));
	assert_true(has(c, "contracts=0 "));
	free(c);
	/* Nor does the front start with contracts that it cannot read. */
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(kill(s->pid, SIGTERM), 0);
	assert_int_equal(wait_end(s), 0);
	start(s, NULL);
	assert_int_equal(wait_end(s), TN_EXIT_FAILURE);
	wait_log(s, "contracts: user www-data may not read");
}

static pid_t
pid_at(struct server *s, unsigned shard)
{
	char *info = ask_at(s, shard, "info");
	pid_t pid = (pid_t)number(info, "pid=");

	free(info);
	return pid;
}

/* Each has its own; what is the server's is for the first one to ask for. */
static void
test_shards(void **state)
{
	struct server *s = *state;
	pid_t pid[3], zygote[2];
	unsigned i;
	char *r;

	start(s, (const char *const[]){ "shards=3", NULL });
	wait_log(s, "serving, pid");
	for (i = 0; i < 3; i++)
		pid[i] = pid_at(s, i);
	assert_true(pid[0] != pid[1] && pid[1] != pid[2] && pid[0] != pid[2]);
	/* The same generation is another zygote. */
	for (i = 0; i < 2; i++) {
		r = ask_at(s, i, "zygote 1");
		assert_true(has(r, "arg=1 status=0 fds=2 "));
		zygote[i] = (pid_t)number(r, "host_pid=");
		free(r);
	}
	assert_true(zygote[0] != zygote[1]);
	wait_log(s, "shard 1 zygote 1 started");
	/* The first one's is not its to ask for. */
	for (i = 0; i < 1000; i++)
		if ((r = try_ask(s, "at 1 reload")) == NULL)
			break;
		else
			free(r);
	assert_true(i < 1000);
	wait_log(s, "front 1 asks for what it must not (what is the first shard's to ask for)");
	wait_gone(zygote[1]);
	wait_log(s, "shard 1 serving again");
	assert_true(pid_at(s, 1) != pid[1]);
	assert_int_equal(pid_at(s, 0), pid[0]);
	assert_int_equal(pid_at(s, 2), pid[2]);
	assert_int_equal(kill(zygote[0], 0), 0);
	/* Nobody but the first one says that it has the configuration; it gets it all the same. */
	write_file(s->config, "workers_max = 70\n");
	r = ask_at(s, 0, "reload");
	assert_true(has(r, "status=0 fds=1 workers_max=70 "));
	free(r);
	wait_log(s, "shard 1 has not taken over the configuration yet");
	wait_log(s, "shard 2 has not taken over the configuration yet");
	r = ask_at(s, 0, "drain");
	free(r);
	assert_int_equal(wait_end(s), 0);
}

static void
test_reload(void **state)
{
	struct server *s = *state;
	char *r;

	start(s, NULL);
	r = ask(s, "info");
	assert_true(has(r, "workers_max=50 "));
	free(r);
	write_file(s->config, "workers_max = 70\nmemory_max = 128m\n");
	r = ask(s, "reload");
	/* The one may change, the other needs a restart. */
	assert_true(has(r, "status=0 fds=2 memory_max workers_max=70 memory_max=67108864 "));
	free(r);
	wait_log(s, "only after a restart: memory_max");
	write_file(s->config, "workers_max = 70\nworkers_min = nonsense\n");
	r = ask(s, "reload");
	assert_true(has(r, "status=%d fds=1 ", EINVAL));
	assert_non_null(strstr(r, "config:2:"));
	free(r);
	wait_log(s, "config:2:");
	/* A front that starts later has what was last right. */
	assert_null(try_ask(s, "crash"));
	r = ask(s, "info");
	assert_true(has(r, "workers_max=70 "));
	free(r);
	write_file(s->config, "workers_max = 80\n");
	assert_int_equal(kill(s->pid, SIGHUP), 0);
	wait_log(s, "configuration read again");
}

static void
test_log_reopened(void **state)
{
	struct server *s = *state;
	char path[128], *r;
	struct stat st;
	int i;

	start(s, NULL);
	free(ask(s, "info"));
	(void)snprintf(path, sizeof(path), "%s/log.1", s->dir);
	assert_int_equal(rename(s->log, path), 0);
	assert_int_equal(kill(s->pid, SIGUSR1), 0);
	for (i = 0; i < PATIENCE_MS * 1000 / STEP_US && stat(s->log, &st) != 0; i++)
		(void)usleep(STEP_US);
	r = ask(s, "wait-log");
	assert_true(has(r, "fds=1 same=1 "));
	free(r);
	wait_log(s, "log opened again");
}

static void
test_drain(void **state)
{
	struct server *s = *state;
	char *r;

	start(s, NULL);
	r = ask(s, "drain");
	free(r);
	assert_int_equal(wait_end(s), 0);
	wait_log(s, "asked to end by tana-ctl");
}

static void
test_second_term(void **state)
{
	struct server *s = *state;
	pid_t front;
	char *info;

	start(s, (const char *const[]){ "domain=hangs", NULL });
	info = ask(s, "info");
	front = (pid_t)number(info, "pid=");
	free(info);
	assert_int_equal(kill(s->pid, SIGTERM), 0);
	wait_log(s, "asked to end by a signal");
	/* Nobody gets in any more while it drains. */
	assert_null(try_ask(s, "info"));
	(void)usleep(700000);	/* one that follows on the heels of the first is the same one */
	assert_int_equal(kill(s->pid, SIGTERM), 0);
	assert_int_equal(wait_end(s), TN_EXIT_FAILURE);
	wait_gone(front);
}

static void
test_front_must_not(void **state)
{
	static const char *const bad[] = { "bad-type", "own-type", "short", "ready-again" };
	struct server *s = *state;
	char *before, *after;
	size_t i;

	start(s, NULL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		before = ask(s, "info");
		free(try_ask(s, bad[i]));
		wait_gone((pid_t)number(before, "pid="));
		after = ask(s, "info");
		assert_int_not_equal(number(before, "pid="), number(after, "pid="));
		free(before);
		free(after);
	}
}

static void
test_bad_start(void **state)
{
	static const struct {
		const char	*option;
		int		 code;
		const char	*log;
	} cases[] = {
		{ "contracts=/nonexistent/c", TN_EXIT_FAILURE,
		    "contracts: cannot open /nonexistent/c" },
		{ "run_dir=/nonexistent/run", TN_EXIT_FAILURE,
		    "run_dir: cannot make /nonexistent/run" },
		{ "run_dir=/dev/null", TN_EXIT_FAILURE, "run_dir: /dev/null is not a directory" },
		{ "run_dir=/tmp", TN_EXIT_FAILURE, "run_dir: everybody can write to /tmp" },
		{ "state_dir=/nonexistent/s", TN_EXIT_FAILURE,
		    "state_dir: cannot make /nonexistent/s" },
		{ "listen=unix:/nonexistent/x", TN_EXIT_FAILURE,
		    "cannot listen on unix:/nonexistent/x" },
		{ "listen=192.0.2.1:0", TN_EXIT_FAILURE, "this machine has no such address" },
		{ "worker_program=/nonexistent", TN_EXIT_FAILURE,
		    "worker_program: /nonexistent: No such file" },
		{ "worker_program=/etc/passwd", TN_EXIT_FAILURE,
		    "worker_program: /etc/passwd: not a program" },
	};
	static const struct {
		const char	*option;
		const char	*log;
	} users[] = {
		{ "user=no-such-user", "user: there is no user 'no-such-user'" },
		{ "user=root", "user: 'root' is root" },
		{ "worker_user=0", "worker_user: '0' is root" },
		{ "worker_user=33", "user and worker_user are both 'www-data'" },
	};
	struct server *s = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start(s, (const char *const[]){ cases[i].option, NULL });
		assert_int_equal(wait_end(s), cases[i].code);
		wait_log(s, cases[i].log);
	}
	for (i = 0; root() && i < sizeof(users) / sizeof(users[0]); i++) {
		start(s, (const char *const[]){ users[i].option, NULL });
		assert_int_equal(wait_end(s), TN_EXIT_CONFIG);
		wait_log(s, users[i].log);
	}
}

int
main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_front_has_no_privilege),
		T(test_run_dir),
		T(test_second_start),
		T(test_start_after_kill),
		T(test_front_crash),
		T(test_front_never_ready),
		T(test_zygote),
		T(test_zygote_gossip),
		T(test_zygote_limits),
		T(test_zygote_cannot_start),
		T(test_compiler),
		T(test_compiler_out_of_reach),
		T(test_shards),
		T(test_reload),
		T(test_log_reopened),
		T(test_drain),
		T(test_second_term),
		T(test_front_must_not),
		T(test_bad_start),
	};

	if (argc > 1 && strcmp(argv[1], SV_FRONT_ARG) == 0)
		return front_main();
	if (argc > 1 && strcmp(argv[1], "--zygote") == 0)
		return zygote_main();
	if (argc > 1 && strcmp(argv[1], "compile-server") == 0)
		return compiler_main(argc, argv);
	return cmocka_run_group_tests_name("master", tests, NULL, NULL);
}
