/* The graph: what it refuses, closures, and its canonical text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/graph.h"
#include "engine/op.h"

static const struct uc_op fake = {"fake", 1, "", NULL};
const struct uc_op *const uc_ops[] = {&fake, NULL};

static struct uc_output outs[2] = {{"y", UC_KEEP, 5}, {"x", UC_TRANSIENT, 7}};

static int add(struct uc_graph *g, const char *op, const char *name, struct uc_input *in, size_t n,
               struct uc_err *err)
{
    struct uc_action a = {
        .op = op, .name = name, .inputs = in, .n_inputs = n, .outputs = outs, .n_outputs = 2};
    uint32_t id;

    a.params = json_pack("{s:i}", "bits", 3);
    int rc = uc_graph_add(g, &a, &id, err);
    json_decref(a.params);
    return rc < 0 ? rc : (int)id;
}

static struct uc_input from(const char *name, uint32_t action, const char *output)
{
    return (struct uc_input){name, {.kind = UC_REF_OUTPUT, .action = action, .output = output}};
}

static void test_refusals(void **state)
{
    struct uc_input in[2] = {from("a", 0, "x"), from("a", 0, "x")};
    struct uc_input tensor = {"t", {.kind = UC_REF_TENSOR, .action = 0, .output = "w"}};
    struct uc_target t = {.name = "t", .files = in, .n_files = 1, .summary = "no.json"};
    struct uc_graph g;
    struct uc_err err;

    uc_graph_init(&g);
    assert_int_equal(add(&g, "fake", "one", NULL, 0, &err), 0);
    assert_int_equal(add(&g, "nope", "two", NULL, 0, &err), UC_EUSAGE);
    assert_int_equal(add(&g, "fake", "one", NULL, 0, &err), UC_EUSAGE);
    assert_int_equal(add(&g, "fake", "two", in, 2, &err), UC_EUSAGE);
    in[0] = from("a", 7, "x");
    assert_int_equal(add(&g, "fake", "two", in, 1, &err), UC_EUSAGE);
    in[0] = from("a", 0, "z");
    assert_int_equal(add(&g, "fake", "two", in, 1, &err), UC_EUSAGE);
    assert_non_null(strstr(err.msg, "'one' has no output 'z'"));
    assert_int_equal(add(&g, "fake", "two", &tensor, 1, &err), UC_EUSAGE);
    in[0] = from("a", 0, "x");
    assert_int_equal(uc_graph_add_target(&g, &t, &err), UC_EUSAGE);
    t.summary = NULL;
    assert_int_equal(uc_graph_add_target(&g, &t, &err), 0);
    assert_int_equal(uc_graph_add_target(&g, &t, &err), UC_EUSAGE);
    assert_int_equal(g.n_actions, 1);
    uc_graph_release(&g);
}

static void test_sorted_and_copied(void **state)
{
    char name[] = "one";
    struct uc_input in[2] = {from("b", 0, "x"), from("a", 0, "y")};
    struct uc_graph g;
    struct uc_err err;

    uc_graph_init(&g);
    add(&g, "fake", name, NULL, 0, &err);
    name[0] = 'X';
    add(&g, "fake", "two", in, 2, &err);
    assert_string_equal(g.actions[0].name, "one");
    assert_string_equal(g.actions[0].outputs[0].name, "x");
    assert_string_equal(g.actions[1].inputs[0].name, "a");
    assert_ptr_equal(uc_graph_find(&g, "two"), &g.actions[1]);
    assert_null(uc_graph_find(&g, "three"));
    assert_int_equal(uc_graph_output(&g, 0, "y")->bytes, 5);
    uc_graph_release(&g);
}

static void test_closure(void **state)
{
    struct uc_graph g;
    struct uc_err err;
    uint32_t ids[300];
    size_t n;
    char name[16];

    uc_graph_init(&g);
    for (int i = 0; i < 300; i++) { /* two interleaved chains */
        struct uc_input in = from("in", i < 2 ? 0 : (uint32_t)i - 2, "x");
        snprintf(name, sizeof(name), "a%d", i);
        assert_int_equal(add(&g, "fake", name, &in, i >= 2, &err), i);
    }
    struct uc_input file = from("f", 299, "x");
    struct uc_target t = {.name = "t", .files = &file, .n_files = 1};
    uc_graph_closure(&g, &t, ids, &n);
    assert_int_equal(n, 150);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ids[i], 2 * i + 1);
    uc_graph_release(&g);
}

static char *json_of(bool swap)
{
    struct uc_input in[2] = {from("a", 0, "x"), from("b", 0, "y")};
    struct uc_input other[2] = {in[1], in[0]};
    struct uc_graph g;
    struct uc_err err;
    char *text;

    uc_graph_init(&g);
    add(&g, "fake", "one", NULL, 0, &err);
    add(&g, "fake", "two", swap ? other : in, 2, &err);
    text = uc_graph_json(&g);
    uc_graph_release(&g);
    return text;
}

static void test_json_is_canonical(void **state)
{
    char *a = json_of(false), *b = json_of(true);

    assert_string_equal(a, b);
    json_t *v = uc_json_parse(a, strlen(a), "graph", NULL);
    assert_int_equal(json_array_size(json_object_get(v, "actions")), 2);
    json_decref(v);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_sorted_and_copied),
        cmocka_unit_test(test_closure),
        cmocka_unit_test(test_json_is_canonical),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
