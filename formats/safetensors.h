/*
 * safetensors files: 8-byte little-endian header length N, N bytes of JSON, data.
 * Reading is strict: sorted by begin the tensors must tile the data exactly (no hole, no overlap),
 * names are unique, sizes fit their shapes. Writing is canonical: equal tensors give equal bytes.
 * Source: github.com/huggingface/safetensors, the rules its reference reader enforces.
 */
#ifndef UC_FORMATS_SAFETENSORS_H
#define UC_FORMATS_SAFETENSORS_H

#include <jansson.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "base/fsio.h"

#define UC_MAX_DIM 8

struct uc_tensor_info {
    char *name;
    enum uc_dtype dtype;
    int n_dim;
    uint64_t shape[UC_MAX_DIM];
    uint64_t offset; /* from the start of the file */
    uint64_t size;   /* bytes */
};

struct uc_st {
    struct uc_map map;              /* data of tensor t: map.data + t->offset, valid until close */
    struct uc_tensor_info *tensors; /* in data order */
    size_t n_tensors;
    size_t *by_name;  /* indices into tensors, sorted by name */
    json_t *metadata; /* string to string, or NULL */
};

/* Parses a header from memory: head[0..n) are the first bytes of a file of file_size bytes (n may
 * be less than the file). Used by fuzzing and ranged reads. On failure nothing is held.
 * A header that lies or is malformed is UC_EREFUSED; messages start with what (the file). */
int uc_st_parse(struct uc_st *st, const uint8_t *head, size_t n, uint64_t file_size,
                const char *what, struct uc_err *err);
int uc_st_open(struct uc_st *st, const char *path, struct uc_err *err);
void uc_st_close(struct uc_st *st);
/* NULL when absent. Borrowed. */
const struct uc_tensor_info *uc_st_find(const struct uc_st *st, const char *name);

/* All tensors of a model folder: model.safetensors, or (when there is none) the shards of
 * model.safetensors.index.json, checked both ways: every listed tensor is in its shard, every shard
 * tensor is listed. tensors[i].file tells in which st[] a tensor lies; sorted by name. */
struct uc_st_set {
    struct uc_st *st;
    char **paths;
    size_t n_files;
    struct uc_st_entry {
        const struct uc_tensor_info *info;
        size_t file;
    } * tensors;
    size_t n_tensors;
};
int uc_st_set_open(struct uc_st_set *set, const char *dir, struct uc_err *err);
void uc_st_set_close(struct uc_st_set *set);
const struct uc_st_entry *uc_st_set_find(const struct uc_st_set *set, const char *name);

/* Writer: first declare every tensor, then give their bytes in the writer's own order. */
struct uc_st_writer;
struct uc_st_writer *uc_st_writer_new(void);
void uc_st_writer_free(struct uc_st_writer *w);
/* Metadata entry; "format": "pt" is always there. */
void uc_st_writer_meta(struct uc_st_writer *w, const char *name, const char *value);
void uc_st_writer_add(struct uc_st_writer *w, const char *name, enum uc_dtype dtype, int n_dim,
                      const uint64_t *shape);
enum uc_st_order {
    UC_ST_BY_ALIGNMENT, /* widest dtype first, then by name: as the reference writer orders */
    UC_ST_BY_NAME,
};
/* Fixes the order and gives the header's bytes (with the length field); caller frees *head. */
int uc_st_writer_header(struct uc_st_writer *w, enum uc_st_order order, char **head, size_t *n,
                        struct uc_err *err);
/* After uc_st_writer_header: tensors in file order. Borrowed. */
size_t uc_st_writer_count(const struct uc_st_writer *w);
const struct uc_tensor_info *uc_st_writer_tensor(const struct uc_st_writer *w, size_t i);

#endif
