/*
 * Attention: every variant and thread count against the c variant bit for bit; the c variant
 * against the documented order of operations written out plainly, and against fp64 within bounds
 * that follow the roundings (u = 2^-24 each); the fp64 gradient formula against finite differences.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/block.h"
#include "kernels/fmath.h"
#include "tests/kernels/check.h"

static const double u = 0x1p-24;

struct shape {
    size_t n_tok, n_head, n_kv, d, window;
    float scale;
};

struct data {
    struct shape s;
    float *q, *k, *v, *dy;                   /* inputs */
    float *y, *lse, *dq, *dk, *dv, *scratch; /* of the c variant */
};

static float *floats(size_t n)
{
    float *x = check_buf(n * sizeof(*x), 4 * check_range(0, 15));

    memset(x, 0, n * sizeof(*x));
    return x;
}

static struct data make(struct shape s, enum check_kind kind)
{
    size_t nq = s.n_tok * s.n_head * s.d, nk = s.n_tok * s.n_kv * s.d;
    struct data a = {.s = s};

    a.q = floats(nq);
    a.k = floats(nk);
    a.v = floats(nk);
    a.dy = floats(nq);
    a.y = floats(nq);
    a.lse = floats(s.n_tok * s.n_head);
    a.dq = floats(nq);
    a.dk = floats(nk);
    a.dv = floats(nk);
    a.scratch = floats(CHECK_MAX_THREADS * uc_attention_scratch(s.n_tok, s.d));
    check_fill_f32(a.q, nq, kind);
    check_fill_f32(a.k, nk, kind);
    check_fill_f32(a.v, nk, kind);
    check_fill_f32(a.dy, nq, kind);
    return a;
}

static void forward(float *y, float *lse, const struct data *a, struct uc_pool *pool)
{
    const struct shape *s = &a->s;

    uc_attention(y, lse, a->q, a->k, a->v, s->n_tok, s->n_head, s->n_kv, s->d, s->scale, s->window,
                 a->scratch, pool);
}

static void backward(float *dq, float *dk, float *dv, const struct data *a, struct uc_pool *pool)
{
    const struct shape *s = &a->s;

    uc_attention_bwd(dq, dk, dv, a->dy, a->y, a->lse, a->q, a->k, a->v, s->n_tok, s->n_head,
                     s->n_kv, s->d, s->scale, s->window, a->scratch, pool);
}

static size_t first_of(const struct shape *s, size_t t)
{
    return s->window && t + 1 > s->window ? t + 1 - s->window : 0;
}

/* The order that docs/arithmetic.md states, for one query row: y, and p through `p`. */
static void plain_row(const struct data *a, size_t h, size_t t, float *p, float *y, float *lse)
{
    const struct shape *s = &a->s;
    size_t g = h / (s->n_head / s->n_kv), from = first_of(s, t);
    const float *q = a->q + (t * s->n_head + h) * s->d;
    float max = -INFINITY, lane[16] = {0};

    for (size_t j = from; j <= t; j++) {
        float acc = 0;
        for (size_t i = 0; i < s->d; i++)
            acc = fmaf(q[i], a->k[(j * s->n_kv + g) * s->d + i], acc);
        p[j] = acc * s->scale;
        max = p[j] > max ? p[j] : max;
    }
    for (size_t j = from; j <= t; j++) {
        p[j] = uc_expf(p[j] - max);
        lane[j % 16] += p[j];
    }
    for (int w = 8; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] += lane[l + w];
    *lse = max + uc_logf(lane[0]);
    for (size_t i = 0; i < s->d; i++) {
        float acc = 0;
        for (size_t j = from; j <= t; j++)
            acc = fmaf(p[j], a->v[(j * s->n_kv + g) * s->d + i], acc);
        y[i] = acc * (1.0f / lane[0]);
    }
}

