/*
 * Regular expressions of tokenizer.json are written for Oniguruma (Ruby syntax). They are
 * translated where PCRE2 means something else by the same text, refused where it cannot follow,
 * and compiled with UTF, UCP and JIT.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/tok.h"

struct tok_pattern {
    char *literal; /* NULL: the expression */
    size_t n;
    pcre2_code *code;
    bool jit;
};

struct tok_match {
    pcre2_match_data *data;
    pcre2_match_context *ctx;
    pcre2_jit_stack *stack;
};

/* White_Space; PCRE2's own \s also takes U+180E. */
#define SPACE                                                                                      \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
/* PCRE2's own \w lacks marks and connectors. */
#define WORD                                                                                       \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"                    \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
/* Outside a class Oniguruma takes these for words, too: superscript 1 to 3 and the three fractions.
 */
#define WORD_ALONE WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

struct translation {
    const char *s, *what;
    size_t n, i;
    bool in_class;
    struct uc_buf out;
};

static int cannot(const struct translation *t, const char *why, struct uc_err *err)
{
    return uc_fail(err, UC_EREFUSED,
                   "%s: regular expression uses %s, which is not supported: %.200s", t->what, why,
                   t->s);
}

/* \p{..}: one and two letters are general categories; longer names are scripts, which by themselves
 * would mean Script_Extensions to PCRE2. */
static int translate_property(struct translation *t, struct uc_err *err)
{
    const char *name = t->s + t->i + 3, *end = memchr(t->s + t->i, '}', t->n - t->i);
    bool negated;

    if (t->s[t->i + 2] != '{' || !end)
        return cannot(t, "\\p without braces", err);
    negated = *name == '^';
    name += negated;
    uc_buf_addf(&t->out, "\\%c{%s%s%.*s}", t->s[t->i + 1], negated ? "^" : "",
                end - name > 2 ? "sc:" : "", (int)(end - name), name);
    t->i = (size_t)(end - t->s) + 1;
    return 0;
}

/* t->i is at a backslash. */
static int translate_escape(struct translation *t, struct uc_err *err)
{
    char c = t->i + 1 < t->n ? t->s[t->i + 1] : 0;

    switch (c) {
    case 's':
        uc_buf_adds(&t->out, t->in_class ? SPACE : "[" SPACE "]");
        break;
    case 'w':
        uc_buf_adds(&t->out, t->in_class ? WORD : "[" WORD_ALONE "]");
        break;
    case 'S':
    case 'W':
        if (t->in_class)
            return cannot(t, "\\S or \\W in a class", err);
        uc_buf_adds(&t->out, c == 'S' ? "[^" SPACE "]" : "[^" WORD_ALONE "]");
        break;
    case 'h':
        uc_buf_adds(&t->out, t->in_class ? "0-9a-fA-F" : "[0-9a-fA-F]");
        break;
    case 'u':
        if (t->i + 6 > t->n)
            return cannot(t, "a short \\u", err);
        uc_buf_addf(&t->out, "\\x{%.4s}", t->s + t->i + 2);
        t->i += 4;
        break;
    case 'b':
    case 'B':
    case 'H':
    case 'R':
    case 'X':
    case 'K':
    case 'G':
    case 'M':
    case 'C':
    case 'c':
    case 'Q':
    case 'E':
    case 'N':
    case 'O':
    case 'g':
    case 'k':
    case 'y':
    case 'Y': {
        char name[3] = {'\\', c, 0};
        return cannot(t, name, err);
    }
    case 'p':
    case 'P':
        return translate_property(t, err);
    default:
        uc_buf_add(&t->out, t->s + t->i, 2);
    }
    t->i += 2;
    return 0;
}

static int translate_class(struct translation *t, struct uc_err *err)
{
    bool first = true;
    int rc = 0;

    t->in_class = true;
    uc_buf_addc(&t->out, t->s[t->i++]);
    if (t->i < t->n && t->s[t->i] == '^')
        uc_buf_addc(&t->out, t->s[t->i++]);
    for (; t->i < t->n && (first || t->s[t->i] != ']'); first = false) {
        if (t->s[t->i] == '\\') {
            rc = translate_escape(t, err);
            if (rc < 0)
                return rc;
            continue;
        }
        if (t->s[t->i] == '[')
            return cannot(t, "a class in a class", err);
        if (t->s[t->i] == '&' && t->i + 1 < t->n && t->s[t->i + 1] == '&')
            return cannot(t, "an intersection of classes", err);
        uc_buf_addc(&t->out, t->s[t->i++]);
    }
    if (t->i == t->n)
        return cannot(t, "a class without its end", err);
    uc_buf_addc(&t->out, t->s[t->i++]);
    t->in_class = false;
    return 0;
}

/* After "(?": groups that mean the same in both engines. */
static bool known_group(const char *s, size_t n)
{
    if (n >= 2 && s[0] == 'i')
        return s[1] == ':' || s[1] == ')';
    return n > 0 && strchr(":=!<>", s[0]);
}

static int translate(struct translation *t, struct uc_err *err)
{
    int rc = 0;

    while (t->i < t->n && rc == 0) {
        char c = t->s[t->i];
        if (c == '\\') {
            rc = translate_escape(t, err);
        } else if (c == '[') {
            rc = translate_class(t, err);
        } else if (c == '(' && t->i + 1 < t->n && t->s[t->i + 1] == '?' &&
                   !known_group(t->s + t->i + 2, t->n - t->i - 2)) {
            return cannot(t, "a kind of group", err);
        } else if (c == '{' && t->i + 1 < t->n && t->s[t->i + 1] == ',') {
            return cannot(t, "{,n}", err);
        } else if (c == '(' && t->i + 1 < t->n && t->s[t->i + 1] == '*') {
            return cannot(t, "a verb", err);
        } else if (c == '}' && t->i + 1 < t->n && t->s[t->i + 1] == '+') {
            return cannot(t, "{n,m}+", err);
        } else {
            uc_buf_addc(&t->out, t->s[t->i++]);
        }
    }
    return rc < 0 ? rc : uc_buf_check(&t->out, t->what, err);
}

