#include "model/weights.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/coded.h"
#include "model/dir.h"

/* A region's bytes; on success *map is to be unmapped, or NULL. */
static int region_open(const struct uc_region *at, const uint8_t **p, void **map, size_t *map_size,
                       struct uc_err *err)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = at->offset / page * page;
    int fd;

    *map = NULL;
    *p = at->p;
    if (!at->path || !at->size)
        return 0;
    fd = open(at->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return uc_fail_errno(err, "%s: open", at->path);
    *map_size = (size_t)(at->offset - start + at->size);
    *map = mmap(NULL, *map_size, PROT_READ, MAP_PRIVATE, fd, (off_t)start);
    if (*map == MAP_FAILED) {
        *map = NULL;
        uc_fail_errno(err, "%s: map %zu bytes", at->path, *map_size);
    }
    close(fd);
    *p = (const uint8_t *)*map + (at->offset - start);
    return *map ? 0 : err ? err->code : UC_EIO;
}

static int check_form(const struct uc_region *at, int dtype, int n_dim, const uint64_t *shape,
                      struct uc_err *err)
{
    uint64_t n = 1;

    if (dtype != UC_DTYPE_F32 && dtype != UC_DTYPE_F16 && dtype != UC_DTYPE_BF16)
        return uc_fail(err, UC_EREFUSED, "dtype %s is not read (F32, F16 and BF16 are)",
                       dtype < 0 ? "?" : uc_dtype_name((enum uc_dtype)dtype));
    if (n_dim < 1 || n_dim > 2)
        return uc_fail(err, UC_EREFUSED, "has %d dimensions, a weight has 1 or 2", n_dim);
    for (int i = 0; i < n_dim; i++)
        if (__builtin_mul_overflow(n, shape[i], &n))
            return uc_fail(err, UC_ECORRUPT, "its shape overflows");
    if (__builtin_mul_overflow(n, uc_dtype_bits((enum uc_dtype)dtype) / 8, &n) || n != at->size)
        return uc_fail(err, UC_ECORRUPT, "%" PRIu64 " bytes do not fit its shape", at->size);
    return 0;
}

int uc_weight_open(struct uc_weight *w, const struct uc_region *at, int dtype, int n_dim,
                   const uint64_t *shape, struct uc_err *err)
{
    const uint8_t *p;
    int rc = check_form(at, dtype, n_dim, shape, err);

    memset(w, 0, sizeof(*w));
    if (rc == 0)
        rc = region_open(at, &p, &w->map, &w->map_size, err);
    if (rc < 0)
        return rc;
    w->dtype = (enum uc_dtype)dtype;
    w->n_dim = n_dim;
    for (int i = 0; i < n_dim; i++)
        w->shape[i] = shape[i];
    w->data = p;
    if ((uintptr_t)p % (uc_dtype_bits(w->dtype) / 8) == 0)
        return 0;
    rc = uc_alloc(&w->owned, at->size, 1, "a weight", err);
    if (rc < 0) {
        uc_weight_put(w);
        return rc;
    }
    memcpy(w->owned, p, at->size);
    w->data = w->owned;
    return 0;
}

void uc_weight_put(struct uc_weight *w)
{
    if (w->map)
        munmap(w->map, w->map_size);
    free(w->owned);
    memset(w, 0, sizeof(*w));
}

int uc_weight_check_shape(const struct uc_weight *w, uint64_t rows, uint64_t cols,
                          struct uc_err *err)
{
    if (w->n_dim == (cols ? 2 : 1) && w->shape[0] == rows && (!cols || w->shape[1] == cols))
        return 0;
    return uc_fail(err, UC_EREFUSED,
                   "shape [%" PRIu64 ", %" PRIu64 "] (%d dimensions) is not [%" PRIu64 ", %" PRIu64
                   "]",
                   w->shape[0], w->n_dim > 1 ? w->shape[1] : 0, w->n_dim, rows, cols);
}

/* Index of the first element whose exponent bits are all ones; n when there is none. */
static uint64_t first_special(const struct uc_weight *w, uint64_t n)
{
    const uint16_t *h = w->data;
    const uint32_t *f = w->data;
    uint16_t mask = w->dtype == UC_DTYPE_F16 ? 0x7c00 : 0x7f80;

    /* Blocks without a branch inside, so that the compiler vectorizes them. */
    for (uint64_t i = 0; i < n; i += 4096) {
        uint64_t end = i + 4096 < n ? i + 4096 : n;
        unsigned bad = 0;

        if (w->dtype == UC_DTYPE_F32) {
            for (uint64_t j = i; j < end; j++)
                bad |= (f[j] & 0x7f800000u) == 0x7f800000u;
        } else {
            for (uint64_t j = i; j < end; j++)
                bad |= (h[j] & mask) == mask;
        }
        if (!bad)
            continue;
        for (uint64_t j = i; j < end; j++)
            if (w->dtype == UC_DTYPE_F32 ? (f[j] & 0x7f800000u) == 0x7f800000u
                                         : (h[j] & mask) == mask)
                return j;
    }
    return n;
}

int uc_weight_check_finite(const struct uc_weight *w, struct uc_err *err)
{
    uint64_t cols = w->n_dim > 1 ? w->shape[1] : 1;
    uint64_t n = w->shape[0] * cols, i = first_special(w, n);

    if (i == n)
        return 0;
    uc_fail(err, UC_EREFUSED, "row %" PRIu64 ", column %" PRIu64 " is NaN or infinite", i / cols,
            i % cols);
    return uc_fix(err, "the checkpoint is damaged or its training diverged; fetch it again");
}

