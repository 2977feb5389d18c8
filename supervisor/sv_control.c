/*
 * sv_control.c - the control socket.
 */
#include "config.h"

#include "sv_control.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_accept.h"
#include "sv_contract.h"
#include "sv_dispatch.h"
#include "sv_gather.h"
#include "sv_image.h"
#include "sv_memory.h"
#include "sv_peers.h"
#include "sv_pool.h"
#include "sv_stats.h"
#include "sv_storage.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_layers.h"
#include "tn_log.h"
#include "tn_options.h"
#include "tn_rpc.h"

#define CLIENTS_MAX	32u
#define PENDING_MAX	256u		/* calls that are answered later */
#define OUTPUT_MAX	(8u << 20)	/* a client that does not read is dropped */
#define RECORD_MAX	(64u << 10)	/* of another shard's log */
#define TAIL_MAX	(256u << 10)	/* records not read; more are left out, and counted */
#define BACKUP_CHUNK	(1u << 20)	/* bytes of a backup in one answer */

struct client {
	TAILQ_ENTRY(client) link;
	struct sv_control *ct;
	struct bufferevent *bev;
	struct tn_rpc_reader *reader;
	bool		 shard;		/* the first one asks, for a client of its own */
	/* who follows the log */
	bool		 tail, json, relay;	/* relay: for others, who choose */
	char		 contract[SV_CONTRACT_MAX + 1];	/* only this one's; or empty */
	uint64_t	 lost;
	int		 backup;	/* what it is being given; -1: nothing */
	uint64_t	 backup_bytes;
};

/* A call that is answered later; its client may leave before. */
struct pending {
	TAILQ_ENTRY(pending) link;
	struct sv_control *ct;
	struct client	*client;
	uint64_t	 id;
	bool		 notify;
	bool		 reload;	/* waits for the master's reload */
	bool		 upgrade;	/* waits for the master's upgrade */
	unsigned	 count;
};

struct sv_control {
	struct event_base *base;
	int		 fd;		/* listening, until it is opened */
	struct sv_accept *accept;	/* NULL: nobody is accepted */
	const struct tn_options *opt;
	struct sv_dispatch *dispatch;
	struct sv_stats	*stats;
	struct sv_storage *storage;
	const struct sv_control_ops *ops;
	void		*arg;
	struct sv_peers	*peers;		/* NULL: there is one shard, or this is not the first */
	struct sv_gather *gather;
	unsigned	 nclients, npending, ntails;
	TAILQ_HEAD(, client) clients;
	TAILQ_HEAD(, pending) pending;
};

typedef void handler(struct client *cl, const struct tn_rpc_call *c);

static void on_readable(struct bufferevent *bev, void *arg);
static void on_client_event(struct bufferevent *bev, short what, void *arg);

/* The first shard begins to hear the others' logs, or has heard enough. */
static void
relay_from(struct sv_control *ct, unsigned shard, bool on)
{
	struct tn_buf params = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &params);
	msgpack_pack_array(&pk, 1);
	msgpack_pack_map(&pk, 1);
	tn_rpc_pack_key(&pk, "relay");
	if (on)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
	if (!params.failed)
		sv_peers_tell(ct->peers, shard, "tail", (struct tn_str){ params.p, params.len });
	tn_buf_fini(&params);
}

static void
relay_from_all(struct sv_control *ct, bool on)
{
	unsigned i;

	if (ct->peers == NULL)
		return;
	for (i = 1; i < sv_peers_count(ct->peers); i++)
		relay_from(ct, i, on);
}

static void on_log_line(void *arg, const struct tn_log_line *l);

static void
tail_begin(struct client *cl)
{
	if (cl->tail)
		return;
	cl->tail = true;
	if (cl->ct->ntails++ > 0)
		return;
	tn_log_set_tap(on_log_line, cl->ct);
	relay_from_all(cl->ct, true);
}

static void
tail_end(struct client *cl)
{
	if (!cl->tail)
		return;
	cl->tail = false;
	if (--cl->ct->ntails > 0)
		return;
	tn_log_set_tap(NULL, NULL);
	relay_from_all(cl->ct, false);
}

static void
client_free(struct client *cl)
{
	struct pending *p;

	TAILQ_FOREACH(p, &cl->ct->pending, link)
		if (p->client == cl)
			p->client = NULL;
	TAILQ_REMOVE(&cl->ct->clients, cl, link);
	if (!cl->shard)
		cl->ct->nclients--;
	tail_end(cl);
	bufferevent_free(cl->bev);
	tn_rpc_reader_free(&cl->reader);
	tn_fd_close(&cl->backup);
	free(cl);
}

