/* What linalg.c and linalg_body.h share: the steps of one block column of the Cholesky factor. */
#ifndef UC_KERNELS_LINALG_IMPL_H
#define UC_KERNELS_LINALG_IMPL_H

#include <stddef.h>

#include "kernels/kern.h"

/*
 * Block columns of CHOL_BLOCK. Per block: the diagonal block is factored, the rows below are solved
 * against it (CHOL_STRIP rows an item), then what lies to their right is updated (items of
 * CHOL_ROWS x CHOL_COLS entries; those above the diagonal are empty). Every entry meets its terms
 * L[i][k] L[j][k] one after the other, k ascending, whatever the cutting: its unfinished sum rests
 * in a. CHOL_ROWS is a multiple of every variant's row count.
 */
enum { CHOL_BLOCK = 128, CHOL_STRIP = 32, CHOL_ROWS = 336, CHOL_COLS = 128 };

struct chol_args {
    double *a;
    size_t n;
    size_t k0, width;  /* this block column */
    size_t col_blocks; /* of the update: item = row block * col_blocks + column block */
};

/* Returns 0 or the 1-based index of the first pivot that is not positive. */
typedef size_t uc_chol_diagonal_fn(const struct chol_args *c);
typedef void uc_chol_item_fn(const struct chol_args *c, size_t item);
UC_KERN_DECLARE(uc_chol_diagonal_fn, uc_chol_diagonal)
UC_KERN_DECLARE(uc_chol_item_fn, uc_chol_solve)
UC_KERN_DECLARE(uc_chol_item_fn, uc_chol_update)

#endif
