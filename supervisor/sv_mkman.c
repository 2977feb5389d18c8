/*
 * sv_mkman: a manual page's template on standard input, the page on standard
 * output.  Lines that are just @OPTIONS@, @COMMANDS@, @METRICS@, @CAUSES@, @PHASES@ or
 * @LAYERS@ become what the tables in common/ say; so no page can fall behind them.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tn_layers.h"
#include "tn_options.h"

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

int
main(void)
{
	char line[4096];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (strcmp(line, "@OPTIONS@\n") == 0)
			put_options();
		else if (strcmp(line, "@COMMANDS@\n") == 0)
			put_commands();
		else if (strcmp(line, "@METRICS@\n") == 0)
			put_metrics();
		else if (strcmp(line, "@CAUSES@\n") == 0)
			put_causes();
		else if (strcmp(line, "@PHASES@\n") == 0)
			put_phases();
		else if (strcmp(line, "@LAYERS@\n") == 0)
			put_layers();
		else
			(void)fputs(line, stdout);
	}
	return ferror(stdin) || fflush(stdout) != 0 || ferror(stdout);
}
