#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "formats/tok.h"

#define REPLACEMENT "\xef\xbf\xbd"

enum decode_kind {
    DECODE_BYTE_LEVEL,
    DECODE_METASPACE,
    DECODE_REPLACE,
    DECODE_BYTE_FALLBACK,
    DECODE_FUSE,
    DECODE_STRIP,
};

static const struct {
    const char *type;
    enum decode_kind kind;
} kinds[] = {
    {"ByteLevel", DECODE_BYTE_LEVEL},
    {"Metaspace", DECODE_METASPACE},
    {"Replace", DECODE_REPLACE},
    {"ByteFallback", DECODE_BYTE_FALLBACK},
    {"Fuse", DECODE_FUSE},
    {"Strip", DECODE_STRIP},
};

struct decode_step {
    enum decode_kind kind;
    struct tok_pattern *pattern;
    char *text; /* put in by REPLACE */
    size_t n;
    uint32_t mark; /* the character of METASPACE and STRIP */
    bool keep_first;
    int64_t start, stop;
};

struct tok_decoder {
    struct decode_step *steps;
    size_t n;
    const char *what; /* while parsing */
};

static int take_mark(struct decode_step *s, const char *text, const char *what, struct uc_err *err)
{
    size_t len = 0;

    if (text && *text)
        s->mark = tok_char(text, strlen(text), &len);
    if (!len || text[len])
        return uc_fail(err, UC_EREFUSED, "%s: a decoder's character is not one character", what);
    return 0;
}

static int add_step(void *arg, const json_t *v, const char *type, struct uc_err *err)
{
    struct tok_decoder *d = arg;
    struct decode_step *s;
    const json_t *content = json_object_get(v, "content");
    size_t k = 0;

    while (k < UC_COUNT(kinds) && strcmp(kinds[k].type, type))
        k++;
    if (k == UC_COUNT(kinds))
        return tok_refuse(d->what, "decoder", type, err);
    d->steps = uc_xrealloc(d->steps, (d->n + 1) * sizeof(*d->steps));
    s = &d->steps[d->n++];
    memset(s, 0, sizeof(*s));
    s->kind = kinds[k].kind;
    if (s->kind == DECODE_METASPACE) {
        s->keep_first = strcmp(uc_json_str(v, "prepend_scheme", "always"), "never") == 0 ||
                        !uc_json_bool(v, "add_prefix_space", true);
        return take_mark(s, uc_json_str(v, "replacement", "\xe2\x96\x81"), d->what, err);
    }
    if (s->kind == DECODE_STRIP) {
        s->start = uc_json_int(v, "start", 0);
        s->stop = uc_json_int(v, "stop", 0);
        return take_mark(s, json_string_value(content), d->what, err);
    }
    if (s->kind != DECODE_REPLACE)
        return 0;
    if (!json_is_string(content))
        return uc_fail(err, UC_EREFUSED, "%s: a decoder lacks its content", d->what);
    s->text = uc_xstrndup(json_string_value(content), json_string_length(content));
    s->n = json_string_length(content);
    s->pattern = tok_pattern_json(json_object_get(v, "pattern"), d->what, err);
    return s->pattern ? 0 : UC_EREFUSED;
}

struct tok_decoder *tok_decoder_new(const json_t *v, const char *what, struct uc_err *err)
{
    struct tok_decoder *d = uc_xcalloc(1, sizeof(*d));

    d->what = what;
    if (tok_each_step(v, "decoders", what, d, add_step, err) < 0) {
        tok_decoder_free(d);
        return NULL;
    }
    d->what = NULL;
    return d;
}

void tok_decoder_free(struct tok_decoder *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++) {
        tok_pattern_free(d->steps[i].pattern);
        free(d->steps[i].text);
    }
    free(d->steps);
    free(d);
}

/* Valid UTF-8 as it is; U+FFFD for every longest start of a character that is not completed. */
static void add_lossy(struct uc_buf *out, const uint8_t *p, size_t n)
{
    while (n) {
        size_t good = uc_utf8_valid(p, n), bad = 1;
        uc_buf_add(out, p, good);
        p += good;
        n -= good;
        if (!n)
            break;
        uint8_t c = p[0], lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        uint8_t hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        size_t len = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 1;
        if (len > 1 && bad < n && p[1] >= lo && p[1] <= hi)
            for (bad = 2; bad < len && bad < n && (p[bad] & 0xc0) == 0x80;)
                bad++;
        uc_buf_adds(out, REPLACEMENT);
        p += bad;
        n -= bad;
    }
}

/* All tokens become one: the bytes that their characters stand for. */
static void byte_level(const struct tok_text *t, struct uc_buf *out)
{
    struct uc_buf bytes;
    size_t len;

    uc_buf_init(&bytes, t->buf.max);
    for (size_t k = 0; k < t->n; k++) {
        const char *p = uc_buf_str(&t->buf) + t->spans[k].pos;
        size_t n = t->spans[k].len, before = bytes.len;
        for (size_t i = 0; i < n; i += len) {
            int b = tok_char_byte(tok_char(p + i, n - i, &len));
            if (b < 0) { /* a token outside the alphabet stands for its own bytes */
                bytes.len = before;
                uc_buf_add(&bytes, p, n);
                break;
            }
            uc_buf_addc(&bytes, b);
        }
    }
    add_lossy(out, (const uint8_t *)uc_buf_str(&bytes), bytes.len);
    uc_buf_release(&bytes);
}

