#include "config.h"

#include "wk_tool.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "pol_sandbox.h"
#include "tn_clock.h"
#include "tn_err.h"
#include "wk_arena.h"
#include "wk_deadline.h"
#include "wk_duk.h"
#include "wk_heap.h"
#include "wk_host.h"
#include "wk_random.h"
#include "wk_runtime.h"

#define CPU_SECONDS	10u
#define ARENA_DEFAULT	((size_t)64 << 20)
#define FILES_MAX	32

struct tool {
	bool		 check;
	const char	*runtime, *modules;
	const char	*method, *path, *query, *url, *function, *body, *ip, *contract, *meta, *block;
	const char	*caller, *input;
	struct tn_str	 headers[128];
	size_t		 nheaders;
	struct tn_str	 source[2 * FILES_MAX];
	size_t		 nsource;
	unsigned long	 cpu_seconds;
	size_t		 memory;
	bool		 times;
};

enum {
	OPT_RUNTIME = 256, OPT_MODULES, OPT_METHOD, OPT_PATH, OPT_QUERY, OPT_URL, OPT_FUNCTION,
	OPT_BODY, OPT_IP, OPT_CONTRACT, OPT_META, OPT_BLOCK, OPT_CALLER, OPT_INPUT, OPT_HEADER,
	OPT_JSON, OPT_CPU, OPT_MEMORY, OPT_TIMES
};

static const struct option options[] = {
	{ "runtime", required_argument, NULL, OPT_RUNTIME },
	{ "modules", required_argument, NULL, OPT_MODULES },
	{ "method", required_argument, NULL, OPT_METHOD },
	{ "path", required_argument, NULL, OPT_PATH },
	{ "query", required_argument, NULL, OPT_QUERY },
	{ "url", required_argument, NULL, OPT_URL },
	{ "function", required_argument, NULL, OPT_FUNCTION },
	{ "body", required_argument, NULL, OPT_BODY },
	{ "ip", required_argument, NULL, OPT_IP },
	{ "contract", required_argument, NULL, OPT_CONTRACT },
	{ "meta", required_argument, NULL, OPT_META },
	{ "block", required_argument, NULL, OPT_BLOCK },
	{ "caller", required_argument, NULL, OPT_CALLER },
	{ "input", required_argument, NULL, OPT_INPUT },
	{ "header", required_argument, NULL, OPT_HEADER },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "cpu-seconds", required_argument, NULL, OPT_CPU },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "times", no_argument, NULL, OPT_TIMES },
	{ NULL, 0, NULL, 0 }
};

static void
usage(const char *what, const char *of)
{
	(void)fprintf(stderr, "tana-worker: %s%s%s; see tana-worker --help\n", what,
	    of != NULL ? ": " : "", of != NULL ? of : "");
	exit(TN_EXIT_USAGE);
}

static unsigned long
number(const char *s, const char *name, unsigned long max)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(s, &end, 10);
	if (*s < '0' || *s > '9' || *end != '\0' || errno != 0 || v == 0 || v > max)
		usage("not a sensible number", name);
	return v;
}

static void
add_header(struct tool *t, char *text)
{
	char *colon = strchr(text, ':');

	if (colon == NULL || t->nheaders + 2 > sizeof(t->headers) / sizeof(t->headers[0]))
		usage("a header is NAME: VALUE, and there are at most 64", text);
	*colon++ = '\0';
	colon += strspn(colon, " ");
	for (char *p = text; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	t->headers[t->nheaders++] = tn_str(text);
	t->headers[t->nheaders++] = tn_str(colon);
}

/* (The texts stay until the process ends.) */
static void
add_file(struct tool *t, char *arg)
{
	char *eq = strchr(arg, '=');
	struct tn_str *s = &t->source[t->nsource];
	size_t len;

	if (eq == NULL || eq == arg)
		usage("expected NAME=FILE", arg);
	if (t->nsource >= sizeof(t->source) / sizeof(t->source[0]))
		usage("too many files", NULL);
	*eq++ = '\0';
	s[0] = tn_str(arg);
	s[1].p = wk_runtime_slurp(eq, &len);
	s[1].len = len;
	if (s[1].p == NULL) {
		(void)fprintf(stderr, "tana-worker: %s: %s\n", eq, strerror(errno));
		exit(TN_EXIT_FAILURE);
	}
	t->nsource += 2;
}

static void
parse(struct tool *t, int argc, char **argv)
{
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case OPT_RUNTIME: t->runtime = optarg; break;
		case OPT_MODULES: t->modules = optarg; break;
		case OPT_METHOD: t->method = optarg; break;
		case OPT_PATH: t->path = optarg; break;
		case OPT_QUERY: t->query = optarg; break;
		case OPT_URL: t->url = optarg; break;
		case OPT_FUNCTION: t->function = optarg; break;
		case OPT_BODY: t->body = optarg; break;
		case OPT_IP: t->ip = optarg; break;
		case OPT_CONTRACT: t->contract = optarg; break;
		case OPT_META: t->meta = optarg; break;
		case OPT_BLOCK: t->block = optarg; break;
		case OPT_CALLER: t->caller = optarg; break;
		case OPT_INPUT: t->input = optarg; break;
		case OPT_HEADER: add_header(t, optarg); break;
		case OPT_JSON: break;
		case OPT_CPU: t->cpu_seconds = number(optarg, "--cpu-seconds", 3600); break;
		case OPT_MEMORY: t->memory = number(optarg, "--memory", 1024) << 20; break;
		case OPT_TIMES: t->times = true; break;
		case ':': usage("option needs an argument", argv[optind - 1]); break;
		default: usage("unknown option", argv[optind - 1]);
		}
	}
	for (; optind < argc; optind++)
		add_file(t, argv[optind]);
	if (t->nsource == 0)
		usage("no file given (NAME=FILE)", NULL);
	if (t->runtime != NULL) {
		const char *what;

		if (wk_runtime_read(t->runtime, t->modules != NULL ? t->modules : "node_modules",
		    &what) != 0) {
			(void)fprintf(stderr, "tana-worker: %s: %s\n", what, strerror(errno));
			exit(TN_EXIT_FAILURE);
		}
	}
}

