/*
 * sv_inherit.h - the descriptors that this process was started with.
 *
 * Two may hand some over, both from number 3 on:
 *
 *	the server that is to be taken over (sv_upgrade.h): TANA_INHERIT="PID WORD..."
 *		has a word for each descriptor, one of SV_INHERIT_...
 *	systemd, or who does as it: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, as
 *		sd_listen_fds(3) says
 *
 * PID is ours, or the variables are meant for somebody else.  Which socket is which
 * is not believed but asked of the kernel: it is what it is bound to.  What came is
 * the process's own, as its environment is: there is one table, and no object.
 */
#ifndef SV_INHERIT_H
#define SV_INHERIT_H

#include <stdbool.h>

#include "tn_str.h"

struct sv_address;

#define SV_INHERIT_FD	3
#define SV_INHERIT_MAX	1024
#define SV_INHERIT_VAR	"TANA_INHERIT"

/* The words. */
#define SV_INHERIT_CHANNEL	"channel"	/* to the one before (sv_upgrade.h) */
#define SV_INHERIT_PIDFILE	"pidfile"	/* the next pid file, locked */
#define SV_INHERIT_LOCK		"lock"		/* the present one: keeps its lock alive */
#define SV_INHERIT_SOCKET	"socket"	/* listening, bound by a server */
#define SV_INHERIT_ACTIVATED	"activated"	/* the same, by systemd: its path is not ours */

/*
 * Read the variables and unset them; take hold of the descriptors.  TN_EINVAL: they
 * are not what they are said to be, err says which.
 */
int sv_inherit_begin(struct tn_buf *err);
/* Is this process to take over from another? */
bool sv_inherit_upgrade(void);

/* The caller's then; -1: there is none. */
int sv_inherit_take(const char *word);
/*
 * The listening socket that is bound to the address, the caller's then; -1: there is
 * none.  A port of 0 is any port of the server before.  *activated: systemd's.
 */
int sv_inherit_socket(const struct sv_address *a, bool *activated);

/* Sockets of systemd's that nobody took: how many; their names and addresses. */
size_t sv_inherit_unwanted(struct tn_buf *names);
/*
 * Close what is left.  `ours`: we have taken over; paths of the server before that
 * we do not listen on are removed.
 */
void sv_inherit_end(bool ours);

#endif
