#include "kernels/gemm.h"

#include <math.h>

#include "kernels/convert.h"

size_t uc_gemm_packed_len(size_t n, size_t k)
{
    return (n + 15) / 16 * 16 * k;
}

void uc_gemm_pack(float *packed, const void *w, enum uc_dtype dtype, size_t n, size_t k, size_t ldw,
                  bool transposed)
{
    size_t size = dtype == UC_DTYPE_F32 ? 4 : 2;

    for (size_t o = 0; o < (n + 15) / 16 * 16; o++)
        for (size_t i = 0; i < k; i++) {
            float *p = packed + o / 16 * 16 * k + i * 16 + o % 16;
            *p = 0;
            if (o < n)
                uc_to_f32(p, (const char *)w + size * (transposed ? i * ldw + o : o * ldw + i),
                          dtype, 1);
        }
}

struct gemm {
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx;
    const float *packed;
    size_t n, k;
};

static void gemm_row(void *arg, size_t t, int thread)
{
    const struct gemm *g = arg;

    for (size_t o = 0; o < g->n; o++) {
        float acc = 0;
        for (size_t i = 0; i < g->k; i++)
            acc = fmaf(g->x[t * g->ldx + i], g->packed[o / 16 * 16 * g->k + i * 16 + o % 16], acc);
        g->y[t * g->ldy + o] = acc;
    }
}

void uc_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *packed, size_t n_tok,
             size_t n, size_t k, struct uc_pool *pool)
{
    struct gemm g = {y, ldy, x, ldx, packed, n, k};

    uc_pool_run(pool, n_tok, gemm_row, &g);
}
