/*
 * verify: reads the file that was written, checks every chunk, decodes every coded tensor and
 * compares the digests of the reconstructions with those that quantize saw.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "engine/ops/track_a.h"
#include "engine/ops/track_a_patch.h"
#include "formats/coded.h"
#include "formats/safetensors.h"
#include "model/dir.h"

struct check {
    const struct uc_tensor_info *tensor;
    const uint8_t *bytes;
    char expect[65], got[65];
    uint64_t chunks;
    struct uc_err err;
};

struct verify {
    const struct uc_op_ctx *ctx;
    struct check *checks;
    size_t n;
};

static void check_tensor(void *arg, size_t item, int thread)
{
    struct verify *v = arg;
    struct check *c = &v->checks[item];
    struct uc_coded_info info;

    if (uc_coded_info(c->bytes, c->tensor->size, &info, &c->err) < 0 ||
        ta_digest(c->bytes, c->tensor->size, c->got, &c->err) < 0)
        return;
    c->chunks = info.n_chunks;
    uc_op_forget(v->ctx, c->bytes, c->tensor->size);
}

static int expected(struct uc_op_ctx *ctx, struct check *c, const json_t *patch, struct uc_err *err)
{
    size_t n = strlen(c->tensor->name) - strlen(UC_CODED_SUFFIX);
    char *name = uc_xstrndup(c->tensor->name, n);
    json_t *info = ta_info(ctx, patch, name, err);
    int rc = info ? 0 : err->code;

    if (rc == 0)
        snprintf(c->expect, sizeof(c->expect), "%s", uc_json_str(info, "sha256", ""));
    json_decref(info);
    free(name);
    return rc;
}

static int collect(struct uc_op_ctx *ctx, const struct uc_st *st, const uint8_t *model,
                   struct verify *v, struct uc_err *err)
{
    const struct uc_op_input *infos;
    const uint8_t *data;
    uint64_t size;
    json_t *patch = ta_patch_open(ctx, &data, &size, err);
    int rc = patch ? 0 : err->code;

    v->checks = uc_xcalloc(st->n_tensors + 1, sizeof(*v->checks));
    for (size_t i = 0; rc == 0 && i < st->n_tensors; i++) {
        const struct uc_tensor_info *t = &st->tensors[i];
        if (!uc_str_ends(t->name, UC_CODED_SUFFIX))
            continue;
        v->checks[v->n].tensor = t;
        v->checks[v->n].bytes = model + t->offset;
        rc = expected(ctx, &v->checks[v->n++], patch, err);
    }
    if (rc == 0 && v->n != uc_op_in_group(ctx, "info/", &infos))
        rc = uc_fail(err, UC_EFAIL, "the file holds %zu coded tensors, not as many as were coded",
                     v->n);
    json_decref(patch);
    return rc;
}

static int report(struct uc_op_ctx *ctx, const struct verify *v, struct uc_err *err)
{
    json_t *r = json_object(), *tensors = json_object();
    uint64_t chunks = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < v->n; i++) {
        const struct check *c = &v->checks[i];
        if (c->err.code) {
            *err = c->err;
            rc = uc_within(err, "%s", c->tensor->name);
        } else if (strcmp(c->got, c->expect) != 0) {
            rc = uc_fail(err, UC_ECORRUPT, "%s decodes to %.16s.., %.16s.. was quantized",
                         c->tensor->name, c->got, c->expect);
        }
        json_object_set_new(tensors, c->tensor->name, json_string(c->got));
        chunks += c->chunks;
    }
    json_object_set_new(r, "tensors", tensors);
    json_object_set_new(r, "coded_tensors", json_integer((json_int_t)v->n));
    json_object_set_new(r, "chunks", json_integer((json_int_t)chunks));
    json_object_set_new(r, "ok", json_true());
    if (rc == 0)
        rc = uc_blob_put_json(ctx, "report", r, err);
    json_decref(r);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *model = uc_op_in(ctx, "model", err);
    struct verify v = {.ctx = ctx};
    struct uc_st st;
    int rc;

    if (!model)
        return err->code;
    rc = uc_st_parse(&st, model->data, model->size, model->size, "model.safetensors", err);
    if (rc < 0)
        return rc;
    rc = collect(ctx, &st, model->data, &v, err);
    if (rc == 0) {
        uc_pool_run(ctx->pool, v.n, check_tensor, &v);
        rc = report(ctx, &v, err);
    }
    free(v.checks);
    uc_st_close(&st);
    return rc;
}

const struct uc_op uc_op_verify = {
    .name = "verify",
    .version = 1,
    .summary = "decode the artifact and compare it with what was quantized",
    .run = run,
};
