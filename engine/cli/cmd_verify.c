#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"
#include "engine/cli/cli.h"
#include "formats/coded.h"
#include "model/dir.h"

struct check {
    const struct uc_cli *cli;
    const char *dir;
    json_t *manifest;
    json_t *failures; /* texts */
    size_t n_files, n_tensors;
};

static void fault(struct check *c, const char *what, const char *why)
{
    char *text = uc_xasprintf("%s: %s", what, why);

    json_array_append_new(c->failures, json_string(text));
    if (!c->cli->json)
        printf("FAIL  %s\n", text);
    free(text);
}

/* A manifest is data from elsewhere: names must stay inside the folder. */
static bool safe_name(const char *name)
{
    if (!*name || *name == '/' || strstr(name, "//"))
        return false;
    for (const char *p = name; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (!strncmp(p, "..", 2) && (!p[2] || p[2] == '/'))
            return false;
    return true;
}

static void check_file(struct check *c, const char *name, const json_t *want)
{
    char *path = uc_path_join(c->dir, name), hex[UC_HEX_LEN + 1];
    struct uc_digest d;
    struct uc_err err = {0};
    uint64_t size;

    if (!safe_name(name))
        fault(c, name, "the manifest names a file outside of the folder");
    else if (uc_hash_file(path, &d, &size, &err) < 0)
        fault(c, name, err.msg);
    else if ((int64_t)size != uc_json_int(want, "size_bytes", -1))
        fault(c, name, "another size than the manifest says");
    else if (strcmp(uc_digest_hex(&d, hex), uc_json_str(want, "sha256", "")) != 0)
        fault(c, name, "other bytes than the manifest says (SHA-256)");
    else if (c->cli->verbose && !c->cli->json)
        printf("ok    %s\n", name);
    c->n_files++;
    free(path);
}

static void check_fingerprint(struct check *c, const json_t *files)
{
    const char **names = uc_xcalloc(json_object_size(files) + 1, sizeof(*names)), *name;
    char hex[UC_HEX_LEN + 1];
    struct uc_digest d;
    struct uc_buf lines;
    json_t *f;
    size_t n = 0;

    json_object_foreach((json_t *)files, name, f) names[n++] = name;
    for (size_t i = 1; i < n; i++) /* a dozen names */
        for (size_t k = i; k > 0 && strcmp(names[k - 1], names[k]) > 0; k--) {
            const char *t = names[k];
            names[k] = names[k - 1];
            names[k - 1] = t;
        }
    uc_buf_init(&lines, 0);
    for (size_t i = 0; i < n; i++)
        uc_buf_addf(&lines, "%s%s:%s", i ? "\n" : "", names[i],
                    uc_json_str(json_object_get(files, names[i]), "sha256", ""));
    uc_digest_of(uc_buf_str(&lines), lines.len, &d);
    if (strcmp(uc_digest_hex(&d, hex), uc_json_str(c->manifest, "artifact_fingerprint", "")) != 0)
        fault(c, "ultracompress.json", "artifact_fingerprint does not fit the list of files");
    uc_buf_release(&lines);
    free(names);
}

static void check_files(struct check *c)
{
    json_t *files = json_object_get(c->manifest, "files"), *f;
    const char *name;

    if (!json_object_size(files)) {
        fault(c, "ultracompress.json", "lists no files");
        return;
    }
    json_object_foreach(files, name, f) check_file(c, name, f);
    check_fingerprint(c, files);
}

struct decode {
    const struct uc_model_dir *m;
    struct uc_err *errs; /* by tensor */
};

static void decode_one(void *arg, size_t i, int thread)
{
    struct decode *d = arg;
    const struct uc_st_entry *e = &d->m->set.tensors[i];
    const uint8_t *data = d->m->set.st[e->file].map.data + e->info->offset;
    const struct uc_coded_info *info;
    struct uc_coded *coded;
    uint16_t *rows;

    if (!uc_str_ends(e->info->name, UC_CODED_SUFFIX))
        return;
    coded = uc_coded_open(data, e->info->size, &d->errs[i]);
    if (!coded)
        return;
    info = uc_coded_get_info(coded);
    if (uc_alloc(&rows, info->chunk_rows, info->n * sizeof(*rows), "rows", &d->errs[i]) == 0) {
        for (uint64_t r = 0; r < info->m && !d->errs[i].code; r += info->chunk_rows) {
            uint64_t n = info->m - r < info->chunk_rows ? info->m - r : info->chunk_rows;
            uc_coded_rows(coded, r, n, rows, &d->errs[i]);
        }
        free(rows);
    }
    uc_coded_close(coded);
}

/* Opens the folder as a model would be and decodes every chunk of every tensor. */
static void check_decode(struct check *c)
{
    struct uc_model_dir m;
    struct uc_err err = {0};
    struct decode d = {.m = &m};
    struct uc_pool *pool;
    int jobs = (int)uc_cli_int(c->cli, "jobs", 0);

    if (uc_model_dir_open(&m, c->dir, UC_MODEL_ANY, &err) < 0) {
        fault(c, "structure", err.msg);
        return;
    }
    d.errs = uc_xcalloc(m.set.n_tensors + 1, sizeof(*d.errs));
    pool = uc_pool_new(jobs ? jobs : uc_cpu_count(), &err);
    uc_pool_run(pool, m.set.n_tensors, decode_one, &d);
    uc_pool_free(pool);
    for (size_t i = 0; i < m.set.n_tensors; i++)
        if (d.errs[i].code)
            fault(c, m.set.tensors[i].info->name, d.errs[i].msg);
    c->n_tensors = m.set.n_tensors;
    free(d.errs);
    uc_model_dir_close(&m);
}

static int verify(struct check *c, struct uc_err *err)
{
    size_t n;

    if (!uc_cli_flag(c->cli, "skip-hash"))
        check_files(c);
    if (!uc_cli_flag(c->cli, "manifest-only"))
        check_decode(c);
    n = json_array_size(c->failures);
    if (c->cli->json)
        uc_print_json(json_pack("{s:b, s:I, s:I, s:O, s:s}", "pass", n == 0, "files",
                                (json_int_t)c->n_files, "tensors", (json_int_t)c->n_tensors,
                                "failures", c->failures, "artifact_fingerprint",
                                uc_json_str(c->manifest, "artifact_fingerprint", "")));
    else if (n == 0)
        printf("PASS  %s: %zu files and %zu tensors are what the manifest says\n      fingerprint "
               "%s\n",
               c->dir, c->n_files, c->n_tensors,
               uc_json_str(c->manifest, "artifact_fingerprint", "?"));
    if (n == 0)
        return 0;
    if (c->cli->json)
        return EXIT_FAILURE;
    uc_fail(err, UC_EFAIL, "%s: %zu of the checks failed", c->dir, n);
    return uc_fix(err, "build it again; what is still right comes from the cache");
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    struct check c = {.cli = cli, .dir = cli->args[0]};
    char *path = uc_path_join(c.dir, "ultracompress.json");
    int rc;

    if (access(c.dir, F_OK) < 0) {
        rc = uc_fail(err, UC_EUSAGE, "%s does not exist", c.dir);
    } else if (!(c.manifest = uc_json_load(path, 0, err))) {
        rc = err->code = UC_EFAIL;
        uc_fix(err, "uc verify needs a folder that uc made, with its ultracompress.json");
    } else {
        c.failures = json_array();
        rc = verify(&c, err);
    }
    json_decref(c.manifest);
    json_decref(c.failures);
    free(path);
    return rc;
}

static const struct uc_option options[] = {
    {"skip-hash", 0, UC_OPT_FLAG, NULL, "do not read every file against its SHA-256", NULL},
    {"manifest-only", 0, UC_OPT_FLAG, NULL, "do not decode the weights", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_verify = {
    .name = "verify",
    .summary = "check a compressed folder: every file's SHA-256, structure, full decode",
    .usage = "DIR",
    .examples = "uc verify models/tiny-uc4   PASS and exit code 0, or FAIL and 1",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