static void check_order(const struct data *a)
{
    const struct shape *s = &a->s;
    float *p = malloc((s->n_tok + 1) * sizeof(*p)), *y = malloc(s->d * sizeof(*y)), lse;

    for (size_t h = 0; h < s->n_head; h++)
        for (size_t t = 0; t < s->n_tok; t++) {
            plain_row(a, h, t, p, y, &lse);
            check_same_f32(y, a->y + (t * s->n_head + h) * s->d, s->d);
            check_same_f32(&lse, a->lse + h * s->n_tok + t, 1);
        }
    free(p);
    free(y);
}

static void check_variants(const struct data *a)
{
    const struct shape *s = &a->s;
    size_t nq = s->n_tok * s->n_head * s->d, nk = s->n_tok * s->n_kv * s->d;
    float *y = floats(nq), *lse = floats(s->n_tok * s->n_head);
    float *dq = floats(nq), *dk = floats(nk), *dv = floats(nk);

    for (int v = 0; v < check_n_variants(); v++)
        for (int n_thr = 1; n_thr <= CHECK_MAX_THREADS; n_thr++) {
            check_use(v);
            memset(dk, 0xff, nk * sizeof(*dk)); /* overwritten, not added to */
            memset(dv, 0xff, nk * sizeof(*dv));
            forward(y, lse, a, check_pool(n_thr));
            backward(dq, dk, dv, a, check_pool(n_thr));
            check_same_f32(a->y, y, nq);
            check_same_f32(a->lse, lse, s->n_tok * s->n_head);
            check_same_f32(a->dq, dq, nq);
            check_same_f32(a->dk, dk, nk);
            check_same_f32(a->dv, dv, nk);
        }
    forward(y, NULL, a, NULL);
    check_same_f32(a->y, y, nq);
}

/* fp64 results, and how far fp32 may be off from each to first order. */
struct ref {
    double *y, *dq, *dk, *dv, *ey, *eq, *ek, *ev;
};

/*
 * One query row in fp64. With d = (n + 2) u Q the error of a score (n = head_dim fma, * scale; Q
 * the sum of magnitudes), p is off by a factor 1 + ep, ep = 2 max d + u |s - max| + 2 u (exp) + the
 * row sum's (n_keys / 16 + 6) u; lse in place of max and sum costs u |lse| more. Outputs add their
 * own chain: n_keys u of the sum of magnitudes.
 */
struct row {
    double *p, *s;
    double ep, sum_dy_y, dot, chain;
};

static void ref_scores(struct row *r, const struct data *a, size_t h, size_t t)
{
    const struct shape *s = &a->s;
    size_t g = h / (s->n_head / s->n_kv), from = first_of(s, t);
    double max = -INFINITY, low = INFINITY, sum = 0, size = 0;

    for (size_t j = from; j <= t; j++) {
        double dot = 0, mag = 0;
        for (size_t i = 0; i < s->d; i++) {
            double x =
                (double)a->q[(t * s->n_head + h) * s->d + i] * a->k[(j * s->n_kv + g) * s->d + i];
            dot += x;
            mag += fabs(x);
        }
        r->s[j] = dot * s->scale;
        max = fmax(max, r->s[j]);
        low = fmin(low, r->s[j]);
        size = fmax(size, mag * s->scale);
    }
    for (size_t j = from; j <= t; j++)
        sum += r->p[j] = exp(r->s[j] - max);
    for (size_t j = from; j <= t; j++)
        r->p[j] /= sum;
    r->chain = (double)(t - from + 3) * u;
    r->ep = 2 * (double)(s->d + 2) * u * size + u * (max - low) + u * fabs(max + log(sum)) + 2 * u +
            ((double)(t - from) / 16 + 6) * u;
}

