/*
 * Result records: ac/<key> says what the action with that key produced. They are the truth that
 * the index is rebuilt from. A record may outlive its blobs: the digests in it still give the keys
 * of the actions that would read them.
 */
#ifndef UC_CACHE_AC_H
#define UC_CACHE_AC_H

#include <jansson.h>

#include "cache/cache.h"

struct uc_result_output {
    const char *name;
    struct uc_digest digest;
    uint64_t size;
    const char *retention; /* "keep", "cache", "transient" */
};

struct uc_result {
    struct uc_digest key;
    const char *op;
    unsigned version;
    struct uc_result_output *outputs; /* sorted by name */
    size_t n_outputs;
    double seconds, cpu; /* wall, and processor time of the worker */
    uint64_t peak_rss;   /* bytes */
    double work;         /* what the graph declared, for predictions */
    int threads;
    json_t *metrics; /* object that the op filled, or NULL */
    json_t *root;    /* of a record that was read: owns everything above */
};

/* 1 found (release it), 0 none. A damaged record is dropped with a warning and counts as none. */
int uc_ac_get(struct uc_cache *c, const struct uc_digest *key, struct uc_result *out);
void uc_result_release(struct uc_result *r);
/* Publishes the record (sync: durably). Its blobs must be published already. */
int uc_ac_put(struct uc_cache *c, const struct uc_result *r, bool sync, struct uc_err *err);
void uc_ac_drop(struct uc_cache *c, const struct uc_digest *key);
/* Calls fn for every good record, in no particular order. */
void uc_ac_each(struct uc_cache *c, void (*fn)(void *arg, const struct uc_result *r), void *arg);

#endif
