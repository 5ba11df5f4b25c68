/*
 * Where weights come from. The forward pass asks for a role of a layer and gets bytes, dtype and
 * shape; whether they lie in a checkpoint, in an op's inputs or are decoded from a coded stream is
 * the provider's business. So dense and coded models share one forward.
 */
#ifndef UC_MODEL_WEIGHTS_H
#define UC_MODEL_WEIGHTS_H

#include <jansson.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "formats/safetensors.h"
#include "model/arch.h"

struct uc_weight {
    const void *data;    /* aligned to its elements */
    enum uc_dtype dtype; /* F32, F16 or BF16 */
    int n_dim;
    uint64_t shape[2];
    void *owned; /* freed by uc_weight_put when not NULL */
    void *map;   /* unmapped by uc_weight_put when not NULL */
    size_t map_size;
};

/* Where a tensor's bytes lie. With a path the region is mapped when the weight is asked for and
 * unmapped when it is put, so that resident memory follows the layer, not the model; else p holds
 * them. */
struct uc_region {
    const char *path;
    uint64_t offset;
    const uint8_t *p;
    uint64_t size;
};

/* Wraps raw bytes: copies them when they are not aligned. UC_EREFUSED for other dtypes and for more
 * than two dimensions, UC_ECORRUPT when size does not fit the shape; the caller adds the name. */
int uc_weight_open(struct uc_weight *w, const struct uc_region *at, int dtype, int n_dim,
                   const uint64_t *shape, struct uc_err *err);
void uc_weight_put(struct uc_weight *w);
/* UC_EREFUSED when the shape is not [rows, cols] ([rows] for cols 0). */
int uc_weight_check_shape(const struct uc_weight *w, uint64_t rows, uint64_t cols,
                          struct uc_err *err);
/* UC_EREFUSED at the first NaN or infinity, naming row and column. */
int uc_weight_check_finite(const struct uc_weight *w, struct uc_err *err);

struct uc_weights {
    /* The weight of a role; layer UC_NO_LAYER: "embed", "final_norm", "head". On success the
     * caller owes uc_weight_put. On failure nothing is held and err names the weight. */
    int (*get)(struct uc_weights *self, int layer, const char *role, struct uc_weight *out,
               struct uc_err *err);
};

/* All roles of a block of one layer into w[b->n_roles], shapes checked against b. On failure
 * nothing is held. */
int uc_weights_get_block(struct uc_weights *from, const struct uc_block *b, int layer,
                         struct uc_weight *w, struct uc_err *err);
void uc_weights_put_block(const struct uc_block *b, struct uc_weight *w);

/*
 * Weights by name out of safetensors: dense tensors under their own name, coded ones
 * (docs/format.md) as a U8 tensor NAME.uca that is decoded on get. names is what uc_arch_describe
 * gives: embed, final_norm, head (absent or null: the embedding) and layers[].tensors. Borrows
 * everything.
 */
struct uc_named_weights {
    struct uc_weights base;
    const json_t *names;
    const struct uc_st_set *set; /* either a folder's files */
    const struct uc_st *st;      /* or one parsed header */
    struct uc_region file;       /* of this file */
};
void uc_named_weights_init(struct uc_named_weights *w, const json_t *names,
                           const struct uc_st_set *set);
void uc_named_weights_init_file(struct uc_named_weights *w, const json_t *names,
                                const struct uc_st *st, const struct uc_region *file);

#endif
