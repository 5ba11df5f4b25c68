#include "tests/kernels/peak.h"

#if defined(UC_ISA_avx512)
enum { CHAINS = 16 };
#else
enum { CHAINS = 6 }; /* of two registers */
#endif

double FN(peak)(size_t rounds)
{
    static volatile float sink;
    v16 acc[CHAINS], mul = v16_set1(0.999f), add = v16_set1(0.001f), all = v16_zero();

    V_UNROLL
    for (int c = 0; c < CHAINS; c++)
        acc[c] = v16_set1((float)c);
    for (size_t i = 0; i < rounds; i++) {
        V_UNROLL
        for (int c = 0; c < CHAINS; c++)
            acc[c] = v16_fma(acc[c], mul, add);
    }
    V_UNROLL
    for (int c = 0; c < CHAINS; c++)
        all = v16_add(all, acc[c]);
    sink = v16_sum(all);
    (void)sink;
    return CHAINS * 16 * 2;
}
