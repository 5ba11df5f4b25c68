/* sensitivity_embed: second moments of the gradient at the embedding's output. */
#include "engine/ops/registry.h"
#include "engine/ops/stats.h"

#define PIECE 2048 /* tokens at a time: a multiple of the moments' chunks */

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct uc_block b;
    struct uc_stats s = {0};
    const float *dx;
    size_t n;
    int rc;

    if ((rc = uc_op_block(ctx, &b, NULL, err)) < 0 ||
        (rc = uc_blob_rows(ctx, "dx", b.hidden, &dx, &n, err)) < 0 ||
        (rc = uc_stats_init(&s, b.hidden, err)) < 0)
        return rc;
    for (size_t t = 0; t < n; t += PIECE)
        uc_stats_add(&s, dx + t * b.hidden, n - t < PIECE ? n - t : PIECE, ctx->pool);
    rc = uc_stats_put(&s, ctx, "s.grad", err);
    uc_stats_release(&s);
    return rc;
}

const struct uc_op uc_op_sensitivity_embed = {
    "sensitivity_embed", 1, "second moments of the gradient at the embedding", run};
