/* Builds that are killed, raced, starved of disk, or find damage: nothing wrong is ever used. */
#include "engine_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/worker.h"

static void check_blob(const char *path, size_t i, void *arg)
{
    struct uc_digest want, got;

    assert_true(uc_digest_parse(uc_path_base(path), &want));
    assert_int_equal(uc_hash_file(path, &got, NULL, NULL), 0);
    assert_true(uc_digest_eq(&want, &got));
}

/* A last build: everything right, nothing left over. */
static void finish_and_check(struct fixture *f, const char *letters)
{
    if (fixture_build(f) < 0)
        fail_msg("build: %s", f->err.msg);
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, letters));
    char *scratch = uc_path_join(f->cache_dir, "scratch");
    /* Empty; or not, when a killed build's last child still held its lock a moment ago. */
    if (rmdir(scratch) < 0) {
        assert_int_equal(fixture_build(f), 0);
        assert_int_equal(rmdir(scratch), 0);
    }
    assert_int_equal(mkdir(scratch, 0755), 0);
    free(scratch);
}

/* A build in a process of its own. */
static pid_t fork_build(struct fixture *f)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int rc = fixture_build(f);
        if (rc < 0)
            print_error("build: %s\n", f->err.msg);
        _exit(rc < 0);
    }
    return pid;
}

/* Calls fn for each event of every build of this cache. */
static void each_event(const struct fixture *f, void (*fn)(const json_t *e, void *arg), void *arg)
{
    char *dir = uc_path_join(f->cache_dir, "builds"), *text, *save;
    DIR *d = opendir(dir);
    struct dirent *e;
    size_t n;

    assert_non_null(d);
    while ((e = readdir(d))) {
        char *path = uc_path_join(dir, e->d_name);
        if (e->d_name[0] != '.' && uc_read_file(path, 0, &text, &n, NULL) == 0) {
            char *line = strtok_r(text, "\n", &save);
            for (; line; line = strtok_r(NULL, "\n", &save)) {
                json_t *ev = uc_json_parse(line, strlen(line), "event", NULL);
                if (ev) /* a kill can cut the last line */
                    fn(ev, arg);
                json_decref(ev);
            }
            free(text);
        }
        free(path);
    }
    closedir(d);
    free(dir);
}

struct totals {
    size_t ran, adopted, waited;
};

static void add_event(const json_t *e, void *arg)
{
    struct totals *t = arg;
    const char *ev = uc_json_str(e, "ev", ""), *outcome = uc_json_str(e, "outcome", "");

    t->ran += strcmp(ev, "end") == 0 && strcmp(outcome, "ran") == 0;
    t->adopted += strcmp(ev, "end") == 0 && strcmp(outcome, "adopted") == 0;
    t->waited += strcmp(ev, "wait") == 0;
}

/* Counts processes whose parent died and that still are workers of this test. */
static bool no_worker_lives(void *arg)
{
    const struct fixture *f = arg;
    DIR *d = opendir("/proc");
    struct dirent *e;
    bool none = true;

    while (none && (e = readdir(d))) {
        char path[300], cwd[300] = {0};
        snprintf(path, sizeof(path), "/proc/%s/fd/0", e->d_name);
        ssize_t n = readlink(path, cwd, sizeof(cwd) - 1);
        none = n <= 0 || !uc_str_starts(cwd, f->cache_dir);
    }
    closedir(d);
    return none;
}

static void test_kill_at_random_moments(void **state)
{
    struct fixture *f = *state;
    const char *given = getenv("UC_TEST_SEED");
    unsigned seed = given ? (unsigned)atoi(given) : 7;
    struct totals t = {0};
    int kills = 20, killed = 0, status;

    f->ms = 10;
    for (int i = 0; i < kills; i++) {
        pid_t pid = fork_build(f);
        nanosleep(&(struct timespec){.tv_nsec = (long)(rand_r(&seed) % 150) * 1000000}, NULL);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);
        assert_true(fixture_wait_until(no_worker_lives, f));
        f->bits = 3 + i / 10; /* so that there is something to do again */
    }
    finish_and_check(f, "abcd");
    fixture_each_blob(f, check_blob, NULL);
    each_event(f, add_event, &t);
    assert_true(t.ran <= 2 * N_ACTIONS + (size_t)(2 * killed));
}

static void test_worker_killed(void **state)
{
    struct fixture *f = *state;

    f->bad = "capture.2";
    f->how = "exit";
    assert_int_equal(fixture_build(f), UC_EFAIL);
    f->bad = NULL;
    finish_and_check(f, "abcd");
}

static void test_two_builds_share_a_cache(void **state)
{
    struct fixture *f = *state;
    struct totals t = {0};
    pid_t pids[4];
    int status;

    f->ms = 60;
    for (size_t i = 0; i < UC_COUNT(pids); i++) {
        snprintf(f->out, sizeof(f->out), "%s/out%zu", f->dir, i);
        pids[i] = fork_build(f);
    }
    for (size_t i = 0; i < UC_COUNT(pids); i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
        snprintf(f->out, sizeof(f->out), "%s/out%zu", f->dir, i);
        assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
    }
    each_event(f, add_event, &t);
    assert_int_equal(t.ran, N_ACTIONS); /* each action once, whoever ran it */
    assert_true(t.adopted > 0);
    assert_true(t.waited > 0);
    finish_and_check(f, "abcd");
}

