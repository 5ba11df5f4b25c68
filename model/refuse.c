/* What uc does not compress, told from config.json alone: each refusal says what it found, why
 * that is not supported and what to do. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/arch.h"
#include "model/config.h"

/* The method's name in the config.json of our own artifacts. */
#define OWN_METHOD "ultracompress"

/* What a model_type stands for, when it is none of ours. */
static const struct unsupported {
    const char *what;
    const char *types; /* separated by spaces */
} unsupported[] = {
    {"an encoder-decoder",
     "t5 mt5 umt5 longt5 switch_transformers bart mbart plbart pegasus pegasus_x marian "
     "blenderbot m2m_100 led prophetnet fsmt bigbird_pegasus nllb-moe t5gemma "
     "blenderbot-small encoder-decoder seamless_m4t"},
    {"an encoder without a language-model head",
     "bert roberta xlm-roberta xlm-roberta-xl distilbert albert electra deberta deberta-v2 "
     "modernbert mpnet nomic_bert camembert longformer big_bird eurobert ernie funnel "
     "megatron-bert mobilebert squeezebert convbert layoutlm esm roformer new"},
    {"a vision model",
     "vit deit beit swin swinv2 convnext convnextv2 resnet regnet efficientnet "
     "mobilenet_v1 mobilenet_v2 mobilevit dinov2 dinov3_vit detr segformer sam yolos "
     "timm_wrapper levit poolformer bit van cvt depth_anything"},
    {"an audio model",
     "whisper wav2vec2 hubert wavlm speech_to_text musicgen encodec bark vits speecht5 "
     "moonshine clap data2vec-audio"},
    {"a multimodal model",
     "clip siglip blip blip-2 llava llava_next idefics idefics2 idefics3 paligemma "
     "qwen2_vl qwen2_5_vl qwen3_vl mllama internvl gemma3 gemma3n llama4 mistral3 smolvlm "
     "florence2 kosmos-2 phi4_multimodal git"},
    {"a state-space, recurrent or linear-attention model",
     "mamba mamba2 falcon_mamba rwkv rwkv5 rwkv6 rwkv7 jamba bamba zamba zamba2 falcon_h1 "
     "nemotron_h qwen3_next lfm2 lfm2_moe xlstm recurrent_gemma plamo2 granitemoehybrid "
     "minimax hyena kimi_linear"},
    {"a graph network", "graphormer gnn gcn gat"},
};

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = strstr(words, word); p; p = strstr(p + 1, word))
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

static int refuse_kind(struct uc_err *err, const char *name, const char *what)
{
    uc_fail(err, UC_EREFUSED,
            "'%s' is %s; only decoder language models of attention blocks are supported", name,
            what);
    return uc_fix(err, "supported model_type: llama (Llama 1 to 3, TinyLlama, SmolLM2, ...)");
}

static int refuse_class(const json_t *config, const char *model_type, struct uc_err *err)
{
    for (size_t i = 0; i < UC_COUNT(unsupported); i++)
        if (has_word(unsupported[i].types, model_type))
            return refuse_kind(err, model_type, unsupported[i].what);
    if (uc_json_bool(config, "is_encoder_decoder", false))
        return refuse_kind(err, model_type, "an encoder-decoder");
    if (uc_config_has(config, "vision_config") || uc_config_has(config, "audio_config") ||
        uc_config_has(config, "text_config"))
        return refuse_kind(err, model_type, "a multimodal model");
    return 0;
}

/* No model_type: not a transformers language model. Says what it looks like. */
static int refuse_untyped(const json_t *config, struct uc_err *err)
{
    if (json_object_get(config, "_diffusers_version") || json_object_get(config, "_class_name"))
        return refuse_kind(err, uc_json_str(config, "_class_name", "the model"),
                           "a diffusion model's part");
    if (json_object_get(config, "pretrained_cfg") || json_object_get(config, "num_classes"))
        return refuse_kind(err, uc_json_str(config, "architecture", "the model"),
                           "an image model (timm)");
    const char *first =
        json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    if (first) {
        uc_fail(err, UC_EREFUSED, "no model_type (architectures: %s)", first);
        return uc_fix(err,
                      "add the model_type that transformers uses for it, or re-save the model");
    }
    return refuse_kind(err, "the model", "no transformers language model (no model_type)");
}

