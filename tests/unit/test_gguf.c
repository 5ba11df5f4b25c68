/* GGUF: what is read and what is refused, the block types, and the import of a small model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/tokenizer.h"

/* ---- making files ---- */

static void str(struct uc_buf *b, const char *s)
{
    uc_buf_add_u64(b, strlen(s));
    uc_buf_adds(b, s);
}

static void kv_u32(struct uc_buf *b, const char *key, uint32_t v)
{
    str(b, key);
    uc_buf_add_u32(b, UC_GGUF_U32);
    uc_buf_add_u32(b, v);
}

static void kv_f32(struct uc_buf *b, const char *key, float v)
{
    str(b, key);
    uc_buf_add_u32(b, UC_GGUF_F32);
    uc_buf_add(b, &v, 4);
}

static void kv_str(struct uc_buf *b, const char *key, const char *v)
{
    str(b, key);
    uc_buf_add_u32(b, UC_GGUF_STRING);
    str(b, v);
}

static void kv_array(struct uc_buf *b, const char *key, enum uc_gguf_kind kind, uint64_t n)
{
    str(b, key);
    uc_buf_add_u32(b, UC_GGUF_ARRAY);
    uc_buf_add_u32(b, kind);
    uc_buf_add_u64(b, n);
}

static void head(struct uc_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_kvs)
{
    uc_buf_adds(b, "GGUF");
    uc_buf_add_u32(b, version);
    uc_buf_add_u64(b, n_tensors);
    uc_buf_add_u64(b, n_kvs);
}

static void tensor(struct uc_buf *b, const char *name, uint32_t type, uint64_t d0, uint64_t d1,
                   uint64_t offset)
{
    str(b, name);
    uc_buf_add_u32(b, d1 ? 2 : 1);
    uc_buf_add_u64(b, d0);
    if (d1)
        uc_buf_add_u64(b, d1);
    uc_buf_add_u32(b, type);
    uc_buf_add_u64(b, offset);
}

static void pad(struct uc_buf *b, size_t align)
{
    while (b->len % align)
        uc_buf_addc(b, 0);
}

/* ---- reading ---- */

static void every_kind_of_value_is_read(void **state)
{
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    struct uc_gguf_iter it;
    struct uc_err err = {0};
    struct uc_gguf g;
    struct uc_buf b;
    const char *s;
    size_t n;
    int64_t v;

    uc_buf_init(&b, 0);
    head(&b, 3, 1, 14);
    for (uint32_t k = 0; k < UC_GGUF_KINDS; k++) {
        char key[2] = {(char)('a' + k), 0};
        if (!sizes[k])
            continue;
        str(&b, key);
        uc_buf_add_u32(&b, k);
        for (int i = 0; i < sizes[k]; i++)
            uc_buf_addc(&b, 0xff);
    }
    kv_str(&b, "text", "hello");
    kv_array(&b, "words", UC_GGUF_STRING, 2);
    str(&b, "one");
    str(&b, "two");
    kv_array(&b, "nested", UC_GGUF_ARRAY, 1);
    uc_buf_add_u32(&b, UC_GGUF_I16);
    uc_buf_add_u64(&b, 1);
    uc_buf_add_u16(&b, 0xfffe);
    tensor(&b, "t", 0, 2, 0, 0);
    pad(&b, 32);
    uc_buf_add_u64(&b, 0);
    assert_int_equal(uc_gguf_parse(&g, b.data, b.len, "f", &err), 0);
    assert_true(uc_gguf_int(&g, "a", &v) && v == 255);
    assert_true(uc_gguf_int(&g, "b", &v) && v == -1);
    assert_true(uc_gguf_int(&g, "l", &v) && v == -1);
    assert_false(uc_gguf_int(&g, "g", &v));
    assert_true(uc_gguf_string(&g, "text", &s, &n) && n == 5 && !memcmp(s, "hello", 5));
    assert_true(uc_gguf_iter_init(&it, &g, "words", UC_GGUF_STRING));
    assert_true(uc_gguf_next_string(&it, &s, &n) && n == 3 && !memcmp(s, "one", 3));
    assert_true(uc_gguf_next_string(&it, &s, &n) && !memcmp(s, "two", 3));
    assert_false(uc_gguf_next_string(&it, &s, &n));
    assert_int_equal(uc_gguf_tensor(&g, "t")->offset % 32, 0);
    assert_null(uc_gguf_tensor(&g, "u"));
    uc_gguf_close(&g);
    /* every shorter file is refused, and none is read past its end (the sanitizer watches) */
    for (size_t k = 0; k < b.len; k++) {
        uint8_t *cut = malloc(k + 1);
        memcpy(cut, b.data, k);
        assert_int_equal(uc_gguf_parse(&g, cut, k, "f", &err), UC_EREFUSED);
        free(cut);
    }
    uc_buf_release(&b);
}

