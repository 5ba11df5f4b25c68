/* The vector layer on AVX2 + FMA + F16C: two registers a vector (see vec.h). */
#ifndef UC_KERNELS_VEC_AVX2_H
#define UC_KERNELS_VEC_AVX2_H

#include <immintrin.h>

#include "kernels/vec.h"

typedef struct {
    __m256 a, b; /* lanes 0-7, 8-15 */
} v16;
typedef struct {
    __m256i a, b;
} v16i;
typedef struct {
    __m256 a, b; /* all ones or all zeros a lane */
} v16m;
typedef struct {
    __m256d a, b; /* lanes 0-3, 4-7 */
} v8d;

/* -1 for lanes below n, read at an offset. */
static const int32_t v_first_tab[32] __attribute__((aligned(64), unused)) = {
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
static const int64_t v_first_tab64[16]
    __attribute__((aligned(64), unused)) = {-1, -1, -1, -1, -1, -1, -1, -1};

V_FN __m256i v_first_lo(size_t n)
{
    return _mm256_loadu_si256((const __m256i *)(v_first_tab + 16 - n));
}
V_FN __m256i v_first_hi(size_t n)
{
    return _mm256_loadu_si256((const __m256i *)(v_first_tab + 24 - n));
}
V_FN __m256i v_first64_lo(size_t n)
{
    return _mm256_loadu_si256((const __m256i *)(v_first_tab64 + 8 - n));
}
V_FN __m256i v_first64_hi(size_t n)
{
    return _mm256_loadu_si256((const __m256i *)(v_first_tab64 + 12 - n));
}

V_FN v16 v16_set1(float x)
{
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
V_FN v16 v16_zero(void)
{
    return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
V_FN v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
V_FN v16 v16_load_n(const float *p, size_t n)
{
    return (v16){_mm256_maskload_ps(p, v_first_lo(n)), _mm256_maskload_ps(p + 8, v_first_hi(n))};
}
V_FN void v16_store(float *p, v16 v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
V_FN void v16_store_n(float *p, v16 v, size_t n)
{
    _mm256_maskstore_ps(p, v_first_lo(n), v.a);
    _mm256_maskstore_ps(p + 8, v_first_hi(n), v.b);
}
V_FN v16 v16_add(v16 x, v16 y)
{
    return (v16){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
V_FN v16 v16_sub(v16 x, v16 y)
{
    return (v16){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
V_FN v16 v16_mul(v16 x, v16 y)
{
    return (v16){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
V_FN v16 v16_div(v16 x, v16 y)
{
    return (v16){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
V_FN v16 v16_min(v16 x, v16 y)
{
    return (v16){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
V_FN v16 v16_max(v16 x, v16 y)
{
    return (v16){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
V_FN v16 v16_fma(v16 x, v16 y, v16 z)
{
    return (v16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
V_FN v16 v16_fnma(v16 x, v16 y, v16 z)
{
    return (v16){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
V_FN v16 v16_sqrt(v16 x)
{
    return (v16){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
}
V_FN v16 v16_neg(v16 x)
{
    return (v16){_mm256_xor_ps(x.a, _mm256_set1_ps(-0.0f)),
                 _mm256_xor_ps(x.b, _mm256_set1_ps(-0.0f))};
}
V_FN v16 v16_abs(v16 x)
{
    return (v16){_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.a),
                 _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.b)};
}
V_FN v16 v16_rint(v16 x)
{
    return (v16){_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                 _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
V_FN float v16_sum(v16 v)
{
    __m256 s = _mm256_add_ps(v.a, v.b);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
V_FN float v16_max_lanes(v16 v)
{
    __m256 s = _mm256_max_ps(v.a, v.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}

V_FN v16m v16m_first(size_t n)
{
    return (v16m){_mm256_castsi256_ps(v_first_lo(n)), _mm256_castsi256_ps(v_first_hi(n))};
}
V_FN v16m v16m_and(v16m x, v16m y)
{
    return (v16m){_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)};
}
V_FN v16m v16m_or(v16m x, v16m y)
{
    return (v16m){_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)};
}
V_FN v16m v16m_not(v16m x)
{
    return (v16m){_mm256_xor_ps(x.a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))),
                  _mm256_xor_ps(x.b, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))};
}
V_FN uint32_t v16m_bits(v16m x)
{
    return (uint32_t)_mm256_movemask_ps(x.a) | (uint32_t)_mm256_movemask_ps(x.b) << 8;
}
V_FN v16m v16_lt(v16 x, v16 y)
{
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
V_FN v16m v16_le(v16 x, v16 y)
{
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)};
}
V_FN v16m v16_eq(v16 x, v16 y)
{
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}
V_FN v16m v16_unord(v16 x, v16 y)
{
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_UNORD_Q), _mm256_cmp_ps(x.b, y.b, _CMP_UNORD_Q)};
}
V_FN v16 v16_select(v16m m, v16 x, v16 y)
{
    return (v16){_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
}

V_FN v16i v16i_set1(int32_t x)
{
    return (v16i){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
V_FN v16i v16i_load(const void *p)
{
    return (v16i){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)};
}
V_FN void v16i_store(void *p, v16i v)
{
    _mm256_storeu_si256(p, v.a);
    _mm256_storeu_si256((__m256i *)p + 1, v.b);
}
V_FN v16i v16i_add(v16i x, v16i y)
{
    return (v16i){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
V_FN v16i v16i_sub(v16i x, v16i y)
{
    return (v16i){_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
V_FN v16i v16i_and(v16i x, v16i y)
{
    return (v16i){_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
V_FN v16i v16i_or(v16i x, v16i y)
{
    return (v16i){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
V_FN v16i v16i_xor(v16i x, v16i y)
{
    return (v16i){_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)};
}
V_FN v16i v16i_sll(v16i x, int count)
{
    return (v16i){_mm256_slli_epi32(x.a, count), _mm256_slli_epi32(x.b, count)};
}
V_FN v16i v16i_srl(v16i x, int count)
{
    return (v16i){_mm256_srli_epi32(x.a, count), _mm256_srli_epi32(x.b, count)};
}
V_FN v16i v16i_sra(v16i x, int count)
{
    return (v16i){_mm256_srai_epi32(x.a, count), _mm256_srai_epi32(x.b, count)};
}
V_FN v16m v16i_eq(v16i x, v16i y)
{
    return (v16m){_mm256_castsi256_ps(_mm256_cmpeq_epi32(x.a, y.a)),
                  _mm256_castsi256_ps(_mm256_cmpeq_epi32(x.b, y.b))};
}
V_FN v16m v16i_gt(v16i x, v16i y)
{
    return (v16m){_mm256_castsi256_ps(_mm256_cmpgt_epi32(x.a, y.a)),
                  _mm256_castsi256_ps(_mm256_cmpgt_epi32(x.b, y.b))};
}
V_FN v16i v16i_select(v16m m, v16i x, v16i y)
{
    return (v16i){_mm256_blendv_epi8(y.a, x.a, _mm256_castps_si256(m.a)),
                  _mm256_blendv_epi8(y.b, x.b, _mm256_castps_si256(m.b))};
}
V_FN v16i v16_to_i(v16 x)
{
    return (v16i){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}
V_FN v16 v16_of_i(v16i x)
{
    return (v16){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
V_FN v16i v16_bits(v16 x)
{
    return (v16i){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)};
}
V_FN v16 v16_of_bits(v16i x)
{
    return (v16){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
V_FN v16 v16_load_bf16(const uint16_t *p)
{
    v16i u = {_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)),
              _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p + 1))};
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
    __m256i q = _mm256_packus_epi32(u.a, u.b);
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(q, 0xd8));
}
V_FN v16 v16_load_f16(const uint16_t *p)
{
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1))};
}
V_FN void v16_store_f16(uint16_t *p, v16 x)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)p + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}

V_FN v8d v8d_set1(double x)
{
    return (v8d){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}
V_FN v8d v8d_zero(void)
{
    return (v8d){_mm256_setzero_pd(), _mm256_setzero_pd()};
}
V_FN v8d v8d_load(const double *p)
{
    return (v8d){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}
V_FN v8d v8d_load_n(const double *p, size_t n)
{
    return (v8d){_mm256_maskload_pd(p, v_first64_lo(n)),
                 _mm256_maskload_pd(p + 4, v_first64_hi(n))};
}
V_FN void v8d_store(double *p, v8d v)
{
    _mm256_storeu_pd(p, v.a);
    _mm256_storeu_pd(p + 4, v.b);
}
V_FN void v8d_store_n(double *p, v8d v, size_t n)
{
    _mm256_maskstore_pd(p, v_first64_lo(n), v.a);
    _mm256_maskstore_pd(p + 4, v_first64_hi(n), v.b);
}
V_FN v8d v8d_add(v8d x, v8d y)
{
    return (v8d){_mm256_add_pd(x.a, y.a), _mm256_add_pd(x.b, y.b)};
}
V_FN v8d v8d_sub(v8d x, v8d y)
{
    return (v8d){_mm256_sub_pd(x.a, y.a), _mm256_sub_pd(x.b, y.b)};
}
V_FN v8d v8d_mul(v8d x, v8d y)
{
    return (v8d){_mm256_mul_pd(x.a, y.a), _mm256_mul_pd(x.b, y.b)};
}
V_FN v8d v8d_div(v8d x, v8d y)
{
    return (v8d){_mm256_div_pd(x.a, y.a), _mm256_div_pd(x.b, y.b)};
}
V_FN v8d v8d_fma(v8d x, v8d y, v8d z)
{
    return (v8d){_mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b)};
}
V_FN v8d v8d_fnma(v8d x, v8d y, v8d z)
{
    return (v8d){_mm256_fnmadd_pd(x.a, y.a, z.a), _mm256_fnmadd_pd(x.b, y.b, z.b)};
}
V_FN v8d v8d_sqrt(v8d x)
{
    return (v8d){_mm256_sqrt_pd(x.a), _mm256_sqrt_pd(x.b)};
}
V_FN double v8d_sum(v8d v)
{
    __m256d s = _mm256_add_pd(v.a, v.b);
    __m128d q = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}
V_FN v8d v8d_lo(v16 x)
{
    return (v8d){_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)),
                 _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1))};
}
V_FN v8d v8d_hi(v16 x)
{
    return (v8d){_mm256_cvtps_pd(_mm256_castps256_ps128(x.b)),
                 _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))};
}
V_FN v16 v16_of_d(v8d lo, v8d hi)
{
    return (v16){_mm256_set_m128(_mm256_cvtpd_ps(lo.b), _mm256_cvtpd_ps(lo.a)),
                 _mm256_set_m128(_mm256_cvtpd_ps(hi.b), _mm256_cvtpd_ps(hi.a))};
}

#endif
