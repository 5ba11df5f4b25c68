/*
 * factor: the metric in which a linear's error is measured, as a Cholesky factor. The shards'
 * second moments are added in the order of the inputs' names, so appending a shard changes no other
 * action.
 *
 *   kind "linear": S = (1 - mix) sum(s) / tokens + mix sum(sw) / sum of weights
 *   kind "head":   S = sum(s) / tokens + sum(sw) / tokens
 *
 * then S += damp * mean(diag S) * I. Without sw (or without any weight in it) s alone counts.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "kernels/linalg.h"

struct sum {
    double *packed; /* lower triangle */
    uint64_t n, n_tok;
    double weight;
    size_t n_shards;
};

static size_t triangle(uint64_t n)
{
    return (size_t)(n * (n + 1) / 2);
}

static int add_shard(struct sum *s, const struct uc_op_input *in, struct uc_err *err)
{
    struct uc_moments m;
    int rc = uc_blob_moments(in, &m, err);

    if (rc < 0)
        return rc;
    if (!s->packed) {
        s->n = m.n;
        rc = uc_alloc(&s->packed, triangle(m.n), sizeof(double), "second moments", err);
        if (rc < 0)
            return rc;
    }
    if (m.n != s->n)
        return uc_fail(err, UC_EFAIL, "input '%s' is of width %" PRIu64 ", others of %" PRIu64,
                       in->name, m.n, s->n);
    for (size_t i = 0; i < triangle(m.n); i++)
        s->packed[i] += m.packed[i];
    s->n_tok += m.n_tok;
    s->weight += m.weight;
    s->n_shards++;
    return 0;
}

static int add_group(struct sum *s, const struct uc_op_ctx *ctx, const char *prefix,
                     struct uc_err *err)
{
    const struct uc_op_input *first;
    size_t n = uc_op_in_group(ctx, prefix, &first);
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_shard(s, &first[i], err);
    return rc;
}

static int read_share(const struct uc_op_ctx *ctx, const char *name, double fallback, double *out,
                      struct uc_err *err)
{
    const json_t *v = json_object_get(ctx->params, name);

    *out = v ? json_number_value(v) : fallback;
    if ((v && !json_is_number(v)) || !(*out >= 0 && *out <= 1))
        return uc_fail(err, UC_EUSAGE, "parameter '%s' must be a number between 0 and 1", name);
    return 0;
}

struct shares {
    double s, sw; /* factors of the two sums */
    double damp;
};

static int read_shares(const struct uc_op_ctx *ctx, const struct sum *s, const struct sum *sw,
                       struct shares *out, struct uc_err *err)
{
    const char *kind = uc_json_str(ctx->params, "kind", "linear");
    double mix = 0;
    int rc = read_share(ctx, "damp", 0.01, &out->damp, err);

    if (rc == 0)
        rc = read_share(ctx, "mix", 0.5, &mix, err);
    if (rc < 0)
        return rc;
    if (!s->n_shards || !s->n_tok)
        return uc_fail(err, UC_EFAIL, "no second moments: the calibration text is empty");
    if (sw->n_shards && sw->n != s->n)
        return uc_fail(err, UC_EFAIL, "s and sw are of width %" PRIu64 " and %" PRIu64, s->n,
                       sw->n);
    if (strcmp(kind, "head") == 0) {
        out->s = 1.0 / (double)s->n_tok;
        out->sw = sw->n_tok ? 1.0 / (double)sw->n_tok : 0;
        return 0;
    }
    if (strcmp(kind, "linear") != 0)
        return uc_fail(err, UC_EUSAGE, "unknown kind '%s' (linear, head)", kind);
    if (!(sw->weight > 0))
        mix = 0;
    out->s = (1 - mix) / (double)s->n_tok;
    out->sw = mix > 0 ? mix / sw->weight : 0;
    return 0;
}

/* a [n, n], lower triangle; returns the mean of the undamped diagonal. */
static double mix_and_damp(double *a, const struct sum *s, const struct sum *sw,
                           const struct shares *k)
{
    size_t n = (size_t)s->n, at = 0;
    double mean = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++, at++) {
            a[i * n + j] = k->s * s->packed[at];
            if (sw->packed)
                a[i * n + j] += k->sw * sw->packed[at];
        }
        mean += a[i * n + i];
    }
    mean /= (double)n;
    /* An input that the text never excites (all zero) is measured evenly. */
    for (size_t i = 0; i < n; i++)
        a[i * n + i] += mean > 0 ? k->damp * mean : 1;
    return mean;
}

static int factor(struct uc_op_ctx *ctx, const struct sum *s, const struct sum *sw,
                  struct uc_err *err)
{
    size_t n = (size_t)s->n, bad;
    struct shares k = {0};
    double *a = NULL;
    int rc = read_shares(ctx, s, sw, &k, err);

    if (rc == 0)
        rc = uc_alloc(&a, n * n, sizeof(double), "the metric", err);
    if (rc < 0)
        return rc;
    double mean = mix_and_damp(a, s, sw, &k);
    bad = uc_cholesky(a, n, ctx->pool);
    if (bad) {
        uc_fail(err, UC_EFAIL, "the second moments are singular at channel %zu of %zu", bad - 1, n);
        rc = uc_fix(err, "raise the damping (damp = %g), or calibrate with more text", k.damp);
    } else {
        rc = uc_blob_put_factor(ctx, "l", a, n, err);
    }
    if (ctx->metrics)
        json_object_set_new(ctx->metrics, "mean_diag", json_real(mean));
    free(a);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    struct sum s = {0}, sw = {0};
    int rc = add_group(&s, ctx, "s/", err);

    if (rc == 0)
        rc = add_group(&sw, ctx, "sw/", err);
    if (rc == 0)
        rc = factor(ctx, &s, &sw, err);
    free(s.packed);
    free(sw.packed);
    return rc;
}

const struct uc_op uc_op_factor = {"factor", 1,
                                   "Cholesky factor of the mixed, damped second moments", run};
