/*
 * GGUF files, versions 2 and 3 (little-endian): key-value pairs, tensor infos, aligned data.
 * Reading is strict: every length and offset is checked against the file, names are unique, tensors
 * do not overlap. Source: github.com/ggml-org/ggml, docs/gguf.md.
 */
#ifndef UC_FORMATS_GGUF_H
#define UC_FORMATS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/fsio.h"

/* Types of values. */
enum uc_gguf_kind {
    UC_GGUF_U8,
    UC_GGUF_I8,
    UC_GGUF_U16,
    UC_GGUF_I16,
    UC_GGUF_U32,
    UC_GGUF_I32,
    UC_GGUF_F32,
    UC_GGUF_BOOL,
    UC_GGUF_STRING,
    UC_GGUF_ARRAY,
    UC_GGUF_U64,
    UC_GGUF_I64,
    UC_GGUF_F64,
    UC_GGUF_KINDS,
};

struct uc_gguf_kv {
    char *key;
    enum uc_gguf_kind kind, item; /* item: of an array's elements */
    uint64_t n;                   /* elements of an array; else 1 */
    const uint8_t *data;          /* the first value, in the file */
};

struct uc_gguf_tensor {
    char *name;
    uint32_t type; /* ggml's number */
    int n_dim;
    uint64_t dims[4]; /* fastest first: the reverse of safetensors' shape */
    uint64_t n_elem;
    uint64_t offset, size; /* bytes; offset from the start of the file */
};

struct uc_gguf {
    struct uc_map map; /* uc_gguf_open only */
    const uint8_t *file;
    uint32_t version;
    struct uc_gguf_kv *kvs; /* in file order */
    size_t n_kvs;
    struct uc_gguf_tensor *tensors; /* sorted by name */
    size_t n_tensors;
};

/* A whole file in memory, which must outlive g. On failure nothing is held. Malformed files are
 * UC_EREFUSED; messages start with what. */
int uc_gguf_parse(struct uc_gguf *g, const uint8_t *file, uint64_t size, const char *what,
                  struct uc_err *err);
int uc_gguf_open(struct uc_gguf *g, const char *path, struct uc_err *err);
void uc_gguf_close(struct uc_gguf *g);

/* NULL when absent. */
const struct uc_gguf_kv *uc_gguf_find(const struct uc_gguf *g, const char *key);
const struct uc_gguf_tensor *uc_gguf_tensor(const struct uc_gguf *g, const char *name);
/* Values of a key; false when it is absent or of another kind (any integer kind, any float kind).
 */
bool uc_gguf_int(const struct uc_gguf *g, const char *key, int64_t *out);
bool uc_gguf_real(const struct uc_gguf *g, const char *key, double *out);
bool uc_gguf_bool(const struct uc_gguf *g, const char *key, bool *out);
/* Not NUL-terminated; *s points into the file. */
bool uc_gguf_string(const struct uc_gguf *g, const char *key, const char **s, size_t *n);

/* Elements of an array in order. */
struct uc_gguf_iter {
    const uint8_t *at;
    uint64_t left;
    enum uc_gguf_kind kind;
};
/* false: no such array of that kind (UC_GGUF_I64 stands for any integer kind). */
bool uc_gguf_iter_init(struct uc_gguf_iter *it, const struct uc_gguf *g, const char *key,
                       enum uc_gguf_kind kind);
bool uc_gguf_next_string(struct uc_gguf_iter *it, const char **s, size_t *n);
bool uc_gguf_next_int(struct uc_gguf_iter *it, int64_t *out);

/* "Q4_K"; NULL for a number that is not known. */
const char *uc_gguf_type_name(uint32_t type);
/* Elements of a block and its bytes; rows are whole blocks. */
void uc_gguf_type_block(uint32_t type, uint32_t *n_elem, uint32_t *n_bytes);
/* F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q2_K to Q6_K. */
bool uc_gguf_can_dequantize(uint32_t type);
/* n elements, a multiple of the block; the same bits as the Python package `gguf` gives. */
void uc_gguf_dequantize(uint32_t type, const uint8_t *src, size_t n, float *dst);

struct uc_gguf_import {
    size_t n_tensors;
    uint64_t n_weights;
    uint64_t file_bytes;          /* of model.safetensors */
    struct uc_digest file_digest; /* its SHA-256 */
};

/*
 * Makes an ordinary Hugging Face folder of a GGUF file: model.safetensors (all tensors dequantized
 * and rounded to bf16, ties to even, sorted by name), config.json, generation_config.json,
 * tokenizer.json, tokenizer_config.json. Architecture "llama" with a byte-level BPE tokenizer;
 * others are UC_EREFUSED. The rows of q and k are put back from the interleaved order of the rotary
 * embedding to the half-split one. dst must not exist (UC_EUSAGE); it appears whole or not at all.
 * info may be NULL.
 */
int uc_gguf_import(const char *src, const char *dst, struct uc_gguf_import *info,
                   struct uc_err *err);

#endif
