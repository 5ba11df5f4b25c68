/*
 * tokenize: the ids of a text, and how often each occurs.
 * inputs:  text (a slice of a text or JSONL file), tokenizer (tokenizer.json)
 * params:  format "text" or "jsonl"; vocab, the rows of the model's embedding; limit, the most ids
 *          that are kept (0: all)
 * outputs: ids, u32 each; counts, u32[vocab]
 * JSONL samples are tokenized one by one and their ids joined; no special tokens are added.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/op.h"
#include "engine/ops/registry.h"
#include "formats/jsonl.h"
#include "formats/tokenizer.h"

struct work {
    struct uc_tokenizer *tok;
    uint32_t vocab;
    uint64_t limit;
    struct uc_buf ids;
    uint32_t *counts;
};

static int add_text(void *arg, size_t line, const char *text, size_t n, struct uc_err *err)
{
    struct work *w = arg;
    uint64_t have = w->ids.len / 4;
    uint32_t *ids;
    size_t n_ids;
    int rc;

    if (w->limit && have >= w->limit)
        return 0;
    rc = uc_tokenizer_encode(w->tok, text, n, false, &ids, &n_ids, err);
    if (rc < 0)
        return line ? uc_within(err, "line %zu of the shard", line) : rc;
    if (w->limit && n_ids > w->limit - have)
        n_ids = (size_t)(w->limit - have);
    for (size_t i = 0; i < n_ids && rc == 0; i++) {
        if (ids[i] >= w->vocab)
            rc = uc_fail(err, UC_EREFUSED,
                         "the tokenizer gives id %u, the model's embedding has %u rows", ids[i],
                         w->vocab);
        else
            w->counts[ids[i]]++;
        uc_buf_add_u32(&w->ids, ids[i]);
    }
    free(ids);
    return rc;
}

static int tokenize(struct work *w, const struct uc_op_input *text, enum uc_text_format format,
                    struct uc_err *err)
{
    const char *p = text->size ? (const char *)text->data : "";
    int rc;

    if (format == UC_TEXT_JSONL)
        rc = uc_jsonl_each(p, text->size, text->path, add_text, w, err);
    else
        rc = add_text(w, 0, p, text->size, err);
    if (rc < 0)
        return uc_within(err, "%s, shard at byte %llu", text->path,
                         (unsigned long long)text->offset);
    rc = uc_buf_check(&w->ids, "ids", err);
    if (rc == 0 && w->ids.len == 0)
        rc = uc_fail(err, UC_EREFUSED, "%s, shard at byte %llu: the text is empty", text->path,
                     (unsigned long long)text->offset);
    return rc;
}

static int put_counts(struct uc_op_ctx *ctx, const struct work *w, struct uc_err *err)
{
    struct uc_buf b;
    int rc;

    uc_buf_init(&b, (size_t)w->vocab * 4 + 4);
    for (uint32_t i = 0; i < w->vocab; i++)
        uc_buf_add_u32(&b, w->counts[i]);
    rc = uc_buf_check(&b, "counts", err);
    if (rc == 0)
        rc = uc_op_put(ctx, "counts", b.data, b.len, err);
    uc_buf_release(&b);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *text = uc_op_in(ctx, "text", err);
    const struct uc_op_input *tok = text ? uc_op_in(ctx, "tokenizer", err) : NULL;
    int format = uc_text_format_parse(uc_json_str(ctx->params, "format", "text"));
    int64_t vocab = uc_json_int(ctx->params, "vocab", 0);
    struct work w = {.limit = (uint64_t)uc_json_int(ctx->params, "limit", 0)};
    int rc;

    if (!tok)
        return UC_EFAIL;
    if (format < 0 || vocab <= 0 || vocab > 1 << 28)
        return uc_fail(err, UC_EFAIL, "tokenize: params.%s is wrong",
                       format < 0 ? "format" : "vocab");
    w.vocab = (uint32_t)vocab;
    w.counts = uc_xcalloc(w.vocab, sizeof(*w.counts));
    uc_buf_init(&w.ids, SIZE_MAX / 4);
    w.tok = uc_tokenizer_parse(tok->size ? (const char *)tok->data : "", tok->size, tok->path, err);
    rc = w.tok ? tokenize(&w, text, (enum uc_text_format)format, err) : err->code;
    if (rc == 0)
        rc = uc_op_put(ctx, "ids", w.ids.data, w.ids.len, err);
    if (rc == 0)
        rc = put_counts(ctx, &w, err);
    if (rc == 0)
        json_object_set_new(ctx->metrics, "ids", json_integer((json_int_t)(w.ids.len / 4)));
    uc_tokenizer_free(w.tok);
    uc_buf_release(&w.ids);
    free(w.counts);
    return rc;
}

const struct uc_op uc_op_tokenize = {
    .name = "tokenize",
    .version = 1,
    .summary = "token ids of a text and how often each occurs",
    .run = run,
};
