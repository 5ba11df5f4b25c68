/* What attention.c and attention_body.h share. */
#ifndef UC_KERNELS_ATTENTION_IMPL_H
#define UC_KERNELS_ATTENTION_IMPL_H

#include <stddef.h>

#include "kernels/kern.h"

/* A work item owns a multiple of ATTN_ROWS rows (queries, or keys in the second half of the
 * backward pass); every variant's tile height divides it. */
enum { ATTN_ROWS = 96, ATTN_TILE_MAX = 12 };

struct attn {
    const float *q, *k, *v, *y, *dy, *lse_in; /* y, dy, lse_in: backward only */
    float *out, *lse, *dq, *dk, *dv;
    size_t n_tok, n_head, n_kv, head_dim, window; /* window is n_tok when there is none */
    size_t rows;                                  /* of a work item */
    float scale;
};

/* Rows [row0, row0 + rows) of kv head kv, all query heads that read it. */
typedef void uc_attn_fn(const struct attn *a, size_t kv, size_t row0, float *scratch);

UC_KERN_DECLARE(uc_attn_fn, uc_attn_fwd)
UC_KERN_DECLARE(uc_attn_fn, uc_attn_bwd_q)
UC_KERN_DECLARE(uc_attn_fn, uc_attn_bwd_kv)

/* Columns (keys, or queries) are padded to a multiple of 32, head_dim as well. */
static inline size_t attn_pad(size_t n)
{
    return (n + 31) & ~(size_t)31;
}

#endif
