/* What a build would do: the same look-ups and the same scheduler, of which nothing is started. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/build.h"
#include "engine/resolve.h"
#include "engine/sched.h"

struct planner {
    struct uc_resolver r;
    struct uc_err *err;
    int rc;
};

static int plan_lookup(void *arg, uint32_t id)
{
    struct planner *p = arg;
    struct uc_err err = {0};
    int rc = uc_resolver_lookup(&p->r, id, &err);

    if (rc < 0 && p->rc == 0) {
        uc_within(&err, "%s", p->r.g->actions[id].name);
        p->rc = err.code;
        if (p->err)
            *p->err = err;
    }
    return rc;
}

static bool plan_present(void *arg, uint32_t id, size_t output)
{
    return uc_resolver_present(&((struct planner *)arg)->r, id, output);
}

static void plan_drop(void *arg, uint32_t id, size_t output)
{
}

static int plan_start(void *arg, uint32_t id, int threads)
{
    return UC_EFAIL;
}

static void plan_skipped(void *arg, uint32_t id)
{
}

static void add_goals(struct uc_sched *s, const struct uc_graph *g, const struct uc_target *t)
{
    for (size_t i = 0; i < t->n_files; i++) {
        const struct uc_ref *ref = &t->files[i].ref;
        if (ref->kind == UC_REF_OUTPUT)
            uc_sched_goal(s, ref->action,
                          (size_t)(uc_graph_output(g, ref->action, ref->output) -
                                   g->actions[ref->action].outputs));
    }
}

static void fill(struct uc_plan *plan, struct planner *p, const struct uc_sched *s,
                 const double *seconds)
{
    for (uint32_t i = 0; i < plan->n_actions; i++) {
        struct uc_plan_action *a = &plan->actions[i];
        struct uc_known *k = &p->r.known[i];
        enum uc_sched_state state = uc_sched_state(s, i);
        if (state == UC_S_UNUSED)
            continue;
        a->predicted = seconds[i];
        if (k->has_key)
            a->key = k->key;
        if (state == UC_S_HIT) {
            a->state = UC_PLAN_HIT;
            plan->n_hit++;
            plan->hit_seconds += k->seconds;
            continue;
        }
        plan->predicted += seconds[i];
        if (state == UC_S_WAIT || state == UC_S_SKIPPED) {
            a->state = UC_PLAN_MAYBE;
            plan->n_maybe++;
            continue;
        }
        a->state = UC_PLAN_RUN;
        plan->n_run++;
        a->why = k->why == UC_WHY_NONE ? UC_WHY_EVICTED : k->why;
        a->detail = k->detail;
        k->detail = NULL;
    }
}

int uc_plan(struct uc_cache *cache, const struct uc_graph *g,
            const struct uc_target *const *targets, size_t n, const struct uc_build_opts *opts,
            struct uc_plan *plan, struct uc_err *err)
{
    struct planner p = {.err = err};
    struct uc_sched_world world = {&p,        plan_lookup, plan_present,
                                   plan_drop, plan_start,  plan_skipped};
    uint8_t *used = uc_xcalloc(g->n_actions + 1, 1);
    double *seconds = uc_xcalloc(g->n_actions + 1, sizeof(*seconds));
    struct uc_sched *s;

    memset(plan, 0, sizeof(*plan));
    plan->n_actions = g->n_actions;
    plan->actions = uc_xcalloc(g->n_actions + 1, sizeof(*plan->actions));
    uc_resolver_init(&p.r, cache, g, opts);
    uc_resolver_mark_used(g, targets, n, opts->until, used);
    for (size_t i = 0; i < g->n_actions; i++)
        if (used[i])
            seconds[i] = uc_predict(cache, &g->actions[i], &plan->actions[i].from_history);
    s = uc_sched_new(g, used, seconds, 1, UINT64_MAX, true, &world);
    for (size_t t = 0; t < n && !opts->until; t++)
        add_goals(s, g, targets[t]);
    uc_sched_resolve(s);
    fill(plan, &p, s, seconds);
    uc_sched_free(s);
    uc_resolver_release(&p.r);
    free(used);
    free(seconds);
    return p.rc;
}

void uc_plan_release(struct uc_plan *plan)
{
    for (size_t i = 0; i < plan->n_actions && plan->actions; i++)
        free(plan->actions[i].detail);
    free(plan->actions);
    memset(plan, 0, sizeof(*plan));
}
