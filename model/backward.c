#include "model/backward.h"

#include <math.h>
#include <string.h>

#include "kernels/block.h"
#include "kernels/gemm.h"

struct pass {
    struct uc_block_run *r;
    bool set[UC_MAX_SLOTS]; /* the slot's gradient holds a contribution */
    uc_linear_grad_fn *visit;
    void *arg;
};

static size_t slot_len(const struct pass *p, uint8_t slot)
{
    return p->r->n_tok * p->r->block.width[slot];
}

/* Where an operation writes its contribution to a slot: the gradient itself when it is the first,
 * else a buffer that add_part adds. */
static float *part_of(struct pass *p, uint8_t slot)
{
    return p->set[slot] ? p->r->tmp : p->r->grad[slot];
}

static void add_part(struct pass *p, uint8_t slot)
{
    if (p->set[slot])
        uc_add(p->r->grad[slot], p->r->tmp, slot_len(p, slot));
    p->set[slot] = true;
}

static void back_norm(struct pass *p, size_t op)
{
    struct uc_block_run *r = p->r;
    const struct uc_bop *o = &r->block.ops[op];
    uint8_t in = o->in[0];

    if (!p->set[in])
        memset(r->grad[in], 0, slot_len(p, in) * sizeof(float));
    p->set[in] = true;
    uc_rmsnorm_bwd(r->grad[in], r->grad[o->out], r->slot[in], r->w[o->role], r->r[op], r->n_tok,
                   r->block.width[in], r->pool);
}

static void back_linear(struct pass *p, const struct uc_bop *o)
{
    struct uc_block_run *r = p->r;
    const struct uc_role *role = &r->block.roles[o->role];
    uint8_t in = o->in[0];

    if (p->visit)
        p->visit(p->arg, o->role, r->grad[o->out], r->n_tok);
    uc_gemm(part_of(p, in), role->cols, r->grad[o->out], role->rows, r->wt[o->role], r->n_tok,
            role->cols, role->rows, r->pool);
    add_part(p, in);
}

/* q, k and v have no other reader (the rotary operations turn them in place), so their gradients
 * are overwritten. */
static void back_attention(struct pass *p, size_t op)
{
    struct uc_block_run *r = p->r;
    const struct uc_block *b = &r->block;
    const struct uc_bop *o = &b->ops[op];
    size_t wide = (size_t)b->n_head * b->head_dim, narrow = (size_t)b->n_kv * b->head_dim;
    float scale = 1.0f / sqrtf((float)b->head_dim);

    for (size_t t = 0; t < r->n_tok; t += r->seqlen) {
        size_t n = r->n_tok - t < r->seqlen ? r->n_tok - t : r->seqlen;

        uc_attention_bwd(r->grad[o->in[0]] + t * wide, r->grad[o->in[1]] + t * narrow,
                         r->grad[o->in[2]] + t * narrow, r->grad[o->out] + t * wide,
                         r->slot[o->out] + t * wide, r->lse[op] + t * b->n_head,
                         r->slot[o->in[0]] + t * wide, r->slot[o->in[1]] + t * narrow,
                         r->slot[o->in[2]] + t * narrow, n, b->n_head, b->n_kv, b->head_dim, scale,
                         0, r->scratch, r->pool);
    }
    for (int i = 0; i < 3; i++)
        p->set[o->in[i]] = true;
}

static void back_gate(struct pass *p, const struct uc_bop *o)
{
    struct uc_block_run *r = p->r;

    uc_silu_mul_bwd(r->grad[o->in[0]], r->grad[o->in[1]], r->grad[o->out], r->slot[o->in[0]],
                    r->slot[o->in[1]], slot_len(p, o->out), r->pool);
    p->set[o->in[0]] = p->set[o->in[1]] = true;
}

static void back_residual(struct pass *p, const struct uc_bop *o)
{
    struct uc_block_run *r = p->r;

    for (int i = 0; i < 2; i++) {
        uint8_t in = o->in[i];

        if (p->set[in])
            uc_add(r->grad[in], r->grad[o->out], slot_len(p, in));
        else
            memcpy(r->grad[in], r->grad[o->out], slot_len(p, in) * sizeof(float));
        p->set[in] = true;
    }
}

static void back_op(struct pass *p, size_t op)
{
    struct uc_block_run *r = p->r;
    const struct uc_bop *o = &r->block.ops[op];

    switch (o->kind) {
    case UC_BOP_NORM:
        back_norm(p, op);
        break;
    case UC_BOP_LINEAR:
        back_linear(p, o);
        break;
    case UC_BOP_ROTARY:
        uc_rope(r->grad[o->out], r->cos, r->sin, r->pos, r->n_tok, o->n_head, r->block.head_dim, 1,
                r->pool);
        break;
    case UC_BOP_ATTENTION:
        back_attention(p, op);
        break;
    case UC_BOP_GATE:
        back_gate(p, o);
        break;
    case UC_BOP_RESIDUAL:
        back_residual(p, o);
        break;
    }
}

const float *uc_block_backward(struct uc_block_run *r, const float *dy, uc_linear_grad_fn *visit,
                               void *arg)
{
    struct pass p = {.r = r, .visit = visit, .arg = arg};
    uint8_t out = r->block.out;

    memcpy(r->grad[out], dy, r->n_tok * r->block.hidden * sizeof(float));
    p.set[out] = true;
    for (size_t i = r->block.n_ops; i-- > 0;)
        back_op(&p, i);
    return r->grad[0];
}
