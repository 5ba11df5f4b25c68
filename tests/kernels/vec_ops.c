#include "tests/kernels/vec_ops.h"

vec_op_fn *vec_op_of(int variant)
{
    switch (variant) {
#ifdef UC_KERN_HAVE_AVX2
    case 1:
        return vec_op_avx2;
#endif
#ifdef UC_KERN_HAVE_AVX512
    case 2:
        return vec_op_avx512;
#endif
    default:
        return vec_op_c;
    }
}
