#include "kernels/loss.h"

#include "kernels/fmath.h"
#include "kernels/loss_impl.h"

UC_KERN(uc_loss_sum_fn, uc_loss_sum_row)
UC_KERN(uc_loss_pair_fn, uc_loss_pair_row)
UC_KERN(uc_loss_sample_fn, uc_loss_sample_row)

struct sum_job {
    uc_loss_sum_fn *fn;
    float *lse;
    const float *logits;
    size_t n_vocab;
};

static void sum_item(void *arg, size_t t, int thread)
{
    const struct sum_job *j = arg;
    struct loss_sum s = j->fn(j->logits + t * j->n_vocab, j->n_vocab);

    j->lse[t] = (float)((double)s.max + uc_log(s.sum));
}

void uc_logsumexp(float *lse, const float *logits, size_t n_tok, size_t n_vocab,
                  struct uc_pool *pool)
{
    struct sum_job j = {uc_loss_sum_row_pick(), lse, logits, n_vocab};

    uc_pool_run(pool, n_tok, sum_item, &j);
}

struct score_job {
    uc_loss_pair_fn *fn;
    struct uc_token_score *out;
    const float *ref, *logits;
    const uint32_t *label;
    size_t n_vocab;
};

static void score_item(void *arg, size_t t, int thread)
{
    const struct score_job *j = arg;
    const float *ref = j->ref + t * j->n_vocab, *logits = j->logits + t * j->n_vocab;
    uint32_t label = j->label[t];
    struct uc_token_score *o = &j->out[t];
    struct loss_pair p;
    double log_ref, log_model, nll_ref, nll, kld;

    j->fn(&p, ref, logits, label, j->n_vocab);
    log_ref = uc_log(p.ref.sum);
    log_model = uc_log(p.model.sum);
    nll_ref = log_ref - ((double)ref[label] - (double)p.ref.max);
    nll = log_model - ((double)logits[label] - (double)p.model.max);
    /* p.shift stands for the difference of the maxima up to its rounding, which is taken back. */
    kld = p.cross / p.ref.sum + (log_model - log_ref);
    kld += (double)p.shift - ((double)p.ref.max - (double)p.model.max);
    *o = (struct uc_token_score){
        .nll_ref = (float)nll_ref,
        .nll = (float)nll,
        .kld = kld <= 0 ? 0.0f : (float)kld,
        .top_ref = p.top_ref,
        .top = p.top,
        .rank_ref = p.rank_ref,
        .rank = p.rank,
        .rank_of_top_ref = p.rank_of_top_ref,
        .p_ref = (float)uc_exp(-nll_ref),
        .p = (float)uc_exp(-nll),
        .top10_overlap = p.overlap,
    };
}

void uc_score_tokens(struct uc_token_score *out, const float *ref, const float *logits,
                     const uint32_t *label, size_t n_tok, size_t n_vocab, struct uc_pool *pool)
{
    struct score_job j = {uc_loss_pair_row_pick(), out, ref, logits, label, n_vocab};

    uc_pool_run(pool, n_tok, score_item, &j);
}

struct sample_job {
    uc_loss_sample_fn *fn;
    float *logits, *weight;
    uint32_t *label;
    const float *u;
    size_t n_vocab;
};

static void sample_item(void *arg, size_t t, int thread)
{
    const struct sample_job *j = arg;
    double square;
    uint32_t pick = j->fn(j->logits + t * j->n_vocab, &square, j->u[t], j->n_vocab);

    if (j->weight)
        j->weight[t] = square < 1.0 ? (float)(1.0 - square) : 0.0f;
    if (j->label)
        j->label[t] = pick;
}

void uc_sample_grad(float *logits, float *weight, uint32_t *label, const float *u, size_t n_tok,
                    size_t n_vocab, struct uc_pool *pool)
{
    struct sample_job j = {uc_loss_sample_row_pick(), logits, weight, label, u, n_vocab};

    uc_pool_run(pool, n_tok, sample_item, &j);
}
