#include "formats/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define MAX_KEY     65535
#define MAX_NAME    64
#define MAX_NESTING 4

static const struct {
    const char *name;
    uint32_t n_elem, n_bytes;
} types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 40},      [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},
};

static const uint8_t kind_bytes[UC_GGUF_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

const char *uc_gguf_type_name(uint32_t type)
{
    return type < UC_COUNT(types) ? types[type].name : NULL;
}

void uc_gguf_type_block(uint32_t type, uint32_t *n_elem, uint32_t *n_bytes)
{
    *n_elem = types[type].n_elem;
    *n_bytes = types[type].n_bytes;
}

/* ---- reading with bounds ---- */

struct reader {
    const uint8_t *file;
    uint64_t size, at;
    const char *what;
    struct uc_err *err;
};

static uint64_t le(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n--)
        v = v << 8 | p[n];
    return v;
}

static int ends_early(const struct reader *r)
{
    return uc_fail(r->err, UC_EREFUSED,
                   "%s: the header goes on past the end of the file (byte %llu)", r->what,
                   (unsigned long long)r->at);
}

/* An unsigned integer of n bytes. */
static int take(struct reader *r, unsigned n, uint64_t *out)
{
    *out = 0;
    if (r->size - r->at < n)
        return ends_early(r);
    *out = le(r->file + r->at, n);
    r->at += n;
    return 0;
}

static int take_string(struct reader *r, const char **s, uint64_t *n)
{
    int rc = take(r, 8, n);

    *s = "";
    if (rc < 0)
        return rc;
    if (*n > r->size - r->at)
        return ends_early(r);
    *s = (const char *)r->file + r->at;
    r->at += *n;
    return 0;
}

static int skip_values(struct reader *r, enum uc_gguf_kind kind, uint64_t n, int depth);

static int skip_array(struct reader *r, int depth)
{
    uint64_t kind, n = 0;
    int rc = take(r, 4, &kind);

    if (rc == 0)
        rc = take(r, 8, &n);
    if (rc < 0)
        return rc;
    if (kind >= UC_GGUF_KINDS || depth > MAX_NESTING)
        return uc_fail(r->err, UC_EREFUSED, "%s: array of unknown kind %llu", r->what,
                       (unsigned long long)kind);
    return skip_values(r, (enum uc_gguf_kind)kind, n, depth);
}

static int skip_values(struct reader *r, enum uc_gguf_kind kind, uint64_t n, int depth)
{
    const char *s;
    uint64_t len;
    int rc = 0;

    if (kind_bytes[kind]) {
        if (n > (r->size - r->at) / kind_bytes[kind])
            return ends_early(r);
        r->at += n * kind_bytes[kind];
        return 0;
    }
    if (n > (r->size - r->at) / 8)
        return ends_early(r);
    for (uint64_t i = 0; i < n && rc == 0; i++)
        rc = kind == UC_GGUF_STRING ? take_string(r, &s, &len) : skip_array(r, depth + 1);
    return rc;
}

/* A copy of a name that may be printed and compared as a C string. */
static int take_name(struct reader *r, uint64_t max, const char *sort, char **out)
{
    const char *s;
    uint64_t n;
    int rc = take_string(r, &s, &n);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (n == 0 || n > max || memchr(s, 0, n) || uc_utf8_valid((const uint8_t *)s, n) != n)
        return uc_fail(r->err, UC_EREFUSED, "%s: a %s's name is not 1 to %llu bytes of text",
                       r->what, sort, (unsigned long long)max);
    *out = uc_xstrndup(s, n);
    return 0;
}

static int read_kv(struct reader *r, struct uc_gguf_kv *kv)
{
    uint64_t kind = 0, item = 0;
    int rc = take_name(r, MAX_KEY, "key", &kv->key);

    if (rc == 0)
        rc = take(r, 4, &kind);
    if (rc < 0)
        return rc;
    if (kind >= UC_GGUF_KINDS)
        return uc_fail(r->err, UC_EREFUSED, "%s: key %s: kind %llu is not known", r->what, kv->key,
                       (unsigned long long)kind);
    kv->kind = kv->item = (enum uc_gguf_kind)kind;
    kv->n = 1;
    if (kind == UC_GGUF_ARRAY) {
        rc = take(r, 4, &item);
        if (rc == 0)
            rc = take(r, 8, &kv->n);
        if (rc == 0 && item >= UC_GGUF_KINDS)
            rc = uc_fail(r->err, UC_EREFUSED, "%s: key %s: array of unknown kind %llu", r->what,
                         kv->key, (unsigned long long)item);
        if (rc < 0)
            return rc;
        kv->item = (enum uc_gguf_kind)item;
    }
    kv->data = r->file + r->at;
    rc = skip_values(r, kv->item, kv->n, 0);
    return rc < 0 ? uc_within(r->err, "key %s", kv->key) : 0;
}

