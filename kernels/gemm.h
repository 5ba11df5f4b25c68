/*
 * y = x w^T in fp32, every output one chain acc = fma(x[t][i], w[o][i], acc), i ascending from 0.
 * Exactness: E (same bits for every variant, blocking and thread count).
 */
#ifndef UC_KERNELS_GEMM_H
#define UC_KERNELS_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/pool.h"

/* Floats that w [n, k] needs when packed into panels. */
size_t uc_gemm_packed_len(size_t n, size_t k);
/*
 * Packs w into panels for uc_gemm. dtype is F32, BF16 or F16, row stride ldw elements.
 * transposed false: w is [n, k].  transposed true: w is stored [k, n] (for dx = dy w).
 * packed: uc_gemm_packed_len floats, 64-byte aligned.
 */
void uc_gemm_pack(float *packed, const void *w, enum uc_dtype dtype, size_t n, size_t k, size_t ldw,
                  bool transposed);
/*
 * y [n_tok, n] stride ldy, x [n_tok, k] stride ldx (elements), w packed.
 * y, x and packed do not overlap. Threads: partitions outputs over pool (NULL: caller only).
 */
void uc_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *packed, size_t n_tok,
             size_t n, size_t k, struct uc_pool *pool);

#endif