static int hex_of(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 32) : NULL;

    return c >= '0' && at ? (int)(at - digits) : -1;
}

/* The byte of a token <0xNN>, or -1. */
static int byte_of(const char *p, size_t n)
{
    if (n != 6 || memcmp(p, "<0x", 3) || p[5] != '>' || hex_of(p[3]) < 0 || hex_of(p[4]) < 0)
        return -1;
    return hex_of(p[3]) * 16 + hex_of(p[4]);
}

static void strip(const struct decode_step *s, const char *p, size_t n, struct uc_buf *out)
{
    size_t begin = 0, end = n, len;

    for (int64_t i = 0;
         i < s->start && begin < n && tok_char(p + begin, n - begin, &len) == s->mark; i++)
        begin += len;
    for (int64_t i = 0; i < s->stop && end > begin && tok_char_before(p, end, &len) == s->mark; i++)
        end -= len;
    uc_buf_add(out, p + begin, end - begin);
}

static int one_token(const struct decode_step *s, struct tok_match *m, const char *p, size_t n,
                     bool first, struct uc_buf *out, struct uc_err *err)
{
    size_t done = 0, begin, end, len;
    struct tok_find f;
    int rc;

    if (s->kind == DECODE_STRIP) {
        strip(s, p, n, out);
        return 0;
    }
    if (s->kind == DECODE_METASPACE) {
        for (size_t i = 0; i < n; i += len) {
            if (tok_char(p + i, n - i, &len) != s->mark)
                uc_buf_add(out, p + i, len);
            else if (!first || s->keep_first)
                uc_buf_addc(out, ' ');
        }
        return 0;
    }
    tok_find_init(&f, s->pattern, m, p, n);
    while ((rc = tok_find_next(&f, &begin, &end, err)) > 0) {
        uc_buf_add(out, p + done, begin - done);
        uc_buf_add(out, s->text, s->n);
        done = end;
    }
    uc_buf_add(out, p + done, n - done);
    return rc;
}

/* Rewrites the spans in place: none is added, so the array suffices. */
static size_t byte_fallback(struct tok_text *t, struct uc_buf *out)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n;) {
        const char *text = uc_buf_str(&t->buf);
        struct uc_buf bytes;
        size_t k = i, at = out->len;
        int b;
        uc_buf_init(&bytes, t->buf.max);
        for (; k < t->n && (b = byte_of(text + t->spans[k].pos, t->spans[k].len)) >= 0; k++)
            uc_buf_addc(&bytes, b);
        if (k == i) {
            uc_buf_add(out, text + t->spans[i].pos, t->spans[i].len);
            k++;
        } else if (uc_utf8_valid(bytes.data, bytes.len) == bytes.len) {
            uc_buf_add(out, bytes.data, bytes.len);
        } else {
            for (size_t j = i; j < k; j++)
                uc_buf_adds(out, REPLACEMENT);
        }
        uc_buf_release(&bytes);
        t->spans[n++] = (struct tok_span){at, out->len - at, false};
        i = k;
    }
    return n;
}

static int run_step(const struct decode_step *s, struct tok_match *m, struct tok_text *t,
                    struct uc_err *err)
{
    struct uc_buf out;
    size_t n = t->n;
    int rc = 0;

    uc_buf_init(&out, t->buf.max);
    if (s->kind == DECODE_BYTE_LEVEL) {
        byte_level(t, &out);
    } else if (s->kind == DECODE_BYTE_FALLBACK) {
        n = byte_fallback(t, &out);
    } else {
        for (size_t i = 0; i < t->n && rc == 0; i++) {
            struct tok_span *sp = &t->spans[i];
            size_t at = out.len;
            const char *p = uc_buf_str(&t->buf) + sp->pos;
            if (s->kind == DECODE_FUSE)
                uc_buf_add(&out, p, sp->len);
            else
                rc = one_token(s, m, p, sp->len, i == 0, &out, err);
            sp->pos = at;
            sp->len = out.len - at;
        }
    }
    if ((s->kind == DECODE_BYTE_LEVEL || s->kind == DECODE_FUSE) && n) {
        t->spans[0] = (struct tok_span){0, out.len, false};
        n = 1;
    }
    t->n = n;
    uc_buf_release(&t->buf);
    t->buf = out;
    return rc < 0 ? rc : uc_buf_check(&t->buf, "decoded text", err);
}

int tok_decoder_run(const struct tok_decoder *d, struct tok_text *t, struct uc_buf *out,
                    struct uc_err *err)
{
    struct tok_match *m = tok_match_new();
    int rc = 0;

    for (size_t i = 0; d && i < d->n && rc == 0; i++)
        rc = run_step(&d->steps[i], m, t, err);
    tok_match_free(m);
    for (size_t i = 0; i < t->n && rc == 0; i++) {
        if ((!d || !d->n) && i)
            uc_buf_addc(out, ' ');
        uc_buf_add(out, uc_buf_str(&t->buf) + t->spans[i].pos, t->spans[i].len);
    }
    return rc < 0 ? rc : uc_buf_check(out, "decoded text", err);
}
