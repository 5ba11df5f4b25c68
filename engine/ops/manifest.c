/*
 * manifest: ultracompress.json, what an artifact is, of what and how it was made, and what every
 * file of the folder holds (docs/recipes.md). Schema 1.1: the public 1.0 fields and additions.
 *
 * inputs: file/<path> (every other file of the folder), source (JSON of source_digests), bench/NNN
 *         (reports), verify (report), tensors (JSON of assemble)
 * params: what recipes/track_a.lua knows: names, method, budget, seed, licences, calibration
 * output: manifest
 *
 * Equal inputs give equal bytes: no host, no user, no path, no clock. created_at is
 * SOURCE_DATE_EPOCH (params.created) or, when that is not set, the constant below, which says
 * nothing about when.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "formats/safetensors.h"

#define SCHEMA        "1.1"
#define UNDATED_EPOCH 315532800 /* 1980-01-01, the oldest time that archives can hold */

static void hex_of(const void *p, size_t n, char hex[UC_HEX_LEN + 1])
{
    struct uc_digest d;

    uc_digest_of(p, n, &d);
    uc_digest_hex(&d, hex);
}

static void digest_json(const json_t *v, char hex[UC_HEX_LEN + 1])
{
    char *text = uc_json_canonical(v);

    hex_of(text, strlen(text), hex);
    free(text);
}

static const char *file_name(const struct uc_op_input *in)
{
    return in->name + strlen("file/");
}

/* {"name": {"sha256", "size_bytes"}}, and the SHA-256 of the lines "name:sha256" in order. */
static json_t *list_files(const struct uc_op_ctx *ctx, uint64_t *total, char fp[UC_HEX_LEN + 1])
{
    const struct uc_op_input *first;
    size_t n = uc_op_in_group(ctx, "file/", &first);
    json_t *files = json_object();
    char hex[UC_HEX_LEN + 1];
    struct uc_digest d;
    struct uc_buf lines;

    uc_buf_init(&lines, 0);
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        uc_op_in_digest(&first[i], &d);
        uc_digest_hex(&d, hex);
        json_object_set_new(
            files, file_name(&first[i]),
            json_pack("{s:s, s:I}", "sha256", hex, "size_bytes", (json_int_t)first[i].size));
        uc_buf_addf(&lines, "%s%s:%s", i ? "\n" : "", file_name(&first[i]), hex);
        *total += first[i].size;
    }
    hex_of(uc_buf_str(&lines), lines.len, fp);
    uc_buf_release(&lines);
    return files;
}

static json_t *load_input(const struct uc_op_ctx *ctx, const char *name, struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, name, err);

    return in ? uc_json_parse((const char *)in->data, in->size, name, err) : NULL;
}

/* Embedding and head, which are not of the body, whether coded ("NAME.uca") or not. */
static bool is_table(const struct uc_op_ctx *ctx, const char *tensor)
{
    const json_t *tables = json_object_get(ctx->params, "tables"), *t;
    size_t i;

    json_array_foreach(tables, i, t)
    {
        size_t n = json_string_length(t);

        if (!strncmp(tensor, json_string_value(t), n) && (!tensor[n] || tensor[n] == '.'))
            return true;
    }
    return false;
}

/* Bits a weight, everything counted and of the body alone, from the file that was written. */
static json_t *measure_bits(const struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, "file/model.safetensors", err);
    double weights = uc_json_num(ctx->params, "weights", 1);
    double body_weights = uc_json_num(ctx->params, "body_weights", 1);
    uint64_t body = 0;
    struct uc_st st;

    if (!in || uc_st_parse(&st, in->data, in->size, in->size, "model.safetensors", err) < 0)
        return NULL;
    for (size_t i = 0; i < st.n_tensors; i++)
        if (!is_table(ctx, st.tensors[i].name))
            body += st.tensors[i].size;
    uc_st_close(&st);
    return json_pack("{s:f, s:f, s:O, s:O, s:I, s:I}", "bpw", (double)in->size * 8 / weights,
                     "bpw_body", (double)body * 8 / body_weights, "bpw_target",
                     json_object_get(ctx->params, "bpw"), "count",
                     json_object_get(ctx->params, "count"), "weight_bytes", (json_int_t)in->size,
                     "body_bytes", (json_int_t)body);
}

static json_t *describe_source(const struct uc_op_ctx *ctx, struct uc_err *err)
{
    json_t *tensors = load_input(ctx, "source", err), *out;
    const json_t *license = json_object_get(ctx->params, "license");
    char hex[UC_HEX_LEN + 1];

    if (!tensors)
        return NULL;
    digest_json(tensors, hex);
    out = json_pack("{s:s, s:s, s:O, s:O, s:O, s:s, s:o}", "kind", "local", "fingerprint", hex,
                    "parameters", json_object_get(ctx->params, "weights"), "weight_bytes",
                    json_object_get(ctx->params, "source_bytes"), "architecture",
                    json_object_get(ctx->params, "architecture"), "license",
                    uc_json_str(license, "base", "other"), "tensors", tensors);
    if (json_object_get(license, "base_file"))
        json_object_set(out, "license_file", json_object_get(license, "base_file"));
    return out;
}

