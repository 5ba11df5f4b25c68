/* What block.c and block_body.h share. Rows are contiguous. */
#ifndef UC_KERNELS_BLOCK_IMPL_H
#define UC_KERNELS_BLOCK_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kern.h"

typedef void uc_rmsnorm_fn(float *y, float *r, const float *x, const float *w, size_t n_tok,
                           size_t n, float eps);
typedef void uc_rmsnorm_bwd_fn(float *dx, const float *dy, const float *x, const float *w,
                               const float *r, size_t n_tok, size_t n);
/* half = head_dim / 2; sign +1 rotates forward, -1 back. */
typedef void uc_rope_fn(float *x, const float *cos_t, const float *sin_t, const uint32_t *pos,
                        size_t n_tok, size_t n_head, size_t half, float sign);
typedef void uc_silu_mul_fn(float *y, const float *g, const float *u, size_t n);
typedef void uc_silu_mul_bwd_fn(float *dg, float *du, const float *dy, const float *g,
                                const float *u, size_t n);
typedef void uc_add_fn(float *y, const float *x, size_t n);
typedef void uc_squares_fn(float *out, double *col, const float *x, size_t n_tok, size_t n);
typedef void uc_scale_rows_fn(float *y, const float *x, const float *s, size_t n_tok, size_t n);

UC_KERN_DECLARE(uc_rmsnorm_fn, uc_rmsnorm_rows)
UC_KERN_DECLARE(uc_rmsnorm_bwd_fn, uc_rmsnorm_bwd_rows)
UC_KERN_DECLARE(uc_rope_fn, uc_rope_rows)
UC_KERN_DECLARE(uc_silu_mul_fn, uc_silu_mul_run)
UC_KERN_DECLARE(uc_silu_mul_bwd_fn, uc_silu_mul_bwd_run)
UC_KERN_DECLARE(uc_add_fn, uc_add_run)
UC_KERN_DECLARE(uc_squares_fn, uc_squares_run)
UC_KERN_DECLARE(uc_scale_rows_fn, uc_scale_rows_run)

#endif
