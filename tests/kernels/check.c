/* kernels [--bench] [--seed N] [--only FAMILY] [--json] [--exhaustive]: see check.h. */
#include "tests/kernels/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "tests/kernels/peak.h"

enum { GUARD = 128, MAX_BUFS = 32, MAX_REPORTS = 10 };

static struct {
    struct check_family *families;
    uint64_t seed, drawn;
    long passed, failed;
    char context[256];
    const char *family;
    struct uc_pool *pools[CHECK_MAX_THREADS + 1];
    struct {
        unsigned char *raw;
        size_t lead, bytes;
    } bufs[MAX_BUFS];
    int n_bufs;
    bool json, exhaustive;
} st;

static const struct {
    const char *name;
    unsigned need;
} variants[] = {{"c", 0}, {"avx2", UC_CPU_AVX2}, {"avx512", UC_CPU_AVX2 | UC_CPU_AVX512}};

void check_register(struct check_family *f)
{
    struct check_family **at = &st.families;

    while (*at && strcmp((*at)->name, f->name) < 0)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
}

int check_n_variants(void)
{
    int n = 0;

    while (n < 3 && (variants[n].need & uc_cpu_flags_raw()) == variants[n].need)
        n++;
    return n;
}

const char *check_variant_name(int variant)
{
    return variants[variant].name;
}

void check_use(int variant)
{
    uc_cpu_set_mask(variants[variant].need);
}

struct uc_pool *check_pool(int n_threads)
{
    struct uc_err err;

    if (n_threads < 2)
        return NULL;
    if (!st.pools[n_threads])
        st.pools[n_threads] = uc_pool_new(n_threads, &err);
    return st.pools[n_threads];
}

bool check_exhaustive(void)
{
    return st.exhaustive;
}

uint32_t check_rand(void)
{
    static uint32_t block[4];

    if (st.drawn % 4 == 0)
        uc_philox(st.seed, 0, st.drawn / 4, block);
    return block[st.drawn++ % 4];
}

size_t check_range(size_t lo, size_t hi)
{
    return lo + check_rand() % (hi - lo + 1);
}

const char *check_kind_name(enum check_kind kind)
{
    static const char *const name[] = {"plain", "wide", "tiny", "huge", "zero", "special"};

    return name[kind];
}

/* One value; `range` is 1 for fp32 and 8 for fp64 (so many times the exponents). */
static double draw(enum check_kind kind, int range)
{
    double m = ((double)check_rand() + 0.5) * 0x1p-31 - 1.0; /* in (-1, 1) */
    int e = (int)check_range(0, 40);

    switch (kind) {
    case CHECK_WIDE:
        return ldexp(m, e - 20);
    case CHECK_TINY:
        return ldexp(m, (e % 2 ? -60 - e : -110 - e) * range);
    case CHECK_HUGE:
        return ldexp(m, (e % 4 ? 64 : 120) * range);
    case CHECK_ZERO:
        return e % 3 ? (m < 0 ? -0.0 : 0.0) : m;
    case CHECK_SPECIAL:
        if (e > 4)
            return draw((enum check_kind)(e % CHECK_SPECIAL), range);
        return e == 0 ? NAN : e < 3 ? (m < 0 ? -INFINITY : INFINITY) : m;
    default:
        return m;
    }
}

void check_fill_f32(float *x, size_t n, enum check_kind kind)
{
    for (size_t i = 0; i < n; i++) {
        float v = (float)draw(kind, 1);
        memcpy((char *)x + i * sizeof(v), &v, sizeof(v));
    }
}

void check_fill_f64(double *x, size_t n, enum check_kind kind)
{
    for (size_t i = 0; i < n; i++) {
        double v = draw(kind, 8);
        memcpy((char *)x + i * sizeof(v), &v, sizeof(v));
    }
}

void *check_buf(size_t bytes, size_t misalign)
{
    size_t total = (GUARD + misalign + bytes + GUARD + 63) / 64 * 64;
    unsigned char *raw = aligned_alloc(64, total);

    if (!raw || st.n_bufs == MAX_BUFS) {
        fprintf(stderr, "kernels: out of memory or buffers\n");
        exit(2);
    }
    memset(raw, 0xa5, total);
    st.bufs[st.n_bufs].raw = raw;
    st.bufs[st.n_bufs].lead = GUARD + misalign;
    st.bufs[st.n_bufs++].bytes = bytes;
    return raw + GUARD + misalign;
}

void check_release(void)
{
    bool good = true;

    for (int b = 0; b < st.n_bufs; b++) {
        const unsigned char *p = st.bufs[b].raw, *end = p + st.bufs[b].lead + st.bufs[b].bytes;
        for (size_t i = 0; i < st.bufs[b].lead; i++)
            good = good && p[i] == 0xa5;
        for (size_t i = 0; i < GUARD; i++)
            good = good && end[i] == 0xa5;
        free(st.bufs[b].raw);
    }
    if (st.n_bufs)
        check_that(good, "bytes outside a buffer were written");
    st.n_bufs = 0;
}

