/* Element types of tensors, named as in safetensors. */
#ifndef UC_BASE_DTYPE_H
#define UC_BASE_DTYPE_H

#include <stddef.h>

enum uc_dtype {
    UC_DTYPE_BOOL,
    UC_DTYPE_F4,
    UC_DTYPE_F6_E2M3,
    UC_DTYPE_F6_E3M2,
    UC_DTYPE_U8,
    UC_DTYPE_I8,
    UC_DTYPE_F8_E5M2,
    UC_DTYPE_F8_E4M3,
    UC_DTYPE_F8_E8M0,
    UC_DTYPE_F8_E4M3FNUZ,
    UC_DTYPE_F8_E5M2FNUZ,
    UC_DTYPE_I16,
    UC_DTYPE_U16,
    UC_DTYPE_F16,
    UC_DTYPE_BF16,
    UC_DTYPE_I32,
    UC_DTYPE_U32,
    UC_DTYPE_F32,
    UC_DTYPE_C64,
    UC_DTYPE_F64,
    UC_DTYPE_I64,
    UC_DTYPE_U64,
    UC_DTYPE_COUNT,
};

const char *uc_dtype_name(enum uc_dtype t);
/* -1 when the name is none of the above. */
int uc_dtype_parse(const char *name);
unsigned uc_dtype_bits(enum uc_dtype t);

#endif
