#include "engine/ops/evaluate.h"

#include <string.h>

#include "base/json.h"

static void report_progress(void *arg, uint64_t done, uint64_t total)
{
    uc_op_progress(arg, done, total);
}

int uc_op_eval(struct uc_op_ctx *ctx, struct uc_eval *e, struct uc_err *err)
{
    const json_t *p = ctx->params;
    int rc;

    memset(e, 0, sizeof(*e));
    e->pool = ctx->pool;
    e->progress = report_progress;
    e->progress_arg = ctx;
    if ((rc = uc_op_block(ctx, &e->block, NULL, err)) < 0 ||
        (rc = uc_blob_ids(ctx, "ids", &e->ids, &e->n_ids, err)) < 0 ||
        (rc = uc_protocol_init(&e->protocol, uc_json_str(p, "protocol", "llama"),
                               uc_json_int(p, "window", 512), uc_json_int(p, "stride", 0),
                               uc_json_int(p, "limit", 0), uc_json_int(p, "bos", -1), err)) < 0)
        return rc;
    return uc_eval_check(e, err);
}
