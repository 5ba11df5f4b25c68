#include "kernels/block.h"

#include "kernels/block_impl.h"
#include "kernels/fmath.h"

UC_KERN(uc_rmsnorm_fn, uc_rmsnorm_rows)
UC_KERN(uc_rmsnorm_bwd_fn, uc_rmsnorm_bwd_rows)
UC_KERN(uc_rope_fn, uc_rope_rows)
UC_KERN(uc_silu_mul_fn, uc_silu_mul_run)
UC_KERN(uc_silu_mul_bwd_fn, uc_silu_mul_bwd_run)
UC_KERN(uc_add_fn, uc_add_run)
UC_KERN(uc_squares_fn, uc_squares_run)
UC_KERN(uc_scale_rows_fn, uc_scale_rows_run)

/* One pool item: enough work to outweigh handing it out. */
enum { ROWS_PER_ITEM = 16, ELEMENTS_PER_ITEM = 1 << 14 };

static size_t items_of(size_t n, size_t per_item)
{
    return (n + per_item - 1) / per_item;
}

/* Rows or elements of item i of n. */
static size_t part(size_t i, size_t n, size_t per_item)
{
    size_t rest = n - i * per_item;

    return rest < per_item ? rest : per_item;
}

struct norm_job {
    uc_rmsnorm_fn *fwd;
    uc_rmsnorm_bwd_fn *bwd;
    float *out, *r_out;
    const float *dy, *x, *w, *r;
    size_t n_tok, n;
    float eps;
};

static void norm_item(void *arg, size_t item, int thread)
{
    const struct norm_job *j = arg;
    size_t t = item * ROWS_PER_ITEM, rows = part(item, j->n_tok, ROWS_PER_ITEM), at = t * j->n;

    if (j->fwd)
        j->fwd(j->out + at, j->r_out ? j->r_out + t : NULL, j->x + at, j->w, rows, j->n, j->eps);
    else
        j->bwd(j->out + at, j->dy + at, j->x + at, j->w, j->r + t, rows, j->n);
}

void uc_rmsnorm(float *y, float *r, const float *x, const float *w, size_t n_tok, size_t n,
                float eps, struct uc_pool *pool)
{
    struct norm_job j = {.fwd = uc_rmsnorm_rows_pick(),
                         .out = y,
                         .r_out = r,
                         .x = x,
                         .w = w,
                         .n_tok = n_tok,
                         .n = n,
                         .eps = eps};

    uc_pool_run(pool, items_of(n_tok, ROWS_PER_ITEM), norm_item, &j);
}

void uc_rmsnorm_bwd(float *dx, const float *dy, const float *x, const float *w, const float *r,
                    size_t n_tok, size_t n, struct uc_pool *pool)
{
    struct norm_job j = {.bwd = uc_rmsnorm_bwd_rows_pick(),
                         .out = dx,
                         .dy = dy,
                         .x = x,
                         .w = w,
                         .r = r,
                         .n_tok = n_tok,
                         .n = n};

    uc_pool_run(pool, items_of(n_tok, ROWS_PER_ITEM), norm_item, &j);
}

void uc_rope_table(float *cos_t, float *sin_t, size_t n_pos, size_t head_dim, double theta)
{
    size_t half = head_dim / 2;

    for (size_t i = 0; i < half; i++) {
        double step = uc_pow(theta, -2.0 * (double)i / (double)head_dim), s, c;

        for (size_t p = 0; p < n_pos; p++) {
            uc_sincos((double)p * step, &s, &c);
            cos_t[p * half + i] = (float)c;
            sin_t[p * half + i] = (float)s;
        }
    }
}

struct rope_job {
    uc_rope_fn *fn;
    float *x;
    const float *cos_t, *sin_t;
    const uint32_t *pos;
    size_t n_tok, n_head, head_dim;
    float sign;
};

static void rope_item(void *arg, size_t item, int thread)
{
    const struct rope_job *j = arg;
    size_t t = item * ROWS_PER_ITEM, rows = part(item, j->n_tok, ROWS_PER_ITEM);

    j->fn(j->x + t * j->n_head * j->head_dim, j->cos_t, j->sin_t, j->pos + t, rows, j->n_head,
          j->head_dim / 2, j->sign);
}

void uc_rope(float *x, const float *cos_t, const float *sin_t, const uint32_t *pos, size_t n_tok,
             size_t n_head, size_t head_dim, int inverse, struct uc_pool *pool)
{
    struct rope_job j = {.fn = uc_rope_rows_pick(),
                         .x = x,
                         .cos_t = cos_t,
                         .sin_t = sin_t,
                         .pos = pos,
                         .n_tok = n_tok,
                         .n_head = n_head,
                         .head_dim = head_dim,
                         .sign = inverse ? -1.0f : 1.0f};

    uc_pool_run(pool, items_of(n_tok, ROWS_PER_ITEM), rope_item, &j);
}

struct silu_job {
    uc_silu_mul_fn *fwd;
    uc_silu_mul_bwd_fn *bwd;
    float *y, *dg, *du;
    const float *dy, *g, *u;
    size_t n;
};

static void silu_item(void *arg, size_t item, int thread)
{
    const struct silu_job *j = arg;
    size_t i = item * ELEMENTS_PER_ITEM, m = part(item, j->n, ELEMENTS_PER_ITEM);

    if (j->fwd)
        j->fwd(j->y + i, j->g + i, j->u + i, m);
    else
        j->bwd(j->dg + i, j->du + i, j->dy + i, j->g + i, j->u + i, m);
}

void uc_silu_mul(float *y, const float *g, const float *u, size_t n, struct uc_pool *pool)
{
    struct silu_job j = {.fwd = uc_silu_mul_run_pick(), .y = y, .g = g, .u = u, .n = n};

    uc_pool_run(pool, items_of(n, ELEMENTS_PER_ITEM), silu_item, &j);
}

void uc_silu_mul_bwd(float *dg, float *du, const float *dy, const float *g, const float *u,
                     size_t n, struct uc_pool *pool)
{
    struct silu_job j = {
        .bwd = uc_silu_mul_bwd_run_pick(), .dg = dg, .du = du, .dy = dy, .g = g, .u = u, .n = n};

    uc_pool_run(pool, items_of(n, ELEMENTS_PER_ITEM), silu_item, &j);
}

void uc_add(float *y, const float *x, size_t n)
{
    uc_add_run_pick()(y, x, n);
}

void uc_squares(float *out, double *col, const float *x, size_t n_tok, size_t n)
{
    uc_squares_run_pick()(out, col, x, n_tok, n);
}

void uc_scale_rows(float *y, const float *x, const float *s, size_t n_tok, size_t n)
{
    uc_scale_rows_run_pick()(y, x, s, n_tok, n);
}
