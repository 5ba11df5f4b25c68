#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/cli/cli.h"
#include "formats/coded.h"
#include "model/dir.h"

enum { SUFFIX = sizeof(UC_CODED_SUFFIX) - 1 };

/* The name that a tensor has in the dense folder. */
static char *dense_name(const char *name)
{
    return uc_str_ends(name, UC_CODED_SUFFIX) ? uc_xstrndup(name, strlen(name) - SUFFIX)
                                              : uc_xstrdup(name);
}

static int declare(struct uc_st_writer *w, const struct uc_model_dir *m,
                   const struct uc_st_entry *e, struct uc_err *err)
{
    const uint8_t *data = m->set.st[e->file].map.data + e->info->offset;
    char *name = dense_name(e->info->name);
    struct uc_coded_info info;
    int rc = 0;

    if (!strcmp(e->info->name, UC_PAD_TENSOR)) {
        /* no weight */
    } else if (!uc_str_ends(e->info->name, UC_CODED_SUFFIX)) {
        uc_st_writer_add(w, name, e->info->dtype, e->info->n_dim, e->info->shape);
    } else if ((rc = uc_coded_info(data, e->info->size, &info, err)) < 0) {
        uc_within(err, "%s", e->info->name);
    } else {
        const uint64_t shape[2] = {info.m, info.n};
        uc_st_writer_add(w, name, UC_DTYPE_BF16, 2, shape);
    }
    free(name);
    return rc;
}

static int write_coded(int fd, const char *path, const uint8_t *data, size_t n, struct uc_err *err)
{
    struct uc_coded *c = uc_coded_open(data, n, err);
    const struct uc_coded_info *info;
    uint16_t *rows;
    int rc;

    if (!c)
        return err->code;
    info = uc_coded_get_info(c);
    rc = uc_alloc(&rows, info->chunk_rows, info->n * sizeof(*rows), "rows", err);
    for (uint64_t r = 0; r < info->m && rc == 0; r += info->chunk_rows) {
        uint64_t k = info->m - r < info->chunk_rows ? info->m - r : info->chunk_rows;

        rc = uc_coded_rows(c, r, k, rows, err);
        if (rc == 0)
            rc = uc_write_all(fd, rows, k * info->n * sizeof(*rows), path, err);
    }
    free(rows);
    uc_coded_close(c);
    return rc;
}

/* Bytes of the tensor that is called name in the dense folder. */
static int write_tensor(int fd, const char *path, const struct uc_model_dir *m, const char *name,
                        struct uc_err *err)
{
    const struct uc_st_entry *e = uc_st_set_find(&m->set, name);
    char *coded = uc_xasprintf("%s%s", name, UC_CODED_SUFFIX);
    const struct uc_st_entry *c = e ? NULL : uc_st_set_find(&m->set, coded);
    int rc;

    if (e)
        rc = uc_write_all(fd, m->set.st[e->file].map.data + e->info->offset, e->info->size, path,
                          err);
    else
        rc = write_coded(fd, path, m->set.st[c->file].map.data + c->info->offset, c->info->size,
                         err);
    free(coded);
    return rc < 0 ? uc_within(err, "%s", name) : 0;
}

static int write_weights(const struct uc_model_dir *m, const char *dir, struct uc_err *err)
{
    char *path = uc_path_join(dir, "model.safetensors"), *head = NULL;
    struct uc_st_writer *w = uc_st_writer_new();
    int rc = 0, fd = -1;
    size_t n;

    for (size_t i = 0; i < m->set.n_tensors && rc == 0; i++)
        rc = declare(w, m, &m->set.tensors[i], err);
    if (rc == 0)
        rc = uc_st_writer_header(w, UC_ST_BY_ALIGNMENT, &head, &n, err);
    if (rc == 0 && (fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) < 0)
        rc = uc_fail_errno(err, "%s", path);
    if (rc == 0)
        rc = uc_write_all(fd, head, n, path, err);
    for (size_t i = 0; i < uc_st_writer_count(w) && rc == 0; i++)
        rc = write_tensor(fd, path, m, uc_st_writer_tensor(w, i)->name, err);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = uc_fail_errno(err, "%s", path);
    free(head);
    uc_st_writer_free(w);
    free(path);
    return rc;
}

