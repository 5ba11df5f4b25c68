/*
 * Our own elementary functions: fixed polynomials with explicit fma, the same bits on every
 * machine; libm's results never reach a key.
 */
#ifndef UC_KERNELS_FMATH_H
#define UC_KERNELS_FMATH_H

#include <stddef.h>

/*
 * fp32, maximum error stated in docs/arithmetic.md and tested over all arguments. A NaN gives a
 * NaN. exp: -infinity and all below -103.98 give +0, denormal results are kept, above 88.73
 * infinity. log: +-0 gives -infinity, negative numbers a NaN, infinity infinity; denormals are read
 * exactly.
 */
float uc_expf(float x);
float uc_logf(float x);
/* The same bits, over n values; y may be x. */
void uc_expf_n(float *y, const float *x, size_t n);
void uc_logf_n(float *y, const float *x, size_t n);
/* fp64, for tables (rotary angles, step grids): error below 1 ulp for all arguments (normal
 * results). NaN, infinities, zero and overflow as above. */
double uc_exp(double x);
double uc_log(double x);
double uc_log2(double x);
double uc_exp2(double x);
/* |x| <= 2^30; a NaN beyond. */
void uc_sincos(double x, double *sin_x, double *cos_x);
double uc_pow(double base, double exponent); /* base > 0 */

#endif
