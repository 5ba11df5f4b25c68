#include "engine/graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/op.h"

void uc_graph_init(struct uc_graph *g)
{
    memset(g, 0, sizeof(*g));
    uc_arena_init(&g->arena);
}

void uc_graph_release(struct uc_graph *g)
{
    for (size_t i = 0; i < g->n_actions; i++)
        json_decref(g->actions[i].params);
    for (size_t i = 0; i < g->n_targets; i++)
        json_decref(g->targets[i].info);
    free(g->actions);
    free(g->targets);
    free(g->by_name);
    uc_arena_release(&g->arena);
    memset(g, 0, sizeof(*g));
}

static uint64_t name_hash(const char *s)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 1099511628211u;
    return h;
}

/* Slot of name in by_name: its own, or the free one where it belongs. */
static size_t name_slot(const struct uc_graph *g, const char *name)
{
    size_t mask = g->cap_by_name - 1, i = name_hash(name) & mask;

    while (g->by_name[i] && strcmp(g->actions[g->by_name[i] - 1].name, name) != 0)
        i = (i + 1) & mask;
    return i;
}

static void grow(struct uc_graph *g)
{
    if (g->n_actions == g->cap_actions) {
        g->cap_actions = g->cap_actions ? g->cap_actions * 2 : 64;
        g->actions = uc_xrealloc(g->actions, g->cap_actions * sizeof(*g->actions));
    }
    if (g->cap_by_name < 2 * (g->n_actions + 1)) {
        g->cap_by_name = g->cap_by_name ? g->cap_by_name * 2 : 128;
        free(g->by_name);
        g->by_name = uc_xcalloc(g->cap_by_name, sizeof(*g->by_name));
        for (size_t i = 0; i < g->n_actions; i++)
            g->by_name[name_slot(g, g->actions[i].name)] = (uint32_t)i + 1;
    }
}

static char *dup_opt(struct uc_graph *g, const char *s)
{
    return s ? uc_arena_strdup(&g->arena, s) : NULL;
}

static int by_input_name(const void *a, const void *b)
{
    return strcmp(((const struct uc_input *)a)->name, ((const struct uc_input *)b)->name);
}

static int by_output_name(const void *a, const void *b)
{
    return strcmp(((const struct uc_output *)a)->name, ((const struct uc_output *)b)->name);
}

/* Checks that in refers to something that exists, and makes its strings the graph's. */
static int adopt_input(struct uc_graph *g, struct uc_input *in, const char *owner,
                       struct uc_err *err)
{
    struct uc_ref *r = &in->ref;

    in->name = uc_arena_strdup(&g->arena, in->name);
    if (r->kind == UC_REF_OUTPUT || r->kind == UC_REF_TENSOR) {
        if (r->action >= g->n_actions)
            return uc_fail(err, UC_EUSAGE, "%s: input '%s' comes from no action", owner, in->name);
        const struct uc_action *p = &g->actions[r->action];
        if (r->kind == UC_REF_TENSOR && !p->stat_path)
            return uc_fail(err, UC_EUSAGE, "%s: input '%s': '%s' is no fingerprint", owner,
                           in->name, p->name);
        if (r->kind == UC_REF_OUTPUT && !uc_graph_output(g, r->action, r->output))
            return uc_fail(err, UC_EUSAGE, "%s: input '%s': '%s' has no output '%s'", owner,
                           in->name, p->name, r->output);
    }
    r->output = dup_opt(g, r->output);
    r->path = dup_opt(g, r->path);
    r->dtype = dup_opt(g, r->dtype);
    if (r->kind == UC_REF_INLINE) {
        void *copy = uc_arena_alloc(&g->arena, r->size ? r->size : 1);
        if (r->size)
            memcpy(copy, r->data, r->size);
        r->data = copy;
    }
    return 0;
}

static int adopt_inputs(struct uc_graph *g, struct uc_input **inputs, size_t n, const char *owner,
                        struct uc_err *err)
{
    struct uc_input *copy = uc_arena_alloc(&g->arena, (n ? n : 1) * sizeof(*copy));
    int rc = 0;

    if (n)
        memcpy(copy, *inputs, n * sizeof(*copy));
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = adopt_input(g, &copy[i], owner, err);
    if (rc == 0)
        qsort(copy, n, sizeof(*copy), by_input_name);
    for (size_t i = 1; i < n && rc == 0; i++)
        if (strcmp(copy[i - 1].name, copy[i].name) == 0)
            rc = uc_fail(err, UC_EUSAGE, "%s: '%s' is given twice", owner, copy[i].name);
    *inputs = copy;
    return rc;
}

