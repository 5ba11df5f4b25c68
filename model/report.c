#include "model/report.h"

#include <math.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/mem.h"
#include "kernels/fmath.h"

typedef double uc_figure_fn(const struct uc_token_score *s);

static double f_nll_ref(const struct uc_token_score *s)
{
    return s->nll_ref;
}

static double f_nll(const struct uc_token_score *s)
{
    return s->nll;
}

static double f_nll_diff(const struct uc_token_score *s)
{
    return (double)s->nll - (double)s->nll_ref;
}

static double f_kld(const struct uc_token_score *s)
{
    return s->kld;
}

static double f_same_top(const struct uc_token_score *s)
{
    return s->top == s->top_ref;
}

static double f_overlap(const struct uc_token_score *s)
{
    return s->top10_overlap;
}

static double f_ref_top_in_10(const struct uc_token_score *s)
{
    return s->rank_of_top_ref < 10;
}

static double f_hit1(const struct uc_token_score *s)
{
    return s->rank == 0;
}

static double f_hit1_ref(const struct uc_token_score *s)
{
    return s->rank_ref == 0;
}

static double f_hit10(const struct uc_token_score *s)
{
    return s->rank < 10;
}

static double f_hit10_ref(const struct uc_token_score *s)
{
    return s->rank_ref < 10;
}

static double f_p_diff(const struct uc_token_score *s)
{
    return (double)s->p - (double)s->p_ref;
}

struct mean {
    double value, se; /* standard error of the mean */
};

static struct mean mean_of(const struct uc_token_score *s, size_t n, uc_figure_fn *f)
{
    struct mean m = {0, 0};
    double square = 0;

    for (size_t i = 0; i < n; i++)
        m.value += f(&s[i]);
    m.value /= (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = f(&s[i]) - m.value;
        square += d * d;
    }
    if (n > 1)
        m.se = sqrt(square / ((double)n * (double)(n - 1)));
    return m;
}

/* Ratio of two means over the same tokens; its error by linearization. */
static struct mean ratio_of(const struct uc_token_score *s, size_t n, uc_figure_fn *f,
                            uc_figure_fn *g)
{
    double a = mean_of(s, n, f).value, b = mean_of(s, n, g).value, square = 0;
    struct mean m = {0, 0};

    if (b == 0)
        return m;
    m.value = a / b;
    for (size_t i = 0; i < n; i++) {
        double d = f(&s[i]) - m.value * g(&s[i]);
        square += d * d;
    }
    if (n > 1)
        m.se = sqrt(square / ((double)n * (double)(n - 1))) / b;
    return m;
}

static struct mean exp_of(struct mean m)
{
    double v = uc_exp(m.value);

    return (struct mean){v, v * m.se};
}

static void set(json_t *o, const char *name, struct mean m)
{
    char *se = uc_xasprintf("%s_se", name);

    json_object_set_new(o, name, json_real(m.value));
    json_object_set_new(o, se, json_real(m.se));
    free(se);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Nearest-rank quantiles of the KLD: the smallest value that a share q of the tokens does not
 * pass. */
static int set_kld_quantiles(json_t *o, const struct uc_token_score *s, size_t n,
                             struct uc_err *err)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"kld_median", .5}, {"kld_p90", .9},    {"kld_p95", .95},
                     {"kld_p99", .99},   {"kld_p999", .999}, {"kld_max", 1}};
    float *v;
    int rc = uc_alloc(&v, n, sizeof(float), "sorted scores", err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        v[i] = s[i].kld;
    qsort(v, n, sizeof(*v), by_value);
    for (size_t k = 0; k < UC_COUNT(quantiles); k++) {
        size_t rank = (size_t)ceil(quantiles[k].q * (double)n);
        json_object_set_new(o, quantiles[k].name, json_real(v[rank ? rank - 1 : 0]));
    }
    free(v);
    return 0;
}

