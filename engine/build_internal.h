/* What the parts of a running build share: build.c (the loop, targets), run.c (one action). */
#ifndef UC_ENGINE_BUILD_INTERNAL_H
#define UC_ENGINE_BUILD_INTERNAL_H

#include "cache/lease.h"
#include "engine/events.h"
#include "engine/resolve.h"
#include "engine/sched.h"
#include "engine/worker.h"

/* A file outside the cache that a running action reads. */
struct uc_source {
    const char *path; /* the graph's */
    struct uc_fident ident;
};

struct uc_running {
    uint32_t id;
    struct uc_worker *worker;
    struct uc_lease lease;
    struct uc_source *sources;
    size_t n_sources;
};

struct uc_builder {
    struct uc_cache *cache;
    const struct uc_graph *g;
    const struct uc_build_opts *opts;
    struct uc_build_result *res;
    struct uc_err *err; /* the first failure */
    bool failed;
    struct uc_resolver r;
    struct uc_sched *sched;
    struct uc_events events;
    struct uc_presence presence;
    char *scratch; /* <cache>/scratch/<build id> */
    char *me;      /* names this build to others */
    uint8_t *used; /* by action id */
    double *predicted, work_left;
    bool *from_history;
    bool *told_wait;   /* the user knows whom the action waits for */
    uint32_t *retries; /* by action id: how often its inputs got lost */
    struct uc_running *running;
    size_t n_running;
    uint32_t *pending; /* ended actions that the index does not know yet */
    size_t n_pending;
    double flushed;             /* when the index was last told */
    uint64_t dice;              /* draws the hits that are read */
    struct uc_digest *leftover; /* blobs that could not be deleted beside other builds */
    size_t n_leftover, cap_leftover;
};

/* Fills the totals and sends it. */
void uc_builder_emit(struct uc_builder *b, struct uc_event *ev);
void uc_builder_warn(struct uc_builder *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The action has ended with this outcome: counts it and, when it failed with err, keeps the first
 * failure. */
void uc_builder_ended(struct uc_builder *b, uint32_t id, enum uc_outcome outcome,
                      const struct uc_err *err, struct uc_event *ev);
/* Outputs of the action are known: their bytes may be asked for. */
void uc_builder_hold(struct uc_builder *b, uint32_t id);

/* Starts the action in a worker, or finds that another build does or did: enum uc_sched_start, or
 * negative. Failures are reported here. */
int uc_run_start(struct uc_builder *b, uint32_t id, int threads);
/* The worker of running[i] has ended: publishes what it made and tells the scheduler. Removes the
 * entry. */
void uc_run_finish(struct uc_builder *b, size_t i);
/* Kills all workers and forgets them. */
void uc_run_kill_all(struct uc_builder *b);

#endif