/* A notification wants no answer. */
static void
client_send(struct client *cl, bool notify, struct tn_buf *out)
{
	if (!out->failed && !notify)
		bufferevent_write(cl->bev, out->p, out->len);
	tn_buf_fini(out);
}

static void
refuse(struct client *cl, const struct tn_rpc_call *c, const char *message)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_error(&pk, c->id, message);
	client_send(cl, c->notify, &out);
}

/* A list, which has no other bound than what there is. */
static void
send_list(struct client *cl, const struct tn_rpc_call *c, struct tn_buf *out)
{
	if (!cl->shard || out->len <= SV_PEERS_ANSWER_MAX) {
		client_send(cl, c->notify, out);
		return;
	}
	tn_buf_fini(out);
	refuse(cl, c, "has too much to tell");
}

/* -- calls that are answered later ------------------------------------------- */

static struct pending *
pending_new(struct client *cl, const struct tn_rpc_call *c)
{
	struct pending *p;

	if (cl->ct->npending == PENDING_MAX) {
		refuse(cl, c, "too many calls are waiting for their answers");
		return NULL;
	}
	if ((p = calloc(1, sizeof(*p))) == NULL) {
		refuse(cl, c, "out of memory");
		return NULL;
	}
	cl->ct->npending++;
	p->ct = cl->ct;
	p->client = cl;
	p->id = c->id;
	p->notify = c->notify;
	TAILQ_INSERT_TAIL(&cl->ct->pending, p, link);
	return p;
}

/* Answer with { key: n }, or with the error. */
static void
pending_answer(struct pending *p, const char *error, const char *key, uint64_t n)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	TAILQ_REMOVE(&p->ct->pending, p, link);
	p->ct->npending--;
	if (p->client != NULL) {
		tn_rpc_packer(&pk, &out);
		if (error != NULL) {
			tn_rpc_pack_error(&pk, p->id, error);
		} else {
			tn_rpc_pack_result(&pk, p->id);
			msgpack_pack_map(&pk, 1);
			tn_rpc_pack_key(&pk, key);
			msgpack_pack_uint64(&pk, n);
		}
		client_send(p->client, p->notify, &out);
	}
	free(p);
}

/* All shards have answered, or had their time. */
static void
on_gathered(void *arg, const char *error, const struct tn_buf *result)
{
	struct pending *p = arg;
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	TAILQ_REMOVE(&p->ct->pending, p, link);
	p->ct->npending--;
	if (p->client != NULL) {
		tn_rpc_packer(&pk, &out);
		if (error != NULL)
			tn_rpc_pack_error(&pk, p->id, error);
		else {
			tn_rpc_pack_result(&pk, p->id);
			tn_buf_append(&out, result->p, result->len);
		}
		client_send(p->client, p->notify, &out);
	}
	free(p);
}

static void
on_recycled(void *arg)
{
	struct pending *p = arg;

	pending_answer(p, NULL, "recycled", p->count);
}

static void
on_rotated(void *arg, const char *error)
{
	struct pending *p = arg;
	const struct sv_generation *g = sv_pool_generation(sv_dispatch_pool(p->ct->dispatch));

	pending_answer(p, error, "generation", g != NULL ? g->number : 0);
}

static void
on_contract_reloaded(void *arg, int err, enum tn_fault fault, const char *message)
{
	struct pending *p = arg;
	char text[4096];

	if (err != 0) {
		snprintf(text, sizeof(text), "%s: %s", tn_fault_info(fault)->code,
		    message != NULL && message[0] != '\0' ? message : tn_strerror(err));
		pending_answer(p, text, NULL, 0);
	} else
		pending_answer(p, NULL, "contracts", 1);
}

/* { contracts: n, restart: text } */
static void
answer_reloaded(struct pending *p, const char *restart)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	TAILQ_REMOVE(&p->ct->pending, p, link);
	p->ct->npending--;
	if (p->client != NULL) {
		tn_rpc_packer(&pk, &out);
		tn_rpc_pack_result(&pk, p->id);
		msgpack_pack_map(&pk, 2);
		tn_rpc_pack_key(&pk, "contracts");
		msgpack_pack_uint64(
		    &pk, sv_contracts_count(sv_dispatch_contracts(p->ct->dispatch)));
		tn_rpc_pack_key(&pk, "restart");
		tn_rpc_pack_str(&pk, tn_str(restart));
		client_send(p->client, p->notify, &out);
	}
	free(p);
}

