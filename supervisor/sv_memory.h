/*
 * sv_memory.h - how much memory a process has.
 */
#ifndef SV_MEMORY_H
#define SV_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Resident memory of a process in bytes: anonymous, hence its own alone (what it still
 * has in common with who forked it included, until either writes), and of files, which
 * all have in common.  From /proc/PID/statm, which anybody may read.  Both are 0 when
 * the process is gone.
 */
void sv_memory_of(pid_t pid, uint64_t *private_bytes, uint64_t *shared_bytes);

#endif
