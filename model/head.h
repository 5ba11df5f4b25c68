/*
 * Both ends of the model: embedding rows, and the language-model head over blocks of the
 * vocabulary: neither the packed head nor the logits of a whole text are ever in memory.
 */
#ifndef UC_MODEL_HEAD_H
#define UC_MODEL_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"
#include "model/weights.h"

/* Rows of hidden states that callers score at a time: logits are UC_HEAD_ROWS * vocab floats. */
#define UC_HEAD_ROWS 256

/* logits [n_tok, vocab] = h [n_tok, hidden] head^T. */
int uc_head_logits(const struct uc_weight *head, const float *h, size_t n_tok, float *logits,
                   struct uc_pool *pool, struct uc_err *err);
/*
 * dh [n_tok, hidden] = dlogits [n_tok, vocab] head. Each entry is the sum, in ascending order, of
 * one fma chain per block of 4096 vocabulary rows: part of the definition.
 */
int uc_head_backward(const struct uc_weight *head, const float *dlogits, size_t n_tok, float *dh,
                     struct uc_pool *pool, struct uc_err *err);
/* x [n, width] = rows ids of w. UC_EREFUSED for an id that has no row. */
int uc_embed_rows(const struct uc_weight *w, const uint32_t *ids, size_t n, float *x,
                  struct uc_err *err);

#endif
