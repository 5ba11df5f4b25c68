#include "engine/ops/track_a.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "formats/coded.h"
#include "formats/coded_enc.h"
#include "formats/coded_rans.h"
#include "kernels/convert.h"
#include "kernels/fmath.h"

/* What a saved bit may cost in steps^2. 2 ln 2 / 12 is the slope of distortion over rate of an
 * entropy-coded uniform quantizer: there the predicted damage is least, but weights shrink, in
 * every layer alike. Without any they swell; at half the slope they keep their energy. Measured on
 * SmolLM2 at 2.798 bits, 16 windows, one realisation each: KLD .240 at 0; .216 .217 .219 at half;
 * .226 at 0.78; .239 .234 .231 at 1; .211 at half in the body and 1 in the embedding. */
static const double TA_SLOPE = 0.11552453009332421, TA_SLOPE_BODY = 0.057762265046662105;
/* The step of a table whose rows are tokens: its damage is underestimated (measured over predicted
 * KLD 3.3, body 1.75; research/track-a-prototype.md, "What it taught"). */
static const double TA_EMBED_SCALE = 0.7;
enum { ROW_RANGE = 256 }; /* row steps stay within 2^8 of the median row's */

/* --- Tables ----------------------------------------------------------------------------------- */

static double size_bits(const uint16_t *f, int k_max, int size)
{
    int tail = 0;

    if (size <= k_max)
        return UC_CODED_FREQ_BITS - uc_log2(f[size]);
    while ((size - k_max) >> (tail + 1))
        tail++;
    return UC_CODED_FREQ_BITS - uc_log2(f[UC_CODED_K + 1]) + 6 + tail;
}

static void class_tables(struct ta_tables *t, int shape, int class, double slope)
{
    const uint16_t *f = uc_coded_freq[shape][class];
    uint16_t *cost = t->cost[shape][class];
    float *round = t->round[shape] + class * UC_LDLQ_SIZES;
    int k_max = UC_CODED_K;

    while (f[k_max] == 0)
        k_max--;
    t->k_max[shape][class] = (uint8_t)k_max;
    for (int k = 0; k <= UC_CODED_K; k++) {
        double bits = size_bits(f, k_max, k);
        double more = k ? slope / 2 * (bits - size_bits(f, k_max, k - 1)) : 0;
        cost[k] = (uint16_t)(256 * bits + 0.5);
        round[k] = (float)(more < 0 ? 0 : more > 0.95 ? 0.95 : more);
    }
    cost[UC_CODED_K + 1] = (uint16_t)(256 * size_bits(f, k_max, k_max + 1) + 0.5);
}

void ta_tables_init(struct ta_tables *t, bool embed)
{
    memset(t, 0, sizeof(*t));
    for (int s = 0; s < UC_CODED_SHAPES; s++)
        for (int c = 0; c < UC_CODED_CLASSES; c++)
            class_tables(t, s, c, embed ? TA_SLOPE : TA_SLOPE_BODY);
}

uint32_t ta_code_cost(const struct ta_tables *t, unsigned shape, int sum, int32_t code)
{
    uint32_t size = (uint32_t)(code < 0 ? -code : code), tail;
    int shift, c = coded_class(sum, &shift);

    if (shift)
        size = (size + (1u << (shift - 1))) >> shift;
    if (size <= t->k_max[shape][c])
        return t->cost[shape][c][size] + 256u * (uint32_t)shift;
    tail = 31 - (uint32_t)__builtin_clz(size - t->k_max[shape][c]);
    return t->cost[shape][c][UC_CODED_K + 1] + 256u * (tail + (uint32_t)shift);
}

/* --- Inputs of a tensor ----------------------------------------------------------------------- */

