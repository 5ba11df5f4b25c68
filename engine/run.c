/* One action: lease, worker, checks, publishing. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/ac.h"
#include "engine/build_internal.h"

enum { MAX_RETRIES = 3 };

static void release(struct uc_builder *b, struct uc_running *run)
{
    if (run->worker)
        uc_remove_tree(run->worker->scratch, NULL);
    uc_worker_free(run->worker);
    uc_lease_release(&run->lease);
    free(run->sources);
    memset(run, 0, sizeof(*run));
    run->lease.fd = -1;
}

static void fail_action(struct uc_builder *b, uint32_t id, struct uc_err *err, struct uc_event *ev)
{
    struct uc_event none = {0};

    uc_within(err, "%s", b->g->actions[id].name);
    uc_builder_ended(b, id, UC_FAILED, err, ev ? ev : &none);
}

/* Notes what a file outside the cache looks like before it is read. */
static int add_source(struct uc_builder *b, struct uc_running *run, const struct uc_ref *ref,
                      struct uc_err *err)
{
    const struct uc_known *fp = ref->kind == UC_REF_TENSOR ? &b->r.known[ref->action] : NULL;
    struct uc_source *s;
    int rc;

    for (size_t i = run->n_sources; i-- > 0;)
        if (strcmp(run->sources[i].path, ref->path) == 0)
            return 0;
    run->sources = uc_xrealloc(run->sources, (run->n_sources + 1) * sizeof(*run->sources));
    s = &run->sources[run->n_sources];
    s->path = ref->path;
    rc = uc_fident_get(ref->path, &s->ident, err);
    if (rc == 0 && fp && !uc_fident_same(&s->ident, &fp->ident)) {
        rc = uc_fail(err, UC_EFAIL, "%s: changed since it was fingerprinted", ref->path);
        uc_fix(err, "run the same command again");
    }
    run->n_sources += rc == 0;
    return rc;
}

static int sources_unchanged(const struct uc_running *run, struct uc_err *err)
{
    for (size_t i = 0; i < run->n_sources; i++) {
        struct uc_fident now;
        if (uc_fident_get(run->sources[i].path, &now, NULL) == 0 &&
            uc_fident_same(&now, &run->sources[i].ident))
            continue;
        uc_fail(err, UC_EFAIL, "%s: changed while it was read, so nothing was kept",
                run->sources[i].path);
        return uc_fix(err, "run the same command again when the file is at rest");
    }
    return 0;
}

/* Path of the input's bytes (caller frees); inline bytes are written to scratch first. */
static int place_input(struct uc_builder *b, struct uc_running *run, const char *scratch, size_t i,
                       struct uc_job_input *in, char **path, struct uc_err *err)
{
    const struct uc_input *input = &b->g->actions[run->id].inputs[i];
    const struct uc_ref *ref = &input->ref;
    const struct uc_known_output *o;
    int rc = 0;

    in->in.name = input->name;
    in->in.offset = ref->offset;
    in->in.size = ref->size;
    if (ref->kind == UC_REF_OUTPUT) {
        o = uc_resolver_ref(&b->r, ref);
        *path = uc_cas_path(b->cache, &o->digest);
        in->in.offset = 0;
        in->in.size = o->size;
        in->verify = uc_resolver_blob(&b->r, &o->digest)->vouched ? NULL : &o->digest;
    } else if (ref->kind == UC_REF_INLINE) {
        *path = uc_xasprintf("%s/in.%zu", scratch, i);
        in->in.offset = 0;
        rc = uc_write_file(*path, ref->data, ref->size, false, err);
    } else {
        *path = uc_xstrdup(ref->path);
        rc = add_source(b, run, ref, err);
    }
    if (ref->kind == UC_REF_SLICE)
        in->verify = &ref->digest;
    if (ref->kind == UC_REF_TENSOR) {
        in->in.dtype = ref->dtype;
        in->in.n_dim = ref->n_dim;
        memcpy(in->in.shape, ref->shape, sizeof(in->in.shape));
    }
    in->in.path = *path;
    return rc;
}

