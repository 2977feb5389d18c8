/*
 * sv_lmdb_check.c - is a file a database of ours that can be read from end to end?
 */
#include "config.h"

#include "sv_lmdb_check.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sv_lmdb_table.h"
#include "tn_err.h"

#define FREE_TABLE	0u		/* LMDB's own: transaction -> pages that it freed */

struct look {
	const struct sv_lmdb_tables *t;
	MDB_dbi		 dbi;		/* the table that is looked at */
	size_t		 last_page;
	uint64_t	 sequence;
};

/* A list of pages: how many, and then they, each less than the one before. */
static bool
is_free_list(const MDB_val *v, size_t last_page)
{
	size_t n, page, before = last_page + 1, i;

	if (v->mv_size < sizeof(n))
		return false;
	memcpy(&n, v->mv_data, sizeof(n));
	if (n >= v->mv_size / sizeof(n))
		return false;
	for (i = 1; i <= n; i++) {
		memcpy(&page, (const char *)v->mv_data + i * sizeof(page), sizeof(page));
		if (page >= before)
			return false;
		before = page;
	}
	return true;
}

static unsigned char
sum(const MDB_val *v)
{
	const unsigned char *p = v->mv_data;
	unsigned char s = 0;
	size_t i;

	for (i = 0; i < v->mv_size; i++)
		s = (unsigned char)(s + p[i]);
	return s;
}

static bool
comes_after(const MDB_val *k, const MDB_val *before)
{
	size_t n = k->mv_size < before->mv_size ? k->mv_size : before->mv_size;
	int c = memcmp(k->mv_data, before->mv_data, n);

	return c != 0 ? c > 0 : k->mv_size > before->mv_size;
}

/* Is it an entry as we (or LMDB, of free pages) write it? */
static bool
makes_sense(const struct look *l, const MDB_val *k, const MDB_val *v)
{
	struct tn_str value;
	uint64_t version;

	if (l->dbi == FREE_TABLE)
		return k->mv_size == sizeof(size_t) && is_free_list(v, l->last_page);
	if (l->dbi == l->t->data)
		return memchr(k->mv_data, '\0', k->mv_size) != NULL &&
		    sv_lmdb_split(v, &version, &value) == 0 && version != 0 &&
		    version <= l->sequence;
	if (l->dbi == l->t->contracts)
		return v->mv_size == sizeof(struct sv_lmdb_record);
	return v->mv_size == sizeof(uint64_t);
}

/*
 * Every entry of a table, so that a page that makes no sense is met here, and as many
 * of them as there should be, in order: what was noise is no table by chance.
 */
static int
walk(const struct look *l, MDB_txn *txn)
{
	volatile unsigned char seen = 0;
	MDB_val k, v, before = { 0, NULL };
	MDB_cursor *cursor;
	size_t n = 0;
	MDB_stat st;
	int rc;

	if ((rc = mdb_stat(txn, l->dbi, &st)) != 0 ||
	    (rc = mdb_cursor_open(txn, l->dbi, &cursor)) != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		seen = (unsigned char)(seen + sum(&k) + sum(&v));
		if (++n > st.ms_entries || !makes_sense(l, &k, &v) ||
		    (l->dbi != FREE_TABLE && before.mv_data != NULL && !comes_after(&k, &before)))
			return MDB_CORRUPTED;
		before = k;
	}
	mdb_cursor_close(cursor);
	if (rc == MDB_NOTFOUND)
		rc = n == st.ms_entries ? 0 : MDB_CORRUPTED;
	return rc;
}

/* Others may write meanwhile (shards, a server that is taken over): nothing older than txn. */
static int
walk_all(const struct sv_lmdb_tables *t)
{
	struct look l = { .t = t };
	MDB_dbi dbi[] = { FREE_TABLE, t->meta, t->data, t->contracts };
	MDB_envinfo info;
	MDB_txn *txn;
	size_t i;
	int rc = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &txn);

	if (rc == 0 && (rc = mdb_env_info(t->env, &info)) == 0)
		l.last_page = info.me_last_pgno;
	if (rc == 0)
		rc = sv_lmdb_get_number(t, txn, "sequence", &l.sequence);
	for (i = 0; i < sizeof(dbi) / sizeof(dbi[0]) && rc == 0; i++) {
		l.dbi = dbi[i];
		rc = walk(&l, txn);
	}
	return rc;
}

