#include "model/head.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/block.h"
#include "kernels/convert.h"
#include "kernels/gemm.h"

#define BLOCK 4096

static const void *row_of(const struct uc_weight *w, size_t row)
{
    return (const uint8_t *)w->data + row * w->shape[1] * (uc_dtype_bits(w->dtype) / 8);
}

int uc_head_logits(const struct uc_weight *head, const float *h, size_t n_tok, float *logits,
                   struct uc_pool *pool, struct uc_err *err)
{
    size_t vocab = head->shape[0], hidden = head->shape[1];
    float *packed;
    int rc =
        uc_alloc(&packed, uc_gemm_packed_len(BLOCK, hidden), sizeof(float), "packed head", err);

    if (rc < 0)
        return rc;
    for (size_t v = 0; v < vocab; v += BLOCK) {
        size_t n = vocab - v < BLOCK ? vocab - v : BLOCK;

        uc_gemm_pack(packed, row_of(head, v), head->dtype, n, hidden, hidden, false);
        uc_gemm(logits + v, vocab, h, hidden, packed, n_tok, n, hidden, pool);
    }
    free(packed);
    return 0;
}

int uc_head_backward(const struct uc_weight *head, const float *dlogits, size_t n_tok, float *dh,
                     struct uc_pool *pool, struct uc_err *err)
{
    size_t vocab = head->shape[0], hidden = head->shape[1];
    float *packed, *part = NULL;
    int rc =
        uc_alloc(&packed, uc_gemm_packed_len(hidden, BLOCK), sizeof(float), "packed head", err);

    if (rc == 0)
        rc = uc_alloc(&part, n_tok * hidden, sizeof(float), "gradients", err);
    for (size_t v = 0; v < vocab && rc == 0; v += BLOCK) {
        size_t k = vocab - v < BLOCK ? vocab - v : BLOCK;

        uc_gemm_pack(packed, row_of(head, v), head->dtype, hidden, k, hidden, true);
        uc_gemm(v ? part : dh, hidden, dlogits + v, vocab, packed, n_tok, hidden, k, pool);
        if (v)
            uc_add(dh, part, n_tok * hidden);
    }
    free(packed);
    free(part);
    return rc;
}

int uc_embed_rows(const struct uc_weight *w, const uint32_t *ids, size_t n, float *x,
                  struct uc_err *err)
{
    size_t width = w->shape[1];

    for (size_t t = 0; t < n; t++) {
        if (ids[t] >= w->shape[0]) {
            uc_fail(err, UC_EREFUSED,
                    "token id %u at position %zu is not below the %" PRIu64
                    " rows of the embedding",
                    ids[t], t, w->shape[0]);
            return uc_fix(err, "the tokenizer does not belong to this model");
        }
        uc_to_f32(x + t * width, row_of(w, ids[t]), w->dtype, width);
    }
    return 0;
}
