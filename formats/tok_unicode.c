#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "formats/tok.h"

uint32_t tok_char(const char *p, size_t n, size_t *len)
{
    const uint8_t *u = (const uint8_t *)p;

    if (u[0] < 0x80 || n < 2) {
        *len = 1;
        return u[0];
    }
    if (u[0] < 0xe0 || n < 3) {
        *len = 2;
        return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    }
    if (u[0] < 0xf0 || n < 4) {
        *len = 3;
        return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    }
    *len = 4;
    return (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3f) << 12 |
           (uint32_t)(u[2] & 0x3f) << 6 | (u[3] & 0x3f);
}

uint32_t tok_char_before(const char *p, size_t n, size_t *len)
{
    size_t i = n - 1;

    while (i > 0 && ((uint8_t)p[i] & 0xc0) == 0x80)
        i--;
    return tok_char(p + i, n - i, len);
}

int tok_put_char(struct uc_buf *b, uint32_t c)
{
    utf8proc_uint8_t u[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, u);

    return uc_buf_add(b, u, n > 0 ? (size_t)n : 0);
}

bool tok_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool tok_is_numeric(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80)
        return c >= '0' && c <= '9';
    k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool tok_is_punct(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
               (c >= 123 && c <= 126);
    k = category(c);
    /* U+166D was punctuation until Unicode 12, and is to the library */
    return (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO) || c == 0x166d;
}

bool tok_is_mark(uint32_t c)
{
    utf8proc_category_t k = category(c);

    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool tok_is_word(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    k = category(c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_ND)
        return true; /* letters, marks, decimal digits */
    if (k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_PC)
        return true;
    /* the circled and squared letters, which are symbols with the property Alphabetic; joiners */
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c ||
           c == 0x200d;
}

/* Printable Latin-1 stands for itself; the other 68 bytes, in order, for U+0100 and up. */
static bool prints(unsigned b)
{
    return (b >= 33 && b <= 126) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

uint32_t tok_byte_char(uint8_t b)
{
    if (prints(b))
        return b;
    if (b <= 32)
        return 0x100u + b;
    if (b <= 0xa0)
        return 0x100u + 33 + (b - 127u);
    return 0x100 + 67;
}

int tok_char_byte(uint32_t c)
{
    if (c < 0x100)
        return prints(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 127);
    return c == 0x143 ? 0xad : -1;
}

int tok_grow(void *p, size_t *cap, size_t need, size_t size, struct uc_err *err)
{
    void **array = p, *q;
    size_t n = *cap ? *cap : 64;

    if (need <= *cap)
        return 0;
    while (n < need)
        n *= 2;
    q = n > SIZE_MAX / 4 / size ? NULL : realloc(*array, n * size);
    if (!q)
        return uc_fail(err, UC_ERESOURCE, "tokenizer: no memory for %zu elements", n);
    *array = q;
    *cap = n;
    return 0;
}

int tok_refuse(const char *what, const char *component, const char *type, struct uc_err *err)
{
    return uc_fail(err, UC_EREFUSED, "%s: %s of type %s is not supported", what, component, type);
}

int tok_each_step(const json_t *v, const char *parts, const char *what, void *arg,
                  int (*add)(void *arg, const json_t *v, const char *type, struct uc_err *err),
                  struct uc_err *err)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *list;
    int rc = 0;

    if (!v || json_is_null(v))
        return 0;
    if (!type)
        return uc_fail(err, UC_EREFUSED, "%s: a component has no type", what);
    if (strcmp(type, "Sequence"))
        return add(arg, v, type, err);
    list = json_object_get(v, parts);
    if (!json_is_array(list))
        return uc_fail(err, UC_EREFUSED, "%s: a Sequence has no %s", what, parts);
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        rc = tok_each_step(json_array_get(list, i), parts, what, arg, add, err);
    return rc;
}
