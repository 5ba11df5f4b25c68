/* tokenizer.json on any bytes: one that is accepted encodes a text into ids that it can decode. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "formats/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "Hey <s> the 12\t\xc3\xa9\xe2\x96\x81\xf0\x9f\x98\x80 aab-ab  I'll\n\n a\xcc\x81,x";
    struct uc_tokenizer *t;
    struct uc_err err;
    uint32_t *ids;
    size_t n;

    uc_log_set_level(UC_LOG_QUIET);
    t = uc_tokenizer_parse((const char *)data, size, "fuzz", &err);
    if (!t)
        return 0;
    if (uc_tokenizer_encode(t, text, sizeof(text) - 1, false, &ids, &n, &err) == 0) {
        struct uc_buf b;
        uc_buf_init(&b, 1 << 20);
        for (size_t i = 0; i < n; i++)
            assert(ids[i] < uc_tokenizer_size(t));
        uc_tokenizer_decode(t, ids, n, true, &b, &err);
        uc_buf_release(&b);
        free(ids);
    }
    uc_tokenizer_free(t);
    return 0;
}
