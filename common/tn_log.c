#include "config.h"

#include "tn_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Kept free at a record's end: the longest ending, and the value's closing quote. */
#define TAIL_ROOM	24u

static struct {
	char			ident[32];
	pid_t			pid;
	int			fd;
	enum tn_log_level	level;
	enum tn_log_format	format;
	uint64_t		lost;
	tn_log_tap		*tap;
	void			*tap_arg;
} self = { .ident = "tana", .fd = STDERR_FILENO, .level = TN_LOG_INFO };

/* The record in the making as JSON, when somebody taps a log that is text. */
static struct {
	const struct tn_log_record *of;
	struct tn_log_record	 record;
} twin;

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const int level_syslog[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

void
tn_log_open(const char *ident, int fd, enum tn_log_level level, enum tn_log_format format)
{
	snprintf(self.ident, sizeof(self.ident), "%s", ident);
	/* Asked once: getpid() is one more system call to allow in a sandbox. */
	self.pid = getpid();
	self.level = level;
	self.format = format;
	tn_log_set_fd(fd);
}

void
tn_log_set_fd(int fd)
{
	if (self.fd == -1)
		closelog();
	self.fd = fd < 0 ? -1 : fd;
	if (self.fd == -1)
		openlog("tana-edge", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

bool
tn_log_wants(enum tn_log_level level)
{
	return level <= self.level;
}

/*
 * By hand: gmtime_r() reads TZ and, the first time, perhaps a file, which a
 * sandboxed process must not.  Days to date after the era computation in
 * "chrono-Compatible Low-Level Date Algorithms" (H. Hinnant).
 */
static void
put_time(struct tn_buf *b, const struct timespec *now)
{
	struct timespec ts = *now;
	uint64_t days, secs, era, doe, yoe, doy, mp, y, m, d;

	secs = (uint64_t)ts.tv_sec % 86400u;
	days = (uint64_t)ts.tv_sec / 86400u + 719468u;
	era = days / 146097u;
	doe = days % 146097u;
	yoe = (doe - doe / 1460u + doe / 36524u - doe / 146096u) / 365u;
	doy = doe - (365u * yoe + yoe / 4u - yoe / 100u);
	mp = (5u * doy + 2u) / 153u;
	d = doy - (153u * mp + 2u) / 5u + 1u;
	m = mp < 10u ? mp + 3u : mp - 9u;
	y = yoe + era * 400u + (m <= 2u);
	tn_buf_printf(b, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)y, (unsigned)m,
	    (unsigned)d, (unsigned)(secs / 3600u), (unsigned)(secs / 60u % 60u),
	    (unsigned)(secs % 60u), (unsigned)(ts.tv_nsec / 1000000));
}

/* As much of s as there is room for, whole characters. */
static void
put_cut(struct tn_log_record *r, struct tn_str s, void (*put)(struct tn_buf *, struct tn_str))
{
	struct tn_str one;
	uint32_t c;
	size_t start = r->buf.len, mark;

	put(&r->buf, s);
	if (!r->buf.failed)
		return;
	r->cut = true;
	r->buf.failed = false;
	r->buf.len = start;
	while (s.len > 0) {
		one = s;
		if ((one.len = tn_utf8(s, &c)) == 0)
			one.len = 1;
		mark = r->buf.len;
		put(&r->buf, one);
		if (r->buf.failed) {
			r->buf.failed = false;
			r->buf.len = mark;
			return;
		}
		s.p += one.len;
		s.len -= one.len;
	}
}

/* The closing of what is open may use the room at the end. */
static void
put_closing(struct tn_log_record *r, const char *s)
{
	size_t cap = r->buf.cap;

	r->buf.cap = sizeof(r->memory);
	tn_buf_puts(&r->buf, s);
	r->buf.cap = cap;
}

void
tn_log_set_tap(tn_log_tap *fn, void *arg)
{
	self.tap = fn;
	self.tap_arg = arg;
	twin.of = NULL;
}

static void
begin(struct tn_log_record *r, enum tn_log_level level, enum tn_log_format format,
    const struct timespec *now, const char *event)
{
	r->level = level;
	r->off = false;
	r->cut = false;
	r->format = format;
	r->start = 0;
	r->contract[0] = '\0';
	tn_buf_init_fixed(&r->buf, r->memory, sizeof(r->memory) - TAIL_ROOM);
	if (format == TN_LOG_JSON) {
		tn_buf_puts(&r->buf, "{\"time\":\"");
		put_time(&r->buf, now);
		tn_buf_printf(&r->buf, "\",\"level\":\"%s\",\"process\":\"", level_names[level]);
		tn_buf_json(&r->buf, tn_str(self.ident));
		tn_buf_printf(&r->buf, "\",\"pid\":%ld,\"event\":\"", (long)self.pid);
		put_cut(r, tn_str(event), tn_buf_json);
		put_closing(r, "\"");
		return;
	}
	put_time(&r->buf, now);
	tn_buf_puts(&r->buf, " ");
	/* Syslog has a time of its own. */
	if (self.fd == -1)
		r->start = r->buf.len;
	tn_buf_printf(&r->buf, "%s ", level_names[level]);
	tn_buf_visible(&r->buf, tn_str(self.ident));
	tn_buf_printf(&r->buf, "[%ld]: ", (long)self.pid);
	put_cut(r, tn_str(event), tn_buf_visible);
}

void
tn_log_begin(struct tn_log_record *r, enum tn_log_level level, const char *event)
{
	struct timespec now;

	r->off = !tn_log_wants(level);
	if (r->off)
		return;
	if (self.pid == 0)
		self.pid = getpid();
	clock_gettime(CLOCK_REALTIME, &now);
	begin(r, level, self.format, &now, event);
	if (self.tap != NULL && self.format == TN_LOG_TEXT) {
		begin(&twin.record, level, TN_LOG_JSON, &now, event);
		twin.of = r;
	}
}

/* False when the record takes no more. */
static bool
put_key(struct tn_log_record *r, const char *key)
{
	size_t mark = r->buf.len;

	if (r->off || r->cut)
		return false;
	if (r->format == TN_LOG_JSON)
		tn_buf_printf(&r->buf, ",\"%s\":", key);
	else
		tn_buf_printf(&r->buf, " %s=", key);
	if (r->buf.failed) {
		r->buf.failed = false;
		r->buf.len = mark;
		r->cut = true;
		return false;
	}
	return true;
}

/* A value that is put whole or, with its key, not at all. */
static void
put_whole(struct tn_log_record *r, const char *key, const char *value)
{
	size_t mark = r->buf.len;

	if (!put_key(r, key))
		return;
	tn_buf_puts(&r->buf, value);
	if (r->buf.failed) {
		r->buf.failed = false;
		r->buf.len = mark;
		r->cut = true;
	}
}

/* Text that reads the same without quotes. */
static bool
is_plain(struct tn_str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return s.len > 0;
}

static void
put_str(struct tn_log_record *r, const char *key, struct tn_str value)
{
	size_t mark = r->buf.len;

	if (!put_key(r, key))
		return;
	if (r->format == TN_LOG_TEXT && is_plain(value)) {
		put_cut(r, value, tn_buf_visible);
		return;
	}
	tn_buf_puts(&r->buf, "\"");
	if (r->buf.failed) {
		r->buf.failed = false;
		r->buf.len = mark;
		r->cut = true;
		return;
	}
	put_cut(r, value, tn_buf_json);
	put_closing(r, "\"");
}

/* The same into its twin, if it has one. */
static struct tn_log_record *
twin_of(const struct tn_log_record *r)
{
	return twin.of == r ? &twin.record : NULL;
}

void
tn_log_str(struct tn_log_record *r, const char *key, struct tn_str value)
{
	struct tn_log_record *t = twin_of(r);

	if (r->off)
		return;
	put_str(r, key, value);
	if (t != NULL)
		put_str(t, key, value);
	if (self.tap != NULL && strcmp(key, "contract") == 0 && value.len < sizeof(r->contract)) {
		memcpy(r->contract, value.p, value.len);
		r->contract[value.len] = '\0';
	}
}

/* text: as it is put; json: the same in JSON. */
static void
put_number(struct tn_log_record *r, const char *key, const char *text, const char *json)
{
	struct tn_log_record *t = twin_of(r);

	put_whole(r, key, r->format == TN_LOG_JSON ? json : text);
	if (t != NULL)
		put_whole(t, key, json);
}

void
tn_log_u64(struct tn_log_record *r, const char *key, uint64_t value)
{
	char text[24];

	if (r->off)
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	put_number(r, key, text, text);
}

void
tn_log_i64(struct tn_log_record *r, const char *key, int64_t value)
{
	char text[24];

	if (r->off)
		return;
	snprintf(text, sizeof(text), "%lld", (long long)value);
	put_number(r, key, text, text);
}

void
tn_log_ms(struct tn_log_record *r, const char *key, uint64_t us)
{
	char text[40], json[32];

	if (r->off)
		return;
	snprintf(json, sizeof(json), "%llu.%03u", (unsigned long long)(us / 1000u),
	    (unsigned)(us % 1000u));
	snprintf(text, sizeof(text), "%sms", json);
	put_number(r, key, text, json);
}

static bool
write_all(const char *p, size_t n)
{
	ssize_t k;

	while (n > 0) {
		k = write(self.fd, p, n);
		if (k == -1) {
			if (errno == EINTR)
				continue;
			return false;
		}
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static void
finish(struct tn_log_record *r)
{
	if (r->cut)
		put_closing(r, r->format == TN_LOG_JSON ? ",\"cut\":true" : " cut=yes");
	put_closing(r, r->format == TN_LOG_JSON ? "}\n" : "\n");
}

/* A line without its end. */
static struct tn_str
line_of(const struct tn_log_record *r)
{
	return (struct tn_str){ r->buf.p, r->buf.len - 1 };
}

/* What it is called with lives until the tap returns. */
static void
tap(const struct tn_log_record *r)
{
	struct tn_log_record *t = twin_of(r);
	struct tn_log_line l = { .contract = r->contract, .log = line_of(r) };

	twin.of = NULL;
	if (t != NULL) {
		finish(t);
		l.json = line_of(t);
	} else if (r->format == TN_LOG_JSON)
		l.json = l.log;
	else
		return;		/* begun before there was a tap */
	self.tap(self.tap_arg, &l);
}

void
tn_log_end(struct tn_log_record *r)
{
	/* Not on the stack: a record is 8 KiB, and a handler's stack may be small. */
	static struct tn_log_record note;
	int saved = errno;

	if (r->off)
		return;
	finish(r);
	if (self.tap != NULL)
		tap(r);
	if (self.fd == -1) {
		syslog(level_syslog[r->level], "%.*s", (int)(r->buf.len - r->start - 1),
		    r->buf.p + r->start);
		errno = saved;
		return;
	}
	if (self.lost > 0) {
		tn_log_begin(&note, TN_LOG_ERROR, "log records lost");
		tn_log_u64(&note, "lost", self.lost);
		finish(&note);
		if (!write_all(note.buf.p, note.buf.len)) {
			self.lost++;
			errno = saved;
			return;
		}
		self.lost = 0;
	}
	if (!write_all(r->buf.p, r->buf.len))
		self.lost++;
	errno = saved;
}

void
tn_log(enum tn_log_level level, const char *fmt, ...)
{
	struct tn_log_record r;
	char text[4096];
	va_list ap;
	int n;

	if (!tn_log_wants(level))
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_log_begin(&r, level, n < 0 ? fmt : text);
	r.cut = r.cut || n >= (int)sizeof(text);
	tn_log_end(&r);
}

bool
tn_log_allow(struct tn_log_limit *l, uint64_t now_us, uint64_t *dropped)
{
	*dropped = 0;
	if (now_us - l->window_us >= 1000000u) {
		l->window_us = now_us;
		l->in_window = 0;
	}
	if (l->in_window >= l->burst) {
		l->dropped++;
		return false;
	}
	l->in_window++;
	*dropped = l->dropped;
	l->dropped = 0;
	return true;
}

bool
tn_log_overdue(struct tn_log_limit *l, uint64_t now_us, uint64_t *dropped)
{
	if (l->dropped == 0 || now_us - l->window_us < 1000000u)
		return false;
	*dropped = l->dropped;
	l->dropped = 0;
	return true;
}
