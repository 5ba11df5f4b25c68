/* What the files of this room share. */
#ifndef UC_CACHE_INTERNAL_H
#define UC_CACHE_INTERNAL_H

#include "cache/cache.h"

struct uc_db;

struct uc_cache {
    char *dir;
    unsigned flags;
    struct uc_db *db; /* opened at first use */
    int clock_fd;     /* unnamed file whose time stamps tell the file system's clock */
};

/* "<cache>/<room>/ab/<hex>" for the digest abcd...; caller frees. */
char *uc_cache_shard_path(const struct uc_cache *c, const char *room, const struct uc_digest *d);
/* Makes the folder of such a path, durably. */
int uc_cache_shard_make(const struct uc_cache *c, const char *path, struct uc_err *err);
/* Makes the names in the folder of such a path durable. */
int uc_cache_shard_sync(const char *path, struct uc_err *err);

#endif
