/*
 * Tokenizer of a model folder, read from tokenizer.json as the `tokenizers` library means it:
 * added tokens, normalizer, pre-tokenizer, BPE model, post-processor. Unknown component types are
 * refused by name. Source: github.com/huggingface/tokenizers.
 */
#ifndef UC_FORMATS_TOKENIZER_H
#define UC_FORMATS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct uc_tokenizer;

/* path: the tokenizer.json. NULL and err on failure. Immutable afterwards: threads may share it,
 * each with its own uc_tok_encode call. */
struct uc_tokenizer *uc_tokenizer_open(const char *path, struct uc_err *err);
struct uc_tokenizer *uc_tokenizer_parse(const char *json, size_t n, const char *what,
                                        struct uc_err *err);
void uc_tokenizer_free(struct uc_tokenizer *t);

/* Number of ids (highest id + 1). */
uint32_t uc_tokenizer_size(const struct uc_tokenizer *t);

/* Ids of a UTF-8 text; caller frees *ids. add_special runs the post-processor (BOS, EOS).
 * Invalid UTF-8 is UC_EFAIL naming the byte offset. */
int uc_tokenizer_encode(const struct uc_tokenizer *t, const char *text, size_t n, bool add_special,
                        uint32_t **ids, size_t *n_ids, struct uc_err *err);
/* Text of ids (decoder applied); unknown ids are an error. skip_special leaves special tokens out.
 */
int uc_tokenizer_decode(const struct uc_tokenizer *t, const uint32_t *ids, size_t n_ids,
                        bool skip_special, struct uc_buf *out, struct uc_err *err);

#endif
