#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/tok.h"

enum pre_kind { PRE_SPLIT, PRE_BYTE_LEVEL, PRE_METASPACE, PRE_CLASS, PRE_WHITESPACE };
enum pre_behavior { REMOVED, ISOLATED, MERGED_PREVIOUS, MERGED_NEXT, CONTIGUOUS };
enum pre_scheme { ALWAYS, FIRST, NEVER };

static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
static const char *const schemes[] = {"always", "first", "never"};

/* The expression of GPT-2, which ByteLevel uses unless the file says otherwise. */
static const char gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct pre_step {
    enum pre_kind kind;
    struct tok_pattern *pattern; /* SPLIT, BYTE_LEVEL with an expression, METASPACE that splits */
    bool (*is_member)(uint32_t); /* CLASS */
    enum pre_behavior behavior;
    enum pre_scheme scheme;
    bool invert;
    char mark[5]; /* METASPACE: what a space becomes; BYTE_LEVEL: the prefix, or "" */
};

struct tok_pre {
    struct pre_step *steps;
    size_t n;
    const char *what; /* while parsing */
};

/* ---- texts ---- */

void tok_text_init(struct tok_text *t)
{
    memset(t, 0, sizeof(*t));
    uc_buf_init(&t->buf, SIZE_MAX / 4);
}

void tok_text_release(struct tok_text *t)
{
    uc_buf_release(&t->buf);
    free(t->spans);
    memset(t, 0, sizeof(*t));
}

/* Empty spans are dropped: every step of the library does so. */
static int add_span(struct tok_text *t, size_t pos, size_t len, bool first, struct uc_err *err)
{
    int rc = len ? tok_grow(&t->spans, &t->cap, t->n + 1, sizeof(*t->spans), err) : 0;

    if (len && rc == 0)
        t->spans[t->n++] = (struct tok_span){pos, len, first};
    return rc;
}

int tok_text_set(struct tok_text *t, const char *p, size_t n, bool first, struct uc_err *err)
{
    uc_buf_clear(&t->buf);
    uc_buf_add(&t->buf, p, n);
    t->n = 0;
    if (uc_buf_check(&t->buf, "text", err) < 0)
        return UC_ERESOURCE;
    return add_span(t, 0, n, first, err);
}

/* ---- parsing ---- */

static int word_of(const char *const *words, size_t n, const char *s, int fallback)
{
    if (!s)
        return fallback;
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], s) == 0)
            return (int)i;
    return -1;
}

static int parse_split(struct pre_step *s, const json_t *v, const char *what, struct uc_err *err)
{
    s->kind = PRE_SPLIT;
    s->invert = uc_json_bool(v, "invert", false);
    s->pattern = tok_pattern_json(json_object_get(v, "pattern"), what, err);
    return s->pattern ? 0 : UC_EREFUSED;
}

static int parse_byte_level(struct pre_step *s, const json_t *v, const char *what,
                            struct uc_err *err)
{
    s->kind = PRE_BYTE_LEVEL;
    s->behavior = ISOLATED;
    if (uc_json_bool(v, "add_prefix_space", true))
        strcpy(s->mark, " ");
    if (!uc_json_bool(v, "use_regex", true))
        return 0;
    s->pattern = tok_pattern_regex(gpt2, sizeof(gpt2) - 1, what, err);
    return s->pattern ? 0 : UC_EREFUSED;
}

static int parse_metaspace(struct pre_step *s, const json_t *v, const char *what,
                           struct uc_err *err)
{
    const char *mark = uc_json_str(v, "replacement", "\xe2\x96\x81");
    int scheme =
        word_of(schemes, UC_COUNT(schemes), uc_json_str(v, "prepend_scheme", NULL), ALWAYS);
    size_t len = 0;

    if (*mark)
        tok_char(mark, strlen(mark), &len);
    if (!*mark || mark[len])
        return uc_fail(err, UC_EREFUSED, "%s: Metaspace's replacement is not one character", what);
    if (scheme < 0)
        return uc_fail(err, UC_EREFUSED, "%s: Metaspace's prepend_scheme \"%s\" is not known", what,
                       uc_json_str(v, "prepend_scheme", ""));
    s->kind = PRE_METASPACE;
    memcpy(s->mark, mark, len);
    s->scheme = uc_json_bool(v, "add_prefix_space", true) ? (enum pre_scheme)scheme : NEVER;
    s->behavior = MERGED_NEXT;
    if (uc_json_bool(v, "split", true))
        s->pattern = tok_pattern_literal(mark, len);
    return 0;
}

