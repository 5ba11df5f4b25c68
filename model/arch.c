#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/config.h"

#define MAX_LAYERS    4096u /* no model has them: a config that says more is damaged */
#define MAX_POSITIONS 2048  /* where config.json does not say */

/* ---- blocks ---- */

static uint8_t add_slot(struct uc_block *b, uint32_t width)
{
    b->width[b->n_slots] = width;
    return (uint8_t)b->n_slots++;
}

static int add_tap(struct uc_block *b, const char *name, uint8_t slot)
{
    b->taps[b->n_taps] = (struct uc_tap){name, slot, b->width[slot]};
    return (int)b->n_taps++;
}

static uint8_t add_role(struct uc_block *b, const char *name, uint32_t rows, uint32_t cols, int tap)
{
    b->roles[b->n_roles] = (struct uc_role){name, rows, cols, tap};
    return (uint8_t)b->n_roles++;
}

static uint8_t add_norm(struct uc_block *b, const char *role, uint8_t in)
{
    uint8_t out = add_slot(b, b->width[in]);
    uint8_t r = add_role(b, role, b->width[in], 0, UC_NO_TAP);

    b->ops[b->n_ops++] = (struct uc_bop){.kind = UC_BOP_NORM, .in = {in}, .out = out, .role = r};
    return out;
}

static uint8_t add_linear(struct uc_block *b, const char *role, int tap, uint32_t rows)
{
    uint8_t in = b->taps[tap].slot, out = add_slot(b, rows);
    uint8_t r = add_role(b, role, rows, b->width[in], tap);

    b->ops[b->n_ops++] = (struct uc_bop){.kind = UC_BOP_LINEAR, .in = {in}, .out = out, .role = r};
    return out;
}

static void add_rotary(struct uc_block *b, uint8_t slot, uint32_t n_head)
{
    b->ops[b->n_ops++] =
        (struct uc_bop){.kind = UC_BOP_ROTARY, .in = {slot}, .out = slot, .n_head = n_head};
}

static uint8_t add_op(struct uc_block *b, enum uc_bop_kind kind, uint8_t in0, uint8_t in1,
                      uint8_t in2, uint32_t width)
{
    uint8_t out = add_slot(b, width);

    b->ops[b->n_ops++] = (struct uc_bop){.kind = kind, .in = {in0, in1, in2}, .out = out};
    return out;
}

/* x + o(attention(norm x)), then x + down(silu(gate(norm x)) * up(norm x)): Touvron et al. 2023. */
static void build_prenorm_gated(struct uc_block *b)
{
    uint32_t wide = b->n_head * b->head_dim, narrow = b->n_kv * b->head_dim;
    uint8_t x = add_slot(b, b->hidden);
    int t = add_tap(b, "attn_in", add_norm(b, "attn_norm", x));
    uint8_t q = add_linear(b, "q", t, wide);
    uint8_t k = add_linear(b, "k", t, narrow);
    uint8_t v = add_linear(b, "v", t, narrow);

    add_rotary(b, q, b->n_head);
    add_rotary(b, k, b->n_kv);
    t = add_tap(b, "attn_out", add_op(b, UC_BOP_ATTENTION, q, k, v, wide));
    uint8_t o = add_linear(b, "o", t, b->hidden);
    uint8_t x2 = add_op(b, UC_BOP_RESIDUAL, x, o, 0, b->hidden);
    t = add_tap(b, "mlp_in", add_norm(b, "mlp_norm", x2));
    uint8_t gate = add_linear(b, "gate", t, b->intermediate);
    uint8_t up = add_linear(b, "up", t, b->intermediate);
    t = add_tap(b, "mlp_mid", add_op(b, UC_BOP_GATE, gate, up, 0, b->intermediate));
    uint8_t down = add_linear(b, "down", t, b->hidden);
    b->out = add_op(b, UC_BOP_RESIDUAL, x2, down, 0, b->hidden);
}

static const struct uc_block_kind {
    const char *name;
    void (*build)(struct uc_block *b);
} block_kinds[] = {
    {"prenorm-gated", build_prenorm_gated},
};

