/* What moments.c and moments_body.h share: the job and how entries are cut into items. */
#ifndef UC_KERNELS_MOMENTS_IMPL_H
#define UC_KERNELS_MOMENTS_IMPL_H

#include <stddef.h>

#include "kernels/kern.h"

/*
 * An item is MOMENTS_ROWS x MOMENTS_COLS entries of s for all chunks of tokens: its part of s and
 * the packed columns of one chunk fit in the L2 cache together. Items above the diagonal are empty.
 * MOMENTS_ROWS is a multiple of every variant's TILE_M.
 */
enum { MOMENTS_ROWS = 168, MOMENTS_COLS = 192, MOMENTS_CHUNK = 256 };

struct moments_args {
    double *s;
    size_t n;
    const float *x;
    size_t ldx, n_tok;
    size_t col_blocks; /* item = row block * col_blocks + column block */
};

typedef void uc_moments_item_fn(const struct moments_args *m, size_t item);
UC_KERN_DECLARE(uc_moments_item_fn, uc_moments_item)

#endif
