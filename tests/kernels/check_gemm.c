#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/convert.h"
#include "kernels/gemm.h"
#include "tests/kernels/check.h"

struct shape {
    size_t n_tok, n, k, ldx, ldy;
};

/* The definition, in the simplest words. */
static void reference(float *y, const float *x, const float *w, const struct shape *s)
{
    for (size_t t = 0; t < s->n_tok; t++)
        for (size_t o = 0; o < s->n; o++) {
            float acc = 0;
            for (size_t i = 0; i < s->k; i++)
                acc = fmaf(x[t * s->ldx + i], w[o * s->k + i], acc);
            y[t * s->ldy + o] = acc;
        }
}

static void one_shape(const struct shape *s, enum check_kind kind, bool all_threads)
{
    size_t len_x = s->n_tok ? (s->n_tok - 1) * s->ldx + s->k : 0;
    size_t len_y = s->n_tok ? (s->n_tok - 1) * s->ldy + s->n : 0;
    float *x = check_buf(len_x * 4, check_range(0, 15) * 4), *w = check_buf(s->n * s->k * 4, 4);
    float *want = check_buf(len_y * 4, 0), *got = check_buf(len_y * 4, check_range(0, 15) * 4);
    float *packed = check_buf(uc_gemm_packed_len(s->n, s->k) * 4, 0);

    check_fill_f32(x, len_x, kind);
    check_fill_f32(w, s->n * s->k, kind);
    memset(want, 0x5a, len_y * 4); /* what lies between rows must survive */
    reference(want, x, w, s);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        uc_gemm_pack(packed, w, UC_DTYPE_F32, s->n, s->k, s->k, false);
        int first = all_threads ? 1 : (int)check_range(1, CHECK_MAX_THREADS);
        for (int n = first; n <= (all_threads ? CHECK_MAX_THREADS : first); n++) {
            check_context("%zu tokens, n %zu, k %zu, values %s, %s, %d threads", s->n_tok, s->n,
                          s->k, check_kind_name(kind), check_variant_name(v), n);
            memset(got, 0x5a, len_y * 4);
            uc_gemm(got, s->ldy, x, s->ldx, packed, s->n_tok, s->n, s->k, check_pool(n));
            check_same_f32(want, got, len_y);
        }
    }
    check_release();
}

static void shapes(void)
{
    for (size_t i = 0; i <= 67; i++)
        for (int which = 0; which < 3; which++) {
            struct shape s = {check_range(1, 20), check_range(1, 67), check_range(0, 67), 0, 0};
            *(which == 0 ? &s.n_tok : which == 1 ? &s.n : &s.k) = i;
            s.ldx = s.k + check_range(0, 9);
            s.ldy = s.n + check_range(0, 9);
            one_shape(&s, (enum check_kind)((i + (size_t)which) % CHECK_KINDS), false);
        }
    for (int kind = 0; kind < CHECK_KINDS; kind++) {
        /* beyond one block of rows, of columns, and two of k */
        struct shape s = {check_range(169, 190), check_range(257, 300), check_range(769, 800), 0,
                          0};
        s.ldx = s.k + check_range(0, 5);
        s.ldy = s.n + check_range(0, 5);
        one_shape(&s, (enum check_kind)kind, kind == 0 || kind == CHECK_SPECIAL);
    }
}

static void one_pack(size_t n, size_t k, enum uc_dtype dtype, bool transposed)
{
    size_t rows = transposed ? k : n, cols = transposed ? n : k, ld = cols + check_range(0, 3);
    size_t len = uc_gemm_packed_len(n, k), size = uc_dtype_bits(dtype) / 8;
    char *w = check_buf(rows * ld * size, check_range(0, 7) * size);
    float *want = check_buf(len * 4, 0), *got = check_buf(len * 4, 0);

    for (size_t i = 0; i < rows * ld * size; i++)
        w[i] = (char)check_rand();
    memset(want, 0, len * 4);
    for (size_t o = 0; o < n; o++)
        for (size_t i = 0; i < k; i++)
            uc_to_f32(want + o / 16 * 16 * k + i * 16 + o % 16,
                      w + (transposed ? i * ld + o : o * ld + i) * size, dtype, 1);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        check_context("pack n %zu, k %zu, %s%s, %s", n, k, uc_dtype_name(dtype),
                      transposed ? ", transposed" : "", check_variant_name(v));
        memset(got, 0x5a, len * 4);
        uc_gemm_pack(got, w, dtype, n, k, ld, transposed);
        check_same_f32(want, got, len);
    }
    check_release();
}

