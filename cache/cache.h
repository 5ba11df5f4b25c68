/*
 * The cache folder: blobs (cas.h), result records (ac.h), leases (lease.h), and an index in SQLite
 * (db.h) that only remembers what saves time: digests of files, seconds of past runs, last uses,
 * plans. The folder may be deleted at any time, and so may the index alone.
 *
 *   format            which layout this is; another one is refused
 *   cas/ab/<sha256>   blobs, read-only
 *   ac/ab/<key>       result records: what an action with this key produced
 *   locks/            leases; locks on open descriptors, so they end with their process
 *   scratch/<build>/  outputs that are not published yet
 *   logs/ab/<key>     what the action's worker printed
 *   builds/<id>.ndjson  events of a build
 *   index.db          the index
 *
 * A struct uc_cache belongs to one thread.
 */
#ifndef UC_CACHE_CACHE_H
#define UC_CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fsio.h"

struct uc_cache;

enum {
    UC_CACHE_NO_SYNC = 1u << 0, /* scratch caches: nothing is synced to disk */
};

/* dir NULL: uc_cache_default_dir(). Creates the folder when it is missing.
 * UC_EBUSY: the folder is of another version of uc. UC_EUSAGE: it holds something else. */
int uc_cache_open(struct uc_cache **out, const char *dir, unsigned flags, struct uc_err *err);
void uc_cache_close(struct uc_cache *c);
/* $UC_CACHE, else $XDG_CACHE_HOME/uc, else ~/.cache/uc; caller frees. */
char *uc_cache_default_dir(void);
/* Absolute path, borrowed. */
const char *uc_cache_dir(const struct uc_cache *c);
bool uc_cache_syncs(const struct uc_cache *c);
/* Where the output of the worker of the action with this key is kept; caller frees. */
char *uc_cache_log_path(const struct uc_cache *c, const struct uc_digest *key);

/*
 * Identity of a file such that a later change of its content changes the identity: when the file
 * is younger than the clock of its file system can tell, this waits (some milliseconds) first.
 * *trusted (may be NULL) is false when the identity cannot vouch for the content even so (its
 * time lies in the future); what is derived from it must not be stored.
 */
int uc_cache_ident(struct uc_cache *c, const char *path, struct uc_fident *out, bool *trusted,
                   struct uc_err *err);

/* SHA-256 of a file's bytes, read only when its identity is new. ident may be NULL.
 * UC_EFAIL: the file changed while it was read. */
int uc_cache_file_digest(struct uc_cache *c, const char *path, struct uc_digest *out,
                         struct uc_fident *ident, struct uc_err *err);

/* Small derived facts (slicing of a text, headers) by a digest of what they derive from; losing
 * them costs time only. get: 1 found (caller frees *data, NUL-terminated), 0 not found. */
int uc_cache_get_meta(struct uc_cache *c, const struct uc_digest *key, void **data, size_t *len,
                      struct uc_err *err);
int uc_cache_put_meta(struct uc_cache *c, const struct uc_digest *key, const void *data, size_t len,
                      struct uc_err *err);

#endif
