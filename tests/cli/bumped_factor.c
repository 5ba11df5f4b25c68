/* The op `factor` with the next version number and the same bytes: what a new version that gives
 * the same results makes run again (reruns.py). */
#include "engine/op.h"

extern const struct uc_op uc_op_factor;
extern struct uc_op bumped_factor;
struct uc_op bumped_factor;

__attribute__((constructor)) static void bump(void)
{
    bumped_factor = uc_op_factor;
    bumped_factor.version++;
}
