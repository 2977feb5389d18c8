/*
 * sv_world.c - the world around the front, played by a test.
 */
#include "config.h"

#include "sv_world.h"

struct world t;

/* -- the directory ------------------------------------------------------------- */

void
put(const char *id, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", t.dir, id);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/contract.js", t.dir, id);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

void
take_away(const char *id)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/contract.js", t.dir, id);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/%s", t.dir, id);
	assert_int_equal(rmdir(path), 0);
}

/* -- the master ---------------------------------------------------------------- */

static void
on_ready(void *arg)
{
	(void)arg;
	t.ready++;
}

static void
on_failed(void *arg, const char *text)
{
	(void)arg;
	(void)text;
	t.failed++;
}

static void
on_want_zygote(void *arg, uint64_t number)
{
	(void)arg;
	t.wanted = number;
}

static void
on_kill_zygote(void *arg, uint64_t number)
{
	(void)arg;
	t.killed = number;
}

static const struct sv_dispatch_ops ops = {
	.ready = on_ready, .failed = on_failed,
	.want_zygote = on_want_zygote, .kill_zygote = on_kill_zygote,
};

void
give_zygote(void)
{
	int pair[2], pidfd = pidfd_open(getpid(), 0);

	assert_true(t.wanted > 0 && pidfd >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(tn_fd_nonblock(pair[1]), 0);
	if (t.zygote >= 0) {
		assert_int_equal(t.before, -1);
		t.before = t.zygote;
		t.generation_before = t.generation;
	}
	t.zygote = pair[1];
	t.generation = t.wanted;
	t.wanted = 0;
	sv_pool_on_zygote(t.pool, t.generation, &pair[0], &pidfd, 0);
	assert_int_equal(pair[0], -1);
	assert_int_equal(pidfd, -1);
}

/* -- the zygote ---------------------------------------------------------------- */

static void
tell_from(int zygote, enum tn_zy_event_type type, uint64_t worker, int status, int pidfd)
{
	struct tn_zy_event e = { .magic = TN_ZY_MAGIC, .type = type, .worker = worker,
	    .status = status };

	assert_int_equal(tn_fd_send(zygote, &e, sizeof(e), &pidfd, pidfd >= 0 ? 1 : 0),
	    sizeof(e));
}

void
tell(enum tn_zy_event_type type, uint64_t worker, int status, int pidfd)
{
	tell_from(t.zygote, type, worker, status, pidfd);
}

void
tell_spawned(const struct proc *p)
{
	int pidfd = pidfd_open(getpid(), 0);

	tell_from(p->zygote, TN_ZY_SPAWNED, p->number, 0, pidfd);
	close(pidfd);
}

static void
on_spawn(int zygote, const struct tn_zy_cmd *cmd, const int *fds, int nfds)
{
	struct proc *p = &t.proc[t.nprocs++];

	assert_true(t.nprocs < PROCS_MAX);
	assert_int_equal(nfds, 2);
	*p = (struct proc){ .number = cmd->worker, .role = cmd->role, .fd = fds[0],
	    .slots_fd = fds[1], .zygote = zygote,
	    .generation = zygote == t.before ? t.generation_before : t.generation };
	assert_int_equal(tn_fd_nonblock(p->fd), 0);
	p->slots = mmap(NULL, TN_SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p->slots_fd, 0);
	assert_ptr_not_equal(p->slots, MAP_FAILED);
	tell_spawned(p);
}

/* Obey what the front has asked the zygote for. */
static void
obey_one(int zygote)
{
	struct tn_zy_cmd cmd;
	int fds[2], nfds;
	unsigned i;

	while (zygote >= 0) {
		nfds = 2;
		if (tn_fd_recv(zygote, &cmd, sizeof(cmd), fds, &nfds) != sizeof(cmd))
			return;
		if (cmd.op == TN_ZY_SPAWN)
			on_spawn(zygote, &cmd, fds, nfds);
		t.ends += cmd.op == TN_ZY_EXIT;
		for (i = 0; cmd.op == TN_ZY_SIGNAL && i < t.nprocs; i++)
			if (t.proc[i].number == cmd.worker) {
				t.proc[i].alarms += cmd.signal == SIGALRM;
				t.proc[i].kills += cmd.signal == SIGKILL;
			}
	}
}

static void
obey(void)
{
	obey_one(t.before);
	obey_one(t.zygote);
}

/* All that can be done without waiting. */
void
turn(void)
{
	unsigned i;

	for (i = 0; i < 8; i++) {
		obey();
		event_base_loop(t.base, EVLOOP_NONBLOCK);
	}
	obey();
}

static void
close_proc(struct proc *p)
{
	p->gone = true;
	tn_fd_close(&p->fd);
	tn_fd_close(&p->slots_fd);
	if (p->slots != NULL)
		munmap(p->slots, TN_SLOTS_BYTES);
	p->slots = NULL;
	tn_buf_fini(&p->in);
}

void
die(struct proc *p, int status)
{
	close_proc(p);
	tell_from(p->zygote, TN_ZY_EXITED, p->number, status, -1);
	turn();
}

void
zygote_before_ends(void)
{
	unsigned i;

	for (i = 0; i < t.nprocs; i++)
		if (t.proc[i].zygote == t.before && !t.proc[i].gone)
			close_proc(&t.proc[i]);
	tn_fd_close(&t.before);
	turn();
}

/* The zygote ends, and all that it has forked. */
void
zygote_dies(void)
{
	unsigned i;

	for (i = 0; i < t.nprocs; i++)
		if (t.proc[i].zygote == t.zygote)
			close_proc(&t.proc[i]);
	tn_fd_close(&t.zygote);
	turn();
}

/* The i-th process of a role that lives, from 0; NULL: there are not so many. */
struct proc *
living(enum tn_zy_role role, unsigned i)
{
	unsigned k;

	for (k = 0; k < t.nprocs; k++)
		if (!t.proc[k].gone && t.proc[k].role == role && i-- == 0)
			return &t.proc[k];
	return NULL;
}

unsigned
count(enum tn_zy_role role)
{
	unsigned n = 0;

	while (living(role, n) != NULL)
		n++;
	return n;
}

struct proc *
worker(unsigned i)
{
	struct proc *p = living(TN_ROLE_WORKER, i);

	assert_non_null(p);
	return p;
}

/* -- the workers --------------------------------------------------------------- */

void
say(struct proc *p, const struct tn_frame *f)
{
	struct tn_buf out = { 0 };
	ssize_t n;

	assert_int_equal(tn_frame_encode(&out, f), 0);
	while (out.len > 0) {		/* more than the socket holds: the front reads meanwhile */
		n = send(p->fd, out.p, out.len, MSG_NOSIGNAL);
		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		if (n > 0)
			tn_buf_consume(&out, (size_t)n);
		if (out.len > 0)
			event_base_loop(t.base, EVLOOP_NONBLOCK);
	}
	tn_buf_fini(&out);
}

void
say_ready(struct proc *p)
{
	struct tn_frame f = { .type = TN_FRAME_READY,
	    .ready = { .version = TN_FRAMES_VERSION, .generation = p->generation } };

	say(p, &f);
	turn();
}

/* p takes the image that comes with its frame; without one it has it already. */
static void
keep(struct proc *p)
{
	const struct tn_frame_invoke *f = &p->f.invoke;

	if (f->image == 0)
		return;
	assert_true(f->image_slot < TN_IMAGES_MAX);
	if (f->delta.len > 0) {
		p->kept[f->image_slot].number = f->image;
		p->kept[f->image_slot].of = f->delta.p[0];
	}
	assert_int_equal(p->kept[f->image_slot].number, f->image);
	assert_int_equal(p->kept[f->image_slot].of, f->contract.p[0]);
}

/* The next frame that p was sent, of this type, in p->f; false: there is none. */
bool
has_frame(struct proc *p, enum tn_frame_type type)
{
	char chunk[65536];
	unsigned left = TURNS_MAX;
	ssize_t n;
	int err;

	turn();
	tn_buf_consume(&p->in, p->used);
	p->used = 0;
	do {				/* a long one comes in pieces */
		event_base_loop(t.base, EVLOOP_NONBLOCK);
		while ((n = tn_fd_recv(p->fd, chunk, sizeof(chunk), NULL, NULL)) > 0)
			tn_buf_append(&p->in, chunk, (size_t)n);
		if (p->in.len == 0)
			return false;
		err = tn_frame_decode(t.decoder, TN_DIR_TO_WORKER, p->in.p, p->in.len, &p->f,
		    &p->used);
	} while (err == TN_EAGAIN && left-- > 0);
	assert_int_equal(err, 0);
	assert_int_equal(p->f.type, type);
	if (type == TN_FRAME_INVOKE)
		keep(p);
	return true;
}

/* p runs what it was given. */
void
take(struct proc *p)
{
	assert_true(has_frame(p, TN_FRAME_INVOKE));
	assert_true(tn_slot_move(p->slots, (unsigned)p->f.invoke.slot, p->f.invoke.id,
	    TN_SLOT_QUEUED, TN_SLOT_RUNNING));
}

void
say_reply(struct proc *p, uint64_t id, const char *body)
{
	struct tn_frame f = { .type = TN_FRAME_REPLY, .reply = { .id = id, .message = TN_STR(""),
	    .status = 200, .body = tn_str(body) } };

	say(p, &f);
}

void
reply(struct proc *p, const char *body)
{
	say_reply(p, p->f.invoke.id, body);
	turn();
}

/* p, a builder, makes an image of so many bytes. */
void
build_of(struct proc *p, size_t bytes)
{
	struct tn_str export = TN_STR("get");
	struct tn_frame f = { .type = TN_FRAME_BUILT };
	char *delta = malloc(bytes);

	assert_non_null(delta);
	assert_true(has_frame(p, TN_FRAME_BUILD));
	memset(delta, p->f.build.contract.p[0], bytes);
	f.built = (struct tn_frame_built){ .id = p->f.build.id, .message = TN_STR(""),
	    .exports = { &export, 1 }, .delta = { delta, bytes } };
	say(p, &f);
	free(delta);
	die(p, 0);
}

void
build(struct proc *p)
{
	build_of(p, IMAGE_BYTES);
}

void
build_next(void)
{
	struct proc *p;

	RUN_UNTIL(count(TN_ROLE_BUILDER) > 0);
	p = living(TN_ROLE_BUILDER, 0);
	say_ready(p);
	build(p);
}

/* -- the HTTP side ----------------------------------------------------------------- */

void
on_done(struct sv_request *rq, const struct sv_reply *r, void *arg)
{
	struct result *res = arg;

	res->n++;
	res->fault = r->fault;
	res->status = r->status;
	res->retry_after = r->retry_after;
	snprintf(res->body, sizeof(res->body), "%.*s", (int)r->body.len,
	    r->body.p != NULL ? r->body.p : "");
	res->rq = NULL;
	sv_request_free(&rq);
	if (res->then != NULL)
		res->then(res);
}

void
submit(struct result *res, const char *contract)
{
	struct sv_request *rq = sv_request_new();

	assert_non_null(rq);
	strcpy(rq->contract, contract);
	rq->method = TN_STR("GET");
	rq->url = TN_STR("http://localhost/");
	rq->path = TN_STR("/");
	rq->query = rq->ip = TN_STR("");
	rq->done = on_done;
	rq->done_arg = res;
	rq->received_us = tn_clock_us();
	res->rq = rq;
	sv_dispatch_submit(t.d, &rq);
	assert_null(rq);
}

void
get(struct result *res, const char *contract)
{
	submit(res, contract);
	turn();
}

void
cancel(struct result *res)
{
	sv_dispatch_cancel(t.d, &res->rq);
	assert_null(res->rq);
	turn();
}

void
assert_answered(const struct result *res, const char *body)
{
	assert_int_equal(res->n, 1);
	assert_int_equal(res->fault, TN_FAULT_NONE);
	assert_int_equal(res->status, 200);
	assert_string_equal(res->body, body);
}

void
assert_fault(const struct result *res, enum tn_fault fault)
{
	assert_int_equal(res->n, 1);
	assert_int_equal(res->fault, fault);
}

/* -- before and after ------------------------------------------------------------ */

int
setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.zygote = t.before = -1;
	strcpy(t.dir, "/tmp/tana-dispatch-XXXXXX");
	if (mkdtemp(t.dir) == NULL)
		return -1;
	t.dir_fd = open(t.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t.opt = tn_options_new();
	t.base = event_base_new();
	t.decoder = tn_frame_decoder_new(0);
	tn_log_open("test", open("/dev/null", O_WRONLY | O_CLOEXEC), TN_LOG_ERROR, TN_LOG_TEXT);
	t.opt->workers_min = 1;
	t.opt->workers_standby = 0;	/* who wants one says so */
	t.opt->workers_max = 1;
	t.opt->worker_depth = 1;	/* the same */
	t.opt->max_requests = 0;
	t.opt->memory_max = 1 << 20;
	/* So long that only a test that shortens one of them meets it. */
	t.opt->deadline_ms = t.opt->queue_timeout_ms = t.opt->workers_idle_ms = 3600000;
	t.opt->worker_stall_us = 3600000000;
	sv_stats_init(&t.stats);
	t.d = sv_dispatch_new(t.base, t.opt, &t.stats, NULL, t.dir_fd, &ops, NULL);
	t.pool = sv_dispatch_pool(t.d);
	sv_pool_start(t.pool);
	put("a", "exports.get = 1;");
	put("b", "exports.get = 2;");
	return 0;
}

int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	sv_dispatch_free(&t.d);
	for (unsigned i = 0; i < t.nprocs; i++)
		close_proc(&t.proc[i]);
	tn_fd_close(&t.zygote);
	tn_fd_close(&t.before);
	event_base_free(t.base);
	tn_options_free(&t.opt);
	tn_frame_decoder_free(&t.decoder);
	tn_fd_close(&t.dir_fd);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", t.dir);
	return system(cmd);
}

/* A zygote that is ready, and workers_min workers that are. */
void
serve(void)
{
	unsigned i;

	give_zygote();
	tell(TN_ZY_READY, 0, 0, -1);
	turn();
	for (i = 0; i < (unsigned)t.opt->workers_min; i++)
		say_ready(worker(i));
	assert_int_equal(t.ready, 1);
}

/* The contract's image is built. */
void
load(const char *contract)
{
	struct result r = { 0 };

	get(&r, contract);
	cancel(&r);
	build_next();
}
