/*
 * sv_route.c - which contract does a request mean?
 */
#include "config.h"

#include "sv_route.h"

#include <strings.h>

bool
sv_route_id_ok(struct tn_str id)
{
	size_t i;
	char c;

	if (id.len == 0 || id.len > SV_CONTRACT_MAX || id.p[0] == '-' || id.p[id.len - 1] == '-')
		return false;
	for (i = 0; i < id.len; i++) {
		c = id.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return true;
}

/* NAME out of NAME.DOMAIN:PORT; false: the host is none of the domain's children. */
static bool
label_of(struct tn_str host, struct tn_str domain, struct tn_str *label)
{
	const char *colon;

	if (domain.len == 0)
		return false;
	if (host.len > 0 && host.p[0] != '[' && (colon = memchr(host.p, ':', host.len)) != NULL)
		host.len = (size_t)(colon - host.p);
	if (host.len > 0 && host.p[host.len - 1] == '.')	/* the root, spelt out */
		host.len--;
	if (host.len <= domain.len + 1 || host.p[host.len - domain.len - 1] != '.' ||
	    strncasecmp(host.p + host.len - domain.len, domain.p, domain.len) != 0)
		return false;
	*label = (struct tn_str){ host.p, host.len - domain.len - 1 };
	return true;
}

enum tn_fault
sv_route(struct tn_str host, struct tn_str path, struct tn_str domain, struct sv_route *r)
{
	struct tn_str id;
	size_t i;

	r->contract[0] = '\0';
	r->path = path;
	if (label_of(host, domain, &id)) {
		if (id.len > SV_CONTRACT_MAX)
			return TN_FAULT_NOT_FOUND;
		/* Names of hosts are the same in either case. */
		for (i = 0; i < id.len; i++)
			r->contract[i] = id.p[i] >= 'A' && id.p[i] <= 'Z' ?
			    (char)(id.p[i] | 0x20) : id.p[i];
		id.p = r->contract;
	} else {
		if (path.len == 0 || path.p[0] != '/')
			return TN_FAULT_NOT_FOUND;
		for (i = 1; i < path.len && path.p[i] != '/'; i++)
			;
		id = (struct tn_str){ path.p + 1, i - 1 };
		if (id.len > SV_CONTRACT_MAX)
			return TN_FAULT_NOT_FOUND;
		memcpy(r->contract, id.p, id.len);
		r->path = i < path.len ? (struct tn_str){ path.p + i, path.len - i } : TN_STR("/");
	}
	r->contract[id.len] = '\0';
	if (sv_route_id_ok(id))
		return TN_FAULT_NONE;
	r->contract[0] = '\0';
	return TN_FAULT_NOT_FOUND;
}
