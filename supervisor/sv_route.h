/*
 * sv_route.h - which contract does a request mean?
 *
 * /{contract} and /{contract}/...; with a domain also {contract}.DOMAIN by the
 * host, where the whole path is the contract's.  Pure.
 */
#ifndef SV_ROUTE_H
#define SV_ROUTE_H

#include <stdbool.h>

#include "sv_request.h"
#include "tn_err.h"
#include "tn_str.h"

struct sv_route {
	char		contract[SV_CONTRACT_MAX + 1];
	struct tn_str	path;		/* below the contract, starts with / */
};

/* 1 to SV_CONTRACT_MAX of a-z 0-9 -, no hyphen at either end. */
bool sv_route_id_ok(struct tn_str id);

/*
 * host: with or without port; domain: empty if there is none; path: raw, starts
 * with /.  0 or TN_FAULT_NOT_FOUND.  r->path borrows path.
 */
enum tn_fault sv_route(struct tn_str host, struct tn_str path, struct tn_str domain,
    struct sv_route *r);

#endif
