/*
 * What is known about the actions of a graph while it is planned or built: keys, digests of
 * outputs, and why something has to run.
 */
#ifndef UC_ENGINE_RESOLVE_H
#define UC_ENGINE_RESOLVE_H

#include "cache/cas.h"
#include "engine/build.h"

/* The output of a fingerprint action: JSON object, tensor name -> digest. */
#define UC_FINGERPRINT_OUTPUT "digests"

struct uc_known {
    bool has_key, has_outputs, has_ident;
    bool stored;    /* a record was there when it was looked up */
    bool corrupt;   /* bytes of it turned out to be damaged */
    bool untrusted; /* its file may change without a trace: the result must not be stored */
    struct uc_digest key;
    enum uc_why why;
    char *detail;
    double seconds;         /* what the stored result cost */
    struct uc_fident ident; /* of stat_path */
    json_t *digests;        /* fingerprint: its output */
};

struct uc_known_output {
    struct uc_digest digest;
    uint64_t size;
    bool held; /* counted in the blob's holders */
};

/* A blob of this build. */
struct uc_blob {
    struct uc_digest digest;
    uint32_t holders; /* outputs with these bytes that may still be asked for */
    bool vouched;     /* this build made it or has checked its bytes */
    bool used;        /* the slot of the table is taken */
};

struct uc_resolver {
    struct uc_cache *cache;
    const struct uc_graph *g;
    const char *force, *scope;
    struct uc_known *known;          /* by action id */
    struct uc_known_output *outputs; /* all actions' one after the other */
    size_t *first_output;            /* by action id */
    struct uc_blob *blobs;
    size_t n_blobs, cap_blobs;
};

void uc_resolver_init(struct uc_resolver *r, struct uc_cache *cache, const struct uc_graph *g,
                      const struct uc_build_opts *opts);
void uc_resolver_release(struct uc_resolver *r);

/* Digest of an input, whose producer must be known. TENSOR: the tensor's, not the bytes'. */
int uc_resolver_input(struct uc_resolver *r, const struct uc_input *in, struct uc_digest *out,
                      struct uc_err *err);
/* Computes the key. 1: a result is stored and its outputs are known now; 0: it must run, and
 * known[id].why says why; negative: err. */
int uc_resolver_lookup(struct uc_resolver *r, uint32_t id, struct uc_err *err);
/* Readable text of the key; caller frees. */
char *uc_resolver_key_text(struct uc_resolver *r, uint32_t id);
/* Takes the outputs of a stored result; false when it lacks one that the action declares. */
struct uc_result;
bool uc_resolver_take_result(struct uc_resolver *r, uint32_t id, const struct uc_result *rec);
/* Takes the outputs of an action that ran. */
void uc_resolver_take_new(struct uc_resolver *r, uint32_t id, const struct uc_cas_new *outputs);
/* Fingerprint actions: reads the published output. UC_ECORRUPT, UC_ENOTFOUND: as uc_cas_read. */
int uc_resolver_read_digests(struct uc_resolver *r, uint32_t id, struct uc_err *err);

struct uc_known_output *uc_resolver_output(const struct uc_resolver *r, uint32_t id, size_t output);
struct uc_known_output *uc_resolver_ref(const struct uc_resolver *r, const struct uc_ref *ref);
bool uc_resolver_present(const struct uc_resolver *r, uint32_t id, size_t output);
/* The blob's entry, made when it is new; valid until the next call. */
struct uc_blob *uc_resolver_blob(struct uc_resolver *r, const struct uc_digest *d);

/* Actions that targets (or, with until, the matching actions in them) need: used[id] = 1. */
void uc_resolver_mark_used(const struct uc_graph *g, const struct uc_target *const *targets,
                           size_t n, const char *until, uint8_t *used);
bool uc_action_matches(const struct uc_action *a, const char *pattern);
/* Core seconds that the action will probably take; *from_history may be NULL. */
double uc_predict(struct uc_cache *cache, const struct uc_action *a, bool *from_history);

#endif
