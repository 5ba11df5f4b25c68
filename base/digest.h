/* SHA-256 (libcrypto): names of blobs, keys of actions. */
#ifndef UC_BASE_DIGEST_H
#define UC_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define UC_HEX_LEN 64

struct uc_digest {
    uint8_t b[32];
};

struct uc_hash; /* a running SHA-256 */
struct uc_hash *uc_hash_new(void);
void uc_hash_free(struct uc_hash *h);
void uc_hash_add(struct uc_hash *h, const void *p, size_t n);
/* Finishes and resets h for a new message. */
void uc_hash_end(struct uc_hash *h, struct uc_digest *out);

void uc_digest_of(const void *p, size_t n, struct uc_digest *out);
/* 64 lower-case hex digits and a NUL. Returns out. */
char *uc_digest_hex(const struct uc_digest *d, char out[UC_HEX_LEN + 1]);
/* Reads exactly 64 lower-case hex digits; false otherwise. The text may go on after them. */
bool uc_digest_parse(const char *hex, struct uc_digest *out);
bool uc_digest_eq(const struct uc_digest *a, const struct uc_digest *b);

/* CRC-32 (IEEE 802.3, reflected, as in zlib) of p[0..n), continuing from crc (0 to start). */
uint32_t uc_crc32(uint32_t crc, const void *p, size_t n);

#endif
