/* The coded-weights reader on any bytes. Checksums are made right, or no input would get past them.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "formats/coded.h"

enum { HEAD = 32, ROWS_MAX = 64, WEIGHTS_MAX = 1 << 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static uint32_t smaller(uint32_t v, uint32_t most)
{
    return v > most ? v % most + 1 : v;
}

/* Small dimensions, lengths that stay within the bytes, right checksums. */
static void repair(uint8_t *s, size_t n)
{
    uint64_t n_chunks, side, at;

    memcpy(s, "UCA1\1", 6);
    s[5] = 0;
    s[6] = s[6] & 1 ? 255 : 0;
    s[7] &= 7;
    put32(s + 8, smaller(get32(s + 8), ROWS_MAX));
    put32(s + 12, smaller(get32(s + 12), WEIGHTS_MAX / ROWS_MAX));
    put32(s + 16, smaller(get32(s + 16), ROWS_MAX));
    if (!get32(s + 8) || !get32(s + 16))
        return;
    n_chunks = (get32(s + 8) - 1) / get32(s + 16) + 1;
    side = HEAD + 8 * n_chunks;
    if (side > n)
        return;
    put32(s + 24, (uint32_t)(get32(s + 24) % (n - side + 1)));
    at = side + get32(s + 24);
    for (uint64_t k = 0; k < n_chunks; k++) {
        uint8_t *entry = s + HEAD + 8 * k;
        uint64_t len = k + 1 == n_chunks ? n - at : get32(entry) % (n - at + 1);
        put32(entry, (uint32_t)len);
        put32(entry + 4, uc_crc32(0, s + at, len));
        at += len;
    }
    put32(s + 28, uc_crc32(uc_crc32(0, s, 28), s + HEAD, side + get32(s + 24) - HEAD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uc_coded_info info;
    struct uc_err err;
    uint8_t *s =
        malloc(size ? size : 1); /* of its exact size, so that a read past the end is seen */
    uint16_t *rows;

    if (!s)
        return 0;
    if (size)
        memcpy(s, data, size);
    if (size > HEAD && data[5] != 0xff)
        repair(s, size);
    if (uc_coded_info(s, size, &info, &err) == 0 && info.m * info.n <= WEIGHTS_MAX) {
        rows = malloc(info.m * info.n * sizeof(*rows));
        if (rows) {
            uc_coded_decode_rows(s, size, 0, info.m, rows, &err);
            uc_coded_decode_rows(s, size, info.m / 2, 1, rows, &err);
        }
        free(rows);
    }
    free(s);
    return 0;
}
