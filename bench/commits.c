/*
 * commits DIRECTORY WRITERS SECONDS [NAME=VALUE ...] - durable commits a second, by so many
 * writers that each wait for one before they begin the next, at the storage's interface:
 * what the disk and the database take, without the requests around them.  Prints one line:
 * commits a second, and commits a sync.  (bench/data runs it.)
 */
#include "config.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sv_lmdb.h"
#include "sv_stats.h"
#include "tn_clock.h"
#include "tn_err.h"
#include "tn_log.h"
#include "tn_operation.h"
#include "tn_options.h"

static struct event_base *base;
static struct sv_storage *storage;
static struct sv_stats stats;
static uint64_t end_us, done, turn;
static unsigned waiting;

static void begin(void);

static void
on_done(void *arg, struct sv_storage_commit *c)
{
	(void)arg;
	if (c->err != 0)
		tn_fatal(TN_EXIT_FAILURE, "%s", c->text);
	sv_storage_commit_free(&c);
	done++;
	waiting--;
	if (tn_clock_us() < end_us)
		begin();
	else if (waiting == 0)
		event_base_loopbreak(base);
}

/* A key of a contract of its own, as those of different contracts do. */
static void
begin(void)
{
	char contract[32], value[32], text[SV_STORAGE_TEXT_MAX] = "";
	struct tn_buf b = { 0 };
	struct sv_storage_commit *c;
	int rc;

	(void)snprintf(contract, sizeof(contract), "c%" PRIu64, turn % 100);
	(void)snprintf(value, sizeof(value), "j%" PRIu64, turn++);
	tn_operation_put(&b, TN_STR("s"));
	tn_operation_put(&b, TN_STR("visits"));
	tn_operation_put(&b, tn_str(value));
	c = sv_storage_commit_parse(contract, (struct tn_str){ b.p, b.len }, &rc, text);
	if (c == NULL)
		tn_fatal(TN_EXIT_FAILURE, "a commit cannot be made: %s %s", tn_strerror(rc), text);
	tn_buf_fini(&b);
	c->done = on_done;
	waiting++;
	sv_storage_commit(storage, &c);
}

int
main(int argc, char **argv)
{
	struct tn_options *opt = tn_options_new();
	struct tn_buf err = { 0 };
	uint64_t begun;
	double seconds;
	int i, writers;

	tn_log_open("commits", 2, TN_LOG_ERROR, TN_LOG_TEXT);
	if (argc < 4 || (writers = atoi(argv[2])) < 1 || (seconds = atof(argv[3])) <= 0)
		tn_fatal(TN_EXIT_USAGE, "usage: commits DIRECTORY WRITERS SECONDS [NAME=VALUE ...]");
	for (i = 4; i < argc; i++)
		if (tn_options_set(opt, argv[i], &err) != 0)
			tn_fatal(TN_EXIT_CONFIG, "%.*s", (int)err.len, err.p);
	base = event_base_new();
	sv_stats_init(&stats);
	storage = sv_lmdb_open(base, argv[1], opt, &stats);
	if (storage == NULL)
		tn_fatal(TN_EXIT_FAILURE, "the storage cannot be opened");
	begun = tn_clock_us();
	end_us = begun + (uint64_t)(seconds * 1e6);
	for (i = 0; i < writers; i++)
		begin();
	(void)event_base_dispatch(base);
	(void)printf("%.0f %.1f\n", (double)done * 1e6 / (double)(tn_clock_us() - begun),
	    stats.storage_syncs > 0 ? (double)done / (double)stats.storage_syncs : 0);
	sv_storage_close(&storage);
	tn_options_free(&opt);
	return 0;
}
