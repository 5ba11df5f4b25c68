/*
 * What a tensor is worth: its digest and whether its values are numbers.
 *
 * The digest of a tensor names its content wherever it lies: a checkpoint that was cut into other
 * shards or renamed has the same digests. It is the SHA-256 of three fields, each encoded as in
 * docs/cache.md: the tag and a NUL, the length of the bytes (8 bytes, little-endian), the bytes.
 *   "dtype"  the name that safetensors gives the element type ("BF16")
 *   "shape"  each dimension as 8 bytes, little-endian, in order; no bytes for a scalar
 *   "data"   the raw bytes as in the file
 * The tensor's own name is not part of it.
 */
#ifndef UC_FORMATS_TENSOR_H
#define UC_FORMATS_TENSOR_H

#include "base/digest.h"
#include "formats/safetensors.h"

/* data: t->size bytes. */
void uc_tensor_digest(const struct uc_tensor_info *t, const void *data, struct uc_digest *out);

/* Index of the first element that is NaN or infinite; -1 when there is none or the type has no such
 * values (integers) or is not checked here (8 bits and less). */
int64_t uc_tensor_not_finite(const struct uc_tensor_info *t, const void *data);

#endif
