/*
 * sv_mkman [DIRECTORY]: a manual page's template on standard input, the page on
 * standard output.  Lines that are just the name of one of `sections` between at
 * signs become what the tables in common/ say; so no page can fall behind them.
 * @INCLUDE FILE@ becomes the file, as it is, out of the directory.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tn_layers.h"
#include "tn_options.h"

/* Their versions, and the frames' fields. */
#include "frames.def"
#include "methods.def"

static const struct {
	const char	*name, *args, *doc;
} commands[] = {
#define TN_COMMAND(sym, name, args, doc) { name, args, doc },
#define TN_COMMAND_OWN(sym, name, args, doc) TN_COMMAND(sym, name, args, doc)
#include "commands.def"
};

static void
put_options(void)
{
	struct tn_buf b = { 0 };

	tn_options_mdoc(&b);
	(void)fwrite(b.p, 1, b.len, stdout);
	tn_buf_fini(&b);
}

/* Words with a dash are flags, in capitals arguments. */
static void
put_arguments(const char *args)
{
	char text[128], *word, *save;
	const char *open, *close;

	(void)snprintf(text, sizeof(text), "%s", args);
	for (word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		open = *word == '[' ? "Oo " : "";
		word += *word == '[';
		close = strchr(word, ']') != NULL ? " Oc" : "";
		word[strcspn(word, "]")] = '\0';
		if (strncmp(word, "--", 2) == 0)
			(void)printf(" %sFl -%s%s", open, word + 2, close);
		else if (strcmp(word, "|") == 0)
			(void)fputs(" |", stdout);
		else
			(void)printf(" %sAr %s%s", open, word, close);
	}
}

static void
put_commands(void)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		(void)printf(".It Cm %s", commands[i].name);
		put_arguments(commands[i].args);
		(void)printf("\n%s\n", commands[i].doc);
	}
}

static void
put_metrics(void)
{
#define TN_COUNTER(name, doc, ...) (void)printf(".It Va %s\n%s\n", #name, doc);
#define TN_GAUGE(name, doc, ...) (void)printf(".It Va %s\n%s\n", #name, doc);
#define TN_COUNTERS(name, doc, label, n, value) (void)printf(".It Va %s\n%s\n", #name, doc);
#define TN_GAUGES(name, doc, label, n, value) (void)printf(".It Va %s\n%s\n", #name, doc);
#include "metrics.def"
}

static void
put_causes(void)
{
#define TN_WRETIRE(sym, name, doc) (void)printf(".It Li %s\n%s\n", name, doc);
#define TN_WEND(sym, name, doc) (void)printf(".It Li %s\n%s\n", name, doc);
#include "states.def"
}

static void
put_phases(void)
{
#define TN_PHASE(sym, name, doc) (void)printf(".It Va %s\n%s\n", name, doc);
#include "phases.def"
#define TN_TIME(name, doc) (void)printf(".It Va %s\n%s\n", #name, doc);
#include "metrics.def"
}

static void
put_layers(void)
{
	const struct tn_layer_info *l;
	size_t i, n;

	l = tn_layers(&n);
	for (i = 0; i < n; i++)
		(void)printf(".It Cm %s\n%s\n", l[i].name, l[i].doc);
}

static void
put_methods(void)
{
#define TN_METHOD(sym, name, params, result, doc)				\
	(void)printf(".It Cm %s Pq %s, result: %s\n%s\n", name, params, result, doc);
#include "methods.def"
}

static void
put_notices(void)
{
#define TN_NOTICE(name, params, doc)						\
	(void)printf(".It Cm %s Pq %s\n%s\n", name, params, doc);
#include "methods.def"
}