void
sv_control_reloaded(struct sv_control *ct, const char *error, const char *restart)
{
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&ct->pending); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->reload && error != NULL)
			pending_answer(p, error, NULL, 0);
		else if (p->reload)
			answer_reloaded(p, restart);
	}
}

void
sv_control_upgraded(struct sv_control *ct, const char *error, uint64_t pid)
{
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&ct->pending); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->upgrade)
			pending_answer(p, error, "pid", pid);
	}
}

/* -- handlers ------------------------------------------------------------------ */

/* The call's only parameter as a text that fits into buf; false: there is none such. */
static bool
take_str(const msgpack_object *o, char *buf, size_t size)
{
	if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= size ||
	    memchr(o->via.str.ptr, '\0', o->via.str.size) != NULL)
		return false;
	memcpy(buf, o->via.str.ptr, o->via.str.size);
	buf[o->via.str.size] = '\0';
	return true;
}

static void
on_ping(struct client *cl, const struct tn_rpc_call *c)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	tn_rpc_pack_str(&pk, TN_STR("pong"));
	client_send(cl, c->notify, &out);
}

static void
pack_text(msgpack_packer *pk, const char *key, const char *value)
{
	tn_rpc_pack_key(pk, key);
	tn_rpc_pack_str(pk, tn_str(value));
}

static void
pack_number(msgpack_packer *pk, const char *key, uint64_t value)
{
	tn_rpc_pack_key(pk, key);
	msgpack_pack_uint64(pk, value);
}

static void
take_storage(const struct sv_control *ct, struct sv_storage_stat *st)
{
	if (ct->storage != NULL) {
		sv_storage_stat(ct->storage, st);
		return;
	}
	memset(st, 0, sizeof(*st));
	snprintf(st->error, sizeof(st->error), "there is none");
}

static void
on_storage(struct client *cl, const struct tn_rpc_call *c)
{
	const struct sv_control *ct = cl->ct;
	const struct sv_stats *stats = ct->stats;
	struct tn_buf out = { 0 };
	struct sv_storage_stat st;
	msgpack_packer pk;

	take_storage(ct, &st);
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_map(&pk, 15);
	pack_text(&pk, "path", st.path);
	pack_text(&pk, "state", st.error[0] != '\0' ? st.error : "ok");
	pack_text(&pk, "durability", tn_options_choice("storage_durability",
	    ct->opt->storage_durability));
	pack_number(&pk, "size", st.size);
	pack_number(&pk, "size_max", st.size_max);
	pack_number(&pk, "contracts", st.contracts);
	pack_number(&pk, "keys", st.keys);
	pack_number(&pk, "bytes", st.bytes);
	pack_number(&pk, "sequence", st.sequence);
	pack_number(&pk, "commits", stats->commits);
	pack_number(&pk, "commit_bytes", stats->commit_bytes);
	pack_number(&pk, "conflicts", stats->commit_conflicts);
	pack_number(&pk, "batches", stats->commit_batches);
	pack_number(&pk, "syncs", stats->storage_syncs);
	pack_number(&pk, "reruns", stats->reruns);
	client_send(cl, c->notify, &out);
}

static void
on_copied(void *arg, int fd, const char *text)
{
	struct pending *p = arg;
	struct client *cl = p->client;
	struct stat st;

	if (fd >= 0 && cl != NULL && fstat(fd, &st) == 0) {
		tn_fd_close(&cl->backup);
		cl->backup = fd;
		cl->backup_bytes = (uint64_t)st.st_size;
		pending_answer(p, NULL, "bytes", cl->backup_bytes);
		return;
	}
	tn_fd_close(&fd);
	pending_answer(p, text, "bytes", 0);
}

/* A part of the copy that was made for this client. */
static void
send_backup(struct client *cl, const struct tn_rpc_call *c, uint64_t offset)
{
	uint64_t left = offset < cl->backup_bytes ? cl->backup_bytes - offset : 0;
	size_t n = left < BACKUP_CHUNK ? (size_t)left : BACKUP_CHUNK;
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	char *bytes;

	if (cl->backup < 0 || n == 0) {
		refuse(cl, c, "there is no such part of a backup");
		return;
	}
	if ((bytes = malloc(n)) == NULL ||
	    pread(cl->backup, bytes, n, (off_t)offset) != (ssize_t)n) {
		refuse(cl, c, bytes == NULL ? "out of memory" : "the copy cannot be read");
		free(bytes);
		return;
	}
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_bin(&pk, n);
	msgpack_pack_bin_body(&pk, bytes, n);
	free(bytes);
	if (offset + n == cl->backup_bytes)
		tn_fd_close(&cl->backup);
	client_send(cl, c->notify, &out);
}

