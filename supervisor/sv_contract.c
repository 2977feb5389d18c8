/*
 * sv_contract.c - the contracts directory as the front knows it.
 */
#include "config.h"

#include "sv_contract.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sv_image.h"
#include "sv_lower.h"
#include "sv_place.h"
#include "sv_route.h"
#include "sv_share.h"
#include "sv_stats.h"
#include "sv_trace.h"
#include "tn_clock.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define HASH_SIZE	4096u
#define CHECK_US	1000000u	/* look at a contract's files so often, at most */
#define FILE_MAX	(4u << 20)	/* bytes of a contract's file */
#define MESSAGE_MAX	4096u		/* bytes kept of why it cannot be loaded */
#define META_MAX	16384u		/* bytes of metadata that go with each request */

static const char *const stems[] = { "get", "post", "contract" };
#define NSTEMS (sizeof(stems) / sizeof(stems[0]))

struct sv_contracts {
	struct event_base *base;
	const struct tn_options *opt;
	int		 dir_fd;
	struct sv_lower	*lower;
	struct sv_stats	*stats;
	struct sv_shares *shares;
	sv_contracts_build *build;
	sv_contracts_settled *settled;
	void		*arg;
	uint64_t	 next_number;
	size_t		 count;
	struct sv_contract *hash[HASH_SIZE];
};

/* One .ts/.js pair of a contract's directory. */
struct pair {
	bool		has_ts, has_js;
	struct stat	ts, js;
};

struct scan {
	struct pair	pair[NSTEMS];
	struct stat	meta;
	bool		has_meta;
	uint64_t	signature;
	bool		any;
};

/* What a compile job needs to come back to. */
struct lowering {
	struct sv_contracts *cs;
	struct sv_version *version;
};

bool
sv_contract_id_ok(const char *id)
{
	return sv_route_id_ok(tn_str(id));
}

static unsigned
hash_id(const char *id)
{
	uint32_t h = 2166136261u;

	for (; *id != '\0'; id++)
		h = (h ^ (unsigned char)*id) * 16777619u;
	return h % HASH_SIZE;
}

static uint64_t
mix(uint64_t h, uint64_t x)
{
	h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	return h * 0xff51afd7ed558ccdu;
}

static bool
look(int dir, const char *name, struct stat *st, uint64_t *sig)
{
	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st->st_mode))
		return false;
	*sig = mix(*sig, (uint64_t)st->st_ino);
	*sig = mix(*sig, (uint64_t)st->st_size);
	*sig = mix(*sig, (uint64_t)st->st_mtim.tv_sec);
	*sig = mix(*sig, (uint64_t)st->st_mtim.tv_nsec);
	return true;
}

static void
scan_dir(int dir, struct scan *s)
{
	char name[32];
	size_t i;

	*s = (struct scan){ .signature = 1 };
	for (i = 0; i < NSTEMS; i++) {
		s->signature = mix(s->signature, i);
		snprintf(name, sizeof(name), "%s.ts", stems[i]);
		s->pair[i].has_ts = look(dir, name, &s->pair[i].ts, &s->signature);
		s->signature = mix(s->signature, i);
		snprintf(name, sizeof(name), "%s.js", stems[i]);
		s->pair[i].has_js = look(dir, name, &s->pair[i].js, &s->signature);
		s->any = s->any || s->pair[i].has_ts || s->pair[i].has_js;
	}
	s->has_meta = look(dir, "contract.json", &s->meta, &s->signature);
	if (s->signature == 0)
		s->signature = 1;
}

/* The TypeScript is the newer: it wins, and has to be lowered. */
static bool
needs_lowering(const struct pair *p)
{
	if (!p->has_ts)
		return false;
	if (!p->has_js)
		return true;
	if (p->ts.st_mtim.tv_sec != p->js.st_mtim.tv_sec)
		return p->ts.st_mtim.tv_sec > p->js.st_mtim.tv_sec;
	return p->ts.st_mtim.tv_nsec > p->js.st_mtim.tv_nsec;
}

