/* Rounding rows and choosing their contexts. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/ops/track_a.h"
#include "formats/coded.h"
#include "formats/coded_enc.h"
#include "formats/coded_rans.h"
#include "kernels/convert.h"
#include "kernels/fmath.h"

enum { CLASS_ONE = UC_CODED_CLASS_OF_ONE, TILE = UC_LDLQ_LANES * UC_LDLQ_PANELS };

static int16_t class_of(double variance)
{
    double v = 2 * uc_log2(variance > 1e-12 ? variance : 1e-12);
    int c = (int)(v + 4096.5) - 4096;

    return (int16_t)(c < UC_CODED_CLASS_MIN   ? UC_CODED_CLASS_MIN
                     : c > UC_CODED_CLASS_MAX ? UC_CODED_CLASS_MAX
                                              : c);
}

void ta_load_row(const struct ta_tensor *t, size_t o, float *row)
{
    uc_to_f32(row, t->data + o * t->n * (uc_dtype_bits(t->dtype) / 8), t->dtype, t->n);
}

/* Mean over columns of the expected squared codes, each over that of its column's class. */
static double row_variance(const struct ta_plan *p, const struct ta_tensor *t, const float *row,
                           float inv, const float *of_class)
{
    double sum = 0;

    for (size_t j = 0; j < t->n; j++) {
        size_t s = t->n - 1 - j;
        float u = row[j] * (inv * p->inv[s]);
        sum += (double)((u * u + t->noise[s]) * of_class[p->col_class[j] - UC_CODED_CLASS_MIN]);
    }
    return sum / (double)t->n;
}

/* [class - UC_CODED_CLASS_MIN]: reciprocal variance of a column class, at row class 0. */
static void class_scales(float of_class[256])
{
    for (int c = 0; c < 256; c++)
        of_class[c] = uc_coded_step(-16 * (c + UC_CODED_CLASS_MIN - CLASS_ONE));
}

/* Column classes before anything was rounded: from the weights and the feedback's noise. */
static int expect_columns(struct ta_plan *p, const struct ta_tensor *t, const size_t *rows,
                          size_t count, struct uc_err *err)
{
    double *sum = NULL;
    float *row = NULL;
    int rc = uc_alloc(&sum, t->n, sizeof(double), "column sums", err);

    if (rc == 0)
        rc = uc_alloc(&row, t->n, sizeof(float), "a row", err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        float inv = uc_coded_step(-p->row_step[rows[i]]);
        ta_load_row(t, rows[i], row);
        for (size_t j = 0; j < t->n; j++) {
            float u = row[j] * (inv * p->inv[t->n - 1 - j]);
            sum[j] += (double)(u * u);
        }
    }
    for (size_t j = 0; rc == 0 && j < t->n; j++) {
        size_t s = t->n - 1 - j;
        p->col_class[j] =
            (int16_t)(class_of(sum[j] / (double)count + (double)t->noise[s]) + CLASS_ONE);
        if (p->col_class[j] > UC_CODED_CLASS_MAX)
            p->col_class[j] = UC_CODED_CLASS_MAX;
        p->class[s] = p->col_class[j];
    }
    free(sum);
    free(row);
    return rc;
}

/* Rows into the panels of the kernel, last column first; their steps and expected classes. */
static size_t load_tile(const struct ta_plan *p, const struct ta_tensor *t, const size_t *rows,
                        size_t row0, size_t n_rows, struct ta_scratch *s, double *weight2)
{
    size_t panels = (n_rows + UC_LDLQ_LANES - 1) / UC_LDLQ_LANES, n = t->n;
    float of_class[256];

    class_scales(of_class);
    memset(s->w, 0, panels * UC_LDLQ_LANES * n * sizeof(float));
    for (size_t r = 0; r < panels * UC_LDLQ_LANES; r++) {
        float *lane = s->w + r / UC_LDLQ_LANES * n * UC_LDLQ_LANES + r % UC_LDLQ_LANES;
        size_t o = r >= n_rows ? 0 : rows ? rows[r] : row0 + r;
        double sum = 0;

        s->row_step[r] = s->row_inv[r] = 1;
        s->row_class[r] = 0;
        if (r >= n_rows)
            continue;
        s->row_step[r] = uc_coded_step(p->row_step[o]);
        s->row_inv[r] = uc_coded_step(-p->row_step[o]);
        ta_load_row(t, o, s->row);
        for (size_t j = 0; j < n; j++) {
            lane[(n - 1 - j) * UC_LDLQ_LANES] = s->row[j];
            sum += (double)(s->row[j] * s->row[j]);
        }
        *weight2 += sum;
        p->row_class[o] = class_of(row_variance(p, t, s->row, s->row_inv[r], of_class));
        s->row_class[r] = p->row_class[o];
    }
    return panels;
}

