#include "engine/build.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/db.h"
#include "engine/build_internal.h"
#include "engine/target.h"

enum { TICK_MS = 100, GONE_MS = 1, SUMMARY_MAX = 16 << 20, SAMPLE_ONE_IN = 100, MAX_RETRIES = 3 };
static const double flush_seconds = 1.0;
static const uint64_t sample_max = 64 << 20; /* larger blobs are left to their readers */

void uc_builder_emit(struct uc_builder *b, struct uc_event *ev)
{
    ev->n_actions = b->res->n_actions;
    ev->n_hit = b->res->n_hit;
    ev->n_ran = b->res->n_ran + b->res->n_adopted;
    ev->n_failed = b->res->n_failed;
    ev->n_skipped = b->res->n_skipped;
    ev->n_running = b->n_running;
    ev->work_left = b->work_left > 0 ? b->work_left : 0;
    uc_events_emit(&b->events, ev);
}

void uc_builder_warn(struct uc_builder *b, const char *fmt, ...)
{
    struct uc_event ev = {.kind = UC_EV_WARN};
    va_list ap;
    char text[1000];

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    b->res->n_warnings++;
    if (!b->opts->event)
        uc_warn("%s", text);
    ev.text = text;
    uc_builder_emit(b, &ev);
}

/* Tells the index what has ended since the last time, in one transaction. */
static void flush(struct uc_builder *b)
{
    struct uc_db *db = uc_cache_db(b->cache);

    if (b->n_pending)
        uc_db_begin(db);
    for (size_t i = 0; i < b->n_pending; i++) {
        uint32_t id = b->pending[i];
        const struct uc_action *a = &b->g->actions[id];
        const struct uc_known *k = &b->r.known[id];
        const struct uc_action_result *ar = &b->res->actions[id];
        struct uc_digest last;
        char *text = NULL;
        uint64_t bytes = 0;
        for (size_t o = 0; o < a->n_outputs; o++)
            bytes += uc_resolver_output(&b->r, id, o)->size;
        if (ar->outcome == UC_RAN) {
            uc_db_result_put(db, &k->key, a->op, bytes, ar->seconds);
            uc_db_history_add(db, a->op, a->work, ar->cpu);
        } else {
            uc_db_result_used(db, &k->key);
        }
        bool same =
            uc_db_last_get(db, b->r.scope, a->name, &last, &text) && uc_digest_eq(&last, &k->key);
        free(text);
        if (same)
            continue;
        text = uc_resolver_key_text(&b->r, id);
        uc_db_last_put(db, b->r.scope, a->name, &k->key, text);
        free(text);
    }
    if (b->n_pending)
        uc_db_commit(db);
    b->n_pending = 0;
    b->flushed = uc_now();
}

static size_t *counter(struct uc_builder *b, enum uc_outcome outcome)
{
    switch (outcome) {
    case UC_HIT:
        return &b->res->n_hit;
    case UC_RAN:
        return &b->res->n_ran;
    case UC_ADOPTED:
        return &b->res->n_adopted;
    case UC_FAILED:
        return &b->res->n_failed;
    case UC_SKIPPED:
        return &b->res->n_skipped;
    default:
        return NULL;
    }
}

void uc_builder_ended(struct uc_builder *b, uint32_t id, enum uc_outcome outcome,
                      const struct uc_err *err, struct uc_event *ev)
{
    struct uc_action_result *ar = &b->res->actions[id];
    struct uc_known *k = &b->r.known[id];

    if (counter(b, ar->outcome))
        --*counter(b, ar->outcome); /* a hit that had to run after all */
    else
        b->work_left -= b->predicted[id];
    if (ar->outcome == UC_HIT)
        b->res->saved_seconds -= ar->seconds;
    ar->outcome = outcome;
    ar->why = outcome == UC_RAN || outcome == UC_FAILED ? k->why : UC_WHY_NONE;
    ar->seconds = outcome == UC_HIT ? k->seconds : ev->seconds;
    ar->cpu = ev->cpu;
    ar->key = k->key;
    ++*counter(b, outcome);
    if (outcome == UC_HIT || outcome == UC_ADOPTED)
        b->res->saved_seconds += k->seconds;
    if (err && !b->failed) {
        b->failed = true;
        *b->err = *err;
    }
    if (b->n_pending == b->g->n_actions)
        flush(b);
    if (outcome == UC_HIT || outcome == UC_RAN || outcome == UC_ADOPTED)
        b->pending[b->n_pending++] = id;
    ev->kind = UC_EV_END;
    ev->action = &b->g->actions[id];
    ev->outcome = outcome;
    ev->text = err ? err->msg : NULL;
    if (outcome != UC_HIT) /* thousands of hits are no news */
        uc_builder_emit(b, ev);
}

