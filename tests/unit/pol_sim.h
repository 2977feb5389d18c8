/*
 * pol_sim.h - run a seccomp program as the kernel would, without the kernel.
 */
#ifndef POL_SIM_H
#define POL_SIM_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* The action (SECCOMP_RET_...); 0xdeadbeef: not a program the kernel would take. */
#define POL_SIM_BROKEN	0xdeadbeefu
uint32_t pol_sim(const struct sock_filter *code, size_t n, const struct seccomp_data *d);

#endif
