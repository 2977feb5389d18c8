/*
 * sv_proto.h - messages between master and front: fixed structs over one
 * SOCK_SEQPACKET socket, some with descriptors.
 *
 * The master believes the front in nothing but these requests, and each is
 * bounded: the front can at worst make it restart zygotes, have the program on the disk
 * take over, or end the server.  With several shards (sv_shards.h) each has a front, and
 * only the first one's may ask for what concerns the server.
 */
#ifndef SV_PROTO_H
#define SV_PROTO_H

#include <stdint.h>

/*
 * The hidden first argument of this program: be the front.  A second one is for who looks
 * at processes: the shard's number, if there are several.
 */
#define SV_FRONT_ARG	"--front"
#define SV_FRONT_FD	3		/* the front's end, after exec */
#define SV_PROTO_MAGIC	0x74656d31u

enum sv_msg_type {
	/* master -> front */
	SV_MSG_START = 1,	/* the first; fds: configuration (memfd, as --dump-options prints),
				   contracts directory, control socket (listening; /dev/null: it is
				   another shard's), state directory, client socket (listening);
				   fd 2 is the log already unless `log` is syslog; arg = 1: get
				   ready, but accept nothing before SERVE */
	SV_MSG_LISTEN,		/* fd: a listening HTTP socket; arg = its number; after LISTEN_END:
				   another shard's, which is not there to accept on it */
	SV_MSG_LISTEN_END,	/* all were sent: begin */
	SV_MSG_ZYGOTE,		/* fds: channel (tn_zygote.h), pidfd; arg = generation; status != 0:
				   failed, errno, no fds */
	SV_MSG_ZYGOTE_DEAD,	/* arg = generation, status as of waitpid */
	SV_MSG_COMPILER,	/* fd: stream socket; status != 0: failed, errno, no fd */
	SV_MSG_COMPILER_DEAD,	/* status as of waitpid (not sent: its socket's end says it) */
	SV_MSG_CONFIG,		/* fd: the new configuration (SIGHUP), to apply as
				   tn_options_reload says; re-read contracts too; a second fd: the
				   names of options that stay as they were until a restart.
				   status != 0: it stays; fd, if any: a text that says why */
	SV_MSG_LOG,		/* fd: the log file, opened again */
	SV_MSG_DRAIN,		/* finish what is in progress, exit 0; arg = SV_DRAIN_RETIRE:
				   another server accepts now, so idle connections may have one
				   more request; may be followed by one without it */
	SV_MSG_LISTEN_METRICS,	/* as LISTEN, of `metrics_listen` */
	SV_MSG_SERVE,		/* after START with arg 1, once READY was said: begin to accept */
	SV_MSG_UPGRADE,		/* arg = pid of the server that has taken over; status != 0: none
				   has, fd: a text that says why */
	SV_MSG_SHARD,		/* after START, if there are several: arg = this one's number,
				   status = how many shards there are */
	SV_MSG_UNLISTEN,	/* arg = number of a socket that came after LISTEN_END: the shard
				   whose it is is there again */
	SV_MSG_PEER,		/* fd: a stream to shard arg; to the first one: it asks there, to
				   others, as from a client of the control socket: it is asked */
	/* front -> master */
	SV_MSG_READY = 64,	/* workers_min workers are ready, listening */
	SV_MSG_WANT_ZYGOTE,	/* start generation arg */
	SV_MSG_KILL_ZYGOTE,	/* SIGKILL generation arg: it does not react */
	SV_MSG_WANT_COMPILER,	/* start the compiler helper (at most one lives) */
	SV_MSG_KILL_COMPILER,	/* it overran its time */
	SV_MSG_WANT_RELOAD,	/* as SIGHUP (tana-ctl reload); CONFIG answers, when all have it */
	SV_MSG_WANT_DRAIN,	/* as SIGTERM (tana-ctl drain, stop) */
	SV_MSG_WANT_UPGRADE,	/* as SIGUSR2 (tana-ctl upgrade); UPGRADE answers */
	SV_MSG_CONFIG_DONE	/* CONFIG is in force, or not, as far as the front is concerned */
};

#define SV_DRAIN_RETIRE	1u

struct sv_msg {
	uint32_t	magic;
	uint32_t	type;
	uint64_t	arg;
	int32_t		status;
	uint32_t	pad;
};

#endif
