/* Files: whole reads, atomic writes, read-only maps, identities. Errors name the path. */
#ifndef UC_BASE_FSIO_H
#define UC_BASE_FSIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/err.h"

/* What tells whether a file changed without reading it (design.md section 4). */
struct uc_fident {
    uint64_t size, inode, dev;
    int64_t mtime_ns, ctime_ns;
};

/* A read-only mapping of a whole file. */
struct uc_map {
    const uint8_t *data; /* not NULL even when size is 0 */
    size_t size;
    struct uc_fident ident;
    int fd;
};

/* Whole file, NUL-terminated after *len bytes; caller frees *data. max 0 = 1 GiB. */
int uc_read_file(const char *path, size_t max, char **data, size_t *len, struct uc_err *err);
/* Writes all n bytes to fd, across short writes and EINTR; path is for the message. */
int uc_write_all(int fd, const void *p, size_t n, const char *path, struct uc_err *err);
/* Temporary file beside path, fdatasync when sync, rename over path. Mode 0644. */
int uc_write_file(const char *path, const void *p, size_t n, bool sync, struct uc_err *err);
/* mkdir -p. */
int uc_mkdirs(const char *path, struct uc_err *err);
/* rm -rf; a missing path is fine. */
int uc_remove_tree(const char *path, struct uc_err *err);
/* Copies a regular file (reflink or copy_file_range where possible); dst must not exist. */
int uc_copy_file(const char *src, const char *dst, mode_t mode, struct uc_err *err);
int uc_sync_dir(const char *path, struct uc_err *err);

int uc_map_open(struct uc_map *m, const char *path, struct uc_err *err);
void uc_map_close(struct uc_map *m);
/* These bytes of a read-only map of a file need not stay resident; they are read from the file
 * again when they are touched. */
void uc_map_forget(const void *p, size_t n);
/* SHA-256 of bytes of such a map, none of which stays resident. */
void uc_map_digest(const void *p, size_t n, struct uc_digest *out);

int uc_fident_get(const char *path, struct uc_fident *out, struct uc_err *err);
void uc_fident_of(const struct stat *st, struct uc_fident *out);
/* Same content as far as stat can tell; the device is only a hint and is not compared. */
bool uc_fident_same(const struct uc_fident *a, const struct uc_fident *b);

/* SHA-256 of a file's bytes, and its size when size is not NULL. */
int uc_hash_file(const char *path, struct uc_digest *out, uint64_t *size, struct uc_err *err);

/* Free bytes for an ordinary user on the file system of path. */
int uc_free_space(const char *path, uint64_t *out, struct uc_err *err);

/* dir + "/" + name; caller frees. name alone when it is absolute or dir is NULL or ".". */
char *uc_path_join(const char *dir, const char *name);
/* The folder part ("." when there is none); caller frees. */
char *uc_path_dir(const char *path);
/* The last part, borrowed from path. */
const char *uc_path_base(const char *path);

#endif
