/* capture_head: final norm over a shard: the second moments of the head's input, and the norm's own
 * input for the windows that the backward pass will use. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/ops/registry.h"
#include "engine/ops/stats.h"
#include "model/forward.h"

struct job {
    struct uc_op_ctx *ctx;
    struct uc_block b;
    size_t seqlen, n_tok, batch;
    const float *x;
    float *norm, *y;
    struct uc_stats s;
};

static int prepare(struct job *j, struct uc_err *err)
{
    struct uc_weight w;
    int rc = uc_blob_weight(j->ctx, "w/final_norm", &w, err);

    if (rc < 0)
        return rc;
    j->batch = uc_batch_tokens(j->seqlen);
    rc = uc_alloc(&j->norm, j->b.hidden, sizeof(float), "a norm", err);
    if (rc == 0) {
        rc = uc_weight_vector(&w, j->norm, j->b.hidden, err);
        if (rc < 0)
            uc_within(err, "w/final_norm");
    }
    uc_weight_put(&w);
    if (rc == 0)
        rc = uc_alloc(&j->y, j->batch * j->b.hidden, sizeof(float), "activations", err);
    if (rc == 0)
        rc = uc_stats_init(&j->s, j->b.hidden, err);
    return rc;
}

static void stream(struct job *j)
{
    for (size_t t = 0; t < j->n_tok; t += j->batch) {
        size_t n = j->n_tok - t < j->batch ? j->n_tok - t : j->batch;

        uc_final_norm(j->y, NULL, j->x + t * j->b.hidden, j->norm, n, &j->b, j->ctx->pool);
        uc_stats_add(&j->s, j->y, n, j->ctx->pool);
        uc_op_progress(j->ctx, t + n, j->n_tok);
    }
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct job j = {.ctx = ctx};
    int64_t grad_windows;
    int rc;

    if ((rc = uc_op_block(ctx, &j.b, &j.seqlen, err)) < 0 ||
        (rc = uc_op_int(ctx, "grad_windows", 0, INT64_C(1) << 32, 0, &grad_windows, err)) < 0 ||
        (rc = uc_blob_rows(ctx, "x", j.b.hidden, &j.x, &j.n_tok, err)) < 0 ||
        (rc = prepare(&j, err)) < 0)
        goto out;
    stream(&j);
    rc = uc_stats_put(&j.s, ctx, "s.head", err);
    if (rc == 0 && uc_blob_wanted(ctx, "g")) {
        size_t n = (size_t)grad_windows * j.seqlen;

        n = n < j.n_tok ? n : j.n_tok;
        rc = uc_op_put(ctx, "g", j.x, n * j.b.hidden * sizeof(float), err);
    }
out:
    uc_stats_release(&j.s);
    free(j.norm);
    free(j.y);
    return rc;
}

const struct uc_op uc_op_capture_head = {
    "capture_head", 1, "final norm over a shard and the second moments of the head's input", run};
