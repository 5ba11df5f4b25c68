/* Growable byte buffer with a maximum size: what a peer or a file can make it grow to is bounded.
 */
#ifndef UC_BASE_BUF_H
#define UC_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct uc_buf {
    uint8_t *data; /* NUL follows the last byte, so text can be used as a C string */
    size_t len, cap, max;
    int failed; /* set when an append did not fit; later appends do nothing */
};

/* max 0 means 64 MiB. */
void uc_buf_init(struct uc_buf *b, size_t max);
void uc_buf_release(struct uc_buf *b);
/* Empties and keeps the memory. */
void uc_buf_clear(struct uc_buf *b);
/* Appends; returns 0, or -1 (and sets failed) when max would be passed or memory is gone. */
int uc_buf_add(struct uc_buf *b, const void *p, size_t n);
int uc_buf_addc(struct uc_buf *b, int c);
int uc_buf_adds(struct uc_buf *b, const char *s);
int uc_buf_addf(struct uc_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Little-endian integers. */
int uc_buf_add_u16(struct uc_buf *b, uint16_t v);
int uc_buf_add_u32(struct uc_buf *b, uint32_t v);
int uc_buf_add_u64(struct uc_buf *b, uint64_t v);
/* The text; "" when empty. Borrowed. */
const char *uc_buf_str(const struct uc_buf *b);
/* Hands the bytes to the caller (free() them) and empties the buffer. */
void *uc_buf_take(struct uc_buf *b, size_t *len);
/* 0, or UC_ERESOURCE naming what, when an append had failed. */
int uc_buf_check(const struct uc_buf *b, const char *what, struct uc_err *err);

#endif