/* One tensor of a sound file, changed by one field. */
static const struct lie {
    const char *says;
    uint32_t version, type;
    uint64_t n_tensors, n_kvs, dim, offset, align, name_len;
} lies[] = {
    {NULL, 3, 0, 2, 1, 8, 0, 32, 4},
    {NULL, 2, 0, 2, 1, 8, 0, 64, 4},
    {"version 1", 1, 0, 2, 1, 8, 0, 32, 4},
    {"big-endian", 0x03000000, 0, 2, 1, 8, 0, 32, 4},
    {"past the end", 3, 0, 1ull << 60, 1, 8, 0, 32, 4},
    {"past the end", 3, 0, 2, 1ull << 60, 8, 0, 32, 4},
    {"past the end", 3, 0, 2, 1, 8, 0, 32, 1ull << 62},
    {"1 to 64 bytes", 3, 0, 2, 1, 8, 0, 32, 0},
    {"power of two", 3, 0, 2, 1, 8, 0, 24, 4},
    {"power of two", 3, 0, 2, 1, 8, 0, 0, 4},
    {"not known", 3, 5, 2, 1, 8, 0, 32, 4},
    {"not known", 3, 1u << 31, 2, 1, 8, 0, 32, 4},
    {"whole blocks", 3, 2, 2, 1, 8, 0, 32, 4},
    {"not sensible", 3, 0, 2, 1, 0, 0, 32, 4},
    {"not sensible", 3, 0, 2, 1, 1ull << 63, 0, 32, 4},
    {"goes past the end", 3, 0, 2, 1, 1000, 0, 32, 4},
    {"goes past the end", 3, 0, 2, 1, 8, UINT64_MAX - 31, 32, 4},
    {"not a multiple", 3, 0, 2, 1, 8, 8, 32, 4},
    {"overlaps", 3, 0, 2, 1, 8, 32, 32, 4},
};

static void every_lie_is_refused(void **state)
{
    for (size_t i = 0; i < UC_COUNT(lies); i++) {
        const struct lie *l = &lies[i];
        struct uc_err err = {0};
        struct uc_gguf g;
        struct uc_buf b;
        uc_buf_init(&b, 0);
        head(&b, l->version, l->n_tensors, l->n_kvs);
        kv_u32(&b, "general.alignment", (uint32_t)l->align);
        uc_buf_add_u64(&b, l->name_len);
        uc_buf_adds(&b, "name");
        uc_buf_add_u32(&b, 1);
        uc_buf_add_u64(&b, l->dim);
        uc_buf_add_u32(&b, l->type);
        uc_buf_add_u64(&b, l->offset);
        tensor(&b, "other", 0, 8, 0, l->align == 64 ? 64 : 32);
        pad(&b, 64);
        for (int k = 0; k < 128; k++)
            uc_buf_addc(&b, 0);
        int rc = uc_gguf_parse(&g, b.data, b.len, "f.gguf", &err);
        if (l->says ? rc != UC_EREFUSED || !strstr(err.msg, l->says) : rc != 0)
            fail_msg("case %zu: %d \"%s\"", i, rc, err.msg);
        if (rc == 0)
            uc_gguf_close(&g);
        uc_buf_release(&b);
    }
}