static void ref_row(const struct ref *o, struct row *r, const struct data *a, size_t h, size_t t)
{
    const struct shape *s = &a->s;
    size_t g = h / (s->n_head / s->n_kv), from = first_of(s, t), at = (t * s->n_head + h) * s->d;
    double e_dot = 0;

    r->dot = r->sum_dy_y = 0;
    for (size_t i = 0; i < s->d; i++) {
        double y = 0, mag = 0;
        for (size_t j = from; j <= t; j++) {
            double x = r->p[j] * a->v[(j * s->n_kv + g) * s->d + i];
            y += x;
            mag += fabs(x);
        }
        o->y[at + i] = y;
        o->ey[at + i] = (r->ep + r->chain) * mag;
        r->dot += a->dy[at + i] * y;
        e_dot += fabs(a->dy[at + i]) * (o->ey[at + i] + (double)(s->d / 16 + 6) * u * fabs(y));
    }
    for (size_t j = from; j <= t; j++) {
        double dp = 0, mag = 0, ds, es;
        for (size_t i = 0; i < s->d; i++) {
            double x = (double)a->dy[at + i] * a->v[(j * s->n_kv + g) * s->d + i];
            dp += x;
            mag += fabs(x);
        }
        ds = r->p[j] * (dp - r->dot);
        es = r->p[j] * ((r->ep + 2 * u) * fabs(dp - r->dot) + (double)s->d * u * mag + e_dot);
        for (size_t i = 0; i < s->d; i++) {
            size_t kv = (j * s->n_kv + g) * s->d + i;
            double c = (double)s->n_tok * (double)(s->n_head / s->n_kv) * u + 2 * u;

            o->dq[at + i] += s->scale * ds * a->k[kv];
            o->eq[at + i] += s->scale * fabs(a->k[kv]) * (es + r->chain * fabs(ds));
            o->dk[kv] += s->scale * ds * a->q[at + i];
            o->ek[kv] += s->scale * fabs(a->q[at + i]) * (es + c * fabs(ds));
            o->dv[kv] += r->p[j] * a->dy[at + i];
            o->ev[kv] += r->p[j] * fabs(a->dy[at + i]) * (r->ep + c);
        }
    }
}

static struct ref ref_new(const struct data *a)
{
    const struct shape *s = &a->s;
    size_t nq = s->n_tok * s->n_head * s->d + 1, nk = s->n_tok * s->n_kv * s->d + 1;
    double *p = calloc(4 * nq + 4 * nk, sizeof(*p));
    struct ref o = {p,          p + nq,     p + 4 * nq,          p + 4 * nq + nk,
                    p + 2 * nq, p + 3 * nq, p + 4 * nq + 2 * nk, p + 4 * nq + 3 * nk};
    struct row r = {.p = malloc(s->n_tok * sizeof(double)), .s = malloc(s->n_tok * sizeof(double))};

    for (size_t h = 0; h < s->n_head; h++)
        for (size_t t = 0; t < s->n_tok; t++) {
            ref_scores(&r, a, h, t);
            ref_row(&o, &r, a, h, t);
        }
    free(r.p);
    free(r.s);
    return o;
}

static void within(const char *what, const float *got, const double *ref, const double *error,
                   size_t n)
{
    double worst = 0;

    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(got[i] - ref[i]) / (1.1 * error[i] + 0x1p-140));
    check_that(worst <= 1, "%s is off by %.2f of its bound", what, worst);
}

static void check_bounds(const struct data *a)
{
    const struct shape *s = &a->s;
    size_t nq = s->n_tok * s->n_head * s->d, nk = s->n_tok * s->n_kv * s->d;
    struct ref o = ref_new(a);

    within("y", a->y, o.y, o.ey, nq);
    within("dq", a->dq, o.dq, o.eq, nq);
    within("dk", a->dk, o.dk, o.ek, nk);
    within("dv", a->dv, o.dv, o.ev, nk);
    free(o.y);
}

/* The fp64 gradient is the slope of sum dy . y: one input at a time moved by +-h (exact in fp32).
 */