static int write_config(const struct uc_model_dir *m, const char *dir, struct uc_err *err)
{
    char *path = uc_path_join(dir, "config.json"), *text;
    json_t *config = json_deep_copy(m->config);
    int rc;

    json_object_del(config, "quantization_config");
    json_object_set_new(config, "torch_dtype", json_string("bfloat16"));
    text = uc_json_pretty(config);
    rc = uc_write_file(path, text, strlen(text), false, err);
    free(text);
    json_decref(config);
    free(path);
    return rc;
}

/* Loaders look for the tokenizer beside the weights. */
static int copy_rest(const char *from, const char *to, struct uc_err *err)
{
    static const char *const names[] = {
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json",
        "tokenizer/added_tokens.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer.model",
        "tokenizer/chat_template.jinja",
        "generation_config.json",
        "LICENSE",
        "LICENSE.base",
    };
    int rc = 0;

    for (size_t i = 0; i < UC_COUNT(names) && rc == 0; i++) {
        char *src = uc_path_join(from, names[i]), *dst = uc_path_join(to, uc_path_base(names[i]));

        if (access(src, F_OK) == 0)
            rc = uc_copy_file(src, dst, 0644, err);
        free(src);
        free(dst);
    }
    return rc;
}

/* Written beside and renamed, so the folder is whole or not there. */
static int export_dense(const struct uc_model_dir *m, const char *out, struct uc_err *err)
{
    char *tmp = uc_xasprintf("%s.part", out);
    int rc;

    rc = uc_remove_tree(tmp, err);
    if (rc == 0)
        rc = uc_mkdirs(tmp, err);
    if (rc == 0)
        rc = write_weights(m, tmp, err);
    if (rc == 0)
        rc = write_config(m, tmp, err);
    if (rc == 0)
        rc = copy_rest(m->path, tmp, err);
    if (rc == 0 && rename(tmp, out) < 0)
        rc = uc_fail_errno(err, "%s", out);
    if (rc < 0)
        uc_remove_tree(tmp, NULL);
    free(tmp);
    return rc;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    char *fallback = uc_xasprintf("%s/exports/dense", cli->args[0]);
    const char *out = uc_cli_text(cli, "output", fallback);
    struct uc_model_dir m;
    int rc = uc_model_dir_open(&m, cli->args[0], UC_MODEL_ANY, err);

    if (rc < 0) {
        free(fallback);
        return rc;
    }
    if (!m.coded) {
        rc = uc_fail(err, UC_EUSAGE, "%s is not a folder that uc compressed", m.path);
    } else if (access(out, F_OK) == 0) {
        uc_fail(err, UC_EUSAGE, "%s exists already and is not overwritten", out);
        rc = uc_fix(err, "give another folder with -o DIR, or remove this one");
    } else {
        rc = export_dense(&m, out, err);
    }
    uc_model_dir_close(&m);
    if (rc == 0 && cli->json)
        uc_print_json(json_pack("{s:s, s:s}", "dir", out, "format", "dense"));
    else if (rc == 0)
        printf("%s\n", out);
    free(fallback);
    return rc;
}

static const struct uc_option options[] = {
    {"format", 0, UC_OPT_TEXT, "NAME", "dense: bf16 safetensors that every loader reads", "dense"},
    {"output", 'o', UC_OPT_PATH, "DIR", "folder to make (default: DIR/exports/dense)", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_export = {
    .name = "export",
    .summary = "decode a compressed folder into an ordinary model folder",
    .usage = "DIR [--format dense] [-o DIR]",
    .examples = "uc export models/tiny-uc4 --format dense -o models/tiny-dense",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
