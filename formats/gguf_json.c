/* GGUF to a Hugging Face folder: the header's figures and the JSON files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/gguf_import.h"

/* ---- figures ---- */

static int need(const struct gguf_llama *m, const char *key, int64_t low, int64_t high,
                int64_t *out, struct uc_err *err)
{
    if (!uc_gguf_int(m->gguf, key, out) || *out < low || *out > high)
        return uc_fail(err, UC_EREFUSED, "%s: key %s is missing or not in %lld to %lld", m->what,
                       key, (long long)low, (long long)high);
    return 0;
}

static bool string_is(const struct uc_gguf *g, const char *key, const char *value)
{
    const char *s;
    size_t n;

    return uc_gguf_string(g, key, &s, &n) && n == strlen(value) && memcmp(s, value, n) == 0;
}

static int read_sizes(struct gguf_llama *m, struct uc_err *err)
{
    static const int64_t big = 1 << 24;
    int64_t rope;
    int rc = need(m, "llama.block_count", 1, 4096, &m->n_layers, err);

    if (rc == 0)
        rc = need(m, "llama.embedding_length", 1, big, &m->hidden, err);
    if (rc == 0)
        rc = need(m, "llama.feed_forward_length", 1, big, &m->intermediate, err);
    if (rc == 0)
        rc = need(m, "llama.attention.head_count", 1, 65536, &m->n_head, err);
    if (rc == 0)
        rc = need(m, "llama.context_length", 1, (int64_t)1 << 40, &m->context, err);
    if (rc < 0)
        return rc;
    m->n_kv = m->n_head;
    m->head_dim = m->hidden / m->n_head;
    if (uc_gguf_find(m->gguf, "llama.attention.head_count_kv"))
        rc = need(m, "llama.attention.head_count_kv", 1, m->n_head, &m->n_kv, err);
    if (rc == 0 && uc_gguf_find(m->gguf, "llama.attention.key_length"))
        rc = need(m, "llama.attention.key_length", 2, big, &m->head_dim, err);
    if (rc < 0)
        return rc;
    if (m->head_dim < 2 || m->head_dim % 2 || m->n_head % m->n_kv)
        return uc_fail(err, UC_EREFUSED,
                       "%s: %lld heads, %lld for keys, do not fit %lld wide states", m->what,
                       (long long)m->n_head, (long long)m->n_kv, (long long)m->hidden);
    if (uc_gguf_int(m->gguf, "llama.rope.dimension_count", &rope) && rope != m->head_dim)
        return uc_fail(
            err, UC_EREFUSED,
            "%s: rotary embedding over %lld of a head's %lld dimensions is not supported", m->what,
            (long long)rope, (long long)m->head_dim);
    return 0;
}

static int read_rope(struct gguf_llama *m, struct uc_err *err)
{
    const struct uc_gguf *g = m->gguf;
    double v;

    if (!uc_gguf_real(g, "llama.attention.layer_norm_rms_epsilon", &v) || !(v > 0))
        return uc_fail(err, UC_EREFUSED,
                       "%s: key llama.attention.layer_norm_rms_epsilon is missing", m->what);
    m->rms_eps = (float)v;
    m->rope_theta = 10000;
    if (uc_gguf_real(g, "llama.rope.freq_base", &v))
        m->rope_theta = (float)v;
    m->rope_factor = 0;
    if (uc_gguf_tensor(g, "rope_freqs.weight"))
        return uc_fail(err, UC_EREFUSED,
                       "%s: tensor rope_freqs.weight (rope scaling of Llama 3) is not supported",
                       m->what);
    if (!uc_gguf_find(g, "llama.rope.scaling.type") ||
        string_is(g, "llama.rope.scaling.type", "none"))
        return 0;
    if (!string_is(g, "llama.rope.scaling.type", "linear") ||
        !uc_gguf_real(g, "llama.rope.scaling.factor", &m->rope_factor) || !(m->rope_factor > 0))
        return uc_fail(err, UC_EREFUSED, "%s: this llama.rope.scaling.type is not supported",
                       m->what);
    return 0;
}

int gguf_llama_read(struct gguf_llama *m, const struct uc_gguf *g, const char *what,
                    struct uc_err *err)
{
    const struct uc_gguf_tensor *embed = uc_gguf_tensor(g, "token_embd.weight");
    const char *arch;
    size_t n;
    int64_t experts = 0;
    int rc;

