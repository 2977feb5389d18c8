/*
 * replay.c - a main() for a fuzz target: every file of its corpus, whole and cut
 * short at every byte, as one TAP case a file.  So that what fuzzing once found
 * stays found in `make check`, without a fuzzer.
 *
 *	fuzz_NAME [DIRECTORY]	(default: TANA_SOURCE/tests/fuzz/corpus/NAME)
 */
#include "config.h"

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX	65536u
/* Longer inputs are cut at so many places, evenly. */
#define CUTS_MAX	2000u

/* An exact copy, so that a sanitizer sees a byte too many read. */
static void
try_one(const uint8_t *p, size_t n)
{
	uint8_t *exact = malloc(n > 0 ? n : 1);

	if (exact == NULL)
		abort();
	memcpy(exact, p, n);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
}

static int
hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

int
main(int argc, char **argv)
{
	static uint8_t text[INPUT_MAX];
	char dir[2048], path[4096];
	const char *source = getenv("TANA_SOURCE"), *name;
	struct dirent **files;
	size_t len, cut, step;
	int n, i, bad = 0;
	FILE *f;

	name = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
	if (strncmp(name, "fuzz_", 5) == 0)
		name += 5;
	if (argc > 1)
		snprintf(dir, sizeof(dir), "%s", argv[1]);
	else
		snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", source != NULL ? source : ".",
		    name);
	if ((n = scandir(dir, &files, hidden, alphasort)) <= 0) {
		printf("Bail out! no corpus in %s: %s\n", dir,
		    n < 0 ? strerror(errno) : "it is empty");
		return 1;
	}
	printf("1..%d\n", n);
	for (i = 0; i < n; i++) {
		/* Said first: an input that fails takes the process along. */
		printf("# %s\n", files[i]->d_name);
		fflush(stdout);
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]->d_name);
		if ((f = fopen(path, "r")) == NULL) {
			printf("not ok %d - %s: %s\n", i + 1, files[i]->d_name, strerror(errno));
			bad = 1;
			continue;
		}
		len = fread(text, 1, sizeof(text), f);
		fclose(f);
		step = len / CUTS_MAX + 1;
		for (cut = 0; cut < len; cut += step)
			try_one(text, cut);
		try_one(text, len);
		printf("ok %d - %s, whole and cut short\n", i + 1, files[i]->d_name);
		free(files[i]);
	}
	free(files);
	return bad;
}
