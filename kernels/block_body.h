/* Norms, rotation, gate and small row operations over 16 lanes. */
#include <math.h>

#include "kernels/block_impl.h"
#include "kernels/vec_fmath.h"

/* sum of a[i] * b[i]: 16 lanes, then the tree. */
V_FN float dot(const float *a, const float *b, size_t n)
{
    v16 acc = v16_zero();
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        acc = v16_fma(v16_load(a + i), v16_load(b + i), acc);
    if (i < n) {
        v16 t = v16_fma(v16_load_n(a + i, n - i), v16_load_n(b + i, n - i), acc);
        acc = v16_select(v16m_first(n - i), t, acc);
    }
    return v16_sum(acc);
}

/* sum of (a[i] * w[i]) * b[i] */
V_FN float dot3(const float *a, const float *w, const float *b, size_t n)
{
    v16 acc = v16_zero();
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        acc = v16_fma(v16_mul(v16_load(a + i), v16_load(w + i)), v16_load(b + i), acc);
    if (i < n) {
        size_t m = n - i;
        v16 t = v16_mul(v16_load_n(a + i, m), v16_load_n(w + i, m));
        t = v16_fma(t, v16_load_n(b + i, m), acc);
        acc = v16_select(v16m_first(m), t, acc);
    }
    return v16_sum(acc);
}

/* Runs BODY with i and m (lanes in use) over n elements. */
#define BLOCK_EACH(n, BODY)                                                                        \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        for (; i + 16 <= (n); i += 16) {                                                           \
            const size_t m = 16;                                                                   \
            BODY                                                                                   \
        }                                                                                          \
        if (i < (n)) {                                                                             \
            const size_t m = (n)-i;                                                                \
            BODY                                                                                   \
        }                                                                                          \
    } while (0)
#define BLOCK_LOAD(p)     (m == 16 ? v16_load(p) : v16_load_n(p, m))
#define BLOCK_STORE(p, v) (m == 16 ? v16_store(p, v) : v16_store_n(p, v, m))

void FN(uc_rmsnorm_rows)(float *y, float *r, const float *x, const float *w, size_t n_tok, size_t n,
                         float eps)
{
    for (size_t t = 0; t < n_tok; t++, x += n, y += n) {
        float rt = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
        v16 rv = v16_set1(rt);

        if (r)
            r[t] = rt;
        BLOCK_EACH(n,
                   BLOCK_STORE(y + i, v16_mul(v16_mul(BLOCK_LOAD(x + i), rv), BLOCK_LOAD(w + i))););
    }
}

void FN(uc_rmsnorm_bwd_rows)(float *dx, const float *dy, const float *x, const float *w,
                             const float *r, size_t n_tok, size_t n)
{
    for (size_t t = 0; t < n_tok; t++, x += n, dx += n, dy += n) {
        float rt = r[t], c = dot3(dy, w, x, n) / (float)n * rt * rt * rt;
        v16 rv = v16_set1(rt), cv = v16_set1(c);

        BLOCK_EACH(n, v16 a = v16_mul(BLOCK_LOAD(dy + i), BLOCK_LOAD(w + i));
                   a = v16_fnma(cv, BLOCK_LOAD(x + i), v16_mul(a, rv));
                   BLOCK_STORE(dx + i, v16_add(BLOCK_LOAD(dx + i), a)););
    }
}

void FN(uc_rope_rows)(float *x, const float *cos_t, const float *sin_t, const uint32_t *pos,
                      size_t n_tok, size_t n_head, size_t half, float sign)
{
    v16 sg = v16_set1(sign);

    for (size_t t = 0; t < n_tok; t++) {
        const float *ct = cos_t + pos[t] * half, *st = sin_t + pos[t] * half;

        for (size_t h = 0; h < n_head; h++, x += 2 * half)
            BLOCK_EACH(half, v16 a = BLOCK_LOAD(x + i); v16 b = BLOCK_LOAD(x + half + i);
                       v16 c = BLOCK_LOAD(ct + i); v16 s = v16_mul(BLOCK_LOAD(st + i), sg);
                       BLOCK_STORE(x + i, v16_fnma(b, s, v16_mul(a, c)));
                       BLOCK_STORE(x + half + i, v16_fma(a, s, v16_mul(b, c))););
    }
}