/* backup [] makes a copy and says its length, backup [offset] gives a part of it. */
static void
on_backup(struct client *cl, const struct tn_rpc_call *c)
{
	const msgpack_object_array *a = &c->params->via.array;
	struct pending *p;

	if (a->size == 1 && a->ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
		send_backup(cl, c, a->ptr[0].via.u64);
		return;
	}
	if (a->size != 0) {
		refuse(cl, c, "backup takes nothing, or where to go on");
		return;
	}
	if (cl->ct->storage == NULL) {
		refuse(cl, c, "there is no storage");
		return;
	}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	if (sv_storage_copy(cl->ct->storage, on_copied, p) != 0)
		pending_answer(p, "another backup is being made", NULL, 0);
}

static void
on_status(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_control *ct = cl->ct;
	const struct sv_generation *g = sv_pool_generation(sv_dispatch_pool(ct->dispatch));
	uint32_t layers = g != NULL ? g->layers : 0;
	const char *restore = g == NULL ? NULL : tn_options_choice("restore", (int)g->restore);
	const struct tn_layer_info *info;
	struct tn_buf out = { 0 };
	struct sv_storage_stat st;
	msgpack_packer pk;
	size_t i, known, n = 0;

	sv_dispatch_gauges(ct->dispatch);
	take_storage(ct, &st);
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_map(&pk, 13);
	pack_text(&pk, "version", PACKAGE_VERSION);
	pack_number(&pk, "pid", (uint64_t)getppid());
	pack_text(&pk, "state", ct->ops->state(ct->arg));
	pack_number(&pk, "uptime_seconds", (tn_clock_us() - ct->stats->started_us) / 1000000u);
	pack_number(&pk, "generation", g != NULL ? g->number : 0);
	pack_text(&pk, "isolation", tn_options_choice("isolation", ct->opt->isolation));
	pack_text(&pk, "restore", restore != NULL ? restore : "");
	pack_text(&pk, "sandbox", tn_options_choice("sandbox", ct->opt->sandbox));
#ifdef WK_DUK_SOURCE
	pack_text(&pk, "duktape", "source");
#else
	pack_text(&pk, "duktape", "system");
#endif
	pack_number(&pk, "workers", ct->stats->workers);
	pack_number(&pk, "contracts", ct->stats->contracts);
	pack_text(&pk, "storage", st.error[0] != '\0' ? st.error : "ok");
	tn_rpc_pack_key(&pk, "layers");
	info = tn_layers(&known);
	for (i = 0; i < known; i++)
		n += (layers & info[i].bit) != 0;
	msgpack_pack_array(&pk, n);
	for (i = 0; i < known; i++)
		if (layers & info[i].bit)
			tn_rpc_pack_str(&pk, tn_str(info[i].name));
	client_send(cl, c->notify, &out);
}

static void
on_stats(struct client *cl, const struct tn_rpc_call *c)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	sv_dispatch_gauges(cl->ct->dispatch);
	cl->ct->stats->uptime_seconds = (tn_clock_us() - cl->ct->stats->started_us) / 1000000u;
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	sv_stats_pack(cl->ct->stats, &pk);
	client_send(cl, c->notify, &out);
}

struct walk {
	msgpack_packer	*pk;
	uint64_t	 now;
	unsigned	 n;
};

/* One asked for and not heard of has no pid yet; a dead one may lend its pid to another. */
static bool
listed(const struct sv_worker *w)
{
	return w->state != TN_WS_DEAD && w->pid > 0;
}

static void
count_worker(void *arg, const struct sv_worker *w)
{
	struct walk *k = arg;

	k->n += listed(w);
}

static void
pack_worker(void *arg, const struct sv_worker *w)
{
	struct walk *k = arg;
	uint64_t own, shared, images = 0;

	if (!listed(w))
		return;
	for (unsigned i = 0; i < TN_IMAGES_MAX; i++)
		images += w->kept.image[i] != 0;
	sv_memory_of(w->pid, &own, &shared);
	msgpack_pack_map(k->pk, 10);
	pack_number(k->pk, "pid", (uint64_t)w->pid);
	pack_number(k->pk, "generation", w->generation->number);
	pack_text(k->pk, "state", w->standby ? "standby" : tn_wstate_name(w->state));
	pack_text(k->pk, "contract", w->contract);
	pack_number(k->pk, "requests", w->requests);
	tn_rpc_pack_key(k->pk, "age");
	msgpack_pack_double(k->pk, (double)((k->now - w->born_us) / 1000u) / 1e3);
	pack_number(k->pk, "private_bytes", own);
	pack_number(k->pk, "shared_bytes", shared);
	pack_number(k->pk, "images", images);
	pack_number(k->pk, "frames", w->nframes);
}

