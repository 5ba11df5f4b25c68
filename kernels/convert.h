/* Conversions between storage types and fp32. Exactness: E; rounding to nearest even; a NaN stays
 * a NaN (quieted). Denormals are kept. */
#ifndef UC_KERNELS_CONVERT_H
#define UC_KERNELS_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

void uc_bf16_to_f32(float *y, const uint16_t *x, size_t n);
void uc_f32_to_bf16(uint16_t *y, const float *x, size_t n);
void uc_f16_to_f32(float *y, const uint16_t *x, size_t n);
void uc_f32_to_f16(uint16_t *y, const float *x, size_t n);
/* Any of F32, BF16, F16; returns -1 for other types. */
int uc_to_f32(float *y, const void *x, enum uc_dtype dtype, size_t n);

#endif
