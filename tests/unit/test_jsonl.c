/* Texts: samples of JSONL, and shards that stay when a file grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fsio.h"
#include "base/mem.h"
#include "formats/jsonl.h"

static char dir[64];
static char path[80];

static int setup(void **state)
{
    strcpy(dir, "uc-jsonl-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/t", dir);
    return 0;
}

static int teardown(void **state)
{
    return uc_remove_tree(dir, NULL);
}

static void put(const void *p, size_t n)
{
    struct uc_err err = {0};

    assert_int_equal(uc_write_file(path, p, n, false, &err), 0);
}

static int collect(void *arg, size_t line, const char *text, size_t n, struct uc_err *err)
{
    assert_int_equal(text[n], 0);
    uc_buf_addf(arg, "%zu:", line);
    uc_buf_add(arg, text, n);
    return 0;
}

static void every_form_of_sample_is_read(void **state)
{
    static const char lines[] = "{\"text\":\"one\"}\n"
                                "\n"
                                "{\"prompt\":\"p\",\"response\":\"r\\n\",\"id\":7}\r\n"
                                "{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}\n"
                                "{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\"}\n"
                                "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
                                "\"x\",\"content\":\"b\"}]}\n"
                                "{\"conversations\":[{\"from\":\"user\",\"value\":\"c\"}]}";
    struct uc_err err = {0};
    struct uc_buf b;

    uc_buf_init(&b, 0);
    assert_int_equal(uc_jsonl_each(lines, sizeof(lines) - 1, "f", collect, &b, &err), 0);
    assert_string_equal(uc_buf_str(&b), "1:one\n3:p\nr\n4:i\no\n5:i\nn\no\n6:a\nb\n7:c\n");
    uc_buf_release(&b);
}

static const struct {
    const char *line, *says;
} broken[] = {
    {"{\"text\":\"x\"", "f:2:"},
    {"[1]", "f:2: not a JSON object"},
    {"{\"txt\":\"x\"}", "f:2: none of \"text\""},
    {"{\"text\":7}", "f:2: \"text\" is not a string"},
    {"{\"text\":\" \\n\"}", "f:2: the sample is empty"},
    {"{\"prompt\":\"x\"}", "f:2: \"response\" is missing"},
    {"{\"instruction\":\"x\"}", "f:2: \"output\" is missing"},
    {"{\"messages\":{}}", "f:2: \"messages\" is not a list"},
    {"{\"messages\":[{\"role\":\"user\"}]}", "f:2: messages[0]: \"content\" is missing"},
    {"{\"messages\":[]}", "f:2: the sample is empty"},
    {"{\"text\":\"\xe9\"}", "f:2: not UTF-8 at byte 9"},
    {"{\"text\":\"a\",\"text\":\"b\"}", "duplicate"},
};

static void a_broken_line_is_named(void **state)
{
    for (size_t i = 0; i < UC_COUNT(broken); i++) {
        struct uc_err err = {0};
        char *text = uc_xasprintf("{\"text\":\"fine\"}\n%s\n{\"text\":\"\"}", broken[i].line);
        int rc = uc_jsonl_each(text, strlen(text), "f", NULL, NULL, &err);
        if (rc != UC_EREFUSED || !strstr(err.msg, broken[i].says))
            fail_msg("%s: %d \"%s\", expected \"%s\"", broken[i].line, rc, err.msg, broken[i].says);
        free(text);
    }
}

/* Slices tile the file, and hold its bytes' digests. */
static void check_tiling(const struct uc_text_slice *s, size_t n, const uint8_t *p, size_t size)
{
    uint64_t at = 0;

    for (size_t i = 0; i < n; i++) {
        struct uc_digest d;
        assert_int_equal(s[i].offset, at);
        assert_true(s[i].size > 0);
        uc_digest_of(p + at, s[i].size, &d);
        assert_true(uc_digest_eq(&d, &s[i].digest));
        at += s[i].size;
    }
    assert_int_equal(at, size);
}

