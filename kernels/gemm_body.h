/* One item of uc_gemm: see gemm_impl.h for the cutting, vec_tile.h for the inner loop. */
#include "kernels/gemm_impl.h"
#include "kernels/vec_tile.h"

/* Rows of x, copied side by side: a large power of two as stride would fight for one cache set. */
enum { X_STRIDE = GEMM_DEPTH + 16 };

/* Lanes of panel p that exist. */
V_FN size_t lanes(size_t cols, int p)
{
    size_t left = cols - (size_t)p * 16;
    return left < 16 ? left : 16;
}

/* Outputs [rows, cols] at y, cols <= panels * 16; resume: continue their chains. */
V_FN void tile_gemm(float *y, size_t ldy, const float *xs, const float *w, size_t w_panel,
                    size_t steps, int resume, size_t cols, const int rows, const int panels)
{
    const int full = cols >= (size_t)panels * 16; /* masked stores are slow on some machines */
    v16 acc[TILE_M][TILE_P];

    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++) {
            const float *e = y + (size_t)r * ldy + (size_t)p * 16;
            acc[r][p] = !resume ? v16_zero() : full ? v16_load(e) : v16_load_n(e, lanes(cols, p));
        }
    }
    tile_fma(acc, xs, X_STRIDE, 1, w, w_panel, steps, rows, panels);
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++) {
            float *e = y + (size_t)r * ldy + (size_t)p * 16;
            if (full)
                v16_store(e, acc[r][p]);
            else
                v16_store_n(e, acc[r][p], lanes(cols, p));
        }
    }
}

struct strip {
    float *y;
    size_t ldy;
    const float *xs, *w;
    size_t w_panel, steps, cols;
    int resume;
};

/* One group of rows against all columns of the item. */
V_FN void strip_gemm(const struct strip *s, const int rows)
{
    for (size_t c = 0; c < s->cols;) {
        const float *w = s->w + c / 16 * s->w_panel;
        size_t left = s->cols - c;
        if (left > (TILE_P - 1) * 16) {
            tile_gemm(s->y + c, s->ldy, s->xs, w, s->w_panel, s->steps, s->resume, left, rows,
                      TILE_P);
            c += TILE_P * 16;
        } else {
            tile_gemm(s->y + c, s->ldy, s->xs, w, s->w_panel, s->steps, s->resume, left, rows, 1);
            c += 16;
        }
    }
}

static __attribute__((noinline)) void strip_full(const struct strip *s)
{
    strip_gemm(s, TILE_M);
}

/* The last rows of x. */
static __attribute__((noinline)) void strip_rest(struct strip s, size_t rows)
{
    for (; rows >= 4; rows -= 4, s.y += 4 * s.ldy, s.xs += 4 * X_STRIDE)
        strip_gemm(&s, 4);
    for (; rows; rows--, s.y += s.ldy, s.xs += X_STRIDE)
        strip_gemm(&s, 1);
}

void FN(uc_gemm_item)(const struct gemm_args *g, size_t item)
{
    size_t row0 = item % g->row_blocks * GEMM_ROWS, col0 = item / g->row_blocks * GEMM_COLS;
    size_t row_end = row0 + GEMM_ROWS < g->n_tok ? row0 + GEMM_ROWS : g->n_tok;
    size_t parts = g->k ? (g->k + GEMM_DEPTH - 1) / GEMM_DEPTH : 1;
    size_t depth = ((g->k + parts - 1) / parts + 15) / 16 * 16;
    float xs[TILE_M * X_STRIDE] __attribute__((aligned(64)));
    struct strip s = {.ldy = g->ldy, .xs = xs, .w_panel = g->k * 16};

    s.cols = g->n - col0 < GEMM_COLS ? g->n - col0 : GEMM_COLS;
    for (size_t k0 = 0; k0 == 0 || k0 < g->k; k0 += depth) {
        s.steps = g->k - k0 < depth ? g->k - k0 : depth;
        s.w = g->packed + col0 * g->k + k0 * 16;
        s.resume = k0 > 0;
        for (size_t row = row0; row < row_end; row += TILE_M) {
            size_t rows = row_end - row < TILE_M ? row_end - row : TILE_M;
            for (size_t r = 0; r < rows; r++)
                memcpy(xs + r * X_STRIDE, g->x + (row + r) * g->ldx + k0, s.steps * sizeof(*xs));
            s.y = g->y + row * g->ldy + col0;
            if (rows == TILE_M)
                strip_full(&s);
            else
                strip_rest(s, rows);
        }
        if (!g->k)
            break;
    }
}
