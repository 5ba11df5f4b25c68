/* GGUF to a Hugging Face folder: the tensors. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "formats/gguf_import.h"
#include "formats/safetensors.h"

enum { WRITE_ELEMENTS = 1 << 19 }; /* a megabyte at a time */

/* Where a tensor of the file goes. */
struct placed {
    const struct uc_gguf_tensor *from;
    char *name;
    int64_t heads; /* rows are interleaved in this many heads; 0: they stay */
};

static const struct {
    const char *gguf, *hf;
} layer_names[] = {
    {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

/* "blk.7.attn_q.weight" -> a name of Hugging Face, or NULL. */
static char *layer_name(const struct gguf_llama *m, struct placed *p)
{
    const char *s = p->from->name;
    char *end, part[32];
    long layer;

    if (strncmp(s, "blk.", 4) || s[4] < '0' || s[4] > '9')
        return NULL;
    layer = strtol(s + 4, &end, 10);
    if (*end != '.' || layer >= m->n_layers || !uc_str_ends(end, ".weight"))
        return NULL;
    snprintf(part, sizeof(part), "%.*s", (int)(strlen(end + 1) - 7), end + 1);
    for (size_t i = 0; i < UC_COUNT(layer_names); i++) {
        if (strcmp(part, layer_names[i].gguf))
            continue;
        if (strcmp(part, "attn_q") == 0)
            p->heads = m->n_head;
        if (strcmp(part, "attn_k") == 0)
            p->heads = m->n_kv;
        return uc_xasprintf("model.layers.%ld.%s.weight", layer, layer_names[i].hf);
    }
    return NULL;
}

static int place(const struct gguf_llama *m, const struct uc_gguf_tensor *t, struct placed *p,
                 struct uc_err *err)
{
    p->from = t;
    p->heads = 0;
    if (strcmp(t->name, "token_embd.weight") == 0)
        p->name = uc_xstrdup("model.embed_tokens.weight");
    else if (strcmp(t->name, "output_norm.weight") == 0)
        p->name = uc_xstrdup("model.norm.weight");
    else if (strcmp(t->name, "output.weight") == 0)
        p->name = uc_xstrdup("lm_head.weight");
    else
        p->name = layer_name(m, p);
    if (!p->name)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s has no place in a Llama model", m->what,
                       t->name);
    if (t->n_dim > 2)
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s has %d dimensions", m->what, t->name,
                       t->n_dim);
    if (!uc_gguf_can_dequantize(t->type)) {
        uc_fail(err, UC_EREFUSED, "%s: tensor %s is of type %s, which is not read", m->what,
                t->name, uc_gguf_type_name(t->type));
        return uc_fix(err, "import an F16, BF16, Q8_0 or Q4_K file of the same model");
    }
    if (p->heads && (t->n_dim != 2 || t->dims[1] % (uint64_t)(2 * p->heads)))
        return uc_fail(err, UC_EREFUSED, "%s: tensor %s: its rows are not %lld heads of even size",
                       m->what, t->name, (long long)p->heads);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct placed *)a)->name, ((const struct placed *)b)->name);
}

/* The row of the file that becomes row r: in the file, a head's first half and second half
 * alternate. */
static uint64_t source_row(const struct placed *p, uint64_t r)
{
    uint64_t head, half, k;

    if (!p->heads)
        return r;
    head = p->from->dims[1] / (uint64_t)p->heads;
    half = head / 2;
    k = r % head;
    return r - k + k % half * 2 + k / half;
}

static uint16_t to_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

struct output {
    int fd;
    const char *path;
    struct uc_hash *hash;
    uint64_t bytes;
};

static int emit(struct output *o, const void *p, size_t n, struct uc_err *err)
{
    uc_hash_add(o->hash, p, n);
    o->bytes += n;
    return uc_write_all(o->fd, p, n, o->path, err);
}

