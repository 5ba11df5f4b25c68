/* What convert.c and convert_body.h share. half: the 16-bit type is f16, otherwise bf16. */
#ifndef UC_KERNELS_CONVERT_IMPL_H
#define UC_KERNELS_CONVERT_IMPL_H

#include <stdint.h>

#include "kernels/kern.h"

typedef void uc_convert_widen_fn(float *y, const uint16_t *x, size_t n, int half);
typedef void uc_convert_narrow_fn(uint16_t *y, const float *x, size_t n, int half);
UC_KERN_DECLARE(uc_convert_widen_fn, uc_convert_widen)
UC_KERN_DECLARE(uc_convert_narrow_fn, uc_convert_narrow)

#endif
