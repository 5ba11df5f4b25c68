#include "base/fsio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

static int open_read(const char *path, struct stat *st, struct uc_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return uc_fail_errno(err, "%s", path);
    if (fstat(fd, st) < 0) {
        uc_fail_errno(err, "%s", path);
        close(fd);
        return err ? err->code : UC_EIO;
    }
    if (S_ISDIR(st->st_mode)) {
        close(fd);
        return uc_fail(err, UC_EIO, "%s: is a folder, a file was expected", path);
    }
    return fd;
}

int uc_read_file(const char *path, size_t max, char **data, size_t *len, struct uc_err *err)
{
    struct stat st;
    int fd = open_read(path, &st, err), rc = 0;
    size_t n = 0, cap;
    char *p;

    *data = NULL;
    *len = 0;
    if (fd < 0)
        return fd;
    if (!max)
        max = (size_t)1 << 30;
    cap = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 65536;
    if (cap > max) {
        close(fd);
        return uc_fail(err, UC_ERESOURCE, "%s: %zu bytes, more than the %zu allowed", path, cap,
                       max);
    }
    p = malloc(cap + 1);
    while (p) {
        ssize_t r = read(fd, p + n, cap - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            rc = uc_fail_errno(err, "%s: read", path);
        if (r <= 0)
            break;
        n += (size_t)r;
        if (n == cap) {
            char probe;
            ssize_t more = read(fd, &probe, 1);
            if (more <= 0)
                break;
            if (cap >= max) {
                rc = uc_fail(err, UC_ERESOURCE, "%s: more than the %zu bytes allowed", path, max);
                break;
            }
            cap = cap * 2 < max ? cap * 2 : max;
            char *q = realloc(p, cap + 1);
            if (!q) {
                free(p);
                p = NULL;
                break;
            }
            p = q;
            p[n++] = probe;
        }
    }
    close(fd);
    if (!p)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu bytes", path, cap);
    if (rc < 0) {
        free(p);
        return rc;
    }
    p[n] = 0;
    *data = p;
    *len = n;
    return 0;
}

int uc_write_all(int fd, const void *p, size_t n, const char *path, struct uc_err *err)
{
    const char *b = p;

    while (n) {
        ssize_t w = write(fd, b, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return uc_fail_errno(err, "%s: write", path);
        b += w;
        n -= (size_t)w;
    }
    return 0;
}

int uc_write_file(const char *path, const void *p, size_t n, bool sync, struct uc_err *err)
{
    char *tmp = uc_xasprintf("%s.tmp.XXXXXX", path);
    int fd = mkostemp(tmp, O_CLOEXEC), rc;

    if (fd < 0) {
        rc = uc_fail_errno(err, "%s: create", tmp);
        free(tmp);
        return rc;
    }
    rc = uc_write_all(fd, p, n, tmp, err);
    if (rc == 0 && fchmod(fd, 0644) < 0)
        rc = uc_fail_errno(err, "%s: chmod", tmp);
    if (rc == 0 && sync && fdatasync(fd) < 0)
        rc = uc_fail_errno(err, "%s: fdatasync", tmp);
    if (close(fd) < 0 && rc == 0)
        rc = uc_fail_errno(err, "%s: close", tmp);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = uc_fail_errno(err, "%s: rename", path);
    if (rc < 0)
        unlink(tmp);
    free(tmp);
    return rc;
}

int uc_mkdirs(const char *path, struct uc_err *err)
{
    char *p = uc_xstrdup(path);
    int rc = 0;

    for (char *s = p + 1; rc == 0; s++) {
        if (*s != '/' && *s)
            continue;
        char c = *s;
        *s = 0;
        if (mkdir(p, 0755) < 0 && errno != EEXIST)
            rc = uc_fail_errno(err, "%s: create folder", p);
        *s = c;
        if (!c)
            break;
    }
    struct stat st;
    if (rc == 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
        rc = uc_fail(err, UC_EIO, "%s: exists and is not a folder", path);
    free(p);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int uc_remove_tree(const char *path, struct uc_err *err)
{
    struct stat st;

    if (lstat(path, &st) < 0 && errno == ENOENT)
        return 0;
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0)
        return uc_fail_errno(err, "%s: remove", path);
    return 0;
}

static int copy_bytes(int in, int out, const char *dst, struct uc_err *err)
{
    char buf[1 << 16];

    if (ioctl(out, FICLONE, in) == 0)
        return 0;
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0);
        if (n == 0)
            return 0;
        if (n < 0)
            break;
    }
    for (;;) {
        ssize_t n = read(in, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return uc_fail_errno(err, "copy to %s: read", dst);
        if (n == 0)
            return 0;
        int rc = uc_write_all(out, buf, (size_t)n, dst, err);
        if (rc < 0)
            return rc;
    }
}

int uc_copy_file(const char *src, const char *dst, mode_t mode, struct uc_err *err)
{
    struct stat st;
    int in = open_read(src, &st, err), out, rc;

    if (in < 0)
        return in;
    out = open(dst, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) {
        rc = uc_fail_errno(err, "%s: create", dst);
        close(in);
        return rc;
    }
    rc = copy_bytes(in, out, dst, err);
    if (rc == 0 && fchmod(out, mode) < 0)
        rc = uc_fail_errno(err, "%s: chmod", dst);
    if (close(out) < 0 && rc == 0)
        rc = uc_fail_errno(err, "%s: close", dst);
    close(in);
    if (rc < 0)
        unlink(dst);
    return rc;
}

int uc_sync_dir(const char *path, struct uc_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return uc_fail_errno(err, "%s", path);
    if (fsync(fd) < 0 && errno != EINVAL)
        rc = uc_fail_errno(err, "%s: fsync", path);
    close(fd);
    return rc;
}

int uc_map_open(struct uc_map *m, const char *path, struct uc_err *err)
{
    static const uint8_t nothing[1];
    struct stat st;
    void *p;

    memset(m, 0, sizeof(*m));
    m->fd = -1;
    int fd = open_read(path, &st, err);
    if (fd < 0)
        return fd;
    m->data = nothing;
    if (st.st_size > 0) {
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            int rc = uc_fail_errno(err, "%s: mmap", path);
            close(fd);
            return rc;
        }
        m->data = p;
    }
    m->size = (size_t)st.st_size;
    m->fd = fd;
    uc_fident_of(&st, &m->ident);
    return 0;
}

void uc_map_close(struct uc_map *m)
{
    if (m->size)
        munmap((void *)m->data, m->size);
    if (m->fd >= 0 && m->data)
        close(m->fd);
    memset(m, 0, sizeof(*m));
    m->fd = -1;
}

void uc_map_forget(const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)p + page - 1) / page * page,
              end = ((uintptr_t)p + n) / page * page;

    if (end > first)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

