#include "tests/kernels/peak.h"

peak_fn *peak_of(int variant)
{
    switch (variant) {
#ifdef UC_KERN_HAVE_AVX2
    case 1:
        return peak_avx2;
#endif
#ifdef UC_KERN_HAVE_AVX512
    case 2:
        return peak_avx512;
#endif
    default:
        return peak_c;
    }
}
