#include "base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool uc_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool uc_str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n >= k && memcmp(s + n - k, suffix, k) == 0;
}

bool uc_str_match(const char *pattern, const char *s)
{
    const char *star = NULL, *back = NULL;

    while (*s) {
        if (*pattern == '*') {
            star = pattern++;
            back = s;
        } else if (*pattern == '?' || *pattern == *s) {
            pattern++;
            s++;
        } else if (star) {
            pattern = star + 1;
            s = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[65];

    if (n > 64 || m > 64)
        return 64;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diag = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t up = row[j], cost = diag + (tolower(a[i - 1]) != tolower(b[j - 1]));
            if (up + 1 < cost)
                cost = up + 1;
            if (row[j - 1] + 1 < cost)
                cost = row[j - 1] + 1;
            diag = up;
            row[j] = cost;
        }
    }
    return row[m];
}

const char *uc_str_nearest(const char *word, const char *const *candidates, size_t n)
{
    size_t best = strlen(word) / 3 + 2;
    const char *hit = NULL;

    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(word, candidates[i]);
        if (d < best) {
            best = d;
            hit = candidates[i];
        }
    }
    return hit;
}

size_t uc_utf8_valid(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        uint8_t c = p[i];
        size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
        if (!len || n - i < len)
            return i;
        for (size_t k = 1; k < len; k++)
            if ((p[i + k] & 0xc0) != 0x80)
                return i;
        if ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f) ||
            (c == 0xf0 && p[i + 1] < 0x90) || (c == 0xf4 && p[i + 1] > 0x8f))
            return i;
        i += len;
    }
    return n;
}

char *uc_str_bytes(char out[32], uint64_t n)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double v = (double)n;
    int u = 0;

    while (v >= 999.95 && u < 5) {
        v /= 1000;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return out;
}

char *uc_str_seconds(char out[32], double s)
{
    if (s < 10)
        snprintf(out, 32, "%.2f s", s);
    else if (s < 60)
        snprintf(out, 32, "%.1f s", s);
    else if (s < 3600)
        snprintf(out, 32, "%dm%02ds", (int)(s / 60), (int)s % 60);
    else
        snprintf(out, 32, "%dh%02dm", (int)(s / 3600), (int)(s / 60) % 60);
    return out;
}

int64_t uc_str_parse_size(const char *s)
{
    char *end;
    double v = strtod(s, &end), mul = 1;

    if (end == s || !(v >= 0))
        return -1;
    if (*end) {
        const char *at = strchr("kmgt", tolower((unsigned char)*end));
        if (at) {
            double base = (end[1] == 'i') ? 1024 : 1000;
            for (long p = at - "kmgt"; p >= 0; p--)
                mul *= base;
            end++;
            if (*end == 'i')
                end++;
        }
        if (*end && strcasecmp(end, "b") != 0)
            return -1;
    }
    v *= mul;
    return v < 9e18 ? (int64_t)v : -1;
}