void ta_round_rows(const struct ta_plan *p, const struct ta_tensor *t,
                   const struct ta_tables *tables, const size_t *rows, size_t row0, size_t n_rows,
                   int32_t *codes, struct ta_scratch *s, struct ta_result *r)
{
    double weight2 = 0;
    size_t n = t->n;
    struct uc_ldlq_tile tile = {
        .n = n,
        .n_panels = load_tile(p, t, rows, row0, n_rows, s, &weight2),
        .a = t->a,
        .diag = t->diag,
        .inv_diag = t->inv_diag,
        .col_step = p->step,
        .col_inv = p->inv,
        .col_class = p->class,
        .row_step = s->row_step,
        .row_inv = s->row_inv,
        .row_class = s->row_class,
        .round = tables->round[p->shape],
        .w = s->w,
        .acc = s->acc,
        .damage = s->damage,
        .square = s->square,
    };

    uc_ldlq(&tile);
    for (size_t i = 0; i < n_rows; i++) {
        const float *lane = s->acc + i / UC_LDLQ_LANES * n * UC_LDLQ_LANES + i % UC_LDLQ_LANES;
        for (size_t j = 0; j < n; j++)
            memcpy(&codes[i * n + j], &lane[(n - 1 - j) * UC_LDLQ_LANES], sizeof(int32_t));
        if (r) {
            r->damage += 0.5 * t->h[rows ? rows[i] : row0 + i] * s->damage[i];
            r->square += s->square[i];
        }
    }
    if (r)
        r->weight2 += weight2;
}

static uint64_t row_cost(int class, const struct ta_plan *p, const struct ta_tensor *t,
                         const struct ta_tables *tables, const int32_t *codes)
{
    uint64_t cost = 0;

    for (size_t j = 0; j < t->n; j++)
        cost += ta_code_cost(tables, p->shape, class + p->col_class[j], codes[j]);
    return cost;
}

uint64_t ta_fit_row(int16_t *row_class, const struct ta_plan *p, const struct ta_tensor *t,
                    const struct ta_tables *tables, const int32_t *codes)
{
    int best = *row_class;
    uint64_t least = row_cost(best, p, t, tables, codes), cost;

    for (int way = -1; way <= 1; way += 2)
        for (int c = *row_class + way; c >= UC_CODED_CLASS_MIN && c <= UC_CODED_CLASS_MAX;
             c += way) {
            cost = row_cost(c, p, t, tables, codes);
            if (cost >= least)
                break;
            least = cost;
            best = c;
        }
    *row_class = (int16_t)best;
    return least;
}

/* A sample of rows and what became of it. */
struct sample {
    struct ta_plan *p;
    const struct ta_tensor *t;
    const struct ta_tables *tables;
    size_t *rows, count;
    int32_t *codes;
    struct ta_scratch *scratch; /* one a thread */
};

static void round_tile(void *arg, size_t item, int thread)
{
    struct sample *s = arg;
    size_t first = item * TILE, n = s->count - first < TILE ? s->count - first : TILE;

    ta_round_rows(s->p, s->t, s->tables, s->rows + first, 0, n, s->codes + first * s->t->n,
                  &s->scratch[thread], NULL);
}

enum { REACH = 2 }; /* classes tried on either side */