static int spawn(struct uc_builder *b, struct uc_running *run, int threads, struct uc_err *err)
{
    const struct uc_action *a = &b->g->actions[run->id];
    char *scratch = uc_xasprintf("%s/%u", b->scratch, (unsigned)run->id);
    struct uc_job_input *inputs = uc_xcalloc(a->n_inputs + 1, sizeof(*inputs));
    size_t n_inputs = a->n_inputs + (a->stat_path != NULL);
    char **paths = uc_xcalloc(a->n_inputs + 1, sizeof(*paths));
    struct uc_job job = {a, inputs, n_inputs, scratch, threads, uc_cache_syncs(b->cache)};
    struct uc_ref self = {.kind = UC_REF_TENSOR, .action = run->id, .path = a->stat_path};
    int rc = uc_remove_tree(scratch, err);

    if (rc == 0)
        rc = uc_mkdirs(scratch, err);
    if (rc == 0 && a->stat_path) {
        rc = add_source(b, run, &self, err);
        inputs[a->n_inputs].in = (struct uc_op_input){
            .name = "file", .path = a->stat_path, .size = b->r.known[run->id].ident.size};
    }
    for (size_t i = 0; i < a->n_inputs && rc == 0; i++)
        rc = place_input(b, run, scratch, i, &inputs[i], &paths[i], err);
    if (rc == 0)
        rc = uc_worker_start(&run->worker, &job, err);
    if (rc < 0)
        uc_remove_tree(scratch, NULL);
    for (size_t i = 0; i < a->n_inputs; i++)
        free(paths[i]);
    free(paths);
    free(inputs);
    free(scratch);
    return rc;
}

static bool all_present(struct uc_builder *b, uint32_t id)
{
    for (size_t i = 0; i < b->g->actions[id].n_outputs; i++)
        if (!uc_resolver_present(&b->r, id, i))
            return false;
    return true;
}

/* With the lease in hand: another build may have made the result since it was looked up. */
static bool adopt(struct uc_builder *b, uint32_t id)
{
    struct uc_known *k = &b->r.known[id];
    struct uc_result rec;
    struct uc_event ev = {0};
    bool have;

    if (k->why == UC_WHY_FORCED || k->untrusted || !uc_ac_get(b->cache, &k->key, &rec))
        return false;
    have = uc_resolver_take_result(&b->r, id, &rec) && all_present(b, id) &&
           (!b->g->actions[id].stat_path || uc_resolver_read_digests(&b->r, id, NULL) == 0);
    ev.seconds = rec.seconds;
    uc_result_release(&rec);
    if (!have)
        return false;
    uc_builder_hold(b, id);
    uc_builder_ended(b, id, UC_ADOPTED, NULL, &ev);
    return true;
}

/* Why it runs although its result was known. */
static void explain_rerun(struct uc_builder *b, uint32_t id)
{
    const struct uc_action *a = &b->g->actions[id];
    struct uc_known *k = &b->r.known[id];

    if (!k->has_outputs || k->why == UC_WHY_FORCED)
        return;
    k->why = k->corrupt ? UC_WHY_CORRUPT : UC_WHY_EVICTED;
    free(k->detail);
    k->detail = NULL;
    for (size_t i = 0; i < a->n_outputs && !k->detail; i++)
        if (!uc_resolver_present(&b->r, id, i))
            k->detail = uc_xasprintf("output '%s'", a->outputs[i].name);
}

static void tell_start(struct uc_builder *b, uint32_t id, int threads)
{
    const struct uc_known *k = &b->r.known[id];
    struct uc_event ev = {.kind = UC_EV_START,
                          .action = &b->g->actions[id],
                          .why = k->why,
                          .detail = k->detail,
                          .threads = threads};

    ev.predicted = b->from_history[id] ? b->predicted[id] : 0;
    uc_builder_emit(b, &ev);
}

