/*
 * pol_filter.h - from rules to a program for the kernel.
 *
 * Compiled once, by libseccomp, and then installed by each child with one system
 * call: libseccomp's own way costs a child three times as much.
 */
#ifndef POL_FILTER_H
#define POL_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "pol_rules.h"

struct pol_filter;

/* "zygote", "worker", "builder", "tool"; the words of the golden texts' file names. */
const char *pol_filter_name(enum pol_filter_kind kind);

/* A program in *out, the caller's; or a negative code and in err why. */
int pol_filter_compile(enum pol_filter_kind kind, const struct pol_params *p,
    struct pol_filter **out, char err[POL_ERR_MAX]);
void pol_filter_free(struct pol_filter **f);

const struct sock_filter *pol_filter_code(const struct pol_filter *f, size_t *n);

/* From here on, for this process and its children.  no_new_privs must be set. */
int pol_filter_install(const struct pol_filter *f, char err[POL_ERR_MAX]);

/* The same policy as libseccomp's pseudo filter code, for people. */
int pol_filter_text(enum pol_filter_kind kind, const struct pol_params *p, int fd,
    char err[POL_ERR_MAX]);

#endif
