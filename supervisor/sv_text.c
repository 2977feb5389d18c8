/*
 * sv_text.c - texts for other processes, as files in memory.
 */
#include "config.h"

#include "sv_text.h"

#include <errno.h>
#include <unistd.h>

#include "tn_fd.h"

int
sv_text_fd(const char *name, const struct tn_buf *text)
{
	size_t len = text->p != NULL ? text->len : 0;
	int fd;

	if (text->failed) {
		errno = ENOMEM;
		return -1;
	}
	if ((fd = tn_fd_memfd(name, len)) < 0)
		return -1;
	if (len > 0 && pwrite(fd, text->p, len, 0) != (ssize_t)len)
		tn_fd_close(&fd);
	return fd;
}

int
sv_text_options_fd(const struct tn_options *o)
{
	struct tn_buf text = { 0 };
	int fd;

	tn_options_dump(o, &text);
	fd = sv_text_fd("configuration", &text);
	tn_buf_fini(&text);
	return fd;
}
