#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsio.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/cli/build.h"
#include "lua/recipe.h"

/* A path as the recipe has to write it: what a recipe names counts from its own folder, so one that
 * is saved elsewhere gets absolute paths. */
static json_t *path_value(const struct uc_cli *cli, const char *path)
{
    const char *save = uc_cli_text(cli, "save-recipe", NULL);
    char *here = save && strchr(save, '/') && path[0] != '/' ? getcwd(NULL, 0) : NULL;
    char *full = here ? uc_path_join(here, path) : uc_xstrdup(path);
    json_t *v = json_string(full);

    free(here);
    free(full);
    return v;
}

static json_t *paths(const struct uc_cli *cli, const char *option)
{
    json_t *list = json_array();
    const char *v;

    for (size_t i = 0; (v = uc_cli_list(cli, option, i)); i++)
        json_array_append_new(list, path_value(cli, v));
    return list;
}

static void set_text(json_t *o, const struct uc_cli *cli, const char *name, const char *option)
{
    const char *v = uc_cli_text(cli, option, NULL);

    if (v)
        json_object_set_new(o, name, json_string(v));
}

static void set_int(json_t *o, const struct uc_cli *cli, const char *name, const char *option)
{
    if (uc_cli_given(cli, option))
        json_object_set_new(o, name, json_integer(uc_cli_int(cli, option, 0)));
}

/* The options of recipes/compress.lua. */
static int read_options(const struct uc_cli *cli, json_t **out, struct uc_err *err)
{
    json_t *o = json_object(), *calibration = paths(cli, "calibration-data");

    json_object_set_new(o, "model", path_value(cli, cli->args[0]));
    json_object_set_new(o, "bpw", json_real(uc_cli_num(cli, "bpw", 2.798)));
    json_object_set_new(o, "calibration", calibration);
    json_object_set_new(o, "eval", paths(cli, "eval"));
    set_int(o, cli, "seed", "seed");
    set_int(o, cli, "method_version", "method-version");
    set_int(o, cli, "window", "window");
    set_int(o, cli, "limit", "limit");
    set_text(o, cli, "method", "method");
    set_text(o, cli, "size", "size");
    set_text(o, cli, "license", "license");
    set_text(o, cli, "output", "output-dir");
    set_text(o, cli, "tokens", "tokens");
    *out = o;
    if (json_array_size(calibration))
        return 0;
    uc_fail(err, UC_EUSAGE, "no calibration text is given");
    return uc_fix(err, "add --calibration-data FILE (text, or .jsonl): text of the kind that the "
                       "model will work on, a few hundred kilobytes");
}

/* The recipe is ours: its line numbers say nothing to the user. */
static int without_place(struct uc_err *err)
{
    char where[512];
    const char *what;

    uc_error_split(err->msg, where, sizeof(where), &what);
    if (uc_str_starts(where, "(uc compress):"))
        memmove(err->msg, what, strlen(what) + 1);
    return err->code;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *save = uc_cli_text(cli, "save-recipe", NULL);
    struct uc_session s = {0};
    json_t *options = NULL;
    char *text = NULL;
    int rc = read_options(cli, &options, err);

    if (rc == 0)
        rc = uc_recipe_of_compress(options, &text, err);
    json_decref(options);
    if (rc < 0)
        return rc;
    if (save && strcmp(save, "-")) {
        rc = uc_write_file(save, text, strlen(text), true, err);
        free(text);
        if (rc == 0 && !cli->quiet)
            fprintf(stderr, "wrote %s; run it with: uc build %s\n", save, save);
        return rc;
    }
    if (save) {
        fputs(text, stdout);
        free(text);
        return 0;
    }
    rc = uc_session_open_text(&s, cli, text, err);
    if (rc == 0)
        rc = uc_cli_build(&s, err);
    uc_session_close(&s);
    return rc < 0 ? without_place(err) : rc;
}

static const struct uc_option options[] = {
    {"bpw", 'b', UC_OPT_NUM, "BITS", "bits a weight, everything counted (default: 2.798)", NULL},
    {"size", 0, UC_OPT_TEXT, "SIZE", "size of model.safetensors instead of --bpw, as in 46M", NULL},
    {"calibration-data", 'c', UC_OPT_LIST, "FILE", "calibration text or .jsonl; may be repeated",
     NULL},
    {"tokens", 0, UC_OPT_TEXT, "N", "calibration tokens, about (default: all of the text)", NULL},
    {"eval", 'e', UC_OPT_LIST, "FILE", "text to measure perplexity and divergence on", NULL},
    {"window", 0, UC_OPT_INT, "N", "tokens of an evaluation window (default: 512)", NULL},
    {"limit", 0, UC_OPT_INT, "N", "evaluation windows, 0 for all (default: 32)", NULL},
    {"output-dir", 'o', UC_OPT_PATH, "DIR", "folder to make (default: models/NAME-ucBITS)", NULL},
    {"method", 0, UC_OPT_TEXT, "NAME", "method, or method@version", NULL},
    {"method-version", 0, UC_OPT_INT, "N", "version of the method (default: the newest)", NULL},
    {"seed", 0, UC_OPT_INT, "N", "seed of what is random (default: 42)", NULL},
    {"license", 0, UC_OPT_TEXT, "ID", "SPDX identifier of the artifact's licence", NULL},
    {"save-recipe", 0, UC_OPT_PATH, "FILE",
     "write the recipe that does the same, and stop; - prints "
     "it",
     NULL},
    UC_BUILD_OPTIONS,
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_compress = {
    .name = "compress",
    .summary = "compress a model folder without writing a recipe",
    .usage = "MODEL_DIR --calibration-data FILE",
    .examples = "uc compress models/smollm2 -c text.txt                       2.798 bits a weight\n"
                "uc compress models/smollm2 -c text.txt -b 3.5 -e heldout.txt and measured\n"
                "uc compress models/smollm2 -c text.txt --save-recipe uc.lua  the recipe instead",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
