/*
 * Parts of the tokenizer (formats/tokenizer.h) that its files share; nobody else includes this.
 *
 * A text flows through: sections between added tokens -> normalizer steps -> pre-tokenizer steps
 * (spans of a text) -> BPE of every span. A step list is the flattened "Sequence" of the file.
 */
#ifndef UC_FORMATS_TOK_H
#define UC_FORMATS_TOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define TOK_NONE UINT32_MAX

/* ---- Unicode (tok_unicode.c) ---- */

/* The code point at p[0..n), which is valid UTF-8 and not empty; *len gets its bytes. */
uint32_t tok_char(const char *p, size_t n, size_t *len);
/* The code point that ends at p[n), n > 0. */
uint32_t tok_char_before(const char *p, size_t n, size_t *len);
int tok_put_char(struct uc_buf *b, uint32_t c);
bool tok_is_space(uint32_t c);   /* property White_Space */
bool tok_is_numeric(uint32_t c); /* Nd, Nl, No */
bool tok_is_punct(uint32_t c);   /* ASCII punctuation or P* */
bool tok_is_mark(uint32_t c);    /* Mn, Mc, Me */
bool tok_is_word(uint32_t c);    /* what \w means in the `regex` crate */
/* The character that stands for byte b in byte-level vocabularies (the GPT-2 table). */
uint32_t tok_byte_char(uint8_t b);
/* The reverse; -1 when c stands for no byte. */
int tok_char_byte(uint32_t c);

/* Makes room for need elements of size bytes in *p (an array of *cap). */
int tok_grow(void *p, size_t *cap, size_t need, size_t size, struct uc_err *err);

/* ---- patterns (tok_regex.c) ---- */

struct tok_pattern; /* a literal or a compiled regular expression */
/* One per encode call: what matching needs to write to. */
struct tok_match;

struct tok_pattern *tok_pattern_literal(const char *s, size_t n);
/* Oniguruma's Ruby syntax, as the file has it. what names the component in messages. */
struct tok_pattern *tok_pattern_regex(const char *s, size_t n, const char *what,
                                      struct uc_err *err);
/* {"String": s} or {"Regex": s}. */
struct tok_pattern *tok_pattern_json(const json_t *v, const char *what, struct uc_err *err);
void tok_pattern_free(struct tok_pattern *p);
struct tok_match *tok_match_new(void);
void tok_match_free(struct tok_match *m);

struct tok_find {
    const struct tok_pattern *pattern;
    struct tok_match *match;
    const char *text;
    size_t n, at;
    size_t last; /* end of the last match; SIZE_MAX before the first */
};
void tok_find_init(struct tok_find *f, const struct tok_pattern *p, struct tok_match *m,
                   const char *text, size_t n);
/* 1 and the next match [*begin, *end), 0 when there is none, negative on error. */
int tok_find_next(struct tok_find *f, size_t *begin, size_t *end, struct uc_err *err);

/* ---- normalizer (tok_norm.c) ---- */

struct tok_norm;
struct tok_norm *tok_norm_new(const json_t *v, const char *what, struct uc_err *err);
void tok_norm_free(struct tok_norm *n);
/* Replaces the text in b. */
int tok_norm_run(const struct tok_norm *n, struct tok_match *m, struct uc_buf *b,
                 struct uc_err *err);

/* ---- pre-tokenizer (tok_pre.c) ---- */

struct tok_span {
    size_t pos, len;
    bool first; /* starts where the whole text starts */
};

struct tok_text {
    struct uc_buf buf;
    struct tok_span *spans;
    size_t n, cap;
};
void tok_text_init(struct tok_text *t);
void tok_text_release(struct tok_text *t);
/* The text as one span, or none when it is empty. */
int tok_text_set(struct tok_text *t, const char *p, size_t n, bool first, struct uc_err *err);

struct tok_pre;
struct tok_pre *tok_pre_new(const json_t *v, const char *what, struct uc_err *err);
void tok_pre_free(struct tok_pre *p);
int tok_pre_run(const struct tok_pre *p, struct tok_match *m, struct tok_text *t,
                struct uc_err *err);

/* ---- BPE (tok_bpe.c) ---- */

struct tok_ids {
    uint32_t *v;
    size_t n, cap;
};
int tok_ids_add(struct tok_ids *ids, const uint32_t *v, size_t n, struct uc_err *err);

struct tok_bpe;
/* Scratch and the cache of pieces of one encode call. */
struct tok_bpe_run;

struct tok_bpe *tok_bpe_new(const json_t *model, const char *what, struct uc_err *err);
void tok_bpe_free(struct tok_bpe *b);
size_t tok_bpe_count(const struct tok_bpe *b); /* entries of the vocabulary */
uint32_t tok_bpe_max(const struct tok_bpe *b); /* highest id + 1 */
uint32_t tok_bpe_id(const struct tok_bpe *b, const char *s, size_t n); /* TOK_NONE: unknown */
/* NULL when no token has the id. */
const char *tok_bpe_token(const struct tok_bpe *b, uint32_t id, size_t *n);

struct tok_bpe_run *tok_bpe_run_new(const struct tok_bpe *b, size_t n_text);
void tok_bpe_run_free(struct tok_bpe_run *r);
/* Appends the ids of one piece. */
int tok_bpe_encode(struct tok_bpe_run *r, const char *piece, size_t n, struct tok_ids *out,
                   struct uc_err *err);

/* ---- added tokens (tok_added.c) ---- */

struct tok_added;
/* norm may be NULL. Ids are given as the library gives them: the vocabulary's, else the next. */
struct tok_added *tok_added_new(const json_t *list, const struct tok_bpe *bpe,
                                const struct tok_norm *norm, const char *what, struct uc_err *err);
void tok_added_free(struct tok_added *a);
uint32_t tok_added_max(const struct tok_added *a); /* highest id + 1 */
/* NULL when id is not an added token. The form that decoders see. */
const char *tok_added_token(const struct tok_added *a, uint32_t id, size_t *n, bool *special);

struct tok_section {
    size_t begin, end;
    uint32_t id; /* of an added token; TOK_NONE: ordinary text */
};
struct tok_sections {
    struct tok_section *v;
    size_t n, cap;
};
/* Cuts text at the added tokens with that value of "normalized". */
int tok_added_cut(const struct tok_added *a, bool normalized, const char *text, size_t n,
                  struct tok_sections *out, struct uc_err *err);

/* ---- decoder (tok_decode.c) ---- */

struct tok_decoder;
struct tok_decoder *tok_decoder_new(const json_t *v, const char *what, struct uc_err *err);
void tok_decoder_free(struct tok_decoder *d);
/* Tokens as spans of t; the text is appended to out. d NULL: tokens joined by spaces. */
int tok_decoder_run(const struct tok_decoder *d, struct tok_text *t, struct uc_buf *out,
                    struct uc_err *err);

/* ---- steps of a file's component ---- */

/* Calls add for v, or for every member of it when v is a Sequence whose parts are in v[parts];
 * null means no step. */
int tok_each_step(const json_t *v, const char *parts, const char *what, void *arg,
                  int (*add)(void *arg, const json_t *v, const char *type, struct uc_err *err),
                  struct uc_err *err);
int tok_refuse(const char *what, const char *component, const char *type, struct uc_err *err);

#endif
