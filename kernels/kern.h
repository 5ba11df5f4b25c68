/*
 * How a kernel family is dispatched. A family's arithmetic is one `<family>_body.h` that
 * meson.build compiles once per instruction set against kernels/vec_<isa>.h; there FN(uc_x) names
 * the symbol uc_x_<isa>. The plain `<family>.c` holds the public functions and picks a variant:
 *
 *     typedef void uc_add_fn(float *y, const float *x, size_t n);
 *     UC_KERN(uc_add_fn, uc_add_run)               // declares the variants, their table, the
 * picker void uc_add(float *y, const float *x, size_t n) { uc_add_run_pick()(y, x, n); }
 *
 * The table is looked up at every public call, so uc_cpu_set_mask() works at once. All variants
 * give the same bits (exactness E, docs/arithmetic.md); a family for which that is not so must say
 * it in its header and put the variant's name into the action key.
 */
#ifndef UC_KERNELS_KERN_H
#define UC_KERNELS_KERN_H

#include <stddef.h>

#include "base/cpu.h"

/* A body declares its exported functions with this, so that they have a prototype. */
#define UC_KERN_DECLARE(type, name) extern type name##_c, name##_avx2, name##_avx512;

#ifdef UC_KERN_HAVE_AVX2
#define UC_KERN_ROW_AVX2(name) {"avx2", UC_CPU_AVX2, name##_avx2},
#else
#define UC_KERN_ROW_AVX2(name)
#endif
#ifdef UC_KERN_HAVE_AVX512
#define UC_KERN_ROW_AVX512(name) {"avx512", UC_CPU_AVX512, name##_avx512},
#else
#define UC_KERN_ROW_AVX512(name)
#endif

/* Best first; "c" is last and needs nothing. */
#define UC_KERN(type, name)                                                                        \
    UC_KERN_DECLARE(type, name)                                                                    \
    static const struct {                                                                          \
        const char *name;                                                                          \
        unsigned need;                                                                             \
        type *fn;                                                                                  \
    } name##_table[] = {UC_KERN_ROW_AVX512(name) UC_KERN_ROW_AVX2(name){"c", 0, name##_c}};        \
    static type *name##_pick(void)                                                                 \
    {                                                                                              \
        unsigned have = uc_cpu_flags();                                                            \
        size_t i = 0;                                                                              \
        while ((name##_table[i].need & have) != name##_table[i].need)                              \
            i++;                                                                                   \
        return name##_table[i].fn;                                                                 \
    }

#endif
