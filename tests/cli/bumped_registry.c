/* The registry of ops, with bumped_factor in the place of factor. */
#define uc_op_factor bumped_factor
#include "engine/ops/registry.c"
