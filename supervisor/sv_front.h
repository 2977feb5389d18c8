/*
 * sv_front.h - the process that reads the network (sv_proto.h: its messages).
 */
#ifndef SV_FRONT_H
#define SV_FRONT_H

/*
 * Run the front until it is told to end; returns the exit status.  master_fd:
 * its end of the socket to the master.  One a process.
 */
int sv_front_main(int master_fd);

#endif
