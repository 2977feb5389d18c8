/*
 * tana-worker: the zygote that the server starts, and the same heap as a tool.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tn_err.h"
#include "wk_duk.h"
#include "wk_tool.h"
#include "wk_zygote.h"

static void
help(void)
{
	(void)fputs(
	    "usage: tana-worker --zygote\n"
	    "	As tana-edge starts it: descriptor 3 is the socket to it.\n"
	    "\n"
	    "       tana-worker --check [--json] NAME=FILE ...\n"
	    "	Load the files of a contract (ES5, CommonJS) as a deployment does and print\n"
	    "	one JSON object: what they export, or what is wrong and where.\n"
	    "\n"
	    "       tana-worker --run NAME=FILE ... [OPTION ...]\n"
	    "	Answer one request, without a server, and print the result as JSON:\n"
	    "	--method GET  --path /  --query TEXT  --url URL  --header 'NAME: VALUE'\n"
	    "	--body TEXT  --function get|post|fetch|contract|init  --ip ADDRESS\n"
	    "	--contract ID  --meta JSON  --block JSON\n"
	    "	--caller JSON  --input JSON  --times\n"
	    "\n"
	    "	Both run the contract shut in: of the kernel they may ask for memory and time,\n"
	    "	and write to descriptors 1 and 2.  --cpu-seconds N; --memory MIB;\n"
	    "	--runtime DIR, --modules DIR: the runtime's files and node_modules instead of\n"
	    "	the embedded ones.\n"
	    "\n"
	    "       tana-worker --version | --help\n", stdout);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "--zygote") == 0) {
		if (argc > 2) {
			(void)fprintf(stderr, "tana-worker: --zygote takes no arguments\n");
			return TN_EXIT_USAGE;
		}
#ifdef WITH_SANITIZERS			/* the leak check cannot run in the sandbox, and may hang there */
		_exit(wk_zygote_main());
#else
		return wk_zygote_main();
#endif
	}
	if (strcmp(mode, "--check") == 0)
		return wk_tool_check(argc - 1, argv + 1);
	if (strcmp(mode, "--run") == 0)
		return wk_tool_run(argc - 1, argv + 1);
	if (strcmp(mode, "--version") == 0) {
		(void)printf("tana-worker %s, Duktape %s (%s)\n", PACKAGE_VERSION, wk_duk_version(),
		    wk_duk_how());
		return TN_EXIT_OK;
	}
	if (strcmp(mode, "--help") == 0) {
		help();
		return TN_EXIT_OK;
	}
	if (argc > 1)
		(void)fprintf(stderr, "tana-worker: unknown option: %s; see tana-worker --help\n", mode);
	else
		(void)fprintf(stderr, "tana-worker: an option is needed; see tana-worker --help\n");
	return TN_EXIT_USAGE;
}
