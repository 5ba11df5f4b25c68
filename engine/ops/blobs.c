#include "engine/ops/blobs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"

/* ---- reading ---- */

static int view(const struct uc_op_input *in, size_t unit, const void **p, size_t *n,
                struct uc_err *err)
{
    if (in->size % unit)
        return uc_fail(err, UC_ECORRUPT,
                       "input '%s': %" PRIu64 " bytes are not a whole number of %zu-byte rows",
                       in->name, in->size, unit);
    if ((uintptr_t)in->data % 8)
        return uc_fail(err, UC_EFAIL, "input '%s' does not start at a multiple of 8 bytes",
                       in->name);
    *p = in->data;
    *n = in->size / unit;
    return 0;
}

int uc_blob_rows(const struct uc_op_ctx *ctx, const char *name, size_t width, const float **p,
                 size_t *n, struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, name, err);
    const void *data = NULL;

    if (!in)
        return UC_EFAIL;
    int rc = view(in, width * sizeof(float), &data, n, err);
    *p = data;
    return rc;
}

int uc_blob_ids(const struct uc_op_ctx *ctx, const char *name, const uint32_t **p, size_t *n,
                struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, name, err);
    const void *data = NULL;

    if (!in)
        return UC_EFAIL;
    int rc = view(in, sizeof(uint32_t), &data, n, err);
    *p = data;
    return rc;
}

struct moments_head {
    uint64_t n, n_tok;
    double weight;
};

static size_t triangle(size_t n)
{
    return n * (n + 1) / 2;
}

int uc_blob_moments(const struct uc_op_input *in, struct uc_moments *out, struct uc_err *err)
{
    const struct moments_head *h;
    const void *data = NULL;
    size_t units;
    int rc = view(in, 8, &data, &units, err);

    if (rc < 0)
        return rc;
    h = data;
    if (in->size < sizeof(*h) || h->n == 0 || h->n > (1u << 20) ||
        in->size != sizeof(*h) + triangle(h->n) * sizeof(double))
        return uc_fail(err, UC_ECORRUPT, "input '%s' does not hold second moments", in->name);
    *out = (struct uc_moments){h->n, h->n_tok, h->weight, (const double *)(h + 1)};
    return 0;
}

/* ---- writing ---- */

bool uc_blob_wanted(const struct uc_op_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < ctx->n_outputs; i++)
        if (strcmp(ctx->outputs[i].name, name) == 0)
            return true;
    return false;
}

int uc_blob_create(const struct uc_op_ctx *ctx, const char *name, struct uc_blob_writer *w,
                   struct uc_err *err)
{
    w->fd = -1;
    w->path = uc_op_out(ctx, name, err);
    if (!w->path)
        return UC_EFAIL;
    w->fd = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return w->fd < 0 ? uc_fail_errno(err, "%s: create", w->path) : 0;
}

int uc_blob_add(struct uc_blob_writer *w, const void *p, size_t n, struct uc_err *err)
{
    return uc_write_all(w->fd, p, n, w->path, err);
}

int uc_blob_close(struct uc_blob_writer *w, int rc, struct uc_err *err)
{
    if (w->fd >= 0 && close(w->fd) < 0 && rc == 0)
        rc = uc_fail_errno(err, "%s: close", w->path);
    w->fd = -1;
    return rc;
}

