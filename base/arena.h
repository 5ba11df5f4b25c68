/* Memory that is freed at once: graph, strings and keys of one plan live in one arena.
 * Allocations abort when memory is gone (small control data only). Not thread-safe. */
#ifndef UC_BASE_ARENA_H
#define UC_BASE_ARENA_H

#include <stddef.h>

struct uc_arena_block;
struct uc_arena {
    struct uc_arena_block *head;
};

void uc_arena_init(struct uc_arena *a);
void uc_arena_release(struct uc_arena *a);
/* n zeroed bytes, 16-byte aligned. */
void *uc_arena_alloc(struct uc_arena *a, size_t n);
char *uc_arena_strdup(struct uc_arena *a, const char *s);
char *uc_arena_strndup(struct uc_arena *a, const char *s, size_t n);
char *uc_arena_printf(struct uc_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));

#endif