static int check_block(const struct uc_block *b, struct uc_err *err)
{
    if ((uint64_t)b->n_head * b->head_dim > 1u << 30)
        return uc_fail(err, UC_EREFUSED, "%u attention heads of %u are too wide", b->n_head,
                       b->head_dim);
    if (b->n_head % b->n_kv)
        return uc_fail(err, UC_EREFUSED, "%u attention heads cannot share %u key/value heads",
                       b->n_head, b->n_kv);
    if (b->head_dim % 2)
        return uc_fail(err, UC_EREFUSED, "rotary positions need an even head_dim, this is %u",
                       b->head_dim);
    if (!(b->rms_eps >= 0) || !(b->rope.theta > 0) || !isfinite(b->rope.theta))
        return uc_fail(err, UC_EREFUSED, "rms_norm_eps %g or rope_theta %g is out of range",
                       b->rms_eps, b->rope.theta);
    return 0;
}

static int build_block(struct uc_block *b, const char *kind, struct uc_err *err)
{
    int rc = check_block(b, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < UC_COUNT(block_kinds); i++) {
        if (strcmp(kind, block_kinds[i].name) == 0) {
            b->kind = block_kinds[i].name;
            block_kinds[i].build(b);
            return 0;
        }
    }
    return uc_fail(err, UC_EUSAGE, "unknown kind of block '%s'", kind);
}

int uc_block_role(const struct uc_block *b, const char *name)
{
    for (size_t i = 0; i < b->n_roles; i++)
        if (strcmp(b->roles[i].name, name) == 0)
            return (int)i;
    return -1;
}

