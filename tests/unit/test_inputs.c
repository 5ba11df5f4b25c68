/* The ops that read what a build starts from: fingerprint and tokenize. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/tensor.h"
#include "op_harness.h"

/* A checkpoint of two tensors in the given order; caller frees. */
static char *checkpoint(bool swapped, uint16_t odd, size_t *n)
{
    const uint16_t a[6] = {0x3f80, 1, 2, 3, 4, odd};
    const float b[2] = {1, 2};
    char header[300], *p;
    int len =
        snprintf(header, sizeof(header),
                 swapped ? "{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                           "\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]}}"
                         : "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
                           "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}");

    *n = 8 + (size_t)len + 20;
    p = calloc(1, *n);
    p[0] = (char)len;
    memcpy(p + 8, header, (size_t)len);
    memcpy(p + 8 + len + (swapped ? 8 : 0), a, 12);
    memcpy(p + 8 + len + (swapped ? 0 : 12), b, 8);
    return p;
}

static char *fingerprint(bool swapped, uint16_t odd, int threads, struct uc_err *err)
{
    struct op_run *r = op_new("{}", threads);
    size_t n;
    char *p = checkpoint(swapped, odd, &n), *out = NULL;

    op_in(r, "file", p, n);
    op_out(r, "digests");
    if (op_go(r, "fingerprint") == 0) {
        const char *text = op_result(r, "digests", &n);
        out = uc_xstrndup(text, n);
    }
    *err = r->err;
    op_free(r);
    free(p);
    return out;
}

static void fingerprints_name_content_not_place(void **state)
{
    static const uint64_t shape[] = {2, 3};
    const uint16_t a[6] = {0x3f80, 1, 2, 3, 4, 5};
    struct uc_tensor_info t = {.dtype = UC_DTYPE_BF16, .n_dim = 2, .size = 12};
    char hex[UC_HEX_LEN + 1];
    struct uc_digest d, other;
    struct uc_err err;
    char *one = fingerprint(false, 5, 1, &err), *two = fingerprint(true, 5, 3, &err);
    char *changed = fingerprint(false, 6, 1, &err);

    assert_non_null(one);
    assert_string_equal(one, two);
    assert_string_not_equal(one, changed);
    memcpy(t.shape, shape, sizeof(shape));
    uc_tensor_digest(&t, a, &d);
    assert_non_null(strstr(one, uc_digest_hex(&d, hex)));
    t.shape[0] = 3;
    t.shape[1] = 2;
    uc_tensor_digest(&t, a, &other);
    assert_false(uc_digest_eq(&d, &other));
    free(one);
    free(two);
    free(changed);
}

static void weights_that_are_no_numbers_are_refused(void **state)
{
    static const uint16_t odd[] = {0x7f80, 0xff80, 0x7fc0, 0xffff};

    for (size_t i = 0; i < UC_COUNT(odd); i++) {
        struct uc_err err;
        assert_null(fingerprint(false, odd[i], 1, &err));
        assert_int_equal(err.code, UC_EREFUSED);
        assert_non_null(strstr(err.msg, "tensor a: element 5 is NaN or infinite"));
    }
}

static const char tokenizer[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\\n\":2,\"ab\":3},"
    "\"merges\":[\"a b\"]}}";

static struct op_run *tokenize(const char *params, const char *text, int want)
{
    struct op_run *r = op_new(params, 1);
    int rc;

    op_in(r, "text", text, strlen(text));
    op_in(r, "tokenizer", tokenizer, sizeof(tokenizer) - 1);
    op_out(r, "ids");
    op_out(r, "counts");
    rc = op_go(r, "tokenize");
    if (rc != want)
        fail_msg("%s: %d \"%s\"", params, rc, r->err.msg);
    return r;
}

static void check_u32(const struct op_run *r, const char *name, const uint32_t *want, size_t n)
{
    size_t size;
    const void *p = op_result(r, name, &size);

    assert_int_equal(size, n * 4);
    assert_memory_equal(p, want, size);
}

static void texts_become_ids_and_counts(void **state)
{
    static const uint32_t ids[] = {3, 0, 2, 3}, counts[] = {1, 0, 1, 2, 0};
    struct op_run *r = tokenize("{\"format\":\"text\",\"vocab\":5,\"limit\":0}", "aba\nab", 0);

    check_u32(r, "ids", ids, 4);
    check_u32(r, "counts", counts, 5);
    op_free(r);
    r = tokenize("{\"format\":\"text\",\"vocab\":5,\"limit\":2}", "aba\nab", 0);
    check_u32(r, "ids", ids, 2);
    op_free(r);
    r = tokenize("{\"format\":\"jsonl\",\"vocab\":5,\"limit\":0}",
                 "{\"text\":\"aba\"}\n{\"text\":\"ab\\n\"}\n", 0);
    check_u32(r, "ids", (const uint32_t[]){3, 0, 2, 3, 2}, 5);
    op_free(r);
}

static void ids_outside_the_embedding_are_refused(void **state)
{
    struct op_run *r = tokenize("{\"format\":\"text\",\"vocab\":3,\"limit\":0}", "ab", UC_EREFUSED);

    assert_non_null(strstr(r->err.msg, "id 3"));
    op_free(r);
    r = tokenize("{\"format\":\"text\",\"vocab\":5,\"limit\":0}", "\xff", UC_EFAIL);
    assert_non_null(strstr(r->err.msg, "not UTF-8"));
    op_free(r);
    op_free(tokenize("{\"format\":\"text\",\"vocab\":5,\"limit\":0}", "", UC_EREFUSED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprints_name_content_not_place),
        cmocka_unit_test(weights_that_are_no_numbers_are_refused),
        cmocka_unit_test(texts_become_ids_and_counts),
        cmocka_unit_test(ids_outside_the_embedding_are_refused),
    };

    return cmocka_run_group_tests_name("inputs", tests, NULL, NULL);
}
