/*
 * LDLQ with entropy-coded integers: rounds rows of weights to multiples of their steps, column
 * after column, each column's target moved by the errors of those already rounded, so that the
 * error in the metric S = L L^T is L_jj^2 (y - v)^2 summed over columns. Exactness: E.
 *
 * Columns are counted in the order of rounding, t = n - 1 - j for column j, so that every sum runs
 * upwards: acc_t = fma(a[s][t], e_s, acc), s = 0 .. t - 1, one fp32 chain whatever the blocking.
 *
 *     y = fma(acc_t, inv_diag_t, w)         target
 *     u = y * (row_inv * col_inv)           target in steps
 *     k = sign(u) * r, r = rint(min(|u|, 2^24)), one less where |u| < (r - 0.5) + round[class][r]
 *     v = bf16(k * (row_step * col_step))   as the stream's reader makes it
 *     e = w - v
 *
 * Source: QuIP, Chee et al. 2023 (LDLQ); GPTQ, Frantar et al. 2022.
 */
#ifndef UC_KERNELS_LDLQ_H
#define UC_KERNELS_LDLQ_H

#include <stddef.h>
#include <stdint.h>

enum {
    UC_LDLQ_LANES = 16,   /* rows of a panel */
    UC_LDLQ_PANELS = 4,   /* most panels of a tile */
    UC_LDLQ_CLASSES = 33, /* 0 .. 31 of the coder; 32 and above: plain rounding */
    UC_LDLQ_SIZES = 32,   /* |k| 0 .. 31; larger ones use 31 */
    UC_LDLQ_CODE_MAX = 1 << 24,
};

/* One tile of rows. Arrays over columns are in rounding order; lanes are rows, panel after panel.
 * Rows that do not exist are rows of zeros with step 1. */
struct uc_ldlq_tile {
    size_t n, n_panels;
    const float *a; /* [n, n]: a[s][t] = L[n-1-s][n-1-t] for t > s; the rest is not read */
    const float *diag, *inv_diag; /* [n] L_jj and its reciprocal */
    const float *col_step, *col_inv;
    const int32_t *col_class;
    const float *row_step, *row_inv; /* n_panels * 16 */
    const int32_t *row_class;
    const float *round; /* [33][32], each in 0 .. 0.95; row 32 is zero */
    float *w;           /* [n_panels][n][16] in: weights; out: e */
    float *acc;         /* [n_panels][n][16] scratch; out: the bits are the codes as int32 */
    double *damage;     /* n_panels * 16, out: sum over columns of (L_jj (y - v))^2 */
    double *square;     /* n_panels * 16, out: sum of e^2 */
};

void uc_ldlq(const struct uc_ldlq_tile *t);

/* a, diag and inv_diag from the lower triangle of L packed by rows. */
void uc_ldlq_factor(float *a, float *diag, float *inv_diag, const float *packed, size_t n);

#endif
