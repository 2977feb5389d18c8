/*
 * pol_jail.h - a process as the master would start a zygote, for tests that want
 * the real sandbox.
 *
 *	test -- fork --> helper (becomes the user) -- clone --> zygote: body()
 *
 * Nothing in a body or in a worker asserts: cmocka belongs to the test's process.
 * They leave a message in the shared memory and return.
 */
#ifndef POL_JAIL_H
#define POL_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pol_sandbox.h"

enum jail_kind {
	JAIL_ROOT,		/* root's clone with all namespaces but the user's; becomes nobody */
	JAIL_USERNS,		/* an ordinary user's clone with all of them */
	JAIL_USER,		/* an ordinary user's fork */
	JAIL_KINDS
};

#define JAIL_NOBODY	65534u
#define JAIL_CHANNEL	3
#define JAIL_PAGEMAP	4
#define JAIL_NEXT	5		/* the number that a descriptor would get */
#define JAIL_MAGIC	0x616e6174u	/* the base's first word */

/* Shared by the test, the zygote and its children. */
struct jail_shared {
	pid_t		zygote;		/* as the test sees it */
	char		why[POL_ERR_MAX];	/* who failed at what */
	int		rc;		/* of pol_zygote_enter() */
	uint32_t	layers;
	char		err[POL_ERR_MAX];
	int		pagemap_rc;	/* of the last pol_worker_pagemap() */
	int		worker_rc;	/* of the last pol_worker_enter() */
	uint32_t	worker_layers;
	char		worker_err[POL_ERR_MAX];
	int		status;		/* wait status of the zygote */
	int		result[4096];	/* the body's own */
};

struct jail {
	enum jail_kind		 kind;
	enum tn_restore		 restore;
	struct jail_shared	*sh;
	pid_t			 helper;
	int			 socket;	/* to the zygote: SEQPACKET */
};

/* What a body works with, in the zygote. */
struct jail_inside {
	enum jail_kind		 kind;
	struct jail_shared	*sh;
	int			 socket;	/* to the test */
	int			 base;		/* sealed memfd of the arena's length, mapped */
	bool			 careless;	/* its workers leave themselves dumpable */
	struct pol_config	 config;	/* as the kind needs it; change it before _enter */
};

typedef int jail_body(struct jail_inside *in);
typedef int jail_worker_body(struct jail_inside *in, void *arg);

/* NULL, or why this machine or user cannot have such a jail. */
const char *jail_impossible(enum jail_kind kind);

/*
 * Start one, whose workers restore by TN_RESTORE_SCAN, or as _with says; jail_end
 * waits and returns the zygote's wait status.
 */
void jail_begin(struct jail *j, enum jail_kind kind, jail_body *body);
void jail_begin_with(struct jail *j, enum jail_kind kind, enum tn_restore restore,
    jail_body *body);
int jail_end(struct jail *j);

/* In the body: pol_zygote_enter() with in->config; what it says goes to the shared memory. */
int jail_enter(struct jail_inside *in);

/*
 * In the body: fork a worker that enters its sandbox and then runs fn; it ends
 * with fn's value, or with JAIL_NOT_IN.  channel: made by socketpair() before
 * _enter, the worker gets a copy of [1].
 */
#define JAIL_NOT_IN	99
pid_t jail_worker(struct jail_inside *in, enum pol_role role, jail_worker_body *fn, void *arg,
    const int channel[2]);

/* The layers that a kind gets, on this machine. */
uint32_t jail_layers(enum jail_kind kind);

/* Leave a message, once. */
void jail_why(struct jail_shared *sh, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Have a system call fail, in all children too, if its first argument is `arg0` (-1: always). */
int jail_break_call(int nr, int64_t arg0, int with_errno);

/* send and receive one byte, with what every sandbox lets through; 0 or -1. */
int jail_say(int sock, char c);
int jail_hear(int sock);

#endif
