#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/safetensors.h"

struct uc_st_writer {
    struct uc_tensor_info *tensors;
    size_t n, cap;
    json_t *meta;
};

struct uc_st_writer *uc_st_writer_new(void)
{
    struct uc_st_writer *w = uc_xcalloc(1, sizeof(*w));

    w->meta = json_object();
    uc_st_writer_meta(w, "format", "pt");
    return w;
}

void uc_st_writer_free(struct uc_st_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        free(w->tensors[i].name);
    free(w->tensors);
    json_decref(w->meta);
    free(w);
}

void uc_st_writer_meta(struct uc_st_writer *w, const char *name, const char *value)
{
    json_object_set_new(w->meta, name, json_string(value));
}

void uc_st_writer_add(struct uc_st_writer *w, const char *name, enum uc_dtype dtype, int n_dim,
                      const uint64_t *shape)
{
    struct uc_tensor_info *t;

    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->tensors = uc_xrealloc(w->tensors, w->cap * sizeof(*w->tensors));
    }
    t = &w->tensors[w->n++];
    memset(t, 0, sizeof(*t));
    t->name = uc_xstrdup(name);
    t->dtype = dtype;
    t->n_dim = n_dim;
    for (int i = 0; i < n_dim && i < UC_MAX_DIM; i++)
        t->shape[i] = shape[i];
}

static int by_name(const void *pa, const void *pb)
{
    const struct uc_tensor_info *a = pa, *b = pb;

    return strcmp(a->name, b->name);
}

static int by_alignment(const void *pa, const void *pb)
{
    const struct uc_tensor_info *a = pa, *b = pb;

    /* enum uc_dtype is in the reference's order of alignment */
    if (a->dtype != b->dtype)
        return a->dtype > b->dtype ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int set_sizes(struct uc_st_writer *w, struct uc_err *err)
{
    uint64_t offset = 0;

    for (size_t i = 0; i < w->n; i++) {
        struct uc_tensor_info *t = &w->tensors[i];
        uint64_t bits = uc_dtype_bits(t->dtype);
        if (t->n_dim < 0 || t->n_dim > UC_MAX_DIM)
            return uc_fail(err, UC_EFAIL, "tensor %s: %d dimensions, at most %d are written",
                           t->name, t->n_dim, UC_MAX_DIM);
        for (int d = 0; d < t->n_dim; d++)
            if (__builtin_mul_overflow(bits, t->shape[d], &bits))
                return uc_fail(err, UC_EFAIL, "tensor %s: shape overflows", t->name);
        if (bits % 8)
            return uc_fail(err, UC_EFAIL, "tensor %s: not a whole number of bytes", t->name);
        t->size = bits / 8;
        t->offset = offset;
        if (__builtin_add_overflow(offset, t->size, &offset))
            return uc_fail(err, UC_EFAIL, "tensor %s: the file's size overflows", t->name);
    }
    return 0;
}

static int check_names(const struct uc_st_writer *w, struct uc_err *err)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->tensors[i].name, "__metadata__") == 0)
            return uc_fail(err, UC_EFAIL, "__metadata__ is not a tensor's name");
    for (size_t i = 1; i < w->n; i++)
        if (strcmp(w->tensors[i - 1].name, w->tensors[i].name) == 0)
            return uc_fail(err, UC_EFAIL, "tensor %s is declared twice", w->tensors[i].name);
    return 0;
}

static void add_json(struct uc_buf *b, const json_t *v)
{
    char *s = uc_json_canonical(v);

    uc_buf_adds(b, s);
    free(s);
}

static void add_tensor(struct uc_buf *b, const struct uc_tensor_info *t)
{
    json_t *name = json_string(t->name);

    uc_buf_addc(b, ',');
    add_json(b, name);
    json_decref(name);
    uc_buf_addf(b, ":{\"dtype\":\"%s\",\"shape\":[", uc_dtype_name(t->dtype));
    for (int d = 0; d < t->n_dim; d++)
        uc_buf_addf(b, "%s%llu", d ? "," : "", (unsigned long long)t->shape[d]);
    uc_buf_addf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->offset,
                (unsigned long long)(t->offset + t->size));
}

int uc_st_writer_header(struct uc_st_writer *w, enum uc_st_order order, char **head, size_t *n,
                        struct uc_err *err)
{
    struct uc_buf b;
    int rc;

    *head = NULL;
    *n = 0;
    qsort(w->tensors, w->n, sizeof(*w->tensors), by_name);
    rc = check_names(w, err);
    if (rc < 0)
        return rc;
    if (order == UC_ST_BY_ALIGNMENT)
        qsort(w->tensors, w->n, sizeof(*w->tensors), by_alignment);
    rc = set_sizes(w, err);
    if (rc < 0)
        return rc;
    uc_buf_init(&b, 100000008);
    uc_buf_add_u64(&b, 0);
    uc_buf_adds(&b, "{\"__metadata__\":");
    add_json(&b, w->meta);
    for (size_t i = 0; i < w->n; i++)
        add_tensor(&b, &w->tensors[i]);
    uc_buf_addc(&b, '}');
    while (b.len % 8)
        uc_buf_addc(&b, ' ');
    rc = uc_buf_check(&b, "safetensors header", err);
    if (rc == 0) {
        for (int i = 0; i < 8; i++)
            b.data[i] = (uint8_t)((uint64_t)(b.len - 8) >> (8 * i));
        for (size_t i = 0; i < w->n; i++)
            w->tensors[i].offset += b.len;
        *head = uc_buf_take(&b, n);
    }
    uc_buf_release(&b);
    return rc;
}

size_t uc_st_writer_count(const struct uc_st_writer *w)
{
    return w->n;
}

const struct uc_tensor_info *uc_st_writer_tensor(const struct uc_st_writer *w, size_t i)
{
    return &w->tensors[i];
}