void uc_builder_hold(struct uc_builder *b, uint32_t id)
{
    for (size_t i = 0; i < b->g->actions[id].n_outputs; i++) {
        struct uc_known_output *o = uc_resolver_output(&b->r, id, i);
        uc_resolver_blob(&b->r, &o->digest)->holders += !o->held;
        o->held = true;
    }
}

/* Now and then a hit is read, so that rot is found before it is needed. */
static bool is_rotten(struct uc_builder *b, uint32_t id)
{
    const struct uc_action *a = &b->g->actions[id];
    bool rotten = false;

    for (size_t i = 0; i < a->n_outputs; i++) {
        struct uc_known_output *o = uc_resolver_output(&b->r, id, i);
        struct uc_err err = {0};
        b->dice = b->dice * 6364136223846793005u + 1442695040888963407u;
        if (o->size > sample_max || (b->dice >> 33) % SAMPLE_ONE_IN ||
            uc_cas_verify(b->cache, &o->digest, &err) != UC_ECORRUPT)
            continue;
        uc_builder_warn(b, "damaged blob dropped: %s ('%s' of %s)", err.msg, a->outputs[i].name,
                        a->name);
        uc_cas_drop(b->cache, &o->digest);
        rotten = true;
    }
    return rotten;
}

static int world_lookup(void *arg, uint32_t id)
{
    struct uc_builder *b = arg;
    struct uc_err err = {0};
    struct uc_event ev = {0};
    int rc = uc_resolver_lookup(&b->r, id, &err);

    if (rc < 0) {
        uc_within(&err, "%s", b->g->actions[id].name);
        uc_builder_ended(b, id, UC_FAILED, &err, &ev);
    } else if (rc == 1) {
        b->r.known[id].corrupt = is_rotten(b, id);
        uc_builder_hold(b, id);
        uc_builder_ended(b, id, UC_HIT, NULL, &ev);
    }
    return rc;
}

static bool world_present(void *arg, uint32_t id, size_t output)
{
    return uc_resolver_present(&((struct uc_builder *)arg)->r, id, output);
}

/* Deletes blobs that nobody in this build needs, unless another build might. */
static bool delete_blobs(struct uc_builder *b, const struct uc_digest *d, size_t n)
{
    if (!uc_presence_alone(&b->presence))
        return false;
    for (size_t i = 0; i < n; i++)
        if (uc_resolver_blob(&b->r, &d[i])->holders == 0)
            uc_cas_drop(b->cache, &d[i]);
    uc_presence_share(&b->presence);
    return true;
}

static void world_drop(void *arg, uint32_t id, size_t output)
{
    struct uc_builder *b = arg;
    struct uc_known_output *o = uc_resolver_output(&b->r, id, output);

    if (!o->held)
        return;
    o->held = false;
    if (--uc_resolver_blob(&b->r, &o->digest)->holders ||
        !uc_cas_has(b->cache, &o->digest, o->size) || delete_blobs(b, &o->digest, 1))
        return;
    if (b->n_leftover == b->cap_leftover) {
        b->cap_leftover = b->cap_leftover ? 2 * b->cap_leftover : 64;
        b->leftover = uc_xrealloc(b->leftover, b->cap_leftover * sizeof(*b->leftover));
    }
    b->leftover[b->n_leftover++] = o->digest;
}

static int world_start(void *arg, uint32_t id, int threads)
{
    return uc_run_start(arg, id, threads);
}

static void world_skipped(void *arg, uint32_t id)
{
    struct uc_event ev = {0};

    uc_builder_ended(arg, id, UC_SKIPPED, NULL, &ev);
}

static void take_progress(struct uc_builder *b, struct uc_worker *w)
{
    struct uc_event ev = {.kind = UC_EV_PROGRESS,
                          .action = w->action,
                          .done = w->done,
                          .total = w->total,
                          .unit = w->unit};

    if (w->progressed)
        uc_builder_emit(b, &ev);
    w->progressed = false;
}