/* 1 / (1 + exp(-g)) */
V_FN v16 sigmoid(v16 g)
{
    const v16 one = v16_set1(1.0f);

    return v16_div(one, v16_add(one, v16_exp(v16_neg(g))));
}

void FN(uc_silu_mul_run)(float *y, const float *g, const float *u, size_t n)
{
    BLOCK_EACH(n, v16 gv = BLOCK_LOAD(g + i);
               gv = v16_div(gv, v16_add(v16_set1(1.0f), v16_exp(v16_neg(gv))));
               BLOCK_STORE(y + i, v16_mul(gv, BLOCK_LOAD(u + i))););
}

void FN(uc_silu_mul_bwd_run)(float *dg, float *du, const float *dy, const float *g, const float *u,
                             size_t n)
{
    const v16 one = v16_set1(1.0f);

    BLOCK_EACH(n, v16 gv = BLOCK_LOAD(g + i); v16 dv = BLOCK_LOAD(dy + i); v16 s = sigmoid(gv);
               v16 d = v16_mul(v16_mul(dv, BLOCK_LOAD(u + i)), s);
               BLOCK_STORE(du + i, v16_mul(dv, v16_mul(gv, s)));
               BLOCK_STORE(dg + i, v16_mul(d, v16_fma(gv, v16_sub(one, s), one))););
}

void FN(uc_add_run)(float *y, const float *x, size_t n)
{
    BLOCK_EACH(n, BLOCK_STORE(y + i, v16_add(BLOCK_LOAD(y + i), BLOCK_LOAD(x + i))););
}

V_FN void add_lanes(double *col, v16 acc, size_t n)
{
    float sum[16];

    v16_store(sum, acc);
    for (size_t l = 0; l < n; l++)
        col[l] += (double)sum[l];
}

/* Columns of at most 256 rows; four vectors at a time use whole stretches of each row. */
static void square_columns(double *col, const float *x, size_t rows, size_t n)
{
    size_t i = 0;

    for (; i + 64 <= n; i += 64) {
        v16 acc[4];
        const float *p = x + i;

        V_UNROLL for (int k = 0; k < 4; k++) acc[k] = v16_zero();
        for (size_t t = 0; t < rows; t++, p += n)
            V_UNROLL for (int k = 0; k < 4; k++)
            {
                v16 v = v16_load(p + 16 * k);
                acc[k] = v16_fma(v, v, acc[k]);
            }
        V_UNROLL for (int k = 0; k < 4; k++) add_lanes(col + i + 16 * k, acc[k], 16);
    }
    for (; i < n; i += 16) {
        size_t m = n - i < 16 ? n - i : 16;
        v16 acc = v16_zero();
        const float *p = x + i;

        for (size_t t = 0; t < rows; t++, p += n) {
            v16 v = v16_load_n(p, m);
            acc = v16_fma(v, v, acc);
        }
        add_lanes(col + i, acc, m);
    }
}

void FN(uc_squares_run)(float *out, double *col, const float *x, size_t n_tok, size_t n)
{
    if (out)
        for (size_t t = 0; t < n_tok; t++)
            out[t] = dot(x + t * n, x + t * n, n);
    for (size_t t = 0; col && t < n_tok; t += 256)
        square_columns(col, x + t * n, n_tok - t < 256 ? n_tok - t : 256, n);
}

void FN(uc_scale_rows_run)(float *y, const float *x, const float *s, size_t n_tok, size_t n)
{
    for (size_t t = 0; t < n_tok; t++, x += n, y += n) {
        v16 sv = v16_set1(s[t]);

        BLOCK_EACH(n, BLOCK_STORE(y + i, v16_mul(BLOCK_LOAD(x + i), sv)););
    }
}
