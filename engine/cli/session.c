#include "engine/cli/session.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static int find_recipe(struct uc_session *s, struct uc_err *err)
{
    const char *file = uc_cli_text(s->cli, "file", NULL);
    glob_t g = {0};

    for (size_t i = 0; i < s->cli->n_args; i++) {
        const char *a = s->cli->args[i];

        if (!file && uc_str_ends(a, ".lua"))
            file = a;
        else
            s->names[s->n_names++] = a;
    }
    if (!file && access("uc.lua", R_OK) == 0)
        file = "uc.lua";
    if (!file && glob("*.uc.lua", 0, NULL, &g) == 0 && g.gl_pathc > 1)
        uc_fail(err, UC_EUSAGE, "this folder holds %zu recipes", g.gl_pathc);
    else if (!file && g.gl_pathc == 0)
        uc_fail(err, UC_EUSAGE, "no recipe: there is no uc.lua and no *.uc.lua in this folder");
    else if (file && access(file, R_OK) < 0)
        uc_fail(err, UC_EUSAGE, "recipe %s does not exist or cannot be read", file);
    else
        s->path = uc_xstrdup(file ? file : g.gl_pathv[0]);
    globfree(&g);
    if (s->path)
        return 0;
    return uc_fix(err, "name one: uc %s FILE.uc.lua", s->cli->command->name);
}

static int open_cache(struct uc_session *s, struct uc_err *err)
{
    return uc_cache_open(&s->cache, uc_cli_text(s->cli, "cache", NULL), 0, err);
}

static void take_args(struct uc_session *s, struct uc_cli *cli)
{
    memset(s, 0, sizeof(*s));
    s->cli = cli;
    s->names = uc_xcalloc(cli->n_args + 1, sizeof(*s->names));
    s->sets = uc_xcalloc(cli->n_values + 1, sizeof(*s->sets));
}

int uc_session_open(struct uc_session *s, struct uc_cli *cli, struct uc_err *err)
{
    const char *set;
    int rc;

    take_args(s, cli);
    while ((set = uc_cli_list(cli, "set", s->n_sets)))
        s->sets[s->n_sets++] = set;
    rc = find_recipe(s, err);
    return rc < 0 ? rc : open_cache(s, err);
}

int uc_session_open_text(struct uc_session *s, struct uc_cli *cli, char *text, struct uc_err *err)
{
    take_args(s, cli);
    s->text = text;
    return open_cache(s, err);
}

static const struct uc_target *find_target(const struct uc_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_targets; i++)
        if (!strcmp(g->targets[i].name, name))
            return &g->targets[i];
    return NULL;
}

static int unknown_target(const struct uc_graph *g, const char *name, struct uc_err *err)
{
    const char **names = uc_xcalloc(g->n_targets + 1, sizeof(*names)), *near;

    for (size_t i = 0; i < g->n_targets; i++)
        names[i] = g->targets[i].name;
    near = uc_str_nearest(name, names, g->n_targets);
    uc_fail(err, UC_EUSAGE, "the recipe has no artifact '%s'", name);
    if (near || g->n_targets)
        uc_fix(err, "did you mean '%s'?", near ? near : names[0]);
    free(names);
    return err->code;
}

static int choose_targets(struct uc_session *s, struct uc_err *err)
{
    struct uc_graph *g = &s->recipe.graph;

    s->targets = uc_xcalloc(s->n_names + 1, sizeof(*s->targets));
    for (size_t i = 0; i < s->n_names; i++) {
        s->targets[i] = find_target(g, s->names[i]);
        if (!s->targets[i])
            return unknown_target(g, s->names[i], err);
    }
    s->n_targets = s->n_names;
    if (!s->n_targets)
        s->targets[s->n_targets++] =
            g->default_target ? find_target(g, g->default_target) : &g->targets[0];
    return 0;
}

int uc_session_load(struct uc_session *s, struct uc_err *err)
{
    const struct uc_recipe_opts o = {
        .path = s->path,
        .text = s->text,
        .name = "(uc compress)",
        .sets = s->sets,
        .n_sets = s->n_sets,
        .cache = s->cache,
    };
    int rc = uc_recipe_load(&o, &s->recipe, err);

    if (rc < 0)
        return rc;
    s->loaded = true;
    return choose_targets(s, err);
}

void uc_session_close(struct uc_session *s)
{
    if (s->loaded)
        uc_recipe_release(&s->recipe);
    uc_cache_close(s->cache);
    free(s->path);
    free(s->text);
    free(s->names);
    free(s->sets);
    free(s->targets);
    memset(s, 0, sizeof(*s));
}

char *uc_session_params(const struct uc_session *s)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    json_t *sets = json_array(), *names = json_array(), *o;
    char *text;

    for (size_t i = 0; i < s->n_sets; i++)
        json_array_append_new(sets, json_string(s->sets[i]));
    for (size_t i = 0; i < s->n_names; i++)
        json_array_append_new(names, json_string(s->names[i]));
    o = json_pack("{s:o, s:o, s:s, s:s}", "sets", sets, "targets", names, "text",
                  s->text ? s->text : "", "epoch", epoch ? epoch : "");
    text = uc_json_canonical(o);
    json_decref(o);
    return text;
}

const char *uc_session_recipe_name(const struct uc_session *s)
{
    return s->path ? s->path : "(uc compress)";
}

int uc_session_build_opts(const struct uc_session *s, struct uc_build_opts *o, struct uc_err *err)
{
    const char *device = uc_cli_text(s->cli, "device", "cpu");

    memset(o, 0, sizeof(*o));
    o->jobs = (int)uc_cli_int(s->cli, "jobs", 0);
    o->memory = uc_cli_size(s->cli, "memory", 0);
    o->scope = uc_session_recipe_name(s);
    if (uc_str_starts(device, "cuda")) {
        uc_fail(err, UC_ERESOURCE, "--device %s: this build of uc has no GPU kernels", device);
        return uc_fix(err, "leave --device out: every step runs on the processor, with the same "
                           "bytes as result");
    }
    if (strcmp(device, "cpu") && strcmp(device, "auto"))
        return uc_fail(err, UC_EUSAGE, "--device: '%s' is none of cpu, auto, cuda:N", device);
    return 0;
}
