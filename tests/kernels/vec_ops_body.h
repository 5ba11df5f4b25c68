#include "tests/kernels/vec_ops.h"

#define F(name, expr)                                                                              \
    if (op == at++) {                                                                              \
        v16_store(out->f, (expr));                                                                 \
        return "f " name;                                                                          \
    }
#define S(name, expr)                                                                              \
    if (op == at++) {                                                                              \
        out->f[0] = (expr);                                                                        \
        return "f " name;                                                                          \
    }
#define I(name, expr)                                                                              \
    if (op == at++) {                                                                              \
        v16i_store(out->u, (expr));                                                                \
        return "i " name;                                                                          \
    }
#define M(name, expr)                                                                              \
    if (op == at++) {                                                                              \
        out->u[0] = v16m_bits(expr);                                                               \
        return "m " name;                                                                          \
    }
#define D(name, expr)                                                                              \
    if (op == at++) {                                                                              \
        v8d_store(out->d, (expr));                                                                 \
        return "d " name;                                                                          \
    }
#define DO(name, stmt)                                                                             \
    if (op == at++) {                                                                              \
        stmt;                                                                                      \
        return name;                                                                               \
    }

/* Shifts take constants where the machine's instruction does. */
#define SHIFTS(n)                                                                                  \
    I("sll " #n, v16i_sll(i, n)) I("srl " #n, v16i_srl(i, n)) I("sra " #n, v16i_sra(i, n))

static const char *float_op(int op, int *end, union vec_out *out, const struct vec_in *in)
{
    const float *a = in->x[0];
    v16 x = v16_load(a), y = v16_load(in->x[1]), z = v16_load(in->x[2]);
    int at = 0;

    F("load", x)
    F("set1", v16_set1(a[3]))
    F("zero", v16_zero())
    F("load_n", v16_load_n(a, in->n))
    DO("f store_n", v16_store_n(out->f, x, in->n))
    F("add", v16_add(x, y))
    F("sub", v16_sub(x, y))
    F("mul", v16_mul(x, y))
    F("div", v16_div(x, y))
    F("fma", v16_fma(x, y, z))
    F("fnma", v16_fnma(x, y, z))
    F("sqrt", v16_sqrt(x))
    F("neg", v16_neg(x))
    F("abs", v16_abs(x))
    F("min", v16_min(x, y))
    F("max", v16_max(x, y))
    F("rint", v16_rint(x))
    S("sum", v16_sum(x))
    S("max_lanes", v16_max_lanes(x))
    M("lt", v16_lt(x, y))
    M("le", v16_le(x, y))
    M("eq", v16_eq(x, y))
    M("unord", v16_unord(x, y))
    M("first", v16m_first(in->n))
    M("and", v16m_and(v16_lt(x, y), v16m_first(in->n)))
    M("or", v16m_or(v16_lt(x, y), v16m_first(in->n)))
    M("not", v16m_not(v16_lt(x, y)))
    F("select", v16_select(v16_lt(x, y), y, z))
    I("to_i", v16_to_i(x))
    DO("h store_bf16", v16_store_bf16(out->h, x))
    DO("h store_f16", v16_store_f16(out->h, x))
    F("load_bf16", v16_load_bf16((const unsigned short *)a))
    F("load_f16", v16_load_f16((const unsigned short *)a))
    *end = at;
    return NULL;
}

static const char *int_op(int op, int *end, union vec_out *out, const struct vec_in *in)
{
    v16i i = v16i_load(in->x[0]), j = v16i_load(in->x[1]);
    int at = 0;

    F("of_i", v16_of_i(i))
    F("of_bits", v16_of_bits(i))
    I("bits", v16_bits(v16_load(in->x[0])))
    I("add", v16i_add(i, j))
    I("sub", v16i_sub(i, j))
    I("and", v16i_and(i, j))
    I("or", v16i_or(i, j))
    I("xor", v16i_xor(i, j))
    I("set1", v16i_set1(in->count))
    SHIFTS(0)
    SHIFTS(1)
    SHIFTS(13)
    SHIFTS(31)
    M("eq", v16i_eq(i, j))
    M("gt", v16i_gt(i, j))
    I("select", v16i_select(v16i_gt(i, j), j, i))
    *end = at;
    return NULL;
}

static const char *double_op(int op, int *end, union vec_out *out, const struct vec_in *in)
{
    v8d x = v8d_load(in->d[0]), y = v8d_load(in->d[1]), z = v8d_load(in->d[2]);
    v16 v = v16_load(in->x[0]);
    int at = 0;

    D("set1", v8d_set1(in->d[0][1]))
    D("zero", v8d_zero())
    D("load_n", v8d_load_n(in->d[0], in->n / 2))
    DO("d store_n", v8d_store_n(out->d, x, in->n / 2))
    D("add", v8d_add(x, y))
    D("sub", v8d_sub(x, y))
    D("mul", v8d_mul(x, y))
    D("div", v8d_div(x, y))
    D("fma", v8d_fma(x, y, z))
    D("fnma", v8d_fnma(x, y, z))
    D("sqrt", v8d_sqrt(x))
    DO("d sum", out->d[0] = v8d_sum(x))
    D("lo", v8d_lo(v))
    D("hi", v8d_hi(v))
    F("of_d", v16_of_d(x, y))
    *end = at;
    return NULL;
}

const char *FN(vec_op)(int op, union vec_out *out, const struct vec_in *in)
{
    const char *name;
    int end = 0;

    name = float_op(op, &end, out, in);
    if (name)
        return name;
    op -= end;
    name = int_op(op, &end, out, in);
    if (name)
        return name;
    op -= end;
    return double_op(op, &end, out, in);
}
