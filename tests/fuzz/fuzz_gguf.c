/* The GGUF reader on any bytes: every value and tensor that it accepts can be read. */
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"

enum { MAX_ELEMENTS = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink; /* makes the reads happen */

static void read_value(const struct uc_gguf *g, const char *key)
{
    struct uc_gguf_iter it;
    const char *s;
    double real;
    int64_t v;
    size_t n;
    bool b;

    if (uc_gguf_string(g, key, &s, &n) && n)
        sink += (unsigned)s[n - 1];
    if (uc_gguf_int(g, key, &v) || uc_gguf_real(g, key, &real) || uc_gguf_bool(g, key, &b))
        sink++;
    if (uc_gguf_iter_init(&it, g, key, UC_GGUF_STRING))
        while (uc_gguf_next_string(&it, &s, &n))
            sink += n ? (unsigned)s[n - 1] : 0;
    if (uc_gguf_iter_init(&it, g, key, UC_GGUF_I64))
        while (uc_gguf_next_int(&it, &v))
            sink += (unsigned)v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float y[MAX_ELEMENTS];
    struct uc_gguf g;
    struct uc_err err;

    if (uc_gguf_parse(&g, data, size, "fuzz", &err) < 0)
        return 0;
    for (size_t i = 0; i < g.n_kvs; i++)
        read_value(&g, g.kvs[i].key);
    for (size_t i = 0; i < g.n_tensors; i++) {
        const struct uc_gguf_tensor *t = &g.tensors[i];
        if (t->n_elem <= MAX_ELEMENTS && uc_gguf_can_dequantize(t->type))
            uc_gguf_dequantize(t->type, g.file + t->offset, t->n_elem, y);
    }
    uc_gguf_close(&g);
    return 0;
}
