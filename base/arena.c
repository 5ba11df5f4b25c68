#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct uc_arena_block {
    struct uc_arena_block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

void uc_arena_init(struct uc_arena *a)
{
    a->head = NULL;
}

void uc_arena_release(struct uc_arena *a)
{
    while (a->head) {
        struct uc_arena_block *b = a->head;
        a->head = b->next;
        free(b);
    }
}

void *uc_arena_alloc(struct uc_arena *a, size_t n)
{
    size_t need = (n + 15) / 16 * 16;
    struct uc_arena_block *b = a->head;

    if (!b || b->cap - b->used < need) {
        size_t cap = need > 32768 ? need : 65536 - sizeof(*b);
        b = uc_xmalloc(sizeof(*b) + cap);
        b->used = 0;
        b->cap = cap;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += need;
    memset(p, 0, need);
    return p;
}

char *uc_arena_strndup(struct uc_arena *a, const char *s, size_t n)
{
    char *p = uc_arena_alloc(a, n + 1);

    memcpy(p, s, n);
    return p;
}

char *uc_arena_strdup(struct uc_arena *a, const char *s)
{
    return uc_arena_strndup(a, s, strlen(s));
}

char *uc_arena_printf(struct uc_arena *a, const char *fmt, ...)
{
    va_list ap;
    int n;
    char *p;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = uc_arena_alloc(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}
