/*
 * Writing the coded-weights stream (formats/coded.h reads it): chunks are coded one by one, in any
 * order and by any thread, and then put together. Equal arguments give equal bytes.
 */
#ifndef UC_FORMATS_CODED_ENC_H
#define UC_FORMATS_CODED_ENC_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "formats/coded.h"

/* What a stream says besides its codes. Steps: log2 in 1/32; the step of weight (o, j) is
 * uc_coded_step(row_step[o]) * uc_coded_step(col_step[j]). Classes: the codes of (o, j) have an rms
 * of about 2^((row_class[o] + col_class[j] - 20) / 4). */
struct uc_coded_side {
    uint64_t m, n;
    uint32_t chunk_rows;
    unsigned mode, shape;
    int log2_c;                          /* in 1/256 */
    const int16_t *row_step, *row_class; /* m */
    const int16_t *col_step, *col_class; /* n */
};

enum {
    UC_CODED_STEP_MIN = -1600, /* of a row or of a column */
    UC_CODED_STEP_MAX = 800,
    UC_CODED_CLASS_MIN = -128,
    UC_CODED_CLASS_MAX = 127,
};

struct uc_coded_coder; /* the tables of one shape; immutable */
struct uc_coded_coder *uc_coded_coder_new(unsigned shape, struct uc_err *err);
void uc_coded_coder_free(struct uc_coded_coder *c);

/* Appends one chunk: codes [n_rows, n] row-major, magnitudes <= 2^24; row_class is that of its
 * first row. UC_EFAIL for a code out of range, UC_ERESOURCE when out is full. */
int uc_coded_put_chunk(const struct uc_coded_coder *c, const int16_t *row_class,
                       const int16_t *col_class, uint64_t n_rows, uint64_t n, const int32_t *codes,
                       struct uc_buf *out, struct uc_err *err);
/* Appends the whole stream: chunks in row order; in UC_CODED_RAW their bytes are the bf16 rows
 * and the four arrays of side may be NULL. */
int uc_coded_put_stream(const struct uc_coded_side *side, const struct uc_buf *chunks,
                        size_t n_chunks, struct uc_buf *out, struct uc_err *err);

#endif
