#include "model/eval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/forward.h"
#include "model/head.h"
#include "model/report.h"

#define GROUP_BYTES ((size_t)96 << 20)

int uc_eval_check(const struct uc_eval *e, struct uc_err *err)
{
    if (uc_protocol_windows(&e->protocol, e->n_ids))
        return 0;
    uc_fail(err, UC_EUSAGE, "the evaluation text has %zu tokens, fewer than one window of %zu",
            e->n_ids, e->protocol.window);
    return uc_fix(err, "give a longer text or a smaller window");
}

uint64_t uc_eval_work(const struct uc_eval *e, size_t w0, size_t n)
{
    uint64_t n_tok = 0;

    for (size_t i = w0; i < w0 + n; i++)
        n_tok += uc_protocol_span(&e->protocol, e->n_ids, i).len;
    return n_tok * e->n_layers;
}

size_t uc_eval_group(const struct uc_eval *e)
{
    size_t n = GROUP_BYTES / (e->protocol.window * e->block.hidden * sizeof(float));

    return n ? n : 1;
}

/* Rows of x for windows [w0, w0 + n), one window after the other. */
static int embed_windows(const struct uc_eval *e, struct uc_weights *from, size_t w0, size_t n,
                         float *x, struct uc_err *err)
{
    struct uc_weight w;
    int rc = from->get(from, UC_NO_LAYER, "embed", &w, err);

    if (rc < 0)
        return rc;
    if (w.n_dim != 2 || w.shape[1] != e->block.hidden)
        rc = uc_fail(err, UC_EREFUSED, "the embedding's width is not %u", e->block.hidden);
    for (size_t i = w0; i < w0 + n && rc == 0; i++) {
        struct uc_span s = uc_protocol_span(&e->protocol, e->n_ids, i);
        uint32_t bos = (uint32_t)e->protocol.bos;

        rc = uc_embed_rows(&w, e->ids + s.start, s.len, x, err);
        if (rc == 0 && e->protocol.bos >= 0)
            rc = uc_embed_rows(&w, &bos, 1, x, err);
        x += s.len * e->block.hidden;
    }
    uc_weight_put(&w);
    return rc;
}

static int run_layer(const struct uc_eval *e, struct uc_weights *from, int layer, float *x,
                     size_t n_tok, struct uc_err *err)
{
    struct uc_weight w[UC_MAX_ROLES];
    struct uc_block_run *run;
    size_t hidden = e->block.hidden;
    int rc = uc_weights_get_block(from, &e->block, layer, w, err);

    if (rc < 0)
        return rc;
    rc = uc_block_run_new(&run, &e->block, w, e->protocol.window, false, e->pool, err);
    uc_weights_put_block(&e->block, w);
    if (rc < 0)
        return rc;
    for (size_t t = 0; t < n_tok; t += run->batch) {
        size_t n = n_tok - t < run->batch ? n_tok - t : run->batch;

        memcpy(x + t * hidden, uc_block_forward(run, x + t * hidden, n),
               n * hidden * sizeof(float));
    }
    uc_block_run_free(run);
    return 0;
}

/* Final norm of the scored rows only. */
static int norm_scored(const struct uc_eval *e, struct uc_weights *from, size_t w0, size_t n,
                       const float *x, float *h, struct uc_err *err)
{
    size_t hidden = e->block.hidden;
    float *norm = NULL;
    struct uc_weight w;
    int rc = from->get(from, UC_NO_LAYER, "final_norm", &w, err);

    if (rc < 0)
        return rc;
    rc = uc_alloc(&norm, hidden, sizeof(float), "a norm", err);
    if (rc == 0)
        rc = uc_weight_vector(&w, norm, hidden, err);
    for (size_t i = w0; i < w0 + n && rc == 0; i++) {
        struct uc_span s = uc_protocol_span(&e->protocol, e->n_ids, i);

        uc_final_norm(h, NULL, x + s.first * hidden, norm, s.n_scored, &e->block, e->pool);
        x += s.len * hidden;
        h += s.n_scored * hidden;
    }
    free(norm);
    uc_weight_put(&w);
    return rc;
}

