/*
 * Thread pool that partitions outputs: a job is n items, every item is computed by exactly one
 * thread from inputs that no item writes, so the result does not depend on the number of threads.
 */
#ifndef UC_BASE_POOL_H
#define UC_BASE_POOL_H

#include <stddef.h>

#include "base/err.h"

struct uc_pool;

/* n_threads >= 1 counts the caller; 1 starts no thread. NULL when threads cannot be started. */
struct uc_pool *uc_pool_new(int n_threads, struct uc_err *err);
void uc_pool_free(struct uc_pool *p);
int uc_pool_threads(const struct uc_pool *p); /* 1 for NULL */

typedef void uc_pool_fn(void *arg, size_t item, int thread);
/* Calls fn(arg, item, thread) for item 0..n-1, thread in [0, threads); returns when all are done.
 * p NULL runs in the caller. Not reentrant: fn must not use the same pool. */
void uc_pool_run(struct uc_pool *p, size_t n, uc_pool_fn *fn, void *arg);

#endif
