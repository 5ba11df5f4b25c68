/* The cache room: blobs, records, leases, the stat cache, the index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/ac.h"
#include "cache/cas.h"
#include "cache/db.h"
#include "cache/lease.h"

struct place {
    char dir[64], cache_dir[80], file[80];
    struct uc_cache *c;
};

static int setup(void **state)
{
    struct place *p = uc_xcalloc(1, sizeof(*p));
    struct uc_err err;

    snprintf(p->dir, sizeof(p->dir), "/tmp/uc-cas.XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    snprintf(p->cache_dir, sizeof(p->cache_dir), "%s/cache", p->dir);
    snprintf(p->file, sizeof(p->file), "%s/file", p->dir);
    *state = p;
    return uc_cache_open(&p->c, p->cache_dir, 0, &err);
}

static int teardown(void **state)
{
    struct place *p = *state;

    uc_cache_close(p->c);
    uc_remove_tree(p->dir, NULL);
    free(p);
    return 0;
}

static void write_text(const char *path, const char *text)
{
    assert_int_equal(uc_write_file(path, text, strlen(text), false, NULL), 0);
}

/* Seals and publishes text. */
static int publish(struct place *p, const char *text, struct uc_digest *d, struct uc_err *err)
{
    struct uc_cas_new b = {.path = p->file, .sync = true};
    int rc;

    unlink(p->file);
    write_text(p->file, text);
    rc = uc_cas_seal(p->file, true, &b.digest, &b.size, err);
    *d = b.digest;
    return rc == 0 ? uc_cas_publish(p->c, &b, 1, err) : rc;
}

static void test_publish_and_read(void **state)
{
    struct place *p = *state;
    struct uc_digest d, want;
    struct uc_err err;
    struct stat st;
    char *path, *text;
    size_t n;

    assert_int_equal(publish(p, "hello", &d, &err), 0);
    uc_digest_of("hello", 5, &want);
    assert_true(uc_digest_eq(&d, &want));
    assert_true(uc_cas_has(p->c, &d, 5));
    assert_false(uc_cas_has(p->c, &d, 6));
    assert_int_equal(access(p->file, F_OK), -1);
    path = uc_cas_path(p->c, &d);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(st.st_nlink, 1);
    free(path);
    assert_int_equal(uc_cas_read(p->c, &d, 100, &text, &n, &err), 0);
    assert_string_equal(text, "hello");
    free(text);
    assert_int_equal(publish(p, "hello", &d, &err), 0); /* again */
    uc_cas_drop(p->c, &d);
    assert_int_equal(uc_cas_verify(p->c, &d, &err), UC_ENOTFOUND);
}

static void test_a_damaged_blob_is_replaced(void **state)
{
    struct place *p = *state;
    struct uc_digest d;
    struct uc_err err;
    char *path, *text;
    size_t n;

    assert_int_equal(publish(p, "hello", &d, &err), 0);
    path = uc_cas_path(p->c, &d);
    write_text(path, "jello");
    assert_int_equal(uc_cas_verify(p->c, &d, &err), UC_ECORRUPT);
    assert_int_equal(uc_cas_read(p->c, &d, 100, &text, &n, &err), UC_ECORRUPT);
    assert_int_equal(publish(p, "hello", &d, &err), 0);
    assert_int_equal(uc_cas_verify(p->c, &d, &err), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0); /* not even a file */
    assert_int_equal(publish(p, "hello", &d, &err), 0);
    assert_int_equal(uc_cas_verify(p->c, &d, &err), 0);
    free(path);
}

static void test_only_files_are_sealed(void **state)
{
    struct place *p = *state;
    struct uc_digest d;
    struct uc_err err;
    uint64_t size;

    assert_int_equal(symlink("/etc/passwd", p->file), 0);
    assert_int_equal(uc_cas_seal(p->file, false, &d, &size, &err), UC_EIO);
}

static void test_file_changed_after_sealing(void **state)
{
    struct place *p = *state;
    struct uc_cas_new b = {.path = p->file};
    struct uc_err err;

    write_text(p->file, "hello");
    assert_int_equal(uc_cas_seal(p->file, false, &b.digest, &b.size, &err), 0);
    write_text(p->file, "hello again");
    assert_int_equal(uc_cas_publish(p->c, &b, 1, &err), UC_ECORRUPT);
    assert_false(uc_cas_has(p->c, &b.digest, b.size));
}

