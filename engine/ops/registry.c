#include <string.h>

#include "engine/op.h"

/* Sorted by name; each op lives in engine/ops/<name>.c. */
const struct uc_op *const uc_ops[] = {
    NULL,
};