static void
to_stderr(void *arg, enum tn_log_level level, struct tn_str text)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	(void)arg;
	(void)fprintf(stderr, "%s: %.*s\n", names[level], (int)text.len, text.p);
}

static void
limit(int what, rlim_t soft, rlim_t hard)
{
	struct rlimit rl = { soft, hard };

	(void)setrlimit(what, &rl);
}

static void
print_json(const char *key, struct tn_str s)
{
	struct tn_buf b = { 0 };

	tn_buf_json(&b, s);
	(void)printf("%s\"%.*s\"", key, (int)b.len, b.p != NULL ? b.p : "");
	tn_buf_fini(&b);
}

/* A heap in the arena, warm, or exit. */
static void
warm(struct tool *t, struct wk_trouble *trouble)
{
	uint8_t seed[WK_RANDOM_SEED_BYTES];

	(void)setenv("TZ", "UTC", 1);
	tzset();
	wk_duk_learn_stack();
	limit(RLIMIT_CORE, 0, 0);
	limit(RLIMIT_CPU, t->cpu_seconds, t->cpu_seconds + 2);
	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed) ||
	    wk_arena_reserve(t->memory) != 0 || wk_arena_map_anonymous() != 0 ||
	    wk_deadline_install(NULL) != 0) {
		(void)fprintf(stderr, "tana-worker: cannot set up the heap: %s\n", strerror(errno));
		exit(TN_EXIT_FAILURE);
	}
	wk_random_seed(seed, sizeof(seed));
	wk_host_set_sink(to_stderr, NULL);
	if (wk_heap_create(0, trouble) != 0) {
		(void)fprintf(stderr, "tana-worker: the runtime does not start: %s:%u: %s\n",
		    trouble->file, trouble->line, trouble->message);
		exit(TN_EXIT_FAILURE);
	}
	wk_heap_settle(WK_SETTLE_COMPACT);
}

/* Nothing is read any more, and the contract's code comes next. */
static void
shut_in(void)
{
	static char out[BUFSIZ];
	char err[POL_ERR_MAX];
	const char *lacks;

	/* A buffer that stdio takes for itself it would first ask the kernel about. */
	(void)setvbuf(stdout, out, _IOFBF, sizeof(out));
	if (pol_tool_enter(&lacks, err) != 0) {
		(void)fprintf(stderr, "tana-worker: cannot be shut in: %s\n", err);
		exit(TN_EXIT_SANDBOX);
	}
	if (lacks != NULL)
		(void)fprintf(stderr, "tana-worker: not shut in: %s\n", lacks);
}

static int
report(const struct tool *t, int rc, const struct wk_exports *e, const struct wk_trouble *trouble)
{
	if (rc == 0) {
		(void)printf("{\"ok\":true,\"exports\":[");
		for (size_t i = 0; i < e->n; i++)
			print_json(i > 0 ? "," : "", tn_str(e->names[i]));
		(void)printf("],\"bytes\":%zu}\n", wk_arena_used());
		return TN_EXIT_OK;
	}
	(void)printf("{\"ok\":false,");
	if (trouble->file[0] != '\0') {
		print_json("\"file\":", tn_str(trouble->file));
		(void)printf(",");
	}
	if (trouble->line != 0)
		(void)printf("\"line\":%u,", trouble->line);
	if (trouble->fault == TN_FAULT_DEADLINE) {
		char text[80];

		(void)snprintf(text, sizeof(text),
		    "the module level ran for more than %lu seconds of CPU time", t->cpu_seconds);
		print_json("\"error\":", tn_str(text));
	} else if (trouble->fault == TN_FAULT_MEMORY) {
		print_json("\"error\":", tn_str("the module level used more memory than it may"));
	} else {
		print_json("\"error\":", tn_str(trouble->error));
	}
	print_json(",\"stack\":", tn_str(trouble->message));
	(void)printf("}\n");
	return TN_EXIT_FAILURE;
}

