/*
 * sv_forwarded.c - whose request is it, behind proxies that we trust?
 */
#include "config.h"

#include "sv_forwarded.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct net {
	struct in6_addr	in6;
	unsigned	bits;
};

struct sv_forwarded {
	bool		local;
	size_t		n;
	struct net	net[];
};

static void
map_v4(struct in6_addr *in6, const struct in_addr *in)
{
	memset(in6, 0, sizeof(*in6));
	in6->s6_addr[10] = in6->s6_addr[11] = 0xff;
	memcpy(&in6->s6_addr[12], in, 4);
}

void
sv_addr_from(struct sv_addr *a, const struct sockaddr_storage *sa)
{
	memset(a, 0, sizeof(*a));
	if (sa->ss_family == AF_INET)
		map_v4(&a->in6, &((const struct sockaddr_in *)sa)->sin_addr);
	else if (sa->ss_family == AF_INET6)
		a->in6 = ((const struct sockaddr_in6 *)sa)->sin6_addr;
	else
		a->local = true;
}

bool
sv_addr_parse(struct sv_addr *a, struct tn_str text)
{
	char z[SV_ADDR_TEXT];
	struct in_addr in;

	memset(a, 0, sizeof(*a));
	if (text.len == 0 || text.len >= sizeof(z) || memchr(text.p, '\0', text.len) != NULL)
		return false;
	memcpy(z, text.p, text.len);
	z[text.len] = '\0';
	if (inet_pton(AF_INET, z, &in) == 1) {
		map_v4(&a->in6, &in);
		return true;
	}
	return inet_pton(AF_INET6, z, &a->in6) == 1;
}

size_t
sv_addr_print(const struct sv_addr *a, char text[SV_ADDR_TEXT])
{
	if (a->local)
		strcpy(text, "unix");
	else if (IN6_IS_ADDR_V4MAPPED(&a->in6))
		inet_ntop(AF_INET, &a->in6.s6_addr[12], text, SV_ADDR_TEXT);
	else
		inet_ntop(AF_INET6, &a->in6, text, SV_ADDR_TEXT);
	return strlen(text);
}

static bool
in_net(const struct in6_addr *in6, const struct net *net)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	return memcmp(in6, &net->in6, whole) == 0 &&
	    (rest == 0 ||
		((in6->s6_addr[whole] ^ net->in6.s6_addr[whole]) & (0xff00u >> rest) & 0xff) == 0);
}

static bool
parse_net(struct net *net, const char *text)
{
	const char *slash = strchr(text, '/'), *p;
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned most, bits = 0;
	struct sv_addr a;

	if (!sv_addr_parse(&a, (struct tn_str){ text, len }))
		return false;
	net->in6 = a.in6;
	net->bits = 128;
	if (slash == NULL)
		return true;
	/* Bits count in the notation that was used. */
	most = memchr(text, ':', len) == NULL ? 32 : 128;
	for (p = slash + 1; *p >= '0' && *p <= '9' && bits <= 128; p++)
		bits = bits * 10 + (unsigned)(*p - '0');
	if (p == slash + 1 || *p != '\0' || bits > most)
		return false;
	net->bits = bits + 128 - most;
	return true;
}

struct sv_forwarded *
sv_forwarded_new(const struct tn_list *trusted, struct tn_buf *err)
{
	struct sv_forwarded *f = calloc(1, sizeof(*f) + trusted->n * sizeof(f->net[0]));
	size_t i;

	for (i = 0; f != NULL && i < trusted->n; i++) {
		if (strcmp(trusted->v[i], "unix") == 0) {
			f->local = true;
		} else if (parse_net(&f->net[f->n], trusted->v[i])) {
			f->n++;
		} else {
			if (err != NULL)
				tn_buf_printf(err,
				    "trusted_proxies: \"%s\" is neither an address nor "
				    "ADDRESS/BITS nor unix",
				    trusted->v[i]);
			sv_forwarded_free(&f);
		}
	}
	return f;
}

void
sv_forwarded_free(struct sv_forwarded **fp)
{
	free(*fp);
	*fp = NULL;
}

bool
sv_forwarded_trusts(const struct sv_forwarded *f, const struct sv_addr *a)
{
	size_t i;

	if (a->local)
		return f->local;
	for (i = 0; i < f->n; i++)
		if (in_net(&a->in6, &f->net[i]))
			return true;
	return false;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t';
}

/* An item as proxies write it: ADDRESS, ADDRESS:PORT (IPv4), [ADDRESS], [ADDRESS]:PORT. */
static bool
parse_item(struct sv_addr *a, struct tn_str s)
{
	const char *p;

	while (s.len > 0 && blank(s.p[0]))
		s = (struct tn_str){ s.p + 1, s.len - 1 };
	while (s.len > 0 && blank(s.p[s.len - 1]))
		s.len--;
	if (s.len == 0)
		return false;
	if (s.p[0] == '[') {
		if ((p = memchr(s.p, ']', s.len)) == NULL ||
		    ((size_t)(p - s.p) + 1 < s.len && p[1] != ':'))
			return false;
		s = (struct tn_str){ s.p + 1, (size_t)(p - s.p) - 1 };
	} else if ((p = memchr(s.p, ':', s.len)) != NULL &&
	    memchr(p + 1, ':', s.len - (size_t)(p + 1 - s.p)) == NULL) {
		s.len = (size_t)(p - s.p);
	}
	return sv_addr_parse(a, s);
}

void
sv_forwarded_client(const struct sv_forwarded *f, struct sv_addr *a, const struct tn_str *values,
    size_t nvalues)
{
	struct sv_addr item;
	size_t end, start;

	while (nvalues-- > 0) {
		for (end = values[nvalues].len + 1; end > 0; end = start) {
			const char *p = values[nvalues].p;

			if (!sv_forwarded_trusts(f, a))
				return;
			for (start = end - 1; start > 0 && p[start - 1] != ','; start--)
				;
			if (!parse_item(&item, (struct tn_str){ p + start, end - 1 - start }))
				return;
			*a = item;
		}
	}
}
