#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/moments.h"
#include "tests/kernels/check.h"

static void reference(double *s, size_t n, const float *x, size_t ldx, size_t n_tok)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            for (size_t t0 = 0; t0 < n_tok; t0 += 256) {
                float acc = 0;
                for (size_t t = t0; t < t0 + 256 && t < n_tok; t++)
                    acc = fmaf(x[t * ldx + i], x[t * ldx + j], acc);
                s[i * n + j] += (double)acc;
            }
}

/* s starts with values, upper triangle included: that one must survive. */
static void one(size_t n, size_t n_tok, enum check_kind kind, bool all_threads)
{
    size_t ldx = n + check_range(0, 9), len = n_tok ? (n_tok - 1) * ldx + n : 0;
    float *x = check_buf(len * 4, check_range(0, 15) * 4);
    double *start = check_buf(n * n * 8, 0), *want = check_buf(n * n * 8, 0);
    double *got = check_buf(n * n * 8, check_range(0, 7) * 8);

    check_fill_f32(x, len, kind);
    check_fill_f64(start, n * n, n_tok % 2 ? CHECK_PLAIN : CHECK_ZERO);
    memcpy(want, start, n * n * 8);
    reference(want, n, x, ldx, n_tok);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        int first = all_threads ? 1 : (int)check_range(1, CHECK_MAX_THREADS);
        for (int t = first; t <= (all_threads ? CHECK_MAX_THREADS : first); t++) {
            check_context("n %zu, %zu tokens, values %s, %s, %d threads", n, n_tok,
                          check_kind_name(kind), check_variant_name(v), t);
            memcpy(got, start, n * n * 8);
            uc_moments_add(got, n, x, ldx, n_tok, check_pool(t));
            check_same_f64(want, got, n * n);
        }
    }
    check_release();
}

static void run(void)
{
    static const size_t tokens[] = {0, 1, 2, 255, 256, 257, 511, 512, 513};

    for (size_t n = 0; n <= 67; n++)
        one(n, check_range(0, 40), (enum check_kind)(n % CHECK_KINDS), false);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
        one(check_range(30, 60), tokens[i], (enum check_kind)(i % CHECK_KINDS), false);
    for (int kind = 0; kind < CHECK_KINDS; kind++) /* beyond two blocks of rows and columns */
        one(check_range(385, 410), check_range(257, 270), (enum check_kind)kind,
            kind == 0 || kind == CHECK_SPECIAL);
}

struct bench {
    size_t n, n_tok;
    float *x;
    double *s;
};

static void bench_add(void *arg)
{
    struct bench *b = arg;

    uc_moments_add(b->s, b->n, b->x, b->n, b->n_tok, NULL);
}

static void bench(void)
{
    static const size_t ns[] = {576, 1536, 4096};

    for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
        struct bench b = {.n = ns[i], .n_tok = 2048};
        char what[64];
        b.x = check_buf(b.n * b.n_tok * 4, 0);
        b.s = check_buf(b.n * b.n * 8, 0);
        check_fill_f32(b.x, b.n * b.n_tok, CHECK_PLAIN);
        memset(b.s, 0, b.n * b.n * 8);
        for (int v = check_n_variants() - 1; v >= (b.n > 576); v--) {
            check_use(v);
            snprintf(what, sizeof(what), "moments %zu tokens, n %zu", b.n_tok, b.n);
            check_bench_flops(what, v, (double)b.n * (double)(b.n + 1) * (double)b.n_tok,
                              check_time(bench_add, &b), false);
        }
        check_release();
    }
}

CHECK_FAMILY(moments, run, bench)
