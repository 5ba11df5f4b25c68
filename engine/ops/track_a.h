/*
 * Method track-a-row-overlay@1, scalar: what rate, quantize and land share. One tensor at a time:
 * weights [m, n], factor L of its inputs' moments, sensitivity h_o of each output row.
 *
 * Steps: d_j f_o = C / (L_jj sqrt(h_o)) on grids of binary fractions of an octave, C one level for
 * the whole model (log2 C in 1/256). Contexts: a class per row and per column, quarter octaves of
 * the codes' rms. Rows do not depend on one another, so a sample of rows has the very codes
 * that the whole tensor gets.
 */
#ifndef UC_OPS_TRACK_A_H
#define UC_OPS_TRACK_A_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/dtype.h"
#include "engine/op.h"
#include "formats/coded_tables.h"
#include "kernels/ldlq.h"

#define TA_METHOD "track-a-row-overlay"

/* Where an op finds the inputs of one tensor. */
struct ta_names {
    const char *weight, *l;
    const char *rows; /* prefix: "h/" or "counts/", or "rows/<tensor>/" in land */
    bool embed;       /* rows are token counts (embedding, head), else sums of squared gradients */
    double scale;     /* options.scale: step multiplier, 1 when absent */
};

struct ta_tensor {
    size_t m, n;
    enum uc_dtype dtype;
    const uint8_t *data; /* borrowed from the input */
    bool embed;
    double scale;
    double *h, h_median;        /* [m], > 0 */
    float *a, *diag, *inv_diag; /* uc_ldlq_factor */
    float *noise;               /* [n] in rounding order: variance that feedback adds, steps^2 */
    int row_unit, col_unit;     /* grids of the steps, in 1/32 octave */
    size_t *by_h;               /* rows sorted by h: what samples are drawn from */
};

/* Costs of codes and the rounding rule, from the coder's tables. */
struct ta_tables {
    float round[UC_CODED_SHAPES][UC_LDLQ_CLASSES * UC_LDLQ_SIZES];
    /* 1/256 bit, [size]; entry 32: escape with an empty tail */
    uint16_t cost[UC_CODED_SHAPES][UC_CODED_CLASSES][UC_CODED_K + 2];
    uint8_t k_max[UC_CODED_SHAPES][UC_CODED_CLASSES];
};

/* Steps and classes at one level. Columns also in rounding order for the kernel. */
struct ta_plan {
    int log2_c;
    unsigned shape;
    int16_t *row_step, *row_class; /* m */
    int16_t *col_step, *col_class; /* n */
    float *step, *inv;             /* n, rounding order */
    int32_t *class;
};

/* Memory of one thread. */
struct ta_scratch {
    float *w, *acc, *row;
    int32_t *codes;
    float row_step[64], row_inv[64];
    int32_t row_class[64];
    double damage[64], square[64];
};

struct ta_result {
    double damage;  /* 0.5 sum_o h_o e_o S e_o^T: nats per token */
    double square;  /* sum of squared weight errors */
    double weight2; /* sum of squared weights */
    uint64_t escapes, side_bits, payload_bits;
    unsigned shape;
};

void ta_tables_init(struct ta_tables *t, bool embed);

int ta_tensor_open(struct ta_tensor *t, const struct uc_op_ctx *ctx, const struct ta_names *names,
                   struct uc_err *err);
void ta_tensor_close(struct ta_tensor *t);
/* params.kind ("linear", "embed") and params.options. */
int ta_names_params(struct ta_names *names, const json_t *params, struct uc_err *err);

int ta_plan_init(struct ta_plan *p, const struct ta_tensor *t, int log2_c, struct uc_err *err);
void ta_plan_release(struct ta_plan *p);
int ta_scratch_init(struct ta_scratch *s, size_t n, size_t rows, struct uc_err *err);
void ta_scratch_release(struct ta_scratch *s);

void ta_load_row(const struct ta_tensor *t, size_t o, float *row);
/* Classes of the columns and the table shape, from `count` rows drawn evenly by sensitivity.
 * bits: what those rows cost (codes only); may be NULL. */
int ta_fit(struct ta_plan *p, const struct ta_tensor *t, const struct ta_tables *tables,
           size_t count, struct uc_pool *pool, double *bits, struct uc_err *err);
/* Rounds n_rows <= 64 rows (rows NULL: row0 and those after it; else rows[0..]): codes [n_rows, n].
 * Sets p->row_class of those rows to what the weights let expect. Adds to *r when not NULL. */
void ta_round_rows(const struct ta_plan *p, const struct ta_tensor *t,
                   const struct ta_tables *tables, const size_t *rows, size_t row0, size_t n_rows,
                   int32_t *codes, struct ta_scratch *s, struct ta_result *r);
/* Moves the class of a row to where its codes are cheapest; returns their cost in 1/256 bit. */
uint64_t ta_fit_row(int16_t *row_class, const struct ta_plan *p, const struct ta_tensor *t,
                    const struct ta_tables *tables, const int32_t *codes);

/* What the codes cost, in 1/256 bit, when the classes' sum is `sum`. */
uint32_t ta_code_cost(const struct ta_tables *t, unsigned shape, int sum, int32_t code);

/* The whole tensor at level log2_c: appends the stream, fills info (new reference). */
int ta_quantize(const struct ta_tensor *t, const struct ta_tables *tables, int log2_c,
                struct uc_pool *pool, struct uc_buf *stream, json_t **info, struct uc_err *err);

/* log2_c of the blob that allocate writes. */
int ta_level(const struct uc_op_ctx *ctx, int *log2_c, struct uc_err *err);
/* SHA-256 of the decoded bf16 rows, hex; checks the stream on the way. */
int ta_digest(const uint8_t *stream, size_t n, char hex[65], struct uc_err *err);

#endif