static void check_slopes(struct data *a)
{
    const struct shape *s = &a->s;
    size_t nq = s->n_tok * s->n_head * s->d, nk = s->n_tok * s->n_kv * s->d;
    struct ref o = ref_new(a);
    struct {
        float *x;
        const double *slope;
        size_t n;
    } in[] = {{a->q, o.dq, nq}, {a->k, o.dk, nk}, {a->v, o.dv, nk}};

    for (int which = 0; which < 3; which++)
        for (size_t i = 0; i < in[which].n; i++) {
            const float was = in[which].x[i], h = 0x1p-10f;
            double sum[2] = {0, 0}, at[2];
            for (int side = 0; side < 2; side++) {
                in[which].x[i] = was + (side ? h : -h);
                at[side] = in[which].x[i];
                struct ref moved = ref_new(a);
                for (size_t k = 0; k < nq; k++)
                    sum[side] += a->dy[k] * moved.y[k];
                free(moved.y);
            }
            in[which].x[i] = was;
            check_that(fabs((sum[1] - sum[0]) / (at[1] - at[0]) - in[which].slope[i]) < 2e-6,
                       "slope %d [%zu]: %g, gradient %g", which, i,
                       (sum[1] - sum[0]) / (at[1] - at[0]), in[which].slope[i]);
        }
    free(o.y);
}

static void run(void)
{
    static const size_t dims[] = {32, 64, 8, 16, 80, 128, 20, 1, 33};
    static const size_t groups[][2] = {{1, 1}, {4, 2}, {9, 3}, {2, 2}, {3, 1}};

    for (int round = 0; round < 60; round++) {
        struct shape s = {.n_tok = round < 20 ? (size_t)round : check_range(20, 230),
                          .n_head = groups[round % 5][0],
                          .n_kv = groups[round % 5][1],
                          .d = dims[round % 9],
                          .scale = 1.0f / sqrtf((float)dims[round % 9])};
        enum check_kind kind = round % 2 ? (enum check_kind)(round / 2 % CHECK_KINDS) : CHECK_PLAIN;

        if (round % 3 == 2)
            s.window = check_range(1, s.n_tok + 5);
        struct data a = make(s, kind);
        check_context("n_tok %zu heads %zu/%zu head_dim %zu window %zu %s", s.n_tok, s.n_head,
                      s.n_kv, s.d, s.window, check_kind_name(kind));
        check_use(0);
        forward(a.y, a.lse, &a, NULL);
        backward(a.dq, a.dk, a.dv, &a, NULL);
        check_order(&a);
        check_variants(&a);
        if (kind == CHECK_PLAIN)
            check_bounds(&a);
        check_release();
    }
    struct data small = make((struct shape){7, 2, 1, 3, 4, 0.6f}, CHECK_PLAIN);
    check_context("finite differences");
    check_slopes(&small);
    check_release();
}

static struct data bench_data;

static void bench_fwd(void *arg)
{
    forward(bench_data.y, bench_data.lse, &bench_data, NULL);
}

static void bench_bwd(void *arg)
{
    backward(bench_data.dq, bench_data.dk, bench_data.dv, &bench_data, NULL);
}

static void bench(void)
{
    static const struct shape shapes[] = {{512, 9, 3, 64, 0, 0.125f},
                                          {2048, 9, 3, 64, 0, 0.125f},
                                          {1024, 8, 2, 128, 0, 0.088f},
                                          {1024, 8, 8, 32, 0, 0.177f}};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *s = &shapes[i];
        double n = (double)s->n_tok, flops = 2 * n * (n + 1) * (double)(s->n_head * s->d);
        char what[80];

        bench_data = make(*s, CHECK_PLAIN);
        for (int v = s->n_tok > 512; v < check_n_variants(); v++) {
            check_use(v);
            snprintf(what, sizeof(what), "attention %zu x %zu/%zu x %zu", s->n_tok, s->n_head,
                     s->n_kv, s->d);
            check_bench_flops(what, v, flops, check_time(bench_fwd, NULL), false);
            snprintf(what, sizeof(what), "  backward (7 products, 2 of them twice)");
            check_bench_flops(what, v, 3.5 * flops, check_time(bench_bwd, NULL), false);
        }
        check_release();
    }
}

CHECK_FAMILY(attention, run, bench)