    memset(m, 0, sizeof(*m));
    m->gguf = g;
    m->what = what;
    if (!uc_gguf_string(g, "general.architecture", &arch, &n))
        return uc_fail(err, UC_EREFUSED, "%s: key general.architecture is missing", what);
    if (!string_is(g, "general.architecture", "llama"))
        return uc_fail(err, UC_EREFUSED,
                       "%s: architecture \"%.*s\" is not supported, only \"llama\"", what,
                       n > 80 ? 80 : (int)n, arch);
    if (uc_gguf_int(g, "llama.expert_count", &experts) && experts > 0)
        return uc_fail(err, UC_EREFUSED, "%s: a mixture of experts is not supported", what);
    rc = read_sizes(m, err);
    if (rc == 0)
        rc = read_rope(m, err);
    if (rc < 0)
        return rc;
    if (!embed || embed->n_dim != 2)
        return uc_fail(err, UC_EREFUSED, "%s: tensor token_embd.weight is missing", what);
    m->vocab = (int64_t)embed->dims[1];
    m->tied = !uc_gguf_tensor(g, "output.weight");
    return 0;
}

/* ---- config.json ---- */

/* The shortest decimal that means f: what the figure was before it was stored as f32. */
static json_t *short_real(float f)
{
    char s[40];

    for (int digits = 1; digits <= 9; digits++) {
        snprintf(s, sizeof(s), "%.*g", digits, (double)f);
        if (strtof(s, NULL) == f)
            break;
    }
    return json_real(strtod(s, NULL));
}

static void set_id(json_t *o, const struct uc_gguf *g, const char *name, const char *key)
{
    int64_t id;

    if (uc_gguf_int(g, key, &id))
        json_object_set_new(o, name, json_integer(id));
}

static void set_ids(json_t *o, const struct uc_gguf *g)
{
    set_id(o, g, "bos_token_id", "tokenizer.ggml.bos_token_id");
    set_id(o, g, "eos_token_id", "tokenizer.ggml.eos_token_id");
    set_id(o, g, "pad_token_id", "tokenizer.ggml.padding_token_id");
}

static json_t *config(const struct gguf_llama *m)
{
    json_t *scaling = m->rope_factor > 0
                          ? json_pack("{s:s, s:s, s:f}", "type", "linear", "rope_type", "linear",
                                      "factor", m->rope_factor)
                          : json_null();
    json_t *o = json_pack(
        "{s:[s], s:b, s:f, s:I, s:s, s:I, s:f, s:I, s:I, s:b, s:s, s:I, s:I, s:I, s:i, s:o, s:o, "
        "s:o, s:b, s:s, s:I}",
        "architectures", "LlamaForCausalLM", "attention_bias", 0, "attention_dropout", 0.0,
        "head_dim", (json_int_t)m->head_dim, "hidden_act", "silu", "hidden_size",
        (json_int_t)m->hidden, "initializer_range", 1.0 / sqrt((double)m->hidden),
        "intermediate_size", (json_int_t)m->intermediate, "max_position_embeddings",
        (json_int_t)m->context, "mlp_bias", 0, "model_type", "llama", "num_attention_heads",
        (json_int_t)m->n_head, "num_hidden_layers", (json_int_t)m->n_layers, "num_key_value_heads",
        (json_int_t)m->n_kv, "pretraining_tp", 1, "rms_norm_eps", short_real(m->rms_eps),
        "rope_scaling", scaling, "rope_theta", short_real(m->rope_theta), "tie_word_embeddings",
        m->tied, "torch_dtype", "bfloat16", "vocab_size", (json_int_t)m->vocab);

    set_ids(o, m->gguf);
    return o;
}

/* ---- the tokenizer ---- */

static const char digits_gpt2[] =
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]"
    "}";
static const char plain_gpt2[] =
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}";
#define SPLIT(regex)                                                                               \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","          \
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]}"
static const char llama3[] =
    SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
          "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+");
static const char qwen2[] =
    SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
          "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+");