static size_t grow(uint8_t *p, size_t cap, enum uc_text_format format, bool newlines)
{
    size_t n = 0;

    for (unsigned i = 0; n + 200 < cap; i++) {
        char word[100];
        int len = format == UC_TEXT_JSONL
                      ? snprintf(word, sizeof(word), "{\"text\":\"sample %u %.*s\"}\n", i,
                                 (int)(i * 7 % 40), "........................................")
                      : snprintf(word, sizeof(word), "w\xc3\xa9%u%s", i * i,
                                 newlines && i % 11 == 0 ? "\n\n" : " ");
        memcpy(p + n, word, (size_t)len);
        n += (size_t)len;
    }
    return n;
}

static void appending_keeps_all_but_the_last_shard(void **state)
{
    static uint8_t p[20000];
    struct uc_err err = {0};

    for (int kind = 0; kind < 3; kind++) {
        enum uc_text_format format = kind == 2 ? UC_TEXT_JSONL : UC_TEXT_PLAIN;
        size_t size = grow(p, sizeof(p), format, kind != 1);
        struct uc_text_slice *whole, *part;
        size_t n, n_part;
        put(p, size);
        assert_int_equal(uc_text_slices(path, format, 1000, &whole, &n, &err), 0);
        check_tiling(whole, n, p, size);
        assert_in_range(n, 15, 21);
        for (size_t cut = 1; cut < size; cut += 37) {
            size_t end = cut;
            while (end < size &&
                   (format == UC_TEXT_JSONL ? p[end - 1] != '\n' : (p[end] & 0xc0) == 0x80))
                end++;
            put(p, end);
            assert_int_equal(uc_text_slices(path, format, 1000, &part, &n_part, &err), 0);
            check_tiling(part, n_part, p, end);
            for (size_t i = 0; i + 1 < n_part; i++) {
                assert_int_equal(part[i].size, whole[i].size);
                assert_true(uc_digest_eq(&part[i].digest, &whole[i].digest));
            }
            free(part);
        }
        free(whole);
    }
}

static void a_line_longer_than_a_shard_is_one_shard(void **state)
{
    static uint8_t p[5000];
    struct uc_text_slice *s;
    struct uc_err err = {0};
    size_t n;

    memset(p, 'x', sizeof(p));
    memcpy(p, "{\"text\":\"", 9);
    memcpy(p + 4000, "\"}\n{\"text\":\"", 12);
    memcpy(p + 4998, "\"}", 2);
    put(p, sizeof(p));
    assert_int_equal(uc_text_slices(path, UC_TEXT_JSONL, 100, &s, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(s[0].size, 4003);
    free(s);
    assert_int_equal(uc_text_slices(path, UC_TEXT_JSONL, 0, &s, &n, &err), 0);
    assert_int_equal(n, 1);
    free(s);
}

static void texts_that_hold_nothing_are_refused(void **state)
{
    struct uc_text_slice *s;
    struct uc_err err = {0};
    size_t n;

    put("", 0);
    assert_int_equal(uc_text_slices(path, UC_TEXT_PLAIN, 0, &s, &n, &err), UC_EREFUSED);
    assert_non_null(strstr(err.msg, "empty"));
    put(" \n\t\n", 4);
    assert_int_equal(uc_text_slices(path, UC_TEXT_JSONL, 2, &s, &n, &err), UC_EREFUSED);
    put("fine\nnot \xff fine", 15);
    assert_int_equal(uc_text_slices(path, UC_TEXT_PLAIN, 0, &s, &n, &err), UC_EREFUSED);
    assert_non_null(strstr(err.msg, "/t:2: not UTF-8 at byte 9"));
    put("{\"text\":\"a\"}\nrubbish\n", 21);
    assert_int_equal(uc_text_slices(path, UC_TEXT_JSONL, 0, &s, &n, &err), UC_EREFUSED);
    assert_non_null(strstr(err.msg, "/t:2:"));
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_sample_is_read),
        cmocka_unit_test(a_broken_line_is_named),
        cmocka_unit_test_setup_teardown(appending_keeps_all_but_the_last_shard, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_longer_than_a_shard_is_one_shard, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_that_hold_nothing_are_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("jsonl", tests, NULL, NULL);
}