static int read_dims(struct reader *r, struct uc_gguf_tensor *t)
{
    uint64_t v;
    int rc = take(r, 4, &v);

    if (rc < 0)
        return rc;
    if (v < 1 || v > 4)
        return uc_fail(r->err, UC_EREFUSED, "%s: tensor %s: %llu dimensions, 1 to 4 are allowed",
                       r->what, t->name, (unsigned long long)v);
    t->n_dim = (int)v;
    t->n_elem = 1;
    for (int i = 0; i < t->n_dim; i++) {
        rc = take(r, 8, &t->dims[i]);
        if (rc < 0)
            return rc;
        if (t->dims[i] == 0 || __builtin_mul_overflow(t->n_elem, t->dims[i], &t->n_elem) ||
            t->n_elem > (uint64_t)1 << 48)
            return uc_fail(r->err, UC_EREFUSED, "%s: tensor %s: its dimensions are not sensible",
                           r->what, t->name);
    }
    return 0;
}

static int read_tensor(struct reader *r, struct uc_gguf_tensor *t)
{
    uint64_t type = 0;
    int rc = take_name(r, MAX_NAME, "tensor", &t->name);

    if (rc == 0)
        rc = read_dims(r, t);
    if (rc == 0)
        rc = take(r, 4, &type);
    if (rc == 0)
        rc = take(r, 8, &t->offset);
    if (rc < 0)
        return rc;
    if (type >= UC_COUNT(types) || !types[type].name)
        return uc_fail(r->err, UC_EREFUSED, "%s: tensor %s: type %llu is not known", r->what,
                       t->name, (unsigned long long)type);
    t->type = (uint32_t)type;
    if (t->dims[0] % types[type].n_elem)
        return uc_fail(r->err, UC_EREFUSED,
                       "%s: tensor %s: rows of %llu elements are not whole blocks of %s", r->what,
                       t->name, (unsigned long long)t->dims[0], types[type].name);
    t->size = t->n_elem / types[type].n_elem * types[type].n_bytes;
    return 0;
}

/* ---- checks over the whole file ---- */

static int by_key(const void *pa, const void *pb)
{
    return strcmp((*(const struct uc_gguf_kv *const *)pa)->key,
                  (*(const struct uc_gguf_kv *const *)pb)->key);
}

static int check_keys(const struct uc_gguf *g, const char *what, struct uc_err *err)
{
    const struct uc_gguf_kv **v = uc_xcalloc(g->n_kvs + 1, sizeof(*v));
    int rc = 0;

    for (size_t i = 0; i < g->n_kvs; i++)
        v[i] = &g->kvs[i];
    qsort(v, g->n_kvs, sizeof(*v), by_key);
    for (size_t i = 1; i < g->n_kvs && rc == 0; i++)
        if (strcmp(v[i - 1]->key, v[i]->key) == 0)
            rc = uc_fail(err, UC_EREFUSED, "%s: key %s is there twice", what, v[i]->key);
    free(v);
    return rc;
}