int uc_blob_put_moments(const struct uc_op_ctx *ctx, const char *name, const double *s, size_t n,
                        uint64_t n_tok, double weight, struct uc_err *err)
{
    const struct moments_head head = {n, n_tok, weight};
    struct uc_blob_writer w;
    int rc;

    for (size_t i = 0; i < n; i++)
        if (!isfinite(s[i * n + i]))
            return uc_fail(err, UC_EFAIL, "'%s': the values of channel %zu overflow or are NaN",
                           name, i);
    rc = uc_blob_create(ctx, name, &w, err);
    if (rc == 0)
        rc = uc_blob_add(&w, &head, sizeof(head), err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = uc_blob_add(&w, s + i * n, (i + 1) * sizeof(*s), err);
    return uc_blob_close(&w, rc, err);
}

int uc_blob_put_rows(const struct uc_op_ctx *ctx, const char *name, const double *h, size_t n,
                     uint64_t n_tok, struct uc_err *err)
{
    const uint64_t head[2] = {n, n_tok};
    struct uc_blob_writer w;
    int rc;

    for (size_t i = 0; i < n; i++)
        if (!isfinite(h[i]))
            return uc_fail(err, UC_EFAIL, "'%s': the gradient of row %zu overflows or is NaN", name,
                           i);
    rc = uc_blob_create(ctx, name, &w, err);
    if (rc == 0)
        rc = uc_blob_add(&w, head, sizeof(head), err);
    if (rc == 0)
        rc = uc_blob_add(&w, h, n * sizeof(*h), err);
    return uc_blob_close(&w, rc, err);
}

int uc_blob_put_factor(const struct uc_op_ctx *ctx, const char *name, const double *l, size_t n,
                       struct uc_err *err)
{
    const uint64_t head = n;
    struct uc_blob_writer w;
    float *row = NULL;
    int rc = uc_alloc(&row, n, sizeof(float), "a row", err);

    if (rc < 0)
        return rc;
    rc = uc_blob_create(ctx, name, &w, err);
    if (rc == 0)
        rc = uc_blob_add(&w, &head, sizeof(head), err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        for (size_t j = 0; j <= i; j++)
            row[j] = (float)l[i * n + j];
        rc = uc_blob_add(&w, row, (i + 1) * sizeof(*row), err);
    }
    free(row);
    return uc_blob_close(&w, rc, err);
}

int uc_blob_put_json(const struct uc_op_ctx *ctx, const char *name, const json_t *v,
                     struct uc_err *err)
{
    char *text = uc_json_canonical(v);
    int rc = uc_op_put(ctx, name, text, strlen(text), err);

    free(text);
    return rc;
}

/* ---- weights ---- */

static int weight_of(const struct uc_op_input *in, struct uc_weight *w, struct uc_err *err)
{
    const struct uc_region at = {in->path, in->offset, in->data, in->size};
    int rc = uc_weight_open(w, &at, in->dtype ? uc_dtype_parse(in->dtype) : -1, in->n_dim,
                            in->shape, err);

    return rc < 0 ? uc_within(err, "input '%s'", in->name) : 0;
}

int uc_blob_weight(const struct uc_op_ctx *ctx, const char *name, struct uc_weight *w,
                   struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, name, err);

    return in ? weight_of(in, w, err) : UC_EFAIL;
}

static int input_get(struct uc_weights *self, int layer, const char *role, struct uc_weight *out,
                     struct uc_err *err)
{
    struct uc_input_weights *w = (struct uc_input_weights *)self;
    char name[128];

    memset(out, 0, sizeof(*out));
    if (layer == UC_NO_LAYER || !w->layer_prefix)
        snprintf(name, sizeof(name), "w/%s", role);
    else
        snprintf(name, sizeof(name), "%s/%03d/w/%s", w->layer_prefix, layer, role);
    const struct uc_op_input *in = uc_op_in_opt(w->ctx, name);
    if (!in && layer == UC_NO_LAYER && strcmp(role, "head") == 0) /* tied */
        in = uc_op_in_opt(w->ctx, "w/embed");
    return in ? weight_of(in, out, err) : uc_fail(err, UC_EFAIL, "input '%s' is missing", name);
}

void uc_input_weights_init(struct uc_input_weights *w, const struct uc_op_ctx *ctx,
                           const char *layer_prefix)
{
    *w = (struct uc_input_weights){{input_get}, ctx, layer_prefix};
}

/* ---- parameters ---- */

int uc_op_int(const struct uc_op_ctx *ctx, const char *name, int64_t lo, int64_t hi,
              int64_t fallback, int64_t *out, struct uc_err *err)
{
    const json_t *v = json_object_get(ctx->params, name);

    *out = fallback;
    if (v && !json_is_integer(v))
        return uc_fail(err, UC_EUSAGE, "parameter '%s' must be a whole number", name);
    if (v)
        *out = json_integer_value(v);
    if (*out < lo || *out > hi)
        return uc_fail(err, UC_EUSAGE,
                       "parameter '%s' must be given, between %" PRId64 " and %" PRId64, name, lo,
                       hi);
    return 0;
}

int uc_op_block(const struct uc_op_ctx *ctx, struct uc_block *b, size_t *seqlen, struct uc_err *err)
{
    int64_t n = 0;
    int rc = uc_block_from_params(json_object_get(ctx->params, "arch"), b, err);

    if (rc < 0 || !seqlen)
        return rc;
    rc = uc_op_int(ctx, "seqlen", 2, 1 << 20, 0, &n, err);
    *seqlen = (size_t)n;
    return rc;
}

void uc_op_progress(struct uc_op_ctx *ctx, uint64_t done, uint64_t total)
{
    if (ctx->progress)
        ctx->progress(ctx, done, total, "tok");
}
