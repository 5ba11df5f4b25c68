/* The vector layer: every operation of vec_avx2.h and vec_avx512.h against vec_c.h. */
#include <string.h>

#include "tests/kernels/check.h"
#include "tests/kernels/vec_ops.h"

static void compare(const char *name, const union vec_out *want, const union vec_out *got)
{
    if (name[0] == 'f')
        check_same_f32(want->f, got->f, 16);
    else if (name[0] == 'd')
        check_same_f64(want->d, got->d, 8);
    else
        check_same_bytes(want, got, sizeof(*want));
}

static void round_of(enum check_kind kind, int round)
{
    union vec_out want, got;
    struct vec_in in;
    const char *name;

    for (int i = 0; i < 3; i++) {
        check_fill_f32(in.x[i], 16, kind);
        check_fill_f64(in.d[i], 8, kind);
    }
    if (round % 4 == 0) /* any bits, and equal operands */
        for (int i = 0; i < 16; i++) {
            uint32_t u = check_rand();
            memcpy(&in.x[0][i], &u, sizeof(u));
            in.x[1][i] = check_rand() % 2 ? in.x[0][i] : in.x[1][i];
        }
    if (round % 4 == 1) /* around the limits of int32 */
        for (int i = 0; i < 16; i++)
            in.x[0][i] *= 0x1p31f;
    in.n = check_range(0, 16);
    in.count = (int)check_rand();
    for (int op = 0;; op++) {
        memset(&want, 0, sizeof(want));
        name = vec_op_of(0)(op, &want, &in);
        if (!name)
            break;
        for (int v = 1; v < check_n_variants(); v++) {
            memset(&got, 0, sizeof(got));
            vec_op_of(v)(op, &got, &in);
            check_context("%s of %s, values %s, n %zu", name, check_variant_name(v),
                          check_kind_name(kind), in.n);
            compare(name, &want, &got);
        }
    }
}

static void run(void)
{
    for (int kind = 0; kind < CHECK_KINDS; kind++)
        for (int round = 0; round < 500; round++)
            round_of((enum check_kind)kind, round);
}

CHECK_FAMILY(vec, run, NULL)
