#include "engine/ops/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/block.h"
#include "kernels/moments.h"

int uc_stats_init(struct uc_stats *s, size_t n, struct uc_err *err)
{
    memset(s, 0, sizeof(*s));
    s->n = n;
    return uc_alloc(&s->s, n * n, sizeof(double), "second moments", err);
}

void uc_stats_release(struct uc_stats *s)
{
    free(s->s);
    s->s = NULL;
}

void uc_stats_add(struct uc_stats *s, const float *x, size_t n_tok, struct uc_pool *pool)
{
    uc_moments_add(s->s, s->n, x, s->n, n_tok, pool);
    s->n_tok += n_tok;
    s->weight = (double)s->n_tok;
}

void uc_stats_add_weighted(struct uc_stats *s, const float *x, const float *weight, size_t n_tok,
                           float *tmp, struct uc_pool *pool)
{
    float root[256];

    for (size_t t = 0; t < n_tok; t += UC_COUNT(root)) {
        size_t n = n_tok - t < UC_COUNT(root) ? n_tok - t : UC_COUNT(root);

        for (size_t i = 0; i < n; i++) {
            root[i] = sqrtf(weight[t + i]);
            s->weight += weight[t + i];
        }
        uc_scale_rows(tmp + t * s->n, x + t * s->n, root, n, s->n);
    }
    uc_moments_add(s->s, s->n, tmp, s->n, n_tok, pool);
    s->n_tok += n_tok;
}

int uc_stats_put(const struct uc_stats *s, const struct uc_op_ctx *ctx, const char *name,
                 struct uc_err *err)
{
    return uc_blob_put_moments(ctx, name, s->s, s->n, s->n_tok, s->weight, err);
}
