#include "config.h"

#include "wk_runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tn_err.h"

#define FILES_MAX	64

static struct wk_runtime_file read_files[FILES_MAX];
static size_t read_count;
static int was_read;

const struct wk_runtime_file *
wk_runtime_files(size_t *count)
{
	*count = was_read ? read_count : wk_runtime_data_count;
	return was_read ? read_files : wk_runtime_data;
}

char *
wk_runtime_slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t n = 0, cap = 0;

	if (f == NULL)
		return NULL;
	for (;;) {
		size_t got;

		if (cap - n < 4096) {
			char *more = realloc(text, cap = cap ? 2 * cap : 65536);

			if (more == NULL)
				break;
			text = more;
		}
		got = fread(text + n, 1, cap - n - 1, f);
		n += got;
		if (got == 0) {
			if (ferror(f))
				break;
			(void)fclose(f);
			text[n] = '\0';
			*len = n;
			return text;
		}
	}
	free(text);
	(void)fclose(f);
	errno = errno ? errno : EIO;
	return NULL;
}

int
wk_runtime_read(const char *dir, const char *modules, const char **what)
{
	static char path[4096];
	char *order, *line, *save = NULL;
	size_t len;

	*what = path;
	(void)snprintf(path, sizeof(path), "%s/ORDER", dir);
	order = wk_runtime_slurp(path, &len);
	if (order == NULL)
		return TN_ESYS;
	was_read = 1;
	read_count = 0;
	for (line = strtok_r(order, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		struct wk_runtime_file *f = &read_files[read_count];

		line += strspn(line, " \t\r");
		line[strcspn(line, " \t\r#")] = '\0';
		if (*line == '\0')
			continue;
		if (*line == '@')
			(void)snprintf(path, sizeof(path), "%s/%s", modules, line + 1);
		else
			(void)snprintf(path, sizeof(path), "%s/%s", dir, line);
		if (read_count == FILES_MAX) {
			errno = E2BIG;
			return TN_ESYS;
		}
		f->text = wk_runtime_slurp(path, &f->len);
		f->name = line + (*line == '@');
		if (f->text == NULL)
			return TN_ESYS;
		read_count++;
	}
	/* `order` stays: the names point into it. */
	return 0;
}
