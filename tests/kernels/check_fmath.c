/*
 * Elementary functions: every variant's exp and log against the scalar ones bit for bit, and errors
 * against libm. fp32 arguments are sampled, or all of them with --exhaustive (some minutes).
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/fmath.h"
#include "kernels/fmath_impl.h"
#include "tests/kernels/check.h"

/* What docs/arithmetic.md states. */
static const double exp_ulp = 0.979, log_ulp = 0.807, fp64_ulp = 0.85;

enum { PATTERNS = 4096 };

static float pattern(uint64_t u)
{
    uint32_t v = (uint32_t)u;
    float x;

    memcpy(&x, &v, sizeof(x));
    return x;
}

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0 || (isnan(a) && isnan(b));
}

/* |got - ref| in units of the last place of ref as an fp32; overflow must come where ref rounds to
 * it. */
static double error_f32(float got, double ref)
{
    int e;

    if (isnan(ref) || isnan(got))
        return isnan(ref) && isnan(got) ? 0 : INFINITY;
    if (isinf(got) || fabs(ref) >= 0x1.ffffffp127)
        return (float)ref == got ? 0 : INFINITY;
    if (ref == 0)
        return got == 0 ? 0 : INFINITY;
    frexp(ref, &e);
    return fabs((double)got - ref) / ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

static uc_fmath_run_fn *const exp_variants[] = {
    uc_expf_run_c,
#ifdef UC_KERN_HAVE_AVX2
    uc_expf_run_avx2,
#endif
#ifdef UC_KERN_HAVE_AVX512
    uc_expf_run_avx512,
#endif
};
static uc_fmath_run_fn *const log_variants[] = {
    uc_logf_run_c,
#ifdef UC_KERN_HAVE_AVX2
    uc_logf_run_avx2,
#endif
#ifdef UC_KERN_HAVE_AVX512
    uc_logf_run_avx512,
#endif
};

/* Errors and differences over patterns first, first + step, ..; one pool item owns one of these. */
struct sweep {
    double exp_error, log_error;
    long n_differ;
};
struct sweeps {
    uint64_t step;
    int n_variants;
    struct sweep of[1024];
};

static void sweep_block(struct sweep *s, uint64_t first, uint64_t step, int n_variants)
{
    float x[PATTERNS], e[PATTERNS], l[PATTERNS], got[PATTERNS];
    double err;

    for (int i = 0; i < PATTERNS; i++) {
        x[i] = pattern(first + (uint64_t)i * step);
        e[i] = uc_expf(x[i]);
        l[i] = uc_logf(x[i]);
        err = error_f32(e[i], exp((double)x[i]));
        s->exp_error = err > s->exp_error ? err : s->exp_error;
        err = error_f32(l[i], log((double)x[i]));
        s->log_error = err > s->log_error ? err : s->log_error;
    }
    for (int v = 0; v < n_variants; v++) {
        exp_variants[v](got, x, PATTERNS);
        for (int i = 0; i < PATTERNS; i++)
            s->n_differ += !same(got[i], e[i]);
        log_variants[v](got, x, PATTERNS);
        for (int i = 0; i < PATTERNS; i++)
            s->n_differ += !same(got[i], l[i]);
    }
}

static void sweep_item(void *arg, size_t item, int thread)
{
    struct sweeps *w = arg;
    uint64_t span = (uint64_t)1 << 22, from = item * span;

    for (uint64_t u = from; u + PATTERNS * w->step <= from + span; u += PATTERNS * w->step)
        sweep_block(&w->of[item], u, w->step, w->n_variants);
}

static void check_fp32(void)
{
    static struct sweeps w;
    struct sweep all = {0};

    memset(&w, 0, sizeof(w));
    w.step = check_exhaustive() ? 1 : 1021;
    w.n_variants = check_n_variants();
    uc_pool_run(check_pool(CHECK_MAX_THREADS), 1024, sweep_item, &w);
    for (int i = 0; i < 1024; i++) {
        all.exp_error = fmax(all.exp_error, w.of[i].exp_error);
        all.log_error = fmax(all.log_error, w.of[i].log_error);
        all.n_differ += w.of[i].n_differ;
    }
    check_context("fp32 %s", w.step == 1 ? "all arguments" : "sampled arguments");
    check_that(all.n_differ == 0, "%ld values differ from the scalar functions", all.n_differ);
    check_that(all.exp_error <= exp_ulp, "exp is off by %.4f ulp", all.exp_error);
    check_that(all.log_error <= log_ulp, "log is off by %.4f ulp", all.log_error);
    if (check_exhaustive())
        printf(" (exp %.4f ulp, log %.4f ulp)", all.exp_error, all.log_error);
}

/* Lengths with a tail, misaligned, in place, guards. */
static void check_lengths(void)
{
    for (size_t n = 0; n <= 67; n++) {
        float *x = check_buf(n * sizeof(*x), 4 * (n % 16)), *want = check_buf(n * sizeof(*x), 0);
        float *got = check_buf(n * sizeof(*x), 4 * (n % 5));

        check_fill_f32(x, n, (enum check_kind)(n % CHECK_KINDS));
        for (int v = 0; v < check_n_variants(); v++) {
            check_use(v);
            check_context("%s n %zu", check_variant_name(v), n);
            for (size_t i = 0; i < n; i++)
                want[i] = uc_expf(x[i]);
            uc_expf_n(got, x, n);
            check_same_f32(want, got, n);
            for (size_t i = 0; i < n; i++)
                want[i] = uc_logf(x[i]);
            memcpy(got, x, n * sizeof(*x));
            uc_logf_n(got, got, n);
            check_same_f32(want, got, n);
        }
        check_release();
    }
}

static void check_special(void)
{
    double s, c;

    check_context("special values");
    check_that(uc_expf(-INFINITY) == 0 && !signbit(uc_expf(-INFINITY)), "expf(-inf)");
    check_that(uc_expf(INFINITY) == INFINITY && uc_expf(89.0f) == INFINITY, "expf overflow");
    check_that(uc_expf(0.0f) == 1 && uc_expf(-0.0f) == 1, "expf(0)");
    check_that(uc_expf(-103.9f) == 0x1p-149f && uc_expf(-104.0f) == 0, "expf underflow");
    check_that(isnan(uc_expf(NAN)) && isnan(uc_logf(NAN)), "fp32 NaN");
    check_that(uc_logf(0.0f) == -INFINITY && uc_logf(-0.0f) == -INFINITY, "logf(0)");
    check_that(isnan(uc_logf(-1.0f)) && uc_logf(INFINITY) == INFINITY, "logf(-1), logf(inf)");
    check_that(uc_logf(1.0f) == 0 && !signbit(uc_logf(1.0f)), "logf(1)");
    check_that(uc_exp(-INFINITY) == 0 && uc_exp(INFINITY) == INFINITY, "exp of infinity");
    check_that(uc_exp(710) == INFINITY && uc_exp(-746) == 0, "exp overflow and underflow");
    check_that(uc_exp(-745) == 0x1p-1074 && uc_exp(0) == 1, "exp(-745), exp(0)");
    check_that(uc_exp2(1024) == INFINITY && uc_exp2(-1076) == 0, "exp2 overflow and underflow");
    for (int i = -1074; i < 1024; i++)
        check_that(uc_exp2(i) == ldexp(1, i) && uc_log2(ldexp(1, i)) == i, "2^%d", i);
    check_that(uc_log(0) == -INFINITY && uc_log2(-0.0) == -INFINITY, "log(0)");
    check_that(isnan(uc_log(-1)) && isnan(uc_log2(-1)) && uc_log(INFINITY) == INFINITY, "log(-1)");
    check_that(uc_log(1) == 0 && uc_log2(1) == 0, "log(1)");
    check_that(isnan(uc_exp(NAN)) && isnan(uc_exp2(NAN)) && isnan(uc_log(NAN)), "fp64 NaN");
    check_that(uc_pow(2, 10) == 1024 && uc_pow(10, 2) == 100 && uc_pow(3, 0) == 1, "pow");
    check_that(uc_pow(2, 5000) == INFINITY && uc_pow(2, -5000) == 0, "pow overflow");
    check_that(uc_pow(0, 2) == 0 && uc_pow(0, -2) == INFINITY && isnan(uc_pow(-1, 2)), "pow edges");
    uc_sincos(0, &s, &c);
    check_that(s == 0 && c == 1, "sincos(0)");
    uc_sincos(0x1.1p30, &s, &c);
    check_that(isnan(s) && isnan(c), "sincos beyond its range");
}

static double uniform(double lo, double hi)
{
    uint64_t u = (uint64_t)check_rand() << 32 | check_rand();

    return lo + (hi - lo) * ((double)(u >> 11) * 0x1p-53);
}

/* |got - ref| in units of the last place of ref as an fp64. */
static double error_f64(double got, long double ref)
{
    int e;

    frexp((double)ref, &e);
    return (double)(fabsl((long double)got - ref) / ldexpl(1, (e < -1021 ? -1021 : e) - 53));
}

struct worst {
    double error, at;
};

static void note(struct worst *w, double got, long double ref, double at)
{
    double e = error_f64(got, ref);

    if (!(e <= w->error))
        *w = (struct worst){e, at};
}

static void check_fp64(void)
{
    static const char *const name[] = {"exp", "log", "log2", "exp2", "sin", "cos", "pow"};
    struct worst w[7] = {{0, 0}};
    double s, c;

    for (int i = 0; i < 60000; i++) {
        double x = i % 2 ? uniform(-708, 709.7) : uniform(-1, 1), near = 1 + ldexp(x, -(i % 50));
        double any = ldexp(uniform(0.5, 1), (int)check_range(0, 2000) - 1000);
        double turn = i % 3 ? uniform(-1, 1) * ldexp(1, i % 41 - 10) : (i - 30000) * M_PI_2 * 1e4;
        double base = i % 2 ? uniform(0.4, 3) : ldexp(uniform(0.5, 1), i % 40 - 20);
        double power = uniform(-25, 25);

        note(&w[0], uc_exp(x), expl(x), x);
        if (near > 0) {
            note(&w[1], uc_log(near), logl(near), near);
            note(&w[2], uc_log2(near), log2l(near), near);
        }
        note(&w[1], uc_log(any), logl(any), any);
        note(&w[2], uc_log2(any), log2l(any), any);
        note(&w[3], uc_exp2(x), exp2l(x), x);
        uc_sincos(turn, &s, &c);
        note(&w[4], s, sinl(turn), turn);
        note(&w[5], c, cosl(turn), turn);
        note(&w[6], uc_pow(base, power), powl(base, power), base);
    }
    for (int k = 0; k < 7; k++) {
        check_context("fp64 %s", name[k]);
        check_that(w[k].error <= fp64_ulp, "off by %.4f ulp at %a", w[k].error, w[k].at);
        if (check_exhaustive())
            printf(" (%s %.4f ulp)", name[k], w[k].error);
    }
}

static void run(void)
{
    check_fp32();
    check_lengths();
    check_special();
    if (LDBL_MANT_DIG < 64)
        printf(" (fp64 errors not measured: long double has %d bits)", LDBL_MANT_DIG);
    else
        check_fp64();
}

static float bench_x[4096], bench_y[4096];

static void bench_exp(void *arg)
{
    uc_expf_n(bench_y, bench_x, 4096);
}

static void bench_log(void *arg)
{
    uc_logf_n(bench_y, bench_x, 4096);
}

static void bench(void)
{
    check_fill_f32(bench_x, 4096, CHECK_PLAIN);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        check_bench_bytes("expf 4096 (read and written)", v, 8 * 4096, check_time(bench_exp, NULL));
        check_bench_bytes("logf 4096 (read and written)", v, 8 * 4096, check_time(bench_log, NULL));
    }
}

CHECK_FAMILY(fmath, run, bench)
