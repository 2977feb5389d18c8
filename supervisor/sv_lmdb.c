/*
 * sv_lmdb.c - storage in an embedded database.
 *
 * Reads are made where they are asked for, in the event loop's thread, by a short
 * read-only transaction: the file is mapped, a contract has 100 KB at most, so that
 * a read is a walk over a few pages that nearly always are in memory.  To hand it to
 * another thread and back would cost more than the read.
 *
 * Writes wait for a disk, and have a thread of their own.  It takes all commits that
 * wait, checks and applies one after the other within one transaction, where a later
 * one sees what the earlier ones wrote, and makes them durable together.  Nothing
 * but the queue is shared, and LMDB's environment, which is made for that.
 */
#include "config.h"

#include "sv_lmdb.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "sv_lmdb_apply.h"
#include "sv_lmdb_check.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"
#include "tn_options.h"

#define RETRY_US	10000000u	/* between two tries to open it */
#define LOCK_BYTES	16384		/* of the lock file: more readers than we need */
#define LOG_BURST	5u		/* records a second about failures */

/* storage_durability's choices, in their order. */
enum { DURABILITY_ALWAYS, DURABILITY_INTERVAL };

struct lmdb {
	struct sv_storage storage;
	struct event_base *base;
	struct sv_stats	*stats;
	char		 dir[400], file[416];	/* so that they fit in texts */
	uint64_t	 size_max;
	bool		 always;	/* each commit durable before it is answered */
	unsigned	 interval_ms;
	unsigned	 batch_max;	/* commits in one transaction */
	struct sv_lmdb_tables t;		/* t.env NULL: not open */
	char		 error[SV_STORAGE_TEXT_MAX]; /* ... and why */
	char		 trouble[SV_STORAGE_TEXT_MAX]; /* of the last write */
	uint64_t	 tried_us;
	MDB_txn		*reader;	/* reset between reads */
	struct sv_storage_item items[SV_STORAGE_KEYS_MAX];
	struct tn_log_limit log_limit;
	struct event	*ev;
	int		 wake;		/* eventfd: results are there */
	/* the writing thread's */
	pthread_t	 writer;
	uint64_t	 dirty_us;	/* since when something is not synced; 0: nothing */
	/* the copying thread's */
	pthread_t	 copier;
	bool		 copying, joined;
	sv_storage_copied *copied;
	void		*copied_arg;
	int		 copy_fd;
	char		 copy_text[SV_STORAGE_TEXT_MAX];
	/* shared */
	pthread_mutex_t	 lock;
	pthread_cond_t	 more;
	struct sv_storage_commits queue, results;
	bool		 stop, panic, copy_done;
	uint64_t	 batches, syncs;
};

static void close_env(struct lmdb *l);

/* -- commits, in the writing thread --------------------------------------- */

/* LMDB says EIO when a write falls short, which is what a full disk does first. */
static bool
is_full(const struct lmdb *l)
{
	struct statvfs fs;

	return statvfs(l->dir, &fs) == 0 && fs.f_bavail == 0;
}

static void
fail(struct lmdb *l, struct sv_storage_commit *c, int rc)
{
	c->err = TN_EUNAVAIL;
	sv_lmdb_say(c->text, l->file, rc == EIO && is_full(l) ? ENOSPC : rc);
	if (rc == MDB_PANIC) {
		pthread_mutex_lock(&l->lock);
		l->panic = true;
		pthread_mutex_unlock(&l->lock);
	}
}

/* Alone, without a parent. */
static void
run_one(struct lmdb *l, struct sv_storage_commit *c, uint64_t *done)
{
	MDB_txn *txn;
	bool wrote;
	int rc = mdb_txn_begin(l->t.env, NULL, 0, &txn);

	if (rc == 0 && ((rc = sv_lmdb_apply(&l->t, txn, c, &wrote)) != 0 || c->err != 0))
		mdb_txn_abort(txn);
	else if (rc == 0)
		rc = mdb_txn_commit(txn);
	if (rc != 0)
		fail(l, c, rc);
	else if (c->err == 0)
		++*done;
}

