#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
    if (!p) {
        fputs("uc: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *uc_xmalloc(size_t n)
{
    return checked(malloc(n ? n : 1));
}

void *uc_xcalloc(size_t n, size_t size)
{
    return checked(calloc(n ? n : 1, size ? size : 1));
}

void *uc_xrealloc(void *p, size_t n)
{
    return checked(realloc(p, n ? n : 1));
}

char *uc_xstrdup(const char *s)
{
    return checked(strdup(s));
}

char *uc_xstrndup(const char *s, size_t n)
{
    return checked(strndup(s, n));
}

char *uc_xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return checked(n < 0 ? NULL : s);
}

int uc_alloc(void *out, size_t n, size_t size, const char *what, struct uc_err *err)
{
    size_t bytes;
    void *p = NULL;

    *(void **)out = NULL;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > (size_t)1 << 46)
        return uc_fail(err, UC_ERESOURCE, "%s: %zu x %zu bytes is more than memory can hold", what,
                       n, size);
    bytes = (bytes + 63) / 64 * 64;
    p = aligned_alloc(64, bytes ? bytes : 64);
    if (!p)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu bytes", what, bytes);
    memset(p, 0, bytes);
    *(void **)out = p;
    return 0;
}
