/* One item of uc_moments_add: see moments_impl.h for the cutting, vec_tile.h for the inner loop. */
#include "kernels/moments_impl.h"
#include "kernels/vec_tile.h"

/* A panel is 256 x 16 floats; one line more keeps panels from sharing cache sets. */
enum { PREFETCH_ROWS = 8 };
enum { B_PANEL = MOMENTS_CHUNK * 16 + 16 };

/* Row groups of one chunk against the packed columns from `col` on. */
struct group {
    double *s; /* entry (row, col) */
    size_t lds;
    const float *a; /* [steps][TILE_M], the rows' values */
    const float *b; /* panels of B_PANEL floats, [steps][16] */
    size_t steps, row, col;
};

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
    tile_fma(acc, g->a, 1, TILE_M, g->b + (c - g->col) / 16 * B_PANEL, B_PANEL, g->steps, rows,
             panels);
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
    float on_diagonal[TILE_M][TILE_P * 16];
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++)
            v16_store(on_diagonal[r] + p * 16, acc[r][p]);
    }
    for (int r = 0; r < rows; r++)
        for (size_t j = c; j <= g->row + (size_t)r && j < c + (size_t)panels * 16; j++)
            s[(size_t)r * g->lds + j - c] += (double)on_diagonal[r][j - c];
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

/* Token by token, so that x is read along its rows. */
static void pack_columns(float *b, const float *x, size_t ldx, size_t steps, size_t cols)
{
    for (size_t t = 0; t < steps; t++, x += ldx, b += 16) {
        size_t c = 0;
        for (size_t i = 0; i < cols; i += 16)
            __builtin_prefetch(x + PREFETCH_ROWS * ldx + i);
        for (; c + 16 <= cols; c += 16)
            v16_store(b + c / 16 * B_PANEL, v16_load(x + c));
        if (c < cols)
            v16_store(b + c / 16 * B_PANEL, v16_load_n(x + c, cols - c));
    }
}

static void pack_rows(float *a, const float *x, size_t ldx, size_t steps, size_t rows)
{
    for (size_t t = 0; t < steps; t++, x += ldx, a += TILE_M) {
        size_t r = 0;
        for (size_t i = 0; i < rows; i += 16)
            __builtin_prefetch(x + PREFETCH_ROWS * ldx + i);
        for (; r + TILE_M <= rows; r += TILE_M)
            memcpy(a + r * MOMENTS_CHUNK, x + r, TILE_M * sizeof(*a));
        for (size_t i = r; i < rows; i++)
            a[r * MOMENTS_CHUNK + i - r] = x[i];
    }
}

void FN(uc_moments_item)(const struct moments_args *m, size_t item)
{
    size_t row0 = item / m->col_blocks * MOMENTS_ROWS, col0 = item % m->col_blocks * MOMENTS_COLS;
    size_t row_end = row0 + MOMENTS_ROWS < m->n ? row0 + MOMENTS_ROWS : m->n;
    size_t col_end = col0 + MOMENTS_COLS < row_end ? col0 + MOMENTS_COLS : row_end;
    float a[MOMENTS_CHUNK * MOMENTS_ROWS] __attribute__((aligned(64)));
    float b[MOMENTS_COLS / 16 * B_PANEL] __attribute__((aligned(64)));
    struct group g = {.lds = m->n, .b = b, .col = col0};

    if (col0 >= row_end)
        return;
    if (row0 < col0)
        row0 = col0 / TILE_M * TILE_M;
    for (size_t t0 = 0; t0 < m->n_tok; t0 += MOMENTS_CHUNK) {
        const float *x = m->x + t0 * m->ldx;
        g.steps = m->n_tok - t0 < MOMENTS_CHUNK ? m->n_tok - t0 : MOMENTS_CHUNK;
        pack_columns(b, x + col0, m->ldx, g.steps, col_end - col0);
        pack_rows(a, x + row0, m->ldx, g.steps, row_end - row0);
        for (g.row = row0; g.row < row_end; g.row += TILE_M) {
            g.a = a + (g.row - row0) * MOMENTS_CHUNK;
            g.s = m->s + g.row * m->n + col0;
            if (row_end - g.row >= TILE_M)
                group_full(&g, col_end);
            else
                group_rest(g, col_end, row_end - g.row);
        }
    }
}
