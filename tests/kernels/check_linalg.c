#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/linalg.h"
#include "tests/kernels/check.h"

static size_t reference(double *a, size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) {
            double acc = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                acc = fma(-a[i * n + k], a[j * n + k], acc);
            if (i == j && !(acc > 0.0))
                return j + 1;
            a[i * n + j] = i == j ? sqrt(acc) : acc / a[j * n + j];
        }
    return 0;
}

/* Positive definite by a heavy diagonal; `spoil` = row whose pivot is made bad, or n. */
static void one(size_t n, size_t spoil, double bad, bool all_threads)
{
    double *a = check_buf(n * n * 8, 0), *want = check_buf(n * n * 8, 0);
    double *got = check_buf(n * n * 8, check_range(0, 7) * 8);
    size_t rc;

    check_fill_f64(a, n * n, CHECK_PLAIN);
    for (size_t i = 0; i < n; i++)
        a[i * n + i] = 0.25 * (double)n + fabs(a[i * n + i]);
    if (spoil < n)
        a[spoil * n + spoil] = bad;
    memcpy(want, a, n * n * 8);
    rc = reference(want, n);
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        int first = all_threads ? 1 : (int)check_range(1, CHECK_MAX_THREADS);
        for (int t = first; t <= (all_threads ? CHECK_MAX_THREADS : first); t++) {
            check_context("cholesky n %zu, %s, %d threads", n, check_variant_name(v), t);
            memcpy(got, a, n * n * 8);
            size_t r = uc_cholesky(got, n, check_pool(t));
            check_that(r == rc, "returned %zu instead of %zu", r, rc);
            if (rc == 0)
                check_same_f64(want, got, n * n);
        }
    }
    check_release();
}

/* |A - L L^T| <= gamma_(n+1) |L| |L|^T (Higham, Accuracy and Stability, theorem 10.3). */
static void backward_error(size_t n)
{
    double *a = check_buf(n * n * 8, 0), *l = check_buf(n * n * 8, 0), worst = 0;
    double u = 0x1p-53, gamma = (double)(n + 1) * u / (1 - (double)(n + 1) * u);

    check_fill_f64(a, n * n, CHECK_PLAIN);
    for (size_t i = 0; i < n; i++)
        a[i * n + i] = 0.25 * (double)n + fabs(a[i * n + i]);
    memcpy(l, a, n * n * 8);
    check_use(check_n_variants() - 1);
    check_context("cholesky n %zu against its matrix", n);
    check_that(uc_cholesky(l, n, NULL) == 0, "refused");
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            long double sum = 0, size = 0;
            for (size_t k = 0; k <= j; k++) {
                long double p = (long double)l[i * n + k] * l[j * n + k];
                sum += p;
                size += fabsl(p);
            }
            double r = (double)(fabsl(sum - a[i * n + j]) / size) / gamma;
            worst = r > worst ? r : worst;
        }
    check_that(worst <= 1.0, "%.3f times the bound", worst);
    check_release();
}

static void run(void)
{
    static const size_t ns[] = {127, 128, 129, 160, 255, 256, 257, 300};

    for (size_t n = 0; n <= 67; n++)
        one(n, n, 0, false);
    for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
        one(ns[i], ns[i], 0, false);
        one(ns[i], check_range(0, ns[i] - 1), -1.0, false);
    }
    one(check_range(600, 640), SIZE_MAX, 0, true); /* beyond a block of rows of the update */
    one(200, 150, NAN, false);
    one(200, 20, 0.0, false);
    one(1, 0, -0.0, false);
    backward_error(300);
}

struct bench {
    size_t n;
    double *a, *start;
};

static void bench_cholesky(void *arg)
{
    struct bench *b = arg;

    memcpy(b->a, b->start, b->n * b->n * 8);
    uc_cholesky(b->a, b->n, NULL);
}

static void bench(void)
{
    static const size_t ns[] = {576, 1536, 4096};

    for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
        struct bench b = {.n = ns[i]};
        char what[64];
        double n = (double)b.n;
        b.a = check_buf(b.n * b.n * 8, 0);
        b.start = check_buf(b.n * b.n * 8, 0);
        check_fill_f64(b.start, b.n * b.n, CHECK_PLAIN);
        for (size_t r = 0; r < b.n; r++)
            b.start[r * b.n + r] = n;
        for (int v = check_n_variants() - 1; v >= (b.n > 576); v--) {
            check_use(v);
            snprintf(what, sizeof(what), "cholesky n %zu", b.n);
            check_bench_flops(what, v, n * n * n / 3, check_time(bench_cholesky, &b), true);
        }
        check_release();
    }
}

CHECK_FAMILY(linalg, run, bench)
