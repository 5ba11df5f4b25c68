/* The ops of this folder, one line each. */
#ifndef UC_OPS_REGISTRY_H
#define UC_OPS_REGISTRY_H

#include "engine/op.h"

extern const struct uc_op uc_op_allocate;
extern const struct uc_op uc_op_assemble;
extern const struct uc_op uc_op_bench;
extern const struct uc_op uc_op_capture;
extern const struct uc_op uc_op_capture_head;
extern const struct uc_op uc_op_embed;
extern const struct uc_op uc_op_factor;
extern const struct uc_op uc_op_fingerprint;
extern const struct uc_op uc_op_land;
extern const struct uc_op uc_op_manifest;
extern const struct uc_op uc_op_quantize;
extern const struct uc_op uc_op_rate;
extern const struct uc_op uc_op_reference;
extern const struct uc_op uc_op_sensitivity;
extern const struct uc_op uc_op_sensitivity_embed;
extern const struct uc_op uc_op_sensitivity_head;
extern const struct uc_op uc_op_source_digests;
extern const struct uc_op uc_op_tokenize;
extern const struct uc_op uc_op_verify;

#endif
