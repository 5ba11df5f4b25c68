#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/fsio.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/cli/cli.h"
#include "engine/cli/summary.h"
#include "formats/tokenizer.h"
#include "model/dir.h"
#include "model/eval.h"

struct bench {
    const struct uc_cli *cli;
    struct uc_model_dir model, source;
    bool has_source;
    json_t *model_names, *source_names;
    uint32_t *ids;
    size_t n_ids;
    uint64_t text_bytes;
    struct uc_pool *pool;
    struct uc_eval e;
    struct uc_term term;
};

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct bench *b = arg;

    if (b->term.tty && !b->cli->quiet && total)
        fprintf(stderr, "\r\033[K  %3.0f %%", 100.0 * (double)done / (double)total);
}

static int open_models(struct bench *b, struct uc_err *err)
{
    const char *against = uc_cli_text(b->cli, "against", NULL);
    int rc = uc_model_dir_open(&b->model, b->cli->args[0], UC_MODEL_ANY, err);

    if (rc < 0)
        return rc;
    b->model_names = uc_arch_describe(b->model.arch);
    if (!against)
        return 0;
    rc = uc_model_dir_open(&b->source, against, UC_MODEL_ANY, err);
    if (rc < 0)
        return uc_within(err, "--against");
    b->has_source = true;
    b->source_names = uc_arch_describe(b->source.arch);
    if (b->source.arch->vocab != b->model.arch->vocab ||
        b->source.arch->n_layers != b->model.arch->n_layers ||
        b->source.arch->block.hidden != b->model.arch->block.hidden)
        return uc_fail(err, UC_EUSAGE, "%s and %s are not of one shape", b->cli->args[0], against);
    return 0;
}

static int load_text(struct bench *b, struct uc_err *err)
{
    const char *path = uc_cli_text(b->cli, "corpus", NULL);
    struct uc_tokenizer *t = uc_cli_open_tokenizer(b->cli->args[0], err);
    char *text;
    size_t n;
    int rc;

    if (!t)
        return err->code;
    rc = uc_read_file(path, 0, &text, &n, err);
    if (rc == 0) {
        b->text_bytes = n;
        rc = uc_tokenizer_encode(t, text, n, false, &b->ids, &b->n_ids, err);
        if (rc < 0)
            uc_within(err, "%s", path);
        free(text);
    }
    uc_tokenizer_free(t);
    return rc;
}

/* The id that each window begins with: of models whose tokenizer puts one in front. */
static int64_t begin_id(const struct bench *b)
{
    static const char *const places[] = {"tokenizer_config.json",
                                         "tokenizer/tokenizer_config.json"};
    int64_t bos = -1;

    for (size_t i = 0; i < 2; i++) {
        char *path = uc_path_join(b->cli->args[0], places[i]);
        struct uc_err err = {0};
        json_t *config = uc_json_load(path, 0, &err);

        if (uc_json_bool(config, "add_bos_token", false))
            bos = uc_json_int(b->model.config, "bos_token_id", -1);
        json_decref(config);
        free(path);
    }
    return bos;
}

static int measure(struct bench *b, json_t **report, struct uc_err *err)
{
    const struct uc_cli *cli = b->cli;
    int jobs = (int)uc_cli_int(cli, "jobs", 0);
    struct uc_named_weights source, model;
    struct uc_eval_pair pair = {0};
    int rc;

    b->e.block = b->model.arch->block;
    b->e.n_layers = b->model.arch->n_layers;
    b->e.ids = b->ids;
    b->e.n_ids = b->n_ids;
    b->e.progress = show_progress;
    b->e.progress_arg = b;
    rc = uc_protocol_init(&b->e.protocol, uc_cli_text(cli, "protocol", "llama"),
                          uc_cli_int(cli, "window", 512), uc_cli_int(cli, "stride", 0),
                          uc_cli_int(cli, "limit", 0), begin_id(b), err);
    if (rc == 0)
        rc = uc_eval_check(&b->e, err);
    if (rc < 0)
        return rc;
    b->pool = uc_pool_new(jobs ? jobs : uc_cpu_count(), err);
    if (!b->pool)
        return err->code;
    b->e.pool = b->pool;
    if (b->e.protocol.limit == 0)
        pair.text_bytes = b->text_bytes;
    uc_named_weights_init(&model, b->model_names, &b->model.set);
    if (b->has_source) {
        uc_named_weights_init(&source, b->source_names, &b->source.set);
        pair.source = &source.base;
        pair.model = &model.base;
    } else {
        pair.source = &model.base;
    }
    rc = uc_eval_run(&b->e, &pair, report, err);
    if (b->term.tty && !cli->quiet)
        fputs("\r\033[K", stderr);
    return rc;
}

static void print(const struct bench *b, json_t *report)
{
    json_object_set_new(report, "text",
                        json_string(uc_path_base(uc_cli_text(b->cli, "corpus", "?"))));
    if (b->cli->json) {
        uc_print_json(json_incref(report));
        return;
    }
    printf("%s\n", b->cli->args[0]);
    uc_quality_print(report);
    if (b->model.coded && !b->has_source)
        puts("  add --against SOURCE_DIR to measure the divergence from its source");
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    struct bench b = {.cli = cli};
    json_t *report = NULL;
    int rc = 0;

    uc_term_get(cli, stderr, &b.term);
    if (!uc_cli_given(cli, "corpus")) {
        uc_fail(err, UC_EUSAGE, "no text to measure on is given");
        return uc_fix(err, "add --corpus FILE");
    }
    rc = open_models(&b, err);
    if (rc == 0)
        rc = load_text(&b, err);
    if (rc == 0)
        rc = measure(&b, &report, err);
    if (rc == 0)
        print(&b, report);
    json_decref(report);
    uc_pool_free(b.pool);
    free(b.ids);
    json_decref(b.model_names);
    json_decref(b.source_names);
    if (b.has_source)
        uc_model_dir_close(&b.source);
    if (b.model.path)
        uc_model_dir_close(&b.model);
    return rc;
}

static const struct uc_option options[] = {
    {"corpus", 0, UC_OPT_PATH, "FILE", "the text to measure on", NULL},
    {"protocol", 0, UC_OPT_TEXT, "NAME", "how windows are cut and scored (default: llama)",
     "llama|strided"},
    {"window", 0, UC_OPT_INT, "N", "tokens of a window (default: 512)", NULL},
    {"stride", 0, UC_OPT_INT, "N", "tokens between windows of the strided protocol", NULL},
    {"limit", 0, UC_OPT_INT, "N", "windows, 0 for all (default: all)", NULL},
    {"against", 0, UC_OPT_PATH, "DIR", "the source model, for divergence and agreement", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_bench = {
    .name = "bench",
    .summary = "perplexity of a model, and a compressed one's divergence from its source",
    .usage = "DIR --corpus FILE",
    .examples =
        "uc bench models/smollm2 --corpus test.txt --protocol llama --window 512 --limit 32\n"
        "uc bench models/tiny-uc4 --against examples/models/tiny --corpus heldout.txt --json",
    .about =
        "llama: windows that do not overlap, the second half of each is scored, as llama.cpp's\n"
        "perplexity does. strided: each token is scored once, in the first window that holds\n"
        "it.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
