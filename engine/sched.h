/*
 * Decides what runs when. Knows no files and no processes: the world (the build, or a test) looks
 * keys up, starts actions and says when they have ended.
 *
 * An action passes through these states. Its key needs only the digests of its inputs, and a
 * stored record gives the digests of outputs whose bytes are long gone; so an action that hits
 * asks nothing of its producers. Bytes are asked for only by what must run (and by targets): a
 * producer that hit runs after all when one of its outputs is asked for and gone.
 *
 *   WAIT -> lookup -> HIT              all that use it can compute their keys
 *                  -> NEED -> READY -> RUNNING -> RAN     -> NEED again when bytes got lost
 *                                              -> FAILED  its users are SKIPPED
 *
 * A transient output is dropped when no user can ask for it any more: all of them have run, or
 * have hit in a way that they themselves will not be asked to run.
 */
#ifndef UC_ENGINE_SCHED_H
#define UC_ENGINE_SCHED_H

#include "engine/graph.h"

enum uc_sched_state {
    UC_S_UNUSED,
    UC_S_WAIT,
    UC_S_HIT,
    UC_S_NEED,
    UC_S_READY,
    UC_S_BLOCKED, /* ready, but another build runs its key */
    UC_S_RUNNING,
    UC_S_RAN,
    UC_S_FAILED,
    UC_S_SKIPPED,
};

enum uc_sched_start { UC_STARTED, UC_BUSY, UC_ADOPT };

struct uc_sched_world {
    void *arg;
    /* The digests of all inputs of the action are known: computes its key. 1: a result is stored
     * and the digests of its outputs are known now. 0: it must run. Negative: it fails. */
    int (*lookup)(void *arg, uint32_t id);
    /* The bytes of a known output are there now. */
    bool (*present)(void *arg, uint32_t id, size_t output);
    /* A transient output that nobody can ask for any more. */
    void (*drop)(void *arg, uint32_t id, size_t output);
    /* UC_STARTED: uc_sched_done follows. UC_BUSY: another build runs it. UC_ADOPT: another build
     * has made it. Negative: it fails. */
    int (*start)(void *arg, uint32_t id, int threads);
    /* It will not run: something that it needs failed. */
    void (*skipped)(void *arg, uint32_t id);
};

struct uc_sched;

/* used[id] != 0: the action belongs to the build; then all its producers do. seconds[id]: how long
 * it is expected to take, for the order. Both are read during the call only. */
struct uc_sched *uc_sched_new(const struct uc_graph *g, const uint8_t *used, const double *seconds,
                              int jobs, uint64_t memory, bool keep_going,
                              const struct uc_sched_world *world);
void uc_sched_free(struct uc_sched *s);
/* The bytes of this output are wanted at the end. Before the first uc_sched_resolve. */
void uc_sched_goal(struct uc_sched *s, uint32_t id, size_t output);
/* Looks up every key that can be known without running anything. */
void uc_sched_resolve(struct uc_sched *s);
/* Resolves, then starts what fits: the longest path to the end first. */
void uc_sched_start(struct uc_sched *s);
/* A running action ended well (ok), with other digests than known before (changed), or failed. */
void uc_sched_done(struct uc_sched *s, uint32_t id, bool ok, bool changed);
/* A running action could not run because bytes of its inputs were lost: asks for them again. */
void uc_sched_again(struct uc_sched *s, uint32_t id);
/* A wanted output got lost after its action had ended. */
void uc_sched_lost(struct uc_sched *s, uint32_t id);
/* Tries blocked actions again at the next uc_sched_start. */
void uc_sched_retry(struct uc_sched *s);
/* Starts nothing more. */
void uc_sched_stop(struct uc_sched *s);
/* Nothing runs and nothing will. */
bool uc_sched_finished(const struct uc_sched *s);
enum uc_sched_state uc_sched_state(const struct uc_sched *s, uint32_t id);
size_t uc_sched_running(const struct uc_sched *s);
size_t uc_sched_blocked(const struct uc_sched *s);

#endif
