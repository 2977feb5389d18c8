/*
 * test_sv_listen.c - addresses, the sockets bound to them, and the lock of
 * run_dir.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_listen.h"
#include "sv_pidfile.h"
#include "tn_err.h"

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/tana-listen-XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static char *
in_dir(const char *name)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int
parse(struct sv_address *a, const char *text)
{
	struct tn_buf err = { 0 };
	int rc = sv_address_parse(a, text, &err);

	/* A refusal always has a reason, success none. */
	assert_int_equal(err.len > 0, rc != 0);
	tn_buf_fini(&err);
	return rc;
}

static void
test_parse(void **state)
{
	struct sv_address a;
	struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.sa;

	(void)state;
	assert_int_equal(parse(&a, "127.0.0.1:8180"), 0);
	assert_int_equal(a.sa.ss_family, AF_INET);
	assert_int_equal(ntohs(in->sin_port), 8180);
	assert_int_equal(ntohl(in->sin_addr.s_addr), INADDR_LOOPBACK);
	assert_int_equal(parse(&a, "[::1]:65535"), 0);
	assert_int_equal(a.sa.ss_family, AF_INET6);
	assert_int_equal(ntohs(in6->sin6_port), 65535);
	assert_true(IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr));
	assert_false(a.both);
	assert_int_equal(parse(&a, "*:0"), 0);
	assert_int_equal(a.sa.ss_family, AF_INET6);
	assert_true(a.both);
	assert_int_equal(parse(&a, "unix:/a:b"), 0);
	assert_int_equal(a.sa.ss_family, AF_UNIX);
	assert_string_equal(((struct sockaddr_un *)&a.sa)->sun_path, "/a:b");
}

static void
test_parse_refuses(void **state)
{
	static const char *const bad[] = { "", ":", "*", "*:", "8180", "127.0.0.1",
		"127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:080000", "127.0.0.1:+1",
		"127.0.0.1: 1", "127.0.0.1:1 ", "127.0.0.1:0x50", "::1:80", "[::1]", "[::1]80",
		"[]:80", "[127.0.0.1]:80", "[*]:80", "example.org:80", "localhost:80", "unix:" };
	struct sv_address a;
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(&a, bad[i]), TN_EINVAL);
	/* 107 bytes fit into a Unix address, no more. */
	(void)snprintf(text, sizeof(text), "unix:/%0106d", 0);
	assert_int_equal(parse(&a, text), 0);
	(void)snprintf(text, sizeof(text), "unix:/%0107d", 0);
	assert_int_equal(parse(&a, text), TN_EINVAL);
}

static bool
connects(int domain, const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(domain, SOCK_STREAM, 0);
	bool ok = connect(fd, sa, len) == 0;

	(void)close(fd);
	return ok;
}

static void
test_port_zero_and_both_families(void **state)
{
	char *addresses[] = { (char[]){ "127.0.0.1:0" }, (char[]){ "*:0" } };
	struct tn_list list = { addresses, 2 };
	struct sockaddr_storage sa;
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sv_listeners ls;
	struct tn_buf err = { 0 }, text = { 0 };
	socklen_t len = sizeof(sa);

	(void)state;
	assert_int_equal(sv_listen_open(&ls, &list, &err), 0);
	assert_int_equal(ls.n, 2);
	sv_address_print(ls.v[0].fd, &text);
	assert_memory_equal(text.p, "127.0.0.1:", 10);
	assert_int_equal(getsockname(ls.v[1].fd, (struct sockaddr *)&sa, &len), 0);
	/* The port is the same for IPv4. */
	in.sin_port = sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port :
	    ((struct sockaddr_in *)&sa)->sin_port;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(connects(AF_INET, (struct sockaddr *)&in, sizeof(in)));
	sv_listen_close(&ls);
	assert_false(connects(AF_INET, (struct sockaddr *)&in, sizeof(in)));
	tn_buf_fini(&text);
}

/* One that fails takes the others along: no half-bound server. */
static void
test_all_or_none(void **state)
{
	char first[200], *addresses[] = { first, (char[]){ "unix:/nonexistent/x" } };
	struct tn_list list = { addresses, 2 };
	struct sv_listeners ls;
	struct tn_buf err = { 0 };

	(void)state;
	(void)snprintf(first, sizeof(first), "unix:%s", in_dir("a.sock"));
	assert_int_equal(sv_listen_open(&ls, &list, &err), TN_ESYS);
	assert_int_equal(ls.n, 0);
	assert_int_equal(access(in_dir("a.sock"), F_OK), -1);
	tn_buf_fini(&err);
}

static void
test_port_taken(void **state)
{
	char *addresses[] = { (char[]){ "127.0.0.1:0" } }, again[64], *taken[] = { again };
	struct tn_list list = { addresses, 1 }, second = { taken, 1 };
	struct sv_listeners ls, other;
	struct tn_buf err = { 0 }, text = { 0 };

	(void)state;
	assert_int_equal(sv_listen_open(&ls, &list, &err), 0);
	sv_address_print(ls.v[0].fd, &text);
	(void)snprintf(again, sizeof(again), "%.*s", (int)text.len, text.p);
	assert_int_equal(sv_listen_open(&other, &second, &err), TN_EBUSY);
	assert_non_null(memmem(err.p, err.len, again, strlen(again)));
	assert_non_null(memmem(err.p, err.len, "in use", 6));
	sv_listen_close(&ls);
	tn_buf_fini(&err);
	tn_buf_fini(&text);
}