void uc_map_digest(const void *p, size_t n, struct uc_digest *out)
{
    const size_t piece = (size_t)4 << 20;
    struct uc_hash *h = uc_hash_new();

    for (size_t i = 0; i < n; i += piece) {
        size_t len = n - i < piece ? n - i : piece;
        uc_hash_add(h, (const uint8_t *)p + i, len);
        uc_map_forget((const uint8_t *)p + i, len);
    }
    uc_hash_end(h, out);
    uc_hash_free(h);
}

void uc_fident_of(const struct stat *st, struct uc_fident *out)
{
    out->size = (uint64_t)st->st_size;
    out->inode = st->st_ino;
    out->dev = st->st_dev;
    out->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    out->ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

int uc_fident_get(const char *path, struct uc_fident *out, struct uc_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return uc_fail_errno(err, "%s", path);
    uc_fident_of(&st, out);
    return 0;
}

bool uc_fident_same(const struct uc_fident *a, const struct uc_fident *b)
{
    return a->size == b->size && a->inode == b->inode && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

int uc_hash_file(const char *path, struct uc_digest *out, uint64_t *size, struct uc_err *err)
{
    struct stat st;
    int fd = open_read(path, &st, err), rc = 0;
    struct uc_hash *h;
    uint64_t total = 0;
    size_t cap = (size_t)1 << 20;
    char *buf;

    if (fd < 0)
        return fd;
    buf = uc_xmalloc(cap);
    h = uc_hash_new();
    for (;;) {
        ssize_t n = read(fd, buf, cap);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = uc_fail_errno(err, "%s: read", path);
        if (n <= 0)
            break;
        uc_hash_add(h, buf, (size_t)n);
        total += (uint64_t)n;
    }
    uc_hash_end(h, out);
    uc_hash_free(h);
    free(buf);
    close(fd);
    if (size)
        *size = total;
    return rc;
}

int uc_free_space(const char *path, uint64_t *out, struct uc_err *err)
{
    struct statvfs v;

    if (statvfs(path, &v) < 0)
        return uc_fail_errno(err, "%s: statvfs", path);
    *out = (uint64_t)v.f_bavail * v.f_frsize;
    return 0;
}

char *uc_path_join(const char *dir, const char *name)
{
    if (!dir || name[0] == '/' || strcmp(dir, ".") == 0)
        return uc_xstrdup(name);
    return uc_xasprintf("%s%s%s", dir, *dir && dir[strlen(dir) - 1] == '/' ? "" : "/", name);
}

char *uc_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return uc_xstrdup(".");
    return uc_xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

const char *uc_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}
