/* The statistics ops chained over the tiny model, every output's digest kept. */
#ifndef UC_TESTS_TINY_CHAIN_H
#define UC_TESTS_TINY_CHAIN_H

#include "base/digest.h"
#include "model/dir.h"

struct chain {
    struct uc_model_dir model;
    json_t *description;
    uint32_t *ids;
    size_t n_ids;
};

struct chain_digests {
    size_t n;
    struct {
        char name[40];
        struct uc_digest digest;
    } out[64];
};

/* The tiny model, and the first n tokens of its held-out text (0: all). */
void chain_open(struct chain *c, size_t n);
void chain_close(struct chain *c);
/* embed, capture of layer 0, capture_head, sensitivity_head, sensitivity of layer 0,
 * sensitivity_embed, factor, reference and bench of the first layer, with windows of seqlen of
 * which one is read backward. */
void chain_run(const struct chain *c, size_t seqlen, int threads, struct chain_digests *d);

#endif
