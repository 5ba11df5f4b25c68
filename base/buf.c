#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void uc_buf_init(struct uc_buf *b, size_t max)
{
    memset(b, 0, sizeof(*b));
    b->max = max ? max : (size_t)64 << 20;
}

void uc_buf_release(struct uc_buf *b)
{
    free(b->data);
    uc_buf_init(b, b->max);
}

void uc_buf_clear(struct uc_buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = 0;
}

static int reserve(struct uc_buf *b, size_t n)
{
    size_t cap;
    void *p;

    if (b->failed || n > b->max || b->len > b->max - n)
        goto fail;
    if (b->len + n + 1 <= b->cap)
        return 0;
    cap = b->cap ? b->cap * 2 : 256;
    if (cap < b->len + n + 1)
        cap = b->len + n + 1;
    p = realloc(b->data, cap);
    if (!p)
        goto fail;
    b->data = p;
    b->cap = cap;
    return 0;
fail:
    b->failed = 1;
    return -1;
}

int uc_buf_add(struct uc_buf *b, const void *p, size_t n)
{
    if (reserve(b, n) < 0)
        return -1;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return 0;
}

int uc_buf_addc(struct uc_buf *b, int c)
{
    uint8_t byte = (uint8_t)c;

    return uc_buf_add(b, &byte, 1);
}

int uc_buf_adds(struct uc_buf *b, const char *s)
{
    return uc_buf_add(b, s, strlen(s));
}

int uc_buf_addf(struct uc_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || reserve(b, (size_t)n) < 0) {
        b->failed = 1;
        return -1;
    }
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

static int add_le(struct uc_buf *b, uint64_t v, int n)
{
    uint8_t le[8];

    for (int i = 0; i < n; i++)
        le[i] = (uint8_t)(v >> 8 * i);
    return uc_buf_add(b, le, (size_t)n);
}

int uc_buf_add_u16(struct uc_buf *b, uint16_t v)
{
    return add_le(b, v, 2);
}

int uc_buf_add_u32(struct uc_buf *b, uint32_t v)
{
    return add_le(b, v, 4);
}

int uc_buf_add_u64(struct uc_buf *b, uint64_t v)
{
    return add_le(b, v, 8);
}

const char *uc_buf_str(const struct uc_buf *b)
{
    return b->data ? (const char *)b->data : "";
}

void *uc_buf_take(struct uc_buf *b, size_t *len)
{
    void *p;

    if (!b->data)
        uc_buf_add(b, "", 0);
    p = b->data;
    if (len)
        *len = b->len;
    uc_buf_init(b, b->max);
    return p;
}

int uc_buf_check(const struct uc_buf *b, const char *what, struct uc_err *err)
{
    if (!b->failed)
        return 0;
    return uc_fail(err, UC_ERESOURCE, "%s: larger than %zu bytes, or out of memory", what, b->max);
}
