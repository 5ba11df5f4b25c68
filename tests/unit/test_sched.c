/* The scheduler with a fake world: no files, no processes, an in-memory cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/op.h"
#include "engine/sched.h"

static const struct uc_op fake = {"fake", 1, "does nothing", NULL};
const struct uc_op *const uc_ops[] = {&fake, NULL};

enum { MAX_ACTIONS = 64, MAX_OUTPUTS = 3, MAX_RECORDS = 65536 };

/* A cache of numbers: records by key, blobs by digest. A run of action id produces for output o the
 * digest mix(key without the version, o), so a new version alone gives the old bytes. */
struct world {
    struct uc_graph g;
    struct uc_sched *s;
    unsigned version[MAX_ACTIONS], content[MAX_ACTIONS];
    bool fails[MAX_ACTIONS], busy[MAX_ACTIONS];
    bool noisy[MAX_ACTIONS]; /* other bytes each time */
    bool may_be_noisy;
    uint64_t noise;
    uint64_t key[MAX_ACTIONS], inputs_mix[MAX_ACTIONS], digest[MAX_ACTIONS][MAX_OUTPUTS];
    bool known[MAX_ACTIONS];
    uint64_t records[MAX_RECORDS];
    uint64_t record_digest[MAX_RECORDS][MAX_OUTPUTS];
    size_t n_records;
    uint64_t blobs[MAX_RECORDS];
    size_t n_blobs;
    uint32_t running[MAX_ACTIONS], order[1024];
    int threads[MAX_ACTIONS];
    size_t n_running, n_started, n_skipped;
    int started[MAX_ACTIONS];
    int threads_now, max_threads;
    uint64_t memory_now, max_memory;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xbf58476d1ce4e5b9u;

    return h ^ h >> 29;
}

static bool has_blob(const struct world *w, uint64_t d)
{
    for (size_t i = 0; i < w->n_blobs; i++)
        if (w->blobs[i] == d)
            return true;
    return false;
}

static void add_blob(struct world *w, uint64_t d)
{
    if (!has_blob(w, d))
        w->blobs[w->n_blobs++] = d;
}

static void del_blob(struct world *w, uint64_t d)
{
    for (size_t i = 0; i < w->n_blobs; i++)
        if (w->blobs[i] == d)
            w->blobs[i--] = w->blobs[--w->n_blobs];
}

static size_t out_index(const struct world *w, const struct uc_ref *r)
{
    return (size_t)(uc_graph_output(&w->g, r->action, r->output) - w->g.actions[r->action].outputs);
}

static int w_lookup(void *arg, uint32_t id)
{
    struct world *w = arg;
    const struct uc_action *a = &w->g.actions[id];
    uint64_t in = mix(id, w->content[id]);

    for (size_t i = 0; i < a->n_inputs; i++) {
        const struct uc_ref *r = &a->inputs[i].ref;
        assert_true(w->known[r->action]);
        in = mix(in, w->digest[r->action][out_index(w, r)]);
    }
    w->inputs_mix[id] = in;
    w->key[id] = mix(in, w->version[id]);
    for (size_t i = 0; i < w->n_records; i++)
        if (w->records[i] == w->key[id]) {
            memcpy(w->digest[id], w->record_digest[i], sizeof(w->digest[id]));
            w->known[id] = true;
            return 1;
        }
    return 0;
}

static bool w_present(void *arg, uint32_t id, size_t o)
{
    struct world *w = arg;

    return has_blob(w, w->digest[id][o]);
}

static void w_drop(void *arg, uint32_t id, size_t o)
{
    struct world *w = arg;

    assert_int_equal(w->g.actions[id].outputs[o].retention, UC_TRANSIENT);
    del_blob(w, w->digest[id][o]);
}

