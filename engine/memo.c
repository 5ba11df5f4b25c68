#include "engine/memo.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "cache/db.h"

static void add_text(struct uc_hash *h, const char *s)
{
    uc_hash_add(h, s, strlen(s) + 1);
}

static void add_u64(struct uc_hash *h, uint64_t v)
{
    uc_hash_add(h, &v, sizeof(v));
}

void uc_memo_key(const char *recipe, const char *params, struct uc_digest *out)
{
    struct uc_hash *h = uc_hash_new();
    struct uc_fident self = {0};
    char *cwd = getcwd(NULL, 0);

    uc_fident_get("/proc/self/exe", &self, NULL);
    add_text(h, "uc memo 1");
    add_text(h, cwd ? cwd : "");
    add_text(h, recipe);
    add_text(h, params);
    add_u64(h, self.size);
    add_u64(h, self.inode);
    add_u64(h, (uint64_t)self.mtime_ns);
    add_u64(h, (uint64_t)self.ctime_ns);
    uc_hash_end(h, out);
    uc_hash_free(h);
    free(cwd);
}

/* A memo is {"files": [[path, size, inode, mtime, ctime], ...], "summary": ...}. */
static json_t *file_json(const char *path, const struct uc_fident *id)
{
    return json_pack("[s,I,I,I,I]", path, (json_int_t)id->size, (json_int_t)id->inode,
                     (json_int_t)id->mtime_ns, (json_int_t)id->ctime_ns);
}

static bool is_same_file(const json_t *f)
{
    const char *path = json_string_value(json_array_get(f, 0));
    struct uc_fident now = {0}, then = {0};

    if (!path || json_array_size(f) != 5)
        return false;
    then.size = (uint64_t)json_integer_value(json_array_get(f, 1));
    then.inode = (uint64_t)json_integer_value(json_array_get(f, 2));
    then.mtime_ns = json_integer_value(json_array_get(f, 3));
    then.ctime_ns = json_integer_value(json_array_get(f, 4));
    uc_fident_get(path, &now, NULL); /* stays zero when there is none */
    return uc_fident_same(&now, &then);
}

int uc_memo_check(struct uc_cache *c, const struct uc_digest *key, json_t **summary,
                  struct uc_err *err)
{
    void *text;
    size_t n;
    json_t *memo, *files, *f;
    size_t i;
    int rc = uc_cache_get_meta(c, key, &text, &n, err);

    *summary = NULL;
    if (rc <= 0)
        return rc;
    memo = uc_json_parse(text, n, "memo", NULL);
    free(text);
    files = json_object_get(memo, "files");
    rc = json_is_array(files);
    json_array_foreach(files, i, f)
    {
        if (rc && !is_same_file(f))
            rc = 0;
    }
    if (rc)
        *summary = json_incref(json_object_get(memo, "summary"));
    json_decref(memo);
    return rc;
}

/* 1 when all files still are what they were when planning read them, 0 when one is not. A file too
 * young to be told from a later version of itself is waited for. */
static int add_read(struct uc_cache *c, json_t *files, const struct uc_memo_file *read, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct uc_fident now = {0};
        bool trusted = true;
        if (uc_cache_ident(c, read[i].path, &now, &trusted, NULL) < 0)
            now = (struct uc_fident){0};
        if (!trusted || !uc_fident_same(&now, &read[i].ident))
            return 0;
        if (json_array_append_new(files, file_json(read[i].path, &now)) < 0)
            return 0; /* a name that is not UTF-8 */
    }
    return 1;
}

static int add_written(struct uc_cache *c, json_t *files, const char *const *written, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct uc_fident now;
        bool trusted;
        if (uc_cache_ident(c, written[i], &now, &trusted, NULL) < 0 || !trusted)
            return 0;
        if (json_array_append_new(files, file_json(written[i], &now)) < 0)
            return 0;
    }
    return 1;
}

int uc_memo_store(struct uc_cache *c, const struct uc_digest *key, const struct uc_memo_file *read,
                  size_t n_read, const char *const *written, size_t n_written,
                  const json_t *summary, struct uc_err *err)
{
    json_t *files = json_array(), *memo = json_object();
    char *text;
    int rc = 0;

    if (add_read(c, files, read, n_read) && add_written(c, files, written, n_written)) {
        json_object_set(memo, "files", files);
        json_object_set(memo, "summary", (json_t *)summary);
        text = uc_json_canonical(memo);
        rc = uc_cache_put_meta(c, key, text, strlen(text), err);
        free(text);
    }
    json_decref(files);
    json_decref(memo);
    return rc;
}
