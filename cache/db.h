/*
 * The index (SQLite; this is its only user): what saves time and may be lost. Nothing here can
 * fail a build: a database that cannot be used is reported once, and a damaged one is moved aside
 * and made anew. A rollback journal, not WAL: SQLite before 3.51.3 can corrupt a WAL database that
 * two processes write (https://sqlite.org/wal.html, "The WAL-reset bug"), and Debian 12 has 3.40.1.
 */
#ifndef UC_CACHE_DB_H
#define UC_CACHE_DB_H

#include "cache/cache.h"

struct uc_db;

/* The index of a cache, opened (and when it is new, filled from the records) at first use. */
struct uc_db *uc_cache_db(struct uc_cache *c);

/* *fresh: it was made anew, and what result records know should be put into it. Never NULL; a
 * database that could not be opened answers "not found" to everything. */
struct uc_db *uc_db_open(const char *path, bool *fresh);
void uc_db_close(struct uc_db *db);

/* Writes between these are one transaction; without them each is its own. Keep it short. */
void uc_db_begin(struct uc_db *db);
void uc_db_commit(struct uc_db *db);

/* Digest of the file that has this identity. */
bool uc_db_file_get(struct uc_db *db, const struct uc_fident *id, struct uc_digest *out);
void uc_db_file_put(struct uc_db *db, const struct uc_fident *id, const struct uc_digest *d);

/* Small values by digest; get: caller frees *data (NUL-terminated). */
bool uc_db_meta_get(struct uc_db *db, const struct uc_digest *key, void **data, size_t *len);
void uc_db_meta_put(struct uc_db *db, const struct uc_digest *key, const void *data, size_t len);

/* A result was made: bytes of its blobs, what it cost. */
void uc_db_result_put(struct uc_db *db, const struct uc_digest *key, const char *op, uint64_t bytes,
                      double seconds);
/* A result was used (hit or made) by a build. */
void uc_db_result_used(struct uc_db *db, const struct uc_digest *key);

/* Predictions: core seconds (cpu) and wall seconds of an op by size class, the exponent of its
 * declared work. get falls back to the op's mean seconds per work; false without any history. */
void uc_db_history_add(struct uc_db *db, const char *op, double work, double seconds);
bool uc_db_history_get(struct uc_db *db, const char *op, double work, double *seconds);

/* Key of an action in the last build of a scope, and its readable text; caller frees *text. */
bool uc_db_last_get(struct uc_db *db, const char *scope, const char *name, struct uc_digest *key,
                    char **text);
void uc_db_last_put(struct uc_db *db, const char *scope, const char *name,
                    const struct uc_digest *key, const char *text);

#endif
