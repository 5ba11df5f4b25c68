/*
 * The whole evaluation, memoized: the same recipe with the same parameters, run by the same binary,
 * while no file that it read and no file that it wrote has changed, has nothing to do. Finding that
 * out costs a stat per file outside the cache; neither the recipe nor the graph is looked at.
 */
#ifndef UC_ENGINE_MEMO_H
#define UC_ENGINE_MEMO_H

#include <jansson.h>

#include "base/digest.h"
#include "cache/cache.h"

/* A file (or folder) that was read while planning, as it was then. */
struct uc_memo_file {
    const char *path;
    struct uc_fident ident; /* all zero: it did not exist */
};

/* Name of a memo: recipe path, parameters (canonical text: --set, options that reach the graph,
 * target names) and this binary's own identity. Relative paths count from the working folder. */
void uc_memo_key(const char *recipe, const char *params, struct uc_digest *out);

/* 1: nothing to do, and *summary is what was stored (caller json_decref()s); 0: unknown or stale.
 * Never waits, never reads a file. */
int uc_memo_check(struct uc_cache *c, const struct uc_digest *key, json_t **summary,
                  struct uc_err *err);

/* Stores after a build that succeeded. read: what planning read, with the identities it had then;
 * written: files of the target folders (identities are taken here). Stores nothing (and returns 0)
 * when a file of read has another identity by now. */
int uc_memo_store(struct uc_cache *c, const struct uc_digest *key, const struct uc_memo_file *read,
                  size_t n_read, const char *const *written, size_t n_written,
                  const json_t *summary, struct uc_err *err);

#endif
