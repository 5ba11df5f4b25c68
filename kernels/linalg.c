#include "kernels/linalg.h"

#include <math.h>

size_t uc_cholesky(double *a, size_t n, struct uc_pool *pool)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double acc = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                acc = fma(-a[i * n + k], a[j * n + k], acc);
            if (i == j && !(acc > 0))
                return i + 1;
            a[i * n + j] = i == j ? sqrt(acc) : acc / a[j * n + j];
        }
    return 0;
}
