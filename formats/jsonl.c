#include "formats/jsonl.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_SAMPLE ((size_t)256 << 20)

int uc_text_format_parse(const char *name)
{
    if (strcmp(name, "text") == 0)
        return UC_TEXT_PLAIN;
    return strcmp(name, "jsonl") == 0 ? UC_TEXT_JSONL : -1;
}

/* ---- samples ---- */

static const char forms[] = "write {\"text\": ...}, {\"prompt\": ..., \"response\": ...}, "
                            "{\"instruction\": ..., \"output\": ...} or {\"messages\": [...]}";

static int add_field(struct uc_buf *b, const json_t *obj, const char *name, const char *where,
                     struct uc_err *err)
{
    const json_t *v = json_object_get(obj, name);

    if (!json_is_string(v))
        return uc_fail(err, UC_EREFUSED, "%s: \"%s\" is %s", where, name,
                       v ? "not a string" : "missing");
    if (json_string_length(v) && b->len)
        uc_buf_addc(b, '\n');
    uc_buf_add(b, json_string_value(v), json_string_length(v));
    return 0;
}

static int add_turns(struct uc_buf *b, const json_t *obj, const char *list, const char *field,
                     const char *where, struct uc_err *err)
{
    const json_t *v = json_object_get(obj, list);
    char *at;
    int rc = 0;

    if (!json_is_array(v))
        return uc_fail(err, UC_EREFUSED, "%s: \"%s\" is not a list", where, list);
    for (size_t i = 0; i < json_array_size(v) && rc == 0; i++) {
        at = uc_xasprintf("%s: %s[%zu]", where, list, i);
        rc = add_field(b, json_array_get(v, i), field, at, err);
        free(at);
    }
    return rc;
}

static int sample_text(struct uc_buf *b, const json_t *v, const char *where, struct uc_err *err)
{
    int rc;

    if (!json_is_object(v)) {
        uc_fail(err, UC_EREFUSED, "%s: not a JSON object", where);
        return uc_fix(err, "%s", forms);
    }
    if (json_object_get(v, "text"))
        return add_field(b, v, "text", where, err);
    if (json_object_get(v, "prompt")) {
        rc = add_field(b, v, "prompt", where, err);
        return rc < 0 ? rc : add_field(b, v, "response", where, err);
    }
    if (json_object_get(v, "instruction")) {
        rc = add_field(b, v, "instruction", where, err);
        if (rc == 0 && json_object_get(v, "input"))
            rc = add_field(b, v, "input", where, err);
        return rc < 0 ? rc : add_field(b, v, "output", where, err);
    }
    if (json_object_get(v, "messages"))
        return add_turns(b, v, "messages", "content", where, err);
    if (json_object_get(v, "conversations"))
        return add_turns(b, v, "conversations", "value", where, err);
    uc_fail(err, UC_EREFUSED, "%s: none of \"text\", \"prompt\", \"instruction\", \"messages\"",
            where);
    return uc_fix(err, "%s", forms);
}

static bool blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", p[i]) || !p[i])
            return false;
    return true;
}

static int one_line(const char *p, size_t n, const char *what, size_t line, struct uc_buf *b,
                    struct uc_err *err)
{
    char *where = uc_xasprintf("%s:%zu", what, line);
    struct uc_err je = {0};
    json_t *v = NULL;
    size_t good = uc_utf8_valid((const uint8_t *)p, n);
    int rc;

    uc_buf_clear(b);
    if (good < n) {
        rc = uc_fail(err, UC_EREFUSED, "%s: not UTF-8 at byte %zu of the line", where, good);
        goto out;
    }
    v = uc_json_parse(p, n, "", &je);
    if (!v) { /* the parser says ":1:column: text"; the line is ours */
        const char *text = strstr(je.msg + 1, ":");
        rc = uc_fail(err, UC_EREFUSED, "%s%s", where, text ? text : je.msg);
        uc_fix(err, "one JSON object a line: %s", forms);
        goto out;
    }
    rc = sample_text(b, v, where, err);
    if (rc == 0 && blank(uc_buf_str(b), b->len))
        rc = uc_fail(err, UC_EREFUSED, "%s: the sample is empty", where);
    if (rc < 0 && err && !err->fix[0])
        uc_fix(err, "%s", forms);
    if (rc == 0 && b->data[b->len - 1] != '\n')
        uc_buf_addc(b, '\n');
    if (rc == 0)
        rc = uc_buf_check(b, where, err);
out:
    json_decref(v);
    free(where);
    return rc;
}

