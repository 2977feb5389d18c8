#include "config.h"

#include "pol_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pol_oracle.h"
#include "tn_err.h"

#define NAMESPACES	(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | \
			CLONE_NEWCGROUP)
#define GIVEN		(TN_LAYER_PIDNS | TN_LAYER_NETNS | TN_LAYER_MOUNTNS | TN_LAYER_IPCNS)

/* Exit statuses of helper and zygote that no body returns. */
#define EXIT_NO_CLONE	80
#define EXIT_NO_MAP	81
#define EXIT_FIXTURE	82
#define EXIT_HELPER	83

void
jail_why(struct jail_shared *sh, const char *fmt, ...)
{
	va_list ap;

	if (sh->why[0] != '\0')
		return;
	va_start(ap, fmt);
	(void)vsnprintf(sh->why, sizeof(sh->why), fmt, ap);
	va_end(ap);
}

uint32_t
jail_layers(enum jail_kind kind)
{
	uint32_t layers = pol_layers_supported() & ~(uint32_t)TN_LAYER_USERNS;

	switch (kind) {
	case JAIL_USERNS:
		return (layers | TN_LAYER_USERNS) & ~(uint32_t)TN_LAYER_UID;
	case JAIL_USER:
		return layers & ~(uint32_t)(GIVEN | TN_LAYER_UID);
	default:
		return layers;
	}
}

static int
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return -1;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	(void)close(fd);
	return ok ? 0 : -1;
}

/* In a new user namespace: root there is the user here. */
static int
map_user(uid_t uid, gid_t gid)
{
	char text[64];

	if (write_file("/proc/self/setgroups", "deny") != 0)
		return -1;
	(void)snprintf(text, sizeof(text), "0 %lu 1", (unsigned long)uid);
	if (write_file("/proc/self/uid_map", text) != 0)
		return -1;
	(void)snprintf(text, sizeof(text), "0 %lu 1", (unsigned long)gid);
	return write_file("/proc/self/gid_map", text);
}

static int
become_user(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) != 0 || setresgid(JAIL_NOBODY, JAIL_NOBODY, JAIL_NOBODY) != 0 ||
	    setresuid(JAIL_NOBODY, JAIL_NOBODY, JAIL_NOBODY) != 0)
		return -1;
	/* Else /proc/self/uid_map were root's. */
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static pid_t
clone_as(enum jail_kind kind, pid_t *pid)
{
	unsigned long flags = SIGCHLD | CLONE_PARENT_SETTID;

	if (kind != JAIL_USER)
		flags |= NAMESPACES;
	if (kind == JAIL_USERNS)
		flags |= CLONE_NEWUSER;
	return (pid_t)syscall(SYS_clone, flags, NULL, pid, NULL, NULL);
}

const char *
jail_impossible(enum jail_kind kind)
{
	static char why[128];
	int status;
	pid_t pid;

	if (kind == JAIL_ROOT && geteuid() != 0)
		return "needs root";
	pid = fork();
	if (pid == 0) {
		uid_t uid;
		gid_t gid;
		pid_t z;

		if (kind != JAIL_ROOT && become_user() != 0)
			_exit(EXIT_HELPER);
		uid = getuid();
		gid = getgid();
		z = clone_as(kind, &z);
		if (z < 0)
			_exit(EXIT_NO_CLONE);
		if (z == 0)
			_exit(kind == JAIL_USERNS && map_user(uid, gid) != 0 ? EXIT_NO_MAP : 0);
		if (waitpid(z, &status, 0) != z)
			_exit(EXIT_HELPER);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_HELPER);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return "cannot fork";
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		(void)snprintf(why, sizeof(why), "this machine allows no %s%s",
		    kind == JAIL_USERNS ? "user namespaces to ordinary users" : "namespaces",
		    WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_MAP ? " (uid_map)" : "");
		return why;
	}
	return NULL;
}