static int open_weight(struct ta_tensor *t, const struct uc_op_ctx *ctx, const char *name,
                       struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, name, err);
    int dtype;

    if (!in)
        return err->code;
    dtype = in->dtype ? uc_dtype_parse(in->dtype) : -1;
    if (dtype != UC_DTYPE_BF16 && dtype != UC_DTYPE_F16 && dtype != UC_DTYPE_F32)
        return uc_fail(err, UC_EREFUSED, "%s: weights of type %s cannot be quantized", name,
                       in->dtype ? in->dtype : "?");
    if (in->n_dim != 2 || in->shape[0] == 0 || in->shape[1] == 0)
        return uc_fail(err, UC_EREFUSED, "%s is not a matrix", name);
    t->dtype = (enum uc_dtype)dtype;
    t->m = in->shape[0];
    t->n = in->shape[1];
    t->data = in->data;
    if (in->size / t->m / t->n != uc_dtype_bits(t->dtype) / 8)
        return uc_fail(err, UC_ECORRUPT, "%s: %llu bytes do not fit its shape", name,
                       (unsigned long long)in->size);
    return 0;
}

static int open_factor(struct ta_tensor *t, const struct uc_op_ctx *ctx, const char *name,
                       struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, name, err);
    size_t n = t->n;
    uint64_t n_in;

    if (!in)
        return err->code;
    if (in->size != 8 + 2 * n * (n + 1))
        return uc_fail(err, UC_ECORRUPT, "%s is no factor of %zu columns", name, n);
    memcpy(&n_in, in->data, 8);
    if (n_in != n)
        return uc_fail(err, UC_ECORRUPT, "%s is a factor of %llu columns, not %zu", name,
                       (unsigned long long)n_in, n);
    if (uc_alloc(&t->a, n * n, sizeof(float), "factor", err) < 0 ||
        uc_alloc(&t->diag, n, sizeof(float), "factor", err) < 0 ||
        uc_alloc(&t->inv_diag, n, sizeof(float), "factor", err) < 0 ||
        uc_alloc(&t->noise, n, sizeof(float), "factor", err) < 0)
        return err->code;
    uc_ldlq_factor(t->a, t->diag, t->inv_diag, (const float *)(const void *)(in->data + 8), n);
    for (size_t j = 0; j < n; j++)
        if (!(t->diag[j] > 0) || t->diag[j] > 1e30f)
            return uc_fail(err, UC_ECORRUPT, "%s: diagonal entry %zu is not a positive number",
                           name, n - 1 - j);
    for (size_t s = 0; s < n; s++)
        for (size_t i = s + 1; i < n; i++) {
            float r = t->a[s * n + i] * t->inv_diag[s];
            t->noise[i] += r * r * (1.0f / 12);
        }
    return 0;
}

static int add_counts(struct ta_tensor *t, const struct uc_op_input *in, double *total,
                      struct uc_err *err)
{
    if (in->size != 4 * t->m)
        return uc_fail(err, UC_ECORRUPT, "%s: %llu bytes, %zu counts expected", in->name,
                       (unsigned long long)in->size, t->m);
    for (size_t o = 0; o < t->m; o++) {
        uint32_t c;
        memcpy(&c, in->data + 4 * o, 4);
        t->h[o] += c;
        *total += c;
    }
    return 0;
}

static int add_rows(struct ta_tensor *t, const struct uc_op_input *in, double *total,
                    struct uc_err *err)
{
    uint64_t head[2] = {0};

    if (in->size == 16 + 8 * t->m)
        memcpy(head, in->data, 16);
    if (head[0] != t->m)
        return uc_fail(err, UC_ECORRUPT, "%s holds no sums of %zu rows", in->name, t->m);
    for (size_t o = 0; o < t->m; o++) {
        double v;
        memcpy(&v, in->data + 16 + 8 * o, 8);
        if (!(v >= 0) || v > 1e300)
            return uc_fail(err, UC_EFAIL, "%s: the sensitivity of row %zu is not finite", in->name,
                           o);
        t->h[o] += v;
    }
    *total += (double)head[1];
    return 0;
}

static int compare_h(const void *a, const void *b, void *arg)
{
    const double *h = arg;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return h[x] < h[y] ? -1 : h[x] > h[y] ? 1 : x < y ? -1 : x > y;
}

