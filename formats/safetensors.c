#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

#define MAX_HEADER 100000000u

static uint64_t read_u64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* Length of the JSON text after the padding is taken off, or a negative code. */
static int64_t header_text(const uint8_t *head, size_t n, uint64_t file_size, const char *what,
                           struct uc_err *err)
{
    uint64_t len;

    if (file_size < 8 || n < 8)
        return uc_fail(err, UC_EREFUSED, "%s: %llu bytes, too short for a safetensors file", what,
                       (unsigned long long)file_size);
    len = read_u64(head);
    if (len > MAX_HEADER)
        return uc_fail(err, UC_EREFUSED,
                       "%s: header says it has %llu bytes, at most %u are allowed", what,
                       (unsigned long long)len, MAX_HEADER);
    if (len > file_size - 8)
        return uc_fail(err, UC_EREFUSED, "%s: header says it has %llu bytes, the file has %llu",
                       what, (unsigned long long)len, (unsigned long long)file_size);
    if (len > n - 8)
        return uc_fail(err, UC_EREFUSED, "%s: only %zu of %llu header bytes are there", what, n - 8,
                       (unsigned long long)len);
    if (len < 2 || head[8] != '{')
        return uc_fail(err, UC_EREFUSED, "%s: header does not start with '{'", what);
    while (head[8 + len - 1] == ' ')
        len--;
    if (head[8 + len - 1] != '}')
        return uc_fail(err, UC_EREFUSED,
                       "%s: header does not end with '}' and spaces (other bytes follow)", what);
    return (int64_t)len;
}

static int check_metadata(const json_t *meta, const char *what, struct uc_err *err)
{
    const char *key;
    json_t *v;

    if (!json_is_object(meta))
        return uc_fail(err, UC_EREFUSED, "%s: __metadata__ is not an object", what);
    json_object_foreach((json_t *)meta, key, v) if (!json_is_string(v)) return uc_fail(
        err, UC_EREFUSED, "%s: __metadata__ \"%s\" is not a string", what, key);
    return 0;
}

/* Any byte of a name may end up in a terminal or a path: control characters are not names. */
static int check_name(const char *name, const char *what, struct uc_err *err)
{
    if (!*name)
        return uc_fail(err, UC_EREFUSED, "%s: a tensor has an empty name", what);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return uc_fail(err, UC_EREFUSED, "%s: a tensor's name has control characters", what);
    return 0;
}

static int read_shape(struct uc_tensor_info *t, const json_t *shape, const char *what,
                      struct uc_err *err)
{
    uint64_t bits = uc_dtype_bits(t->dtype);

    if (!json_is_array(shape))
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: no shape", what, t->name);
    if (json_array_size(shape) > UC_MAX_DIM)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: %zu dimensions, at most %d are read", what,
                       t->name, json_array_size(shape), UC_MAX_DIM);
    t->n_dim = (int)json_array_size(shape);
    for (int i = 0; i < t->n_dim; i++) {
        const json_t *d = json_array_get(shape, (size_t)i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s: dimension %d is not a size", what,
                           t->name, i);
        t->shape[i] = (uint64_t)json_integer_value(d);
        if (__builtin_mul_overflow(bits, t->shape[i], &bits))
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s: the product of its shape overflows",
                           what, t->name);
    }
    if (bits % 8)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: %llu bits are not whole bytes", what,
                       t->name, (unsigned long long)bits);
    t->size = bits / 8;
    return 0;
}

static int read_offsets(struct uc_tensor_info *t, const json_t *off, uint64_t data_size,
                        const char *what, struct uc_err *err)
{
    const json_t *b = json_array_get(off, 0), *e = json_array_get(off, 1);
    uint64_t begin, end;

    if (json_array_size(off) != 2 || !json_is_integer(b) || !json_is_integer(e) ||
        json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b))
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: data_offsets are not [begin, end]", what,
                       t->name);
    begin = (uint64_t)json_integer_value(b);
    end = (uint64_t)json_integer_value(e);
    if (end > data_size)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: ends at byte %llu of %llu data bytes",
                       what, t->name, (unsigned long long)end, (unsigned long long)data_size);
    if (end - begin != t->size)
        return uc_fail(err, UC_EREFUSED,
                       "%s: tensor %s: data_offsets hold %llu bytes, %s and its shape need %llu",
                       what, t->name, (unsigned long long)(end - begin), uc_dtype_name(t->dtype),
                       (unsigned long long)t->size);
    t->offset = begin;
    return 0;
}

static int read_tensor(struct uc_tensor_info *t, const char *name, const json_t *v,
                       uint64_t data_size, const char *what, struct uc_err *err)
{
    const char *dtype = uc_json_str(v, "dtype", NULL), *key;
    json_t *member;
    int rc = check_name(name, what, err), parsed;

    if (rc < 0)
        return rc;
    t->name = uc_xstrdup(name);
    if (!json_is_object(v))
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: not an object", what, name);
    json_object_foreach(
        (json_t *)v, key,
        member) if (strcmp(key, "dtype") && strcmp(key, "shape") &&
                    strcmp(key,
                           "data_offsets")) return uc_fail(err, UC_EREFUSED,
                                                           "%s: tensor %s: unknown field \"%s\"",
                                                           what, name, key);
    if (!dtype)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: no dtype", what, name);
    parsed = uc_dtype_parse(dtype);
    if (parsed < 0)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: unknown dtype \"%s\"", what, name, dtype);
    t->dtype = (enum uc_dtype)parsed;
    rc = read_shape(t, json_object_get(v, "shape"), what, err);
    if (rc == 0)
        rc = read_offsets(t, json_object_get(v, "data_offsets"), data_size, what, err);
    return rc;
}

