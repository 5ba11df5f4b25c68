/* Shared by the two halves of uc_gguf_import; nobody else includes this. */
#ifndef UC_FORMATS_GGUF_IMPORT_H
#define UC_FORMATS_GGUF_IMPORT_H

#include "formats/gguf.h"

/* What the header says about a Llama model. */
struct gguf_llama {
    const struct uc_gguf *gguf;
    const char *what; /* the file, for messages */
    int64_t n_layers, hidden, intermediate, n_head, n_kv, head_dim, context, vocab;
    float rms_eps, rope_theta;
    double rope_factor; /* of linear scaling; 0: none */
    bool tied;
};

int gguf_llama_read(struct gguf_llama *m, const struct uc_gguf *g, const char *what,
                    struct uc_err *err);
/* config.json, generation_config.json, tokenizer.json, tokenizer_config.json into dir. */
int gguf_write_json(const struct gguf_llama *m, const char *dir, struct uc_err *err);

#endif
