/*
 * sv_text.h - texts for other processes, as files in memory: what is too long for one
 * of sv_proto.h's messages goes along with it as a descriptor.
 */
#ifndef SV_TEXT_H
#define SV_TEXT_H

#include "tn_options.h"
#include "tn_str.h"

/* The caller's descriptor; -1 with errno.  An empty text is an empty file. */
int sv_text_fd(const char *name, const struct tn_buf *text);
/* All options, as a configuration file. */
int sv_text_options_fd(const struct tn_options *o);

#endif