static int w_start(void *arg, uint32_t id, int threads)
{
    struct world *w = arg;
    const struct uc_action *a = &w->g.actions[id];

    if (w->busy[id])
        return UC_BUSY;
    for (size_t i = 0; i < a->n_inputs; i++)
        assert_true(w_present(w, a->inputs[i].ref.action, out_index(w, &a->inputs[i].ref)));
    w->threads[id] = threads;
    w->threads_now += threads;
    w->memory_now += a->memory;
    w->max_threads = w->threads_now > w->max_threads ? w->threads_now : w->max_threads;
    if (w->n_running)
        w->max_memory = w->memory_now > w->max_memory ? w->memory_now : w->max_memory;
    w->started[id]++;
    w->order[w->n_started++ % UC_COUNT(w->order)] = id;
    w->running[w->n_running++] = id;
    return UC_STARTED;
}

static void w_skipped(void *arg, uint32_t id)
{
    ((struct world *)arg)->n_skipped++;
}

/* Ends the running action at position i of the list. */
static void finish_at(struct world *w, size_t i)
{
    uint32_t id = w->running[i];
    const struct uc_action *a = &w->g.actions[id];

    w->running[i] = w->running[--w->n_running];
    w->threads_now -= w->threads[id];
    w->memory_now -= a->memory;
    if (w->fails[id]) {
        uc_sched_done(w->s, id, false, false);
        return;
    }
    size_t r = 0;
    while (r < w->n_records && w->records[r] != w->key[id])
        r++;
    assert_true(r < MAX_RECORDS);
    w->n_records += r == w->n_records;
    w->records[r] = w->key[id];
    bool changed = false;
    for (size_t o = 0; o < a->n_outputs; o++) {
        uint64_t was = w->digest[id][o];
        w->digest[id][o] = mix(w->inputs_mix[id], w->noisy[id] ? ++w->noise : o);
        changed = w->known[id] && was != w->digest[id][o];
        w->record_digest[r][o] = w->digest[id][o];
        add_blob(w, w->digest[id][o]);
    }
    w->known[id] = true;
    uc_sched_done(w->s, id, true, changed);
}

static void begin_with(struct world *w, int jobs, uint64_t memory, bool keep_going,
                       const uint32_t *goals, size_t n_goals)
{
    struct uc_sched_world verbs = {w, w_lookup, w_present, w_drop, w_start, w_skipped};
    uint8_t used[MAX_ACTIONS];
    double seconds[MAX_ACTIONS];

    memset(used, 1, sizeof(used));
    memset(w->known, 0, sizeof(w->known));
    memset(w->started, 0, sizeof(w->started));
    w->n_started = w->n_skipped = w->n_running = 0;
    w->threads_now = w->max_threads = 0;
    w->memory_now = w->max_memory = 0;
    for (size_t i = 0; i < w->g.n_actions; i++)
        seconds[i] = w->g.actions[i].work;
    w->s = uc_sched_new(&w->g, used, seconds, jobs, memory, keep_going, &verbs);
    for (size_t i = 0; i < n_goals; i++)
        uc_sched_goal(w->s, goals[i], 0);
}

static void begin(struct world *w, const uint32_t *goals, size_t n_goals)
{
    begin_with(w, 2, 1000, false, goals, n_goals);
}

static void run_to_end(struct world *w)
{
    for (uc_sched_start(w->s); !uc_sched_finished(w->s); uc_sched_start(w->s)) {
        assert_true(w->n_running > 0);
        finish_at(w, 0);
    }
}

static void end(struct world *w)
{
    uc_sched_free(w->s);
    w->s = NULL;
}

static struct world *new_world(void)
{
    struct world *w = uc_xcalloc(1, sizeof(*w));

    uc_graph_init(&w->g);
    return w;
}

static void free_world(struct world *w)
{
    uc_graph_release(&w->g);
    free(w);
}

/* Adds an action whose inputs are output 0 of producers (ids below it). */
static uint32_t add(struct world *w, enum uc_retention retention, double work,
                    const uint32_t *producers, size_t n)
{
    struct uc_input in[MAX_ACTIONS];
    struct uc_output out = {"out", retention, 0};
    struct uc_action a = {.op = "fake",
                          .inputs = in,
                          .n_inputs = n,
                          .outputs = &out,
                          .n_outputs = 1,
                          .threads = 4,
                          .memory = 10,
                          .work = work};
    char name[32], in_name[MAX_ACTIONS][12];
    struct uc_err err;
    uint32_t id;

    snprintf(name, sizeof(name), "a%zu", w->g.n_actions);
    a.name = name;
    for (size_t i = 0; i < n; i++) {
        snprintf(in_name[i], sizeof(in_name[i]), "i%zu", i);
        in[i] = (struct uc_input){in_name[i],
                                  {.kind = UC_REF_OUTPUT, .action = producers[i], .output = "out"}};
    }
    assert_int_equal(uc_graph_add(&w->g, &a, &id, &err), 0);
    return id;
}