/*
 * All in one transaction.  False: one of them had to stop half way, or the whole cannot
 * be (a full disk shows at the end only); nothing is done.
 */
static bool
run_together(struct lmdb *l, struct sv_storage_commits *batch, uint64_t *done)
{
	struct sv_storage_commit *c;
	MDB_txn *txn;
	unsigned n = 0;
	bool wrote;

	if (mdb_txn_begin(l->t.env, NULL, 0, &txn) != 0)
		return false;
	STAILQ_FOREACH(c, batch, link) {
		if (sv_lmdb_apply(&l->t, txn, c, &wrote) != 0 || (c->err != 0 && wrote)) {
			mdb_txn_abort(txn);
			return false;
		}
		n += c->err == 0;
	}
	if (n == 0) {			/* conflicts, all of them */
		mdb_txn_abort(txn);
		return true;
	}
	if (mdb_txn_commit(txn) != 0)
		return false;
	++*done;
	return true;
}

/*
 * All in one transaction, each in one of its own within, so that one that cannot be
 * takes nothing along.  (Those cost as much again: LMDB makes a list of 2 MB for each.)
 * Where even the whole cannot be, each has its try alone.
 */
static void
run_apart(struct lmdb *l, struct sv_storage_commits *batch, uint64_t *done)
{
	struct sv_storage_commit *c;
	MDB_txn *all, *txn;
	unsigned n = 0;
	bool wrote;
	int rc = mdb_txn_begin(l->t.env, NULL, 0, &all);

	if (rc != 0) {
		STAILQ_FOREACH(c, batch, link)
			fail(l, c, rc);
		return;
	}
	STAILQ_FOREACH(c, batch, link) {
		rc = mdb_txn_begin(l->t.env, all, 0, &txn);
		if (rc == 0 && ((rc = sv_lmdb_apply(&l->t, txn, c, &wrote)) != 0 || c->err != 0))
			mdb_txn_abort(txn);
		else if (rc == 0)
			rc = mdb_txn_commit(txn);
		if (rc != 0)
			fail(l, c, rc);
		else
			n += c->err == 0;
	}
	if (n == 0) {
		mdb_txn_abort(all);
		return;
	}
	if (mdb_txn_commit(all) == 0) {
		++*done;
		return;
	}
	STAILQ_FOREACH(c, batch, link)
		run_one(l, c, done);
}

static void
take_batch(struct lmdb *l, struct sv_storage_commits *batch)
{
	struct sv_storage_commit *c;
	unsigned n;

	STAILQ_INIT(batch);
	for (n = 0; n < l->batch_max && (c = STAILQ_FIRST(&l->queue)) != NULL; n++) {
		STAILQ_REMOVE_HEAD(&l->queue, link);
		STAILQ_INSERT_TAIL(batch, c, link);
	}
}