int uc_weights_get_block(struct uc_weights *from, const struct uc_block *b, int layer,
                         struct uc_weight *w, struct uc_err *err)
{
    int rc;

    memset(w, 0, b->n_roles * sizeof(*w));
    for (size_t i = 0; i < b->n_roles; i++) {
        const struct uc_role *r = &b->roles[i];

        rc = from->get(from, layer, r->name, &w[i], err);
        if (rc == 0) {
            rc = uc_weight_check_shape(&w[i], r->rows, r->cols, err);
            if (rc == 0)
                rc = uc_weight_check_finite(&w[i], err);
            if (rc < 0)
                uc_within(err, "weight '%s' of layer %d", r->name, layer);
        }
        if (rc < 0) {
            uc_weights_put_block(b, w);
            return rc;
        }
    }
    return 0;
}

void uc_weights_put_block(const struct uc_block *b, struct uc_weight *w)
{
    for (size_t i = 0; i < b->n_roles; i++)
        uc_weight_put(&w[i]);
}

/* ---- by name ---- */

static const char *role_name(const struct uc_named_weights *w, int layer, const char *role)
{
    if (layer == UC_NO_LAYER) {
        const char *name = uc_json_str(w->names, role, NULL);
        if (!name && strcmp(role, "head") == 0)
            name = uc_json_str(w->names, "embed", NULL);
        return name;
    }
    const json_t *l = json_array_get(json_object_get(w->names, "layers"), (size_t)layer);
    return uc_json_str(json_object_get(l, "tensors"), role, NULL);
}

static const struct uc_tensor_info *find(const struct uc_named_weights *w, const char *name,
                                         struct uc_region *at)
{
    const struct uc_tensor_info *t;

    *at = w->file;
    if (w->set) {
        const struct uc_st_entry *e = uc_st_set_find(w->set, name);
        t = e ? e->info : NULL;
        at->path = e ? w->set->paths[e->file] : NULL;
    } else {
        t = uc_st_find(w->st, name);
    }
    if (!t)
        return NULL;
    at->offset += t->offset;
    at->p = at->p ? at->p + t->offset : NULL;
    at->size = t->size;
    return t;
}

static int decode_stream(struct uc_weight *out, const uint8_t *stream, size_t size,
                         struct uc_err *err)
{
    struct uc_coded_info info;
    int rc = uc_coded_info(stream, size, &info, err);

    if (rc < 0)
        return rc;
    if (info.m == 0 || info.n == 0 || info.m > (UINT64_C(1) << 40) / info.n)
        return uc_fail(err, UC_ECORRUPT, "coded matrix of %" PRIu64 " by %" PRIu64, info.m, info.n);
    rc = uc_alloc(&out->owned, info.m * info.n, sizeof(uint16_t), "a decoded weight", err);
    if (rc == 0)
        rc = uc_coded_decode_rows(stream, size, 0, info.m, out->owned, err);
    if (rc < 0)
        return rc;
    out->data = out->owned;
    out->dtype = UC_DTYPE_BF16;
    out->n_dim = 2;
    out->shape[0] = info.m;
    out->shape[1] = info.n;
    return 0;
}

static int decode(struct uc_weight *out, const struct uc_region *at, struct uc_err *err)
{
    const uint8_t *p;
    size_t map_size = 0;
    void *map;
    int rc = region_open(at, &p, &map, &map_size, err);

    if (rc < 0)
        return rc;
    rc = decode_stream(out, p, at->size, err);
    if (map)
        munmap(map, map_size);
    if (rc < 0)
        uc_weight_put(out);
    return rc;
}

static int named_get(struct uc_weights *self, int layer, const char *role, struct uc_weight *out,
                     struct uc_err *err)
{
    struct uc_named_weights *w = (struct uc_named_weights *)self;
    const char *name = role_name(w, layer, role);
    const struct uc_tensor_info *t;
    struct uc_region at;
    char coded[256];
    int rc;

    memset(out, 0, sizeof(*out));
    if (!name)
        return uc_fail(err, UC_EFAIL, "no name is known for weight '%s' of layer %d", role, layer);
    t = find(w, name, &at);
    if (t) {
        rc = uc_weight_open(out, &at, (int)t->dtype, t->n_dim, t->shape, err);
    } else {
        snprintf(coded, sizeof(coded), "%s%s", name, UC_CODED_SUFFIX);
        t = find(w, coded, &at);
        if (!t)
            return uc_fail(err, UC_EREFUSED, "tensor %s is missing", name);
        rc = t->dtype == UC_DTYPE_U8
                 ? decode(out, &at, err)
                 : uc_fail(err, UC_ECORRUPT, "a coded stream has dtype U8, this is %s",
                           uc_dtype_name(t->dtype));
    }
    return rc < 0 ? uc_within(err, "tensor %s", t->name) : 0;
}

void uc_named_weights_init(struct uc_named_weights *w, const json_t *names,
                           const struct uc_st_set *set)
{
    *w = (struct uc_named_weights){.base.get = named_get, .names = names, .set = set};
}

void uc_named_weights_init_file(struct uc_named_weights *w, const json_t *names,
                                const struct uc_st *st, const struct uc_region *file)
{
    *w = (struct uc_named_weights){.base.get = named_get, .names = names, .st = st, .file = *file};
}
