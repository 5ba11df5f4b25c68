/* The three steps of a block column of uc_cholesky: see linalg_impl.h. */
#include <math.h>

#include "kernels/linalg_impl.h"
#include "kernels/vec_tile.h"

/*
 * The block is held transposed, t[k][i] = L[i][k], so that a column is contiguous. Lanes above the
 * diagonal are computed along and never written back.
 */
size_t FN(uc_chol_diagonal)(const struct chol_args *c)
{
    double t[CHOL_BLOCK][CHOL_BLOCK] __attribute__((aligned(64)));
    double *a = c->a + c->k0 * c->n + c->k0;

    for (size_t j = 0; j < c->width; j++)
        for (size_t i = 0; i < CHOL_BLOCK; i++)
            t[j][i] = i < c->width && j <= i ? a[i * c->n + j] : 0.0;
    for (size_t j = 0; j < c->width; j++) {
        double root = 0.0;
        for (size_t i = j / 8 * 8; i < c->width; i += 8) {
            v8d acc = v8d_load(t[j] + i);
            for (size_t k = 0; k < j; k++)
                acc = v8d_fnma(v8d_load(t[k] + i), v8d_set1(t[k][j]), acc);
            if (i <= j) {
                v8d_store(t[j] + i, acc);
                if (!(t[j][j] > 0.0))
                    return c->k0 + j + 1;
                root = sqrt(t[j][j]);
            }
            v8d_store(t[j] + i, v8d_div(acc, v8d_set1(root)));
        }
        t[j][j] = root;
    }
    for (size_t i = 0; i < c->width; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * c->n + j] = t[j][i];
    return 0;
}

enum { STRIP_V = CHOL_STRIP / 8, SOLVE_J = 2 };

/* Columns j .. j + SOLVE_J - 1 of the strip t[k][row]; l is the diagonal block. */
V_FN void solve_columns(double (*t)[CHOL_STRIP], const double *l, size_t ldl, size_t j)
{
    v8d acc[SOLVE_J][STRIP_V];

    V_UNROLL
    for (int q = 0; q < SOLVE_J; q++) {
        V_UNROLL
        for (int v = 0; v < STRIP_V; v++)
            acc[q][v] = v8d_load(t[j + (size_t)q] + v * 8);
    }
    for (size_t k = 0; k < j; k++) {
        V_UNROLL
        for (int q = 0; q < SOLVE_J; q++) {
            v8d f = v8d_set1(l[(j + (size_t)q) * ldl + k]);
            V_UNROLL
            for (int v = 0; v < STRIP_V; v++)
                acc[q][v] = v8d_fnma(v8d_load(t[k] + v * 8), f, acc[q][v]);
        }
    }
    for (size_t q = 0; q < SOLVE_J; q++) {
        const double *row = l + (j + q) * ldl + j;
        for (size_t v = 0; v < STRIP_V; v++) {
            v8d x = acc[q][v];
            for (size_t p = 0; p < q; p++)
                x = v8d_fnma(v8d_load(t[j + p] + v * 8), v8d_set1(row[p]), x);
            v8d_store(t[j + q] + v * 8, v8d_div(x, v8d_set1(row[q])));
        }
    }
}

/* Rows below a full diagonal block; missing rows of the last strip are zeros. */
void FN(uc_chol_solve)(const struct chol_args *c, size_t item)
{
    double t[CHOL_BLOCK][CHOL_STRIP] __attribute__((aligned(64)));
    size_t row = c->k0 + CHOL_BLOCK + item * CHOL_STRIP;
    size_t rows = c->n - row < CHOL_STRIP ? c->n - row : CHOL_STRIP;
    double *a = c->a + row * c->n + c->k0;

    if (rows < CHOL_STRIP)
        memset(t, 0, sizeof(t));
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < CHOL_BLOCK; k++)
            t[k][r] = a[r * c->n + k];
    for (size_t j = 0; j < CHOL_BLOCK; j += SOLVE_J)
        solve_columns(t, c->a + c->k0 * c->n + c->k0, c->n, j);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < CHOL_BLOCK; k++)
            a[r * c->n + k] = t[k][r];
}

/* Rows of L side by side, padded so that they do not share cache sets. */
enum { L_STRIDE = CHOL_BLOCK + 8, PANEL = CHOL_BLOCK * 8 };

struct update {
    double *a; /* entry (row, col) */
    size_t n;
    const double *rows_l; /* [rows][L_STRIDE] */
    const double *cols_l; /* panels of 8 columns, [CHOL_BLOCK][8] */
    size_t row, col, col_end;
};

