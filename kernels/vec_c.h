/* The vector layer, lane by lane: the definition of every operation (see vec.h). */
#ifndef UC_KERNELS_VEC_C_H
#define UC_KERNELS_VEC_C_H

#include <math.h>

#include "kernels/half.h"
#include "kernels/vec.h"

typedef struct {
    float l[16];
} v16;
typedef struct {
    int32_t l[16];
} v16i;
typedef uint32_t v16m; /* bit l = lane l */
typedef struct {
    double l[8];
} v8d;

#define V_LANES(expr)                                                                              \
    do {                                                                                           \
        for (int l = 0; l < 16; l++)                                                               \
            r.l[l] = (expr);                                                                       \
        return r;                                                                                  \
    } while (0)
#define V_BITS(expr)                                                                               \
    do {                                                                                           \
        v16m m = 0;                                                                                \
        for (int l = 0; l < 16; l++)                                                               \
            m |= (v16m)((expr) != 0) << l;                                                         \
        return m;                                                                                  \
    } while (0)
#define V_LANES8(expr)                                                                             \
    do {                                                                                           \
        for (int l = 0; l < 8; l++)                                                                \
            r.l[l] = (expr);                                                                       \
        return r;                                                                                  \
    } while (0)

V_FN v16 v16_set1(float x)
{
    v16 r;
    V_LANES(x);
}
V_FN v16 v16_zero(void)
{
    return v16_set1(0.0f);
}
V_FN v16 v16_load(const float *p)
{
    v16 r;
    V_LANES(p[l]);
}
V_FN v16 v16_load_n(const float *p, size_t n)
{
    v16 r;
    V_LANES((size_t)l < n ? p[l] : 0.0f);
}
V_FN void v16_store(float *p, v16 v)
{
    for (int l = 0; l < 16; l++)
        p[l] = v.l[l];
}
V_FN void v16_store_n(float *p, v16 v, size_t n)
{
    for (size_t l = 0; l < n; l++)
        p[l] = v.l[l];
}
V_FN v16 v16_add(v16 a, v16 b)
{
    v16 r;
    V_LANES(a.l[l] + b.l[l]);
}
V_FN v16 v16_sub(v16 a, v16 b)
{
    v16 r;
    V_LANES(a.l[l] - b.l[l]);
}
V_FN v16 v16_mul(v16 a, v16 b)
{
    v16 r;
    V_LANES(a.l[l] * b.l[l]);
}
V_FN v16 v16_div(v16 a, v16 b)
{
    v16 r;
    V_LANES(a.l[l] / b.l[l]);
}
V_FN v16 v16_fma(v16 a, v16 b, v16 c)
{
    v16 r;
    V_LANES(fmaf(a.l[l], b.l[l], c.l[l]));
}
V_FN v16 v16_fnma(v16 a, v16 b, v16 c)
{
    v16 r;
    V_LANES(fmaf(-a.l[l], b.l[l], c.l[l]));
}
V_FN v16 v16_sqrt(v16 a)
{
    v16 r;
    V_LANES(sqrtf(a.l[l]));
}
V_FN v16 v16_neg(v16 a)
{
    v16 r;
    V_LANES(-a.l[l]);
}
V_FN v16 v16_abs(v16 a)
{
    v16 r;
    V_LANES(fabsf(a.l[l]));
}
V_FN v16 v16_min(v16 a, v16 b)
{
    v16 r;
    V_LANES(a.l[l] < b.l[l] ? a.l[l] : b.l[l]);
}
V_FN v16 v16_max(v16 a, v16 b)
{
    v16 r;
    V_LANES(a.l[l] > b.l[l] ? a.l[l] : b.l[l]);
}
V_FN v16 v16_rint(v16 a)
{
    v16 r;
    V_LANES(rintf(a.l[l]));
}
V_FN float v16_sum(v16 v)
{
    for (int w = 8; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            v.l[l] += v.l[l + w];
    return v.l[0];
}
V_FN float v16_max_lanes(v16 v)
{
    for (int w = 8; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            v.l[l] = v.l[l] > v.l[l + w] ? v.l[l] : v.l[l + w];
    return v.l[0];
}

V_FN v16m v16m_first(size_t n)
{
    return (v16m)((1u << n) - 1);
}
V_FN v16m v16m_and(v16m a, v16m b)
{
    return a & b;
}
V_FN v16m v16m_or(v16m a, v16m b)
{
    return a | b;
}
V_FN v16m v16m_not(v16m a)
{
    return ~a & 0xffffu;
}
V_FN uint32_t v16m_bits(v16m a)
{
    return a;
}
V_FN v16m v16_lt(v16 a, v16 b)
{
    V_BITS(a.l[l] < b.l[l]);
}
V_FN v16m v16_le(v16 a, v16 b)
{
    V_BITS(a.l[l] <= b.l[l]);
}
V_FN v16m v16_eq(v16 a, v16 b)
{
    V_BITS(a.l[l] == b.l[l]);
}
V_FN v16m v16_unord(v16 a, v16 b)
{
    V_BITS(a.l[l] != a.l[l] || b.l[l] != b.l[l]);
}
V_FN v16 v16_select(v16m m, v16 a, v16 b)
{
    v16 r;
    V_LANES(m >> l & 1 ? a.l[l] : b.l[l]);
}

V_FN v16i v16i_set1(int32_t x)
{
    v16i r;
    V_LANES(x);
}
V_FN v16i v16i_load(const void *p)
{
    v16i r;
    memcpy(&r, p, sizeof(r));
    return r;
}
V_FN void v16i_store(void *p, v16i v)
{
    memcpy(p, &v, sizeof(v));
}
V_FN v16i v16i_add(v16i a, v16i b)
{
    v16i r;
    V_LANES((int32_t)((uint32_t)a.l[l] + (uint32_t)b.l[l]));
}
V_FN v16i v16i_sub(v16i a, v16i b)
{
    v16i r;
    V_LANES((int32_t)((uint32_t)a.l[l] - (uint32_t)b.l[l]));
}
V_FN v16i v16i_and(v16i a, v16i b)
{
    v16i r;
    V_LANES(a.l[l] & b.l[l]);
}
V_FN v16i v16i_or(v16i a, v16i b)
{
    v16i r;
    V_LANES(a.l[l] | b.l[l]);
}
V_FN v16i v16i_xor(v16i a, v16i b)
{
    v16i r;
    V_LANES(a.l[l] ^ b.l[l]);
}
V_FN v16i v16i_sll(v16i a, int count)
{
    v16i r;
    V_LANES((int32_t)((uint32_t)a.l[l] << count));
}
V_FN v16i v16i_srl(v16i a, int count)
{
    v16i r;
    V_LANES((int32_t)((uint32_t)a.l[l] >> count));
}
V_FN v16i v16i_sra(v16i a, int count)
{
    v16i r;
    V_LANES(a.l[l] >> count);
}
V_FN v16m v16i_eq(v16i a, v16i b)
{
    V_BITS(a.l[l] == b.l[l]);
}
V_FN v16m v16i_gt(v16i a, v16i b)
{
    V_BITS(a.l[l] > b.l[l]);
}
V_FN v16i v16i_select(v16m m, v16i a, v16i b)
{
    v16i r;
    V_LANES(m >> l & 1 ? a.l[l] : b.l[l]);
}
V_FN v16i v16_to_i(v16 a)
{
    v16i r;
    V_LANES(a.l[l] >= -0x1p31f && a.l[l] < 0x1p31f ? (int32_t)rintf(a.l[l]) : INT32_MIN);
}
V_FN v16 v16_of_i(v16i a)
{
    v16 r;
    V_LANES((float)a.l[l]);
}
V_FN v16i v16_bits(v16 a)
{
    v16i r;
    memcpy(&r, &a, sizeof(r));
    return r;
}
V_FN v16 v16_of_bits(v16i a)
{
    v16 r;
    memcpy(&r, &a, sizeof(r));
    return r;
}
V_FN v16 v16_load_bf16(const uint16_t *p)
{
    v16 r;
    V_LANES(half_bf16_to_f32(p[l]));
}
V_FN void v16_store_bf16(uint16_t *p, v16 v)
{
    for (int l = 0; l < 16; l++)
        p[l] = half_f32_to_bf16(v.l[l]);
}
V_FN v16 v16_load_f16(const uint16_t *p)
{
    v16 r;
    V_LANES(half_f16_to_f32(p[l]));
}
V_FN void v16_store_f16(uint16_t *p, v16 v)
{
    for (int l = 0; l < 16; l++)
        p[l] = half_f32_to_f16(v.l[l]);
}

V_FN v8d v8d_set1(double x)
{
    v8d r;
    V_LANES8(x);
}
V_FN v8d v8d_zero(void)
{
    return v8d_set1(0.0);
}
V_FN v8d v8d_load(const double *p)
{
    v8d r;
    V_LANES8(p[l]);
}
V_FN v8d v8d_load_n(const double *p, size_t n)
{
    v8d r;
    V_LANES8((size_t)l < n ? p[l] : 0.0);
}
V_FN void v8d_store(double *p, v8d v)
{
    for (int l = 0; l < 8; l++)
        p[l] = v.l[l];
}
V_FN void v8d_store_n(double *p, v8d v, size_t n)
{
    for (size_t l = 0; l < n; l++)
        p[l] = v.l[l];
}
V_FN v8d v8d_add(v8d a, v8d b)
{
    v8d r;
    V_LANES8(a.l[l] + b.l[l]);
}
V_FN v8d v8d_sub(v8d a, v8d b)
{
    v8d r;
    V_LANES8(a.l[l] - b.l[l]);
}
V_FN v8d v8d_mul(v8d a, v8d b)
{
    v8d r;
    V_LANES8(a.l[l] * b.l[l]);
}
V_FN v8d v8d_div(v8d a, v8d b)
{
    v8d r;
    V_LANES8(a.l[l] / b.l[l]);
}
V_FN v8d v8d_fma(v8d a, v8d b, v8d c)
{
    v8d r;
    V_LANES8(fma(a.l[l], b.l[l], c.l[l]));
}
V_FN v8d v8d_fnma(v8d a, v8d b, v8d c)
{
    v8d r;
    V_LANES8(fma(-a.l[l], b.l[l], c.l[l]));
}
V_FN v8d v8d_sqrt(v8d a)
{
    v8d r;
    V_LANES8(sqrt(a.l[l]));
}
V_FN double v8d_sum(v8d v)
{
    for (int w = 4; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            v.l[l] += v.l[l + w];
    return v.l[0];
}
V_FN v8d v8d_lo(v16 a)
{
    v8d r;
    V_LANES8((double)a.l[l]);
}
V_FN v8d v8d_hi(v16 a)
{
    v8d r;
    V_LANES8((double)a.l[l + 8]);
}
V_FN v16 v16_of_d(v8d lo, v8d hi)
{
    v16 r;
    V_LANES((float)(l < 8 ? lo.l[l & 7] : hi.l[l & 7]));
}

#endif