static json_t *qualities(const struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *first;
    size_t n = uc_op_in_group(ctx, "bench/", &first);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        json_t *report = load_input(ctx, first[i].name, err);

        if (!report) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, report);
    }
    return list;
}

static json_t *describe_recipe(const struct uc_op_ctx *ctx)
{
    char hex[UC_HEX_LEN + 1];

    digest_json(ctx->params, hex);
    return json_pack("{s:s, s:O}", "sha256", hex, "resolved", ctx->params);
}

static json_t *describe_calibration(const struct uc_op_ctx *ctx)
{
    json_t *c = json_deep_copy(json_object_get(ctx->params, "calibration"));
    char hex[UC_HEX_LEN + 1];

    digest_json(c, hex);
    json_object_set_new(c, "sha256", json_string(hex));
    return c;
}

/* What the result depends on beside its inputs. Arithmetic is exact on every x86-64 machine, so the
 * program's version is all there is. */
static json_t *environment(void)
{
    json_t *e = json_pack("{s:s, s:s, s:s, s:b}", "uc", UC_VERSION, "arch", "x86-64", "kernels",
                          "bit-exact", "threads_affect_result", 0);
    char hex[UC_HEX_LEN + 1];

    digest_json(e, hex);
    json_object_set_new(e, "fingerprint", json_string(hex));
    return e;
}

static void set_date(json_t *m, const struct uc_op_ctx *ctx)
{
    time_t t = (time_t)uc_json_int(ctx->params, "created", UNDATED_EPOCH);
    char text[40];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_object_set_new(m, "created_at", json_string(text));
}

/* The fields of schema 1.0. */
static void set_public_fields(json_t *m, const struct uc_op_ctx *ctx, const json_t *bits,
                              const json_t *source)
{
    const json_t *p = ctx->params;
    const char *base = uc_json_str(p, "base_model", NULL);
    char text[100];

    json_object_set_new(m, "schema_version", json_string(SCHEMA));
    json_object_set(m, "model_id", json_object_get(p, "model_id"));
    snprintf(text, sizeof(text), "sha256:%s", uc_json_str(source, "fingerprint", ""));
    json_object_set_new(m, "base_model", json_string(base ? base : text));
    json_object_set(m, "method", json_object_get(p, "method"));
    snprintf(text, sizeof(text), "%lld.0.0", (long long)uc_json_int(p, "method_version", 0));
    json_object_set_new(m, "method_version", json_string(text));
    snprintf(text, sizeof(text), "%.3f", uc_json_num(bits, "bpw", 0));
    json_object_set_new(m, "bpw", json_real(strtod(text, NULL)));
    json_object_set_new(m, "license",
                        json_string(uc_json_str(json_object_get(p, "license"), "id", "other")));
    json_object_set_new(m, "patents", json_array());
    json_object_set_new(m, "tooling_version", json_string("uc " UC_VERSION));
    if (json_object_get(p, "notes"))
        json_object_set(m, "notes", json_object_get(p, "notes"));
    set_date(m, ctx);
}

static int put(const struct uc_op_ctx *ctx, const json_t *m, struct uc_err *err)
{
    char *text = uc_json_pretty(m);
    int rc = uc_op_put(ctx, "manifest", text, strlen(text), err);

    free(text);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const json_t *p = ctx->params;
    char fp[UC_HEX_LEN + 1];
    uint64_t total;
    json_t *m = json_object(), *bits = measure_bits(ctx, err);
    json_t *source = bits ? describe_source(ctx, err) : NULL;
    json_t *quality = source ? qualities(ctx, err) : NULL;
    int rc = quality ? 0 : err->code;

    if (rc == 0) {
        set_public_fields(m, ctx, bits, source);
        json_object_set_new(m, "files", list_files(ctx, &total, fp));
        json_object_set_new(m, "size_bytes", json_integer((json_int_t)total));
        json_object_set_new(m, "artifact_fingerprint", json_string(fp));
        json_object_set(m, "source", source);
        json_object_set_new(m, "recipe", describe_recipe(ctx));
        json_object_set_new(m, "calibration", describe_calibration(ctx));
        json_object_set(m, "bits", bits);
        json_object_set(m, "quality", quality);
        json_object_set(m, "seed", json_object_get(p, "seed"));
        json_object_set_new(m, "environment", environment());
        json_object_set_new(m, "determinism", json_pack("{s:s}", "class", "bitwise"));
        json_object_set_new(m, "tracks",
                            json_pack("[{s:s, s:O, s:O, s:O}]", "track", "a", "method",
                                      json_object_get(p, "method"), "method_version",
                                      json_object_get(p, "method_version"), "parameters",
                                      json_object_get(p, "parameters")));
        rc = put(ctx, m, err);
    }
    json_decref(m);
    json_decref(bits);
    json_decref(source);
    json_decref(quality);
    return rc;
}

const struct uc_op uc_op_manifest = {
    .name = "manifest",
    .version = 1,
    .summary = "ultracompress.json: what the artifact is, from what and how it was made",
    .run = run,
};