void check_context(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(st.context, sizeof(st.context), fmt, ap);
    va_end(ap);
}

void check_that(bool good, const char *fmt, ...)
{
    va_list ap;

    if (good) {
        st.passed++;
        return;
    }
    if (st.failed++ >= MAX_REPORTS)
        return;
    fprintf(stderr, "FAILED %s: %s: ", st.family, st.context);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
}

void check_same_f32(const float *want, const float *got, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float a, b;
        memcpy(&a, (const char *)want + i * sizeof(a), sizeof(a));
        memcpy(&b, (const char *)got + i * sizeof(b), sizeof(b));
        if (memcmp(&a, &b, sizeof(a)) != 0 && !(isnan(a) && isnan(b))) {
            check_that(false, "[%zu] of %zu: wanted %a, got %a", i, n, (double)a, (double)b);
            return;
        }
    }
    check_that(true, "same");
}

void check_same_f64(const double *want, const double *got, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double a, b;
        memcpy(&a, (const char *)want + i * sizeof(a), sizeof(a));
        memcpy(&b, (const char *)got + i * sizeof(b), sizeof(b));
        if (memcmp(&a, &b, sizeof(a)) != 0 && !(isnan(a) && isnan(b))) {
            check_that(false, "[%zu] of %zu: wanted %a, got %a", i, n, a, b);
            return;
        }
    }
    check_that(true, "same");
}

void check_same_bytes(const void *want, const void *got, size_t n)
{
    const unsigned char *a = want, *b = got;
    size_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    check_that(i == n, "byte %zu of %zu: wanted %02x, got %02x", i, n, i < n ? a[i] : 0,
               i < n ? b[i] : 0);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double check_time(void (*fn)(void *arg), void *arg)
{
    double best = 1e30, spent = 0;

    while (spent < 0.5) {
        double t = now();
        fn(arg);
        t = now() - t;
        best = t < best ? t : best;
        spent += t > 0 ? t : 1e-9;
    }
    return best;
}

static void run_peak(void *arg)
{
    peak_fn *const *fn = arg;

    (*fn)(100000);
}

double check_fma_peak(int variant)
{
    static double known[3];
    peak_fn *fn = peak_of(variant);

    if (known[variant] == 0)
        known[variant] = fn(0) * 100000 / check_time(run_peak, &fn);
    return known[variant];
}

void check_bench_flops(const char *what, int variant, double flops, double seconds, bool f64)
{
    double peak = check_fma_peak(variant) / (f64 ? 2 : 1), rate = flops / seconds;

    if (st.json)
        printf("{\"what\": \"%s\", \"variant\": \"%s\", \"gflops\": %.2f, \"peak_gflops\": %.2f}\n",
               what, variants[variant].name, rate / 1e9, peak / 1e9);
    else
        printf("%-40s %-7s %8.2f GFLOP/s %6.1f %% of %.1f\n", what, variants[variant].name,
               rate / 1e9, 100 * rate / peak, peak / 1e9);
    fflush(stdout);
}

void check_bench_bytes(const char *what, int variant, double bytes, double seconds)
{
    if (st.json)
        printf("{\"what\": \"%s\", \"variant\": \"%s\", \"gbytes_per_s\": %.2f}\n", what,
               variants[variant].name, bytes / seconds / 1e9);
    else
        printf("%-40s %-7s %8.2f GB/s\n", what, variants[variant].name, bytes / seconds / 1e9);
    fflush(stdout);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: kernels [--bench] [--json] [--seed N] [--only FAMILY] [--exhaustive]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    bool bench = false;

    st.seed = (uint64_t)time(NULL);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            bench = true;
        else if (strcmp(argv[i], "--json") == 0)
            st.json = true;
        else if (strcmp(argv[i], "--exhaustive") == 0)
            st.exhaustive = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            st.seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else
            return usage();
    }
    if (!st.json)
        printf("seed %llu, variants:", (unsigned long long)st.seed);
    for (int v = 0; v < check_n_variants() && !st.json; v++)
        printf(" %s", variants[v].name);
    for (struct check_family *f = st.families; f; f = f->next) {
        double start = now();
        if (only && strcmp(only, f->name) != 0)
            continue;
        st.family = f->name;
        st.drawn = 0;
        if (!st.json)
            printf("\n%s%s", f->name, bench ? "\n" : "");
        fflush(stdout);
        if (bench && f->bench)
            f->bench();
        if (bench)
            continue;
        f->run();
        printf(" %.1f s", now() - start);
    }
    for (int i = 0; i <= CHECK_MAX_THREADS; i++)
        uc_pool_free(st.pools[i]);
    if (!bench)
        printf("\n%ld passed, %ld failed\n", st.passed, st.failed);
    return st.failed != 0;
}
