/* JSONL samples on any bytes: what is accepted is text that ends with a line feed. */
#include <assert.h>

#include "base/str.h"
#include "formats/jsonl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check(void *arg, size_t line, const char *text, size_t n, struct uc_err *err)
{
    assert(n > 1 && text[n - 1] == '\n' && text[n] == 0);
    assert(uc_utf8_valid((const uint8_t *)text, n) == n);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uc_err err;

    uc_jsonl_each((const char *)data, size, "fuzz", check, NULL, &err);
    return 0;
}