static void
on_workers(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_pool *pool = sv_dispatch_pool(cl->ct->dispatch);
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	struct walk k = { &pk, tn_clock_us(), 0 };

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	sv_pool_each(pool, count_worker, &k);
	msgpack_pack_array(&pk, k.n);
	sv_pool_each(pool, pack_worker, &k);
	send_list(cl, c, &out);
}

static const char *
contract_state(const struct sv_contract *c)
{
	uint64_t left;

	if (sv_breaker_refuses(&c->breaker, tn_clock_us(), &left))
		return "quarantined";
	if (c->current == NULL)
		return c->next != NULL ? "loading" : "failed";
	return c->next != NULL ? "updating" : c->failed_signature != 0 ? "update failed" :
	    "serving";
}

static void
count_contract(void *arg, struct sv_contract *c)
{
	struct walk *k = arg;

	(void)c;
	k->n++;
}

static void
pack_contract(void *arg, struct sv_contract *c)
{
	struct walk *k = arg;
	const struct sv_version *v = c->current;
	unsigned i = 0;

	msgpack_pack_map(k->pk, 7 + SV_STATUSES);
	pack_text(k->pk, "contract", c->id);
	pack_text(k->pk, "state", contract_state(c));
	pack_number(k->pk, "version", v != NULL ? v->number : 0);
	pack_text(k->pk, "isolation",
	    v != NULL ? tn_options_choice("isolation", (int)v->isolation) : "");
	pack_text(k->pk, "allow", v != NULL ? v->allow : "");
	pack_number(k->pk, "requests", c->requests);
#define TN_STATUS(name, class, doc) pack_number(k->pk, #name, c->answers[i++]);
#include "metrics.def"
	pack_number(k->pk, "image_bytes", v != NULL && v->image != NULL ? v->image->bytes : 0);
}

static void
on_contracts(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_contracts *cs = sv_dispatch_contracts(cl->ct->dispatch);
	struct tn_buf out = { 0 };
	msgpack_packer pk;
	struct walk k = { &pk, tn_clock_us(), 0 };

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	sv_contracts_each(cs, count_contract, &k);
	msgpack_pack_array(&pk, k.n);
	sv_contracts_each(cs, pack_contract, &k);
	send_list(cl, c, &out);
}

static void
on_recycle(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_pool *pool = sv_dispatch_pool(cl->ct->dispatch);
	const msgpack_object_map *m;
	char contract[SV_CONTRACT_MAX + 1] = "";
	struct pending *p;
	uint64_t pid = 0;
	bool all = false;
	size_t i;

	if (c->params->via.array.size != 1 ||
	    c->params->via.array.ptr[0].type != MSGPACK_OBJECT_MAP) {
		refuse(cl, c, "recycle takes one map: pid, contract or all");
		return;
	}
	m = &c->params->via.array.ptr[0].via.map;
	for (i = 0; i < m->size; i++) {
		const msgpack_object *v = &m->ptr[i].val;
		char key[16];

		if (!take_str(&m->ptr[i].key, key, sizeof(key)))
			key[0] = '\0';
		if (strcmp(key, "pid") == 0 && v->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
		    v->via.u64 > 0 && v->via.u64 <= INT32_MAX) {
			pid = v->via.u64;
		} else if (strcmp(key, "all") == 0 && v->type == MSGPACK_OBJECT_BOOLEAN) {
			all = v->via.boolean;
		} else if (strcmp(key, "contract") != 0 ||
		    !take_str(v, contract, sizeof(contract)) || contract[0] == '\0') {
			refuse(cl, c, "recycle: pid is a number, contract a text, all a boolean");
			return;
		}
	}
	if ((pid != 0) + (contract[0] != '\0') + all != 1) {
		refuse(cl, c, "recycle: one of pid, contract, all");
		return;
	}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	/* It may be answered before this returns: the count is read at the end only. */
	p->count = sv_pool_recycle(pool, (pid_t)pid, contract[0] != '\0' ? contract : NULL,
	    TN_RETIRE_ASKED, on_recycled, p);
	if (p->count > 0)
		return;
	if (pid != 0)
		pending_answer(p, "no worker has this pid", NULL, 0);
	else
		pending_answer(p, NULL, "recycled", 0);
}

