/* Byte layout of the coded-weights stream (docs/format.md). Internal to formats/coded*.c. */
#ifndef UC_FORMATS_CODED_LAYOUT_H
#define UC_FORMATS_CODED_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    CODED_VERSION = 1,
    CODED_DIM_MAX = 1 << 24, /* rows, columns, rows of a chunk */
    CODED_HEADER = 32,       /* bytes before the chunk table */
    CODED_CHUNK_ENTRY = 8,   /* length, CRC-32 */
    CODED_ARRAYS = 4,        /* column steps, column classes, row steps, row classes */
    CODED_ARRAY_HEAD = 4,

    CODED_ARRAY_DELTA = 1 << 0,  /* predicted by the value before, not by the base */
    CODED_ARRAY_LINKED = 1 << 1, /* classes: class + step (in quarter octaves) is coded */
};

struct coded_header {
    uint16_t version;
    uint8_t mode, shape;
    uint32_t m, n, chunk_rows;
    int32_t log2_c;
    uint32_t side_len;
};

struct coded_array {
    uint8_t flags;
    uint8_t unit;   /* log2 of what all values differ by multiples of */
    uint8_t offset; /* 0 .. 7, added to the multiples */
    uint8_t table;  /* shape in the upper 3 bits, class in the lower 5 */
    int16_t base;
};

static inline bool coded_array_linked(const struct coded_array *a)
{
    return a->flags & CODED_ARRAY_LINKED;
}

/* A step (log2 in 1/32) in quarter octaves. */
static inline int32_t coded_link(int16_t step)
{
    return (step + 4) >> 3;
}

/* Appends the header of a stream whose chunk table and side information are body[0..n). */
void coded_header_put(const struct coded_header *h, const uint8_t *body, size_t n,
                      struct uc_buf *out);
/* Reads p[0..32); the caller checks the values. crc: that of the first 28 bytes, to be continued
 * over chunk table and side information and compared with stored. */
void coded_header_get(struct coded_header *h, const uint8_t *p, uint32_t *crc, uint32_t *stored);
void coded_array_put(const struct coded_array *a, struct uc_buf *out);
void coded_array_get(struct coded_array *a, const uint8_t *p);

static inline uint32_t coded_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif
