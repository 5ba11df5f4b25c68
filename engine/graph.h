/*
 * The graph: actions with declared inputs and outputs, and targets (artifacts) made of outputs.
 * It stands complete before anything runs. All memory belongs to the graph.
 */
#ifndef UC_ENGINE_GRAPH_H
#define UC_ENGINE_GRAPH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/fsio.h"

enum uc_retention {
    UC_KEEP,      /* never collected while a target needs it */
    UC_CACHE,     /* may be collected */
    UC_TRANSIENT, /* deleted after its last use in the build, not synced to disk */
};

struct uc_output {
    const char *name;
    enum uc_retention retention;
    uint64_t bytes; /* predicted; 0 when not known */
};

enum uc_ref_kind {
    UC_REF_OUTPUT, /* output of another action */
    UC_REF_TENSOR, /* region of a checkpoint file; its digest comes from a fingerprint action */
    UC_REF_SLICE,  /* region of a tracked local file whose digest is known when planning */
    UC_REF_INLINE, /* bytes that the recipe itself holds */
};

struct uc_ref {
    enum uc_ref_kind kind;
    uint32_t action;    /* OUTPUT: the producer; TENSOR: the fingerprint action */
    const char *output; /* OUTPUT: its output's name; TENSOR: the tensor's name */
    const char *path;   /* TENSOR, SLICE: the file */
    uint64_t offset, size;
    struct uc_digest digest; /* SLICE, INLINE */
    const char *dtype;       /* TENSOR */
    int n_dim;
    uint64_t shape[8];
    const void *data; /* INLINE */
};

struct uc_input {
    const char *name;
    struct uc_ref ref;
};

struct uc_action {
    uint32_t id;
    const char *op;
    const char *name;        /* unique, for people: "capture layers.3 c4.utf8#0" */
    json_t *params;          /* object */
    struct uc_input *inputs; /* sorted by name */
    size_t n_inputs;
    struct uc_output *outputs; /* sorted by name */
    size_t n_outputs;
    int threads;     /* most threads it can use; at least 1 */
    uint64_t memory; /* predicted peak bytes of the worker */
    double work;     /* predicted size in arbitrary but per-op consistent units (flops, bytes) */
    /* fingerprint only: the file it reads, whose stat identity stands for its bytes in the key; the
     * op gets it as its only input, "file" */
    const char *stat_path;
};

struct uc_target {
    const char *name;
    const char *dir;        /* output folder; NULL: nothing is written outside the cache */
    struct uc_input *files; /* name = path inside the folder */
    size_t n_files;
    const char *summary; /* name of one of files (JSON) that the closing summary prints, or NULL */
    json_t *info;        /* what `uc plan` and the summary show: source, bpw, weights, ... */
};

struct uc_graph {
    struct uc_arena arena;
    struct uc_action *actions;
    size_t n_actions, cap_actions;
    struct uc_target *targets;
    size_t n_targets, cap_targets;
    const char *default_target; /* NULL: the only one */
    uint32_t *by_name;          /* hash table: action id + 1 */
    size_t cap_by_name;
};

void uc_graph_init(struct uc_graph *g);
void uc_graph_release(struct uc_graph *g);
/* Copies everything of a (params is increfed, NULL means {}); sorts inputs and outputs; sets *id.
 * Inputs refer to actions that were added before, so there are no cycles and ids ascend along
 * every path. UC_EUSAGE: unknown op, name used twice, input that names no output of its action. */
int uc_graph_add(struct uc_graph *g, const struct uc_action *a, uint32_t *id, struct uc_err *err);
int uc_graph_add_target(struct uc_graph *g, const struct uc_target *t, struct uc_err *err);
const struct uc_action *uc_graph_find(const struct uc_graph *g, const char *name);
const struct uc_output *uc_graph_output(const struct uc_graph *g, uint32_t action,
                                        const char *name);
/* Actions that target t needs, in an order in which every producer comes before its users; the
 * order depends on the graph only. ids: g->n_actions entries; *n is set. */
void uc_graph_closure(const struct uc_graph *g, const struct uc_target *t, uint32_t *ids,
                      size_t *n);
/* Canonical JSON of the whole graph: equal recipes give equal bytes. Caller frees. */
char *uc_graph_json(const struct uc_graph *g);

#endif
