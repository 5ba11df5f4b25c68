/*
 * Constant tables of the coded-weights stream (docs/format.md, section "Symbols"). Internal to the
 * coder and to the quantizer, which needs what a code will cost.
 */
#ifndef UC_FORMATS_CODED_TABLES_H
#define UC_FORMATS_CODED_TABLES_H

#include <stdint.h>

enum {
    UC_CODED_SHAPES = 8,
    UC_CODED_CLASSES = 32,
    UC_CODED_CLASS_OF_ONE = 20, /* rms of the codes of class c: 2^((c - 20) / 4) */
    UC_CODED_K = 31,            /* largest magnitude with a symbol of its own */
    UC_CODED_FREQ_BITS = 14,
};

/* [shape][class][k]: frequency of +k and of -k (of 0 for k = 0), zero where k has no symbol; entry
 * UC_CODED_K + 1 is the escape. f[0] + 2 (f[1] + .. + f[31]) + f[32] = 2^14. */
extern const uint16_t uc_coded_freq[UC_CODED_SHAPES][UC_CODED_CLASSES][UC_CODED_K + 2];

/* Bits of fp32 2^(i / 32). 2^(e / 32) has the bits pow[e mod 32] + 2^23 (e div 32). */
extern const uint32_t uc_coded_pow[32];

#endif
