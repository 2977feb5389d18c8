#include "config.h"

#include "pol_sim.h"

#include <stdbool.h>
#include <string.h>

/* What seccomp_check_filter() and bpf_check_classic() let through, and no more. */
uint32_t
pol_sim(const struct sock_filter *code, size_t n, const struct seccomp_data *d)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };
	bool take;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &code[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (i->k % 4 != 0 || i->k >= sizeof(*d))
				return POL_SIM_BROKEN;
			memcpy(&a, (const char *)d + i->k, sizeof(a));
			continue;
		case BPF_LD | BPF_IMM:
			a = i->k;
			continue;
		case BPF_LD | BPF_MEM:
			if (i->k >= BPF_MEMWORDS)
				return POL_SIM_BROKEN;
			a = mem[i->k];
			continue;
		case BPF_ST:
			if (i->k >= BPF_MEMWORDS)
				return POL_SIM_BROKEN;
			mem[i->k] = a;
			continue;
		case BPF_MISC | BPF_TAX:
			x = a;
			continue;
		case BPF_MISC | BPF_TXA:
			a = x;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_ALU | BPF_OR | BPF_K:
			a |= i->k;
			continue;
		case BPF_JMP | BPF_JA:
			if (i->k >= n - pc)
				return POL_SIM_BROKEN;
			pc += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			take = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			take = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			take = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			take = (a & i->k) != 0;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_RET | BPF_A:
			return a;
		default:
			return POL_SIM_BROKEN;
		}
		pc += take ? i->jt : i->jf;
	}
	return POL_SIM_BROKEN;
}
