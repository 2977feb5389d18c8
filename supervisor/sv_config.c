/*
 * sv_config.c - where the options come from.
 */
#include "config.h"

#include "sv_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sv_listen.h"
#include "sv_share.h"
#include "sv_shards.h"
#include "tn_err.h"

#define LISTEN_MAX	64
/*
 * Sockets of TCP addresses: an upgrade has each of them twice for a moment, and most
 * systems allow a process 1024 descriptors.
 */
#define SOCKETS_MAX	256u

void
sv_config_init(struct sv_config *c)
{
	memset(c, 0, sizeof(*c));
	c->base = getcwd(NULL, 0);
}

void
sv_config_fini(struct sv_config *c)
{
	size_t i;

	for (i = 0; i < c->nset; i++)
		free(c->set[i]);
	free(c->set);
	free(c->path);
	free(c->base);
	memset(c, 0, sizeof(*c));
}

/* Make *path (malloc'ed) absolute. */
static int
absolute(const struct sv_config *c, char **path)
{
	char *full;

	if (**path == '/' || **path == '\0')
		return 0;
	if (c->base == NULL)
		return TN_ESYS;
	if (asprintf(&full, "%s/%s", strcmp(c->base, "/") == 0 ? "" : c->base, *path) < 0)
		return TN_ENOMEM;
	free(*path);
	*path = full;
	return 0;
}

static int
absolute_after(const struct sv_config *c, char **text, const char *prefix)
{
	size_t n = strlen(prefix);
	char *path, *full;
	int rc;

	if (strncmp(*text, prefix, n) != 0)
		return 0;
	if ((path = strdup(*text + n)) == NULL)
		return TN_ENOMEM;
	if ((rc = absolute(c, &path)) == 0) {
		if (asprintf(&full, "%s%s", prefix, path) < 0)
			rc = TN_ENOMEM;
		else {
			free(*text);
			*text = full;
		}
	}
	free(path);
	return rc;
}

int
sv_config_file(struct sv_config *c, const char *path, struct tn_buf *err)
{
	free(c->path);
	if ((c->path = strdup(path)) == NULL || absolute(c, &c->path) != 0) {
		tn_buf_puts(err, "out of memory");
		return TN_ENOMEM;
	}
	if (access(c->path, R_OK) != 0) {
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		return TN_ENOENT;
	}
	return 0;
}

int
sv_config_default_file(struct sv_config *c)
{
	static const char path[] = TANA_SYSCONFDIR "/tana-edge.conf";

	if (access(path, F_OK) != 0)
		return 0;
	free(c->path);
	return (c->path = strdup(path)) == NULL ? TN_ENOMEM : 0;
}

int
sv_config_add(struct sv_config *c, const char *assignment)
{
	char **grown = realloc(c->set, (c->nset + 1) * sizeof(*grown));

	if (grown == NULL)
		return TN_ENOMEM;
	c->set = grown;
	if ((c->set[c->nset] = strdup(assignment)) == NULL)
		return TN_ENOMEM;
	c->nset++;
	return 0;
}

static int
absolute_sockets(const struct sv_config *c, struct tn_list *addresses)
{
	size_t i;
	int rc;

	for (i = 0; i < addresses->n; i++)
		if (strcmp(addresses->v[i], "unix:") != 0 &&
		    (rc = absolute_after(c, &addresses->v[i], "unix:")) != 0)
			return rc;
	return 0;
}

static int
absolute_all(const struct sv_config *c, struct tn_options *o)
{
	char **paths[] = { &o->contracts, &o->run_dir, &o->state_dir, &o->worker_program,
		&o->compiler };
	size_t i;
	int rc;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if ((rc = absolute(c, paths[i])) != 0)
			return rc;
	if (strcmp(o->log, "stderr") != 0 && strcmp(o->log, "syslog") != 0 &&
	    (rc = absolute(c, &o->log)) != 0)
		return rc;
	if ((rc = absolute_sockets(c, &o->listen)) != 0)
		return rc;
	return absolute_sockets(c, &o->metrics_listen);
}

static int
check_listen(const char *name, const struct tn_list *addresses, size_t min, struct tn_buf *err)
{
	struct sv_address a;
	size_t i;

	if (addresses->n < min || addresses->n > LISTEN_MAX) {
		tn_buf_printf(err, "%s: %zu to %d addresses are needed, not %zu", name, min,
		    LISTEN_MAX, addresses->n);
		return TN_EINVAL;
	}
	for (i = 0; i < addresses->n; i++) {
		struct tn_buf why = { 0 };

		if (sv_address_parse(&a, addresses->v[i], &why) != 0) {
			tn_buf_printf(err, "%s: %.*s", name, (int)why.len, why.p != NULL ? why.p : "");
			tn_buf_fini(&why);
			return TN_EINVAL;
		}
		tn_buf_fini(&why);
	}
	return 0;
}

/* Each TCP address has a socket for each shard. */
/* A contract's limits are each shard's: the one with the fewest workers must have room. */
static int
check_limits(const struct tn_options *o, struct tn_buf *err)
{
	/* A static pool has workers_min, and no more. */
	int64_t workers = o->pool == tn_options_value("pool", "static") ? o->workers_min :
	    o->workers_max;
	unsigned n = sv_shards_count(o);

	return sv_shares_check(o, sv_shards_part((uint64_t)workers, 1, n - 1, n), err);
}

static int
check_shards(const struct tn_options *o, struct tn_buf *err)
{
	unsigned shards = sv_shards_count(o);
	size_t i, n = 0;

	for (i = 0; i < o->listen.n; i++)
		n += strncmp(o->listen.v[i], "unix:", 5) != 0;
	if (shards == 1 || n * shards <= SOCKETS_MAX)
		return 0;
	tn_buf_printf(err, "shards: %zu addresses to listen on and %u shards make more than %u "
	    "sockets", n, shards, SOCKETS_MAX);
	return TN_EINVAL;
}

int
sv_config_load(const struct sv_config *c, struct tn_options **out, struct tn_buf *err)
{
	struct tn_options *o;
	size_t i;
	int rc = 0;

	*out = NULL;
	if ((o = tn_options_new()) == NULL) {
		tn_buf_puts(err, "out of memory");
		return TN_ENOMEM;
	}
	if (c->path != NULL)
		rc = tn_options_read(o, c->path, err);
	for (i = 0; rc == 0 && i < c->nset; i++)
		rc = tn_options_set(o, c->set[i], err);
	if (rc == 0 && (rc = absolute_all(c, o)) != 0)
		tn_buf_printf(err, "cannot make paths absolute: %s", tn_strerror(rc));
	if (rc == 0)
		rc = tn_options_check(o, err);
	if (rc == 0)
		rc = check_listen("listen", &o->listen, 1, err);
	if (rc == 0)
		rc = check_listen("metrics_listen", &o->metrics_listen, 0, err);
	if (rc == 0)
		rc = check_limits(o, err);
	if (rc == 0)
		rc = check_shards(o, err);
	if (rc == 0 && c->daemon && strcmp(o->log, "stderr") == 0) {
		char *syslog = strdup("syslog");

		if (syslog == NULL)
			rc = TN_ENOMEM;
		else {
			free(o->log);
			o->log = syslog;
		}
	}
	if (rc != 0)
		tn_options_free(&o);
	*out = o;
	return rc;
}