static int by_offset(const void *pa, const void *pb)
{
    const struct uc_tensor_info *a = pa, *b = pb;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* In data order the tensors must tile the data exactly. */
static int check_tiling(const struct uc_st *st, uint64_t data_size, const char *what,
                        struct uc_err *err)
{
    uint64_t end = 0;

    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct uc_tensor_info *t = &st->tensors[i];
        if (t->offset < end)
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s overlaps the one before it (%s)", what,
                           t->name, st->tensors[i - 1].name);
        if (t->offset > end)
            return uc_fail(err, UC_EREFUSED, "%s: %llu bytes before tensor %s belong to no tensor",
                           what, (unsigned long long)(t->offset - end), t->name);
        end = t->offset + t->size;
    }
    if (end != data_size)
        return uc_fail(err, UC_EREFUSED, "%s: the last %llu data bytes belong to no tensor", what,
                       (unsigned long long)(data_size - end));
    return 0;
}

static int by_name(const void *pa, const void *pb, void *arg)
{
    const struct uc_tensor_info *t = arg;

    return strcmp(t[*(const size_t *)pa].name, t[*(const size_t *)pb].name);
}

static int index_names(struct uc_st *st, const char *what, struct uc_err *err)
{
    st->by_name = calloc(st->n_tensors + 1, sizeof(*st->by_name));
    if (!st->by_name)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu tensors", what, st->n_tensors);
    for (size_t i = 0; i < st->n_tensors; i++)
        st->by_name[i] = i;
    qsort_r(st->by_name, st->n_tensors, sizeof(*st->by_name), by_name, st->tensors);
    return 0;
}

static int read_header(struct uc_st *st, json_t *root, uint64_t data_start, uint64_t data_size,
                       const char *what, struct uc_err *err)
{
    const char *key;
    json_t *v;
    int rc = 0;

    if (!json_is_object(root))
        return uc_fail(err, UC_EREFUSED, "%s: header is not a JSON object", what);
    st->tensors = calloc(json_object_size(root) + 1, sizeof(*st->tensors));
    if (!st->tensors)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu tensors", what,
                       json_object_size(root));
    json_object_foreach(root, key, v)
    {
        if (strcmp(key, "__metadata__") == 0) {
            rc = check_metadata(v, what, err);
            if (rc == 0)
                st->metadata = json_incref(v);
        } else {
            rc = read_tensor(&st->tensors[st->n_tensors++], key, v, data_size, what, err);
        }
        if (rc < 0)
            return rc;
    }
    qsort(st->tensors, st->n_tensors, sizeof(*st->tensors), by_offset);
    rc = check_tiling(st, data_size, what, err);
    for (size_t i = 0; i < st->n_tensors; i++)
        st->tensors[i].offset += data_start;
    return rc < 0 ? rc : index_names(st, what, err);
}

static void release(struct uc_st *st)
{
    for (size_t i = 0; i < st->n_tensors; i++)
        free(st->tensors[i].name);
    free(st->tensors);
    free(st->by_name);
    json_decref(st->metadata);
    st->tensors = NULL;
    st->by_name = NULL;
    st->metadata = NULL;
    st->n_tensors = 0;
}

static int unsound(struct uc_err *err, int rc)
{
    if (rc == UC_EREFUSED)
        uc_fix(err, "get the file again: it is damaged, or it is not a safetensors file");
    return rc;
}

int uc_st_parse(struct uc_st *st, const uint8_t *head, size_t n, uint64_t file_size,
                const char *what, struct uc_err *err)
{
    struct uc_map none = {.fd = -1};
    struct uc_err je = {0};
    uint64_t data_start;
    json_t *root;
    int64_t len;
    int rc;

    memset(st, 0, sizeof(*st));
    st->map = none;
    len = header_text(head, n, file_size, what, err);
    if (len < 0)
        return unsound(err, (int)len);
    root = uc_json_parse((const char *)head + 8, (size_t)len, what, &je);
    if (!root)
        return unsound(err, uc_fail(err, UC_EREFUSED, "safetensors header of %s", je.msg));
    data_start = 8 + read_u64(head);
    rc = read_header(st, root, data_start, file_size - data_start, what, err);
    json_decref(root);
    if (rc < 0)
        release(st);
    return rc < 0 ? unsound(err, rc) : 0;
}

int uc_st_open(struct uc_st *st, const char *path, struct uc_err *err)
{
    struct uc_map map;
    int rc;

    memset(st, 0, sizeof(*st));
    st->map.fd = -1;
    rc = uc_map_open(&map, path, err);
    if (rc < 0)
        return rc;
    rc = uc_st_parse(st, map.data, map.size, map.size, path, err);
    if (rc < 0)
        uc_map_close(&map);
    else
        st->map = map;
    return rc;
}

void uc_st_close(struct uc_st *st)
{
    release(st);
    uc_map_close(&st->map);
}

const struct uc_tensor_info *uc_st_find(const struct uc_st *st, const char *name)
{
    size_t lo = 0, hi = st->n_tensors;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct uc_tensor_info *t = &st->tensors[st->by_name[mid]];
        int c = strcmp(name, t->name);
        if (c == 0)
            return t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}
