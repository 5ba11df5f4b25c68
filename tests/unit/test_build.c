/* Whole builds with fake ops: what runs after which change, what is written, what is said. */
#include "engine_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/memo.h"
#include "engine/worker.h"

static void assert_build(struct fixture *f, const char *ran)
{
    if (fixture_build(f) < 0)
        fail_msg("build: %s", f->err.msg);
    assert_string_equal(f->ran, ran);
}

static const char everything[] = " fingerprint capture.0 quantize.0 capture.1 quantize.1 capture.2"
                                 " quantize.2 capture.3 quantize.3 assemble";

static void test_first_and_second_build(void **state)
{
    struct fixture *f = *state;

    assert_build(f, everything);
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
    assert_string_equal(fixture_read_out(f, "text/copy.txt"), "calibration text");
    assert_true(f->res.targets[0].changed);
    assert_int_equal(f->res.n_actions, N_ACTIONS);
    /* digests, four s, four streams, model, report; every x is gone */
    assert_int_equal(fixture_each_blob(f, NULL, NULL), 11);
    assert_build(f, "");
    assert_int_equal(f->res.n_hit, N_ACTIONS);
    assert_false(f->res.targets[0].changed);
    assert_string_equal(f->warned, "");
}

static void test_touch_and_rename(void **state)
{
    struct fixture *f = *state;
    char other[100];

    assert_build(f, everything);
    fixture_write_source(f, "abcd"); /* another inode, other times, the same bytes */
    assert_build(f, " fingerprint");
    snprintf(other, sizeof(other), "%s/elsewhere.bin", f->dir);
    assert_int_equal(rename(f->source, other), 0);
    snprintf(f->source, sizeof(f->source), "%s/elsewhere.bin", f->dir);
    /* Renaming a file changes its ctime. */
    assert_build(f, " fingerprint");
    assert_false(f->res.targets[0].changed);
}

static void test_parameter(void **state)
{
    struct fixture *f = *state;

    assert_build(f, everything);
    f->bits = 4;
    assert_build(f, " quantize.0 quantize.1 quantize.2 quantize.3 assemble");
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
    assert_true(f->res.targets[0].changed);
    f->bits = 3; /* back again: all is known */
    assert_build(f, "");
    assert_true(f->res.targets[0].changed);
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
}

static void test_one_weight(void **state)
{
    struct fixture *f = *state;

    assert_build(f, everything);
    fixture_write_source(f, "abXd");
    /* capture.2 asks for the x of capture.1, which asks for that of capture.0: they are gone */
    assert_build(f, " fingerprint capture.0 capture.1 capture.2 quantize.2 capture.3 quantize.3"
                    " assemble");
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abXd"));
    assert_int_equal(f->res.n_hit, 2);
    /* both models' blobs but no x */
    assert_int_equal(fixture_each_blob(f, NULL, NULL), 11 + 7);
}

static void test_calibration_text(void **state)
{
    struct fixture *f = *state;

    assert_build(f, everything);
    fixture_write(f->text, "another text");
    assert_build(f, everything + strlen(" fingerprint"));
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
}

static void test_early_cutoff_of_op_version(void **state)
{
    struct fixture *f = *state;

    assert_build(f, everything);
    fixture_quantize_version = 2;
    assert_build(f, " quantize.0 quantize.1 quantize.2 quantize.3");
    assert_false(f->res.targets[0].changed);
}

static void check_why(struct fixture *f, const char *name, enum uc_why why, const char *detail)
{
    struct uc_cache *cache;
    struct uc_graph g;
    struct uc_plan plan;
    struct uc_err err = {0};

    assert_int_equal(uc_cache_open(&cache, f->cache_dir, f->cache_flags, &err), 0);
    uc_graph_init(&g);
    fixture_graph(f, &g);
    const struct uc_target *t = &g.targets[0];
    assert_int_equal(uc_plan(cache, &g, &t, 1, &f->opts, &plan, &err), 0);
    const struct uc_plan_action *a = &plan.actions[uc_graph_find(&g, name)->id];
    assert_int_equal(a->why, why);
    if (detail) {
        assert_non_null(a->detail);
        assert_true(uc_str_match(detail, a->detail));
    }
    uc_plan_release(&plan);
    uc_graph_release(&g);
    uc_cache_close(cache);
}

/* All but the fingerprint's, without which no key is known. */
static void drop_most_blobs(const char *path, size_t i, void *arg)
{
    char *text;
    size_t n;

    if (uc_read_file(path, 0, &text, &n, NULL) == 0 && text[0] != '{')
        unlink(path);
    free(text);
}

