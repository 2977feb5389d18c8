/*
 * test_sv_upgrade.c - the states of an upgrade, its messages, the descriptors that come
 * with it, and the pid file that changes hands.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_inherit.h"
#include "sv_listen.h"
#include "sv_pidfile.h"
#include "sv_upgrade.h"
#include "tn_err.h"
#include "tn_fd.h"

/* ---- states ---- */

/* A letter a state, then one an action; a row each state, a column each event. */
static const char *const cells[SV_UP_STATES] = {
	/* ASKED READY TAKEN ENDED OVERDUE STOPPED */
	[SV_UP_NONE] =     "Ss N. N. N. N. N.",
	[SV_UP_STARTING] = "Sr Hh Kk Ng Kk Kk",
	[SV_UP_HANDING] =  "Hr Kk Dt Ng Kk H.",
	[SV_UP_KILLED] =   "Kr K. K. Ng K. K.",
	[SV_UP_DONE] =     "Dr D. D. D. D. D.",
};
static const char state_letter[] = "NSHKD", action_letter[] = ".srhkgt";

static void
test_every_cell(void **state)
{
	int s, e;

	(void)state;
	for (s = 0; s < SV_UP_STATES; s++)
		for (e = 0; e < SV_UP_EVENTS; e++) {
			struct sv_up_step step = sv_up_next((enum sv_up_state)s,
			    (enum sv_up_event)e);

			assert_int_equal(state_letter[step.next], cells[s][3 * e]);
			assert_int_equal(action_letter[step.action], cells[s][3 * e + 1]);
		}
}

/* Whatever happens: at most one new server a time, and it retires only after TAKEN. */
static void
test_any_order_of_events(void **state)
{
	unsigned seed = 1;
	int i, alive = 0, handed = 0;
	enum sv_up_state s = SV_UP_NONE;

	(void)state;
	for (i = 0; i < 100000; i++) {
		enum sv_up_event e;
		struct sv_up_step step;

		seed = seed * 1103515245u + 12345u;
		e = (enum sv_up_event)((seed >> 16) % SV_UP_EVENTS);
		step = sv_up_next(s, e);

		s = step.next;
		switch (step.action) {
		case SV_UP_START:
			assert_int_equal(alive, 0);
			alive = 1;
			handed = 0;
			break;
		case SV_UP_HAND:
			assert_true(alive && !handed);
			handed = 1;
			break;
		case SV_UP_KILL:
			assert_int_equal(alive, 1);
			break;
		case SV_UP_GO_ON:
			assert_int_equal(e, SV_UP_ENDED);
			alive = 0;
			break;
		case SV_UP_RETIRE:
			assert_true(alive && handed && e == SV_UP_TAKEN);
			s = SV_UP_NONE;		/* its successor's story */
			alive = 0;
			break;
		default:
			break;
		}
	}
}

/* ---- messages ---- */

static void
test_messages(void **state)
{
	struct tn_buf text = { 0 };
	char big[2 * SV_UP_TEXT_MAX];
	int p[2];

	(void)state;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p), 0);
	assert_int_equal(sv_up_receive(p[0], &text), 0);
	assert_int_equal(sv_up_send(p[1], SV_UP_MSG_READY, NULL), 0);
	assert_int_equal(sv_up_receive(p[0], &text), SV_UP_MSG_READY);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(sv_up_send(p[1], SV_UP_MSG_FAILED, big), 0);
	assert_int_equal(sv_up_receive(p[0], &text), SV_UP_MSG_FAILED);
	assert_int_equal(text.len, SV_UP_TEXT_MAX - 1);
	assert_int_equal(send(p[1], "nonsense", 8, 0), 8);
	assert_int_equal(sv_up_receive(p[0], &text), TN_EPROTO);
	(void)close(p[1]);
	assert_int_equal(sv_up_receive(p[0], &text), TN_ECLOSED);
	assert_int_equal(sv_up_send(p[0], SV_UP_MSG_TAKE, NULL), TN_ECLOSED);
	assert_int_equal(sv_up_send(-1, SV_UP_MSG_TAKE, NULL), TN_ECLOSED);
	(void)close(p[0]);
	tn_buf_fini(&text);
}

/* ---- descriptors ---- */