static void
on_reload(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_control *ct = cl->ct;
	const msgpack_object_array *a = &c->params->via.array;
	char id[SV_CONTRACT_MAX + 1];
	struct pending *p;
	int err;

	if (a->size > 1 || (a->size == 1 && !take_str(&a->ptr[0], id, sizeof(id)))) {
		refuse(cl, c, "reload takes nothing, or a contract's identifier");
		return;
	}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	if (a->size == 0) {
		p->reload = true;
		ct->ops->reload(ct->arg);
		return;
	}
	err = sv_contracts_reload_one(sv_dispatch_contracts(ct->dispatch), id,
	    on_contract_reloaded, p);
	if (err == TN_ENOENT)
		pending_answer(p, "no such contract", NULL, 0);
	else if (err != 0)
		pending_answer(p, err == TN_EBUSY ? "it is being reloaded already" :
		    tn_strerror(err), NULL, 0);
}

/* -- the log, live -- */

static void
tell(struct client *cl, const char *what, const struct tn_str *line, uint64_t n)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_notification(&pk, what, 1);
	if (line != NULL)
		tn_rpc_pack_str(&pk, *line);
	else
		msgpack_pack_uint64(&pk, n);
	client_send(cl, false, &out);
}

static void
tell_lost(struct client *cl)
{
	if (cl->lost > 0)
		tell(cl, "lost", NULL, cl->lost);
	cl->lost = 0;
}

static void
tell_relay(struct client *cl, const struct tn_log_line *l)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_notification(&pk, "record", 3);
	tn_rpc_pack_key(&pk, l->contract);
	tn_rpc_pack_str(&pk, l->log);
	tn_rpc_pack_str(&pk, l->json);
	client_send(cl, false, &out);
}

/* Called in the middle of whatever makes a record: it only appends, and never waits. */
static void
on_log_line(void *arg, const struct tn_log_line *l)
{
	struct sv_control *ct = arg;
	struct client *cl;

	TAILQ_FOREACH(cl, &ct->clients, link) {
		if (!cl->tail || (cl->contract[0] != '\0' &&
		    strcmp(cl->contract, l->contract) != 0))
			continue;
		if (evbuffer_get_length(bufferevent_get_output(cl->bev)) > TAIL_MAX) {
			cl->lost++;
			continue;
		}
		tell_lost(cl);
		if (cl->relay)
			tell_relay(cl, l);
		else
			tell(cl, "log", cl->json ? &l->json : &l->log, 0);
	}
}

static bool
text_of(const msgpack_object *o, struct tn_str *s)
{
	*s = (struct tn_str){ o->via.str.ptr, o->via.str.size };
	return o->type == MSGPACK_OBJECT_STR && s->len <= RECORD_MAX;
}

