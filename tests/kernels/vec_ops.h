/* Every operation of the vector layer behind one function, so that variants can be compared. */
#ifndef UC_TESTS_KERNELS_VEC_OPS_H
#define UC_TESTS_KERNELS_VEC_OPS_H

#include <stddef.h>

struct vec_in {
    float x[3][16];
    double d[3][8];
    size_t n;  /* lanes of a tail, 0 to 16 */
    int count; /* of a shift, 0 to 31 */
};
union vec_out {
    float f[16];
    double d[8];
    unsigned u[16];
    unsigned short h[16];
};
/* Runs operation `op` into out (64 bytes; what it does not write is kept); NULL past the last one.
 * Returns its name, whose first letter tells how to compare: f fp32, d fp64, else bytes. */
typedef const char *vec_op_fn(int op, union vec_out *out, const struct vec_in *in);
extern vec_op_fn vec_op_c, vec_op_avx2, vec_op_avx512;
vec_op_fn *vec_op_of(int variant);

#endif
