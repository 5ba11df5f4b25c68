/* Second moments of several widths, summed batch by batch (capture, sensitivity). */
#ifndef UC_OPS_STATS_H
#define UC_OPS_STATS_H

#include "engine/ops/blobs.h"

struct uc_stats {
    double *s; /* [n, n], lower triangle */
    size_t n;
    double weight;
    uint64_t n_tok;
};

int uc_stats_init(struct uc_stats *s, size_t n, struct uc_err *err);
void uc_stats_release(struct uc_stats *s);
void uc_stats_add(struct uc_stats *s, const float *x, size_t n_tok, struct uc_pool *pool);
/* With a weight per token, which must not be negative; tmp [n_tok, n]. Each row is multiplied by
 * the square root of its weight. */
void uc_stats_add_weighted(struct uc_stats *s, const float *x, const float *weight, size_t n_tok,
                           float *tmp, struct uc_pool *pool);
int uc_stats_put(const struct uc_stats *s, const struct uc_op_ctx *ctx, const char *name,
                 struct uc_err *err);

#endif