static int
bound(const char *text)
{
	struct sv_address a;
	struct tn_buf err = { 0 };
	int fd;

	assert_int_equal(sv_address_parse(&a, text, &err), 0);
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a.sa, a.len), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* What a process that is started with `fds` from 3 on and these variables makes of them. */
static int
begin(const int *fds, int n, const char *var, const char *words, const char *names,
    int (*then)(void))
{
	char text[256];
	struct tn_buf err = { 0 };
	int status, i, high[8], rc;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		for (i = 0; i < n; i++)
			high[i] = fcntl(fds[i], F_DUPFD, 100);
		for (i = 0; i < n; i++)
			(void)dup2(high[i], 3 + i);
		for (i = 3 + n; i < 120; i++)
			(void)close(i);
		(void)snprintf(text, sizeof(text), "%d%s", (int)getpid(), words);
		if (strcmp(var, "LISTEN_FDS") == 0) {
			(void)snprintf(text, sizeof(text), "%d", (int)getpid());
			(void)setenv("LISTEN_PID", text, 1);
			(void)setenv(var, words, 1);
			if (names != NULL)
				(void)setenv("LISTEN_FDNAMES", names, 1);
		} else
			(void)setenv(var, text, 1);
		rc = sv_inherit_begin(&err);
		if (getenv(SV_INHERIT_VAR) != NULL || getenv("LISTEN_PID") != NULL ||
		    getenv("LISTEN_FDS") != NULL || getenv("LISTEN_FDNAMES") != NULL)
			_exit(99);
		_exit(rc == TN_EINVAL ? 50 : rc != 0 ? 51 : then != NULL ? then() : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static char sock_path[96];

static int
wants(const char *text)
{
	struct sv_address a;
	struct tn_buf err = { 0 };
	bool activated;
	int fd;

	if (sv_address_parse(&a, text, &err) != 0)
		_exit(60);
	fd = sv_inherit_socket(&a, &activated);
	return fd < 0 ? 0 : activated ? 2 : 1;
}

static int
takes_its_own(void)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "unix:%s", sock_path);
	if (!sv_inherit_upgrade())
		return 1;
	if (wants("127.0.0.2:0") != 0)		/* another address */
		return 2;
	if (wants("127.0.0.1:0") != 1)		/* any port of the server before */
		return 3;
	if (wants("127.0.0.1:0") != 0)		/* but once */
		return 4;
	if (wants("unix:/nonexistent/x") != 0 || wants(text) != 1)
		return 5;
	if (sv_inherit_take(SV_INHERIT_LOCK) != -1 || sv_inherit_take(SV_INHERIT_PIDFILE) != 5)
		return 6;
	if ((fcntl(5, F_GETFD) & FD_CLOEXEC) == 0)
		return 7;
	return 0;
}

static int
takes_activated(void)
{
	struct tn_buf names = { 0 };
	char text[128];

	(void)snprintf(text, sizeof(text), "unix:%s", sock_path);
	if (sv_inherit_upgrade())
		return 1;
	if (wants("127.0.0.1:0") != 0)		/* systemd's are what they are */
		return 2;
	if (wants(text) != 2)
		return 3;
	if (sv_inherit_unwanted(&names) != 1)
		return 4;
	tn_buf_append(&names, "", 1);
	if (strncmp(names.p, "127.0.0.1:", 10) != 0 || strstr(names.p, " (web)") == NULL)
		return 5;
	return 0;
}

static int
got_nothing(void)
{
	return sv_inherit_upgrade() || wants("127.0.0.1:0") != 0 ? 1 : 0;
}

