/* One tile of uc_ldlq: blocks of columns are rounded, then pushed into the sums of all later ones.
 */
#include "kernels/ldlq_impl.h"
#include "kernels/vec_tile.h"

/* bf16 and back: round to nearest even on the bits, no NaN comes here. */
V_FN v16 through_bf16(v16 x)
{
    v16i u = v16_bits(x);
    v16i odd = v16i_and(v16i_srl(u, 16), v16i_set1(1));

    u = v16i_add(u, v16i_add(odd, v16i_set1(0x7fff)));
    return v16_of_bits(v16i_and(u, v16i_set1((int32_t)0xffff0000)));
}

/* Magnitudes of the codes for |u|; cost-aware rounding down. */
V_FN v16i round_lanes(const float *round, v16 size, const int32_t *row_class, int32_t col_class)
{
    v16i r = v16_to_i(v16_min(size, v16_set1((float)UC_LDLQ_CODE_MAX)));
    int32_t k[16];
    float more[16];

    v16i_store(k, r);
    for (int l = 0; l < 16; l++) {
        int32_t c = row_class[l] + col_class, i = k[l];
        c = c < 0 ? 0 : c < UC_LDLQ_CLASSES ? c : UC_LDLQ_CLASSES - 1;
        i = i < UC_LDLQ_SIZES ? i : UC_LDLQ_SIZES - 1;
        more[l] = round[c * UC_LDLQ_SIZES + i];
    }
    v16 edge = v16_add(v16_sub(v16_of_i(r), v16_set1(0.5f)), v16_load(more));
    return v16i_select(v16_lt(size, edge), v16i_sub(r, v16i_set1(1)), r);
}

struct column_sums {
    v16 damage[UC_LDLQ_PANELS], square[UC_LDLQ_PANELS];
};

/* Rounds one panel of column t whose sum is acc. */
V_FN void round_column(const struct uc_ldlq_tile *q, size_t t, size_t p, v16 acc,
                       struct column_sums *sums)
{
    size_t at = (p * q->n + t) * 16;
    v16 w = v16_load(q->w + at);
    v16 y = v16_fma(acc, v16_set1(q->inv_diag[t]), w);
    v16 inv = v16_mul(v16_load(q->row_inv + p * 16), v16_set1(q->col_inv[t]));
    v16 step = v16_mul(v16_load(q->row_step + p * 16), v16_set1(q->col_step[t]));
    v16 u = v16_mul(y, inv);
    v16i k = round_lanes(q->round, v16_abs(u), q->row_class + p * 16, q->col_class[t]);

    k = v16i_select(v16_lt(u, v16_zero()), v16i_sub(v16i_set1(0), k), k);
    v16 v = through_bf16(v16_mul(v16_of_i(k), step));
    v16 e = v16_sub(w, v);
    v16 d = v16_mul(v16_sub(y, v), v16_set1(q->diag[t]));
    v16_store(q->w + at, e);
    v16i_store(q->acc + at, k);
    sums->damage[p] = v16_fma(d, d, sums->damage[p]);
    sums->square[p] = v16_fma(e, e, sums->square[p]);
}

/* Columns [t0, t1) one after the other; sums over earlier blocks are in acc. */
V_FN void round_block(const struct uc_ldlq_tile *q, size_t t0, size_t t1, const int panels,
                      struct column_sums *sums)
{
    for (size_t t = t0; t < t1; t++) {
        v16 acc[UC_LDLQ_PANELS];

        V_UNROLL
        for (int p = 0; p < panels; p++)
            acc[p] = v16_load(q->acc + ((size_t)p * q->n + t) * 16);
        for (size_t s = t0; s < t; s++) {
            v16 a = v16_set1(q->a[s * q->n + t]);
            V_UNROLL
            for (int p = 0; p < panels; p++)
                acc[p] = v16_fma(a, v16_load(q->w + ((size_t)p * q->n + s) * 16), acc[p]);
        }
        V_UNROLL
        for (int p = 0; p < panels; p++)
            round_column(q, t, (size_t)p, acc[p], sums);
    }
}

/* Adds the errors of columns [t0, t1) to the sums of columns [i, i + rows), `panels` panels. */
V_FN void push_tile(const struct uc_ldlq_tile *q, size_t t0, size_t t1, size_t i, size_t p,
                    const int rows, const int panels)
{
    size_t stride = q->n * 16;
    float *sum = q->acc + p * stride + i * 16;
    v16 acc[TILE_M][TILE_P];

    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int k = 0; k < panels; k++)
            acc[r][k] = v16_load(sum + (size_t)k * stride + (size_t)r * 16);
    }
    tile_fma(acc, q->a + t0 * q->n + i, 1, q->n, q->w + p * stride + t0 * 16, stride, t1 - t0, rows,
             panels);
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        V_UNROLL
        for (int k = 0; k < panels; k++)
            v16_store(sum + (size_t)k * stride + (size_t)r * 16, acc[r][k]);
    }
}

static __attribute__((noinline)) void push_block(const struct uc_ldlq_tile *q, size_t t0, size_t t1)
{
    size_t i = t1;

    for (; i + TILE_M <= q->n; i += TILE_M) {
        size_t p = 0;
        for (; p + TILE_P <= q->n_panels; p += TILE_P)
            push_tile(q, t0, t1, i, p, TILE_M, TILE_P);
        for (; p < q->n_panels; p++)
            push_tile(q, t0, t1, i, p, TILE_M, 1);
    }
    for (; i < q->n; i++)
        for (size_t p = 0; p < q->n_panels; p++)
            push_tile(q, t0, t1, i, p, 1, 1);
}

static __attribute__((noinline)) void block_of(const struct uc_ldlq_tile *q, size_t t0, size_t t1,
                                               struct column_sums *sums)
{
    if (q->n_panels == 4)
        round_block(q, t0, t1, 4, sums);
    else if (q->n_panels == 3)
        round_block(q, t0, t1, 3, sums);
    else if (q->n_panels == 2)
        round_block(q, t0, t1, 2, sums);
    else
        round_block(q, t0, t1, 1, sums);
}

void FN(uc_ldlq_run)(const struct uc_ldlq_tile *q)
{
    size_t rows = q->n_panels * 16;

    memset(q->acc, 0, rows * q->n * sizeof(*q->acc));
    memset(q->damage, 0, rows * sizeof(*q->damage));
    memset(q->square, 0, rows * sizeof(*q->square));
    for (size_t t0 = 0; t0 < q->n; t0 += LDLQ_BLOCK) {
        size_t t1 = t0 + LDLQ_BLOCK < q->n ? t0 + LDLQ_BLOCK : q->n;
        struct column_sums sums;
        float damage[UC_LDLQ_PANELS * 16], square[UC_LDLQ_PANELS * 16];

        for (int p = 0; p < UC_LDLQ_PANELS; p++)
            sums.damage[p] = sums.square[p] = v16_zero();
        block_of(q, t0, t1, &sums);
        for (int p = 0; p < UC_LDLQ_PANELS; p++) {
            v16_store(damage + p * 16, sums.damage[p]);
            v16_store(square + p * 16, sums.square[p]);
        }
        for (size_t r = 0; r < rows; r++) {
            q->damage[r] += (double)damage[r];
            q->square[r] += (double)square[r];
        }
        push_block(q, t0, t1);
    }
}
