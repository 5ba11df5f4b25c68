#include "cache/cas.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cache/internal.h"

char *uc_cas_path(const struct uc_cache *c, const struct uc_digest *d)
{
    return uc_cache_shard_path(c, "cas", d);
}

bool uc_cas_has(const struct uc_cache *c, const struct uc_digest *d, uint64_t size)
{
    char *path = uc_cas_path(c, d);
    struct stat st;
    bool has = lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;

    free(path);
    return has;
}

static int check_file(const char *path, const struct uc_digest *d, struct uc_err *err)
{
    struct uc_digest got;
    struct stat st;
    int rc = 0;

    if (lstat(path, &st) < 0)
        return uc_fail_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return uc_fail(err, UC_ECORRUPT, "%s: is not a file", path);
    rc = uc_hash_file(path, &got, NULL, err);
    if (rc == 0 && !uc_digest_eq(&got, d))
        rc = uc_fail(err, UC_ECORRUPT, "%s: its bytes are not those of its name", path);
    return rc;
}

int uc_cas_verify(const struct uc_cache *c, const struct uc_digest *d, struct uc_err *err)
{
    char *path = uc_cas_path(c, d);
    int rc = check_file(path, d, err);

    free(path);
    return rc;
}

void uc_cas_drop(const struct uc_cache *c, const struct uc_digest *d)
{
    char *path = uc_cas_path(c, d);

    uc_remove_tree(path, NULL);
    free(path);
}

int uc_cas_read(const struct uc_cache *c, const struct uc_digest *d, size_t max, char **data,
                size_t *len, struct uc_err *err)
{
    char *path = uc_cas_path(c, d);
    struct uc_digest got;
    int rc = uc_read_file(path, max, data, len, err);

    if (rc == 0) {
        uc_digest_of(*data, *len, &got);
        if (!uc_digest_eq(&got, d)) {
            free(*data);
            *data = NULL;
            rc = uc_fail(err, UC_ECORRUPT, "%s: its bytes are not those of its name", path);
        }
    }
    free(path);
    return rc;
}

int uc_cas_seal(const char *path, bool sync, struct uc_digest *out, uint64_t *size,
                struct uc_err *err)
{
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) < 0)
        return uc_fail_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return uc_fail(err, UC_EIO, "%s: is not a regular file", path);
    if (chmod(path, 0444) < 0)
        return uc_fail_errno(err, "%s: chmod", path);
    rc = uc_hash_file(path, out, size, err);
    if (rc < 0 || !sync)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return uc_fail_errno(err, "%s", path);
    if (fdatasync(fd) < 0)
        rc = uc_fail_errno(err, "%s: fdatasync", path);
    close(fd);
    return rc;
}

/* The name is taken: its bytes stay only if they are right. */
static int settle_existing(const char *path, const char *name, const struct uc_cas_new *b,
                           struct uc_err *err)
{
    struct uc_err bad = {0};
    int rc = check_file(name, &b->digest, &bad);

    if (rc == 0)
        return 0;
    uc_warn("damaged blob replaced: %s", bad.msg);
    if (rc == UC_ECORRUPT)
        uc_remove_tree(name, NULL);
    if (rename(path, name) < 0)
        return uc_fail_errno(err, "%s: publish", name);
    return 0;
}

/* Links the file to its name, making the folder when it is the first there. */
static int link_blob(struct uc_cache *c, const struct uc_cas_new *b, const char *name,
                     struct uc_err *err)
{
    int rc = link(b->path, name);

    if (rc < 0 && errno == ENOENT) {
        rc = uc_cache_shard_make(c, name, err);
        if (rc < 0)
            return rc;
        rc = link(b->path, name);
    }
    if (rc < 0 && errno == EEXIST)
        return settle_existing(b->path, name, b, err);
    return rc < 0 ? uc_fail_errno(err, "%s: publish", name) : 0;
}

static int publish_one(struct uc_cache *c, const struct uc_cas_new *b, struct uc_err *err)
{
    char *name = uc_cas_path(c, &b->digest);
    struct stat st;
    int rc;

    if (lstat(b->path, &st) < 0)
        rc = uc_fail_errno(err, "%s", b->path);
    else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != b->size)
        rc = uc_fail(err, UC_ECORRUPT, "%s: changed after it was sealed", b->path);
    else
        rc = link_blob(c, b, name, err);
    unlink(b->path);
    free(name);
    return rc;
}

int uc_cas_publish(struct uc_cache *c, const struct uc_cas_new *blobs, size_t n, struct uc_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = publish_one(c, &blobs[i], err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!blobs[i].sync || c->flags & UC_CACHE_NO_SYNC)
            continue;
        char *name = uc_cas_path(c, &blobs[i].digest);
        rc = uc_cache_shard_sync(name, err);
        free(name);
    }
    return rc;
}
