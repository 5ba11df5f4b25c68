/*
 * Causal attention over 16 lanes: tiles of ATTN_MR rows. "Rows" are what a work item owns and
 * "columns" what each row sees: queries and keys in the forward pass and for dq, keys and queries
 * for dk and dv. A row r sees the columns [from, to) that its row_range says.
 *
 * Order of operations (docs/arithmetic.md): a score is one fma chain over head_dim, ascending; an
 * output is one chain over the columns that the row sees, ascending. Both kinds of product
 * vectorize over outputs, so no tile shape shows in the bits.
 */
#include <math.h>

#include "kernels/attention_impl.h"
#include "kernels/vec_fmath.h"

/* Vectors and rows of a tile of accumulators: what fits the registers. */
#if defined(UC_ISA_avx512)
enum { ATTN_MR = 12, ATTN_NV = 2 };
#elif defined(UC_ISA_avx2)
enum { ATTN_MR = 6, ATTN_NV = 1 };
#else
enum { ATTN_MR = 4, ATTN_NV = 1 };
#endif
enum { ATTN_NW = 16 * ATTN_NV };

V_FN size_t attn_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A packed operand: columns [first, first + n) of one head, first a multiple of 16. */
struct attn_cols {
    float *t;     /* transposed: panels of ATTN_NW columns, each [head_dim][ATTN_NW] */
    float *plain; /* [n][dp], dp = head_dim padded to 32 */
};

/* x + column * stride holds head_dim floats. Padding columns of the panels are 0. 16 columns at a
 * time: more streams a power of two apart would share too few cache sets. */
static void pack_t(float *t, const float *x, size_t stride, size_t n, size_t d)
{
    for (size_t p = 0; p < n; p += ATTN_NW, t += d * ATTN_NW)
        for (size_t c = 0; c < ATTN_NW; c += 16) {
            const float *from = x + (p + c) * stride;
            size_t m = p + c < n ? attn_min(n - p - c, 16) : 0;

            for (size_t i = 0; i < d; i++) {
                float *to = t + i * ATTN_NW + c;

                if (m == 16)
                    for (size_t j = 0; j < 16; j++)
                        to[j] = from[j * stride + i];
                else
                    for (size_t j = 0; j < 16; j++)
                        to[j] = j < m ? from[j * stride + i] : 0.0f;
            }
        }
}

static void pack_plain(float *out, const float *x, size_t stride, size_t n, size_t d, size_t dp)
{
    for (size_t j = 0; j < n; j++, out += dp, x += stride) {
        memcpy(out, x, d * sizeof(*out));
        for (size_t i = d; i < dp; i++)
            out[i] = 0.0f;
    }
}

/* acc[r][v] += sum over k of a[r][k] * b[k * ldb + 16 v], k ascending; row r of a at a + r * lda
 * (rows beyond n_rows repeat the last, their results are not used). */
V_FN void tile_mul(v16 acc[ATTN_MR][ATTN_NV], const float *a, size_t lda, size_t n_rows,
                   const float *b, size_t ldb, size_t n_k)
{
    const float *row[ATTN_MR];

    V_UNROLL for (size_t r = 0; r < ATTN_MR; r++) row[r] = a + attn_min(r, n_rows - 1) * lda;
    for (size_t k = 0; k < n_k; k++, b += ldb) {
        v16 bv[ATTN_NV];

        V_UNROLL for (int v = 0; v < ATTN_NV; v++) bv[v] = v16_load(b + 16 * v);
        V_UNROLL for (int r = 0; r < ATTN_MR; r++)
        {
            v16 x = v16_set1(row[r][k]);
            V_UNROLL for (int v = 0; v < ATTN_NV; v++) acc[r][v] = v16_fma(x, bv[v], acc[r][v]);
        }
    }
}

