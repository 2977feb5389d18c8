/*
 * sv_http_reply.c - the head of an answer.
 */
#include "config.h"

#include "sv_http_reply.h"

#include <http_parser.h>
#include <stdio.h>
#include <time.h>

#include "sv_http_check.h"

#define HEAD_MAX	65536u		/* bytes of a contract's header section */
#define FIELDS_MAX	256u		/* fields of it */
#define RETRY_AFTER	1u		/* seconds, where nobody knows better */

/* Ours to say, whatever the contract thinks of it: framing, the connection, who we are. */
static const char *const ours[] = {
	"connection", "content-length", "date", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade", "x-request-id",
};

static void
put_number(struct tn_buf *out, uint64_t n)
{
	char text[20];
	size_t i = sizeof(text);

	do
		text[--i] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	tn_buf_append(out, text + i, sizeof(text) - i);
}

static void
put_field(struct tn_buf *out, const char *name, struct tn_str value)
{
	tn_buf_puts(out, name);
	tn_buf_append(out, ": ", 2);
	tn_buf_putstr(out, value);
	tn_buf_append(out, "\r\n", 2);
}

static void
put_date(struct tn_buf *out)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	static char line[48];
	static int len;
	static time_t last;
	time_t now = time(NULL);
	struct tm tm;

	if (now != last || len == 0) {
		gmtime_r(&now, &tm);
		/* Not strftime(): its names are the locale's. */
		len = snprintf(line, sizeof(line),
		    "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday,
		    tm.tm_mday, months + 3 * tm.tm_mon, (tm.tm_year + 1900) % 10000, tm.tm_hour,
		    tm.tm_min, tm.tm_sec);
		last = now;
	}
	tn_buf_append(out, line, (size_t)len);
}

static void
put_status(struct tn_buf *out, int status)
{
	const char *text = http_status_str((enum http_status)status);

	tn_buf_append(out, "HTTP/1.1 ", 9);
	put_number(out, (uint64_t)status);
	tn_buf_append(out, " ", 1);
	if (text[0] != '<')			/* "<unknown>" */
		tn_buf_puts(out, text);
	tn_buf_append(out, "\r\n", 2);
}

static void
put_timing(struct tn_buf *out, const struct sv_timings *t)
{
	const char *sep = "Server-Timing: ";

#define TN_PHASE(sym, name, doc)						\
	tn_buf_printf(out, "%s" name ";dur=%u.%03u", sep, (unsigned)(t->sym / 1000),	\
	    (unsigned)(t->sym % 1000));						\
	sep = ", ";
#include "phases.def"
	tn_buf_append(out, "\r\n", 2);
}

/* All that our answers have in common, and the empty line. */
static void
put_rest(struct tn_buf *out, const struct sv_http_answer *a, bool origin)
{
	put_date(out);
	put_field(out, "X-Request-Id", tn_str(a->request_id));
	if (a->cors && !origin)
		tn_buf_puts(out, "Access-Control-Allow-Origin: *\r\n");
	if (a->server_timing && a->timings != NULL)
		put_timing(out, a->timings);
	if (a->close)
		tn_buf_puts(out, "Connection: close\r\n");
	else if (a->minor == 0)
		tn_buf_puts(out, "Connection: keep-alive\r\n");
	tn_buf_append(out, "\r\n", 2);
}

bool
sv_http_reply_ours(struct tn_str name)
{
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (sv_http_name_is(name, ours[i]))
			return true;
	return false;
}

static const char *
check_reply(const struct sv_reply *reply)
{
	const struct tn_strv *h = &reply->headers;
	size_t i, bytes = 0;

	if (reply->status < 200 || reply->status > 599)
		return "the status is not one of 200 to 599";
	if (h->n % 2 != 0 || h->n / 2 > FIELDS_MAX)
		return "there are too many header fields";
	for (i = 0; i < h->n; i += 2) {
		if (!sv_http_name_ok(h->v[i]))
			return "a header's name is not one";
		if (!sv_http_value_ok(h->v[i + 1]))
			return "a header's value has control characters";
		bytes += h->v[i].len + h->v[i + 1].len + 4;
	}
	return bytes > HEAD_MAX ? "the header is too large" : NULL;
}

enum tn_fault
sv_http_reply_check(const struct sv_reply *reply, uint64_t reply_max, const char **why)
{
	*why = check_reply(reply);
	if (*why != NULL)
		return TN_FAULT_RESULT;
	if (reply->body.len <= reply_max)
		return TN_FAULT_NONE;
	*why = "the body is larger than reply_max";
	return TN_FAULT_REPLY_SIZE;
}

bool
sv_http_reply_bodiless(int status)
{
	return status == 204 || status == 205 || status == 304;
}

/* Codes, messages and valid request ids need no escaping. */
size_t
sv_http_fault_body(char out[SV_HTTP_FAULT_BYTES], enum tn_fault fault, const char *request_id)
{
	const struct tn_fault_info *info = tn_fault_info(fault);

	return (size_t)snprintf(out, SV_HTTP_FAULT_BYTES,
	    "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"requestId\":\"%s\"}}\n", info->code,
	    info->message, request_id);
}

unsigned
sv_http_retry_after(const struct sv_reply *reply)
{
	return reply != NULL && reply->retry_after > 0 ? reply->retry_after : RETRY_AFTER;
}

enum tn_fault
sv_http_reply(struct tn_buf *out, const struct sv_http_answer *a, const struct sv_reply *reply,
    struct tn_str *body, const char **why)
{
	const struct tn_strv *h = &reply->headers;
	bool bodiless, origin = false;
	enum tn_fault fault;
	size_t i;

	*body = (struct tn_str){ "", 0 };
	fault = sv_http_reply_check(reply, a->reply_max, why);
	if (fault != TN_FAULT_NONE)
		return fault;
	put_status(out, reply->status);
	for (i = 0; i < h->n; i += 2) {
		if (sv_http_reply_ours(h->v[i]))
			continue;
		origin |= sv_http_name_is(h->v[i], "access-control-allow-origin");
		tn_buf_putstr(out, h->v[i]);
		tn_buf_append(out, ": ", 2);
		tn_buf_putstr(out, h->v[i + 1]);
		tn_buf_append(out, "\r\n", 2);
	}
	bodiless = sv_http_reply_bodiless(reply->status);
	if (!bodiless || reply->status == 205) {
		tn_buf_append(out, "Content-Length: ", 16);
		put_number(out, bodiless ? 0 : reply->body.len);
		tn_buf_append(out, "\r\n", 2);
	}
	put_rest(out, a, origin);
	if (!a->head && !bodiless)
		*body = reply->body;
	return TN_FAULT_NONE;
}

void
sv_http_reply_fault(struct tn_buf *out, const struct sv_http_answer *a, enum tn_fault fault,
    const struct sv_reply *reply)
{
	const struct tn_fault_info *info = tn_fault_info(fault);
	char text[SV_HTTP_FAULT_BYTES];
	size_t len = sv_http_fault_body(text, fault, a->request_id);

	put_status(out, info->status);
	tn_buf_puts(out, "Content-Type: application/json\r\nContent-Length: ");
	put_number(out, len);
	tn_buf_append(out, "\r\n", 2);
	if (info->status == 405)
		put_field(out, "Allow", reply != NULL ? reply->allow : tn_str(""));
	if (info->status == 503) {
		tn_buf_append(out, "Retry-After: ", 13);
		put_number(out, sv_http_retry_after(reply));
		tn_buf_append(out, "\r\n", 2);
	}
	put_rest(out, a, false);
	if (!a->head)
		tn_buf_append(out, text, len);
}
