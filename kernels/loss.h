/* Losses over large vocabularies. fp32 with lane sums in a fixed order; exactness E. */
#ifndef UC_KERNELS_LOSS_H
#define UC_KERNELS_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

/* Per row of logits [n_tok, n_vocab]: log-sum-exp. */
void uc_logsumexp(float *lse, const float *logits, size_t n_tok, size_t n_vocab,
                  struct uc_pool *pool);

struct uc_token_score {
    float nll_ref, nll;       /* nats, of the true next token under reference and model */
    float kld;                /* KL(ref || model), nats; negative by rounding: stored as 0 */
    uint32_t top_ref, top;    /* argmax; the lower id on a tie */
    uint32_t rank_ref, rank;  /* of the true token: how many ids have a larger logit */
    uint32_t rank_of_top_ref; /* rank of the reference's argmax under the model */
    float p_ref, p;           /* probability of the true token */
    uint32_t top10_overlap;   /* ids in both top tens: larger logit first, lower id on a tie */
};
/* ref and logits [n_tok, n_vocab], no NaN; label [n_tok]. One pass over a row after its maximum. */
void uc_score_tokens(struct uc_token_score *out, const float *ref, const float *logits,
                     const uint32_t *label, size_t n_tok, size_t n_vocab, struct uc_pool *pool);

/*
 * In place: logits become p - onehot(sample), the gradient of -log p(sample), where the sample of
 * row t is drawn from p by inverse transform: the first id whose running sum (order:
 * docs/arithmetic.md) exceeds u[t], in [0, 1). weight[t] = 1 - sum p^2 (the trace of the softmax
 * Fisher); weight and label (the samples) may be NULL.
 */
void uc_sample_grad(float *logits, float *weight, uint32_t *label, const float *u, size_t n_tok,
                    size_t n_vocab, struct uc_pool *pool);

#endif