int uc_eval_hidden(const struct uc_eval *e, struct uc_weights *from, size_t w0, size_t n, float *h,
                   struct uc_err *err)
{
    uint64_t work = uc_eval_work(e, w0, n);
    size_t n_tok;
    float *x = NULL;
    int rc;

    if (!e->n_layers)
        return uc_fail(err, UC_EUSAGE, "the model has no layers");
    n_tok = (size_t)(work / e->n_layers);
    rc = uc_alloc(&x, n_tok * e->block.hidden, sizeof(float), "hidden states", err);
    if (rc == 0)
        rc = embed_windows(e, from, w0, n, x, err);
    for (uint32_t l = 0; l < e->n_layers && rc == 0; l++) {
        rc = run_layer(e, from, (int)l, x, n_tok, err);
        if (rc == 0 && e->progress)
            e->progress(e->progress_arg, e->progress_base + n_tok * (l + 1),
                        e->progress_total ? e->progress_total : work);
    }
    if (rc == 0)
        rc = norm_scored(e, from, w0, n, x, h, err);
    free(x);
    return rc;
}

/* ---- a model against its source ---- */

struct scorer {
    const struct uc_eval *e;
    struct uc_weight source_head, model_head;
    float *h, *ref_h; /* of a group */
    float *logits, *ref_logits;
    uint32_t *labels;
    struct uc_token_score *scores; /* of all scored positions */
    size_t n_scores, done;
};

static int get_head(struct uc_weights *from, const struct uc_block *b, struct uc_weight *w,
                    struct uc_err *err)
{
    int rc = from->get(from, UC_NO_LAYER, "head", w, err);

    if (rc == 0) {
        rc = uc_weight_check_shape(w, w->shape[0], b->hidden, err);
        if (rc == 0)
            rc = uc_weight_check_finite(w, err);
        if (rc < 0)
            uc_within(err, "the head");
    }
    return rc;
}

static int scorer_init(struct scorer *s, const struct uc_eval *e, const struct uc_eval_pair *pair,
                       struct uc_err *err)
{
    size_t windows = uc_protocol_windows(&e->protocol, e->n_ids), group = uc_eval_group(e);
    size_t rows = (group < windows ? group : windows) * e->protocol.window;
    size_t vocab;
    int rc;

    memset(s, 0, sizeof(*s));
    s->e = e;
    s->n_scores = uc_protocol_scored(&e->protocol, e->n_ids, 0, windows);
    if ((rc = get_head(pair->source, &e->block, &s->source_head, err)) < 0 ||
        (pair->model && (rc = get_head(pair->model, &e->block, &s->model_head, err)) < 0))
        return rc;
    vocab = s->source_head.shape[0];
    if (pair->model && s->model_head.shape[0] != vocab)
        return uc_fail(err, UC_EREFUSED, "the source predicts %zu tokens, the model %zu", vocab,
                       (size_t)s->model_head.shape[0]);
    if ((rc = uc_alloc(&s->ref_logits, UC_HEAD_ROWS * vocab, sizeof(float), "logits", err)) < 0 ||
        (rc = uc_alloc(&s->labels, rows, sizeof(uint32_t), "labels", err)) < 0 ||
        (rc = uc_alloc(&s->scores, s->n_scores, sizeof(*s->scores), "scores", err)) < 0)
        return rc;
    if (!pair->ref_h)
        rc = uc_alloc(&s->ref_h, rows * e->block.hidden, sizeof(float), "hidden states", err);
    if (rc == 0 && pair->model) {
        rc = uc_alloc(&s->logits, UC_HEAD_ROWS * vocab, sizeof(float), "logits", err);
        if (rc == 0)
            rc = uc_alloc(&s->h, rows * e->block.hidden, sizeof(float), "hidden states", err);
    }
    return rc;
}

