/*
 * Backward pass of one block: the operations of the list in reverse, from the activations that the
 * forward pass of the same batch left behind. Gradients are fp32; where a slot has several readers
 * their contributions are added in reverse order of the list.
 */
#ifndef UC_MODEL_BACKWARD_H
#define UC_MODEL_BACKWARD_H

#include "model/forward.h"

/* Called once per linear, in reverse order of the list: grad [n_tok, rows of the role] is the
 * gradient at its output; uc_block_tap_data still holds its input. grad is valid during the call.
 */
typedef void uc_linear_grad_fn(void *arg, size_t role, const float *grad, size_t n_tok);

/* After uc_block_recompute (or uc_block_forward) on a run that was made with backward: dy [n_tok,
 * hidden] is the gradient at the output. Returns the gradient at the input [n_tok, hidden], valid
 * until the next call. visit may be NULL. */
const float *uc_block_backward(struct uc_block_run *r, const float *dy, uc_linear_grad_fn *visit,
                               void *arg);

#endif
