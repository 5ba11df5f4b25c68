/*
 * JSON: Jansson's json_t is the value type everywhere. Reading is strict (UTF-8, no duplicate
 * names); writing is canonical (sorted names, no spaces), so equal values give equal bytes.
 */
#ifndef UC_BASE_JSON_H
#define UC_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* what names the text in messages ("config.json"). NULL and err on failure; caller json_decref()s.
 * Errors give line and column. */
json_t *uc_json_parse(const char *text, size_t n, const char *what, struct uc_err *err);
/* Reads at most max bytes (0 = 64 MiB). */
json_t *uc_json_load(const char *path, size_t max, struct uc_err *err);
/* Canonical text, no newline at the end; caller free()s. */
char *uc_json_canonical(const json_t *v);
/* Sorted names, indent 2, newline at the end: for files that people read; caller free()s. */
char *uc_json_pretty(const json_t *v);

/* Members of an object with a fallback when absent, null or of another type. Strings borrowed. */
const char *uc_json_str(const json_t *obj, const char *name, const char *fallback);
int64_t uc_json_int(const json_t *obj, const char *name, int64_t fallback);
double uc_json_num(const json_t *obj, const char *name, double fallback);
bool uc_json_bool(const json_t *obj, const char *name, bool fallback);

#endif
