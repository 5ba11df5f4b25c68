#include "engine/key.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

/*
 * One of two sinks: hash takes tag, 8-byte little-endian length, bytes; text takes one line a
 * value, with the path of the value (kept only for it) before it.
 */
struct writer {
    struct uc_hash *hash;
    struct uc_buf *text, path;
};

static void put(struct writer *w, const char *tag, const void *p, size_t n)
{
    uint8_t len[8];

    if (!w->hash)
        return;
    for (int i = 0; i < 8; i++)
        len[i] = (uint8_t)((uint64_t)n >> 8 * i);
    uc_hash_add(w->hash, tag, strlen(tag) + 1);
    uc_hash_add(w->hash, len, sizeof(len));
    uc_hash_add(w->hash, p, n);
}

static void put_u64(struct writer *w, const char *tag, uint64_t v)
{
    uint8_t b[8];

    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(v >> 8 * i);
    put(w, tag, b, sizeof(b));
}

static void show(struct writer *w, const char *field, const char *value)
{
    if (w->text)
        uc_buf_addf(w->text, "%s = %s\n", field, value);
}

static void put_string(struct writer *w, const char *tag, const char *field, const char *s)
{
    put(w, tag, s, strlen(s));
    show(w, field, s);
}

static void put_int(struct writer *w, const char *tag, const char *field, int64_t v)
{
    char text[32];

    put_u64(w, tag, (uint64_t)v);
    snprintf(text, sizeof(text), "%lld", (long long)v);
    show(w, field, text);
}

static void put_json(struct writer *w, const json_t *v);

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Appends to the path for the time of one value; the text sink alone needs it. */
static void put_member(struct writer *w, const json_t *v, const char *name, size_t index)
{
    size_t len = w->path.len;

    if (w->text && name)
        uc_buf_addf(&w->path, ".%s", name);
    else if (w->text)
        uc_buf_addf(&w->path, "[%zu]", index);
    put_json(w, v);
    if (w->text) {
        w->path.len = len;
        w->path.data[len] = 0;
    }
}

static void put_object(struct writer *w, const json_t *v)
{
    size_t n = json_object_size(v), i = 0;
    const char **names = uc_xcalloc(n + 1, sizeof(*names));
    void *it;

    for (it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it))
        names[i++] = json_object_iter_key(it);
    qsort(names, n, sizeof(*names), by_text);
    put_u64(w, "object", n);
    for (i = 0; i < n; i++) {
        put(w, "name", names[i], strlen(names[i]));
        put_member(w, json_object_get(v, names[i]), names[i], 0);
    }
    free(names);
}

