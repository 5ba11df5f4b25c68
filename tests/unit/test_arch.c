/* config.json -> architecture: what is read, what is refused, and what cannot reach a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/dir.h"

#define LLAMA                                                                                      \
    "\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":16,\"intermediate_size\":24,"      \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                 \
    "\"rms_norm_eps\":1e-5"

static struct uc_err err;

static struct uc_arch *arch_of(const char *text)
{
    json_t *config = uc_json_parse(text, strlen(text), "config.json", &err);
    struct uc_arch *a = NULL;

    assert_non_null(config);
    uc_arch_from_config(config, &a, &err);
    json_decref(config);
    return a;
}

static char *params_of(const char *text)
{
    struct uc_arch *a = arch_of(text);

    assert_non_null(a);
    json_t *p = uc_arch_config_digest_params(a);
    char *s = uc_json_canonical(p);
    json_decref(p);
    uc_arch_free(a);
    return s;
}

static void assert_same_params(const char *a, const char *b)
{
    char *x = params_of(a), *y = params_of(b);

    assert_string_equal(x, y);
    free(x);
    free(y);
}

static void assert_refused(const char *text, const char *says)
{
    memset(&err, 0, sizeof(err));
    assert_null(arch_of(text));
    assert_int_equal(err.code, UC_EREFUSED);
    if (!strstr(err.msg, says) && !strstr(err.fix, says))
        fail_msg("\"%s\" / \"%s\" does not say \"%s\"", err.msg, err.fix, says);
}

static void llama_block_is_read(void **state)
{
    struct uc_arch *a = arch_of("{" LLAMA ",\"rope_theta\":500000}");
    char name[128];

    assert_non_null(a);
    assert_int_equal(a->vocab, 64);
    assert_int_equal(a->block.head_dim, 4);
    assert_int_equal(a->block.n_taps, 4);
    assert_int_equal(a->block.roles[uc_block_role(&a->block, "k")].rows, 8);
    assert_int_equal(a->block.roles[uc_block_role(&a->block, "down")].cols, 24);
    assert_string_equal(a->block.taps[3].name, "mlp_mid");
    assert_true(a->block.rope.theta == 500000);
    assert_false(a->tied_stated);
    assert_string_equal(uc_arch_tensor_name(a, 1, "gate", name, sizeof(name)),
                        "model.layers.1.mlp.gate_proj.weight");
    assert_string_equal(uc_arch_tensor_name(a, UC_NO_LAYER, "head", name, sizeof(name)),
                        "lm_head.weight");
    assert_null(uc_arch_tensor_name(a, 0, "bias", name, sizeof(name)));
    uc_arch_settle(a, false);
    assert_true(a->tied);
    assert_true(uc_arch_ignores(a, "lm_head.weight"));
    assert_true(uc_arch_ignores(a, "model.layers.0.self_attn.rotary_emb.inv_freq"));
    uc_arch_free(a);
}

static void both_generations_of_keys_mean_the_same(void **state)
{
    assert_same_params("{" LLAMA ",\"rope_theta\":1e6,\"torch_dtype\":\"bfloat16\"}",
                       "{" LLAMA ",\"rope_parameters\":{\"rope_theta\":1000000,"
                       "\"rope_type\":\"default\"},\"dtype\":\"float32\"}");
    assert_same_params("{" LLAMA "}", "{" LLAMA ",\"head_dim\":4,\"rope_theta\":10000.0}");
    assert_same_params("{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
                       "\"low_freq_factor\":1,\"high_freq_factor\":4,"
                       "\"original_max_position_embeddings\":8192},\"rope_theta\":500000}",
                       "{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
                       "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"rope_theta\":500000.0,"
                       "\"original_max_position_embeddings\":8192}}");
}

static void only_arithmetic_reaches_the_params(void **state)
{
    assert_same_params("{" LLAMA "}",
                       "{" LLAMA ",\"chat_template\":\"x\",\"torch_dtype\":\"float16\","
                       "\"bos_token_id\":[1,2],\"_name_or_path\":\"a/b\",\"use_cache\":true,"
                       "\"max_position_embeddings\":99,\"transformers_version\":\"5.0\"}");
    char *a = params_of("{" LLAMA "}"), *b = params_of("{" LLAMA ",\"rope_theta\":20000}");
    assert_string_not_equal(a, b);
    assert_null(strstr(a, "llama"));
    free(a);
    free(b);
}

static void params_give_the_block_back(void **state)
{
    const char *text = "{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,"
                       "\"low_freq_factor\":1,\"high_freq_factor\":4,"
                       "\"original_max_position_embeddings\":8192}}";
    struct uc_arch *a = arch_of(text);
    json_t *p = uc_arch_config_digest_params(a);
    struct uc_block b;

    assert_int_equal(uc_block_from_params(p, &b, &err), 0);
    assert_memory_equal(&b, &a->block, sizeof(b));
    json_object_del(p, "n_kv");
    assert_true(uc_block_from_params(p, &b, &err) < 0);
    assert_non_null(strstr(err.msg, "n_kv"));
    json_decref(p);
    uc_arch_free(a);
}

static void description_lists_tensors_and_inputs(void **state)
{
    struct uc_arch *a = arch_of("{" LLAMA ",\"tie_word_embeddings\":true}");
    json_t *d = uc_arch_describe(a);
    char *layer = uc_json_canonical(json_array_get(json_object_get(d, "layers"), 1));

    assert_int_equal(json_array_size(json_object_get(d, "layers")), 2);
    assert_true(json_is_null(json_object_get(d, "head")));
    assert_string_equal(uc_json_str(d, "embed", ""), "model.embed_tokens.weight");
    assert_string_equal(layer, "{\"inputs\":{\"attn_in\":[\"q\",\"k\",\"v\"],\"attn_out\":[\"o\"],"
                               "\"mlp_in\":[\"gate\",\"up\"],\"mlp_mid\":[\"down\"]},\"tensors\":{"
                               "\"attn_norm\":\"model.layers.1.input_layernorm.weight\","
                               "\"down\":\"model.layers.1.mlp.down_proj.weight\","
                               "\"gate\":\"model.layers.1.mlp.gate_proj.weight\","
                               "\"k\":\"model.layers.1.self_attn.k_proj.weight\","
                               "\"mlp_norm\":\"model.layers.1.post_attention_layernorm.weight\","
                               "\"o\":\"model.layers.1.self_attn.o_proj.weight\","
                               "\"q\":\"model.layers.1.self_attn.q_proj.weight\","
                               "\"up\":\"model.layers.1.mlp.up_proj.weight\","
                               "\"v\":\"model.layers.1.self_attn.v_proj.weight\"}}");
    free(layer);
    json_decref(d);
    uc_arch_free(a);
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    assert_refused("{\"model_type\":\"t5\",\"is_encoder_decoder\":true}", "encoder-decoder");
    assert_refused("{\"model_type\":\"frob\",\"is_encoder_decoder\":true}", "encoder-decoder");
    assert_refused("{\"model_type\":\"bert\",\"architectures\":[\"BertForMaskedLM\"]}", "encoder");
    assert_refused("{\"model_type\":\"vit\"}", "vision");
    assert_refused("{\"model_type\":\"whisper\"}", "audio");
    assert_refused("{\"model_type\":\"llava\",\"text_config\":{}}", "multimodal");
    assert_refused("{\"model_type\":\"mamba2\"}", "state-space");
    assert_refused("{\"model_type\":\"graphormer\"}", "graph");
    assert_refused("{\"architecture\":\"resnet50\",\"num_classes\":1000}", "image");
    assert_refused("{\"_class_name\":\"UNet2DConditionModel\"}", "diffusion");
    assert_refused("{\"hidden_size\":3}", "model_type");
    assert_refused("{\"model_type\":\"lama\"}", "did you mean 'llama'");
    assert_refused("{\"model_type\":\"gpt2\"}", "supported: llama");
    assert_refused("[1]", "object");
    assert_refused("{" LLAMA ",\"architectures\":[\"LlamaForSequenceClassification\"]}",
                   "ForCausalLM");
}

static void quantized_models_are_refused_with_method_and_bits(void **state)
{
    assert_refused("{" LLAMA ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}",
                   "gptq at 4 bits");
    assert_refused("{" LLAMA ",\"quantization_config\":{\"quant_method\":\"bitsandbytes\","
                   "\"load_in_8bit\":true}}",
                   "bitsandbytes at 8 bits");
    assert_refused("{" LLAMA ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\","
                   "\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":4}}}}}",
                   "compressed-tensors at 4 bits");
    assert_refused("{" LLAMA ",\"quantization_config\":{\"quant_method\":\"fp8\"}}",
                   "fp8 at 8 bits");
    assert_refused("{" LLAMA ",\"quantization\":{\"bits\":4}}", "mlx at 4 bits");
    assert_refused("{" LLAMA ",\"quantization_config\":{\"quant_method\":\"ultracompress\"}}",
                   "ultracompress");
}

static void our_own_artifacts_pass_where_they_may(void **state)
{
    const char *text = "{" LLAMA ",\"quantization_config\":{\"quant_method\":\"ultracompress\"}}";
    json_t *config = uc_json_parse(text, strlen(text), "config.json", &err);
    struct uc_arch *a;

    assert_int_equal(uc_arch_from_config_any(config, &a, &err), 0);
    uc_arch_free(a);
    json_decref(config);
}

static void half_supported_llamas_are_refused(void **state)
{
    assert_refused("{" LLAMA ",\"attention_bias\":true}", "attention_bias");
    assert_refused("{" LLAMA ",\"mlp_bias\":true}", "mlp_bias");
    assert_refused("{" LLAMA ",\"hidden_act\":\"gelu\"}", "gelu");
    assert_refused("{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", "yarn");
    assert_refused("{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":4}}",
                   "original_max_position_embeddings");
    assert_refused("{" LLAMA ",\"head_dim\":3}", "even head_dim");
    assert_refused("{" LLAMA ",\"head_dim\":1073741824}", "too wide");
    assert_refused("{" LLAMA ",\"head_dim\":-8}", "head_dim");
    assert_refused("{\"model_type\":\"llama\",\"vocab_size\":8}", "hidden_size");
    assert_refused("{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":16,"
                   "\"num_hidden_layers\":1000000000,\"intermediate_size\":8,"
                   "\"num_attention_heads\":4}",
                   "4096");
    assert_refused("{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":18,"
                   "\"num_hidden_layers\":1,\"intermediate_size\":8,\"num_attention_heads\":4}",
                   "multiple");
    assert_refused("{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":18,"
                   "\"num_hidden_layers\":1,\"intermediate_size\":8,\"num_attention_heads\":3,"
                   "\"num_key_value_heads\":2}",
                   "cannot share");
}

/* ---- folders ---- */