static void set_bits_per_byte(json_t *o, const char *name, const struct uc_eval *e, struct mean nll,
                              uint64_t text_bytes)
{
    double per_token = (double)e->n_ids / (double)text_bytes / 0.6931471805599453;

    set(o, name, (struct mean){nll.value * per_token, nll.se * per_token});
}

static void set_protocol(json_t *o, const struct uc_eval *e, size_t n)
{
    const struct uc_protocol *p = &e->protocol;
    struct uc_digest d;
    char hex[UC_HEX_LEN + 1];

    uc_digest_of(e->ids, e->n_ids * sizeof(*e->ids), &d);
    json_object_set_new(o, "protocol", json_string(uc_protocol_name(p)));
    json_object_set_new(o, "window", json_integer((json_int_t)p->window));
    json_object_set_new(o, "stride", json_integer((json_int_t)p->stride));
    json_object_set_new(o, "limit", json_integer((json_int_t)p->limit));
    json_object_set_new(o, "bos", p->bos < 0 ? json_null() : json_integer(p->bos));
    json_object_set_new(o, "windows", json_integer((json_int_t)uc_protocol_windows(p, e->n_ids)));
    json_object_set_new(o, "n_tokens", json_integer((json_int_t)n));
    json_object_set_new(o, "n_ids", json_integer((json_int_t)e->n_ids));
    json_object_set_new(o, "ids_sha256", json_string(uc_digest_hex(&d, hex)));
}

static int set_pair(json_t *o, const struct uc_eval *e, const struct uc_token_score *s, size_t n,
                    uint64_t text_bytes, struct uc_err *err)
{
    struct mean nll = mean_of(s, n, f_nll), overlap = mean_of(s, n, f_overlap);

    set(o, "nll", nll);
    set(o, "ppl", exp_of(nll));
    set(o, "ppl_ratio", exp_of(mean_of(s, n, f_nll_diff)));
    set(o, "kld_mean", mean_of(s, n, f_kld));
    set(o, "top1_agreement", mean_of(s, n, f_same_top));
    set(o, "top10_agreement", (struct mean){overlap.value / 10, overlap.se / 10});
    set(o, "source_top1_in_top10", mean_of(s, n, f_ref_top_in_10));
    set(o, "t1", mean_of(s, n, f_hit1));
    set(o, "t10", mean_of(s, n, f_hit10));
    set(o, "t1_retention", ratio_of(s, n, f_hit1, f_hit1_ref));
    set(o, "t10_retention", ratio_of(s, n, f_hit10, f_hit10_ref));
    set(o, "p_diff", mean_of(s, n, f_p_diff));
    if (text_bytes)
        set_bits_per_byte(o, "bits_per_byte", e, nll, text_bytes);
    return set_kld_quantiles(o, s, n, err);
}

int uc_eval_report(const struct uc_eval *e, const struct uc_token_score *scores, size_t n,
                   bool pair, uint64_t text_bytes, json_t **report, struct uc_err *err)
{
    struct mean nll_ref = mean_of(scores, n, f_nll_ref);
    json_t *o = json_object();
    int rc = 0;

    if (!isfinite(nll_ref.value) || !isfinite(mean_of(scores, n, f_nll).value)) {
        json_decref(o);
        return uc_fail(err, UC_EFAIL, "the %s's predictions are not finite on this text",
                       isfinite(nll_ref.value) ? "model" : "source");
    }
    set_protocol(o, e, n);
    set(o, "nll_source", nll_ref);
    set(o, "ppl_source", exp_of(nll_ref));
    set(o, "t1_source", mean_of(scores, n, f_hit1_ref));
    set(o, "t10_source", mean_of(scores, n, f_hit10_ref));
    if (text_bytes)
        set_bits_per_byte(o, "bits_per_byte_source", e, nll_ref, text_bytes);
    if (pair)
        rc = set_pair(o, e, scores, n, text_bytes, err);
    if (rc < 0) {
        json_decref(o);
        return rc;
    }
    *report = o;
    return 0;
}
