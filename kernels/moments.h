/*
 * s += x^T x, second moments of activations: the calibration Hessian without its factor 2.
 */
#ifndef UC_KERNELS_MOMENTS_H
#define UC_KERNELS_MOMENTS_H

#include <stddef.h>

#include "base/pool.h"

/*
 * s [n, n] f64 row-major, lower triangle (j <= i) read and written, the rest untouched.
 * x [n_tok, n] f32, row stride ldx elements. Tokens are taken in chunks of 256 from the first row
 * of this call; a chunk's sum is one fp32 fma chain per entry (tokens ascending), then added to s
 * in fp64, chunk after chunk. So a caller that feeds a shard in pieces must cut at multiples of
 * 256. Exactness: E. Threads: partitions entries of s. Source: GPTQ, Frantar et al. 2022.
 */
void uc_moments_add(double *s, size_t n, const float *x, size_t ldx, size_t n_tok,
                    struct uc_pool *pool);

#endif
