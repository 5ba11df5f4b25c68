/* exp and log over 16 lanes; include after a vec_<isa>.h. Same bits as uc_expf and uc_logf. */
#ifndef UC_KERNELS_VEC_FMATH_H
#define UC_KERNELS_VEC_FMATH_H

#include "kernels/fmath_scalar.h"
#include "kernels/vec.h"

/* As v16_exp where no lane is above FM_EXP_MAX (a softmax's arguments are at most 0). */
V_FN v16 v16_exp_low(v16 x)
{
    static const float c[] = FM_EXP_COEFFS;
    v16 n, r, p;
    v16i i, half;

    x = v16_max(v16_set1(FM_EXP_MIN), x); /* this order of operands lets a NaN through */
    n = v16_rint(v16_mul(x, v16_set1(FM_LOG2E)));
    r = v16_fnma(n, v16_set1(FM_LN2_HI), x);
    r = v16_fnma(n, v16_set1(FM_LN2_LO), r);
    p = v16_set1(c[0]);
    V_UNROLL for (int k = 1; k < 6; k++) p = v16_fma(p, r, v16_set1(c[k]));
    p = v16_add(v16_set1(1.0f), v16_fma(v16_mul(r, r), p, r));
    i = v16_to_i(n);
    half = v16i_sra(i, 1);
    i = v16i_sub(i, half);
    p = v16_mul(p, v16_of_bits(v16i_sll(v16i_add(half, v16i_set1(127)), 23)));
    return v16_mul(p, v16_of_bits(v16i_sll(v16i_add(i, v16i_set1(127)), 23)));
}

V_FN v16 v16_exp(v16 x)
{
    return v16_exp_low(v16_min(v16_set1(FM_EXP_MAX), x));
}

V_FN v16 v16_log(v16 x)
{
    static const float c[] = FM_LOG_COEFFS;
    const v16 inf = v16_set1(INFINITY);
    v16m tiny = v16_lt(x, v16_set1(0x1p-126f)), ok, zero = v16_eq(x, v16_zero());
    v16 f, z, p, w, kf, y;
    v16i u, k;

    y = v16_select(tiny, v16_mul(x, v16_set1(0x1p24f)), x);
    u = v16i_add(v16_bits(y), v16i_set1(0x3f800000 - 0x3f3504f3));
    k = v16i_sub(v16i_srl(u, 23), v16i_set1(127));
    k = v16i_select(tiny, v16i_sub(k, v16i_set1(24)), k);
    u = v16i_add(v16i_and(u, v16i_set1(0x007fffff)), v16i_set1(0x3f3504f3));
    f = v16_sub(v16_of_bits(u), v16_set1(1.0f));
    kf = v16_of_i(k);
    z = v16_mul(f, f);
    p = v16_set1(c[0]);
    V_UNROLL for (int i = 1; i < 9; i++) p = v16_fma(p, f, v16_set1(c[i]));
    w = v16_fma(v16_mul(f, z), p, v16_mul(kf, v16_set1(FM_LN2_TAIL)));
    w = v16_sub(f, v16_fma(v16_set1(0.5f), z, v16_neg(w)));
    w = v16_fma(kf, v16_set1(FM_LN2_HEAD), w);
    ok = v16m_and(v16_lt(v16_zero(), x), v16_lt(x, inf));
    y = v16_select(v16_lt(x, v16_zero()), v16_set1(NAN), x); /* a NaN and infinity stay */
    y = v16_select(zero, v16_neg(inf), y);
    return v16_select(ok, w, y);
}

#endif