/* s[r][c] = sum_i a[r][i] * t[c][i] for n columns in panels; s rows are lds apart. */
static void tile_scores(float *s, size_t lds, const float *a, size_t lda, size_t n_rows,
                        const float *t, size_t n, size_t d)
{
    for (size_t c = 0; c < n; c += ATTN_NW, t += d * ATTN_NW) {
        v16 acc[ATTN_MR][ATTN_NV];

        V_UNROLL for (int r = 0; r < ATTN_MR; r++) V_UNROLL for (int v = 0; v < ATTN_NV; v++)
            acc[r][v] = v16_zero();
        tile_mul(acc, a, lda, n_rows, t, ATTN_NW, d);
        V_UNROLL for (int r = 0; r < ATTN_MR; r++) V_UNROLL for (int v = 0; v < ATTN_NV; v++)
            v16_store(s + (size_t)r * lds + c + 16 * (size_t)v, acc[r][v]);
    }
}

/* o[i] += sum of p[c] * plain[c][i], c in [from, to) ascending: one row. */
static void row_outputs(float *o, const float *p, const float *plain, size_t dp, size_t from,
                        size_t to)
{
    for (size_t i = 0; i < dp && from < to; i += ATTN_NW) {
        v16 acc[ATTN_NV];

        V_UNROLL for (int v = 0; v < ATTN_NV; v++) acc[v] = v16_load(o + i + 16 * v);
        for (size_t c = from; c < to; c++) {
            v16 x = v16_set1(p[c]);
            V_UNROLL for (int v = 0; v < ATTN_NV; v++) acc[v] =
                v16_fma(x, v16_load(plain + c * dp + i + 16 * v), acc[v]);
        }
        V_UNROLL for (int v = 0; v < ATTN_NV; v++) v16_store(o + i + 16 * v, acc[v]);
    }
}

/* Columns that each row of a tile sees, relative to the packed operand's first column. */
struct attn_range {
    size_t from[ATTN_MR], to[ATTN_MR];
    size_t all_from, all_to; /* seen by every row; empty when all_from >= all_to */
};

/* o[r][i] += sum of p[r][c] * plain[c][i] over the columns that row r sees, ascending. The columns
 * that all rows see go through tiles, the ragged ends row by row. o [n_rows][dp], p rows ldp
 * apart. */
static void tile_outputs(float *o, const float *p, size_t ldp, size_t n_rows, const float *plain,
                         size_t dp, const struct attn_range *g)
{
    int shared = g->all_from < g->all_to;
    size_t cut = shared ? g->all_from : 0;

    for (size_t r = 0; r < n_rows; r++)
        row_outputs(o + r * dp, p + r * ldp, plain, dp, g->from[r], shared ? cut : g->to[r]);
    if (!shared)
        return;
    for (size_t i = 0; i < dp; i += ATTN_NW) {
        v16 acc[ATTN_MR][ATTN_NV];

        V_UNROLL for (size_t r = 0; r < ATTN_MR; r++) V_UNROLL for (size_t v = 0; v < ATTN_NV; v++)
            acc[r][v] = v16_load(o + attn_min(r, n_rows - 1) * dp + i + 16 * v);
        tile_mul(acc, p + cut, ldp, n_rows, plain + cut * dp + i, dp, g->all_to - cut);
        V_UNROLL for (size_t r = 0; r < ATTN_MR; r++)
            V_UNROLL for (size_t v = 0; v < ATTN_NV; v++) if (r < n_rows)
                v16_store(o + r * dp + i + 16 * v, acc[r][v]);
    }
    for (size_t r = 0; r < n_rows; r++)
        row_outputs(o + r * dp, p + r * ldp, plain, dp, g->all_to, g->to[r]);
}

static void range_shared(struct attn_range *g, size_t n_rows)
{
    g->all_from = 0;
    g->all_to = SIZE_MAX;
    for (size_t r = 0; r < n_rows; r++) {
        g->all_from = g->from[r] > g->all_from ? g->from[r] : g->all_from;
        g->all_to = attn_min(g->to[r], g->all_to);
    }
}

