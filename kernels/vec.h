/*
 * The vector layer: bodies are written over 16 lanes of fp32 (v16), 16 lanes of int32 (v16i), lane
 * masks (v16m) and 8 lanes of fp64 (v8d). vec_c.h defines every operation lane by lane; vec_avx2.h
 * and vec_avx512.h give the same bits. Exactly one of them is included per unit, before the body.
 *
 *   v16  load store (any alignment) load_n store_n (n in 0..16: other lanes are +0, not stored)
 *        zero set1 add sub mul div fma(a,b,c)=a*b+c fnma(a,b,c)=-(a*b)+c sqrt neg abs
 *        min(a,b)=a<b?a:b max(a,b)=a>b?a:b (so b when either is a NaN)
 *        rint (nearest even) sum max_lanes (fixed tree: lane l with l+8, then +4, +2, +1)
 *        lt le eq unord -> v16m (false on a NaN, unord: true on a NaN); select(m,a,b)=m?a:b
 *        to_i (nearest even; NaN and out of range give INT32_MIN) of_i bits of_bits
 *        load_bf16 store_bf16 load_f16 store_f16 (16 values; rounding and NaN as in convert.h)
 *   v16m first(n) (lanes below n) and or not bits (bit l = lane l)
 *   v16i load store set1 add sub and or xor sll srl sra(v, count) eq gt select
 *   v8d  load store load_n store_n zero set1 add sub mul div fma fnma sqrt sum (tree 4, 2, 1)
 *        lo hi (the halves of a v16, widened) and v16_of_d(lo, hi) (rounded to nearest even)
 *
 * A masked tail of a sum must keep the old lane: select(first(n), fma(a, b, acc), acc). Loading
 * zeros and adding them turns -0 into +0.
 * Unlike elsewhere these are typedefs: on AVX-512 they are not structs.
 */
#ifndef UC_KERNELS_VEC_H
#define UC_KERNELS_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Forced inlining and unrolled loops keep vectors in registers. Lane by lane in C there are none to
 * win, and sanitizers take minutes to compile hundreds of inlined loops. */
#if defined(__AVX2__)
#define V_FN static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define V_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V_UNROLL _Pragma("GCC unroll 64")
#endif
#else
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define V_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define V_SANITIZED
#endif
#ifdef V_SANITIZED
#define V_FN static __attribute__((noinline, unused))
#else
#define V_FN static inline __attribute__((unused))
#endif
#define V_UNROLL
#endif

#endif
