/*
 * sv_http_check.c - is this a request that every server reads the same way?
 */
#include "config.h"

#include "sv_http_check.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <stdio.h>

#include "sv_request.h"

#define METHOD_MAX	32u
#define EXTRA_MAX	4096u		/* chunk extensions of one body */
#define SIZE_DIGITS_MAX	16u
#define LENGTH_MAX	(UINT64_MAX / 10 - 1)

enum {
	C_TOKEN = 1,		/* of names and methods */
	C_VALUE = 2,		/* of header values */
	C_PATH = 4,		/* of a target's path */
	C_QUERY = 8,		/* of its query */
	C_HOST = 16,		/* of a host name */
	C_ID = 32,		/* of a request id */
	C_DIGIT = 64,
	C_HEX = 128
};

/* C's own isalpha() and the like depend on the locale. */
#define IN(c, a, z)	((c) >= (a) && (c) <= (z))
#define IS_DIGIT(c)	IN(c, '0', '9')
#define IS_ALPHA(c)	(IN(c, 'a', 'z') || IN(c, 'A', 'Z'))
#define IS_HEX(c)	(IS_DIGIT(c) || IN(c, 'a', 'f') || IN(c, 'A', 'F'))
#define IS_ALNUM(c)	(IS_DIGIT(c) || IS_ALPHA(c))
#define IS_TOKEN(c)	(IS_ALNUM(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || \
	(c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' ||	\
	(c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define IS_ID(c)	(IS_ALNUM(c) || (c) == '.' || (c) == '_' || (c) == '-')
/*
 * Browsers send some characters unescaped that RFC 3986 wants escaped; nobody
 * takes those for something else.  A backslash in a path some do take for a
 * slash, and a fragment has no business here.
 */
#define IS_QUERY(c)	(IN(c, 0x21, 0x7e) && (c) != '#')
#define IS_PATH(c)	(IS_QUERY(c) && (c) != '\\' && (c) != '?')

#define CLASS(c)	(unsigned char)(				\
	(IS_TOKEN(c) ? C_TOKEN : 0) |					\
	((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f) ? C_VALUE : 0) |	\
	(IS_PATH(c) ? C_PATH : 0) | (IS_QUERY(c) ? C_QUERY : 0) |	\
	(IS_ID(c) ? C_HOST | C_ID : 0) |				\
	(IS_DIGIT(c) ? C_DIGIT : 0) | (IS_HEX(c) ? C_HEX : 0))
#define CLASS4(c)	CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define CLASS16(c)	CLASS4(c), CLASS4((c) + 4), CLASS4((c) + 8), CLASS4((c) + 12)
#define CLASS64(c)	CLASS16(c), CLASS16((c) + 16), CLASS16((c) + 32), CLASS16((c) + 48)

static const unsigned char class[256] = { CLASS64(0), CLASS64(64), CLASS64(128), CLASS64(192) };

static inline bool
is(char c, int bits)
{
	return (class[(unsigned char)c] & bits) != 0;
}

/* Length of the longest beginning of s made of such characters. */
static size_t
span(struct tn_str s, int bits)
{
	size_t n = 0;

	while (n < s.len && is(s.p[n], bits))
		n++;
	return n;
}

static struct tn_str
from(struct tn_str s, size_t n)
{
	return (struct tn_str){ s.p + n, s.len - n };
}