static void
wake_loop(const struct lmdb *l)
{
	uint64_t one = 1;

	while (write(l->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Locked.  Until there is something to do; interval: at most until the next sync is due. */
static void
wait_for_more(struct lmdb *l)
{
	struct timespec until;
	uint64_t due;

	if (l->dirty_us == 0) {
		pthread_cond_wait(&l->more, &l->lock);
		return;
	}
	due = l->dirty_us + l->interval_ms * 1000ull;
	until = (struct timespec){ (time_t)(due / 1000000), (long)(due % 1000000) * 1000 };
	pthread_cond_timedwait(&l->more, &l->lock, &until);
}

/* Durability "interval": what was answered becomes durable now, if it is time. */
static void
sync_if_due(struct lmdb *l, bool now)
{
	if (l->dirty_us == 0 ||
	    (!now && tn_clock_us() < l->dirty_us + l->interval_ms * 1000ull))
		return;
	/* Not done: the next one will try again, after another interval. */
	l->dirty_us = mdb_env_sync(l->t.env, 1) == 0 ? 0 : tn_clock_us();
	pthread_mutex_lock(&l->lock);
	l->syncs++;
	pthread_mutex_unlock(&l->lock);
}

static void *
write_all(void *arg)
{
	struct lmdb *l = arg;
	struct sv_storage_commits batch;
	uint64_t done;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		if (STAILQ_EMPTY(&l->queue) && !l->stop)
			wait_for_more(l);
		if (STAILQ_EMPTY(&l->queue) && l->stop)
			break;
		take_batch(l, &batch);
		pthread_mutex_unlock(&l->lock);
		done = 0;
		if (STAILQ_FIRST(&batch) != NULL && !run_together(l, &batch, &done))
			run_apart(l, &batch, &done);
		if (!l->always) {
			if (done > 0 && l->dirty_us == 0)
				l->dirty_us = tn_clock_us();
			sync_if_due(l, false);
		}
		pthread_mutex_lock(&l->lock);
		l->batches += done;
		if (l->always)
			l->syncs += done;
		if (!STAILQ_EMPTY(&batch)) {
			STAILQ_CONCAT(&l->results, &batch);
			wake_loop(l);
		}
	}
	pthread_mutex_unlock(&l->lock);
	sync_if_due(l, true);
	return NULL;
}

/* -- results, in the event loop ------------------------------------------- */

static void
complain(struct lmdb *l, const char *text)
{
	uint64_t dropped = 0;
	struct tn_log_record r;

	l->log_limit.burst = LOG_BURST;
	if (!tn_log_allow(&l->log_limit, tn_clock_us(), &dropped))
		return;
	tn_log_begin(&r, TN_LOG_ERROR, "storage");
	tn_log_str(&r, "error", tn_str(text));
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_end(&r);
}

static void
account(struct lmdb *l, const struct sv_storage_commit *c)
{
	switch (c->err) {
	case 0:
		l->stats->commits++;
		l->stats->commit_bytes += c->bytes;
		l->trouble[0] = '\0';
		break;
	case TN_EBUSY:
		l->stats->commit_conflicts++;
		break;
	case TN_EUNAVAIL:
		snprintf(l->trouble, sizeof(l->trouble), "%s", c->text);
		complain(l, c->text);
		break;
	}
	sv_histogram_add(&l->stats->time_commit, tn_clock_us() - c->begun_us);
}

static void
take_results(struct lmdb *l)
{
	struct sv_storage_commits results = STAILQ_HEAD_INITIALIZER(results);
	struct sv_storage_commit *c;
	sv_storage_copied *copied = NULL;
	bool panic;
	int fd;

	pthread_mutex_lock(&l->lock);
	STAILQ_CONCAT(&results, &l->results);
	l->stats->commit_batches += l->batches;
	l->stats->storage_syncs += l->syncs;
	l->batches = l->syncs = 0;
	panic = l->panic;
	l->panic = false;
	if (l->copy_done) {
		l->copy_done = false;
		copied = l->copied;
	}
	pthread_mutex_unlock(&l->lock);
	if (copied != NULL) {
		if (!l->joined)
			pthread_join(l->copier, NULL);
		l->copying = l->joined = false;
		fd = l->copy_fd;
		copied(l->copied_arg, fd, l->copy_text);
	}
	while ((c = STAILQ_FIRST(&results)) != NULL) {
		STAILQ_REMOVE_HEAD(&results, link);
		account(l, c);
		c->done(c->arg, c);
	}
	/* LMDB does not trust what it has in memory any more: read the file anew. */
	if (panic) {
		close_env(l);
		snprintf(l->error, sizeof(l->error), "%s", l->trouble);
		l->tried_us = 0;
	}
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct lmdb *l = arg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		take_results(l);
}

/* -- opening -------------------------------------------------------------- */

/* A new file's name must be as durable as what stands in it. */
static void
sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)fsync(fd);
	(void)close(fd);
}