/* a (transient) -> b (transient) -> c (cache) -> d (keep) */
static void add_chain(struct world *w)
{
    uint32_t a = add(w, UC_TRANSIENT, 1, NULL, 0), b = add(w, UC_TRANSIENT, 1, &a, 1);
    uint32_t c = add(w, UC_CACHE, 1, &b, 1);

    add(w, UC_KEEP, 1, &c, 1);
}

static const uint32_t last_of_chain = 3;

static void test_chain_runs_once_and_drops(void **state)
{
    struct world *w = new_world();

    add_chain(w);
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    assert_int_equal(w->n_started, 4);
    assert_false(has_blob(w, w->digest[0][0]));
    assert_false(has_blob(w, w->digest[1][0]));
    assert_true(has_blob(w, w->digest[2][0]));
    end(w);
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    assert_int_equal(w->n_started, 0);
    end(w);
    free_world(w);
}

static void test_deleted_transients_are_not_missed(void **state)
{
    struct world *w = new_world();

    add_chain(w);
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    end(w);
    w->version[3]++; /* d must run; c is there; a and b are gone and stay gone */
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    assert_int_equal(w->n_started, 1);
    assert_int_equal(w->started[3], 1);
    end(w);
    w->content[2]++; /* c must run: it asks for b, which asks for a */
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    assert_int_equal(w->n_started, 4);
    assert_false(has_blob(w, w->digest[0][0]));
    end(w);
    free_world(w);
}

static void test_early_cutoff(void **state)
{
    struct world *w = new_world();

    add_chain(w);
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    end(w);
    w->version[0]++; /* new key, same bytes */
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    assert_int_equal(w->n_started, 1);
    assert_false(has_blob(w, w->digest[0][0]));
    end(w);
    free_world(w);
}

static void test_lost_goal_is_made_again(void **state)
{
    struct world *w = new_world();

    add_chain(w);
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    end(w);
    del_blob(w, w->digest[3][0]);
    begin(w, &last_of_chain, 1);
    run_to_end(w);
    assert_int_equal(w->n_started, 1);
    assert_true(has_blob(w, w->digest[3][0]));
    del_blob(w, w->digest[3][0]); /* and while the build still stands */
    del_blob(w, w->digest[2][0]);
    uc_sched_lost(w->s, 3);
    run_to_end(w);
    assert_int_equal(w->n_started, 1 + 4);
    assert_true(has_blob(w, w->digest[3][0]));
    end(w);
    free_world(w);
}

static void test_input_lost_while_running(void **state)
{
    struct world *w = new_world();

    add_chain(w);
    begin(w, &last_of_chain, 1);
    for (uc_sched_start(w->s); w->running[0] != 3; uc_sched_start(w->s))
        finish_at(w, 0);
    del_blob(w, w->digest[2][0]);
    w->n_running = 0;
    w->threads_now = 0;
    uc_sched_again(w->s, 3);
    run_to_end(w);
    assert_int_equal(uc_sched_state(w->s, 3), UC_S_RAN);
    assert_int_equal(w->started[2], 2);
    assert_int_equal(w->started[0], 2);
    end(w);
    free_world(w);
}

