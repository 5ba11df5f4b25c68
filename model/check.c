/* Do a checkpoint's tensors fit its config.json? Headers only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/dtype.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/arch.h"

#define MAX_LISTED 5

struct problems {
    struct uc_buf list;
    size_t n;
    const struct uc_arch *arch;
    const struct uc_st_set *set;
};

static void add_problem(struct problems *p, const char *tensor, const char *what)
{
    if (p->n++ < MAX_LISTED)
        uc_buf_addf(&p->list, "%s%s %s", p->n > 1 ? "; " : "", tensor, what);
}

static void shape_text(char *out, size_t n, const uint64_t *shape, int n_dim)
{
    size_t used = 0;

    out[0] = 0;
    for (int i = 0; i < n_dim && used < n; i++)
        used += (size_t)snprintf(out + used, n - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
}

static void check_one(struct problems *p, const char *name, uint64_t rows, uint64_t cols)
{
    const struct uc_st_entry *e = uc_st_set_find(p->set, name);
    uint64_t want[2] = {rows, cols};
    int n_dim = cols ? 2 : 1;
    char have_text[100], want_text[60], what[240];

    if (!e) {
        add_problem(p, name, "is missing");
        return;
    }
    const struct uc_tensor_info *t = e->info;
    if (t->n_dim != n_dim || memcmp(t->shape, want, sizeof(*want) * (size_t)n_dim) != 0) {
        shape_text(have_text, sizeof(have_text), t->shape, t->n_dim);
        shape_text(want_text, sizeof(want_text), want, n_dim);
        snprintf(what, sizeof(what), "has shape [%s], config.json says [%s]", have_text, want_text);
        add_problem(p, name, what);
    } else if (t->dtype != UC_DTYPE_F32 && t->dtype != UC_DTYPE_F16 && t->dtype != UC_DTYPE_BF16) {
        snprintf(what, sizeof(what), "has dtype %s (F32, F16 and BF16 are read)",
                 uc_dtype_name(t->dtype));
        add_problem(p, name, what);
    }
}

static void check_expected(struct problems *p)
{
    const struct uc_arch *a = p->arch;
    char name[128];

    check_one(p, uc_arch_tensor_name(a, UC_NO_LAYER, "embed", name, sizeof(name)), a->vocab,
              a->block.hidden);
    check_one(p, uc_arch_tensor_name(a, UC_NO_LAYER, "final_norm", name, sizeof(name)),
              a->block.hidden, 0);
    if (!a->tied)
        check_one(p, uc_arch_tensor_name(a, UC_NO_LAYER, "head", name, sizeof(name)), a->vocab,
                  a->block.hidden);
    for (uint32_t l = 0; l < a->n_layers; l++) {
        for (size_t i = 0; i < a->block.n_roles; i++) {
            const struct uc_role *r = &a->block.roles[i];
            check_one(p, uc_arch_tensor_name(a, (int)l, r->name, name, sizeof(name)), r->rows,
                      r->cols);
        }
    }
}

/* Is name one of the tensors that the architecture reads? Decided by asking for the layer number
 * that the name itself holds. */
static bool expected(const struct uc_arch *a, const char *name)
{
    static const char *const global[] = {"embed", "final_norm", "head"};
    char want[128];
    const char *digit = strpbrk(name, "0123456789");
    unsigned layer = 0;

    for (size_t i = 0; i < UC_COUNT(global); i++)
        if (strcmp(uc_arch_tensor_name(a, UC_NO_LAYER, global[i], want, sizeof(want)), name) == 0)
            return true;
    if (!digit || sscanf(digit, "%9u", &layer) != 1 || layer >= a->n_layers)
        return false;
    for (size_t i = 0; i < a->block.n_roles; i++) {
        uc_arch_tensor_name(a, (int)layer, a->block.roles[i].name, want, sizeof(want));
        if (strcmp(want, name) == 0)
            return true;
    }
    return false;
}

static void check_extra(struct problems *p)
{
    for (size_t i = 0; i < p->set->n_tensors; i++) {
        const char *name = p->set->tensors[i].info->name;

        if (!expected(p->arch, name) && !uc_arch_ignores(p->arch, name))
            add_problem(p, name, "is not known to this architecture");
    }
}

/* Signs of quantized weights: suffixes that packers use, and integer or 8-bit matrices. */
static const char *quantized_sign(const struct uc_tensor_info *t)
{
    static const char *const suffixes[] = {
        ".qweight",           ".qzeros",        ".g_idx",
        ".weight_packed",     ".weight_scale",  ".weight_scale_inv",
        ".weight_zero_point", ".trellis",       ".absmax",
        ".quant_map",         ".SCB",           ".weight_format",
        ".biases.quant",      ".weight_blocks", ".codebooks"};
    static const char *const patterns[] = {"*_fake_quant*", "*activation_post_process*",
                                           "*.quant_state.*"};

    for (size_t i = 0; i < UC_COUNT(suffixes); i++)
        if (uc_str_ends(t->name, suffixes[i]))
            return suffixes[i];
    for (size_t i = 0; i < UC_COUNT(patterns); i++)
        if (uc_str_match(patterns[i], t->name))
            return patterns[i];
    if (t->n_dim >= 2 &&
        (uc_dtype_bits(t->dtype) <= 8 || t->dtype == UC_DTYPE_I32 || t->dtype == UC_DTYPE_U32 ||
         t->dtype == UC_DTYPE_I16 || t->dtype == UC_DTYPE_U16))
        return uc_dtype_name(t->dtype);
    return NULL;
}

static int refuse_quantized_tensors(const struct uc_st_set *set, struct uc_err *err)
{
    for (size_t i = 0; i < set->n_tensors; i++) {
        const char *sign = quantized_sign(set->tensors[i].info);
        if (!sign)
            continue;
        uc_fail(err, UC_EREFUSED, "tensor %s (%s) says that the model is already quantized",
                set->tensors[i].info->name, sign);
        return uc_fix(err, "start from the unquantized base model");
    }
    return 0;
}

int uc_arch_check_tensors(const struct uc_arch *a, const struct uc_st_set *set, struct uc_err *err)
{
    struct problems p = {.arch = a, .set = set};
    int rc = refuse_quantized_tensors(set, err);

    if (rc < 0)
        return rc;
    uc_buf_init(&p.list, 0);
    check_expected(&p);
    check_extra(&p);
    if (p.n) {
        rc =
            uc_fail(err, UC_EREFUSED, "%zu tensor%s do%s not fit config.json (model_type %s): %s%s",
                    p.n, p.n > 1 ? "s" : "", p.n > 1 ? "" : "es", a->model_type,
                    uc_buf_str(&p.list), p.n > MAX_LISTED ? "; ..." : "");
        uc_fix(err, "fetch the checkpoint again, or give the config.json that belongs to it");
    }
    uc_buf_release(&p.list);
    return rc;
}