static void
test_descriptors(void **state)
{
	char text[128], dir[] = "/tmp/tana-inherit-XXXXXX";
	int fds[3], none[2];

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(sock_path, sizeof(sock_path), "%s/s", dir);
	(void)snprintf(text, sizeof(text), "unix:%s", sock_path);
	fds[0] = bound("127.0.0.1:0");
	fds[1] = bound(text);
	fds[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(begin(fds, 3, SV_INHERIT_VAR, " socket socket pidfile", NULL,
	    takes_its_own), 0);
	assert_int_equal(begin(fds, 2, "LISTEN_FDS", "2", "web:unix", takes_activated), 0);
	/* Not what is said. */
	none[0] = fds[2];
	none[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(begin(&none[0], 1, SV_INHERIT_VAR, " socket", NULL, NULL), 50);
	assert_int_equal(begin(&none[1], 1, SV_INHERIT_VAR, " socket", NULL, NULL), 50);
	assert_int_equal(begin(fds, 1, SV_INHERIT_VAR, " socket socket", NULL, NULL), 50);
	assert_int_equal(begin(fds, 1, SV_INHERIT_VAR, " averyveryverylongword", NULL, NULL), 50);
	assert_int_equal(begin(&none[0], 1, "LISTEN_FDS", "1", NULL, NULL), 50);
	assert_int_equal(begin(fds, 1, "LISTEN_FDS", "1000", NULL, NULL), 50);
	assert_int_equal(begin(fds, 1, "LISTEN_FDS", "x", NULL, NULL), 50);
	assert_int_equal(begin(fds, 2, "LISTEN_FDS", "2", "", NULL), 0);
	/* For somebody else: another process's number. */
	assert_int_equal(begin(fds, 1, SV_INHERIT_VAR, "0 socket", NULL, got_nothing), 0);
	(void)close(fds[0]);
	(void)close(fds[1]);
	(void)close(fds[2]);
	(void)close(none[1]);
	(void)unlink(sock_path);
	(void)rmdir(dir);
}

/* ---- the pid file ---- */

static int
pid_in(const char *dir)
{
	char path[128];
	int pid = -1;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/" SV_PIDFILE_NAME, dir);
	if ((f = fopen(path, "re")) != NULL) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		(void)fclose(f);
	}
	return pid;
}

static int
is_locked(const char *dir)
{
	struct tn_buf err = { 0 };
	struct sv_pidfile *other = NULL;
	pid_t holder;
	bool stale;
	int rc = sv_pidfile_take(&other, dir, &holder, &stale, &err);

	tn_buf_fini(&err);
	return rc == TN_EBUSY;
}

/* The next server's process: adopt, commit; 0 if all went well. */
static pid_t
next_server(const char *dir, int fd, bool commit)
{
	struct tn_buf err = { 0 };
	struct sv_pidfile *pf;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) != 0)
		return pid;
	if (sv_pidfile_adopt(&pf, dir, &fd, &err) != 0)
		_exit(1);
	if (commit && sv_pidfile_commit(pf, &err) != 0)
		_exit(2);
	_exit(0);
}

static void
test_pidfile_changes_hands(void **state)
{
	char dir[] = "/tmp/tana-pidfile-XXXXXX", other[] = "/tmp/tana-pidfile-XXXXXX";
	struct sv_pidfile *pf = NULL, *none;
	struct tn_buf err = { 0 };
	int fd = -1, status;
	pid_t holder, pid;
	bool stale;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_non_null(mkdtemp(other));
	assert_int_equal(sv_pidfile_take(&pf, dir, &holder, &stale, &err), 0);
	assert_int_equal(pid_in(dir), getpid());

	/* It dies before it has committed. */
	assert_int_equal(sv_pidfile_next(pf, &fd, &err), 0);
	assert_int_equal(sv_pidfile_adopt(&none, other, &fd, &err), TN_EINVAL);
	tn_buf_reset(&err);
	pid = next_server(dir, fd, false);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pid_in(dir), getpid());
	assert_int_equal(sv_pidfile_reclaim(pf, &fd, &err), 0);
	assert_int_equal(fd, -1);
	assert_true(is_locked(dir));

	/* It dies after: the file says our pid again, and is locked. */
	assert_int_equal(sv_pidfile_next(pf, &fd, &err), 0);
	pid = next_server(dir, fd, true);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pid_in(dir), pid);
	assert_true(is_locked(dir));
	assert_int_equal(sv_pidfile_reclaim(pf, &fd, &err), 0);
	assert_int_equal(pid_in(dir), getpid());
	assert_true(is_locked(dir));

	/* It lives: our end leaves its file alone. */
	assert_int_equal(sv_pidfile_next(pf, &fd, &err), 0);
	pid = next_server(dir, fd, true);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	sv_pidfile_release(&pf);
	assert_int_equal(pid_in(dir), pid);
	assert_true(is_locked(dir));	/* by the descriptor, as if it still had it */
	(void)close(fd);
	assert_int_equal(sv_pidfile_take(&pf, dir, &holder, &stale, &err), 0);
	assert_true(stale);
	sv_pidfile_release(&pf);
	assert_int_equal(pid_in(dir), -1);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(other), 0);
	tn_buf_fini(&err);
}

/* ---- the program ---- */

static void
test_program_is_found_again(void **state)
{
	char *p, self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)state;
	assert_true(n > 0);
	self[n] = '\0';
	p = sv_upgrade_program("/bin/sh");	/* a lie */
	assert_string_equal(p, self);
	free(p);
	p = sv_upgrade_program(NULL);
	assert_string_equal(p, self);
	free(p);
	p = sv_upgrade_program(self);
	assert_string_equal(p, self);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cell),
		cmocka_unit_test(test_any_order_of_events),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_pidfile_changes_hands),
		cmocka_unit_test(test_program_is_found_again),
	};

	return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