static void wait_for_workers(struct uc_builder *b)
{
    struct pollfd *fds = uc_xcalloc(b->n_running + 1, sizeof(*fds));
    int timeout = TICK_MS;

    for (size_t i = 0; i < b->n_running; i++) {
        fds[i] = (struct pollfd){.fd = b->running[i].worker->fd, .events = POLLIN};
        if (fds[i].fd < 0) /* it has closed its end, so it is about to be gone */
            timeout = GONE_MS;
    }
    poll(fds, b->n_running, timeout);
    free(fds);
    for (size_t i = b->n_running; i-- > 0;) {
        struct uc_worker *w = b->running[i].worker;
        bool gone = uc_worker_check(w);
        take_progress(b, w);
        if (gone)
            uc_run_finish(b, i);
    }
}

/* Runs until nothing is left to run; UC_EINTR when the user stopped it. */
static int loop(struct uc_builder *b)
{
    const volatile sig_atomic_t *interrupts = b->opts->interrupts;
    double retried = uc_now();

    for (;;) {
        if (interrupts && *interrupts)
            uc_sched_stop(b->sched);
        if (interrupts && *interrupts > 1)
            uc_run_kill_all(b);
        uc_sched_start(b->sched);
        if (b->n_running == 0 && (uc_sched_finished(b->sched) || (interrupts && *interrupts)))
            break;
        wait_for_workers(b);
        if (uc_sched_blocked(b->sched) && uc_now() - retried > 1e-3 * TICK_MS) {
            uc_sched_retry(b->sched);
            retried = uc_now();
        }
        if (uc_now() - b->flushed > flush_seconds)
            flush(b);
    }
    if (interrupts && *interrupts)
        return uc_fail(b->err, UC_EINTR, "stopped by the user; what has finished is kept");
    return 0;
}

/* The blobs of a target are checked before they are copied; bad ones are made again. True: all are
 * there and right. */
static bool check_blobs(struct uc_builder *b, const struct uc_target *t)
{
    bool good = true;

    for (size_t i = 0; i < t->n_files; i++) {
        const struct uc_ref *ref = &t->files[i].ref;
        struct uc_err err = {0};
        if (ref->kind != UC_REF_OUTPUT)
            continue;
        const struct uc_known_output *o = uc_resolver_ref(&b->r, ref);
        if (uc_resolver_blob(&b->r, &o->digest)->vouched)
            continue;
        if (uc_cas_verify(b->cache, &o->digest, &err) == 0) {
            uc_resolver_blob(&b->r, &o->digest)->vouched = true;
            continue;
        }
        if (b->retries[ref->action]++ >= MAX_RETRIES) {
            *b->err = err;
            b->failed = true;
            return false;
        }
        uc_builder_warn(b, "blob of '%s' dropped, made again: %s", t->files[i].name, err.msg);
        uc_cas_drop(b->cache, &o->digest);
        b->r.known[ref->action].corrupt = err.code == UC_ECORRUPT;
        uc_sched_lost(b->sched, ref->action);
        good = false;
    }
    return good;
}

static bool is_complete(const struct uc_builder *b, const struct uc_target *t)
{
    for (size_t i = 0; i < t->n_files; i++) {
        const struct uc_ref *ref = &t->files[i].ref;
        if (ref->kind == UC_REF_OUTPUT && b->res->actions[ref->action].outcome != UC_HIT &&
            b->res->actions[ref->action].outcome != UC_RAN &&
            b->res->actions[ref->action].outcome != UC_ADOPTED)
            return false;
    }
    return true;
}

static int write_target(struct uc_builder *b, const struct uc_target *t, bool *changed,
                        struct uc_err *err)
{
    struct uc_target_file *files = uc_xcalloc(t->n_files + 1, sizeof(*files));
    char **paths = uc_xcalloc(t->n_files + 1, sizeof(*paths));
    size_t bad = 0;
    int rc;

