#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/cli/session.h"

enum { EXIT_WORK_NEEDED = 10 };

struct kind {
    const char *op;
    size_t hit, run, maybe;
    double seconds;
    uint64_t memory;
};

static const char *const state_words[] = {"unused", "cached", "run", "maybe"};

static struct kind *kind_of(struct kind *kinds, size_t *n, const char *op)
{
    size_t i = 0;

    while (i < *n && strcmp(kinds[i].op, op) != 0)
        i++;
    if (i == *n) {
        memset(&kinds[i], 0, sizeof(kinds[i]));
        kinds[i].op = op;
        ++*n;
    }
    return &kinds[i];
}

/* Kinds in the order in which they first appear; room for one each action. */
static size_t count_kinds(const struct uc_graph *g, const struct uc_plan *plan, struct kind *kinds)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n_actions; i++) {
        const struct uc_plan_action *a = &plan->actions[i];
        struct kind *k;

        if (a->state == UC_PLAN_UNUSED)
            continue;
        k = kind_of(kinds, &n, g->actions[i].op);
        k->hit += a->state == UC_PLAN_HIT;
        k->run += a->state == UC_PLAN_RUN;
        k->maybe += a->state == UC_PLAN_MAYBE;
        if (a->state != UC_PLAN_HIT)
            k->seconds += a->predicted;
        if (g->actions[i].memory > k->memory)
            k->memory = g->actions[i].memory;
    }
    return n;
}

static void print_target(const struct uc_target *t)
{
    const json_t *i = t->info;
    char before[32], after[32];

    uc_str_bytes(before, (uint64_t)uc_json_int(i, "source_bytes", 0));
    uc_str_bytes(after, (uint64_t)uc_json_int(i, "target_bytes", 0));
    printf("%s: %s, %s, %lld weights in %lld layers\n", t->name, uc_json_str(i, "source", "?"),
           uc_json_str(i, "architecture", "?"), (long long)uc_json_int(i, "weights", 0),
           (long long)uc_json_int(i, "layers", 0));
    printf("  %s -> %s: %.4g bits a weight (%s), %s\n", before, after, uc_json_num(i, "bpw", 0),
           strcmp(uc_json_str(i, "count", "all"), "all") ? "body only" : "everything counted",
           uc_json_str(i, "method", "?"));
    printf("  shards of calibration: %lld, evaluations: %lld, into %s\n",
           (long long)uc_json_int(i, "calibration_shards", 0),
           (long long)uc_json_int(i, "evaluations", 0), t->dir ? t->dir : "(nothing is written)");
}

static bool any_history(const struct uc_plan *plan)
{
    for (size_t i = 0; i < plan->n_actions; i++)
        if (plan->actions[i].from_history && plan->actions[i].state != UC_PLAN_HIT)
            return true;
    return false;
}

static void print_text(const struct uc_session *s, const struct uc_plan *plan,
                       const struct kind *kinds, size_t n)
{
    char took[32], mem[32];

    for (size_t i = 0; i < s->n_targets; i++)
        print_target(s->targets[i]);
    if (plan->n_run + plan->n_maybe == 0) {
        printf("nothing to do: all %zu actions are cached\n", plan->n_hit);
        return;
    }
    printf("\n  %-18s %7s %7s %7s %9s\n", "kind", "cached", "to run", "maybe", "memory");
    for (size_t i = 0; i < n; i++) {
        uc_str_bytes(mem, kinds[i].memory);
        printf("  %-18s %7zu %7zu %7zu %9s\n", kinds[i].op, kinds[i].hit, kinds[i].run,
               kinds[i].maybe, kinds[i].run + kinds[i].maybe ? mem : "");
    }
    printf("  %-18s %7zu %7zu %7zu\n", "all", plan->n_hit, plan->n_run, plan->n_maybe);
    if (plan->n_maybe)
        puts("  maybe: runs if what runs before it gives other bytes than are known");
    uc_str_seconds(took, plan->predicted);
    if (any_history(plan))
        printf("about %s of processor time, by past runs\n", took);
    else
        puts("first run on this machine: no estimate of the time");
}