static int add_step(void *arg, const json_t *v, const char *type, struct uc_err *err)
{
    struct tok_pre *p = arg;
    const char *name = uc_json_str(v, "behavior", NULL);
    int behavior = word_of(behaviors, UC_COUNT(behaviors), name, ISOLATED);
    struct pre_step *s;

    if (behavior < 0)
        return uc_fail(err, UC_EREFUSED, "%s: behavior \"%s\" is not known", p->what, name);
    p->steps = uc_xrealloc(p->steps, (p->n + 1) * sizeof(*p->steps));
    s = &p->steps[p->n++];
    memset(s, 0, sizeof(*s));
    s->behavior = (enum pre_behavior)behavior;
    s->kind = PRE_CLASS;
    if (strcmp(type, "Split") == 0)
        return parse_split(s, v, p->what, err);
    if (strcmp(type, "ByteLevel") == 0)
        return parse_byte_level(s, v, p->what, err);
    if (strcmp(type, "Metaspace") == 0)
        return parse_metaspace(s, v, p->what, err);
    if (strcmp(type, "Digits") == 0) {
        s->is_member = tok_is_numeric;
        s->behavior = uc_json_bool(v, "individual_digits", false) ? ISOLATED : CONTIGUOUS;
    } else if (strcmp(type, "Punctuation") == 0) {
        s->is_member = tok_is_punct;
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        s->is_member = tok_is_space;
        s->behavior = REMOVED;
    } else if (strcmp(type, "Whitespace") == 0) {
        s->kind = PRE_WHITESPACE;
    } else {
        return tok_refuse(p->what, "pre_tokenizer", type, err);
    }
    return 0;
}

struct tok_pre *tok_pre_new(const json_t *v, const char *what, struct uc_err *err)
{
    struct tok_pre *p = uc_xcalloc(1, sizeof(*p));

    p->what = what;
    if (tok_each_step(v, "pretokenizers", what, p, add_step, err) < 0) {
        tok_pre_free(p);
        return NULL;
    }
    p->what = NULL;
    return p;
}

void tok_pre_free(struct tok_pre *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        tok_pattern_free(p->steps[i].pattern);
    free(p->steps);
    free(p);
}

/* ---- splitting ---- */

/* The stretches of one span, alternately matched and not; merged as the behavior says. */
struct cutter {
    const struct pre_step *step;
    struct tok_text *out; /* spans only */
    struct tok_span span; /* being cut */
    size_t n_before;      /* spans of out when this one began */
    bool previous;        /* the last stretch was a match */
    bool parted;          /* and was empty */
    struct uc_err *err;
};

static int cut(struct cutter *c, size_t begin, size_t end, bool match)
{
    struct tok_span *last = c->out->n > c->n_before ? &c->out->spans[c->out->n - 1] : NULL;
    bool extend = false;

    match ^= c->step->invert;
    if (begin == end) { /* an empty match gives no span, but parts the text around it */
        c->previous = match;
        c->parted = true;
        return 0;
    }
    switch (c->step->behavior) {
    case REMOVED:
        if (match)
            return 0;
        break;
    case ISOLATED:
        break;
    case CONTIGUOUS:
        extend = match == c->previous;
        break;
    case MERGED_PREVIOUS:
        extend = match && !c->previous;
        break;
    case MERGED_NEXT: /* a match waits for what follows; of two in a row the first stands alone */
        extend = !match && c->previous;
        break;
    }
    extend = extend && last && !c->parted;
    c->previous = match;
    c->parted = false;
    if (extend) {
        last->len = c->span.pos + end - last->pos;
        return 0;
    }
    return add_span(c->out, c->span.pos + begin, end - begin, c->span.first && begin == 0, c->err);
}

static int cut_by_pattern(struct cutter *c, struct tok_match *m, const char *text, size_t n)
{
    size_t done = 0, begin, end;
    struct tok_find f;
    int rc;

    tok_find_init(&f, c->step->pattern, m, text, n);
    while ((rc = tok_find_next(&f, &begin, &end, c->err)) > 0) {
        rc = done < begin ? cut(c, done, begin, false) : 0;
        if (rc == 0)
            rc = cut(c, begin, end, true);
        if (rc < 0)
            return rc;
        done = end;
    }
    return rc < 0 || done == n ? rc : cut(c, done, n, false);
}

static int cut_by_class(struct cutter *c, const char *text, size_t n)
{
    size_t done = 0, len;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i += len) {
        if (!c->step->is_member(tok_char(text + i, n - i, &len)))
            continue;
        rc = done < i ? cut(c, done, i, false) : 0;
        if (rc == 0)
            rc = cut(c, i, i + len, true);
        done = i + len;
    }
    return rc < 0 || done == n ? rc : cut(c, done, n, false);
}

/* \w+|[^\w\s]+ : runs of words and runs of what is neither word nor space. */
static int cut_words(struct cutter *c, const char *text, size_t n)
{
    size_t begin = 0, len;
    int kind = 0, rc = 0;

    for (size_t i = 0; i <= n && rc == 0; i += len) {
        int k = 0;
        len = 1;
        if (i < n) {
            uint32_t ch = tok_char(text + i, n - i, &len);
            k = tok_is_word(ch) ? 1 : tok_is_space(ch) ? 0 : 2;
        }
        if (k == kind)
            continue;
        if (kind)
            rc = add_span(c->out, c->span.pos + begin, i - begin, c->span.first && begin == 0,
                          c->err);
        begin = i;
        kind = k;
    }
    return rc;
}