static void packs(void)
{
    static const enum uc_dtype types[] = {UC_DTYPE_F32, UC_DTYPE_BF16, UC_DTYPE_F16};

    for (int t = 0; t < 3; t++)
        for (int transposed = 0; transposed < 2; transposed++) {
            for (size_t i = 0; i <= 67; i++) {
                one_pack(i, check_range(0, 67), types[t], transposed);
                one_pack(check_range(0, 67), i, types[t], transposed);
            }
            one_pack(529, 301, types[t], transposed);
        }
}

/* |got - exact| <= gamma_k sum |x w|, gamma_k = k u / (1 - k u), for values that do not underflow.
 */
static void error_bound(void)
{
    const struct shape s = {40, 48, 1000, 1000, 48};
    float *x = check_buf(s.n_tok * s.k * 4, 0), *w = check_buf(s.n * s.k * 4, 0);
    float *y = check_buf(s.n_tok * s.n * 4, 0);
    float *packed = check_buf(uc_gemm_packed_len(s.n, s.k) * 4, 0);
    double u = 0x1p-24, gamma = (double)s.k * u / (1 - (double)s.k * u), worst = 0;

    check_fill_f32(x, s.n_tok * s.k, CHECK_PLAIN);
    check_fill_f32(w, s.n * s.k, CHECK_WIDE);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        uc_gemm_pack(packed, w, UC_DTYPE_F32, s.n, s.k, s.k, false);
        uc_gemm(y, s.ldy, x, s.ldx, packed, s.n_tok, s.n, s.k, NULL);
        for (size_t e = 0; e < s.n_tok * s.n; e++) {
            double sum = 0, size = 0; /* exact products; their sum has 29 bits more than fp32 */
            for (size_t i = 0; i < s.k; i++) {
                double p = (double)x[e / s.n * s.k + i] * (double)w[e % s.n * s.k + i];
                sum += p;
                size += fabs(p);
            }
            double r = fabs((double)y[e] - sum) / (gamma * size);
            worst = r > worst ? r : worst;
        }
        check_context("distance to fp64, %s", check_variant_name(v));
        check_that(worst <= 1.0, "%.3f times the bound", worst);
    }
    check_release();
}

static void run(void)
{
    shapes();
    packs();
    error_bound();
}

struct bench {
    struct shape s;
    float *x, *w, *y, *packed;
};

static void bench_gemm(void *arg)
{
    struct bench *b = arg;

    uc_gemm(b->y, b->s.n, b->x, b->s.k, b->packed, b->s.n_tok, b->s.n, b->s.k, NULL);
}

static void bench_pack(void *arg)
{
    struct bench *b = arg;

    uc_gemm_pack(b->packed, b->w, UC_DTYPE_F32, b->s.n, b->s.k, b->s.k, false);
}

static void bench_shape(size_t n_tok, size_t n, size_t k)
{
    struct bench b = {.s = {n_tok, n, k, k, n}};
    char what[64];

    b.x = check_buf(n_tok * k * 4, 0);
    b.w = check_buf(n * k * 4, 0);
    b.y = check_buf(n_tok * n * 4, 0);
    b.packed = check_buf(uc_gemm_packed_len(n, k) * 4, 0);
    check_fill_f32(b.x, n_tok * k, CHECK_PLAIN);
    for (size_t i = 0; i < n * k; i++)
        b.w[i] = b.x[i % (n_tok * k)];
    for (int v = check_n_variants() - 1; v >= 0; v--) {
        if (v == 0 && n * k * n_tok > 200000000)
            continue;
        check_use(v);
        snprintf(what, sizeof(what), "gemm %zu x %zu x %zu", n_tok, n, k);
        check_bench_flops(what, v, 2.0 * (double)n_tok * (double)n * (double)k,
                          check_time(bench_gemm, &b), false);
    }
    check_use(check_n_variants() - 1);
    snprintf(what, sizeof(what), "gemm pack %zu x %zu", n, k);
    check_bench_bytes(what, check_n_variants() - 1, 8.0 * (double)n * (double)k,
                      check_time(bench_pack, &b));
    check_release();
}

static void bench(void)
{
    static const size_t shape[][3] = {
        {512, 576, 576},   {512, 192, 576},   {512, 1536, 576},  {512, 576, 1536},
        {512, 49152, 576}, {512, 2048, 2048}, {512, 4096, 4096}, {512, 14336, 4096},
        {2048, 576, 576},  {2048, 1536, 576}, {2048, 576, 1536}, {2048, 4096, 4096},
        {4096, 192, 576},  {4096, 576, 576},  {4096, 1536, 576}, {4096, 2048, 2048},
    };

    for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
        bench_shape(shape[i][0], shape[i][1], shape[i][2]);
}

CHECK_FAMILY(gemm, run, bench)