static void
put_fields(const char *of)
{
#define TN_METHOD_FIELD(method, sym, type, doc)					\
	if (strcmp(of, #method) == 0)						\
		(void)printf(".It Fa %s Pq %s\n%s\n", #sym, type, doc);
#include "methods.def"
}

static void
put_hello_fields(void)
{
	put_fields("hello");
}

static void
put_invoke_fields(void)
{
	put_fields("invoke");
}

static void
put_results(const char *of)
{
#define TN_METHOD_RESULT(method, name, type, doc)				\
	if (strcmp(of, #method) == 0)						\
		(void)printf(".It Va %s Pq %s\n%s\n", name, type, doc);
#include "methods.def"
}

static void
put_hello_results(void)
{
	put_results("hello");
}

static void
put_invoke_results(void)
{
	put_results("invoke");
}

static void
put_limits(void)
{
#define TN_METHOD_LIMIT(sym, doc) (void)printf(".It Dv %s\n%s\n", #sym, doc);
#include "methods.def"
}

static void
put_method_errors(void)
{
#define TN_METHOD_ERROR(sym, code, doc) (void)printf(".It Er %s\n%s\n", code, doc);
#include "methods.def"
}

static void
put_faults(void)
{
#define TN_FAULT(sym, status, code, message)					\
	(void)printf(".It Em %s Pq status %d\n%s\n", code, status, message);
#include "errors.def"
}

static void
put_frames(void)
{
#define TO_WORKER "to the worker"
#define TO_FRONT "to the front"
#define FIELD(kind, name, doc) (void)printf(".It Fa %s Pq %s\n%s\n", #name, #kind, doc);
#define TN_FRAME(SYM, num, sym, dir, doc)					\
	(void)printf(".It Sy %s Pq %d, %s\n%s\n.Bl -tag -width Ds -compact\n",	\
	    #sym, num, dir, doc);						\
	TN_FRAME_##SYM##_FIELDS(FIELD)						\
	(void)puts(".El");
#include "frames.def"
}

static void
put_versions(const char *line)
{
	const char *at;

	if ((at = strstr(line, "@CLIENT_VERSION@")) != NULL)
		(void)printf("%.*s%u.%u%s", (int)(at - line), line, TN_CLIENT_MAJOR,
		    TN_CLIENT_MINOR, at + strlen("@CLIENT_VERSION@"));
	else if ((at = strstr(line, "@FRAMES_VERSION@")) != NULL)
		(void)printf("%.*s%u%s", (int)(at - line), line, (unsigned)TN_FRAMES_VERSION,
		    at + strlen("@FRAMES_VERSION@"));
	else
		(void)fputs(line, stdout);
}

/* The file between "@INCLUDE " and "@", as text that stays as it is; false: it cannot be read. */
static bool
include(const char *directory, const char *line)
{
	char path[4096];
	bool start = true, ok;
	FILE *f;
	int c;

	line += strlen("@INCLUDE ");
	(void)snprintf(path, sizeof(path), "%s/%.*s", directory, (int)strcspn(line, "@"), line);
	if ((f = fopen(path, "re")) == NULL) {
		perror(path);
		return false;
	}
	while ((c = getc(f)) != EOF) {
		if (start && (c == '.' || c == '\''))
			(void)fputs("\\&", stdout);
		if (c == '\\')
			(void)fputs("\\e", stdout);
		else
			(void)putchar(c);
		start = c == '\n';
	}
	ok = !ferror(f);
	fclose(f);
	return ok;
}

static const struct {
	const char	*name;
	void		(*put)(void);
} sections[] = {
	{ "OPTIONS", put_options }, { "COMMANDS", put_commands }, { "METRICS", put_metrics },
	{ "CAUSES", put_causes }, { "PHASES", put_phases }, { "LAYERS", put_layers }, { "METHODS", put_methods },
	{ "NOTICES", put_notices }, { "FIELDS hello", put_hello_fields },
	{ "FIELDS invoke", put_invoke_fields }, { "RESULTS hello", put_hello_results },
	{ "RESULTS invoke", put_invoke_results }, { "METHOD_LIMITS", put_limits },
	{ "METHOD_ERRORS", put_method_errors }, { "FAULTS", put_faults },
	{ "FRAMES", put_frames },
};
#define NSECTIONS (sizeof(sections) / sizeof(sections[0]))

int
main(int argc, char **argv)
{
	char line[4096], name[64];
	size_t i;

	while (fgets(line, sizeof(line), stdin) != NULL) {
		for (i = 0; i < NSECTIONS; i++) {
			(void)snprintf(name, sizeof(name), "@%s@\n", sections[i].name);
			if (strcmp(line, name) == 0)
				break;
		}
		if (i < NSECTIONS)
			sections[i].put();
		else if (strncmp(line, "@INCLUDE ", 9) != 0)
			put_versions(line);
		else if (argc != 2 || !include(argv[1], line))
			return 1;
	}
	return ferror(stdin) || fflush(stdout) != 0 || ferror(stdout);
}
