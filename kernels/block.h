/*
 * What a transformer block does besides matrix products, forward and backward. fp32, exactness E.
 * Row-major; n_tok rows; strides equal the row length unless a parameter says otherwise.
 * Sums over a row are split over 16 lanes and added by a fixed tree (docs/arithmetic.md).
 */
#ifndef UC_KERNELS_BLOCK_H
#define UC_KERNELS_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

/* y[t] = x[t] * r[t] * w, r[t] = 1 / sqrt(mean(x[t]^2) + eps). r (n_tok) may be NULL.
 * Source: Zhang and Sennrich 2019. */
void uc_rmsnorm(float *y, float *r, const float *x, const float *w, size_t n_tok, size_t n,
                float eps, struct uc_pool *pool);
/* dx += the gradient through y = rmsnorm(x), given dy and the r of the forward pass. */
void uc_rmsnorm_bwd(float *dx, const float *dy, const float *x, const float *w, const float *r,
                    size_t n_tok, size_t n, struct uc_pool *pool);

/* Tables cos, sin [n_pos, head_dim / 2]: angle pos * theta^(-2 i / head_dim), from fp64. */
void uc_rope_table(float *cos_t, float *sin_t, size_t n_pos, size_t head_dim, double theta);
/* Rotates in place, half-split order (i with i + head_dim / 2): x [n_tok, n_head * head_dim];
 * row t uses position pos[t]. inverse != 0 rotates back (the backward pass). */
void uc_rope(float *x, const float *cos_t, const float *sin_t, const uint32_t *pos, size_t n_tok,
             size_t n_head, size_t head_dim, int inverse, struct uc_pool *pool);

/*
 * Causal attention of one sequence with grouped KV heads. q, y [n_tok, n_head * head_dim],
 * k, v [n_tok, n_kv * head_dim]; query head h reads kv head h / (n_head / n_kv).
 * Order of operations: docs/arithmetic.md. scale multiplies q k^T. window: a query sees the last
 * `window` positions (0: all). lse [n_head, n_tok] (log-sum-exp, for backward) may be NULL.
 * scratch: uc_attention_scratch() floats per thread of the pool.
 */
size_t uc_attention_scratch(size_t n_tok, size_t head_dim);
void uc_attention(float *y, float *lse, const float *q, const float *k, const float *v,
                  size_t n_tok, size_t n_head, size_t n_kv, size_t head_dim, float scale,
                  size_t window, float *scratch, struct uc_pool *pool);
/* Gradients of the above; dq, dk, dv are overwritten. */
void uc_attention_bwd(float *dq, float *dk, float *dv, const float *dy, const float *y,
                      const float *lse, const float *q, const float *k, const float *v,
                      size_t n_tok, size_t n_head, size_t n_kv, size_t head_dim, float scale,
                      size_t window, float *scratch, struct uc_pool *pool);

/* y = silu(g) * u, elementwise over n. */
void uc_silu_mul(float *y, const float *g, const float *u, size_t n, struct uc_pool *pool);
/* dg, du of the above. */
void uc_silu_mul_bwd(float *dg, float *du, const float *dy, const float *g, const float *u,
                     size_t n, struct uc_pool *pool);
/* y += x */
void uc_add(float *y, const float *x, size_t n);
/* out[t] = sum_i x[t][i]^2; out may be NULL. col[i] += sum_t x[t][i]^2 in fp64 (tokens ascending,
 * fp32 chains flushed every 256 tokens); col may be NULL. */
void uc_squares(float *out, double *col, const float *x, size_t n_tok, size_t n);
/* y[t] = x[t] * s[t] (a factor per row). */
void uc_scale_rows(float *y, const float *x, const float *s, size_t n_tok, size_t n);

#endif
