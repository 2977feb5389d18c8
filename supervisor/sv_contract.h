/*
 * sv_contract.h - the contracts directory as the front knows it.
 *
 * A contract has at most one current version, which serves, and at most one
 * that is being made ready: read, lowered where it is TypeScript, its image
 * built.  The switch to it is one assignment, between two requests; requests
 * that hold the old version finish with it.  A version that fails leaves the
 * current one serving, and says why.
 */
#ifndef SV_CONTRACT_H
#define SV_CONTRACT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "sv_breaker.h"
#include "sv_request.h"
#include "tn_log.h"
#include "tn_zygote.h"

struct event_base;
struct tn_options;
struct sv_stats;
struct sv_image;
struct sv_lower;
struct sv_trace;
struct sv_share;
struct sv_shares;
struct sv_contracts;

#define SV_EXPORTS(X) X(init) X(contract) X(get) X(post) X(fetch)
enum sv_export {
#define SV_EXPORT_BIT(name) SV_EXPORT_ORD_##name,
	SV_EXPORTS(SV_EXPORT_BIT)
#undef SV_EXPORT_BIT
	SV_EXPORT_MAX
};
#define SV_EXPORT(name) (1u << SV_EXPORT_ORD_##name)

/* One loaded state of a contract's files; immutable once its image was built. */
struct sv_version {
	unsigned	 refs;
	uint64_t	 number;	/* unique in this front's life */
	struct sv_contract *contract;
	uint64_t	 signature;	/* of names, sizes, times of its files */
	char		*meta;		/* JSON object, or empty */
	enum tn_isolation isolation;	/* of its requests */
	struct tn_str	*source;	/* file name, text, ...; each text malloc'ed */
	size_t		 nsource;
	struct sv_trace	*trace;		/* the author's lines, or NULL */
	unsigned	 exports;	/* SV_EXPORT bits, from the builder */
	char		 allow[64];	/* the Allow header's value */
	struct sv_image	*image;		/* NULL: to be built (again) */
	struct sv_image	*coming;	/* of the generation that comes */
	bool		 filling;	/* somebody who makes those holds it */
	bool		 building;
	unsigned	 lost;		/* zygotes that died while it was built, in a row */
	struct sv_request_list waiting;	/* for the image, then to be queued */
};

typedef void sv_contract_done(void *arg, int err, enum tn_fault fault, const char *message);

struct sv_contract {
	char		 id[SV_CONTRACT_MAX + 1];
	uint64_t	 checked_us;	/* when its files were last looked at */
	struct sv_version *current;
	struct sv_version *next;	/* being made ready */
	enum tn_fault	 fault;		/* why there is no current version */
	char		*message;
	uint64_t	 failed_signature;
	bool		 settling;	/* its requests are being told */
	bool		 due;		/* to be looked at, in a reload of all */
	struct sv_request_list waiting;	/* no current version yet */
	sv_contract_done *reload_done;	/* tana-ctl reload ID */
	void		*reload_arg;
	uint64_t	 requests;
	struct sv_breaker breaker;
	struct sv_share	*share;		/* held */
	uint64_t	 answers[SV_STATUSES];	/* by class of status */
	struct tn_log_limit log_limit;	/* of its console */
	struct tn_log_limit fault_limit; /* of its requests that failed */
	struct sv_contract *hash_next;
};

/*
 * Ask for a version's image: the maker calls sv_contracts_built() later.
 * Given by the dispatcher, which knows images and builders.
 */
typedef void sv_contracts_build(void *arg, struct sv_version *v);
/* The contract's waiting requests can go on: current is set, or fault is. */
typedef void sv_contracts_settled(void *arg, struct sv_contract *c);

/* shares: each contract holds its own (borrowed). */
struct sv_contracts *sv_contracts_new(struct event_base *base, const struct tn_options *opt,
    int dir_fd, struct sv_lower *lower, struct sv_stats *stats, struct sv_shares *shares,
    sv_contracts_build *build, sv_contracts_settled *settled, void *arg);
void sv_contracts_free(struct sv_contracts **cs);

/* Is it a well-formed identifier (1-63 of a-z 0-9 -, no hyphen at either end)? */
bool sv_contract_id_ok(const char *id);

/*
 * The contract, loading it (or looking for a newer version, once a second) as a
 * side effect; NULL: there is none.  Borrowed; lives until the next call.
 */
struct sv_contract *sv_contracts_get(struct sv_contracts *cs, const char *id);

/* The contract as it is known, nothing looked at; NULL: it is not. Borrowed likewise. */
struct sv_contract *sv_contracts_find(struct sv_contracts *cs, const char *id);

/* The image of v was built (fault 0), or not; called by the dispatcher, also for a rebuild. */
void sv_contracts_built(struct sv_contracts *cs, struct sv_version *v, enum tn_fault fault,
    const char *message, unsigned exports);

/* The contract if it was asked for before; nothing is loaded. */
struct sv_contract *sv_contracts_known(struct sv_contracts *cs, const char *id);

/* Look at all known contracts now. */
void sv_contracts_reload(struct sv_contracts *cs);
/* Look at one now; done is called once, perhaps before this returns. TN_ENOENT, TN_EBUSY. */
int sv_contracts_reload_one(struct sv_contracts *cs, const char *id, sv_contract_done *done,
    void *arg);

struct sv_version *sv_version_ref(struct sv_version *v);
void sv_version_unref(struct sv_contracts *cs, struct sv_version **v);

size_t sv_contracts_count(const struct sv_contracts *cs);
/* All that are known; fn must not make or free any. */
void sv_contracts_each(struct sv_contracts *cs, void (*fn)(void *arg, struct sv_contract *c),
    void *arg);

#endif
