/*
 * fuzz.h - what a fuzz target offers to libFuzzer, or to replay.c.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input; assert() goes away with NDEBUG. */
#define FUZZ_HOLDS(cond)							\
	do {									\
		if (!(cond)) {							\
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__,	\
			    __LINE__, #cond);					\
			abort();						\
		}								\
	} while (0)

#endif
