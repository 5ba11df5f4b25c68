/*
 * Losses over rows of logits: every variant and thread count against the c variant bit for bit; the
 * c variant against fp64 with bounds that count roundings (u = 2^-24 each), ranks and top tens
 * against plain counting, samples against the fp64 running sum.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/loss.h"
#include "tests/kernels/check.h"

static const double u = 0x1p-24;
/* A sum of positive terms: 64 additions a lane, 4 of the tree, exp's 2 u; fp64 after that. */
static const double sum_error = 70 * 0x1p-24;

enum { MAX_VOCAB = 5000 };

static float *floats(size_t n)
{
    float *x = check_buf(n * sizeof(*x), 4 * check_range(0, 15));

    memset(x, 0, n * sizeof(*x));
    return x;
}

/* Logits about 8 wide; `ties` rounds them so that many are equal. */
static float *logits(size_t n, enum check_kind kind, bool ties)
{
    float *x = floats(n);

    check_fill_f32(x, n, kind);
    for (size_t i = 0; i < n && kind == CHECK_PLAIN; i++)
        x[i] = ties ? rintf(4 * x[i]) : 8 * x[i];
    return x;
}

/* p in fp64 and the log-sum-exp. */
static double softmax(double *p, const float *x, size_t n)
{
    double max = -INFINITY, sum = 0;

    for (size_t i = 0; i < n; i++)
        max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += p[i] = exp(x[i] - max);
    for (size_t i = 0; i < n; i++)
        p[i] /= sum;
    return max + log(sum);
}

/* Error of log sum exp: that of the sum, and of each x - max. */
static double lse_error(const double *p, const float *x, size_t n)
{
    double max = -INFINITY, e = sum_error;

    for (size_t i = 0; i < n; i++)
        max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++)
        e += p[i] * fabs(x[i] - max) * u;
    return e;
}

static void check_logsumexp(const float *x, size_t n_tok, size_t n, bool bounds)
{
    float *want = floats(n_tok), *got = floats(n_tok);
    double p[MAX_VOCAB];

    check_use(0);
    uc_logsumexp(want, x, n_tok, n, NULL);
    for (int v = 0; v < check_n_variants(); v++)
        for (int n_thr = 1; n_thr <= CHECK_MAX_THREADS; n_thr++) {
            check_use(v);
            uc_logsumexp(got, x, n_tok, n, check_pool(n_thr));
            check_same_f32(want, got, n_tok);
        }
    for (size_t t = 0; t < n_tok && bounds; t++) {
        double ref = softmax(p, x + t * n, n);
        check_that(fabs(want[t] - ref) <= lse_error(p, x + t * n, n) + u * fabs(ref),
                   "log-sum-exp %g, wanted %g", (double)want[t], ref);
    }
}

static uint32_t larger(const float *x, size_t n, float than)
{
    uint32_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += x[i] > than;
    return count;
}

static uint32_t argmax(const float *x, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return (uint32_t)best;
}

/* Whether id is in the top ten: fewer than ten ids come before it. */
static bool in_top(const float *x, size_t n, size_t id)
{
    uint32_t before = 0;

    for (size_t i = 0; i < n; i++)
        before += x[i] > x[id] || (x[i] == x[id] && i < id);
    return before < 10;
}

static void check_counts(const struct uc_token_score *s, const float *ref, const float *x,
                         uint32_t label, size_t n)
{
    uint32_t overlap = 0;

    for (size_t i = 0; i < n; i++)
        if (in_top(ref, n, i))
            overlap += in_top(x, n, i);
    check_that(s->top_ref == argmax(ref, n) && s->top == argmax(x, n), "argmax");
    check_that(s->rank_ref == larger(ref, n, ref[label]), "rank_ref %u", s->rank_ref);
    check_that(s->rank == larger(x, n, x[label]), "rank %u", s->rank);
    check_that(s->rank_of_top_ref == larger(x, n, x[argmax(ref, n)]), "rank_of_top_ref");
    check_that(s->top10_overlap == overlap, "overlap %u, wanted %u", s->top10_overlap, overlap);
}