static int by_offset(const void *pa, const void *pb)
{
    const struct uc_gguf_tensor *a = pa, *b = pb;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_name(const void *pa, const void *pb)
{
    const struct uc_gguf_tensor *a = pa, *b = pb;

    return strcmp(a->name, b->name);
}

/* Turns offsets into the data into offsets into the file, and sorts by name. */
static int place_tensors(struct uc_gguf *g, const struct reader *r, uint64_t align)
{
    uint64_t start = (r->at + align - 1) / align * align, end = start;

    for (size_t i = 0; i < g->n_tensors; i++) {
        struct uc_gguf_tensor *t = &g->tensors[i];
        if (t->offset % align)
            return uc_fail(r->err, UC_EREFUSED,
                           "%s: tensor %s: offset %llu is not a multiple of %llu", r->what, t->name,
                           (unsigned long long)t->offset, (unsigned long long)align);
        if (start > r->size || t->offset > r->size - start || t->size > r->size - start - t->offset)
            return uc_fail(r->err, UC_EREFUSED,
                           "%s: tensor %s: its data goes past the end of the file", r->what,
                           t->name);
        t->offset += start;
    }
    qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), by_offset);
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].offset < end)
            return uc_fail(r->err, UC_EREFUSED, "%s: tensor %s overlaps tensor %s", r->what,
                           g->tensors[i].name, g->tensors[i - 1].name);
        end = g->tensors[i].offset + g->tensors[i].size;
    }
    qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (strcmp(g->tensors[i - 1].name, g->tensors[i].name) == 0)
            return uc_fail(r->err, UC_EREFUSED, "%s: tensor %s is there twice", r->what,
                           g->tensors[i].name);
    return 0;
}

static int read_start(struct reader *r, struct uc_gguf *g, uint64_t *n_tensors, uint64_t *n_kvs)
{
    uint64_t v = 0;
    int rc;

    if (r->size < 24 || memcmp(r->file, "GGUF", 4))
        return uc_fail(r->err, UC_EREFUSED, "%s: not a GGUF file", r->what);
    r->at = 4;
    rc = take(r, 4, &v);
    if (rc == 0 && v != 2 && v != 3)
        rc = uc_fail(r->err, UC_EREFUSED, "%s: GGUF version %llu%s; versions 2 and 3 are read",
                     r->what, (unsigned long long)v, v >> 16 ? " (a big-endian file?)" : "");
    g->version = (uint32_t)v;
    if (rc == 0)
        rc = take(r, 8, n_tensors);
    if (rc == 0)
        rc = take(r, 8, n_kvs);
    /* a key takes 14 bytes at least, a tensor 33: larger counts would only waste memory */
    if (rc == 0 && (*n_kvs > r->size / 14 || *n_tensors > r->size / 33))
        rc = ends_early(r);
    return rc;
}

static int read_all(struct reader *r, struct uc_gguf *g)
{
    uint64_t n_tensors = 0, n_kvs = 0;
    int64_t align = 32;
    int rc = read_start(r, g, &n_tensors, &n_kvs);

    if (rc < 0)
        return rc;
    g->kvs = calloc(n_kvs + 1, sizeof(*g->kvs));
    g->tensors = calloc(n_tensors + 1, sizeof(*g->tensors));
    if (!g->kvs || !g->tensors)
        return uc_fail(r->err, UC_ERESOURCE, "%s: no memory for its header", r->what);
    while (g->n_kvs < n_kvs && rc == 0)
        rc = read_kv(r, &g->kvs[g->n_kvs++]);
    while (g->n_tensors < n_tensors && rc == 0)
        rc = read_tensor(r, &g->tensors[g->n_tensors++]);
    if (rc == 0)
        rc = check_keys(g, r->what, r->err);
    if (rc < 0)
        return rc;
    if (uc_gguf_find(g, "general.alignment") &&
        (!uc_gguf_int(g, "general.alignment", &align) || align < 1 || align > 1 << 20 ||
         (align & (align - 1))))
        return uc_fail(r->err, UC_EREFUSED, "%s: general.alignment is not a power of two", r->what);
    return place_tensors(g, r, (uint64_t)align);
}

int uc_gguf_parse(struct uc_gguf *g, const uint8_t *file, uint64_t size, const char *what,
                  struct uc_err *err)
{
    struct uc_err scratch;
    struct reader r = {file, size, 0, what, err ? err : &scratch};
    int rc;

    memset(g, 0, sizeof(*g));
    g->map.fd = -1;
    g->file = file;
    rc = read_all(&r, g);
    if (rc == UC_EREFUSED)
        uc_fix(
            err,
            "get the file again: it is damaged, cut short, or not a GGUF file of version 2 or 3");
    if (rc < 0)
        uc_gguf_close(g);
    return rc;
}

int uc_gguf_open(struct uc_gguf *g, const char *path, struct uc_err *err)
{
    struct uc_map map;
    int rc;

    memset(g, 0, sizeof(*g));
    g->map.fd = -1;
    rc = uc_map_open(&map, path, err);
    if (rc < 0)
        return rc;
    rc = uc_gguf_parse(g, map.data, map.size, path, err);
    if (rc < 0)
        uc_map_close(&map);
    else
        g->map = map;
    return rc;
}