static void put_record(struct place *p, const struct uc_digest *key)
{
    struct uc_result_output out = {.name = "x", .size = 5, .retention = "transient"};
    struct uc_result r = {.key = *key,
                          .op = "capture",
                          .version = 3,
                          .outputs = &out,
                          .n_outputs = 1,
                          .seconds = 1.5,
                          .cpu = 1.25,
                          .work = 1024,
                          .peak_rss = 99,
                          .threads = 2};
    struct uc_err err;

    uc_digest_of("hello", 5, &out.digest);
    assert_int_equal(uc_ac_put(p->c, &r, true, &err), 0);
}

static void test_records(void **state)
{
    struct place *p = *state;
    struct uc_digest key, other;
    struct uc_result r;
    char hex[UC_HEX_LEN + 1], *path, *moved;

    uc_digest_of("key", 3, &key);
    uc_digest_of("other", 5, &other);
    assert_int_equal(uc_ac_get(p->c, &key, &r), 0);
    put_record(p, &key);
    assert_int_equal(uc_ac_get(p->c, &key, &r), 1);
    assert_string_equal(r.op, "capture");
    assert_int_equal(r.n_outputs, 1);
    assert_string_equal(r.outputs[0].retention, "transient");
    assert_true(r.seconds == 1.5);
    uc_result_release(&r);
    /* a record under another key's name is no answer */
    uc_digest_hex(&key, hex);
    path = uc_xasprintf("%s/ac/%.2s/%s", p->cache_dir, hex, hex);
    uc_digest_hex(&other, hex);
    moved = uc_xasprintf("%s/ac/%.2s", p->cache_dir, hex);
    assert_int_equal(uc_mkdirs(moved, NULL), 0);
    free(moved);
    moved = uc_xasprintf("%s/ac/%.2s/%s", p->cache_dir, hex, hex);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(uc_ac_get(p->c, &other, &r), 0);
    assert_int_equal(access(moved, F_OK), -1);
    free(path);
    free(moved);
}

