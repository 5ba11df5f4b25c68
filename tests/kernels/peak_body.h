#include "tests/kernels/peak.h"

#if defined(UC_ISA_avx512)
enum { CHAINS = 16 };
#else
enum { CHAINS = 6 }; /* of two registers */
#endif

double FN(peak)(size_t rounds)
{
    static volatile float sink;
    static float start[CHAINS + 16];
    v16 acc[CHAINS], mul = v16_set1(0.999f), add = v16_set1(0.001f), all = v16_zero();

    for (int i = 0; i < CHAINS + 16; i++)
        start[i] = (float)i;
    V_UNROLL
    for (int c = 0; c < CHAINS; c++)
        acc[c] = v16_load(start + c); /* different everywhere, or the compiler does less */
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
