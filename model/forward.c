#include "model/forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/block.h"
#include "kernels/convert.h"
#include "kernels/fmath.h"
#include "kernels/gemm.h"

#define BATCH_TOKENS 2048

size_t uc_batch_tokens(size_t seqlen)
{
    size_t windows = BATCH_TOKENS / seqlen;

    return seqlen * (windows ? windows : 1);
}

/* ---- rotary tables ---- */

static const double two_pi = 6.283185307179586;

/* Dubey et al. 2024, "The Llama 3 herd of models": slow turns are stretched, fast ones kept. */
static double llama3_frequency(const struct uc_rope_params *rope, double f)
{
    double wave = two_pi / f, original = rope->original_positions;

    if (wave < original / rope->high_freq_factor)
        return f;
    if (wave > original / rope->low_freq_factor)
        return f / rope->factor;
    double smooth = (original / wave - rope->low_freq_factor) /
                    (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * f / rope->factor + smooth * f;
}

void uc_rope_tables(const struct uc_rope_params *rope, float *cos_t, float *sin_t, size_t n_pos,
                    size_t head_dim)
{
    size_t half = head_dim / 2;

    if (rope->type == UC_ROPE_DEFAULT) {
        uc_rope_table(cos_t, sin_t, n_pos, head_dim, rope->theta);
        return;
    }
    for (size_t i = 0; i < half; i++) {
        double f = uc_pow(rope->theta, -2.0 * (double)i / (double)head_dim);

        f = llama3_frequency(rope, f);
        for (size_t t = 0; t < n_pos; t++) {
            double s, c;

            uc_sincos((double)t * f, &s, &c);
            sin_t[t * half + i] = (float)s;
            cos_t[t * half + i] = (float)c;
        }
    }
}

/* ---- memory ---- */

int uc_weight_vector(const struct uc_weight *w, float *out, size_t n, struct uc_err *err)
{
    int rc = uc_weight_check_shape(w, n, 0, err);

    if (rc == 0)
        rc = uc_weight_check_finite(w, err);
    if (rc == 0)
        uc_to_f32(out, w->data, w->dtype, n);
    return rc;
}

static int pack_role(struct uc_block_run *r, size_t i, const struct uc_weight *w,
                     struct uc_err *err)
{
    const struct uc_role *role = &r->block.roles[i];
    size_t n = role->rows, k = role->cols;
    int rc;

    if (!k) {
        rc = uc_alloc(&r->w[i], n, sizeof(float), "a norm", err);
        return rc < 0 ? rc : uc_weight_vector(w, r->w[i], n, err);
    }
    rc = uc_alloc(&r->w[i], uc_gemm_packed_len(n, k), sizeof(float), "packed weights", err);
    if (rc < 0)
        return rc;
    uc_gemm_pack(r->w[i], w->data, w->dtype, n, k, k, false);
    if (!r->backward)
        return 0;
    rc = uc_alloc(&r->wt[i], uc_gemm_packed_len(k, n), sizeof(float), "packed weights", err);
    if (rc == 0)
        uc_gemm_pack(r->wt[i], w->data, w->dtype, k, n, k, true);
    return rc;
}

static int alloc_slots(struct uc_block_run *r, struct uc_err *err)
{
    const struct uc_block *b = &r->block;
    size_t widest = 0;
    int rc = 0;

    for (size_t i = 0; i < b->n_slots && rc == 0; i++) {
        rc = uc_alloc(&r->slot[i], r->batch * b->width[i], sizeof(float), "activations", err);
        if (rc == 0 && r->backward)
            rc = uc_alloc(&r->grad[i], r->batch * b->width[i], sizeof(float), "gradients", err);
        if (b->width[i] > widest)
            widest = b->width[i];
    }
    for (size_t i = 0; i < b->n_ops && rc == 0 && r->backward; i++) {
        if (b->ops[i].kind == UC_BOP_NORM)
            rc = uc_alloc(&r->r[i], r->batch, sizeof(float), "activations", err);
        else if (b->ops[i].kind == UC_BOP_ATTENTION)
            rc = uc_alloc(&r->lse[i], r->batch * b->n_head, sizeof(float), "activations", err);
    }
    if (rc == 0 && r->backward)
        rc = uc_alloc(&r->tmp, r->batch * widest, sizeof(float), "gradients", err);
    return rc;
}

static int alloc_positions(struct uc_block_run *r, struct uc_err *err)
{
    const struct uc_block *b = &r->block;
    size_t half = b->head_dim / 2, threads = (size_t)uc_pool_threads(r->pool);
    int rc;

    if ((rc = uc_alloc(&r->cos, r->seqlen * half, sizeof(float), "rotary tables", err)) < 0 ||
        (rc = uc_alloc(&r->sin, r->seqlen * half, sizeof(float), "rotary tables", err)) < 0 ||
        (rc = uc_alloc(&r->pos, r->batch, sizeof(uint32_t), "positions", err)) < 0 ||
        (rc = uc_alloc(&r->scratch, uc_attention_scratch(r->seqlen, b->head_dim) * threads,
                       sizeof(float), "attention", err)) < 0)
        return rc;
    uc_rope_tables(&b->rope, r->cos, r->sin, r->seqlen, b->head_dim);
    for (size_t t = 0; t < r->batch; t++)
        r->pos[t] = (uint32_t)(t % r->seqlen);
    return 0;
}

int uc_block_run_new(struct uc_block_run **out, const struct uc_block *b, const struct uc_weight *w,
                     size_t seqlen, bool backward, struct uc_pool *pool, struct uc_err *err)
{
    struct uc_block_run *r = uc_xcalloc(1, sizeof(*r));
    int rc;

    *out = NULL;
    r->block = *b;
    r->seqlen = seqlen;
    r->batch = uc_batch_tokens(seqlen);
    r->backward = backward;
    r->pool = pool;
    rc = alloc_positions(r, err);
    if (rc == 0)
        rc = alloc_slots(r, err);
    for (size_t i = 0; i < b->n_roles && rc == 0; i++) {
        rc = pack_role(r, i, &w[i], err);
        if (rc < 0)
            uc_within(err, "weight '%s'", b->roles[i].name);
    }
    if (rc < 0) {
        uc_block_run_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void uc_block_run_free(struct uc_block_run *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < UC_MAX_ROLES; i++) {
        free(r->w[i]);
        free(r->wt[i]);
    }
    for (size_t i = 0; i < UC_MAX_SLOTS; i++) {
        free(r->slot[i]);
        free(r->grad[i]);
    }
    for (size_t i = 0; i < UC_MAX_BOPS; i++) {
        free(r->r[i]);
        free(r->lse[i]);
    }
    free(r->tmp);
    free(r->cos);
    free(r->sin);
    free(r->pos);
    free(r->scratch);
    free(r);
}

/* ---- forward ---- */

static void run_attention(struct uc_block_run *r, size_t op)
{
    const struct uc_block *b = &r->block;
    const struct uc_bop *o = &b->ops[op];
    size_t wide = (size_t)b->n_head * b->head_dim, narrow = (size_t)b->n_kv * b->head_dim;
    float scale = 1.0f / sqrtf((float)b->head_dim);

    for (size_t t = 0; t < r->n_tok; t += r->seqlen) {
        size_t n = r->n_tok - t < r->seqlen ? r->n_tok - t : r->seqlen;

        uc_attention(r->slot[o->out] + t * wide, r->lse[op] ? r->lse[op] + t * b->n_head : NULL,
                     r->slot[o->in[0]] + t * wide, r->slot[o->in[1]] + t * narrow,
                     r->slot[o->in[2]] + t * narrow, n, b->n_head, b->n_kv, b->head_dim, scale, 0,
                     r->scratch, r->pool);
    }
}

static void run_op(struct uc_block_run *r, size_t op)
{
    const struct uc_block *b = &r->block;
    const struct uc_bop *o = &b->ops[op];
    const struct uc_role *role = &b->roles[o->role];
    float *out = r->slot[o->out];
    const float *in = r->slot[o->in[0]];
    size_t width = b->width[o->out];

    switch (o->kind) {
    case UC_BOP_NORM:
        uc_rmsnorm(out, r->r[op], in, r->w[o->role], r->n_tok, width, (float)b->rms_eps, r->pool);
        break;
    case UC_BOP_LINEAR:
        uc_gemm(out, width, in, role->cols, r->w[o->role], r->n_tok, role->rows, role->cols,
                r->pool);
        break;
    case UC_BOP_ROTARY:
        uc_rope(out, r->cos, r->sin, r->pos, r->n_tok, o->n_head, b->head_dim, 0, r->pool);
        break;
    case UC_BOP_ATTENTION:
        run_attention(r, op);
        break;
    case UC_BOP_GATE:
        uc_silu_mul(out, in, r->slot[o->in[1]], r->n_tok * width, r->pool);
        break;
    case UC_BOP_RESIDUAL:
        memcpy(out, in, r->n_tok * width * sizeof(float));
        uc_add(out, r->slot[o->in[1]], r->n_tok * width);
        break;
    }
}

const float *uc_block_forward(struct uc_block_run *r, const float *x, size_t n_tok)
{
    const struct uc_block *b = &r->block;

    r->n_tok = n_tok;
    memcpy(r->slot[0], x, n_tok * b->hidden * sizeof(float));
    for (size_t i = 0; i < b->n_ops; i++)
        run_op(r, i);
    return r->slot[b->out];
}

void uc_block_recompute(struct uc_block_run *r, const float *x, size_t n_tok)
{
    const struct uc_block *b = &r->block;
    bool needed[UC_MAX_SLOTS] = {false};

    /* A sum's gradient does not depend on its terms; everything else's does. */
    for (size_t i = b->n_ops; i-- > 0;)
        if (b->ops[i].kind != UC_BOP_RESIDUAL || needed[b->ops[i].out])
            for (int k = 0; k < 3; k++)
                needed[b->ops[i].in[k]] = true;
    r->n_tok = n_tok;
    memcpy(r->slot[0], x, n_tok * b->hidden * sizeof(float));
    for (size_t i = 0; i < b->n_ops; i++)
        if (needed[b->ops[i].out])
            run_op(r, i);
}

const float *uc_block_tap_data(const struct uc_block_run *r, size_t tap)
{
    return r->slot[r->block.taps[tap].slot];
}

void uc_final_norm(float *y, float *r, const float *x, const float *w, size_t n_tok,
                   const struct uc_block *b, struct uc_pool *pool)
{
    uc_rmsnorm(y, r, x, w, n_tok, b->hidden, (float)b->rms_eps, pool);
}
