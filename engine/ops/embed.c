/* embed: rows of the embedding for a shard's ids. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "model/head.h"

#define PIECE 2048 /* ids at a time */

static int write_rows(struct uc_op_ctx *ctx, const struct uc_weight *w, const uint32_t *ids,
                      size_t n_ids, struct uc_err *err)
{
    size_t width = w->shape[1];
    struct uc_blob_writer out;
    float *x;
    int rc = uc_alloc(&x, PIECE * width, sizeof(float), "hidden states", err);

    if (rc < 0)
        return rc;
    rc = uc_blob_create(ctx, "x", &out, err);
    for (size_t t = 0; t < n_ids && rc == 0; t += PIECE) {
        size_t n = n_ids - t < PIECE ? n_ids - t : PIECE;

        rc = uc_embed_rows(w, ids + t, n, x, err);
        if (rc == 0)
            rc = uc_blob_add(&out, x, n * width * sizeof(float), err);
        uc_op_progress(ctx, t + n, n_ids);
    }
    free(x);
    return uc_blob_close(&out, rc, err);
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct uc_block b;
    struct uc_weight w;
    const uint32_t *ids;
    size_t n;
    int rc;

    if ((rc = uc_op_block(ctx, &b, NULL, err)) < 0 ||
        (rc = uc_blob_ids(ctx, "ids", &ids, &n, err)) < 0 ||
        (rc = uc_blob_weight(ctx, "w/embed", &w, err)) < 0)
        return rc;
    rc = uc_weight_check_shape(&w, w.shape[0], b.hidden, err);
    if (rc == 0)
        rc = uc_weight_check_finite(&w, err);
    rc = rc < 0 ? uc_within(err, "w/embed") : write_rows(ctx, &w, ids, n, err);
    uc_weight_put(&w);
    return rc;
}

const struct uc_op uc_op_embed = {"embed", 1, "embedding rows of a shard's tokens", run};
