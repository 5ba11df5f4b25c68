#include "kernels/linalg.h"

#include "kernels/linalg_impl.h"

UC_KERN(uc_chol_diagonal_fn, uc_chol_diagonal)
UC_KERN(uc_chol_item_fn, uc_chol_solve)
UC_KERN(uc_chol_item_fn, uc_chol_update)

struct chol_job {
    struct chol_args args;
    uc_chol_item_fn *fn;
};

static void run_item(void *arg, size_t item, int thread)
{
    struct chol_job *job = arg;

    job->fn(&job->args, item);
}

size_t uc_cholesky(double *a, size_t n, struct uc_pool *pool)
{
    struct chol_job job = {.args = {.a = a, .n = n}};

    for (size_t k0 = 0; k0 < n; k0 += CHOL_BLOCK) {
        size_t width = n - k0 < CHOL_BLOCK ? n - k0 : CHOL_BLOCK, below = n - k0 - width;
        job.args.k0 = k0;
        job.args.width = width;
        job.args.col_blocks = (below + CHOL_COLS - 1) / CHOL_COLS;
        size_t bad = uc_chol_diagonal_pick()(&job.args);
        if (bad)
            return bad;
        job.fn = uc_chol_solve_pick();
        uc_pool_run(pool, (below + CHOL_STRIP - 1) / CHOL_STRIP, run_item, &job);
        job.fn = uc_chol_update_pick();
        uc_pool_run(pool, (below + CHOL_ROWS - 1) / CHOL_ROWS * job.args.col_blocks, run_item,
                    &job);
    }
    return 0;
}
