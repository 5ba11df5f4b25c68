/* One value between fp32 and bf16 or IEEE half, in integers: the definition behind convert.h. */
#ifndef UC_KERNELS_HALF_H
#define UC_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t half_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    return u;
}

static inline float half_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof(x));
    return x;
}

static inline float half_bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    return half_float((u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : u);
}

static inline uint16_t half_f32_to_bf16(float x)
{
    uint32_t u = half_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static inline float half_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = h >> 10 & 31u, man = h & 0x3ffu;

    if (exp == 31)
        return half_float(sign | 0x7f800000u | man << 13 | (man ? 0x400000u : 0));
    if (exp)
        return half_float(sign | (exp + 112) << 23 | man << 13);
    float tiny = (float)man * 0x1p-24f; /* exact */
    return half_float(sign | half_bits(tiny));
}

static inline uint16_t half_f32_to_f16(float x)
{
    uint32_t u = half_bits(x), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;

    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (a >= 0x38800000u) { /* normal half: a carry out of the mantissa bumps the exponent */
        a -= 112u << 23;
        return (uint16_t)(sign | (a + 0xfffu + (a >> 13 & 1)) >> 13);
    }
    if (a < 0x33000000u) /* below half of the smallest denormal */
        return (uint16_t)sign;
    uint32_t shift = 126 - (a >> 23), man = (a & 0x7fffffu) | 0x800000u;
    uint32_t q = man >> shift, rest = man & ((1u << shift) - 1), mid = 1u << (shift - 1);
    q += rest > mid || (rest == mid && (q & 1));
    return (uint16_t)(sign | q);
}

#endif
