/*
 * wk_pagemap.h - ask the kernel which pages of a range are the process's own.
 *
 * In a private mapping of a file a page that was written is anonymous from then
 * on, wherever it is: present, or swapped out.  Asking for "not of the file"
 * therefore finds all that were written (and maybe some that were not).
 */
#ifndef WK_PAGEMAP_H
#define WK_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages [first, end), counted from the range's base. */
struct wk_pagemap_run {
	uint32_t	first, end;
};

/* Does PAGEMAP_SCAN work on this descriptor?  (Linux 6.7) */
bool wk_pagemap_can_scan(int fd);
/* Does reading it? */
bool wk_pagemap_can_read(int fd);

/*
 * Find own pages in [from, to), at most `max` runs of them.  0: *n runs, and
 * *next says where to go on (`to`: all was looked at); or TN_ESYS.
 */
int wk_pagemap_scan(int fd, const char *base, size_t from, size_t to,
    struct wk_pagemap_run *runs, size_t max, size_t *n, size_t *next);
/* The same by reading the file, for older kernels. */
int wk_pagemap_read(int fd, const char *base, size_t from, size_t to,
    struct wk_pagemap_run *runs, size_t max, size_t *n, size_t *next);

#endif
