#include "cache/ac.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/internal.h"

enum { RECORD_MAX = 16 << 20 };

/* A record file is {"body": {...}, "sha256": digest of the canonical body}. */
static char *record_text(const struct uc_result *r)
{
    char hex[UC_HEX_LEN + 1], *body_text, *text;
    json_t *body = json_object(), *outputs = json_object(), *file = json_object();
    struct uc_digest sum;

    for (size_t i = 0; i < r->n_outputs; i++) {
        const struct uc_result_output *o = &r->outputs[i];
        json_t *e = json_object();
        json_object_set_new(e, "digest", json_string(uc_digest_hex(&o->digest, hex)));
        json_object_set_new(e, "size", json_integer((json_int_t)o->size));
        json_object_set_new(e, "retention", json_string(o->retention));
        json_object_set_new(outputs, o->name, e);
    }
    json_object_set_new(body, "key", json_string(uc_digest_hex(&r->key, hex)));
    json_object_set_new(body, "op", json_string(r->op));
    json_object_set_new(body, "version", json_integer(r->version));
    json_object_set_new(body, "outputs", outputs);
    json_object_set_new(body, "seconds", json_real(r->seconds));
    json_object_set_new(body, "cpu", json_real(r->cpu));
    json_object_set_new(body, "peak_rss", json_integer((json_int_t)r->peak_rss));
    json_object_set_new(body, "work", json_real(r->work));
    json_object_set_new(body, "threads", json_integer(r->threads));
    if (r->metrics)
        json_object_set(body, "metrics", r->metrics);
    body_text = uc_json_canonical(body);
    uc_digest_of(body_text, strlen(body_text), &sum);
    free(body_text);
    json_object_set_new(file, "body", body);
    json_object_set_new(file, "sha256", json_string(uc_digest_hex(&sum, hex)));
    text = uc_json_canonical(file);
    json_decref(file);
    return text;
}

static bool get_digest(const json_t *obj, const char *name, struct uc_digest *out)
{
    const char *hex = uc_json_str(obj, name, "");

    return strlen(hex) == UC_HEX_LEN && uc_digest_parse(hex, out);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct uc_result_output *)a)->name,
                  ((const struct uc_result_output *)b)->name);
}

static bool parse_outputs(struct uc_result *r, json_t *outputs)
{
    const char *name;
    json_t *e;

    r->outputs = uc_xcalloc(json_object_size(outputs) + 1, sizeof(*r->outputs));
    json_object_foreach(outputs, name, e)
    {
        struct uc_result_output *o = &r->outputs[r->n_outputs++];
        o->name = name;
        o->size = (uint64_t)uc_json_int(e, "size", -1);
        o->retention = uc_json_str(e, "retention", "cache");
        if (!get_digest(e, "digest", &o->digest))
            return false;
    }
    qsort(r->outputs, r->n_outputs, sizeof(*r->outputs), by_name);
    return true;
}

/* Fills out from a file's JSON (taken over); false when anything in it is not as it was written. */
static bool parse_record(json_t *file, struct uc_result *out)
{
    json_t *body = json_object_get(file, "body");
    struct uc_digest sum, want;
    char *text;

    memset(out, 0, sizeof(*out));
    out->root = file;
    if (!json_is_object(body) || !get_digest(file, "sha256", &want))
        return false;
    text = uc_json_canonical(body);
    uc_digest_of(text, strlen(text), &sum);
    free(text);
    if (!uc_digest_eq(&sum, &want) || !get_digest(body, "key", &out->key))
        return false;
    out->op = uc_json_str(body, "op", "");
    out->version = (unsigned)uc_json_int(body, "version", 0);
    out->seconds = uc_json_num(body, "seconds", 0);
    out->cpu = uc_json_num(body, "cpu", 0);
    out->peak_rss = (uint64_t)uc_json_int(body, "peak_rss", 0);
    out->work = uc_json_num(body, "work", 0);
    out->threads = (int)uc_json_int(body, "threads", 1);
    out->metrics = json_object_get(body, "metrics");
    return parse_outputs(out, json_object_get(body, "outputs"));
}

/* 1 good, 0 damaged, negative: cannot be read (UC_ENOTFOUND: there is none). */
static int load(const char *path, struct uc_result *out)
{
    struct uc_err err = {0};
    char *text;
    size_t n;
    int rc = uc_read_file(path, RECORD_MAX, &text, &n, &err);
    json_t *file;

    memset(out, 0, sizeof(*out));
    if (rc < 0)
        return rc;
    file = uc_json_parse(text, n, path, &err);
    free(text);
    if (file && parse_record(file, out))
        return 1;
    uc_result_release(out);
    return 0;
}

int uc_ac_get(struct uc_cache *c, const struct uc_digest *key, struct uc_result *out)
{
    char *path = uc_cache_shard_path(c, "ac", key);
    int rc = load(path, out);

    if (rc == 1 && !uc_digest_eq(&out->key, key)) {
        uc_result_release(out);
        rc = 0;
    }
    if (rc != 1 && rc != UC_ENOTFOUND) {
        uc_warn("damaged result record dropped: %s", path);
        uc_remove_tree(path, NULL);
    }
    free(path);
    return rc == 1;
}

void uc_result_release(struct uc_result *r)
{
    if (r->root) {
        free(r->outputs);
        json_decref(r->root);
    }
    memset(r, 0, sizeof(*r));
}

int uc_ac_put(struct uc_cache *c, const struct uc_result *r, bool sync, struct uc_err *err)
{
    char *path = uc_cache_shard_path(c, "ac", &r->key), *text = record_text(r);
    int rc;

    sync = sync && !(c->flags & UC_CACHE_NO_SYNC);
    rc = uc_write_file(path, text, strlen(text), sync, err);
    if (rc == UC_ENOTFOUND) {
        rc = uc_cache_shard_make(c, path, err);
        if (rc == 0)
            rc = uc_write_file(path, text, strlen(text), sync, err);
    }
    if (rc == 0 && sync)
        rc = uc_cache_shard_sync(path, err);
    free(path);
    free(text);
    return rc;
}

void uc_ac_drop(struct uc_cache *c, const struct uc_digest *key)
{
    char *path = uc_cache_shard_path(c, "ac", key);

    unlink(path);
    free(path);
}

static void each_in(const char *dir, void (*fn)(void *, const struct uc_result *), void *arg)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        struct uc_result r;
        struct uc_digest key;
        if (strlen(e->d_name) != UC_HEX_LEN || !uc_digest_parse(e->d_name, &key))
            continue;
        char *path = uc_path_join(dir, e->d_name);
        if (load(path, &r) == 1) {
            if (uc_digest_eq(&r.key, &key))
                fn(arg, &r);
            uc_result_release(&r);
        }
        free(path);
    }
    if (d)
        closedir(d);
}

void uc_ac_each(struct uc_cache *c, void (*fn)(void *arg, const struct uc_result *r), void *arg)
{
    for (int i = 0; i < 256; i++) {
        char *dir = uc_xasprintf("%s/ac/%02x", c->dir, i);
        each_in(dir, fn, arg);
        free(dir);
    }
}
