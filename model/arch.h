/*
 * An architecture is data: config.json becomes a list of block operations over numbered activation
 * slots, the roles of the weights they read, and the names those weights have in a checkpoint. The
 * forward and backward pass, the capture points, the planner and the exporters all read this list;
 * none knows a model by name. A new family is an entry of the table in arch.c (and, when its block
 * has another shape, a builder beside build_prenorm_gated).
 *
 * struct uc_block is what reaches the arithmetic and nothing else: it goes into `params.arch` of
 * actions, so a chat template, a stored dtype or a tensor's name cannot change a key.
 */
#ifndef UC_MODEL_ARCH_H
#define UC_MODEL_ARCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "formats/safetensors.h"

#define UC_MAX_ROLES 16
#define UC_MAX_TAPS  8
#define UC_MAX_BOPS  32
#define UC_MAX_SLOTS 32
#define UC_NO_TAP    (-1)

enum uc_bop_kind {
    UC_BOP_NORM,      /* out = rmsnorm(in[0]) times the role's vector */
    UC_BOP_LINEAR,    /* out = in[0] w^T, w the role's matrix [rows, cols] */
    UC_BOP_ROTARY,    /* out (= in[0]) turned in place by its position; n_head heads */
    UC_BOP_ATTENTION, /* out = causal attention of q in[0], k in[1], v in[2] */
    UC_BOP_GATE,      /* out = silu(in[0]) * in[1] */
    UC_BOP_RESIDUAL,  /* out = in[0] + in[1] */
};

struct uc_bop {
    enum uc_bop_kind kind;
    uint8_t in[3], out; /* slots */
    uint8_t role;       /* NORM, LINEAR */
    uint32_t n_head;    /* ROTARY */
};

/* A weight of a block, by what it is for. */
struct uc_role {
    const char *name;    /* "q"; the op input is then "w/q" */
    uint32_t rows, cols; /* a norm's vector has rows entries and cols 0 */
    int tap;             /* the tap a linear reads; UC_NO_TAP for norms */
};

/* A distinct input of linears: its second moments are what quantization needs. */
struct uc_tap {
    const char *name; /* "attn_in" */
    uint8_t slot;
    uint32_t width;
};

enum uc_rope_type { UC_ROPE_DEFAULT, UC_ROPE_LLAMA3 };

struct uc_rope_params {
    enum uc_rope_type type;
    double theta;
    /* UC_ROPE_LLAMA3: wave lengths above original / low are stretched by factor, those below
     * original / high are kept, those between are blended. */
    double factor, low_freq_factor, high_freq_factor;
    uint32_t original_positions;
};

struct uc_block {
    const char *kind; /* "prenorm-gated" */
    uint32_t hidden, intermediate, n_head, n_kv, head_dim;
    double rms_eps;
    struct uc_rope_params rope;

    struct uc_role roles[UC_MAX_ROLES];
    size_t n_roles;
    struct uc_tap taps[UC_MAX_TAPS];
    size_t n_taps;
    struct uc_bop ops[UC_MAX_BOPS]; /* in order of execution; slot 0 is the block's input */
    size_t n_ops;
    uint32_t width[UC_MAX_SLOTS];
    size_t n_slots;
    uint8_t out; /* slot of the block's output */
};

struct uc_family; /* names of a family's tensors (arch.c) */

struct uc_arch {
    const struct uc_family *family;
    const char *model_type; /* of the family; static */
    uint32_t vocab, n_layers;
    uint32_t max_positions; /* longest window it was trained for */
    bool tied;              /* the head is the embedding */
    bool tied_stated;       /* false: config.json does not say (uc_arch_settle looks) */
    struct uc_block block;
};

/* Layer number of the tensors that belong to no layer. */
#define UC_NO_LAYER (-1)

/*
 * Reads the fields that a model_type means. UC_EREFUSED for everything that is not a supported
 * decoder language model (encoder, vision, audio, graph, state space, already quantized, unknown),
 * naming what it is, why and what to do. Reads no weights. Accepts the key styles of transformers 4
 * and 5. On success the caller frees *out with uc_arch_free.
 */
int uc_arch_from_config(const json_t *config, struct uc_arch **out, struct uc_err *err);
void uc_arch_free(struct uc_arch *a);

/* Only the refusals: 0 when the config could be a supported model. coded_ok lets a
 * quantization_config of our own pass. (refuse.c) */
int uc_config_refuse(const json_t *config, bool coded_ok, struct uc_err *err);
/* As uc_arch_from_config, for a folder that uc itself may have written. */
int uc_arch_from_config_any(const json_t *config, struct uc_arch **out, struct uc_err *err);

/* Where config.json leaves it open whether the head is tied, the presence of the head's own tensor
 * (uc_arch_head_name) decides. */
void uc_arch_settle(struct uc_arch *a, bool has_head);
/* The name an untied head's tensor has, also when this model's is tied. Static. */
const char *uc_arch_head_name(const struct uc_arch *a);

/* Name of a weight in the checkpoint, into buf; roles of UC_NO_LAYER: "embed", "final_norm",
 * "head" (the embedding's name when tied). NULL when there is no such role. */
const char *uc_arch_tensor_name(const struct uc_arch *a, int layer, const char *role, char *buf,
                                size_t n);
/* Checkpoints may hold it and nothing reads it (stored rotary tables, a copy of a tied head). */
bool uc_arch_ignores(const struct uc_arch *a, const char *tensor);

/* The description that the planner reads: model_type, sizes, arch, names, and per layer the tensors
 * by role and the roles by tap. "activations": floats per token that a block's forward pass holds,
 * for predicting memory (a batch is uc_batch_tokens; backward twice that). Caller json_decref()s.
 */
json_t *uc_arch_describe(const struct uc_arch *a);
/* `arch` of the description alone: what actions carry as params.arch. Caller json_decref()s. */
json_t *uc_arch_config_digest_params(const struct uc_arch *a);
/* The inverse: a block from params.arch. UC_EUSAGE names a field that is missing or not sane. */
int uc_block_from_params(const json_t *arch, struct uc_block *out, struct uc_err *err);

/* Index of a role or tap by name; -1 when absent. */
int uc_block_role(const struct uc_block *b, const char *name);
int uc_block_tap(const struct uc_block *b, const char *name);

/*
 * Do the checkpoint's tensors fit the architecture? UC_EREFUSED: already quantized (by names or by
 * 8-bit and integer dtypes), otherwise missing, extra, wrong shape or dtype (F32, F16 and BF16 are
 * read); the message lists the first five.
 */
int uc_arch_check_tensors(const struct uc_arch *a, const struct uc_st_set *set, struct uc_err *err);

#endif
