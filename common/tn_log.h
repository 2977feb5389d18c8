/*
 * tn_log.h - one structured line a record: level, event text, key=value pairs.
 *
 * Text from outside goes in as a value, never as part of the event text or a
 * format; values are quoted and escaped.  With format json a record is one JSON
 * object.  A record longer than 8 KiB is cut and says so: cut=yes.
 *
 *	2026-11-23T15:40:12.123Z info front[4711]: request method=GET status=200
 *
 * Times are UTC.  Unless it goes to syslog, a record needs no memory, no file
 * and no system call but write(): a sandboxed process can make it.  A record
 * that cannot be written at once (a full pipe) is lost, and the next one that
 * can be is preceded by the number of the lost.
 */
#ifndef TN_LOG_H
#define TN_LOG_H

#include <stdint.h>

#include "tn_str.h"

enum tn_log_level { TN_LOG_ERROR, TN_LOG_WARN, TN_LOG_INFO, TN_LOG_DEBUG };
enum tn_log_format { TN_LOG_TEXT, TN_LOG_JSON };

/*
 * One process logs to one place.  `ident` is "master", "front", "zygote"...
 * `fd` >= 0: there (borrowed); -1: syslog.  May be called again (reopen).
 */
void tn_log_open(const char *ident, int fd, enum tn_log_level level, enum tn_log_format format);
void tn_log_set_fd(int fd);
bool tn_log_wants(enum tn_log_level level);

/* Plain message, control characters made visible, for start-up and rare events. */
void tn_log(enum tn_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A record in the making, on the caller's stack. */
struct tn_log_record {
	enum tn_log_level	level;
	bool			off;		/* nobody wants it */
	bool			cut;		/* full; takes no more fields */
	enum tn_log_format	format;
	size_t			start;		/* where the line begins in syslog */
	char			contract[64];	/* the value of the key of this name, if tapped */
	struct tn_buf		buf;
	char			memory[8192];
};

void tn_log_begin(struct tn_log_record *r, enum tn_log_level level, const char *event);
void tn_log_str(struct tn_log_record *r, const char *key, struct tn_str value);
void tn_log_u64(struct tn_log_record *r, const char *key, uint64_t value);
void tn_log_i64(struct tn_log_record *r, const char *key, int64_t value);
/* "1.234ms"; in JSON the number of milliseconds. */
void tn_log_ms(struct tn_log_record *r, const char *key, uint64_t us);
void tn_log_end(struct tn_log_record *r);

/*
 * Whoever follows the log, besides the place it goes to: called with each record,
 * which it may not make one of itself.  NULL: nobody (any more).  One a process.
 */
struct tn_log_line {
	const char	*contract;	/* the value of `contract`; or empty */
	struct tn_str	 log;		/* the line, with its time, without its end */
	struct tn_str	 json;		/* the same as JSON */
};
typedef void tn_log_tap(void *arg, const struct tn_log_line *line);
void tn_log_set_tap(tn_log_tap *fn, void *arg);

/*
 * Rate limit: at most `burst` records per second per limiter; when the next is
 * let through after a drop, it carries dropped=N.  Zero-initialise, set burst.
 */
struct tn_log_limit {
	unsigned	burst;
	unsigned	in_window;
	uint64_t	window_us;
	uint64_t	dropped;
};
bool tn_log_allow(struct tn_log_limit *l, uint64_t now_us, uint64_t *dropped);
/* Is it time to say how many were dropped, as nothing has followed that could?  Takes the count. */
bool tn_log_overdue(struct tn_log_limit *l, uint64_t now_us, uint64_t *dropped);

#endif