static char *folder;

static int make_folder(void **state)
{
    char tmp[] = "uc-arch-XXXXXX";

    folder = uc_xstrdup(mkdtemp(tmp));
    return 0;
}

static int remove_folder(void **state)
{
    uc_remove_tree(folder, &err);
    free(folder);
    return 0;
}

static void put(const char *name, const void *p, size_t n)
{
    char *path = uc_path_join(folder, name);

    assert_int_equal(uc_write_file(path, p, n, false, &err), 0);
    free(path);
}

/* A checkpoint whose header is text and whose data are zeros. */
static void put_checkpoint(const char *header, size_t n_data)
{
    size_t n = strlen(header), padded = (n + 7) / 8 * 8;
    uint8_t *file = uc_xcalloc(1, 8 + padded + n_data);

    memset(file + 8, ' ', padded);
    memcpy(file + 8, header, n);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(padded >> 8 * i);
    put("model.safetensors", file, 8 + padded + n_data);
    free(file);
}

static void assert_folder(int code, const char *says)
{
    struct uc_model_dir m;

    memset(&err, 0, sizeof(err));
    assert_int_equal(uc_model_dir_open(&m, folder, UC_MODEL_SOURCE, &err), code);
    if (!strstr(err.msg, says) && !strstr(err.fix, says))
        fail_msg("\"%s\" / \"%s\" does not say \"%s\"", err.msg, err.fix, says);
    assert_null(m.path);
}

