/* Dense fp64 factorization with a fixed order of operations. Exactness: E. */
#ifndef UC_KERNELS_LINALG_H
#define UC_KERNELS_LINALG_H

#include <stddef.h>

#include "base/pool.h"

/*
 * In place Cholesky factor: a [n, n] f64 row-major, lower triangle in, L (a = L L^T) out; the
 * strict upper triangle is not touched. Returns 0, or the 1-based index of the first pivot that is
 * not positive (a is then undefined). Threads: partitions rows; same bits for any count.
 */
size_t uc_cholesky(double *a, size_t n, struct uc_pool *pool);

#endif