/* The wrapper's class tells a headless or classifying use of a decoder family. */
static int refuse_head(const json_t *config, struct uc_err *err)
{
    static const char *const bad[] = {
        "*ForMaskedLM",          "*ForSequenceClassification", "*ForTokenClassification",
        "*ForQuestionAnswering", "*ForConditionalGeneration",  "*ForImageClassification"};
    const char *first =
        json_string_value(json_array_get(json_object_get(config, "architectures"), 0));

    for (size_t i = 0; first && i < UC_COUNT(bad); i++) {
        if (uc_str_match(bad[i], first)) {
            uc_fail(err, UC_EREFUSED, "architecture %s is not a decoder language model (%s)", first,
                    "its name should end in ForCausalLM");
            return uc_fix(err, "compress the language model it was made from");
        }
    }
    return 0;
}

/* Bits that a quantization_config of any of the known styles states; 0 when it does not. */
static int stated_bits(const json_t *q)
{
    static const char *const names[] = {"bits", "w_bit", "nbits", "weight_bits", "num_bits"};
    static const struct {
        const char *method;
        int bits;
    } fixed[] = {{"fp8", 8}, {"fbgemm_fp8", 8}, {"mxfp4", 4}, {"bitnet", 2}};
    const char *method = uc_json_str(q, "quant_method", "");
    const char *name;
    json_t *group;

    for (size_t i = 0; i < UC_COUNT(names); i++)
        if (json_is_number(json_object_get(q, names[i])))
            return (int)ceil(uc_json_num(q, names[i], 0));
    if (uc_json_bool(q, "load_in_4bit", false) || uc_json_bool(q, "_load_in_4bit", false))
        return 4;
    if (uc_json_bool(q, "load_in_8bit", false) || uc_json_bool(q, "_load_in_8bit", false))
        return 8;
    json_object_foreach(json_object_get(q, "config_groups"), name, group)
    {
        int64_t bits = uc_json_int(json_object_get(group, "weights"), "num_bits", 0);
        if (bits > 0)
            return (int)bits;
    }
    for (size_t i = 0; i < UC_COUNT(fixed); i++)
        if (strcmp(method, fixed[i].method) == 0)
            return fixed[i].bits;
    return 0;
}

static int refuse_quantized(const json_t *config, bool coded_ok, struct uc_err *err)
{
    static const char *const fields[] = {"quantization_config", "compression_config",
                                         "quantization"};
    char bits[32] = "";

    for (size_t i = 0; i < UC_COUNT(fields); i++) {
        const json_t *q = json_object_get(config, fields[i]);
        if (!json_is_object(q))
            continue;
        const char *method = uc_json_str(q, "quant_method", NULL);
        if (!method)
            method = strcmp(fields[i], "quantization") == 0 ? "mlx" : "an unnamed method";
        if (strcmp(method, OWN_METHOD) == 0 && coded_ok)
            continue;
        int n = stated_bits(q);
        if (n)
            snprintf(bits, sizeof(bits), " at %d bits", n);
        uc_fail(err, UC_EREFUSED,
                "already quantized with %s%s (%s in config.json): what that rounding lost cannot "
                "be won back, and a second one adds to it",
                method, bits, fields[i]);
        return uc_fix(err, "start from the unquantized base model%s%s",
                      uc_json_str(config, "_name_or_path", NULL) ? " of " : "",
                      uc_json_str(config, "_name_or_path", ""));
    }
    return 0;
}

int uc_config_refuse(const json_t *config, bool coded_ok, struct uc_err *err)
{
    const char *model_type;
    int rc;

    if (!json_is_object(config))
        return uc_fail(err, UC_EREFUSED, "not a JSON object");
    model_type = uc_json_str(config, "model_type", "");
    if (!*model_type)
        return refuse_untyped(config, err);
    rc = refuse_class(config, model_type, err);
    if (rc == 0)
        rc = refuse_quantized(config, coded_ok, err);
    if (rc == 0)
        rc = refuse_head(config, err);
    return rc;
}
