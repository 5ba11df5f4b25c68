#include "base/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned bits;
} dtypes[UC_DTYPE_COUNT] = {
    [UC_DTYPE_BOOL] = {"BOOL", 8},
    [UC_DTYPE_F4] = {"F4", 4},
    [UC_DTYPE_F6_E2M3] = {"F6_E2M3", 6},
    [UC_DTYPE_F6_E3M2] = {"F6_E3M2", 6},
    [UC_DTYPE_U8] = {"U8", 8},
    [UC_DTYPE_I8] = {"I8", 8},
    [UC_DTYPE_F8_E5M2] = {"F8_E5M2", 8},
    [UC_DTYPE_F8_E4M3] = {"F8_E4M3", 8},
    [UC_DTYPE_F8_E8M0] = {"F8_E8M0", 8},
    [UC_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [UC_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [UC_DTYPE_I16] = {"I16", 16},
    [UC_DTYPE_U16] = {"U16", 16},
    [UC_DTYPE_F16] = {"F16", 16},
    [UC_DTYPE_BF16] = {"BF16", 16},
    [UC_DTYPE_I32] = {"I32", 32},
    [UC_DTYPE_U32] = {"U32", 32},
    [UC_DTYPE_F32] = {"F32", 32},
    [UC_DTYPE_C64] = {"C64", 64},
    [UC_DTYPE_F64] = {"F64", 64},
    [UC_DTYPE_I64] = {"I64", 64},
    [UC_DTYPE_U64] = {"U64", 64},
};

const char *uc_dtype_name(enum uc_dtype t)
{
    return dtypes[t].name;
}

int uc_dtype_parse(const char *name)
{
    for (int t = 0; t < UC_DTYPE_COUNT; t++)
        if (strcmp(dtypes[t].name, name) == 0)
            return t;
    return -1;
}

unsigned uc_dtype_bits(enum uc_dtype t)
{
    return dtypes[t].bits;
}