static void test_failure_skips_users_only(void **state)
{
    struct world *w = new_world();
    uint32_t goals[2];
    uint32_t a = add(w, UC_CACHE, 1, NULL, 0);

    goals[0] = add(w, UC_KEEP, 1, &a, 1);
    uint32_t c = add(w, UC_CACHE, 1, NULL, 0);
    goals[1] = add(w, UC_KEEP, 1, &c, 1);
    w->fails[a] = true;
    begin_with(w, 1, 1000, true, goals, 2);
    run_to_end(w);
    assert_int_equal(uc_sched_state(w->s, goals[0]), UC_S_SKIPPED);
    assert_int_equal(uc_sched_state(w->s, goals[1]), UC_S_RAN);
    assert_int_equal(w->n_skipped, 1);
    end(w);
    w->version[c]++;
    begin_with(w, 1, 1000, false, goals, 2);
    run_to_end(w);
    assert_int_equal(uc_sched_state(w->s, a), UC_S_FAILED);
    assert_int_equal(w->n_started, 1); /* nothing is started after a failure */
    end(w);
    free_world(w);
}

static void test_longest_path_first(void **state)
{
    struct world *w = new_world();
    uint32_t goals[3];

    goals[0] = add(w, UC_KEEP, 5, NULL, 0);
    uint32_t first = add(w, UC_CACHE, 1, NULL, 0);
    goals[1] = add(w, UC_KEEP, 9, &first, 1);
    goals[2] = add(w, UC_KEEP, 7, NULL, 0);
    begin_with(w, 1, 1000, false, goals, 3);
    run_to_end(w);
    assert_int_equal(w->order[0], first);
    assert_int_equal(w->order[1], goals[1]);
    assert_int_equal(w->order[2], goals[2]);
    assert_int_equal(w->order[3], goals[0]);
    end(w);
    free_world(w);
}

static void test_resources(void **state)
{
    struct world *w = new_world();
    uint32_t goals[6];

    for (int i = 0; i < 6; i++)
        goals[i] = add(w, UC_KEEP, 1, NULL, 0);
    begin_with(w, 4, 25, false, goals, 6); /* memory lets two run at once */
    uc_sched_start(w->s);
    assert_int_equal(w->n_running, 2);
    run_to_end(w);
    assert_true(w->max_memory <= 25);
    end(w);
    for (int i = 0; i < 6; i++)
        w->version[i]++;
    begin_with(w, 4, 1, false, goals, 6); /* too little for any: one at a time all the same */
    uc_sched_start(w->s);
    assert_int_equal(w->n_running, 1);
    run_to_end(w);
    end(w);
    free_world(w);
}

static void test_spare_cores_are_given(void **state)
{
    struct world *w = new_world();
    uint32_t goals[3];

    for (int i = 0; i < 3; i++)
        goals[i] = add(w, UC_KEEP, 1, NULL, 0);
    begin_with(w, 4, 1000, false, goals, 3);
    uc_sched_start(w->s);
    assert_int_equal(w->n_running, 3);
    assert_int_equal(w->threads_now, 4);
    run_to_end(w);
    end(w);
    w->version[0]++;
    begin_with(w, 4, 1000, false, goals, 3);
    uc_sched_start(w->s);
    assert_int_equal(w->threads[0], 4);
    run_to_end(w);
    end(w);
    free_world(w);
}

static void test_busy_elsewhere(void **state)
{
    struct world *w = new_world();

    add_chain(w);
    w->busy[1] = true;
    begin(w, &last_of_chain, 1);
    uc_sched_start(w->s);
    finish_at(w, 0);
    uc_sched_start(w->s);
    assert_int_equal(uc_sched_blocked(w->s), 1);
    assert_false(uc_sched_finished(w->s));
    w->busy[1] = false;
    uc_sched_retry(w->s);
    run_to_end(w);
    assert_int_equal(uc_sched_state(w->s, 3), UC_S_RAN);
    end(w);
    free_world(w);
}

/* A random graph; goals are the actions that nothing uses. */
static size_t random_graph(struct world *w, unsigned *seed, uint32_t *goals)
{
    size_t n = 2 + (size_t)rand_r(seed) % 30, n_goals = 0;
    bool has_user[MAX_ACTIONS] = {0};

    for (size_t i = 0; i < n; i++) {
        uint32_t producers[4];
        size_t np = i ? (size_t)rand_r(seed) % 4 : 0;
        for (size_t k = 0; k < np; k++) {
            producers[k] = (uint32_t)((size_t)rand_r(seed) % i);
            has_user[producers[k]] = true;
        }
        add(w, (enum uc_retention)(rand_r(seed) % 3), 1 + rand_r(seed) % 5, producers, np);
    }
    for (size_t i = 0; i < n; i++)
        if (!has_user[i])
            goals[n_goals++] = (uint32_t)i;
    return n_goals;
}