/* One pass over the columns: each class to where the sample's codes are cheapest. */
static int fit_columns(struct sample *s, struct uc_err *err)
{
    struct ta_plan *p = s->p;
    size_t n = s->t->n;
    uint64_t *cost;
    int rc = uc_alloc(&cost, n * (2 * REACH + 1), sizeof(uint64_t), "column costs", err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->count; i++) {
        int row = p->row_class[s->rows[i]];
        for (size_t j = 0; j < n; j++)
            for (int d = -REACH; d <= REACH; d++)
                cost[j * (2 * REACH + 1) + (size_t)(d + REACH)] += ta_code_cost(
                    s->tables, p->shape, row + p->col_class[j] + d, s->codes[i * n + j]);
    }
    for (size_t j = 0; j < n; j++) {
        const uint64_t *c = cost + j * (2 * REACH + 1) + REACH;
        int best = 0;
        for (int d = -REACH; d <= REACH; d++)
            if (c[d] < c[best] && p->col_class[j] + d >= UC_CODED_CLASS_MIN &&
                p->col_class[j] + d <= UC_CODED_CLASS_MAX)
                best = d;
        p->col_class[j] = (int16_t)(p->col_class[j] + best);
        p->class[n - 1 - j] = p->col_class[j];
    }
    free(cost);
    return 0;
}

/* Rows' classes refitted; the total cost in 1/256 bit. */
static uint64_t fit_rows(struct sample *s)
{
    uint64_t cost = 0;

    for (size_t i = 0; i < s->count; i++)
        cost +=
            ta_fit_row(&s->p->row_class[s->rows[i]], s->p, s->t, s->tables, s->codes + i * s->t->n);
    return cost;
}

static void fit_shape(struct sample *s)
{
    uint64_t least = UINT64_MAX;
    unsigned best = 0;

    for (unsigned shape = 0; shape < UC_CODED_SHAPES; shape++) {
        uint64_t cost = 0;
        s->p->shape = shape;
        for (size_t i = 0; i < s->count; i++)
            cost += row_cost(s->p->row_class[s->rows[i]], s->p, s->t, s->tables,
                             s->codes + i * s->t->n);
        if (cost < least) {
            least = cost;
            best = shape;
        }
    }
    s->p->shape = best;
}

static int fit_sample(struct sample *s, struct uc_pool *pool, double *bits, struct uc_err *err)
{
    uint64_t cost = 0;

    if (expect_columns(s->p, s->t, s->rows, s->count, err) < 0)
        return err->code;
    uc_pool_run(pool, (s->count + TILE - 1) / TILE, round_tile, s);
    for (int pass = 0; pass < 2; pass++) {
        fit_rows(s);
        if (fit_columns(s, err) < 0)
            return err->code;
        if (pass == 0)
            fit_shape(s);
    }
    cost = fit_rows(s);
    if (bits)
        *bits = (double)cost / 256;
    return 0;
}

int ta_fit(struct ta_plan *p, const struct ta_tensor *t, const struct ta_tables *tables,
           size_t count, struct uc_pool *pool, double *bits, struct uc_err *err)
{
    struct sample s = {.p = p, .t = t, .tables = tables};
    size_t threads = (size_t)uc_pool_threads(pool), ready = 0;
    int rc;

    s.count = count < t->m ? count : t->m;
    rc = uc_alloc(&s.rows, s.count, sizeof(size_t), "sample", err);
    if (rc == 0)
        rc = uc_alloc(&s.codes, s.count * t->n, sizeof(int32_t), "codes of the sample", err);
    if (rc == 0)
        rc = uc_alloc(&s.scratch, threads, sizeof(*s.scratch), "sample", err);
    for (; rc == 0 && ready < threads; ready++)
        rc = ta_scratch_init(&s.scratch[ready], t->n, 0, err);
    if (rc == 0) {
        for (size_t i = 0; i < s.count; i++)
            s.rows[i] = t->by_h[(2 * i + 1) * t->m / (2 * s.count)];
        rc = fit_sample(&s, pool, bits, err);
    }
    for (size_t k = 0; s.scratch && k < threads; k++)
        ta_scratch_release(&s.scratch[k]);
    free(s.scratch);
    free(s.codes);
    free(s.rows);
    return rc;
}
