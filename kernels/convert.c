#include "kernels/convert.h"

#include <string.h>

#include "kernels/convert_impl.h"

UC_KERN(uc_convert_widen_fn, uc_convert_widen)
UC_KERN(uc_convert_narrow_fn, uc_convert_narrow)

void uc_bf16_to_f32(float *y, const uint16_t *x, size_t n)
{
    uc_convert_widen_pick()(y, x, n, 0);
}

void uc_f32_to_bf16(uint16_t *y, const float *x, size_t n)
{
    uc_convert_narrow_pick()(y, x, n, 0);
}

void uc_f16_to_f32(float *y, const uint16_t *x, size_t n)
{
    uc_convert_widen_pick()(y, x, n, 1);
}

void uc_f32_to_f16(uint16_t *y, const float *x, size_t n)
{
    uc_convert_narrow_pick()(y, x, n, 1);
}

int uc_to_f32(float *y, const void *x, enum uc_dtype dtype, size_t n)
{
    switch (dtype) {
    case UC_DTYPE_F32:
        memcpy(y, x, n * sizeof(*y));
        return 0;
    case UC_DTYPE_BF16:
        uc_bf16_to_f32(y, x, n);
        return 0;
    case UC_DTYPE_F16:
        uc_f16_to_f32(y, x, n);
        return 0;
    default:
        return -1;
    }
}
