/*
 * rate: what one tensor costs at a few levels, from a sample of its rows. Rows do not depend on one
 * another, so the sample's codes are real ones; only what columns share is fitted to fewer rows.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "engine/ops/track_a.h"
#include "kernels/fmath.h"

/* log2 C around the level of about 2.8 bits, in 1/256: from 8 bits to next to nothing. */
static const int offsets[] = {-1280, -896, -640, -448, -288, -144, 0,
                              144,   288,  448,  704,  1024, 1536};
enum { POINTS = sizeof(offsets) / sizeof(offsets[0]) };

static size_t sample_rows(const struct ta_tensor *t)
{
    size_t count = t->m / 24;

    if (t->embed) /* rare and frequent tokens differ much */
        count = 512;
    count = count < 32 ? 32 : count > 512 ? 512 : count;
    return count < t->m ? count : t->m;
}

/* The level at which the weights' rms is 2^0.75 steps, by the geometric mean over columns. */
static int middle_level(const struct ta_tensor *t, struct uc_err *err)
{
    struct ta_plan p;
    double sum = 0, row2 = 0;
    float *row = NULL;
    size_t count = sample_rows(t);

    if (ta_plan_init(&p, t, 0, err) < 0)
        return INT32_MIN;
    for (size_t j = 0; j < t->n; j++)
        sum += p.col_step[j] / 32.0;
    if (uc_alloc(&row, t->n, sizeof(float), "a row", err) < 0) {
        ta_plan_release(&p);
        return INT32_MIN;
    }
    for (size_t i = 0; i < count; i++) {
        size_t o = t->by_h[(2 * i + 1) * t->m / (2 * count)];
        double square = 0;
        ta_load_row(t, o, row);
        for (size_t j = 0; j < t->n; j++)
            square += (double)(row[j] * row[j]);
        row2 += 0.5 * uc_log2(square / (double)t->n + 1e-60) - p.row_step[o] / 32.0;
    }
    free(row);
    ta_plan_release(&p);
    return (int)(256 * (row2 / (double)count - sum / (double)t->n - 0.75 + 64)) - 256 * 64;
}

/* Bits of the whole tensor from those of `count` rows. A column's class fitted to few rows looks
 * cheaper than it will be: half a nat in theory, 1.15 bits measured. Side information: step and
 * class take about 4.5 bits. */
static double whole_bits(const struct ta_tensor *t, double bits, size_t count)
{
    double m = (double)t->m, n = (double)t->n, share = m / (double)count;

    return bits * share + 1.15 * n * (share - 1) + 4.5 * (m + n) + 8 * 100;
}

static int measure(const struct ta_tensor *t, struct uc_op_ctx *ctx, json_t *levels, json_t *bits,
                   struct uc_err *err)
{
    struct ta_tables *tables = NULL;
    size_t count = sample_rows(t);
    int middle = middle_level(t, err), rc;

    if (middle == INT32_MIN)
        return err->code;
    rc = uc_alloc(&tables, 1, sizeof(*tables), "cost tables", err);
    if (rc == 0)
        ta_tables_init(tables, t->embed);
    for (int i = 0; rc == 0 && i < POINTS; i++) {
        struct ta_plan p;
        double cost = 0;

        rc = ta_plan_init(&p, t, middle + offsets[i], err);
        if (rc < 0)
            break;
        rc = ta_fit(&p, t, tables, count, ctx->pool, &cost, err);
        json_array_append_new(levels, json_integer(middle + offsets[i]));
        json_array_append_new(bits, json_integer((json_int_t)whole_bits(t, cost, count)));
        ta_plan_release(&p);
    }
    free(tables);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct ta_names names = {.weight = "weight", .l = "l"};
    struct ta_tensor t = {0};
    json_t *curve = json_object(), *levels = json_array(), *bits = json_array();
    int rc = ta_names_params(&names, ctx->params, err);

    names.rows = names.embed ? "counts/" : "h/";
    if (rc == 0)
        rc = ta_tensor_open(&t, ctx, &names, err);
    if (rc == 0)
        rc = measure(&t, ctx, levels, bits, err);
    json_object_set_new(curve, "log2_c_256", levels);
    json_object_set_new(curve, "bits", bits);
    json_object_set_new(curve, "kind", json_string(names.embed ? "embed" : "linear"));
    json_object_set_new(curve, "weights", json_integer((json_int_t)(t.m * t.n)));
    if (rc == 0)
        rc = uc_blob_put_json(ctx, "curve", curve, err);
    json_decref(curve);
    ta_tensor_close(&t);
    return rc;
}

const struct uc_op uc_op_rate = {
    .name = "rate",
    .version = 2,
    .summary = "estimate what one tensor costs at a few levels",
    .run = run,
};
