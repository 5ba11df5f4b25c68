#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/cli/session.h"

static void dot_string(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
    putchar('"');
}

/* One box for each action; --kinds folds them into one for each op. */
static void print_dot(const struct uc_graph *g)
{
    puts("digraph uc {\n  rankdir=LR;\n  node [shape=box];");
    for (size_t i = 0; i < g->n_actions; i++) {
        printf("  a%zu [label=", i);
        dot_string(g->actions[i].name);
        puts("];");
    }
    for (size_t i = 0; i < g->n_actions; i++)
        for (size_t k = 0; k < g->actions[i].n_inputs; k++) {
            const struct uc_ref *r = &g->actions[i].inputs[k].ref;
            if (r->kind == UC_REF_OUTPUT || r->kind == UC_REF_TENSOR)
                printf("  a%u -> a%zu;\n", r->action, i);
        }
    puts("}");
}

/* Index of an op among those seen so far. */
static size_t op_index(const char **ops, size_t *n, const char *op)
{
    size_t i = 0;

    while (i < *n && strcmp(ops[i], op) != 0)
        i++;
    if (i == *n)
        ops[(*n)++] = op;
    return i;
}

static void print_kinds(const struct uc_graph *g, bool dot)
{
    const char **ops = uc_xcalloc(g->n_actions + 1, sizeof(*ops));
    size_t *count = uc_xcalloc(g->n_actions + 1, sizeof(*count)), n = 0;
    uint8_t *edge;

    for (size_t i = 0; i < g->n_actions; i++)
        count[op_index(ops, &n, g->actions[i].op)]++;
    edge = uc_xcalloc(n * n + 1, 1);
    for (size_t i = 0; i < g->n_actions; i++)
        for (size_t k = 0; k < g->actions[i].n_inputs; k++) {
            const struct uc_ref *r = &g->actions[i].inputs[k].ref;
            if (r->kind == UC_REF_OUTPUT || r->kind == UC_REF_TENSOR)
                edge[op_index(ops, &n, g->actions[r->action].op) * n +
                     op_index(ops, &n, g->actions[i].op)] = 1;
        }
    if (dot)
        puts("digraph uc {\n  rankdir=LR;\n  node [shape=box];");
    for (size_t i = 0; i < n; i++) {
        if (dot)
            printf("  %s [label=\"%s x %zu\"];\n", ops[i], ops[i], count[i]);
        else
            printf("%-18s %6zu  ", ops[i], count[i]);
        for (size_t k = 0, first = 1; k < n; k++) {
            if (!edge[i * n + k])
                continue;
            if (dot)
                printf("  %s -> %s;\n", ops[i], ops[k]);
            else
                printf("%s%s", first ? "-> " : ", ", ops[k]);
            first = 0;
        }
        if (!dot)
            putchar('\n');
    }
    if (dot)
        puts("}");
    free(edge);
    free(count);
    free(ops);
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    struct uc_session s;
    int rc = uc_session_open(&s, cli, err);

    if (rc == 0)
        rc = uc_session_load(&s, err);
    if (rc == 0 && cli->json) {
        char *text = uc_graph_json(&s.recipe.graph);
        puts(text);
        free(text);
    } else if (rc == 0 && uc_cli_flag(cli, "all")) {
        print_dot(&s.recipe.graph);
    } else if (rc == 0) {
        print_kinds(&s.recipe.graph, uc_cli_flag(cli, "dot"));
    }
    uc_session_close(&s);
    return rc;
}

static const struct uc_option options[] = {
    UC_RECIPE_OPTIONS,
    {"dot", 0, UC_OPT_FLAG, NULL, "print the kinds of actions for Graphviz", NULL},
    {"all", 0, UC_OPT_FLAG, NULL, "print every action for Graphviz", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_graph = {
    .name = "graph",
    .summary = "the graph of actions that a recipe means",
    .usage = "[RECIPE.lua]",
    .examples =
        "uc graph examples/tiny.uc.lua                  kinds of actions and what feeds what\n"
        "uc graph --dot | dot -Tsvg > graph.svg         a picture of it\n"
        "uc graph --json                                all of it, canonical",
    .options = options,
    .max_args = -1,
    .run = run,
};
