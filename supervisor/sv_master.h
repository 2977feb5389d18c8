/*
 * sv_master.h - the master: keeps the privilege it was started with, and what
 * must be done with it.
 *
 * It takes the lock of run_dir, binds the sockets, starts the shards (sv_shard.h: a
 * front each, zygotes and the compile helper), ends them, and starts a front again
 * when it crashed.  It parses nothing that comes from outside, and believes a front in
 * nothing but the requests of sv_proto.h, each of them bounded.
 */
#ifndef SV_MASTER_H
#define SV_MASTER_H

#include "sv_config.h"
#include "sv_daemon.h"

/*
 * Run until the end; returns the exit code.  Takes *opt.  What goes wrong before
 * the server serves is said on standard error too, wherever the log goes.
 */
enum tn_exit sv_master_run(const struct sv_config *cfg, struct tn_options **opt,
    struct sv_daemon *daemon);

#endif
