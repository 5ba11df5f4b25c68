/*
 * Writes the folder of a target. It is written beside its place under another name, synced, read
 * back, and then takes its place in one step, so nobody ever sees half of it. Files are copies (or
 * reflinks), never hard links into the cache: users may edit them.
 */
#ifndef UC_ENGINE_TARGET_H
#define UC_ENGINE_TARGET_H

#include "cache/cache.h"

struct uc_target_file {
    const char *name; /* path inside the folder */
    const char *path; /* file that holds the bytes; NULL: data does */
    uint64_t offset, size;
    const void *data;
    struct uc_digest digest;
    bool is_blob; /* path is a blob of the cache */
};

/* Before hours of work: could dir be written? Errors as uc_target_write. */
int uc_target_check(const char *dir, struct uc_err *err);

/* *changed: the folder was written; false when it was right already.
 * UC_EFAIL with a fix: the folder is there and uc did not make it. UC_ECORRUPT: the bytes of file
 * *bad are not those of its digest. */
int uc_target_write(struct uc_cache *c, const char *dir, const struct uc_target_file *files,
                    size_t n, bool *changed, size_t *bad, struct uc_err *err);

#endif