static int
open_env(struct lmdb *l)
{
	unsigned flags = MDB_NOTLS | (l->always ? 0 : MDB_NOSYNC);
	int rc, dead;

	if ((rc = mdb_env_create(&l->t.env)) != 0)
		return rc;
	if ((rc = mdb_env_set_maxdbs(l->t.env, SV_LMDB_TABLES)) != 0 ||
	    (rc = mdb_env_set_mapsize(l->t.env, (size_t)l->size_max)) != 0 ||
	    (rc = mdb_env_open(l->t.env, l->dir, flags, 0600)) != 0 ||
	    (rc = mdb_reader_check(l->t.env, &dead)) != 0 ||
	    (rc = sv_lmdb_open_tables(&l->t, 0)) != 0 ||
	    (rc = mdb_txn_begin(l->t.env, NULL, MDB_RDONLY, &l->reader)) != 0)
		return rc;
	mdb_txn_reset(l->reader);
	sync_directory(l->dir);
	return 0;
}

static int
start_thread(pthread_t *t, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	int rc;

	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(t, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void
drop_env(struct lmdb *l)
{
	if (l->reader != NULL)
		mdb_txn_abort(l->reader);
	l->reader = NULL;
	if (l->t.env != NULL)
		mdb_env_close(l->t.env);
	l->t.env = NULL;
}

/*
 * LMDB maps its lock file, too, and writes there: on a full disk that would end us, if
 * there were no blocks for it yet.  (Its own writes to the data are calls that fail.)
 */
static int
make_lock_file(const struct lmdb *l)
{
	char path[sizeof(l->dir) + 16];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/lock.mdb", l->dir);
	if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		return errno;
	rc = posix_fallocate(fd, 0, LOCK_BYTES);
	(void)close(fd);
	return rc;
}

/* There is no file, or nothing in it. */
static bool
is_new(const struct lmdb *l)
{
	struct stat st;

	return stat(l->file, &st) != 0 ? errno == ENOENT : st.st_size == 0;
}

/*
 * Other shards, and the server before an upgrade, may open it at the same moment.  Who
 * makes it is alone: half a beginning would look damaged to the others, and who takes it
 * away again must not take it from them.  (The lock is the directory's: a closed
 * descriptor of LMDB's own lock file would take LMDB's locks along.)  -1: errno.
 */
static int
lock_opening(const struct lmdb *l, bool *new)
{
	int fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc, error;

	if (fd < 0)
		return -1;
	rc = flock(fd, LOCK_SH);
	*new = is_new(l);
	if (rc == 0 && *new) {
		rc = flock(fd, LOCK_EX);
		*new = is_new(l);	/* we had no lock for a moment */
	}
	if (rc == 0)
		return fd;
	error = errno;
	tn_fd_close(&fd);
	errno = error;
	return -1;
}

/* Locked.  0, or an error; TN_EUNAVAIL: l->error says it. */
static int
open_locked(struct lmdb *l, bool new)
{
	int rc = make_lock_file(l);

	if (rc == 0 && sv_lmdb_check_dir(l->dir, l->file, l->error) != 0)
		return TN_EUNAVAIL;
	if (rc == 0 && ((rc = open_env(l)) != 0 ||
	    (rc = start_thread(&l->writer, write_all, l)) != 0)) {
		drop_env(l);
		if (new)		/* half a beginning would be taken for damage */
			(void)unlink(l->file);
	}
	return rc;
}

/* 0, or TN_EUNAVAIL and l->error. */
static int
try_to_open(struct lmdb *l)
{
	bool new = false;
	int rc, lock;

	if (mkdir(l->dir, 0700) != 0 && errno != EEXIST) {
		snprintf(l->error, sizeof(l->error), "Storage failed: cannot make %s: %s", l->dir,
		    strerror(errno));
		return TN_EUNAVAIL;
	}
	rc = (lock = lock_opening(l, &new)) < 0 ? errno : open_locked(l, new);
	tn_fd_close(&lock);
	if (rc == 0 || rc == TN_EUNAVAIL)
		return rc;
	sv_lmdb_say(l->error, l->file, rc == EIO && is_full(l) ? ENOSPC : rc);
	return TN_EUNAVAIL;
}

/* Is it open?  If not, try, but not too often; 0, or TN_EUNAVAIL and l->error. */
static int
ready(struct lmdb *l)
{
	uint64_t now;

	if (l->t.env != NULL)
		return 0;
	now = tn_clock_us();
	if (l->dir[0] == '\0')
		return TN_EUNAVAIL;
	if (l->tried_us != 0 && now - l->tried_us < RETRY_US)
		return TN_EUNAVAIL;
	l->tried_us = now;
	if (try_to_open(l) == 0) {
		l->error[0] = '\0';
		return 0;
	}
	complain(l, l->error);
	return TN_EUNAVAIL;
}

/* The threads have ended then; what was under way is answered. */
static void
close_env(struct lmdb *l)
{
	if (l->t.env == NULL)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->writer, NULL);
	l->stop = false;
	if (l->copying && !l->joined) {
		pthread_join(l->copier, NULL);
		l->joined = true;
	}
	drop_env(l);
	take_results(l);
}

/* -- reading -------------------------------------------------------------- */

/* Begin a read; 0, or text says why there can be none. */
static int
begin_read(struct lmdb *l, char text[SV_STORAGE_TEXT_MAX])
{
	int rc = ready(l);

	if (rc != 0) {
		snprintf(text, SV_STORAGE_TEXT_MAX, "%s", l->error);
		return rc;
	}
	if ((rc = mdb_txn_renew(l->reader)) == 0)
		return 0;
	sv_lmdb_say(text, l->file, rc);
	complain(l, text);
	return TN_EUNAVAIL;
}

static int
end_read(struct lmdb *l, int rc, char text[SV_STORAGE_TEXT_MAX])
{
	if (rc == 0)
		return 0;
	sv_lmdb_say(text, l->file, rc);
	complain(l, text);
	return TN_EUNAVAIL;
}

static void
lmdb_get(struct sv_storage *st, const char *contract, struct tn_str key, sv_storage_got *done,
    void *arg)
{
	struct lmdb *l = (struct lmdb *)st;
	char buf[SV_LMDB_KEY_BYTES], text[SV_STORAGE_TEXT_MAX] = "";
	struct tn_str value;
	uint64_t version = 0;
	MDB_val k, v;
	int rc, err;

	if ((err = begin_read(l, text)) != 0) {
		done(arg, err, text, 0, NULL);
		return;
	}
	k = sv_lmdb_key(buf, contract, key);
	rc = mdb_get(l->reader, l->t.data, &k, &v);
	if (rc == 0)
		rc = sv_lmdb_split(&v, &version, &value);
	if (rc == MDB_NOTFOUND)
		done(arg, 0, "", 0, NULL);
	else if ((err = end_read(l, rc, text)) != 0)
		done(arg, err, text, 0, NULL);
	else
		done(arg, 0, "", version, &value);
	mdb_txn_reset(l->reader);
}

static int
read_items(struct lmdb *l, const char *contract, bool values, size_t *n)
{
	char buf[SV_LMDB_KEY_BYTES];
	MDB_val k = sv_lmdb_key(buf, contract, TN_STR("")), v;
	MDB_cursor_op op = MDB_SET_RANGE;
	struct sv_storage_item *it;
	MDB_cursor *cursor;
	struct tn_str key;
	int rc;

	*n = 0;
	if ((rc = mdb_cursor_open(l->reader, l->t.data, &cursor)) != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &k, &v, op)) == 0 &&
	    sv_lmdb_inner(&k, contract, &key)) {
		op = MDB_NEXT;
		if (*n == SV_STORAGE_KEYS_MAX) {
			rc = MDB_CORRUPTED;	/* no commit left so many */
			break;
		}
		it = &l->items[(*n)++];
		it->key = key;
		if ((rc = sv_lmdb_split(&v, &it->version, &it->value)) != 0)
			break;
		if (!values)
			it->value = TN_STR("");
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static void
lmdb_list(struct sv_storage *st, const char *contract, bool values, sv_storage_listed *done,
    void *arg)
{
	struct lmdb *l = (struct lmdb *)st;
	char text[SV_STORAGE_TEXT_MAX] = "";
	struct sv_lmdb_record r;
	size_t n = 0;
	int rc, err;

	if ((err = begin_read(l, text)) != 0) {
		done(arg, err, text, 0, NULL, 0);
		return;
	}
	if ((rc = sv_lmdb_get_record(&l->t, l->reader, contract, &r)) == 0)
		rc = read_items(l, contract, values, &n);
	if ((err = end_read(l, rc, text)) != 0)
		done(arg, err, text, 0, NULL, 0);
	else
		done(arg, 0, "", r.members, l->items, n);
	mdb_txn_reset(l->reader);
}

/* -- writing -------------------------------------------------------------- */

static void
lmdb_commit(struct sv_storage *st, struct sv_storage_commit *c)
{
	struct lmdb *l = (struct lmdb *)st;

	if (ready(l) != 0) {
		c->err = TN_EUNAVAIL;
		snprintf(c->text, sizeof(c->text), "%s", l->error);
		c->done(c->arg, c);
		return;
	}
	pthread_mutex_lock(&l->lock);
	STAILQ_INSERT_TAIL(&l->queue, c, link);
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
}

/* -- what there is -------------------------------------------------------- */

static int
sum_up(struct lmdb *l, struct sv_storage_stat *s)
{
	MDB_envinfo info;
	MDB_stat data, env;
	MDB_cursor *cursor;
	struct sv_lmdb_record r;
	MDB_val k, v;
	int rc;

	if ((rc = mdb_env_info(l->t.env, &info)) != 0 || (rc = mdb_env_stat(l->t.env, &env)) != 0 ||
	    (rc = mdb_stat(l->reader, l->t.data, &data)) != 0 ||
	    (rc = sv_lmdb_get_number(&l->t, l->reader, "sequence", &s->sequence)) != 0 ||
	    (rc = mdb_cursor_open(l->reader, l->t.contracts, &cursor)) != 0)
		return rc;
	s->size = (info.me_last_pgno + 1) * env.ms_psize;
	s->keys = data.ms_entries;
	while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		if (v.mv_size != sizeof(r)) {
			rc = MDB_CORRUPTED;
			break;
		}
		memcpy(&r, v.mv_data, sizeof(r));
		s->contracts++;
		s->bytes += r.bytes;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static void
lmdb_stat(struct sv_storage *st, struct sv_storage_stat *s)
{
	struct lmdb *l = (struct lmdb *)st;

	snprintf(s->path, sizeof(s->path), "%s", l->file);
	s->size_max = l->size_max;
	if (begin_read(l, s->error) != 0)
		return;
	if (end_read(l, sum_up(l, s), s->error) == 0)
		snprintf(s->error, sizeof(s->error), "%s", l->trouble);
	mdb_txn_reset(l->reader);
}

/* -- copies --------------------------------------------------------------- */

/* LMDB's own way: as of one transaction, without its free pages, while writes go on. */
static void *
copy_all(void *arg)
{
	struct lmdb *l = arg;
	int rc;

	if ((rc = mdb_env_copyfd2(l->t.env, l->copy_fd, MDB_CP_COMPACT)) != 0) {
		sv_lmdb_say(l->copy_text, l->file, rc);
		tn_fd_close(&l->copy_fd);
	}
	pthread_mutex_lock(&l->lock);
	l->copy_done = true;
	pthread_mutex_unlock(&l->lock);
	wake_loop(l);
	return NULL;
}

/* Beside the file itself: if there is room for a copy anywhere, it is there. */
static int
make_nameless(const struct lmdb *l)
{
	char path[sizeof(l->dir) + 16];
	int fd = open(l->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	/* Not every file system can do that. */
	snprintf(path, sizeof(path), "%s/copy.XXXXXX", l->dir);
	if ((fd = mkostemp(path, O_CLOEXEC)) >= 0)
		(void)unlink(path);
	return fd;
}

static int
lmdb_copy(struct sv_storage *st, sv_storage_copied *done, void *arg)
{
	struct lmdb *l = (struct lmdb *)st;
	int rc;

	if (l->copying)
		return TN_EBUSY;
	if (ready(l) != 0) {
		done(arg, -1, l->error);
		return 0;
	}
	l->copy_text[0] = '\0';
	l->copied = done;
	l->copied_arg = arg;
	if ((l->copy_fd = make_nameless(l)) < 0) {
		sv_lmdb_say(l->copy_text, l->dir, errno);
		done(arg, -1, l->copy_text);
		return 0;
	}
	l->copying = true;
	if ((rc = start_thread(&l->copier, copy_all, l)) != 0) {
		l->copying = false;
		tn_fd_close(&l->copy_fd);
		sv_lmdb_say(l->copy_text, l->file, rc);
		done(arg, -1, l->copy_text);
	}
	return 0;
}

/* -- the whole ------------------------------------------------------------ */

static void
lmdb_close(struct sv_storage *st)
{
	struct lmdb *l = (struct lmdb *)st;

	close_env(l);
	if (l->ev != NULL)
		event_free(l->ev);
	tn_fd_close(&l->wake);
	pthread_cond_destroy(&l->more);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static const struct sv_storage_backend backend = {
	.name = "lmdb", .close = lmdb_close, .get = lmdb_get, .list = lmdb_list,
	.commit = lmdb_commit, .stat = lmdb_stat, .copy = lmdb_copy,
};

struct sv_storage *
sv_lmdb_open(struct event_base *base, const char *path, const struct tn_options *opt,
    struct sv_stats *stats)
{
	struct lmdb *l = calloc(1, sizeof(*l));
	pthread_condattr_t attr;

	if (l == NULL)
		return NULL;
	l->storage.backend = &backend;
	l->base = base;
	l->stats = stats;
	l->size_max = opt->storage_size / 65536 * 65536;	/* in whole pages */
	l->always = opt->storage_durability == DURABILITY_ALWAYS;
	l->interval_ms = (unsigned)opt->storage_interval_ms;
	l->batch_max = (unsigned)opt->storage_batch_max;
	l->wake = l->copy_fd = -1;
	STAILQ_INIT(&l->queue);
	STAILQ_INIT(&l->results);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->more, &attr);
	pthread_condattr_destroy(&attr);
	if ((l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
	    (l->ev = event_new(base, l->wake, EV_READ | EV_PERSIST, on_wake, l)) == NULL ||
	    event_add(l->ev, NULL) != 0) {
		lmdb_close(&l->storage);
		return NULL;
	}
	if ((size_t)snprintf(l->dir, sizeof(l->dir), "%s", path) >= sizeof(l->dir)) {
		snprintf(l->error, sizeof(l->error),
		    "Storage failed: the path of state_dir is too long");
		complain(l, l->error);
		l->dir[0] = '\0';
		return &l->storage;
	}
	snprintf(l->file, sizeof(l->file), "%s/data.mdb", l->dir);
	(void)ready(l);
	return &l->storage;
}
