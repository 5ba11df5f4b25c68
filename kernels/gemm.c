#include "kernels/gemm.h"

#include <string.h>

#include "kernels/convert.h"
#include "kernels/gemm_impl.h"

UC_KERN(uc_gemm_item_fn, uc_gemm_item)

size_t uc_gemm_packed_len(size_t n, size_t k)
{
    return (n + 15) / 16 * 16 * k;
}

static const void *at(const void *w, enum uc_dtype dtype, size_t i)
{
    return (const char *)w + i * (uc_dtype_bits(dtype) / 8);
}

/* Rows of w are outputs: 16 rows are read side by side, a piece of k at a time. */
static void pack_rows(float *panel, const void *w, enum uc_dtype dtype, size_t rows, size_t k,
                      size_t ldw)
{
    float piece[256];

    if (rows < 16)
        memset(panel, 0, 16 * k * sizeof(*panel));
    for (size_t i0 = 0; i0 < k; i0 += 256) {
        size_t len = k - i0 < 256 ? k - i0 : 256;
        for (size_t r = 0; r < rows; r++) {
            uc_to_f32(piece, at(w, dtype, r * ldw + i0), dtype, len);
            for (size_t i = 0; i < len; i++)
                panel[(i0 + i) * 16 + r] = piece[i];
        }
    }
}

/* Rows of w are steps of k: a row is cut into the panels. */
static void pack_columns(float *packed, const void *w, enum uc_dtype dtype, size_t n, size_t k,
                         size_t ldw)
{
    float piece[256];

    for (size_t i = 0; i < k; i++)
        for (size_t o0 = 0; o0 < n; o0 += 256) {
            size_t len = n - o0 < 256 ? n - o0 : 256;
            memset(piece, 0, sizeof(piece));
            uc_to_f32(piece, at(w, dtype, i * ldw + o0), dtype, len);
            for (size_t o = 0; o < len; o += 16)
                memcpy(packed + (o0 + o) * k + i * 16, piece + o, 16 * sizeof(*piece));
        }
}

void uc_gemm_pack(float *packed, const void *w, enum uc_dtype dtype, size_t n, size_t k, size_t ldw,
                  bool transposed)
{
    if (transposed) {
        pack_columns(packed, w, dtype, n, k, ldw);
        return;
    }
    for (size_t o = 0; o < n; o += 16)
        pack_rows(packed + o * k, at(w, dtype, o * ldw), dtype, n - o < 16 ? n - o : 16, k, ldw);
}

struct gemm_job {
    struct gemm_args args;
    uc_gemm_item_fn *fn;
};

static void run_item(void *arg, size_t item, int thread)
{
    struct gemm_job *job = arg;

    job->fn(&job->args, item);
}

void uc_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *packed, size_t n_tok,
             size_t n, size_t k, struct uc_pool *pool)
{
    size_t row_blocks = (n_tok + GEMM_ROWS - 1) / GEMM_ROWS;
    struct gemm_job job = {{y, ldy, x, ldx, packed, n_tok, n, k, row_blocks}, uc_gemm_item_pick()};

    uc_pool_run(pool, row_blocks * ((n + GEMM_COLS - 1) / GEMM_COLS), run_item, &job);
}
