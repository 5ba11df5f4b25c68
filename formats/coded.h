/*
 * The coded-weights stream "UCA1" (docs/format.md): one matrix [m, n] as entropy-coded integers
 * with row and column steps and row and column contexts. It is the content of a U8 tensor of
 * the artifact's model.safetensors. Rows lie in chunks that decode independently, each with a
 * CRC-32.
 *
 * Reading trusts nothing: every length, index and checksum is tested before it is used. Memory is
 * bounded by m + n and the stream's own size; a few bytes can claim many rows, so a reader compares
 * m and n of uc_coded_info with the shape that it expects before it opens a stream.
 */
#ifndef UC_FORMATS_CODED_H
#define UC_FORMATS_CODED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum uc_coded_mode {
    UC_CODED_SCALAR = 0, /* nu = 0: plain integers; 1..8 are kept for trellises of 2^nu states */
    UC_CODED_RAW = 255,  /* bf16 rows as they are */
};

struct uc_coded_info {
    unsigned version;
    unsigned mode; /* enum uc_coded_mode */
    uint64_t m, n; /* rows (outputs), columns (inputs); at most 2^24 each */
    uint32_t chunk_rows;
    uint32_t n_chunks;
    unsigned shape;       /* table family, 0 .. UC_CODED_SHAPES - 1 */
    int log2_c;           /* level C the encoder was given: log2, in 1/256 */
    uint64_t side_bytes;  /* header, chunk table, steps and classes */
    uint64_t chunk_bytes; /* codes */
};

/* Reads and checks the header and the chunk table only. UC_ECORRUPT says what is wrong. */
int uc_coded_info(const uint8_t *stream, size_t n, struct uc_coded_info *info, struct uc_err *err);

/* A stream whose side information is decoded. Borrows the bytes, which must outlive it. Immutable:
 * threads may decode different rows through one of them. NULL and err on failure. */
struct uc_coded;
struct uc_coded *uc_coded_open(const uint8_t *stream, size_t n, struct uc_err *err);
void uc_coded_close(struct uc_coded *c);
const struct uc_coded_info *uc_coded_get_info(const struct uc_coded *c);
/* Reconstructed rows [row0, row0 + n_rows) as bf16 into out [n_rows, n]. Chunks that the range
 * touches are checked and decoded whole, so ask for many rows at a time, best for multiples of
 * chunk_rows. */
int uc_coded_rows(const struct uc_coded *c, uint64_t row0, uint64_t n_rows, uint16_t *out,
                  struct uc_err *err);

/* 2^(step / 32) as the stream means it: fp32, exact power of two times a constant. */
float uc_coded_step(int step);
/* The reconstruction of one code: fp32(code) times fp32(row step times column step), rounded to
 * bf16; every rounding is to nearest even. */
uint16_t uc_coded_value(int32_t code, float row_step, float col_step);

/* open, rows, close in one call. */
int uc_coded_decode_rows(const uint8_t *stream, size_t n, uint64_t row0, uint64_t n_rows,
                         uint16_t *bf16_out, struct uc_err *err);

#endif
