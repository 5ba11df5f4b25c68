/*
 * sensitivity: one layer backward over the windows that capture kept: the gradient at its input,
 * per linear the sum of squared gradients of each output row, and per distinct input its second
 * moments weighted by |gradient|^2, summed over the linears that read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/ops/registry.h"
#include "engine/ops/stats.h"
#include "kernels/block.h"
#include "model/backward.h"

struct job {
    struct uc_op_ctx *ctx;
    struct uc_block b;
    size_t seqlen, n_tok;
    const float *g, *dx;
    struct uc_block_run *run;
    double *h[UC_MAX_ROLES];    /* [rows] */
    float *weight[UC_MAX_TAPS]; /* [batch] */
    float *part;                /* [batch]: one linear's share of a weight */
    float *tmp;                 /* [batch, widest tap] */
    struct uc_stats s[UC_MAX_TAPS];
};

static int prepare(struct job *j, struct uc_err *err)
{
    struct uc_input_weights from;
    struct uc_weight w[UC_MAX_ROLES];
    size_t widest = 0;
    int rc;

    uc_input_weights_init(&from, j->ctx, NULL);
    rc = uc_weights_get_block(&from.base, &j->b, 0, w, err);
    if (rc < 0)
        return rc;
    rc = uc_block_run_new(&j->run, &j->b, w, j->seqlen, true, j->ctx->pool, err);
    uc_weights_put_block(&j->b, w);
    for (size_t i = 0; i < j->b.n_taps && rc == 0; i++) {
        widest = j->b.taps[i].width > widest ? j->b.taps[i].width : widest;
        rc = uc_stats_init(&j->s[i], j->b.taps[i].width, err);
        if (rc == 0)
            rc = uc_alloc(&j->weight[i], j->run->batch, sizeof(float), "weights", err);
    }
    for (size_t i = 0; i < j->b.n_roles && rc == 0; i++)
        if (j->b.roles[i].tap != UC_NO_TAP)
            rc = uc_alloc(&j->h[i], j->b.roles[i].rows, sizeof(double), "sensitivities", err);
    if (rc == 0)
        rc = uc_alloc(&j->part, j->run->batch, sizeof(float), "weights", err);
    if (rc == 0)
        rc = uc_alloc(&j->tmp, j->run->batch * widest, sizeof(float), "activations", err);
    return rc;
}

static void visit_linear(void *arg, size_t role, const float *grad, size_t n_tok)
{
    struct job *j = arg;
    const struct uc_role *r = &j->b.roles[role];

    uc_squares(j->part, j->h[role], grad, n_tok, r->rows);
    uc_add(j->weight[r->tap], j->part, n_tok);
}

static int stream(struct job *j, struct uc_err *err)
{
    size_t hidden = j->b.hidden, batch = j->run->batch;
    struct uc_blob_writer out;
    int rc = uc_blob_create(j->ctx, "dx", &out, err);

    for (size_t t = 0; t < j->n_tok && rc == 0; t += batch) {
        size_t n = j->n_tok - t < batch ? j->n_tok - t : batch;
        const float *dx;

        for (size_t i = 0; i < j->b.n_taps; i++)
            memset(j->weight[i], 0, n * sizeof(float));
        uc_block_recompute(j->run, j->g + t * hidden, n);
        dx = uc_block_backward(j->run, j->dx + t * hidden, visit_linear, j);
        for (size_t i = 0; i < j->b.n_taps; i++)
            uc_stats_add_weighted(&j->s[i], uc_block_tap_data(j->run, i), j->weight[i], n, j->tmp,
                                  j->ctx->pool);
        rc = uc_blob_add(&out, dx, n * hidden * sizeof(float), err);
        uc_op_progress(j->ctx, t + n, j->n_tok);
    }
    return uc_blob_close(&out, rc, err);
}

static int put_results(struct job *j, struct uc_err *err)
{
    char name[64];
    int rc = 0;

    for (size_t i = 0; i < j->b.n_taps && rc == 0; i++) {
        snprintf(name, sizeof(name), "sw.%s", j->b.taps[i].name);
        rc = uc_stats_put(&j->s[i], j->ctx, name, err);
    }
    for (size_t i = 0; i < j->b.n_roles && rc == 0; i++) {
        if (!j->h[i])
            continue;
        snprintf(name, sizeof(name), "h.%s", j->b.roles[i].name);
        rc = uc_blob_put_rows(j->ctx, name, j->h[i], j->b.roles[i].rows, j->n_tok, err);
    }
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct job *j = calloc(1, sizeof(*j));
    size_t n_dx;
    int rc;

    if (!j)
        return uc_fail(err, UC_ERESOURCE, "no memory");
    j->ctx = ctx;
    if ((rc = uc_op_block(ctx, &j->b, &j->seqlen, err)) < 0 ||
        (rc = uc_blob_rows(ctx, "g", j->b.hidden, &j->g, &j->n_tok, err)) < 0 ||
        (rc = uc_blob_rows(ctx, "dx", j->b.hidden, &j->dx, &n_dx, err)) < 0)
        goto out;
    if (n_dx != j->n_tok) {
        rc = uc_fail(err, UC_EFAIL, "inputs g and dx hold %zu and %zu tokens", j->n_tok, n_dx);
        goto out;
    }
    rc = prepare(j, err);
    if (rc == 0)
        rc = stream(j, err);
    if (rc == 0)
        rc = put_results(j, err);
out:
    for (size_t i = 0; i < UC_MAX_TAPS; i++) {
        uc_stats_release(&j->s[i]);
        free(j->weight[i]);
    }
    for (size_t i = 0; i < UC_MAX_ROLES; i++)
        free(j->h[i]);
    free(j->part);
    free(j->tmp);
    uc_block_run_free(j->run);
    free(j);
    return rc;
}

const struct uc_op uc_op_sensitivity = {
    "sensitivity", 1, "one layer backward: output sensitivities and weighted moments", run};
