/*
 * sv_memory.c - how much memory a process has.
 */
#include "config.h"

#include "sv_memory.h"

#include <stdio.h>
#include <unistd.h>

void
sv_memory_of(pid_t pid, uint64_t *private_bytes, uint64_t *shared_bytes)
{
	unsigned long long size, resident, shared;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char path[64];
	FILE *f;

	*private_bytes = *shared_bytes = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if (pid <= 0 || (f = fopen(path, "re")) == NULL)
		return;
	if (fscanf(f, "%llu %llu %llu", &size, &resident, &shared) == 3 && resident >= shared) {
		*private_bytes = (resident - shared) * page;
		*shared_bytes = shared * page;
	}
	(void)fclose(f);
}