static void test_index_is_filled_from_records(void **state)
{
    struct place *p = *state;
    struct uc_digest key;
    double seconds = 0;
    char path[100];

    uc_digest_of("key", 3, &key);
    assert_false(uc_db_history_get(uc_cache_db(p->c), "capture", 1024, &seconds));
    put_record(p, &key);
    uc_cache_close(p->c);
    snprintf(path, sizeof(path), "%s/index.db", p->cache_dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(uc_cache_open(&p->c, p->cache_dir, 0, NULL), 0);
    assert_true(uc_db_history_get(uc_cache_db(p->c), "capture", 2048, &seconds));
    assert_true(seconds == 2.5);
}

static void test_history(void **state)
{
    struct place *p = *state;
    struct uc_db *db = uc_cache_db(p->c);
    double seconds;

    uc_db_history_add(db, "quantize", 1000, 10);
    uc_db_history_add(db, "quantize", 1000, 20);
    assert_true(uc_db_history_get(db, "quantize", 1000, &seconds));
    assert_true(seconds == 15);
    assert_true(uc_db_history_get(db, "quantize", 1e6, &seconds)); /* another size: by work */
    assert_true(seconds > 14999 && seconds < 15001);
    assert_false(uc_db_history_get(db, "bench", 1000, &seconds));
}

static void test_meta(void **state)
{
    struct place *p = *state;
    struct uc_digest key;
    struct uc_err err;
    void *data;
    size_t n;

    uc_digest_of("meta", 4, &key);
    assert_int_equal(uc_cache_get_meta(p->c, &key, &data, &n, &err), 0);
    assert_int_equal(uc_cache_put_meta(p->c, &key, "value", 5, &err), 0);
    assert_int_equal(uc_cache_put_meta(p->c, &key, "", 0, &err), 0);
    assert_int_equal(uc_cache_put_meta(p->c, &key, "a\0b", 3, &err), 0);
    assert_int_equal(uc_cache_get_meta(p->c, &key, &data, &n, &err), 1);
    assert_int_equal(n, 3);
    assert_memory_equal(data, "a\0b", 4);
    free(data);
}

static void test_leases(void **state)
{
    struct place *p = *state;
    struct uc_lease a, b;
    struct uc_digest key;
    struct uc_err err;
    char holder[64];
    int status;

    uc_digest_of("key", 3, &key);
    assert_int_equal(uc_lease_try(p->c, &key, "build A", &a, holder, sizeof(holder), &err), 1);
    assert_int_equal(uc_lease_try(p->c, &key, "build B", &b, holder, sizeof(holder), &err), 0);
    assert_string_equal(holder, "build A");
    uc_lease_release(&a);
    pid_t pid = fork(); /* a lease ends with its process, however that ends */
    if (pid == 0) {
        uc_lease_try(p->c, &key, "build C", &a, holder, sizeof(holder), &err);
        raise(9);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(uc_lease_try(p->c, &key, "build B", &b, holder, sizeof(holder), &err), 1);
    uc_lease_release(&b);
}

static void test_presence(void **state)
{
    struct place *p = *state;
    struct uc_presence a, b;
    struct uc_err err;

    assert_int_equal(uc_presence_enter(p->c, &a, &err), 0);
    assert_true(uc_presence_alone(&a));
    uc_presence_share(&a);
    assert_int_equal(uc_presence_enter(p->c, &b, &err), 0);
    assert_false(uc_presence_alone(&a));
    uc_presence_leave(&b);
    assert_true(uc_presence_alone(&a));
    uc_presence_leave(&a);
}

static void test_racy_files(void **state)
{
    struct place *p = *state;
    struct uc_digest d, want;
    struct uc_err err;
    char text[8];

    for (int i = 0; i < 300; i++) { /* same size, as fast as the clock ticks or faster */
        FILE *f = fopen(p->file, "r+");
        if (!f)
            f = fopen(p->file, "w");
        snprintf(text, sizeof(text), "%04d", i);
        fputs(text, f);
        fclose(f);
        assert_int_equal(uc_cache_file_digest(p->c, p->file, &d, NULL, &err), 0);
        uc_digest_of(text, 4, &want);
        assert_true(uc_digest_eq(&d, &want));
    }
}

static void test_stat_cache_follows_the_file(void **state)
{
    struct place *p = *state;
    struct uc_digest d;
    struct uc_fident id;
    struct uc_err err;
    char other[90];
    struct timespec future[2] = {{.tv_sec = 2145916800}, {.tv_sec = 2145916800}};

    write_text(p->file, "hello");
    assert_int_equal(uc_cache_file_digest(p->c, p->file, &d, &id, &err), 0);
    assert_true(uc_db_file_get(uc_cache_db(p->c), &id, &d));
    snprintf(other, sizeof(other), "%s/folder", p->dir);
    assert_int_equal(mkdir(other, 0755), 0);
    assert_int_equal(utimensat(AT_FDCWD, p->file, future, 0), 0); /* 2038: still cached */
    assert_int_equal(uc_cache_file_digest(p->c, p->file, &d, &id, &err), 0);
    assert_true(uc_db_file_get(uc_cache_db(p->c), &id, &d));
    assert_int_equal(uc_cache_file_digest(p->c, "/does/not/exist", &d, &id, &err), UC_ENOTFOUND);
}

static void test_foreign_folder(void **state)
{
    struct place *p = *state;
    struct uc_cache *c;
    struct uc_err err;

    write_text(p->file, "mine");
    assert_int_equal(uc_cache_open(&c, p->dir, 0, &err), UC_EUSAGE);
    assert_true(strlen(err.fix) > 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_publish_and_read),
        T(test_a_damaged_blob_is_replaced),
        T(test_only_files_are_sealed),
        T(test_file_changed_after_sealing),
        T(test_records),
        T(test_index_is_filled_from_records),
        T(test_history),
        T(test_meta),
        T(test_leases),
        T(test_presence),
        T(test_racy_files),
        T(test_stat_cache_follows_the_file),
        T(test_foreign_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
