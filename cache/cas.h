/*
 * Blobs by digest. A blob becomes visible under its name only when it is whole: it is written and
 * hashed in scratch on the same file system, synced, linked to its name, and the folder is synced.
 * A name that exists already is compared with the new bytes, never trusted.
 */
#ifndef UC_CACHE_CAS_H
#define UC_CACHE_CAS_H

#include "cache/cache.h"

/* Path of the blob, there or not; caller frees. */
char *uc_cas_path(const struct uc_cache *c, const struct uc_digest *d);
/* A regular file of that size stands under the name; its bytes are not looked at. */
bool uc_cas_has(const struct uc_cache *c, const struct uc_digest *d, uint64_t size);
/* UC_ECORRUPT: the bytes are not those of the name. UC_ENOTFOUND: there is none. */
int uc_cas_verify(const struct uc_cache *c, const struct uc_digest *d, struct uc_err *err);
void uc_cas_drop(const struct uc_cache *c, const struct uc_digest *d);
/* Whole blob, verified; caller frees *data (NUL-terminated). Errors as uc_cas_verify. */
int uc_cas_read(const struct uc_cache *c, const struct uc_digest *d, size_t max, char **data,
                size_t *len, struct uc_err *err);

/* Makes a finished file ready to publish: read-only, hashed, and (sync) on the disk. Needs no
 * cache, so that workers do it. UC_EIO when path is not a regular file. */
int uc_cas_seal(const char *path, bool sync, struct uc_digest *out, uint64_t *size,
                struct uc_err *err);

struct uc_cas_new {
    const char *path; /* sealed file in scratch; gone afterwards */
    struct uc_digest digest;
    uint64_t size;
    bool sync; /* it was synced when sealed, so its name is synced too */
};
/* Publishes n sealed files. On an error some may be visible: whole blobs that no record names. */
int uc_cas_publish(struct uc_cache *c, const struct uc_cas_new *blobs, size_t n,
                   struct uc_err *err);

#endif