/* (The exit status is a byte; LMDB's codes are -30799 and up, errno's less than 200.) */
static void
end_check(int rc)
{
	_exit(rc < 0 ? 200 + (rc + 30799) % 50 : rc > 199 ? 199 : rc);
}

static void
on_assert(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	end_check(MDB_CORRUPTED);
}

/* In a process of its own, which may die of what it reads. */
static int
read_through(const char *path, unsigned flags)
{
	static const int deaths[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	struct sv_lmdb_tables t = { .env = NULL };
	MDB_stat st;
	size_t i;
	int rc;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++)
		(void)signal(deaths[i], SIG_DFL);
	if ((rc = mdb_env_create(&t.env)) != 0 ||
	    (rc = mdb_env_set_maxdbs(t.env, SV_LMDB_TABLES)) != 0 ||
	    (rc = mdb_env_set_assert(t.env, on_assert)) != 0 ||
	    (rc = mdb_env_open(t.env, path, flags | MDB_RDONLY, 0600)) != 0 ||
	    (rc = mdb_env_stat(t.env, &st)) != 0)
		return rc;
	if (st.ms_entries == 0)
		return MDB_NOTFOUND;		/* made, but nothing is in it yet */
	rc = sv_lmdb_open_tables(&t, MDB_RDONLY);
	if (rc == MDB_NOTFOUND)
		return MDB_CORRUPTED;
	return rc == 0 ? walk_all(&t) : rc;
}

/* The code that it comes to; *sig: what it died of, or 0. */
static int
run_check(const char *path, unsigned flags, int *sig)
{
	int status = 0, rc;
	pid_t pid;

	*sig = 0;
	if ((pid = fork()) < 0)
		return errno;
	if (pid == 0)
		end_check(read_through(path, flags));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		*sig = WTERMSIG(status);
		return MDB_CORRUPTED;
	}
	rc = WEXITSTATUS(status);
	return rc >= 200 ? rc - 200 - 30799 : rc;
}

static int
refuse(char text[SV_STORAGE_TEXT_MAX], const char *file, int rc, int sig)
{
	/* (How long it should be nobody can say: pages never used need not be there.) */
	if (sig == SIGBUS)
		snprintf(text, SV_STORAGE_TEXT_MAX, "Storage failed: %s: it is cut short", file);
	else if (sig != 0)
		snprintf(text, SV_STORAGE_TEXT_MAX, "Storage failed: %s: it is damaged "
		    "(reading it ended with signal %d)", file, sig);
	else if (rc == MDB_NOTFOUND)
		snprintf(text, SV_STORAGE_TEXT_MAX, "Storage failed: %s: it is a database "
		    "with nothing in it", file);
	else
		sv_lmdb_say(text, file, rc);
	return TN_EUNAVAIL;
}

int
sv_lmdb_check(const char *file, char text[SV_STORAGE_TEXT_MAX])
{
	struct stat st;
	int sig = 0, rc;

	if (stat(file, &st) != 0)
		rc = errno;
	else
		rc = run_check(file, MDB_NOSUBDIR | MDB_NOLOCK, &sig);
	return rc == 0 ? 0 : refuse(text, file, rc, sig);
}

/* One that was killed while it made the database has left an empty file, or one without tables. */
int
sv_lmdb_check_dir(const char *dir, const char *file, char text[SV_STORAGE_TEXT_MAX])
{
	struct stat st;
	int sig = 0, rc;

	if (stat(file, &st) != 0)
		rc = errno == ENOENT ? 0 : errno;
	else if (st.st_size == 0)
		rc = 0;
	else
		rc = run_check(dir, 0, &sig);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : refuse(text, file, rc, sig);
}
