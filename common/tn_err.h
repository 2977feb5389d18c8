/*
 * tn_err.h - error codes, faults, and the three ways to complain.
 *
 * A function that can fail returns 0 or a negative TN_E... code.  What came
 * from outside (a client, a contract, a worker) is only ever such a return.
 */
#ifndef TN_ERR_H
#define TN_ERR_H

enum tn_err_ordinal {			/* the codes' order, from 1; do not use */
	TN_ERR_ORD_NONE = 0,
#define TN_ERR(sym, text) TN_ERR_ORD_##sym,
#include "errors.def"
};
enum tn_err {
	TN_OK = 0,
#define TN_ERR(sym, text) TN_##sym = -TN_ERR_ORD_##sym,
#include "errors.def"
};

/* What a client is told; the number crosses the worker's channel. */
enum tn_fault {
	TN_FAULT_NONE = 0,
#define TN_FAULT(sym, status, code, message) TN_FAULT_##sym,
#include "errors.def"
	TN_FAULT_MAX
};

struct tn_fault_info {
	const char	*name;		/* "BAD_REQUEST" */
	int		 status;	/* 400 */
	const char	*code;		/* "bad_request" */
	const char	*message;
};

/* Text of a TN_E... code; never NULL. */
const char *tn_strerror(int err);

/* Facts of a fault; a number outside the table (a worker may lie) is INTERNAL. */
const struct tn_fault_info *tn_fault_info(unsigned fault);

/* Our bug: log, then abort(). */
void tn_panic(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Exit codes of tana-edge and its tools. */
enum tn_exit {
	TN_EXIT_OK = 0,
	TN_EXIT_FAILURE = 1,		/* it did not work */
	TN_EXIT_USAGE = 2,		/* wrong arguments */
	TN_EXIT_CONFIG = 3,		/* the configuration is wrong */
	TN_EXIT_RUNNING = 4,		/* another server holds run_dir */
	TN_EXIT_UNREACHABLE = 5,	/* tana-ctl: no server there */
	TN_EXIT_SANDBOX = 6		/* a required sandbox layer failed */
};

/* The environment's fault, at start-up: log, then exit(code). */
void tn_fatal(enum tn_exit code, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

#endif