/* ---- block types: digests of the Python package `gguf` (tests/oracle/gguf_types.py) ---- */

static const struct {
    const char *name;
    uint32_t type;
    int halves[2]; /* where scales are; -1: none */
    const char *digest;
} blocks[] = {
    {"F32", 0, {2, -1}, "e27031396f89930ee140012fd6020b70f8c165d2f01b84dd0c18c7b969fc1def"},
    {"F16", 1, {0, -1}, "d057ac4915d76e8e3a00db7d24304774cbabaac872765333b72621149773deee"},
    {"Q4_0", 2, {0, -1}, "f6f6813ccbed9e4967c17669c1bdef996839b59536eb1b60e38e3af465fc5415"},
    {"Q4_1", 3, {0, 2}, "2d18661dab0e0932e91f75f500f8360590061a5d9987e95d433bc7a66d0c477f"},
    {"Q5_0", 6, {0, -1}, "414090652536f0f6049e889691bbd7c86337847e231cb8006249c7dd3f5965d9"},
    {"Q5_1", 7, {0, 2}, "2711f60dc4b9ff895bc28542a31a19e230e4d25f4ef67ccfc0b6b1dccd56a1e2"},
    {"Q8_0", 8, {0, -1}, "e381d26a023e604074256291f9c16135f7bb50b588dec9997fb6cfc3ee323ddd"},
    {"Q2_K", 10, {80, 82}, "697d290a70d07ff134e589c587b9196e4db784a9b3ec35e042375c981e0b734a"},
    {"Q3_K", 11, {108, -1}, "ee88f05645530abf67d3030f5ecbdd4d59fe9c27025b24c477e2dbe95a22df0c"},
    {"Q4_K", 12, {0, 2}, "7603c728a431da1ae033716618ce7f2df5cf35f1d387464746e7341a9c6e06c4"},
    {"Q5_K", 13, {0, 2}, "dd73c7bc5f4c34e91370267dc80908e557aef73fe2e42a0842bde1e02e0c81f9"},
    {"Q6_K", 14, {208, -1}, "848ee6a263debb078db8b940e9ab2218e02eacb9ec6359913c99a0fd185ea8cf"},
    {"BF16", 30, {0, -1}, "8f21e20d4335f5fcf7922e5dc67ae74a386711e92fb0ab340e7aa70160f00559"},
};

static void blocks_have_the_reference_values(void **state)
{
    for (size_t i = 0; i < UC_COUNT(blocks); i++) {
        static uint8_t raw[64 * 256];
        static float y[64 * 256];
        char hex[UC_HEX_LEN + 1];
        struct uc_digest d;
        uint32_t n_elem, n_bytes, x = 1;
        assert_string_equal(uc_gguf_type_name(blocks[i].type), blocks[i].name);
        assert_true(uc_gguf_can_dequantize(blocks[i].type));
        uc_gguf_type_block(blocks[i].type, &n_elem, &n_bytes);
        for (uint32_t k = 0; k < 64 * n_bytes; k++) {
            x = x * 1103515245 + 12345;
            raw[k] = (uint8_t)(x >> 16);
            for (int h = 0; h < 2; h++)
                if ((int)(k % n_bytes) == blocks[i].halves[h] + 1 && blocks[i].halves[h] >= 0)
                    raw[k] &= 0xbf;
        }
        uc_gguf_dequantize(blocks[i].type, raw, 64 * n_elem, y);
        uc_digest_of(y, 64 * n_elem * sizeof(float), &d);
        if (strcmp(uc_digest_hex(&d, hex), blocks[i].digest))
            fail_msg("%s: %s, expected %s", blocks[i].name, hex, blocks[i].digest);
    }
    assert_false(uc_gguf_can_dequantize(16));
    assert_null(uc_gguf_type_name(4));
}

/* ---- import ---- */

static char dir[64];