int uc_run_start(struct uc_builder *b, uint32_t id, int threads)
{
    struct uc_running *run = &b->running[b->n_running];
    struct uc_known *k = &b->r.known[id];
    struct uc_err err = {0};
    char holder[200];
    int rc;

    memset(run, 0, sizeof(*run));
    run->id = id;
    rc = uc_lease_try(b->cache, &k->key, b->me, &run->lease, holder, sizeof(holder), &err);
    if (rc == 0) {
        struct uc_event ev = {.kind = UC_EV_WAIT, .action = &b->g->actions[id], .text = holder};
        if (!b->told_wait[id])
            uc_builder_emit(b, &ev);
        b->told_wait[id] = true;
        return UC_BUSY;
    }
    if (rc == 1 && adopt(b, id)) {
        release(b, run);
        return UC_ADOPT;
    }
    explain_rerun(b, id);
    if (rc == 1)
        rc = spawn(b, run, threads, &err);
    if (rc < 0) {
        release(b, run);
        fail_action(b, id, &err, NULL);
        return rc;
    }
    b->n_running++;
    tell_start(b, id, threads);
    return UC_STARTED;
}

/* The bytes of an input were gone or wrong. A blob is dropped and made again; true. */
static bool recover_input(struct uc_builder *b, struct uc_running *run)
{
    struct uc_worker *w = run->worker;
    const struct uc_input *in = &w->action->inputs[w->bad_input];
    const struct uc_known_output *o;
    char hex[UC_HEX_LEN + 1];

    if ((size_t)w->bad_input >= w->action->n_inputs || in->ref.kind != UC_REF_OUTPUT ||
        b->retries[run->id]++ >= MAX_RETRIES + w->action->n_inputs)
        return false;
    o = uc_resolver_ref(&b->r, &in->ref);
    uc_builder_warn(b, "blob %.16s is %s and was dropped: '%s' of %s is made again",
                    uc_digest_hex(&o->digest, hex), w->err.code == UC_ECORRUPT ? "damaged" : "gone",
                    in->ref.output, b->g->actions[in->ref.action].name);
    uc_cas_drop(b->cache, &o->digest);
    uc_resolver_blob(&b->r, &o->digest)->vouched = false;
    b->r.known[in->ref.action].corrupt = w->err.code == UC_ECORRUPT;
    return true;
}

/* The worker checked them, or they would have been reported. */
static void vouch_inputs(struct uc_builder *b, const struct uc_action *a)
{
    for (size_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i].ref.kind == UC_REF_OUTPUT)
            uc_resolver_blob(&b->r, &uc_resolver_ref(&b->r, &a->inputs[i].ref)->digest)->vouched =
                true;
}

/* Same key, other bytes: the op is not deterministic. True when anything differs. */
static bool compare_with_known(struct uc_builder *b, uint32_t id, const struct uc_cas_new *made)
{
    const struct uc_action *a = &b->g->actions[id];
    char was[UC_HEX_LEN + 1], is[UC_HEX_LEN + 1];
    bool differs = false;

    for (size_t i = 0; i < a->n_outputs; i++) {
        const struct uc_known_output *o = uc_resolver_output(&b->r, id, i);
        if (uc_digest_eq(&o->digest, &made[i].digest))
            continue;
        differs = true;
        uc_builder_warn(b,
                        "same key, other bytes: '%s' of %s was %.16s and is %.16s now; op %s is "
                        "not deterministic",
                        a->outputs[i].name, a->name, uc_digest_hex(&o->digest, was),
                        uc_digest_hex(&made[i].digest, is), a->op);
    }
    return differs;
}

static int put_record(struct uc_builder *b, uint32_t id, const struct uc_worker *w,
                      struct uc_err *err)
{
    static const char *const retention[] = {"keep", "cache", "transient"};
    const struct uc_action *a = &b->g->actions[id];
    struct uc_result_output *outs = uc_xcalloc(a->n_outputs + 1, sizeof(*outs));
    struct uc_result rec = {.key = b->r.known[id].key,
                            .op = a->op,
                            .version = uc_op_find(a->op)->version,
                            .outputs = outs,
                            .n_outputs = a->n_outputs,
                            .seconds = w->seconds,
                            .cpu = w->cpu,
                            .peak_rss = w->peak_rss,
                            .work = a->work,
                            .threads = a->threads,
                            .metrics = w->metrics};
    bool sync = false;
    int rc;

