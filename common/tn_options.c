#include "config.h"

#include "tn_options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <confuse.h>

#include "tn_err.h"
#include "tn_frame.h"

#define FILE_MAX	(1u << 20)	/* bytes of a configuration file */
/* What a frame holds beside body, header section and target: contract, meta, lengths. */
#define FRAME_ROOM	(512u << 10)
#define CONTROL_SOCKET	"/control.sock"

enum kind { KIND_STR, KIND_LIST, KIND_INT, KIND_SIZE, KIND_BOOL, KIND_ENUM };
enum { RESTART, RELOAD };

struct desc {
	const char	*name;
	enum kind	 kind;
	size_t		 offset;
	const char	*def;
	int64_t		 min, max;		/* KIND_INT */
	bool		 automatic;		/* KIND_INT: 0 is the word "auto" */
	const char	*size_min, *size_max;	/* KIND_SIZE */
	const char	*choices;		/* KIND_ENUM, "a|b|c" */
	char		*split;			/* the same with NULs for the bars */
	int		 reload;
	const char	*unit;
	const char	*doc;
};

#define TN_OPT_ENUM(name, def, choices, reload, doc) static char split_##name[] = choices;
#include "options.def"

#define AT(name) offsetof(struct tn_options, name)
static const struct desc table[] = {
#define TN_OPT_STR(name_, def_, reload_, unit_, doc_) {					\
	.name = #name_, .kind = KIND_STR, .offset = AT(name_), .def = def_,		\
	.reload = reload_, .unit = unit_, .doc = doc_ },
#define TN_OPT_LIST(name_, def_, reload_, unit_, doc_) {				\
	.name = #name_, .kind = KIND_LIST, .offset = AT(name_), .def = def_,		\
	.reload = reload_, .unit = unit_, .doc = doc_ },
#define TN_OPT_INT(name_, def_, min_, max_, reload_, unit_, doc_) {			\
	.name = #name_, .kind = KIND_INT, .offset = AT(name_), .def = #def_,		\
	.min = min_, .max = max_, .reload = reload_, .unit = unit_, .doc = doc_ },
#define TN_OPT_AUTO(name_, def_, min_, max_, reload_, unit_, doc_) {			\
	.name = #name_, .kind = KIND_INT, .offset = AT(name_), .def = #def_,		\
	.min = min_, .max = max_, .automatic = true, .reload = reload_, .unit = unit_,	\
	.doc = doc_ },
#define TN_OPT_SIZE(name_, def_, min_, max_, reload_, doc_) {				\
	.name = #name_, .kind = KIND_SIZE, .offset = AT(name_), .def = def_,		\
	.size_min = min_, .size_max = max_, .reload = reload_, .unit = "bytes", .doc = doc_ },
#define TN_OPT_BOOL(name_, def_, reload_, doc_) {					\
	.name = #name_, .kind = KIND_BOOL, .offset = AT(name_), .def = def_,		\
	.reload = reload_, .unit = "on|off", .doc = doc_ },
#define TN_OPT_ENUM(name_, def_, choices_, reload_, doc_) {				\
	.name = #name_, .kind = KIND_ENUM, .offset = AT(name_), .def = def_,		\
	.choices = choices_, .split = split_##name_, .reload = reload_,			\
	.unit = choices_, .doc = doc_ },
#include "options.def"
};
#undef AT
#define NOPTIONS (sizeof(table) / sizeof(table[0]))

/* What is handed out is the first member. */
struct whole {
	struct tn_options	o;
	bool			assigned[NOPTIONS];	/* lists that -o has replaced */
};

static char **
as_str(const struct tn_options *o, const struct desc *d)
{
	return (char **)(uintptr_t)((const char *)o + d->offset);
}

static struct tn_list *
as_list(const struct tn_options *o, const struct desc *d)
{
	return (struct tn_list *)(uintptr_t)((const char *)o + d->offset);
}

static int64_t *
as_int(const struct tn_options *o, const struct desc *d)
{
	return (int64_t *)(uintptr_t)((const char *)o + d->offset);
}

static uint64_t *
as_size(const struct tn_options *o, const struct desc *d)
{
	return (uint64_t *)(uintptr_t)((const char *)o + d->offset);
}

static bool *
as_bool(const struct tn_options *o, const struct desc *d)
{
	return (bool *)(uintptr_t)((const char *)o + d->offset);
}

static int *
as_enum(const struct tn_options *o, const struct desc *d)
{
	return (int *)(uintptr_t)((const char *)o + d->offset);
}