static int setup(void **state)
{
    strcpy(dir, "uc-gguf-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    return uc_remove_tree(dir, NULL);
}

struct shape {
    const char *name;
    uint64_t d0, d1;
};
/* 2 heads of 4, 1 for keys; 6 tokens; 1 layer; feed-forward 5 */
static const struct shape shapes[] = {
    {"token_embd.weight", 8, 6},      {"output_norm.weight", 8, 0},
    {"blk.0.attn_norm.weight", 8, 0}, {"blk.0.ffn_norm.weight", 8, 0},
    {"blk.0.attn_q.weight", 8, 8},    {"blk.0.attn_k.weight", 8, 4},
    {"blk.0.attn_v.weight", 8, 4},    {"blk.0.attn_output.weight", 8, 8},
    {"blk.0.ffn_gate.weight", 8, 5},  {"blk.0.ffn_up.weight", 8, 5},
    {"blk.0.ffn_down.weight", 5, 8},
};

static void metadata(struct uc_buf *b, const char *arch, const char *tokenizer)
{
    static const char *const tokens[] = {"<|end|>", "a", "b", "ab", "\xc4\xa0", "c"};

    kv_str(b, "general.architecture", arch);
    kv_u32(b, "llama.block_count", 1);
    kv_u32(b, "llama.embedding_length", 8);
    kv_u32(b, "llama.feed_forward_length", 5);
    kv_u32(b, "llama.attention.head_count", 2);
    kv_u32(b, "llama.attention.head_count_kv", 1);
    kv_u32(b, "llama.context_length", 32);
    kv_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    kv_f32(b, "llama.rope.freq_base", 10000);
    kv_str(b, "tokenizer.ggml.model", tokenizer);
    kv_str(b, "tokenizer.ggml.pre", "smollm");
    kv_u32(b, "tokenizer.ggml.eos_token_id", 0);
    kv_array(b, "tokenizer.ggml.tokens", UC_GGUF_STRING, 6);
    for (int i = 0; i < 6; i++)
        str(b, tokens[i]);
    kv_array(b, "tokenizer.ggml.token_type", UC_GGUF_I32, 6);
    for (int i = 0; i < 6; i++)
        uc_buf_add_u32(b, i ? 1 : 3);
    kv_array(b, "tokenizer.ggml.merges", UC_GGUF_STRING, 1);
    str(b, "a b");
}

/* Element (r, c) is 8 r + c, exact in bf16; the very last one is given. */
static void write_model(const char *path, const char *arch, const char *tokenizer, size_t n_tensors,
                        float last)
{
    struct uc_err err = {0};
    struct uc_buf b;
    uint64_t offset = 0;

    uc_buf_init(&b, 0);
    head(&b, 3, n_tensors, 15);
    metadata(&b, arch, tokenizer);
    for (size_t t = 0; t < n_tensors; t++) {
        tensor(&b, shapes[t].name, 0, shapes[t].d0, shapes[t].d1, offset);
        offset += (shapes[t].d0 * (shapes[t].d1 ? shapes[t].d1 : 1) * 4 + 31) / 32 * 32;
    }
    for (size_t t = 0; t < n_tensors; t++) {
        pad(&b, 32);
        for (uint64_t r = 0; r < (shapes[t].d1 ? shapes[t].d1 : 1); r++)
            for (uint64_t c = 0; c < shapes[t].d0; c++) {
                float v = (float)(8 * r + c);
                if (t + 1 == n_tensors && r + 1 == shapes[t].d1 && c + 1 == shapes[t].d0)
                    v = last;
                uc_buf_add(&b, &v, 4);
            }
    }
    assert_int_equal(uc_write_file(path, b.data, b.len, false, &err), 0);
    uc_buf_release(&b);
}

static float bf16_at(const struct uc_st *st, const char *name, size_t i)
{
    const struct uc_tensor_info *t = uc_st_find(st, name);
    uint32_t u = (uint32_t)st->map.data[t->offset + 2 * i] << 16 |
                 (uint32_t)st->map.data[t->offset + 2 * i + 1] << 24;
    float f;

    memcpy(&f, &u, 4);
    return f;
}

static void a_small_model_is_imported(void **state)
{
    static const int rows[] = {0, 2, 1, 3, 4, 6, 5, 7}; /* row of the file for each row of q */
    char *src = uc_path_join(dir, "m.gguf"), *dst = uc_path_join(dir, "out/"), *path;
    struct uc_gguf_import info;
    struct uc_err err = {0};
    struct uc_tokenizer *tok;
    struct uc_st st;
    uint32_t *ids;
    size_t n;
    json_t *config;

    write_model(src, "llama", "gpt2", UC_COUNT(shapes), 1);
    if (uc_gguf_import(src, dst, &info, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(info.n_tensors, 11);
    path = uc_path_join(dst, "model.safetensors");
    assert_int_equal(uc_st_open(&st, path, &err), 0);
    assert_int_equal(st.n_tensors, 11);
    assert_string_equal(st.tensors[0].name, "model.embed_tokens.weight");
    for (int r = 0; r < 8; r++)
        assert_true(bf16_at(&st, "model.layers.0.self_attn.q_proj.weight", (size_t)r * 8) ==
                    8.0f * (float)rows[r]);
    assert_true(bf16_at(&st, "model.layers.0.self_attn.k_proj.weight", 8) == 16);
    assert_true(bf16_at(&st, "model.layers.0.self_attn.v_proj.weight", 8) == 8);
    uc_st_close(&st);
    free(path);
    path = uc_path_join(dst, "config.json");
    config = uc_json_load(path, 0, &err);
    assert_int_equal(uc_json_int(config, "head_dim", 0), 4);
    assert_true(uc_json_num(config, "rms_norm_eps", 0) == 1e-5);
    assert_true(uc_json_bool(config, "tie_word_embeddings", false));
    json_decref(config);
    free(path);
    path = uc_path_join(dst, "tokenizer.json");
    tok = uc_tokenizer_open(path, &err);
    assert_non_null(tok);
    assert_int_equal(uc_tokenizer_encode(tok, "ab c<|end|>", 11, false, &ids, &n, &err), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(ids, ((const uint32_t[]){3, 4, 5, 0}), 16);
    free(ids);
    uc_tokenizer_free(tok);
    assert_int_equal(uc_gguf_import(src, dst, &info, &err), UC_EUSAGE);
    free(path);
    free(src);
    free(dst);
}

static const struct {
    const char *arch, *tokenizer;
    size_t n_tensors;
    float last;
    const char *says;
} refused[] = {
    {"gemma", "gpt2", 11, 1, "architecture \"gemma\""},
    {"llama", "llama", 11, 1, "tokenizer of kind \"llama\""},
    {"llama", "gpt2", 10, 1, "blk.0.ffn_down.weight is missing"},
    {"llama", "gpt2", 11, __builtin_nanf(""), "element 39 is NaN"},
    {"llama", "gpt2", 11, __builtin_inff(), "element 39 is NaN or too large"},
};

static void what_cannot_be_imported_leaves_nothing(void **state)
{
    char *src = uc_path_join(dir, "m.gguf"), *dst = uc_path_join(dir, "out");
    struct stat st;

    for (size_t i = 0; i < UC_COUNT(refused); i++) {
        struct uc_err err = {0};
        write_model(src, refused[i].arch, refused[i].tokenizer, refused[i].n_tensors,
                    refused[i].last);
        int rc = uc_gguf_import(src, dst, NULL, &err);
        if (rc != UC_EREFUSED || !strstr(err.msg, refused[i].says))
            fail_msg("%d \"%s\", expected \"%s\"", rc, err.msg, refused[i].says);
        assert_int_equal(lstat(dst, &st), -1);
    }
    assert_int_equal(unlink(src), 0);
    assert_int_equal(rmdir(dir), 0); /* no temporary folder is left either */
    assert_int_equal(mkdir(dir, 0755), 0);
    free(src);
    free(dst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(every_lie_is_refused),
        cmocka_unit_test(blocks_have_the_reference_values),
        cmocka_unit_test_setup_teardown(a_small_model_is_imported, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_imported_leaves_nothing, setup, teardown),
    };

    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
