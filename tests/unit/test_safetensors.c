/* safetensors: what a well-formed file gives, and that every lie in a header is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "formats/safetensors.h"

/* A file made of a header text and data_size zero bytes; caller frees. */
static uint8_t *make(const char *json, size_t data_size, size_t *n)
{
    size_t len = strlen(json);
    uint8_t *p = calloc(1, 8 + len + data_size + 1);

    assert_non_null(p);
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)len >> (8 * i));
    memcpy(p + 8, json, len);
    *n = 8 + len + data_size;
    return p;
}

static int parse(const char *json, size_t data_size, struct uc_st *st, struct uc_err *err)
{
    size_t n;
    uint8_t *p = make(json, data_size, &n);
    int rc = uc_st_parse(st, p, n, n, "f.safetensors", err);

    free(p);
    return rc;
}

static void a_good_header_is_read(void **state)
{
    struct uc_st st;
    struct uc_err err = {0};
    const struct uc_tensor_info *t;

    assert_int_equal(parse("{\"__metadata__\":{\"format\":\"pt\"},"
                           "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                           "\"z\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[4,4]},"
                           "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ",
                           16, &st, &err),
                     0);
    assert_int_equal(st.n_tensors, 3);
    assert_string_equal(st.tensors[0].name, "a");
    t = uc_st_find(&st, "b");
    assert_non_null(t);
    assert_int_equal(t->n_dim, 2);
    assert_int_equal(t->size, 12);
    assert_int_equal(uc_st_find(&st, "z")->size, 0);
    assert_null(uc_st_find(&st, "q"));
    assert_string_equal(json_string_value(json_object_get(st.metadata, "format")), "pt");
    uc_st_close(&st);
}

#define T(dtype, shape, off)                                                                       \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" off "}"