int uc_jsonl_each(const char *p, size_t n, const char *what, uc_jsonl_fn *fn, void *arg,
                  struct uc_err *err)
{
    struct uc_buf b;
    size_t line = 0;
    int rc = 0;

    uc_buf_init(&b, MAX_SAMPLE);
    while (n && rc == 0) {
        const char *nl = memchr(p, '\n', n);
        size_t len = nl ? (size_t)(nl - p) + 1 : n;
        line++;
        if (!blank(p, len)) {
            rc = one_line(p, len, what, line, &b, err);
            if (rc == 0 && fn)
                rc = fn(arg, line, uc_buf_str(&b), b.len, err);
        }
        p += len;
        n -= len;
    }
    uc_buf_release(&b);
    return rc;
}

/* ---- slices ---- */

static int check(const struct uc_map *m, const char *path, enum uc_text_format format,
                 struct uc_err *err)
{
    const char *p = (const char *)m->data;
    size_t good, line = 1;
    int rc;

    if (blank(p, m->size)) {
        uc_fail(err, UC_EREFUSED, "%s: the text is empty", path);
        return uc_fix(err, "name a file with text in it");
    }
    if (format == UC_TEXT_JSONL)
        return uc_jsonl_each(p, m->size, path, NULL, NULL, err);
    good = uc_utf8_valid(m->data, m->size);
    if (good == m->size)
        return 0;
    for (size_t i = 0; i < good; i++)
        line += p[i] == '\n';
    rc = uc_fail(err, UC_EREFUSED, "%s:%zu: not UTF-8 at byte %zu (0x%02x)", path, line, good,
                 m->data[good]);
    uc_fix(err, "convert the file, for example with: iconv -f LATIN1 -t UTF-8");
    return rc;
}

/* Where the shard ends that ought to end at byte at. */
static size_t cut_after(const struct uc_map *m, enum uc_text_format format, size_t at, size_t shard)
{
    const uint8_t *p = m->data, *nl;
    size_t room = m->size - at;

    if (format == UC_TEXT_PLAIN && room > shard / 2)
        room = shard / 2;
    nl = memchr(p + at, '\n', room);
    if (!nl && (format == UC_TEXT_JSONL || at + room == m->size))
        return m->size;
    if (nl)
        at = (size_t)(nl - p) + 1;
    else
        while (at < m->size && (p[at] & 0xc0) == 0x80)
            at++;
    return at;
}

int uc_text_slices(const char *path, enum uc_text_format format, uint64_t shard_bytes,
                   struct uc_text_slice **out, size_t *n, struct uc_err *err)
{
    struct uc_map m;
    size_t begin = 0, cap;
    int rc = uc_map_open(&m, path, err);

    *out = NULL;
    *n = 0;
    if (rc < 0)
        return rc;
    rc = check(&m, path, format, err);
    if (rc < 0)
        goto out;
    cap = shard_bytes ? (size_t)(m.size / shard_bytes) + 2 : 1;
    *out = calloc(cap, sizeof(**out));
    if (!*out) {
        rc = uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu shards", path, cap);
        goto out;
    }
    for (uint64_t at = shard_bytes; begin < m.size; at += shard_bytes) {
        size_t end = shard_bytes && at < m.size ? cut_after(&m, format, at, shard_bytes) : m.size;
        if (end <= begin || blank((const char *)m.data + begin, end - begin)) {
            if (end < m.size)
                continue; /* a line longer than a shard, or nothing to read yet */
            if (*n == 0 || end <= begin)
                break;
            (*out)[*n - 1].size = end - (*out)[*n - 1].offset; /* blank lines at the end */
            break;
        }
        struct uc_text_slice *s = &(*out)[(*n)++];
        s->offset = begin;
        s->size = end - begin;
        begin = end;
    }
    for (size_t i = 0; i < *n; i++)
        uc_digest_of(m.data + (*out)[i].offset, (*out)[i].size, &(*out)[i].digest);
out:
    uc_map_close(&m);
    return rc;
}
