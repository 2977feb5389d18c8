/*
 * tn_options.h - the options of options.def: struct, defaults, parsing, dump.
 *
 * Configuration files are read by libConfuse: `name = value`, lists as
 * `{a, b}`, `name += value` to append to a list, # and // and C comments.  A
 * text with other than letters, digits and -_.:/@[] is "quoted" (\\, \", \n,
 * \xHH and the like) or 'quoted' (as it is).  ${NAME} stays as it is: nothing is
 * taken from the environment.  An option given twice has the last value.
 */
#ifndef TN_OPTIONS_H
#define TN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tn_str.h"

struct tn_list {
	char	**v;
	size_t	  n;
};

struct tn_options {
#define TN_OPT_STR(name, def, reload, unit, doc)		char *name;
#define TN_OPT_LIST(name, def, reload, unit, doc)		struct tn_list name;
#define TN_OPT_INT(name, def, min, max, reload, unit, doc)	int64_t name;
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc)	int64_t name;
#define TN_OPT_SIZE(name, def, min, max, reload, doc)		uint64_t name;
#define TN_OPT_BOOL(name, def, reload, doc)			bool name;
#define TN_OPT_ENUM(name, def, choices, reload, doc)		int name;
#include "options.def"
};

/*
 * All defaults; free with tn_options_free.  NULL: no memory.  Do not copy the
 * struct: there is more behind it.
 */
struct tn_options *tn_options_new(void);
void tn_options_free(struct tn_options **o);

/*
 * Read a file over the values in *o.  On failure: a negative code, *o as it
 * was, and `err` has one line that names file, line and what is wrong.
 */
int tn_options_read(struct tn_options *o, const char *path, struct tn_buf *err);
/* The same from text in memory; `name` stands for the path in errors. */
int tn_options_parse(struct tn_options *o, const char *name, struct tn_str text,
    struct tn_buf *err);
/*
 * One "name=value" (from -o); no quotes, the value is all that follows the sign.
 * A list option replaces what it had (default or file) the first time and
 * appends one item afterwards, *o remembers; an empty value empties the list.
 */
int tn_options_set(struct tn_options *o, const char *assignment, struct tn_buf *err);
/* What no single option can show: workers_min <= workers_max and the like. */
int tn_options_check(const struct tn_options *o, struct tn_buf *err);

/* All options as a configuration file that reads back to the same values. */
void tn_options_dump(const struct tn_options *o, struct tn_buf *out);
/* The table as help text (--help), and as mdoc(7) for the man page. */
void tn_options_help(struct tn_buf *out);
void tn_options_mdoc(struct tn_buf *out);

/*
 * Take over from `next` what SIGHUP may change.  Options that differ and need a
 * restart are left alone and named in `left`, apart by spaces.
 */
int tn_options_reload(struct tn_options *o, const struct tn_options *next, struct tn_buf *left);

/* Text of an enum's value, NULL if `name` is no enum option. */
const char *tn_options_choice(const char *name, int value);
/* Value of an enum's text, -1 if it has none such. */
int tn_options_value(const char *name, const char *text);

#endif
