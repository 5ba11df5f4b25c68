/* exp and log over arrays. */
#include "kernels/fmath_impl.h"
#include "kernels/vec_fmath.h"

void FN(uc_expf_run)(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        v16_store(y + i, v16_exp(v16_load(x + i)));
    if (i < n)
        v16_store_n(y + i, v16_exp(v16_load_n(x + i, n - i)), n - i);
}

void FN(uc_logf_run)(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        v16_store(y + i, v16_log(v16_load(x + i)));
    if (i < n)
        v16_store_n(y + i, v16_log(v16_load_n(x + i, n - i)), n - i);
}