static void flip_a_bit(const char *path, size_t i, void *arg)
{
    int fd;
    char c;

    assert_int_equal(chmod(path, 0644), 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &c, 1, 3), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, 3), 1);
    close(fd);
}

static void test_every_blob_damaged(void **state)
{
    struct fixture *f = *state;

    f->cache_flags = 0; /* and durable for once */
    assert_int_equal(fixture_build(f), 0);
    fixture_each_blob(f, flip_a_bit, NULL);
    f->note = "other"; /* assemble must read the streams */
    if (fixture_build(f) < 0)
        fail_msg("build: %s", f->err.msg);
    assert_non_null(strstr(f->warned, "is damaged and was dropped: 'stream' of quantize"));
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
    /* what this build did not read may still be bad: damaged as it is, it is not used either */
    f->note = "";
    uc_remove_tree(f->out, NULL);
    finish_and_check(f, "abcd");
}

static void truncate_it(const char *path, size_t i, void *arg)
{
    assert_int_equal(truncate(path, 1), 0);
}

static void make_a_link(const char *path, size_t i, void *arg)
{
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
}

static void test_blobs_truncated_or_replaced(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_build(f), 0);
    fixture_each_blob(f, truncate_it, NULL);
    f->note = "second";
    finish_and_check(f, "abcd");
    fixture_each_blob(f, make_a_link, NULL);
    f->note = "third";
    finish_and_check(f, "abcd");
}

static void damage_record(const char *path)
{
    char *text;
    size_t n;

    assert_int_equal(uc_read_file(path, 0, &text, &n, NULL), 0);
    char *digit = strstr(text, "\"size\":");
    assert_non_null(digit);
    digit[7] = digit[7] == '1' ? '2' : '1';
    fixture_write(path, text);
    free(text);
}

static void test_damaged_records(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_build(f), 0);
    for (int i = 0; i < 256; i++) {
        char *dir = uc_xasprintf("%s/ac/%02x", f->cache_dir, i);
        DIR *d = opendir(dir);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            char *path = uc_path_join(dir, e->d_name);
            if (e->d_name[0] != '.')
                damage_record(path);
            free(path);
        }
        if (d)
            closedir(d);
        free(dir);
    }
    finish_and_check(f, "abcd");
    assert_int_equal(f->res.n_ran, N_ACTIONS);
}

/* A file system of 4 MB for the cache; false (and loud) when this user cannot have one. */
static bool mount_small(struct fixture *f)
{
    char dir[90];

    snprintf(dir, sizeof(dir), "%s/small", f->dir);
    mkdir(dir, 0755);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0) {
        print_message("SKIPPED: a small tmpfs cannot be mounted here (%s); disk-full is not "
                      "tested\n",
                      strerror(errno));
        return false;
    }
    snprintf(f->cache_dir, sizeof(f->cache_dir), "%s/small/cache", f->dir);
    return true;
}

/* Leaves about this many free bytes on the small file system. */
static void fill_up(const struct fixture *f, uint64_t leave)
{
    char path[100];
    uint64_t free_bytes;

    snprintf(path, sizeof(path), "%s/small/filler", f->dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/small", f->dir);
    assert_int_equal(uc_free_space(path, &free_bytes, NULL), 0);
    snprintf(path, sizeof(path), "%s/small/filler", f->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (free_bytes > leave)
        assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_bytes - leave)), 0);
    close(fd);
}

static void test_disk_full(void **state)
{
    struct fixture *f = *state;
    size_t n_full = 0;

    f->cache_flags = 0;
    if (!mount_small(f))
        skip();
    f->bad = "capture.1";
    f->how = "big";
    assert_int_equal(fixture_build(f), UC_ERESOURCE);
    assert_non_null(strstr(f->err.msg, f->cache_dir));
    assert_int_equal(uc_exit_code(f->err.code), 6);
    f->bad = NULL;
    /* At every moment of a build: more and more room until it fits. */
    for (uint64_t leave = 0; leave < 400000; leave += 8192) {
        fill_up(f, leave);
        int rc = fixture_build(f);
        if (rc < 0) {
            assert_int_equal(rc, UC_ERESOURCE);
            n_full++;
        }
        fixture_each_blob(f, check_blob, NULL);
        if (rc == 0)
            break;
    }
    assert_true(n_full > 0);
    fill_up(f, UINT64_MAX);
    finish_and_check(f, "abcd");
    fixture_each_blob(f, check_blob, NULL);
    char *dir = uc_path_dir(f->cache_dir);
    umount2(dir, MNT_DETACH);
    free(dir);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_kill_at_random_moments),
        T(test_worker_killed),
        T(test_two_builds_share_a_cache),
        T(test_every_blob_damaged),
        T(test_blobs_truncated_or_replaced),
        T(test_damaged_records),
        T(test_disk_full),
    };

    if (argc > 1 && strcmp(argv[1], UC_WORKER_ARG) == 0)
        return uc_worker_main();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