/* Sensitivities: mean over tokens of the squared gradient; tokens: smoothed frequency. */
static int open_rows(struct ta_tensor *t, const struct uc_op_ctx *ctx, const char *prefix,
                     struct uc_err *err)
{
    const struct uc_op_input *in;
    size_t count = uc_op_in_group(ctx, prefix, &in);
    double total = 0, top;

    if (count == 0)
        return uc_fail(err, UC_EFAIL, "input %s000 is missing", prefix);
    if (uc_alloc(&t->h, t->m, sizeof(double), "sensitivities", err) < 0 ||
        uc_alloc(&t->by_h, t->m, sizeof(size_t), "sensitivities", err) < 0)
        return err->code;
    for (size_t k = 0; k < count; k++)
        if ((t->embed ? add_counts(t, &in[k], &total, err) : add_rows(t, &in[k], &total, err)) < 0)
            return err->code;
    for (size_t o = 0; o < t->m; o++) {
        t->h[o] = t->embed ? (t->h[o] + 0.5) / (total + 0.5 * (double)t->m)
                           : t->h[o] / (total > 0 ? total : 1);
        t->by_h[o] = o;
    }
    qsort_r(t->by_h, t->m, sizeof(size_t), compare_h, t->h);
    top = t->h[t->by_h[t->m - 1]];
    /* a tensor that nothing depends on still needs finite steps */
    for (size_t o = 0; o < t->m; o++)
        t->h[o] = t->h[o] > top * 0x1p-40 ? t->h[o] : top > 0 ? top * 0x1p-40 : 1e-30;
    t->h_median = t->h[t->by_h[t->m / 2]];
    return 0;
}

/* The grid on which a finer step no longer pays for its bits: 0.69 q^2 / 12 bits a weight are lost
 * to a grid of q octaves, and a step costs log2(1 / q) bits of side information. In 1/32 octave. */
static int step_unit(size_t weights_per_step)
{
    int unit = 32;

    while (unit > 1 && (size_t)unit * (size_t)unit * weights_per_step > 2 * 12.5 * 32 * 32)
        unit /= 2;
    return unit;
}

int ta_tensor_open(struct ta_tensor *t, const struct uc_op_ctx *ctx, const struct ta_names *names,
                   struct uc_err *err)
{
    int rc;

    memset(t, 0, sizeof(*t));
    t->embed = names->embed;
    t->scale = names->scale;
    rc = open_weight(t, ctx, names->weight, err);
    if (rc == 0)
        rc = open_factor(t, ctx, names->l, err);
    if (rc == 0)
        rc = open_rows(t, ctx, names->rows, err);
    if (rc < 0) {
        ta_tensor_close(t);
        return rc;
    }
    t->col_unit = step_unit(t->m);
    t->row_unit = step_unit(t->n);
    if (t->row_unit < (t->embed ? 8 : 4)) /* sensitivities are not known better than this */
        t->row_unit = t->embed ? 8 : 4;
    return 0;
}

void ta_tensor_close(struct ta_tensor *t)
{
    free(t->h);
    free(t->by_h);
    free(t->a);
    free(t->diag);
    free(t->inv_diag);
    free(t->noise);
    memset(t, 0, sizeof(*t));
}

int ta_names_params(struct ta_names *names, const json_t *params, struct uc_err *err)
{
    const char *kind = uc_json_str(params, "kind", "linear");
    const json_t *options = json_object_get(params, "options");

    if (strcmp(kind, "linear") != 0 && strcmp(kind, "embed") != 0)
        return uc_fail(err, UC_EUSAGE, "kind \"%s\": \"linear\" or \"embed\" expected", kind);
    names->embed = strcmp(kind, "embed") == 0;
    names->scale = uc_json_num(options, "scale", 1.0);
    if (!(names->scale >= 1e-3 && names->scale <= 1e3))
        return uc_fail(err, UC_EUSAGE, "options.scale %g is not in 0.001 .. 1000", names->scale);
    return 0;
}

