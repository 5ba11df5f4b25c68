/*
 * The kernel test: every variant of every family against its definition, bit for bit (any NaN
 * equals any NaN). A family is one check_<family>.c, named in meson.build, that ends with
 *
 *     CHECK_FAMILY(gemm, run, bench)        // void run(void), void bench(void) or NULL
 *
 * run() typically fills inputs from check_fill_*, computes what is wanted, and for every variant
 * and thread count calls check_use(variant), the public function, and check_same_*(), each of which
 * counts as one passed or failed check. All random values come from --seed.
 */
#ifndef UC_TESTS_KERNELS_CHECK_H
#define UC_TESTS_KERNELS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

struct check_family {
    const char *name;
    void (*run)(void), (*bench)(void);
    struct check_family *next;
};
void check_register(struct check_family *f);
#define CHECK_FAMILY(id, run_fn, bench_fn)                                                         \
    static struct check_family family_##id = {#id, run_fn, bench_fn, NULL};                        \
    static void __attribute__((constructor)) register_##id(void)                                   \
    {                                                                                              \
        check_register(&family_##id);                                                              \
    }

/* Variants this machine can run: 0 is "c", the definition. */
int check_n_variants(void);
void check_use(int variant);
const char *check_variant_name(int variant);
enum { CHECK_MAX_THREADS = 4 };
/* A pool of 1 to CHECK_MAX_THREADS threads (1: NULL, the caller alone). */
struct uc_pool *check_pool(int n_threads);

/* --exhaustive: all arguments where a family else samples them (minutes). */
bool check_exhaustive(void);

uint32_t check_rand(void);
size_t check_range(size_t lo, size_t hi); /* lo <= value <= hi */
enum check_kind {
    CHECK_PLAIN,   /* about 1 */
    CHECK_WIDE,    /* exponents from -20 to 20 */
    CHECK_TINY,    /* denormals, and values whose products underflow, both signs */
    CHECK_HUGE,    /* sums and products overflow */
    CHECK_ZERO,    /* +0 and -0 among plain values */
    CHECK_SPECIAL, /* NaN and infinities among all of the above */
    CHECK_KINDS,
};
const char *check_kind_name(enum check_kind kind);
void check_fill_f32(float *x, size_t n, enum check_kind kind);
void check_fill_f64(double *x, size_t n, enum check_kind kind);

/*
 * Memory with guard bytes on both sides, `misalign` bytes past a 64-byte boundary, filled with a
 * pattern. check_release() frees all of it and fails the check if a guard was overwritten.
 */
void *check_buf(size_t bytes, size_t misalign);
void check_release(void);

/* Names what is being checked, for the messages. */
void check_context(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void check_that(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_same_f32(const float *want, const float *got, size_t n);
void check_same_f64(const double *want, const double *got, size_t n);
void check_same_bytes(const void *want, const void *got, size_t n);

/* --bench: the best time of fn(arg) over at least half a second, in seconds of this thread. */
double check_time(void (*fn)(void *arg), void *arg);
/* fp32 operations per second of one core when it does nothing but fma, in this variant, this run.
 */
double check_fma_peak(int variant);
/* One line: what, variant, GFLOP/s, percent of the peak (f64: of half the fp32 peak). */
void check_bench_flops(const char *what, int variant, double flops, double seconds, bool f64);
/* One line: what, variant, GB/s. */
void check_bench_bytes(const char *what, int variant, double bytes, double seconds);

#endif
