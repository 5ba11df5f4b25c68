/*
 * bench: the artifact's figures against its source. The artifact is decoded from the file that was
 * written; the source comes as its final hidden states (reference) and its head.
 */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/ops/evaluate.h"
#include "engine/ops/registry.h"
#include "formats/safetensors.h"

struct job {
    struct uc_op_ctx *ctx;
    struct uc_eval e;
    struct uc_st st;
    const json_t *names;
    const float *ref_h;
};

/* The reference was made from the same text by the same protocol: same labels, as many rows. */
static int check_reference(struct job *j, struct uc_err *err)
{
    const struct uc_protocol *p = &j->e.protocol;
    size_t windows = uc_protocol_windows(p, j->e.n_ids), rows, n_labels;
    size_t n = uc_protocol_scored(p, j->e.n_ids, 0, windows);
    const uint32_t *labels;
    uint32_t want[1024];
    int rc;

    if ((rc = uc_blob_rows(j->ctx, "reference/h", j->e.block.hidden, &j->ref_h, &rows, err)) < 0 ||
        (rc = uc_blob_ids(j->ctx, "reference/labels", &labels, &n_labels, err)) < 0)
        return rc;
    if (rows != n || n_labels != n)
        return uc_fail(err, UC_EFAIL,
                       "the reference holds %zu rows and %zu labels, the protocol scores %zu", rows,
                       n_labels, n);
    for (size_t w = 0, at = 0; w < windows; w++) {
        struct uc_span s = uc_protocol_span(p, j->e.n_ids, w);

        for (size_t i = 0; i < s.n_scored; i += UC_COUNT(want)) {
            size_t k = s.n_scored - i < UC_COUNT(want) ? s.n_scored - i : UC_COUNT(want);

            memcpy(want, j->e.ids + s.start + s.first + 1 + i, k * sizeof(*want));
            if (memcmp(want, labels + at, k * sizeof(*want)) != 0)
                return uc_fail(err, UC_EFAIL, "the reference is of another text");
            at += k;
        }
    }
    return 0;
}

static int evaluate(struct job *j, const struct uc_op_input *in, struct uc_err *err)
{
    const struct uc_region file = {in->path, in->offset, in->data, in->size};
    struct uc_named_weights model;
    struct uc_input_weights source;
    json_t *report, *text = json_object_get(j->ctx->params, "text");
    int rc;

    uc_named_weights_init_file(&model, j->names, &j->st, &file);
    uc_input_weights_init(&source, j->ctx, NULL);
    struct uc_eval_pair pair = {
        .source = &source.base,
        .model = &model.base,
        .ref_h = j->ref_h,
        .text_bytes = (uint64_t)uc_json_int(j->ctx->params, "text_bytes", 0),
    };
    rc = uc_eval_run(&j->e, &pair, &report, err);
    if (rc < 0)
        return rc;
    if (text)
        json_object_set(report, "text", text);
    rc = uc_blob_put_json(j->ctx, "report", report, err);
    json_decref(report);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct job j = {.ctx = ctx, .names = json_object_get(ctx->params, "names")};
    const struct uc_op_input *in;
    int rc = uc_op_eval(ctx, &j.e, err);

    if (rc < 0)
        return rc;
    j.e.n_layers = (uint32_t)json_array_size(json_object_get(j.names, "layers"));
    if (!j.e.n_layers)
        return uc_fail(err, UC_EUSAGE, "parameter 'names' must be the model's description");
    rc = check_reference(&j, err);
    if (rc < 0)
        return rc;
    in = uc_op_in(ctx, "model", err);
    if (!in)
        return UC_EFAIL;
    rc = uc_st_parse(&j.st, in->data, in->size, in->size, "model", err);
    if (rc < 0)
        return rc;
    rc = evaluate(&j, in, err);
    uc_st_close(&j.st);
    return rc;
}

const struct uc_op uc_op_bench = {"bench", 1, "an artifact's figures against its source", run};