void
sv_control_said(struct sv_control *ct, struct tn_str what, const msgpack_object *params)
{
	const msgpack_object_array *a = &params->via.array;
	char contract[SV_CONTRACT_MAX + 1];
	struct tn_log_line l;
	struct client *cl;

	if (tn_str_is(what, "record") && a->size == 3 && take_str(&a->ptr[0], contract,
	    sizeof(contract)) && text_of(&a->ptr[1], &l.log) && text_of(&a->ptr[2], &l.json)) {
		l.contract = contract;
		on_log_line(ct, &l);
	} else if (tn_str_is(what, "lost") && a->size == 1 &&
	    a->ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		TAILQ_FOREACH(cl, &ct->clients, link)
			if (cl->tail)
				cl->lost += a->ptr[0].via.u64;
}

/* It has read all: who was too slow hears of it, also when nothing follows. */
static void
on_writable(struct bufferevent *bev, void *arg)
{
	(void)bev;
	tell_lost(arg);
}

static void
on_tail(struct client *cl, const struct tn_rpc_call *c)
{
	const msgpack_object_array *a = &c->params->via.array;
	const msgpack_object_map *m;
	char contract[SV_CONTRACT_MAX + 1] = "";
	struct tn_buf out = { 0 };
	bool json = false, relay = false, follow = true;
	msgpack_packer pk;
	char key[16];
	size_t i;

	if (a->size > 1 || (a->size == 1 && a->ptr[0].type != MSGPACK_OBJECT_MAP)) {
		refuse(cl, c, "tail takes nothing, or one map: contract, json");
		return;
	}
	m = a->size == 1 ? &a->ptr[0].via.map : NULL;
	for (i = 0; m != NULL && i < m->size; i++) {
		const msgpack_object *v = &m->ptr[i].val;

		if (!take_str(&m->ptr[i].key, key, sizeof(key)))
			key[0] = '\0';
		if (strcmp(key, "json") == 0 && v->type == MSGPACK_OBJECT_BOOLEAN)
			json = v->via.boolean;
		else if (cl->shard && strcmp(key, "relay") == 0 &&
		    v->type == MSGPACK_OBJECT_BOOLEAN) {
			relay = true;
			follow = v->via.boolean;
		} else if (strcmp(key, "contract") != 0 ||
		    !take_str(v, contract, sizeof(contract)) || !sv_contract_id_ok(contract)) {
			refuse(cl, c, "tail: contract is a contract's identifier, json a boolean");
			return;
		}
	}
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_true(&pk);
	client_send(cl, c->notify, &out);
	cl->json = json;
	cl->relay = relay;
	strcpy(cl->contract, contract);
	if (!follow) {
		tail_end(cl);
		return;
	}
	bufferevent_setcb(cl->bev, on_readable, on_writable, on_client_event, cl);
	tail_begin(cl);
}

static void
on_reset(struct client *cl, const struct tn_rpc_call *c)
{
	const msgpack_object_array *a = &c->params->via.array;
	struct sv_contract *contract = NULL;
	char id[SV_CONTRACT_MAX + 1];
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	if (a->size != 1 || !take_str(&a->ptr[0], id, sizeof(id))) {
		refuse(cl, c, "reset takes a contract's identifier");
		return;
	}
	contract = sv_contracts_known(sv_dispatch_contracts(cl->ct->dispatch), id);
	if (contract == NULL) {
		refuse(cl, c, "no such contract was asked for");
		return;
	}
	sv_breaker_reset(&contract->breaker);
	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_true(&pk);
	client_send(cl, c->notify, &out);
}

static void
on_rotate(struct client *cl, const struct tn_rpc_call *c)
{
	struct sv_pool *pool = sv_dispatch_pool(cl->ct->dispatch);
	struct pending *p = pending_new(cl, c);

	if (p == NULL)
		return;
	switch (sv_pool_rotate(pool, on_rotated, p)) {
	case 0:
		break;
	case TN_EAGAIN:
		pending_answer(p, "no zygote serves now; the next one is on its way", NULL, 0);
		break;
	default:
		pending_answer(p, "out of memory", NULL, 0);
	}
}

static void
on_upgrade(struct client *cl, const struct tn_rpc_call *c)
{
	struct pending *p;

	TAILQ_FOREACH(p, &cl->ct->pending, link)
		if (p->upgrade) {
			refuse(cl, c, "an upgrade is under way already");
			return;
		}
	if ((p = pending_new(cl, c)) == NULL)
		return;
	p->upgrade = true;
	cl->ct->ops->upgrade(cl->ct->arg);
}

static void
on_drain(struct client *cl, const struct tn_rpc_call *c)
{
	struct tn_buf out = { 0 };
	msgpack_packer pk;

	tn_rpc_packer(&pk, &out);
	tn_rpc_pack_result(&pk, c->id);
	msgpack_pack_true(&pk);
	client_send(cl, c->notify, &out);
	cl->ct->ops->drain(cl->ct->arg);
}

/* The same; the client watches the server's end itself. */
static void
on_stop(struct client *cl, const struct tn_rpc_call *c)
{
	on_drain(cl, c);
}

/* Have all shards answer. */
static void
gather(struct client *cl, const struct tn_rpc_call *c)
{
	struct pending *p = pending_new(cl, c);
	int rc;

	if (p == NULL)
		return;
	rc = sv_gather_ask(cl->ct->gather, c->method, c->params, on_gathered, p);
	if (rc == TN_ELIMIT)
		pending_answer(p, "too much is being asked of the shards, or this is too long",
		    NULL, 0);
	else if (rc != 0)
		pending_answer(p, tn_strerror(rc), NULL, 0);
}

static void
handle(struct client *cl, const struct tn_rpc_call *c)
{
	static const struct {
		const char	*name;
		handler		*fn;
	} table[] = {
#define TN_COMMAND(sym, name, args, doc) { name, on_##sym },
#include "commands.def"
	};
	size_t i;

	if (cl->ct->gather != NULL && !cl->shard && sv_gather_wants(c->method, c->params)) {
		gather(cl, c);
		return;
	}
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (tn_str_is(c->method, table[i].name)) {
			table[i].fn(cl, c);
			return;
		}
	refuse(cl, c, "no such method");
}

/* -- clients ---------------------------------------------------------------------- */

static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct client *cl = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct tn_rpc_call c;
	char chunk[16384];
	int n, err = 0;

	while ((n = evbuffer_remove(in, chunk, sizeof(chunk))) > 0) {
		if (tn_rpc_reader_feed(cl->reader, chunk, (size_t)n) != 0) {
			client_free(cl);
			return;
		}
		while ((err = tn_rpc_reader_call(cl->reader, &c)) == 0) {
			handle(cl, &c);
			if (evbuffer_get_length(bufferevent_get_output(bev)) > OUTPUT_MAX) {
				client_free(cl);
				return;
			}
		}
		if (err != TN_EAGAIN) {
			tn_log(TN_LOG_WARN, "control socket: malformed message");
			client_free(cl);
			return;
		}
	}
}

