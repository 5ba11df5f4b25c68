/* What fmath.c and fmath_body.h share. */
#ifndef UC_KERNELS_FMATH_IMPL_H
#define UC_KERNELS_FMATH_IMPL_H

#include <stddef.h>

#include "kernels/kern.h"

typedef void uc_fmath_run_fn(float *y, const float *x, size_t n);
UC_KERN_DECLARE(uc_fmath_run_fn, uc_expf_run)
UC_KERN_DECLARE(uc_fmath_run_fn, uc_logf_run)

#endif