    for (size_t i = 0; i < t->n_files; i++) {
        const struct uc_ref *ref = &t->files[i].ref;
        struct uc_target_file *f = &files[i];
        *f = (struct uc_target_file){t->files[i].name, ref->path,   ref->offset, ref->size,
                                     ref->data,        ref->digest, false};
        if (ref->kind == UC_REF_OUTPUT) {
            const struct uc_known_output *o = uc_resolver_ref(&b->r, ref);
            paths[i] = uc_cas_path(b->cache, &o->digest);
            f->path = paths[i];
            f->offset = 0;
            f->size = o->size;
            f->digest = o->digest;
            f->is_blob = true;
        }
    }
    rc = uc_target_write(b->cache, t->dir, files, t->n_files, changed, &bad, err);
    if (rc == UC_ECORRUPT && files[bad].is_blob)
        uc_cas_drop(b->cache, &files[bad].digest);
    if (rc < 0)
        uc_within(err, "target %s", t->name);
    for (size_t i = 0; i < t->n_files; i++)
        free(paths[i]);
    free(paths);
    free(files);
    return rc;
}

static json_t *read_summary(struct uc_builder *b, const struct uc_target *t)
{
    json_t *v = NULL;

    for (size_t i = 0; t->summary && i < t->n_files; i++) {
        const struct uc_ref *ref = &t->files[i].ref;
        char *text;
        size_t n;
        if (strcmp(t->files[i].name, t->summary) != 0 || ref->kind != UC_REF_OUTPUT ||
            uc_cas_read(b->cache, &uc_resolver_ref(&b->r, ref)->digest, SUMMARY_MAX, &text, &n,
                        NULL) < 0)
            continue;
        v = uc_json_parse(text, n, t->summary, NULL);
        free(text);
    }
    return v;
}

static int finish_targets(struct uc_builder *b, const struct uc_target *const *targets, size_t n)
{
    struct uc_err err = {0};

    for (size_t i = 0; i < n; i++) {
        struct uc_event ev = {.kind = UC_EV_TARGET, .target = targets[i]};
        if (!is_complete(b, targets[i]))
            continue;
        if (targets[i]->dir && write_target(b, targets[i], &b->res->targets[i].changed, &err) < 0) {
            if (!b->failed)
                *b->err = err;
            b->failed = true;
            if (!b->opts->keep_going)
                break;
            continue;
        }
        b->res->targets[i].summary = read_summary(b, targets[i]);
        ev.changed = b->res->targets[i].changed;
        uc_builder_emit(b, &ev);
    }
    return b->failed ? b->err->code : 0;
}

/* Alternates until the bytes of all targets are there: checking them may find that some are not. */
static int build_targets(struct uc_builder *b, const struct uc_target *const *targets, size_t n)
{
    bool good = false;

    while (!good) {
        int rc = loop(b);
        if (rc < 0)
            return rc;
        good = true;
        for (size_t i = 0; i < n && !b->opts->until; i++)
            good = (!is_complete(b, targets[i]) || check_blobs(b, targets[i])) && good;
        if (b->failed && (!good || !b->opts->keep_going))
            return b->err->code;
    }
    if (b->opts->until)
        return b->failed ? b->err->code : 0;
    return finish_targets(b, targets, n);
}

static uint64_t most_of_the_ram(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 10 * 8;
}

/* Scratch of builds that were killed; only when no other build lives. */
static void sweep_scratch(struct uc_builder *b)
{
    char *path = uc_path_join(uc_cache_dir(b->cache), "scratch");

    if (uc_presence_alone(&b->presence)) {
        uc_remove_tree(path, NULL);
        uc_mkdirs(path, NULL);
        uc_presence_share(&b->presence);
    }
    free(path);
}

static void name_build(struct uc_builder *b)
{
    struct timespec now;
    struct tm tm;
    char stamp[20];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &tm);
    snprintf(b->res->id, sizeof(b->res->id), "%s.%03d-%d", stamp,
             (int)(now.tv_nsec / 1000000 % 1000), (int)getpid());
    b->dice = (uint64_t)now.tv_nsec;
    b->me = uc_xasprintf("build %s (process %ld)", b->res->id, (long)getpid());
    b->scratch = uc_xasprintf("%s/scratch/%s", uc_cache_dir(b->cache), b->res->id);
}

