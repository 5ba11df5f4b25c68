/*
 * sensitivity_head: gradient of the log-likelihood at the last layer's output, labels sampled from
 * the model itself (so that g g^T is the Fisher matrix), and the moments of the head's input
 * weighted by the trace of the softmax Fisher, 1 - sum p^2. The last position of a window predicts
 * a token that nothing reads: its gradient is left out.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/ops/registry.h"
#include "engine/ops/stats.h"
#include "kernels/block.h"
#include "kernels/loss.h"
#include "model/forward.h"
#include "model/head.h"

#define LABEL_STREAM 1 /* of the random numbers */

struct job {
    struct uc_op_ctx *ctx;
    struct uc_block b;
    size_t seqlen, n_tok, batch;
    int64_t seed;
    const float *g;
    struct uc_weight head;
    float *norm;   /* [hidden] */
    float *y, *dy; /* final norm's output and gradient, [batch, hidden] */
    float *dx, *tmp;
    float *r, *weight, *u; /* [batch] */
    float *logits;         /* [UC_HEAD_ROWS, vocab] */
    struct uc_stats s;
};

static int prepare(struct job *j, struct uc_err *err)
{
    size_t hidden = j->b.hidden;
    struct uc_weight w;
    int rc;

    j->batch = uc_batch_tokens(j->seqlen);
    if ((rc = uc_alloc(&j->norm, hidden, sizeof(float), "a norm", err)) < 0 ||
        (rc = uc_blob_weight(j->ctx, "w/final_norm", &w, err)) < 0)
        return rc;
    rc = uc_weight_vector(&w, j->norm, hidden, err);
    uc_weight_put(&w);
    if (rc < 0)
        return uc_within(err, "w/final_norm");
    if ((rc = uc_blob_weight(j->ctx, "w/head", &j->head, err)) < 0)
        return rc;
    if ((rc = uc_weight_check_shape(&j->head, j->head.shape[0], hidden, err)) < 0 ||
        (rc = uc_weight_check_finite(&j->head, err)) < 0)
        return uc_within(err, "w/head");
    if ((rc = uc_alloc(&j->y, j->batch * hidden, sizeof(float), "activations", err)) < 0 ||
        (rc = uc_alloc(&j->dy, j->batch * hidden, sizeof(float), "gradients", err)) < 0 ||
        (rc = uc_alloc(&j->dx, j->batch * hidden, sizeof(float), "gradients", err)) < 0 ||
        (rc = uc_alloc(&j->tmp, j->batch * hidden, sizeof(float), "activations", err)) < 0 ||
        (rc = uc_alloc(&j->r, j->batch, sizeof(float), "activations", err)) < 0 ||
        (rc = uc_alloc(&j->weight, j->batch, sizeof(float), "weights", err)) < 0 ||
        (rc = uc_alloc(&j->u, j->batch, sizeof(float), "random numbers", err)) < 0 ||
        (rc = uc_alloc(&j->logits, UC_HEAD_ROWS * j->head.shape[0], sizeof(float), "logits", err)) <
            0)
        return rc;
    return uc_stats_init(&j->s, hidden, err);
}

/* Gradient at the head's input and the weights, for tokens [t, t + n) of the shard. */
static int head_gradient(struct job *j, size_t t, size_t n, struct uc_err *err)
{
    size_t hidden = j->b.hidden, vocab = j->head.shape[0];
    int rc = 0;

    for (size_t i = 0; i < n; i++)
        j->u[i] = uc_rng_uniform((uint64_t)j->seed, LABEL_STREAM, t + i);
    for (size_t i = 0; i < n && rc == 0; i += UC_HEAD_ROWS) {
        size_t k = n - i < UC_HEAD_ROWS ? n - i : UC_HEAD_ROWS;

        rc = uc_head_logits(&j->head, j->y + i * hidden, k, j->logits, j->ctx->pool, err);
        if (rc < 0)
            break;
        uc_sample_grad(j->logits, j->weight + i, NULL, j->u + i, k, vocab, j->ctx->pool);
        rc = uc_head_backward(&j->head, j->logits, k, j->dy + i * hidden, j->ctx->pool, err);
    }
    for (size_t i = 0; i < n; i++)
        if ((t + i) % j->seqlen == j->seqlen - 1 || t + i == j->n_tok - 1)
            memset(j->dy + i * hidden, 0, hidden * sizeof(float));
    return rc;
}

static int stream(struct job *j, struct uc_err *err)
{
    size_t hidden = j->b.hidden;
    struct uc_pool *pool = j->ctx->pool;
    struct uc_blob_writer out;
    int rc = uc_blob_create(j->ctx, "dx", &out, err);

    for (size_t t = 0; t < j->n_tok && rc == 0; t += j->batch) {
        size_t n = j->n_tok - t < j->batch ? j->n_tok - t : j->batch;
        const float *g = j->g + t * hidden;

        uc_final_norm(j->y, j->r, g, j->norm, n, &j->b, pool);
        rc = head_gradient(j, t, n, err);
        if (rc < 0)
            break;
        uc_stats_add_weighted(&j->s, j->y, j->weight, n, j->tmp, pool);
        memset(j->dx, 0, n * hidden * sizeof(float));
        uc_rmsnorm_bwd(j->dx, j->dy, g, j->norm, j->r, n, hidden, pool);
        rc = uc_blob_add(&out, j->dx, n * hidden * sizeof(float), err);
        uc_op_progress(j->ctx, t + n, j->n_tok);
    }
    return uc_blob_close(&out, rc, err);
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct job j = {.ctx = ctx};
    int rc;

    if ((rc = uc_op_block(ctx, &j.b, &j.seqlen, err)) < 0 ||
        (rc = uc_op_int(ctx, "rng_seed", 0, INT64_MAX, -1, &j.seed, err)) < 0 ||
        (rc = uc_blob_rows(ctx, "g", j.b.hidden, &j.g, &j.n_tok, err)) < 0 ||
        (rc = prepare(&j, err)) < 0)
        goto out;
    rc = stream(&j, err);
    if (rc == 0)
        rc = uc_stats_put(&j.s, ctx, "sw.head", err);
out:
    uc_stats_release(&j.s);
    uc_weight_put(&j.head);
    free(j.norm);
    free(j.y);
    free(j.dy);
    free(j.dx);
    free(j.tmp);
    free(j.r);
    free(j.weight);
    free(j.u);
    free(j.logits);
    return rc;
}

const struct uc_op uc_op_sensitivity_head = {
    "sensitivity_head", 1, "gradient of sampled labels at the last layer's output", run};