static void test_why(void **state)
{
    struct fixture *f = *state;

    check_why(f, "fingerprint", UC_WHY_NEVER, NULL);
    assert_build(f, everything);
    check_why(f, "assemble", UC_WHY_NONE, NULL);
    f->bits = 4;
    check_why(f, "quantize.2", UC_WHY_CHANGED, "params.text: \"3\" -> \"4\"");
    f->bits = 3;
    f->note = "long";
    check_why(f, "assemble", UC_WHY_CHANGED, "params.text: \"\" -> \"long\"");
    f->note = "";
    fixture_quantize_version = 2;
    check_why(f, "quantize.1", UC_WHY_CHANGED, "version: 1 -> 2");
    fixture_quantize_version = 1;
    fixture_write(f->text, "another text");
    check_why(f, "capture.0", UC_WHY_CHANGED, "input x: ???????? -> ????????");
    fixture_write(f->text, "calibration text");
    f->opts.force = "quantize";
    check_why(f, "quantize.1", UC_WHY_FORCED, NULL);
    f->opts.force = NULL;
    fixture_each_blob(f, drop_most_blobs, NULL);
    check_why(f, "assemble", UC_WHY_EVICTED, NULL);
    fixture_write_source(f, "abcd");
    check_why(f, "fingerprint", UC_WHY_CHANGED, "file mtime: * (and 2 more)");
}

static void test_plan_counts(void **state)
{
    struct fixture *f = *state;
    struct uc_cache *cache;
    struct uc_graph g;
    struct uc_plan plan;

    assert_build(f, everything);
    f->bits = 5;
    assert_int_equal(uc_cache_open(&cache, f->cache_dir, f->cache_flags, NULL), 0);
    uc_graph_init(&g);
    fixture_graph(f, &g);
    const struct uc_target *t = &g.targets[0];
    assert_int_equal(uc_plan(cache, &g, &t, 1, &f->opts, &plan, NULL), 0);
    assert_int_equal(plan.n_hit, 1 + LAYERS);
    assert_int_equal(plan.n_run, LAYERS);
    assert_int_equal(plan.n_maybe, 1);
    assert_true(plan.actions[uc_graph_find(&g, "quantize.0")->id].from_history);
    uc_plan_release(&plan);
    uc_graph_release(&g);
    uc_cache_close(cache);
}

static void test_force_and_until(void **state)
{
    struct fixture *f = *state;

    f->opts.until = "capture";
    assert_build(f, " fingerprint capture.0 capture.1 capture.2 capture.3");
    assert_null(fixture_read_out(f, "model.bin"));
    f->opts.until = NULL;
    fixture_build(f);
    assert_int_equal(f->res.n_ran, LAYERS + 1);
    f->opts.force = "quantize.?";
    assert_build(f, " quantize.0 quantize.1 quantize.2 quantize.3");
    f->opts.force = "*";
    assert_build(f, everything);
    assert_string_equal(f->warned, "");
}

static void test_target_folder(void **state)
{
    struct fixture *f = *state;
    char path[128];

    assert_int_equal(mkdir(f->out, 0755), 0);
    snprintf(path, sizeof(path), "%s/thesis.txt", f->out);
    fixture_write(path, "mine");
    assert_int_equal(fixture_build(f), UC_EFAIL); /* before anything has run */
    assert_int_equal(f->res.n_ran, 0);
    assert_non_null(strstr(f->err.fix, "--output-dir"));
    assert_string_equal(fixture_read_out(f, "thesis.txt"), "mine");
    unlink(path);
    assert_build(f, everything);
    fixture_write(path, "mine"); /* a user's file in a folder of ours stays */
    f->bits = 4;
    fixture_build(f);
    assert_true(f->res.targets[0].changed);
    assert_string_equal(fixture_read_out(f, "thesis.txt"), "mine");
    snprintf(path, sizeof(path), "%s/model.bin", f->out);
    fixture_write(path, "edited"); /* damage to the artifact is repaired */
    assert_build(f, "");
    assert_true(f->res.targets[0].changed);
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "abcd"));
}

