/*
 * allocate: the level C at which all tensors together fill the budget. One C for the whole model is
 * the allocation: sensitivities are absolute, so equal C means equal damage per bit everywhere.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"

enum { POINTS_MAX = 64 };

/* Bits of one tensor over the level in 1/256; monotone cubic through the points measured. */
struct curve {
    int n;
    double x[POINTS_MAX], y[POINTS_MAX], slope[POINTS_MAX];
    double weights;
};

/* Source: Fritsch and Carlson 1980; slopes by weighted harmonic means, flat at turns. */
static void set_slopes(struct curve *c)
{
    for (int i = 1; i + 1 < c->n; i++) {
        double h0 = c->x[i] - c->x[i - 1], h1 = c->x[i + 1] - c->x[i];
        double d0 = (c->y[i] - c->y[i - 1]) / h0, d1 = (c->y[i + 1] - c->y[i]) / h1;
        double w0 = 2 * h1 + h0, w1 = h1 + 2 * h0;
        c->slope[i] = d0 * d1 > 0 ? (w0 + w1) / (w0 / d0 + w1 / d1) : 0;
    }
    c->slope[0] = (c->y[1] - c->y[0]) / (c->x[1] - c->x[0]);
    c->slope[c->n - 1] = 0;
}

static int read_curve(struct curve *c, const struct uc_op_input *in, bool body, struct uc_err *err)
{
    json_t *v = uc_json_parse((const char *)in->data, in->size, in->name, err);
    const json_t *x = json_object_get(v, "log2_c_256"), *y = json_object_get(v, "bits");

    if (!v)
        return err->code;
    c->n = (int)json_array_size(x);
    c->weights = uc_json_num(v, "weights", 0);
    if (body && strcmp(uc_json_str(v, "kind", ""), "embed") == 0)
        c->n = 0;
    else if (c->n < 2 || c->n > POINTS_MAX || json_array_size(y) != (size_t)c->n)
        c->n = -1;
    for (int i = 0; i < c->n; i++) {
        c->x[i] = json_number_value(json_array_get(x, (size_t)i));
        c->y[i] = json_number_value(json_array_get(y, (size_t)i));
        /* estimates of a sample may wobble where next to nothing is left to code */
        if (i && c->y[i] > c->y[i - 1])
            c->y[i] = c->y[i - 1];
        if (i && c->x[i] <= c->x[i - 1])
            c->n = -1;
    }
    json_decref(v);
    if (c->n < 0)
        return uc_fail(err, UC_ECORRUPT, "%s is no rate curve", in->name);
    if (c->n)
        set_slopes(c);
    return 0;
}

static double bits_at(const struct curve *c, double x)
{
    int i = 0;

    if (c->n == 0)
        return 0;
    if (x <= c->x[0]) /* one bit a weight and octave */
        return c->y[0] + c->weights * (c->x[0] - x) / 256;
    if (x >= c->x[c->n - 1])
        return c->y[c->n - 1];
    while (x >= c->x[i + 1])
        i++;
    double h = c->x[i + 1] - c->x[i], t = (x - c->x[i]) / h;
    double a = (1 + 2 * t) * (1 - t) * (1 - t), b = t * (1 - t) * (1 - t);
    double d = t * t * (3 - 2 * t), e = t * t * (t - 1);
    return a * c->y[i] + h * b * c->slope[i] + d * c->y[i + 1] + h * e * c->slope[i + 1];
}

static double total_bytes(const struct curve *c, size_t n, double fixed, int x)
{
    double bits = 0;

    for (size_t i = 0; i < n; i++)
        bits += bits_at(&c[i], x);
    return bits / 8 + fixed;
}

/* weights: those that the budget is counted over. */
static int unreachable(double weights, double target, double low, double high, struct uc_err *err)
{
    uc_fail(
        err, UC_EUSAGE,
        "%.3f bits per weight cannot be reached: with this model and these options the file can "
        "have %.3f to %.3f",
        8 * target / weights, 8 * low / weights, 8 * high / weights);
    return uc_fix(err, "choose a bpw inside that interval");
}

static int find_level(struct uc_op_ctx *ctx, const struct curve *c, size_t n, struct uc_err *err)
{
    double fixed = (double)uc_json_int(ctx->params, "fixed_bytes", 0);
    double target = (double)uc_json_int(ctx->params, "target_bytes", 0);
    double aim = target * (1 - 0.0003), low, high;
    int lo = INT32_MAX, hi = INT32_MIN; /* finest and coarsest level */
    json_t *v;
    int rc;

    for (size_t i = 0; i < n; i++)
        if (c[i].n) {
            lo = c[i].x[0] < lo ? (int)c[i].x[0] : lo;
            hi = c[i].x[c[i].n - 1] > hi ? (int)c[i].x[c[i].n - 1] : hi;
        }
    if (lo > hi)
        return uc_fail(err, UC_EUSAGE, "no tensor is left to code within the budget");
    low = total_bytes(c, n, fixed, hi);
    high = total_bytes(c, n, fixed, lo);
    if (aim < low * 1.002 || aim > high)
        return unreachable(uc_json_num(ctx->params, "weights", 1), target, low * 1.0025, high, err);
    while (hi - lo > 1) {
        int mid = lo + (hi - lo) / 2;
        if (total_bytes(c, n, fixed, mid) > aim)
            lo = mid;
        else
            hi = mid;
    }
    v = json_pack("{s:i,s:I}", "log2_c_256", hi, "predicted_bytes",
                  (json_int_t)total_bytes(c, n, fixed, hi));
    rc = uc_blob_put_json(ctx, "c", v, err);
    json_decref(v);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *in;
    size_t n = uc_op_in_group(ctx, "curve/", &in);
    bool body = strcmp(uc_json_str(ctx->params, "count", "all"), "body") == 0;
    struct curve *curves = NULL;
    int rc = n ? uc_alloc(&curves, n, sizeof(*curves), "rate curves", err)
               : uc_fail(err, UC_EFAIL, "no rate curve is given");

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = read_curve(&curves[i], &in[i], body, err);
    if (rc == 0)
        rc = find_level(ctx, curves, n, err);
    free(curves);
    return rc;
}

const struct uc_op uc_op_allocate = {
    .name = "allocate",
    .version = 1,
    .summary = "find the level at which the coded tensors fill the budget",
    .run = run,
};
