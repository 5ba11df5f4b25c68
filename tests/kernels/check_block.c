/*
 * Norms, rotation, gate, row operations: every variant and thread count against the c variant bit
 * for bit, and the c variant against fp64 with bounds that count its roundings (u = 2^-24 each).
 * Backward functions are checked against finite differences of the fp64 forward function.
 */
#include <math.h>
#include <string.h>

#include "kernels/block.h"
#include "kernels/fmath.h"
#include "tests/kernels/check.h"

static const double u = 0x1p-24;
static const double tiny = 0x1p-148; /* what results below the normal range may add */

/* Relative error of a sum of n products over 16 lanes and the tree, per sum of magnitudes. */
static double lanes(size_t n)
{
    return (double)(n / 16 + 1 + 4) * u;
}

static size_t some_n(int round)
{
    return round < 68 ? (size_t)round : check_range(500, 1100);
}

static float *floats(size_t n, int kind)
{
    float *x = check_buf(n * sizeof(*x), 4 * check_range(0, 15));

    if (kind >= 0)
        check_fill_f32(x, n, (enum check_kind)kind);
    else
        memset(x, 0, n * sizeof(*x));
    return x;
}

/* Runs `statement` for every variant and thread count with `pool` set; got must equal want. */
#define EACH_VARIANT(want, got, n, statement)                                                      \
    for (int v = 0; v < check_n_variants(); v++)                                                   \
        for (int n_thr = 1; n_thr <= CHECK_MAX_THREADS; n_thr++) {                                 \
            struct uc_pool *pool = check_pool(n_thr);                                              \
            (void)pool;                                                                            \
            check_use(v);                                                                          \
            statement;                                                                             \
            check_same_f32(want, got, n);                                                          \
        }