static void
name_of(int fd, char *to, size_t size)
{
	struct tn_buf text = { 0 };

	sv_address_print(fd, &text);
	(void)snprintf(to, size, "%.*s", (int)text.len, text.p);
	tn_buf_fini(&text);
}

/* How many of so many connections come to each of the sockets. */
static void
spread(const struct sv_listeners *ls, unsigned connections, unsigned *got)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int *client = calloc(connections, sizeof(*client)), fd;
	unsigned i;
	size_t k;

	assert_int_equal(getsockname(ls->v[0].fd, (struct sockaddr *)&sa, &len), 0);
	for (i = 0; i < connections; i++) {
		client[i] = socket(sa.ss_family, SOCK_STREAM, 0);
		assert_int_equal(connect(client[i], (struct sockaddr *)&sa, len), 0);
	}
	for (k = 0; k < ls->n; k++)
		for (got[k] = 0; (fd = accept(ls->v[k].fd, NULL, NULL)) >= 0; got[k]++)
			(void)close(fd);
	for (i = 0; i < connections; i++)
		(void)close(client[i]);
	free(client);
}

static void
test_each_shard_has_a_socket(void **state)
{
	char unix_[200], *addresses[] = { (char[]){ "127.0.0.1:0" }, (char[]){ "*:0" },
		unix_ }, again[64], wild[64], other[64], *taken[] = { again };
	struct tn_list list = { addresses, 3 }, second = { taken, 1 }, one = { addresses, 1 };
	struct sv_listeners ls, more;
	struct tn_buf err = { 0 };
	unsigned got[4], i;

	(void)state;
	(void)snprintf(unix_, sizeof(unix_), "unix:%s", in_dir("shared.sock"));
	assert_int_equal(sv_listen_open_shards(&ls, &list, 4, &err), 0);
	assert_int_equal(ls.n, 9);
	for (i = 0; i < 9; i++) {
		assert_int_equal(ls.v[i].nth, i == 8 ? 0 : i % 4);
		assert_int_equal(ls.v[i].of, i == 8 ? 1 : 4);
		assert_int_equal(ls.v[i].cover, -1);
	}
	/* Of one address all are at the same port, and no other. */
	name_of(ls.v[0].fd, again, sizeof(again));
	name_of(ls.v[4].fd, wild, sizeof(wild));
	for (i = 0; i < 8; i++) {
		name_of(ls.v[i].fd, other, sizeof(other));
		assert_string_equal(other, i < 4 ? again : wild);
	}
	assert_string_not_equal(again, wild);
	/* Somebody who does as we do is still told that the address is taken. */
	assert_int_equal(sv_listen_open_shards(&more, &second, 4, &err), TN_EBUSY);
	assert_non_null(memmem(err.p, err.len, "in use", 6));
	tn_buf_reset(&err);
	assert_int_equal(sv_listen_open(&more, &second, &err), TN_EBUSY);
	sv_listen_close(&ls);
	/* (That fewer than 10 of 200 come to one of four is less likely than 1 in 10^12.) */
	assert_int_equal(sv_listen_open_shards(&ls, &one, 4, &err), 0);
	spread(&ls, 200, got);
	assert_int_equal(got[0] + got[1] + got[2] + got[3], 200);
	for (i = 0; i < 4; i++)
		assert_true(got[i] >= 10);
	sv_listen_close(&ls);
	tn_buf_fini(&err);
}

/* One shard's sockets are nobody else's to bind to: as it always was. */
static void
test_one_shard_shares_no_port(void **state)
{
	char *addresses[] = { (char[]){ "127.0.0.1:0" } };
	struct tn_list list = { addresses, 1 };
	struct sv_listeners ls;
	struct tn_buf err = { 0 };
	socklen_t len = sizeof(int);
	int on = 1;

	(void)state;
	assert_int_equal(sv_listen_open_shards(&ls, &list, 1, &err), 0);
	assert_int_equal(ls.n, 1);
	assert_int_equal(getsockopt(ls.v[0].fd, SOL_SOCKET, SO_REUSEPORT, &on, &len), 0);
	assert_int_equal(on, 0);
	sv_listen_close(&ls);
}

/* Every socket is somebody's, and everybody has one, whatever the numbers are. */
static void
test_whose_socket_it_is(void **state)
{
	unsigned sockets, shards, k, n, of_socket[9], of_shard[9];
	struct sv_listener l;

	(void)state;
	for (sockets = 1; sockets <= 8; sockets++)
		for (shards = 1; shards <= 8; shards++) {
			memset(of_socket, 0, sizeof(of_socket));
			memset(of_shard, 0, sizeof(of_shard));
			for (k = 0; k < sockets; k++)
				for (n = 0; n < shards; n++) {
					l = (struct sv_listener){ .nth = k, .of = sockets };
					if (!sv_listener_is_for(&l, n, shards))
						continue;
					of_socket[k]++;
					of_shard[n]++;
				}
			for (k = 0; k < sockets; k++)
				assert_true(of_socket[k] >= 1 &&
				    of_socket[k] <= (shards + sockets - 1) / sockets);
			for (n = 0; n < shards; n++)
				assert_true(of_shard[n] >= 1 &&
				    of_shard[n] <= (sockets + shards - 1) / shards);
		}
}