int uc_block_tap(const struct uc_block *b, const char *name)
{
    for (size_t i = 0; i < b->n_taps; i++)
        if (strcmp(b->taps[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- families ---- */

struct uc_family {
    const char *model_type;
    int (*read)(const json_t *config, struct uc_arch *a, struct uc_err *err);
    const char *embed, *final_norm, *head;
    const char *layer; /* prefix of a layer's tensors, %d its number */
    struct {
        const char *role, *suffix;
    } names[UC_MAX_ROLES];
    const char *ignored[4]; /* patterns of tensors that nothing reads */
};

static int refuse_bias(const json_t *config, const char *field, struct uc_err *err)
{
    if (!uc_json_bool(config, field, false))
        return 0;
    uc_fail(err, UC_EREFUSED, "%s is true: linear layers with a bias are not supported yet", field);
    return uc_fix(err, "use a checkpoint of the same family without biases");
}

/* Llama 1 to 3.x, TinyLlama, SmolLM2 and everything else that says model_type llama. */
static int read_llama(const json_t *config, struct uc_arch *a, struct uc_err *err)
{
    struct uc_block *b = &a->block;
    const char *act = uc_json_str(config, "hidden_act", "silu");
    int rc;

    if ((rc = refuse_bias(config, "attention_bias", err)) < 0 ||
        (rc = refuse_bias(config, "mlp_bias", err)) < 0)
        return rc;
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return uc_fail(err, UC_EREFUSED,
                       "hidden_act '%s' is not supported (a llama block uses silu)", act);
    if ((rc = uc_config_u32(config, "vocab_size", 0, &a->vocab, err)) < 0 ||
        (rc = uc_config_u32(config, "hidden_size", 0, &b->hidden, err)) < 0 ||
        (rc = uc_config_u32(config, "num_hidden_layers", 0, &a->n_layers, err)) < 0 ||
        (rc = uc_config_u32(config, "intermediate_size", 0, &b->intermediate, err)) < 0 ||
        (rc = uc_config_u32(config, "num_attention_heads", 0, &b->n_head, err)) < 0 ||
        (rc = uc_config_u32(config, "num_key_value_heads", b->n_head, &b->n_kv, err)) < 0)
        return rc;
    if (!uc_config_has(config, "head_dim") && b->hidden % b->n_head)
        return uc_fail(err, UC_EREFUSED, "hidden_size %u is not a multiple of %u heads", b->hidden,
                       b->n_head);
    if ((rc = uc_config_u32(config, "head_dim", b->hidden / b->n_head, &b->head_dim, err)) < 0 ||
        (rc = uc_config_rope(config, &b->rope, err)) < 0)
        return rc;
    b->rms_eps = uc_json_num(config, "rms_norm_eps", 1e-6);
    if (a->n_layers > MAX_LAYERS)
        return uc_fail(err, UC_EREFUSED, "num_hidden_layers %u is above %u", a->n_layers,
                       MAX_LAYERS);
    if ((rc = uc_config_u32(config, "max_position_embeddings", MAX_POSITIONS, &a->max_positions,
                            err)) < 0)
        return rc;
    a->tied_stated = uc_config_has(config, "tie_word_embeddings");
    a->tied = uc_json_bool(config, "tie_word_embeddings", false);
    return build_block(b, "prenorm-gated", err);
}

static const struct uc_family families[] = {
    {
        .model_type = "llama",
        .read = read_llama,
        .embed = "model.embed_tokens.weight",
        .final_norm = "model.norm.weight",
        .head = "lm_head.weight",
        .layer = "model.layers.%d.",
        .names =
            {
                {"attn_norm", "input_layernorm.weight"},
                {"q", "self_attn.q_proj.weight"},
                {"k", "self_attn.k_proj.weight"},
                {"v", "self_attn.v_proj.weight"},
                {"o", "self_attn.o_proj.weight"},
                {"mlp_norm", "post_attention_layernorm.weight"},
                {"gate", "mlp.gate_proj.weight"},
                {"up", "mlp.up_proj.weight"},
                {"down", "mlp.down_proj.weight"},
            },
        .ignored = {"*.rotary_emb.inv_freq"},
    },
};

static const struct uc_family *find_family(const char *model_type)
{
    for (size_t i = 0; i < UC_COUNT(families); i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

static int unknown_family(const char *model_type, struct uc_err *err)
{
    const char *names[UC_COUNT(families)], *near;
    char list[200] = "";

    for (size_t i = 0; i < UC_COUNT(families); i++) {
        size_t used = strlen(list);

        names[i] = families[i].model_type;
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
    }
    near = uc_str_nearest(model_type, names, UC_COUNT(names));
    uc_fail(err, UC_EREFUSED, "model_type '%s' is not a supported architecture%s%s%s", model_type,
            near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return uc_fix(err, "supported: %s", list);
}

static int from_config(const json_t *config, bool coded_ok, struct uc_arch **out,
                       struct uc_err *err)
{
    struct uc_arch *a;
    int rc = uc_config_refuse(config, coded_ok, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    const char *model_type = uc_json_str(config, "model_type", "");
    const struct uc_family *f = find_family(model_type);
    if (!f)
        return unknown_family(model_type, err);
    a = uc_xcalloc(1, sizeof(*a));
    a->family = f;
    a->model_type = f->model_type;
    rc = f->read(config, a, err);
    if (rc < 0) {
        uc_arch_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

int uc_arch_from_config(const json_t *config, struct uc_arch **out, struct uc_err *err)
{
    return from_config(config, false, out, err);
}

int uc_arch_from_config_any(const json_t *config, struct uc_arch **out, struct uc_err *err)
{
    return from_config(config, true, out, err);
}

void uc_arch_free(struct uc_arch *a)
{
    free(a);
}

void uc_arch_settle(struct uc_arch *a, bool has_head)
{
    if (!a->tied_stated)
        a->tied = !has_head;
}

/* ---- names ---- */

const char *uc_arch_head_name(const struct uc_arch *a)
{
    return a->family->head;
}

const char *uc_arch_tensor_name(const struct uc_arch *a, int layer, const char *role, char *buf,
                                size_t n)
{
    const struct uc_family *f = a->family;

    if (layer == UC_NO_LAYER) {
        const char *name = strcmp(role, "embed") == 0        ? f->embed
                           : strcmp(role, "final_norm") == 0 ? f->final_norm
                           : strcmp(role, "head") == 0       ? (a->tied ? f->embed : f->head)
                                                             : NULL;
        if (name)
            snprintf(buf, n, "%s", name);
        return name ? buf : NULL;
    }
    for (size_t i = 0; i < UC_MAX_ROLES && f->names[i].role; i++) {
        if (strcmp(f->names[i].role, role) != 0)
            continue;
        char prefix[64];
        const char *mark = strstr(f->layer, "%d");
        snprintf(prefix, sizeof(prefix), "%.*s%d%s", (int)(mark - f->layer), f->layer, layer,
                 mark + 2);
        snprintf(buf, n, "%s%s", prefix, f->names[i].suffix);
        return buf;
    }
    return NULL;
}

bool uc_arch_ignores(const struct uc_arch *a, const char *tensor)
{
    if (a->tied && strcmp(tensor, a->family->head) == 0)
        return true;
    for (size_t i = 0; i < UC_COUNT(a->family->ignored) && a->family->ignored[i]; i++)
        if (uc_str_match(a->family->ignored[i], tensor))
            return true;
    return false;
}

/* ---- description ---- */

static void set_rope(json_t *arch, const struct uc_rope_params *r)
{
    json_object_set_new(arch, "rope_theta", json_real(r->theta));
    if (r->type != UC_ROPE_LLAMA3)
        return;
    json_object_set_new(arch, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:i}", "type", "llama3", "factor",
                                  r->factor, "low_freq_factor", r->low_freq_factor,
                                  "high_freq_factor", r->high_freq_factor,
                                  "original_max_position_embeddings", (int)r->original_positions));
}

json_t *uc_arch_config_digest_params(const struct uc_arch *a)
{
    const struct uc_block *b = &a->block;
    json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:f}", "block", b->kind, "act",
                          "silu", "hidden", (int)b->hidden, "intermediate", (int)b->intermediate,
                          "n_head", (int)b->n_head, "n_kv", (int)b->n_kv, "head_dim",
                          (int)b->head_dim, "rms_eps", b->rms_eps);

    set_rope(o, &b->rope);
    return o;
}

static json_t *describe_layer(const struct uc_arch *a, int layer)
{
    const struct uc_block *b = &a->block;
    json_t *tensors = json_object(), *inputs = json_object();
    char name[128];

    for (size_t i = 0; i < b->n_taps; i++)
        json_object_set_new(inputs, b->taps[i].name, json_array());
    for (size_t i = 0; i < b->n_roles; i++) {
        const struct uc_role *r = &b->roles[i];

        uc_arch_tensor_name(a, layer, r->name, name, sizeof(name));
        json_object_set_new(tensors, r->name, json_string(name));
        if (r->tap != UC_NO_TAP)
            json_array_append_new(json_object_get(inputs, b->taps[r->tap].name),
                                  json_string(r->name));
    }
    return json_pack("{s:o, s:o}", "tensors", tensors, "inputs", inputs);
}

json_t *uc_arch_describe(const struct uc_arch *a)
{
    const struct uc_family *f = a->family;
    json_t *layers = json_array();
    json_int_t activations = 0;

    for (uint32_t i = 0; i < a->n_layers; i++)
        json_array_append_new(layers, describe_layer(a, (int)i));
    for (size_t i = 0; i < a->block.n_slots; i++)
        activations += a->block.width[i];
    return json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:I, s:b, s:o, s:s, s:s, s:o, s:o}", "model_type", f->model_type,
        "vocab", (int)a->vocab, "hidden", (int)a->block.hidden, "n_layers", (int)a->n_layers,
        "max_positions", (int)a->max_positions, "activations", activations, "tied", (int)a->tied,
        "arch", uc_arch_config_digest_params(a), "embed", f->embed, "final_norm", f->final_norm,
        "head", a->tied ? json_null() : json_string(f->head), "layers", layers);
}

int uc_block_from_params(const json_t *arch, struct uc_block *b, struct uc_err *err)
{
    const json_t *scaling = json_object_get(arch, "rope_scaling");
    const struct {
        const char *name;
        uint32_t *to;
    } sizes[] = {{"hidden", &b->hidden},
                 {"intermediate", &b->intermediate},
                 {"n_head", &b->n_head},
                 {"n_kv", &b->n_kv},
                 {"head_dim", &b->head_dim}};
    int rc;

    memset(b, 0, sizeof(*b));
    if (!json_is_object(arch))
        return uc_fail(err, UC_EUSAGE, "the action has no parameter 'arch'");
    for (size_t i = 0; i < UC_COUNT(sizes); i++) {
        rc = uc_config_u32(arch, sizes[i].name, 0, sizes[i].to, err);
        if (rc < 0)
            return uc_within(err, "arch");
    }
    if (strcmp(uc_json_str(arch, "act", ""), "silu") != 0)
        return uc_fail(err, UC_EUSAGE, "arch: act must be silu");
    b->rms_eps = uc_json_num(arch, "rms_eps", -1);
    b->rope.theta = uc_json_num(arch, "rope_theta", 0);
    if (scaling) {
        rc = uc_config_rope_scaling(scaling, &b->rope, err);
        if (rc < 0)
            return uc_within(err, "arch");
    }
    return build_block(b, uc_json_str(arch, "block", ""), err);
}
