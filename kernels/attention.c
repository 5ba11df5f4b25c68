#include "kernels/attention_impl.h"
#include "kernels/block.h"

UC_KERN(uc_attn_fn, uc_attn_fwd)
UC_KERN(uc_attn_fn, uc_attn_bwd_q)
UC_KERN(uc_attn_fn, uc_attn_bwd_kv)

/* The largest user is the backward pass: two transposed and two plain packed operands, two rows of
 * scores a tile row, two vectors a column. 32 columns more for a first column that is rounded down.
 */
size_t uc_attention_scratch(size_t n_tok, size_t head_dim)
{
    size_t cols = attn_pad(n_tok) + 32, d = attn_pad(head_dim);

    return cols * (4 * d + 2 * ATTN_TILE_MAX + 2) + 2 * ATTN_TILE_MAX * d + 16;
}

struct attn_job {
    struct attn a;
    uc_attn_fn *fn;
    float *scratch;
    size_t scratch_len, n_blocks;
};

static void attn_item(void *arg, size_t item, int thread)
{
    const struct attn_job *j = arg;
    size_t block = item / j->a.n_kv;

    /* The longest items first: late queries see the most keys, early keys the most queries. */
    if (!j->a.dk)
        block = j->n_blocks - 1 - block;
    j->fn(&j->a, item % j->a.n_kv, block * j->a.rows, j->scratch + (size_t)thread * j->scratch_len);
}

/* An item packs its columns once for all its rows and heads: with few query heads a kv head it
 * takes more rows, as long as every thread still gets items. Does not show in the bits. */
static size_t rows_per_item(const struct attn *a, size_t n_threads)
{
    size_t group = a->n_head / a->n_kv, rows = group < 3 ? (4 - group) * ATTN_ROWS : ATTN_ROWS;

    while (rows > ATTN_ROWS && (a->n_tok / rows) * a->n_kv < 4 * n_threads)
        rows -= ATTN_ROWS;
    return rows;
}

static void attn_run(const struct attn *a, uc_attn_fn *fn, float *scratch, struct uc_pool *pool)
{
    struct attn_job j = {.a = *a, .fn = fn, .scratch = scratch};

    j.scratch_len = uc_attention_scratch(a->n_tok, a->head_dim);
    j.a.rows = rows_per_item(a, (size_t)uc_pool_threads(pool));
    j.n_blocks = (a->n_tok + j.a.rows - 1) / j.a.rows;
    uc_pool_run(pool, j.n_blocks * a->n_kv, attn_item, &j);
}

void uc_attention(float *y, float *lse, const float *q, const float *k, const float *v,
                  size_t n_tok, size_t n_head, size_t n_kv, size_t head_dim, float scale,
                  size_t window, float *scratch, struct uc_pool *pool)
{
    struct attn a = {.q = q,
                     .k = k,
                     .v = v,
                     .out = y,
                     .lse = lse,
                     .n_tok = n_tok,
                     .n_head = n_head,
                     .n_kv = n_kv,
                     .head_dim = head_dim,
                     .window = window && window < n_tok ? window : n_tok,
                     .scale = scale};

    attn_run(&a, uc_attn_fwd_pick(), scratch, pool);
}

void uc_attention_bwd(float *dq, float *dk, float *dv, const float *dy, const float *y,
                      const float *lse, const float *q, const float *k, const float *v,
                      size_t n_tok, size_t n_head, size_t n_kv, size_t head_dim, float scale,
                      size_t window, float *scratch, struct uc_pool *pool)
{
    struct attn a = {.q = q,
                     .k = k,
                     .v = v,
                     .y = y,
                     .dy = dy,
                     .lse_in = lse,
                     .dq = dq,
                     .n_tok = n_tok,
                     .n_head = n_head,
                     .n_kv = n_kv,
                     .head_dim = head_dim,
                     .window = window && window < n_tok ? window : n_tok,
                     .scale = scale};

    attn_run(&a, uc_attn_bwd_q_pick(), scratch, pool);
    a.dk = dk;
    a.dv = dv;
    attn_run(&a, uc_attn_bwd_kv_pick(), scratch, pool);
}
