/* 16 values at a time; the tail goes through a padded copy, so that both take the same path. */
#include "kernels/convert_impl.h"

void FN(uc_convert_widen)(float *y, const uint16_t *x, size_t n, int half)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        v16_store(y + i, half ? v16_load_f16(x + i) : v16_load_bf16(x + i));
    if (i < n) {
        uint16_t tail[16] = {0};
        memcpy(tail, x + i, (n - i) * sizeof(*x));
        v16_store_n(y + i, half ? v16_load_f16(tail) : v16_load_bf16(tail), n - i);
    }
}

void FN(uc_convert_narrow)(uint16_t *y, const float *x, size_t n, int half)
{
    uint16_t tail[16];
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        if (half)
            v16_store_f16(y + i, v16_load(x + i));
        else
            v16_store_bf16(y + i, v16_load(x + i));
    if (i < n) {
        if (half)
            v16_store_f16(tail, v16_load_n(x + i, n - i));
        else
            v16_store_bf16(tail, v16_load_n(x + i, n - i));
        memcpy(y + i, tail, (n - i) * sizeof(*y));
    }
}
