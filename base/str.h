/* Small text helpers. */
#ifndef UC_BASE_STR_H
#define UC_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool uc_str_starts(const char *s, const char *prefix);
bool uc_str_ends(const char *s, const char *suffix);
/* Shell-like pattern over names: '*' any run of characters, '?' one; nothing else is special. */
bool uc_str_match(const char *pattern, const char *s);
/* The candidate nearest to word by edit distance, or NULL when none is near enough to suggest. */
const char *uc_str_nearest(const char *word, const char *const *candidates, size_t n);
/* Length of the longest prefix of p[0..n) that is valid UTF-8 (n when all of it is). */
size_t uc_utf8_valid(const uint8_t *p, size_t n);
/* "1.2 GB", "269.1 MB", "512 B": powers of ten, one decimal. Returns out. */
char *uc_str_bytes(char out[32], uint64_t n);
/* "0.41 s", "12.3 s", "4m10s", "2h05m". Returns out. */
char *uc_str_seconds(char out[32], double s);
/* Parses "12G", "1.5GiB", "800M", "123" into bytes; -1 when it is not a size. */
int64_t uc_str_parse_size(const char *s);

#endif
