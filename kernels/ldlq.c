#include "kernels/ldlq.h"

#include "kernels/ldlq_impl.h"

UC_KERN(uc_ldlq_fn, uc_ldlq_run)

void uc_ldlq(const struct uc_ldlq_tile *t)
{
    uc_ldlq_run_pick()(t);
}

void uc_ldlq_factor(float *a, float *diag, float *inv_diag, const float *packed, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        const float *row = packed + j * (j + 1) / 2;
        size_t s = n - 1 - j;

        for (size_t i = 0; i <= j; i++)
            a[s * n + (n - 1 - i)] = row[i];
        diag[s] = row[j];
        inv_diag[s] = 1.0f / row[j];
    }
}
