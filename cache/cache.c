#include "cache/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cache/ac.h"
#include "cache/db.h"
#include "cache/internal.h"

static const char format_text[] = "uc-cache 1\n";

char *uc_cache_default_dir(void)
{
    const char *dir = getenv("UC_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (dir && *dir)
        return uc_xstrdup(dir);
    if (xdg && *xdg)
        return uc_path_join(xdg, "uc");
    return uc_path_join(home && *home ? home : "/tmp", ".cache/uc");
}

/* A fresh file system has a lost+found; another process may be about to write the format file. */
static bool is_empty_or_missing(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    bool empty = d || errno == ENOENT;

    while (d && empty && (e = readdir(d)))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                strcmp(e->d_name, "lost+found") == 0 || uc_str_starts(e->d_name, "format");
    if (d)
        closedir(d);
    return empty;
}

/* The format file of a cache, the first thing that is written into a new one. */
static int read_format(const char *dir, const char *path, struct uc_err *err)
{
    char *text = NULL;
    size_t n;
    int rc = uc_read_file(path, 4096, &text, &n, err);

    if (rc == 0 && strcmp(text, format_text) != 0) {
        text[strcspn(text, "\n")] = 0;
        rc = uc_fail(err, UC_EBUSY, "%s: the cache has format '%.60s', this uc knows '%.*s'", dir,
                     text, (int)strlen(format_text) - 1, format_text);
        uc_fix(err, "use the version of uc that made it, or another folder with --cache DIR");
    }
    free(text);
    return rc;
}

/* Reads the format file, or writes it into a folder that holds nothing yet. */
static int check_format(const char *dir, struct uc_err *err)
{
    char *path = uc_path_join(dir, "format");
    int rc = read_format(dir, path, err);

    if (rc == UC_ENOTFOUND && is_empty_or_missing(dir)) {
        rc = uc_mkdirs(dir, err);
        if (rc == 0)
            rc = uc_write_file(path, format_text, strlen(format_text), true, err);
    } else if (rc == UC_ENOTFOUND) {
        rc = read_format(dir, path, err); /* another process may have made it since */
        if (rc == UC_ENOTFOUND) {
            rc = uc_fail(err, UC_EUSAGE, "%s: is not empty and holds no uc cache", dir);
            uc_fix(err, "name an empty or new folder with --cache DIR");
        }
    }
    free(path);
    return rc;
}

static int make_rooms(const char *dir, struct uc_err *err)
{
    static const char *const rooms[] = {"cas", "ac", "locks", "scratch", "logs", "builds"};
    int rc = 0;

    for (size_t i = 0; i < UC_COUNT(rooms) && rc == 0; i++) {
        char *path = uc_path_join(dir, rooms[i]);
        if (access(path, F_OK) < 0)
            rc = uc_mkdirs(path, err);
        free(path);
    }
    return rc;
}

int uc_cache_open(struct uc_cache **out, const char *dir, unsigned flags, struct uc_err *err)
{
    char *given = dir ? uc_xstrdup(dir) : uc_cache_default_dir(), *real;
    struct uc_cache *c = NULL;
    int rc = check_format(given, err);

    *out = NULL;
    if (rc < 0)
        goto out;
    real = realpath(given, NULL);
    if (!real) {
        rc = uc_fail_errno(err, "%s", given);
        goto out;
    }
    rc = make_rooms(real, err);
    if (rc < 0) {
        free(real);
        goto out;
    }
    c = uc_xcalloc(1, sizeof(*c));
    c->dir = real;
    c->flags = flags;
    c->clock_fd = -1;
    *out = c;
out:
    free(given);
    return rc;
}

void uc_cache_close(struct uc_cache *c)
{
    if (!c)
        return;
    uc_db_close(c->db);
    if (c->clock_fd >= 0)
        close(c->clock_fd);
    free(c->dir);
    free(c);
}

const char *uc_cache_dir(const struct uc_cache *c)
{
    return c->dir;
}

bool uc_cache_syncs(const struct uc_cache *c)
{
    return !(c->flags & UC_CACHE_NO_SYNC);
}

char *uc_cache_log_path(const struct uc_cache *c, const struct uc_digest *key)
{
    return uc_cache_shard_path(c, "logs", key);
}

static void index_record(void *arg, const struct uc_result *r)
{
    struct uc_db *db = arg;
    uint64_t bytes = 0;

    for (size_t i = 0; i < r->n_outputs; i++)
        bytes += r->outputs[i].size;
    uc_db_result_put(db, &r->key, r->op, bytes, r->seconds);
    uc_db_history_add(db, r->op, r->work, r->cpu);
}

struct uc_db *uc_cache_db(struct uc_cache *c)
{
    if (!c->db) {
        char *path = uc_path_join(c->dir, "index.db");
        bool fresh;
        c->db = uc_db_open(path, &fresh);
        free(path);
        if (fresh) {
            uc_db_begin(c->db);
            uc_ac_each(c, index_record, c->db);
            uc_db_commit(c->db);
        }
    }
    return c->db;
}

char *uc_cache_shard_path(const struct uc_cache *c, const char *room, const struct uc_digest *d)
{
    char hex[UC_HEX_LEN + 1];

    uc_digest_hex(d, hex);
    return uc_xasprintf("%s/%s/%.2s/%s", c->dir, room, hex, hex);
}

int uc_cache_shard_make(const struct uc_cache *c, const char *path, struct uc_err *err)
{
    char *shard = uc_path_dir(path), *room = uc_path_dir(shard);
    int rc = uc_mkdirs(shard, err);

    if (rc == 0 && !(c->flags & UC_CACHE_NO_SYNC))
        rc = uc_sync_dir(room, err);
    free(shard);
    free(room);
    return rc;
}

int uc_cache_shard_sync(const char *path, struct uc_err *err)
{
    char *shard = uc_path_dir(path);
    int rc = uc_sync_dir(shard, err);

    free(shard);
    return rc;
}

/* The time that a file of the cache's file system would be stamped with now; 0 when unknown. */
static int64_t fs_now(struct uc_cache *c)
{
    struct stat st;
    struct uc_fident id;

    if (c->clock_fd < 0) {
        char *path = uc_xasprintf("%s/locks/clock.XXXXXX", c->dir);
        c->clock_fd = mkostemp(path, O_CLOEXEC);
        if (c->clock_fd >= 0)
            unlink(path);
        free(path);
    }
    if (c->clock_fd < 0 || futimens(c->clock_fd, NULL) < 0 || fstat(c->clock_fd, &st) < 0)
        return 0;
    uc_fident_of(&st, &id);
    return id.ctime_ns;
}

int uc_cache_ident(struct uc_cache *c, const char *path, struct uc_fident *out, bool *trusted,
                   struct uc_err *err)
{
    const int64_t second = 1000000000, tick_ms = 2;
    bool ok = false;

    /* A change after the stat below is stamped with the clock's current tick or later: once the
     * file's own stamp lies before that tick, no change can go unseen. Stamps in whole seconds
     * come from file systems that know nothing finer (FAT: two seconds). */
    for (int64_t waited_ms = 0;; waited_ms += tick_ms) {
        int64_t now = fs_now(c), grain, age;
        int rc = uc_fident_get(path, out, err);
        if (rc < 0)
            return rc;
        grain = out->ctime_ns % second ? 0 : 2 * second;
        age = now - out->ctime_ns;
        ok = now != 0 && age > grain;
        if (ok || age < -second || waited_ms > 100 + grain / 1000000)
            break;
        nanosleep(&(struct timespec){.tv_nsec = tick_ms * 1000000}, NULL);
    }
    if (trusted)
        *trusted = ok;
    return 0;
}

int uc_cache_file_digest(struct uc_cache *c, const char *path, struct uc_digest *out,
                         struct uc_fident *ident, struct uc_err *err)
{
    struct uc_fident before, after;
    bool trusted;
    int rc = uc_cache_ident(c, path, &before, &trusted, err);

    if (rc < 0)
        return rc;
    if (ident)
        *ident = before;
    if (trusted && uc_db_file_get(uc_cache_db(c), &before, out))
        return 0;
    rc = uc_hash_file(path, out, NULL, err);
    if (rc == 0)
        rc = uc_fident_get(path, &after, err);
    if (rc == 0 && !uc_fident_same(&before, &after))
        rc = uc_fail(err, UC_EFAIL, "%s: changed while it was read", path);
    if (rc == 0 && trusted)
        uc_db_file_put(uc_cache_db(c), &before, out);
    return rc;
}

int uc_cache_get_meta(struct uc_cache *c, const struct uc_digest *key, void **data, size_t *len,
                      struct uc_err *err)
{
    return uc_db_meta_get(uc_cache_db(c), key, data, len);
}

int uc_cache_put_meta(struct uc_cache *c, const struct uc_digest *key, const void *data, size_t len,
                      struct uc_err *err)
{
    uc_db_meta_put(uc_cache_db(c), key, data, len);
    return 0;
}
