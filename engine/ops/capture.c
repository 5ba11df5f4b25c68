/* capture: one layer forward over a shard: its output, the second moments of the inputs of its
 * linears, and its input for the windows that the backward pass will use. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ops/registry.h"
#include "engine/ops/stats.h"
#include "model/forward.h"

struct job {
    struct uc_op_ctx *ctx;
    struct uc_block b;
    size_t seqlen, grad_tok, n_tok;
    const float *x;
    struct uc_block_run *run;
    struct uc_stats s[UC_MAX_TAPS];
    struct uc_blob_writer out;
};

static int check_finite(const float *y, size_t n_tok, size_t width, size_t first,
                        struct uc_err *err)
{
    for (size_t t = 0; t < n_tok; t++) {
        float sum = 0; /* NaN and infinity survive a product with 0 */

        for (size_t i = 0; i < width; i++)
            sum += y[t * width + i] * 0.0f;
        if (sum != 0)
            return uc_fail(err, UC_EFAIL, "the layer's output is not finite at token %zu",
                           first + t);
    }
    return 0;
}

static int open_run(struct job *j, struct uc_err *err)
{
    struct uc_input_weights from;
    struct uc_weight w[UC_MAX_ROLES];
    int rc;

    uc_input_weights_init(&from, j->ctx, NULL);
    rc = uc_weights_get_block(&from.base, &j->b, 0, w, err);
    if (rc < 0)
        return rc;
    rc = uc_block_run_new(&j->run, &j->b, w, j->seqlen, false, j->ctx->pool, err);
    uc_weights_put_block(&j->b, w);
    for (size_t i = 0; i < j->b.n_taps && rc == 0; i++)
        rc = uc_stats_init(&j->s[i], j->b.taps[i].width, err);
    return rc;
}

static int stream(struct job *j, struct uc_err *err)
{
    size_t hidden = j->b.hidden;
    int rc = uc_blob_create(j->ctx, "x", &j->out, err);

    for (size_t t = 0; t < j->n_tok && rc == 0; t += j->run->batch) {
        size_t n = j->n_tok - t < j->run->batch ? j->n_tok - t : j->run->batch;
        const float *y = uc_block_forward(j->run, j->x + t * hidden, n);

        for (size_t i = 0; i < j->b.n_taps; i++)
            uc_stats_add(&j->s[i], uc_block_tap_data(j->run, i), n, j->ctx->pool);
        rc = check_finite(y, n, hidden, t, err);
        if (rc == 0)
            rc = uc_blob_add(&j->out, y, n * hidden * sizeof(float), err);
        uc_op_progress(j->ctx, t + n, j->n_tok);
    }
    return uc_blob_close(&j->out, rc, err);
}

static int put_results(struct job *j, struct uc_err *err)
{
    char name[64];
    int rc = 0;

    for (size_t i = 0; i < j->b.n_taps && rc == 0; i++) {
        snprintf(name, sizeof(name), "s.%s", j->b.taps[i].name);
        rc = uc_stats_put(&j->s[i], j->ctx, name, err);
    }
    if (rc == 0 && uc_blob_wanted(j->ctx, "g"))
        rc = uc_op_put(j->ctx, "g", j->x, j->grad_tok * j->b.hidden * sizeof(float), err);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct job *j = calloc(1, sizeof(*j));
    int64_t grad_windows;
    int rc;

    if (!j)
        return uc_fail(err, UC_ERESOURCE, "no memory");
    j->ctx = ctx;
    if ((rc = uc_op_block(ctx, &j->b, &j->seqlen, err)) < 0 ||
        (rc = uc_op_int(ctx, "grad_windows", 0, INT64_C(1) << 32, 0, &grad_windows, err)) < 0 ||
        (rc = uc_blob_rows(ctx, "x", j->b.hidden, &j->x, &j->n_tok, err)) < 0 ||
        (rc = open_run(j, err)) < 0)
        goto out;
    j->grad_tok = (size_t)grad_windows * j->seqlen;
    if (j->grad_tok > j->n_tok)
        j->grad_tok = j->n_tok;
    rc = stream(j, err);
    if (rc == 0)
        rc = put_results(j, err);
out:
    for (size_t i = 0; i < UC_MAX_TAPS; i++)
        uc_stats_release(&j->s[i]);
    uc_block_run_free(j->run);
    free(j);
    return rc;
}

const struct uc_op uc_op_capture = {
    "capture", 1, "one layer over a shard: its output and the second moments of its inputs", run};
