/*
 * Evaluation: windows of a text by a named protocol, hidden states of a model at the scored
 * positions, and the figures of a model against its source. Models are streamed layer by layer over
 * groups of windows, so neither is ever in memory as a whole. All figures are bit-exact, so a
 * report can be a cached output.
 */
#ifndef UC_MODEL_EVAL_H
#define UC_MODEL_EVAL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"
#include "model/arch.h"
#include "model/weights.h"

enum uc_protocol_kind {
    UC_PROTOCOL_LLAMA,   /* as llama.cpp's perplexity: windows do not overlap, the second half is
                            scored: positions W/2 .. W-2 predict the token after them */
    UC_PROTOCOL_STRIDED, /* windows start every stride tokens, each token is scored once, in the
                            first window that holds it (Hugging Face's documentation) */
};

struct uc_protocol {
    enum uc_protocol_kind kind;
    size_t window, stride; /* tokens; llama: stride == window */
    size_t limit;          /* windows; 0: all */
    int64_t bos;           /* llama: this id replaces the first of each window; -1: none.
                              Other protocols ignore it */
};

/* UC_EUSAGE: unknown name, window below 2, stride not in [1, window]. stride 0: the default, the
 * window for llama and half of it for strided. */
int uc_protocol_init(struct uc_protocol *p, const char *name, int64_t window, int64_t stride,
                     int64_t limit, int64_t bos, struct uc_err *err);
const char *uc_protocol_name(const struct uc_protocol *p);

/* A window over ids[start, start + len): positions first .. first + n_scored - 1 are scored, each
 * on the id that follows it. */
struct uc_span {
    size_t start, len, first, n_scored;
};
/* Windows of a text of n_ids; 0 when it is too short for one. */
size_t uc_protocol_windows(const struct uc_protocol *p, size_t n_ids);
struct uc_span uc_protocol_span(const struct uc_protocol *p, size_t n_ids, size_t window);
/* Scored positions of windows [w0, w0 + n). */
size_t uc_protocol_scored(const struct uc_protocol *p, size_t n_ids, size_t w0, size_t n);
/* The ids after the scored positions of windows [w0, w0 + n), in order. */
void uc_protocol_labels(const struct uc_protocol *p, const uint32_t *ids, size_t n_ids, size_t w0,
                        size_t n, uint32_t *out);

typedef void uc_eval_progress_fn(void *arg, uint64_t done, uint64_t total);

struct uc_eval {
    struct uc_block block;
    uint32_t n_layers;
    const uint32_t *ids;
    size_t n_ids;
    struct uc_protocol protocol;
    struct uc_pool *pool;
    uc_eval_progress_fn *progress; /* tokens times layers; may be NULL */
    void *progress_arg;
    /* What a caller of several uc_eval_hidden has behind it and before it; total 0: this call's. */
    uint64_t progress_base, progress_total;
};

/* UC_EUSAGE when the text is shorter than one window. */
int uc_eval_check(const struct uc_eval *e, struct uc_err *err);
/* Tokens times layers of windows [w0, w0 + n): the work of one uc_eval_hidden. */
uint64_t uc_eval_work(const struct uc_eval *e, size_t w0, size_t n);
/* Windows that are worth streaming the weights once for: bounds the hidden states to 96 MiB. */
size_t uc_eval_group(const struct uc_eval *e);
/* Final-norm outputs at the scored positions of windows [w0, w0 + n) into
 * h [uc_protocol_scored, hidden]. n should not exceed uc_eval_group. */
int uc_eval_hidden(const struct uc_eval *e, struct uc_weights *from, size_t w0, size_t n, float *h,
                   struct uc_err *err);

/*
 * A model against its source. source gives the source's weights; with ref_h (its final-norm outputs
 * at all scored positions, from uc_eval_hidden) only its head is read. model NULL: the source
 * alone, and the report holds its figures only. text_bytes: bytes that the ids stand for, 0 when
 * not known (no bits per byte then).
 *
 * *report: every mean with its standard error as NAME_se (docs/bench.md). Caller json_decref()s.
 */
struct uc_eval_pair {
    struct uc_weights *source, *model;
    const float *ref_h;
    uint64_t text_bytes;
};
int uc_eval_run(const struct uc_eval *e, const struct uc_eval_pair *pair, json_t **report,
                struct uc_err *err);

#endif
