/* The fp32 fma rate that one core reaches in registers, per instruction set. */
#ifndef UC_TESTS_KERNELS_PEAK_H
#define UC_TESTS_KERNELS_PEAK_H

#include <stddef.h>

/* Runs `rounds` rounds of independent fma chains and returns the operations of one round. */
typedef double peak_fn(size_t rounds);
extern peak_fn peak_c, peak_avx2, peak_avx512;
peak_fn *peak_of(int variant);

#endif
