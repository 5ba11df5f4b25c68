/* What ops read and write: typed views of inputs, and the blobs that pass between ops
 * (docs/blobs.md). All little-endian, aligned to 8 bytes. */
#ifndef UC_OPS_BLOBS_H
#define UC_OPS_BLOBS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/op.h"
#include "model/weights.h"

/* Rows of fp32, [*n, width]; an empty input gives n 0. UC_ECORRUPT when the size is not whole. */
int uc_blob_rows(const struct uc_op_ctx *ctx, const char *name, size_t width, const float **p,
                 size_t *n, struct uc_err *err);
int uc_blob_ids(const struct uc_op_ctx *ctx, const char *name, const uint32_t **p, size_t *n,
                struct uc_err *err);

/* Second moments: u64 n, u64 n_tok, f64 weight, then the lower triangle packed by rows, f64. */
struct uc_moments {
    uint64_t n, n_tok;
    double weight;        /* sum of the tokens' weights; n_tok when unweighted */
    const double *packed; /* n (n + 1) / 2, borrowed from the input */
};
int uc_blob_moments(const struct uc_op_input *in, struct uc_moments *out, struct uc_err *err);
/* s [n, n]: its lower triangle is written. UC_EFAIL when a diagonal entry is not finite. */
int uc_blob_put_moments(const struct uc_op_ctx *ctx, const char *name, const double *s, size_t n,
                        uint64_t n_tok, double weight, struct uc_err *err);
/* u64 n, u64 n_tok, f64[n]. */
int uc_blob_put_rows(const struct uc_op_ctx *ctx, const char *name, const double *h, size_t n,
                     uint64_t n_tok, struct uc_err *err);
/* u64 n, then the lower triangle of l [n, n] packed by rows, as f32. */
int uc_blob_put_factor(const struct uc_op_ctx *ctx, const char *name, const double *l, size_t n,
                       struct uc_err *err);
/* Canonical JSON. */
int uc_blob_put_json(const struct uc_op_ctx *ctx, const char *name, const json_t *v,
                     struct uc_err *err);

/* An output that is written piece by piece. */
struct uc_blob_writer {
    int fd;
    const char *path;
};
int uc_blob_create(const struct uc_op_ctx *ctx, const char *name, struct uc_blob_writer *w,
                   struct uc_err *err);
/* Closes; rc is what the caller holds, a failing close is reported only when rc is 0. */
int uc_blob_close(struct uc_blob_writer *w, int rc, struct uc_err *err);
int uc_blob_add(struct uc_blob_writer *w, const void *p, size_t n, struct uc_err *err);
bool uc_blob_wanted(const struct uc_op_ctx *ctx, const char *name);

/* A tensor input as a weight; the message names it. */
int uc_blob_weight(const struct uc_op_ctx *ctx, const char *name, struct uc_weight *w,
                   struct uc_err *err);
/* Weights of the op's inputs: role q of layer 7 is "<layer_prefix>/007/w/q", or "w/q" when
 * layer_prefix is NULL (an op of one layer); those of no layer are "w/<role>". */
struct uc_input_weights {
    struct uc_weights base;
    const struct uc_op_ctx *ctx;
    const char *layer_prefix;
};
void uc_input_weights_init(struct uc_input_weights *w, const struct uc_op_ctx *ctx,
                           const char *layer_prefix);

/* params.arch and params.seqlen (2 .. 2^20). seqlen may be NULL. */
int uc_op_block(const struct uc_op_ctx *ctx, struct uc_block *b, size_t *seqlen,
                struct uc_err *err);
/* A whole number in [lo, hi]; UC_EUSAGE when it is missing and fallback is below lo, or is outside.
 */
int uc_op_int(const struct uc_op_ctx *ctx, const char *name, int64_t lo, int64_t hi,
              int64_t fallback, int64_t *out, struct uc_err *err);
void uc_op_progress(struct uc_op_ctx *ctx, uint64_t done, uint64_t total);

#endif