/* Row r of the tensor as bf16 into out. */
static int convert_row(const struct gguf_llama *m, const struct placed *p, uint64_t r, float *f,
                       uint8_t *out, struct uc_err *err)
{
    const struct uc_gguf_tensor *t = p->from;
    uint64_t cols = t->dims[0], row_bytes = t->size / (t->n_elem / cols);

    uc_gguf_dequantize(t->type, m->gguf->file + t->offset + source_row(p, r) * row_bytes, cols, f);
    for (uint64_t i = 0; i < cols; i++) {
        uint16_t v = to_bf16(f[i]);
        if ((v & 0x7f80) == 0x7f80)
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s: element %llu is NaN or too large",
                           m->what, t->name, (unsigned long long)(r * cols + i));
        out[2 * i] = (uint8_t)v;
        out[2 * i + 1] = (uint8_t)(v >> 8);
    }
    return 0;
}

static int write_tensor(const struct gguf_llama *m, const struct placed *p, struct output *o,
                        struct uc_err *err)
{
    const uint64_t cols = p->from->dims[0], rows = p->from->n_elem / cols;
    const uint64_t batch = cols < WRITE_ELEMENTS ? WRITE_ELEMENTS / cols : 1;
    float *f = NULL;
    uint8_t *half = NULL;
    int rc = uc_alloc(&f, cols, sizeof(*f), "a row of a tensor", err);

    if (rc == 0)
        rc = uc_alloc(&half, cols * batch, 2, "rows of a tensor", err);
    for (uint64_t r = 0; r < rows && rc == 0; r += batch) {
        uint64_t n = rows - r < batch ? rows - r : batch;
        for (uint64_t k = 0; k < n && rc == 0; k++)
            rc = convert_row(m, p, r + k, f, half + 2 * k * cols, err);
        if (rc == 0)
            rc = emit(o, half, 2 * n * cols, err);
    }
    free(f);
    free(half);
    return rc;
}

static int write_model(const struct gguf_llama *m, const struct placed *v, size_t n,
                       struct output *o, struct uc_err *err)
{
    struct uc_st_writer *w = uc_st_writer_new();
    char *head = NULL;
    size_t n_head;
    int rc;

    for (size_t i = 0; i < n; i++) {
        const struct uc_gguf_tensor *t = v[i].from;
        uint64_t shape[4];
        for (int d = 0; d < t->n_dim; d++)
            shape[d] = t->dims[t->n_dim - 1 - d];
        uc_st_writer_add(w, v[i].name, UC_DTYPE_BF16, t->n_dim, shape);
    }
    rc = uc_st_writer_header(w, UC_ST_BY_NAME, &head, &n_head, err);
    if (rc == 0)
        rc = emit(o, head, n_head, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = write_tensor(m, &v[i], o, err);
    free(head);
    uc_st_writer_free(w);
    return rc;
}

static int write_file(const struct gguf_llama *m, const struct placed *v, size_t n, const char *dir,
                      struct uc_gguf_import *info, struct uc_err *err)
{
    char *path = uc_path_join(dir, "model.safetensors");
    struct output o = {.path = path};
    int rc;