/* The file's text, malloc'ed; NULL with errno. */
static char *
slurp(int dir, const char *name, size_t *len)
{
	struct stat st;
	char *text = NULL;
	ssize_t n;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = 0;

	if (fd < 0)
		return NULL;
	*len = 0;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		err = EINVAL;
	else if (st.st_size > (off_t)FILE_MAX)
		err = EFBIG;
	else if ((text = malloc((size_t)st.st_size + 1)) == NULL)
		err = ENOMEM;
	while (err == 0 && *len < (size_t)st.st_size) {
		n = read(fd, text + *len, (size_t)st.st_size - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n < 0)
				err = errno;
			break;
		}
		*len += (size_t)n;
	}
	close(fd);
	if (err != 0) {
		free(text);
		errno = err;
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

struct sv_version *
sv_version_ref(struct sv_version *v)
{
	v->refs++;
	return v;
}

void
sv_version_unref(struct sv_contracts *cs, struct sv_version **vp)
{
	struct sv_version *v = *vp;
	size_t i;

	(void)cs;
	if (v == NULL)
		return;
	*vp = NULL;
	if (--v->refs > 0)
		return;
	sv_image_drop(&v->image);
	sv_image_drop(&v->coming);
	for (i = 0; i < v->nsource; i++)
		free((char *)(uintptr_t)v->source[i].p);
	free(v->source);
	sv_trace_free(&v->trace);
	free(v->meta);
	free(v);
}

static char *
copy(struct tn_str s)
{
	char *p = malloc(s.len + 1);

	if (p == NULL)
		return NULL;
	memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return p;
}

static bool
add_source(struct sv_version *v, struct tn_str name, struct tn_str text)
{
	struct tn_str *grown = realloc(v->source, (v->nsource + 2) * sizeof(*grown));
	char *n, *t;

	if (grown == NULL)
		return false;
	v->source = grown;
	n = copy(name);
	t = copy(text);
	if (n == NULL || t == NULL) {
		free(n);
		free(t);
		return false;
	}
	v->source[v->nsource++] = (struct tn_str){ n, name.len };
	v->source[v->nsource++] = (struct tn_str){ t, text.len };
	return true;
}

/* The lines of one file; without them its stacks are logged as they are. */
static void
add_trace(struct sv_version *v, struct tn_str file, struct tn_str table)
{
	int rc = sv_trace_add(&v->trace, file, table);

	if (rc != 0 && v->contract != NULL)
		tn_log(TN_LOG_WARN, "contract %s: %.*s" SV_TRACE_SUFFIX ": %s", v->contract->id,
		    (int)file.len, file.p, tn_strerror(rc));
}

static void
read_trace(struct sv_version *v, int dir, const char *file)
{
	char name[48], *text;
	size_t len;

	snprintf(name, sizeof(name), "%s" SV_TRACE_SUFFIX, file);
	if ((text = slurp(dir, name, &len)) == NULL)
		return;
	add_trace(v, tn_str(file), (struct tn_str){ text, len });
	free(text);
}

static void
tell_reloader(struct sv_contract *c, int err, enum tn_fault fault, const char *message)
{
	sv_contract_done *done = c->reload_done;

	c->reload_done = NULL;
	if (done != NULL)
		done(c->reload_arg, err, fault, message);
}

/* What waits goes on.  Whoever hears of it may ask for c again: it has to stay as it is. */
static void
settle(struct sv_contracts *cs, struct sv_contract *c)
{
	c->settling = true;
	cs->settled(cs->arg, c);
	c->settling = false;
}

/* c->next came to nothing: say why, keep what serves. */
static void
fail_next(struct sv_contracts *cs, struct sv_contract *c, bool for_good, enum tn_fault fault,
    const char *message)
{
	struct tn_log_record r;

	tn_log_begin(&r, TN_LOG_ERROR, "contract not loaded");
	tn_log_str(&r, "contract", tn_str(c->id));
	tn_log_str(&r, "fault", tn_str(tn_fault_info(fault)->code));
	tn_log_str(&r, "message", tn_str(message));
	tn_log_str(&r, "still_serving",
	    tn_str(c->current != NULL ? "the previous version" : "nothing"));
	tn_log_end(&r);
	c->failed_signature = for_good ? c->next->signature : 0;
	c->next->contract = NULL;	/* its build or its compile job may hold it longer */
	sv_version_unref(cs, &c->next);
	if (c->current == NULL) {
		free(c->message);
		c->message = strndup(message, MESSAGE_MAX);
		c->fault = fault;
	}
	tell_reloader(c, TN_ESCRIPT, fault, message);
	settle(cs, c);
}

/* Is it the table of another file?  Then name becomes that file's. */
static bool
is_trace(struct tn_str *name)
{
	size_t n = strlen(SV_TRACE_SUFFIX);

	if (name->len <= n || memcmp(name->p + name->len - n, SV_TRACE_SUFFIX, n) != 0)
		return false;
	name->len -= n;
	return true;
}

static void
on_lowered(void *arg, int err, const struct tn_str *files, size_t n, const char *message)
{
	struct lowering *job = arg;
	struct sv_contracts *cs = job->cs;
	struct sv_version *v = job->version;
	struct sv_contract *c = v->contract;
	size_t i;
	bool ok = true;

	free(job);
	if (c == NULL || c->next != v)		/* the contract went away meanwhile */
		goto out;
	if (err != 0) {
		fail_next(cs, c, err == TN_ESCRIPT, TN_FAULT_COMPILE, message);
		goto out;
	}
	for (i = 0; i + 1 < n && ok; i += 2) {
		struct tn_str name = files[i];

		if (is_trace(&name))
			add_trace(v, name, files[i + 1]);
		else
			ok = add_source(v, name, files[i + 1]);
	}
	if (!ok)
		fail_next(cs, c, false, TN_FAULT_INTERNAL, "out of memory");
	else
		cs->build(cs->arg, v);
out:
	sv_version_unref(cs, &v);
}

/* How much each promises. */
static const int strength[] = {
	[TN_ISO_REUSE] = 0, [TN_ISO_SNAPSHOT] = 1, [TN_ISO_FRESH] = 2, [TN_ISO_PROCESS] = 3
};

/* The isolation that contract.json asks for, if the server allows it. */
static int
read_isolation(const struct tn_options *opt, const json_t *asked, enum tn_isolation *isolation,
    char *err, size_t errlen)
{
	const char *name = json_string_value(asked);
	size_t i;
	int n;

	*isolation = (enum tn_isolation)opt->isolation;
	if (asked == NULL)
		return 0;
	if (name == NULL || (n = tn_options_value("isolation", name)) < 0) {
		snprintf(err, errlen, "contract.json: isolation is none of snapshot, process, "
		    "reuse, fresh");
		return TN_EINVAL;
	}
	if (strength[n] < strength[opt->isolation]) {
		for (i = 0; i < opt->isolation_allowed.n; i++)
			if (strcmp(opt->isolation_allowed.v[i], name) == 0)
				break;
		if (i == opt->isolation_allowed.n) {
			snprintf(err, errlen, "contract.json: isolation %s is weaker than the "
			    "server's (%s) and not in isolation_allowed", name,
			    tn_options_choice("isolation", opt->isolation));
			return TN_EDENIED;
		}
	}
	*isolation = (enum tn_isolation)n;
	return 0;
}

/* contract.json's part that handlers see; NULL and err when it is no JSON object, or not allowed. */
static char *
read_meta(const struct tn_options *opt, int dir, bool has, enum tn_isolation *isolation, char *err,
    size_t errlen)
{
	json_error_t jerr;
	json_t *root, *out;
	const char *key;
	size_t len;
	char *text, *meta;

	snprintf(err, errlen, "contract.json: out of memory");
	*isolation = (enum tn_isolation)opt->isolation;
	if (!has)
		return strdup("");
	if ((text = slurp(dir, "contract.json", &len)) == NULL) {
		snprintf(err, errlen, "contract.json: %s", strerror(errno));
		return NULL;
	}
	root = json_loadb(text, len, 0, &jerr);
	free(text);
	if (!json_is_object(root)) {
		snprintf(err, errlen, "contract.json:%d:%d: %s", root != NULL ? 1 : jerr.line,
		    root != NULL ? 1 : jerr.column, root != NULL ? "not an object" : jerr.text);
		json_decref(root);
		return NULL;
	}
	if (read_isolation(opt, json_object_get(root, "isolation"), isolation, err, errlen) != 0) {
		json_decref(root);
		return NULL;
	}
	out = json_object();
	key = json_string_value(json_object_get(root, "author"));
	if (key != NULL)
		json_object_set_new(out, "owner", json_string(key));
	for (size_t i = 0; i < 2; i++) {
		static const char *const copied[] = { "name", "version" };

		key = json_string_value(json_object_get(root, copied[i]));
		if (key != NULL)
			json_object_set_new(out, copied[i], json_string(key));
	}
	if (json_is_array(json_object_get(root, "routes")))
		json_object_set(out, "routes", json_object_get(root, "routes"));
	meta = json_dumps(out, JSON_COMPACT);
	if (meta != NULL && strlen(meta) > META_MAX) {
		snprintf(err, errlen, "contract.json: owner, name, version and routes take "
		    "%zu bytes (max %u)", strlen(meta), META_MAX);
		free(meta);
		meta = NULL;
	}
	json_decref(out);
	json_decref(root);
	return meta;
}

/* Begin to make the directory's present state the contract's next version. */
static void
start_load(struct sv_contracts *cs, struct sv_contract *c, int dir, const struct scan *s)
{
	struct sv_version *v = calloc(1, sizeof(*v));
	const char *ts[NSTEMS];
	char name[NSTEMS][32], err[256];
	size_t i, nts = 0, len;

	if (v == NULL)
		return;
	TAILQ_INIT(&v->waiting);
	v->refs = 1;
	v->number = cs->next_number++;
	v->contract = c;
	v->signature = s->signature;
	c->next = v;
	if (!s->any) {
		fail_next(cs, c, true, TN_FAULT_COMPILE,
		    "the directory has none of get, post, contract (.ts or .js)");
		return;
	}
	v->meta = read_meta(cs->opt, dir, s->has_meta, &v->isolation, err, sizeof(err));
	if (v->meta == NULL) {
		fail_next(cs, c, true, TN_FAULT_COMPILE, err);
		return;
	}
	for (i = 0; i < NSTEMS; i++) {
		bool lower = needs_lowering(&s->pair[i]);
		char *text;
		bool ok;

		if (!lower && !s->pair[i].has_js)
			continue;
		snprintf(name[i], sizeof(name[i]), "%s.%s", stems[i], lower ? "ts" : "js");
		if (lower && cs->opt->skip_transpile) {
			snprintf(err, sizeof(err), "%s/%s has no current .js, and skip_transpile "
			    "is on: compile it with tana deploy", c->id, name[i]);
			fail_next(cs, c, true, TN_FAULT_NOT_COMPILED, err);
			return;
		}
		if (lower) {
			ts[nts++] = name[i];
			continue;
		}
		if ((text = slurp(dir, name[i], &len)) == NULL) {
			snprintf(err, sizeof(err), "%s/%s: %s", c->id, name[i], strerror(errno));
			fail_next(cs, c, false, TN_FAULT_COMPILE, err);
			return;
		}
		ok = add_source(v, tn_str(name[i]), (struct tn_str){ text, len });
		free(text);
		if (!ok) {
			fail_next(cs, c, false, TN_FAULT_INTERNAL, "out of memory");
			return;
		}
		read_trace(v, dir, name[i]);
	}
	if (nts > 0) {
		struct lowering *job = malloc(sizeof(*job));

		if (job == NULL) {
			fail_next(cs, c, false, TN_FAULT_INTERNAL, "out of memory");
			return;
		}
		*job = (struct lowering){ cs, sv_version_ref(v) };
		sv_lower_submit(cs->lower, c->id, ts, nts, on_lowered, job);
	} else
		cs->build(cs->arg, v);
}

static struct sv_contract **
find(struct sv_contracts *cs, const char *id)
{
	struct sv_contract **cp = &cs->hash[hash_id(id)];

	while (*cp != NULL && strcmp((*cp)->id, id) != 0)
		cp = &(*cp)->hash_next;
	return cp;
}

struct sv_contract *
sv_contracts_find(struct sv_contracts *cs, const char *id)
{
	return *find(cs, id);
}

/* Its directory is gone. */
static void
forget(struct sv_contracts *cs, struct sv_contract *c)
{
	struct sv_contract **cp = find(cs, c->id);

	tn_log(TN_LOG_INFO, "contract %s is gone", c->id);
	*cp = c->hash_next;
	cs->count--;
	if (c->next != NULL)
		c->next->contract = NULL;
	if (c->current != NULL)
		c->current->contract = NULL;
	sv_version_unref(cs, &c->next);
	sv_version_unref(cs, &c->current);
	c->fault = TN_FAULT_NOT_FOUND;
	tell_reloader(c, TN_ENOENT, TN_FAULT_NOT_FOUND, "no such contract");
	cs->settled(cs->arg, c);
	sv_share_unref(cs->shares, &c->share);
	free(c->message);
	free(c);
}

/*
 * Compare the directory with what is loaded.  `force`: try again what failed.
 * False: the contract is gone (c was freed).
 */
static bool
check(struct sv_contracts *cs, struct sv_contract *c, bool force)
{
	struct scan s;
	const char *why;
	int dir;

	c->checked_us = tn_clock_us();
	if (c->next != NULL || c->settling)
		return true;		/* when it is ready, it is checked again */
	dir = sv_place_open(cs->dir_fd, c->id, &why);
	if (dir < 0) {
		if (dir == TN_ENOENT) {
			forget(cs, c);
			return false;
		}
		tn_log(TN_LOG_ERROR, "contract %s: %s", c->id, why);
		if (c->current == NULL && c->fault == TN_FAULT_NONE) {
			c->fault = TN_FAULT_COMPILE;
			free(c->message);
			c->message = strdup(why);
		}
		return true;
	}
	scan_dir(dir, &s);
	if ((c->current == NULL || c->current->signature != s.signature) &&
	    (force || c->failed_signature != s.signature)) {
		if (c->current == NULL)
			c->fault = TN_FAULT_NONE;
		start_load(cs, c, dir, &s);
	} else if (c->current != NULL && c->current->signature == s.signature) {
		c->failed_signature = 0;
		if (force)
			c->current->lost = 0;
	}
	close(dir);
	return true;
}

static struct sv_contract *
lookup(struct sv_contracts *cs, const char *id, bool *fresh)
{
	struct sv_contract **cp, *c;
	struct stat st;

	*fresh = false;
	if (!sv_contract_id_ok(id))
		return NULL;
	cp = find(cs, id);
	if (*cp != NULL)
		return *cp;
	/* Nothing is remembered of names that are not there. */
	if (fstatat(cs->dir_fd, id, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) || (c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	if ((c->share = sv_shares_get(cs->shares, id)) == NULL) {
		free(c);
		return NULL;
	}
	strcpy(c->id, id);
	TAILQ_INIT(&c->waiting);
	*cp = c;
	cs->count++;
	*fresh = true;
	return c;
}

struct sv_contract *
sv_contracts_get(struct sv_contracts *cs, const char *id)
{
	bool fresh;
	struct sv_contract *c = lookup(cs, id, &fresh);

	if (c == NULL)
		return NULL;
	if ((fresh || tn_clock_us() - c->checked_us >= CHECK_US) && !check(cs, c, false))
		return NULL;
	return c;
}

struct sv_contract *
sv_contracts_known(struct sv_contracts *cs, const char *id)
{
	return *find(cs, id);
}

static void
set_exports(struct sv_version *v, unsigned exports)
{
	v->exports = exports;
	v->allow[0] = '\0';
	if (exports & (SV_EXPORT(get) | SV_EXPORT(fetch)))
		strcat(v->allow, "GET, HEAD");
	if (exports & (SV_EXPORT(post) | SV_EXPORT(fetch)))
		strcat(v->allow, v->allow[0] != '\0' ? ", POST" : "POST");
	if (exports & SV_EXPORT(fetch))
		strcat(v->allow, ", PUT, PATCH, DELETE, OPTIONS");
}

void
sv_contracts_built(struct sv_contracts *cs, struct sv_version *v, enum tn_fault fault,
    const char *message, unsigned exports)
{
	struct sv_contract *c = v->contract;
	struct tn_log_record r;

	if (c == NULL || c->next != v)		/* gone meanwhile, or an image built again */
		return;
	if (fault != TN_FAULT_NONE) {
		char text[MESSAGE_MAX];
		struct tn_buf out;

		tn_buf_init_fixed(&out, text, sizeof(text) - 1);
		sv_trace_rewrite(v->trace, tn_str(message), &out);
		text[out.len] = '\0';
		fail_next(cs, c, fault != TN_FAULT_INTERNAL && fault != TN_FAULT_WORKER_DIED,
		    fault, text);
		return;
	}
	set_exports(v, exports);
	if (c->current != NULL)
		c->current->contract = NULL;	/* requests may hold it for longer than c lives */
	sv_version_unref(cs, &c->current);
	c->current = v;
	c->next = NULL;
	c->fault = TN_FAULT_NONE;
	c->failed_signature = 0;
	sv_breaker_reset(&c->breaker);	/* the fault may be mended */
	tn_log_begin(&r, TN_LOG_INFO, "contract loaded");
	tn_log_str(&r, "contract", tn_str(c->id));
	tn_log_u64(&r, "version", v->number);
	tn_log_str(&r, "allow", tn_str(v->allow));
	tn_log_end(&r);
	tell_reloader(c, 0, TN_FAULT_NONE, "");
	settle(cs, c);
}

void
sv_contracts_reload(struct sv_contracts *cs)
{
	struct sv_contract *c;
	size_t i;

	for (i = 0; i < HASH_SIZE; i++)
		for (c = cs->hash[i]; c != NULL; c = c->hash_next)
			c->due = true;
	/* Any of them may be gone after a check. */
	for (i = 0; i < HASH_SIZE; i++)
		for (c = cs->hash[i]; c != NULL;) {
			if (!c->due) {
				c = c->hash_next;
				continue;
			}
			c->due = false;
			check(cs, c, true);
			c = cs->hash[i];
		}
}

int
sv_contracts_reload_one(struct sv_contracts *cs, const char *id, sv_contract_done *done,
    void *arg)
{
	bool fresh;
	struct sv_contract *c = lookup(cs, id, &fresh);

	if (c == NULL)
		return TN_ENOENT;
	if (c->reload_done != NULL)
		return TN_EBUSY;
	c->reload_done = done;
	c->reload_arg = arg;
	/* What is under way began before the caller's change, maybe: look again after it. */
	if (c->next != NULL) {
		if (c->next->contract != NULL)
			c->next->contract = NULL;
		sv_version_unref(cs, &c->next);
	}
	if (!check(cs, c, true) || c->next != NULL)
		return 0;
	/* Nothing was begun: nothing to do, or it could not be looked at. */
	tell_reloader(c, c->current != NULL ? 0 : TN_ESCRIPT, c->fault,
	    c->message != NULL ? c->message : "");
	settle(cs, c);
	return 0;
}

struct sv_contracts *
sv_contracts_new(struct event_base *base, const struct tn_options *opt, int dir_fd,
    struct sv_lower *lower, struct sv_stats *stats, struct sv_shares *shares,
    sv_contracts_build *build, sv_contracts_settled *settled, void *arg)
{
	struct sv_contracts *cs = calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	cs->base = base;
	cs->opt = opt;
	cs->dir_fd = dir_fd;
	cs->lower = lower;
	cs->stats = stats;
	cs->shares = shares;
	cs->build = build;
	cs->settled = settled;
	cs->arg = arg;
	cs->next_number = 1;
	return cs;
}

void
sv_contracts_free(struct sv_contracts **csp)
{
	struct sv_contracts *cs = *csp;
	struct sv_contract *c;
	size_t i;

	if (cs == NULL)
		return;
	*csp = NULL;
	for (i = 0; i < HASH_SIZE; i++)
		while ((c = cs->hash[i]) != NULL) {
			cs->hash[i] = c->hash_next;
			sv_version_unref(cs, &c->next);
			sv_version_unref(cs, &c->current);
			sv_share_unref(cs->shares, &c->share);
			free(c->message);
			free(c);
		}
	free(cs);
}

void
sv_contracts_each(struct sv_contracts *cs, void (*fn)(void *arg, struct sv_contract *c), void *arg)
{
	struct sv_contract *c;
	size_t i;

	for (i = 0; i < HASH_SIZE; i++)
		for (c = cs->hash[i]; c != NULL; c = c->hash_next)
			fn(arg, c);
}

size_t
sv_contracts_count(const struct sv_contracts *cs)
{
	return cs->count;
}