static void norm_f64(double *y, const double *x, const float *w, size_t n, double eps)
{
    double ss = 0, r;

    for (size_t i = 0; i < n; i++)
        ss += x[i] * x[i];
    r = 1 / sqrt(ss / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * r * w[i];
}

static void check_norm_bounds(const float *y, const float *x, const float *w, size_t n_tok,
                              size_t n, float eps)
{
    double xd[1100], ref[1100], worst = 0;

    for (size_t t = 0; t < n_tok; t++) {
        for (size_t i = 0; i < n; i++)
            xd[i] = x[t * n + i];
        norm_f64(ref, xd, w, n, eps);
        for (size_t i = 0; i < n; i++)
            worst = fmax(worst, fabs(y[t * n + i] - ref[i]) / (fabs(ref[i]) + tiny));
    }
    /* half of the sum's error and of /n and + eps, then sqrt, 1 / , two products */
    check_that(worst <= lanes(n) / 2 + 5 * u, "rmsnorm is off by %.1f u", worst / u);
}

static void check_norm(void)
{
    for (int round = 0; round < 76; round++) {
        size_t n = some_n(round), n_tok = check_range(0, 40);
        int kind = round % CHECK_KINDS;
        float *x = floats(n * n_tok, kind), *w = floats(n, kind), *want = floats(n * n_tok, -1);
        float *got = floats(n * n_tok, -1), *r = floats(n_tok, -1), *r2 = floats(n_tok, -1);
        float *dy = floats(n * n_tok, kind), *dx = floats(n * n_tok, kind);

        check_context("rmsnorm n_tok %zu n %zu %s", n_tok, n,
                      check_kind_name((enum check_kind)kind));
        check_use(0);
        uc_rmsnorm(want, r, x, w, n_tok, n, 1e-5f, NULL);
        EACH_VARIANT(want, got, n * n_tok, uc_rmsnorm(got, r2, x, w, n_tok, n, 1e-5f, pool);
                     check_same_f32(r, r2, n_tok));
        if (kind == CHECK_PLAIN && n)
            check_norm_bounds(want, x, w, n_tok, n, 1e-5f);
        memcpy(got, x, n * n_tok * sizeof(*x));
        uc_rmsnorm(got, NULL, got, w, n_tok, n, 1e-5f, NULL);
        check_same_f32(want, got, n * n_tok); /* in place, without r */
        memcpy(want, dx, n * n_tok * sizeof(*dx));
        check_use(0);
        uc_rmsnorm_bwd(want, dy, x, w, r, n_tok, n, NULL);
        EACH_VARIANT(want, got, n * n_tok, memcpy(got, dx, n * n_tok * sizeof(*dx));
                     uc_rmsnorm_bwd(got, dy, x, w, r, n_tok, n, pool));
        check_release();
    }
}

/* d (sum dy . f(x)) / dx[i] by central differences of a norm in fp64. */
static double norm_slope(const float *dy, const double *x, const float *w, size_t n, size_t i)
{
    double xd[64], y[64], sum[2] = {0, 0};
    const double h = 1e-5;

    memcpy(xd, x, n * sizeof(*x));
    for (int side = 0; side < 2; side++) {
        xd[i] = x[i] + (side ? h : -h);
        norm_f64(y, xd, w, n, 1e-5);
        for (size_t k = 0; k < n; k++)
            sum[side] += dy[k] * y[k];
    }
    return (sum[1] - sum[0]) / (2 * h);
}

static void check_norm_gradient(void)
{
    for (size_t n = 1; n <= 64; n++) {
        float *x = floats(n, CHECK_PLAIN), *w = floats(n, CHECK_PLAIN),
              *dy = floats(n, CHECK_PLAIN);
        float *dx = floats(n, -1), *y = floats(n, -1), r;
        double xd[64], size = 0;

        for (size_t i = 0; i < n; i++) {
            xd[i] = x[i];
            size += fabs((double)dy[i] * w[i] * x[i]);
        }
        check_use(0);
        check_context("rmsnorm_bwd n %zu", n);
        uc_rmsnorm(y, &r, x, w, 1, n, 1e-5f, NULL);
        uc_rmsnorm_bwd(dx, dy, x, w, &r, 1, n, NULL);
        for (size_t i = 0; i < n; i++) {
            double ref = norm_slope(dy, xd, w, n, i), rd = r;
            double scale =
                fabs((double)dy[i] * w[i]) * rd + fabs(x[i]) * rd * rd * rd * size / (double)n;

            /* r itself is off by lanes / 2 + 4 u and enters cubed; the difference quotient adds
             * its own h^2 and rounding, about 1e-9 of the third derivative's scale */
            check_that(fabs(dx[i] - ref) <=
                           (3 * (lanes(n) / 2 + 4 * u) + lanes(n) + 8 * u) * scale +
                               1e-8 * (1 + rd * rd * rd * rd * size),
                       "dx[%zu] %g, slope %g", i, (double)dx[i], ref);
        }
        check_release();
    }
}

static void check_rope_table(void)
{
    const size_t n_pos = 3000, head_dim = 64, half = 32;
    float *c = floats(n_pos * half, -1), *s = floats(n_pos * half, -1);
    double worst = 0;

    check_context("rope table");
    uc_rope_table(c, s, n_pos, head_dim, 10000.0);
    for (size_t p = 0; p < n_pos; p++)
        for (size_t i = 0; i < half; i++) {
            double angle = (double)p * pow(10000.0, -2.0 * (double)i / (double)head_dim);
            worst = fmax(worst, fabs(c[p * half + i] - cos(angle)));
            worst = fmax(worst, fabs(s[p * half + i] - sin(angle)));
        }
    /* half an ulp below 1, and the angle's own rounding: 3000 * 2^-52 */
    check_that(worst <= 0x1p-25 + 1e-12, "table is off by %g", worst);
    check_release();
}

static void check_rope(void)
{
    for (int round = 0; round < 48; round++) {
        size_t half = round < 40 ? (size_t)round + 1 : 64, n_head = check_range(1, 5);
        size_t n_tok = check_range(0, 40), n = n_tok * n_head * 2 * half, n_pos = 50;
        int kind = round % CHECK_KINDS;
        float *c = floats(n_pos * half, -1), *s = floats(n_pos * half, -1), *x = floats(n, kind);
        float *want = floats(n, -1), *got = floats(n, -1);
        uint32_t *pos = check_buf(n_tok * sizeof(*pos), 0);
        double worst = 0;

        for (size_t t = 0; t < n_tok; t++)
            pos[t] = (uint32_t)check_range(0, n_pos - 1);
        uc_rope_table(c, s, n_pos, 2 * half, 10000.0);
        check_context("rope n_tok %zu heads %zu half %zu %s", n_tok, n_head, half,
                      check_kind_name((enum check_kind)kind));
        for (int inverse = 0; inverse < 2; inverse++) {
            memcpy(want, x, n * sizeof(*x));
            check_use(0);
            uc_rope(want, c, s, pos, n_tok, n_head, 2 * half, inverse, NULL);
            EACH_VARIANT(want, got, n, memcpy(got, x, n * sizeof(*x));
                         uc_rope(got, c, s, pos, n_tok, n_head, 2 * half, inverse, pool));
        }
        uc_rope(want, c, s, pos, n_tok, n_head, 2 * half, 0, NULL);
        for (size_t i = 0; i < n && kind == CHECK_PLAIN; i++)
            worst = fmax(worst, fabs(want[i] - x[i]));
        /* two rotations of a pair below sqrt(2): 2 u and u for the table each */
        check_that(worst <= 2 * 3 * 1.5 * u, "rotating back is off by %g", worst);
        check_release();
    }
    check_context("rope order");
    float x[4] = {1, 2, 3, 4}, c[2] = {0, 1}, s[2] = {1, 0};
    uint32_t pos = 0;
    uc_rope(x, c, s, &pos, 1, 1, 4, 0, NULL);
    check_that(x[0] == -3 && x[1] == 2 && x[2] == 1 && x[3] == 4, "pairs are not (i, i + half)");
}

static double silu(double g)
{
    return g / (1 + exp(-g));
}

static void check_silu_bounds(const float *y, const float *dg, const float *du, const float *dy,
                              const float *g, const float *up, size_t n)
{
    const double h = 1e-5;

    for (size_t i = 0; i < n; i++) {
        double ref = silu(g[i]) * up[i], d = dy[i], s = 1 / (1 + exp(-(double)g[i]));
        double slope = (silu(g[i] + h) - silu(g[i] - h)) / (2 * h) * up[i] * d;

        /* exp 2 u, 1 + , / , * u: one more for the second order */
        check_that(fabs(y[i] - ref) <= 6 * u * fabs(ref), "silu(%g)", (double)g[i]);
        check_that(fabs(du[i] - d * silu(g[i])) <= 7 * u * fabs(d * silu(g[i])), "du(%g)",
                   (double)g[i]);
        /* s is off by 4 u, 1 - s by 5 u of at most 1, which g multiplies */
        check_that(fabs(dg[i] - slope) <=
                       (10 + 6 * fabs(g[i])) * u * fabs(d * up[i]) * s + 1e-9 * fabs(d * up[i]),
                   "dg(%g) %g, slope %g", (double)g[i], (double)dg[i], slope);
    }
}

static void check_silu(void)
{
    for (int round = 0; round < 80; round++) {
        size_t n = round < 68 ? (size_t)round : check_range(40000, 60000);
        int kind = round % CHECK_KINDS;
        float *g = floats(n, kind), *up = floats(n, kind), *dy = floats(n, kind);
        float *want = floats(n, -1), *got = floats(n, -1), *dg = floats(n, -1), *du = floats(n, -1);
        float *du2 = floats(n, -1);

        for (size_t i = 0; i < n && kind == CHECK_PLAIN; i++)
            g[i] *= 20;
        check_context("silu_mul n %zu %s", n, check_kind_name((enum check_kind)kind));
        check_use(0);
        uc_silu_mul(want, g, up, n, NULL);
        EACH_VARIANT(want, got, n, uc_silu_mul(got, g, up, n, pool));
        check_use(0);
        uc_silu_mul_bwd(dg, du, dy, g, up, n, NULL);
        if (kind == CHECK_PLAIN)
            check_silu_bounds(want, dg, du, dy, g, up, n);
        EACH_VARIANT(dg, got, n, uc_silu_mul_bwd(got, du2, dy, g, up, n, pool);
                     check_same_f32(du, du2, n));
        check_release();
    }
}

static void check_squares(void)
{
    for (int round = 0; round < 76; round++) {
        size_t n = round < 68 ? (size_t)round : check_range(100, 300);
        size_t n_tok = round % 8 == 0 ? check_range(250, 800) : check_range(0, 20);
        int kind = round % CHECK_KINDS;
        float *x = floats(n * n_tok, kind), *want = floats(n_tok, -1), *got = floats(n_tok, -1);
        double *col = check_buf(n * sizeof(*col), 0), *col2 = check_buf(n * sizeof(*col), 8);
        double worst = 0;

        check_context("squares n_tok %zu n %zu %s", n_tok, n,
                      check_kind_name((enum check_kind)kind));
        memset(col, 0, n * sizeof(*col));
        check_use(0);
        uc_squares(want, col, x, n_tok, n);
        EACH_VARIANT(want, got, n_tok, memset(col2, 0, n * sizeof(*col2));
                     uc_squares(got, col2, x, n_tok, n); check_same_f64(col, col2, n));
        for (size_t t = 0; t < n_tok && kind == CHECK_PLAIN; t++) {
            double sum = 0;
            for (size_t i = 0; i < n; i++)
                sum += (double)x[t * n + i] * x[t * n + i];
            worst = fmax(worst, fabs(want[t] - sum) / (sum + tiny));
        }
        check_that(worst <= lanes(n), "row sums are off by %.1f u", worst / u);
        for (size_t i = 0; i < n && kind == CHECK_PLAIN; i++) {
            double sum = 0;
            for (size_t t = 0; t < n_tok; t++)
                sum += (double)x[t * n + i] * x[t * n + i];
            check_that(fabs(col[i] - sum) <= 256 * u * sum, "column %zu", i);
        }
        memcpy(col2, col, n * sizeof(*col));
        uc_squares(NULL, col2, x, n_tok, n); /* adds */
        for (size_t i = 0; i < n && kind == CHECK_PLAIN; i++)
            check_that(fabs(col2[i] - 2 * col[i]) <= 1e-12 * col[i], "column %zu is not added", i);
        uc_squares(got, NULL, x, n_tok, n);
        check_same_f32(want, got, n_tok);
        check_release();
    }
}

static void check_rows(void)
{
    for (int round = 0; round < 76; round++) {
        size_t n = some_n(round), n_tok = check_range(0, 9), len = n * n_tok;
        int kind = round % CHECK_KINDS;
        float *x = floats(len, kind), *y = floats(len, kind), *s = floats(n_tok, kind);
        float *want = floats(len, -1), *got = floats(len, -1);

        check_context("rows n_tok %zu n %zu %s", n_tok, n, check_kind_name((enum check_kind)kind));
        for (size_t i = 0; i < len; i++)
            want[i] = y[i] + x[i];
        EACH_VARIANT(want, got, len, memcpy(got, y, len * sizeof(*y)); uc_add(got, x, len));
        for (size_t t = 0; t < n_tok; t++)
            for (size_t i = 0; i < n; i++)
                want[t * n + i] = x[t * n + i] * s[t];
        EACH_VARIANT(want, got, len, uc_scale_rows(got, x, s, n_tok, n));
        check_release();
    }
}

static void run(void)
{
    check_norm();
    check_norm_gradient();
    check_rope_table();
    check_rope();
    check_silu();
    check_squares();
    check_rows();
}

/* One layer's worth of the 135M model: 512 tokens, 576 wide, 1536 in the gate. */
enum { B_TOK = 512, B_N = 576, B_MID = 1536 };
static struct {
    float *x, *y, *w, *r, *g;
    double *col;
} b;

static void bench_norm(void *arg)
{
    uc_rmsnorm(b.y, b.r, b.x, b.w, B_TOK, B_N, 1e-5f, NULL);
}
static void bench_norm_bwd(void *arg)
{
    uc_rmsnorm_bwd(b.y, b.g, b.x, b.w, b.r, B_TOK, B_N, NULL);
}
static void bench_silu(void *arg)
{
    uc_silu_mul(b.y, b.x, b.g, B_TOK * B_MID, NULL);
}
static void bench_silu_bwd(void *arg)
{
    uc_silu_mul_bwd(b.y, b.w, b.g, b.x, b.g, B_TOK * B_MID, NULL);
}
static void bench_squares(void *arg)
{
    uc_squares(b.r, b.col, b.x, B_TOK, B_MID);
}

static void bench(void)
{
    const double norm_bytes = 4.0 * B_TOK * B_N, mid_bytes = 4.0 * B_TOK * B_MID;
    const size_t n = B_TOK * B_MID;

    b.x = floats(n, CHECK_PLAIN);
    b.y = floats(n, -1);
    b.w = floats(n, CHECK_PLAIN);
    b.g = floats(n, CHECK_PLAIN);
    b.r = floats(n, -1);
    b.col = check_buf(B_MID * sizeof(double), 0);
    memset(b.col, 0, B_MID * sizeof(double));
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        check_bench_bytes("rmsnorm 512 x 576", v, 2 * norm_bytes, check_time(bench_norm, NULL));
        check_bench_bytes("rmsnorm_bwd 512 x 576", v, 4 * norm_bytes,
                          check_time(bench_norm_bwd, NULL));
        check_bench_bytes("silu_mul 512 x 1536", v, 3 * mid_bytes, check_time(bench_silu, NULL));
        check_bench_bytes("silu_mul_bwd 512 x 1536", v, 5 * mid_bytes,
                          check_time(bench_silu_bwd, NULL));
        check_bench_bytes("squares 512 x 1536", v, mid_bytes, check_time(bench_squares, NULL));
    }
    check_release();
}

CHECK_FAMILY(block, run, bench)
