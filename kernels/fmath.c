/*
 * Elementary functions. fp64: argument reduction in two-part ("double-double") arithmetic, then
 * Taylor polynomials of the reduced argument with fma; constants are exact rationals or pi and ln 2
 * rounded to two or three parts. fp32: fmath_scalar.h. Errors: docs/arithmetic.md.
 */
#include "kernels/fmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/fmath_impl.h"
#include "kernels/fmath_scalar.h"

UC_KERN(uc_fmath_run_fn, uc_expf_run)
UC_KERN(uc_fmath_run_fn, uc_logf_run)

/* An unevaluated sum: |lo| is at most half an ulp of hi. */
struct parts {
    double hi, lo;
};

static const double ln2_head = 0x1.62e42fefa2000p-1; /* 40 bits: k * ln2_head is exact */
static const double ln2_mid = 0x1.9ef35793c7673p-41;
static const double ln2_tail = 0x1.f97b57a079a19p-103;
static const double ln2_hi = 0x1.62e42fefa39efp-1;
static const double ln2_lo = 0x1.abc9e3b39803fp-56;
static const double log2e_hi = 0x1.71547652b82fep+0;
static const double log2e_lo = 0x1.777d0ffda0d24p-56;

static uint64_t bits_of(double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

static double of_bits(uint64_t u)
{
    double x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

/* Needs |a| >= |b| or a == 0. */
static struct parts quick_two_sum(double a, double b)
{
    struct parts s = {.hi = a + b};

    s.lo = b - (s.hi - a);
    return s;
}

static struct parts two_sum(double a, double b)
{
    struct parts s = {.hi = a + b};
    double bb = s.hi - a;

    s.lo = (a - (s.hi - bb)) + (b - bb);
    return s;
}

static struct parts mul_parts(struct parts a, struct parts b)
{
    double hi = a.hi * b.hi;
    double lo = fma(a.hi, b.hi, -hi);

    lo = fma(a.hi, b.lo, lo);
    lo = fma(a.lo, b.hi, lo);
    return quick_two_sum(hi, lo);
}

static struct parts add_parts(struct parts a, struct parts b)
{
    struct parts s = two_sum(a.hi, b.hi);

    return quick_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

/* p * 2^n, rounded once: p in [0.5, 2], n in [-1080, 1030]. */
static double scale_two(double p, int n)
{
    int half = n / 2;

    return p * of_bits((uint64_t)(1023 + half) << 52) * of_bits((uint64_t)(1023 + n - half) << 52);
}

/* 2^n e^(r.hi + r.lo), |r| <= 0.35. */
static double exp_reduced(struct parts r, int n)
{
    static const double c[] = {
        0x1.0000000000000p-1,  0x1.5555555555555p-3,  0x1.5555555555555p-5,  0x1.1111111111111p-7,
        0x1.6c16c16c16c17p-10, 0x1.a01a01a01a01ap-13, 0x1.a01a01a01a01ap-16, 0x1.71de3a556c734p-19,
        0x1.27e4fb7789f5cp-22, 0x1.ae64567f544e4p-26, 0x1.1eed8eff8d898p-29, 0x1.6124613a86d09p-33,
    }; /* 1 / k!, k = 2..13 */
    double p = c[11];
    double tail;

    for (int i = 10; i >= 0; i--)
        p = fma(p, r.hi, c[i]);
    tail = fma(r.hi * r.hi, p, fma(r.lo, r.hi, r.lo));
    return scale_two(1.0 + (r.hi + tail), n);
}

static double nearest(double x) /* |x| < 2^51 */
{
    const double magic = 0x1.8p52;

    return (x + magic) - magic;
}

/* e^(x.hi + x.lo) */
static double exp_parts(struct parts x)
{
    struct parts r;
    double n, head, mid;

    if (!(x.hi < 710.0))
        return x.hi != x.hi ? x.hi : INFINITY;
    if (x.hi < -746.0)
        return 0.0;
    n = nearest(x.hi * log2e_hi);
    head = fma(-n, ln2_head, x.hi);
    mid = n * ln2_mid;
    r = two_sum(head, -mid);
    r = quick_two_sum(r.hi, r.lo + (x.lo - fma(n, ln2_tail, fma(n, ln2_mid, -mid))));
    return exp_reduced(r, (int)n);
}

double uc_exp(double x)
{
    return exp_parts((struct parts){.hi = x});
}

double uc_exp2(double x)
{
    struct parts r;
    double n, f;

    if (!(x < 1024.0))
        return x != x ? x : INFINITY;
    if (x < -1076.0)
        return 0.0;
    n = nearest(x);
    f = x - n;
    r.hi = f * ln2_hi;
    r.lo = fma(f, ln2_lo, fma(f, ln2_hi, -r.hi));
    return exp_reduced(r, (int)n);
}

/* x = 2^k m with m in [sqrt(1/2), sqrt(2)); returns log m to about 2^-64 of itself.
 * log m = 2 atanh(s), s = (m - 1) / (m + 1); x is finite and positive. */
static struct parts log_reduced(double x, int *k)
{
    static const double c[] = {
        0x1.47ae147ae147bp-4, 0x1.642c8590b2164p-4, 0x1.8618618618618p-4, 0x1.af286bca1af28p-4,
        0x1.e1e1e1e1e1e1ep-4, 0x1.1111111111111p-3, 0x1.3b13b13b13b14p-3, 0x1.745d1745d1746p-3,
        0x1.c71c71c71c71cp-3, 0x1.2492492492492p-2, 0x1.999999999999ap-2,
    }; /* 2 / i, i = 25, 23, .. 5 */
    const struct parts two_thirds = {0x1.5555555555555p-1, 0x1.5555555555555p-55};
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000;
    struct parts s, s2, t, d;
    uint64_t u;
    double f, p;

    *k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        *k = -54;
    }
    /* Adding the distance from sqrt(1/2) to 1 makes the exponent field step at sqrt(2). */
    u = bits_of(x) + (one - sqrt_half);
    *k += (int)(u >> 52) - 1023;
    f = of_bits((u & 0x000fffffffffffff) + sqrt_half) - 1.0;
    d = quick_two_sum(2.0, f);
    s.hi = f / d.hi;
    s.lo = fma(-s.hi, d.lo, fma(-s.hi, d.hi, f)) / d.hi;
    s2 = mul_parts(s, s);
    p = c[0];
    for (int i = 1; i < 11; i++)
        p = fma(p, s2.hi, c[i]);
    t = add_parts(two_thirds, (struct parts){.hi = s2.hi * p});
    t = mul_parts(mul_parts(s, s2), t);
    return add_parts((struct parts){2.0 * s.hi, 2.0 * s.lo}, t);
}

/* log x as two parts; x is finite and positive. */
static struct parts log_parts(double x)
{
    int k;
    struct parts m = log_reduced(x, &k), a;

    a = two_sum(k * ln2_head, k * ln2_mid);
    a.lo = fma(k, ln2_tail, a.lo);
    return add_parts(a, m);
}

/* What log, log2 give outside the finite positive numbers; 0 when x is one of those. */
static int log_special(double x, double *y)
{
    if (x > 0.0 && x < INFINITY)
        return 0;
    *y = x == 0.0 ? -INFINITY : x < 0.0 ? (double)NAN : x;
    return 1;
}

double uc_log(double x)
{
    double y;

    return log_special(x, &y) ? y : log_parts(x).hi;
}

double uc_log2(double x)
{
    const struct parts log2e = {log2e_hi, log2e_lo};
    struct parts m;
    double y;
    int k;

    if (log_special(x, &y))
        return y;
    m = mul_parts(log_reduced(x, &k), log2e);
    return add_parts((struct parts){.hi = k}, m).hi;
}

double uc_pow(double base, double exponent)
{
    struct parts l, z;
    double y;

    if (exponent == 0.0 || base == 1.0)
        return 1.0;
    if (log_special(base, &y)) /* 0 and infinity: the limit; negative: NaN */
        return base == 0.0 || base == INFINITY ? uc_exp(y * exponent) : (double)NAN;
    l = log_parts(base);
    z.hi = exponent * l.hi;
    if (!(fabs(z.hi) < 800.0))
        return z.hi != z.hi ? z.hi : z.hi > 0 ? INFINITY : 0.0;
    z.lo = fma(exponent, l.lo, fma(exponent, l.hi, -z.hi));
    return exp_parts(z);
}

/* sin and cos of r.hi + r.lo, |r| <= pi / 4. */
static void sincos_reduced(struct parts r, double *sin_r, double *cos_r)
{
    static const double s[] = {
        0x1.952c77030ad4ap-49,  -0x1.ae7f3e733b81fp-41, 0x1.6124613a86d09p-33,
        -0x1.ae64567f544e4p-26, 0x1.71de3a556c734p-19,  -0x1.a01a01a01a01ap-13,
        0x1.1111111111111p-7,   -0x1.5555555555555p-3,
    }; /* (-1)^k / (2 k + 1)!, k = 8..1 */
    static const double c[] = {
        0x1.ae7f3e733b81fp-45,  -0x1.93974a8c07c9dp-37, 0x1.1eed8eff8d898p-29,
        -0x1.27e4fb7789f5cp-22, 0x1.a01a01a01a01ap-16,  -0x1.6c16c16c16c17p-10,
        0x1.5555555555555p-5,
    }; /* (-1)^k / (2 k)!, k = 8..2 */
    double z = r.hi * r.hi, half = 0.5 * z, ps = s[0], pc = c[0], w;

    for (int i = 1; i < 8; i++)
        ps = fma(ps, z, s[i]);
    for (int i = 1; i < 7; i++)
        pc = fma(pc, z, c[i]);
    *sin_r = r.hi + fma(z * r.hi, ps, fma(-half, r.lo, r.lo));
    w = 1.0 - half;
    *cos_r = w + (((1.0 - w) - half) + fma(z * z, pc, -(r.hi * r.lo)));
}

void uc_sincos(double x, double *sin_x, double *cos_x)
{
    const double p1 = 0x1.921fb54442d18p+0, p2 = 0x1.1a62633145c07p-54,
                 p3 = -0x1.f1976b7ed8fbcp-110;
    double n, t, mid, s, c;
    struct parts r;

    if (!(fabs(x) <= 0x1p30)) {
        *sin_x = *cos_x = NAN;
        return;
    }
    /* x - n p1 is exact: a multiple of 2^-53 below 1. */
    n = nearest(x * 0x1.45f306dc9c883p-1);
    t = fma(-n, p1, x);
    mid = n * p2;
    r = two_sum(t, -mid);
    r = quick_two_sum(r.hi, r.lo - fma(n, p3, fma(n, p2, -mid)));
    sincos_reduced(r, &s, &c);
    switch ((int64_t)n & 3) {
    case 0:
        *sin_x = s;
        *cos_x = c;
        break;
    case 1:
        *sin_x = c;
        *cos_x = -s;
        break;
    case 2:
        *sin_x = -s;
        *cos_x = -c;
        break;
    default:
        *sin_x = -c;
        *cos_x = s;
        break;
    }
}

float uc_expf(float x)
{
    return fm_expf(x);
}

float uc_logf(float x)
{
    return fm_logf(x);
}

void uc_expf_n(float *y, const float *x, size_t n)
{
    uc_expf_run_pick()(y, x, n);
}

void uc_logf_n(float *y, const float *x, size_t n)
{
    uc_logf_run_pick()(y, x, n);
}