int
wk_tool_check(int argc, char **argv)
{
	/* Static, as what it holds lives as long as the process. */
	static struct tool t = { .contract = "check", .cpu_seconds = CPU_SECONDS,
	    .memory = ARENA_DEFAULT };
	static struct wk_trouble trouble;
	struct wk_exports e = { .n = 0 };
	uint64_t compile_us, module_us;
	int rc;

	parse(&t, argc, argv);
	warm(&t, &trouble);
	shut_in();
	rc = wk_heap_load(tn_str(t.contract), tn_str(t.meta),
	    (struct tn_strv){ t.source, t.nsource }, &compile_us, &module_us, &trouble);
	if (rc == 0)
		rc = wk_heap_exports(&e, &trouble);
	if (rc == 0)
		wk_heap_settle(WK_SETTLE_COMPACT);
	return report(&t, rc, &e, &trouble);
}

static int
wait_here(void *arg, uint64_t ms, struct tn_frame_operated *a)
{
	struct timespec ts = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	(void)arg;
	(void)a;
	if (nanosleep(&ts, NULL) != 0 || wk_deadline_passed())
		return TN_ETIMEOUT;
	return 0;
}

static const char *
choose_function(const struct tool *t, const struct wk_exports *e)
{
	const char *want = strcmp(t->method, "GET") == 0 || strcmp(t->method, "HEAD") == 0 ? "get" :
	    "post";

	for (size_t i = 0; i < e->n; i++)
		if (strcmp(e->names[i], "fetch") == 0)
			return "fetch";
	return want;
}

int
wk_tool_run(int argc, char **argv)
{
	static struct tool t = {
		.method = "GET", .path = "/", .query = "", .ip = "127.0.0.1", .contract = "run",
		.cpu_seconds = CPU_SECONDS, .memory = ARENA_DEFAULT
	};
	static struct wk_result r;
	static struct wk_trouble trouble;
	struct wk_exports e = { .n = 0 };
	struct wk_request q;
	struct tn_buf text = { 0 }, url = { 0 };
	size_t bytes = 16u << 20;
	uint64_t compile_us, module_us;
	char *memory;
	int rc;

	parse(&t, argc, argv);
	warm(&t, &trouble);
	shut_in();
	rc = wk_heap_load(tn_str(t.contract), tn_str(t.meta),
	    (struct tn_strv){ t.source, t.nsource }, &compile_us, &module_us, &trouble);
	if (rc == 0)
		rc = wk_heap_exports(&e, &trouble);
	if (rc != 0)
		return report(&t, rc, &e, &trouble);
	wk_heap_settle(WK_SETTLE_COMPACT);

	memory = malloc(bytes);
	if (memory == NULL)
		return TN_EXIT_FAILURE;
	tn_buf_init_fixed(&text, memory, bytes);
	tn_buf_printf(&url, "http://localhost:8180%s%s%s", t.path, t.query[0] ? "?" : "", t.query);
	q = (struct wk_request){
		.contract = tn_str(t.contract),
		.function = tn_str(t.function != NULL ? t.function : choose_function(&t, &e)),
		.method = tn_str(t.method), .path = tn_str(t.path), .query = tn_str(t.query),
		.url = t.url != NULL ? tn_str(t.url) : (struct tn_str){ url.p, url.len },
		.headers = { t.headers, t.nheaders }, .body = tn_str(t.body),
		.has_body = t.body != NULL, .ip = tn_str(t.ip), .meta = tn_str(t.meta),
		.block = tn_str(t.block), .caller = tn_str(t.caller), .input = tn_str(t.input),
		.now = tn_clock_wall_ms()
	};
	(void)wk_heap_request(&q, wait_here, NULL, 12u << 20, &text, &r);
	if (r.fault != TN_FAULT_NONE) {
		const struct tn_fault_info *info = tn_fault_info(r.fault);

		(void)printf("{\"fault\":\"%s\",\"status\":%d", info->name, info->status);
		print_json(",\"message\":", r.message);
	} else {
		(void)printf("{\"status\":%u,\"headers\":[", r.status);
		for (size_t i = 0; i < r.nheaders; i += 2) {
			print_json(i > 0 ? ",[" : "[", r.headers[i]);
			print_json(",", r.headers[i + 1]);
			(void)printf("]");
		}
		print_json("],\"body\":", r.body);
	}
	if (t.times)
		(void)printf(",\"compile_us\":%lu,\"module_us\":%lu,\"bootstrap_us\":%lu,"
		    "\"execution_us\":%lu,\"result_us\":%lu,\"bytes\":%zu",
		    (unsigned long)compile_us, (unsigned long)module_us,
		    (unsigned long)r.bootstrap_us, (unsigned long)r.execution_us,
		    (unsigned long)r.result_us, wk_arena_used());
	(void)printf("}\n");
	tn_buf_fini(&url);
	free(memory);
	return r.fault == TN_FAULT_NONE ? TN_EXIT_OK : TN_EXIT_FAILURE;
}
