#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/ldlq.h"
#include "tests/kernels/check.h"

enum { ROUND = UC_LDLQ_CLASSES * UC_LDLQ_SIZES };

static float bf16(float x)
{
    uint32_t u;

    memcpy(&u, &x, 4);
    u += 0x7fff + (u >> 16 & 1);
    u &= 0xffff0000;
    memcpy(&x, &u, 4);
    return x;
}

static int32_t code_for(const struct uc_ldlq_tile *q, float u, int32_t class)
{
    float size = fabsf(u) < 16777216.0f ? fabsf(u) : 16777216.0f;
    int32_t r = (int32_t)rintf(size), c = class < 0 ? 0 : class > 32 ? 32 : class;

    if (size < (float)r - 0.5f + q->round[c * UC_LDLQ_SIZES + (r < 31 ? r : 31)])
        r--;
    return u < 0 ? -r : r;
}

/* One row after the other, column after column, as ldlq.h states it. */
static void reference(const struct uc_ldlq_tile *q)
{
    for (size_t o = 0; o < q->n_panels * 16; o++) {
        float *w = q->w + o / 16 * q->n * 16 + o % 16, *k = q->acc + (w - q->w);
        float damage = 0, square = 0;

        q->damage[o] = q->square[o] = 0;
        for (size_t t = 0; t < q->n; t++) {
            float acc = 0;
            for (size_t s = 0; s < t; s++)
                acc = fmaf(q->a[s * q->n + t], w[s * 16], acc);
            float y = fmaf(acc, q->inv_diag[t], w[t * 16]);
            float step = q->row_step[o] * q->col_step[t];
            int32_t code =
                code_for(q, y * (q->row_inv[o] * q->col_inv[t]), q->row_class[o] + q->col_class[t]);
            float v = bf16((float)code * step), d = (y - v) * q->diag[t];
            w[t * 16] -= v;
            memcpy(&k[t * 16], &code, 4);
            damage = fmaf(d, d, damage);
            square = fmaf(w[t * 16], w[t * 16], square);
            if (t % 32 == 31 || t + 1 == q->n) {
                q->damage[o] += (double)damage;
                q->square[o] += (double)square;
                damage = square = 0;
            }
        }
    }
}

/* Columns of very different scale, as in a real factor. */
static void fill(struct uc_ldlq_tile *q, float *a, float *cols, int32_t *class, float *rows,
                 int32_t *row_class, float *round)
{
    size_t n = q->n, m = q->n_panels * 16;

    check_fill_f32(a, n * n, CHECK_PLAIN);
    check_fill_f32(round, ROUND, CHECK_PLAIN);
    for (size_t i = 0; i < ROUND; i++)
        round[i] = i < ROUND - UC_LDLQ_SIZES ? fminf(fabsf(round[i]) * 0.3f, 0.95f) : 0;
    for (size_t t = 0; t < n; t++) {
        cols[t] = ldexpf(1 + (float)check_range(0, 7) / 8, (int)check_range(0, 9) - 5);
        cols[n + t] = 1 / cols[t];
        cols[2 * n + t] = 0.05f / cols[t];
        cols[3 * n + t] = 1 / cols[2 * n + t];
        class[t] = (int32_t)check_range(0, 40) - 4;
    }
    for (size_t o = 0; o < m; o++) {
        rows[o] = ldexpf(1, (int)check_range(0, 4) - 2);
        rows[m + o] = 1 / rows[o];
        row_class[o] = (int32_t)check_range(0, 8) - 4;
    }
    q->a = a;
    q->diag = cols;
    q->inv_diag = cols + n;
    q->col_step = cols + 2 * n;
    q->col_inv = cols + 3 * n;
    q->col_class = class;
    q->row_step = rows;
    q->row_inv = rows + m;
    q->row_class = row_class;
    q->round = round;
}

static void one(size_t n, size_t panels, enum check_kind kind)
{
    struct uc_ldlq_tile q = {.n = n, .n_panels = panels};
    size_t m = panels * 16, len = m * n;
    float *start = check_buf(len * 4, 0), *want = check_buf(len * 4, 0);
    float *want_code = check_buf(len * 4, 0);
    double *want_sum = check_buf(2 * m * 8, 0);

    fill(&q, check_buf(n * n * 4, check_range(0, 15) * 4), check_buf(4 * n * 4, 0),
         check_buf(n * 4, 0), check_buf(2 * m * 4, 0), check_buf(m * 4, 0),
         check_buf(ROUND * 4, 0));
    check_fill_f32(start, len, kind);
    memcpy(want, start, len * 4);
    q.w = want;
    q.acc = want_code;
    q.damage = want_sum;
    q.square = want_sum + m;
    reference(&q);
    q.w = check_buf(len * 4, check_range(0, 15) * 4);
    q.acc = check_buf(len * 4, check_range(0, 15) * 4);
    q.damage = check_buf(m * 8, 0);
    q.square = check_buf(m * 8, 0);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        check_context("n %zu, %zu panels, values %s, %s", n, panels, check_kind_name(kind),
                      check_variant_name(v));
        memcpy(q.w, start, len * 4);
        uc_ldlq(&q);
        check_same_bytes(want_code, q.acc, len * 4);
        check_same_f32(want, q.w, len);
        check_same_f64(want_sum, q.damage, m);
        check_same_f64(want_sum + m, q.square, m);
    }
    check_release();
}

static void check_factor(void)
{
    const float packed[6] = {1, 2, 3, 4, 5, 6}; /* rows 1; 2 3; 4 5 6 */
    float a[9] = {0}, diag[3], inv[3];

    uc_ldlq_factor(a, diag, inv, packed, 3);
    check_context("factor of three columns");
    check_that(a[1] == 5 && a[2] == 4 && a[5] == 2, "columns last to first");
    check_that(diag[0] == 6 && diag[2] == 1 && inv[1] == 1.0f / 3, "diagonal");
}

static void run(void)
{
    check_factor();
    for (size_t n = 1; n <= 67; n++)
        one(n, 1 + n % UC_LDLQ_PANELS, n % 3 ? CHECK_PLAIN : n % 2 ? CHECK_ZERO : CHECK_TINY);
    for (size_t panels = 1; panels <= UC_LDLQ_PANELS; panels++)
        one(check_range(120, 150), panels, CHECK_PLAIN);
}

static void bench_tile(void *arg)
{
    uc_ldlq(arg);
}

static void bench(void)
{
    static const size_t ns[] = {576, 1536};

    for (size_t i = 0; i < 2; i++) {
        struct uc_ldlq_tile q = {.n = ns[i], .n_panels = UC_LDLQ_PANELS};
        char what[64];

        fill(&q, check_buf(q.n * q.n * 4, 0), check_buf(4 * q.n * 4, 0), check_buf(q.n * 4, 0),
             check_buf(128 * 4, 0), check_buf(64 * 4, 0), check_buf(ROUND * 4, 0));
        q.w = check_buf(64 * q.n * 4, 0);
        q.acc = check_buf(64 * q.n * 4, 0);
        q.damage = check_buf(64 * 8, 0);
        q.square = check_buf(64 * 8, 0);
        for (int v = check_n_variants() - 1; v >= 0; v--) {
            check_use(v);
            memset(q.w, 0, 64 * q.n * 4);
            snprintf(what, sizeof(what), "ldlq 64 rows, n %zu", q.n);
            check_bench_flops(what, v, 64.0 * (double)q.n * (double)q.n, check_time(bench_tile, &q),
                              false);
        }
        check_release();
    }
}

CHECK_FAMILY(ldlq, run, bench)
