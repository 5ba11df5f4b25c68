/* quantize: one tensor at the level that allocate found, as a coded stream. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "engine/ops/track_a.h"

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct ta_names names = {.weight = "weight", .l = "l"};
    struct ta_tables *tables = NULL;
    struct ta_tensor t = {0};
    struct uc_buf stream;
    json_t *info = NULL;
    int log2_c, rc = ta_names_params(&names, ctx->params, err);

    uc_buf_init(&stream, SIZE_MAX / 2);
    names.rows = names.embed ? "counts/" : "h/";
    if (rc == 0)
        rc = ta_level(ctx, &log2_c, err);
    if (rc == 0)
        rc = uc_alloc(&tables, 1, sizeof(*tables), "cost tables", err);
    if (rc == 0)
        rc = ta_tensor_open(&t, ctx, &names, err);
    if (rc == 0) {
        ta_tables_init(tables, t.embed);
        rc = ta_quantize(&t, tables, log2_c, ctx->pool, &stream, &info, err);
    }
    if (rc == 0)
        rc = uc_op_put(ctx, "stream", stream.data, stream.len, err);
    if (rc == 0)
        rc = uc_blob_put_json(ctx, "info", info, err);
    if (rc == 0) {
        json_object_set(ctx->metrics, "damage", json_object_get(info, "damage"));
        json_object_set(ctx->metrics, "bpw", json_object_get(info, "bpw"));
    }
    json_decref(info);
    ta_tensor_close(&t);
    free(tables);
    uc_buf_release(&stream);
    return rc;
}

const struct uc_op uc_op_quantize = {
    .name = "quantize",
    .version = 2,
    .summary = "code one tensor at the level that was found",
    .run = run,
};
