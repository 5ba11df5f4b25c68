/*
 * assemble: the artifact's model.safetensors and config.json. Coded tensors are U8 tensors
 * NAME.uca, raw ones keep name, type and shape; what the budget leaves is a U8 tensor of zeros, so
 * that the file has exactly the size that was asked for (count "all").
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "engine/ops/track_a_patch.h"
#include "formats/coded.h"
#include "formats/safetensors.h"
#include "model/dir.h"

struct assembly {
    struct uc_op_ctx *ctx;
    struct ta_streams streams;
    const struct uc_op_input *raw;
    size_t n_raw;
    uint64_t target; /* 0: no padding */
    uint64_t pad, total;
};

static struct uc_st_writer *declare(const struct assembly *a, uint64_t pad, struct uc_err *err)
{
    struct uc_st_writer *w = uc_st_writer_new();

    uc_st_writer_meta(w, "uc_format", "uca1");
    for (size_t i = 0; i < a->streams.n; i++) {
        char *name = uc_xasprintf("%s%s", a->streams.s[i].name, UC_CODED_SUFFIX);
        uc_st_writer_add(w, name, UC_DTYPE_U8, 1, &a->streams.s[i].size);
        free(name);
    }
    for (size_t i = 0; i < a->n_raw; i++) {
        int dtype = a->raw[i].dtype ? uc_dtype_parse(a->raw[i].dtype) : -1;
        if (dtype < 0) {
            uc_fail(err, UC_EFAIL, "%s has no element type", a->raw[i].name);
            uc_st_writer_free(w);
            return NULL;
        }
        uc_st_writer_add(w, a->raw[i].name + strlen("raw/"), (enum uc_dtype)dtype, a->raw[i].n_dim,
                         a->raw[i].shape);
    }
    if (pad)
        uc_st_writer_add(w, UC_PAD_TENSOR, UC_DTYPE_U8, 1, &pad);
    return w;
}

/* Writer whose header is made; the file's whole size in a->total. */
static struct uc_st_writer *lay_out(struct assembly *a, uint64_t pad, char **head, size_t *n,
                                    struct uc_err *err)
{
    struct uc_st_writer *w = declare(a, pad, err);
    const struct uc_tensor_info *last;

    if (!w)
        return NULL;
    if (uc_st_writer_header(w, UC_ST_BY_ALIGNMENT, head, n, err) < 0) {
        uc_st_writer_free(w);
        return NULL;
    }
    last = uc_st_writer_tensor(w, uc_st_writer_count(w) - 1);
    a->total = last->offset + last->size;
    a->pad = pad;
    return w;
}

/* The header's length depends on the digits of the padding's, so the size is found by steps. */
static struct uc_st_writer *lay_out_padded(struct assembly *a, char **head, size_t *n,
                                           struct uc_err *err)
{
    struct uc_st_writer *w = lay_out(a, 0, head, n, err);
    uint64_t pad = 0;

    if (w && a->target && a->total > a->target) {
        uc_fail(err, UC_EFAIL, "the file takes %llu bytes, %llu are allowed",
                (unsigned long long)a->total, (unsigned long long)a->target);
        free(*head);
        uc_st_writer_free(w);
        return NULL;
    }
    for (int step = 0; w && step < 8 && a->target && a->total != a->target; step++) {
        uint64_t room = a->target - a->total + pad;
        if (a->total > a->target)
            room = pad - (a->total - a->target);
        if (step == 0)
            room = room > 128 ? room - 96 : 0;
        if (room == pad || room == 0)
            break;
        free(*head);
        uc_st_writer_free(w);
        pad = room;
        w = lay_out(a, pad, head, n, err);
    }
    return w;
}

static const uint8_t *bytes_of(const struct assembly *a, const char *name)
{
    for (size_t i = 0; i < a->n_raw; i++)
        if (strcmp(a->raw[i].name + strlen("raw/"), name) == 0)
            return a->raw[i].data;
    for (size_t i = 0; i < a->streams.n; i++) {
        size_t n = strlen(a->streams.s[i].name);
        if (strncmp(a->streams.s[i].name, name, n) == 0 && strcmp(name + n, UC_CODED_SUFFIX) == 0)
            return a->streams.s[i].data;
    }
    return NULL;
}

static int write_zeros(struct uc_blob_writer *w, uint64_t n, struct uc_err *err)
{
    static const uint8_t zeros[4096];
    int rc = 0;

    for (; rc == 0 && n; n -= n < sizeof(zeros) ? n : sizeof(zeros))
        rc = uc_blob_add(w, zeros, n < sizeof(zeros) ? n : sizeof(zeros), err);
    return rc;
}