static int
reserve(uint64_t at, size_t size)
{
	void *p = (void *)(uintptr_t)at;

	return mmap(p, size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == p ? 0 : -1;
}

static int
map_base(int fd, uint64_t at, int prot)
{
	void *p = (void *)(uintptr_t)at;

	return mmap(p, ORACLE_ARENA_SIZE, prot, MAP_PRIVATE | MAP_FIXED, fd, 0) == p ? 0 : -1;
}

/* What the master and the worker's own code prepare in a real zygote. */
static int
fixture(struct jail_inside *in)
{
	static const uint32_t magic = JAIL_MAGIC;
	int null = open("/dev/null", O_RDWR), proc;

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return -1;
	if (null > 2)
		(void)close(null);
	/* As in a zygote: a socket of its own has the channel's number. */
	if (in->socket != JAIL_CHANNEL) {
		if (dup2(in->socket, JAIL_CHANNEL) < 0)
			return -1;
		(void)close(in->socket);
		in->socket = JAIL_CHANNEL;
	}
	if (reserve(ORACLE_ARENA, 2 * ORACLE_ARENA_SIZE) != 0 ||
	    reserve(ORACLE_SHADOW, ORACLE_ARENA_SIZE) != 0)
		return -1;
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0 || dup3(proc, ORACLE_PROC, O_CLOEXEC) < 0)
		return -1;
	(void)close(proc);
	in->base = memfd_create("base", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (in->base < 0 || ftruncate(in->base, (off_t)ORACLE_ARENA_SIZE) != 0 ||
	    pwrite(in->base, &magic, sizeof(magic), 0) != sizeof(magic) ||
	    map_base(in->base, ORACLE_ARENA, PROT_READ | PROT_WRITE) != 0 ||
	    map_base(in->base, ORACLE_SHADOW, PROT_READ) != 0)
		return -1;
	return fcntl(in->base, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
}

static void __attribute__((noreturn))
zygote(struct jail *j, int sock, uid_t uid, gid_t gid, jail_body *body)
{
	struct jail_inside in = {
		.kind = j->kind,
		.sh = j->sh,
		.socket = sock,
		.config = {
			.required = jail_layers(j->kind),
			.uid = j->kind == JAIL_ROOT ? JAIL_NOBODY : POL_STAY,
			.gid = j->kind == JAIL_ROOT ? JAIL_NOBODY : POL_STAY,
			.params = {
				.channel_fd = JAIL_CHANNEL,
				.arena = ORACLE_ARENA,
				.arena_size = ORACLE_ARENA_SIZE,
				.send_max = ORACLE_SEND_MAX,
				.restore = j->restore,
				.pagemap_fd = JAIL_PAGEMAP,
				.proc_fd = ORACLE_PROC
			}
		}
	};

	if (j->kind != JAIL_USER)
		in.config.present |= GIVEN;
	if (j->kind == JAIL_USERNS) {
		in.config.present |= TN_LAYER_USERNS;
		if (map_user(uid, gid) != 0)
			_exit(EXIT_NO_MAP);
	}
	if (fixture(&in) != 0) {
		jail_why(j->sh, "fixture: %s", strerror(errno));
		_exit(EXIT_FIXTURE);
	}
	_exit(body(&in));
}

void
jail_begin(struct jail *j, enum jail_kind kind, jail_body *body)
{
	jail_begin_with(j, kind, TN_RESTORE_SCAN, body);
}

void
jail_begin_with(struct jail *j, enum jail_kind kind, enum tn_restore restore, jail_body *body)
{
	int pair[2];

	j->kind = kind;
	j->restore = restore;
	j->sh = mmap(NULL, sizeof(*j->sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	    -1, 0);
	if (j->sh == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		abort();
	(void)fflush(NULL);
	j->helper = fork();
	if (j->helper < 0)
		abort();
	if (j->helper == 0) {
		uid_t uid;
		gid_t gid;
		pid_t z;
		int status;

		(void)close(pair[0]);
		if (kind != JAIL_ROOT && become_user() != 0)
			_exit(EXIT_HELPER);
		uid = getuid();
		gid = getgid();
		z = clone_as(kind, &j->sh->zygote);
		if (z < 0)
			_exit(EXIT_NO_CLONE);
		if (z == 0)
			zygote(j, pair[1], uid, gid, body);
		(void)close(pair[1]);
		if (waitpid(z, &status, 0) != z)
			_exit(EXIT_HELPER);
		j->sh->status = status;
		_exit(0);
	}
	(void)close(pair[1]);
	j->socket = pair[0];
}

int
jail_end(struct jail *j)
{
	int status;

	if (j->socket >= 0)
		(void)close(j->socket);
	j->socket = -1;
	if (waitpid(j->helper, &status, 0) != j->helper)
		abort();
	return status == 0 ? j->sh->status : status;
}

int
jail_enter(struct jail_inside *in)
{
	in->sh->rc = pol_zygote_enter(&in->config, &in->sh->layers, in->sh->err);
	if (in->sh->rc != 0)
		jail_why(in->sh, "zygote: %s", in->sh->err);
	return in->sh->rc;
}

pid_t
jail_worker(struct jail_inside *in, enum pol_role role, jail_worker_body *fn, void *arg,
    const int channel[2])
{
	static const int keep[] = { 0, 1, 2, JAIL_CHANNEL, JAIL_PAGEMAP };
	struct pol_worker_config c = {
		.required = in->config.required,
		.role = role,
		.parent = getpid(),
		.keep = keep,
		.nkeep = sizeof(keep) / sizeof(keep[0]),
		.memory = 1 << 20,
		.cpu_seconds = 30
	};
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (dup2(channel[1], JAIL_CHANNEL) < 0)
		_exit(JAIL_NOT_IN);
	in->sh->pagemap_rc = pol_worker_pagemap(role, in->sh->worker_err);
	if (in->sh->pagemap_rc != 0 && in->sh->pagemap_rc != TN_EUNAVAIL) {
		jail_why(in->sh, "pagemap: %s", in->sh->worker_err);
		_exit(JAIL_NOT_IN);
	}
	if (in->careless)
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	in->sh->worker_rc = pol_worker_enter(&c, &in->sh->worker_layers, in->sh->worker_err);
	if (in->sh->worker_rc != 0) {
		jail_why(in->sh, "worker: %s", in->sh->worker_err);
		_exit(JAIL_NOT_IN);
	}
	_exit(fn(in, arg));
}

int
jail_break_call(int nr, int64_t arg0, int with_errno)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, arg0 < 0 ? 0 : (uint32_t)arg0, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, arg0 < 0 ? UINT32_MAX : (uint32_t)arg0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)with_errno),
	};
	const struct sock_fprog prog = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = (struct sock_filter *)(uintptr_t)code
	};

	/* The caller has CAP_SYS_ADMIN, or no_new_privs. */
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

int
jail_say(int sock, char c)
{
	return sendto(sock, &c, 1, MSG_NOSIGNAL, NULL, 0) == 1 ? 0 : -1;
}

int
jail_hear(int sock)
{
	char c;
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	/* Of its channel a worker has only this; of others a zygote has only that. */
	if (sock == JAIL_CHANNEL)
		return recv(sock, &c, 1, 0) == 1 ? 0 : -1;
	return recvmsg(sock, &m, MSG_CMSG_CLOEXEC) == 1 ? 0 : -1;
}