static void check_score(const struct uc_token_score *s, const float *ref, const float *x,
                        uint32_t label, size_t n)
{
    double p[MAX_VOCAB], q[MAX_VOCAB], kld = 0, size = 0, lp = softmax(p, ref, n);
    double lq = softmax(q, x, n), ep = lse_error(p, ref, n), eq = lse_error(q, x, n), nll;

    for (size_t i = 0; i < n; i++) {
        double d = ((double)ref[i] - lp) - ((double)x[i] - lq);
        kld += p[i] * d;
        size += p[i] * (fabs((double)ref[i] - x[i]) + fabs(d - lq + lp));
    }
    nll = lp - ref[label];
    check_that(fabs(s->nll_ref - nll) <= ep + u * nll, "nll_ref %g, wanted %g", (double)s->nll_ref,
               nll);
    check_that(fabs(s->p_ref - exp(-nll)) <= (ep + 2 * u) * exp(-nll), "p_ref");
    nll = lq - x[label];
    check_that(fabs(s->nll - nll) <= eq + u * nll, "nll %g, wanted %g", (double)s->nll, nll);
    check_that(fabs(s->p - exp(-nll)) <= (eq + 2 * u) * exp(-nll), "p");
    /* the cross sum carries the sum's error on each magnitude; p and the logarithms theirs */
    check_that(s->kld >= 0 && fabs(s->kld - kld) <= 2 * (sum_error + ep) * size + ep + eq + u * kld,
               "kld %g, wanted %g", (double)s->kld, kld);
    check_counts(s, ref, x, label, n);
}

static bool same_score(const struct uc_token_score *a, const struct uc_token_score *b)
{
    const float *fa[] = {&a->nll_ref, &a->nll, &a->kld, &a->p_ref, &a->p};
    const float *fb[] = {&b->nll_ref, &b->nll, &b->kld, &b->p_ref, &b->p};

    for (int i = 0; i < 5; i++)
        if (memcmp(fa[i], fb[i], sizeof(float)) != 0 && !(isnan(*fa[i]) && isnan(*fb[i])))
            return false;
    return a->top_ref == b->top_ref && a->top == b->top && a->rank_ref == b->rank_ref &&
           a->rank == b->rank && a->rank_of_top_ref == b->rank_of_top_ref &&
           a->top10_overlap == b->top10_overlap;
}

static void check_scores(const float *ref, const float *x, size_t n_tok, size_t n, bool bounds)
{
    struct uc_token_score *want = check_buf(n_tok * sizeof(*want), 0);
    struct uc_token_score *got = check_buf(n_tok * sizeof(*got), 0);
    uint32_t *label = check_buf(n_tok * sizeof(*label), 0);

    for (size_t t = 0; t < n_tok; t++)
        label[t] = (uint32_t)check_range(0, n - 1);
    check_use(0);
    uc_score_tokens(want, ref, x, label, n_tok, n, NULL);
    for (int v = 0; v < check_n_variants(); v++)
        for (int n_thr = 1; n_thr <= CHECK_MAX_THREADS; n_thr++) {
            check_use(v);
            uc_score_tokens(got, ref, x, label, n_tok, n, check_pool(n_thr));
            for (size_t t = 0; t < n_tok; t++)
                check_that(same_score(&want[t], &got[t]), "score of row %zu", t);
        }
    for (size_t t = 0; t < n_tok && bounds; t++)
        check_score(&want[t], ref + t * n, x + t * n, label[t], n);
    uc_score_tokens(got, ref, ref, label, n_tok, n, NULL); /* a model against itself */
    for (size_t t = 0; t < n_tok && bounds; t++)
        check_that(got[t].kld == 0 && got[t].top10_overlap == (n < 10 ? n : 10) &&
                       got[t].rank_of_top_ref == 0 && got[t].nll == got[t].nll_ref,
                   "a row against itself");
}

