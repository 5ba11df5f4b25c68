/*
 * Rows of logits over 16 lanes. Sums over a row: blocks of 1024 ids from id 0; in a block lane l
 * adds ids l, l + 16, ..; the tree adds the lanes; blocks are added in fp64, ascending.
 */
#include <math.h>

#include "kernels/loss_impl.h"
#include "kernels/vec_fmath.h"

/* Lanes beyond the end read as -infinity: exp gives 0, no comparison counts them. */
V_FN v16 load_row(const float *x, size_t i, size_t end)
{
    if (i + 16 <= end)
        return v16_load(x + i);
    return v16_select(v16m_first(end - i), v16_load_n(x + i, end - i), v16_set1(-INFINITY));
}

/* Probabilities: lanes beyond the end read as 0 and are not stored. */
V_FN v16 load_probs(const float *x, size_t i, size_t end)
{
    return i + 16 <= end ? v16_load(x + i) : v16_load_n(x + i, end - i);
}
V_FN void store_probs(float *x, v16 v, size_t i, size_t end)
{
    if (i + 16 <= end)
        v16_store(x + i, v);
    else
        v16_store_n(x + i, v, end - i);
}

static float row_max(const float *x, size_t n)
{
    v16 m[4];
    size_t i = 0;

    for (int k = 0; k < 4; k++)
        m[k] = v16_set1(-INFINITY);
    for (; i + 64 <= n; i += 64)
        for (int k = 0; k < 4; k++)
            m[k] = v16_max(v16_load(x + i + 16 * k), m[k]);
    for (; i < n; i += 16)
        m[0] = v16_max(load_row(x, i, n), m[0]);
    return v16_max_lanes(v16_max(v16_max(m[0], m[1]), v16_max(m[2], m[3])));
}

/* The first id whose logit is m. */
static uint32_t row_find(const float *x, float m, size_t n)
{
    v16 mv = v16_set1(m);

    for (size_t i = 0; i < n; i += 16) {
        uint32_t bits = v16m_bits(v16_eq(load_row(x, i, n), mv));
        if (bits)
            return (uint32_t)i + (uint32_t)__builtin_ctz(bits);
    }
    return 0;
}

struct loss_sum FN(uc_loss_sum_row)(const float *x, size_t n)
{
    struct loss_sum s = {.max = row_max(x, n)};
    v16 mv = v16_set1(s.max);

    for (size_t b = 0; b < n; b += LOSS_BLOCK) {
        size_t end = n - b < LOSS_BLOCK ? n : b + LOSS_BLOCK;
        v16 acc = v16_zero();

        for (size_t i = b; i < end; i += 16)
            acc = v16_add(acc, v16_exp_low(v16_sub(load_row(x, i, end), mv)));
        s.sum += (double)v16_sum(acc);
    }
    return s;
}

/* The ten largest logits so far, largest first; among equals the lower id stands first. */
struct top_ten {
    float v[LOSS_TOP];
    uint32_t id[LOSS_TOP];
};

static void top_insert(struct top_ten *t, float v, uint32_t id)
{
    int k = LOSS_TOP - 1;

    for (; k > 0 && v > t->v[k - 1]; k--) {
        t->v[k] = t->v[k - 1];
        t->id[k] = t->id[k - 1];
    }
    t->v[k] = v;
    t->id[k] = id;
}

static __attribute__((noinline)) void top_take(struct top_ten *t, const float *x, size_t i,
                                               uint32_t bits)
{
    for (; bits; bits &= bits - 1) {
        size_t id = i + (size_t)__builtin_ctz(bits);
        if (x[id] > t->v[LOSS_TOP - 1])
            top_insert(t, x[id], (uint32_t)id);
    }
}

static uint32_t top_overlap(const struct top_ten *a, const struct top_ten *b)
{
    uint32_t n = 0;

    for (int i = 0; i < LOSS_TOP; i++)
        for (int j = 0; j < LOSS_TOP; j++)
            n += a->v[i] > -INFINITY && b->v[j] > -INFINITY && a->id[i] == b->id[j];
    return n;
}

static uint32_t lane_count(v16i v)
{
    uint32_t l[16], n = 0;

    v16i_store(l, v);
    for (int i = 0; i < 16; i++)
        n += l[i];
    return n;
}

V_FN v16i count_if(v16i n, v16m m)
{
    return v16i_add(n, v16i_select(m, v16i_set1(1), v16i_set1(0)));
}