struct tok_pattern *tok_pattern_literal(const char *s, size_t n)
{
    struct tok_pattern *p = uc_xcalloc(1, sizeof(*p));

    p->literal = uc_xmalloc(n + 1);
    memcpy(p->literal, s, n);
    p->literal[n] = 0;
    p->n = n;
    return p;
}

struct tok_pattern *tok_pattern_regex(const char *s, size_t n, const char *what, struct uc_err *err)
{
    struct translation t = {.s = s, .what = what, .n = n};
    struct tok_pattern *p = NULL;
    pcre2_compile_context *ctx;
    pcre2_code *code;
    int number;
    size_t at;

    uc_buf_init(&t.out, 1 << 20);
    if (translate(&t, err) < 0)
        goto out;
    ctx = pcre2_compile_context_create(NULL);
    if (!ctx) {
        uc_fail(err, UC_ERESOURCE, "%s: no memory for a regular expression", what);
        goto out;
    }
    pcre2_set_newline(ctx, PCRE2_NEWLINE_LF);
    code = pcre2_compile(t.out.data ? t.out.data : (PCRE2_SPTR) "", t.out.len,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &number,
                         &at, ctx);
    pcre2_compile_context_free(ctx);
    if (!code) {
        PCRE2_UCHAR text[200];
        pcre2_get_error_message(number, text, sizeof(text));
        uc_fail(err, UC_EREFUSED, "%s: regular expression: %s: %.200s", what, (char *)text, s);
        goto out;
    }
    p = uc_xcalloc(1, sizeof(*p));
    p->code = code;
    p->jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
out:
    uc_buf_release(&t.out);
    return p;
}

struct tok_pattern *tok_pattern_json(const json_t *v, const char *what, struct uc_err *err)
{
    const json_t *s = json_object_get(v, "String"), *r = json_object_get(v, "Regex");

    if (json_is_string(s))
        return tok_pattern_literal(json_string_value(s), json_string_length(s));
    if (json_is_string(r))
        return tok_pattern_regex(json_string_value(r), json_string_length(r), what, err);
    uc_fail(err, UC_EREFUSED, "%s: a pattern is neither a String nor a Regex", what);
    return NULL;
}

void tok_pattern_free(struct tok_pattern *p)
{
    if (!p)
        return;
    free(p->literal);
    pcre2_code_free(p->code);
    free(p);
}

struct tok_match *tok_match_new(void)
{
    struct tok_match *m = uc_xcalloc(1, sizeof(*m));

    m->data = pcre2_match_data_create(1, NULL);
    m->ctx = pcre2_match_context_create(NULL);
    /* the default 32 KB are not enough for an expression that backtracks over a long run */
    m->stack = pcre2_jit_stack_create(64 << 10, 16 << 20, NULL);
    if (m->ctx && m->stack)
        pcre2_jit_stack_assign(m->ctx, NULL, m->stack);
    return m;
}

void tok_match_free(struct tok_match *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->ctx);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

void tok_find_init(struct tok_find *f, const struct tok_pattern *p, struct tok_match *m,
                   const char *text, size_t n)
{
    *f = (struct tok_find){.pattern = p, .match = m, .text = text, .n = n, .last = SIZE_MAX};
}

static int find_literal(struct tok_find *f, size_t *begin, size_t *end)
{
    const struct tok_pattern *p = f->pattern;
    const char *hit;

    if (p->n == 0 || f->at >= f->n)
        return 0;
    hit = p->n == 1 ? memchr(f->text + f->at, p->literal[0], f->n - f->at)
                    : memmem(f->text + f->at, f->n - f->at, p->literal, p->n);
    if (!hit)
        return 0;
    *begin = (size_t)(hit - f->text);
    *end = f->at = *begin + p->n;
    return 1;
}

int tok_find_next(struct tok_find *f, size_t *begin, size_t *end, struct uc_err *err)
{
    const struct tok_pattern *p = f->pattern;

    if (p->literal)
        return find_literal(f, begin, end);
    if (!f->match->data || !f->match->ctx)
        return uc_fail(err, UC_ERESOURCE, "tokenizer: no memory for matching");
    while (f->at <= f->n) {
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(f->match->data);
        PCRE2_SPTR text = (PCRE2_SPTR)f->text;
        int rc = p->jit
                     ? pcre2_jit_match(p->code, text, f->n, f->at, 0, f->match->data, f->match->ctx)
                     : pcre2_match(p->code, text, f->n, f->at, PCRE2_NO_UTF_CHECK, f->match->data,
                                   f->match->ctx);
        if (rc == PCRE2_ERROR_NOMATCH)
            return 0;
        if (rc < 0) {
            PCRE2_UCHAR msg[120];
            pcre2_get_error_message(rc, msg, sizeof(msg));
            return uc_fail(err, UC_EFAIL, "tokenizer: matching a regular expression: %s", msg);
        }
        /* an empty match right after the last one would be found for ever */
        if (v[0] == v[1] && v[1] == f->last) {
            size_t len = 1;
            if (f->at < f->n)
                tok_char(f->text + f->at, f->n - f->at, &len);
            f->at += len;
            continue;
        }
        *begin = v[0];
        *end = f->at = f->last = v[1];
        return 1;
    }
    return 0;
}