static json_t *plan_json(const struct uc_session *s, const struct uc_plan *plan,
                         const struct kind *kinds, size_t n)
{
    const struct uc_graph *g = &s->recipe.graph;
    json_t *artifacts = json_array(), *list = json_array(), *actions = json_array();

    for (size_t i = 0; i < s->n_targets; i++) {
        json_t *t =
            json_pack("{s:s, s:O}", "name", s->targets[i]->name, "info", s->targets[i]->info);
        if (s->targets[i]->dir)
            json_object_set_new(t, "dir", json_string(s->targets[i]->dir));
        json_array_append_new(artifacts, t);
    }
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "op", kinds[i].op, "cached",
                            (json_int_t)kinds[i].hit, "run", (json_int_t)kinds[i].run, "maybe",
                            (json_int_t)kinds[i].maybe, "memory", (json_int_t)kinds[i].memory));
    for (size_t i = 0; i < plan->n_actions; i++) {
        const struct uc_plan_action *a = &plan->actions[i];
        json_t *o;

        if (a->state == UC_PLAN_UNUSED)
            continue;
        o = json_pack("{s:s, s:s, s:s}", "name", g->actions[i].name, "op", g->actions[i].op,
                      "state", state_words[a->state]);
        if (a->why != UC_WHY_NONE)
            json_object_set_new(o, "why", json_string(uc_why_word(a->why)));
        if (a->detail)
            json_object_set_new(o, "detail", json_string(a->detail));
        json_array_append_new(actions, o);
    }
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:f}", "artifacts", artifacts, "kinds", list,
                     "actions", actions, "cached", (json_int_t)plan->n_hit, "run",
                     (json_int_t)plan->n_run, "maybe", (json_int_t)plan->n_maybe,
                     "predicted_seconds", plan->predicted);
}

static int show_plan(struct uc_session *s, struct uc_err *err)
{
    struct uc_build_opts o;
    struct uc_plan plan = {0};
    struct kind *kinds;
    size_t n;
    int rc = uc_session_build_opts(s, &o, err);

    if (rc == 0)
        rc = uc_plan(s->cache, &s->recipe.graph, s->targets, s->n_targets, &o, &plan, err);
    if (rc < 0) {
        uc_plan_release(&plan);
        return rc;
    }
    kinds = uc_xcalloc(s->recipe.graph.n_actions + 1, sizeof(*kinds));
    n = count_kinds(&s->recipe.graph, &plan, kinds);
    if (s->cli->json)
        uc_print_json(plan_json(s, &plan, kinds, n));
    else
        print_text(s, &plan, kinds, n);
    if (uc_cli_flag(s->cli, "check") && plan.n_run + plan.n_maybe)
        rc = EXIT_WORK_NEEDED;
    free(kinds);
    uc_plan_release(&plan);
    return rc;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    struct uc_session s;
    int rc = uc_session_open(&s, cli, err);

    if (rc == 0)
        rc = uc_session_load(&s, err);
    if (rc == 0)
        rc = show_plan(&s, err);
    uc_session_close(&s);
    return rc;
}

static const struct uc_option options[] = {
    UC_RECIPE_OPTIONS,
    {"check", 0, UC_OPT_FLAG, NULL, "exit with 10 when a build would have work to do", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_plan = {
    .name = "plan",
    .summary = "what a build would do: sizes, actions by kind, what is cached",
    .usage = "[RECIPE.lua] [ARTIFACT...]",
    .examples = "uc plan examples/tiny.uc.lua   reads headers only, runs nothing\n"
                "uc plan --set bpw=3 --json     for programs: every action and its state\n"
                "uc plan --check                exit code 10 when work is needed",
    .options = options,
    .max_args = -1,
    .run = run,
};
