#include "formats/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "formats/tok.h"

struct uc_tokenizer {
    struct tok_bpe *bpe;
    struct tok_norm *norm;
    struct tok_pre *pre;
    struct tok_added *added;
    struct tok_decoder *decoder;
    struct tok_ids before, after; /* what the post-processor puts around a text */
    const char *what;             /* while parsing */
};

/* ---- post-processor ---- */

static int special_ids(const json_t *v, const json_t *piece, struct tok_ids *out, const char *what,
                       struct uc_err *err)
{
    const char *name = uc_json_str(json_object_get(piece, "SpecialToken"), "id", "");
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(v, "special_tokens"), name), "ids");

    if (json_array_size(ids) == 0)
        return uc_fail(err, UC_EREFUSED, "%s: post_processor: special token \"%s\" has no ids",
                       what, name);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        json_int_t id = json_integer_value(json_array_get(ids, i));
        uint32_t u = (uint32_t)id;
        if (!json_is_integer(json_array_get(ids, i)) || id < 0 || id >= TOK_NONE)
            return uc_fail(err, UC_EREFUSED, "%s: post_processor: \"%s\" has a bad id", what, name);
        if (tok_ids_add(out, &u, 1, err) < 0)
            return UC_ERESOURCE;
    }
    return 0;
}

/* Puts ids in front of those there are, or behind. */
static int wrap(struct tok_ids *to, const struct tok_ids *add, bool front, struct uc_err *err)
{
    size_t n = to->n;
    int rc = tok_ids_add(to, add->v, add->n, err);

    if (rc == 0 && front && add->n) {
        memmove(to->v + add->n, to->v, n * sizeof(*to->v));
        memcpy(to->v, add->v, add->n * sizeof(*to->v));
    }
    return rc;
}

static int add_template(struct uc_tokenizer *t, const json_t *v, struct uc_err *err)
{
    const json_t *single = json_object_get(v, "single");
    struct tok_ids side[2] = {{0}, {0}};
    int seen = 0, rc = 0;

    for (size_t i = 0; i < json_array_size(single) && rc == 0; i++) {
        const json_t *piece = json_array_get(single, i);
        const json_t *sequence = json_object_get(piece, "Sequence");
        if (!sequence)
            rc = special_ids(v, piece, &side[seen > 0], t->what, err);
        else if (strcmp(uc_json_str(sequence, "id", ""), "A") == 0)
            seen++;
    }
    if (rc == 0 && seen != 1)
        rc = uc_fail(err, UC_EREFUSED, "%s: post_processor: its template does not hold A once",
                     t->what);
    if (rc == 0)
        rc = wrap(&t->before, &side[0], true, err);
    if (rc == 0)
        rc = wrap(&t->after, &side[1], false, err);
    free(side[0].v);
    free(side[1].v);
    return rc;
}

static int add_post(void *arg, const json_t *v, const char *type, struct uc_err *err)
{
    struct uc_tokenizer *t = arg;

    if (strcmp(type, "TemplateProcessing") == 0)
        return add_template(t, v, err);
    if (strcmp(type, "ByteLevel") == 0)
        return 0; /* it moves offsets, which are not kept here */
    return tok_refuse(t->what, "post_processor", type, err);
}

/* ---- opening ---- */

static int read_file(struct uc_tokenizer *t, const json_t *root, struct uc_err *err)
{
    const char *what = t->what;

    if (!json_is_object(root))
        return uc_fail(err, UC_EREFUSED, "%s: not a tokenizer", what);
    if (strcmp(uc_json_str(root, "version", "1.0"), "1.0"))
        return uc_fail(err, UC_EREFUSED, "%s: tokenizer version \"%s\" is not known", what,
                       uc_json_str(root, "version", ""));
    t->bpe = tok_bpe_new(json_object_get(root, "model"), what, err);
    if (!t->bpe)
        return UC_EREFUSED;
    t->norm = tok_norm_new(json_object_get(root, "normalizer"), what, err);
    if (!t->norm)
        return UC_EREFUSED;
    t->pre = tok_pre_new(json_object_get(root, "pre_tokenizer"), what, err);
    if (!t->pre)
        return UC_EREFUSED;
    t->decoder = tok_decoder_new(json_object_get(root, "decoder"), what, err);
    if (!t->decoder)
        return UC_EREFUSED;
    t->added = tok_added_new(json_object_get(root, "added_tokens"), t->bpe, t->norm, what, err);
    if (!t->added)
        return UC_EREFUSED;
    return tok_each_step(json_object_get(root, "post_processor"), "processors", what, t, add_post,
                         err);
}

struct uc_tokenizer *uc_tokenizer_parse(const char *json, size_t n, const char *what,
                                        struct uc_err *err)
{
    json_t *root = uc_json_parse(json, n, what, err);
    struct uc_tokenizer *t;
    int rc;

    if (!root)
        return NULL;
    t = uc_xcalloc(1, sizeof(*t));
    t->what = what;
    rc = read_file(t, root, err);
    t->what = NULL;
    json_decref(root);
    if (rc == UC_EREFUSED)
        uc_fix(err, "uc reads BPE tokenizers made of the components that docs/import.md lists");
    if (rc < 0) {
        uc_tokenizer_free(t);
        return NULL;
    }
    return t;
}

struct uc_tokenizer *uc_tokenizer_open(const char *path, struct uc_err *err)
{
    struct uc_tokenizer *t;
    char *text;
    size_t n;

    if (uc_read_file(path, (size_t)256 << 20, &text, &n, err) < 0)
        return NULL;
    t = uc_tokenizer_parse(text, n, path, err);
    free(text);
    return t;
}

