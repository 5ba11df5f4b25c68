/* What gemm.c and gemm_body.h share: the job and how outputs are cut into items. */
#ifndef UC_KERNELS_GEMM_IMPL_H
#define UC_KERNELS_GEMM_IMPL_H

#include <stddef.h>

#include "kernels/kern.h"

/*
 * An item is GEMM_ROWS x GEMM_COLS outputs. Within it k is cut into at most GEMM_DEPTH steps whose
 * unfinished sums rest in y: fp32 there and in registers, so the chain does not notice. One depth
 * of packed columns (GEMM_COLS * GEMM_DEPTH floats) and of x rows stays in the L2 cache.
 * GEMM_ROWS is a multiple of every variant's TILE_M.
 */
enum { GEMM_ROWS = 168, GEMM_COLS = 256, GEMM_DEPTH = 384 };

struct gemm_args {
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx;
    const float *packed; /* panel j: k rows of 16 outputs 16 j .. 16 j + 15, missing ones 0 */
    size_t n_tok, n, k;
    size_t row_blocks; /* item = column block * row_blocks + row block */
};

typedef void uc_gemm_item_fn(const struct gemm_args *g, size_t item);
UC_KERN_DECLARE(uc_gemm_item_fn, uc_gemm_item)

#endif