static void check_sample(const float *g, const float *x, float weight, uint32_t id, float uniform,
                         size_t n)
{
    double p[MAX_VOCAB], below = 0, square = 0, worst = 0, tol = 2 * sum_error, e;

    softmax(p, x, n);
    e = lse_error(p, x, n) + sum_error;
    for (size_t i = 0; i < n; i++) {
        below += i < id ? p[i] : 0;
        square += p[i] * p[i];
        /* p: exp 2 u, x - max, the sum, 1 / sum and the product; - 1 rounds once more */
        worst = fmax(worst, fabs(g[i] - (p[i] - (i == id))) /
                                ((e + (fabs(x[i]) + 16) * u) * p[i] + u * (i == id) + 0x1p-149));
    }
    check_that(worst <= 1, "gradient is off by %.2f of its bound", worst);
    check_that(p[id] > 0 && below - tol <= uniform && uniform <= below + p[id] + tol,
               "sample %u covers %g..%g, u is %g", id, below, below + p[id], (double)uniform);
    check_that(fabs(weight - (1 - square)) <= 2 * (e + 8 * u) + u, "weight %g, wanted %g",
               (double)weight, 1 - square);
}

static void check_samples(const float *x, size_t n_tok, size_t n, bool bounds)
{
    float *want = floats(n_tok * n), *got = floats(n_tok * n), *r = floats(n_tok);
    float *weight = floats(n_tok), *weight2 = floats(n_tok);
    uint32_t *id = check_buf(n_tok * sizeof(*id), 0), *id2 = check_buf(n_tok * sizeof(*id2), 0);

    for (size_t t = 0; t < n_tok; t++)
        r[t] = t % 7 == 0 ? 0 : t % 7 == 1 ? 1 - 0x1p-24f : (float)(check_rand() >> 8) * 0x1p-24f;
    check_use(0);
    memcpy(want, x, n_tok * n * sizeof(*x));
    uc_sample_grad(want, weight, id, r, n_tok, n, NULL);
    for (int v = 0; v < check_n_variants(); v++)
        for (int n_thr = 1; n_thr <= CHECK_MAX_THREADS; n_thr++) {
            check_use(v);
            memcpy(got, x, n_tok * n * sizeof(*x));
            uc_sample_grad(got, weight2, id2, r, n_tok, n, check_pool(n_thr));
            check_same_f32(want, got, n_tok * n);
            check_same_f32(weight, weight2, n_tok);
            check_same_bytes(id, id2, n_tok * sizeof(*id));
        }
    for (size_t t = 0; t < n_tok && bounds; t++)
        check_sample(want + t * n, x + t * n, weight[t], id[t], r[t], n);
    memcpy(got, x, n_tok * n * sizeof(*x));
    uc_sample_grad(got, NULL, NULL, r, n_tok, n, NULL);
    check_same_f32(want, got, n_tok * n);
}

/* u on a grid: every id is drawn as often as p says, to within one draw a side. */
static void check_frequencies(void)
{
    enum { N = 40, DRAWS = 8192 };
    float x[N], row[N], g;
    double p[N];
    int count[N] = {0};
    uint32_t id;

    check_context("frequencies");
    check_fill_f32(x, N, CHECK_PLAIN);
    x[3] = -INFINITY;
    x[N - 1] = -INFINITY;
    softmax(p, x, N);
    for (int i = 0; i < DRAWS; i++) {
        g = (float)i / DRAWS;
        memcpy(row, x, sizeof(x));
        uc_sample_grad(row, NULL, &id, &g, 1, N, NULL);
        count[id]++;
    }
    for (int i = 0; i < N; i++)
        check_that(fabs(count[i] - p[i] * DRAWS) < 1.01, "id %d drawn %d times of %g", i, count[i],
                   p[i] * DRAWS);
}

