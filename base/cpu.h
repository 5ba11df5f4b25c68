/* Instruction sets that both the processor and the operating system support, and the mask that
 * tests and users set: UC_CPU=c|avx2|avx512 caps what the kernel tables may choose. */
#ifndef UC_BASE_CPU_H
#define UC_BASE_CPU_H

enum { UC_CPU_AVX2 = 1u << 0, UC_CPU_AVX512 = 1u << 1 };

/* AVX2 means AVX2 + FMA + F16C; AVX512 means F + BW + DQ + VL as well. Masked by UC_CPU. */
unsigned uc_cpu_flags(void);
/* What the machine has, not masked. */
unsigned uc_cpu_flags_raw(void);
/* For tests: replaces the mask (~0u for no mask). Takes effect at the next uc_cpu_flags(). */
void uc_cpu_set_mask(unsigned mask);
/* "avx512", "avx2" or "c": the best level in flags. */
const char *uc_cpu_name(unsigned flags);
/* Processors this process may run on (the affinity mask), at least 1. */
int uc_cpu_count(void);

#endif
