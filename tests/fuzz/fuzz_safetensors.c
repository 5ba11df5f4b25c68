/* The safetensors header on any bytes: what is accepted tiles the data and is found by name. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uc_st st;
    struct uc_err err;
    uint64_t at = 0;

    if (uc_st_parse(&st, data, size, size, "fuzz", &err) < 0)
        return 0;
    for (size_t i = 0; i < st.n_tensors; i++) {
        assert(i == 0 || st.tensors[i].offset == at);
        at = st.tensors[i].offset + st.tensors[i].size;
        assert(at <= size);
        assert(uc_st_find(&st, st.tensors[i].name) == &st.tensors[i]);
    }
    uc_st_close(&st);
    return 0;
}