static int write_model(struct assembly *a, struct uc_err *err)
{
    struct uc_blob_writer out;
    char *head;
    size_t n;
    struct uc_st_writer *w = lay_out_padded(a, &head, &n, err);
    int rc;

    if (!w)
        return err->code;
    rc = uc_blob_create(a->ctx, "model", &out, err);
    if (rc == 0) {
        rc = uc_blob_add(&out, head, n, err);
        for (size_t i = 0; rc == 0 && i < uc_st_writer_count(w); i++) {
            const struct uc_tensor_info *t = uc_st_writer_tensor(w, i);
            const uint8_t *p = bytes_of(a, t->name);
            rc = p ? uc_blob_add(&out, p, t->size, err) : write_zeros(&out, t->size, err);
            uc_op_forget(a->ctx, p, p ? t->size : 0);
        }
        rc = uc_blob_close(&out, rc, err);
    }
    free(head);
    uc_st_writer_free(w);
    return rc;
}

static int write_config(struct assembly *a, struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(a->ctx, "config", err);
    double weights = uc_json_num(a->ctx->params, "weights", 0);
    json_t *config, *q;
    char *text;
    int rc;

    if (!in)
        return err->code;
    config = uc_json_parse((const char *)in->data, in->size, "config.json", err);
    if (!config)
        return err->code;
    q = json_pack("{s:s,s:s,s:I,s:s}", "quant_method", "ultracompress", "method",
                  uc_json_str(a->ctx->params, "method", "track-a-row-overlay"), "method_version",
                  (json_int_t)uc_json_int(a->ctx->params, "method_version", 1), "format", "uca1");
    if (weights > 0)
        json_object_set_new(q, "bpw", json_real(8 * (double)a->total / weights));
    json_object_set_new(config, "quantization_config", q);
    text = uc_json_pretty(config);
    json_decref(config);
    rc = uc_op_put(a->ctx, "config", text, strlen(text), err);
    free(text);
    return rc;
}

static json_t *describe(const struct ta_stream *s)
{
    static const char *const copied[] = {"damage", "relative_error", "escapes",    "sha256",
                                         "kind",   "payload_bytes",  "side_bytes", "log2_c_256"};
    struct uc_coded_info info;
    json_t *v;

    if (uc_coded_info(s->data, s->size, &info, NULL) < 0)
        return NULL;
    v = json_pack("{s:I,s:[I,I],s:f}", "bytes", (json_int_t)s->size, "shape", (json_int_t)info.m,
                  (json_int_t)info.n, "bpw",
                  8.0 * (double)s->size / ((double)info.m * (double)info.n));
    for (size_t k = 0; s->info && k < UC_COUNT(copied); k++)
        if (json_object_get(s->info, copied[k]))
            json_object_set(v, copied[k], json_object_get(s->info, copied[k]));
    return v;
}

/* What every tensor takes and is predicted to cost; sums over them. */
static int write_tensors(const struct assembly *a, struct uc_err *err)
{
    json_t *v = json_object(), *coded = json_object(), *raw = json_object();
    uint64_t coded_bytes = 0, raw_bytes = 0;
    double damage = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < a->streams.n; i++) {
        const struct ta_stream *s = &a->streams.s[i];
        json_t *t = describe(s);
        if (!t)
            rc = uc_fail(err, UC_ECORRUPT, "stream of %s is damaged", s->name);
        json_object_set_new(coded, s->name, t);
        coded_bytes += s->size;
        damage += uc_json_num(s->info, "damage", 0);
    }
    for (size_t i = 0; i < a->n_raw; i++) {
        json_object_set_new(raw, a->raw[i].name + strlen("raw/"),
                            json_integer((json_int_t)a->raw[i].size));
        raw_bytes += a->raw[i].size;
    }
    json_object_set_new(v, "coded", coded);
    json_object_set_new(v, "raw", raw);
    json_object_set_new(v, "coded_bytes", json_integer((json_int_t)coded_bytes));
    json_object_set_new(v, "raw_bytes", json_integer((json_int_t)raw_bytes));
    json_object_set_new(v, "pad_bytes", json_integer((json_int_t)a->pad));
    json_object_set_new(v, "file_bytes", json_integer((json_int_t)a->total));
    json_object_set_new(v, "predicted_damage", json_real(damage));
    if (rc == 0)
        rc = uc_blob_put_json(a->ctx, "tensors", v, err);
    json_decref(v);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct assembly a = {.ctx = ctx};
    int64_t target = uc_json_int(ctx->params, "target_bytes", 0);
    int rc = ta_streams_open(&a.streams, ctx, err);

    if (rc < 0)
        return rc;
    a.n_raw = uc_op_in_group(ctx, "raw/", &a.raw);
    if (strcmp(uc_json_str(ctx->params, "count", "all"), "body") != 0 && target > 0)
        a.target = (uint64_t)target;
    rc = write_model(&a, err);
    if (rc == 0)
        rc = write_config(&a, err);
    if (rc == 0)
        rc = write_tensors(&a, err);
    json_object_set_new(ctx->metrics, "pad_bytes", json_integer((json_int_t)a.pad));
    json_object_set_new(ctx->metrics, "file_bytes", json_integer((json_int_t)a.total));
    ta_streams_close(&a.streams);
    return rc;
}

const struct uc_op uc_op_assemble = {
    .name = "assemble",
    .version = 1,
    .summary = "write the artifact's weights and config",
    .run = run,
};
