#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/fsio.h"
#include "base/mem.h"

json_t *uc_json_parse(const char *text, size_t n, const char *what, struct uc_err *err)
{
    json_error_t je;
    json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);

    if (!v)
        uc_fail(err, UC_EFAIL, "%s:%d:%d: not valid JSON: %s", what, je.line, je.column, je.text);
    return v;
}

json_t *uc_json_load(const char *path, size_t max, struct uc_err *err)
{
    char *text;
    size_t n;
    json_t *v;

    if (uc_read_file(path, max ? max : (size_t)64 << 20, &text, &n, err) < 0)
        return NULL;
    v = uc_json_parse(text, n, path, err);
    free(text);
    return v;
}

char *uc_json_canonical(const json_t *v)
{
    char *s = json_dumps(v, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);

    return s ? s : uc_xstrdup("null");
}

char *uc_json_pretty(const json_t *v)
{
    char *s = json_dumps(v, JSON_SORT_KEYS | JSON_INDENT(2) | JSON_ENCODE_ANY);
    char *t = uc_xasprintf("%s\n", s ? s : "null");

    free(s);
    return t;
}

const char *uc_json_str(const json_t *obj, const char *name, const char *fallback)
{
    const char *s = json_string_value(json_object_get(obj, name));

    return s ? s : fallback;
}

int64_t uc_json_int(const json_t *obj, const char *name, int64_t fallback)
{
    const json_t *v = json_object_get(obj, name);

    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

double uc_json_num(const json_t *obj, const char *name, double fallback)
{
    const json_t *v = json_object_get(obj, name);

    return json_is_number(v) ? json_number_value(v) : fallback;
}

bool uc_json_bool(const json_t *obj, const char *name, bool fallback)
{
    const json_t *v = json_object_get(obj, name);

    return json_is_boolean(v) ? json_is_true(v) : fallback;
}