static int adopt_outputs(struct uc_graph *g, struct uc_action *a, struct uc_err *err)
{
    size_t n = a->n_outputs;
    struct uc_output *copy = uc_arena_alloc(&g->arena, (n ? n : 1) * sizeof(*copy));

    if (n)
        memcpy(copy, a->outputs, n * sizeof(*copy));
    qsort(copy, n, sizeof(*copy), by_output_name);
    for (size_t i = 0; i < n; i++) {
        if (i && strcmp(copy[i - 1].name, copy[i].name) == 0)
            return uc_fail(err, UC_EUSAGE, "%s: output '%s' is declared twice", a->name,
                           copy[i].name);
        copy[i].name = uc_arena_strdup(&g->arena, copy[i].name);
    }
    a->outputs = copy;
    return 0;
}

int uc_graph_add(struct uc_graph *g, const struct uc_action *a, uint32_t *id, struct uc_err *err)
{
    struct uc_action copy = *a;
    int rc;

    if (!uc_op_find(a->op))
        return uc_fail(err, UC_EUSAGE, "%s: there is no op '%s'", a->name, a->op);
    grow(g);
    if (g->by_name[name_slot(g, a->name)])
        return uc_fail(err, UC_EUSAGE, "two actions are named '%s'", a->name);
    copy.id = (uint32_t)g->n_actions;
    copy.op = uc_arena_strdup(&g->arena, a->op);
    copy.name = uc_arena_strdup(&g->arena, a->name);
    copy.stat_path = dup_opt(g, a->stat_path);
    copy.threads = a->threads < 1 ? 1 : a->threads;
    if (a->stat_path && a->n_inputs)
        return uc_fail(err, UC_EUSAGE, "%s: reads a file, so it takes no inputs", a->name);
    rc = adopt_inputs(g, &copy.inputs, copy.n_inputs, copy.name, err);
    if (rc == 0)
        rc = adopt_outputs(g, &copy, err);
    if (rc < 0)
        return rc;
    copy.params = a->params ? json_incref(a->params) : json_object();
    g->by_name[name_slot(g, copy.name)] = copy.id + 1;
    g->actions[g->n_actions++] = copy;
    *id = copy.id;
    return 0;
}

int uc_graph_add_target(struct uc_graph *g, const struct uc_target *t, struct uc_err *err)
{
    struct uc_target copy = *t;
    bool has_summary = !t->summary;
    int rc;

    for (size_t i = 0; i < g->n_targets; i++)
        if (strcmp(g->targets[i].name, t->name) == 0)
            return uc_fail(err, UC_EUSAGE, "two targets are named '%s'", t->name);
    copy.name = uc_arena_strdup(&g->arena, t->name);
    copy.dir = dup_opt(g, t->dir);
    copy.summary = dup_opt(g, t->summary);
    rc = adopt_inputs(g, &copy.files, copy.n_files, copy.name, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < copy.n_files; i++)
        has_summary = has_summary || strcmp(copy.files[i].name, copy.summary) == 0;
    if (!has_summary)
        return uc_fail(err, UC_EUSAGE, "%s: the summary '%s' is not one of its files", copy.name,
                       copy.summary);
    if (g->n_targets == g->cap_targets) {
        g->cap_targets = g->cap_targets ? g->cap_targets * 2 : 4;
        g->targets = uc_xrealloc(g->targets, g->cap_targets * sizeof(*g->targets));
    }
    json_incref(copy.info);
    g->targets[g->n_targets++] = copy;
    return 0;
}

const struct uc_action *uc_graph_find(const struct uc_graph *g, const char *name)
{
    uint32_t id = g->cap_by_name ? g->by_name[name_slot(g, name)] : 0;

    return id ? &g->actions[id - 1] : NULL;
}

const struct uc_output *uc_graph_output(const struct uc_graph *g, uint32_t action, const char *name)
{
    const struct uc_action *a = &g->actions[action];

    for (size_t i = 0; i < a->n_outputs; i++)
        if (strcmp(a->outputs[i].name, name) == 0)
            return &a->outputs[i];
    return NULL;
}