void FN(uc_loss_pair_row)(struct loss_pair *out, const float *ref, const float *model,
                          uint32_t label, size_t n)
{
    struct loss_pair o = {.ref.max = row_max(ref, n), .model.max = row_max(model, n)};
    struct top_ten tr, tm;
    v16 mr = v16_set1(o.ref.max), mm = v16_set1(o.model.max), shift, lr, lm, lt;
    v16i n_ref = v16i_set1(0), n_model = n_ref, n_top = n_ref;

    for (int k = 0; k < LOSS_TOP; k++)
        tr.v[k] = tm.v[k] = -INFINITY;
    o.shift = o.ref.max - o.model.max;
    o.top_ref = row_find(ref, o.ref.max, n);
    o.top = row_find(model, o.model.max, n);
    shift = v16_set1(o.shift);
    lr = v16_set1(ref[label]);
    lm = v16_set1(model[label]);
    lt = v16_set1(model[o.top_ref]);
    for (size_t b = 0; b < n; b += LOSS_BLOCK) {
        size_t end = n - b < LOSS_BLOCK ? n : b + LOSS_BLOCK;
        v16 sr = v16_zero(), sm = sr, sc = sr;

        for (size_t i = b; i < end; i += 16) {
            v16 r = load_row(ref, i, end), m = load_row(model, i, end);
            v16 e = v16_exp_low(v16_sub(r, mr)), d = v16_sub(v16_sub(r, m), shift);
            uint32_t bits;

            sr = v16_add(sr, e);
            sm = v16_add(sm, v16_exp_low(v16_sub(m, mm)));
            /* 0 log 0 is 0 */
            sc = v16_fma(e, v16_select(v16_eq(e, v16_zero()), v16_zero(), d), sc);
            n_ref = count_if(n_ref, v16_lt(lr, r));
            n_model = count_if(n_model, v16_lt(lm, m));
            n_top = count_if(n_top, v16_lt(lt, m));
            bits = v16m_bits(v16_lt(v16_set1(tr.v[LOSS_TOP - 1]), r));
            if (bits)
                top_take(&tr, ref, i, bits);
            bits = v16m_bits(v16_lt(v16_set1(tm.v[LOSS_TOP - 1]), m));
            if (bits)
                top_take(&tm, model, i, bits);
        }
        o.ref.sum += (double)v16_sum(sr);
        o.model.sum += (double)v16_sum(sm);
        o.cross += (double)v16_sum(sc);
    }
    o.rank_ref = lane_count(n_ref);
    o.rank = lane_count(n_model);
    o.rank_of_top_ref = lane_count(n_top);
    o.overlap = top_overlap(&tr, &tm);
    *out = o;
}

/* The first id of a block whose running sum passes the target; rounding may hide the crossing that
 * the block's own sum showed, then the last id with a probability. */
static uint32_t block_pick(const float *e, size_t begin, size_t end, double run, double target)
{
    uint32_t last = (uint32_t)begin;

    for (size_t i = begin; i < end; i++) {
        run += (double)e[i];
        if (e[i] > 0)
            last = (uint32_t)i;
        if (run > target)
            return last;
    }
    return last;
}

uint32_t FN(uc_loss_sample_row)(float *x, double *square, float u, size_t n)
{
    v16 mv = v16_set1(row_max(x, n)), inv;
    double total = 0, run = 0, target, sq = 0;
    uint32_t pick = 0;
    int found = 0;

    for (size_t b = 0; b < n; b += LOSS_BLOCK) {
        size_t end = n - b < LOSS_BLOCK ? n : b + LOSS_BLOCK;
        v16 acc = v16_zero();

        for (size_t i = b; i < end; i += 16) {
            v16 e = v16_exp_low(v16_sub(load_row(x, i, end), mv));

            acc = v16_add(acc, e);
            store_probs(x, e, i, end);
        }
        total += (double)v16_sum(acc);
    }
    target = (double)u * total;
    inv = v16_set1((float)(1.0 / total));
    for (size_t b = 0; b < n; b += LOSS_BLOCK) {
        size_t end = n - b < LOSS_BLOCK ? n : b + LOSS_BLOCK;
        v16 acc = v16_zero(), acc2 = v16_zero();
        double next;

        for (size_t i = b; i < end; i += 16)
            acc = v16_add(acc, load_probs(x, i, end));
        next = run + (double)v16_sum(acc);
        if (!found && next > target) {
            found = 1;
            pick = block_pick(x, b, end, run, target);
        }
        run = next;
        for (size_t i = b; i < end; i += 16) {
            v16 p = v16_mul(load_probs(x, i, end), inv);

            acc2 = v16_fma(p, p, acc2);
            store_probs(x, p, i, end);
        }
        sq += (double)v16_sum(acc2);
    }
    *square = sq;
    x[pick] -= 1.0f;
    return pick;
}