static void test_files_are_no_links_into_the_cache(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct stat st;

    assert_build(f, everything);
    snprintf(path, sizeof(path), "%s/model.bin", f->out);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_failure(void **state)
{
    struct fixture *f = *state;

    f->bad = "quantize.1";
    f->how = "fail";
    assert_int_equal(fixture_build(f), UC_EREFUSED);
    assert_non_null(strstr(f->err.msg, "quantize.1: asked to fail"));
    assert_non_null(strstr(f->err.msg, "a line of its log"));
    assert_int_equal(access(f->log, R_OK), 0);
    assert_null(fixture_read_out(f, "model.bin"));
    f->opts.keep_going = true;
    assert_int_equal(fixture_build(f), UC_EREFUSED);
    assert_int_equal(f->res.n_failed, 1);
    assert_int_equal(f->res.n_skipped, 1);
    assert_int_equal(f->res.n_hit + f->res.n_ran, N_ACTIONS - 2);
    f->bad = NULL;
    assert_build(f, " quantize.1 assemble");
}

static void test_crash(void **state)
{
    struct fixture *f = *state;

    f->bad = "capture.1";
    f->how = "crash";
    assert_int_equal(fixture_build(f), UC_EFAIL);
    assert_non_null(strstr(f->err.msg, "capture.1: its worker was killed by signal 11"));
    assert_non_null(strstr(f->err.msg, "about to crash"));
    f->how = "exit";
    assert_int_equal(fixture_build(f), UC_EFAIL);
    assert_non_null(strstr(f->err.msg, "without a result"));
    f->how = "no output";
    assert_int_equal(fixture_build(f), UC_EFAIL);
    assert_non_null(strstr(f->err.msg, "was not written"));
    f->bad = NULL;
    assert_int_equal(fixture_build(f), 0);
}

static bool is_dead(void *arg)
{
    return kill(*(pid_t *)arg, 0) < 0;
}

static void test_orphans_are_killed(void **state)
{
    struct fixture *f = *state;
    char path[128], *text;
    size_t n;

    f->bad = "capture.1";
    f->how = "orphan";
    assert_int_equal(fixture_build(f), 0);
    snprintf(path, sizeof(path), "%s/scratch/orphan", f->cache_dir);
    if (uc_read_file(path, 0, &text, &n, NULL) == 0) { /* it may have died before it could write */
        pid_t pid = (pid_t)atol(text);
        free(text);
        assert_true(fixture_wait_until(is_dead, &pid));
    }
}

static void test_not_deterministic(void **state)
{
    struct fixture *f = *state;

    f->bad = "quantize.1";
    f->how = "noise";
    assert_int_equal(fixture_build(f), 0);
    f->opts.force = "quantize.1";
    assert_int_equal(fixture_build(f), 0);
    assert_non_null(strstr(f->warned, "same key, other bytes: 'stream' of quantize.1"));
    assert_string_equal(f->ran, " quantize.1 assemble");
    f->opts.force = NULL;
    assert_build(f, "");
}

/* The worker has been started; whether it has read anything yet does not matter. */
static void overwrite_at_start(void *arg, const struct uc_event *ev)
{
    if (ev->kind == UC_EV_START)
        fixture_write_source(arg, "Zbcd");
}

static void test_input_changes_while_running(void **state)
{
    struct fixture *f = *state;

    f->opts.event = overwrite_at_start;
    f->opts.arg = f;
    assert_int_equal(fixture_build(f), UC_EFAIL);
    assert_non_null(strstr(f->err.msg, "changed while it was read"));
    assert_int_equal(fixture_each_blob(f, NULL, NULL), 0);
    f->opts.event = NULL;
    assert_build(f, everything);
    assert_string_equal(fixture_read_out(f, "model.bin"), fixture_expected(f, "Zbcd"));
}

static void test_index_may_be_deleted(void **state)
{
    struct fixture *f = *state;
    char path[128];

    assert_build(f, everything);
    snprintf(path, sizeof(path), "%s/index.db", f->cache_dir);
    assert_int_equal(unlink(path), 0);
    assert_build(f, "");
    fixture_write(path, "this is no database, but it is long enough to look at, is it not?");
    assert_build(f, "");
    f->bits = 4;
    fixture_build(f);
    assert_int_equal(f->res.n_ran, LAYERS + 1);
}

static void test_cache_of_another_version(void **state)
{
    struct fixture *f = *state;
    char path[128];

    assert_build(f, everything);
    snprintf(path, sizeof(path), "%s/format", f->cache_dir);
    fixture_write(path, "uc-cache 2\n");
    assert_int_equal(fixture_build(f), UC_EBUSY);
    assert_int_equal(uc_exit_code(f->err.code), 7);
    assert_non_null(strstr(f->err.msg, "uc-cache 2"));
}

static volatile sig_atomic_t interrupts;

/* arg: at which start, and how often, the user presses Ctrl-C. */
static void interrupt_at_start(void *arg, const struct uc_event *ev)
{
    int *when = arg;

    if (ev->kind == UC_EV_START && --when[0] == 0)
        interrupts = when[1];
}

static void test_interrupts(void **state)
{
    struct fixture *f = *state;
    int when[2] = {2, 1};

    interrupts = 1; /* nothing new is started */
    f->opts.interrupts = &interrupts;
    assert_int_equal(fixture_build(f), UC_EINTR);
    assert_string_equal(f->ran, "");
    interrupts = 0;
    f->opts.event = interrupt_at_start;
    f->opts.arg = when;
    assert_int_equal(fixture_build(f), UC_EINTR); /* what runs is let finish, and kept */
    assert_string_equal(f->ran, " fingerprint capture.0");
    interrupts = 0;
    f->ms = 60000;
    when[0] = 1;
    when[1] = 2;
    assert_int_equal(fixture_build(f), UC_EINTR); /* what runs is killed */
    assert_true(f->res.seconds < 30);
    assert_string_equal(f->ran, "");
    interrupts = 0;
    f->ms = 0;
    f->opts.event = NULL;
    assert_build(f, everything + strlen(" fingerprint capture.0"));
}

static void store_memo(struct uc_cache *c, const struct fixture *f, const struct uc_digest *key)
{
    char out[128];
    const char *written[] = {out};
    struct uc_memo_file read[2] = {{.path = f->source}, {.path = "/does/not/exist"}};
    json_t *summary = json_pack("{s:i}", "answer", 42);

    snprintf(out, sizeof(out), "%s/model.bin", f->out);
    assert_int_equal(uc_cache_ident(c, f->source, &read[0].ident, NULL, NULL), 0);
    assert_int_equal(uc_memo_store(c, key, read, 2, written, 1, summary, NULL), 0);
    json_decref(summary);
}

static void test_memo(void **state)
{
    struct fixture *f = *state;
    struct uc_cache *c;
    struct uc_digest key, other;
    json_t *summary;
    char path[128];

    assert_build(f, everything);
    assert_int_equal(uc_cache_open(&c, f->cache_dir, f->cache_flags, NULL), 0);
    uc_memo_key("recipe.lua", "{\"bits\":3}", &key);
    uc_memo_key("recipe.lua", "{\"bits\":4}", &other);
    assert_int_equal(uc_memo_check(c, &key, &summary, NULL), 0);
    store_memo(c, f, &key);
    assert_int_equal(uc_memo_check(c, &key, &summary, NULL), 1);
    assert_int_equal(uc_json_int(summary, "answer", 0), 42);
    json_decref(summary);
    assert_int_equal(uc_memo_check(c, &other, &summary, NULL), 0);
    snprintf(path, sizeof(path), "%s/model.bin", f->out);
    fixture_write(path, "edited");
    assert_int_equal(uc_memo_check(c, &key, &summary, NULL), 0);
    store_memo(c, f, &key);
    assert_int_equal(uc_memo_check(c, &key, &summary, NULL), 1);
    json_decref(summary);
    fixture_write_source(f, "abcd");
    assert_int_equal(uc_memo_check(c, &key, &summary, NULL), 0);
    uc_cache_close(c);
}

static void test_events_file(void **state)
{
    struct fixture *f = *state;
    char path[160], *text, *line, *save;
    size_t n, ends = 0;

    assert_build(f, everything);
    snprintf(path, sizeof(path), "%s/builds/%s.ndjson", f->cache_dir, f->res.id);
    assert_int_equal(uc_read_file(path, 0, &text, &n, NULL), 0);
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *e = uc_json_parse(line, strlen(line), "event", NULL);
        assert_non_null(e);
        if (strcmp(uc_json_str(e, "ev", ""), "end") == 0) {
            assert_string_equal(uc_json_str(e, "outcome", ""), "ran");
            assert_string_equal(uc_json_str(e, "why", ""), "never built");
            assert_true(uc_json_num(e, "peak_rss", 0) > 0);
            ends++;
        }
        json_decref(e);
    }
    assert_int_equal(ends, N_ACTIONS);
    free(text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_first_and_second_build),
        T(test_touch_and_rename),
        T(test_parameter),
        T(test_one_weight),
        T(test_calibration_text),
        T(test_early_cutoff_of_op_version),
        T(test_why),
        T(test_plan_counts),
        T(test_force_and_until),
        T(test_target_folder),
        T(test_files_are_no_links_into_the_cache),
        T(test_failure),
        T(test_crash),
        T(test_orphans_are_killed),
        T(test_not_deterministic),
        T(test_input_changes_while_running),
        T(test_index_may_be_deleted),
        T(test_cache_of_another_version),
        T(test_interrupts),
        T(test_memo),
        T(test_events_file),
    };

    if (argc > 1 && strcmp(argv[1], UC_WORKER_ARG) == 0)
        return uc_worker_main();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
