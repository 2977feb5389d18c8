/*
 * sv_gossip.h - what a child says on its standard error: each line becomes one
 * log record of ours, escaped, as a value; at most so many a second.
 *
 * The child cannot be made to wait: what does not fit into the pipe is lost to it.
 */
#ifndef SV_GOSSIP_H
#define SV_GOSSIP_H

struct sv_gossip;

/* *child_fd is set to the child's end (the caller's to close). NULL: no memory, no descriptors. */
struct sv_gossip *sv_gossip_new(const char *who, int *child_fd);
void sv_gossip_free(struct sv_gossip **g);

int sv_gossip_fd(const struct sv_gossip *g);
/* It is readable: take a bounded amount. 0, or TN_ECLOSED when nobody can write any more. */
int sv_gossip_read(struct sv_gossip *g);

#endif
