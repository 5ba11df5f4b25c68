/* The vector layer on AVX-512 (F, BW, DQ, VL): one register a vector (see vec.h). */
#ifndef UC_KERNELS_VEC_AVX512_H
#define UC_KERNELS_VEC_AVX512_H

#include <immintrin.h>

#include "kernels/vec.h"

typedef __m512 v16;
typedef __m512i v16i;
typedef __mmask16 v16m;
typedef __m512d v8d;

V_FN v16m v16m_first(size_t n)
{
    return (v16m)((1u << n) - 1);
}
V_FN v16 v16_set1(float x)
{
    return _mm512_set1_ps(x);
}
V_FN v16 v16_zero(void)
{
    return _mm512_setzero_ps();
}
V_FN v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
V_FN v16 v16_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(v16m_first(n), p);
}
V_FN void v16_store(float *p, v16 v)
{
    _mm512_storeu_ps(p, v);
}
V_FN void v16_store_n(float *p, v16 v, size_t n)
{
    _mm512_mask_storeu_ps(p, v16m_first(n), v);
}
V_FN v16 v16_add(v16 x, v16 y)
{
    return _mm512_add_ps(x, y);
}
V_FN v16 v16_sub(v16 x, v16 y)
{
    return _mm512_sub_ps(x, y);
}
V_FN v16 v16_mul(v16 x, v16 y)
{
    return _mm512_mul_ps(x, y);
}
V_FN v16 v16_div(v16 x, v16 y)
{
    return _mm512_div_ps(x, y);
}
V_FN v16 v16_min(v16 x, v16 y)
{
    return _mm512_min_ps(x, y);
}
V_FN v16 v16_max(v16 x, v16 y)
{
    return _mm512_max_ps(x, y);
}
V_FN v16 v16_fma(v16 x, v16 y, v16 z)
{
    return _mm512_fmadd_ps(x, y, z);
}
V_FN v16 v16_fnma(v16 x, v16 y, v16 z)
{
    return _mm512_fnmadd_ps(x, y, z);
}
V_FN v16 v16_sqrt(v16 x)
{
    return _mm512_sqrt_ps(x);
}
V_FN v16 v16_neg(v16 x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}
V_FN v16 v16_abs(v16 x)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}
V_FN v16 v16_rint(v16 x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
V_FN float v16_sum(v16 v)
{
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
V_FN float v16_max_lanes(v16 v)
{
    __m256 s = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}

V_FN v16m v16m_and(v16m x, v16m y)
{
    return x & y;
}
V_FN v16m v16m_or(v16m x, v16m y)
{
    return x | y;
}
V_FN v16m v16m_not(v16m x)
{
    return (v16m)~x;
}
V_FN uint32_t v16m_bits(v16m x)
{
    return x;
}
V_FN v16m v16_lt(v16 x, v16 y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ);
}
V_FN v16m v16_le(v16 x, v16 y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_LE_OQ);
}
V_FN v16m v16_eq(v16 x, v16 y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ);
}
V_FN v16m v16_unord(v16 x, v16 y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q);
}
V_FN v16 v16_select(v16m m, v16 x, v16 y)
{
    return _mm512_mask_blend_ps(m, y, x);
}

