/* What reference and bench share: the evaluation that their parameters describe. */
#ifndef UC_OPS_EVALUATE_H
#define UC_OPS_EVALUATE_H

#include "engine/ops/blobs.h"
#include "model/eval.h"

/* arch, protocol, window, stride, limit, bos and the input ids; n_layers is the caller's. */
int uc_op_eval(struct uc_op_ctx *ctx, struct uc_eval *e, struct uc_err *err);

#endif
