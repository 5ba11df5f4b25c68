#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/cli/session.h"
#include "engine/resolve.h"

/* Arguments after the recipe are patterns over names and ops of actions here, not targets. */
static bool wanted(const struct uc_session *s, const struct uc_action *a, const char **patterns,
                   size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (uc_action_matches(a, patterns[i]))
            return true;
    return n == 0;
}

static void print_one(const struct uc_action *a, const struct uc_plan_action *p)
{
    if (p->state == UC_PLAN_HIT)
        printf("%s: cached\n", a->name);
    else if (p->state == UC_PLAN_MAYBE)
        printf("%s: runs only if what it reads comes out different\n", a->name);
    else
        printf("%s: runs, %s%s%s\n", a->name, uc_why_word(p->why), p->detail ? ": " : "",
               p->detail ? p->detail : "");
}

static json_t *one_json(const struct uc_action *a, const struct uc_plan_action *p)
{
    static const char *const words[] = {"unused", "cached", "run", "maybe"};
    json_t *o =
        json_pack("{s:s, s:s, s:s}", "name", a->name, "op", a->op, "state", words[p->state]);

    if (p->state == UC_PLAN_RUN)
        json_object_set_new(o, "why", json_string(uc_why_word(p->why)));
    if (p->detail)
        json_object_set_new(o, "detail", json_string(p->detail));
    return o;
}

/* Keys are known as far as results are cached. */
static void print_keys(struct uc_session *s, const uint8_t *show)
{
    const struct uc_graph *g = &s->recipe.graph;
    struct uc_build_opts o = {.scope = uc_session_recipe_name(s)};
    struct uc_resolver r;
    struct uc_err err = {0};

    uc_resolver_init(&r, s->cache, g, &o);
    for (uint32_t i = 0; i < g->n_actions; i++) {
        bool ready = true;

        for (size_t k = 0; k < g->actions[i].n_inputs; k++) {
            const struct uc_ref *ref = &g->actions[i].inputs[k].ref;
            if (ref->kind == UC_REF_OUTPUT || ref->kind == UC_REF_TENSOR)
                ready = ready && r.known[ref->action].has_outputs;
        }
        if (!ready || uc_resolver_lookup(&r, i, &err) < 0 || !show[i])
            continue;
        char *text = uc_resolver_key_text(&r, i);
        printf("%s\n%s\n", g->actions[i].name, text);
        free(text);
    }
    uc_resolver_release(&r);
}

static int explain(struct uc_session *s, const char **patterns, size_t n, struct uc_err *err)
{
    const struct uc_graph *g = &s->recipe.graph;
    struct uc_build_opts o;
    struct uc_plan plan = {0};
    json_t *list = json_array();
    uint8_t *show = uc_xcalloc(g->n_actions + 1, 1);
    size_t shown = 0;
    int rc = uc_session_build_opts(s, &o, err);

    if (rc == 0)
        rc = uc_plan(s->cache, g, s->targets, s->n_targets, &o, &plan, err);
    for (size_t i = 0; rc == 0 && i < plan.n_actions; i++) {
        if (plan.actions[i].state == UC_PLAN_UNUSED || !wanted(s, &g->actions[i], patterns, n) ||
            (n == 0 && plan.actions[i].state != UC_PLAN_RUN))
            continue;
        show[i] = 1;
        shown++;
        if (s->cli->json)
            json_array_append_new(list, one_json(&g->actions[i], &plan.actions[i]));
        else if (!uc_cli_flag(s->cli, "key"))
            print_one(&g->actions[i], &plan.actions[i]);
    }
    if (rc == 0 && n && !shown)
        rc = uc_fail(err, UC_EUSAGE, "no action is named like '%s'", patterns[0]);
    if (rc == 0 && s->cli->json)
        uc_print_json(json_incref(list));
    else if (rc == 0 && uc_cli_flag(s->cli, "key"))
        print_keys(s, show);
    else if (rc == 0 && !shown)
        puts("nothing would run: everything is cached");
    json_decref(list);
    free(show);
    uc_plan_release(&plan);
    return rc;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    struct uc_session s;
    const char **patterns;
    size_t n;
    int rc = uc_session_open(&s, cli, err);

    patterns = s.names;
    n = s.n_names;
    s.n_names = 0;
    if (rc == 0)
        rc = uc_session_load(&s, err);
    if (rc == 0)
        rc = explain(&s, patterns, n, err);
    uc_session_close(&s);
    return rc;
}

static const struct uc_option options[] = {
    UC_RECIPE_OPTIONS,
    {"key", 0, UC_OPT_FLAG, NULL, "print the key's fields instead", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_explain = {
    .name = "explain",
    .summary = "why an action would run, or that it is cached",
    .usage = "[RECIPE.lua] [PATTERN...]",
    .examples = "uc explain examples/tiny.uc.lua            what would run, and why\n"
                "uc explain uc.lua 'quantize layers.3.*'    these actions\n"
                "uc explain uc.lua --key allocate           what the key is made of",
    .about = "PATTERN is a name or an op, with * and ?. Why is one of: never built, changed (the\n"
             "field, before and after), evicted, corrupt, forced.",
    .options = options,
    .max_args = -1,
    .run = run,
};
