/*
 * sv_lower.c - the front's end of the compiler.
 *
 * 4-byte big-endian length, then JSON, both ways; one job at a time.
 */
#include "config.h"

#include "sv_lower.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "sv_stats.h"
#include "sv_trace.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define LOWER_ANSWER_MAX	(16u << 20)
#define LOWER_FILES_MAX		8
#define LOWER_NAME_MAX		64u

struct job {
	TAILQ_ENTRY(job) link;
	uint64_t	 id;
	char		*contract;
	char		*files[LOWER_FILES_MAX];
	size_t		 nfiles;
	sv_lower_done	*done;
	void		*arg;
};

struct sv_lower {
	struct event_base *base;
	const struct tn_options *opt;
	struct sv_stats	*stats;
	void		(*want)(void *);
	void		(*kill)(void *);
	void		*arg;
	int		 fd;
	bool		 wanted;	/* asked of the master, not here yet */
	bool		 sent;		/* the head job was written */
	uint64_t	 next_id;
	struct event	*ev_read, *ev_write, *ev_timeout;
	struct tn_buf	 in, out;
	TAILQ_HEAD(jobs, job) jobs;
};

static void next_job(struct sv_lower *l);

static void
job_free(struct job *j)
{
	size_t i;

	for (i = 0; i < j->nfiles; i++)
		free(j->files[i]);
	free(j->contract);
	free(j);
}

static void
finish_job(struct sv_lower *l, int err, const struct tn_str *files, size_t n, const char *message)
{
	struct job *j = TAILQ_FIRST(&l->jobs);

	TAILQ_REMOVE(&l->jobs, j, link);
	l->sent = false;
	evtimer_del(l->ev_timeout);
	if (err == 0)
		l->stats->compiles++;
	j->done(j->arg, err, files, n, message);
	job_free(j);
}

static void
drop_channel(struct sv_lower *l)
{
	if (l->ev_read != NULL)
		event_free(l->ev_read);
	if (l->ev_write != NULL)
		event_free(l->ev_write);
	l->ev_read = l->ev_write = NULL;
	tn_fd_close(&l->fd);
	tn_buf_reset(&l->in);
	tn_buf_reset(&l->out);
}

/* The compiler is of no more use: fail the job it had, start another for the rest. */
static void
give_up(struct sv_lower *l, int err, const char *why)
{
	bool had = l->fd >= 0;

	drop_channel(l);
	if (had)
		l->kill(l->arg);
	if (!TAILQ_EMPTY(&l->jobs))
		finish_job(l, err, NULL, 0, why);
	next_job(l);
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct sv_lower *l = arg;

	(void)fd;
	(void)what;
	l->wanted = false;
	give_up(l, TN_ETIMEOUT, "the compiler did not answer within compile_timeout_ms");
}

/* One whole answer; false when it makes no sense. */
static bool
take_answer(struct sv_lower *l, const char *p, size_t len)
{
	json_error_t jerr;
	json_t *root = json_loadb(p, len, 0, &jerr), *files, *f;
	struct job *j = TAILQ_FIRST(&l->jobs);
	struct tn_str out[4 * LOWER_FILES_MAX];	/* files and their tables */
	char table[LOWER_FILES_MAX][LOWER_NAME_MAX];
	size_t i, n = 0;
	const char *error;
	bool ok = false;

	if (root == NULL || j == NULL || !l->sent ||
	    (uint64_t)json_integer_value(json_object_get(root, "id")) != j->id)
		goto out;
	error = json_string_value(json_object_get(root, "error"));
	if (error != NULL) {
		finish_job(l, TN_ESCRIPT, NULL, 0, error);
		ok = true;
		goto out;
	}
	files = json_object_get(root, "files");
	if (!json_is_array(files) || json_array_size(files) != j->nfiles)
		goto out;
	json_array_foreach(files, i, f) {
		json_t *name = json_object_get(f, "name"), *code = json_object_get(f, "code");
		json_t *lines = json_object_get(f, "lines");

		if (!json_is_string(name) || !json_is_string(code))
			goto out;
		out[n++] = (struct tn_str){ json_string_value(name), json_string_length(name) };
		out[n++] = (struct tn_str){ json_string_value(code), json_string_length(code) };
		if (lines == NULL)
			continue;
		if (!json_is_string(lines) || snprintf(table[i], LOWER_NAME_MAX,
		    "%s" SV_TRACE_SUFFIX, json_string_value(name)) >= (int)LOWER_NAME_MAX)
			goto out;
		out[n++] = tn_str(table[i]);
		out[n++] = (struct tn_str){ json_string_value(lines), json_string_length(lines) };
	}
	finish_job(l, 0, out, n, NULL);
	ok = true;
out:
	json_decref(root);
	return ok;
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct sv_lower *l = arg;
	uint32_t len;
	ssize_t n;
	char *to;

	(void)what;
	if ((to = tn_buf_reserve(&l->in, 65536)) == NULL) {
		give_up(l, TN_ELIMIT, "the compiler's answer is too large");
		return;
	}
	n = read(fd, to, 65536);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		give_up(l, TN_ECLOSED, "the compiler died");
		return;
	}
	l->in.len += (size_t)n;
	while (l->in.len >= 4) {
		memcpy(&len, l->in.p, 4);
		len = ntohl(len);
		if (len > LOWER_ANSWER_MAX) {
			give_up(l, TN_EPROTO, "the compiler's answer is too large");
			return;
		}
		if (l->in.len < 4 + (size_t)len)
			break;
		if (!take_answer(l, l->in.p + 4, len)) {
			give_up(l, TN_EPROTO, "the compiler's answer makes no sense");
			return;
		}
		if (l->fd < 0)
			return;
		tn_buf_consume(&l->in, 4 + (size_t)len);
	}
	next_job(l);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct sv_lower *l = arg;
	ssize_t n;

	(void)what;
	n = tn_fd_send(fd, l->out.p, l->out.len, NULL, 0);
	if (n == TN_EAGAIN) {
		event_add(l->ev_write, NULL);
		return;
	}
	if (n < 0) {
		give_up(l, TN_ECLOSED, "the compiler died");
		return;
	}
	tn_buf_consume(&l->out, (size_t)n);
	if (l->out.len > 0)
		event_add(l->ev_write, NULL);
}

