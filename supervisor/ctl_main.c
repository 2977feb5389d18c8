/*
 * tana-ctl: talk to a running tana-edge over its control socket.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "ctl_show.h"
#include "ctl_top.h"
#include "tn_err.h"
#include "tn_options.h"
#include "tn_rpc.h"

/* What answers from memory answers at once, or hangs.  Other calls may take their time. */
#define QUICK_MS	15000
#define GONE_POLL_MS	100

struct ctl {
	const char	*socket;
	struct tn_rpc_client *client;
};

typedef int command_fn(struct ctl *ctl, const char *name, int argc, char **argv);

#define TN_COMMAND(sym, name, args, doc) static command_fn do_##sym;
#define TN_COMMAND_OWN(sym, name, args, doc) TN_COMMAND(sym, name, args, doc)
#include "commands.def"

static const struct command {
	const char	*name, *args, *doc;
	command_fn	*run;
} commands[] = {
#define TN_COMMAND(sym, name, args, doc) { name, args, doc, do_##sym },
#define TN_COMMAND_OWN(sym, name, args, doc) TN_COMMAND(sym, name, args, doc)
#include "commands.def"
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- saying what is wrong ---- */

static int __attribute__((format(printf, 1, 2)))
usage(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("tana-ctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputs("; see tana-ctl --help\n", stderr);
	return TN_EXIT_USAGE;
}

static int
no_arguments(const char *name, int argc, char **argv)
{
	return argc == 0 ? 0 : usage("%s: unexpected argument: %s", name, argv[0]);
}

static void
complain(const char *before, const struct tn_buf *text)
{
	(void)fprintf(stderr, "tana-ctl: %s%.*s\n", before, text->p != NULL ? (int)text->len : 0,
	    text->p != NULL ? text->p : "");
}

/* ---- calls ---- */

static int
connected(struct ctl *ctl)
{
	struct tn_buf err = { 0 };
	int rc = 0;

	if (ctl->client == NULL && (rc = tn_rpc_connect(&ctl->client, ctl->socket, &err)) != 0)
		complain(
		    rc == TN_EDENIED ? "no access to the server: " : "no server there: ", &err);
	tn_buf_fini(&err);
	return rc == 0 ? TN_EXIT_OK : TN_EXIT_UNREACHABLE;
}

static int
call(struct ctl *ctl, const char *method, struct tn_str params, int timeout_ms,
    const msgpack_object **result)
{
	struct tn_buf err = { 0 };
	int rc, code;

	if ((code = connected(ctl)) == TN_EXIT_OK && (rc = tn_rpc_call_packed(
			ctl->client, method, params, timeout_ms, result, &err)) != 0) {
		if (rc == TN_ECLOSED || rc == TN_ETIMEOUT) {
			complain(rc == TN_ECLOSED ? "the server ended before it answered: " :
			    "the server does not answer: ", &err);
			code = TN_EXIT_UNREACHABLE;
		} else {
			complain("", &err);
			code = TN_EXIT_FAILURE;
		}
	}
	tn_buf_fini(&err);
	return code;
}

#define NO_PARAMS	TN_STR("\x90")		/* an empty array, packed */

static int
flushed(int rc, const char *name)
{
	if (rc != 0) {
		(void)fflush(stdout);
		(void)fprintf(stderr, "tana-ctl: %s: the server's answer makes no sense: %s\n",
		    name, tn_strerror(rc));
		return TN_EXIT_FAILURE;
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("tana-ctl: standard output");
		return TN_EXIT_FAILURE;
	}
	return TN_EXIT_OK;
}

/* A command that shows something: a table, or with --json all of it. */
static int
show(struct ctl *ctl, const char *name, int argc, char **argv,
    int (*table)(FILE *out, const msgpack_object *o))
{
	const msgpack_object *result;
	bool json = false;
	int i, code;

	for (i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") != 0)
			return usage("%s: unexpected argument: %s", name, argv[i]);
		json = true;
	}
	if ((code = call(ctl, name, NO_PARAMS, QUICK_MS, &result)) != 0)
		return code;
	return flushed(json ? ctl_show_json(stdout, result) : table(stdout, result), name);
}

static int
do_status(struct ctl *ctl, const char *name, int argc, char **argv)
{
	return show(ctl, name, argc, argv, ctl_show_status);
}

static int
do_stats(struct ctl *ctl, const char *name, int argc, char **argv)
{
	return show(ctl, name, argc, argv, ctl_show_stats);
}

static int
do_workers(struct ctl *ctl, const char *name, int argc, char **argv)
{
	return show(ctl, name, argc, argv, ctl_show_workers);
}

static int
do_contracts(struct ctl *ctl, const char *name, int argc, char **argv)
{
	return show(ctl, name, argc, argv, ctl_show_contracts);
}

static int
do_storage(struct ctl *ctl, const char *name, int argc, char **argv)
{
	return show(ctl, name, argc, argv, ctl_show_storage);
}

static int
do_top(struct ctl *ctl, const char *name, int argc, char **argv)
{
	struct ctl_top_options o = { .interval = 1 };
	const char *seconds;
	char *end;
	int i, code;

	for (i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--once") == 0) {
			o.once = true;
			continue;
		}
		if (strncmp(argv[i], "--interval=", 11) == 0)
			seconds = argv[i] + 11;
		else if (strcmp(argv[i], "--interval") == 0 && i + 1 < argc)
			seconds = argv[++i];
		else
			return usage("%s: unexpected argument: %s", name, argv[i]);
		o.interval = strtod(seconds, &end);
		if (end == seconds || *end != '\0' || !(o.interval >= 0.1 && o.interval <= 3600))
			return usage("%s: not 0.1 to 3600 seconds: %s", name, seconds);
	}
	if ((code = connected(ctl)) != TN_EXIT_OK)
		return code;
	return ctl_top(ctl->client, &o);
}

static int
do_ping(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	int code;

	if ((code = no_arguments(name, argc, argv)) != 0 ||
	    (code = call(ctl, name, NO_PARAMS, QUICK_MS, &result)) != 0)
		return code;
	if (result->type != MSGPACK_OBJECT_STR ||
	    !tn_str_is((struct tn_str){ result->via.str.ptr, result->via.str.size }, "pong"))
		return flushed(TN_EPROTO, name);
	(void)puts("pong");
	return flushed(0, name);
}

/* An answer { key: N }: say it. */
static int
say_count(const msgpack_object *result, const char *name, const char *key, const char *one,
    const char *many)
{
	int64_t n = ctl_number(result, key);

	if (n < 0)
		return flushed(TN_EPROTO, name);
	(void)printf("%" PRId64 " %s\n", n, n == 1 ? one : many);
	return flushed(0, name);
}

/* PID, --contract ID or --all (which nothing means, too). */
static int
do_recycle(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	struct tn_buf params = { 0 };
	msgpack_packer pk;
	long pid;
	char *end;
	int code;

	tn_rpc_packer(&pk, &params);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_map(&pk, 1);
	if (argc == 0 || (argc == 1 && strcmp(argv[0], "--all") == 0)) {
		tn_rpc_pack_key(&pk, "all");
		msgpack_pack_true(&pk);
	} else if ((argc == 2 && strcmp(argv[0], "--contract") == 0 && argv[1][0] != '\0') ||
	    (argc == 1 && strncmp(argv[0], "--contract=", 11) == 0 && argv[0][11] != '\0')) {
		tn_rpc_pack_key(&pk, "contract");
		tn_rpc_pack_key(&pk, argc == 2 ? argv[1] : argv[0] + 11);
	} else if (argc == 1 && argv[0][0] != '-') {
		errno = 0;
		pid = strtol(argv[0], &end, 10);
		if (errno != 0 || *end != '\0' || pid <= 0 || pid > INT32_MAX) {
			tn_buf_fini(&params);
			return usage("recycle: not a pid: %s", argv[0]);
		}
		tn_rpc_pack_key(&pk, "pid");
		msgpack_pack_int64(&pk, pid);
	} else {
		tn_buf_fini(&params);
		return usage("recycle takes a PID, --contract ID or --all");
	}
	code = params.failed ? TN_EXIT_FAILURE :
	    call(ctl, name, (struct tn_str){ params.p, params.len }, 0, &result);
	tn_buf_fini(&params);
	return code != 0 ?
	    code :
	    say_count(result, name, "recycled", "worker replaced", "workers replaced");
}

static int
do_reload(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result, *restart;
	struct tn_buf params = { 0 };
	msgpack_packer pk;
	int code;

	if (argc > 1 || (argc == 1 && argv[0][0] == '-'))
		return usage("reload: unexpected argument: %s", argv[argc - 1]);
	tn_rpc_packer(&pk, &params);
	msgpack_pack_array(&pk, (size_t)argc);
	if (argc == 1)
		tn_rpc_pack_key(&pk, argv[0]);
	code = params.failed ? TN_EXIT_FAILURE :
	    call(ctl, name, (struct tn_str){ params.p, params.len }, 0, &result);
	tn_buf_fini(&params);
	if (code != 0)
		return code;
	if ((restart = ctl_get(result, "restart")) != NULL && restart->type == MSGPACK_OBJECT_STR &&
	    restart->via.str.size > 0)
		(void)fprintf(stderr,
		    "tana-ctl: changed, but in force only after an upgrade or a restart: %.*s\n",
		    (int)restart->via.str.size, restart->via.str.ptr);
	return say_count(result, name, "contracts", "contract", "contracts");
}

/* One notification: print the record, or how many there is no record of. */
static int
print_record(const char *name, struct tn_str method, const msgpack_object *params)
{
	const msgpack_object *o = params->via.array.ptr;

	if (params->via.array.size == 1 && tn_str_is(method, "log") &&
	    o->type == MSGPACK_OBJECT_STR) {
		(void)printf("%.*s\n", (int)o->via.str.size, o->via.str.ptr);
		return flushed(0, name);
	}
	if (params->via.array.size == 1 && tn_str_is(method, "lost") &&
	    o->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
		(void)fprintf(stderr, "tana-ctl: %" PRIu64 " records were not read in time\n",
		    o->via.u64);
		return TN_EXIT_OK;
	}
	return flushed(TN_EPROTO, name);
}

static int
do_tail(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	const char *contract = NULL;
	struct tn_buf params = { 0 }, err = { 0 };
	struct tn_str method;
	msgpack_packer pk;
	bool json = false;
	int i, rc, code;

	for (i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (argv[i][0] == '-' || contract != NULL)
			return usage("%s: unexpected argument: %s", name, argv[i]);
		else
			contract = argv[i];
	}
	tn_rpc_packer(&pk, &params);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_map(&pk, contract != NULL ? 2 : 1);
	tn_rpc_pack_key(&pk, "json");
	if (json)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
	if (contract != NULL) {
		tn_rpc_pack_key(&pk, "contract");
		tn_rpc_pack_key(&pk, contract);
	}
	code = params.failed ? TN_EXIT_FAILURE :
	    call(ctl, name, (struct tn_str){ params.p, params.len }, QUICK_MS, &result);
	tn_buf_fini(&params);
	while (code == TN_EXIT_OK) {
		rc = tn_rpc_notification(ctl->client, 0, &method, &result, &err);
		if (rc == TN_ECLOSED) {
			(void)fputs("tana-ctl: the server has ended\n", stderr);
			break;
		}
		if (rc != TN_OK) {
			complain("tail: ", &err);
			code = TN_EXIT_FAILURE;
		} else
			code = print_record(name, method, result);
	}
	tn_buf_fini(&err);
	return code;
}

static int
do_reset(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	struct tn_buf params = { 0 };
	msgpack_packer pk;
	int code;

	if (argc != 1 || argv[0][0] == '-')
		return usage("reset takes a contract's identifier");
	tn_rpc_packer(&pk, &params);
	msgpack_pack_array(&pk, 1);
	tn_rpc_pack_key(&pk, argv[0]);
	code = params.failed ? TN_EXIT_FAILURE :
	    call(ctl, name, (struct tn_str){ params.p, params.len }, QUICK_MS, &result);
	tn_buf_fini(&params);
	if (code != 0)
		return code;
	(void)printf("%s is run again\n", argv[0]);
	return flushed(0, name);
}

static int
do_rotate(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	int64_t generation;
	int code;

	if ((code = no_arguments(name, argc, argv)) != 0 ||
	    (code = call(ctl, name, NO_PARAMS, 0, &result)) != 0)
		return code;
	if ((generation = ctl_number(result, "generation")) < 0)
		return flushed(TN_EPROTO, name);
	(void)printf("generation %" PRId64 " serves\n", generation);
	return flushed(0, name);
}

static int
do_upgrade(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	int64_t before, pid;
	int code;

	if ((code = no_arguments(name, argc, argv)) != 0 ||
	    (code = call(ctl, "status", NO_PARAMS, QUICK_MS, &result)) != 0)
		return code;
	before = ctl_number(result, "pid");
	if ((code = call(ctl, name, NO_PARAMS, 0, &result)) != 0)
		return code;
	if ((pid = ctl_number(result, "pid")) < 0)
		return flushed(TN_EPROTO, name);
	(void)printf("pid %" PRId64 " serves now; pid %" PRId64
	    " finishes what it has, and ends\n", pid, before);
	return flushed(0, name);
}

static int
do_drain(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	int code;

	if ((code = no_arguments(name, argc, argv)) != 0 ||
	    (code = call(ctl, name, NO_PARAMS, QUICK_MS, &result)) != 0)
		return code;
	(void)puts("draining: the server ends when all requests are finished");
	return flushed(0, name);
}

/* Wait until the process has ended, or, with no pidfd, until the socket is gone. */
static void
wait_for_end(struct ctl *ctl, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	struct tn_buf err = { 0 };
	int rc;

	if (pidfd >= 0) {
		while (poll(&p, 1, -1) < 0 && errno == EINTR)
			;
		return;
	}
	for (;;) {
		tn_rpc_client_free(&ctl->client);
		rc = tn_rpc_connect(&ctl->client, ctl->socket, &err);
		tn_buf_reset(&err);
		if (rc == TN_ENOENT || rc == TN_ECLOSED)
			break;
		(void)poll(NULL, 0, GONE_POLL_MS);
	}
	tn_buf_fini(&err);
}

/* ---- backup ---- */

static const char *unfinished;		/* a file that must not stay as it is */

static void
on_interrupt(int sig)
{
	if (unfinished != NULL)
		(void)unlink(unfinished);
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return TN_ESYS;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* The copy that the server has made, `bytes` of it, part by part. */
static int
fetch_backup(struct ctl *ctl, const char *name, const char *file, int fd, uint64_t bytes)
{
	const msgpack_object *part;
	struct tn_buf params = { 0 };
	msgpack_packer pk;
	uint64_t at = 0;
	int code;

	while (at < bytes) {
		tn_buf_reset(&params);
		tn_rpc_packer(&pk, &params);
		msgpack_pack_array(&pk, 1);
		msgpack_pack_uint64(&pk, at);
		code = call(ctl, name, (struct tn_str){ params.p, params.len }, QUICK_MS, &part);
		if (code == 0 && (part->type != MSGPACK_OBJECT_BIN || part->via.bin.size == 0 ||
		    part->via.bin.size > bytes - at))
			code = flushed(TN_EPROTO, name);
		else if (code == 0 && write_all(fd, part->via.bin.ptr, part->via.bin.size) != 0) {
			(void)fprintf(stderr, "tana-ctl: %s: %s\n", file, strerror(errno));
			code = TN_EXIT_FAILURE;
		}
		if (code != 0)
			break;
		at += part->via.bin.size;
	}
	tn_buf_fini(&params);
	return at < bytes ? code : 0;
}

static int
do_backup(struct ctl *ctl, const char *name, int argc, char **argv)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	const msgpack_object *result;
	int64_t bytes;
	size_t i;
	int code, fd;

	if (argc != 1 || argv[0][0] == '-' || argv[0][0] == '\0')
		return usage("%s: a file is needed, and nothing else", name);
	fd = open(argv[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		(void)fprintf(stderr, "tana-ctl: %s: %s\n", argv[0], strerror(errno));
		return TN_EXIT_FAILURE;
	}
	unfinished = argv[0];
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		(void)signal(ends[i], on_interrupt);
	/* However long it takes: its length is the disk's affair. */
	code = call(ctl, name, NO_PARAMS, 0, &result);
	if (code == 0 && (bytes = ctl_number(result, "bytes")) <= 0)
		code = flushed(TN_EPROTO, name);
	else if (code == 0)
		code = fetch_backup(ctl, name, argv[0], fd, (uint64_t)bytes);
	if (code == 0 && fsync(fd) != 0) {
		(void)fprintf(stderr, "tana-ctl: %s: %s\n", argv[0], strerror(errno));
		code = TN_EXIT_FAILURE;
	}
	(void)close(fd);
	if (code != 0) {
		(void)unlink(argv[0]);
		return code;
	}
	unfinished = NULL;
	(void)printf("%" PRId64 " bytes\n", bytes);
	return flushed(0, name);
}

static int
do_stop(struct ctl *ctl, const char *name, int argc, char **argv)
{
	const msgpack_object *result;
	int64_t pid;
	int code, pidfd = -1;

	if ((code = no_arguments(name, argc, argv)) != 0 ||
	    (code = call(ctl, "status", NO_PARAMS, QUICK_MS, &result)) != 0)
		return code;
	/* Held before it can end: the number cannot become another process's. */
	pid = ctl_number(result, "pid");
	if (pid > 0 && pid <= INT32_MAX)
		pidfd = pidfd_open((pid_t)pid, 0);
	code = call(ctl, name, NO_PARAMS, QUICK_MS, &result);
	if (code == 0) {
		wait_for_end(ctl, pidfd);
		(void)puts("stopped");
		code = flushed(0, name);
	}
	if (pidfd >= 0)
		(void)close(pidfd);
	return code;
}

/* ---- main ---- */

static int
help(void)
{
	size_t i;

	(void)fputs(
	    "usage: tana-ctl [-s SOCKET | -c FILE] COMMAND [ARGUMENT]...\n"
	    "       tana-ctl --help | --version\n"
	    "\n"
	    "  -s, --socket SOCKET  the server's control socket\n"
	    "  -c, --config FILE    the server's configuration: its run_dir has the socket\n"
	    "                       (default: " TANA_SYSCONFDIR
	    "/tana-edge.conf, if there is one)\n"
	    "\n"
	    "Commands:\n",
	    stdout);
	for (i = 0; i < NCOMMANDS; i++)
		(void)printf("  %s%s%s\n      %s\n", commands[i].name,
		    commands[i].args[0] != '\0' ? " " : "", commands[i].args, commands[i].doc);
	(void)fputs(
	    "\n"
	    "Exit status: 0 done; 1 the server says no; 2 wrong arguments;\n"
	    "3 the configuration file is wrong; 5 no server answers.\n",
	    stdout);
	return flushed(0, "help");
}

/* RUN_DIR/control.sock of the configuration; the caller's. NULL: said why. */
static char *
default_socket(const char *file)
{
	static const char standard[] = TANA_SYSCONFDIR "/tana-edge.conf";
	struct tn_options *o = tn_options_new();
	struct tn_buf err = { 0 };
	char *path = NULL;

	if (file == NULL && access(standard, R_OK) == 0)
		file = standard;
	if (o == NULL)
		tn_buf_puts(&err, "out of memory");
	else if ((file == NULL || tn_options_read(o, file, &err) == 0) &&
	    asprintf(&path, "%s/control.sock", o->run_dir) < 0) {
		path = NULL;
		tn_buf_puts(&err, "out of memory");
	}
	if (path == NULL)
		complain("", &err);
	tn_options_free(&o);
	tn_buf_fini(&err);
	return path;
}

int
main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	struct ctl ctl = { NULL, NULL };
	const char *file = NULL;
	char *path = NULL;
	size_t i;
	int c, code;

	/* "+": the command's own arguments are not ours to read. */
	while ((c = getopt_long(argc, argv, "+s:c:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 's':
			ctl.socket = optarg;
			break;
		case 'c':
			file = optarg;
			break;
		case 'h':
			return help();
		case 'V':
			(void)puts("tana-ctl " PACKAGE_VERSION);
			return flushed(0, "version");
		default:
			return usage("wrong arguments");
		}
	}
	if (optind >= argc)
		return usage("a command is needed");
	for (i = 0; i < NCOMMANDS; i++)
		if (strcmp(argv[optind], commands[i].name) == 0)
			break;
	if (i == NCOMMANDS)
		return usage("unknown command: %s", argv[optind]);
	if (ctl.socket == NULL) {
		if ((path = default_socket(file)) == NULL)
			return TN_EXIT_CONFIG;
		ctl.socket = path;
	}
	code = commands[i].run(&ctl, commands[i].name, argc - optind - 1, argv + optind + 1);
	tn_rpc_client_free(&ctl.client);
	free(path);
	return code;
}