void uc_gguf_close(struct uc_gguf *g)
{
    for (size_t i = 0; i < g->n_kvs; i++)
        free(g->kvs[i].key);
    for (size_t i = 0; i < g->n_tensors; i++)
        free(g->tensors[i].name);
    free(g->kvs);
    free(g->tensors);
    uc_map_close(&g->map);
    memset(g, 0, sizeof(*g));
    g->map.fd = -1;
}

/* ---- values ---- */

const struct uc_gguf_kv *uc_gguf_find(const struct uc_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_kvs; i++)
        if (strcmp(g->kvs[i].key, key) == 0)
            return &g->kvs[i];
    return NULL;
}

const struct uc_gguf_tensor *uc_gguf_tensor(const struct uc_gguf *g, const char *name)
{
    const struct uc_gguf_tensor key = {.name = (char *)name};

    return g->n_tensors ? bsearch(&key, g->tensors, g->n_tensors, sizeof(key), by_name) : NULL;
}

static bool is_int(enum uc_gguf_kind k)
{
    return k <= UC_GGUF_I32 || k == UC_GGUF_U64 || k == UC_GGUF_I64;
}

static int64_t int_value(enum uc_gguf_kind kind, const uint8_t *p)
{
    switch (kind) {
    case UC_GGUF_I8:
        return (int8_t)p[0];
    case UC_GGUF_I16:
        return (int16_t)le(p, 2);
    case UC_GGUF_I32:
        return (int32_t)le(p, 4);
    default:
        return (int64_t)le(p, kind_bytes[kind]);
    }
}

bool uc_gguf_int(const struct uc_gguf *g, const char *key, int64_t *out)
{
    const struct uc_gguf_kv *kv = uc_gguf_find(g, key);

    if (!kv || !is_int(kv->kind))
        return false;
    *out = int_value(kv->kind, kv->data);
    return true;
}

bool uc_gguf_real(const struct uc_gguf *g, const char *key, double *out)
{
    const struct uc_gguf_kv *kv = uc_gguf_find(g, key);
    uint64_t bits;
    uint32_t half;
    float f;

    if (!kv || (kv->kind != UC_GGUF_F32 && kv->kind != UC_GGUF_F64))
        return false;
    bits = le(kv->data, kind_bytes[kv->kind]);
    if (kv->kind == UC_GGUF_F64) {
        memcpy(out, &bits, 8);
        return true;
    }
    half = (uint32_t)bits;
    memcpy(&f, &half, 4);
    *out = f;
    return true;
}

bool uc_gguf_bool(const struct uc_gguf *g, const char *key, bool *out)
{
    const struct uc_gguf_kv *kv = uc_gguf_find(g, key);

    if (!kv || kv->kind != UC_GGUF_BOOL)
        return false;
    *out = kv->data[0] != 0;
    return true;
}

bool uc_gguf_string(const struct uc_gguf *g, const char *key, const char **s, size_t *n)
{
    const struct uc_gguf_kv *kv = uc_gguf_find(g, key);

    if (!kv || kv->kind != UC_GGUF_STRING)
        return false;
    *n = (size_t)le(kv->data, 8);
    *s = (const char *)kv->data + 8;
    return true;
}

bool uc_gguf_iter_init(struct uc_gguf_iter *it, const struct uc_gguf *g, const char *key,
                       enum uc_gguf_kind kind)
{
    const struct uc_gguf_kv *kv = uc_gguf_find(g, key);

    if (!kv || kv->kind != UC_GGUF_ARRAY ||
        (kind == UC_GGUF_I64 ? !is_int(kv->item) : kv->item != kind))
        return false;
    *it = (struct uc_gguf_iter){kv->data, kv->n, kv->item};
    return true;
}

bool uc_gguf_next_string(struct uc_gguf_iter *it, const char **s, size_t *n)
{
    if (!it->left)
        return false;
    it->left--;
    *n = (size_t)le(it->at, 8);
    *s = (const char *)it->at + 8;
    it->at += 8 + *n;
    return true;
}

bool uc_gguf_next_int(struct uc_gguf_iter *it, int64_t *out)
{
    if (!it->left)
        return false;
    it->left--;
    *out = int_value(it->kind, it->at);
    it->at += kind_bytes[it->kind];
    return true;
}
