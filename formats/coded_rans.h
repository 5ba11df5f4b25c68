/*
 * The symbol layer of the coded-weights stream: interleaved rANS with 32-bit states, renormalised
 * by 16 bits, frequencies of 14 bits (docs/format.md, "Symbols"). Internal to formats/coded*.c.
 * Source: Duda 2013 (asymmetric numeral systems); Giesen 2014 (interleaved entropy coders).
 */
#ifndef UC_FORMATS_CODED_RANS_H
#define UC_FORMATS_CODED_RANS_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/coded_tables.h"

enum {
    RANS_LOW = 1 << 16, /* states lie in [2^16, 2^32) between symbols */
    RANS_LANES = 4,     /* states of a chunk of codes; side information uses one */
    RANS_ESCAPE = 2 * UC_CODED_K + 1,
    RANS_SYMBOLS = 2 * UC_CODED_K + 2, /* -31 .. 31, escape */
    RANS_RAW_MAX = 12,                 /* bits of one uniform symbol */
    CODED_SHIFT_MAX = 20,
    CODED_CODE_MAX = 1 << 24, /* largest magnitude of a code */
};

struct rans_class {
    uint16_t freq[RANS_SYMBOLS], cum[RANS_SYMBOLS];
    uint8_t first[256]; /* symbol that holds slot 64 b */
    int k_max;          /* largest magnitude with a symbol; beyond it the escape */
};

/* All classes of a shape. */
struct rans_model {
    struct rans_class c[UC_CODED_CLASSES];
};

void uc_rans_model_init(struct rans_model *m, unsigned shape);

/* Class and shift of a sum of row and column class: above class 31 the low bits go raw. */
static inline int coded_class(int sum, int *shift)
{
    *shift = 0;
    if (sum < 0)
        return 0;
    if (sum < UC_CODED_CLASSES)
        return sum;
    *shift = (sum - 28) >> 2;
    if (*shift > CODED_SHIFT_MAX) {
        *shift = CODED_SHIFT_MAX;
        return UC_CODED_CLASSES - 1;
    }
    return sum - 4 * *shift;
}

#endif