/* Replaces the spans of t by the pieces of each. */
static int split(const struct pre_step *s, struct tok_match *m, struct tok_text *t,
                 struct uc_err *err)
{
    struct tok_text out = {0};
    int rc = 0;

    for (size_t i = 0; i < t->n && rc == 0; i++) {
        struct cutter c = {s, &out, t->spans[i], out.n, false, false, err};
        const char *p = uc_buf_str(&t->buf) + c.span.pos;
        if (s->kind == PRE_CLASS)
            rc = cut_by_class(&c, p, c.span.len);
        else if (s->kind == PRE_WHITESPACE)
            rc = cut_words(&c, p, c.span.len);
        else
            rc = cut_by_pattern(&c, m, p, c.span.len);
    }
    free(t->spans);
    t->spans = out.spans;
    t->n = out.n;
    t->cap = out.cap;
    return rc;
}

/* ---- steps that change the text ---- */

static int end_rewrite(struct tok_text *t, struct uc_buf *out, struct uc_err *err)
{
    int rc = uc_buf_check(out, "pre-tokenized text", err);

    uc_buf_release(&t->buf);
    t->buf = *out;
    return rc;
}

/* Spaces become the mark, and a piece that does not start with it gets one in front. */
static int metaspace(const struct pre_step *s, struct tok_text *t, struct uc_err *err)
{
    size_t n_mark = strlen(s->mark);
    struct uc_buf out;

    uc_buf_init(&out, t->buf.max);
    for (size_t i = 0; i < t->n; i++) {
        struct tok_span *sp = &t->spans[i];
        const char *p = uc_buf_str(&t->buf) + sp->pos;
        size_t begin = out.len;
        bool has = *p == ' ' || (sp->len >= n_mark && memcmp(p, s->mark, n_mark) == 0);
        if (!has && (s->scheme == ALWAYS || (s->scheme == FIRST && sp->first)))
            uc_buf_add(&out, s->mark, n_mark);
        for (size_t k = 0; k < sp->len; k++) {
            if (p[k] == ' ')
                uc_buf_add(&out, s->mark, n_mark);
            else
                uc_buf_addc(&out, p[k]);
        }
        sp->pos = begin;
        sp->len = out.len - begin;
    }
    return end_rewrite(t, &out, err);
}

static int prefix_space(struct tok_text *t, struct uc_err *err)
{
    struct uc_buf out;

    uc_buf_init(&out, t->buf.max);
    for (size_t i = 0; i < t->n; i++) {
        struct tok_span *sp = &t->spans[i];
        const char *p = uc_buf_str(&t->buf) + sp->pos;
        size_t begin = out.len;
        if (*p != ' ')
            uc_buf_addc(&out, ' ');
        uc_buf_add(&out, p, sp->len);
        sp->pos = begin;
        sp->len = out.len - begin;
    }
    return end_rewrite(t, &out, err);
}

static int bytes_to_chars(struct tok_text *t, struct uc_err *err)
{
    char table[256][2];
    bool two[256];
    struct uc_buf out;

    for (int b = 0; b < 256; b++) {
        uint32_t c = tok_byte_char((uint8_t)b);
        two[b] = c >= 0x80;
        table[b][0] = (char)(two[b] ? 0xc0 | c >> 6 : c);
        table[b][1] = (char)(0x80 | (c & 0x3f));
    }
    uc_buf_init(&out, t->buf.max);
    for (size_t i = 0; i < t->n && !out.failed; i++) {
        struct tok_span *sp = &t->spans[i];
        const uint8_t *p = t->buf.data + sp->pos;
        size_t begin = out.len;
        for (size_t k = 0; k < sp->len; k++)
            uc_buf_add(&out, table[p[k]], two[p[k]] ? 2 : 1);
        sp->pos = begin;
        sp->len = out.len - begin;
    }
    return end_rewrite(t, &out, err);
}

int tok_pre_run(const struct tok_pre *p, struct tok_match *m, struct tok_text *t,
                struct uc_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < p->n && rc == 0; i++) {
        const struct pre_step *s = &p->steps[i];
        if (s->kind == PRE_METASPACE)
            rc = metaspace(s, t, err);
        else if (s->kind == PRE_BYTE_LEVEL && s->mark[0])
            rc = prefix_space(t, err);
        if (rc == 0 && (s->pattern || s->kind == PRE_CLASS || s->kind == PRE_WHITESPACE))
            rc = split(s, m, t, err);
        if (rc == 0 && s->kind == PRE_BYTE_LEVEL)
            rc = bytes_to_chars(t, err);
    }
    return rc;
}
