/* Allocation: uc_x* abort when memory is gone and are for small control data only; sizes that a
 * model or a peer sets go through malloc or uc_alloc, which can fail. */
#ifndef UC_BASE_MEM_H
#define UC_BASE_MEM_H

#include <stddef.h>

#include "base/err.h"

#define UC_COUNT(a) (sizeof(a) / sizeof((a)[0]))

void *uc_xmalloc(size_t n);
void *uc_xcalloc(size_t n, size_t size);
void *uc_xrealloc(void *p, size_t n);
char *uc_xstrdup(const char *s);
char *uc_xstrndup(const char *s, size_t n);
char *uc_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* n * size bytes, zeroed, 64-byte aligned; free() releases it. On failure *out is NULL and
 * UC_ERESOURCE names what (the purpose of the memory). */
int uc_alloc(void *out, size_t n, size_t size, const char *what, struct uc_err *err);

#endif
