/* One item of uc_moments_add: see moments_impl.h for the cutting, tile.h for the inner loop. */
#include "kernels/moments_impl.h"
#include "kernels/tile.h"

/* Row groups of one chunk against the packed columns from `col` on. */
struct group {
    double *s; /* entry (row, col) */
    size_t lds;
    const float *a; /* [steps][TILE_M], the rows' values */
    const float *b; /* panels [steps of MOMENTS_CHUNK][16] */
    size_t steps, row, col;
};

/* Adds the lanes of v whose column is not beyond the diagonal. */
V_FN void flush(double *s, v16 v, size_t lanes)
{
    size_t lo = lanes < 8 ? lanes : 8, hi = lanes - lo;

    v8d_store_n(s, v8d_add(v8d_load_n(s, lo), v8d_lo(v)), lo);
    v8d_store_n(s + 8, v8d_add(v8d_load_n(s + 8, hi), v8d_hi(v)), hi);
}

V_FN void tile_moments(const struct group *g, size_t c, const int rows, const int panels)
{
    double *s = g->s + (c - g->col);
    v16 acc[TILE_M][TILE_P];

    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++)
            acc[r][p] = v16_zero();
    }
    tile_fma(acc, g->a, 1, TILE_M, g->b + (c - g->col) * MOMENTS_CHUNK, MOMENTS_CHUNK * 16,
             g->steps, rows, panels);
    if (c + (size_t)panels * 16 <= g->row + 1) {
        V_UNROLL
        for (int r = 0; r < rows; r++) {
            V_UNROLL
            for (int p = 0; p < panels; p++) {
                double *e = s + (size_t)r * g->lds + (size_t)p * 16;
                v8d_store(e, v8d_add(v8d_load(e), v8d_lo(acc[r][p])));
                v8d_store(e + 8, v8d_add(v8d_load(e + 8), v8d_hi(acc[r][p])));
            }
        }
        return;
    }
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++) {
            size_t first = c + (size_t)p * 16, end = g->row + (size_t)r + 1;
            size_t lanes = end <= first ? 0 : end - first < 16 ? end - first : 16;
            flush(s + (size_t)r * g->lds + (size_t)p * 16, acc[r][p], lanes);
        }
    }
}

/* All columns below `end` that the rows need. */
V_FN void group_moments(const struct group *g, size_t end, const int rows)
{
    size_t limit = g->row + (size_t)rows < end ? g->row + (size_t)rows : end;

    for (size_t c = g->col; c < limit;) {
        if (limit - c > (TILE_P - 1) * 16) {
            tile_moments(g, c, rows, TILE_P);
            c += TILE_P * 16;
        } else {
            tile_moments(g, c, rows, 1);
            c += 16;
        }
    }
}

static __attribute__((noinline)) void group_full(const struct group *g, size_t end)
{
    group_moments(g, end, TILE_M);
}

static __attribute__((noinline)) void group_rest(struct group g, size_t end, size_t rows)
{
    for (; rows >= 4; rows -= 4, g.row += 4, g.s += 4 * g.lds, g.a += 4)
        group_moments(&g, end, 4);
    for (; rows; rows--, g.row++, g.s += g.lds, g.a++)
        group_moments(&g, end, 1);
}

static void pack_columns(float *b, const float *x, size_t ldx, size_t steps, size_t cols)
{
    for (size_t c = 0; c < cols; c += 16, b += MOMENTS_CHUNK * 16)
        for (size_t t = 0; t < steps; t++)
            if (cols - c >= 16)
                v16_store(b + t * 16, v16_load(x + t * ldx + c));
            else
                v16_store(b + t * 16, v16_load_n(x + t * ldx + c, cols - c));
}

static void pack_rows(float *a, const float *x, size_t ldx, size_t steps, size_t rows)
{
    if (rows == TILE_M)
        for (size_t t = 0; t < steps; t++)
            memcpy(a + t * TILE_M, x + t * ldx, TILE_M * sizeof(*a));
    else
        for (size_t t = 0; t < steps; t++)
            for (size_t r = 0; r < rows; r++)
                a[t * TILE_M + r] = x[t * ldx + r];
}

void FN(uc_moments_item)(const struct moments_args *m, size_t item)
{
    size_t row0 = item / m->col_blocks * MOMENTS_ROWS, col0 = item % m->col_blocks * MOMENTS_COLS;
    size_t row_end = row0 + MOMENTS_ROWS < m->n ? row0 + MOMENTS_ROWS : m->n;
    size_t col_end = col0 + MOMENTS_COLS < row_end ? col0 + MOMENTS_COLS : row_end;
    float a[MOMENTS_CHUNK * TILE_M] __attribute__((aligned(64)));
    float b[MOMENTS_CHUNK * MOMENTS_COLS] __attribute__((aligned(64)));
    struct group g = {.lds = m->n, .a = a, .b = b, .col = col0};

    if (col0 >= row_end)
        return;
    for (size_t t0 = 0; t0 < m->n_tok; t0 += MOMENTS_CHUNK) {
        const float *x = m->x + t0 * m->ldx;
        g.steps = m->n_tok - t0 < MOMENTS_CHUNK ? m->n_tok - t0 : MOMENTS_CHUNK;
        pack_columns(b, x + col0, m->ldx, g.steps, col_end - col0);
        for (g.row = row0 < col0 ? col0 / TILE_M * TILE_M : row0; g.row < row_end;
             g.row += TILE_M) {
            size_t rows = row_end - g.row < TILE_M ? row_end - g.row : TILE_M;
            pack_rows(a, x + g.row, m->ldx, g.steps, rows);
            g.s = m->s + g.row * m->n + col0;
            if (rows == TILE_M)
                group_full(&g, col_end);
            else
                group_rest(g, col_end, rows);
        }
    }
}