static void
test_unix_modes_and_removal(void **state)
{
	struct sv_listener l;
	struct tn_buf err = { 0 };
	struct stat st;
	char path[160];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s", in_dir("c.sock"));
	assert_int_equal(sv_listen_unix(&l, path, 0600, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	sv_listener_close(&l);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(sv_listen_unix(&l, path, 0666, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	/* Somebody else has taken the name meanwhile: it is not ours to remove. */
	assert_int_equal(unlink(path), 0);
	(void)close(open(path, O_WRONLY | O_CREAT, 0600));
	sv_listener_close(&l);
	assert_int_equal(stat(path, &st), 0);
}

static void
test_unix_live_stale_and_foreign(void **state)
{
	struct sv_listener l, other;
	struct tn_buf err = { 0 };
	char path[160];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s", in_dir("d.sock"));
	assert_int_equal(sv_listen_unix(&l, path, 0600, &err), 0);
	assert_int_equal(sv_listen_unix(&other, path, 0600, &err), TN_EBUSY);
	assert_int_equal(other.fd, -1);
	/* Its owner dies without removing it. */
	(void)close(l.fd);
	l.fd = -1;
	tn_buf_reset(&err);
	assert_int_equal(sv_listen_unix(&other, path, 0600, &err), 0);
	sv_listener_close(&other);
	free(l.path);
	/* What is no socket stays. */
	(void)close(open(path, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(sv_listen_unix(&other, path, 0600, &err), TN_EBUSY);
	assert_int_equal(access(path, F_OK), 0);
	tn_buf_fini(&err);
}

/* ---- run_dir ---- */

static void
test_lock_is_exclusive_and_goes_with_its_holder(void **state)
{
	struct sv_pidfile *pf = NULL, *other = NULL;
	struct tn_buf err = { 0 };
	bool stale;
	pid_t holder, child;
	int status, p[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(p), 0);
	if ((child = fork()) == 0) {
		(void)close(p[0]);
		if (sv_pidfile_take(&pf, dir, &holder, &stale, &err) != 0)
			_exit(1);
		(void)!write(p[1], "x", 1);
		(void)pause();
		_exit(2);
	}
	(void)close(p[1]);
	assert_int_equal(read(p[0], &byte, 1), 1);
	assert_int_equal(sv_pidfile_take(&other, dir, &holder, &stale, &err), TN_EBUSY);
	assert_int_equal(holder, child);
	assert_null(other);
	(void)close(p[0]);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	/* The file is still there; it is no obstacle, but told of. */
	assert_int_equal(access(in_dir("tana-edge.pid"), F_OK), 0);
	tn_buf_reset(&err);
	assert_int_equal(sv_pidfile_take(&other, dir, &holder, &stale, &err), 0);
	assert_true(stale);
	sv_pidfile_release(&other);
	assert_null(other);
	assert_int_equal(access(in_dir("tana-edge.pid"), F_OK), -1);
	assert_int_equal(sv_pidfile_take(&other, dir, &holder, &stale, &err), 0);
	assert_false(stale);
	sv_pidfile_release(&other);
	sv_pidfile_release(&other);
	tn_buf_fini(&err);
}

static void
test_lock_follows_no_link(void **state)
{
	struct sv_pidfile *pf = NULL;
	struct tn_buf err = { 0 };
	pid_t holder;
	bool stale;

	(void)state;
	(void)close(open(in_dir("precious"), O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlink("precious", in_dir("tana-edge.pid")), 0);
	assert_int_equal(sv_pidfile_take(&pf, dir, &holder, &stale, &err), TN_ESYS);
	assert_null(pf);
	tn_buf_fini(&err);
}

static void
test_run_dir_made_and_refused(void **state)
{
	struct tn_buf err = { 0 };
	struct stat st;
	mode_t mask;
	char path[160];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s", in_dir("run"));
	mask = umask(022);
	assert_int_equal(sv_rundir_make(path, &err), 0);
	(void)umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_int_equal(sv_rundir_make(path, &err), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(sv_rundir_make(path, &err), TN_EDENIED);
	tn_buf_fini(&err);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		T(test_each_shard_has_a_socket),
		cmocka_unit_test(test_one_shard_shares_no_port),
		cmocka_unit_test(test_whose_socket_it_is),
		T(test_port_zero_and_both_families),
		T(test_all_or_none),
		T(test_port_taken),
		T(test_unix_modes_and_removal),
		T(test_unix_live_stale_and_foreign),
		T(test_lock_is_exclusive_and_goes_with_its_holder),
		T(test_lock_follows_no_link),
		T(test_run_dir_made_and_refused),
	};

	return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