static void
on_client_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		client_free(arg);
}

static void
add_client(struct sv_control *ct, int fd, bool shard)
{
	struct client *cl;

	if ((!shard && ct->nclients >= CLIENTS_MAX) || (cl = calloc(1, sizeof(*cl))) == NULL) {
		close(fd);
		return;
	}
	cl->ct = ct;
	cl->shard = shard;
	cl->backup = -1;
	cl->reader = tn_rpc_reader_new();
	cl->bev = bufferevent_socket_new(ct->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (cl->reader == NULL || cl->bev == NULL) {
		if (cl->bev != NULL)
			bufferevent_free(cl->bev);
		else
			close(fd);
		tn_rpc_reader_free(&cl->reader);
		free(cl);
		return;
	}
	TAILQ_INSERT_TAIL(&ct->clients, cl, link);
	ct->nclients += !shard;
	bufferevent_setcb(cl->bev, on_readable, NULL, on_client_event, cl);
	bufferevent_enable(cl->bev, EV_READ | EV_WRITE);
}

static void
on_accept(void *arg, int fd)
{
	add_client(arg, fd, false);
}

void
sv_control_connect(struct sv_control *ct, int *fd)
{
	add_client(ct, *fd, true);
	*fd = -1;
}

void
sv_control_set_shards(struct sv_control *ct, struct sv_peers *peers, struct sv_gather *gather_)
{
	ct->peers = peers;
	ct->gather = gather_;
}

void
sv_control_greet(struct sv_control *ct, unsigned shard)
{
	if (ct->peers != NULL && ct->ntails > 0 && shard > 0)
		relay_from(ct, shard, true);
}

int
sv_control_open(struct sv_control *ct)
{
	ct->accept = sv_accept_new(ct->base, &ct->fd, on_accept, ct);
	return ct->accept != NULL ? 0 : -1;
}

void
sv_control_retire(struct sv_control *ct)
{
	if (ct->accept != NULL)
		sv_accept_rest(ct->accept);
	sv_accept_free(&ct->accept);
	tn_fd_close(&ct->fd);
}

void
sv_control_flush(struct sv_control *ct)
{
	struct client *cl;
	struct evbuffer *out;
	size_t n;

	TAILQ_FOREACH(cl, &ct->clients, link) {
		out = bufferevent_get_output(cl->bev);
		n = evbuffer_get_length(out);
		if (n > 0)
			(void)send(bufferevent_getfd(cl->bev), evbuffer_pullup(out, -1), n,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

struct sv_control *
sv_control_new(struct event_base *base, int *listen_fd, const struct tn_options *opt,
    struct sv_dispatch *dispatch, struct sv_stats *stats, const struct sv_control_ops *ops,
    void *arg)
{
	struct sv_control *ct = calloc(1, sizeof(*ct));

	if (ct == NULL)
		return NULL;
	*ct = (struct sv_control){ .base = base, .opt = opt, .dispatch = dispatch,
	    .stats = stats, .ops = ops, .arg = arg, .fd = *listen_fd };
	*listen_fd = -1;
	TAILQ_INIT(&ct->clients);
	TAILQ_INIT(&ct->pending);
	return ct;
}

void
sv_control_set_storage(struct sv_control *ct, struct sv_storage *storage)
{
	ct->storage = storage;
}

void
sv_control_free(struct sv_control **ctp)
{
	struct sv_control *ct = *ctp;
	struct pending *p;

	if (ct == NULL)
		return;
	*ctp = NULL;
	while (!TAILQ_EMPTY(&ct->clients))
		client_free(TAILQ_FIRST(&ct->clients));
	while ((p = TAILQ_FIRST(&ct->pending)) != NULL) {
		TAILQ_REMOVE(&ct->pending, p, link);
		free(p);
	}
	sv_accept_free(&ct->accept);
	tn_fd_close(&ct->fd);
	free(ct);
}
