#include "kernels/moments.h"

#include <math.h>

struct moments {
    double *s;
    size_t n;
    const float *x;
    size_t ldx, n_tok;
};

static void moments_row(void *arg, size_t i, int thread)
{
    const struct moments *m = arg;

    for (size_t j = 0; j <= i; j++)
        for (size_t t0 = 0; t0 < m->n_tok; t0 += 256) {
            float acc = 0;
            for (size_t t = t0; t < t0 + 256 && t < m->n_tok; t++)
                acc = fmaf(m->x[t * m->ldx + i], m->x[t * m->ldx + j], acc);
            m->s[i * m->n + j] += (double)acc;
        }
}

void uc_moments_add(double *s, size_t n, const float *x, size_t ldx, size_t n_tok,
                    struct uc_pool *pool)
{
    struct moments m = {s, n, x, ldx, n_tok};

    uc_pool_run(pool, n, moments_row, &m);
}
