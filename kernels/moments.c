#include "kernels/moments.h"

#include "kernels/moments_impl.h"

UC_KERN(uc_moments_item_fn, uc_moments_item)

struct moments_job {
    struct moments_args args;
    uc_moments_item_fn *fn;
};

static void run_item(void *arg, size_t item, int thread)
{
    struct moments_job *job = arg;

    job->fn(&job->args, item);
}

void uc_moments_add(double *s, size_t n, const float *x, size_t ldx, size_t n_tok,
                    struct uc_pool *pool)
{
    size_t col_blocks = (n + MOMENTS_COLS - 1) / MOMENTS_COLS;
    size_t row_blocks = (n + MOMENTS_ROWS - 1) / MOMENTS_ROWS;
    struct moments_job job = {{s, n, x, ldx, n_tok, col_blocks}, uc_moments_item_pick()};

    uc_pool_run(pool, row_blocks * col_blocks, run_item, &job);
}