void uc_tokenizer_free(struct uc_tokenizer *t)
{
    if (!t)
        return;
    tok_bpe_free(t->bpe);
    tok_norm_free(t->norm);
    tok_pre_free(t->pre);
    tok_added_free(t->added);
    tok_decoder_free(t->decoder);
    free(t->before.v);
    free(t->after.v);
    free(t);
}

uint32_t uc_tokenizer_size(const struct uc_tokenizer *t)
{
    uint32_t a = tok_bpe_max(t->bpe), b = tok_added_max(t->added);

    return a > b ? a : b;
}

/* ---- encoding ---- */

struct encoder {
    const struct uc_tokenizer *t;
    struct tok_match *match;
    struct tok_bpe_run *bpe;
    struct tok_text text;
    struct tok_sections raw, cooked;
    struct tok_ids ids;
    struct uc_err *err;
};

/* Normalized text without added tokens. */
static int encode_plain(struct encoder *e, const char *p, size_t n, bool first)
{
    int rc = tok_text_set(&e->text, p, n, first, e->err);

    if (rc == 0)
        rc = tok_pre_run(e->t->pre, e->match, &e->text, e->err);
    for (size_t i = 0; i < e->text.n && rc == 0; i++)
        rc = tok_bpe_encode(e->bpe, uc_buf_str(&e->text.buf) + e->text.spans[i].pos,
                            e->text.spans[i].len, &e->ids, e->err);
    return rc;
}

/* Text between the added tokens that are looked for before normalizing. */
static int encode_section(struct encoder *e, const char *p, size_t n, bool first)
{
    struct uc_buf b;
    int rc;

    uc_buf_init(&b, SIZE_MAX / 4);
    uc_buf_add(&b, p, n);
    rc = uc_buf_check(&b, "text", e->err);
    if (rc == 0)
        rc = tok_norm_run(e->t->norm, e->match, &b, e->err);
    if (rc == 0)
        rc = tok_added_cut(e->t->added, true, uc_buf_str(&b), b.len, &e->cooked, e->err);
    for (size_t i = 0; i < e->cooked.n && rc == 0; i++) {
        const struct tok_section *s = &e->cooked.v[i];
        if (s->id != TOK_NONE)
            rc = tok_ids_add(&e->ids, &s->id, 1, e->err);
        else
            rc = encode_plain(e, uc_buf_str(&b) + s->begin, s->end - s->begin,
                              first && s->begin == 0);
    }
    uc_buf_release(&b);
    return rc;
}

static int encode_text(struct encoder *e, const char *text, size_t n, bool add_special)
{
    const struct uc_tokenizer *t = e->t;
    int rc = tok_added_cut(t->added, false, text, n, &e->raw, e->err);

    if (rc == 0 && add_special)
        rc = tok_ids_add(&e->ids, t->before.v, t->before.n, e->err);
    for (size_t i = 0; i < e->raw.n && rc == 0; i++) {
        const struct tok_section *s = &e->raw.v[i];
        if (s->id != TOK_NONE)
            rc = tok_ids_add(&e->ids, &s->id, 1, e->err);
        else
            rc = encode_section(e, text + s->begin, s->end - s->begin, s->begin == 0);
    }
    if (rc == 0 && add_special)
        rc = tok_ids_add(&e->ids, t->after.v, t->after.n, e->err);
    return rc;
}

int uc_tokenizer_encode(const struct uc_tokenizer *t, const char *text, size_t n, bool add_special,
                        uint32_t **ids, size_t *n_ids, struct uc_err *err)
{
    size_t good = uc_utf8_valid((const uint8_t *)text, n);
    struct encoder e = {.t = t, .err = err};
    int rc;

    *ids = NULL;
    *n_ids = 0;
    if (good < n) {
        rc = uc_fail(err, UC_EFAIL, "text is not UTF-8 at byte %zu (0x%02x)", good,
                     (unsigned)(uint8_t)text[good]);
        uc_fix(err, "convert the text, for example with: iconv -f LATIN1 -t UTF-8");
        return rc;
    }
    e.match = tok_match_new();
    e.bpe = tok_bpe_run_new(t->bpe, n);
    tok_text_init(&e.text);
    rc = encode_text(&e, text, n, add_special);
    tok_text_release(&e.text);
    tok_bpe_run_free(e.bpe);
    tok_match_free(e.match);
    free(e.raw.v);
    free(e.cooked.v);
    if (rc < 0) {
        free(e.ids.v);
        return rc;
    }
    *ids = e.ids.v ? e.ids.v : uc_xmalloc(sizeof(**ids));
    *n_ids = e.ids.n;
    return 0;
}

/* ---- decoding ---- */

int uc_tokenizer_decode(const struct uc_tokenizer *t, const uint32_t *ids, size_t n_ids,
                        bool skip_special, struct uc_buf *out, struct uc_err *err)
{
    struct tok_text text;
    int rc = 0;

    tok_text_init(&text);
    for (size_t i = 0; i < n_ids && rc == 0; i++) {
        bool special = false;
        size_t n;
        const char *s = tok_added_token(t->added, ids[i], &n, &special);
        if (!s)
            s = tok_bpe_token(t->bpe, ids[i], &n);
        if (!s)
            rc = uc_fail(err, UC_EFAIL, "id %u at position %zu is no token", ids[i], i);
        else if (!special || !skip_special)
            rc = tok_grow(&text.spans, &text.cap, text.n + 1, sizeof(*text.spans), err);
        if (rc < 0 || (special && skip_special))
            continue;
        text.spans[text.n++] = (struct tok_span){text.buf.len, n, false};
        uc_buf_add(&text.buf, s, n);
    }
    if (rc == 0)
        rc = uc_buf_check(&text.buf, "tokens", err);
    if (rc == 0)
        rc = tok_decoder_run(t->decoder, &text, out, err);
    tok_text_release(&text);
    return rc;
}