static void random_edit(struct world *w, unsigned *seed)
{
    size_t n = w->g.n_actions;

    w->version[(size_t)rand_r(seed) % n] += (unsigned)rand_r(seed) % 2;
    w->content[(size_t)rand_r(seed) % n] += rand_r(seed) % 3 == 0;
    if (w->n_blobs && rand_r(seed) % 2)
        del_blob(w, w->blobs[(size_t)rand_r(seed) % w->n_blobs]);
    memset(w->fails, 0, sizeof(w->fails));
    memset(w->noisy, 0, sizeof(w->noisy));
    w->fails[(size_t)rand_r(seed) % n] = rand_r(seed) % 8 == 0;
    w->noisy[(size_t)rand_r(seed) % n] = w->may_be_noisy && rand_r(seed) % 8 == 0;
}

/* After a whole build: everything hit or ran, goals are there, transients are not. */
static void check_end(struct world *w, const uint32_t *goals, size_t n_goals)
{
    for (size_t i = 0; i < w->g.n_actions; i++) {
        enum uc_sched_state st = uc_sched_state(w->s, (uint32_t)i);
        bool goal = false;
        assert_true(st == UC_S_HIT || st == UC_S_RAN);
        for (size_t k = 0; k < n_goals; k++)
            goal = goal || goals[k] == i;
        if (goal)
            assert_true(has_blob(w, w->digest[i][0]));
        else if (w->g.actions[i].outputs[0].retention == UC_TRANSIENT)
            assert_false(has_blob(w, w->digest[i][0]));
    }
}

/* Random graphs, random edits, losses, failures and kills; what starts has its inputs (w_start). */
static void test_random(void **state)
{
    const char *given = getenv("UC_TEST_SEED");
    unsigned seed = given ? (unsigned)atoi(given) : 1;

    for (int round = 0; round < 500; round++) {
        struct world *w = new_world();
        uint32_t goals[MAX_ACTIONS];
        size_t n_goals = random_graph(w, &seed, goals);
        w->may_be_noisy = round % 3 == 0;
        for (int build = 0; build < 12; build++) {
            bool killed = false, may_kill = rand_r(&seed) % 4 == 0, failed = false;
            random_edit(w, &seed);
            begin_with(w, 1 + rand_r(&seed) % 4, 35, rand_r(&seed) % 2, goals, n_goals);
            for (uc_sched_start(w->s); !uc_sched_finished(w->s); uc_sched_start(w->s)) {
                assert_true(w->n_running > 0);
                killed = may_kill && rand_r(&seed) % 8 == 0;
                if (killed)
                    break;
                finish_at(w, (size_t)rand_r(&seed) % w->n_running);
            }
            for (size_t i = 0; i < w->g.n_actions; i++)
                failed = failed || uc_sched_state(w->s, (uint32_t)i) == UC_S_FAILED;
            if (!killed && !failed)
                check_end(w, goals, n_goals);
            end(w);
            if (killed || failed || w->noise) /* a noisy past takes more than one build to settle */
                continue;
            begin(w, goals, n_goals); /* and at once again: nothing to do */
            run_to_end(w);
            assert_int_equal(w->n_started, 0);
            end(w);
        }
        free_world(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_runs_once_and_drops),
        cmocka_unit_test(test_deleted_transients_are_not_missed),
        cmocka_unit_test(test_early_cutoff),
        cmocka_unit_test(test_lost_goal_is_made_again),
        cmocka_unit_test(test_input_lost_while_running),
        cmocka_unit_test(test_failure_skips_users_only),
        cmocka_unit_test(test_longest_path_first),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_spare_cores_are_given),
        cmocka_unit_test(test_busy_elsewhere),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