/* tokenizer.ggml.pre says by name what tokenizer.json says by parts. */
static const struct pre {
    const char *name, *json;
    bool nfc, ignore_merges;
} pres[] = {
    {"smollm", digits_gpt2, false, false}, {"gpt-2", plain_gpt2, false, false},
    {"olmo", plain_gpt2, false, false},    {"llama-bpe", llama3, false, true},
    {"llama3", llama3, false, true},       {"qwen2", qwen2, true, false},
};

static int find_pre(const struct gguf_llama *m, const struct pre **out, struct uc_err *err)
{
    const char *s = "";
    size_t n = 0;

    if (!string_is(m->gguf, "tokenizer.ggml.model", "gpt2")) {
        uc_gguf_string(m->gguf, "tokenizer.ggml.model", &s, &n);
        uc_fail(err, UC_EREFUSED,
                "%s: tokenizer of kind \"%.*s\" is not supported, only byte-level BPE (\"gpt2\")",
                m->what, n > 80 ? 80 : (int)n, s);
        return uc_fix(err, "get the model's Hugging Face folder instead");
    }
    uc_gguf_string(m->gguf, "tokenizer.ggml.pre", &s, &n);
    for (size_t i = 0; i < UC_COUNT(pres); i++) {
        *out = &pres[i];
        if (n == strlen(pres[i].name) && memcmp(s, pres[i].name, n) == 0)
            return 0;
    }
    uc_fail(err, UC_EREFUSED, "%s: pre-tokenizer \"%.*s\" is not known", m->what,
            n > 80 ? 80 : (int)n, s);
    return uc_fix(err, "get the model's Hugging Face folder instead");
}

static json_t *added_token(int64_t id, const json_t *content, bool special)
{
    return json_pack("{s:I, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content",
                     content, "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
                     "special", special);
}

/* The list of tokens; NULL and err when it is not one. */
static json_t *read_tokens(const struct gguf_llama *m, struct uc_err *err)
{
    struct uc_gguf_iter it;
    json_t *list = json_array(), *v;
    const char *s;
    size_t n;

    if (!uc_gguf_iter_init(&it, m->gguf, "tokenizer.ggml.tokens", UC_GGUF_STRING) ||
        it.left != (uint64_t)m->vocab) {
        uc_fail(err, UC_EREFUSED, "%s: tokenizer.ggml.tokens does not hold %lld tokens", m->what,
                (long long)m->vocab);
        goto fail;
    }
    while (uc_gguf_next_string(&it, &s, &n)) {
        v = memchr(s, 0, n) ? NULL : json_stringn(s, n);
        if (!v) {
            uc_fail(err, UC_EREFUSED, "%s: token %zu is not UTF-8", m->what, json_array_size(list));
            goto fail;
        }
        json_array_append_new(list, v);
    }
    return list;
fail:
    json_decref(list);
    return NULL;
}

static int make_model(const struct gguf_llama *m, const struct pre *pre, const json_t *tokens,
                      json_t **out, struct uc_err *err)
{
    json_t *vocab = json_object(), *merges = json_array();
    struct uc_gguf_iter it;
    const char *s;
    size_t n;
    int rc = 0;

    for (size_t i = 0; i < json_array_size(tokens) && rc == 0; i++) {
        const char *t = json_string_value(json_array_get(tokens, i));
        if (json_object_get(vocab, t))
            rc = uc_fail(err, UC_EREFUSED, "%s: token %zu \"%.80s\" is there twice", m->what, i, t);
        json_object_set_new_nocheck(vocab, t, json_integer((json_int_t)i));
    }
    if (rc == 0 && !uc_gguf_iter_init(&it, m->gguf, "tokenizer.ggml.merges", UC_GGUF_STRING))
        rc = uc_fail(err, UC_EREFUSED, "%s: key tokenizer.ggml.merges is missing", m->what);
    while (rc == 0 && uc_gguf_next_string(&it, &s, &n))
        if (json_array_append_new(merges, json_stringn(s, n)) < 0)
            rc = uc_fail(err, UC_EREFUSED, "%s: merge %zu is not UTF-8", m->what,
                         json_array_size(merges));
    *out = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", pre->ignore_merges, "vocab", vocab,
                     "merges", merges);
    return rc;
}

