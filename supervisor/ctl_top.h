/*
 * ctl_top.h - tana-ctl top: what the server does now, as a live screen.
 */
#ifndef CTL_TOP_H
#define CTL_TOP_H

#include <stdbool.h>

struct tn_rpc_client;

struct ctl_top_options {
	double	interval;		/* seconds between two looks */
	bool	once;			/* print one screen as text; no terminal is needed */
};

/*
 * Until `q`, a signal, or the server's end; the terminal is as it was then.  Returns the
 * exit code, and has said what is wrong.
 */
int ctl_top(struct tn_rpc_client *client, const struct ctl_top_options *o);

#endif
