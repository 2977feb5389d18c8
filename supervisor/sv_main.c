/*
 * tana-edge: the server.
 */
#include "config.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_config.h"
#include "sv_daemon.h"
#include "sv_front.h"
#include "sv_inherit.h"
#include "sv_master.h"
#include "sv_program.h"
#include "sv_proto.h"
#include "sv_restore.h"
#include "sv_upgrade.h"
#include "sv_user.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

enum { OPT_CHECK = 256, OPT_DUMP, OPT_RESTORE };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "option", required_argument, NULL, 'o' },
	{ "daemon", no_argument, NULL, 'd' },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "dump-options", no_argument, NULL, OPT_DUMP },
	{ "restore-storage", required_argument, NULL, OPT_RESTORE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

enum action { RUN, CHECK, DUMP, RESTORE };

/* All of it was written, or the answer is no. */
static int
flushed(enum tn_exit code)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("tana-edge: standard output");
		return TN_EXIT_FAILURE;
	}
	return code;
}

static void
put(const struct tn_buf *b, FILE *to)
{
	if (b->len > 0)
		(void)fwrite(b->p, 1, b->len, to);
}

static int
help(void)
{
	struct tn_buf text = { 0 };

	(void)fputs(
	    "usage: tana-edge [-d] [-c FILE] [-o NAME=VALUE]...\n"
	    "       tana-edge --check-config | --dump-options [-c FILE] [-o NAME=VALUE]...\n"
	    "       tana-edge --restore-storage FILE [-c FILE] [-o NAME=VALUE]...\n"
	    "       tana-edge --help | --version\n"
	    "\n"
	    "  -c, --config FILE        read this configuration file\n"
	    "                           (default: " TANA_SYSCONFDIR
	    "/tana-edge.conf, if there is one)\n"
	    "  -o, --option NAME=VALUE  set an option, over what the file says\n"
	    "  -d, --daemon             go to the background once the server serves;\n"
	    "                           a log of stderr then is syslog\n"
	    "      --check-config       only say whether the configuration is right\n"
	    "      --dump-options       print all options as a configuration file\n"
	    "      --restore-storage FILE\n"
	    "                           put FILE, which tana-ctl backup made, in the place of\n"
	    "                           contracts' data, while no server runs\n"
	    "\n"
	    "Signals: TERM and INT finish what is in progress and end (a second one: at once),\n"
	    "HUP reads configuration and contracts again, USR1 opens the log file again,\n"
	    "USR2 has the program on the disk take over.\n"
	    "\n"
	    "Options:\n",
	    stdout);
	tn_options_help(&text);
	put(&text, stdout);
	tn_buf_fini(&text);
	return flushed(TN_EXIT_OK);
}

/* What the worker says of itself: its Duktape, and where that comes from. */
static void
worker_version(const struct sv_config *cfg)
{
	struct tn_options *o = NULL;
	struct tn_buf err = { 0 };
	char *program, line[256];
	int p[2], null;
	FILE *f;
	pid_t pid;

	/* A configuration that is wrong is no reason not to say the version. */
	(void)sv_config_load(cfg, &o, &err);
	tn_buf_reset(&err);
	program = sv_program_find("worker_program", o != NULL ? o->worker_program : "",
	    "tana-worker", TANA_LIBEXECDIR, &err);
	tn_options_free(&o);
	(void)fflush(stdout);
	if (program == NULL || pipe(p) != 0)
		(void)printf("tana-worker: %.*s\n", err.p != NULL ? (int)err.len : 0,
		    err.p != NULL ? err.p : "");
	else if ((pid = fork()) == 0) {
		if ((null = open("/dev/null", O_RDONLY)) < 0 || dup2(null, STDIN_FILENO) < 0 ||
		    dup2(p[1], STDOUT_FILENO) < 0)
			_exit(127);
		(void)close(p[0]);
		(void)close(p[1]);
		(void)execl(program, "tana-worker", "--version", (char *)NULL);
		_exit(127);
	} else {
		(void)close(p[1]);
		f = fdopen(p[0], "r");
		if (f != NULL && fgets(line, sizeof(line), f) != NULL)
			(void)fputs(line, stdout);
		else
			(void)printf("tana-worker: %s does not say its version\n", program);
		if (f != NULL)
			(void)fclose(f);
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
	}
	free(program);
	tn_buf_fini(&err);
}

static int
version(const struct sv_config *cfg)
{
	(void)puts("tana-edge " PACKAGE_VERSION);
	worker_version(cfg);
	return flushed(TN_EXIT_OK);
}

