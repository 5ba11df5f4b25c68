/*
 * Runs what is new of a graph, and writes the artifacts of targets.
 *
 * An action runs when no result is stored under its key, or when something that runs needs bytes
 * that the cache no longer has. Actions run in worker processes (worker.h), as many at once as
 * cores and memory allow, the longest remaining path first. What an action produced is published
 * before anything can see it, so a build that is killed at any instant loses only what was running.
 */
#ifndef UC_ENGINE_BUILD_H
#define UC_ENGINE_BUILD_H

#include <signal.h>

#include "cache/cache.h"
#include "engine/graph.h"

/* Why an action runs; uc_why_word gives the word that people see. */
enum uc_why {
    UC_WHY_NONE,    /* it does not */
    UC_WHY_NEVER,   /* never built */
    UC_WHY_CHANGED, /* a field of its key changed since the last build; detail names it */
    UC_WHY_EVICTED, /* built before, bytes that are needed are no longer in the cache */
    UC_WHY_CORRUPT, /* built before, but the bytes in the cache are damaged */
    UC_WHY_FORCED,
};
const char *uc_why_word(enum uc_why why); /* "never built", "changed", ... */

enum uc_outcome {
    UC_UNRESOLVED, /* the build ended before its key was known */
    UC_HIT,        /* the result was in the cache */
    UC_RAN,
    UC_ADOPTED, /* another build made it while this one waited */
    UC_FAILED,
    UC_SKIPPED, /* not run because an action that it needs failed */
};
const char *uc_outcome_word(enum uc_outcome outcome); /* "hit", "ran", ... */

enum uc_event_kind {
    UC_EV_PLAN,     /* all that can be known before anything runs is in the totals */
    UC_EV_START,    /* action, why, detail, threads, predicted */
    UC_EV_PROGRESS, /* action, done, total, unit */
    UC_EV_WAIT,     /* action, text: whom it waits for */
    UC_EV_END,      /* action, outcome, seconds, cpu, peak_rss; text: error when failed */
    UC_EV_WARN,     /* text */
    UC_EV_TARGET,   /* target, changed: its folder was written (false: it was right already) */
    UC_EV_DONE,     /* the build ended; text: error, or NULL */
};

/* What happened, valid during the callback. Pointers are NULL and numbers 0 when not named above;
 * the totals are always set. */
struct uc_event {
    enum uc_event_kind kind;
    const struct uc_action *action;
    const struct uc_target *target;
    enum uc_why why;
    enum uc_outcome outcome;
    const char *detail; /* "params.bits: 3 -> 4" */
    const char *text;
    const char *log; /* path of the worker's output, when it printed something */
    int threads;
    bool changed;
    double predicted; /* seconds, 0 when there is no history */
    double seconds, cpu;
    uint64_t peak_rss;
    uint64_t done, total;
    const char *unit;
    /* totals */
    double elapsed; /* seconds since the build began */
    size_t n_actions, n_hit, n_ran, n_failed, n_skipped, n_running;
    double work_left; /* predicted core seconds of what will or may still run */
};

struct uc_build_opts {
    int jobs;          /* cores to use; 0: all that this process may use */
    uint64_t memory;   /* bytes that running workers may need together; 0: most of the RAM */
    bool keep_going;   /* run what does not depend on a failed action */
    const char *force; /* pattern over op or action names that run even when they would hit */
    const char *until; /* pattern over op or action names: stop there, write no target */
    const char *scope; /* recipe path: "changed" compares with the last build of this scope */
    const volatile sig_atomic_t *interrupts; /* 1: finish what runs, 2: stop now; may be NULL */
    void (*event)(void *arg, const struct uc_event *ev); /* may be NULL */
    void *arg;
};

struct uc_action_result {
    enum uc_outcome outcome;
    enum uc_why why;
    double seconds, cpu;  /* wall and processor time; of a hit: when it was made, and 0 */
    struct uc_digest key; /* zero when it was never known */
};

struct uc_target_result {
    bool changed;    /* its folder was written */
    json_t *summary; /* content of the target's summary file, or NULL */
};

struct uc_build_result {
    char id[40];      /* names builds/<id>.ndjson in the cache folder */
    size_t n_actions; /* entries that targets need; n_hit + n_ran + ... of them */
    size_t n_hit, n_ran, n_adopted, n_failed, n_skipped;
    double seconds, saved_seconds;    /* wall; what the hits cost when they were made */
    struct uc_action_result *actions; /* by action id, graph->n_actions entries */
    struct uc_target_result *targets; /* in the order given */
    size_t n_targets;
    size_t n_warnings;
};

/* Builds the targets. res is filled also on failure; release it in any case.
 * UC_EFAIL: an action failed (err: the first one, with the tail of its log). UC_EINTR: stopped by
 * the user. UC_ERESOURCE: disk or memory. UC_EFAIL with a fix: an output folder is not ours. */
int uc_build(struct uc_cache *cache, const struct uc_graph *g,
             const struct uc_target *const *targets, size_t n, const struct uc_build_opts *opts,
             struct uc_build_result *res, struct uc_err *err);
void uc_build_result_release(struct uc_build_result *res);

/* What a build would do now; runs nothing and takes no lock. */
enum uc_plan_state {
    UC_PLAN_UNUSED, /* no target needs it */
    UC_PLAN_HIT,
    UC_PLAN_RUN,
    UC_PLAN_MAYBE, /* depends on the bytes of something that runs: it may hit after all */
};
struct uc_plan_action {
    enum uc_plan_state state;
    enum uc_why why;
    char *detail;         /* owned by the plan; may be NULL */
    double predicted;     /* seconds */
    bool from_history;    /* predicted from past runs of its op, not from its declared work */
    struct uc_digest key; /* HIT and RUN */
};
struct uc_plan {
    struct uc_plan_action *actions; /* by action id */
    size_t n_actions, n_hit, n_run, n_maybe;
    double predicted, hit_seconds; /* core seconds to run (maybe included); what hits save */
};
int uc_plan(struct uc_cache *cache, const struct uc_graph *g,
            const struct uc_target *const *targets, size_t n, const struct uc_build_opts *opts,
            struct uc_plan *plan, struct uc_err *err);
void uc_plan_release(struct uc_plan *plan);

#endif