static struct tn_str
trim(struct tn_str s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = from(s, 1);
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static char
lower(char c)
{
	return IN(c, 'A', 'Z') ? (char)(c | 0x20) : c;
}

static bool
same_nocase(struct tn_str a, struct tn_str b)
{
	size_t i;

	if (a.len != b.len)
		return false;
	for (i = 0; i < a.len; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool
sv_http_name_is(struct tn_str name, const char *text)
{
	return same_nocase(name, tn_str(text));
}

bool
sv_http_name_ok(struct tn_str name)
{
	return name.len > 0 && span(name, C_TOKEN) == name.len;
}

/* Text in a header is UTF-8 or nothing: the contract gets it as such. */
static bool
utf8_ok(struct tn_str s)
{
	uint32_t cp;
	size_t i = 0, n;

	while (i < s.len) {
		if ((unsigned char)s.p[i] < 0x80) {
			i++;
			continue;
		}
		if ((n = tn_utf8(from(s, i), &cp)) == 0)
			return false;
		i += n;
	}
	return true;
}

bool
sv_http_value_ok(struct tn_str value)
{
	return span(value, C_VALUE) == value.len && utf8_ok(value);
}

bool
sv_http_request_id_ok(struct tn_str id)
{
	return id.len > 0 && id.len <= SV_REQUEST_ID_MAX && span(id, C_ID) == id.len;
}

bool
sv_http_hop_by_hop(struct tn_str name)
{
	static const char *const names[] = {
		"connection", "expect", "http2-settings", "keep-alive", "proxy-connection", "te",
		"trailer", "transfer-encoding", "upgrade",
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (sv_http_name_is(name, names[i]))
			return true;
	return false;
}

/* The next item of a comma-separated list; false at its end. Empty items are left out. */
static bool
next_item(struct tn_str *list, struct tn_str *item)
{
	const char *comma;

	while (list->len > 0) {
		comma = memchr(list->p, ',', list->len);
		item->p = list->p;
		item->len = comma != NULL ? (size_t)(comma - list->p) : list->len;
		*list = from(*list, item->len + (comma != NULL));
		*item = trim(*item);
		if (item->len > 0)
			return true;
	}
	return false;
}

bool
sv_http_names_ok(struct tn_str list)
{
	struct tn_str item;

	while (next_item(&list, &item))
		if (!sv_http_name_ok(item))
			return false;
	return true;
}

static bool
port_ok(struct tn_str s)
{
	unsigned long port = 0;
	size_t i;

	if (s.len == 0 || s.len > 5 || span(s, C_DIGIT) != s.len)
		return false;
	for (i = 0; i < s.len; i++)
		port = port * 10 + (unsigned long)(s.p[i] - '0');
	return port <= 65535;
}

bool
sv_http_host_ok(struct tn_str host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	const char *end;
	size_t n;

	if (host.len > 0 && host.p[0] == '[') {
		end = memchr(host.p, ']', host.len);
		if (end == NULL || (n = (size_t)(end - host.p) - 1) >= sizeof(text))
			return false;
		memcpy(text, host.p + 1, n);
		text[n] = '\0';
		if (strlen(text) != n || inet_pton(AF_INET6, text, &in6) != 1)
			return false;
		host = from(host, n + 2);
	} else {
		n = span(host, C_HOST);
		if (n == 0 || n > 255)
			return false;
		host = from(host, n);
	}
	return host.len == 0 || (host.p[0] == ':' && port_ok(from(host, 1)));
}

/* -- where the head ends ---------------------------------------------------- */

/* The head is not complete: can it still become one that is accepted? */
static enum tn_fault
hopeless(const struct sv_http_scan *s, struct tn_str in, const struct sv_http_limits *limits)
{
	const char *blank;
	size_t start = in.len >= 2 && in.p[0] == '\r' ? 2 : 0;

	if (s->line <= start) {		/* the request line */
		size_t n = in.len > start ? in.len - start : 0;

		blank = n > 0 ? memchr(in.p + start, ' ', n < METHOD_MAX + 1 ? n : METHOD_MAX + 1) :
				NULL;
		if (blank == NULL)
			return n > METHOD_MAX ? TN_FAULT_BAD_REQUEST : TN_FAULT_NONE;
		/* Its version follows: a little more than the target may be here. */
		n = (size_t)(in.p + in.len - blank) - 1;
		if (in.len > limits->header_max || n > limits->target_max + sizeof(" HTTP/1.1\r"))
			return TN_FAULT_TARGET_SIZE;
	}
	return in.len > limits->header_max ? TN_FAULT_HEADER_SIZE : TN_FAULT_NONE;
}

enum tn_fault
sv_http_scan(struct sv_http_scan *s, struct tn_str in, const struct sv_http_limits *limits,
    size_t *end)
{
	/* What lies beyond the limit is not looked at, however much came at once. */
	size_t len = in.len < limits->header_max ? in.len : limits->header_max;
	const char *lf;
	size_t i;

	*end = 0;
	/* Who speaks TLS, or no HTTP at all, need not wait for the answer. */
	if (s->pos == 0 && len > 0 && !is(in.p[0], C_TOKEN) && in.p[0] != '\r')
		return TN_FAULT_BAD_REQUEST;
	while (s->pos < len && (lf = memchr(in.p + s->pos, '\n', len - s->pos)) != NULL) {
		i = (size_t)(lf - in.p);
		if (i == 0 || in.p[i - 1] != '\r')
			return TN_FAULT_BAD_REQUEST;
		s->pos = i + 1;
		/* One empty line before the request is allowed (RFC 9112, 2.2). */
		if (i - 1 == s->line && i != 1) {
			*end = i + 1;
			return TN_FAULT_NONE;
		}
		s->line = i + 1;
	}
	s->pos = len;
	return hopeless(s, in, limits);
}

/* -- the request line --------------------------------------------------------- */

bool
sv_http_method_known(struct tn_str method)
{
	/* Tunnels and echoes of what a proxy added are no business of a contract. */
#define KNOWN(num, name, string)						\
	if (num != HTTP_CONNECT && num != HTTP_TRACE && tn_str_is(method, #string))	\
		return true;
	HTTP_METHOD_MAP(KNOWN)
#undef KNOWN
	return false;
}

/* Length of a dot at the beginning of s, written as such or escaped; 0: none. */
static size_t
dot(struct tn_str s)
{
	if (s.len >= 1 && s.p[0] == '.')
		return 1;
	if (s.len >= 3 && s.p[0] == '%' && s.p[1] == '2' && lower(s.p[2]) == 'e')
		return 3;
	return 0;
}

/*
 * Escapes have to be escapes, and a NUL is in nobody's path.  Segments "." and
 * ".." some servers resolve and others do not, so that a proxy's rule for one
 * path may not be meant for what we take it for; clients resolve them themselves.
 */
bool
sv_http_path_ok(struct tn_str path)
{
	struct tn_str s;
	size_t i, n;

	for (i = 0; i < path.len; i++) {
		if (!is(path.p[i], C_PATH))
			return false;
		if (path.p[i] == '%' && (path.len - i < 3 || !is(path.p[i + 1], C_HEX) ||
		    !is(path.p[i + 2], C_HEX) || (path.p[i + 1] == '0' && path.p[i + 2] == '0')))
			return false;
		if (path.p[i] != '/')
			continue;
		s = from(path, i + 1);
		if ((n = dot(s)) == 0)
			continue;
		s = from(s, n);
		s = from(s, dot(s));
		if (s.len == 0 || s.p[0] == '/')
			return false;
	}
	return true;
}

bool
sv_http_query_ok(struct tn_str query)
{
	return span(query, C_QUERY) == query.len;
}

static enum tn_fault
check_target(struct sv_http_head *h, struct tn_str *authority)
{
	struct tn_str t = h->target;
	const char *mark;
	size_t n;

	if (tn_str_is(t, "*")) {
		h->path = t;
		return tn_str_is(h->method, "OPTIONS") ? TN_FAULT_NONE : TN_FAULT_BAD_REQUEST;
	}
	if (t.len > 7 && same_nocase((struct tn_str){ t.p, 7 }, TN_STR("http://"))) {
		t = from(t, 7);
		for (n = 0; n < t.len && t.p[n] != '/' && t.p[n] != '?'; n++)
			;
		*authority = (struct tn_str){ t.p, n };
		if (!sv_http_host_ok(*authority))
			return TN_FAULT_BAD_REQUEST;
		t = from(t, n);
	} else if (t.p[0] != '/') {
		return TN_FAULT_BAD_REQUEST;
	}
	mark = t.len > 0 ? memchr(t.p, '?', t.len) : NULL;
	h->path = t;
	if (mark != NULL) {
		h->path.len = (size_t)(mark - t.p);
		h->query = from(t, h->path.len + 1);
	}
	if (h->path.len == 0)
		h->path = TN_STR("/");
	if (!sv_http_path_ok(h->path) || !sv_http_query_ok(h->query))
		return TN_FAULT_BAD_REQUEST;
	return TN_FAULT_NONE;
}

/* line: without its CRLF. */
static enum tn_fault
check_request_line(struct sv_http_head *h, struct tn_str line, const struct sv_http_limits *limits,
    struct tn_str *authority)
{
	struct tn_str s = line;
	size_t n = span(s, C_TOKEN);

	if (n == 0 || n > METHOD_MAX || n == s.len || s.p[n] != ' ')
		return TN_FAULT_BAD_REQUEST;
	h->method = (struct tn_str){ s.p, n };
	s = from(s, n + 1);
	n = span(s, C_QUERY);
	if (n > limits->target_max)
		return TN_FAULT_TARGET_SIZE;
	if (n == 0 || n == s.len || s.p[n] != ' ')
		return TN_FAULT_BAD_REQUEST;
	h->target = (struct tn_str){ s.p, n };
	s = from(s, n + 1);
	if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is(s.p[5], C_DIGIT) || s.p[6] != '.' ||
	    !is(s.p[7], C_DIGIT))
		return TN_FAULT_BAD_REQUEST;
	if (s.p[5] != '1' || s.p[7] > '1')
		return TN_FAULT_HTTP_VERSION;
	h->minor = s.p[7] - '0';
	if (!sv_http_method_known(h->method))
		return TN_FAULT_NOT_IMPLEMENTED;
	return check_target(h, authority);
}

/* -- header fields ------------------------------------------------------------ */

enum {
	SEEN_HOST = 1,
	SEEN_LENGTH = 2,
	SEEN_TRANSFER = 4,
	SEEN_EXPECT = 8,
	SEEN_ID = 16,
	SEEN_CLOSE = 32,
	SEEN_KEEP_ALIVE = 64
};

static enum tn_fault
check_length(struct sv_http_head *h, struct tn_str value)
{
	size_t i;

	if (value.len == 0 || span(value, C_DIGIT) != value.len)
		return TN_FAULT_BAD_REQUEST;
	h->sized = true;
	h->length = 0;
	for (i = 0; i < value.len; i++) {
		if (h->length >= LENGTH_MAX) {
			h->length = UINT64_MAX;
			return TN_FAULT_NONE;
		}
		h->length = h->length * 10 + (uint64_t)(value.p[i] - '0');
	}
	return TN_FAULT_NONE;
}

/* "chunked", once and alone.  Another coding before it, or alone, we could learn: 501. */
static enum tn_fault
check_transfer(struct tn_str value)
{
	struct tn_str item;
	bool chunked = false, other = false;

	if (sv_http_name_is(value, "chunked"))
		return TN_FAULT_NONE;
	while (next_item(&value, &item)) {
		if (chunked || !sv_http_name_ok(item))
			return TN_FAULT_BAD_REQUEST;
		if (sv_http_name_is(item, "chunked"))
			chunked = true;
		else
			other = true;
	}
	return other ? TN_FAULT_NOT_IMPLEMENTED : TN_FAULT_BAD_REQUEST;
}

static void
check_connection(struct tn_str value, unsigned *seen)
{
	struct tn_str item;

	while (next_item(&value, &item)) {
		if (sv_http_name_is(item, "close"))
			*seen |= SEEN_CLOSE;
		else if (sv_http_name_is(item, "keep-alive"))
			*seen |= SEEN_KEEP_ALIVE;
	}
}

static bool
again(unsigned *seen, unsigned what)
{
	bool was = (*seen & what) != 0;

	*seen |= what;
	return was;
}

/* Faults of what only some fields may hold; framing ones win over 417. */
static enum tn_fault
check_field(struct sv_http_head *h, struct tn_str name, struct tn_str value, unsigned *seen,
    enum tn_fault *expectation)
{
	/* http-parser 2.9.4 takes Transfer-Encodings, or whatever it goes on with, for it. */
	if (name.len > 17 && sv_http_name_is((struct tn_str){ name.p, 17 }, "transfer-encoding"))
		return TN_FAULT_BAD_REQUEST;
	switch (name.len) {
	case 4:
		if (!sv_http_name_is(name, "host"))
			break;
		if (again(seen, SEEN_HOST) || !sv_http_host_ok(value))
			return TN_FAULT_BAD_REQUEST;
		h->host = value;
		break;
	case 6:
		if (!sv_http_name_is(name, "expect"))
			break;
		if (again(seen, SEEN_EXPECT) || !sv_http_name_is(value, "100-continue"))
			*expectation = TN_FAULT_EXPECTATION;
		break;
	case 10:
		if (sv_http_name_is(name, "connection"))
			check_connection(value, seen);
		break;
	case 12:
		if (!sv_http_name_is(name, "x-request-id"))
			break;
		h->request_id = TN_STR("");
		if (!again(seen, SEEN_ID) && sv_http_request_id_ok(value))
			h->request_id = value;
		break;
	case 14:
		if (!sv_http_name_is(name, "content-length"))
			break;
		if (again(seen, SEEN_LENGTH))
			return TN_FAULT_BAD_REQUEST;
		return check_length(h, value);
	case 17:
		if (!sv_http_name_is(name, "transfer-encoding"))
			break;
		if (again(seen, SEEN_TRANSFER))
			return TN_FAULT_BAD_REQUEST;
		h->chunked = true;
		return check_transfer(value);
	}
	return TN_FAULT_NONE;
}

/* The next line without its CRLF; false: there is none, or it does not end in CRLF. */
static bool
next_line(struct tn_str *rest, struct tn_str *line)
{
	const char *lf = rest->len > 0 ? memchr(rest->p, '\n', rest->len) : NULL;

	if (lf == NULL || lf == rest->p || lf[-1] != '\r')
		return false;
	*line = (struct tn_str){ rest->p, (size_t)(lf - rest->p) - 1 };
	*rest = from(*rest, line->len + 2);
	return true;
}

enum tn_fault
sv_http_check_head(struct tn_str head, const struct sv_http_limits *limits, struct sv_http_head *h)
{
	enum tn_fault fault, transfer = TN_FAULT_NONE, expectation = TN_FAULT_NONE;
	struct tn_str rest = head, line, name, value, authority = { "", 0 };
	unsigned seen = 0;
	size_t n;

	*h = (struct sv_http_head){ .minor = 1 };
	if (head.len > limits->header_max)
		return TN_FAULT_HEADER_SIZE;
	if (rest.len >= 2 && rest.p[0] == '\r' && rest.p[1] == '\n')
		rest = from(rest, 2);
	if (!next_line(&rest, &line))
		return TN_FAULT_BAD_REQUEST;
	fault = check_request_line(h, line, limits, &authority);
	if (fault != TN_FAULT_NONE)
		return fault;
	for (;;) {
		if (!next_line(&rest, &line))
			return TN_FAULT_BAD_REQUEST;
		if (line.len == 0)
			break;
		if (++h->nheaders > SV_HTTP_HEADERS_MAX)
			return TN_FAULT_HEADER_SIZE;
		n = span(line, C_TOKEN);
		if (n == 0 || n == line.len || line.p[n] != ':')
			return TN_FAULT_BAD_REQUEST;
		name = (struct tn_str){ line.p, n };
		value = trim(from(line, n + 1));
		if (!sv_http_value_ok(value))
			return TN_FAULT_BAD_REQUEST;
		fault = check_field(h, name, value, &seen, &expectation);
		/* A coding we do not know is worth 501 only if all the rest is in order. */
		if (fault == TN_FAULT_NOT_IMPLEMENTED)
			transfer = fault;
		else if (fault != TN_FAULT_NONE)
			return fault;
	}
	if (rest.len > 0)
		return TN_FAULT_BAD_REQUEST;
	if (!(seen & SEEN_HOST) && h->minor > 0)
		return TN_FAULT_BAD_REQUEST;
	if (authority.len > 0) {
		if ((seen & SEEN_HOST) && !same_nocase(authority, h->host))
			return TN_FAULT_BAD_REQUEST;
		h->host = authority;
	}
	if (h->chunked && (h->sized || h->minor == 0))
		return TN_FAULT_BAD_REQUEST;
	if (transfer != TN_FAULT_NONE)
		return transfer;
	h->keep_alive = !(seen & SEEN_CLOSE) && (h->minor > 0 || (seen & SEEN_KEEP_ALIVE));
	if (h->minor > 0 && (seen & SEEN_EXPECT)) {
		if (expectation != TN_FAULT_NONE)
			return expectation;
		h->expect = true;
	}
	return TN_FAULT_NONE;
}

/* -- chunks ------------------------------------------------------------------- */

enum {
	K_SIZE,			/* digits */
	K_EXTENSION,
	K_SIZE_LF,
	K_DATA,
	K_DATA_CR,
	K_DATA_LF,
	K_TRAILER,		/* at a line's beginning */
	K_NAME,
	K_VALUE,
	K_VALUE_LF,
	K_LAST_LF
};

/* What would change the framing, or where the request goes, must not come so late. */
static bool
trailer_ok(const struct sv_http_chunks *k)
{
	struct tn_str name = { k->word, k->name };

	return k->name > sizeof(k->word) || (!sv_http_name_is(name, "content-length") &&
	    !sv_http_name_is(name, "transfer-encoding") && !sv_http_name_is(name, "host"));
}

static int
hex(char c)
{
	return is(c, C_DIGIT) ? c - '0' : lower(c) - 'a' + 10;
}

/* One byte that is not data. */
static enum tn_fault
chunk_byte(struct sv_http_chunks *k, char c)
{
	switch (k->state) {
	case K_SIZE:
		if (is(c, C_HEX)) {
			if (++k->digits > SIZE_DIGITS_MAX)
				return TN_FAULT_BAD_REQUEST;
			k->left = k->left << 4 | (uint64_t)hex(c);
			/* At once: http-parser sees the digits as they come, and has a limit. */
			return k->left > k->body_max ? TN_FAULT_BODY_SIZE : TN_FAULT_NONE;
		}
		if (k->digits == 0)
			return TN_FAULT_BAD_REQUEST;
		if (k->total > k->body_max - k->left)
			return TN_FAULT_BODY_SIZE;
		k->total += k->left;
		if (c == ';')
			k->state = K_EXTENSION;
		else if (c == '\r')
			k->state = K_SIZE_LF;
		else
			return TN_FAULT_BAD_REQUEST;
		return TN_FAULT_NONE;
	case K_EXTENSION:
		if (c == '\r')
			k->state = K_SIZE_LF;
		else if (!is(c, C_VALUE) || (c & 0x80) || ++k->extra > EXTRA_MAX)
			return TN_FAULT_BAD_REQUEST;
		return TN_FAULT_NONE;
	case K_SIZE_LF:
		k->state = k->left > 0 ? K_DATA : K_TRAILER;
		k->digits = 0;
		break;
	case K_DATA_CR:
		k->state = K_DATA_LF;
		return c == '\r' ? TN_FAULT_NONE : TN_FAULT_BAD_REQUEST;
	case K_DATA_LF:
		k->state = K_SIZE;
		break;
	case K_TRAILER:
		if (c == '\r') {
			k->state = K_LAST_LF;
			return TN_FAULT_NONE;
		}
		k->name = 0;
		k->state = K_NAME;
		/* FALLTHROUGH */
	case K_NAME:
		if (c == ':' && k->name > 0 && trailer_ok(k)) {
			k->state = K_VALUE;
			return TN_FAULT_NONE;
		}
		if (!is(c, C_TOKEN))
			return TN_FAULT_BAD_REQUEST;
		if (k->name < sizeof(k->word))
			k->word[k->name] = lower(c);
		k->name++;
		return TN_FAULT_NONE;
	case K_VALUE:
		if (c == '\r')
			k->state = K_VALUE_LF;
		else if (!is(c, C_VALUE))
			return TN_FAULT_BAD_REQUEST;
		return TN_FAULT_NONE;
	case K_VALUE_LF:
		k->state = K_TRAILER;
		break;
	case K_LAST_LF:
		k->done = true;
		break;
	default:
		return TN_FAULT_INTERNAL;
	}
	return c == '\n' ? TN_FAULT_NONE : TN_FAULT_BAD_REQUEST;
}

enum tn_fault
sv_http_check_chunks(struct sv_http_chunks *k, struct tn_str in, size_t *used, size_t *feed)
{
	enum tn_fault fault;
	size_t i = 0, n;

	*used = *feed = 0;
	while (i < in.len && !k->done) {
		if (k->state == K_DATA) {
			n = in.len - i < k->left ? in.len - i : (size_t)k->left;
			k->left -= n;
			i += n;
			if (k->left == 0)
				k->state = K_DATA_CR;
			*feed = i;
			continue;
		}
		if (k->state >= K_TRAILER && ++k->trailer > k->trailer_max)
			return TN_FAULT_HEADER_SIZE;
		if (k->state < K_TRAILER)
			*feed = i + 1;
		fault = chunk_byte(k, in.p[i++]);
		if (fault != TN_FAULT_NONE)
			return fault;
	}
	*used = i;
	return TN_FAULT_NONE;
}
