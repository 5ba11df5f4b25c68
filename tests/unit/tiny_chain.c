#include "tiny_chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/tokenizer.h"
#include "op_harness.h"

static struct uc_err err;

static char *source_path(const char *name)
{
    return uc_path_join(getenv("UC_SRC"), name);
}

void chain_open(struct chain *c, size_t n)
{
    char *dir = source_path("examples/models/tiny");
    char *json = uc_path_join(dir, "tokenizer.json");
    char *text_path = source_path("examples/data/kjv-heldout.txt"), *text = NULL;
    struct uc_tokenizer *tok;
    size_t len = 0;

    memset(c, 0, sizeof(*c));
    if (uc_model_dir_open(&c->model, dir, UC_MODEL_SOURCE, &err) < 0)
        fail_msg("%s", err.msg);
    c->description = uc_arch_describe(c->model.arch);
    tok = uc_tokenizer_open(json, &err);
    if (!tok || uc_read_file(text_path, 0, &text, &len, &err) < 0 ||
        uc_tokenizer_encode(tok, text, len, false, &c->ids, &c->n_ids, &err) < 0)
        fail_msg("%s", err.msg);
    if (n && n < c->n_ids)
        c->n_ids = n;
    uc_tokenizer_free(tok);
    free(text);
    free(text_path);
    free(json);
    free(dir);
}

void chain_close(struct chain *c)
{
    uc_model_dir_close(&c->model);
    json_decref(c->description);
    free(c->ids);
}

struct step {
    const struct chain *c;
    struct op_run *r;
    struct chain_digests *d;
    int threads;
};

static struct step begin(const struct chain *c, size_t seqlen, int threads, const char *more,
                         struct chain_digests *d)
{
    char *arch = uc_json_canonical(json_object_get(c->description, "arch"));
    char *params = uc_xasprintf("{\"arch\":%s,\"seqlen\":%zu,\"grad_windows\":1,\"rng_seed\":1%s}",
                                arch, seqlen, more);
    struct step s = {c, op_new(params, threads), d, threads};

    free(arch);
    free(params);
    return s;
}

static void tensor(struct step *s, const char *input, int layer, const char *role)
{
    char name[128];

    assert_non_null(uc_arch_tensor_name(s->c->model.arch, layer, role, name, sizeof(name)));
    op_in_tensor(s->r, input, &s->c->model.set.st[0], name);
}

static void layer(struct step *s, int l, const char *prefix)
{
    const struct uc_block *b = &s->c->model.arch->block;
    char input[64];

    for (size_t i = 0; i < b->n_roles; i++) {
        snprintf(input, sizeof(input), "%sw/%s", prefix, b->roles[i].name);
        tensor(s, input, l, b->roles[i].name);
    }
}

/* An output of an earlier step as an input of this one. */
static void pass(struct step *s, const char *input, const struct step *from, const char *output)
{
    size_t n;
    const void *p = op_result(from->r, output, &n);

    op_in(s->r, input, p, n);
}

static void go(struct step *s, const char *op, const char *outputs)
{
    char name[40];

    for (int used; sscanf(outputs, "%39s%n", name, &used) == 1; outputs += used)
        op_out(s->r, name);
    if (op_go(s->r, op) < 0)
        fail_msg("%s: %s", op, s->r->err.msg);
    for (size_t i = 0; i < s->r->ctx.n_outputs; i++) {
        size_t n;
        const void *p = op_result(s->r, s->r->out[i].name, &n);

        assert_true(s->d->n < UC_COUNT(s->d->out));
        snprintf(s->d->out[s->d->n].name, sizeof(s->d->out->name), "%.16s/%.20s", op,
                 s->r->out[i].name);
        uc_digest_of(p, n, &s->d->out[s->d->n++].digest);
    }
}

static void evaluate(const struct chain *c, size_t seqlen, int threads, struct chain_digests *d)
{
    json_t *names = json_deep_copy(c->description), *layers = json_object_get(names, "layers");
    char *protocol = uc_xasprintf(",\"protocol\":\"llama\",\"window\":%zu", seqlen), *text, *more;

    while (json_array_size(layers) > 1)
        json_array_remove(layers, 1);
    text = uc_json_canonical(names);
    more = uc_xasprintf("%s,\"names\":%s", protocol, text);
    struct step ref = begin(c, seqlen, threads, protocol, d);
    struct step bench = begin(c, seqlen, threads, more, d);
    const struct uc_st *st = &c->model.set.st[0];
    op_in(ref.r, "ids", c->ids, c->n_ids * sizeof(*c->ids));
    op_in(bench.r, "ids", c->ids, c->n_ids * sizeof(*c->ids));
    tensor(&ref, "w/embed", UC_NO_LAYER, "embed");
    tensor(&ref, "w/final_norm", UC_NO_LAYER, "final_norm");
    layer(&ref, 0, "layer/000/");
    go(&ref, "reference", "h labels");
    op_in(bench.r, "model", st->map.data, st->map.size);
    tensor(&bench, "w/head", UC_NO_LAYER, "head");
    pass(&bench, "reference/h", &ref, "h");
    pass(&bench, "reference/labels", &ref, "labels");
    go(&bench, "bench", "report");
    op_free(ref.r);
    op_free(bench.r);
    json_decref(names);
    free(protocol);
    free(text);
    free(more);
}

void chain_run(const struct chain *c, size_t seqlen, int threads, struct chain_digests *d)
{
    struct step s[7];

    memset(d, 0, sizeof(*d));
    for (size_t i = 0; i < UC_COUNT(s); i++)
        s[i] = begin(c, seqlen, threads, "", d);
    op_in(s[0].r, "ids", c->ids, c->n_ids * sizeof(*c->ids));
    tensor(&s[0], "w/embed", UC_NO_LAYER, "embed");
    go(&s[0], "embed", "x");
    pass(&s[1], "x", &s[0], "x");
    layer(&s[1], 0, "");
    go(&s[1], "capture", "x g s.attn_in s.attn_out s.mlp_in s.mlp_mid");
    pass(&s[2], "x", &s[1], "x");
    tensor(&s[2], "w/final_norm", UC_NO_LAYER, "final_norm");
    go(&s[2], "capture_head", "g s.head");
    pass(&s[3], "g", &s[2], "g");
    tensor(&s[3], "w/final_norm", UC_NO_LAYER, "final_norm");
    tensor(&s[3], "w/head", UC_NO_LAYER, "head");
    go(&s[3], "sensitivity_head", "dx sw.head");
    pass(&s[4], "g", &s[1], "g");
    pass(&s[4], "dx", &s[3], "dx");
    layer(&s[4], 0, "");
    go(&s[4], "sensitivity",
       "dx h.q h.k h.v h.o h.gate h.up h.down sw.attn_in sw.attn_out sw.mlp_in sw.mlp_mid");
    pass(&s[5], "dx", &s[4], "dx");
    go(&s[5], "sensitivity_embed", "s.grad");
    pass(&s[6], "s/000", &s[1], "s.mlp_mid");
    pass(&s[6], "sw/000", &s[4], "sw.mlp_mid");
    go(&s[6], "factor", "l");
    for (size_t i = 0; i < UC_COUNT(s); i++)
        op_free(s[i].r);
    evaluate(c, seqlen, threads, d);
}