static void put_leaf(struct writer *w, const json_t *v)
{
    double real;
    uint64_t bits;

    switch (json_typeof(v)) {
    case JSON_STRING:
        put(w, "string", json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        put_u64(w, "int", (uint64_t)json_integer_value(v));
        break;
    case JSON_REAL:
        real = json_real_value(v);
        memcpy(&bits, &real, sizeof(bits));
        put_u64(w, "real", bits);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        put_u64(w, "bool", json_is_true(v));
        break;
    default:
        put(w, "null", "", 0);
    }
    if (w->text) {
        char *text = uc_json_canonical(v);
        show(w, uc_buf_str(&w->path), text);
        free(text);
    }
}

static void put_json(struct writer *w, const json_t *v)
{
    if (json_is_object(v)) {
        put_object(w, v);
    } else if (json_is_array(v)) {
        put_u64(w, "array", json_array_size(v));
        for (size_t i = 0; i < json_array_size(v); i++)
            put_member(w, json_array_get(v, i), NULL, i);
    } else {
        put_leaf(w, v);
    }
}

static void put_inputs(struct writer *w, const struct uc_key_fields *f)
{
    const struct uc_action *a = f->action;
    char hex[UC_HEX_LEN + 1];

    put_u64(w, "inputs", a->n_inputs);
    for (size_t i = 0; i < a->n_inputs; i++) {
        put(w, "input", a->inputs[i].name, strlen(a->inputs[i].name));
        put(w, "digest", f->inputs[i].b, sizeof(f->inputs[i].b));
        if (w->text)
            uc_buf_addf(w->text, "input %s = %s\n", a->inputs[i].name,
                        uc_digest_hex(&f->inputs[i], hex));
    }
}

static void put_fields(struct writer *w, const struct uc_key_fields *f)
{
    put_string(w, "op", "op", f->action->op);
    put_int(w, "version", "version", f->version);
    if (w->text)
        uc_buf_adds(&w->path, "params");
    put(w, "params", "", 0);
    put_json(w, f->action->params);
    put_inputs(w, f);
    if (f->ident) {
        put_int(w, "size", "file size", (int64_t)f->ident->size);
        put_int(w, "mtime", "file mtime", f->ident->mtime_ns);
        put_int(w, "ctime", "file ctime", f->ident->ctime_ns);
        put_int(w, "inode", "file inode", (int64_t)f->ident->inode);
    }
    put_string(w, "kernels", "kernels", f->kernel_class);
}

void uc_key_of(const struct uc_key_fields *f, struct uc_digest *out)
{
    struct writer w = {.hash = uc_hash_new()};

    put_fields(&w, f);
    uc_hash_end(w.hash, out);
    uc_hash_free(w.hash);
}

char *uc_key_text(const struct uc_key_fields *f)
{
    struct uc_buf text;
    struct writer w = {.text = &text};
    char *out;

    uc_buf_init(&text, 0);
    uc_buf_init(&w.path, 0);
    put_fields(&w, f);
    uc_buf_release(&w.path);
    out = uc_xstrdup(uc_buf_str(&text));
    uc_buf_release(&text);
    return out;
}

/* The line "field = ..." of text, or NULL. */
static const char *find_field(const char *text, const char *field, size_t n)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, field, n) == 0)
            return line;
    }
    return NULL;
}

/* Length of "field = " at the start of a line; 0 when the line is no field. */
static size_t field_length(const char *line)
{
    const char *eq = strstr(line, " = "), *end = strchr(line, '\n');

    return eq && (!end || eq < end) ? (size_t)(eq - line) + 3 : 0;
}

/* A value short enough for one sentence: eight digits of a digest, forty bytes of others. */
static void add_value(struct uc_buf *out, const char *value)
{
    size_t n = strcspn(value, "\n"), cut = n == UC_HEX_LEN ? 8 : 40;

    uc_buf_addf(out, "%.*s%s", (int)(n < cut ? n : cut), value, n > cut && cut == 40 ? "..." : "");
}

static bool same_line(const char *a, const char *b)
{
    size_t n = strcspn(a, "\n");

    return n == strcspn(b, "\n") && memcmp(a, b, n) == 0;
}

/* Walks the fields of text; for those that other lacks or (values) has otherwise, counts one and
 * describes the first of all. */
static void compare(const char *text, const char *other, bool text_is_new, size_t *n,
                    struct uc_buf *out)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t len = field_length(line);
        const char *match = len ? find_field(other, line, len) : line;
        if (match && (!text_is_new || same_line(match, line)))
            continue;
        if ((*n)++)
            continue;
        uc_buf_addf(out, "%.*s", (int)(len - 3), line);
        if (match) {
            uc_buf_adds(out, ": ");
            add_value(out, match + len);
            uc_buf_adds(out, " -> ");
            add_value(out, line + len);
        } else {
            uc_buf_adds(out, text_is_new ? ": new" : ": gone");
        }
    }
}

char *uc_key_diff(const char *before, const char *after)
{
    struct uc_buf out;
    size_t n = 0;
    char *text = NULL;

    uc_buf_init(&out, 0);
    compare(after, before, true, &n, &out);
    compare(before, after, false, &n, &out);
    if (n > 1)
        uc_buf_addf(&out, " (and %zu more)", n - 1);
    if (n)
        text = uc_xstrdup(uc_buf_str(&out));
    uc_buf_release(&out);
    return text;
}
