#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/cli/cli.h"
#include "engine/cli/summary.h"
#include "model/dir.h"

static void print_manifest(const json_t *m)
{
    const json_t *bits = json_object_get(m, "bits"), *source = json_object_get(m, "source");
    const json_t *quality = json_object_get(m, "quality"), *q;
    const char *base = uc_json_str(m, "base_model", "?");
    int shown = uc_str_starts(base, "sha256:") ? 7 + 16 : (int)strlen(base);
    char size[32], before[32];
    size_t i;

    uc_str_bytes(size, (uint64_t)uc_json_int(m, "size_bytes", 0));
    uc_str_bytes(before, (uint64_t)uc_json_int(source, "weight_bytes", 0));
    printf("%s: %s %s, made by %s\n", uc_json_str(m, "model_id", "?"),
           uc_json_str(m, "method", "?"), uc_json_str(m, "method_version", "?"),
           uc_json_str(m, "tooling_version", "?"));
    printf("  base        %.*s (%s, %lld weights, %s)\n", shown, base,
           uc_json_str(source, "architecture", "?"),
           (long long)uc_json_int(source, "parameters", 0), before);
    printf("  size        %s, %.4f bits a weight all in, body %.4f\n", size,
           uc_json_num(bits, "bpw", uc_json_num(m, "bpw", 0)), uc_json_num(bits, "bpw_body", 0));
    json_array_foreach(quality, i, q) uc_quality_print(q);
    printf("  licence     %s; the source's: %s\n", uc_json_str(m, "license", "?"),
           uc_json_str(source, "license", "?"));
    printf("  fingerprint %s\n", uc_json_str(m, "artifact_fingerprint", "?"));
}

static int artifact_info(const struct uc_cli *cli, const char *path, struct uc_err *err)
{
    json_t *m = uc_json_load(path, 0, err);

    if (!m)
        return err->code;
    if (cli->json)
        uc_print_json(m);
    else {
        print_manifest(m);
        json_decref(m);
    }
    return 0;
}

static json_t *source_json(const struct uc_model_dir *m, uint64_t weights, uint64_t bytes)
{
    json_t *o = uc_arch_describe(m->arch);

    json_object_set_new(o, "weights", json_integer((json_int_t)weights));
    json_object_set_new(o, "weight_bytes", json_integer((json_int_t)bytes));
    json_object_set_new(o, "n_tensors", json_integer((json_int_t)m->set.n_tensors));
    return o;
}

static int source_info(const struct uc_cli *cli, const char *dir, struct uc_err *err)
{
    uint64_t weights = 0, bytes = 0;
    struct uc_model_dir m;
    char size[32];
    int rc = uc_model_dir_open(&m, dir, UC_MODEL_ANY, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < m.set.n_tensors; i++) {
        const struct uc_tensor_info *t = m.set.tensors[i].info;

        bytes += t->size;
        weights += t->size * 8 / uc_dtype_bits(t->dtype);
    }
    if (cli->json) {
        uc_print_json(source_json(&m, weights, bytes));
    } else {
        uc_str_bytes(size, bytes);
        printf("%s: %s, supported\n", dir, m.arch->model_type);
        printf("  weights     %llu in %zu tensors, %s\n", (unsigned long long)weights,
               m.set.n_tensors, size);
        printf("  shape       %u layers, %u wide, vocabulary %u%s\n", m.arch->n_layers,
               m.arch->block.hidden, m.arch->vocab, m.arch->tied ? ", head tied to embedding" : "");
    }
    uc_model_dir_close(&m);
    return 0;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    char *manifest = uc_path_join(cli->args[0], "ultracompress.json");
    int rc;

    if (access(cli->args[0], F_OK) < 0)
        rc = uc_fail(err, UC_EUSAGE, "%s does not exist", cli->args[0]);
    else if (access(manifest, F_OK) == 0)
        rc = artifact_info(cli, manifest, err);
    else
        rc = source_info(cli, cli->args[0], err);
    free(manifest);
    return rc;
}

const struct uc_command uc_cmd_info = {
    .name = "info",
    .summary = "what a compressed folder or a model folder is",
    .usage = "DIR",
    .examples = "uc info models/tiny-uc4          its manifest, for people\n"
                "uc info models/tiny-uc4 --json   the manifest\n"
                "uc info models/smollm2           a source model: is it supported, how large is it",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