/* Queries [t, t + n_rows): the keys that each sees, counted from key `first`. */
static struct attn_range range_of_queries(const struct attn *a, size_t t, size_t n_rows,
                                          size_t first)
{
    struct attn_range g;

    for (size_t r = 0; r < n_rows; r++) {
        g.to[r] = t + r + 1 - first;
        g.from[r] = (t + r + 1 > a->window ? t + r + 1 - a->window : 0) - first;
    }
    range_shared(&g, n_rows);
    return g;
}

/* Keys [j, j + n_rows): the queries that see each, counted from query `first`. */
static struct attn_range range_of_keys(const struct attn *a, size_t j, size_t n_rows, size_t first)
{
    struct attn_range g;

    for (size_t r = 0; r < n_rows; r++) {
        g.from[r] = j + r - first;
        g.to[r] = attn_min(a->n_tok, j + r + a->window) - first;
    }
    range_shared(&g, n_rows);
    return g;
}

/* Lanes of the vector at column c that lie in [from, to). */
V_FN v16m lanes_in(size_t c, size_t from, size_t to)
{
    v16m m = v16m_first(to - c < 16 ? to - c : 16);

    return from > c ? v16m_and(m, v16m_not(v16m_first(from - c))) : m;
}

/* s = exp(scale s - max) over [from, to), in place; returns the sum (lane = column mod 16). */
static float row_softmax(float *s, size_t from, size_t to, float scale, float *max)
{
    const v16 low = v16_set1(-INFINITY), sc = v16_set1(scale);
    v16 m = low, sum = v16_zero();
    size_t c0 = from & ~(size_t)15;

    for (size_t c = c0; c < to; c += 16) {
        v16 x = v16_mul(v16_load(s + c), sc);

        if (c < from || c + 16 > to)
            x = v16_select(lanes_in(c, from, to), x, low);
        v16_store(s + c, x);
        m = v16_max(x, m);
    }
    *max = v16_max_lanes(m);
    m = v16_set1(*max);
    for (size_t c = c0; c < to; c += 16) {
        v16 e = v16_exp_low(v16_sub(v16_load(s + c), m));

        sum = v16_add(sum, e);
        v16_store(s + c, e);
    }
    return v16_sum(sum);
}

