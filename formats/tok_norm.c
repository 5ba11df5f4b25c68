#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/tok.h"

enum norm_kind {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWERCASE,
    NORM_PREPEND,
    NORM_REPLACE,
    NORM_STRIP,
    NORM_STRIP_ACCENTS,
    NORM_BYTE_LEVEL,
};

static const struct {
    const char *type;
    enum norm_kind kind;
} kinds[] = {
    {"NFC", NORM_NFC},
    {"NFD", NORM_NFD},
    {"NFKC", NORM_NFKC},
    {"NFKD", NORM_NFKD},
    {"Lowercase", NORM_LOWERCASE},
    {"Prepend", NORM_PREPEND},
    {"Replace", NORM_REPLACE},
    {"Strip", NORM_STRIP},
    {"StripAccents", NORM_STRIP_ACCENTS},
    {"ByteLevel", NORM_BYTE_LEVEL},
};

struct norm_step {
    enum norm_kind kind;
    struct tok_pattern *pattern;
    char *text; /* what is prepended or put in */
    size_t n;
    bool left, right;
};

struct tok_norm {
    struct norm_step *steps;
    size_t n;
    const char *what; /* while parsing */
};

static int take_text(struct norm_step *s, const json_t *v, const char *what, struct uc_err *err)
{
    if (!json_is_string(v))
        return uc_fail(err, UC_EREFUSED, "%s: a normalizer lacks its text", what);
    s->n = json_string_length(v);
    s->text = uc_xmalloc(s->n + 1);
    memcpy(s->text, json_string_value(v), s->n);
    s->text[s->n] = 0;
    return 0;
}

static int add_step(void *arg, const json_t *v, const char *type, struct uc_err *err)
{
    struct tok_norm *n = arg;
    struct norm_step *s;
    size_t k = 0;
    int rc = 0;

    while (k < UC_COUNT(kinds) && strcmp(kinds[k].type, type))
        k++;
    if (k == UC_COUNT(kinds))
        return tok_refuse(n->what, "normalizer", type, err);
    n->steps = uc_xrealloc(n->steps, (n->n + 1) * sizeof(*n->steps));
    s = &n->steps[n->n++];
    memset(s, 0, sizeof(*s));
    s->kind = kinds[k].kind;
    s->left = uc_json_bool(v, "strip_left", true);
    s->right = uc_json_bool(v, "strip_right", true);
    if (s->kind == NORM_PREPEND)
        rc = take_text(s, json_object_get(v, "prepend"), n->what, err);
    if (s->kind == NORM_REPLACE) {
        rc = take_text(s, json_object_get(v, "content"), n->what, err);
        if (rc == 0) {
            s->pattern = tok_pattern_json(json_object_get(v, "pattern"), n->what, err);
            rc = s->pattern ? 0 : UC_EREFUSED;
        }
    }
    return rc;
}

struct tok_norm *tok_norm_new(const json_t *v, const char *what, struct uc_err *err)
{
    struct tok_norm *n = uc_xcalloc(1, sizeof(*n));

    n->what = what;
    if (tok_each_step(v, "normalizers", what, n, add_step, err) < 0) {
        tok_norm_free(n);
        return NULL;
    }
    n->what = NULL;
    return n;
}

void tok_norm_free(struct tok_norm *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->n; i++) {
        tok_pattern_free(n->steps[i].pattern);
        free(n->steps[i].text);
    }
    free(n->steps);
    free(n);
}

static bool is_ascii(const struct uc_buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i] >= 0x80)
            return false;
    return true;
}

static int unicode_form(enum norm_kind kind, struct uc_buf *b, struct uc_err *err)
{
    int options = UTF8PROC_STABLE;
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t n;

    if (is_ascii(b))
        return 0;
    options |= kind == NORM_NFC || kind == NORM_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (kind == NORM_NFKC || kind == NORM_NFKD)
        options |= UTF8PROC_COMPAT;
    n = utf8proc_map(b->data, (utf8proc_ssize_t)b->len, &out, (utf8proc_option_t)options);
    if (n < 0)
        return uc_fail(err, n == UTF8PROC_ERROR_NOMEM ? UC_ERESOURCE : UC_EFAIL,
                       "tokenizer: normalizing: %s", utf8proc_errmsg(n));
    uc_buf_clear(b);
    uc_buf_add(b, out, (size_t)n);
    free(out);
    return 0;
}

/* Steps that look at one character at a time. */
static void by_character(enum norm_kind kind, const struct uc_buf *in, struct uc_buf *out)
{
    size_t len;

    for (size_t i = 0; i < in->len; i += len) {
        const char *p = (const char *)in->data + i;
        uint32_t c = tok_char(p, in->len - i, &len);
        if (kind == NORM_STRIP_ACCENTS) {
            if (!tok_is_mark(c))
                uc_buf_add(out, p, len);
        } else if (kind == NORM_BYTE_LEVEL) {
            for (size_t k = 0; k < len; k++)
                tok_put_char(out, tok_byte_char((uint8_t)p[k]));
        } else if (c == 0x130) {
            tok_put_char(out, 'i'); /* the one letter whose lower case is two characters */
            tok_put_char(out, 0x307);
        } else {
            tok_put_char(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
        }
    }
}

static int replace(const struct norm_step *s, struct tok_match *m, const struct uc_buf *in,
                   struct uc_buf *out, struct uc_err *err)
{
    const char *text = uc_buf_str(in);
    size_t done = 0, begin, end;
    struct tok_find f;
    int rc;

    tok_find_init(&f, s->pattern, m, text, in->len);
    while ((rc = tok_find_next(&f, &begin, &end, err)) > 0) {
        uc_buf_add(out, text + done, begin - done);
        uc_buf_add(out, s->text, s->n);
        done = end;
    }
    uc_buf_add(out, text + done, in->len - done);
    return rc;
}

static void strip(const struct norm_step *s, const struct uc_buf *in, struct uc_buf *out)
{
    const char *p = uc_buf_str(in);
    size_t begin = 0, end = in->len, len;

    while (s->left && begin < end && tok_is_space(tok_char(p + begin, end - begin, &len)))
        begin += len;
    while (s->right && end > begin && tok_is_space(tok_char_before(p, end, &len)))
        end -= len;
    uc_buf_add(out, p + begin, end - begin);
}

static int run_step(const struct norm_step *s, struct tok_match *m, const struct uc_buf *in,
                    struct uc_buf *out, struct uc_err *err)
{
    switch (s->kind) {
    case NORM_PREPEND:
        uc_buf_add(out, s->text, s->n);
        uc_buf_add(out, in->data, in->len);
        return 0;
    case NORM_REPLACE:
        return replace(s, m, in, out, err);
    case NORM_STRIP:
        strip(s, in, out);
        return 0;
    default:
        by_character(s->kind, in, out);
        return 0;
    }
}

int tok_norm_run(const struct tok_norm *n, struct tok_match *m, struct uc_buf *b,
                 struct uc_err *err)
{
    for (size_t i = 0; i < n->n && b->len; i++) {
        const struct norm_step *s = &n->steps[i];
        struct uc_buf out, old = *b;
        int rc;
        if (s->kind <= NORM_NFKD) {
            rc = unicode_form(s->kind, b, err);
        } else {
            uc_buf_init(&out, b->max);
            rc = run_step(s, m, b, &out, err);
            *b = out;
            uc_buf_release(&old);
        }
        if (rc == 0)
            rc = uc_buf_check(b, "normalized text", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