    o.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (o.fd < 0) {
        rc = uc_fail_errno(err, "%s: create", path);
        free(path);
        return rc;
    }
    o.hash = uc_hash_new();
    rc = write_model(m, v, n, &o, err);
    if (rc == 0 && fdatasync(o.fd) < 0)
        rc = uc_fail_errno(err, "%s: fdatasync", path);
    if (close(o.fd) < 0 && rc == 0)
        rc = uc_fail_errno(err, "%s: close", path);
    uc_hash_end(o.hash, &info->file_digest);
    info->file_bytes = o.bytes;
    uc_hash_free(o.hash);
    free(path);
    return rc;
}

/* Everything that a model of that shape needs is there, in the shape that it needs. */
static int check_shapes(const struct gguf_llama *m, struct uc_err *err)
{
    const int64_t q = m->n_head * m->head_dim, kv = m->n_kv * m->head_dim;
    const struct {
        const char *name;
        int64_t in, out; /* out 0: a vector */
    } need[] = {
        {"attn_norm", m->hidden, 0},
        {"ffn_norm", m->hidden, 0},
        {"attn_q", m->hidden, q},
        {"attn_k", m->hidden, kv},
        {"attn_v", m->hidden, kv},
        {"attn_output", q, m->hidden},
        {"ffn_gate", m->hidden, m->intermediate},
        {"ffn_up", m->hidden, m->intermediate},
        {"ffn_down", m->intermediate, m->hidden},
    };

    for (int64_t l = -1; l < m->n_layers; l++) {
        for (size_t i = 0; i < (l < 0 ? 2 : UC_COUNT(need)); i++) {
            char name[80];
            int64_t in = l < 0 ? m->hidden : need[i].in, out = l < 0 ? 0 : need[i].out;
            if (l >= 0)
                snprintf(name, sizeof(name), "blk.%lld.%s.weight", (long long)l, need[i].name);
            else
                snprintf(name, sizeof(name), "%s", i ? "output_norm.weight" : "token_embd.weight");
            if (l < 0 && i == 0)
                out = m->vocab;
            const struct uc_gguf_tensor *t = uc_gguf_tensor(m->gguf, name);
            if (!t)
                return uc_fail(err, UC_EREFUSED, "%s: tensor %s is missing", m->what, name);
            if ((int64_t)t->dims[0] != in || t->n_dim != (out ? 2 : 1) ||
                (out && (int64_t)t->dims[1] != out))
                return uc_fail(err, UC_EREFUSED,
                               "%s: tensor %s has another shape than the header's figures give",
                               m->what, name);
        }
    }
    return 0;
}

static int write_folder(const struct gguf_llama *m, const char *dir, struct uc_gguf_import *info,
                        struct uc_err *err)
{
    size_t n = m->gguf->n_tensors;
    struct placed *v = uc_xcalloc(n + 1, sizeof(*v));
    int rc = check_shapes(m, err);

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = place(m, &m->gguf->tensors[i], &v[i], err);
        info->n_tensors++;
        info->n_weights += m->gguf->tensors[i].n_elem;
    }
    if (rc == 0) {
        qsort(v, n, sizeof(*v), by_name);
        rc = gguf_write_json(m, dir, err);
    }
    if (rc == 0)
        rc = write_file(m, v, n, dir, info, err);
    for (size_t i = 0; i < n; i++)
        free(v[i].name);
    free(v);
    return rc;
}

/* Fills a new folder beside dst and gives it its name when it is complete. */
static int publish(const struct gguf_llama *m, const char *dst, struct uc_gguf_import *info,
                   struct uc_err *err)
{
    char *parent = uc_path_dir(dst), *tmp = uc_xasprintf("%s.tmp.XXXXXX", dst);
    int rc = uc_mkdirs(parent, err);

    if (rc == 0 && !mkdtemp(tmp))
        rc = uc_fail_errno(err, "%s: create", tmp);
    if (rc < 0)
        goto out;
    rc = write_folder(m, tmp, info, err);
    if (rc == 0 && chmod(tmp, 0755) < 0)
        rc = uc_fail_errno(err, "%s: chmod", tmp);
    if (rc == 0)
        rc = uc_sync_dir(tmp, err);
    if (rc == 0 && renameat2(AT_FDCWD, tmp, AT_FDCWD, dst, RENAME_NOREPLACE) < 0 &&
        (errno != EINVAL || rename(tmp, dst) < 0))
        rc = uc_fail_errno(err, "%s: rename", dst);
    if (rc == 0)
        rc = uc_sync_dir(parent, err);
    else
        uc_remove_tree(tmp, NULL);
out:
    free(parent);
    free(tmp);
    return rc;
}

int uc_gguf_import(const char *src, const char *dst, struct uc_gguf_import *info,
                   struct uc_err *err)
{
    char *path = uc_xstrdup(dst);
    struct uc_gguf_import ignored;
    struct gguf_llama m;
    struct uc_gguf g;
    struct stat st;
    int rc;

    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = 0;
    info = info ? info : &ignored;
    memset(info, 0, sizeof(*info));
    if (lstat(path, &st) == 0) {
        uc_fail(err, UC_EUSAGE, "%s: exists already", dst);
        rc = uc_fix(err, "name a folder that is not there yet");
        free(path);
        return rc < 0 ? rc : UC_EUSAGE;
    }
    rc = uc_gguf_open(&g, src, err);
    if (rc == 0) {
        rc = gguf_llama_read(&m, &g, src, err);
        if (rc == 0)
            rc = publish(&m, path, info, err);
        if (rc == UC_EREFUSED && err && !err->fix[0])
            uc_fix(err,
                   "docs/import.md says what is read; else get the model's Hugging Face folder");
        uc_gguf_close(&g);
    }
    free(path);
    return rc;
}