static bool
write_job(struct sv_lower *l, const struct job *j)
{
	json_t *root, *files = json_array();
	size_t i, before = l->out.len;
	char *text;
	uint32_t len;

	for (i = 0; i < j->nfiles; i++)
		json_array_append_new(files, json_string(j->files[i]));
	root = json_pack("{s:I, s:s, s:s, s:o}", "id", (json_int_t)j->id, "contract", j->contract,
	    "dir", j->contract, "files", files);
	text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (text == NULL)
		return false;
	len = htonl((uint32_t)strlen(text));
	tn_buf_append(&l->out, &len, 4);
	tn_buf_puts(&l->out, text);
	free(text);
	if (!l->out.failed)
		return true;
	l->out.failed = false;
	l->out.len = before;
	return false;
}

static void
next_job(struct sv_lower *l)
{
	struct timeval tv = { l->opt->compile_timeout_ms / 1000,
	    l->opt->compile_timeout_ms % 1000 * 1000 };
	struct job *j;

	while ((j = TAILQ_FIRST(&l->jobs)) != NULL && !l->sent) {
		if (l->fd < 0) {
			if (l->wanted)
				return;
			l->wanted = true;
			evtimer_add(l->ev_timeout, &tv);
			l->want(l->arg);
			return;
		}
		if (!write_job(l, j)) {
			finish_job(l, TN_ENOMEM, NULL, 0, "out of memory");
			continue;
		}
		l->sent = true;
		evtimer_add(l->ev_timeout, &tv);
		on_write(l->fd, 0, l);
		return;
	}
}

struct sv_lower *
sv_lower_new(struct event_base *base, const struct tn_options *opt, struct sv_stats *stats,
    void (*want)(void *), void (*kill)(void *), void *arg)
{
	struct sv_lower *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	*l = (struct sv_lower){ .base = base, .opt = opt, .stats = stats, .want = want,
	    .kill = kill, .arg = arg, .fd = -1, .next_id = 1 };
	l->in.max = LOWER_ANSWER_MAX + 65540;
	TAILQ_INIT(&l->jobs);
	if ((l->ev_timeout = evtimer_new(base, on_timeout, l)) == NULL)
		sv_lower_free(&l);
	return l;
}

void
sv_lower_free(struct sv_lower **lp)
{
	struct sv_lower *l = *lp;
	struct job *j;

	if (l == NULL)
		return;
	*lp = NULL;
	drop_channel(l);
	while ((j = TAILQ_FIRST(&l->jobs)) != NULL) {
		TAILQ_REMOVE(&l->jobs, j, link);
		job_free(j);
	}
	if (l->ev_timeout != NULL)
		event_free(l->ev_timeout);
	tn_buf_fini(&l->in);
	tn_buf_fini(&l->out);
	free(l);
}

void
sv_lower_submit(struct sv_lower *l, const char *contract, const char *const *files,
    size_t nfiles, sv_lower_done *done, void *arg)
{
	struct job *j = calloc(1, sizeof(*j));
	size_t i;

	if (j == NULL || nfiles > LOWER_FILES_MAX || (j->contract = strdup(contract)) == NULL) {
		free(j);
		done(arg, TN_ENOMEM, NULL, 0, "out of memory");
		return;
	}
	for (i = 0; i < nfiles; i++)
		j->files[j->nfiles++] = strdup(files[i]);
	j->id = l->next_id++;
	j->done = done;
	j->arg = arg;
	TAILQ_INSERT_TAIL(&l->jobs, j, link);
	next_job(l);
}

void
sv_lower_on_started(struct sv_lower *l, int fd, int err)
{
	struct jobs had = TAILQ_HEAD_INITIALIZER(had);
	struct job *j;
	char why[160];

	if (!l->wanted) {			/* came after we gave it up */
		if (fd >= 0)
			l->kill(l->arg);
		tn_fd_close(&fd);
		return;
	}
	l->wanted = false;
	evtimer_del(l->ev_timeout);
	if (fd < 0) {
		snprintf(why, sizeof(why), "the compiler cannot be started: %s", strerror(err));
		/* Those that waited for it; who submits another while he hears that asks anew. */
		TAILQ_CONCAT(&had, &l->jobs, link);
		while ((j = TAILQ_FIRST(&had)) != NULL) {
			TAILQ_REMOVE(&had, j, link);
			j->done(j->arg, TN_EUNAVAIL, NULL, 0, why);
			job_free(j);
		}
		return;
	}
	l->fd = fd;
	l->ev_read = event_new(l->base, fd, EV_READ | EV_PERSIST, on_read, l);
	l->ev_write = event_new(l->base, fd, EV_WRITE, on_write, l);
	if (l->ev_read == NULL || l->ev_write == NULL || tn_fd_nonblock(fd) != 0 ||
	    event_add(l->ev_read, NULL) != 0)
		give_up(l, TN_ENOMEM, "out of memory");
	else
		next_job(l);
}

void
sv_lower_on_dead(struct sv_lower *l)
{
	/* Its socket says the same, in order with its last answer. */
	if (l->fd < 0 && l->wanted) {
		l->wanted = false;
		give_up(l, TN_ECLOSED, "the compiler died");
	}
}