/* --- Steps ------------------------------------------------------------------------------------ */

static int16_t on_grid(double value32, int unit, int low, int high)
{
    double x = value32 / unit;
    int v;

    if (!(x > -4096))
        x = -4096;
    if (x > 4096)
        x = 4096;
    v = (int)(x + 4096.5) - 4096;
    v *= unit;
    return (int16_t)(v < low ? low : v > high ? high : v);
}

int ta_plan_init(struct ta_plan *p, const struct ta_tensor *t, int log2_c, struct uc_err *err)
{
    double scale = t->scale * (t->embed ? TA_EMBED_SCALE : 1);
    double level = log2_c / 256.0 + uc_log2(scale) - 0.5 * uc_log2(t->h_median);
    int low = (UC_CODED_STEP_MIN + t->col_unit) / t->col_unit * t->col_unit;

    memset(p, 0, sizeof(*p));
    p->log2_c = log2_c;
    p->shape = 1;
    if (uc_alloc(&p->row_step, t->m, 2, "steps", err) < 0 ||
        uc_alloc(&p->row_class, t->m, 2, "classes", err) < 0 ||
        uc_alloc(&p->col_step, t->n, 2, "steps", err) < 0 ||
        uc_alloc(&p->col_class, t->n, 2, "classes", err) < 0 ||
        uc_alloc(&p->step, t->n, sizeof(float), "steps", err) < 0 ||
        uc_alloc(&p->inv, t->n, sizeof(float), "steps", err) < 0 ||
        uc_alloc(&p->class, t->n, sizeof(int32_t), "classes", err) < 0) {
        ta_plan_release(p);
        return err->code;
    }
    for (size_t o = 0; o < t->m; o++)
        p->row_step[o] =
            on_grid(-16 * uc_log2(t->h[o] / t->h_median), t->row_unit, -ROW_RANGE, ROW_RANGE);
    for (size_t j = 0; j < t->n; j++) {
        size_t s = t->n - 1 - j;
        p->col_step[j] = on_grid(32 * (level - uc_log2(t->diag[s])), t->col_unit, low,
                                 UC_CODED_STEP_MAX / 32 * 32);
        p->step[s] = uc_coded_step(p->col_step[j]);
        p->inv[s] = uc_coded_step(-p->col_step[j]);
    }
    return 0;
}

void ta_plan_release(struct ta_plan *p)
{
    free(p->row_step);
    free(p->row_class);
    free(p->col_step);
    free(p->col_class);
    free(p->step);
    free(p->inv);
    free(p->class);
    memset(p, 0, sizeof(*p));
}

int ta_scratch_init(struct ta_scratch *s, size_t n, size_t rows, struct uc_err *err)
{
    memset(s, 0, sizeof(*s));
    if (uc_alloc(&s->w, 64 * n, sizeof(float), "rows", err) == 0 &&
        uc_alloc(&s->acc, 64 * n, sizeof(float), "rows", err) == 0 &&
        uc_alloc(&s->row, n, sizeof(float), "a row", err) == 0 &&
        (rows == 0 || uc_alloc(&s->codes, rows * n, sizeof(int32_t), "codes", err) == 0))
        return 0;
    ta_scratch_release(s);
    return err->code;
}

void ta_scratch_release(struct ta_scratch *s)
{
    free(s->w);
    free(s->acc);
    free(s->row);
    free(s->codes);
    memset(s, 0, sizeof(*s));
}

int ta_level(const struct uc_op_ctx *ctx, int *log2_c, struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, "c", err);
    json_t *c;
    int64_t v;

    if (!in)
        return err->code;
    c = uc_json_parse((const char *)in->data, in->size, "c", err);
    if (!c)
        return err->code;
    v = uc_json_int(c, "log2_c_256", INT64_MIN);
    json_decref(c);
    if (v < -256 * 64 || v > 256 * 64)
        return uc_fail(err, UC_ECORRUPT, "c: log2_c_256 is missing or out of range");
    *log2_c = (int)v;
    return 0;
}
