/*
 * wk_runtime.h - the JavaScript that every heap begins with, in order.
 *
 * The build embeds it (mkruntime.sh writes wk_runtime_data.c from
 * runtime/ORDER); a developer may read it from the files instead.
 */
#ifndef WK_RUNTIME_H
#define WK_RUNTIME_H

#include <stddef.h>

struct wk_runtime_file {
	const char	*name;
	const char	*text;		/* UTF-8 */
	size_t		 len;
};

extern const struct wk_runtime_file wk_runtime_data[];
extern const size_t wk_runtime_data_count;

/* What heaps are made from: the embedded files unless wk_runtime_read() replaced them. */
const struct wk_runtime_file *wk_runtime_files(size_t *count);

/*
 * Read dir/ORDER and what it names; `modules` is the node_modules folder for
 * lines that begin with '@'.  Kept until the process ends.  On failure *what
 * names the file and errno says why.
 */
int wk_runtime_read(const char *dir, const char *modules, const char **what);

/* A whole file; the caller frees it. NULL: errno. */
char *wk_runtime_slurp(const char *path, size_t *len);

#endif
