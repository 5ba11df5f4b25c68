/*
 * Streaming forward (and, with backward.h, backward) pass of one block. Tokens come in windows of
 * seqlen that do not see each other; the last window of a text may be short. A batch is a fixed
 * number of whole windows, so memory does not grow with the text, and a result never depends on how
 * the work is cut: every kernel's row is a function of its own window alone, and sums over tokens
 * restart their 256-token chunks at each batch (uc_batch_tokens is part of the versions of the
 * ops).
 */
#ifndef UC_MODEL_FORWARD_H
#define UC_MODEL_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"
#include "model/arch.h"
#include "model/weights.h"

/* Tokens of a full batch: the most whole windows that fit 2048 tokens, at least one. */
size_t uc_batch_tokens(size_t seqlen);

/* One block with its weights packed and the memory of a batch. The members are read by backward.c
 * and the tests; callers use the functions. */
struct uc_block_run {
    struct uc_block block;
    size_t seqlen, batch; /* tokens */
    size_t n_tok;         /* of the batch that ran last */
    bool backward;
    struct uc_pool *pool;

    float *w[UC_MAX_ROLES];  /* linears: packed; norms: the vector */
    float *wt[UC_MAX_ROLES]; /* linears, backward: packed transposed */
    float *slot[UC_MAX_SLOTS];
    float *r[UC_MAX_BOPS];   /* norms, backward: 1 / root mean square per row */
    float *lse[UC_MAX_BOPS]; /* attention, backward */
    float *grad[UC_MAX_SLOTS];
    float *tmp;       /* backward: [batch, widest slot] */
    float *cos, *sin; /* [seqlen, head_dim / 2] */
    uint32_t *pos;
    float *scratch; /* attention */
};

/* Packs w (one per role of b, uc_weights_get_block) for texts cut into windows of seqlen. w may be
 * put afterwards. backward also allocates what uc_block_backward needs. On failure *out is NULL. */
int uc_block_run_new(struct uc_block_run **out, const struct uc_block *b, const struct uc_weight *w,
                     size_t seqlen, bool backward, struct uc_pool *pool, struct uc_err *err);
void uc_block_run_free(struct uc_block_run *r);

/* x [n_tok, hidden], n_tok <= uc_batch_tokens, starting at a window's start. Returns the output
 * [n_tok, hidden], valid until the next call. */
const float *uc_block_forward(struct uc_block_run *r, const float *x, size_t n_tok);
/* As uc_block_forward, but only what uc_block_backward and the taps need: the output is not made.
 */
void uc_block_recompute(struct uc_block_run *r, const float *x, size_t n_tok);
/* After uc_block_forward: the input of a tap's linears, [n_tok, width]. */
const float *uc_block_tap_data(const struct uc_block_run *r, size_t tap);

/* rms_eps, final norm: y [n_tok, n] = rmsnorm(x) * w for any n_tok; r may be NULL. */
void uc_final_norm(float *y, float *r, const float *x, const float *w, size_t n_tok,
                   const struct uc_block *b, struct uc_pool *pool);
/* The vector of a norm as fp32 into out [n], shape and finiteness checked. */
int uc_weight_vector(const struct uc_weight *w, float *out, size_t n, struct uc_err *err);

/* cos, sin [n_pos, head_dim / 2] of the block's rotary angles, scaling applied. */
void uc_rope_tables(const struct uc_rope_params *rope, float *cos_t, float *sin_t, size_t n_pos,
                    size_t head_dim);

#endif
