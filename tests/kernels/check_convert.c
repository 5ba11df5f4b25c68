#include <math.h>
#include <string.h>

#include "kernels/convert.h"
#include "kernels/half.h"
#include "tests/kernels/check.h"

/* All 65536 patterns of each type, in every variant. */
static void widen_all(void)
{
    enum { N = 65536 };
    uint16_t *x = check_buf(N * sizeof(*x), 2);
    float *want = check_buf(N * sizeof(*want), 0), *got = check_buf(N * sizeof(*got), 4);

    for (int i = 0; i < N; i++)
        x[i] = (uint16_t)i;
    for (int half = 0; half < 2; half++)
        for (int v = 0; v < check_n_variants(); v++) {
            for (int i = 0; i < N; i++)
                want[i] = half ? half_f16_to_f32(x[i]) : half_bf16_to_f32(x[i]);
            check_use(v);
            check_context("widen %s, %s", half ? "f16" : "bf16", check_variant_name(v));
            (half ? uc_f16_to_f32 : uc_bf16_to_f32)(got, x, N);
            check_same_f32(want, got, N);
        }
    check_release();
}

/* Rounding by definition: the nearest 16-bit value, the one with an even last bit on a tie. */
static bool is_nearest(float x, uint16_t h, bool half)
{
    uint16_t top = half ? 0x7c00 : 0x7f80; /* infinity */
    double unit = half ? 0x1p16 : 0x1p128; /* what follows the largest finite value */
    uint16_t mag = h & 0x7fff;
    double v[3];

    if (isnan(x))
        return mag > top;
    if (mag > top || (signbit(x) != 0) != (h >> 15 != 0))
        return false;
    for (int i = 0; i < 3; i++) {
        int m = mag + i - 1;
        v[i] = m < 0      ? -1.0
               : m >= top ? unit
               : half     ? (double)half_f16_to_f32((uint16_t)m)
                          : (double)half_bf16_to_f32((uint16_t)m);
    }
    double a = fabs((double)x), here = fabs(v[1] - a);
    if (isinf(x))
        return mag == top;
    if (mag > 0 && (fabs(v[0] - a) < here || (fabs(v[0] - a) == here && mag % 2)))
        return false;
    return mag == top || !(fabs(v[2] - a) < here || (fabs(v[2] - a) == here && mag % 2));
}

/* Around every 16-bit value and every midpoint between two of them. */
static float edge(int half, uint32_t i)
{
    uint16_t h = (uint16_t)(i / 8);
    uint32_t u = half_bits(half ? half_f16_to_f32(h) : half_bf16_to_f32(h));
    uint32_t step = half ? 0x1000 : 0x8000; /* half a unit of a normal value */

    return half_float(u + (i % 8 / 4) * step + (i % 4) - 1);
}

static void narrow_edges(void)
{
    enum { N = 65536 * 8 };
    float *x = check_buf(N * sizeof(*x), 4);
    uint16_t *want = check_buf(N * sizeof(*want), 2), *got = check_buf(N * sizeof(*got), 2);

    for (int half = 0; half < 2; half++) {
        long bad = 0;
        for (uint32_t i = 0; i < N; i++) {
            x[i] = edge(half, i);
            if (i % 64 == 5) { /* denormal halves and anything else */
                uint32_t u = i % 128 == 5 ? check_rand() : 0x33000000 + check_rand() % 0x6000000;
                x[i] = half_float(u);
            }
            want[i] = half ? half_f32_to_f16(x[i]) : half_f32_to_bf16(x[i]);
            bad += !is_nearest(x[i], want[i], half);
        }
        check_context("narrow to %s", half ? "f16" : "bf16");
        check_that(bad == 0, "%ld values are not the nearest", bad);
        for (int v = 0; v < check_n_variants(); v++) {
            check_use(v);
            check_context("narrow to %s, %s", half ? "f16" : "bf16", check_variant_name(v));
            (half ? uc_f32_to_f16 : uc_f32_to_bf16)(got, x, N);
            check_same_bytes(want, got, N * sizeof(*want));
        }
    }
    check_release();
}

static void lengths(void)
{
    for (size_t n = 0; n <= 67; n++)
        for (int v = 0; v < check_n_variants(); v++) {
            enum check_kind kind = (enum check_kind)check_range(0, CHECK_KINDS - 1);
            float *x = check_buf(n * 4, check_range(0, 15) * 4), *y = check_buf(n * 4, 4);
            float *z = check_buf(n * 4, 0);
            uint16_t *h = check_buf(n * 2, check_range(0, 31) * 2);
            check_fill_f32(x, n, kind);
            check_use(v);
            for (int half = 0; half < 2; half++) {
                check_context("%s, n %zu, values %s, %s", half ? "f16" : "bf16", n,
                              check_kind_name(kind), check_variant_name(v));
                (half ? uc_f32_to_f16 : uc_f32_to_bf16)(h, x, n);
                check_that(uc_to_f32(y, h, half ? UC_DTYPE_F16 : UC_DTYPE_BF16, n) == 0, "type");
                for (size_t i = 0; i < n; i++)
                    z[i] = half ? half_f16_to_f32(half_f32_to_f16(x[i]))
                                : half_bf16_to_f32(half_f32_to_bf16(x[i]));
                check_same_f32(z, y, n);
            }
            check_release();
        }
    check_context("types");
    check_that(uc_to_f32(NULL, NULL, UC_DTYPE_I32, 0) == -1, "I32 was taken");
}

static void run(void)
{
    widen_all();
    narrow_edges();
    lengths();
}

enum { BENCH_N = 1 << 16 }; /* in the L2 cache */
static struct {
    float x[BENCH_N];
    uint16_t h[BENCH_N];
} b;

static void bench_widen(void *arg)
{
    uc_bf16_to_f32(b.x, b.h, BENCH_N);
}

static void bench_narrow(void *arg)
{
    uc_f32_to_bf16(b.h, b.x, BENCH_N);
}

static void bench(void)
{
    for (int v = 0; v < check_n_variants(); v++) {
        check_use(v);
        check_bench_bytes("bf16 to f32", v, BENCH_N * 6, check_time(bench_widen, NULL));
        check_bench_bytes("f32 to bf16", v, BENCH_N * 6, check_time(bench_narrow, NULL));
    }
}

CHECK_FAMILY(convert, run, bench)