static void mark(uint8_t *needed, const struct uc_input *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (in[i].ref.kind == UC_REF_OUTPUT || in[i].ref.kind == UC_REF_TENSOR)
            needed[in[i].ref.action] = 1;
}

void uc_graph_closure(const struct uc_graph *g, const struct uc_target *t, uint32_t *ids, size_t *n)
{
    uint8_t *needed = uc_xcalloc(g->n_actions + 1, 1);

    mark(needed, t->files, t->n_files);
    for (size_t i = g->n_actions; i-- > 0;)
        if (needed[i])
            mark(needed, g->actions[i].inputs, g->actions[i].n_inputs);
    *n = 0;
    for (size_t i = 0; i < g->n_actions; i++)
        if (needed[i])
            ids[(*n)++] = (uint32_t)i;
    free(needed);
}

static json_t *ref_json(const struct uc_graph *g, const struct uc_ref *r)
{
    char hex[UC_HEX_LEN + 1];
    json_t *o = json_object();

    if (r->kind == UC_REF_OUTPUT || r->kind == UC_REF_TENSOR) {
        json_object_set_new(o, "action", json_string(g->actions[r->action].name));
        json_object_set_new(o, r->kind == UC_REF_TENSOR ? "tensor" : "output",
                            json_string(r->output));
    } else {
        json_object_set_new(o, "digest", json_string(uc_digest_hex(&r->digest, hex)));
    }
    if (r->kind != UC_REF_OUTPUT)
        json_object_set_new(o, "size", json_integer((json_int_t)r->size));
    if (r->kind == UC_REF_TENSOR || r->kind == UC_REF_SLICE) {
        json_object_set_new(o, "path", json_string(r->path));
        json_object_set_new(o, "offset", json_integer((json_int_t)r->offset));
    }
    if (r->kind == UC_REF_TENSOR) {
        json_t *shape = json_array();
        for (int i = 0; i < r->n_dim; i++)
            json_array_append_new(shape, json_integer((json_int_t)r->shape[i]));
        json_object_set_new(o, "dtype", json_string(r->dtype));
        json_object_set_new(o, "shape", shape);
    }
    return o;
}

static json_t *inputs_json(const struct uc_graph *g, const struct uc_input *in, size_t n)
{
    json_t *o = json_object();

    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, in[i].name, ref_json(g, &in[i].ref));
    return o;
}

static json_t *action_json(const struct uc_graph *g, const struct uc_action *a)
{
    static const char *const retention[] = {"keep", "cache", "transient"};
    json_t *o = json_object(), *outputs = json_object();

    for (size_t i = 0; i < a->n_outputs; i++) {
        json_t *out = json_object();
        json_object_set_new(out, "bytes", json_integer((json_int_t)a->outputs[i].bytes));
        json_object_set_new(out, "retention", json_string(retention[a->outputs[i].retention]));
        json_object_set_new(outputs, a->outputs[i].name, out);
    }
    json_object_set_new(o, "name", json_string(a->name));
    json_object_set_new(o, "op", json_string(a->op));
    json_object_set(o, "params", a->params);
    json_object_set_new(o, "inputs", inputs_json(g, a->inputs, a->n_inputs));
    json_object_set_new(o, "outputs", outputs);
    json_object_set_new(o, "threads", json_integer(a->threads));
    json_object_set_new(o, "memory", json_integer((json_int_t)a->memory));
    json_object_set_new(o, "work", json_real(a->work));
    if (a->stat_path)
        json_object_set_new(o, "stat_path", json_string(a->stat_path));
    return o;
}

char *uc_graph_json(const struct uc_graph *g)
{
    json_t *o = json_object(), *actions = json_array(), *targets = json_array();
    char *text;

    for (size_t i = 0; i < g->n_actions; i++)
        json_array_append_new(actions, action_json(g, &g->actions[i]));
    for (size_t i = 0; i < g->n_targets; i++) {
        const struct uc_target *t = &g->targets[i];
        json_t *e = json_object();
        json_object_set_new(e, "name", json_string(t->name));
        json_object_set_new(e, "dir", t->dir ? json_string(t->dir) : json_null());
        json_object_set_new(e, "files", inputs_json(g, t->files, t->n_files));
        json_object_set(e, "info", t->info ? t->info : json_null());
        json_array_append_new(targets, e);
    }
    json_object_set_new(o, "actions", actions);
    json_object_set_new(o, "targets", targets);
    text = uc_json_canonical(o);
    json_decref(o);
    return text;
}