static void scorer_release(struct scorer *s)
{
    uc_weight_put(&s->source_head);
    uc_weight_put(&s->model_head);
    free(s->h);
    free(s->ref_h);
    free(s->logits);
    free(s->ref_logits);
    free(s->labels);
    free(s->scores);
}

/* Scores n rows. Without a model, the source is its own: its figures are the reference's. */
static int score_rows(struct scorer *s, const float *ref_h, size_t n, struct uc_err *err)
{
    const struct uc_eval *e = s->e;
    size_t hidden = e->block.hidden, vocab = s->source_head.shape[0];
    int rc = 0;

    for (size_t t = 0; t < n && rc == 0; t += UC_HEAD_ROWS) {
        size_t k = n - t < UC_HEAD_ROWS ? n - t : UC_HEAD_ROWS;

        rc = uc_head_logits(&s->source_head, ref_h + t * hidden, k, s->ref_logits, e->pool, err);
        if (rc == 0 && s->h)
            rc = uc_head_logits(&s->model_head, s->h + t * hidden, k, s->logits, e->pool, err);
        if (rc == 0)
            uc_score_tokens(s->scores + s->done + t, s->ref_logits,
                            s->h ? s->logits : s->ref_logits, s->labels + t, k, vocab, e->pool);
    }
    s->done += n;
    return rc;
}

static int check_labels(const struct scorer *s, size_t n, struct uc_err *err)
{
    for (size_t t = 0; t < n; t++)
        if (s->labels[t] >= s->source_head.shape[0])
            return uc_fail(err, UC_EREFUSED, "token id %u is not below the head's %" PRIu64 " rows",
                           s->labels[t], s->source_head.shape[0]);
    return 0;
}

/* Hidden states of both models for windows [w, w + n) into s; *ref_h: where the source's lie. */
static int run_models(struct uc_eval *e, const struct uc_eval_pair *pair, struct scorer *s,
                      size_t w, size_t n, const float **ref_h, struct uc_err *err)
{
    uint64_t work = uc_eval_work(e, w, n);
    int rc = 0;

    *ref_h = pair->ref_h ? pair->ref_h + s->done * e->block.hidden : s->ref_h;
    if (!pair->ref_h) {
        rc = uc_eval_hidden(e, pair->source, w, n, s->ref_h, err);
        e->progress_base += work;
    }
    if (rc == 0 && pair->model) {
        rc = uc_eval_hidden(e, pair->model, w, n, s->h, err);
        e->progress_base += work;
    }
    return rc;
}

int uc_eval_run(const struct uc_eval *eval, const struct uc_eval_pair *pair, json_t **report,
                struct uc_err *err)
{
    struct uc_eval e = *eval;
    size_t windows = uc_protocol_windows(&e.protocol, e.n_ids), group = uc_eval_group(&e);
    struct scorer s;
    int rc = uc_eval_check(&e, err);

    *report = NULL;
    if (rc < 0)
        return rc;
    e.progress_base = 0;
    e.progress_total = uc_eval_work(&e, 0, windows) * (!pair->ref_h + (pair->model != NULL));
    rc = scorer_init(&s, &e, pair, err);
    for (size_t w = 0; w < windows && rc == 0; w += group) {
        size_t n = windows - w < group ? windows - w : group;
        size_t scored = uc_protocol_scored(&e.protocol, e.n_ids, w, n);
        const float *ref_h;

        uc_protocol_labels(&e.protocol, e.ids, e.n_ids, w, n, s.labels);
        rc = check_labels(&s, scored, err);
        if (rc == 0)
            rc = run_models(&e, pair, &s, w, n, &ref_h, err);
        if (rc == 0)
            rc = score_rows(&s, ref_h, scored, err);
    }
    if (rc == 0)
        rc = uc_eval_report(&e, s.scores, s.n_scores, pair->model != NULL, pair->text_bytes, report,
                            err);
    scorer_release(&s);
    return rc;
}
