/*
 * An op is a kind of action: a name, a version, and a function that turns input files into output
 * files. It runs in a worker process, sees only what the action declares, and knows nothing of
 * keys, the cache or the scheduler.
 *
 * The version is part of every key: raise it whenever the same inputs may give other bytes.
 */
#ifndef UC_ENGINE_OP_H
#define UC_ENGINE_OP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/pool.h"

struct uc_op_input {
    const char *name;  /* the action's name for it: "weight", "x", "shard/003" */
    const char *path;  /* file that holds it */
    uint64_t offset;   /* where it starts in that file */
    uint64_t size;     /* bytes */
    const char *dtype; /* tensors: "BF16", ...; else NULL */
    int n_dim;         /* tensors */
    uint64_t shape[8];
    const uint8_t *data; /* read-only map of the bytes; set before run, NULL when size is 0 */
    bool mapped;         /* data is such a map: uc_op_forget may give its memory back */
};

struct uc_op_output {
    const char *name;
    const char *path; /* to be created by the op, on the cache's file system */
};

struct uc_op_ctx {
    const json_t
        *params; /* object; only JSON integers, reals, strings, booleans, arrays, objects */
    const struct uc_op_input *inputs; /* sorted by name (byte order) */
    size_t n_inputs;
    const struct uc_op_output *outputs;
    size_t n_outputs;
    int n_threads;
    struct uc_pool *pool; /* n_threads wide */
    const char *scratch;  /* private folder, removed afterwards */
    json_t *metrics;      /* object the op may fill: numbers for logs and reports, not in any key */
    void (*progress)(struct uc_op_ctx *ctx, uint64_t done, uint64_t total, const char *unit);
    void *host;
};

/* Lookups that cannot be missing when the recipe is right: a miss is UC_EFAIL naming it. */
const struct uc_op_input *uc_op_in(const struct uc_op_ctx *ctx, const char *name,
                                   struct uc_err *err);
/* NULL when there is none. */
const struct uc_op_input *uc_op_in_opt(const struct uc_op_ctx *ctx, const char *name);
/* Inputs whose names start with prefix, which are adjacent: first and count. */
size_t uc_op_in_group(const struct uc_op_ctx *ctx, const char *prefix,
                      const struct uc_op_input **first);
const char *uc_op_out(const struct uc_op_ctx *ctx, const char *name, struct uc_err *err);
/* These bytes of an input, a whole one or a part, are not needed for a while: what is resident of
 * them is given back, so that memory follows what is worked on and not the size of the inputs. */
void uc_op_forget(const struct uc_op_ctx *ctx, const void *p, size_t n);
/* SHA-256 of a whole input, of which nothing stays resident. */
void uc_op_in_digest(const struct uc_op_input *in, struct uc_digest *out);
/* Writes a whole output at once. */
int uc_op_put(const struct uc_op_ctx *ctx, const char *name, const void *p, size_t n,
              struct uc_err *err);

struct uc_op {
    const char *name;
    unsigned version;
    const char *summary; /* one line for `uc help ops` */
    int (*run)(struct uc_op_ctx *ctx, struct uc_err *err);
};

/* All ops, NULL-terminated, sorted by name (engine/ops/registry.c). */
extern const struct uc_op *const uc_ops[];
const struct uc_op *uc_op_find(const char *name);

#endif
