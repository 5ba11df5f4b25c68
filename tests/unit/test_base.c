/* base: errors, buffers, digests, files, random numbers, pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/fsio.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/str.h"

static void error_context_is_prefixed(void **state)
{
    struct uc_err e = {0};

    assert_int_equal(uc_fail(&e, UC_ECORRUPT, "blob %d", 7), UC_ECORRUPT);
    assert_int_equal(uc_within(&e, "output %s", "x"), UC_ECORRUPT);
    assert_string_equal(e.msg, "output x: blob 7");
    errno = ENOSPC;
    assert_int_equal(uc_fail_errno(&e, "write %s", "a"), UC_ERESOURCE);
    assert_non_null(strstr(e.fix, "disk"));
    assert_int_equal(uc_exit_code(UC_ERESOURCE), 6);
}

static void long_context_is_cut_not_overrun(void **state)
{
    struct uc_err e = {0};

    uc_fail(&e, UC_EFAIL, "base");
    for (int i = 0; i < 100; i++)
        uc_within(&e, "a context of some length %d", i);
    assert_true(strlen(e.msg) < sizeof(e.msg));
}

static void buffer_stops_at_its_maximum(void **state)
{
    struct uc_buf b;
    struct uc_err e;

    uc_buf_init(&b, 10);
    assert_int_equal(uc_buf_adds(&b, "12345678"), 0);
    assert_int_equal(uc_buf_adds(&b, "abc"), -1);
    assert_int_equal(uc_buf_check(&b, "text", &e), UC_ERESOURCE);
    assert_string_equal(uc_buf_str(&b), "12345678");
    uc_buf_release(&b);
}

static void sha256_and_crc_of_known_text(void **state)
{
    struct uc_digest d, back;
    char hex[UC_HEX_LEN + 1];

    uc_digest_of("abc", 3, &d);
    assert_string_equal(uc_digest_hex(&d, hex),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(uc_digest_parse(hex, &back) && uc_digest_eq(&d, &back));
    hex[5] = 'X';
    assert_false(uc_digest_parse(hex, &back));
    assert_int_equal(uc_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(uc_crc32(uc_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
}

static void files_round_trip(void **state)
{
    char dir[] = "/tmp/uc-test-XXXXXX";
    struct uc_err e;
    char *text, *path, *copy;
    struct uc_map m;
    size_t n;

    assert_non_null(mkdtemp(dir));
    path = uc_path_join(dir, "a/b/c");
    copy = uc_path_join(dir, "copy");
    char *parent = uc_path_dir(path);
    assert_int_equal(uc_mkdirs(parent, &e), 0);
    assert_int_equal(uc_write_file(path, "hello", 5, true, &e), 0);
    assert_int_equal(uc_read_file(path, 0, &text, &n, &e), 0);
    assert_int_equal(n, 5);
    assert_string_equal(text, "hello");
    free(text);
    assert_int_equal(uc_read_file(path, 4, &text, &n, &e), UC_ERESOURCE);
    assert_int_equal(uc_map_open(&m, path, &e), 0);
    assert_memory_equal(m.data, "hello", 5);
    uc_map_close(&m);
    assert_int_equal(uc_copy_file(path, copy, 0444, &e), 0);
    assert_true(uc_copy_file(path, copy, 0444, &e) < 0); /* never over an existing name */
    assert_int_equal(uc_read_file(dir, 0, &text, &n, &e), UC_EIO);
    assert_int_equal(uc_remove_tree(dir, &e), 0);
    assert_int_equal(access(dir, F_OK), -1);
    free(parent);
    free(path);
    free(copy);
}

static void json_is_strict_and_canonical(void **state)
{
    struct uc_err e;
    json_t *v = uc_json_parse("{\"b\":1, \"a\":[1.5,null]}", 23, "t", &e);
    char *s = uc_json_canonical(v);

    assert_string_equal(s, "{\"a\":[1.5,null],\"b\":1}");
    free(s);
    json_decref(v);
    assert_null(uc_json_parse("{\"a\":1,\"a\":2}", 13, "file", &e));
    assert_non_null(strstr(e.msg, "file:1:"));
}

static void philox_known_answer(void **state)
{
    uint32_t r[4];

    uc_philox(0, 0, 0, r); /* Random123's kat_vectors: philox 4x32 10, all zero */
    assert_int_equal(r[0], 0x6627e8d5);
    assert_int_equal(r[1], 0xe169c58d);
    assert_int_equal(r[2], 0xbc57ac4c);
    assert_int_equal(r[3], 0x9b00dbd8);
}

static void text_helpers(void **state)
{
    static const char *const words[] = {"calibrate", "check", "size"};
    char out[32];

    assert_true(uc_str_match("*.mlp.down_proj*", "model.layers.3.mlp.down_proj.weight"));
    assert_false(uc_str_match("*.q", "x.k"));
    assert_string_equal(uc_str_nearest("calibrat", words, 3), "calibrate");
    assert_null(uc_str_nearest("zzzzzz", words, 3));
    assert_int_equal(uc_utf8_valid((const uint8_t *)"a\xc3\xa9\xed\xa0\x80", 6), 3);
    assert_string_equal(uc_str_bytes(out, 269060552), "269.1 MB");
    assert_int_equal(uc_str_parse_size("1.5G"), 1500000000);
    assert_int_equal(uc_str_parse_size("2KiB"), 2048);
    assert_int_equal(uc_str_parse_size("x"), -1);
}

static void mark(void *arg, size_t i, int thread)
{
    atomic_fetch_add((_Atomic int *)arg + i, 1);
}

static void pool_runs_each_item_once(void **state)
{
    struct uc_err e;
    struct uc_pool *p = uc_pool_new(4, &e);
    _Atomic int seen[1000] = {0};

    for (int round = 0; round < 50; round++)
        uc_pool_run(p, 1000, mark, seen);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 50);
    uc_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_context_is_prefixed),
        cmocka_unit_test(long_context_is_cut_not_overrun),
        cmocka_unit_test(buffer_stops_at_its_maximum),
        cmocka_unit_test(sha256_and_crc_of_known_text),
        cmocka_unit_test(files_round_trip),
        cmocka_unit_test(json_is_strict_and_canonical),
        cmocka_unit_test(philox_known_answer),
        cmocka_unit_test(text_helpers),
        cmocka_unit_test(pool_runs_each_item_once),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