static const struct {
    const char *json;
    size_t data;
    const char *says;
} lies[] = {
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[2,6]") "}", 6, "overlaps"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[8,12]") "}", 12,
     "tensor b belong to no tensor"},
    {"{\"a\":" T("F32", "[1]", "[4,8]") "}", 8, "tensor a belong to no tensor"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, "the last 1 data bytes"},
    {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 4, "tensor a: ends at byte 8"},
    {"{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, "need 8"},
    {"{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, "not [begin, end]"},
    {"{\"a\":" T("F32", "[1]", "[-4,0]") "}", 4, "not [begin, end]"},
    {"{\"a\":" T("F32", "[1]", "[0,4.0]") "}", 4, "not [begin, end]"},
    {"{\"a\":" T("F32", "[1]", "[0,4,8]") "}", 4, "not [begin, end]"},
    {"{\"a\":" T("F33", "[1]", "[0,4]") "}", 4, "unknown dtype \"F33\""},
    {"{\"a\":" T("F4", "[3]", "[0,1]") "}", 1, "whole bytes"},
    {"{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, "dimension 0"},
    {"{\"a\":" T("F32", "[1.5]", "[0,4]") "}", 4, "dimension 0"},
    {"{\"a\":" T("F32", "7", "[0,4]") "}", 4, "no shape"},
    {"{\"a\":" T("F32", "[4611686018427387904,4]", "[0,4]") "}", 4, "overflows"},
    {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "9 dimensions"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[0,4]") "}", 4, "duplicate"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "field \"x\""},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "duplicate"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no dtype"},
    {"{\"a\":7}", 0, "tensor a: not an object"},
    {"{\"\":" T("F32", "[1]", "[0,4]") "}", 4, "empty name"},
    {"{\"\\u001b[2J\":" T("F32", "[1]", "[0,4]") "}", 4, "control characters"},
    {"{\"__metadata__\":{\"format\":1}}", 0, "\"format\" is not a string"},
    {"{\"__metadata__\":[]}", 0, "__metadata__"},
    {" {}", 0, "start with '{'"},
    {"{}\n", 0, "end with '}'"},
    {"{} \t", 0, "end with '}'"},
    {"{}{}", 0, "not valid JSON"},
    {"{\"a\":}", 0, "not valid JSON"},
    {"{\"\xff\":1}", 0, "not valid JSON"},
    {"[]", 0, "start with '{'"},
};

static void every_lie_is_refused_by_name(void **state)
{
    for (size_t i = 0; i < UC_COUNT(lies); i++) {
        struct uc_st st;
        struct uc_err err = {0};
        int rc = parse(lies[i].json, lies[i].data, &st, &err);
        if (rc != UC_EREFUSED || !strstr(err.msg, lies[i].says) || !strstr(err.msg, "f.safete"))
            fail_msg("%s: rc %d, \"%s\", expected \"%s\"", lies[i].json, rc, err.msg, lies[i].says);
        assert_null(st.tensors);
    }
}

static void a_lying_length_is_refused(void **state)
{
    static const uint64_t lengths[] = {0, 1, 3, 100, 100000001, UINT64_MAX, UINT64_MAX - 7};
    uint8_t p[10] = "        {}";
    struct uc_err err;
    struct uc_st st;

    for (size_t i = 0; i < UC_COUNT(lengths); i++) {
        for (int b = 0; b < 8; b++)
            p[b] = (uint8_t)(lengths[i] >> (8 * b));
        assert_int_equal(uc_st_parse(&st, p, 10, 10, "f", &err), UC_EREFUSED);
    }
    for (size_t n = 0; n < 10; n++)
        assert_int_equal(uc_st_parse(&st, p, n, n, "f", &err), UC_EREFUSED);
    p[0] = 2;
    memset(p + 1, 0, 7);
    assert_int_equal(uc_st_parse(&st, p, 10, 10, "f", &err), 0);
    uc_st_close(&st);
}

static void the_writer_is_canonical(void **state)
{
    struct uc_err err = {0};
    char *head[2];
    size_t n[2];
    const uint64_t shape[] = {3, 5};

    for (int round = 0; round < 2; round++) {
        struct uc_st_writer *w = uc_st_writer_new();
        struct uc_st st;
        for (int k = 0; k < 3; k++) {
            int i = round ? 2 - k : k;
            uc_st_writer_add(w, (const char *[]){"b\"\xc3\xa9", "c", "a"}[i],
                             (enum uc_dtype[]){UC_DTYPE_U8, UC_DTYPE_F32, UC_DTYPE_U8}[i], 2,
                             shape);
        }
        uc_st_writer_meta(w, "zz", "1");
        uc_st_writer_meta(w, "aa", "2");
        assert_int_equal(uc_st_writer_header(w, UC_ST_BY_ALIGNMENT, &head[round], &n[round], &err),
                         0);
        assert_int_equal(n[round] % 8, 0);
        assert_int_equal(uc_st_writer_count(w), 3);
        assert_string_equal(uc_st_writer_tensor(w, 0)->name, "c");
        assert_int_equal(uc_st_writer_tensor(w, 0)->offset, n[round]);
        assert_int_equal(
            uc_st_parse(&st, (uint8_t *)head[round], n[round], n[round] + 90, "h", &err), 0);
        assert_string_equal(st.tensors[2].name, "b\"\xc3\xa9");
        uc_st_close(&st);
        uc_st_writer_free(w);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(head[0], head[1], n[0]);
    free(head[0]);
    free(head[1]);
}

static void the_writer_refuses_a_name_twice(void **state)
{
    struct uc_st_writer *w = uc_st_writer_new();
    struct uc_err err;
    char *head;
    size_t n;

    uc_st_writer_add(w, "a", UC_DTYPE_U8, 0, NULL);
    uc_st_writer_add(w, "a", UC_DTYPE_U8, 0, NULL);
    assert_int_equal(uc_st_writer_header(w, UC_ST_BY_NAME, &head, &n, &err), UC_EFAIL);
    assert_non_null(strstr(err.msg, "twice"));
    uc_st_writer_free(w);
}

/* ---- folders ---- */

static char dir[64];

static void put(const char *name, const void *p, size_t n)
{
    struct uc_err err = {0};
    char *path = uc_path_join(dir, name);

    assert_int_equal(uc_write_file(path, p, n, false, &err), 0);
    free(path);
}

static void put_shard(const char *name, const char *tensor)
{
    char json[200];
    size_t n;
    uint8_t *p;

    snprintf(json, sizeof(json), "{\"%s\":" T("F32", "[1]", "[0,4]") "}", tensor);
    p = make(json, 4, &n);
    put(name, p, n);
    free(p);
}

static void put_index(const char *text)
{
    put("model.safetensors.index.json", text, strlen(text));
}

static int setup(void **state)
{
    strcpy(dir, "uc-st-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    return uc_remove_tree(dir, NULL);
}

static void shards_are_one_set(void **state)
{
    struct uc_st_set set;
    struct uc_err err = {0};

    put_shard("one.safetensors", "x");
    put_shard("two.safetensors", "a");
    put_index("{\"metadata\":{\"total_size\":8},"
              "\"weight_map\":{\"x\":\"one.safetensors\",\"a\":\"two.safetensors\"}}");
    assert_int_equal(uc_st_set_open(&set, dir, &err), 0);
    assert_int_equal(set.n_tensors, 2);
    assert_int_equal(set.n_files, 2);
    assert_string_equal(set.tensors[0].info->name, "a");
    assert_int_equal(uc_st_set_find(&set, "x")->file, 0);
    assert_null(uc_st_set_find(&set, "y"));
    uc_st_set_close(&set);
}

static const struct {
    const char *index, *says;
} bad_index[] = {
    {"{\"weight_map\":{\"x\":\"both.safetensors\"}}", "tensor y of"},
    {"{\"weight_map\":{\"x\":\"one.safetensors\",\"a\":\"two.safetensors\","
     "\"q\":\"two.safetensors\"}}",
     "tensor q is not in two"},
    {"{\"weight_map\":{\"x\":\"two.safetensors\",\"a\":\"one.safetensors\"}}", "the index says"},
    {"{\"weight_map\":{\"x\":\"../one.safetensors\"}}", "plain file name"},
    {"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", "plain file name"},
    {"{\"weight_map\":{\"x\":7}}", "plain file name"},
    {"{\"weight_map\":{\"x\":\"gone.safetensors\"}}", "gone.safetensors"},
    {"{\"metadata\":{\"total_size\":9},\"weight_map\":{\"x\":\"one.safetensors\","
     "\"a\":\"two.safetensors\"}}",
     "total_size"},
    {"{\"weight_map\":{\"x\":\"one.safetensors\",\"x\":\"two.safetensors\"}}", "duplicate"},
    {"{}", "no weight_map"},
    {"[", "not valid JSON"},
};

static void an_index_that_disagrees_is_refused(void **state)
{
    size_t n;
    uint8_t *p;

    put_shard("one.safetensors", "x");
    put_shard("two.safetensors", "a");
    p = make("{\"x\":" T("F32", "[1]", "[0,4]") ",\"y\":" T("F32", "[1]", "[4,8]") "}", 8, &n);
    put("both.safetensors", p, n);
    free(p);
    for (size_t i = 0; i < UC_COUNT(bad_index); i++) {
        struct uc_st_set set;
        struct uc_err err = {0};
        put_index(bad_index[i].index);
        int rc = uc_st_set_open(&set, dir, &err);
        if (rc >= 0 || !strstr(err.msg, bad_index[i].says))
            fail_msg("%s: rc %d \"%s\"", bad_index[i].index, rc, err.msg);
    }
}

static void a_folder_without_weights_says_so(void **state)
{
    struct uc_st_set set;
    struct uc_err err = {0};

    assert_int_equal(uc_st_set_open(&set, dir, &err), UC_ENOTFOUND);
    put("pytorch_model.bin", "x", 1);
    assert_int_equal(uc_st_set_open(&set, dir, &err), UC_EREFUSED);
    assert_non_null(strstr(err.msg, "pickle"));
    assert_int_equal(uc_st_set_open(&set, "no-such-folder", &err), UC_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_header_is_read),
        cmocka_unit_test(every_lie_is_refused_by_name),
        cmocka_unit_test(a_lying_length_is_refused),
        cmocka_unit_test(the_writer_is_canonical),
        cmocka_unit_test(the_writer_refuses_a_name_twice),
        cmocka_unit_test_setup_teardown(shards_are_one_set, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_that_disagrees_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_without_weights_says_so, setup, teardown),
    };

    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
