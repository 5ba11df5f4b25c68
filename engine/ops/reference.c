/* reference: the source's final hidden states at the scored positions of the evaluation text, once
 * for all artifacts that are measured against it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/ops/evaluate.h"
#include "engine/ops/registry.h"

/* Layers are the adjacent inputs layer/000/..., layer/001/... */
static uint32_t count_layers(const struct uc_op_ctx *ctx)
{
    const struct uc_op_input *first;
    char prefix[32];
    uint32_t n = 0;

    for (;; n++) {
        snprintf(prefix, sizeof(prefix), "layer/%03u/", n);
        if (!uc_op_in_group(ctx, prefix, &first))
            return n;
    }
}

static int put_labels(struct uc_op_ctx *ctx, const struct uc_eval *e, size_t windows,
                      struct uc_err *err)
{
    size_t n = uc_protocol_scored(&e->protocol, e->n_ids, 0, windows);
    uint32_t *labels;
    int rc = uc_alloc(&labels, n, sizeof(*labels), "labels", err);

    if (rc < 0)
        return rc;
    uc_protocol_labels(&e->protocol, e->ids, e->n_ids, 0, windows, labels);
    rc = uc_op_put(ctx, "labels", labels, n * sizeof(*labels), err);
    free(labels);
    return rc;
}

static int put_hidden(struct uc_op_ctx *ctx, struct uc_eval *e, size_t windows, struct uc_err *err)
{
    size_t group = uc_eval_group(e) < windows ? uc_eval_group(e) : windows;
    struct uc_input_weights from;
    struct uc_blob_writer out;
    float *h;
    int rc = uc_alloc(&h, group * e->protocol.window * e->block.hidden, sizeof(float),
                      "hidden states", err);

    if (rc < 0)
        return rc;
    e->progress_total = uc_eval_work(e, 0, windows);
    uc_input_weights_init(&from, ctx, "layer");
    rc = uc_blob_create(ctx, "h", &out, err);
    for (size_t w = 0; w < windows && rc == 0; w += group) {
        size_t n = windows - w < group ? windows - w : group;
        size_t rows = uc_protocol_scored(&e->protocol, e->n_ids, w, n);

        rc = uc_eval_hidden(e, &from.base, w, n, h, err);
        e->progress_base += uc_eval_work(e, w, n);
        if (rc == 0)
            rc = uc_blob_add(&out, h, rows * e->block.hidden * sizeof(float), err);
    }
    free(h);
    return uc_blob_close(&out, rc, err);
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct uc_eval e;
    size_t windows;
    int rc = uc_op_eval(ctx, &e, err);

    if (rc < 0)
        return rc;
    e.n_layers = count_layers(ctx);
    windows = uc_protocol_windows(&e.protocol, e.n_ids);
    rc = put_hidden(ctx, &e, windows, err);
    if (rc == 0)
        rc = put_labels(ctx, &e, windows, err);
    return rc;
}

const struct uc_op uc_op_reference = {
    "reference", 1, "the source's final hidden states on the evaluation text", run};