V_FN void tile_update(const struct update *u, size_t c, const int rows, const int panels)
{
    const double *b = u->cols_l + (c - u->col) / 8 * PANEL;
    double *e = u->a + (c - u->col), edge[TILE_M][TILE_P * 8];
    size_t ld = u->n;
    int full = c + (size_t)panels * 8 <= u->row + 1;
    v8d acc[TILE_M][TILE_P];

    if (!full) {
        for (int r = 0; r < rows; r++)
            for (size_t j = 0; j < (size_t)panels * 8; j++)
                edge[r][j] = c + j <= u->row + (size_t)r ? e[(size_t)r * ld + j] : 0.0;
        e = edge[0];
        ld = TILE_P * 8;
    }
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++)
            acc[r][p] = v8d_load(e + (size_t)r * ld + (size_t)p * 8);
    }
    for (size_t k = 0; k < CHOL_BLOCK; k++) {
        v8d w[TILE_P];
        V_UNROLL
        for (int p = 0; p < panels; p++)
            w[p] = v8d_load(b + (size_t)p * PANEL + k * 8);
        V_UNROLL
        for (int r = 0; r < rows; r++) {
            v8d x = v8d_set1(u->rows_l[(size_t)r * L_STRIDE + k]);
            V_UNROLL
            for (int p = 0; p < panels; p++)
                acc[r][p] = v8d_fnma(x, w[p], acc[r][p]);
        }
    }
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int p = 0; p < panels; p++)
            v8d_store(e + (size_t)r * ld + (size_t)p * 8, acc[r][p]);
    }
    if (full)
        return;
    e = u->a + (c - u->col);
    for (int r = 0; r < rows; r++)
        for (size_t j = 0; j < (size_t)panels * 8 && c + j <= u->row + (size_t)r; j++)
            e[(size_t)r * u->n + j] = edge[r][j];
}

V_FN void update_rows(const struct update *u, const int rows)
{
    size_t last = u->row + (size_t)rows, limit = last < u->col_end ? last : u->col_end;

    for (size_t c = u->col; c < limit;) {
        if (limit - c > (TILE_P - 1) * 8) {
            tile_update(u, c, rows, TILE_P);
            c += TILE_P * 8;
        } else {
            tile_update(u, c, rows, 1);
            c += 8;
        }
    }
}

static __attribute__((noinline)) void update_full(const struct update *u)
{
    update_rows(u, TILE_M);
}

static __attribute__((noinline)) void update_rest(struct update u, size_t rows)
{
    for (; rows >= 4; rows -= 4, u.row += 4, u.a += 4 * u.n, u.rows_l += 4 * L_STRIDE)
        update_rows(&u, 4);
    for (; rows; rows--, u.row++, u.a += u.n, u.rows_l += L_STRIDE)
        update_rows(&u, 1);
}

void FN(uc_chol_update)(const struct chol_args *c, size_t item)
{
    size_t first = c->k0 + CHOL_BLOCK;
    size_t row = first + item / c->col_blocks * CHOL_ROWS;
    size_t col = first + item % c->col_blocks * CHOL_COLS;
    size_t row_end = row + CHOL_ROWS < c->n ? row + CHOL_ROWS : c->n;
    double rows_l[TILE_M * L_STRIDE] __attribute__((aligned(64)));
    double cols_l[CHOL_COLS / 8 * PANEL] __attribute__((aligned(64)));
    struct update u = {.n = c->n, .rows_l = rows_l, .cols_l = cols_l, .col = col};

    if (col >= row_end)
        return;
    u.col_end = col + CHOL_COLS < row_end ? col + CHOL_COLS : row_end;
    for (size_t j = 0; j < (u.col_end - col + 7) / 8 * 8; j++)
        for (size_t k = 0; k < CHOL_BLOCK; k++)
            cols_l[j / 8 * PANEL + k * 8 + j % 8] =
                col + j < u.col_end ? c->a[(col + j) * c->n + c->k0 + k] : 0.0;
    if (row < col)
        row += (col - row) / TILE_M * TILE_M;
    for (u.row = row; u.row < row_end; u.row += TILE_M) {
        size_t rows = row_end - u.row < TILE_M ? row_end - u.row : TILE_M;
        for (size_t r = 0; r < rows; r++)
            memcpy(rows_l + r * L_STRIDE, c->a + (u.row + r) * c->n + c->k0,
                   CHOL_BLOCK * sizeof(double));
        u.a = c->a + u.row * c->n + col;
        if (rows == TILE_M)
            update_full(&u);
        else
            update_rest(u, rows);
    }
}