V_FN v16i v16i_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
V_FN v16i v16i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
V_FN void v16i_store(void *p, v16i v)
{
    _mm512_storeu_si512(p, v);
}
V_FN v16i v16i_add(v16i x, v16i y)
{
    return _mm512_add_epi32(x, y);
}
V_FN v16i v16i_sub(v16i x, v16i y)
{
    return _mm512_sub_epi32(x, y);
}
V_FN v16i v16i_and(v16i x, v16i y)
{
    return _mm512_and_si512(x, y);
}
V_FN v16i v16i_or(v16i x, v16i y)
{
    return _mm512_or_si512(x, y);
}
V_FN v16i v16i_xor(v16i x, v16i y)
{
    return _mm512_xor_si512(x, y);
}
V_FN v16i v16i_sll(v16i x, int count)
{
    return _mm512_slli_epi32(x, (unsigned)count);
}
V_FN v16i v16i_srl(v16i x, int count)
{
    return _mm512_srli_epi32(x, (unsigned)count);
}
V_FN v16i v16i_sra(v16i x, int count)
{
    return _mm512_srai_epi32(x, (unsigned)count);
}
V_FN v16m v16i_eq(v16i x, v16i y)
{
    return _mm512_cmpeq_epi32_mask(x, y);
}
V_FN v16m v16i_gt(v16i x, v16i y)
{
    return _mm512_cmpgt_epi32_mask(x, y);
}
V_FN v16i v16i_select(v16m m, v16i x, v16i y)
{
    return _mm512_mask_blend_epi32(m, y, x);
}
V_FN v16i v16_to_i(v16 x)
{
    return _mm512_cvtps_epi32(x);
}
V_FN v16 v16_of_i(v16i x)
{
    return _mm512_cvtepi32_ps(x);
}
V_FN v16i v16_bits(v16 x)
{
    return _mm512_castps_si512(x);
}
V_FN v16 v16_of_bits(v16i x)
{
    return _mm512_castsi512_ps(x);
}
V_FN v16 v16_load_bf16(const uint16_t *p)
{
    v16i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    v16 x = v16_of_bits(v16i_sll(u, 16));
    v16 quiet = v16_of_bits(v16i_or(v16_bits(x), v16i_set1(0x400000)));
    return v16_select(v16_unord(x, x), quiet, x);
}
V_FN void v16_store_bf16(uint16_t *p, v16 x)
{
    v16i u = v16_bits(x), odd = v16i_and(v16i_srl(u, 16), v16i_set1(1));
    v16i even = v16i_srl(v16i_add(u, v16i_add(odd, v16i_set1(0x7fff))), 16);
    v16i nan = v16i_or(v16i_srl(u, 16), v16i_set1(0x40));
    u = v16i_select(v16_unord(x, x), nan, even);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(u));
}
V_FN v16 v16_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
V_FN void v16_store_f16(uint16_t *p, v16 x)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

V_FN v8d v8d_set1(double x)
{
    return _mm512_set1_pd(x);
}
V_FN v8d v8d_zero(void)
{
    return _mm512_setzero_pd();
}
V_FN v8d v8d_load(const double *p)
{
    return _mm512_loadu_pd(p);
}
V_FN v8d v8d_load_n(const double *p, size_t n)
{
    return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
V_FN void v8d_store(double *p, v8d v)
{
    _mm512_storeu_pd(p, v);
}
V_FN void v8d_store_n(double *p, v8d v, size_t n)
{
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), v);
}
V_FN v8d v8d_add(v8d x, v8d y)
{
    return _mm512_add_pd(x, y);
}
V_FN v8d v8d_sub(v8d x, v8d y)
{
    return _mm512_sub_pd(x, y);
}
V_FN v8d v8d_mul(v8d x, v8d y)
{
    return _mm512_mul_pd(x, y);
}
V_FN v8d v8d_div(v8d x, v8d y)
{
    return _mm512_div_pd(x, y);
}
V_FN v8d v8d_fma(v8d x, v8d y, v8d z)
{
    return _mm512_fmadd_pd(x, y, z);
}
V_FN v8d v8d_fnma(v8d x, v8d y, v8d z)
{
    return _mm512_fnmadd_pd(x, y, z);
}
V_FN v8d v8d_sqrt(v8d x)
{
    return _mm512_sqrt_pd(x);
}
V_FN double v8d_sum(v8d v)
{
    __m256d s = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d q = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}
V_FN v8d v8d_lo(v16 x)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}
V_FN v8d v8d_hi(v16 x)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}
V_FN v16 v16_of_d(v8d lo, v8d hi)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
}

#endif
