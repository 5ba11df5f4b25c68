/* uc_expf and uc_logf for one value: the same operations in the same order as a lane of
 * vec_fmath.h, so the same bits. For bodies that need one logarithm a row. */
#ifndef UC_KERNELS_FMATH_SCALAR_H
#define UC_KERNELS_FMATH_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Constants of both. exp: e^r = 1 + r + r^2 p(r), |r| <= ln(2) / 2; p of degree 5, minimax in the
 * relative error of e^r (0.002 * 2^-24 before rounding). ln2_hi has 24 bits: n * hi is exact under
 * fma. log: log(1 + f) = f - f^2 / 2 + f^3 q(f), 1 + f in [sqrt(1/2), sqrt(2)); q of degree 8
 * (0.013 * 2^-24). ln2_head has 15 bits: k * head is exact. */
#define FM_LOG2E    0x1.715476p+0f
#define FM_LN2_HI   0x1.62e430p-1f
#define FM_LN2_LO   -0x1.05c610p-29f
#define FM_LN2_HEAD 0x1.62e4p-1f
#define FM_LN2_TAIL 0x1.7f7d1cp-20f
#define FM_EXP_MIN  -104.0f /* below: +0 */
#define FM_EXP_MAX  89.0f   /* above: +infinity */
#define FM_EXP_COEFFS                                                                              \
    {                                                                                              \
        0x1.9dfba8p-13f, 0x1.6d4cbcp-10f, 0x1.11130ep-7f, 0x1.5554e8p-5f, 0x1.555554p-3f,          \
            0x1.000000p-1f                                                                         \
    }
#define FM_LOG_COEFFS                                                                              \
    {                                                                                              \
        0x1.148016p-4f, -0x1.de0e5cp-4f, 0x1.e6c142p-4f, -0x1.fc2704p-4f, 0x1.233b72p-3f,          \
            -0x1.555c4cp-3f, 0x1.99a478p-3f, -0x1.000006p-2f, 0x1.555548p-2f                       \
    }

static inline float fm_of_bits(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

static inline float fm_expf(float x)
{
    static const float c[] = FM_EXP_COEFFS;
    float n, r, p;
    int32_t i, half;

    if (x != x)
        return x;
    x = FM_EXP_MIN > x ? FM_EXP_MIN : x;
    x = FM_EXP_MAX < x ? FM_EXP_MAX : x;
    n = rintf(x * FM_LOG2E);
    r = fmaf(-n, FM_LN2_HI, x);
    r = fmaf(-n, FM_LN2_LO, r);
    p = c[0];
    for (int k = 1; k < 6; k++)
        p = fmaf(p, r, c[k]);
    p = 1.0f + fmaf(r * r, p, r);
    i = (int32_t)n;
    half = i >> 1;
    return p * fm_of_bits((uint32_t)(half + 127) << 23) *
           fm_of_bits((uint32_t)(i - half + 127) << 23);
}

static inline float fm_logf(float x)
{
    static const float c[] = FM_LOG_COEFFS;
    float kf, f, z, p, w;
    uint32_t u;
    int32_t k = 0;

    if (!(x > 0.0f) || x == INFINITY)
        return x == 0.0f ? -INFINITY : x < 0.0f ? NAN : x;
    if (x < 0x1p-126f) {
        x *= 0x1p24f;
        k = -24;
    }
    memcpy(&u, &x, sizeof(u));
    /* 1 - sqrt(1/2), as a distance of bit patterns, makes the exponent step at sqrt(2). */
    u += 0x3f800000u - 0x3f3504f3u;
    k += (int32_t)(u >> 23) - 127;
    u = (u & 0x007fffffu) + 0x3f3504f3u;
    f = fm_of_bits(u) - 1.0f;
    kf = (float)k;
    z = f * f;
    p = c[0];
    for (int i = 1; i < 9; i++)
        p = fmaf(p, f, c[i]);
    w = fmaf(f * z, p, kf * FM_LN2_TAIL);
    return fmaf(kf, FM_LN2_HEAD, f - fmaf(0.5f, z, -w));
}

#endif