static void check_edges(void)
{
    enum { N = 100 };
    float ref[N], x[N], lse, r = 0.999f, w;
    uint32_t label = 7, id;
    struct uc_token_score s;

    check_context("edges");
    for (int i = 0; i < N; i++)
        ref[i] = x[i] = -INFINITY;
    ref[7] = x[7] = 3; /* one certain id */
    uc_logsumexp(&lse, x, 1, N, NULL);
    check_that(lse == 3, "log-sum-exp of one logit");
    uc_score_tokens(&s, ref, x, &label, 1, N, NULL);
    check_that(s.kld == 0 && s.nll == 0 && s.p == 1 && s.top == 7 && s.top10_overlap == 1,
               "certain and right");
    x[7] = -INFINITY;
    x[8] = 0;
    uc_score_tokens(&s, ref, x, &label, 1, N, NULL);
    check_that(s.kld == INFINITY && s.nll == INFINITY && s.p == 0 && s.rank == 1,
               "certain and wrong");
    uc_sample_grad(x, &w, &id, &r, 1, N, NULL);
    check_that(id == 8 && w == 0 && x[8] == 0 && x[7] == 0, "a certain sample");
}

static void run(void)
{
    for (int round = 0; round < 96; round++) {
        size_t n = round < 70   ? (size_t)round + 1
                   : round < 90 ? check_range(1000, 1100)
                                : MAX_VOCAB;
        size_t n_tok = check_range(0, 9);
        enum check_kind kind = round % 3 ? CHECK_PLAIN : (enum check_kind)(round / 3 % CHECK_KINDS);
        bool ties = round % 3 == 2, bounds = kind == CHECK_PLAIN;
        float *ref = logits(n * n_tok, kind, ties), *x = logits(n * n_tok, kind, ties);

        check_context("n_tok %zu vocab %zu %s%s", n_tok, n, check_kind_name(kind),
                      ties ? " with ties" : "");
        for (size_t i = 0; i < n * n_tok && round % 4 == 0; i++)
            x[i] = ref[i] + 0.01f * x[i]; /* a good model: small divergences */
        check_logsumexp(ref, n_tok, n, bounds);
        check_scores(ref, x, n_tok, n, bounds);
        check_samples(ref, n_tok, n, bounds);
        check_release();
    }
    check_frequencies();
    check_edges();
}

enum { B_VOCAB = 49152, B_TOK = 16 };
static struct {
    float *ref, *x, *lse, *u;
    uint32_t *label;
    struct uc_token_score *score;
} b;

static void bench_lse(void *arg)
{
    uc_logsumexp(b.lse, b.ref, B_TOK, B_VOCAB, NULL);
}

static void bench_score(void *arg)
{
    uc_score_tokens(b.score, b.ref, b.x, b.label, B_TOK, B_VOCAB, NULL);
}

static void bench_sample(void *arg)
{
    uc_sample_grad(b.x, b.lse, b.label, b.u, B_TOK, B_VOCAB, NULL);
}

static void bench(void)
{
    const double bytes = 4.0 * B_TOK * B_VOCAB;

    b.ref = logits(B_TOK * B_VOCAB, CHECK_PLAIN, false);
    b.x = logits(B_TOK * B_VOCAB, CHECK_PLAIN, false);
    b.lse = floats(B_TOK);
    b.u = floats(B_TOK);
    b.label = check_buf(B_TOK * sizeof(*b.label), 0);
    b.score = check_buf(B_TOK * sizeof(*b.score), 0);
    memset(b.label, 0, B_TOK * sizeof(*b.label));
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        check_bench_bytes("logsumexp 16 x 49152", v, bytes, check_time(bench_lse, NULL));
        check_bench_bytes("score_tokens 16 x 49152 x 2", v, 2 * bytes,
                          check_time(bench_score, NULL));
        check_bench_bytes("sample_grad 16 x 49152", v, bytes, check_time(bench_sample, NULL));
    }
    check_release();
}

CHECK_FAMILY(loss, run, bench)
