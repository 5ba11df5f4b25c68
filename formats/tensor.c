#include "formats/tensor.h"

#include <string.h>

static void put_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void put(struct uc_hash *h, const char *tag, const void *p, size_t n)
{
    uint8_t len[8];

    put_le64(len, n);
    uc_hash_add(h, tag, strlen(tag) + 1);
    uc_hash_add(h, len, sizeof(len));
    uc_hash_add(h, p, n);
}

void uc_tensor_digest(const struct uc_tensor_info *t, const void *data, struct uc_digest *out)
{
    const char *dtype = uc_dtype_name(t->dtype);
    struct uc_hash *h = uc_hash_new();
    uint8_t shape[8 * UC_MAX_DIM];

    for (int i = 0; i < t->n_dim; i++)
        put_le64(shape + 8 * i, t->shape[i]);
    put(h, "dtype", dtype, strlen(dtype));
    put(h, "shape", shape, 8 * (size_t)t->n_dim);
    put(h, "data", data, t->size);
    uc_hash_end(h, out);
    uc_hash_free(h);
}

/* A type is NaN or infinite where all bits of mask are set in its top bytes. The blocks let the
 * compiler vectorize the search; only a block that has one is looked at element by element. */
#define FIND(name, type, mask)                                                                     \
    static int64_t name(const uint8_t *p, uint64_t n)                                              \
    {                                                                                              \
        for (uint64_t i = 0; i < n; i += 4096) {                                                   \
            uint64_t end = n - i < 4096 ? n : i + 4096;                                            \
            unsigned found = 0;                                                                    \
            for (uint64_t k = i; k < end; k++) {                                                   \
                type v;                                                                            \
                memcpy(&v, p + k * sizeof(v), sizeof(v));                                          \
                found |= (v & (mask)) == (mask);                                                   \
            }                                                                                      \
            for (uint64_t k = i; found && k < end; k++) {                                          \
                type v;                                                                            \
                memcpy(&v, p + k * sizeof(v), sizeof(v));                                          \
                if ((v & (mask)) == (mask))                                                        \
                    return (int64_t)k;                                                             \
            }                                                                                      \
        }                                                                                          \
        return -1;                                                                                 \
    }

FIND(find_f16, uint16_t, 0x7c00u)
FIND(find_bf16, uint16_t, 0x7f80u)
FIND(find_f32, uint32_t, 0x7f800000u)
FIND(find_f64, uint64_t, 0x7ff0000000000000u)

int64_t uc_tensor_not_finite(const struct uc_tensor_info *t, const void *data)
{
    switch (t->dtype) {
    case UC_DTYPE_F16:
        return find_f16(data, t->size / 2);
    case UC_DTYPE_BF16:
        return find_bf16(data, t->size / 2);
    case UC_DTYPE_F32:
        return find_f32(data, t->size / 4);
    case UC_DTYPE_F64:
        return find_f64(data, t->size / 8);
    default:
        return -1;
    }
}