static void folders_without_a_checkpoint_say_what_they_hold(void **state)
{
    struct uc_model_dir m;

    assert_int_equal(uc_model_dir_open(&m, "no-such-folder", UC_MODEL_SOURCE, &err), UC_ENOTFOUND);
    assert_folder(UC_ENOTFOUND, "no config.json");
    put("model.gguf", "GGUF", 4);
    assert_folder(UC_EREFUSED, "uc import");
    put("adapter_config.json", "{}", 2);
    assert_folder(UC_EREFUSED, "adapter");
    put("config.json", "{\"model_type\":", 14);
    assert_folder(UC_EFAIL, "config.json:1");
    put("config.json", "{" LLAMA "}", strlen("{" LLAMA "}"));
    assert_folder(UC_EREFUSED, "adapter");
}

static void pickles_are_refused(void **state)
{
    put("config.json", "{" LLAMA "}", strlen("{" LLAMA "}"));
    put("pytorch_model-00001-of-00002.bin", "x", 1);
    assert_folder(UC_EREFUSED, "run code");
}

static void tensors_must_fit_the_config(void **state)
{
    put("config.json", "{" LLAMA "}", strlen("{" LLAMA "}"));
    put_checkpoint("{\"model.norm.weight\":{\"dtype\":\"I64\",\"shape\":[16],"
                   "\"data_offsets\":[0,128]},\"extra\":{\"dtype\":\"F32\",\"shape\":[2],"
                   "\"data_offsets\":[128,136]},\"model.embed_tokens.weight\":{\"dtype\":\"F32\","
                   "\"shape\":[8,2],\"data_offsets\":[136,200]}}",
                   200);
    assert_folder(UC_EREFUSED, "model.embed_tokens.weight has shape [8, 2], config.json says "
                               "[64, 16]; model.norm.weight has dtype I64");
    assert_folder(UC_EREFUSED, "21 tensors do not fit");
    put_checkpoint("{\"model.layers.0.mlp.up_proj.qweight\":{\"dtype\":\"I32\",\"shape\":[2,2],"
                   "\"data_offsets\":[0,16]}}",
                   16);
    assert_folder(UC_EREFUSED, "already quantized");
    put_checkpoint("{\"model.layers.0.mlp.up_proj.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],"
                   "\"data_offsets\":[0,4]}}",
                   4);
    assert_folder(UC_EREFUSED, "F8_E4M3");
}

static void the_tiny_model_opens(void **state)
{
    char *path = uc_path_join(getenv("UC_SRC"), "examples/models/tiny");
    struct uc_model_dir m;

    if (uc_model_dir_open(&m, path, UC_MODEL_SOURCE, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(m.arch->block.n_head / m.arch->block.n_kv, 2);
    assert_true(m.arch->tied);
    uc_model_dir_close(&m);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_block_is_read),
        cmocka_unit_test(both_generations_of_keys_mean_the_same),
        cmocka_unit_test(only_arithmetic_reaches_the_params),
        cmocka_unit_test(params_give_the_block_back),
        cmocka_unit_test(description_lists_tensors_and_inputs),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(quantized_models_are_refused_with_method_and_bits),
        cmocka_unit_test(our_own_artifacts_pass_where_they_may),
        cmocka_unit_test(half_supported_llamas_are_refused),
        cmocka_unit_test_setup_teardown(folders_without_a_checkpoint_say_what_they_hold,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(pickles_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(tensors_must_fit_the_config, make_folder, remove_folder),
        cmocka_unit_test(the_tiny_model_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
