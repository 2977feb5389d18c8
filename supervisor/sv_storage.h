/*
 * sv_storage.h - where contracts' data is kept, whatever keeps it.
 *
 * Each contract has keys of its own.  Every commit that changes something has a
 * number, greater than all before it; a key's version is the number of the commit
 * that wrote it, 0 if there is no such key.  A commit says which versions its
 * request has read, and is taken as a whole only if they are still those.
 *
 * All answers come by callbacks, which may be called before the call returns (a
 * look into memory) or from the event loop (what waits for a disk); never from
 * another thread.  What a callback is given lives until it returns.  An error is a
 * TN_E code and a text for the contract: TN_EBUSY a conflict, TN_ELIMIT a limit,
 * TN_EUNAVAIL the storage itself, TN_ENOMEM.
 */
#ifndef SV_STORAGE_H
#define SV_STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "sv_request.h"
#include "tn_str.h"

/* Limits of one contract's data; the texts that tell of them are in sv_storage.c. */
#define SV_STORAGE_KEY_MAX	256u	/* bytes of a key */
#define SV_STORAGE_VALUE_MAX	10240u	/* bytes of a value, its letter not counted */
#define SV_STORAGE_TOTAL_MAX	102400u	/* bytes of all keys and values */
#define SV_STORAGE_KEYS_MAX	1000u

/* A value begins with a letter that says what it is (tana-data.js); no size counts it. */
#define SV_STORAGE_TAG		1u

#define SV_STORAGE_TEXT_MAX	512u	/* bytes of an error's text */

struct event_base;
struct tn_options;
struct sv_stats;
struct sv_storage;

struct sv_storage_item {
	struct tn_str	 key;
	uint64_t	 version;
	struct tn_str	 value;
};

/* err 0: value is NULL if there is no such key. */
typedef void sv_storage_got(void *arg, int err, const char *text, uint64_t version,
    const struct tn_str *value);
/* Keys in the order of their bytes; members: the last commit that added or took away one. */
typedef void sv_storage_listed(void *arg, int err, const char *text, uint64_t members,
    const struct sv_storage_item *items, size_t n);

/* What a request had read: this version of a key. */
struct sv_storage_read {
	struct tn_str	 key;
	uint64_t	 version;
};

/* ... and that these are the keys that match a pattern, unless members is still the same. */
struct sv_storage_match {
	struct tn_str	 pattern;
	uint64_t	 members;
	struct tn_str	*keys;		/* in the order of their bytes */
	size_t		 nkeys;
};

struct sv_storage_write {
	struct tn_str	 key;
	bool		 gone;		/* delete it */
	struct tn_str	 value;
};

/* One commit; its texts stand in `memory`. */
struct sv_storage_commit {
	STAILQ_ENTRY(sv_storage_commit) link;	/* the storage's */
	char		 contract[SV_CONTRACT_MAX + 1];
	bool		 clear;			/* take all keys away first */
	struct sv_storage_read *reads;
	struct sv_storage_match *matches;
	struct sv_storage_write *writes;
	size_t		 nreads, nmatches, nwrites;
	void		*memory;
	void		(*done)(void *arg, struct sv_storage_commit *c);
	void		*arg;
	/* how it came out */
	int		 err;
	char		 text[SV_STORAGE_TEXT_MAX];
	uint64_t	 version;
	uint64_t	 begun_us;
	uint64_t	 bytes;			/* keys and values written */
};
STAILQ_HEAD(sv_storage_commits, sv_storage_commit);

struct sv_storage_stat {
	char		 path[512];		/* the file, or what else names it */
	char		 error[SV_STORAGE_TEXT_MAX]; /* why it cannot be used; empty: it can */
	uint64_t	 size, size_max;	/* bytes it takes, and may take */
	uint64_t	 contracts, keys, bytes;
	uint64_t	 sequence;		/* number of the last commit */
};

/*
 * A copy of everything as it is at one moment, made in the background: a file
 * without a name that is the callee's to close, -1: text says why not.
 */
typedef void sv_storage_copied(void *arg, int fd, const char *text);

struct sv_storage_backend {
	const char	*name;
	void (*close)(struct sv_storage *st);
	void (*get)(struct sv_storage *st, const char *contract, struct tn_str key,
	    sv_storage_got *done, void *arg);
	/* values: their values too. */
	void (*list)(struct sv_storage *st, const char *contract, bool values,
	    sv_storage_listed *done, void *arg);
	void (*commit)(struct sv_storage *st, struct sv_storage_commit *c);
	void (*stat)(struct sv_storage *st, struct sv_storage_stat *s);
	int (*copy)(struct sv_storage *st, sv_storage_copied *done, void *arg);
};

/* What every backend's own struct begins with. */
struct sv_storage {
	const struct sv_storage_backend *backend;
};

/* Frees it: commits that are under way are finished first, their callbacks called. */
void sv_storage_close(struct sv_storage **st);

void sv_storage_get(struct sv_storage *st, const char *contract, struct tn_str key,
    sv_storage_got *done, void *arg);
void sv_storage_list(struct sv_storage *st, const char *contract, bool values,
    sv_storage_listed *done, void *arg);
/* Takes *c; done gets it back, to free with sv_storage_commit_free(). */
void sv_storage_commit(struct sv_storage *st, struct sv_storage_commit **c);
void sv_storage_stat(struct sv_storage *st, struct sv_storage_stat *s);
/* 0, or TN_EBUSY: one is being made; done is not called. */
int sv_storage_copy(struct sv_storage *st, sv_storage_copied *done, void *arg);

/*
 * A commit from an operation's payload (operations.def), which came from a worker.
 * NULL: *err is TN_EPROTO (malformed), TN_ELIMIT (text says what is too large) or
 * TN_ENOMEM.
 */
struct sv_storage_commit *sv_storage_commit_parse(const char *contract, struct tn_str payload,
    int *err, char text[SV_STORAGE_TEXT_MAX]);
void sv_storage_commit_free(struct sv_storage_commit **c);

/* Does the key match the pattern, in which * is any text? */
bool sv_storage_match(struct tn_str pattern, struct tn_str key);

/* The texts of errors, as contract authors know them. */
void sv_storage_say_conflict(struct sv_storage_commit *c, struct tn_str key);
void sv_storage_say_total(struct sv_storage_commit *c, uint64_t bytes);
void sv_storage_say_keys(struct sv_storage_commit *c, uint64_t keys);

#endif
