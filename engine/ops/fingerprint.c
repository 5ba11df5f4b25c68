/*
 * fingerprint: what the tensors of a checkpoint file are, by content.
 * input:  the safetensors file (the only input, whatever its name)
 * output: digests, JSON {tensor: SHA-256 as formats/tensor.h defines it}
 * Tensors with NaN or infinite values are refused here, before anything is built on them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/op.h"
#include "engine/ops/registry.h"
#include "formats/tensor.h"

struct work {
    const struct uc_op_ctx *ctx;
    const struct uc_st *st;
    const uint8_t *file;
    struct uc_digest *digest;
    int64_t *bad; /* index of an element that is not finite, or -1 */
};

static void one_tensor(void *arg, size_t item, int thread)
{
    struct work *w = arg;
    const struct uc_tensor_info *t = &w->st->tensors[item];
    const uint8_t *data = w->file + t->offset;

    uc_tensor_digest(t, data, &w->digest[item]);
    w->bad[item] = uc_tensor_not_finite(t, data);
    uc_op_forget(w->ctx, data, t->size);
}

static int check_finite(const struct work *w, const char *path, struct uc_err *err)
{
    for (size_t i = 0; i < w->st->n_tensors; i++) {
        if (w->bad[i] < 0)
            continue;
        uc_fail(err, UC_EREFUSED, "%s: tensor %s: element %lld is NaN or infinite", path,
                w->st->tensors[i].name, (long long)w->bad[i]);
        return uc_fix(err, "the checkpoint is damaged or was saved after training diverged: get it "
                           "again, or use an earlier one");
    }
    return 0;
}

static int put_digests(struct uc_op_ctx *ctx, const struct work *w, struct uc_err *err)
{
    json_t *o = json_object();
    char hex[UC_HEX_LEN + 1], *text;
    int rc;

    for (size_t i = 0; i < w->st->n_tensors; i++)
        json_object_set_new(o, w->st->tensors[i].name,
                            json_string(uc_digest_hex(&w->digest[i], hex)));
    text = uc_json_canonical(o);
    rc = uc_op_put(ctx, "digests", text, strlen(text), err);
    free(text);
    json_decref(o);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *in = ctx->inputs;
    struct work w;
    struct uc_st st;
    int rc;

    if (ctx->n_inputs != 1)
        return uc_fail(err, UC_EFAIL, "fingerprint: one file is expected, %zu inputs are given",
                       ctx->n_inputs);
    rc = uc_st_parse(&st, in->size ? in->data : (const uint8_t *)"", in->size, in->size, in->path,
                     err);
    if (rc < 0)
        return rc;
    w.ctx = ctx;
    w.st = &st;
    w.file = in->data;
    w.digest = uc_xcalloc(st.n_tensors + 1, sizeof(*w.digest));
    w.bad = uc_xcalloc(st.n_tensors + 1, sizeof(*w.bad));
    uc_pool_run(ctx->pool, st.n_tensors, one_tensor, &w);
    rc = check_finite(&w, in->path, err);
    if (rc == 0)
        rc = put_digests(ctx, &w, err);
    free(w.digest);
    free(w.bad);
    uc_st_close(&st);
    return rc;
}

const struct uc_op uc_op_fingerprint = {
    .name = "fingerprint",
    .version = 1,
    .summary = "digests of the tensors of a checkpoint file",
    .run = run,
};