/* The master runs this program again with descriptor SV_FRONT_FD. */
static int
front(int argc)
{
	struct stat st;
	int type;
	socklen_t len = sizeof(type);

	if (argc < 2 || argc > 3 || fstat(SV_FRONT_FD, &st) != 0 || !S_ISSOCK(st.st_mode) ||
	    getsockopt(SV_FRONT_FD, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
	    type != SOCK_SEQPACKET) {
		(void)fprintf(stderr, "tana-edge: " SV_FRONT_ARG " is for tana-edge itself\n");
		return TN_EXIT_USAGE;
	}
#ifndef WITH_SANITIZERS		/* the leak check looks at its own process */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	return sv_front_main(SV_FRONT_FD);
}

/* Started as root, also whether the users are right. */
static int
check(const struct tn_options *o, struct tn_buf *err)
{
	struct sv_user user, worker_user;

	return geteuid() != 0 ? 0 : sv_user_pair(&user, &worker_user, o->user, o->worker_user, err);
}

/* Whoever wants us to take over hears it too. */
static void
say_no(struct tn_buf *text)
{
	int channel = sv_inherit_take(SV_INHERIT_CHANNEL);

	tn_buf_append(text, "", 1);
	(void)fprintf(stderr, "tana-edge: %s\n", text->failed ? "out of memory" : text->p);
	(void)sv_up_send(channel, SV_UP_MSG_FAILED, text->failed ? "out of memory" : text->p);
	tn_fd_close(&channel);
}

/* The server that we take over from has gone to the background, if we are to. */
static int
detach(const struct sv_config *cfg, struct sv_daemon *daemon)
{
	if (!cfg->daemon)
		return 0;
	if (!sv_inherit_upgrade())
		return sv_daemon_detach(daemon);
	daemon->detached = 1;
	return chdir("/");
}

static int
act(enum action action, struct sv_config *cfg, const char *backup, char *const *argv)
{
	struct sv_daemon daemon = SV_DAEMON_NONE;
	struct tn_options *o = NULL;
	struct tn_buf text = { 0 };
	int code = TN_EXIT_OK;

	daemon.argv = argv;
	if (action == RUN && sv_inherit_begin(&text) != 0) {
		say_no(&text);
		code = TN_EXIT_FAILURE;
	} else if (sv_config_load(cfg, &o, &text) != 0 ||
	    (action == CHECK && check(o, &text) != 0)) {
		say_no(&text);
		code = TN_EXIT_CONFIG;
	} else if (action == CHECK) {
		(void)printf("the configuration is right%s%s\n", cfg->path != NULL ? ": " : "",
		    cfg->path != NULL ? cfg->path : "");
		code = flushed(TN_EXIT_OK);
	} else if (action == DUMP) {
		tn_options_dump(o, &text);
		put(&text, stdout);
		code = flushed(TN_EXIT_OK);
	} else if (action == RESTORE) {
		code = sv_restore(o, backup, &text);
		tn_buf_puts(&text, "\n");
		put(&text, code == TN_EXIT_OK ? stdout : stderr);
		code = flushed((enum tn_exit)code);
	} else if (detach(cfg, &daemon) != 0) {
		perror("tana-edge: cannot go to the background");
		code = TN_EXIT_FAILURE;
		sv_daemon_failed(&daemon, TN_EXIT_FAILURE);
	} else
		code = sv_master_run(cfg, &o, &daemon);
	tn_options_free(&o);
	tn_buf_fini(&text);
	return code;
}

static int
usage(void)
{
	(void)fputs("see tana-edge --help\n", stderr);
	return TN_EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	struct sv_config cfg;
	struct tn_buf err = { 0 };
	enum action action = RUN;
	const char *file = NULL, *backup = NULL;
	bool show_version = false;
	int c, code;

	if (argc > 1 && strcmp(argv[1], SV_FRONT_ARG) == 0)
		return front(argc);
	sv_config_init(&cfg);
	while ((c = getopt_long(argc, argv, "c:o:dhV", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			file = optarg;
			break;
		case 'o':
			if (sv_config_add(&cfg, optarg) != 0)
				tn_fatal(TN_EXIT_FAILURE, "out of memory");
			break;
		case 'd':
			cfg.daemon = true;
			break;
		case OPT_CHECK:
			action = CHECK;
			break;
		case OPT_DUMP:
			action = DUMP;
			break;
		case OPT_RESTORE:
			action = RESTORE;
			backup = optarg;
			break;
		case 'h':
			code = help();
			goto out;
		case 'V':
			show_version = true;
			break;
		default:
			code = usage();
			goto out;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "tana-edge: unexpected argument: %s\n", argv[optind]);
		code = usage();
		goto out;
	}
	if (action != RUN)
		cfg.daemon = false;
	if (file == NULL)
		(void)sv_config_default_file(&cfg);
	else if (sv_config_file(&cfg, file, &err) != 0) {
		(void)fprintf(
		    stderr, "tana-edge: %.*s\n", (int)err.len, err.p != NULL ? err.p : "");
		code = TN_EXIT_CONFIG;
		goto out;
	}
	code = show_version ? version(&cfg) : act(action, &cfg, backup, argv);
out:
	sv_config_fini(&cfg);
	tn_buf_fini(&err);
	return code;
}
