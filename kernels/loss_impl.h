/* What loss.c and loss_body.h share: one row of logits at a time. */
#ifndef UC_KERNELS_LOSS_IMPL_H
#define UC_KERNELS_LOSS_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kern.h"

enum { LOSS_BLOCK = 1024, LOSS_TOP = 10 };

/* max, and sum of exp(x - max). */
struct loss_sum {
    float max;
    double sum;
};
typedef struct loss_sum uc_loss_sum_fn(const float *x, size_t n);

struct loss_pair {
    struct loss_sum ref, model;
    double cross;          /* sum of e_ref ((ref - model) - shift) */
    float shift;           /* ref.max - model.max, rounded */
    uint32_t top_ref, top; /* argmax */
    uint32_t rank_ref, rank, rank_of_top_ref;
    uint32_t overlap; /* ids in both top tens */
};
typedef void uc_loss_pair_fn(struct loss_pair *out, const float *ref, const float *model,
                             uint32_t label, size_t n);

/* Returns the sample; *square is sum p^2. */
typedef uint32_t uc_loss_sample_fn(float *x, double *square, float u, size_t n);

UC_KERN_DECLARE(uc_loss_sum_fn, uc_loss_sum_row)
UC_KERN_DECLARE(uc_loss_pair_fn, uc_loss_pair_row)
UC_KERN_DECLARE(uc_loss_sample_fn, uc_loss_sample_row)

#endif
