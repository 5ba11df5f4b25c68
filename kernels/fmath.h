/*
 * Our own elementary functions: fixed polynomials with explicit fma, the same bits on every
 * machine; libm's results never reach a key.
 */
#ifndef UC_KERNELS_FMATH_H
#define UC_KERNELS_FMATH_H

#include <stddef.h>

/* fp32, maximum error stated in docs/arithmetic.md and tested over all arguments. */
float uc_expf(float x);
float uc_logf(float x);
/* fp64, for tables (rotary angles, step grids): error below 2 ulp on the stated ranges. */
double uc_exp(double x);
double uc_log(double x);
double uc_log2(double x);
double uc_exp2(double x);
/* |x| <= 2^30 */
void uc_sincos(double x, double *sin_x, double *cos_x);
double uc_pow(double base, double exponent); /* base > 0 */

#endif