static void setup(struct uc_builder *b, const struct uc_target *const *targets, size_t n)
{
    static const struct uc_sched_world verbs = {NULL,       world_lookup, world_present,
                                                world_drop, world_start,  world_skipped};
    struct uc_sched_world world = verbs;
    size_t n_actions = b->g->n_actions;
    int jobs = b->opts->jobs > 0 ? b->opts->jobs : uc_cpu_count();

    b->used = uc_xcalloc(n_actions + 1, 1);
    b->predicted = uc_xcalloc(n_actions + 1, sizeof(*b->predicted));
    b->from_history = uc_xcalloc(n_actions + 1, sizeof(*b->from_history));
    b->told_wait = uc_xcalloc(n_actions + 1, sizeof(*b->told_wait));
    b->retries = uc_xcalloc(n_actions + 1, sizeof(*b->retries));
    b->pending = uc_xcalloc(n_actions + 1, sizeof(*b->pending));
    b->running = uc_xcalloc((size_t)jobs + 1, sizeof(*b->running));
    b->res->actions = uc_xcalloc(n_actions + 1, sizeof(*b->res->actions));
    b->res->targets = uc_xcalloc(n + 1, sizeof(*b->res->targets));
    b->res->n_targets = n;
    uc_resolver_init(&b->r, b->cache, b->g, b->opts);
    uc_resolver_mark_used(b->g, targets, n, b->opts->until, b->used);
    for (size_t i = 0; i < n_actions; i++) {
        if (!b->used[i])
            continue;
        b->res->n_actions++;
        b->predicted[i] = uc_predict(b->cache, &b->g->actions[i], &b->from_history[i]);
        b->work_left += b->predicted[i];
    }
    world.arg = b;
    b->sched = uc_sched_new(b->g, b->used, b->predicted, jobs,
                            b->opts->memory ? b->opts->memory : most_of_the_ram(),
                            b->opts->keep_going, &world);
    for (size_t t = 0; t < n && !b->opts->until; t++)
        for (size_t i = 0; i < targets[t]->n_files; i++) {
            const struct uc_ref *ref = &targets[t]->files[i].ref;
            if (ref->kind == UC_REF_OUTPUT)
                uc_sched_goal(b->sched, ref->action,
                              (size_t)(uc_graph_output(b->g, ref->action, ref->output) -
                                       b->g->actions[ref->action].outputs));
        }
}

static void teardown(struct uc_builder *b)
{
    uc_run_kill_all(b);
    flush(b);
    if (b->n_leftover)
        delete_blobs(b, b->leftover, b->n_leftover);
    uc_remove_tree(b->scratch, NULL);
    uc_sched_free(b->sched);
    uc_resolver_release(&b->r);
    free(b->leftover);
    free(b->pending);
    free(b->running);
    free(b->used);
    free(b->predicted);
    free(b->from_history);
    free(b->told_wait);
    free(b->retries);
}

int uc_build(struct uc_cache *cache, const struct uc_graph *g,
             const struct uc_target *const *targets, size_t n, const struct uc_build_opts *opts,
             struct uc_build_result *res, struct uc_err *err)
{
    struct uc_err local;
    struct uc_builder b = {.cache = cache,
                           .g = g,
                           .opts = opts,
                           .res = res,
                           .err = err ? err : &local,
                           .presence = {.fd = -1}};
    struct uc_event plan = {.kind = UC_EV_PLAN}, done = {.kind = UC_EV_DONE};
    double began = uc_now();
    int rc = 0;

    memset(res, 0, sizeof(*res));
    b.flushed = began;
    name_build(&b);
    uc_events_open(&b.events, cache, res->id, opts);
    for (size_t i = 0; i < n && rc == 0 && !opts->until; i++)
        if (targets[i]->dir)
            rc = uc_target_check(targets[i]->dir, b.err);
    if (rc == 0)
        rc = uc_presence_enter(cache, &b.presence, b.err);
    if (rc == 0) {
        sweep_scratch(&b);
        setup(&b, targets, n);
        uc_sched_resolve(b.sched);
        uc_builder_emit(&b, &plan);
        rc = build_targets(&b, targets, n);
        teardown(&b);
    }
    res->seconds = uc_now() - began;
    done.text = rc < 0 ? b.err->msg : NULL;
    uc_builder_emit(&b, &done);
    uc_events_close(&b.events);
    uc_presence_leave(&b.presence);
    free(b.me);
    free(b.scratch);
    return rc;
}

void uc_build_result_release(struct uc_build_result *res)
{
    for (size_t i = 0; i < res->n_targets && res->targets; i++)
        json_decref(res->targets[i].summary);
    free(res->targets);
    free(res->actions);
    memset(res, 0, sizeof(*res));
}
