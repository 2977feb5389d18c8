/*
 * sv_forwarded.h - whose request is it, behind proxies that we trust?
 *
 * X-Forwarded-For is a list that each proxy appends its own peer to.  Read from
 * its end it is true as long as who wrote it is trusted: the client is the
 * right-most address that is not itself a trusted proxy.
 */
#ifndef SV_FORWARDED_H
#define SV_FORWARDED_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "tn_options.h"
#include "tn_str.h"

#define SV_ADDR_TEXT	INET6_ADDRSTRLEN

/* An IP address (IPv4 as ::ffff:a.b.c.d), or a peer on a Unix socket. */
struct sv_addr {
	struct in6_addr	in6;
	bool		local;		/* Unix socket: no address */
};

void sv_addr_from(struct sv_addr *a, const struct sockaddr_storage *sa);
/* IPv4 or IPv6 without brackets or port. */
bool sv_addr_parse(struct sv_addr *a, struct tn_str text);
/* "192.0.2.1", "2001:db8::1", "unix"; returns its length. */
size_t sv_addr_print(const struct sv_addr *a, char text[SV_ADDR_TEXT]);

struct sv_forwarded;

/*
 * From trusted_proxies: ADDRESS, ADDRESS/BITS, or "unix" for whoever may connect
 * to our Unix sockets.  NULL: an item is wrong, err (may be NULL) says which, or
 * no memory.
 */
struct sv_forwarded *sv_forwarded_new(const struct tn_list *trusted, struct tn_buf *err);
void sv_forwarded_free(struct sv_forwarded **f);

bool sv_forwarded_trusts(const struct sv_forwarded *f, const struct sv_addr *a);

/*
 * *a is the peer at first and the client afterwards.  values: those of all
 * X-Forwarded-For fields, in order.  An item that is no address ends the search.
 */
void sv_forwarded_client(const struct sv_forwarded *f, struct sv_addr *a,
    const struct tn_str *values, size_t nvalues);

#endif
