/* Keys: what changes them, what does not, and what a difference is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/key.h"
#include "engine/op.h"

const struct uc_op *const uc_ops[] = {NULL};

static struct uc_input inputs[2] = {{.name = "a"}, {.name = "b"}};
static struct uc_digest digests[2] = {{{1}}, {{2}}};

static struct uc_action action_with(const char *params)
{
    return (struct uc_action){.op = "op",
                              .params = uc_json_parse(params, strlen(params), "p", NULL),
                              .inputs = inputs,
                              .n_inputs = 2};
}

static void key_of_params(const char *params, struct uc_digest *out)
{
    struct uc_action a = action_with(params);
    struct uc_key_fields f = {&a, 1, digests, NULL, ""};

    assert_non_null(a.params);
    uc_key_of(&f, out);
    json_decref(a.params);
}

static void assert_params(const char *p, const char *q, bool same)
{
    struct uc_digest a, b;

    key_of_params(p, &a);
    key_of_params(q, &b);
    assert_int_equal(uc_digest_eq(&a, &b), same);
}

static void test_params(void **state)
{
    assert_params("{\"a\":1,\"b\":2}", "{ \"b\": 2, \"a\": 1 }", true);
    assert_params("{\"a\":1}", "{\"a\":1.0}", false);
    assert_params("{\"a\":0.1}", "{\"a\":0.1000000000000000055}", true);
    assert_params("{\"a\":\"1\"}", "{\"a\":1}", false);
    assert_params("{\"a\":{\"b\":1}}", "{\"a.b\":1}", false);
    assert_params("{\"a\":[1,2]}", "{\"a\":[2,1]}", false);
    assert_params("{\"a\":[[1],2]}", "{\"a\":[1,[2]]}", false);
    assert_params("{\"a\":[\"bb\",\"c\"]}", "{\"a\":[\"b\",\"bc\"]}", false);
    assert_params("{\"a\":true}", "{\"a\":1}", false);
    assert_params("{\"a\":null}", "{}", false);
    assert_params("{\"a\":{}}", "{\"a\":[]}", false);
}

/* The encoding is part of the cache's format: this digest may change only with it. */
static void test_encoding_is_pinned(void **state)
{
    struct uc_digest d;
    char hex[UC_HEX_LEN + 1];

    key_of_params("{\"bits\":3,\"damp\":0.01,\"name\":\"x\",\"on\":true,\"list\":[1,null]}", &d);
    assert_string_equal(uc_digest_hex(&d, hex),
                        "7846c066bf867752377f44d598c09d2ab5cf9fd80952ea46e2fa0ec56e5e4a28");
}

static void test_other_fields(void **state)
{
    struct uc_action a = action_with("{}");
    struct uc_fident id = {.size = 1, .inode = 2, .dev = 3, .mtime_ns = 4, .ctime_ns = 5};
    struct uc_fident elsewhere = {.size = 1, .inode = 2, .dev = 9, .mtime_ns = 4, .ctime_ns = 5};
    struct uc_key_fields f = {&a, 1, digests, NULL, ""}, g = f;
    struct uc_digest one, two, swapped[2] = {{{2}}, {{1}}};

    uc_key_of(&f, &one);
    g.version = 2;
    uc_key_of(&g, &two);
    assert_false(uc_digest_eq(&one, &two));
    g = f;
    g.inputs = swapped;
    uc_key_of(&g, &two);
    assert_false(uc_digest_eq(&one, &two));
    g = f;
    g.kernel_class = "cuda-tf32";
    uc_key_of(&g, &two);
    assert_false(uc_digest_eq(&one, &two));
    g = f;
    g.ident = &id;
    uc_key_of(&g, &one);
    g.ident = &elsewhere; /* the device is only a hint */
    uc_key_of(&g, &two);
    assert_true(uc_digest_eq(&one, &two));
    json_decref(a.params);
}

static char *text_of(const char *params, unsigned version)
{
    struct uc_action a = action_with(params);
    struct uc_key_fields f = {&a, version, digests, NULL, ""};
    char *text = uc_key_text(&f);

    json_decref(a.params);
    return text;
}

static void assert_diff(const char *p, const char *q, const char *want)
{
    char *a = text_of(p, 1), *b = text_of(q, 1), *d = uc_key_diff(a, b);

    if (want)
        assert_string_equal(d, want);
    else
        assert_null(d);
    free(a);
    free(b);
    free(d);
}

static void test_diff(void **state)
{
    char *a = text_of("{}", 1), *b = text_of("{}", 2), *d;

    assert_diff("{\"bits\":3}", "{\"bits\":3}", NULL);
    assert_diff("{\"bits\":3}", "{\"bits\":4}", "params.bits: 3 -> 4");
    assert_diff("{\"arch\":{\"n_head\":9}}", "{\"arch\":{\"n_head\":8}}",
                "params.arch.n_head: 9 -> 8");
    assert_diff("{\"l\":[1,2]}", "{\"l\":[1,3]}", "params.l[1]: 2 -> 3");
    assert_diff("{\"a\":1,\"b\":1}", "{\"a\":2,\"b\":2}", "params.a: 1 -> 2 (and 1 more)");
    assert_diff("{}", "{\"a\":1}", "params.a: new");
    assert_diff("{\"a\":1}", "{}", "params.a: gone");
    assert_diff("{\"a\":\"x = y\\n\"}", "{\"a\":\"z\"}", "params.a: \"x = y\\n\" -> \"z\"");
    d = uc_key_diff(a, b);
    assert_string_equal(d, "version: 1 -> 2");
    free(a);
    free(b);
    free(d);
    a = uc_key_diff("input x = 1111111111111111111111111111111111111111111111111111111111111111\n",
                    "input x = 2222222222222222222222222222222222222222222222222222222222222222\n");
    assert_string_equal(a, "input x: 11111111 -> 22222222");
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_encoding_is_pinned),
        cmocka_unit_test(test_other_fields),
        cmocka_unit_test(test_diff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