static json_t *make_added(const struct gguf_llama *m, const json_t *tokens)
{
    enum { CONTROL = 3, USER = 4 };
    json_t *added = json_array();
    struct uc_gguf_iter it;
    int64_t type;

    if (!uc_gguf_iter_init(&it, m->gguf, "tokenizer.ggml.token_type", UC_GGUF_I64))
        return added;
    for (size_t i = 0; uc_gguf_next_int(&it, &type) && i < json_array_size(tokens); i++)
        if (type == CONTROL || type == USER)
            json_array_append_new(
                added, added_token((int64_t)i, json_array_get(tokens, i), type == CONTROL));
    return added;
}

static json_t *tokenizer_config(const struct gguf_llama *m, const json_t *tokens)
{
    static const char *const names[][2] = {
        {"bos_token", "tokenizer.ggml.bos_token_id"},
        {"eos_token", "tokenizer.ggml.eos_token_id"},
        {"unk_token", "tokenizer.ggml.unknown_token_id"},
        {"pad_token", "tokenizer.ggml.padding_token_id"},
    };
    json_t *o = json_pack("{s:b, s:n, s:I, s:s, s:I}", "clean_up_tokenization_spaces", 0,
                          "chat_template", "model_max_length", (json_int_t)m->context,
                          "tokenizer_class", "GPT2Tokenizer", "vocab_size", (json_int_t)m->vocab);
    bool space = false;
    const char *s;
    size_t n;
    int64_t id;

    uc_gguf_bool(m->gguf, "tokenizer.ggml.add_space_prefix", &space);
    json_object_set_new(o, "add_prefix_space", json_boolean(space));
    for (size_t i = 0; i < UC_COUNT(names); i++)
        if (uc_gguf_int(m->gguf, names[i][1], &id) && id >= 0 && id < m->vocab)
            json_object_set(o, names[i][0], json_array_get(tokens, (size_t)id));
    if (uc_gguf_string(m->gguf, "tokenizer.chat_template", &s, &n))
        json_object_set_new(o, "chat_template", json_stringn(s, n));
    return o;
}

/* ---- files ---- */

/* Takes v. Members stay in the order in which they were made, which vocabularies need. */
static int write_json(const char *dir, const char *name, json_t *v, size_t flags,
                      struct uc_err *err)
{
    char *path = uc_path_join(dir, name), *text = v ? json_dumps(v, flags) : NULL;
    int rc = text ? uc_write_file(path, text, strlen(text), true, err)
                  : uc_fail(err, UC_EFAIL, "%s: cannot be written as JSON", path);

    free(text);
    free(path);
    json_decref(v);
    return rc;
}

static int write_tokenizer(const struct gguf_llama *m, const char *dir, struct uc_err *err)
{
    const struct pre *pre;
    json_t *tokens = NULL, *model = NULL, *o;
    int rc = find_pre(m, &pre, err);

    if (rc < 0)
        return rc;
    tokens = read_tokens(m, err);
    if (!tokens)
        return UC_EREFUSED;
    rc = make_model(m, pre, tokens, &model, err);
    if (rc == 0) {
        o = json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:O}", "version",
                      "1.0", "truncation", "padding", "added_tokens", make_added(m, tokens),
                      "normalizer", pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null(),
                      "pre_tokenizer", json_loads(pre->json, 0, NULL), "post_processor", "decoder",
                      "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1,
                      "model", model);
        rc = write_json(dir, "tokenizer.json", o, JSON_COMPACT, err);
    }
    if (rc == 0)
        rc = write_json(dir, "tokenizer_config.json", tokenizer_config(m, tokens),
                        JSON_INDENT(2) | JSON_SORT_KEYS, err);
    json_decref(model);
    json_decref(tokens);
    return rc;
}

int gguf_write_json(const struct gguf_llama *m, const char *dir, struct uc_err *err)
{
    json_t *ids = json_object();
    int rc = write_json(dir, "config.json", config(m), JSON_INDENT(2) | JSON_SORT_KEYS, err);

    set_ids(ids, m->gguf);
    if (rc == 0)
        rc = write_json(dir, "generation_config.json", json_incref(ids),
                        JSON_INDENT(2) | JSON_SORT_KEYS, err);
    json_decref(ids);
    return rc < 0 ? rc : write_tokenizer(m, dir, err);
}
