#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "formats/tok.h"

struct added_token {
    uint32_t id;
    char *content; /* as in the file */
    size_t n;
    char *pattern; /* what is looked for: normalized when the token says so */
    size_t n_pattern;
    bool special, normalized, single_word, lstrip, rstrip;
};

struct tok_added {
    struct added_token *v;
    size_t n;
    uint32_t max;
    /* indices of the tokens by first byte of their pattern, longest first: [0] of the raw text,
     * [1] of the normalized one; bucket[k][c] .. bucket[k][c + 1] in order[k] */
    size_t *order[2];
    size_t bucket[2][257];
};

static int find_content(const struct tok_added *a, const char *s, size_t n)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].n == n && memcmp(a->v[i].content, s, n) == 0)
            return (int)i;
    return -1;
}

static char *copy(const char *s, size_t n)
{
    char *p = uc_xmalloc(n + 1);

    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

static int normalize(struct added_token *t, const struct tok_norm *norm, struct tok_match *m,
                     struct uc_err *err)
{
    struct uc_buf b;
    int rc = 0;

    uc_buf_init(&b, 1 << 20);
    uc_buf_add(&b, t->content, t->n);
    if (t->normalized && norm)
        rc = tok_norm_run(norm, m, &b, err);
    t->n_pattern = b.len;
    t->pattern = copy(uc_buf_str(&b), b.len);
    uc_buf_release(&b);
    return rc;
}

static int read_token(struct tok_added *a, const json_t *v, uint32_t *next,
                      const struct tok_bpe *bpe, const struct tok_norm *norm, struct tok_match *m,
                      const char *what, struct uc_err *err)
{
    const json_t *content = json_object_get(v, "content");
    struct added_token t = {.special = uc_json_bool(v, "special", false)};
    int old;

    if (!json_is_string(content))
        return uc_fail(err, UC_EREFUSED, "%s: an added token has no content", what);
    t.n = json_string_length(content);
    if (t.n == 0)
        return 0;
    t.normalized = uc_json_bool(v, "normalized", !t.special);
    t.single_word = uc_json_bool(v, "single_word", false);
    t.lstrip = uc_json_bool(v, "lstrip", false);
    t.rstrip = uc_json_bool(v, "rstrip", false);
    old = find_content(a, json_string_value(content), t.n);
    if (old >= 0) { /* listed twice: the library lets the later one's flags win */
        t.id = a->v[old].id;
        t.content = a->v[old].content;
        free(a->v[old].pattern);
        a->v[old] = t;
        return normalize(&a->v[old], norm, m, err);
    }
    t.id = tok_bpe_id(bpe, json_string_value(content), t.n);
    if (t.id == TOK_NONE)
        t.id = (*next)++;
    if (uc_json_int(v, "id", -1) != (int64_t)t.id)
        uc_warn("%s: added token \"%s\" has id %lld in the file and gets %u", what,
                json_string_value(content), (long long)uc_json_int(v, "id", -1), t.id);
    if (t.id >= a->max)
        a->max = t.id + 1;
    t.content = copy(json_string_value(content), t.n);
    a->v[a->n++] = t;
    return normalize(&a->v[a->n - 1], norm, m, err);
}

static int by_pattern(const void *pa, const void *pb, void *arg)
{
    const struct added_token *v = arg;
    const struct added_token *a = &v[*(const size_t *)pa], *b = &v[*(const size_t *)pb];
    uint8_t ca = (uint8_t)a->pattern[0], cb = (uint8_t)b->pattern[0];

    if (ca != cb)
        return ca < cb ? -1 : 1;
    if (a->n_pattern != b->n_pattern)
        return a->n_pattern > b->n_pattern ? -1 : 1;
    return 0;
}

static void make_index(struct tok_added *a, int k)
{
    size_t n = 0, i = 0;

    a->order[k] = uc_xcalloc(a->n + 1, sizeof(*a->order[k]));
    for (size_t t = 0; t < a->n; t++)
        if (a->v[t].normalized == (k == 1) && a->v[t].n_pattern)
            a->order[k][n++] = t;
    qsort_r(a->order[k], n, sizeof(*a->order[k]), by_pattern, a->v);
    for (unsigned c = 0; c <= 256; c++) {
        while (i < n && (uint8_t)a->v[a->order[k][i]].pattern[0] < c)
            i++;
        a->bucket[k][c] = i;
    }
}

struct tok_added *tok_added_new(const json_t *list, const struct tok_bpe *bpe,
                                const struct tok_norm *norm, const char *what, struct uc_err *err)
{
    struct tok_added *a = uc_xcalloc(1, sizeof(*a));
    struct tok_match *m = tok_match_new();
    uint32_t next = (uint32_t)tok_bpe_count(bpe);
    int rc = 0;

    if (list && !json_is_null(list) && !json_is_array(list))
        rc = uc_fail(err, UC_EREFUSED, "%s: added_tokens is not a list", what);
    a->v = uc_xcalloc(json_array_size(list) + 1, sizeof(*a->v));
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        rc = read_token(a, json_array_get(list, i), &next, bpe, norm, m, what, err);
    tok_match_free(m);
    if (rc < 0) {
        tok_added_free(a);
        return NULL;
    }
    make_index(a, 0);
    make_index(a, 1);
    return a;
}

void tok_added_free(struct tok_added *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++) {
        free(a->v[i].content);
        free(a->v[i].pattern);
    }
    free(a->v);
    free(a->order[0]);
    free(a->order[1]);
    free(a);
}

