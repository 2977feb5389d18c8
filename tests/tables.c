/*
 * tables - print what the tables of common/ say, for tests/docs.
 *
 *	tables options | commands | metrics | causes | phases | layers | methods | notices |
 *	    fields | results | limits | errors | faults | frames | frame-fields
 *						"name doc", a line each
 *	tables option-help | command-help	as the programs' --help has it
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tn_options.h"

static void
options(void)
{
#define TN_OPT_STR(name, def, reload, unit, doc) puts(#name " " doc);
#define TN_OPT_LIST(name, def, reload, unit, doc) puts(#name " " doc);
#define TN_OPT_INT(name, def, min, max, reload, unit, doc) puts(#name " " doc);
#define TN_OPT_AUTO(name, def, min, max, reload, unit, doc) puts(#name " " doc);
#define TN_OPT_SIZE(name, def, min, max, reload, doc) puts(#name " " doc);
#define TN_OPT_BOOL(name, def, reload, doc) puts(#name " " doc);
#define TN_OPT_ENUM(name, def, choices, reload, doc) puts(#name " " doc);
#include "options.def"
}

static void
option_help(void)
{
	struct tn_buf b = { 0 };

	tn_options_help(&b);
	fwrite(b.p, 1, b.len, stdout);
	tn_buf_fini(&b);
}

static void
commands(void)
{
#define TN_COMMAND(sym, name, args, doc) puts(name " " doc);
#define TN_COMMAND_OWN(sym, name, args, doc) TN_COMMAND(sym, name, args, doc)
#include "commands.def"
}

static void
command_help(void)
{
#define TN_COMMAND(sym, name, args, doc) \
	printf("  %s%s%s\n      %s\n", name, sizeof(args) > 1 ? " " : "", args, doc);
#define TN_COMMAND_OWN(sym, name, args, doc) TN_COMMAND(sym, name, args, doc)
#include "commands.def"
}

static void
metrics(void)
{
#define TN_COUNTER(name, doc, ...) puts(#name " " doc);
#define TN_GAUGE(name, doc, ...) puts(#name " " doc);
#define TN_COUNTERS(name, doc, label, n, value) puts(#name " " doc);
#define TN_GAUGES(name, doc, label, n, value) puts(#name " " doc);
#include "metrics.def"
}

static void
causes(void)
{
#define TN_WRETIRE(sym, name, doc) puts(name " " doc);
#define TN_WEND(sym, name, doc) puts(name " " doc);
#include "states.def"
}

static void
phases(void)
{
#define TN_PHASE(sym, name, doc) puts(name " " doc);
#include "phases.def"
#define TN_TIME(name, doc) puts(#name " " doc);
#include "metrics.def"
}

static void
layers(void)
{
#define TN_LAYER(sym, bit, name, doc) puts(name " " doc);
#include "layers.def"
}

static void
methods(void)
{
#define TN_METHOD(sym, name, params, result, doc) puts(name " " doc);
#include "methods.def"
}

static void
notices(void)
{
#define TN_NOTICE(name, params, doc) puts(name " " doc);
#include "methods.def"
}

static void
fields(void)
{
#define TN_METHOD_FIELD(method, sym, type, doc) puts(#sym " " doc);
#include "methods.def"
}

static void
results(void)
{
#define TN_METHOD_RESULT(method, name, type, doc) puts(name " " doc);
#include "methods.def"
}

static void
limits(void)
{
#define TN_METHOD_LIMIT(sym, doc) puts(#sym " " doc);
#include "methods.def"
}

static void
errors(void)
{
#define TN_METHOD_ERROR(sym, code, doc) puts(code " " doc);
#include "methods.def"
}

static void
faults(void)
{
#define TN_FAULT(sym, status, code, message) puts(code " " message);
#include "errors.def"
}

static void
frames(void)
{
#define TN_FRAME(SYM, num, sym, dir, doc) puts(#sym " " doc);
#include "frames.def"
}

static void
frame_fields(void)
{
#define FIELD(kind, name, doc) puts(#name " " doc);
#define TN_FRAME(SYM, num, sym, dir, doc) TN_FRAME_##SYM##_FIELDS(FIELD)
#include "frames.def"
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} tables[] = {
		{ "options", options }, { "option-help", option_help }, { "commands", commands },
		{ "command-help", command_help }, { "metrics", metrics }, { "causes", causes },
		{ "phases", phases },
		{ "layers", layers }, { "methods", methods }, { "notices", notices },
		{ "fields", fields }, { "results", results }, { "limits", limits },
		{ "errors", errors }, { "faults", faults }, { "frames", frames },
		{ "frame-fields", frame_fields },
	};
	size_t i;

	for (i = 0; argc == 2 && i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (strcmp(argv[1], tables[i].name) == 0) {
			tables[i].print();
			return fflush(stdout) != 0;
		}
	}
	fputs("usage: tables NAME\n", stderr);
	return 2;
}
