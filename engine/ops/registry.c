#include "engine/ops/registry.h"
#include "engine/op.h"

/* Sorted by name; each op lives in engine/ops/<name>.c. */
const struct uc_op *const uc_ops[] = {
    &uc_op_allocate,
    &uc_op_assemble,
    &uc_op_bench,
    &uc_op_capture,
    &uc_op_capture_head,
    &uc_op_embed,
    &uc_op_factor,
    &uc_op_fingerprint,
    &uc_op_land,
    &uc_op_manifest,
    &uc_op_quantize,
    &uc_op_rate,
    &uc_op_reference,
    &uc_op_sensitivity,
    &uc_op_sensitivity_embed,
    &uc_op_sensitivity_head,
    &uc_op_source_digests,
    &uc_op_tokenize,
    &uc_op_verify,
    NULL,
};
