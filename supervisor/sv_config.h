/*
 * sv_config.h - where the options come from: defaults, then a file, then the
 * command line.
 */
#ifndef SV_CONFIG_H
#define SV_CONFIG_H

#include "tn_options.h"

struct sv_config {
	char	 *path;			/* absolute; NULL: no file */
	char	**set;			/* "name=value", in order */
	size_t	  nset;
	char	 *base;			/* where relative paths count from */
	bool	  daemon;		/* no terminal: a log of stderr becomes syslog */
};

/* Remembers the working directory: relative paths count from it, whatever it is later. */
void sv_config_init(struct sv_config *c);
void sv_config_fini(struct sv_config *c);

/* -c: the file must exist.  Without it: the default one, if it exists. TN_ENOENT, TN_ENOMEM. */
int sv_config_file(struct sv_config *c, const char *path, struct tn_buf *err);
int sv_config_default_file(struct sv_config *c);
/* -o */
int sv_config_add(struct sv_config *c, const char *assignment);

/*
 * Read all and check it; paths in the result are absolute, so that a later
 * working directory does not matter.  Allocates *out; on failure it is NULL and
 * err says what is wrong and where.
 */
int sv_config_load(const struct sv_config *c, struct tn_options **out, struct tn_buf *err);

#endif