    for (size_t i = 0; i < a->n_outputs; i++) {
        outs[i] = (struct uc_result_output){a->outputs[i].name, w->outputs[i].digest,
                                            w->outputs[i].size, retention[a->outputs[i].retention]};
        sync = sync || w->outputs[i].sync;
    }
    rc = uc_ac_put(b->cache, &rec, sync, err);
    free(outs);
    return rc;
}

/* Blobs first, then the record that names them. */
static int publish(struct uc_builder *b, struct uc_running *run, bool *changed, struct uc_err *err)
{
    struct uc_worker *w = run->worker;
    struct uc_known *k = &b->r.known[run->id];
    struct uc_result old;
    int rc = sources_unchanged(run, err);

    *changed = false;
    if (rc == 0)
        rc = uc_cas_publish(b->cache, w->outputs, w->action->n_outputs, err);
    if (rc < 0)
        return rc;
    if (!k->has_outputs && uc_ac_get(b->cache, &k->key, &old)) {
        /* A forced run has not looked at what was there before. */
        if (uc_resolver_take_result(&b->r, run->id, &old))
            compare_with_known(b, run->id, w->outputs);
        uc_result_release(&old);
    } else if (k->has_outputs) {
        *changed = compare_with_known(b, run->id, w->outputs);
    }
    uc_resolver_take_new(&b->r, run->id, w->outputs);
    if (w->action->stat_path)
        rc = uc_resolver_read_digests(&b->r, run->id, err);
    if (rc == 0 && !k->untrusted)
        rc = put_record(b, run->id, w, err);
    return rc;
}

/* Keeps what the worker printed; *path is set (caller frees) when it printed anything. */
static void keep_log(struct uc_builder *b, const struct uc_running *run, char **path)
{
    char *log = uc_path_join(run->worker->scratch, "log"), *dir;
    struct stat st;

    *path = NULL;
    if (stat(log, &st) == 0 && st.st_size > 0) {
        *path = uc_cache_log_path(b->cache, &b->r.known[run->id].key);
        dir = uc_path_dir(*path);
        if (uc_mkdirs(dir, NULL) < 0 || rename(log, *path) < 0) {
            free(*path);
            *path = NULL;
        }
        free(dir);
    }
    free(log);
}

/* The worker's error, with what it printed last. */
static void worker_error(const struct uc_worker *w, struct uc_err *err)
{
    char tail[800];
    size_t n;

    *err = w->err;
    uc_worker_log_tail(w, tail, sizeof(tail));
    n = strlen(err->msg);
    if (tail[0] && n + 2 < sizeof(err->msg))
        snprintf(err->msg + n, sizeof(err->msg) - n, "\n%s", tail);
}

void uc_run_finish(struct uc_builder *b, size_t i)
{
    struct uc_running run = b->running[i];
    struct uc_worker *w = run.worker;
    uint32_t id = run.id;
    struct uc_known *k = &b->r.known[id];
    struct uc_event ev = {
        .seconds = w->seconds, .cpu = w->cpu, .peak_rss = w->peak_rss, .why = k->why};
    struct uc_err err = {0};
    bool changed = false, ok;
    char *log;

    b->running[i] = b->running[--b->n_running];
    if (!w->ok && w->bad_input >= 0 && recover_input(b, &run)) {
        release(b, &run);
        uc_sched_again(b->sched, id);
        return;
    }
    if (w->ok && publish(b, &run, &changed, &err) < 0)
        w->ok = false;
    else if (!w->ok)
        worker_error(w, &err);
    keep_log(b, &run, &log);
    ev.log = log;
    if (w->ok) {
        vouch_inputs(b, w->action);
        uc_builder_hold(b, id);
        k->corrupt = false;
        uc_builder_ended(b, id, UC_RAN, NULL, &ev);
    } else {
        fail_action(b, id, &err, &ev);
    }
    ok = w->ok;
    release(b, &run);
    free(log);
    uc_sched_done(b->sched, id, ok, changed);
}

void uc_run_kill_all(struct uc_builder *b)
{
    for (size_t i = 0; i < b->n_running; i++)
        uc_worker_kill(b->running[i].worker);
    for (size_t i = 0; i < b->n_running; i++) {
        while (!uc_worker_check(b->running[i].worker))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        release(b, &b->running[i]);
    }
    b->n_running = 0;
}