static const struct desc *
find(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < NOPTIONS; i++) {
		if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
			return &table[i];
	}
	return NULL;
}

/* -- values ------------------------------------------------------------------ */

static void
list_clear(struct tn_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct tn_list){ NULL, 0 };
}

static int
list_add(struct tn_list *l, const char *s, size_t len)
{
	char **v, *copy;

	if ((copy = strndup(s, len)) == NULL)
		return TN_ENOMEM;
	if ((v = realloc(l->v, (l->n + 1) * sizeof(*v))) == NULL) {
		free(copy);
		return TN_ENOMEM;
	}
	l->v = v;
	l->v[l->n++] = copy;
	return TN_OK;
}

static bool
list_eq(const struct tn_list *a, const struct tn_list *b)
{
	size_t i;

	if (a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++) {
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	}
	return true;
}

static bool
parse_int(const char *s, int64_t *v)
{
	char *end;

	/* strtoll would skip blanks and take a plus sign. */
	if (!isdigit((unsigned char)s[0]) && !(s[0] == '-' && isdigit((unsigned char)s[1])))
		return false;
	errno = 0;
	*v = strtoll(s, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool
parse_size(const char *s, uint64_t *v)
{
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return false;
	errno = 0;
	*v = strtoull(s, &end, 10);
	if (errno != 0)
		return false;
	if (*end == 'k' || *end == 'K')
		shift = 10;
	else if (*end == 'm' || *end == 'M')
		shift = 20;
	else if (*end == 'g' || *end == 'G')
		shift = 30;
	if (shift != 0)
		end++;
	if (*end != '\0' || *v > UINT64_MAX >> shift)
		return false;
	*v <<= shift;
	return true;
}

static bool
parse_bool(const char *s, bool *v)
{
	static const char *const yes[] = { "on", "yes", "true", "1" };
	static const char *const no[] = { "off", "no", "false", "0" };
	size_t i;

	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcasecmp(s, yes[i]) == 0 || strcasecmp(s, no[i]) == 0) {
			*v = strcasecmp(s, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

static const char *
choice(const struct desc *d, int value)
{
	char *p;
	int i;

	for (p = d->split; (p = strchr(p, '|')) != NULL; p++)
		*p = '\0';
	for (p = d->split, i = 0; p < d->split + strlen(d->choices); p += strlen(p) + 1, i++) {
		if (i == value)
			return p;
	}
	return NULL;
}

static void
put_quoted(struct tn_buf *b, const char *s)
{
	tn_buf_puts(b, "\"");
	tn_buf_json(b, tn_str(s));
	tn_buf_puts(b, "\"");
}

/*
 * One value into o; for a list one more item.  Without o: only look at it.
 */
static int
take(struct tn_options *o, const struct desc *d, const char *text, struct tn_buf *err)
{
	uint64_t size, lo, hi;
	const char *name;
	int64_t number;
	bool on;
	char *copy;
	int i;

	switch (d->kind) {
	case KIND_STR:
		if (o == NULL)
			return TN_OK;
		if ((copy = strdup(text)) == NULL)
			break;
		free(*as_str(o, d));
		*as_str(o, d) = copy;
		return TN_OK;
	case KIND_LIST:
		if (*text == '\0') {
			tn_buf_printf(err, "%s: an item of the list is empty", d->name);
			return TN_EINVAL;
		}
		if (o == NULL)
			return TN_OK;
		if (list_add(as_list(o, d), text, strlen(text)) != TN_OK)
			break;
		return TN_OK;
	case KIND_INT:
		if (d->automatic && strcmp(text, "auto") == 0)
			number = 0;
		else if (!parse_int(text, &number) || number < d->min || number > d->max) {
			tn_buf_printf(err, "%s: ", d->name);
			put_quoted(err, text);
			tn_buf_printf(err, " is %s a number from %lld to %lld",
			    d->automatic ? "neither auto nor" : "not", (long long)d->min,
			    (long long)d->max);
			return TN_EINVAL;
		}
		if (o != NULL)
			*as_int(o, d) = number;
		return TN_OK;
	case KIND_SIZE:
		if (!parse_size(d->size_min, &lo) || !parse_size(d->size_max, &hi))
			tn_panic("options.def: bounds of %s", d->name);
		if (!parse_size(text, &size) || size < lo || size > hi) {
			tn_buf_printf(err, "%s: ", d->name);
			put_quoted(err, text);
			tn_buf_printf(err, " is not a number of bytes (k, m, g) from %s to %s",
			    d->size_min, d->size_max);
			return TN_EINVAL;
		}
		if (o != NULL)
			*as_size(o, d) = size;
		return TN_OK;
	case KIND_BOOL:
		if (!parse_bool(text, &on)) {
			tn_buf_printf(err, "%s: ", d->name);
			put_quoted(err, text);
			tn_buf_puts(err, " is neither on nor off");
			return TN_EINVAL;
		}
		if (o != NULL)
			*as_bool(o, d) = on;
		return TN_OK;
	case KIND_ENUM:
		for (i = 0; (name = choice(d, i)) != NULL; i++) {
			if (strcmp(name, text) == 0) {
				if (o != NULL)
					*as_enum(o, d) = i;
				return TN_OK;
			}
		}
		tn_buf_printf(err, "%s: ", d->name);
		put_quoted(err, text);
		tn_buf_puts(err, " is none of");
		for (i = 0; (name = choice(d, i)) != NULL; i++)
			tn_buf_printf(err, "%s %s", i == 0 ? "" : ",", name);
		return TN_EINVAL;
	}
	tn_buf_printf(err, "%s: %s", d->name, tn_strerror(TN_ENOMEM));
	return TN_ENOMEM;
}

static int
copy_value(struct tn_options *to, const struct tn_options *from, const struct desc *d)
{
	struct tn_list l = { NULL, 0 };
	const struct tn_list *src;
	char *s;
	size_t i;

	switch (d->kind) {
	case KIND_STR:
		if ((s = strdup(*as_str(from, d))) == NULL)
			return TN_ENOMEM;
		free(*as_str(to, d));
		*as_str(to, d) = s;
		break;
	case KIND_LIST:
		src = as_list(from, d);
		for (i = 0; i < src->n; i++) {
			if (list_add(&l, src->v[i], strlen(src->v[i])) != TN_OK) {
				list_clear(&l);
				return TN_ENOMEM;
			}
		}
		list_clear(as_list(to, d));
		*as_list(to, d) = l;
		break;
	case KIND_INT:
		*as_int(to, d) = *as_int(from, d);
		break;
	case KIND_SIZE:
		*as_size(to, d) = *as_size(from, d);
		break;
	case KIND_BOOL:
		*as_bool(to, d) = *as_bool(from, d);
		break;
	case KIND_ENUM:
		*as_enum(to, d) = *as_enum(from, d);
		break;
	}
	return TN_OK;
}

static bool
same_value(const struct tn_options *a, const struct tn_options *b, const struct desc *d)
{
	switch (d->kind) {
	case KIND_STR:
		return strcmp(*as_str(a, d), *as_str(b, d)) == 0;
	case KIND_LIST:
		return list_eq(as_list(a, d), as_list(b, d));
	case KIND_INT:
		return *as_int(a, d) == *as_int(b, d);
	case KIND_SIZE:
		return *as_size(a, d) == *as_size(b, d);
	case KIND_BOOL:
		return *as_bool(a, d) == *as_bool(b, d);
	case KIND_ENUM:
		return *as_enum(a, d) == *as_enum(b, d);
	}
	return false;
}

/* -- life -------------------------------------------------------------------- */

static int
take_default(struct tn_options *o, const struct desc *d)
{
	struct tn_buf err = { 0 };
	const char *p, *end;
	int rc = TN_OK;

	if (d->kind != KIND_LIST) {
		if ((rc = take(o, d, d->def, &err)) == TN_EINVAL)
			tn_panic("options.def: default of %.*s", (int)err.len, err.p);
		tn_buf_fini(&err);
		return rc;
	}
	for (p = d->def; *p != '\0' && rc == TN_OK; p = end) {
		p += strspn(p, " ");
		end = p + strcspn(p, " ");
		if (end > p)
			rc = list_add(as_list(o, d), p, (size_t)(end - p));
	}
	return rc;
}

struct tn_options *
tn_options_new(void)
{
	struct tn_options *o;
	struct whole *w;
	size_t i;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return NULL;
	o = &w->o;
	for (i = 0; i < NOPTIONS; i++) {
		if (take_default(o, &table[i]) != TN_OK) {
			tn_options_free(&o);
			return NULL;
		}
	}
	return o;
}

void
tn_options_free(struct tn_options **o)
{
	size_t i;

	if (*o == NULL)
		return;
	for (i = 0; i < NOPTIONS; i++) {
		if (table[i].kind == KIND_STR)
			free(*as_str(*o, &table[i]));
		else if (table[i].kind == KIND_LIST)
			list_clear(as_list(*o, &table[i]));
	}
	free(*o);
	*o = NULL;
}

/* -- a configuration file ---------------------------------------------------- */

/*
 * libConfuse hands its error function nothing of ours; one parse at a time.
 */
static struct {
	const char	*name;
	struct tn_buf	*err;
} parsing;

static void
complain(const char *name, int line, const char *fmt, va_list ap)
{
	char text[512];

	if (parsing.err->len > 0)
		return;			/* one line: the first is the cause */
	vsnprintf(text, sizeof(text), fmt, ap);
	tn_buf_printf(parsing.err, "%s:%d: ", name, line);
	tn_buf_visible(parsing.err, tn_str(text));
}

static void
on_confuse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	complain(parsing.name, cfg->line, fmt, ap);
}

static int __attribute__((format(printf, 2, 3)))
refuse(int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(parsing.name, line, fmt, ap);
	va_end(ap);
	return TN_EINVAL;
}

static int
on_confuse_value(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned n = cfg_opt_size(opt);
	struct tn_buf err = { 0 };
	const char *text;
	int rc;

	if (n == 0 || (text = cfg_opt_getnstr(opt, n - 1)) == NULL)
		return 0;
	rc = take(NULL, find(opt->name, strlen(opt->name)), text, &err);
	if (rc != TN_OK)
		cfg_error(cfg, "%.*s", (int)err.len, err.p);
	tn_buf_fini(&err);
	return rc == TN_OK ? 0 : -1;
}

/*
 * What libConfuse 3.3 gets wrong, put right before it sees the text: it miscounts
 * lines after a comment, trips over a comment in a list, drops a bare * silently
 * (*:80 would be :80) and takes ${NAME} from the environment.  Comments become
 * blanks here, and what stays has the same lines.
 */
static int
prepare(struct tn_str text, struct tn_buf *out)
{
	const char *p = text.p, *end = text.p + text.len;
	int line = 1, opened = 0;
	bool in_word = false;
	char quote = '\0';

	for (; p < end; p++) {
		char next = p + 1 < end ? p[1] : '\0';

		if (*p == '\0')
			return refuse(line, "a NUL byte");
		if (*p == '\n')
			line++;
		if (quote != '\0') {
			if (*p == '\\' && next != '\0') {
				tn_buf_append(out, p, 2);
				if (next == '\n')
					line++;
				p++;
				continue;
			}
			if (*p == quote)
				quote = '\0';
			else if (quote == '"' && *p == '$' && next == '{')
				tn_buf_puts(out, "\\");
			tn_buf_append(out, p, 1);
			continue;
		}
		if (*p == '#' || (*p == '/' && next == '/' && !in_word)) {
			while (p + 1 < end && p[1] != '\n' && p[1] != '\0')
				p++;
			tn_buf_puts(out, " ");
			in_word = false;
			continue;
		}
		if (*p == '/' && next == '*' && !in_word) {
			opened = line;
			for (p += 2; p < end && !(*p == '*' && p + 1 < end && p[1] == '/'); p++) {
				if (*p == '\n') {
					line++;
					tn_buf_puts(out, "\n");
				}
			}
			if (p >= end)
				return refuse(opened, "this comment has no end");
			p++;
			tn_buf_puts(out, " ");
			continue;
		}
		if (*p == '*' || (*p == '$' && next == '{'))
			return refuse(
			    line, "a text with %s in it must be quoted", *p == '*' ? "*" : "${");
		if (*p == '"' || *p == '\'') {
			quote = *p;
			opened = line;
		}
		in_word = strchr(" \t\r\n\"'(){}=,;+", *p) == NULL;
		tn_buf_append(out, p, 1);
	}
	if (quote != '\0')
		return refuse(opened, "this quoted text has no end");
	tn_buf_append(out, "", 1);
	return out->failed ? TN_ENOMEM : TN_OK;
}

/* Each value that the file gave, into o. */
static int
take_parsed(struct tn_options *o, cfg_t *cfg, struct tn_buf *err)
{
	const struct desc *d;
	cfg_opt_t *opt;
	unsigned k, n;
	size_t i;
	int rc;

	for (i = 0; i < NOPTIONS; i++) {
		d = &table[i];
		opt = cfg_getopt(cfg, d->name);
		n = cfg_opt_size(opt);
		if (n == 0 && !(d->kind == KIND_LIST && (opt->flags & CFGF_MODIFIED) != 0))
			continue;
		if (d->kind == KIND_LIST)
			list_clear(as_list(o, d));
		for (k = 0; k < n; k++) {
			if ((rc = take(o, d, cfg_opt_getnstr(opt, k), err)) != TN_OK)
				return rc;
		}
	}
	return TN_OK;
}

static int
parse_prepared(struct tn_options *o, const char *text, struct tn_buf *err)
{
	cfg_opt_t opts[NOPTIONS + 1];
	cfg_t *cfg;
	size_t i;
	int rc;

	for (i = 0; i < NOPTIONS; i++) {
		opts[i] = table[i].kind == KIND_LIST ?
		    (cfg_opt_t)CFG_STR_LIST(table[i].name, NULL, CFGF_NODEFAULT) :
		    (cfg_opt_t)CFG_STR(table[i].name, NULL, CFGF_NODEFAULT);
	}
	opts[NOPTIONS] = (cfg_opt_t)CFG_END();
	if ((cfg = cfg_init(opts, CFGF_NONE)) == NULL)
		return TN_ENOMEM;
	cfg_set_error_function(cfg, on_confuse_error);
	for (i = 0; i < NOPTIONS; i++)
		cfg_set_validate_func(cfg, table[i].name, on_confuse_value);
	rc = cfg_parse_buf(cfg, text) == CFG_SUCCESS ? TN_OK : TN_EINVAL;
	if (rc == TN_OK)
		rc = take_parsed(o, cfg, err);
	cfg_free(cfg);
	return rc;
}

int
tn_options_parse(struct tn_options *o, const char *name, struct tn_str text, struct tn_buf *err)
{
	struct tn_buf ready = { 0 };
	struct tn_options *copy, swap;
	size_t i;
	int rc = TN_OK;

	tn_buf_reset(err);
	parsing.name = name;
	parsing.err = err;
	if ((copy = tn_options_new()) == NULL)
		rc = TN_ENOMEM;
	for (i = 0; rc == TN_OK && i < NOPTIONS; i++)
		rc = copy_value(copy, o, &table[i]);
	if (rc == TN_OK)
		rc = prepare(text, &ready);
	if (rc == TN_OK)
		rc = parse_prepared(copy, ready.p, err);
	if (rc == TN_OK) {
		swap = *o;
		*o = *copy;
		*copy = swap;
	} else if (err->len == 0)
		tn_buf_printf(err, "%s: %s", name, tn_strerror(rc));
	parsing.name = NULL;
	parsing.err = NULL;
	tn_buf_fini(&ready);
	tn_options_free(&copy);
	return rc;
}

int
tn_options_read(struct tn_options *o, const char *path, struct tn_buf *err)
{
	struct tn_buf text = { .max = FILE_MAX };
	struct stat st;
	char *p;
	ssize_t n = -1;
	int fd, rc;

	tn_buf_reset(err);
	/* Not to hang on a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1) {
		rc = errno == ENOENT ? TN_ENOENT : errno == EACCES ? TN_EDENIED : TN_ESYS;
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		return rc;
	}
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		errno = EISDIR;
	else {
		while ((p = tn_buf_reserve(&text, 4096)) != NULL && (n = read(fd, p, 4096)) > 0)
			text.len += (size_t)n;
		if (p == NULL)
			errno = EFBIG;
	}
	if (n != 0) {
		tn_buf_printf(err, "%s: %s", path, strerror(errno));
		rc = TN_ESYS;
	} else
		rc = tn_options_parse(o, path, (struct tn_str){ text.p, text.len }, err);
	close(fd);
	tn_buf_fini(&text);
	return rc;
}

int
tn_options_set(struct tn_options *o, const char *assignment, struct tn_buf *err)
{
	struct whole *w = (struct whole *)o;
	const struct desc *d;
	const char *eq;
	size_t i;
	int rc;

	tn_buf_reset(err);
	if ((eq = strchr(assignment, '=')) == NULL) {
		put_quoted(err, assignment);
		tn_buf_puts(err, " is not of the form name=value");
		return TN_EINVAL;
	}
	if ((d = find(assignment, (size_t)(eq - assignment))) == NULL) {
		tn_buf_puts(err, "no such option: ");
		tn_buf_visible(err, (struct tn_str){ assignment, (size_t)(eq - assignment) });
		return TN_EINVAL;
	}
	if (d->kind != KIND_LIST)
		return take(o, d, eq + 1, err);
	i = (size_t)(d - table);
	if (eq[1] != '\0' && (rc = take(NULL, d, eq + 1, err)) != TN_OK)
		return rc;
	if (!w->assigned[i] || eq[1] == '\0')
		list_clear(as_list(o, d));
	w->assigned[i] = true;
	return eq[1] == '\0' ? TN_OK : take(o, d, eq + 1, err);
}

/* -- what no single option shows --------------------------------------------- */

static bool
is_port(const char *s)
{
	int64_t n;

	return isdigit((unsigned char)s[0]) && parse_int(s, &n) && n <= 65535;
}

/* Syntax only: whether the address is this machine's is for bind() to say. */
static bool
is_listen(const char *s)
{
	char host[INET6_ADDRSTRLEN + 32];
	struct in6_addr six;
	struct in_addr four;
	const char *colon;
	size_t n;

	if (strncmp(s, "unix:", 5) == 0)
		return s[5] != '\0' && strlen(s + 5) < sizeof(((struct sockaddr_un *)0)->sun_path);
	if ((colon = strrchr(s, ':')) == NULL || !is_port(colon + 1))
		return false;
	n = (size_t)(colon - s);
	if (n == 1 && s[0] == '*')
		return true;
	if (n >= sizeof(host))
		return false;
	memcpy(host, s, n);
	host[n] = '\0';
	if (host[0] != '[')
		return inet_pton(AF_INET, host, &four) == 1;
	if (n < 3 || host[n - 1] != ']')
		return false;
	host[n - 1] = '\0';
	/* fe80::1%eth0 */
	if (strchr(host, '%') != NULL)
		*strchr(host, '%') = '\0';
	return inet_pton(AF_INET6, host + 1, &six) == 1;
}

/* ADDRESS or ADDRESS/BITS; "unix" stands for the peers on Unix sockets. */
static bool
is_network(const char *s)
{
	char host[INET6_ADDRSTRLEN];
	struct in6_addr a;
	const char *slash = strchr(s, '/');
	size_t n = slash != NULL ? (size_t)(slash - s) : strlen(s);
	int64_t bits;
	bool four;

	if (strcmp(s, "unix") == 0)
		return true;
	if (n >= sizeof(host))
		return false;
	memcpy(host, s, n);
	host[n] = '\0';
	four = inet_pton(AF_INET, host, &a) == 1;
	if (!four && inet_pton(AF_INET6, host, &a) != 1)
		return false;
	return slash == NULL || (isdigit((unsigned char)slash[1]) && parse_int(slash + 1, &bits) &&
	    bits <= (four ? 32 : 128));
}

static bool
is_domain(const char *s)
{
	size_t label = 0, i;

	for (i = 0; s[i] != '\0'; i++) {
		if (s[i] == '.') {
			if (label == 0 || s[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!isalnum((unsigned char)s[i]) && (s[i] != '-' || label == 0))
			return false;
		if (++label > 63)
			return false;
	}
	return i <= 253 && label > 0 && s[i - 1] != '-';
}

static int __attribute__((format(printf, 2, 3)))
wrong(struct tn_buf *err, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_buf_visible(err, tn_str(text));
	return TN_EINVAL;
}

int
tn_options_check(const struct tn_options *o, struct tn_buf *err)
{
	const struct {
		const char *name, *value;
	} needed[] = {
		{ "contracts", o->contracts },
		{ "run_dir", o->run_dir },
		{ "state_dir", o->state_dir },
		{ "user", o->user },
		{ "worker_user", o->worker_user },
		{ "log", o->log },
	};
	size_t i, k;

	tn_buf_reset(err);
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (needed[i].value[0] == '\0')
			return wrong(err, "%s: must not be empty", needed[i].name);
	}
	if (o->listen.n == 0)
		return wrong(err, "listen: there must be one address at least");
	for (i = 0; i < o->listen.n; i++) {
		if (!is_listen(o->listen.v[i]))
			return wrong(err,
			    "listen: \"%s\" is none of ADDRESS:PORT, [ADDRESS]:PORT, *:PORT, "
			    "unix:PATH",
			    o->listen.v[i]);
		for (k = 0; k < i; k++) {
			/* Port 0 is another one each time. */
			if (strcmp(o->listen.v[i], o->listen.v[k]) == 0 &&
			    strcmp(strrchr(o->listen.v[i], ':'), ":0") != 0)
				return wrong(err, "listen: \"%s\" is given twice", o->listen.v[i]);
		}
	}
	if (strlen(o->run_dir) + sizeof(CONTROL_SOCKET) >
	    sizeof(((struct sockaddr_un *)0)->sun_path))
		return wrong(err,
		    "run_dir: too long for the control socket in it (%zu bytes at most)",
		    sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof(CONTROL_SOCKET));
	if (strcmp(o->user, o->worker_user) == 0)
		return wrong(err, "worker_user: must differ from user (%s)", o->user);
	if (o->domain[0] != '\0' && !is_domain(o->domain))
		return wrong(err, "domain: \"%s\" is not a domain name", o->domain);
	for (i = 0; i < o->trusted_proxies.n; i++) {
		if (!is_network(o->trusted_proxies.v[i]))
			return wrong(err,
			    "trusted_proxies: \"%s\" is neither an address nor ADDRESS/BITS",
			    o->trusted_proxies.v[i]);
	}
	for (i = 0; i < o->isolation_allowed.n; i++)
		if (tn_options_value("isolation", o->isolation_allowed.v[i]) < 0)
			return wrong(err, "isolation_allowed: \"%s\" is none of snapshot, "
			    "process, reuse, fresh", o->isolation_allowed.v[i]);
	if (o->workers_min > o->workers_max)
		return wrong(err, "workers_min: %lld is more than workers_max (%lld)",
		    (long long)o->workers_min, (long long)o->workers_max);
	if (o->target_max > o->header_max)
		return wrong(err,
		    "target_max: %llu bytes are more than header_max (%llu), of which the "
		    "target is a part",
		    (unsigned long long)o->target_max, (unsigned long long)o->header_max);
	/* The target is in INVOKE whole (url), and in its parts. */
	if (o->body_max + o->header_max + 3 * o->target_max + FRAME_ROOM > TN_FRAME_MAX)
		return wrong(err,
		    "body_max, header_max, target_max: a request of this size does not fit "
		    "into a frame (%u bytes)",
		    TN_FRAME_MAX);
	if (o->reply_max + FRAME_ROOM > TN_FRAME_MAX)
		return wrong(err, "reply_max: does not fit into a frame (%u bytes)", TN_FRAME_MAX);
	/* A file's name needs a slash, so that "sylog" does not become a file. */
	if (strcmp(o->log, "stderr") != 0 && strcmp(o->log, "syslog") != 0 &&
	    strchr(o->log, '/') == NULL)
		return wrong(err,
		    "log: \"%s\" is neither stderr nor syslog nor a path with a slash", o->log);
	return TN_OK;
}

/* -- output ------------------------------------------------------------------ */

/* Quoted for libConfuse. */
static void
dump_text(struct tn_buf *out, const char *s)
{
	tn_buf_puts(out, "\"");
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\' || (c == '$' && s[1] == '{'))
			tn_buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			tn_buf_printf(out, "\\x%02x", c);
		else
			tn_buf_append(out, s, 1);
	}
	tn_buf_puts(out, "\"");
}

static void
dump_size(struct tn_buf *out, uint64_t v)
{
	static const struct {
		unsigned shift;
		const char *unit;
	} units[] = { { 30, "g" }, { 20, "m" }, { 10, "k" }, { 0, "" } };
	size_t i = 0;

	while (units[i].shift != 0 && (v == 0 || (v & ((UINT64_C(1) << units[i].shift) - 1)) != 0))
		i++;
	tn_buf_printf(out, "%llu%s", (unsigned long long)(v >> units[i].shift), units[i].unit);
}

void
tn_options_dump(const struct tn_options *o, struct tn_buf *out)
{
	const struct tn_list *l;
	const struct desc *d;
	size_t i, k;

	for (i = 0; i < NOPTIONS; i++) {
		d = &table[i];
		tn_buf_printf(out, "%s = ", d->name);
		switch (d->kind) {
		case KIND_STR:
			dump_text(out, *as_str(o, d));
			break;
		case KIND_LIST:
			l = as_list(o, d);
			tn_buf_puts(out, "{");
			for (k = 0; k < l->n; k++) {
				if (k > 0)
					tn_buf_puts(out, ", ");
				dump_text(out, l->v[k]);
			}
			tn_buf_puts(out, "}");
			break;
		case KIND_INT:
			if (d->automatic && *as_int(o, d) == 0)
				tn_buf_puts(out, "auto");
			else
				tn_buf_printf(out, "%lld", (long long)*as_int(o, d));
			break;
		case KIND_SIZE:
			dump_size(out, *as_size(o, d));
			break;
		case KIND_BOOL:
			tn_buf_puts(out, *as_bool(o, d) ? "on" : "off");
			break;
		case KIND_ENUM:
			tn_buf_puts(out, choice(d, *as_enum(o, d)));
			break;
		}
		tn_buf_puts(out, "\n");
	}
}

/* "default 4, from 1 to 10000, SIGHUP applies it" */
static void
put_facts(struct tn_buf *out, const struct desc *d, const char *colon)
{
	if (d->def[0] == '\0')
		tn_buf_printf(out, "default%s none", colon);
	else
		tn_buf_printf(out, "default%s %s", colon, d->def);
	if (d->kind == KIND_INT)
		tn_buf_printf(out, ", from %lld to %lld%s", (long long)d->min, (long long)d->max,
		    d->automatic ? ", or auto" : "");
	else if (d->kind == KIND_SIZE)
		tn_buf_printf(out, ", from %s to %s", d->size_min, d->size_max);
	tn_buf_puts(out, d->reload == RELOAD ? "; SIGHUP applies it" : "; needs a restart");
}

void
tn_options_help(struct tn_buf *out)
{
	const char *p, *end, *cut;
	struct tn_buf facts = { 0 };
	size_t i;

	for (i = 0; i < NOPTIONS; i++) {
		facts.len = 0;
		tn_buf_puts(&facts, table[i].doc);
		tn_buf_puts(&facts, " (");
		put_facts(&facts, &table[i], "");
		tn_buf_puts(&facts, ")");
		tn_buf_append(&facts, "", 1);
		tn_buf_printf(out, "  %s=%s\n", table[i].name, table[i].unit);
		if (facts.failed)
			continue;
		for (p = facts.p; *p != '\0'; p = end + strspn(end, " ")) {
			end = p + strlen(p);
			if (end - p > 70) {
				for (cut = p + 70; cut > p && *cut != ' '; cut--)
					;
				end = cut > p ? cut : p + strcspn(p, " ");
			}
			tn_buf_printf(out, "        %.*s\n", (int)(end - p), p);
		}
	}
	tn_buf_fini(&facts);
}

/* Running text: a control character at a line's start is text, too; a backslash is \e. */
static void
mdoc_text(struct tn_buf *out, const char *s)
{
	bool first = true;

	for (; *s != '\0'; s++) {
		if (first && (*s == '.' || *s == '\''))
			tn_buf_puts(out, "\\&");
		first = false;
		if (*s == '\\')
			tn_buf_puts(out, "\\e");
		else if ((s[0] == '.' || s[0] == ';') && s[1] == ' ') {
			/* New sentence, new line. */
			tn_buf_append(out, s++, 1);
			tn_buf_puts(out, "\n");
			first = true;
		} else
			tn_buf_append(out, s, 1);
	}
	tn_buf_puts(out, "\n");
}

void
tn_options_mdoc(struct tn_buf *out)
{
	struct tn_buf facts = { 0 };
	size_t i;

	for (i = 0; i < NOPTIONS; i++) {
		tn_buf_printf(out, ".It Sy %s No = Ar \"%s\"\n", table[i].name, table[i].unit);
		mdoc_text(out, table[i].doc);
		facts.len = 0;
		put_facts(&facts, &table[i], ":");
		tn_buf_puts(&facts, ".");
		tn_buf_append(&facts, "", 1);
		if (!facts.failed) {
			facts.p[0] = 'D';
			mdoc_text(out, facts.p);
		}
	}
	tn_buf_fini(&facts);
}

int
tn_options_reload(struct tn_options *o, const struct tn_options *next, struct tn_buf *left)
{
	size_t i;
	int rc;

	for (i = 0; i < NOPTIONS; i++) {
		if (same_value(o, next, &table[i]))
			continue;
		if (table[i].reload == RELOAD) {
			if ((rc = copy_value(o, next, &table[i])) != TN_OK)
				return rc;
			continue;
		}
		if (left->len > 0)
			tn_buf_puts(left, " ");
		tn_buf_puts(left, table[i].name);
	}
	return TN_OK;
}

const char *
tn_options_choice(const char *name, int value)
{
	const struct desc *d = find(name, strlen(name));

	return d != NULL && d->kind == KIND_ENUM && value >= 0 ? choice(d, value) : NULL;
}

int
tn_options_value(const char *name, const char *text)
{
	const char *known;

	for (int i = 0; (known = tn_options_choice(name, i)) != NULL; i++)
		if (strcmp(known, text) == 0)
			return i;
	return -1;
}
