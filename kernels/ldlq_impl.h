/* What ldlq.c and ldlq_body.h share. */
#ifndef UC_KERNELS_LDLQ_IMPL_H
#define UC_KERNELS_LDLQ_IMPL_H

#include "kernels/kern.h"
#include "kernels/ldlq.h"

/* Columns rounded between two updates of all later columns. Any value gives the same bits. */
enum { LDLQ_BLOCK = 32 };

typedef void uc_ldlq_fn(const struct uc_ldlq_tile *t);
UC_KERN_DECLARE(uc_ldlq_fn, uc_ldlq_run)

#endif