static float *align64(float *p)
{
    return (float *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
}

static void zero(float *p, size_t n)
{
    memset(p, 0, n * sizeof(*p));
}

/* First packed column of the keys that queries from row0 on see. */
static size_t first_key(const struct attn *a, size_t row0)
{
    return (row0 + 1 > a->window ? row0 + 1 - a->window : 0) & ~(size_t)15;
}

void FN(uc_attn_fwd)(const struct attn *a, size_t kv, size_t row0, float *scratch)
{
    size_t d = a->head_dim, dp = attn_pad(d), group = a->n_head / a->n_kv;
    size_t ldq = a->n_head * d, ldk = a->n_kv * d;
    size_t end = attn_min(row0 + a->rows, a->n_tok), first = first_key(a, row0);
    size_t cols = end - first, lds = attn_pad(cols);
    float *kt = align64(scratch), *vp = kt + lds * dp, *s = vp + lds * dp;
    float *o = s + ATTN_TILE_MAX * lds;

    pack_t(kt, a->k + first * ldk + kv * d, ldk, cols, d);
    pack_plain(vp, a->v + first * ldk + kv * d, ldk, cols, d, dp);
    for (size_t h = kv * group; h < (kv + 1) * group; h++)
        for (size_t t = row0; t < end; t += ATTN_MR) {
            size_t n = attn_min(end - t, ATTN_MR);
            struct attn_range g = range_of_queries(a, t, n, first);
            float inv[ATTN_MR], max;

            tile_scores(s, lds, a->q + t * ldq + h * d, ldq, n, kt, t + n - first, d);
            for (size_t r = 0; r < n; r++) {
                float sum = row_softmax(s + r * lds, g.from[r], g.to[r], a->scale, &max);

                inv[r] = 1.0f / sum;
                if (a->lse)
                    a->lse[h * a->n_tok + t + r] = max + fm_logf(sum);
            }
            zero(o, n * dp);
            tile_outputs(o, s, lds, n, vp, dp, &g);
            for (size_t r = 0; r < n; r++)
                for (size_t i = 0; i < d; i++)
                    a->out[(t + r) * ldq + h * d + i] = o[r * dp + i] * inv[r];
        }
}

/* dy . y of one head and token: 16 lanes and the tree. */
static float row_dot(const float *x, const float *y, size_t n)
{
    v16 acc = v16_zero();
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        acc = v16_fma(v16_load(x + i), v16_load(y + i), acc);
    if (i < n) {
        v16 t = v16_fma(v16_load_n(x + i, n - i), v16_load_n(y + i, n - i), acc);
        acc = v16_select(v16m_first(n - i), t, acc);
    }
    return v16_sum(acc);
}

void FN(uc_attn_bwd_q)(const struct attn *a, size_t kv, size_t row0, float *scratch)
{
    size_t d = a->head_dim, dp = attn_pad(d), group = a->n_head / a->n_kv;
    size_t ldq = a->n_head * d, ldk = a->n_kv * d;
    size_t end = attn_min(row0 + a->rows, a->n_tok), first = first_key(a, row0);
    size_t cols = end - first, lds = attn_pad(cols);
    float *kt = align64(scratch), *vt = kt + lds * dp, *kp = vt + lds * dp, *s = kp + lds * dp;
    float *e = s + ATTN_TILE_MAX * lds, *o = e + ATTN_TILE_MAX * lds;
    const v16 scale = v16_set1(a->scale);

    pack_t(kt, a->k + first * ldk + kv * d, ldk, cols, d);
    pack_t(vt, a->v + first * ldk + kv * d, ldk, cols, d);
    pack_plain(kp, a->k + first * ldk + kv * d, ldk, cols, d, dp);
    for (size_t h = kv * group; h < (kv + 1) * group; h++)
        for (size_t t = row0; t < end; t += ATTN_MR) {
            size_t n = attn_min(end - t, ATTN_MR), at = t * ldq + h * d;
            struct attn_range g = range_of_queries(a, t, n, first);

            tile_scores(s, lds, a->q + at, ldq, n, kt, t + n - first, d);
            tile_scores(e, lds, a->dy + at, ldq, n, vt, t + n - first, d);
            for (size_t r = 0; r < n; r++) {
                v16 lse = v16_set1(a->lse_in[h * a->n_tok + t + r]);
                v16 dot = v16_set1(row_dot(a->dy + at + r * ldq, a->y + at + r * ldq, d));
                float *sr = s + r * lds, *er = e + r * lds;

                for (size_t c = g.from[r] & ~(size_t)15; c < g.to[r]; c += 16) {
                    v16 p = v16_exp(v16_sub(v16_mul(v16_load(sr + c), scale), lse));
                    v16_store(sr + c, v16_mul(p, v16_sub(v16_load(er + c), dot)));
                }
            }
            zero(o, n * dp);
            tile_outputs(o, s, lds, n, kp, dp, &g);
            for (size_t r = 0; r < n; r++)
                for (size_t i = 0; i < d; i++)
                    a->dq[at + r * ldq + i] = o[r * dp + i] * a->scale;
        }
}

/* The queries that see a block of keys, of one head, packed. */
struct attn_queries {
    float *qt, *dyt, *q, *dy; /* transposed panels, plain */
    float *lse, *dot;         /* per query */
};

static void pack_queries(struct attn_queries *w, const struct attn *a, size_t h, size_t first,
                         size_t cols)
{
    size_t d = a->head_dim, ldq = a->n_head * d, at = first * ldq + h * d, dp = attn_pad(d);

    pack_t(w->qt, a->q + at, ldq, cols, d);
    pack_t(w->dyt, a->dy + at, ldq, cols, d);
    pack_plain(w->q, a->q + at, ldq, cols, d, dp);
    pack_plain(w->dy, a->dy + at, ldq, cols, d, dp);
    for (size_t c = 0; c < cols; c++) {
        w->lse[c] = a->lse_in[h * a->n_tok + first + c];
        w->dot[c] = row_dot(a->dy + at + c * ldq, a->y + at + c * ldq, d);
    }
    for (size_t c = cols; c < attn_pad(cols); c++)
        w->lse[c] = w->dot[c] = 0.0f;
}

/* One tile of keys and one head: adds to ok and ov [n][dp]. */
static void bwd_keys(float *ok, float *ov, const struct attn *a, const struct attn_queries *w,
                     size_t kv, size_t j, size_t n, size_t first, float *s, float *e, size_t lds)
{
    size_t d = a->head_dim, dp = attn_pad(d), ldk = a->n_kv * d, at = j * ldk + kv * d;
    struct attn_range g = range_of_keys(a, j, n, first);
    size_t from = g.from[0] & ~(size_t)(ATTN_NW - 1), to = g.to[n - 1];
    const v16 scale = v16_set1(a->scale);

    tile_scores(s + from, lds, a->k + at, ldk, n, w->qt + from * d, to - from, d);
    tile_scores(e + from, lds, a->v + at, ldk, n, w->dyt + from * d, to - from, d);
    for (size_t r = 0; r < n; r++) {
        float *sr = s + r * lds, *er = e + r * lds;

        for (size_t c = g.from[r] & ~(size_t)15; c < g.to[r]; c += 16) {
            v16 x = v16_sub(v16_mul(v16_load(sr + c), scale), v16_load(w->lse + c));
            v16 p = v16_exp(x);

            v16_store(sr + c, p);
            v16_store(er + c, v16_mul(p, v16_sub(v16_load(er + c), v16_load(w->dot + c))));
        }
    }
    tile_outputs(ov, s, lds, n, w->dy, dp, &g);
    tile_outputs(ok, e, lds, n, w->q, dp, &g);
}

void FN(uc_attn_bwd_kv)(const struct attn *a, size_t kv, size_t row0, float *scratch)
{
    size_t d = a->head_dim, dp = attn_pad(d), group = a->n_head / a->n_kv, ldk = a->n_kv * d;
    size_t end = attn_min(row0 + a->rows, a->n_tok), first = row0 & ~(size_t)31;
    size_t cols = attn_min(a->n_tok, end - 1 + a->window) - first, lds = attn_pad(cols);
    struct attn_queries w = {.qt = align64(scratch)};
    float *s, *e, *o;

    w.dyt = w.qt + lds * dp;
    w.q = w.dyt + lds * dp;
    w.dy = w.q + lds * dp;
    w.lse = w.dy + lds * dp;
    w.dot = w.lse + lds;
    s = w.dot + lds;
    e = s + ATTN_TILE_MAX * lds;
    o = e + ATTN_TILE_MAX * lds;
    for (size_t h = kv * group; h < (kv + 1) * group; h++) {
        int is_first = h == kv * group;

        pack_queries(&w, a, h, first, cols);
        for (size_t j = row0; j < end; j += ATTN_MR) {
            size_t n = attn_min(end - j, ATTN_MR);
            float *ok = o, *ov = o + ATTN_MR * dp;

            zero(o, 2 * ATTN_MR * dp);
            for (size_t r = 0; r < n && !is_first; r++) {
                memcpy(ok + r * dp, a->dk + (j + r) * ldk + kv * d, d * sizeof(*ok));
                memcpy(ov + r * dp, a->dv + (j + r) * ldk + kv * d, d * sizeof(*ov));
            }
            bwd_keys(ok, ov, a, &w, kv, j, n, first, s, e, lds);
            for (size_t r = 0; r < n; r++) {
                memcpy(a->dk + (j + r) * ldk + kv * d, ok + r * dp, d * sizeof(*ok));
                memcpy(a->dv + (j + r) * ldk + kv * d, ov + r * dp, d * sizeof(*ov));
            }
        }
    }
    for (size_t j = row0; j < end; j++)
        for (size_t i = 0; i < d; i++)
            a->dk[j * ldk + kv * d + i] *= a->scale;
}