uint32_t tok_added_max(const struct tok_added *a)
{
    return a->max;
}

const char *tok_added_token(const struct tok_added *a, uint32_t id, size_t *n, bool *special)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].id != id)
            continue;
        *n = a->v[i].n_pattern;
        *special = a->v[i].special;
        return a->v[i].pattern;
    }
    return NULL;
}

/* The longest token at p, or NULL. */
static const struct added_token *match_at(const struct tok_added *a, int k, const char *p, size_t n)
{
    uint8_t c = (uint8_t)*p;

    for (size_t i = a->bucket[k][c]; i < a->bucket[k][c + 1]; i++) {
        const struct added_token *t = &a->v[a->order[k][i]];
        if (t->n_pattern <= n && memcmp(t->pattern, p, t->n_pattern) == 0)
            return t;
    }
    return NULL;
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end)
{
    size_t len;

    return (begin == 0 || !tok_is_word(tok_char_before(text, begin, &len))) &&
           (end == n || !tok_is_word(tok_char(text + end, n - end, &len)));
}

static int add_section(struct tok_sections *s, size_t begin, size_t end, uint32_t id,
                       struct uc_err *err)
{
    int rc = tok_grow(&s->v, &s->cap, s->n + 1, sizeof(*s->v), err);

    if (rc == 0)
        s->v[s->n++] = (struct tok_section){begin, end, id};
    return rc;
}

int tok_added_cut(const struct tok_added *a, bool normalized, const char *text, size_t n,
                  struct tok_sections *out, struct uc_err *err)
{
    int k = normalized, rc = 0;
    size_t done = 0, i = 0, len;

    out->n = 0;
    while (i < n && a->bucket[k][256] && rc == 0) {
        const struct added_token *t = match_at(a, k, text + i, n - i);
        if (!t) {
            i++;
            continue;
        }
        size_t begin = i, end = i + t->n_pattern;
        i = end;
        if (t->single_word && !stands_alone(text, n, begin, end))
            continue;
        while (t->lstrip && begin > done && tok_is_space(tok_char_before(text, begin, &len)))
            begin -= len;
        while (t->rstrip && end < n && tok_is_space(tok_char(text + end, n - end, &len)))
            end += len;
        if (done < begin)
            rc = add_section(out, done, begin, TOK_NONE, err);
        if (rc == 0)
            rc = add_section(out, begin, end, t->id, err);
        done = end;
    }
    if (rc == 0 && done < n)
        rc = add_section(out, done, n, TOK_NONE, err);
    return rc;
}
